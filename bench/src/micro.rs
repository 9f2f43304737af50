//! The steps that the data path and a login are made of, one by one: what `cargo bench` times and what
//! `sqluice-bench micro` counts the instructions of.
//!
//! A step is a line in [`CASES`] and a function that prepares it and returns what is repeated.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqluice::config::{Config, Environment};
use sqluice::latency::{Histogram, Tick};
use sqluice::protocol::attributes;
use sqluice::protocol::auth::{Credential, Login, Plugin, Secret, Verification, Verifier, VerifyRequest};
use sqluice::protocol::capability::Capabilities;
use sqluice::protocol::command::ReplyShape;
use sqluice::protocol::handshake::{ClientHello, Greeting, HandshakeResponse, Salt};
use sqluice::protocol::packet::{Walker, write_packet};
use sqluice::protocol::result_set::{Framing, Reply};
use sqluice::protocol::status::StatusFlags;
use sqluice::protocol::version::ServerVersion;
use sqluice::route::{Question, decide};
use sqluice::sql::{self, ClientCharset, Dialect, Family};
use sqluice::topology::{Answer, Beliefs, CheckResult, Contact, Endpoint, GreetingFacts, RoutingTable, View, Writable};

/// A step and how to get ready for it.
#[derive(Clone, Copy)]
pub struct Case {
    /// As in a result.
    pub name: &'static str,
    /// Makes what is repeated; each call of that is one operation.
    pub prepare: fn() -> Box<dyn FnMut()>,
}

/// All steps.
pub const CASES: [Case; 16] = [
    Case { name: "walk-statement", prepare: || walk(&statement()) },
    Case { name: "walk-point-reply", prepare: || walk(&reply(1, 100)) },
    Case { name: "follow-point-reply", prepare: || follow(&reply(1, 100)) },
    Case { name: "follow-64k-reply", prepare: || follow(&reply(64, 1024)) },
    Case { name: CLASSIFY_SHORT, prepare: || classify(SELECT.to_vec()) },
    Case { name: CLASSIFY_LONG, prepare: || classify(insert()) },
    Case { name: "classify-long-list", prepare: || classify(select_in_list()) },
    Case { name: "parse-greeting", prepare: parse_greeting },
    Case { name: "parse-handshake-response", prepare: parse_handshake_response },
    Case { name: "verify-native-password", prepare: || verify(Plugin::NativePassword) },
    Case { name: "verify-caching-sha2", prepare: || verify(Plugin::CachingSha2Password) },
    Case { name: "prove-native-password", prepare: || prove(Plugin::NativePassword) },
    Case { name: "prove-caching-sha2", prepare: || prove(Plugin::CachingSha2Password) },
    Case { name: "route-2-servers", prepare: || route(2) },
    Case { name: "route-16-servers", prepare: || route(16) },
    Case { name: "count-reply-time", prepare: count_reply_time },
];

/// A statement of `SELECT`'s length.
pub const CLASSIFY_SHORT: &str = "classify-100-bytes";
/// A statement of [`LONG_LENGTH`] bytes, most of them in strings.
pub const CLASSIFY_LONG: &str = "classify-long-strings";
/// About so many bytes have the statements that are called long.
pub const LONG_LENGTH: usize = 64 * 1024;

/// A hundred bytes.
const SELECT: &[u8; 100] =
    b"SELECT o.id, o.total FROM orders o JOIN customers c ON c.id = o.customer WHERE name = 'Ada' LIMIT 10";
const PASSWORD: &[u8] = b"a password of some length";
const SALT: Salt = Salt(*b"abcdefghijklmnopqrst");
/// What MariaDB and MySQL have in common and a balancer offers.
const CAPABILITIES: Capabilities = Capabilities(0x01BF_F7DF);

fn walk(packets: &[u8]) -> Box<dyn FnMut()> {
    let packets = packets.to_vec();
    Box::new(move || {
        let mut walker = Walker::new();
        let mut rest = black_box(&packets[..]);
        while !rest.is_empty() {
            rest = &rest[walker.walk(rest).consumed..];
        }
        black_box(walker.is_between_packets());
    })
}

/// What each reply costs beside its passing through: two moments that are there anyway, and a histogram.
fn count_reply_time() -> Box<dyn FnMut()> {
    let histogram = Histogram::default();
    let asked = Tick::default();
    let mut elapsed = Duration::ZERO;
    Box::new(move || {
        elapsed += Duration::from_nanos(12_345);
        histogram.count(black_box(Tick::after_beginning(elapsed)).since(black_box(asked)));
    })
}

fn follow(packets: &[u8]) -> Box<dyn FnMut()> {
    let packets = packets.to_vec();
    let framing = Framing::of(CAPABILITIES);
    Box::new(move || {
        let mut reply = Reply::new(ReplyShape::ResultSet, framing);
        let followed = reply.follow(black_box(&packets)).expect("a good reply");
        assert_eq!(black_box(followed.consumed), packets.len());
    })
}

fn classify(text: Vec<u8>) -> Box<dyn FnMut()> {
    let dialect = Dialect {
        no_backslash_escapes: false,
        ansi_quotes: false,
        family: Family::MariaDb { version: 101_119 },
        charset: ClientCharset::Utf8,
    };
    Box::new(move || {
        black_box(sql::classify(black_box(&text), dialect, true));
    })
}

/// Rows of a kibibyte.
fn insert() -> Vec<u8> {
    let mut text = b"INSERT INTO documents VALUES ".to_vec();
    while text.len() < LONG_LENGTH - 1024 {
        text.extend_from_slice(b"(NULL, '");
        text.extend(std::iter::repeat_n(b'x', 1013));
        text.extend_from_slice(b"'),");
    }
    text.pop();
    text
}

fn select_in_list() -> Vec<u8> {
    let mut text = b"SELECT name FROM customers WHERE id IN (4711".to_vec();
    while text.len() < LONG_LENGTH {
        text.extend_from_slice(b",4711");
    }
    text.push(b')');
    text
}

fn parse_greeting() -> Box<dyn FnMut()> {
    let mut payload = Vec::new();
    greeting(Plugin::NativePassword).encode(&mut payload);
    Box::new(move || {
        black_box(Greeting::parse(black_box(&payload)).expect("a good greeting"));
    })
}

fn parse_handshake_response() -> Box<dyn FnMut()> {
    let mut raw_attributes = Vec::new();
    for (name, value) in [("_client_name", "libmariadb"), ("_os", "Linux"), ("_pid", "4711"), ("_platform", "x86_64")] {
        assert!(attributes::append(&mut raw_attributes, name.as_bytes(), value.as_bytes()));
    }
    let response = HandshakeResponse {
        capabilities: CAPABILITIES,
        max_packet: 1 << 24,
        collation: 45,
        user: b"application".to_vec(),
        auth_response: vec![7; 20],
        database: Some(b"shop".to_vec()),
        plugin: Some(Plugin::NativePassword.name().to_vec()),
        attributes: raw_attributes,
    };
    let mut payload = Vec::new();
    response.encode(&mut payload);
    Box::new(move || {
        black_box(ClientHello::parse(black_box(&payload), CAPABILITIES).expect("a good response"));
    })
}

/// A client's right proof, judged by the password.
fn verify(plugin: Plugin) -> Box<dyn FnMut()> {
    let credential = Credential::of_password(Secret::new(PASSWORD));
    let (_, _, response) = Login::begin(&greeting(plugin), &credential);
    let verifier = Verifier::Cleartext(Secret::new(PASSWORD));
    Box::new(move || {
        let request = VerifyRequest {
            verifier: &verifier,
            salt: SALT,
            fresh_salt: SALT,
            nonce: [7; 32],
            client_plugin: Some(plugin.name()),
            response: black_box(&response),
            plugin_auth: true,
            learn_cleartext: false,
            in_private: false,
            force_switch: false,
        };
        black_box(Verification::begin(request));
    })
}

/// The proof for a server.
fn prove(plugin: Plugin) -> Box<dyn FnMut()> {
    let credential = Credential::of_password(Secret::new(PASSWORD));
    let greeting = greeting(plugin);
    Box::new(move || {
        black_box(Login::begin(black_box(&greeting), &credential));
    })
}

/// One decision among servers that are all usable.
fn route(servers: usize) -> Box<dyn FnMut()> {
    let table = table(servers);
    let pool = table.config.pool_by_name("bench").expect("it is configured");
    let mut turn = 0;
    Box::new(move || {
        turn += 1;
        let question = Question { tie_break: turn, ..Question::without_a_session(pool) };
        black_box(decide(black_box(&table), &question)).expect("all servers are usable");
    })
}

fn table(servers: usize) -> RoutingTable {
    let server = |number| {
        format!(
            "[[cluster.bench.server]]\nname = \"db{number}\"\naddress = \"127.0.0.1:{}\"\nrole = \"replica\"\n",
            10_000 + number
        )
    };
    let text = format!(
        "[[listener]]\nname = \"bench\"\naddress = \"127.0.0.1:0\"\n\
         [cluster.bench]\ntopology = \"static\"\nmonitor = {{ user = \"m\", password = \"m\" }}\n{}\
         [pool.bench]\ncluster = \"bench\"\nrole = \"replica\"\n\
         [[user]]\nname = \"u\"\npassword = \"p\"\npool = \"bench\"\n",
        (0..servers).map(server).collect::<String>()
    );
    let nothing = std::io::ErrorKind::NotFound;
    let environment = Environment { online_cpus: 1, variable: &|_| None, file: &|_| Err(nothing.into()) };
    let config = Config::parse(&text, "bench.toml", &environment).unwrap_or_else(|errors| panic!("{errors}"));
    let now = Instant::now();
    let mut beliefs = Beliefs::new(Arc::new(config), now);
    let ids: Vec<_> = beliefs.ids().collect();
    for id in ids {
        beliefs.check(id, &answer(None), now);
    }
    beliefs.table()
}

/// What a healthy server of today says to a check.
pub fn answer(writable: Option<Writable>) -> CheckResult {
    let greeting = greeting(Plugin::NativePassword);
    let facts = GreetingFacts {
        version: ServerVersion::parse(&greeting.version).expect("a server's version"),
        version_text: greeting.version,
        capabilities: greeting.capabilities,
        collation: greeting.collation,
        plugin: greeting.plugin,
    };
    let endpoint = Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 10_000)));
    CheckResult::Answered(Answer {
        writable,
        view: View::Unasked,
        contact: Some(Contact { endpoint, greeting: Arc::new(facts) }),
    })
}

fn greeting(plugin: Plugin) -> Greeting {
    Greeting {
        version: b"5.5.5-10.11.19-MariaDB-0+deb12u1".to_vec(),
        connection_id: 4711,
        salt: SALT,
        capabilities: CAPABILITIES,
        collation: 45,
        status: StatusFlags::AUTOCOMMIT,
        plugin: plugin.name().to_vec(),
    }
}

/// A COM_QUERY of a hundred bytes.
fn statement() -> Vec<u8> {
    let mut packets = Vec::new();
    write_packet(&mut packets, 0, &[&[0x03], &[b'x'; 99][..]].concat());
    packets
}

/// A result set of one text column, ended by an OK packet.
fn reply(rows: usize, row_length: u16) -> Vec<u8> {
    let mut packets = Vec::new();
    let mut sequence = write_packet(&mut packets, 1, &[1]);
    // Catalog "def", no schema and tables, name "c", collation 45, 1024 long, VAR_STRING.
    let column = b"\x03def\x00\x00\x00\x01c\x00\x0c\x2d\x00\x00\x04\x00\x00\xfd\x00\x00\x00\x00\x00";
    sequence = write_packet(&mut packets, sequence, column);
    for _ in 0..rows {
        let row = [&[0xFC][..], &row_length.to_le_bytes(), &vec![b'x'; usize::from(row_length)]].concat();
        sequence = write_packet(&mut packets, sequence, &row);
    }
    write_packet(&mut packets, sequence, &[0xFE, 0, 0, 2, 0, 0, 0]);
    packets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_can_be_repeated() {
        for case in CASES {
            let mut step = (case.prepare)();
            (0..3).for_each(|_| step());
        }
    }

    #[test]
    fn long_statements_are_about_as_long_as_is_said() {
        for text in [insert(), select_in_list()] {
            assert!((LONG_LENGTH - 1024..LONG_LENGTH + 1024).contains(&text.len()), "{}", text.len());
        }
    }

    #[test]
    fn a_right_proof_is_what_is_verified() {
        let credential = Credential::of_password(Secret::new(PASSWORD));
        for plugin in [Plugin::NativePassword, Plugin::CachingSha2Password] {
            let (_, used, response) = Login::begin(&greeting(plugin), &credential);
            assert_eq!(used, plugin);
            let verifier = Verifier::Cleartext(Secret::new(PASSWORD));
            let (_, next) = Verification::begin(VerifyRequest {
                verifier: &verifier,
                salt: SALT,
                fresh_salt: SALT,
                nonce: [7; 32],
                client_plugin: Some(plugin.name()),
                response: &response,
                plugin_auth: true,
                learn_cleartext: false,
                in_private: false,
                force_switch: false,
            });
            let text = format!("{next:?}");
            assert!(text.contains("Accept"), "{plugin:?}: {text}");
        }
    }
}
