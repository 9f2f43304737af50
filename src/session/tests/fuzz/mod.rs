//! A whole session between ends that do whatever bytes say: the fuzz target, and its promises.
//!
//! Each byte is an act: a client that logs in, sends commands or garbage; a server that greets, answers or lies; what the
//! worker tells a session, in answer to its wishes or out of the blue; a connection that is cut, time that passes. Letters
//! name the acts, so that an input can be read and written by hand (`tests/corpus/sessions.txt`).
//!
//! `ends` has the four connections with what must be true of the bytes on them; here is the play, which carries out the
//! session's wishes as a worker does.

mod ends;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{stage::*, *};
use crate::{
    protocol::{
        auth::{Login as ServerLogin, Secret, Verifier},
        handshake::{Greeting, HandshakeResponse, ServerHello},
        packet::HEADER_LENGTH,
        watch::HELD_MAX,
    },
    topology::{RoutingTable, ServerId},
};

use ends::{Ends, Journal};

/// Fuzz entry: nothing that clients, servers and the worker do breaks a session or its promises.
#[cfg_attr(test, allow(unreachable_pub, reason = "libFuzzer calls it"))]
pub fn fuzz_session(bytes: &[u8]) {
    let mut play = Play::new(bytes);
    while let Some(act) = play.script.next() {
        play.act(act);
        play.check();
    }
    play.close();
}

/// What a session may ask for at once. The most that one input leads to is a dozen.
const OUTPUTS_MAX: usize = 64;

/// What one side may be asked to keep, while the session waits for the rest of a packet.
const INBOX_MAX: usize = HELD_MAX;

const SIDES: [Side; 4] = [Side::Client, Side::Server, Side::Replica, Side::Errand];

/// Users of the stage's configuration, each with another way through the session.
const USERS: [&str; 11] =
    ["app", "hashed", "mapped", "handed", "split", "within", "any", "lent", "shared", "moving", "newcomer"];

/// Commands that mean something to a session, and some that do not.
const COMMANDS: [&[u8]; 40] = [
    b"\x03SELECT a FROM t",
    b"\x03BEGIN",
    b"\x03COMMIT",
    b"\x03ROLLBACK",
    b"\x03START TRANSACTION READ ONLY",
    b"\x03SET autocommit = 0",
    b"\x03SET @a = 1, sql_mode = ''",
    b"\x03SET @a = @b + 1",
    b"\x03USE shop",
    b"\x03CREATE TEMPORARY TABLE x (a INT)",
    b"\x03SELECT GET_LOCK('l', 1)",
    b"\x03LOCK TABLES t WRITE",
    b"\x03UNLOCK TABLES",
    b"\x03SELECT 1; SELECT 2",
    b"\x03LOAD DATA LOCAL INFILE 'f' INTO TABLE t",
    b"\x03KILL 1073741825",
    b"\x03KILL QUERY 17",
    b"\x03SELECT LAST_INSERT_ID()",
    b"\x03SHOW WARNINGS",
    b"\x03SELECT FOUND_ROWS()",
    b"\x03PREPARE p FROM 'SELECT 1'",
    b"\x03EXECUTE p",
    b"\x03/* sqluice: primary */ SELECT 1",
    b"\x03/* sqluice: replica */ SELECT 1",
    b"\x03CALL p()",
    b"\x03SELECT a FROM t FOR UPDATE",
    b"\x03XA START 'x'",
    b"\x16SELECT a FROM t WHERE b = ?",
    b"\x17\x01\0\0\0\0\x01\0\0\0",
    b"\x17\x01\0\0\0\x01\x01\0\0\0\0\x01\x03\0\x05\0\0\0",
    b"\x18\x01\0\0\0\0\0abc",
    b"\x19\x01\0\0\0",
    b"\x1a\x01\0\0\0",
    b"\x1c\x01\0\0\0\x05\0\0\0",
    b"\x02shop",
    b"\x0e",
    b"\x1f",
    b"\x1b\0\0",
    b"\x0c\x01\0\0\x40",
    b"\x12\x04\0\0\0\0\0\x01\0\0\0",
];

/// Errors that mean something to a session, and one that does not.
const ERRORS: [(u16, &str); 12] = [
    (1064, "42000"),
    (1045, "28000"),
    (1040, "08004"),
    (1049, "42000"),
    (1053, "08S01"),
    (1205, "HY000"),
    (1213, "40001"),
    (1290, "HY000"),
    (1792, "25006"),
    (1243, "HY000"),
    (4196, "08004"),
    (1927, "70100"),
];

/// What the letters stand for. Bytes that are none of them stand for one as well, so that no byte of a fuzzer is wasted.
const ACTS: &[u8] = b"lcwpxGoredbgkuhtfnDSyqazmRv";

/// The bytes that are left of an input.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// A choice among `count`; the first one at the end of the script. Digits choose by their value, for readers.
    fn choice(&mut self, count: usize) -> usize {
        let byte = self.next().unwrap_or(b'0');
        usize::from(byte.wrapping_sub(b'0')) % count
    }

    /// Some bytes, as many as the next one says.
    fn bytes(&mut self) -> Vec<u8> {
        let length = self.choice(64).min(self.0.len());
        let (first, rest) = self.0.split_at(length);
        self.0 = rest;
        first.to_vec()
    }
}

/// What a session has asked for and has not been answered.
#[derive(Default)]
struct Wishes {
    home: bool,
    replica: bool,
    errand: bool,
    found: Option<SessionId>,
    inquired: bool,
    reckoned: bool,
    yielded: bool,
}

struct Play<'a> {
    script: Script<'a>,
    session: Session,
    table: &'static RoutingTable,
    now: Instant,
    began: Instant,
    ends: Ends,
    wishes: Wishes,
    /// The home connection that stands by; broken ones are known to be so when they are taken back.
    aside: Option<ends::Connection>,
    ending: Option<Ending>,
    /// Bytes that a side is shown at once.
    cut: usize,
    greeting: Option<Greeting>,
    /// Writes so far, each with a number of its own; the same for rows.
    numbered: u32,
}

impl<'a> Play<'a> {
    fn new(bytes: &'a [u8]) -> Play<'a> {
        let mut script = Script(bytes);
        let (table, now) = (shared_table(), Instant::now());
        let tls = TlsOffer { demand: crate::config::Encryption::Preferred, fingerprint: [7; 32] };
        let birth = Birth {
            id: SessionId::new(0, 1),
            host: "10.1.2.3".into(),
            origin: Some(IpAddr::from([10, 1, 2, 3])),
            seed: [3; 32],
            since: now,
            login_timeout: Duration::from_secs(10),
            counts: Arc::default(),
            entrance: Entrance::Ordinary,
            admission: [Admission::Welcome, Admission::Full, Admission::Closing][script.choice(3)],
            way: ClientWay::Open,
            tls: (script.choice(2) == 1).then_some(tls),
        };
        let session = Session::new(birth, Surroundings { table, rsa: rsa(), now, tick: Tick::default() });
        let mut play = Play {
            script,
            session,
            table,
            now,
            began: now,
            ends: Ends::new(),
            wishes: Wishes::default(),
            aside: None,
            ending: None,
            cut: usize::MAX,
            greeting: None,
            numbered: 0,
        };
        play.carry_out();
        play
    }

    fn surroundings(&self) -> Surroundings<'static> {
        let tick = Tick::after_beginning(self.now - self.began);
        Surroundings { table: self.table, rsa: rsa(), now: self.now, tick }
    }

    fn act(&mut self, byte: u8) {
        let letter = if ACTS.contains(&byte) { byte } else { ACTS[usize::from(byte) % ACTS.len()] };
        match letter {
            b'l' => self.log_in(),
            b'c' => self.command(),
            b'w' => self.numbered_write(),
            b'p' => self.clients_packet(),
            b'x' => self.raw(Side::Client),
            b'G' => self.with_server(|play, side| play.says(side, &greeting_packet())),
            b'o' => self.with_server(Play::ok),
            b'r' => self.with_server(Play::rows),
            b'e' => self.with_server(Play::error),
            b'd' => self.with_server(Play::servers_packet),
            b'b' => self.with_server(Play::raw),
            b'g' => self.grant(),
            b'k' => self.lend(),
            b'u' => self.refuse(),
            b'h' => self.hang_up(),
            b't' => self.time_out(),
            b'f' => self.now += Duration::from_millis(self.script.choice(64) as u64 * 7),
            b'n' => self.find(),
            b'D' => self.drain(),
            b'S' => self.displace(),
            b'y' => self.answer_yield(),
            b'q' => self.says(Side::Client, &command(0x01, b"")),
            b'a' => self.lose_aside(),
            b'z' => self.cut = [usize::MAX, 1, 2, 3, 5, 17][self.script.choice(6)],
            b'm' => self.server_lets_in(),
            b'v' => SIDES[1..].iter().for_each(|side| self.answers_well(*side)),
            _ => self.reckon(),
        }
    }

    // What clients do.

    fn log_in(&mut self) {
        let user = USERS[self.script.choice(USERS.len())];
        let Some(greeting) = self.greeting.take() else { return };
        let (_, plugin, auth_response) = ServerLogin::begin(&greeting, &credential("secret"));
        let response = HandshakeResponse {
            capabilities: with_database(greeting.capabilities, None).without(Capabilities::SSL),
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
        self.says(Side::Client, &packet(1, &payload));
    }

    fn command(&mut self) {
        let payload = COMMANDS[self.script.choice(COMMANDS.len())];
        self.says(Side::Client, &packet(0, payload));
    }

    fn numbered_write(&mut self) {
        self.numbered += 1;
        self.says(Side::Client, &query(&Journal::write(self.numbered)));
    }

    fn clients_packet(&mut self) {
        let sequence = self.ends.next_sequence(Side::Client);
        let payload = self.script.bytes();
        self.says(Side::Client, &packet(sequence, &payload));
    }

    fn raw(&mut self, side: Side) {
        let bytes = self.script.bytes();
        self.says(side, &bytes);
    }

    // What servers do.

    /// One of the servers that there are.
    fn with_server(&mut self, act: impl FnOnce(&mut Self, Side)) {
        let open: Vec<Side> = SIDES[1..].iter().copied().filter(|side| self.ends.is_open(*side)).collect();
        let choice = if open.len() > 1 { self.script.choice(open.len()) } else { 0 };
        if let Some(side) = open.get(choice) {
            act(self, *side);
        }
    }

    /// A whole login, as it mostly goes.
    fn server_lets_in(&mut self) {
        self.with_server(|play, side| {
            play.says(side, &greeting_packet());
            let sequence = play.ends.next_sequence(side);
            play.says(side, &packet(sequence, &ok(StatusFlags::AUTOCOMMIT)));
        });
    }

    /// What a good server says to what it was asked, if it was.
    fn answers_well(&mut self, side: Side) {
        let Some(asked) = self.ends.asked(side) else { return };
        let text = String::from_utf8_lossy(asked).into_owned();
        match asked[..] {
            [0x03, ..] if text.contains("SELECT @@SESSION.") => {
                let columns = text.matches("@@SESSION.").count();
                self.result(side, columns, b"\x010".repeat(columns));
            }
            [0x03, ..] if text.contains("SELECT") => self.rows(side),
            [0x16, ..] => self.says(side, &packet(1, &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
            _ => self.says(side, &packet(1, &ok(StatusFlags::AUTOCOMMIT))),
        }
    }

    fn ok(&mut self, side: Side) {
        const STATUS: [StatusFlags; 4] = [
            StatusFlags::AUTOCOMMIT,
            StatusFlags::IN_TRANS,
            StatusFlags::MORE_RESULTS,
            StatusFlags::NO_BACKSLASH_ESCAPES,
        ];
        let status = STATUS[self.script.choice(STATUS.len())];
        let sequence = self.ends.next_sequence(side);
        self.says(side, &packet(sequence, &ok(status)));
    }

    fn rows(&mut self, side: Side) {
        self.numbered += 1;
        self.result(side, 1, Journal::row(self.numbered));
    }

    /// A result of one row.
    fn result(&mut self, side: Side, columns: usize, row: Vec<u8>) {
        const COLUMN: &[u8] = b"\x03def\0\0\0\x01a\0\x0c\x2d\0\x01\0\0\0\xfd\0\0\0\0\0";
        let definitions = std::iter::repeat_n(COLUMN.to_vec(), columns);
        let payloads = [vec![columns as u8]].into_iter().chain(definitions).chain([row, vec![0xFE, 0, 0, 2, 0, 0, 0]]);
        let first = self.ends.next_sequence(side);
        let packets = payloads.enumerate().map(|(place, payload)| packet(first.wrapping_add(place as u8), &payload));
        self.says(side, &packets.collect::<Vec<_>>().concat());
    }

    fn error(&mut self, side: Side) {
        let (code, state) = ERRORS[self.script.choice(ERRORS.len())];
        let payload = [&[0xFF][..], &code.to_le_bytes(), b"#", state.as_bytes(), b"no"].concat();
        let sequence = self.ends.next_sequence(side);
        self.says(side, &packet(sequence, &payload));
    }

    fn servers_packet(&mut self, side: Side) {
        let payload = self.script.bytes();
        let sequence = self.ends.next_sequence(side);
        self.says(side, &packet(sequence, &payload));
    }

    // What the worker tells.

    fn grant(&mut self) {
        let server = facts(self.script.choice(5) as u32);
        if std::mem::take(&mut self.wishes.home) {
            self.ends.open(Side::Server);
            self.tell(Input::Leased(server));
        } else if std::mem::take(&mut self.wishes.replica) {
            self.ends.open(Side::Replica);
            self.tell(Input::ReplicaLeased(server));
        } else if std::mem::take(&mut self.wishes.errand) {
            self.ends.open(Side::Errand);
            self.tell(Input::ErrandConnected(server));
        }
    }

    /// A connection that rested, where the user shares them.
    fn lend(&mut self) {
        let (facts, is_own) = (facts(self.script.choice(5) as u32), self.script.choice(2) == 1);
        let shares = self.session.user().is_some_and(|user| [&b"lent"[..], b"shared"].contains(&user));
        let side = match () {
            () if !shares => return,
            () if std::mem::take(&mut self.wishes.home) => Side::Server,
            () if std::mem::take(&mut self.wishes.replica) => Side::Replica,
            () => return,
        };
        self.ends.open(side);
        self.tell(Input::Lent(Loan { side, facts, is_own, schema: None }));
    }

    fn refuse(&mut self) {
        if std::mem::take(&mut self.wishes.home) {
            let failures = [
                LeaseFailure::NoServer("none".into()),
                LeaseFailure::UserFull { limit: 1 },
                LeaseFailure::ServersFull("full".into()),
                LeaseFailure::UserGone,
            ];
            let failure = failures[self.script.choice(failures.len())].clone();
            self.tell(Input::LeaseFailed(failure));
        } else if std::mem::take(&mut self.wishes.replica) {
            self.tell(Input::ReplicaFailed);
        } else if std::mem::take(&mut self.wishes.errand) {
            self.tell(Input::ErrandFailed);
        }
    }

    fn hang_up(&mut self) {
        let side = SIDES[self.script.choice(SIDES.len())];
        if !self.ends.hangs_up(side) {
            return;
        }
        // A session goes on without these, perhaps with the next one.
        if matches!(side, Side::Errand | Side::Replica) {
            self.ends.close(side);
        }
        self.tell(Input::Closed(side));
    }

    fn time_out(&mut self) {
        let Some(deadline) = self.session.poll_timeout() else { return };
        self.now = self.now.max(deadline);
        self.tell(Input::Timeout);
        let next = self.session.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "a deadline that has passed is set again");
    }

    fn find(&mut self) {
        let Some(id) = self.wishes.found.take() else { return };
        let found = match self.script.choice(5) {
            0 => Found::Nobody,
            1 => Found::Homeless(b"app"[..].into()),
            2 => Found::At(KillTargets::one(ServerId(0), 5)),
            3 => Found::Reading(b"app"[..].into(), KillTarget { server: ServerId(2), thread_id: 6 }),
            _ => Found::At(KillTargets::one(ServerId(2), 6)),
        };
        self.tell(Input::SessionFound(id, found));
    }

    fn drain(&mut self) {
        let inputs = [
            Input::Drain(DrainReason::Shutdown),
            Input::Drain(DrainReason::UserRemoved),
            Input::Drain(DrainReason::ServerRemoved),
            Input::Drain(DrainReason::Recalled),
            Input::Drain(DrainReason::ServerDemoted),
            Input::Recall,
            Input::Killed,
        ];
        let choice = self.script.choice(inputs.len());
        self.tell(inputs.into_iter().nth(choice).expect("a choice is one of them"));
    }

    /// Its servers are not what they were.
    fn displace(&mut self) {
        const REASONS: [Displacement; 6] = [
            Displacement::Demoted,
            Displacement::Yields,
            Displacement::Down,
            Displacement::Gone,
            Displacement::Drained,
            Displacement::OutOfUse,
        ];
        match self.script.choice(8) {
            6 if self.session.replica().is_some() => self.tell(Input::ReplicaDrained),
            7 if self.session.replica().is_some() => self.replica_out_of_use(),
            choice if choice < 6 && self.session.server().is_some() => self.tell(Input::Displaced(REASONS[choice])),
            _ => {}
        }
    }

    fn replica_out_of_use(&mut self) {
        self.tell(Input::ReplicaOutOfUse);
        if self.session.replica().is_some() {
            self.ends.close(Side::Replica);
            self.tell(Input::Closed(Side::Replica));
        }
    }

    fn answer_yield(&mut self) {
        if std::mem::take(&mut self.wishes.yielded) {
            let is_wanted = self.script.choice(2) == 1;
            self.tell(Input::Yield { is_wanted });
        }
    }

    fn lose_aside(&mut self) {
        if let Some(aside) = &mut self.aside {
            aside.hang_up();
        }
    }

    fn reckon(&mut self) {
        if std::mem::take(&mut self.wishes.reckoned) {
            self.tell(Input::Reckon);
        } else if std::mem::take(&mut self.wishes.inquired) {
            let verifier = match self.script.choice(3) {
                0 => Verifier::Cleartext(Secret::new(b"secret".to_vec())),
                1 => Verifier::ByServer(None),
                _ => Verifier::parse_hash("*14E65567ABDB5135D0CFD9A70B3032C179A49EE7").expect("of `secret`"),
            };
            self.tell(Input::Inquired(verifier));
        }
    }

    // Carrying out.

    /// Bytes come from one side, in pieces.
    fn says(&mut self, side: Side, bytes: &[u8]) {
        for piece in bytes.chunks(self.cut.min(bytes.len().max(1))) {
            if !self.ends.receive(side, piece) {
                return;
            }
            self.pump();
        }
    }

    fn tell(&mut self, input: Input) {
        if self.ending.is_some() {
            return;
        }
        self.answer(input);
        self.pump();
    }

    fn answer(&mut self, input: Input) {
        self.ends.is_idle = self.is_idle();
        self.session.handle(input, self.surroundings());
        self.carry_out();
    }

    /// Shows each side's bytes as long as the session uses any.
    fn pump(&mut self) {
        let mut steps_left = 2 * self.ends.waiting() + OUTPUTS_MAX;
        while self.pump_sides() {
            steps_left = steps_left.checked_sub(1).expect("a session must not go round in circles");
        }
    }

    fn pump_sides(&mut self) -> bool {
        let mut progress = false;
        for side in SIDES {
            progress |= self.pump_side(side);
        }
        progress
    }

    fn pump_side(&mut self, side: Side) -> bool {
        let waiting = self.ends.inbox(side);
        if waiting.is_empty() || self.ending.is_some() {
            return false;
        }
        let length_before = waiting.len();
        self.ends.is_idle = self.is_idle();
        let step = self.session.step(side, &waiting, self.surroundings());
        match step {
            Step::Forward { to, length } => self.forward(side, to, waiting[..length].to_vec()),
            Step::Renumber { to, length, at, number } => {
                let mut bytes = waiting[..length].to_vec();
                bytes[at..at + number.len()].copy_from_slice(&number);
                self.forward(side, to, bytes);
            }
            Step::Consume { length } => self.ends.used(side, length),
            Step::NeedBytes { at_least } => {
                assert!(length_before < at_least && at_least <= INBOX_MAX, "{at_least} wanted of {length_before}");
            }
            Step::Wait => {}
        }
        self.carry_out();
        !matches!(step, Step::NeedBytes { .. } | Step::Wait)
    }

    /// No reply is on its way to the client: what it says next is a command, and what it is told answers that.
    fn is_idle(&self) -> bool {
        matches!(&self.session.state, State::Relay(relay) if relay.is_idle() || relay.is_preparing())
    }

    fn forward(&mut self, from: Side, to: Side, bytes: Vec<u8>) {
        assert!(!bytes.is_empty(), "a step makes progress");
        assert_eq!(from == Side::Client, to != Side::Client, "the client's bytes go up, others down");
        self.ends.used(from, bytes.len());
        self.ends.write(to, &bytes);
    }

    fn carry_out(&mut self) {
        let mut outputs_left = OUTPUTS_MAX;
        while let Some(output) = self.session.poll_output() {
            outputs_left = outputs_left.checked_sub(1).expect("what one input leads to is bounded");
            assert!(self.ending.is_none(), "{output:?} after the end");
            self.perform(output);
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Send(side, bytes) => {
                self.ends.write(side, &bytes);
                self.note_greeting(side, &bytes);
            }
            Output::Inquire => self.wishes.inquired = true,
            Output::Reckon => self.wishes.reckoned = true,
            Output::Lease(_) | Output::LeaseHome(..) => {
                assert!(!self.ends.is_open(Side::Server), "a session has one home");
                self.wishes.home = true;
            }
            Output::LeaseReplica(_) | Output::ReclaimReplica(_) => {
                assert!(!self.ends.is_open(Side::Replica), "a session has one replica");
                self.wishes.replica = true;
            }
            Output::Release => self.ends.close(Side::Server),
            Output::ReleaseReplica => {
                self.wishes.replica = false;
                self.ends.close(Side::Replica);
            }
            Output::Park(parking) => self.ends.close(parking.side),
            Output::Yield => self.wishes.yielded = true,
            Output::SetAside(_) => self.aside = self.ends.detach(Side::Server),
            Output::TakeBack => self.take_back(),
            Output::DropAside => self.aside = None,
            Output::FindSession(id) => self.wishes.found = Some(id),
            Output::Errand(_) => self.wishes.errand = true,
            Output::EndErrand => {
                self.wishes.errand = false;
                self.ends.close(Side::Errand);
            }
            Output::Close(ending) => self.ending = Some(ending),
            Output::StartTls(_)
            | Output::Doubt
            | Output::Learnt { .. }
            | Output::Unlearnt { .. }
            | Output::KillHomeless(_)
            | Output::Settled
            | Output::Report(..)
            | Output::Entered => {}
        }
    }

    fn take_back(&mut self) {
        self.wishes.home = false;
        self.ends.close(Side::Server);
        match self.aside.take().filter(ends::Connection::is_whole) {
            Some(connection) => self.ends.attach(Side::Server, connection),
            None => self.answer(Input::Closed(Side::Server)),
        }
    }

    fn note_greeting(&mut self, side: Side, bytes: &[u8]) {
        if side == Side::Client
            && self.session.user().is_none()
            && let Ok(ServerHello::Greeting(greeting)) = Greeting::parse(&bytes[HEADER_LENGTH..])
        {
            self.greeting = Some(greeting);
        }
    }

    // What must be true.

    /// Whatever a listing asks of a session has an answer, at any moment.
    fn check(&mut self) {
        let _ = (self.session.activity(), self.session.pins(), self.session.ties(), self.session.works_at().is_some());
        if self.ending.is_some() {
            assert!(self.session.poll_timeout().is_none(), "nothing is awaited after the end");
        }
    }

    /// The client leaves, and with it the session.
    fn close(&mut self) {
        if self.ending.is_none() {
            self.answer(Input::Closed(Side::Client));
        }
        assert!(self.ending.is_some(), "a session ends with its client");
        for side in SIDES {
            let step = self.session.step(side, b"whatever", self.surroundings());
            assert_eq!(step, Step::Consume { length: 8 }, "an ended session hears nothing");
        }
        assert!(self.session.poll_output().is_none(), "an ended session says nothing");
    }
}

#[cfg(test)]
mod tests;
