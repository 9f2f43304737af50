//! Sessions with two servers: what each way to lose one of them gives back.

use super::*;

/// A server that lets everybody in, has 0 in all its variables, and gives its name for all that it is asked.
struct Mirror {
    address: SocketAddr,
}

/// What a [`Mirror`] does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Answers,
    /// Closes when it is asked for anything but its variables.
    HangsUp,
    /// Does not let anybody in.
    Refuses,
    /// Greets, and says no more.
    Hangs,
}

impl Mirror {
    fn start(name: &'static str, manner: Manner) -> Mirror {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        // Both threads end with their sockets: the listener's with the test process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || Mirror::serve(Client::over(stream), name, manner));
            }
        });
        Mirror { address }
    }

    fn serve(mut peer: Client, name: &str, manner: Manner) {
        peer.send(0, &greeting());
        if peer.receive().is_err() {
            return;
        }
        match manner {
            Manner::Refuses => return peer.send(2, b"\xff\x15\x04#28000Access denied"),
            Manner::Hangs => return peer.wait_for_end(),
            Manner::Answers | Manner::HangsUp => peer.send(2, OK),
        }
        while let Ok((_, command)) = peer.receive() {
            let text = String::from_utf8_lossy(&command[1..]).into_owned();
            match (command[0], text.matches("@@SESSION.").count()) {
                (0x03, 0) if text.starts_with("SELECT") && manner == Manner::HangsUp => return,
                (0x03, 0) if text.starts_with("SELECT") => peer.row(&[name]),
                (0x03, variables) if text.starts_with("SELECT") => peer.row(&vec!["0"; variables]),
                (0x01, _) => return,
                // The number of a statement is the length of the server's name; it has neither parameters nor columns.
                (0x16, _) => peer.send(1, &[0, name.len() as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
                (0x17, _) => peer.row(&[&format!("{name} {}", command[1])]),
                _ => peer.send(1, OK),
            }
        }
    }
}

impl Client {
    pub(super) fn row(&mut self, values: &[&str]) {
        let mut bytes = Vec::new();
        let mut sequence = write_packet(&mut bytes, 1, &[values.len() as u8]);
        for _ in values {
            sequence = write_packet(&mut bytes, sequence, b"\x03def\0\0\0\x01a\0\x0c\x2d\0\x01\0\0\0\xfd\0\0\0\0\0");
        }
        let row: Vec<u8> = values.iter().flat_map(|value| [&[value.len() as u8], value.as_bytes()].concat()).collect();
        sequence = write_packet(&mut bytes, sequence, &row);
        write_packet(&mut bytes, sequence, &[0xFE, 0, 0, 2, 0, 0, 0]);
        // The other end may be gone by now.
        let _ = self.stream.write_all(&bytes);
    }

    /// The one value of a query's one row.
    pub(super) fn value_of(&mut self, text: &str) -> String {
        self.query(text);
        self.value()
    }

    pub(super) fn value(&mut self) -> String {
        let packets: Vec<Vec<u8>> = (0..4).map(|_| self.receive().expect("a result").1).collect();
        String::from_utf8_lossy(&packets[2][1..]).into_owned()
    }
}

pub(super) fn greeting() -> Vec<u8> {
    static GREETING: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut greeting = Client::connect(standin().address()).greeting();
        greeting.capabilities |= crate::protocol::capability::Capabilities::SESSION_TRACK;
        let mut payload = Vec::new();
        greeting.encode(&mut payload);
        payload
    });
    GREETING.clone()
}

/// A house whose user writes at the first server and reads at the second.
fn split_house(engine: Engine, home: &Mirror, replica: SocketAddr, more_of_replica: &str) -> House {
    house_of(engine, home, replica, more_of_replica, "")
}

/// The same with more of the user.
fn house_of(engine: Engine, home: &Mirror, replica: SocketAddr, more_of_replica: &str, more_of_user: &str) -> House {
    let home = home.address;
    let config = testing::parse(&format!(
        "[[listener]]\nname = \"app\"\naddress = \"127.0.0.1:0\"\n\
         [cluster.shop]\ntopology = \"static\"\nmonitor = {{ user = \"m\", password = \"m\" }}\nhold_timeout = \"60s\"\n\
         connect_timeout = \"60s\"\n\
         [[cluster.shop.server]]\nname = \"home\"\naddress = \"{home}\"\nrole = \"primary\"\n\
         [[cluster.shop.server]]\nname = \"replica\"\naddress = \"{replica}\"\nrole = \"replica\"\n{more_of_replica}\n\
         [pool.write]\ncluster = \"shop\"\nrole = \"primary\"\n\
         [pool.read]\ncluster = \"shop\"\nrole = \"replica\"\n\
         [[user]]\nname = \"app\"\npassword = \"secret\"\nsplit = {{ write = \"write\", read = \"read\" }}\n\
         read_your_writes = false\n{more_of_user}\n"
    ));
    let now = Instant::now();
    let mut beliefs = Beliefs::new(config, now);
    let ids: Vec<_> = beliefs.ids().collect();
    for (id, address) in ids.into_iter().zip([home, replica]) {
        let contact = Contact { endpoint: Endpoint::Tcp(address), greeting: Arc::new(greeting_facts(home)) };
        let answer = Answer { writable: Some(Writable::Yes), view: View::Unasked, contact: Some(contact) };
        beliefs.check(id, &CheckResult::Answered(answer), now);
    }
    House::over(engine, beliefs.table())
}

impl House {
    /// Bytes that clients have sent, as far as workers have seen them.
    pub(super) fn client_bytes(&self) -> u64 {
        let handles = self.company.handles.get().expect("hired");
        handles.iter().map(|handle| handle.counters().client_bytes.load(Ordering::SeqCst)).sum()
    }

    fn connections_at(&self, place: usize) -> u32 {
        self.table.servers[place].load.connections()
    }
}

#[test]
fn a_session_with_two_servers_gives_back_its_places_at_both() {
    for engine in ENGINES {
        let home = Mirror::start("home", Manner::Answers);
        let replica = Mirror::start("replica", Manner::Answers);
        let house = split_house(engine, &home, replica.address, "");
        let reading = || {
            let mut client = house.logged_in();
            assert_eq!(client.value_of("SELECT a FROM t"), "replica");
            assert_eq!(client.value_of("SELECT a FROM t FOR UPDATE"), "home");
            assert_eq!(client.value_of("SELECT a FROM t"), "replica");
            client
        };
        let check = |end: &dyn Fn(Client)| {
            let client = reading();
            assert_eq!((house.connections_at(0), house.connections_at(1)), (1, 1));
            end(client);
            eventually(&format!("{engine:?}: nothing is taken"), || house.is_empty());
        };
        check(&|mut client| client.send(0, &[0x01]));
        check(&drop);
        check(&Client::reset);
        check(&|client| {
            house.tell(|| Order::Drain);
            client.wait_for_end();
        });
    }
}

#[test]
fn a_replica_that_cannot_be_had_leaves_the_read_to_home_and_no_place_taken() {
    for engine in ENGINES {
        let home = Mirror::start("home", Manner::Answers);
        let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it is bound");
        let [refuses, hangs, hangs_up] =
            [Manner::Refuses, Manner::Hangs, Manner::HangsUp].map(|manner| Mirror::start("replica", manner).address);
        for (what, replica) in [("nobody", nobody), ("refuses", refuses), ("hangs", hangs), ("hangs up", hangs_up)] {
            let house = split_house(engine, &home, replica, "");
            let mut client = house.logged_in();
            assert_eq!(client.value_of("SELECT a FROM t"), "home", "{engine:?}, replica {what}");
            eventually("the place at the replica is free", || house.connections_at(1) == 0);
            assert_eq!(client.value_of("SELECT a FROM t FOR UPDATE"), "home");
            drop(client);
            eventually(&format!("{engine:?}, replica {what}: nothing is taken"), || house.is_empty());
        }
    }
}

#[test]
fn a_full_replica_leaves_reads_to_home() {
    for engine in ENGINES {
        let home = Mirror::start("home", Manner::Answers);
        let replica = Mirror::start("replica", Manner::Answers);
        let house = split_house(engine, &home, replica.address, "max_connections = 1");
        let mut first = house.logged_in();
        let mut second = house.logged_in();
        assert_eq!(first.value_of("SELECT a FROM t"), "replica");
        assert_eq!(second.value_of("SELECT a FROM t"), "home");
        assert_eq!((house.connections_at(0), house.connections_at(1)), (2, 1));
        drop((first, second));
        eventually("nothing is taken", || house.is_empty());
    }
}

#[test]
fn sessions_take_turns_at_the_one_connection_of_a_replica() {
    const LENDS: &str = "backend_reuse = \"transaction\"";
    for engine in ENGINES {
        let home = Mirror::start("home", Manner::Answers);
        let replica = Mirror::start("replica", Manner::Answers);
        let house = house_of(engine, &home, replica.address, "max_connections = 1", LENDS);
        // They are on two workers, which have one queue each.
        let mut clients = [(); 6].map(|()| house.logged_in());
        for _ in 0..3 {
            clients.iter_mut().for_each(|client| client.query("SELECT a FROM t"));
            for client in &mut clients {
                assert_eq!(client.value(), "replica", "{engine:?}");
            }
        }
        assert_eq!(house.connections_at(1), 1);
        drop(clients);
        eventually("nothing is in use", || house.connections() == house.resting());
        house.tell(|| Order::Drain);
        eventually("nothing is taken", || house.is_empty());
    }
}

#[test]
fn a_client_that_goes_while_its_replica_is_being_had_takes_nothing_with_it() {
    for engine in ENGINES {
        let home = Mirror::start("home", Manner::Answers);
        let replica = Mirror::start("replica", Manner::Hangs);
        let house = split_house(engine, &home, replica.address, "");
        let mut client = house.logged_in();
        client.query("SELECT a FROM t");
        eventually("the replica is being asked", || house.connections_at(1) == 1);
        client.reset();
        eventually("nothing is taken", || house.is_empty());
    }
}

#[test]
fn an_execution_reaches_the_replica_under_its_number_there_however_it_is_cut() {
    for engine in ENGINES {
        let home = Mirror::start("home", Manner::Answers);
        let replica = Mirror::start("replica", Manner::Answers);
        let house = split_house(engine, &home, replica.address, "");
        let mut client = house.logged_in();
        client.send(0, b"\x16SELECT a FROM t");
        assert_eq!(client.receive().expect("a number").1[1], 4);
        let mut execute = Vec::new();
        write_packet(&mut execute, 0, &[0x17, 4, 0, 0, 0, 0, 1, 0, 0, 0]);
        for cut in 1..execute.len() {
            let sent = house.client_bytes() + cut as u64;
            client.stream.write_all(&execute[..cut]).expect("the other end reads");
            eventually("the first piece is there", || house.client_bytes() == sent);
            client.stream.write_all(&execute[cut..]).expect("the other end reads");
            assert_eq!(client.value(), "replica 7", "{engine:?}, cut at {cut}");
        }
        // Several in one buffer, and a read and a ping behind them.
        let mut many = execute.repeat(3);
        write_packet(&mut many, 0, b"\x03SELECT a FROM t");
        write_packet(&mut many, 0, &[0x0E]);
        client.stream.write_all(&many).expect("the other end reads");
        let answers: Vec<String> = (0..4).map(|_| client.value()).collect();
        assert_eq!(answers, ["replica 7", "replica 7", "replica 7", "replica"]);
        assert_eq!(client.receive().expect("an answer").1[0], 0x00, "OK");
    }
}
