//! Sending clients to another balancer: at their login, or, when sessions are recalled, at their next command outside a
//! transaction.
//!
//! A recalled session keeps its server until that command, so that nothing of it (a lock, a temporary table) is lost
//! behind its client's back. Until the command comes, it can be recalled from being recalled.

use crate::protocol::{
    command::{Answer, Command},
    packet::{HEADER_LENGTH, Walker},
    response::ErrPacket,
};

use super::{
    DrainReason, Ending, Session, State, Step, Surroundings, errors, exchange::Exchange, moves::Move, relay::Relay,
};

/// How far a session is on its way out.
pub(super) enum Parting {
    /// Between two commands: the next one is the last.
    Awaited,
    /// The last command is swallowed, to be answered with where to go.
    Swallowing(Walker),
}

impl Relay {
    /// The client's bytes in a session that is recalled.
    pub(super) fn last_command(&mut self, bytes: &[u8], surroundings: Surroundings<'_>) -> Move {
        let Exchange::Parting(parting) = &mut self.exchange else { unreachable!("the caller looked at the exchange") };
        match parting {
            Parting::Swallowing(walker) => {
                let walked = walker.walk(bytes);
                match walked.finished {
                    true => {
                        Move::Farewell { length: walked.consumed, sequence: walker.last_sequence().wrapping_add(1) }
                    }
                    false => Move::Pass(Step::Consume { length: walked.consumed }),
                }
            }
            Parting::Awaited => match bytes.get(HEADER_LENGTH).map(|&code| Command::from(code).answer()) {
                None => Move::Pass(Step::NeedBytes { at_least: HEADER_LENGTH + 1 }),
                Some(Answer::Quit) => Move::Quit,
                Some(Answer::NoReply) => self.one_more(bytes, surroundings),
                Some(_) => {
                    *parting = Parting::Swallowing(Walker::new());
                    self.last_command(bytes, surroundings)
                }
            },
        }
    }

    /// A command that nobody answers: an error in answer to it would be taken for that of the next one.
    fn one_more(&mut self, bytes: &[u8], surroundings: Surroundings<'_>) -> Move {
        self.exchange = Exchange::Idle;
        let what = self.client(bytes, surroundings);
        if self.is_idle() {
            self.exchange = Exchange::Parting(Parting::Awaited);
        }
        what
    }
}

impl Session {
    /// What a client is told that is sent elsewhere when it logs in.
    pub(super) fn sent_elsewhere(&self, attributes: &[u8], surroundings: Surroundings<'_>) -> Option<ErrPacket> {
        let redirect = &surroundings.table.redirect;
        let target = redirect.target_for(self.entrance)?;
        if self.is_sent_by_url(attributes, surroundings.table) {
            return None;
        }
        Some(errors::elsewhere(&redirect.settings, target, errors::LOGIN_REJECTED))
    }

    /// Sessions are recalled from now on, or not any more.
    pub(super) fn recalled(&mut self, surroundings: Surroundings<'_>) {
        let is_recalled = surroundings.table.redirect.recalls(self.entrance);
        match (self.draining, is_recalled) {
            (None, true) if self.is_recalled_by_url(surroundings.table) => self.tell_onward(surroundings.table),
            (None, true) => {
                self.draining = Some(DrainReason::Recalled);
                self.leave_if_asked();
            }
            (None, false) => self.stay_here(),
            (Some(DrainReason::Recalled), false) => self.stay(),
            (Some(_), _) => {}
        }
    }

    /// A client that has been told where to go, and says something more here, has not gone: it hears the error.
    pub(super) fn leave_if_told(&mut self) {
        if self.has_told_onward() && self.draining.is_none() {
            self.draining = Some(DrainReason::Recalled);
        }
    }

    /// The client's next command is to be its last.
    pub(super) fn part(&mut self) {
        if let State::Relay(relay) = &mut self.state {
            relay.exchange = Exchange::Parting(Parting::Awaited);
        }
    }

    fn stay(&mut self) {
        self.draining = None;
        if let State::Relay(relay) = &mut self.state
            && let Exchange::Parting(Parting::Awaited) = relay.exchange
        {
            relay.exchange = Exchange::Idle;
        }
    }

    /// The last command is answered with where to go.
    pub(super) fn say_farewell(&mut self, sequence: u8, surroundings: Surroundings<'_>) {
        if let State::Relay(relay) = &mut self.state {
            relay.exchange = Exchange::Idle;
        }
        self.leave_connections_behind();
        self.say_goodbye_to_server();
        let redirect = &surroundings.table.redirect;
        // Where to go may have been taken back while the command came.
        let error = match &redirect.settings.target {
            Some(target) => errors::elsewhere(&redirect.settings, target, errors::CONNECTION_LOST),
            None => errors::shutdown(),
        };
        self.deny(sequence, error, Ending::Redirected);
    }
}

#[cfg(test)]
mod tests;
