//! Sessions with two servers, between fake ends: a client, a home server, and a replica that do what real ones do.

mod counting;
mod diagnostics;
mod failing;
mod following;
mod hidden;
mod leaving;
mod lending;
mod losing;
mod numbers;
mod parting;
mod rehoming;
mod routing;
mod seeing;
mod sharing;
mod snapshot;
mod statements;
mod trackers;

use super::{
    super::{stage::*, *},
    journal::variables::compared,
};
use crate::{
    protocol::{
        gtid::GtidPosition,
        handshake::{Greeting, HandshakeResponse},
        packet::{HEADER_LENGTH, Header},
        response::{EOF_HEADER, OK_HEADER, OkPacket},
        status::StatusFlags,
        writer::Writer,
    },
    sql,
    topology::{Beliefs, Seen, ServerId},
};

/// Where the servers stand in the configuration.
const HOME: u32 = 2;
const REPLICA: u32 = 0;

const AUTOCOMMIT: StatusFlags = StatusFlags::AUTOCOMMIT;
const READ_ONLY_TRANSACTION: StatusFlags =
    StatusFlags(AUTOCOMMIT.0 | StatusFlags::IN_TRANS.0 | StatusFlags::IN_TRANS_READONLY.0);
const TRANSACTION: StatusFlags = StatusFlags(AUTOCOMMIT.0 | StatusFlags::IN_TRANS.0);

/// A session whose servers answer by themselves whatever the session says on its own account; commands of the client are
/// answered by the test.
struct Play {
    stage: Stage,
    beliefs: Beliefs,
    greeting: Greeting,
    /// What the client sent and the session has not taken.
    waiting: Vec<u8>,
    /// What the session said on its own account: server and text.
    said: Vec<(Side, String)>,
    /// The last login at a replica.
    introduction: Option<HandshakeResponse>,
    at_door: bool,
    /// The replica was told to write nothing, and of what to tell.
    is_guarded: bool,
    /// How often the replica was asked for views.
    views_asked: u32,
    /// How often the session waited for an answer to something of its own.
    round_trips: u32,
    /// What is lent when a replica is wanted next, in place of a new connection.
    loan: Option<Loan>,
    /// What a replica was wanted to be like last.
    wanted: Option<ReplicaWant>,
    /// Texts of ours that nobody answers.
    unanswered: &'static str,
    script: Script,
}

/// What the servers answer.
#[derive(Clone)]
struct Script {
    /// Servers are MySQL's, and texts have attributes before them.
    is_mysql: bool,
    user: &'static str,
    /// Where it is at home first.
    home: u32,
    schema: Option<&'static str>,
    cut: usize,
    lacking: Capabilities,
    /// What home tells clients by itself: names of variables, then whether of schema and of other changes.
    home_tells: [&'static str; 3],
    /// And whether of positions, which only MySQL's is asked for.
    home_tells_gtids: &'static str,
    home_values: Vec<&'static str>,
    replica_values: Vec<&'static str>,
    /// Status of a fresh connection to a replica.
    replica_status: StatusFlags,
    /// There is a replica to be leased.
    has_replica: bool,
    /// What waiting for a position comes to.
    wait: &'static str,
    /// Where home says that it is; `None` for no row at all.
    position: Option<&'static str>,
    /// The views that do more than read.
    views: Vec<&'static str>,
    /// Column of a statement prepared at the replica.
    column: &'static str,
    /// LAST_INSERT_ID() at home.
    insert_id: &'static str,
    /// All that the session has set, as home says it.
    stock: &'static str,
    /// A text of ours that the replica refuses, with this code.
    refused: (&'static str, u16),
}

impl Default for Script {
    fn default() -> Script {
        Script::of(false)
    }
}

impl Script {
    fn of(is_mysql: bool) -> Script {
        let values: Vec<&str> = names(is_mysql).map(value_of).collect();
        Script {
            is_mysql,
            user: "split",
            home: HOME,
            schema: None,
            cut: usize::MAX,
            lacking: Capabilities::NONE,
            home_tells: ["autocommit,character_set_client,time_zone", "1", "0"],
            home_tells_gtids: "OFF",
            home_values: values.clone(),
            replica_values: values,
            replica_status: AUTOCOMMIT,
            has_replica: true,
            wait: "0",
            position: Some("0-1-100"),
            views: Vec::new(),
            column: "a",
            insert_id: "0",
            stock: "the same",
            refused: ("", 0),
        }
    }
}

/// The variables that are compared.
fn names(is_mysql: bool) -> impl Iterator<Item = &'static str> {
    compared(match is_mysql {
        true => sql::Family::MySql { version: 90_700 },
        false => sql::Family::MariaDb { version: 101_119 },
    })
}

fn value_of(variable: &str) -> &'static str {
    match variable {
        "time_zone" => "SYSTEM",
        "sql_mode" => "STRICT_TRANS_TABLES",
        name if name.starts_with("character_set") => "utf8mb4",
        name if name.starts_with("collation") => "utf8mb4_general_ci",
        "lc_time_names" => "en_US",
        "sql_auto_is_null" => "0",
        _ => "1",
    }
}

impl Play {
    /// A session that is logged in, and its home asked for all that it is asked for.
    fn new() -> Play {
        Play::of(Script::default())
    }

    fn of(script: Script) -> Play {
        let mut play = Play::entering(script);
        play.serve();
        play.said.clear();
        play
    }

    fn cut(cut: usize) -> Play {
        Play::of(Script { cut, ..Script::default() })
    }

    /// A session that the home server has just let in.
    fn entering(script: Script) -> Play {
        let greeting = match script.is_mysql {
            false => server_greeting(),
            true => Greeting {
                version: b"9.7.0".to_vec(),
                capabilities: SERVER_CAPABILITIES | Capabilities::LONG_PASSWORD | Capabilities::QUERY_ATTRIBUTES,
                ..server_greeting()
            },
        };
        let mut beliefs = beliefs(&greeting);
        let mut stage = Stage::between(beliefs.table(), Admission::Welcome);
        stage.cut = script.cut;
        stage.lacking = script.lacking;
        stage.log_in(script.user, "secret", script.schema);
        stage.leased(script.home);
        stage.server_lets_in_with(&greeting);
        stage.wishes.clear();
        let mut play = Play {
            stage,
            beliefs,
            greeting,
            waiting: Vec::new(),
            said: Vec::new(),
            introduction: None,
            at_door: false,
            is_guarded: false,
            views_asked: 0,
            round_trips: 0,
            loan: None,
            wanted: None,
            unanswered: "(none)",
            script,
        };
        play.stage.take_client();
        play
    }

    /// The client sends something; servers answer what the session asks them for it.
    fn send(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        self.serve();
    }

    /// A server says something.
    fn reply(&mut self, side: Side, bytes: &[u8]) {
        assert_eq!(self.stage.show(side, bytes), b"", "a server is heard at once");
        self.serve();
    }

    /// Answers all that the session says on its own account.
    fn serve(&mut self) {
        loop {
            self.pump();
            if self.lease() {
                continue;
            }
            if !self.is_preparing() {
                return;
            }
            let side = if self.stage.to_server.is_empty() { Side::Replica } else { Side::Server };
            let bytes = std::mem::take(self.stage.sent(side));
            let mut answers = Vec::new();
            for payload in payloads(&bytes) {
                match self.answer(side, payload) {
                    Some(answer) => answers.extend(answer),
                    None if payload[0] == 0x19 => {}
                    // Who does not answer does nothing of what comes behind.
                    None => break,
                }
            }
            if answers.is_empty() {
                return;
            }
            self.round_trips += 1;
            assert_eq!(self.stage.show(side, &answers), b"");
        }
    }

    fn pump(&mut self) {
        if !self.waiting.is_empty() {
            let bytes = std::mem::take(&mut self.waiting);
            self.waiting = self.stage.show(Side::Client, &bytes);
        }
    }

    fn lease(&mut self) -> bool {
        let wants = |wish: &Output| matches!(wish, Output::LeaseReplica(_));
        let Some(place) = self.stage.wishes.iter().position(wants) else { return false };
        if let Output::LeaseReplica(want) = self.stage.wishes.remove(place) {
            self.wanted = Some(*want);
        }
        // What was for the replica before.
        self.stage.to_replica.clear();
        if let Some(loan) = self.loan.take() {
            self.is_guarded = loan.is_own;
            self.stage.tell(Input::Lent(loan));
            return true;
        }
        if !self.script.has_replica {
            self.stage.tell(Input::ReplicaFailed);
            return true;
        }
        self.stage.tell(Input::ReplicaLeased(facts(REPLICA)));
        (self.at_door, self.is_guarded) = (true, false);
        let mut payload = Vec::new();
        self.greeting.encode(&mut payload);
        assert_eq!(self.stage.show(Side::Replica, &packet(0, &payload)), b"");
        true
    }

    fn is_preparing(&self) -> bool {
        matches!(&self.stage.session.state, State::Relay(relay) if relay.is_preparing())
    }

    /// What a server says to something of ours; nothing if the test answers in its place, or nobody does.
    fn answer(&mut self, side: Side, payload: &[u8]) -> Option<Vec<u8>> {
        if side == Side::Replica && std::mem::take(&mut self.at_door) {
            self.introduction = Some(read_response(&packet(1, payload)));
            return Some(packet(2, &ok(self.script.replica_status)));
        }
        let attributes = if self.script.is_mysql && payload[0] == 0x03 { 2 } else { 0 };
        let (code, text) = (payload[0], String::from_utf8_lossy(&payload[1 + attributes..]).into_owned());
        let text = match code {
            0x02 => format!("USE {text}"),
            0x16 => format!("PREPARE {text}"),
            0x19 => format!("CLOSE {}", payload[1]),
            0x0E => "PING".to_owned(),
            0x1F => "RESET".to_owned(),
            _ => text,
        };
        let text = if side == Side::Replica { self.unguarded(text) } else { text };
        self.is_guarded &= side != Side::Replica || code != 0x1F;
        if text.contains("information_schema.views") {
            self.views_asked += 1;
        } else if text != "SET " {
            self.said.push((side, text.clone()));
        }
        if text.contains(self.unanswered) || code == 0x19 {
            return None;
        }
        let (refused, refusal) = self.script.refused;
        if side == Side::Replica && !refused.is_empty() && text.contains(refused) {
            return Some(error(1, refusal));
        }
        Some(match code {
            0x16 => self.prepared(REPLICA_STATEMENT, payload[1..].iter().filter(|byte| **byte == b'?').count() as u8),
            _ => self.answer_to_text(&text),
        })
    }

    /// What is said to a replica without what every one is told, and that it was told so.
    fn unguarded(&mut self, text: String) -> String {
        let name = if self.script.is_mysql { "transaction_read_only" } else { "tx_read_only" };
        let guard = format!("SESSION session_track_state_change=1, SESSION {name}=1");
        match text.strip_suffix(&guard) {
            Some(settings) => {
                self.is_guarded = true;
                settings.strip_suffix(", ").unwrap_or(settings).to_owned()
            }
            None => text,
        }
    }

    fn answer_to_text(&self, text: &str) -> Vec<u8> {
        let values = |values: &[&str]| self.row(values);
        if text.starts_with("SELECT @@SESSION.session_track") {
            let gtids: &[&str] = if self.script.is_mysql { &[self.script.home_tells_gtids] } else { &[] };
            values(&[&self.script.home_tells[..], gtids, &self.script.home_values[..]].concat())
        } else if text.starts_with("SELECT @@SESSION.") {
            values(&self.script.replica_values)
        } else if text.contains("information_schema.views") {
            self.rows(1, &self.script.views)
        } else if text.starts_with("SELECT DATABASE(), ") {
            values(&[self.script.stock])
        } else if text == "SELECT LAST_INSERT_ID()" {
            values(&[self.script.insert_id])
        } else if text.starts_with("SELECT @@GLOBAL.gtid") {
            self.rows(1, self.script.position.as_slice())
        } else if text == "SELECT 1" || text.contains("wsrep_sync_wait=1 FOR") {
            values(&["1"])
        } else if text.contains("GTID_WAIT") || text.contains("WAIT_FOR_EXECUTED") {
            values(&[self.script.wait])
        } else {
            // Like a real home server, which tells of what it was asked to tell.
            packet(1, &ok_with(AUTOCOMMIT, &variable("session_track_schema", "ON")))
        }
    }

    fn row(&self, values: &[&str]) -> Vec<u8> {
        self.rows(values.len(), values)
    }

    /// A result of as many rows as the values fill.
    fn rows(&self, columns: usize, values: &[&str]) -> Vec<u8> {
        let mut payloads = vec![vec![columns as u8]];
        payloads.resize(columns + 1, column("v"));
        if self.script.lacking.contains(Capabilities::DEPRECATE_EOF) {
            payloads.push(eof(AUTOCOMMIT));
        }
        for values in values.chunks(columns) {
            let mut row = Vec::new();
            values.iter().for_each(|value| Writer::new(&mut row).lenenc_bytes(value.as_bytes()));
            payloads.push(row);
        }
        payloads.push(self.end(AUTOCOMMIT));
        stream(&payloads)
    }

    /// The end of rows.
    fn end(&self, status: StatusFlags) -> Vec<u8> {
        match self.script.lacking.contains(Capabilities::DEPRECATE_EOF) {
            true => eof(status),
            false => end_with(status, b""),
        }
    }

    /// The reply to a PREPARE: parameters, and one column.
    fn prepared(&self, id: u8, parameters: u8) -> Vec<u8> {
        let mut payloads = vec![vec![0, id, 0, 0, 0, 1, 0, parameters, 0, 0, 0, 0]];
        for (count, name) in [(usize::from(parameters), "?"), (1, self.script.column)] {
            payloads.extend(std::iter::repeat_n(column(name), count));
            if count > 0 && self.script.lacking.contains(Capabilities::DEPRECATE_EOF) {
                payloads.push(eof(AUTOCOMMIT));
            }
        }
        stream(&payloads)
    }

    /// A whole result of one row.
    fn result(&self) -> Vec<u8> {
        self.row(&["one"])
    }

    /// Sends a command and says where it came, byte for byte and once.
    fn goes(&mut self, command: &[u8]) -> Side {
        self.send(command);
        assert_eq!(self.waiting, b"", "the command was taken; said: {:?}", self.said);
        match (std::mem::take(&mut self.stage.to_server), std::mem::take(&mut self.stage.to_replica)) {
            (at_home, at_replica) if at_home == command && at_replica.is_empty() => Side::Server,
            (at_home, at_replica) if at_replica == command && at_home.is_empty() => {
                assert!(self.is_guarded, "no read is run by a replica that may write");
                Side::Replica
            }
            both => panic!("{command:?} came out as {both:?}; said: {:?}", self.said),
        }
    }

    /// A query is answered with one row, which the client gets as it is. Says where it ran.
    fn read(&mut self, text: &str) -> Side {
        let side = self.goes(&query(text));
        let result = self.result();
        self.reply(side, &result);
        assert_eq!(self.stage.take_client(), result, "of {text:?}");
        side
    }

    /// A query runs at home, which says OK, with these changes of state. Gives what the client hears.
    fn at_home(&mut self, text: &str, status: StatusFlags, trackers: &[u8]) -> Vec<u8> {
        assert_eq!(self.goes(&query(text)), Side::Server, "{text}");
        self.reply(Side::Server, &packet(1, &ok_with(status, trackers)));
        self.stage.take_client()
    }

    fn sets(&mut self, text: &str, name: &str, value: &str) {
        self.at_home(text, AUTOCOMMIT, &variable(name, value));
    }

    /// What the session said on its own account since the last call, with the side.
    fn said(&mut self) -> Vec<(Side, String)> {
        std::mem::take(&mut self.said)
    }

    fn said_to_replica(&mut self) -> Vec<String> {
        self.said().into_iter().filter(|(side, _)| *side == Side::Replica).map(|(_, text)| text).collect()
    }

    fn said_to_home(&mut self) -> Vec<String> {
        self.said().into_iter().filter(|(side, _)| *side == Side::Server).map(|(_, text)| text).collect()
    }

    /// The health checks see a server at a position.
    fn see(&mut self, server: u32, position: &str) {
        let applied = GtidPosition::parse_mariadb(position.as_bytes()).expect("a position");
        let seen = Seen { asked: self.stage.now, committed: Some(applied.clone()), applied };
        self.beliefs.see(ServerId(server), Some(seen));
    }

    fn closed(&mut self, side: Side) {
        self.stage.tell(Input::Closed(side));
        if side == Side::Replica {
            self.stage.to_replica.clear();
        }
        self.serve();
    }

    /// The deadline that the session waits for comes.
    fn time_out(&mut self) {
        self.stage.now = self.stage.session.poll_timeout().expect("whoever waits has a deadline");
        self.stage.tell(Input::Timeout);
        self.serve();
    }

    fn activity(&self) -> &'static str {
        self.stage.session.activity()
    }
}

/// The number of a statement at the replica.
const REPLICA_STATEMENT: u8 = 91;

fn payloads(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = Header::parse(bytes)?.payload_length as usize;
        let (packet, rest) = bytes.split_at(HEADER_LENGTH + length);
        bytes = rest;
        Some(&packet[HEADER_LENGTH..])
    })
}

fn stream(payloads: &[Vec<u8>]) -> Vec<u8> {
    (1..).zip(payloads).flat_map(|(sequence, payload)| packet(sequence, payload)).collect()
}

fn column(name: &str) -> Vec<u8> {
    [b"\x03def\0\0\0", &[name.len() as u8][..], name.as_bytes(), b"\0\x0c\x2d\0\x01\0\0\0\xfd\0\0\0\0\0"].concat()
}

fn eof(status: StatusFlags) -> Vec<u8> {
    let [low, high] = status.0.to_le_bytes();
    vec![EOF_HEADER, 0, 0, low, high]
}

fn ok_with(status: StatusFlags, trackers: &[u8]) -> Vec<u8> {
    encoded(OK_HEADER, OkPacket { status, trackers: some(trackers), ..OkPacket::default() }, true)
}

fn end_with(status: StatusFlags, trackers: &[u8]) -> Vec<u8> {
    encoded(EOF_HEADER, OkPacket { status, trackers: some(trackers), ..OkPacket::default() }, true)
}

fn some(trackers: &[u8]) -> Option<Vec<u8>> {
    (!trackers.is_empty()).then(|| trackers.to_vec())
}

fn encoded(header: u8, ok: OkPacket, tracks: bool) -> Vec<u8> {
    let capabilities = if tracks { Capabilities::SESSION_TRACK } else { Capabilities::NONE };
    let mut payload = Vec::new();
    ok.encode(header, capabilities, &mut payload);
    payload
}

fn tracker(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    writer.u8(kind);
    writer.lenenc_bytes(data);
    out
}

fn variable(name: &str, value: &str) -> Vec<u8> {
    let mut pair = Vec::new();
    Writer::new(&mut pair).lenenc_bytes(name.as_bytes());
    Writer::new(&mut pair).lenenc_bytes(value.as_bytes());
    tracker(0, &pair)
}

fn schema(name: &str) -> Vec<u8> {
    let mut data = Vec::new();
    Writer::new(&mut data).lenenc_bytes(name.as_bytes());
    tracker(1, &data)
}

fn state_change() -> Vec<u8> {
    tracker(2, b"1")
}

/// MySQL's way to tell the position of a transaction.
fn mysql_position(gtid: &str) -> Vec<u8> {
    let mut data = vec![0];
    Writer::new(&mut data).lenenc_bytes(gtid.as_bytes());
    tracker(3, &data)
}

/// MariaDB's way to do it.
fn position(gtid: &str) -> Vec<u8> {
    variable("last_gtid", gtid)
}

fn error(sequence: u8, code: u16) -> Vec<u8> {
    let [low, high] = code.to_le_bytes();
    packet(sequence, &[&[0xFF, low, high], &b"#HY000not here"[..]].concat())
}
