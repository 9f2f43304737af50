//! Two fake ends around a session: what goes in on one side, what comes out on the other, on a clock of our own.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use super::*;
use crate::{
    config::{Entrance, RedirectMode},
    protocol::{
        auth::{Login as ServerLogin, RsaKey, Secret},
        handshake::{ChangeUser, Greeting, HandshakeResponse, Salt, ServerHello},
        packet::{HEADER_LENGTH, Header},
        redirect::Target,
        response::{OK_HEADER, OkPacket},
        status::StatusFlags,
        version::ServerVersion,
    },
    topology::{
        Answer, Beliefs, CheckResult, Contact, Endpoint, Existing, GreetingFacts, Redirect, RoutingTable, ServerId,
        View, Writable, testing,
    },
};

pub(super) const CONFIG: &str = r#"
[[listener]]
name = "app"
address = "127.0.0.1:3306"
[cluster.shop]
topology = "static"
monitor = { user = "monitor", password = "m" }
[[cluster.shop.server]]
name = "db1"
address = "127.0.0.1:3307"
role = "replica"
[[cluster.shop.server]]
name = "db2"
address = "127.0.0.1:3308"
role = "replica"
[[cluster.shop.server]]
name = "db3"
address = "127.0.0.1:3309"
role = "primary"
[pool.main]
cluster = "shop"
role = "replica"
[pool.home]
cluster = "shop"
role = "primary"
[[user]]
name = "app"
password = "secret"
pool = "home"
[[user]]
name = "hashed"
password_hash = "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"
pool = "home"
[[user]]
name = "mapped"
password = "secret"
backend_user = "other"
backend_password = "elsewhere"
pool = "home"
[[user]]
name = "handed"
password = "secret"
pool = "home"
handoff = true
[[user]]
name = "split"
password = "secret"
split = { write = "home", read = "main" }
[[user]]
name = "within"
password = "secret"
split = { write = "home", read = "main" }
read_your_writes = { within = "200ms" }
[[user]]
name = "any"
password = "secret"
split = { write = "home", read = "main" }
read_your_writes = false
[[user]]
name = "lent"
password = "secret"
pool = "home"
backend_reuse = "transaction"
[[user]]
name = "shared"
password = "secret"
split = { write = "home", read = "main" }
backend_reuse = "transaction"
[cluster.moving]
topology = "replication"
monitor = { user = "monitor", password = "m" }
[[cluster.moving.server]]
name = "db4"
address = "127.0.0.1:3310"
[[cluster.moving.server]]
name = "db5"
address = "127.0.0.1:3311"
[pool.writer]
cluster = "moving"
role = "primary"
[pool.reader]
cluster = "moving"
role = "replica"
[[user]]
name = "followed"
password = "secret"
pool = "writer"
[[user]]
name = "reading"
password = "secret"
pool = "reader"
[[user]]
name = "moving"
password = "secret"
split = { write = "writer", read = "reader" }
"#;

pub(super) const SERVER_CAPABILITIES: Capabilities = Capabilities(0x81ff_f7df & !0x20);

pub(super) fn table() -> RoutingTable {
    beliefs(&server_greeting()).table()
}

/// The same, and who has no entry is served as well.
pub(super) fn open_table() -> RoutingTable {
    let text = format!("{CONFIG}[users]\nsource = \"learn\"\npool = \"main\"\n");
    beliefs_of(&text, &server_greeting()).table()
}

/// That one, for all who only look at it.
pub(super) fn shared_table() -> &'static RoutingTable {
    static TABLE: OnceLock<RoutingTable> = OnceLock::new();
    TABLE.get_or_init(open_table)
}

/// What is believed of servers that all greet in this way.
pub(super) fn beliefs(greeting: &Greeting) -> Beliefs {
    beliefs_of(CONFIG, greeting)
}

pub(super) fn beliefs_of(text: &str, greeting: &Greeting) -> Beliefs {
    let now = Instant::now();
    let mut beliefs = Beliefs::new(testing::parse(text), now);
    for (place, id) in beliefs.ids().collect::<Vec<_>>().into_iter().enumerate() {
        let facts = GreetingFacts {
            version: ServerVersion::parse(&greeting.version).unwrap(),
            version_text: greeting.version.clone(),
            capabilities: greeting.capabilities,
            collation: greeting.collation,
            plugin: greeting.plugin.clone(),
        };
        let endpoint = Endpoint::Tcp(([127, 0, 0, 1], 3307 + place as u16).into());
        let contact = Some(Contact { endpoint, greeting: Arc::new(facts) });
        // Of those with roles of their own, the first is the primary.
        let writable = Some(if place < 4 { Writable::Yes } else { Writable::No });
        let answer = Answer { writable, view: View::Unasked, contact };
        beliefs.check(id, &CheckResult::Answered(answer), now);
    }
    beliefs
}

/// Clients are sent to `lb2:3307` from now on, or not any more.
pub(super) fn redirect(beliefs: &mut Beliefs, mode: RedirectMode, existing: Existing) {
    let settings = beliefs.config().instant_failover.commanded(mode, Target::new("lb2", 3307));
    beliefs.redirect(Redirect::commanded(settings.expect("there is a target"), existing));
}

pub(super) fn server_greeting() -> Greeting {
    Greeting {
        version: b"5.5.5-10.11.19-MariaDB".to_vec(),
        connection_id: 77,
        salt: Salt::from_random([9; 20]),
        capabilities: SERVER_CAPABILITIES,
        collation: 45,
        status: StatusFlags::AUTOCOMMIT,
        plugin: b"mysql_native_password".to_vec(),
    }
}

pub(super) fn rsa() -> &'static RsaKey {
    static KEY: OnceLock<RsaKey> = OnceLock::new();
    KEY.get_or_init(|| RsaKey::generate().unwrap())
}

/// A session between its two ends.
pub(super) struct Stage {
    pub(super) session: Session,
    pub(super) table: RoutingTable,
    pub(super) now: Instant,
    began: Instant,
    pub(super) to_client: Vec<u8>,
    pub(super) to_server: Vec<u8>,
    pub(super) to_replica: Vec<u8>,
    pub(super) to_errand: Vec<u8>,
    pub(super) wishes: Vec<Output>,
    /// Bytes shown at once; the rest follows.
    pub(super) cut: usize,
    /// Capabilities that the client leaves out.
    pub(super) lacking: Capabilities,
    /// The client asks for TLS.
    pub(super) uses_tls: bool,
    /// The plugin that the client opens with, and what it says, in place of the greeting's.
    pub(super) opening: Option<(Vec<u8>, Vec<u8>)>,
    /// What the client says of itself.
    pub(super) attributes: Vec<u8>,
}

impl Stage {
    pub(super) fn new() -> Stage {
        Stage::admitted(Admission::Welcome)
    }

    pub(super) fn admitted(admission: Admission) -> Stage {
        Stage::between(table(), admission)
    }

    pub(super) fn between(table: RoutingTable, admission: Admission) -> Stage {
        Stage::offered(table, admission, None)
    }

    /// With this TLS on offer.
    pub(super) fn offered(table: RoutingTable, admission: Admission, tls: Option<TlsOffer>) -> Stage {
        let now = Instant::now();
        let birth = Birth {
            id: SessionId::new(0, 1),
            host: "10.1.2.3".into(),
            origin: Some(std::net::IpAddr::from([10, 1, 2, 3])),
            seed: [3; 32],
            since: now,
            login_timeout: Duration::from_secs(10),
            counts: Arc::default(),
            entrance: Entrance::Ordinary,
            admission,
            way: ClientWay::Open,
            tls,
        };
        let session = Session::new(birth, Surroundings { table: &table, rsa: rsa(), now, tick: Tick::default() });
        let mut stage = Stage {
            session,
            table,
            now,
            began: now,
            to_client: Vec::new(),
            to_server: Vec::new(),
            to_replica: Vec::new(),
            to_errand: Vec::new(),
            wishes: Vec::new(),
            cut: usize::MAX,
            lacking: Capabilities::default(),
            uses_tls: false,
            opening: None,
            attributes: Vec::new(),
        };
        stage.collect();
        stage
    }

    fn tick(&self) -> Tick {
        Tick::after_beginning(self.now - self.began)
    }

    pub(super) fn tell(&mut self, input: Input) {
        let (now, tick) = (self.now, self.tick());
        self.session.handle(input, Surroundings { table: &self.table, rsa: rsa(), now, tick });
        self.collect();
    }

    pub(super) fn sent(&mut self, side: Side) -> &mut Vec<u8> {
        match side {
            Side::Client => &mut self.to_client,
            Side::Server => &mut self.to_server,
            Side::Replica => &mut self.to_replica,
            Side::Errand => &mut self.to_errand,
        }
    }

    pub(super) fn collect(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(side, bytes) => self.sent(side).extend(bytes),
                wish => self.wishes.push(wish),
            }
        }
    }

    /// Shows bytes in pieces of at most `cut`; gives back what the session would not take yet.
    pub(super) fn show(&mut self, side: Side, bytes: &[u8]) -> Vec<u8> {
        let mut waiting: Vec<u8> = Vec::new();
        // Where Miri interprets it, many short pieces take minutes.
        let shortest = if cfg!(miri) { bytes.len() / 8 } else { 1 };
        for piece in bytes.chunks(self.cut.min(bytes.len()).max(shortest).max(1)) {
            waiting.extend_from_slice(piece);
            loop {
                if waiting.is_empty() {
                    break;
                }
                let (now, tick) = (self.now, self.tick());
                let surroundings = Surroundings { table: &self.table, rsa: rsa(), now, tick };
                match self.session.step(side, &waiting, surroundings) {
                    Step::Forward { to, length } => {
                        assert!(length > 0, "a step makes progress");
                        let bytes: Vec<u8> = waiting.drain(..length).collect();
                        assert_eq!(side == Side::Client, to != Side::Client, "the client's bytes go up, others down");
                        self.sent(to).extend(bytes);
                    }
                    Step::Renumber { to, length, at, number } => {
                        let mut bytes: Vec<u8> = waiting.drain(..length).collect();
                        bytes[at..at + number.len()].copy_from_slice(&number);
                        self.sent(to).extend(bytes);
                    }
                    Step::Consume { length } => {
                        assert!(length > 0, "a step makes progress");
                        waiting.drain(..length);
                    }
                    Step::NeedBytes { at_least } => {
                        assert!(at_least > waiting.len(), "asked for {at_least} of {}", waiting.len());
                        break;
                    }
                    Step::Wait => break,
                }
                self.collect();
            }
            self.collect();
        }
        waiting
    }

    pub(super) fn take_client(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.to_client)
    }

    pub(super) fn take_server(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.to_server)
    }

    /// Answers the greeting as `user`; gives what the client hears.
    pub(super) fn log_in(&mut self, user: &str, password: &str, database: Option<&str>) -> Vec<u8> {
        let greeting = self.client_greeting();
        let credential = credential(password);
        let (_, plugin, auth_response) = ServerLogin::begin(&greeting, &credential);
        let (plugin, auth_response) = self.opening.take().unwrap_or((plugin.name().to_vec(), auth_response));
        let response = HandshakeResponse {
            capabilities: with_database(greeting.capabilities.without(self.lacking), database),
            max_packet: 1 << 24,
            collation: 45,
            user: user.into(),
            auth_response,
            database: database.map(Into::into),
            plugin: Some(plugin),
            attributes: self.attributes.clone(),
        };
        let (mut request, mut payload) = (Vec::new(), Vec::new());
        response.encode_ssl_request(&mut request);
        response.encode(&mut payload);
        let mut sequence = 1;
        if self.uses_tls {
            assert_eq!(self.show(Side::Client, &packet(1, &request)), b"");
            assert!(matches!(self.wishes.pop(), Some(Output::StartTls(Side::Client))));
            sequence = 2;
        }
        assert_eq!(self.show(Side::Client, &packet(sequence, &payload)), b"");
        self.take_client()
    }

    pub(super) fn client_greeting(&mut self) -> Greeting {
        let bytes = self.take_client();
        assert_eq!(bytes[3], 0, "a greeting begins the conversation");
        match Greeting::parse(&bytes[HEADER_LENGTH..]).unwrap() {
            ServerHello::Greeting(greeting) => greeting,
            ServerHello::Refused(error) => panic!("{error:?}"),
        }
    }

    pub(super) fn leased(&mut self, id: u32) {
        self.tell(Input::Leased(facts(id)));
    }

    /// The server greets, and says OK to our answer, which is given back.
    pub(super) fn server_lets_in(&mut self) -> HandshakeResponse {
        self.server_lets_in_with(&server_greeting())
    }

    pub(super) fn server_lets_in_with(&mut self, greeting: &Greeting) -> HandshakeResponse {
        let mut payload = Vec::new();
        greeting.encode(&mut payload);
        self.show(Side::Server, &packet(0, &payload));
        let answer = self.take_server();
        let response = read_response(&answer);
        self.show(Side::Server, &packet(2, &ok(StatusFlags::AUTOCOMMIT)));
        response
    }

    /// A session in its command phase.
    pub(super) fn working() -> Stage {
        Stage::working_without(Capabilities::default())
    }

    pub(super) fn working_without(lacking: Capabilities) -> Stage {
        let mut stage = Stage::new();
        stage.lacking = lacking;
        stage.log_in("app", "secret", None);
        stage.leased(0);
        stage.server_lets_in();
        stage.take_client();
        stage.wishes.clear();
        stage
    }

    /// COM_CHANGE_USER with the right password.
    pub(super) fn change_user(&mut self, user: &str, password: &str) {
        let request = ChangeUser {
            user: user.into(),
            auth_response: vec![1; 20],
            database: Some(b"shop".to_vec()),
            collation: 45,
            plugin: Some(b"mysql_native_password".to_vec()),
            attributes: Vec::new(),
        };
        let mut payload = Vec::new();
        request.encode(SERVER_CAPABILITIES, &mut payload);
        self.show(Side::Client, &packet(0, &payload));
        assert_eq!(self.take_server(), command(0x01, b""), "the old server connection ends");
        assert!(self.wishes.iter().any(|wish| matches!(wish, Output::Release)));
        let switch = self.take_client();
        assert_eq!((switch[3], switch[4]), (1, 0xFE), "AuthSwitchRequest");
        let salt = Salt::parse(&switch[HEADER_LENGTH + 1 + b"mysql_native_password\0".len()..]).unwrap();
        let greeting = Greeting { salt, ..server_greeting() };
        let (_, _, proof) = ServerLogin::begin(&greeting, &credential(password));
        self.show(Side::Client, &packet(2, &proof));
    }

    pub(super) fn ending(&self) -> Option<Ending> {
        self.wishes.iter().find_map(|wish| match wish {
            Output::Close(ending) => Some(*ending),
            _ => None,
        })
    }

    pub(super) fn leases(&self) -> Vec<Option<ServerId>> {
        let avoided = |wish: &Output| match wish {
            Output::Lease(want) => Some(want.avoid),
            _ => None,
        };
        self.wishes.iter().filter_map(avoided).collect()
    }
}

pub(super) fn facts(id: u32) -> ServerFacts {
    ServerFacts {
        id: ServerId(id),
        name: format!("db{}", id + 1).as_str().into(),
        greeting_timeout: Duration::from_secs(2),
        thread_id: 0,
        way: ServerWay::OPEN,
        since: Instant::now(),
        reply_times: Arc::default(),
    }
}

pub(super) fn credential(password: &str) -> Credential {
    Credential::of_password(Secret::new(password.as_bytes().to_vec()))
}

pub(super) fn with_database(capabilities: Capabilities, database: Option<&str>) -> Capabilities {
    match database {
        Some(_) => capabilities | Capabilities::CONNECT_WITH_DB,
        None => capabilities.without(Capabilities::CONNECT_WITH_DB),
    }
}

pub(super) fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_packet(&mut bytes, sequence, payload);
    bytes
}

pub(super) fn command(code: u8, rest: &[u8]) -> Vec<u8> {
    packet(0, &[&[code], rest].concat())
}

pub(super) fn query(text: &str) -> Vec<u8> {
    command(0x03, text.as_bytes())
}

pub(super) fn greeting_packet() -> Vec<u8> {
    let mut payload = Vec::new();
    server_greeting().encode(&mut payload);
    packet(0, &payload)
}

pub(super) fn ok(status: StatusFlags) -> Vec<u8> {
    let mut payload = Vec::new();
    OkPacket { status, ..OkPacket::default() }.encode(OK_HEADER, SERVER_CAPABILITIES, &mut payload);
    payload
}

/// OK with changes of the session's state.
pub(super) fn ok_with_trackers(trackers: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    let ok = OkPacket { status: StatusFlags::AUTOCOMMIT, trackers: Some(trackers.to_vec()), ..OkPacket::default() };
    ok.encode(OK_HEADER, SERVER_CAPABILITIES, &mut payload);
    payload
}

pub(super) fn read_response(bytes: &[u8]) -> HandshakeResponse {
    use crate::protocol::handshake::ClientHello;
    match ClientHello::parse(&bytes[HEADER_LENGTH..], SERVER_CAPABILITIES | Capabilities::CONNECT_WITH_DB).unwrap() {
        ClientHello::Response(response) => response,
        ClientHello::SslRequest => panic!("no TLS was offered"),
    }
}

/// Sequence id, code and text of an ERR packet that stands alone.
pub(super) fn error_of(bytes: &[u8]) -> (u8, u16, String) {
    let header = Header::parse(bytes).expect("a packet");
    assert_eq!(bytes.len(), HEADER_LENGTH + header.payload_length as usize, "one packet");
    let error = ErrPacket::parse(&bytes[HEADER_LENGTH..]).expect("an error");
    (header.sequence, error.code.0, String::from_utf8(error.message).unwrap())
}

/// A result of one column and two rows, in the framing with DEPRECATE_EOF.
pub(super) fn result() -> Vec<u8> {
    let rows = [
        packet(1, &[1]),
        packet(2, b"\x03def\0\0\0\x01a\0\x0c\x2d\0\x01\0\0\0\xfd\0\0\0\0\0"),
        packet(3, b"\x03one"),
        packet(4, b"\x03two"),
        packet(5, &[0xFE, 0, 0, 2, 0, 0, 0]),
    ];
    rows.concat()
}
