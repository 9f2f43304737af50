//! Real workers between real sockets on 127.0.0.1: what every kind of end gives back.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

mod lending;
mod pressure;
mod simulated;
mod split;
mod strangers;

use super::*;
use crate::{
    config::Config,
    protocol::{
        auth::{Credential, Login, Secret},
        handshake::{Greeting, HandshakeResponse, ServerHello},
        packet::{HEADER_LENGTH, Header, write_packet},
        response::ErrPacket,
        version::ServerVersion,
    },
    session::Ending,
    slab::Key,
    standin::{Account, Options, StandIn},
    topology::{Answer, Beliefs, CheckResult, Contact, Endpoint, GreetingFacts, View, Writable, testing},
};

/// io_uring where the kernel has it, and epoll everywhere.
const ENGINES: [Engine; 2] = [Engine::Auto, Engine::Epoll];

/// A test that waits this long waits for something that does not come.
const PATIENCE: Duration = Duration::from_secs(60);

static RSA: LazyLock<Arc<RsaKey>> = LazyLock::new(|| Arc::new(RsaKey::generate().expect("a key can be made")));

/// Running workers in front of some servers.
struct House {
    company: Arc<Company>,
    workers: Option<Workers>,
    table: Arc<RoutingTable>,
    address: SocketAddr,
}

impl House {
    fn new(engine: Engine, servers: &[SocketAddr], more_of_server: &str) -> House {
        House::over(engine, table(config(servers, more_of_server), servers))
    }

    /// A house whose clients wait so long for a server.
    fn that_waits(engine: Engine, servers: &[SocketAddr], hold_timeout: &str) -> House {
        House::over(engine, table(testing::parse(&config_text(servers, "", hold_timeout)), servers))
    }

    fn over(engine: Engine, table: RoutingTable) -> House {
        let table = Arc::new(table);
        let settings = settings(engine, 2, Arc::clone(&table));
        let company = Arc::new(Company {
            settings,
            sessions: AtomicU32::new(0),
            strangers: AtomicU32::new(0),
            gate: Arc::new(Gate::new(1)),
            handles: OnceLock::new(),
        });
        let workers = hire(&company).expect("workers start");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        workers.handles()[0]
            .send(Order::Listen {
                key: 1,
                mark: table.config.listeners[0].mark().into(),
                socket: OwnedFd::from(listener),
            })
            .expect("a fresh mailbox has room");
        House { company, workers: Some(workers), table, address }
    }

    fn tell(&self, order: impl Fn() -> Order) {
        for handle in self.workers.as_ref().expect("the house is open").handles() {
            handle.send(order()).expect("the mailbox has room");
        }
    }

    fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    fn logged_in(&self) -> Client {
        let mut client = self.connect();
        assert_eq!(client.log_in("app", "secret")[0], 0x00, "OK");
        client
    }

    fn ended(&self, ending: Ending) -> u64 {
        self.company.handles.get().expect("hired").iter().map(|handle| handle.counters().ended(ending)).sum()
    }

    fn connections(&self) -> u32 {
        self.table.servers.iter().map(|server| server.load.connections()).sum()
    }

    /// Everything that sessions take is given back.
    fn is_empty(&self) -> bool {
        let handles = self.company.handles.get().expect("hired");
        let user = self.table.user(b"app").expect("it is configured");
        self.company.sessions.load(Ordering::SeqCst) == 0
            && handles.iter().all(|handle| handle.burden().load(Ordering::SeqCst) == 0)
            && handles.iter().all(|handle| handle.counters().sessions.load(Ordering::SeqCst) == 0)
            && self.connections() == 0
            && self.table.servers.iter().all(|server| server.load.waiting() == 0)
            && self.table.user_load(user).sessions() == 0
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(workers) = self.workers.take() {
            for handle in workers.handles() {
                // A worker that was drained has ended.
                let _ = handle.send(Order::Stop);
            }
            workers.join();
        }
    }
}

fn settings(engine: Engine, count: usize, table: Arc<RoutingTable>) -> Settings {
    let (reports, _) = tokio::sync::mpsc::channel(64);
    let (deaths, _) = tokio::sync::mpsc::unbounded_channel();
    let table = Arc::new(ArcSwap::new(table));
    Settings {
        count,
        pin: false,
        busy_poll: false,
        engine,
        sessions_max: 100,
        table,
        reports,
        rsa: Arc::clone(&RSA),
        directory: Arc::default(),
        outside: Arc::default(),
        terms: Arc::default(),
        deaths,
    }
}

/// Waits for what other threads do.
fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::yield_now();
    }
}

fn config(servers: &[SocketAddr], more_of_server: &str) -> Arc<Config> {
    testing::parse(&config_text(servers, more_of_server, "60s"))
}

fn config_text(servers: &[SocketAddr], more_of_server: &str, hold_timeout: &str) -> String {
    let servers: String = servers
        .iter()
        .enumerate()
        .map(|(place, address)| {
            format!("[[cluster.shop.server]]\nname = \"db{place}\"\naddress = \"{address}\"\nrole = \"replica\"\n{more_of_server}\n")
        })
        .collect();
    format!(
        "[[listener]]\nname = \"app\"\naddress = \"127.0.0.1:0\"\n\
         [cluster.shop]\ntopology = \"static\"\nmonitor = {{ user = \"m\", password = \"m\" }}\n\
         hold_timeout = \"{hold_timeout}\"\n{servers}\
         [pool.main]\ncluster = \"shop\"\nrole = \"replica\"\n\
         [[user]]\nname = \"app\"\npassword = \"secret\"\npool = \"main\"\n"
    )
}

/// All servers are up, and greet as they do.
fn table(config: Arc<Config>, servers: &[SocketAddr]) -> RoutingTable {
    let now = Instant::now();
    let mut beliefs = Beliefs::new(config, now);
    let ids: Vec<_> = beliefs.ids().collect();
    for (id, &address) in ids.into_iter().zip(servers) {
        let contact = Contact { endpoint: Endpoint::Tcp(address), greeting: Arc::new(greeting_facts(address)) };
        let answer = Answer { writable: Some(Writable::No), view: View::Unasked, contact: Some(contact) };
        beliefs.check(id, &CheckResult::Answered(answer), now);
    }
    beliefs.table()
}

fn greeting_facts(address: SocketAddr) -> GreetingFacts {
    let greeting = Client::connect(address).greeting();
    GreetingFacts {
        version: ServerVersion::parse(&greeting.version).expect("a server's version"),
        version_text: greeting.version,
        capabilities: greeting.capabilities,
        collation: greeting.collation,
        plugin: greeting.plugin,
    }
}

fn standin() -> StandIn {
    StandIn::start(Options::maria_db(1, vec![Account::native("app", "secret")])).expect("a stand-in starts")
}

/// A client, or a server's other end: packets over a blocking socket.
struct Client {
    stream: TcpStream,
}

impl Client {
    fn connect(address: SocketAddr) -> Client {
        Client::over(TcpStream::connect(address).expect("somebody listens"))
    }

    fn over(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket takes a timeout");
        Client { stream }
    }

    fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; HEADER_LENGTH];
        self.stream.read_exact(&mut head)?;
        let header = Header::from_bytes(head);
        let mut payload = vec![0; header.payload_length as usize];
        self.stream.read_exact(&mut payload)?;
        Ok((header.sequence, payload))
    }

    fn send(&mut self, sequence: u8, payload: &[u8]) {
        let mut bytes = Vec::new();
        write_packet(&mut bytes, sequence, payload);
        self.stream.write_all(&bytes).expect("the other end reads");
    }

    fn greeting(&mut self) -> Greeting {
        let (_, payload) = self.receive().expect("a greeting");
        match Greeting::parse(&payload).expect("a greeting") {
            ServerHello::Greeting(greeting) => greeting,
            ServerHello::Refused(error) => panic!("{error:?}"),
        }
    }

    /// What comes for the login.
    fn log_in(&mut self, user: &str, password: &str) -> Vec<u8> {
        let greeting = self.greeting();
        let credential = Credential::of_password(Secret::new(password.as_bytes().to_vec()));
        let (_, plugin, auth_response) = Login::begin(&greeting, &credential);
        let response = HandshakeResponse {
            capabilities: greeting.capabilities.without(crate::protocol::capability::Capabilities::CONNECT_WITH_DB),
            max_packet: 1 << 24,
            collation: 45,
            user: user.into(),
            auth_response,
            database: None,
            plugin: Some(plugin.name().to_vec()),
            attributes: Vec::new(),
        };
        let mut payload = Vec::new();
        response.encode(&mut payload);
        self.send(1, &payload);
        self.receive().expect("an answer").1
    }

    fn ping(&mut self) {
        self.send(0, &[0x0E]);
        let (sequence, payload) = self.receive().expect("an answer");
        assert_eq!((sequence, payload[0]), (1, 0x00), "OK");
    }

    fn query(&mut self, text: &str) {
        self.send(0, &[b"\x03", text.as_bytes()].concat());
    }

    fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a socket can be reset");
    }

    fn wait_for_end(mut self) {
        while self.receive().is_ok() {}
    }
}

fn error_code(payload: &[u8]) -> u16 {
    ErrPacket::parse(payload).expect("an error").code.0
}

#[test]
fn whatever_ends_a_session_gives_back_all_that_it_took() {
    for engine in ENGINES {
        let server = standin();
        let house = House::new(engine, &[server.address()], "");
        let hasty = House::that_waits(engine, &[server.address()], "1s");
        let check_at = |house: &House, ending: Ending, end: &dyn Fn()| {
            let before = house.ended(ending);
            end();
            eventually(ending.name(), || house.ended(ending) > before);
            eventually(&format!("{engine:?}: nothing is taken after {}", ending.name()), || house.is_empty());
        };
        let check = |ending: Ending, end: &dyn Fn()| check_at(&house, ending, end);
        check(Ending::Quit, &|| house.logged_in().send(0, &[0x01]));
        check(Ending::ClientGone, &|| drop(house.logged_in()));
        check(Ending::ClientGone, &|| house.logged_in().reset());
        check(Ending::ClientGone, &|| drop(house.connect().greeting()));
        check(Ending::ClientGone, &|| {
            let mut client = house.logged_in();
            client.query("SELECT SLEEP(600)");
            client.stream.shutdown(Shutdown::Write).expect("it is connected");
            client.wait_for_end();
        });
        check(Ending::LoginDenied, &|| {
            assert_eq!(error_code(&house.connect().log_in("app", "wrong")), 1045);
        });
        check(Ending::ClientProtocol, &|| {
            let mut client = house.logged_in();
            client.send(7, &[0x0E]);
            assert_eq!(error_code(&client.receive().expect("an error").1), 1156);
        });
        check(Ending::ServerGone, &|| {
            let client = house.logged_in();
            server.fail();
            client.wait_for_end();
        });
        check_at(&hasty, Ending::NoServer, &|| {
            assert_eq!(error_code(&hasty.connect().log_in("app", "secret")), 1158);
        });
        server.recover().expect("the port is kept");
        check(Ending::Drained, &|| {
            let mut clients = [house.logged_in(), house.logged_in()];
            clients.iter_mut().for_each(Client::ping);
            house.tell(|| Order::Drain);
            clients.into_iter().for_each(Client::wait_for_end);
        });
    }
}

#[test]
fn who_waits_for_a_place_gets_it_when_another_leaves() {
    for engine in ENGINES {
        let server = standin();
        let house = House::new(engine, &[server.address()], "max_connections = 1");
        let mut first = house.logged_in();
        let mut second = house.connect();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| second.log_in("app", "secret"));
            eventually("the second one waits", || house.table.servers[0].load.waiting() > 0);
            first.ping();
            first.send(0, &[0x01]);
            assert_eq!(waiting.join().expect("it does not panic")[0], 0x00, "OK");
        });
        assert_eq!(house.connections(), 1);
        drop((first, second));
        eventually("nothing is taken", || house.is_empty());
    }
}

const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

/// A worker without a thread.
fn idle_worker(engine: Engine) -> Worker {
    let server = standin();
    idle_worker_of(engine, table(config(&[server.address()], ""), &[server.address()]))
}

fn idle_worker_of(engine: Engine, table: RoutingTable) -> Worker {
    let settings = settings(engine, 1, Arc::new(table));
    let (io, _) = Io::new(engine, io_limits(&settings)).expect("an engine");
    let (handle, mailbox) = mailbox::mailbox(limits::MAILBOX_ORDERS, io.wake_handle());
    let company = Arc::new(Company {
        settings,
        sessions: AtomicU32::new(0),
        strangers: AtomicU32::new(0),
        gate: Arc::new(Gate::new(1)),
        handles: OnceLock::new(),
    });
    let _ = company.handles.set(vec![handle]);
    Worker::new(0, io, mailbox, company)
}

/// Two ends of a connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let near = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    (near, listener.accept().expect("a client").0)
}

/// A client's session in a worker without a thread.
fn settled(worker: &mut Worker) -> (Key, TcpStream) {
    let (near, far) = pair();
    worker.accepted(0, OwnedFd::from(near));
    (worker.tenants.keys().pop().expect("a session"), far)
}

#[test]
fn a_closed_sockets_events_are_not_those_of_the_next_one_in_its_slot() {
    for engine in ENGINES {
        let mut worker = idle_worker(engine);
        let (first, _far) = pair();
        let closed = worker.io.adopt(OwnedFd::from(first)).expect("room");
        worker.io.close(closed);
        let (key, _client) = settled(&mut worker);
        let socket = worker.tenants.get(key).expect("it lives").client.socket;
        assert_eq!((socket.slot(), socket == closed), (closed.slot(), false), "the slot is used again");
        assert!(worker.owner(socket).is_some());
        assert!(worker.owner(closed).is_none(), "{engine:?}");
        worker.disown(closed);
        assert!(worker.owner(socket).is_some());
    }
}

#[test]
fn a_fault_ends_the_session_it_concerns_and_nothing_else() {
    let mut worker = idle_worker(Engine::Epoll);
    let (faulty, _client) = settled(&mut worker);
    let (other, _other_client) = settled(&mut worker);
    worker.guarded(Some(faulty), |_| panic!("a fault on purpose"));
    assert!(worker.tenants.get(faulty).is_none());
    assert!(worker.tenants.get(other).is_some());
    assert_eq!(worker.company.sessions.load(Ordering::SeqCst), 1);
    assert_eq!(worker.mailbox.counters.faults.load(Ordering::SeqCst), 1);
    assert_eq!(worker.mailbox.counters.ended(Ending::Fault), 1);
}

#[test]
fn a_client_stays_where_it_was_accepted_when_its_colleagues_mailbox_is_full() {
    let mut worker = idle_worker(Engine::Epoll);
    let colleague = idle_worker(Engine::Epoll);
    let (handle, _mailbox) = mailbox::mailbox(1, colleague.io.wake_handle());
    handle.send(Order::PlaceFreed).expect("room for one");
    let own = worker.company.handles.get().expect("hired")[0].clone();
    own.burden().store(5, Ordering::SeqCst);
    worker.company = Arc::new(Company {
        settings: settings(Engine::Epoll, 2, Arc::clone(&worker.table)),
        sessions: AtomicU32::new(0),
        strangers: AtomicU32::new(0),
        gate: Arc::new(Gate::new(1)),
        handles: OnceLock::from(vec![own, handle.clone()]),
    });
    let (_, _client) = settled(&mut worker);
    assert_eq!(worker.tenants.len(), 1);
    assert_eq!((worker.mailbox.burden.load(Ordering::SeqCst), handle.burden().load(Ordering::SeqCst)), (6, 0));
}

#[test]
fn a_worker_with_a_full_mailbox_still_sees_that_the_table_has_changed() {
    let mut worker = idle_worker(Engine::Epoll);
    let handle = worker.company.handles.get().expect("hired")[0].clone();
    while handle.send(Order::PlaceFreed).is_ok() {}
    let server = standin();
    let next = Arc::new(table(config(&[server.address()], ""), &[server.address()]));
    worker.company.settings.table.store(Arc::clone(&next));
    assert_eq!(handle.send(Order::TableChanged), Err(Undelivered::Full));
    worker.read_mail();
    assert!(Arc::ptr_eq(&worker.table, &next));
}
