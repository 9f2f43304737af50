//! A client: it logs in, sends statements, reads as it likes, leaves in every way, and knows to the byte what it must hear.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    super::{Credential, Greeting, HandshakeResponse, Login, Secret, ServerHello, error_code},
    Outcome, Way,
    line::{Asked, Line, STATEMENTS_MAX, Statement, packet},
};
use crate::{
    io::{Dice, End, Far},
    protocol::{capability::Capabilities, error_code::Error, packet::HEADER_LENGTH, status::StatusFlags},
    tls::{Back, Channel},
};

/// Whoever waits longer for a reply gives up: its server hangs.
const PATIENCE: Duration = Duration::from_secs(90);

/// A login ends earlier, one way or the other: that is for the worker to see to.
const LOGIN_PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Client {
    line: Line,
    dice: Dice,
    stage: Stage,
    way: Way,
    back: Arc<Back>,
    number: u32,
    statements: u32,
    is_within_transaction: bool,
    has_signed: bool,
    /// Replies that are to come, each with its packets.
    awaited: VecDeque<VecDeque<Vec<u8>>>,
    deadline: Instant,
    /// The number of the next packet in answer to the login.
    sequence: u8,
    /// It has said all that a login takes, and was always quick to read.
    has_said_login: bool,
    was_slow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Greeting,
    LoggingIn,
    Working,
    /// Was told an error, and that must be the end.
    Denied,
    /// Has said all it will.
    Leaving,
    Over,
}

impl Client {
    pub(super) fn new(number: u32, way: Way, back: &Arc<Back>, far: Far, dice: &mut Dice, now: Instant) -> Client {
        Client {
            line: Line::new(far),
            dice: Dice::new(dice.below(1 << 30) as u64),
            stage: Stage::Greeting,
            way,
            back: Arc::clone(back),
            number,
            statements: 0,
            is_within_transaction: false,
            has_signed: false,
            awaited: VecDeque::new(),
            deadline: now + LOGIN_PATIENCE,
            sequence: 0,
            has_said_login: false,
            was_slow: false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    pub(super) fn wakes(&self) -> Option<Instant> {
        self.line.wakes().chain([self.deadline]).min()
    }

    pub(super) fn act(&mut self, now: Instant, outcome: &mut Outcome) {
        self.line.move_bytes(now);
        while let Some(bytes) = self.line.packet() {
            self.hear(bytes, now, outcome);
            if self.is_over() {
                return;
            }
        }
        if let Some(end) = self.line.over() {
            self.check_end(end);
            outcome.cut += usize::from(self.stage != Stage::Denied && self.stage != Stage::Leaving);
            self.stage = Stage::Over;
        } else if now >= self.deadline {
            self.lose_patience(outcome);
        } else if self.stage == Stage::Working && self.awaited.is_empty() && self.line.has_said_all() {
            self.go_on(now);
        }
    }

    /// Who is let go was told so: with an answer to its login, and inside TLS with the end of it.
    fn check_end(&self, end: End) {
        assert!(self.stage != Stage::LoggingIn || !self.has_said_login, "a login without an answer");
        let was_inside = matches!(self.stage, Stage::Working | Stage::Denied) && !self.was_slow;
        assert!(end == End::Reset || !was_inside || self.line.ended_well(), "the end is not said");
    }

    fn lose_patience(&mut self, outcome: &mut Outcome) {
        assert_eq!(self.stage, Stage::Working, "the worker does not end what it must end");
        outcome.gave_up += 1;
        self.leave(End::Reset);
    }

    fn leave(&mut self, end: End) {
        self.line.hang_up(end);
        self.stage = if end == End::Reset { Stage::Over } else { Stage::Leaving };
    }

    fn hear(&mut self, bytes: Vec<u8>, now: Instant, outcome: &mut Outcome) {
        let payload = &bytes[HEADER_LENGTH..];
        let is_error = payload.first() == Some(&0xFF);
        match self.stage {
            Stage::Greeting if !is_error => {
                assert_eq!(bytes[3], 0, "a greeting begins");
                self.log_in(payload);
            }
            Stage::LoggingIn if !is_error => {
                assert_eq!((bytes[3], payload[0]), (self.sequence, 0x00), "the login's OK");
                outcome.logins += 1;
                outcome.sealed += usize::from(self.line.is_sealed());
                self.stage = Stage::Working;
                self.deadline = now + PATIENCE;
            }
            Stage::Greeting | Stage::LoggingIn => self.denied(&bytes, self.sequence, now, outcome),
            Stage::Working => self.follow_reply(bytes, now, outcome),
            Stage::Leaving => {}
            Stage::Denied | Stage::Over => panic!("{bytes:02x?} after the last word"),
        }
    }

    fn denied(&mut self, bytes: &[u8], sequence: u8, now: Instant, outcome: &mut Outcome) {
        let code = error_code(&bytes[HEADER_LENGTH..]);
        assert_eq!(bytes[3], sequence, "error {code}");
        let is_unheard = self.stage == Stage::LoggingIn && code == Error::NET_READ_INTERRUPTED.code.0;
        assert!(!is_unheard || !self.has_said_login, "a login is not heard");
        outcome.errors += 1;
        self.stage = Stage::Denied;
        self.deadline = now + PATIENCE;
    }

    fn log_in(&mut self, payload: &[u8]) {
        let Ok(ServerHello::Greeting(greeting)) = Greeting::parse(payload) else { panic!("no greeting") };
        let password = if self.dice.once_in(20) { "wrong" } else { "secret" };
        let credential = Credential::of_password(Secret::new(password.as_bytes().to_vec()));
        let (_, plugin, auth_response) = Login::begin(&greeting, &credential);
        let seals = greeting.capabilities.contains(Capabilities::SSL) && self.dice.once_in(2);
        let not_wanted = if seals { Capabilities::NONE } else { Capabilities::SSL };
        let response = HandshakeResponse {
            capabilities: greeting.capabilities.without(Capabilities::CONNECT_WITH_DB | not_wanted),
            max_packet: 1 << 24,
            collation: 45,
            user: b"app".to_vec(),
            auth_response,
            database: None,
            plugin: Some(plugin.name().to_vec()),
            attributes: Vec::new(),
        };
        let mut payload = Vec::new();
        response.encode(&mut payload);
        (self.stage, self.sequence) = (Stage::LoggingIn, 1);
        if seals {
            self.begin_tls(&response);
        }
        let login = packet(self.sequence, &payload);
        match self.dice.below(20) {
            // It never finishes its login.
            0 => self.line.say(&login[..20]),
            1 => self.leave(End::Reset),
            _ => {
                self.line.say(&login);
                self.sequence += 1;
                self.has_said_login = true;
            }
        }
    }

    /// The first records go out with the wish.
    fn begin_tls(&mut self, response: &HandshakeResponse) {
        let mut request = Vec::new();
        response.encode_ssl_request(&mut request);
        self.line.say(&packet(self.sequence, &request));
        self.line.begin_tls(Channel::connect(&self.back).expect("good terms"));
        self.sequence += 1;
    }

    /// Packets come as they are awaited, but that an error may come in place of any, and then the end.
    fn follow_reply(&mut self, bytes: Vec<u8>, now: Instant, outcome: &mut Outcome) {
        let Some(reply) = self.awaited.front_mut() else {
            // What ends an idle session.
            return self.denied(&bytes, 0, now, outcome);
        };
        let expected = reply.pop_front().expect("a finished reply is not awaited");
        if bytes != expected {
            assert_eq!(bytes[HEADER_LENGTH], 0xFF, "{:02x?} in place of {:02x?}", head(&bytes), head(&expected));
            self.denied(&bytes, expected[3], now, outcome);
            return self.leave_after_error();
        }
        self.deadline = now + PATIENCE;
        if reply.is_empty() {
            self.awaited.pop_front();
            outcome.replies += 1;
        }
        if self.dice.once_in(40) {
            self.line.receives_at = Some(now + self.dice.delay(Duration::from_secs(8)));
            self.was_slow = true;
        }
    }

    /// Where a session may outlive an error, its client does not want it any more.
    fn leave_after_error(&mut self) {
        match self.way {
            Way::Pooled => {}
            // More was said, and a server that answers it may hang.
            Way::Split | Way::Lent | Way::Shared if self.awaited.len() > 1 => self.leave(End::Reset),
            Way::Split | Way::Lent | Way::Shared => self.quit(),
        }
    }

    fn quit(&mut self) {
        self.line.say(&packet(0, &[0x01]));
        self.stage = Stage::Leaving;
    }

    /// The next thing that it does.
    fn go_on(&mut self, now: Instant) {
        if self.dice.once_in(5) {
            self.line.sends_at = Some(now + self.dice.delay(Duration::from_secs(2)));
        }
        self.deadline = now + PATIENCE;
        match self.dice.below(24) {
            0 => self.quit(),
            1 => self.leave(End::Finished),
            2 => self.leave(End::Reset),
            3 => {
                self.ask();
                // Without waiting for the answer.
                self.leave(End::Reset);
            }
            4..8 => (0..3).for_each(|_| self.ask()),
            8..12 if self.way != Way::Pooled => self.change_state(),
            _ => self.ask(),
        }
    }

    fn ask(&mut self) {
        self.statements += 1;
        let number = self.number * STATEMENTS_MAX + self.statements;
        let asks = match self.has_signed {
            true => Asked::Number,
            false if self.dice.once_in(3) => Asked::Absence,
            false => Asked::Nothing,
        };
        let within = self.is_within_transaction;
        let statement = match self.dice.below(60) {
            0..30 => Statement::Write { number, within },
            30..59 => Statement::Read { number, rows: self.dice.below(6), bytes: 8 + self.dice.below(800), asks },
            _ => Statement::Read { number, rows: self.dice.below(20), bytes: 8 + self.dice.below(40_000), asks },
        };
        self.say(statement);
    }

    /// Something that the next statements depend on, wherever they run.
    fn change_state(&mut self) {
        match (self.is_within_transaction, self.dice.once_in(2)) {
            (_, true) => {
                self.has_signed = true;
                self.say(Statement::Sign(self.number));
            }
            (false, false) => {
                self.is_within_transaction = true;
                self.say(Statement::Begin);
            }
            (true, false) => {
                self.is_within_transaction = false;
                self.say(Statement::Commit);
            }
        }
    }

    fn say(&mut self, statement: Statement) {
        let within = if self.is_within_transaction { StatusFlags::IN_TRANS } else { StatusFlags::NONE };
        self.line.say(&packet(0, &[b"\x03", statement.text().as_bytes()].concat()));
        self.awaited.push_back(statement.reply(StatusFlags(StatusFlags::AUTOCOMMIT.0 | within.0)).into());
    }
}

fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(24)]
}
