//! Home closes a session that it takes for idle. While reads run elsewhere it hears of the session now and then: between
//! two commands by a chore, and during a long one by a ping whose answer nothing waits for.

use std::time::{Duration, Instant};

use crate::{
    protocol::{
        command::{Command, ReplyShape},
        result_set::{Framing, Progress, Reply},
    },
    session::{Ending, Output, Session, Side, State, Step, Surroundings, relay::Relay, split::Split},
};

/// How long home is not spoken to while reads run elsewhere: far shorter than any `wait_timeout` in use.
const NEGLECT: Duration = Duration::from_secs(10);

/// When home heard of the session, and whether it has to answer for that.
#[derive(Debug, Default)]
pub(in crate::session::split) struct Awake {
    heard: Option<Instant>,
    /// The answer to a ping, which comes before all else that home says.
    pong: Option<Reply>,
}

impl Awake {
    /// Home is told something.
    pub(in crate::session::split) fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// To home, a session that reads elsewhere is idle, and may be closed for it.
    pub(in crate::session::split) fn is_neglected(&self, now: Instant) -> bool {
        self.heard.is_none_or(|at| at + NEGLECT <= now)
    }

    pub(in crate::session::split) fn awaits_pong(&self) -> bool {
        self.pong.is_some()
    }

    /// Begins a ping, if one is due.
    fn ping(&mut self, framing: Framing, now: Instant) -> bool {
        let is_due = self.is_neglected(now) && self.pong.is_none();
        if is_due {
            self.heard(now);
            self.pong = Some(Reply::new(ReplyShape::Simple, framing));
        }
        is_due
    }

    /// Bytes of home, which has to answer a ping: how many are that answer; `None` if they cannot be.
    fn pong(&mut self, bytes: &[u8]) -> Option<usize> {
        let followed = self.pong.as_mut()?.follow(bytes).ok()?;
        match followed.progress {
            Progress::More if followed.consumed > 0 => {}
            Progress::Done(end) if end.error.is_none() => self.pong = None,
            Progress::More | Progress::LocalInfile | Progress::Done(_) => return None,
        }
        Some(followed.consumed)
    }
}

impl Relay {
    /// Home's next bytes answer a ping of ours.
    pub(in crate::session) fn awaits_pong(&self) -> bool {
        self.split.as_ref().is_some_and(|split| split.awake.awaits_pong())
    }
}

impl Session {
    /// A command begins at the replica: home must not be forgotten for it. A deadline of an earlier one is soon enough.
    pub(in crate::session) fn remember_home(&mut self, surroundings: Surroundings<'_>) {
        if self.deadline.is_none() && self.is_busy_at(Side::Replica) {
            self.deadline = Some(surroundings.now + NEGLECT);
        }
    }

    /// The deadline of [`Session::remember_home`], perhaps of a command that is over.
    pub(in crate::session) fn wake_home(&mut self, surroundings: Surroundings<'_>) {
        let State::Relay(relay) = &mut self.state else { return };
        let framing = relay.framing;
        let is_busy = relay.is_busy_at(Side::Replica);
        let Some(split) = relay.split.as_deref_mut().filter(|split| is_busy && split.has_home()) else { return };
        if split.awake.ping(framing, surroundings.now) {
            let ping = vec![1, 0, 0, 0, Command::Ping.byte()];
            self.outputs.push_back(Output::Send(Side::Server, ping));
        }
        self.remember_home(surroundings);
    }

    /// Home's bytes while it has to answer a ping.
    pub(in crate::session) fn pong_step(&mut self, bytes: &[u8]) -> Step {
        match self.split_mut().and_then(|split: &mut Split| split.awake.pong(bytes)) {
            Some(length) => Step::Consume { length },
            // It says why it hangs up, or does not speak the protocol.
            None => {
                self.server_left(Ending::ServerGone);
                Step::Consume { length: bytes.len() }
            }
        }
    }
}
