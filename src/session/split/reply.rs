//! Replies to a session with two servers: as any reply, but for the packets that say something of the session.

use std::time::Instant;

use crate::protocol::{
    capability::Capabilities,
    command::ReplyShape,
    packet::{HEADER_LENGTH, write_packet},
    response::{EofPacket, ErrPacket, OkPacket},
    result_set::Progress,
    status::StatusFlags,
    watch::{Event, Held, Watch},
};

use super::{
    super::{
        Ending, Output, Session, Side, State, Step, Surroundings, errors,
        exchange::{Busy, Exchange},
        moves::Move,
        relay::Relay,
    },
    Split,
    absorb::After,
    rehoming::refused::{Refusal, too_long_to_wait},
};

impl Relay {
    /// The replica's bytes.
    pub(in crate::session) fn replica(&mut self, bytes: &[u8], now: Instant) -> Move {
        if self.is_busy_at(Side::Replica) { self.split_reply(bytes, now) } else { Move::ReplicaFault }
    }

    /// Bytes of the server that the command under way went to.
    pub(in crate::session) fn split_reply(&mut self, bytes: &[u8], now: Instant) -> Move {
        if let Some(instead) = self.look_for_definitions(bytes) {
            return instead;
        }
        let is_due = self.onward.is_due();
        let Some((busy, split)) = self.busy_split() else { return Move::ServerFault };
        let Some(reply) = &mut busy.reply else { return Move::ServerFault };
        if reply.wants_file() {
            reply.infile_sent();
        }
        let watch = Watch {
            errors: split.minds_errors() && !busy.is_answered,
            changes_in_eof: split.hides_changes_in_eof(),
            counts: split.recount().is_some() || is_due,
        };
        let Ok(watched) = reply.follow_watched(bytes, watch) else { return self.fault() };
        if watched.consumed > 0 {
            busy.is_answered = true;
            split.described(&bytes[..watched.consumed]);
        }
        match watched.event {
            Event::Progress(progress) => self.split_progressed(watched.consumed, progress, now),
            Event::Held { .. } | Event::NeedBytes { .. } if watched.consumed > 0 => {
                Move::Pass(Step::Forward { to: Side::Client, length: watched.consumed })
            }
            Event::NeedBytes { at_least } => Move::Pass(Step::NeedBytes { at_least }),
            Event::Held { length, packet } => self.held(packet, &bytes[..length], now),
        }
    }

    fn busy_split(&mut self) -> Option<(&mut Busy, &mut Split)> {
        match (&mut self.exchange, self.split.as_deref_mut()) {
            (Exchange::Busy(busy), Some(split)) => Some((busy, split)),
            _ => None,
        }
    }

    /// The server that answers does not speak the protocol.
    fn fault(&self) -> Move {
        if self.is_busy_at(Side::Replica) { Move::ReplicaFault } else { Move::ServerFault }
    }

    /// A whole packet that was stopped at.
    fn held(&mut self, kind: Held, packet: &[u8], now: Instant) -> Move {
        let payload = &packet[HEADER_LENGTH..];
        let status = self.status;
        let Some((_, split)) = self.busy_split() else { return Move::ServerFault };
        match kind {
            Held::Error if split.current.at == Side::Server => {
                let Ok(error) = ErrPacket::parse(payload) else { return self.passed(packet, now) };
                match split.weigh_refusal(&error, status, now) {
                    Refusal::Final => {}
                    Refusal::OfStatement => return Move::RefusedAtHome { length: packet.len(), code: error.code.0 },
                    Refusal::OfLongCommand => {
                        let mut said = Vec::new();
                        too_long_to_wait(error).encode(&mut said);
                        return self.rewritten(packet, &said, now);
                    }
                    Refusal::OfTransaction => {
                        return Move::TransactionRefused { length: packet.len(), sequence: packet[HEADER_LENGTH - 1] };
                    }
                }
            }
            Held::Error => match ErrPacket::parse(payload) {
                Ok(error) if Split::is_not_here(error.code.0) => {
                    split.learn_refusal();
                    return Move::Repeat { length: packet.len() };
                }
                Ok(error) if Split::is_of_no_use(error.code.0) => return Move::ReplicaFault,
                Ok(error) if Split::is_final(error.code.0) => {}
                // It may lag behind the table that it does not find, and home has to know of the error that GET
                // DIAGNOSTICS asks it for. So an error is always home's.
                Ok(_) => return Move::Repeat { length: packet.len() },
                Err(_) => {}
            },
            Held::Prepared => {
                if let Some(number) = split.prepared(payload) {
                    return self.passed(packet, now).under(number);
                }
            }
            Held::Ok => return self.held_ok(packet, now),
            Held::Eof => return self.held_eof(packet, now),
        }
        self.passed(packet, now)
    }

    /// Goes on behind a packet that the client gets as it is.
    fn passed(&mut self, packet: &[u8], now: Instant) -> Move {
        match self.follow_held(packet) {
            Some(progress) => self.split_progressed(packet.len(), progress, now),
            None => self.fault(),
        }
    }

    fn follow_held(&mut self, packet: &[u8]) -> Option<Progress> {
        let (busy, _) = self.busy_split()?;
        busy.is_answered = true;
        busy.reply.as_mut()?.follow(packet).ok().map(|followed| followed.progress)
    }

    fn held_ok(&mut self, packet: &[u8], now: Instant) -> Move {
        let client = self.client_capabilities();
        let payload = &packet[HEADER_LENGTH..];
        let Ok(mut ok) = OkPacket::parse(payload, Capabilities::SESSION_TRACK) else { return self.fault() };
        if let Some((_, split)) = self.busy_split() {
            split.absorb(&mut ok);
            ok.warnings = split.recount().unwrap_or(ok.warnings);
        }
        if ok.trackers.is_some() || self.onward.is_due() {
            self.onward.tell(payload[0], &mut ok);
        }
        let mut rewritten = Vec::with_capacity(packet.len());
        ok.encode(payload[0], client, &mut rewritten);
        if rewritten == payload {
            return self.passed(packet, now);
        }
        self.rewritten(packet, &rewritten, now)
    }

    /// The flag of state changes that only we asked for, and the count of conditions that are elsewhere.
    fn held_eof(&mut self, packet: &[u8], now: Instant) -> Move {
        let payload = &packet[HEADER_LENGTH..];
        let Ok(mut eof) = EofPacket::parse(payload) else { return self.fault() };
        if let Some((_, split)) = self.busy_split() {
            if split.hides_changes_in_eof() {
                eof.status = eof.status.without(StatusFlags::SESSION_STATE_CHANGED);
            }
            eof.warnings = split.recount().unwrap_or(eof.warnings);
        }
        let mut rewritten = Vec::with_capacity(EofPacket::LENGTH);
        eof.encode(&mut rewritten);
        if rewritten == payload {
            return self.passed(packet, now);
        }
        self.rewritten(packet, &rewritten, now)
    }

    /// The client gets this payload in place of the packet's own.
    fn rewritten(&mut self, packet: &[u8], payload: &[u8], now: Instant) -> Move {
        let Some(progress) = self.follow_held(packet) else { return self.fault() };
        let mut out = Vec::with_capacity(HEADER_LENGTH + payload.len());
        write_packet(&mut out, packet[HEADER_LENGTH - 1], payload);
        if let Some((_, split)) = self.busy_split() {
            split.described(&out);
        }
        let is_over = matches!(self.split_progressed(packet.len(), progress, now), Move::Over(_));
        Move::Rewritten { length: packet.len(), packet: out, is_over }
    }

    /// What of session tracking the client knows of decides how it reads an OK packet.
    fn client_capabilities(&self) -> Capabilities {
        let tracks = self.split.as_ref().is_some_and(|split| split.client_tracks);
        if tracks { Capabilities::SESSION_TRACK } else { Capabilities::NONE }
    }

    fn split_progressed(&mut self, consumed: usize, progress: Progress, now: Instant) -> Move {
        let what = self.progressed(consumed, progress);
        if let Progress::Done(end) = progress {
            let status = end.status.unwrap_or(self.status);
            if let Some(split) = self.split.as_deref_mut() {
                split.after = split.finished(end, status, now);
                if split.current.at == Side::Server {
                    split.home_is_in_step(status);
                }
            }
        }
        what
    }
}

impl Session {
    /// A command is over: what it leaves to be done, and a drain that waited for it.
    pub(in crate::session) fn command_over(&mut self, surroundings: Surroundings<'_>) {
        self.note_refused_kill();
        match self.split_mut().map(|split| std::mem::take(&mut split.after)) {
            Some(after) => self.split_command_over(after, surroundings),
            None => self.leave_if_asked(),
        }
        self.note_ties(surroundings.now);
    }

    fn split_command_over(&mut self, after: After, surroundings: Surroundings<'_>) {
        match after {
            After::Nothing => {}
            After::Repeat => {
                self.leave_replica();
                self.make_ready(Side::Server, false, surroundings);
            }
            After::Abandon => self.abandon_transaction(),
            After::RollBack => {
                if self.split_mut().is_some_and(|split| std::mem::take(&mut split.stained)) {
                    self.leave_replica();
                }
                self.make_ready(Side::Server, false, surroundings);
            }
            After::Reset | After::Commit => self.make_ready(Side::Server, false, surroundings),
        }
        self.leave_unwanted_replica();
        self.leave_if_asked();
        self.split_mut().into_iter().for_each(Split::may_be_asked_again);
        self.move_if_asked(surroundings);
        self.let_connections_go(Some(surroundings.now));
    }

    /// The replica did not run the read, or nobody knows: home runs it, as nothing of a reply went to the client.
    pub(in crate::session) fn repeat_read(&mut self, surroundings: Surroundings<'_>) {
        self.asked_at = surroundings.tick;
        let State::Relay(relay) = &mut self.state else { return };
        let Some(split) = relay.split.as_deref_mut() else { return };
        if split.lent.is_some() && !split.is_ready(Side::Server, relay.status, surroundings) {
            split.repeats = true;
            return self.make_ready(Side::Server, false, surroundings);
        }
        self.say_again();
    }

    /// Home is ready for the read.
    pub(super) fn say_again(&mut self) {
        let State::Relay(relay) = &mut self.state else { return };
        let Some(split) = relay.split.as_deref_mut() else { return };
        let packet = split.repeat_at_home();
        relay.exchange = Exchange::Busy(Busy::sent(ReplyShape::ResultSet, relay.framing));
        self.outputs.push_back(Output::Send(Side::Server, packet));
    }

    /// The replica was lost while it ran a read.
    pub(in crate::session) fn read_failed(&mut self, surroundings: Surroundings<'_>) {
        let State::Relay(relay) = &self.state else { return };
        let is_unanswered = matches!(&relay.exchange, Exchange::Busy(busy) if !busy.is_answered);
        let sequence = relay.error_sequence();
        let Some(split) = relay.split.as_deref() else { return };
        let may_repeat = is_unanswered && split.may_repeat();
        let name = split.replica().map_or_else(|| "?".into(), |replica| replica.name.clone());
        let has_snapshot = split.replicas.have_snapshot();
        self.give_up_replica(surroundings);
        match sequence {
            _ if may_repeat => self.repeat_read(surroundings),
            Some(sequence) if has_snapshot => {
                self.say_goodbye_to_server();
                self.deny(sequence, errors::server_lost(&name), Ending::ServerGone);
            }
            Some(sequence) => {
                self.send_error(sequence, &errors::server_lost(&name));
                self.become_idle();
            }
            None => self.close(Ending::ServerGone),
        }
    }
}
