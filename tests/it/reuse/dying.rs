//! A server that dies under sessions that share their connections to it. What has nothing on a connection goes on at the
//! next one.

use super::{FLAVOURS, House, prepare};
use crate::compare::{Parameter, execute_payload};
use crate::harness::{Client, Cutter, Server, Shape, eventually, on_both_engines};

/// A session that has set something and prepared a statement.
struct Guest {
    client: Client,
    execution: Vec<u8>,
    expected: Vec<u8>,
}

impl Guest {
    fn enter(house: &House, name: &str) -> Guest {
        let mut client = house.client();
        client.execute(&format!("SET @kept = '{name}', time_zone = '+02:00'"));
        let statement = prepare(&mut client, "SELECT CONCAT(@kept, @@time_zone, ?)");
        let execution = execute_payload(client.capabilities, statement, 0, &[Parameter::Text("!")]);
        let value = format!("{name}+02:00!");
        let expected = [&[0, 0, value.len() as u8][..], value.as_bytes()].concat();
        let mut guest = Guest { client, execution, expected };
        guest.is_as_before();
        guest
    }

    #[track_caller]
    fn is_as_before(&mut self) {
        self.client.command(&self.execution);
        self.is_answered();
    }

    #[track_caller]
    fn is_answered(&mut self) {
        let reply = self.client.reply(Shape::Results).expect("the session goes on").ok();
        assert_eq!(reply.rows, std::slice::from_ref(&self.expected));
    }
}

fn in_houses_behind_a_cutter(test: impl Fn(&House, &Cutter)) {
    for flavour in FLAVOURS {
        let cutter = Cutter::before(Server::shared(flavour).address);
        on_both_engines(|engine| {
            eprintln!("{flavour:?}, {engine:?}");
            test(&House::behind(engine, flavour, &cutter), &cutter);
            cutter.open();
        });
    }
}

#[test]
fn sessions_outside_of_transactions_do_not_notice_that_their_server_was_away() {
    in_houses_behind_a_cutter(|house, cutter| {
        let mut guests = ["first", "second"].map(|name| Guest::enter(house, name));
        let is_lost = || eventually("the loss is seen", || (house.counted("connections") == 0).then_some(()));
        // Idle: the connection is kept for a moment.
        cutter.break_all();
        is_lost();
        guests.iter_mut().for_each(Guest::is_as_before);
        eventually("the connection rests", || (house.counted("resting") == 1).then_some(()));
        cutter.break_all();
        is_lost();
        guests.iter_mut().for_each(Guest::is_as_before);
        // A statement that comes while the server is away waits for it.
        cutter.close();
        is_lost();
        for guest in &mut guests {
            guest.client.command(&guest.execution);
        }
        eventually("both wait for the server", || {
            house.sqluice.sessions().iter().all(|row| row["state"] == "command").then_some(())
        });
        cutter.open();
        guests.iter_mut().for_each(Guest::is_answered);
    });
}

#[test]
fn a_transaction_ends_with_its_server_and_is_not_begun_again() {
    in_houses_behind_a_cutter(|house, cutter| {
        let [mut first, mut second] = ["first", "second"].map(|name| Guest::enter(house, name));
        first.client.execute("BEGIN");
        first.client.execute("INSERT INTO t (client, n) VALUES (1, 1)");
        second.client.command(&second.execution);
        eventually("the second one waits", || (house.counted("waiting") >= 1).then_some(()));
        cutter.break_all();
        second.is_answered();
        if first.client.try_command(b"\x03COMMIT").is_ok()
            && let Ok(reply) = first.client.reply(Shape::Results)
        {
            let error = reply.failed();
            assert!(error.state.starts_with("08"), "{error}");
        }
        assert_eq!(second.client.value("SELECT COUNT(*) FROM t"), "0");
    });
}
