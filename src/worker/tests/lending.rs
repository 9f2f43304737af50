//! Home connections that rest and are lent: who gets which, and what is given back.

use std::sync::{Mutex, atomic::AtomicU32};

use super::*;
use crate::protocol::status::StatusFlags;

/// A server that lets everybody in, has 0 in all its variables, and answers a query with the number of the connection and
/// how often that was reset.
struct Inn {
    address: SocketAddr,
    guests: Arc<Guests>,
}

#[derive(Default)]
struct Guests {
    count: AtomicU32,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Inn {
    fn open() -> Inn {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let guests = Arc::new(Guests::default());
        let shared = Arc::clone(&guests);
        // Both threads end with their sockets: the listener's with the test process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let number = shared.count.fetch_add(1, Ordering::SeqCst) + 1;
                let copy = stream.try_clone().expect("a socket can be copied");
                shared.sockets.lock().expect("nobody panics with it").push(copy);
                thread::spawn(move || Inn::serve(Client::over(stream), number));
            }
        });
        Inn { address, guests }
    }

    /// What the health checks find.
    fn answers(&self) -> CheckResult {
        let greeting = Arc::new(greeting_facts(self.address));
        let contact = Contact { endpoint: Endpoint::Tcp(self.address), greeting };
        CheckResult::Answered(Answer { writable: Some(Writable::Yes), view: View::Unasked, contact: Some(contact) })
    }

    /// Closes all connections.
    fn close_all(&self) {
        for socket in self.guests.sockets.lock().expect("nobody panics with it").drain(..) {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn serve(mut peer: Client, number: u32) {
        peer.send(0, &split::greeting());
        if peer.receive().is_err() {
            return;
        }
        let mut status = StatusFlags::AUTOCOMMIT;
        let ok = |status: StatusFlags| [&[0, 0, 0][..], &status.0.to_le_bytes(), &[0, 0]].concat();
        peer.send(2, &ok(status));
        let mut resets = 0;
        while let Ok((_, command)) = peer.receive() {
            let text = String::from_utf8_lossy(&command[1..]).into_owned();
            match (command[0], text.matches("@@SESSION.").count()) {
                (0x01, _) => break,
                (0x03, 0) if text == "SELECT LAST_INSERT_ID()" => peer.row(&["0"]),
                (0x03, 0) if text.starts_with("SELECT") => peer.row(&[&format!("{number} reset {resets}")]),
                (0x03, variables) if text.starts_with("SELECT") => peer.row(&vec!["0"; variables]),
                (code, _) => {
                    resets += u32::from(code == 0x1F);
                    status = match text.as_str() {
                        "BEGIN" => StatusFlags(StatusFlags::AUTOCOMMIT.0 | StatusFlags::IN_TRANS.0),
                        "COMMIT" => StatusFlags::AUTOCOMMIT,
                        _ => status,
                    };
                    peer.send(1, &ok(status));
                }
            }
        }
        // It has a copy, and may be closed already.
        let _ = peer.stream.shutdown(Shutdown::Both);
    }
}

/// A house whose user gives connections back, over a server that takes so many.
fn lending_house(engine: Engine, inn: &Inn, connections: u32) -> House {
    House::over(engine, lending_beliefs(inn, connections).table())
}

fn lending_beliefs(inn: &Inn, connections: u32) -> Beliefs {
    let address = inn.address;
    let config = testing::parse(&format!(
        "[[listener]]\nname = \"app\"\naddress = \"127.0.0.1:0\"\n\
         [cluster.shop]\ntopology = \"static\"\nmonitor = {{ user = \"m\", password = \"m\" }}\nhold_timeout = \"60s\"\n\
         [[cluster.shop.server]]\nname = \"home\"\naddress = \"{address}\"\nrole = \"primary\"\n\
         max_connections = {connections}\n\
         [pool.main]\ncluster = \"shop\"\nrole = \"primary\"\n\
         [[user]]\nname = \"app\"\npassword = \"secret\"\npool = \"main\"\nbackend_reuse = \"transaction\"\n"
    ));
    let mut beliefs = Beliefs::new(config, Instant::now());
    check(&mut beliefs, &inn.answers());
    // That was a connection, too.
    inn.guests.count.store(0, Ordering::SeqCst);
    beliefs
}

/// The health checks of the one server have this result, as often as it takes.
fn check(beliefs: &mut Beliefs, result: &CheckResult) {
    let id = beliefs.ids().next().expect("a server");
    for _ in 0..10 {
        beliefs.check(id, result, Instant::now());
    }
}

impl House {
    pub(super) fn resting(&self) -> u32 {
        self.table.servers.iter().map(|server| server.load.resting()).sum()
    }

    fn look_at(&self, table: RoutingTable) {
        self.company.settings.table.store(Arc::new(table));
        self.tell(|| Order::TableChanged);
    }

    fn waiting(&self) -> u32 {
        self.table.servers.iter().map(|server| server.load.waiting()).sum()
    }
}

impl Client {
    fn says_ok(&mut self, text: &str) {
        self.query(text);
        assert_eq!(self.receive().expect("an answer").1[0], 0x00, "OK");
    }
}

const READ: &str = "SELECT a FROM t";

#[test]
fn a_session_has_its_own_connection_again_as_it_left_it() {
    for engine in ENGINES {
        let inn = Inn::open();
        let house = lending_house(engine, &inn, 5);
        let mut client = house.logged_in();
        assert_eq!(client.value_of(READ), "1 reset 0");
        eventually("it rests", || house.resting() == 1);
        assert_eq!(client.value_of(READ), "1 reset 0");
        drop(client);
    }
}

#[test]
fn another_session_gets_a_connection_after_a_reset() {
    for engine in ENGINES {
        let inn = Inn::open();
        let house = lending_house(engine, &inn, 1);
        // Each worker has two of them: every other one is of the same.
        let mut clients = [(); 4].map(|()| house.logged_in());
        let values = [0, 2, 1, 3].map(|client: usize| {
            let value = clients[client].value_of(READ);
            assert_eq!(house.connections(), 1, "{engine:?}");
            value
        });
        let is_lent = |pair: &[String]| pair[1] == pair[0].replace("reset 0", "reset 1");
        assert!(values.chunks(2).all(is_lent), "{engine:?}: {values:?}");
    }
}

#[test]
fn the_connection_of_a_session_that_left_serves_the_next_one_of_its_worker() {
    for engine in ENGINES {
        let inn = Inn::open();
        let house = lending_house(engine, &inn, 5);
        for _ in 0..6 {
            let mut client = house.logged_in();
            client.value_of(READ);
            client.send(0, &[0x01]);
            client.wait_for_end();
        }
        let made = inn.guests.count.load(Ordering::SeqCst);
        assert!(made <= 2, "{engine:?}: one for each worker, and there were {made}");
    }
}

#[test]
fn a_connection_that_its_server_closes_at_rest_gives_its_place_back() {
    for engine in ENGINES {
        let inn = Inn::open();
        let house = lending_house(engine, &inn, 1);
        let mut client = house.logged_in();
        assert_eq!(client.value_of(READ), "1 reset 0");
        eventually("it rests", || house.resting() == 1);
        inn.close_all();
        eventually("its place is free", || house.connections() == 0 && house.resting() == 0);
        assert_eq!(client.value_of(READ), "2 reset 0", "{engine:?}");
    }
}

#[test]
fn who_waits_for_a_transaction_to_end_gets_its_connection_whichever_worker_has_it() {
    for engine in ENGINES {
        let inn = Inn::open();
        let house = lending_house(engine, &inn, 1);
        // Two workers: one of the others is on the other one.
        let mut clients = [(); 3].map(|()| house.logged_in());
        let [first, others @ ..] = &mut clients;
        for _ in 0..3 {
            first.says_ok("BEGIN");
            others.iter_mut().for_each(|other| other.query(READ));
            eventually("both wait", || house.waiting() >= 2);
            first.says_ok("COMMIT");
            for other in others.iter_mut() {
                assert!(other.value().contains("reset"), "{engine:?}");
            }
            assert_eq!(house.connections(), 1);
        }
        eventually("nobody waits", || house.waiting() == 0);
    }
}

#[test]
fn who_waits_for_a_server_that_is_away_is_not_forgotten_when_it_is_back() {
    for engine in ENGINES {
        let inn = Inn::open();
        let mut beliefs = lending_beliefs(&inn, 1);
        let house = House::over(engine, beliefs.table());
        // They are on two workers.
        let mut clients = [house.logged_in(), house.logged_in()];
        for _ in 0..2 {
            check(&mut beliefs, &CheckResult::Refused);
            house.look_at(beliefs.table());
            eventually("nothing is in use", || house.resting() == house.connections());
            let sent = house.client_bytes();
            clients.iter_mut().for_each(|client| client.query(READ));
            let length = (HEADER_LENGTH + 1 + READ.len()) as u64;
            eventually("both have asked", || house.client_bytes() == sent + 2 * length);
            check(&mut beliefs, &inn.answers());
            house.look_at(beliefs.table());
            for client in &mut clients {
                assert!(client.value().contains("reset"), "{engine:?}");
            }
        }
    }
}

#[test]
fn a_client_that_leaves_takes_no_place_with_it_wherever_its_connection_is() {
    for engine in ENGINES {
        let inn = Inn::open();
        let house = lending_house(engine, &inn, 1);
        let is_taken = || house.connections() > house.resting();
        let check = |what: &str, leave: &dyn Fn(Client)| {
            let mut client = house.logged_in();
            client.value_of(READ);
            leave(client);
            eventually(&format!("{engine:?}, {what}: nothing is taken"), || !is_taken() && house.waiting() == 0);
        };
        check("at rest", &|client| {
            eventually("it rests", || !is_taken());
            drop(client);
        });
        check("in a transaction", &|mut client| {
            client.says_ok("BEGIN");
            client.reset();
        });
        check("while it is kept for a moment", &Client::reset);
        check("while it waits", &|mut client| {
            let mut other = house.logged_in();
            other.says_ok("BEGIN");
            client.query(READ);
            eventually("it waits", || house.waiting() > 0);
            client.reset();
            eventually("it does not wait any more", || house.waiting() == 0);
            other.says_ok("COMMIT");
        });
    }
}

#[test]
fn nothing_rests_in_a_process_that_ends() {
    for engine in ENGINES {
        let inn = Inn::open();
        let house = lending_house(engine, &inn, 5);
        let mut clients = [house.logged_in(), house.logged_in()];
        clients.iter_mut().for_each(|client| drop(client.value_of(READ)));
        eventually("both rest", || house.resting() == 2);
        house.tell(|| Order::Drain);
        clients.into_iter().for_each(Client::wait_for_end);
        eventually(&format!("{engine:?}: nothing is taken"), || house.is_empty());
    }
}
