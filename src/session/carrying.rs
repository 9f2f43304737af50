//! What a session does with what its relay says: forwards the bytes, or carries out whatever is not plain forwarding.

use super::{
    DrainReason, Ending, Output, Session, Side, State, Step, Surroundings, errors,
    exchange::{Busy, Exchange},
    moves::{Move, OwnCommand},
    split::Split,
};
use crate::{
    latency::Tick,
    protocol::{capability::Capabilities, command::ReplyShape, error_code::Error, packet::HEADER_LENGTH},
};

impl Session {
    /// Bytes of either side in the command phase.
    pub(super) fn relay_step(&mut self, from: Side, bytes: &[u8], surroundings: Surroundings<'_>) -> Step {
        if from == Side::Server && self.server.is_none() {
            // Said behind the last reply of a connection that was given back: its end follows, and is seen there.
            return Step::Consume { length: bytes.len() };
        }
        let State::Relay(relay) = &mut self.state else { unreachable!("the caller looked at the state") };
        let what = match from {
            Side::Client => relay.client(bytes, surroundings),
            Side::Replica if relay.has_unwanted_rest() => return self.rest_step(bytes, surroundings),
            Side::Server if relay.awaits_pong() => return self.pong_step(bytes),
            Side::Server | Side::Replica if matches!(relay.exchange, Exchange::Preparing(_)) => {
                return self.preparing_step(from, bytes, surroundings);
            }
            Side::Server => relay.server(bytes, surroundings.now),
            Side::Replica => relay.replica(bytes, surroundings.now),
            Side::Errand => return self.errand_step(bytes, surroundings),
        };
        match what {
            Move::Pass(step) => step,
            Move::Begin(step) => {
                self.count_command(surroundings.tick);
                self.tied_since.get_or_insert(surroundings.now);
                self.remember_home(surroundings);
                step
            }
            Move::Over(step) => {
                self.time_reply(from, surroundings.tick);
                self.command_over(surroundings);
                step
            }
            other => self.carry_out(other, from, bytes, surroundings),
        }
    }

    /// All that is not plain forwarding.
    fn carry_out(&mut self, what: Move, from: Side, bytes: &[u8], surroundings: Surroundings<'_>) -> Step {
        let is_killed = self.is_killed(surroundings.now);
        match what {
            Move::Pass(step) | Move::Begin(step) | Move::Over(step) => step,
            Move::Ready(side) => {
                self.make_ready(side, true, surroundings);
                // Nothing may be missing where the command goes instead: then nothing would come to show it again.
                match self.split().is_some_and(|split| split.is_decided()) {
                    true => self.relay_step(Side::Client, bytes, surroundings),
                    false => Step::Wait,
                }
            }
            Move::Say { side, packet, shape, length } => {
                self.say_instead(side, packet, shape, surroundings);
                Step::Consume { length }
            }
            Move::Head { packet, length } => {
                self.count_command(surroundings.tick);
                self.outputs.push_back(Output::Send(Side::Server, packet));
                Step::Consume { length }
            }
            Move::Silent(step) => {
                self.commands += 1;
                self.command_over(surroundings);
                step
            }
            Move::Rewritten { length, packet, is_over } => {
                self.outputs.push_back(Output::Send(Side::Client, packet));
                if is_over {
                    self.time_reply(from, surroundings.tick);
                    self.command_over(surroundings);
                }
                Step::Consume { length }
            }
            Move::Repeat { length } => {
                self.repeat_read(surroundings);
                Step::Consume { length }
            }
            Move::RefusedAtHome { length, code } => {
                self.refused_at_home(code, surroundings);
                Step::Consume { length }
            }
            Move::TransactionRefused { length, sequence } => {
                self.lose_transaction(sequence, surroundings);
                Step::Consume { length }
            }
            Move::ReplicaFault => {
                self.replica_closed(surroundings);
                Step::Consume { length: bytes.len() }
            }
            Move::Quit => {
                self.leave_connections_behind();
                self.say_goodbye_to_server();
                self.close(Ending::Quit);
                Step::Consume { length: bytes.len() }
            }
            Move::Refuse { length, sequence, error } => {
                self.refuse(sequence, error, surroundings);
                Step::Consume { length }
            }
            Move::Farewell { length, sequence } => {
                self.commands += 1;
                self.say_farewell(sequence, surroundings);
                Step::Consume { length }
            }
            Move::Own { command, length } => {
                self.run_own(command, &bytes[HEADER_LENGTH..length], surroundings);
                Step::Consume { length }
            }
            Move::OutOfOrder => {
                self.say_goodbye_to_server();
                self.deny(0, errors::packets_out_of_order(), Ending::ClientProtocol);
                Step::Consume { length: bytes.len() }
            }
            Move::ServerGoodbye { .. } | Move::ServerFault if !is_killed && self.may_lose_home() => {
                self.go_on_without_home(bytes, surroundings)
            }
            Move::ServerGoodbye { .. } if !is_killed && self.outlives_home() => {
                self.go_on_without_home(bytes, surroundings)
            }
            Move::ServerGoodbye { length } => {
                self.outputs.push_back(Output::Send(Side::Client, bytes[..length].to_vec()));
                self.close(Ending::ServerGone);
                Step::Consume { length: bytes.len() }
            }
            Move::ServerFault => {
                self.server_left(Ending::ServerProtocol);
                Step::Consume { length: bytes.len() }
            }
        }
    }

    /// Another packet goes out in place of the client's whole command.
    fn say_instead(&mut self, side: Side, packet: Vec<u8>, shape: ReplyShape, surroundings: Surroundings<'_>) {
        self.count_command(surroundings.tick);
        if let State::Relay(relay) = &mut self.state {
            relay.begin_whole(side, shape);
        }
        self.outputs.push_back(Output::Send(side, packet));
        self.remember_home(surroundings);
    }

    /// The client's command, all of it swallowed, is answered with an error.
    fn refuse(&mut self, sequence: u8, error: Error, surroundings: Surroundings<'_>) {
        self.commands += 1;
        let refusal = self.split_mut().and_then(|split| split.refusal.take());
        if !self.split().is_some_and(Split::is_silent) {
            self.send_error(sequence, &refusal.unwrap_or_else(|| errors::refused_command(error)));
        }
        self.command_over(surroundings);
    }

    fn run_own(&mut self, command: OwnCommand, payload: &[u8], surroundings: Surroundings<'_>) {
        self.commands += 1;
        match command {
            OwnCommand::Kill(id) => self.kill(id, payload, surroundings),
            OwnCommand::ChangeUser => {
                self.keep_choices();
                self.leave_server();
                self.change_user(payload, 1, surroundings);
            }
        }
    }

    fn go_on_without_home(&mut self, bytes: &[u8], surroundings: Surroundings<'_>) -> Step {
        self.home_broke(surroundings);
        Step::Consume { length: bytes.len() }
    }

    /// A command goes to a server.
    fn count_command(&mut self, now: Tick) {
        self.commands += 1;
        self.asked_at = now;
    }

    /// A server has replied to the command under way. What the client ends itself has no reply.
    fn time_reply(&self, from: Side, now: Tick) {
        let server = match from {
            Side::Server => self.server.as_ref(),
            Side::Replica => self.replica(),
            Side::Client | Side::Errand => None,
        };
        if let Some(server) = server {
            server.reply_times.count(now.since(self.asked_at));
        }
    }

    /// A drain that waited for the end of a command or transaction.
    pub(super) fn leave_if_asked(&mut self) {
        self.leave_if_told();
        if self.draining.is_some()
            && let State::Relay(relay) = &self.state
            && relay.may_leave()
        {
            self.leave_as_asked();
        }
    }

    /// What the client chose by command of its connection holds for the next one.
    fn keep_choices(&mut self) {
        let State::Relay(relay) = &self.state else { return };
        match relay.allows_many_statements {
            Some(true) => self.capabilities |= Capabilities::MULTI_STATEMENTS,
            Some(false) => self.capabilities = self.capabilities.without(Capabilities::MULTI_STATEMENTS),
            None => {}
        }
    }

    /// Gives up the servers because the session goes on as another user.
    fn leave_server(&mut self) {
        self.leave_replica();
        // A reason to leave that was this user's or this server's has been met with that.
        self.draining.take_if(|reason| !matches!(reason, DrainReason::Shutdown | DrainReason::Recalled));
        self.say_goodbye_to_server();
        self.last_server = self.server.take().map(|server| server.name);
        self.outputs.push_back(Output::Release);
    }

    /// The server is gone: whoever waits for a reply gets an error in its place, and nothing is sent twice.
    pub(super) fn server_left(&mut self, ending: Ending) {
        let State::Relay(relay) = &self.state else { return };
        match relay.error_sequence() {
            Some(sequence) => {
                let name = self.server.as_ref().map_or("?", |server| &server.name);
                self.deny(sequence, errors::server_lost(name), ending);
            }
            None => self.close(ending),
        }
    }

    pub(super) fn busy_with_own_command(&mut self) {
        if let State::Relay(relay) = &mut self.state {
            relay.exchange = Exchange::Busy(Busy::sent(ReplyShape::Simple, relay.framing));
        }
    }

    pub(super) fn become_idle(&mut self) {
        if let State::Relay(relay) = &mut self.state {
            relay.exchange = Exchange::Idle;
        }
        self.leave_if_asked();
        self.let_connections_go(None);
    }
}
