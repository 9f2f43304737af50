//! Prepared statements of a session whose home connection is lent: numbers of ours, and connections that learn them.

use super::{
    lending::Lender,
    statements::{execute_as, prepare_at},
    *,
};

/// The server's number on the connection where the client prepared.
const THERE: u8 = 7;

/// The client prepares a statement on a connection of its own; gives the number that it gets.
fn prepare(play: &mut Play, text: &str) -> u32 {
    play.send(&command(0x16, text.as_bytes()));
    play.lend(Lender::Own);
    assert_eq!(play.stage.take_server(), command(0x16, text.as_bytes()));
    prepare_at(play, text, THERE)
}

fn execution(id: u32, binds: Option<bool>) -> Vec<u8> {
    execute_as(id, binds)
}

fn closes(id: u32) -> Vec<u8> {
    command(0x19, &id.to_le_bytes())
}

impl Play {
    /// A command comes out under the number of the statement there, and is answered with a row.
    fn executes(&mut self, lender: Lender, sent: &[u8], expected: &[u8]) {
        self.send(sent);
        self.lend(lender);
        self.is_executed(expected);
    }

    fn is_executed(&mut self, expected: &[u8]) {
        assert_eq!(self.waiting, b"", "said: {:?}", self.said);
        assert_eq!(self.stage.take_server(), expected, "said: {:?}", self.said);
        let result = self.result();
        self.reply(Side::Server, &result);
        assert_eq!(self.stage.take_client(), result);
    }

    fn prepares_said(&mut self) -> Vec<String> {
        self.said_to_home().into_iter().filter(|text| text.starts_with("PREPARE")).collect()
    }

    /// The connection was kept for a moment, and nobody else waits for it.
    fn is_not_wanted(&mut self) {
        self.stage.tell(Input::Yield { is_wanted: false });
        self.serve();
    }

    /// Nobody asks about the last statement, and the connection goes.
    fn lets_go(&mut self) {
        self.time_out();
        assert!(self.parked().is_some(), "an open statement keeps no connection");
    }
}

const TEXT: &str = "SELECT a FROM t WHERE a = ?";

#[test]
fn an_open_statement_keeps_no_connection_and_has_a_number_of_ours() {
    let mut play = Play::lent();
    let id = prepare(&mut play, TEXT);
    assert!(play.parked().is_some());
    assert_ne!(id, u32::from(THERE));
    play.executes(Lender::Own, &execution(id, Some(true)), &execution(THERE.into(), Some(true)));
    play.lets_go();
    assert_eq!(play.prepares_said(), [""; 0], "it is still there");
}

#[test]
fn a_connection_of_another_is_made_the_sessions_own_in_two_round_trips() {
    let mut play = Play::lent();
    play.runs_on(Lender::Own, "SET time_zone = '+02:00', @a = 5", AUTOCOMMIT, &variable("time_zone", "+02:00"));
    play.runs_on(Lender::Own, "SET ROLE auditor", AUTOCOMMIT, b"");
    let id = prepare(&mut play, TEXT);
    play.said();
    play.round_trips = 0;
    play.send(&execution(id, Some(true)));
    play.lend(Lender::Other(Some("elsewhere")));
    assert_eq!(play.stage.take_server(), execution(REPLICA_STATEMENT.into(), Some(true)));
    let said = play.said_to_home();
    let kinds: Vec<&str> = said.iter().filter_map(|text| text.split(' ').next()).collect();
    assert_eq!(kinds, ["RESET", "USE", "SELECT", "SET", "SET", "PREPARE"], "{said:?}");
    assert_eq!(play.round_trips, 2, "{said:?}");
}

#[test]
fn another_connection_learns_the_statement_and_the_types_of_its_parameters() {
    let mut play = Play::lent();
    let id = prepare(&mut play, TEXT);
    play.parked();
    play.executes(Lender::Own, &execution(id, Some(true)), &execution(THERE.into(), Some(true)));
    play.lets_go();
    let there = u32::from(REPLICA_STATEMENT);
    play.executes(Lender::Other(Some("shop")), &execution(id, Some(false)), &execution(there, Some(true)));
    assert_eq!(play.prepares_said(), [format!("PREPARE {TEXT}")]);
    play.lets_go();
    play.executes(Lender::Own, &execution(id, Some(false)), &execution(there, Some(false)));
    assert_eq!(play.prepares_said(), [""; 0]);
}

#[test]
fn minus_one_is_the_statement_prepared_last_wherever_it_is() {
    let mut play = Play::lent();
    prepare(&mut play, TEXT);
    play.parked();
    let there = u32::from(REPLICA_STATEMENT);
    play.executes(Lender::Other(Some("shop")), &execution(u32::MAX, Some(true)), &execution(there, Some(true)));
}

#[test]
fn a_statement_is_closed_without_a_connection_and_where_it_is() {
    let mut play = Play::lent();
    let id = prepare(&mut play, TEXT);
    play.parked();
    play.executes(Lender::Own, &execution(id, Some(true)), &execution(THERE.into(), Some(true)));
    play.send(&closes(id));
    assert_eq!(play.stage.take_server(), closes(THERE.into()));
    play.lets_go();

    let id = prepare(&mut play, TEXT);
    play.lets_go();
    play.send(&closes(id));
    assert_eq!((play.waiting.len(), play.wants_home().is_some()), (0, false));
    play.send(&execution(id, Some(true)));
    play.lend(Lender::Own);
    assert_eq!(play.stage.take_server(), execution(id, Some(true)), "the server complains of it");
}

#[test]
fn closed_statements_do_not_gather_on_a_connection() {
    let mut play = Play::lent();
    for _ in 0..32 {
        let id = prepare(&mut play, TEXT);
        assert!(play.parked().is_some());
        play.send(&closes(id));
    }
    play.said();
    play.runs_on(Lender::Own, "BEGIN", TRANSACTION, b"");
    let said = play.said_to_home();
    assert_eq!(said.iter().filter(|text| text.as_str() == "CLOSE 7").count(), 32, "{said:?}");
}

#[test]
fn parts_of_parameters_and_cursors_keep_the_connection() {
    let mut play = Play::lent();
    let id = prepare(&mut play, TEXT);
    play.parked();
    let part = |id: u32| command(0x18, &[&id.to_le_bytes()[..], &[0, 0, b'x']].concat());
    play.send(&part(id));
    play.lend(Lender::Other(Some("shop")));
    assert_eq!(play.stage.take_server(), part(REPLICA_STATEMENT.into()));
    assert!(play.parked().is_none() && play.stage.session.poll_timeout().is_none());
    play.send(&execution(id, Some(true)));
    play.is_executed(&execution(REPLICA_STATEMENT.into(), Some(true)));
    play.lets_go();
    let mut cursor = execution(id, Some(true));
    cursor[HEADER_LENGTH + 5] = 1;
    play.send(&cursor);
    play.lend(Lender::Own);
    play.stage.take_server();
    let is_open = StatusFlags(AUTOCOMMIT.0 | StatusFlags::CURSOR_EXISTS.0);
    let rows = stream(&[vec![1], column("a"), end_with(is_open, b"")]);
    play.reply(Side::Server, &rows);
    assert!(play.parked().is_none() && play.stage.session.poll_timeout().is_none());
    let fetch = |id: u32| command(0x1C, &[id.to_le_bytes(), 9u32.to_le_bytes()].concat());
    play.send(&fetch(id));
    assert_eq!(play.stage.take_server(), fetch(REPLICA_STATEMENT.into()));
    play.reply(Side::Server, &packet(1, &end_with(StatusFlags(AUTOCOMMIT.0 | StatusFlags::LAST_ROW_SENT.0), b"")));
    play.lets_go();
}

#[test]
fn parts_that_no_connection_could_be_had_for_are_missed_at_the_execution() {
    let mut play = Play::lent();
    let id = prepare(&mut play, TEXT);
    play.parked();
    play.send(&command(0x18, &[&id.to_le_bytes()[..], &[0, 0, b'x']].concat()));
    assert!(play.wants_home().is_some());
    play.stage.tell(Input::LeaseFailed(crate::session::LeaseFailure::ServersFull("all are taken".into())));
    play.serve();
    assert_eq!((play.stage.take_client(), play.waiting.len()), (Vec::new(), 0), "nobody answers such a command");
    play.send(&execution(id, Some(true)));
    play.lend(Lender::Own);
    let error = play.stage.take_client();
    assert_eq!((error[4], u16::from_le_bytes([error[5], error[6]])), (0xFF, 1040));
}

#[test]
fn a_statement_is_prepared_under_the_schema_it_was_prepared_under() {
    let mut play = Play::lent();
    let id = prepare(&mut play, TEXT);
    play.parked();
    play.runs_on(Lender::Own, "USE elsewhere", AUTOCOMMIT, &schema("elsewhere"));
    play.parked().expect("nothing keeps it");
    play.said();
    let there = u32::from(REPLICA_STATEMENT);
    play.executes(Lender::Other(Some("elsewhere")), &execution(id, Some(true)), &execution(there, Some(true)));
    let said = play.said_to_home();
    let places: Vec<&str> =
        said.iter().map(String::as_str).filter(|text| text.starts_with("USE") || text.starts_with("PREPARE")).collect();
    assert_eq!(places, ["USE shop", &format!("PREPARE {TEXT}"), "USE elsewhere"]);
}

#[test]
fn a_statement_is_prepared_with_the_settings_that_it_was_prepared_with() {
    let mut play = Play::lent();
    let id = prepare(&mut play, TEXT);
    play.parked();
    play.runs_on(Lender::Own, "SET sql_mode = 'ANSI_QUOTES'", AUTOCOMMIT, &variable("sql_mode", "ANSI_QUOTES"));
    play.parked().expect("nothing keeps it");
    play.said();
    let there = u32::from(REPLICA_STATEMENT);
    play.executes(Lender::Other(Some("shop")), &execution(id, Some(true)), &execution(there, Some(true)));
    let said = play.said_to_home();
    let place = said.iter().position(|text| text.starts_with("PREPARE")).expect("it is prepared there");
    assert_eq!(
        said[place - 1],
        "SET SESSION sql_mode='STRICT_TRANS_TABLES', SESSION character_set_client='utf8mb4', \
         SESSION character_set_connection='utf8mb4', SESSION collation_connection='utf8mb4_general_ci'"
    );
    assert!(said[place + 1].starts_with("SELECT @@SESSION"), "what it has now is not known: {said:?}");
    assert!(said[place + 2].contains("SESSION sql_mode='ANSI_QUOTES'"), "{said:?}");
    assert_eq!(said.len(), place + 3);
}

#[test]
fn settings_that_a_server_does_not_take_for_a_statement_are_an_error_and_not_the_sessions() {
    let mut play = Play::lent();
    let id = prepare(&mut play, TEXT);
    play.parked();
    play.runs_on(Lender::Own, "SET sql_mode = 'ANSI_QUOTES'", AUTOCOMMIT, &variable("sql_mode", "ANSI_QUOTES"));
    play.parked().expect("nothing keeps it");
    play.unanswered = "SET SESSION sql_mode='STRICT";
    play.send(&execution(id, Some(true)));
    play.lend(Lender::Other(Some("shop")));
    play.reply(Side::Server, &error(1, 1231));
    let heard = play.stage.take_client();
    assert_eq!((heard[4], u16::from_le_bytes([heard[5], heard[6]])), (0xFF, 1615));
    play.parked().expect("nothing keeps it");
    play.said();
    play.runs_on(Lender::Own, "BEGIN", TRANSACTION, b"");
    assert!(play.said_to_home().last().is_some_and(|text| text.contains("SESSION sql_mode='ANSI_QUOTES'")));
}

#[test]
fn character_sets_that_are_set_to_what_they_were_change_no_statement() {
    let mut play = Play::lent();
    let id = prepare(&mut play, TEXT);
    play.parked();
    let told = [variable("character_set_client", "utf8mb4"), variable("character_set_connection", "utf8mb4")].concat();
    let text = "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci";
    play.runs_on(Lender::Own, text, AUTOCOMMIT, &told);
    assert!(play.parked().is_some());
    play.said();
    let there = u32::from(REPLICA_STATEMENT);
    play.executes(Lender::Other(Some("shop")), &execution(id, Some(true)), &execution(there, Some(true)));
    let said = play.said_to_home();
    assert!(said.iter().all(|text| !text.starts_with("SET SESSION sql_mode")), "{said:?}");
}

#[test]
fn warnings_of_a_preparation_are_kept_for_a_moment() {
    let mut play = Play::lent();
    play.send(&command(0x16, b"SELECT 1"));
    play.lend(Lender::Own);
    play.stage.take_server();
    play.reply(Side::Server, &stream(&[vec![0, THERE, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], column("1")]));
    assert!(play.parked().is_none());
    play.lets_go();
}

#[test]
fn an_error_of_the_server_at_the_second_preparation_is_the_clients_and_ends_no_transaction() {
    let mut play = Play::lent();
    let id = prepare(&mut play, TEXT);
    play.parked();
    play.runs_on(Lender::Other(Some("shop")), "BEGIN", TRANSACTION, b"");
    play.unanswered = "PREPARE";
    play.send(&execution(id, Some(true)));
    play.reply(Side::Server, &error(1, 1146));
    let heard = play.stage.take_client();
    assert_eq!((heard[4], u16::from_le_bytes([heard[5], heard[6]])), (0xFF, 1146));
    assert_eq!(play.activity(), "in transaction");
    assert!(play.parked().is_none());
}

#[test]
fn a_long_execution_without_types_has_them_put_in() {
    let mut play = Play::lent();
    let id = prepare(&mut play, TEXT);
    play.parked();
    play.executes(Lender::Own, &execution(id, Some(true)), &execution(THERE.into(), Some(true)));
    play.lets_go();
    let long = |id: u32, types: &[u8]| {
        let head = [&id.to_le_bytes()[..], &[0, 1, 0, 0, 0, 0, u8::from(!types.is_empty())], types].concat();
        command(0x17, &[&head[..], &vec![b'x'; super::super::COMMAND_MAX]].concat())
    };
    play.executes(Lender::Other(Some("shop")), &long(id, &[]), &long(REPLICA_STATEMENT.into(), &[3, 0]));
    play.lets_go();
    play.executes(Lender::Own, &long(id, &[]), &long(REPLICA_STATEMENT.into(), &[]));
}

#[test]
fn a_bulk_execution_is_renumbered_and_told_the_types() {
    let mut play = Play::lent();
    let id = prepare(&mut play, "INSERT INTO t VALUES (?)");
    play.parked();
    let bulk = |id: u32, types: &[u8]| {
        let flags = if types.is_empty() { 0 } else { 0x80 };
        command(0xFA, &[&id.to_le_bytes()[..], &[flags, 0], types, &[0, 5, 0, 0, 0]].concat())
    };
    play.executes(Lender::Other(Some("shop")), &bulk(id, &[3, 0]), &bulk(REPLICA_STATEMENT.into(), &[3, 0]));
    play.script.insert_id = "9";
    play.lets_go();
    play.executes(Lender::Other(Some("shop")), &bulk(id, &[]), &bulk(REPLICA_STATEMENT.into(), &[3, 0]));
}

#[test]
fn a_number_that_the_client_was_not_given_names_nothing() {
    let mut play = Play::lent();
    prepare(&mut play, TEXT);
    play.parked();
    play.send(&execution(THERE.into(), Some(true)));
    play.lend(Lender::Own);
    assert_eq!(play.stage.take_server(), execution(0, Some(true)));
}

#[test]
fn behind_a_failed_preparation_minus_one_is_no_statement_of_ours() {
    let mut play = Play::lent();
    prepare(&mut play, TEXT);
    play.parked();
    play.send(&command(0x16, b"SELEKT"));
    play.lend(Lender::Own);
    play.stage.take_server();
    play.reply(Side::Server, &error(1, 1064));
    play.stage.take_client();
    play.send(&execution(u32::MAX, Some(true)));
    play.is_not_wanted();
    assert_eq!(play.stage.take_server(), execution(0, Some(true)));
}
