//! What a session does when its home is lost, or is not the server that writes go to any more.
//!
//! Outside of a transaction, and with nothing on the connection that no other can be given, the client notices nothing:
//! the connection goes, and the next command gets another one (`lending`), made like the old one by what the `journal` has,
//! as soon as that server has all that the session wrote and saw (`sight`). A transaction that was lost is answered with
//! 1213, as after a deadlock, and the session goes on. Where nobody knows what a server has done, the client is told so,
//! and the session ends.

pub(super) mod awake;
pub(super) mod leaving;
pub(super) mod refused;

use std::time::{Duration, Instant};

use crate::{
    protocol::{command::Command, error_code::Error, status::StatusFlags},
    sql::{Class, Effects},
    topology::{Failure, Progress, RoutingTable, ServerId},
};

use super::{
    super::{
        Displacement, DrainReason, Ending, Session, Side, State, Surroundings, errors, exchange::Exchange, moves::Move,
        relay::Relay,
    },
    Kind, Split,
    absorb::After,
    chore::readying::Stage,
    sight::Needed,
};

use refused::IN_PARTS;

/// How often a home that lacks something is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How the session stands to its home connection, or to the one it had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    #[default]
    Sound,
    /// Its server hands over: the session leaves behind the transaction.
    Yielding,
    /// Its server is not the one that writes go to any more: the session leaves as soon as it can.
    Displaced,
    /// It was lost with a transaction on it, of which the client has not heard yet.
    Doomed,
}

/// What a command that was under way at home came to when home was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// A read of which nothing went to the client.
    MayBeRunAgain,
    /// It was rolled back, with its transaction.
    RolledBack,
    /// It may have committed the transaction.
    InDoubt,
    /// It may have been executed.
    Unknown,
}

impl Split {
    /// Whether the session may go on at this server: all that it wrote and saw must be there.
    pub(super) fn may_move_to(&self, server: ServerId, table: &RoutingTable) -> bool {
        if self.awaits_word_of_last_home() {
            return false;
        }
        let before = self.lent.as_deref().and_then(|lent| lent.server());
        // One that was lost may come back with less than it has shown.
        let is_same = before.is_none_or(|before| before == server) && self.last_seen.is_none();
        if is_same || self.replicas_wait {
            return true;
        }
        let progress = |server: ServerId| table.place(server).map(|place| &table.server(place).progress);
        let has = |test: &dyn Fn(&Progress) -> bool| progress(server).is_some_and(|progress| test(progress));
        match self.sight.needs_of_another_home() {
            Needed::Nothing => true,
            Needed::Position(position) => has(&|progress| progress.has(position)),
            Needed::AnyPosition => has(&|progress| progress.is_known()),
        }
    }

    /// Whether that server could ever be shown to have all that the session wrote and saw.
    pub(super) fn may_prove_itself(&self, server: ServerId, table: &RoutingTable) -> bool {
        let is_known = || table.place(server).is_some_and(|place| table.server(place).progress.is_known());
        self.replicas_wait || self.sight.needs_of_another_home() == Needed::Nothing || is_known()
    }

    fn leaves_home(&self) -> bool {
        matches!(self.standing, Standing::Displaced | Standing::Yielding)
    }

    /// The home is left while it stands: the session may have seen all that it has.
    pub(super) fn leaves_home_at(&mut self, server: ServerId, table: &RoutingTable) {
        if self.lent.as_deref().and_then(|lent| lent.server()) != Some(server) {
            return;
        }
        let seen = table.place(server).and_then(|place| table.server(place).progress.last());
        if let Some(seen) = seen {
            self.sight.left_home(seen.committed.clone().unwrap_or_else(|| seen.applied.clone()));
        }
    }

    fn fate(&self, status: StatusFlags, is_answered: bool) -> Fate {
        let classification = &self.current.classification;
        let commits = Effects::ENDS_TRANSACTION.with(Effects::BEGINS_TRANSACTION).with(Effects::IMPLICIT_COMMIT);
        let may_commit = classification.effects.intersects(commits.with(IN_PARTS)) || classification.statements > 1;
        let is_open = status.contains(StatusFlags::IN_TRANS) || !status.contains(StatusFlags::AUTOCOMMIT);
        match is_open {
            true if !may_commit || self.current.rolls_back => Fate::RolledBack,
            true => Fate::InDoubt,
            false if classification.class != Class::Read || is_answered => Fate::Unknown,
            false if self.kept.is_under_way() && !self.kept.has_waited() => Fate::MayBeRunAgain,
            false => Fate::Unknown,
        }
    }

    /// Whether the command at hand ends the transaction with nothing of it left.
    pub(super) fn is_rollback(&self, payload: &[u8]) -> bool {
        const ROLLBACK: &[u8] = b"rollback";
        let classification = &self.current.classification;
        let ends = classification.effects.contains(Effects::ENDS_TRANSACTION) && classification.statements == 1;
        let text = if ends { self.text_of_statement(payload) } else { None };
        let first = text.map(<[u8]>::trim_ascii_start).and_then(|text| text.get(..ROLLBACK.len()));
        first.is_some_and(|word| word.eq_ignore_ascii_case(ROLLBACK))
    }

    /// Whether the command at hand, of which this is the beginning, belongs to a transaction that is lost, or will be.
    pub(super) fn is_of_lost_transaction(&mut self, head: &[u8], status: StatusFlags) -> bool {
        match self.standing {
            Standing::Sound | Standing::Yielding => return false,
            // It ends at its home what cannot be committed there.
            Standing::Displaced if self.current.rolls_back => return false,
            Standing::Displaced if !status.contains(StatusFlags::IN_TRANS) || self.is_bound() => return false,
            Standing::Displaced => {}
            // Nothing is left to be rolled back: any home does that.
            Standing::Doomed if self.current.rolls_back => {
                self.transaction_is_lost();
                return false;
            }
            Standing::Doomed => {}
        }
        match self.current.kind {
            Kind::Query | Kind::Execute | Kind::Fetch => true,
            Kind::Unseen => {
                let command = head.first().map(|code| Command::from(*code));
                matches!(command, Some(Command::Query | Command::StmtExecute))
            }
            Kind::Prepare(_) | Kind::Reset | Kind::Other => false,
        }
    }

    /// Nothing is left of the transaction.
    fn transaction_is_lost(&mut self) {
        self.standing = Standing::Sound;
        self.looked_in_transaction = false;
        self.told_transaction = false;
        self.pins.transaction(false, false, true);
    }
}

impl Relay {
    /// Answers the command at hand with the end of its transaction.
    pub(super) fn refuse_lost_transaction(&mut self, bytes: &[u8]) -> Move {
        if let Some(split) = self.split.as_deref_mut() {
            split.after = After::Abandon;
            split.refusal = Some(errors::transaction_lost());
        }
        self.refuse(bytes, Error::DEADLOCK)
    }
}

impl Session {
    /// The home server is not what it was for the session.
    pub(in crate::session) fn displaced(&mut self, why: Displacement, surroundings: Surroundings<'_>) {
        match (&self.state, why) {
            (State::Entering(_), _) => self.search_on(),
            (State::Relay(_), Displacement::Down) => self.home_is_down(surroundings),
            (State::Relay(_), Displacement::Gone) => self.home_is_gone(surroundings),
            (State::Relay(_), Displacement::Demoted) => self.home_is_demoted(Standing::Displaced, surroundings),
            (State::Relay(_), Displacement::Yields) => self.home_is_demoted(Standing::Yielding, surroundings),
            (State::Relay(_), Displacement::Drained) => self.home_is_to_be_left(surroundings),
            (State::Relay(_), Displacement::OutOfUse) => self.home_has_ended(surroundings),
            (State::Frontend(_) | State::Leasing(_) | State::Severed(_) | State::Ended, _) => {}
        }
    }

    /// Nobody stays with a server that takes no writes: not even whoever cannot take its state along.
    fn home_is_demoted(&mut self, standing: Standing, surroundings: Surroundings<'_>) {
        let Some(server) = self.server.as_ref().map(|server| server.id) else { return };
        let Some(split) = self.split_mut().filter(|split| split.outlives_home() && split.may_change_home()) else {
            return self.handle(super::super::Input::Drain(DrainReason::ServerDemoted), surroundings);
        };
        match split.standing {
            Standing::Sound | Standing::Yielding => {
                split.standing = standing;
                split.leaves_home_at(server, surroundings.table);
            }
            Standing::Displaced | Standing::Doomed => {}
        }
        self.move_if_asked(surroundings);
    }

    /// Leaves a home that writes do not go to any more, if nothing of the session is under way there.
    pub(in crate::session) fn move_if_asked(&mut self, surroundings: Surroundings<'_>) {
        let State::Relay(relay) = &self.state else { return };
        let Some(split) = relay.split.as_deref().filter(|split| split.leaves_home()) else {
            return self.leave_when_free(surroundings);
        };
        let is_between_statements = relay.may_leave() && !split.is_decided();
        match &relay.exchange {
            Exchange::Preparing(_) if self.may_do_without_home() => {
                self.stand_sound();
                self.home_lost(surroundings);
            }
            Exchange::Idle if is_between_statements && split.is_bound() => self.sever(),
            Exchange::Idle if is_between_statements => {
                self.stand_sound();
                self.drop_home();
            }
            _ => {}
        }
    }

    fn stand_sound(&mut self) {
        if let Some(split) = self.split_mut() {
            split.standing = Standing::Sound;
        }
    }

    /// The home server does not answer any more; whether its connections broke is not known here.
    fn home_is_down(&mut self, surroundings: Surroundings<'_>) {
        let State::Relay(relay) = &self.state else { return };
        let is_waited_for = relay.is_busy_at(Side::Server) || relay.is_preparing();
        match self.may_lose_home() {
            true => self.home_lost(surroundings),
            false if is_waited_for => self.home_lost_at_work(surroundings),
            // Whatever is on the connection may still be there when the server answers again.
            false => {}
        }
    }

    /// The home connection broke, and with it what was under way there.
    pub(in crate::session) fn home_lost_at_work(&mut self, surroundings: Surroundings<'_>) {
        let State::Relay(relay) = &self.state else { return };
        let status = relay.status;
        let may_go_on = |split: &&Split| (split.outlives_home() || split.reads_on()) && !split.is_bound();
        let Some(split) = relay.split.as_deref().filter(may_go_on) else {
            return self.server_left(Ending::ServerGone);
        };
        match &relay.exchange {
            Exchange::Idle if split.outlives_home() => self.doom(),
            Exchange::Idle => self.server_left(Ending::ServerGone),
            Exchange::Busy(busy) if busy.at == Side::Replica && !status.contains(StatusFlags::IN_TRANS) => {
                self.drop_home()
            }
            Exchange::Busy(busy) if busy.at == Side::Server => match split.fate(status, busy.is_answered) {
                Fate::MayBeRunAgain => self.hold_for_another_home(surroundings),
                _ if !split.outlives_home() => self.server_left(Ending::ServerGone),
                Fate::RolledBack => self.answer_lost_transaction(surroundings),
                Fate::InDoubt => self.commit_is_in_doubt(),
                Fate::Unknown => self.server_left(Ending::ServerGone),
            },
            Exchange::Busy(_)
            | Exchange::OneWay(_)
            | Exchange::Refusing(..)
            | Exchange::Preparing(_)
            | Exchange::Killing(_)
            | Exchange::Parting(_)
            | Exchange::Tunnel => self.server_left(Ending::ServerGone),
        }
    }

    /// The client hears of its transaction with its next statement.
    fn doom(&mut self) {
        self.leave_replica();
        self.drop_home();
        if let Some(split) = self.split_mut() {
            split.standing = Standing::Doomed;
        }
    }

    /// An error takes the place of the rest of the reply, and the session goes on without the transaction.
    fn answer_lost_transaction(&mut self, surroundings: Surroundings<'_>) {
        let State::Relay(relay) = &self.state else { return };
        let Some(sequence) = relay.error_sequence() else { return self.server_left(Ending::ServerGone) };
        self.lose_transaction(sequence, surroundings);
    }

    /// The transaction under way cannot be committed at its home.
    pub(in crate::session) fn lose_transaction(&mut self, sequence: u8, surroundings: Surroundings<'_>) {
        self.send_error(sequence, &errors::transaction_lost());
        if let State::Relay(relay) = &mut self.state {
            relay.exchange = Exchange::Idle;
        }
        self.drop_home();
        self.abandon_transaction();
        self.command_over(surroundings);
    }

    /// Whatever is left of a transaction whose client was told that it is rolled back.
    pub(in crate::session) fn abandon_transaction(&mut self) {
        self.leave_replica();
        let is_displaced = self.split().is_some_and(|split| split.standing == Standing::Displaced);
        if is_displaced {
            // With its connection, the server gives up the transaction.
            self.drop_home();
        }
        let State::Relay(relay) = &mut self.state else { return };
        relay.status = relay.status.without(StatusFlags::IN_TRANS | StatusFlags::IN_TRANS_READONLY);
        if let Some(split) = relay.split.as_deref_mut() {
            split.transaction_is_lost();
        }
    }

    /// Nobody knows whether the transaction is committed.
    fn commit_is_in_doubt(&mut self) {
        let State::Relay(relay) = &self.state else { return };
        match relay.error_sequence() {
            Some(sequence) => self.deny(sequence, errors::commit_in_doubt(), Ending::ServerGone),
            None => self.close(Ending::ServerGone),
        }
    }

    /// A home connection is there, and lacks something of what the session wrote or saw: it is looked at again.
    pub(super) fn catch_up(&mut self, since: Instant, surroundings: Surroundings<'_>) {
        let patience = self.split().map_or(Duration::ZERO, |split| split.kept.patience());
        if surroundings.now >= since + patience {
            return self.lose_sight(surroundings);
        }
        self.set_stage(Stage::CatchingUp(since));
        self.deadline = Some(surroundings.now + LOOK);
    }

    /// No home is found that is known to have what the session wrote and saw.
    pub(super) fn lose_sight(&mut self, surroundings: Surroundings<'_>) {
        if self.stays_at_home(surroundings) {
            return;
        }
        let State::Relay(relay) = &self.state else { return };
        match (relay.error_sequence(), relay.split.as_deref()) {
            (Some(sequence), Some(split)) if split.last_seen.is_some() => {
                self.say_goodbye_to_server();
                self.deny(sequence, errors::sight_lost(), Ending::ServerGone);
            }
            _ => self.server_left(Ending::ServerGone),
        }
    }

    /// Whether nothing of the session would be lost if its home broke now.
    pub(in crate::session) fn may_lose_home(&self) -> bool {
        self.may_do_without_home() && !self.split().is_some_and(Split::falls_with_home)
    }

    /// Whether the session goes on when its home hangs up between two commands, though a transaction is lost with it.
    pub(in crate::session) fn outlives_home(&self) -> bool {
        let State::Relay(relay) = &self.state else { return false };
        relay.is_idle() && relay.split.as_deref().is_some_and(|split| split.outlives_home() && !split.is_bound())
    }

    /// The home connection broke in whatever the session was doing.
    pub(in crate::session) fn home_broke(&mut self, surroundings: Surroundings<'_>) {
        self.report_home(Failure::Reset);
        self.home_is_gone(surroundings);
    }

    /// Nothing will come from home any more, whatever the session was doing.
    fn home_is_gone(&mut self, surroundings: Surroundings<'_>) {
        match self.may_lose_home() {
            _ if self.is_killed(surroundings.now) => self.server_left(Ending::Killed),
            true => self.home_lost(surroundings),
            false => self.home_lost_at_work(surroundings),
        }
    }
}
