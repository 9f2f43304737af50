//! Brings a server to where the next command needs it, with commands of our own, while the client's waits.
//!
//! `missing` looks at what is missing and names one thing; that is done, and it looks again. Whatever goes wrong at a
//! replica sends the command home.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    protocol::{packet::write_packet, response::ErrPacket, status::StatusFlags},
    session::{
        Ending, Output, Session, Side, State, Step, Surroundings, door::Door, errors, exchange::Exchange, relay::Relay,
        split::Split,
    },
    topology::Failure,
};

use super::{Answer, Asked, Chore, Unsayable, missing::Next};

/// How long home may take to repeat a read, which may be a long one, or to prepare a statement, which waits for locks.
const REPEAT_TIME: Duration = Duration::from_secs(3600);

/// How long a server may take for one of our commands, beside what it is told to wait.
const CHORE_TIME: Duration = Duration::from_secs(5);

/// How long a Galera node may take until it has all that the cluster had committed. It gives up by itself, after 30 s where
/// nobody has set another `repl.causal_read_timeout`; whether it still answers is for the health checks to see.
const CAUSAL_TIME: Duration = Duration::from_secs(300);

/// A server is being made ready.
pub(in crate::session) struct Preparing {
    goal: Side,
    /// A command of the client waits for it.
    command_waits: bool,
    pub(in crate::session::split) stage: Stage,
}

pub(in crate::session::split) enum Stage {
    /// About to see what is missing.
    Looking,
    /// The worker looks for a replica.
    Leasing,
    /// The worker looks for the connection of the last read.
    Reclaiming,
    /// A replica is connected; we log in.
    AtDoor(Box<Door>),
    /// The worker looks for a home connection.
    Borrowing,
    /// The worker is asked whether somebody waits for the one that there is.
    Yielding,
    /// A new one is connected; we log in.
    AtHomeDoor(Box<Door>),
    /// It is there, and lacks something of what the session wrote or saw; since then.
    CatchingUp(Instant),
    /// One of our commands was said.
    Asking(Box<Asked>),
}

/// What the end of an answer says beside it.
struct Told {
    refusal: Option<ErrPacket>,
    status: Option<StatusFlags>,
}

impl Preparing {
    pub(in crate::session) fn command_waits(&self) -> bool {
        self.command_waits
    }

    pub(in crate::session::split) fn home_door(&mut self) -> Option<&mut Door> {
        match &mut self.stage {
            Stage::AtHomeDoor(door) => Some(door),
            _ => None,
        }
    }
}

impl Split {
    /// Whether home may wait before it answers until it has what its cluster had committed: it is told to, or all that is
    /// asked there waits.
    fn waits_for_cluster(&self, chore: Chore) -> bool {
        self.replicas_wait && chore.side() == Side::Server && chore.is_question()
    }

    fn time_for(&self, chore: Chore) -> Duration {
        match chore.may_take_long() {
            true => REPEAT_TIME,
            false if self.waits_for_cluster(chore) => CAUSAL_TIME,
            false => CHORE_TIME,
        }
    }

    /// What comes before all else that a server is told: the statements that it need not keep.
    fn closed_statements(&mut self, side: Side, now: Instant) -> Vec<u8> {
        match side {
            Side::Server => {
                self.awake.heard(now);
                self.statements.take_closed_at_home()
            }
            _ => self.statements.take_closed(),
        }
    }
}

impl Session {
    /// Makes a server ready; the client's command, if one waits, is shown again afterwards.
    pub(in crate::session) fn make_ready(&mut self, goal: Side, command_waits: bool, surroundings: Surroundings<'_>) {
        if let State::Relay(relay) = &mut self.state {
            let preparing = Preparing { goal, command_waits, stage: Stage::Looking };
            relay.exchange = Exchange::Preparing(Box::new(preparing));
            self.look_what_is_missing(surroundings);
        }
    }

    /// A server is made ready, though no command waits for it.
    pub(in crate::session::split) fn make_ready_from(&mut self, stage: Stage, goal: Side) {
        if let State::Relay(relay) = &mut self.state {
            relay.exchange = Exchange::Preparing(Box::new(Preparing { goal, command_waits: false, stage }));
        }
    }

    /// A home is wanted for a command that does not wait at the client's side any more.
    pub(in crate::session::split) fn wait_for_home(&mut self, stage: Stage) {
        if let State::Relay(relay) = &mut self.state {
            let preparing = Preparing { goal: Side::Server, command_waits: true, stage };
            relay.exchange = Exchange::Preparing(Box::new(preparing));
        }
    }

    pub(in crate::session::split) fn look_what_is_missing(&mut self, surroundings: Surroundings<'_>) {
        loop {
            let Some((relay, goal)) = self.preparing() else { return };
            let status = relay.status;
            let Some(split) = relay.split.as_deref_mut() else { return };
            match split.next(goal, status, surroundings) {
                Next::Ready(side) => return self.ready(side, surroundings),
                Next::Lease => return self.lease_replica(surroundings),
                Next::Reclaim => return self.reclaim_replica(),
                Next::Leave => self.leave_replica(),
                Next::Refuse => return self.ready(Side::Server, surroundings),
                Next::LeaseHome => return self.borrow_home(None),
                Next::Yield => return self.yield_home(),
                Next::LeaveHome => self.drop_home(),
                Next::SetAside => self.set_home_aside(surroundings),
                Next::Say(chore) => match split.words(chore, status, surroundings.now) {
                    Ok(Some(words)) => return self.say_with_others(chore, words, surroundings),
                    Ok(None) => {
                        let _ = split.replica_answered(chore, Answer::Done, status);
                    }
                    Err(Unsayable) if chore.side() == Side::Server && self.stays_at_home(surroundings) => return,
                    Err(Unsayable) if chore.is_of_statement() => {
                        return self.refuse_waiting(errors::needs_prepare(), Ending::ServerDenied);
                    }
                    Err(Unsayable) if chore.side() == Side::Server => return self.home_is_unfit(None, surroundings),
                    Err(Unsayable) => return self.ready(Side::Server, surroundings),
                },
            }
        }
    }

    pub(in crate::session::split) fn preparing(&mut self) -> Option<(&mut Relay, Side)> {
        match &mut self.state {
            State::Relay(relay) => match &relay.exchange {
                Exchange::Preparing(preparing) => {
                    let goal = preparing.goal;
                    Some((relay, goal))
                }
                _ => None,
            },
            _ => None,
        }
    }

    pub(in crate::session::split) fn set_stage(&mut self, stage: Stage) {
        if let State::Relay(relay) = &mut self.state
            && let Exchange::Preparing(preparing) = &mut relay.exchange
        {
            preparing.stage = stage;
        }
    }

    /// Nothing is missing: the command that waits is shown again, and goes there.
    pub(in crate::session::split) fn ready(&mut self, side: Side, surroundings: Surroundings<'_>) {
        if side == Side::Server && self.is_to_run_at_home_instead() {
            return self.look_for_home(surroundings);
        }
        self.arrive(surroundings);
        self.deadline = None;
        if let State::Relay(relay) = &mut self.state
            && let Exchange::Preparing(preparing) = &relay.exchange
        {
            let command_waits = preparing.command_waits;
            if let Some(split) = relay.split.as_deref_mut() {
                split.ready = (command_waits && !split.kept.waits()).then_some(side);
                split.lent.iter_mut().for_each(|lent| lent.is_ready());
            }
            relay.exchange = Exchange::Idle;
        }
        if self.run_again() {
            return;
        }
        self.welcome(surroundings);
        if self.split_mut().is_some_and(|split| std::mem::take(&mut split.repeats)) {
            return self.say_again();
        }
        // A command that has been waited for is answered before anybody leaves.
        if self.split().is_some_and(|split| split.ready.is_none()) {
            self.leave_if_asked();
            self.move_if_asked(surroundings);
            self.let_connections_go(None);
        }
    }

    /// Whether a command is to go home that was made ready for a replica: a home that may be another one may not be there,
    /// or lack something.
    fn is_to_run_at_home_instead(&self) -> bool {
        let State::Relay(Relay { exchange: Exchange::Preparing(preparing), split: Some(split), .. }) = &self.state
        else {
            return false;
        };
        let may_lack = !split.has_home() || (preparing.goal == Side::Replica && split.may_change_home());
        preparing.command_waits && may_lack
    }

    fn look_for_home(&mut self, surroundings: Surroundings<'_>) {
        if let State::Relay(Relay { exchange: Exchange::Preparing(preparing), .. }) = &mut self.state {
            (preparing.goal, preparing.stage) = (Side::Server, Stage::Looking);
        }
        self.look_what_is_missing(surroundings);
    }

    /// Says something, and in the same breath what depends on no answer to it.
    fn say_with_others(&mut self, first: Chore, words: Vec<u8>, surroundings: Surroundings<'_>) {
        let mut said = vec![(first, words)];
        if let State::Relay(Relay { split: Some(split), status, exchange: Exchange::Preparing(preparing), .. }) =
            &mut self.state
        {
            for chore in split.sayable_behind(first, preparing.goal, *status, surroundings) {
                match split.words(chore, *status, surroundings.now) {
                    Ok(Some(words)) => said.push((chore, words)),
                    Ok(None) => {}
                    Err(Unsayable) => break,
                }
            }
        }
        self.say(said, surroundings.now);
    }

    /// Says all of this to one server with one send; the answers come in the same order.
    pub(in crate::session::split) fn say(&mut self, said: Vec<(Chore, Vec<u8>)>, now: Instant) {
        let State::Relay(relay) = &mut self.state else { return };
        let Some(split) = relay.split.as_deref_mut() else { return };
        let mut chores: VecDeque<Chore> = said.iter().map(|(chore, _)| *chore).collect();
        let time = chores.iter().map(|chore| split.time_for(*chore)).max();
        let Some(first) = chores.pop_front() else { return };
        let mut packets = split.closed_statements(first.side(), now);
        for (_, words) in &said {
            write_packet(&mut packets, 0, words);
        }
        let asked = Asked::new(first, chores, relay.framing);
        self.set_stage(Stage::Asking(Box::new(asked)));
        self.outputs.push_back(Output::Send(first.side(), packets));
        self.deadline = time.map(|time| now + time);
    }

    /// A server's bytes while something is made ready.
    pub(in crate::session) fn preparing_step(
        &mut self,
        from: Side,
        bytes: &[u8],
        surroundings: Surroundings<'_>,
    ) -> Step {
        let may_do_without = self.may_lose_home();
        let State::Relay(Relay { exchange: Exchange::Preparing(preparing), .. }) = &mut self.state else {
            unreachable!("the caller looked at the exchange")
        };
        match &mut preparing.stage {
            Stage::Asking(asked) if asked.chore.side() == from => {
                let (length, answer) = asked.hear(bytes);
                let chore = asked.chore;
                if let Some(answer) = answer {
                    let (refusal, status) = (asked.refusal(), asked.status);
                    self.chore_answered(chore, answer, Told { refusal, status }, surroundings);
                }
                Step::Consume { length }
            }
            Stage::AtHomeDoor(_) if from == Side::Server => self.home_door_step(bytes, surroundings),
            _ if from == Side::Server && may_do_without => {
                self.home_lost(surroundings);
                Step::Consume { length: bytes.len() }
            }
            Stage::AtDoor(_) if from == Side::Replica => self.door_step(bytes, surroundings),
            _ if from == Side::Server => {
                self.server_left(Ending::ServerGone);
                Step::Consume { length: bytes.len() }
            }
            _ => {
                self.replica_lost(surroundings);
                Step::Consume { length: bytes.len() }
            }
        }
    }

    fn chore_answered(&mut self, chore: Chore, answer: Answer, told: Told, surroundings: Surroundings<'_>) {
        if chore.side() == Side::Server && answer == Answer::Malformed {
            return match self.may_lose_home() {
                true => self.home_lost(surroundings),
                false => self.server_left(Ending::ServerProtocol),
            };
        }
        self.take_status(chore, told.status);
        if chore == Chore::RollBack
            && let State::Relay(relay) = &mut self.state
        {
            relay.status = relay.status.without(StatusFlags::IN_TRANS | StatusFlags::IN_TRANS_READONLY);
        }
        let Some((relay, _)) = self.preparing() else { return };
        let status = relay.status;
        let is_for_statement =
            chore == Chore::HomeSchema && relay.split.as_deref().is_some_and(Split::prepares_elsewhere);
        let outcome = match relay.split.as_deref_mut() {
            Some(split) => split.answered(chore, answer, status, surroundings.now),
            None => return,
        };
        match outcome {
            Ok(()) if self.hears_the_next() => {}
            Ok(()) => {
                self.set_stage(Stage::Looking);
                self.look_what_is_missing(surroundings);
            }
            Err(Unsayable) if chore == Chore::HomeReset => self.home_lost(surroundings),
            Err(Unsayable) if chore.side() == Side::Server && self.stays_at_home(surroundings) => {}
            Err(Unsayable) if chore.is_of_statement() || is_for_statement => {
                let refusal = told.refusal.filter(|_| !matches!(chore, Chore::HomeReading(_)));
                self.refuse_waiting(refusal.unwrap_or_else(errors::needs_prepare), Ending::ServerDenied);
            }
            Err(Unsayable) if chore.side() == Side::Server => self.home_is_unfit(told.refusal, surroundings),
            Err(Unsayable) => self.replica_lost(surroundings),
        }
    }

    /// Whether more was said that has to be answered: that comes next.
    fn hears_the_next(&mut self) -> bool {
        let next = match &mut self.state {
            State::Relay(Relay { exchange: Exchange::Preparing(preparing), .. }) => match &mut preparing.stage {
                Stage::Asking(asked) => asked.next(),
                _ => None,
            },
            _ => None,
        };
        let is_any = next.is_some();
        if let Some(next) = next {
            self.set_stage(Stage::Asking(Box::new(next)));
        }
        is_any
    }

    pub(in crate::session::split) fn stage(&self) -> Option<&Stage> {
        match &self.state {
            State::Relay(Relay { exchange: Exchange::Preparing(preparing), .. }) => Some(&preparing.stage),
            _ => None,
        }
    }

    /// A server of this side has not let us in yet.
    pub(in crate::session) fn is_at_door(&self, side: Side) -> bool {
        match self.stage() {
            Some(Stage::AtHomeDoor(_)) => side == Side::Server,
            Some(Stage::AtDoor(_)) => side == Side::Replica,
            _ => false,
        }
    }

    /// What is under way concerns the replica alone.
    pub(in crate::session::split) fn is_replica_asked(&self) -> bool {
        match self.stage() {
            Some(Stage::Asking(asked)) => asked.chore.side() == Side::Replica,
            Some(Stage::AtDoor(_) | Stage::Leasing | Stage::Reclaiming) => true,
            Some(Stage::Looking | Stage::Borrowing | Stage::Yielding | Stage::AtHomeDoor(_) | Stage::CatchingUp(_)) => {
                false
            }
            None => false,
        }
    }

    pub(in crate::session::split) fn is_home_asked(&self) -> bool {
        matches!(self.stage(), Some(Stage::Asking(asked)) if asked.chore.side() == Side::Server)
    }

    /// A server took too long to be made ready.
    pub(in crate::session) fn preparing_timed_out(&mut self, surroundings: Surroundings<'_>) {
        let State::Relay(Relay { exchange: Exchange::Preparing(preparing), .. }) = &self.state else { return };
        match &preparing.stage {
            Stage::Asking(asked) if asked.chore.side() == Side::Server => {
                let chore = asked.chore;
                match self.may_lose_home() {
                    true if self.split().is_some_and(|split| split.waits_for_cluster(chore)) => {
                        self.home_stays_behind(surroundings);
                    }
                    true => self.home_lost(surroundings),
                    false => self.server_left(Ending::ServerGone),
                }
            }
            Stage::AtHomeDoor(_) => self.home_failed(Some(Failure::TimedOut), surroundings),
            Stage::AtDoor(_) => self.replica_failed(Some(Failure::TimedOut), surroundings),
            Stage::Asking(_) | Stage::Looking | Stage::Leasing => self.replica_lost(surroundings),
            Stage::CatchingUp(since) => {
                let since = *since;
                self.settle_since(since, surroundings);
            }
            // The worker has a deadline of its own, and answers.
            Stage::Borrowing | Stage::Yielding | Stage::Reclaiming => {}
        }
    }

    /// Another connection would wait as long: the command hears of it, as from the node itself.
    fn home_stays_behind(&mut self, surroundings: Surroundings<'_>) {
        let name = self.server.as_ref().map_or("?", |server| &server.name);
        let error = errors::behind_its_cluster(name);
        self.home_is_unfit(Some(error), surroundings);
    }

    pub(in crate::session) fn split(&self) -> Option<&Split> {
        match &self.state {
            State::Relay(relay) => relay.split.as_deref(),
            _ => None,
        }
    }

    pub(in crate::session) fn split_mut(&mut self) -> Option<&mut Split> {
        match &mut self.state {
            State::Relay(relay) => relay.split.as_deref_mut(),
            _ => None,
        }
    }
}
