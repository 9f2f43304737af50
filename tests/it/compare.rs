//! The strongest claim of a relay: a conversation through sqluice is, packet for packet, the one that the server alone
//! would have had. A scenario runs twice on the same fresh database and the two recordings must be equal.

use crate::harness::wire::{capability as cap, query_payload};
use crate::harness::{
    ALL_FLAVOURS, Account, Client, Engine, Flavour, Reply, Server, Shape, Sqluice, Start, cluster, fresh_name,
    on_both_engines, user, with_sorted_trackers,
};

/// A session that keeps every reply.
pub(crate) struct Recorder {
    pub(crate) client: Client,
    /// Another session that may take the connection of this one, where sessions share them.
    rival: Option<Client>,
    replies: Vec<(String, Reply)>,
}

impl Recorder {
    /// Sends a command and records its reply.
    #[track_caller]
    pub(crate) fn ask(&mut self, shape: Shape, payload: &[u8]) -> Reply {
        self.client.command(payload);
        self.record(shape, &String::from_utf8_lossy(&payload[..payload.len().min(120)]))
    }

    /// Reads and records a reply to something that was sent already.
    #[track_caller]
    pub(crate) fn record(&mut self, shape: Shape, what: &str) -> Reply {
        let reply = self.client.reply(shape).unwrap_or_else(|error| panic!("no whole reply to {what:?}: {error}"));
        let mut kept = reply.clone();
        forget_statement_ids(shape, &mut kept);
        self.replies.push((what.to_owned(), kept));
        reply
    }

    #[track_caller]
    pub(crate) fn query(&mut self, sql: &str) -> Reply {
        let payload = query_payload(self.client.capabilities, sql);
        self.ask(Shape::Results, &payload)
    }

    /// Another session uses the connection, which this one must have given back behind its COMMIT.
    #[track_caller]
    pub(crate) fn give_way(&mut self) {
        self.query("COMMIT").ok();
        if let Some(rival) = &mut self.rival {
            rival.execute("COMMIT");
        }
    }

    /// COM_STMT_PREPARE; gives the statement's id.
    #[track_caller]
    pub(crate) fn prepare(&mut self, sql: &str) -> u32 {
        let reply = self.ask(Shape::Prepare, &[&[0x16], sql.as_bytes()].concat()).ok();
        u32::from_le_bytes(reply.packets[0][1..5].try_into().expect("four bytes"))
    }

    #[track_caller]
    pub(crate) fn execute(&mut self, statement: u32, flags: u8, parameters: &[Parameter<'_>]) -> Reply {
        let payload = execute_payload(self.client.capabilities, statement, flags, parameters);
        self.ask(Shape::Results, &payload)
    }
}

/// MariaDB counts statements over all connections that one of its threads served, so their ids differ by chance; they are
/// in the reply to a PREPARE and in the text of two errors.
fn forget_statement_ids(shape: Shape, reply: &mut Reply) {
    match &reply.error {
        None if shape == Shape::Prepare => reply.packets[0][1..5].fill(0),
        Some(error) if matches!(error.code, 1243 | 1421) => reply.packets[0].truncate(9),
        _ => {}
    }
}

/// A value of COM_STMT_EXECUTE.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parameter<'a> {
    Null,
    Number(i64),
    Text(&'a str),
    /// Sent before, by COM_STMT_SEND_LONG_DATA.
    Long,
}

/// COM_STMT_EXECUTE with the types of its parameters.
pub(crate) fn execute_payload(capabilities: u64, statement: u32, flags: u8, parameters: &[Parameter<'_>]) -> Vec<u8> {
    let mut payload = vec![0x17];
    payload.extend_from_slice(&statement.to_le_bytes());
    payload.push(flags);
    payload.extend_from_slice(&1_u32.to_le_bytes());
    if parameters.is_empty() {
        return payload;
    }
    let has_attributes = capabilities & cap::QUERY_ATTRIBUTES != 0;
    if has_attributes {
        payload.push(parameters.len() as u8);
    }
    let mut nulls = vec![0_u8; parameters.len().div_ceil(8)];
    for (index, parameter) in parameters.iter().enumerate() {
        if matches!(parameter, Parameter::Null) {
            nulls[index / 8] |= 1 << (index % 8);
        }
    }
    payload.extend_from_slice(&nulls);
    payload.push(1);
    for parameter in parameters {
        let kind = match parameter {
            Parameter::Null => 0x06,
            Parameter::Number(_) => 0x08,
            Parameter::Text(_) => 0xFD,
            Parameter::Long => 0xFB,
        };
        payload.extend_from_slice(&[kind, 0]);
        if has_attributes {
            payload.push(0);
        }
    }
    for parameter in parameters {
        match parameter {
            Parameter::Null | Parameter::Long => {}
            Parameter::Number(number) => payload.extend_from_slice(&number.to_le_bytes()),
            Parameter::Text(text) => crate::harness::wire::append_lenenc_bytes(&mut payload, text.as_bytes()),
        }
    }
    payload
}

/// The ways of framing that a client can ask for.
pub(crate) const MODES: [(&str, u64); 3] = [
    ("EOF packets", cap::USUAL | cap::MULTI_STATEMENTS | cap::LOCAL_FILES),
    ("no EOF packets", cap::USUAL | cap::MULTI_STATEMENTS | cap::LOCAL_FILES | cap::DEPRECATE_EOF | cap::SESSION_TRACK),
    (
        "everything",
        cap::USUAL
            | cap::MULTI_STATEMENTS
            | cap::LOCAL_FILES
            | cap::DEPRECATE_EOF
            | cap::SESSION_TRACK
            | cap::OPTIONAL_METADATA
            | cap::QUERY_ATTRIBUTES
            | cap::PROGRESS
            | cap::STMT_BULK
            | cap::EXTENDED_METADATA
            | cap::CACHE_METADATA,
    ),
];

/// Runs the scenario directly and through sqluice in every mode, on every flavour and both engines.
pub(crate) fn same_everywhere(scenario: impl Fn(&mut Recorder)) {
    for flavour in ALL_FLAVOURS {
        same_on(flavour, &scenario);
    }
}

/// [`same_everywhere`] for one flavour.
pub(crate) fn same_on(flavour: Flavour, scenario: impl Fn(&mut Recorder)) {
    let server = Server::shared(flavour);
    on_both_engines(|engine| {
        let sqluice = relay(engine, server);
        for (mode, capabilities) in MODES {
            eprintln!("{flavour:?}, {mode}");
            same(server, &sqluice, capabilities, &scenario);
        }
    });
}

/// A sqluice in front of one server, with its accounts.
pub(crate) fn relay(engine: Engine, server: &Server) -> Sqluice {
    Start::new(engine, cluster(server) + &user("app", "app") + &user("other", "other")).run_with_servers_up(1)
}

/// Runs the scenario directly and through `sqluice`, with the capabilities that both offer, and compares.
#[track_caller]
pub(crate) fn same(server: &Server, sqluice: &Sqluice, wanted: u64, scenario: &impl Fn(&mut Recorder)) {
    compare(server, sqluice, wanted, None, scenario);
}

/// [`same`], with a rival beside the session that goes through `sqluice`, which has logged in with this collation.
#[track_caller]
pub(crate) fn same_beside_a_rival(
    server: &Server,
    sqluice: &Sqluice,
    wanted: u64,
    collation: u8,
    scenario: &impl Fn(&mut Recorder),
) {
    compare(server, sqluice, wanted, Some(collation), scenario);
}

#[track_caller]
fn compare(server: &Server, sqluice: &Sqluice, wanted: u64, rival: Option<u8>, scenario: &impl Fn(&mut Recorder)) {
    let database = fresh_name("same");
    let offered = Client::connect(sqluice.address).expect("sqluice greets").greeting.capabilities;
    let account = Account::new("app", "app").capabilities(wanted & offered);
    let direct = run(server, server.address, &account, &database, None, scenario);
    // Only with a schema can it have the session's connection.
    let rival = rival.map(|collation| account.clone().collation(collation).database("test"));
    let rival = rival.map(|rival| sqluice.login(&rival).expect("the rival logs in"));
    let through = run(server, sqluice.address, &account, &database, rival, scenario);
    for ((what, direct), (_, through)) in direct.iter().zip(&through) {
        assert_same(what, direct, through);
    }
    assert_eq!(direct.len(), through.len(), "both ways have the same number of replies");
}

fn run(
    server: &Server,
    address: std::net::SocketAddr,
    account: &Account<'_>,
    database: &str,
    rival: Option<Client>,
    scenario: &impl Fn(&mut Recorder),
) -> Vec<(String, Reply)> {
    let mut admin = server.direct();
    admin.execute(&format!("CREATE DATABASE {database}"));
    let client = Client::login(address, &account.clone().database(database)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        client.capabilities & account.capabilities & !cap::LONG_PASSWORD,
        account.capabilities & !cap::LONG_PASSWORD
    );
    let mut recorder = Recorder { client, rival, replies: Vec::new() };
    scenario(&mut recorder);
    admin.execute(&format!("DROP DATABASE {database}"));
    recorder.replies
}

#[track_caller]
fn assert_same(what: &str, direct: &Reply, through: &Reply) {
    for (index, (direct, through)) in direct.packets.iter().zip(&through.packets).enumerate() {
        let is_same = direct == through || with_sorted_trackers(direct) == with_sorted_trackers(through);
        if !is_same {
            let at = direct.iter().zip(through).take_while(|(left, right)| left == right).count();
            panic!(
                "packet {index} of the reply to {what:?} differs from byte {at} of {} and {}\n direct: {:02x?}\nthrough: {:02x?}",
                direct.len(),
                through.len(),
                &direct[at..direct.len().min(at + 64)],
                &through[at..through.len().min(at + 64)],
            );
        }
    }
    assert_eq!(direct.packets.len(), through.packets.len(), "packets of the reply to {what:?}");
    assert_eq!(direct.files, through.files, "files asked for by {what:?}");
}
