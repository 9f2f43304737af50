//! What a session wants is carried out, as a worker does it: bytes are shown to it and taken on, wishes are kept until an
//! act answers them.

use super::*;

/// What a session has asked for and has not been answered.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) home: bool,
    pub(super) replica: bool,
    pub(super) errand: bool,
    pub(super) found: Option<SessionId>,
    pub(super) inquired: bool,
    pub(super) reckoned: bool,
    pub(super) yielded: bool,
}

impl Play<'_> {
    /// Bytes come from one side, in pieces.
    pub(super) fn says(&mut self, side: Side, bytes: &[u8]) {
        for piece in bytes.chunks(self.cut.min(bytes.len().max(1))) {
            if !self.ends.receive(side, piece) {
                return;
            }
            self.pump();
        }
    }

    pub(super) fn tell(&mut self, input: Input) {
        if self.ending.is_some() {
            return;
        }
        self.answer(input);
        self.pump();
    }

    pub(super) fn answer(&mut self, input: Input) {
        self.ends.is_idle = self.is_idle();
        self.session.handle(input, self.surroundings());
        self.carry_out();
    }

    /// Shows each side's bytes as long as the session uses any.
    pub(super) fn pump(&mut self) {
        let mut steps_left = 2 * self.ends.waiting() + OUTPUTS_MAX;
        while self.pump_sides() {
            steps_left = steps_left.checked_sub(1).expect("a session must not go round in circles");
        }
    }

    pub(super) fn pump_sides(&mut self) -> bool {
        let mut progress = false;
        for side in SIDES {
            progress |= self.pump_side(side);
        }
        progress
    }

    pub(super) fn pump_side(&mut self, side: Side) -> bool {
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
    pub(super) fn is_idle(&self) -> bool {
        matches!(&self.session.state, State::Relay(relay) if relay.is_idle() || relay.is_preparing())
    }

    pub(super) fn forward(&mut self, from: Side, to: Side, bytes: Vec<u8>) {
        assert!(!bytes.is_empty(), "a step makes progress");
        assert_eq!(from == Side::Client, to != Side::Client, "the client's bytes go up, others down");
        self.ends.used(from, bytes.len());
        self.ends.write(to, &bytes);
    }

    pub(super) fn carry_out(&mut self) {
        let mut outputs_left = OUTPUTS_MAX;
        while let Some(output) = self.session.poll_output() {
            outputs_left = outputs_left.checked_sub(1).expect("what one input leads to is bounded");
            assert!(self.ending.is_none(), "{output:?} after the end");
            self.perform(output);
        }
    }

    pub(super) fn perform(&mut self, output: Output) {
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
            Output::FindSession { id, .. } => self.wishes.found = Some(id),
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
            | Output::KillRefused(_)
            | Output::Settled
            | Output::Report(..)
            | Output::Entered => {}
        }
    }

    pub(super) fn take_back(&mut self) {
        self.wishes.home = false;
        self.ends.close(Side::Server);
        match self.aside.take().filter(ends::Connection::is_whole) {
            Some(connection) => self.ends.attach(Side::Server, connection),
            None => self.answer(Input::Closed(Side::Server)),
        }
    }

    pub(super) fn note_greeting(&mut self, side: Side, bytes: &[u8]) {
        if side == Side::Client
            && self.session.user().is_none()
            && let Ok(ServerHello::Greeting(greeting)) = Greeting::parse(&bytes[HEADER_LENGTH..])
        {
            self.greeting = Some(greeting);
        }
    }
}
