//! Statements that home did not run, because it is not the server that writes go to any more, or is not one yet.
//!
//! A server that was made read-only, and a Galera node outside of its cluster, say so in place of a reply, before they
//! execute anything. Outside of a transaction the client need not hear of it: the statement is kept, waits until there is
//! another home, and is run there. So is a read whose home was lost before it said anything. A write that was lost is
//! never kept: nobody knows whether it was executed. Nor is one that MySQL answers with 1053 as it shuts down: it says that of
//! what it does not begin any more, and byte for byte the same of what it has half done (9.7, in the middle of an INSERT ...
//! SELECT of 200 rows: with InnoDB none of them stayed, with MyISAM 54 did), and a reply does not tell of which tables it is.
//! What changes the connection alone, as a BEGIN does, is kept. MariaDB only hangs up.

use std::time::{Duration, Instant};

use crate::{
    protocol::{command::ReplyShape, error_code::Error, response::ErrPacket, status::StatusFlags},
    session::{
        Ending, Output, Session, Side, State, Surroundings,
        exchange::{Busy, Exchange},
        split::{
            COMMAND_MAX, Kind, Split,
            chore::readying::Stage,
            statements::{Statement, execution::Execution},
        },
    },
    sql::{Class, Classification, Effects, Reason},
    topology::Failure,
};

/// Effects of which some may have been had when an error comes.
pub(super) const IN_PARTS: Effects = Effects::ANYTHING.with(Effects::UNSEEN).with(Effects::EXECUTES);

/// Effects that end with the connection that they were had on.
const OF_CONNECTION: Effects = Effects::BEGINS_TRANSACTION
    .with(Effects::NEXT_TRANSACTION)
    .with(Effects::AUTOCOMMIT)
    .with(Effects::SESSION_VARIABLES)
    .with(Effects::CHARACTER_SETS)
    .with(Effects::USER_VARIABLES)
    .with(Effects::SQL_MODE)
    .with(Effects::SCHEMA);

/// A kept command beyond this is given back to the allocator when it is over: most sessions are idle.
const ROOM_KEPT: usize = 1 << 10;

/// The command under way at home, kept for another home.
#[derive(Debug)]
pub(in crate::session::split) struct Kept {
    payload: Vec<u8>,
    stage: Keeping,
    /// When the first home refused it.
    refused: Option<Instant>,
    /// How long it may wait for one that does not.
    patience: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Keeping {
    /// Nothing is kept, or it is of no use.
    #[default]
    Nothing,
    /// It is under way.
    UnderWay,
    /// It waits for another home.
    Waiting,
}

/// What an error of home in place of a reply means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session::split) enum Refusal {
    /// What it says: the client's to hear.
    Final,
    /// Nothing was executed, and another home may.
    OfStatement,
    /// Nothing of the transaction can be committed here.
    OfTransaction,
    /// It was too long to be kept for another home.
    OfLongCommand,
}

impl Kept {
    pub(in crate::session::split) fn new(patience: Duration) -> Kept {
        Kept { payload: Vec::new(), stage: Keeping::Nothing, refused: None, patience }
    }

    /// The command under way may be run by another home, if this one does not.
    pub(super) fn is_under_way(&self) -> bool {
        self.stage == Keeping::UnderWay
    }

    /// A command waits here for another home.
    pub(in crate::session::split) fn waits(&self) -> bool {
        self.stage == Keeping::Waiting
    }

    /// How long whatever waits for a home may wait.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// The command has waited for another home before.
    pub(super) fn has_waited(&self) -> bool {
        self.refused.is_some()
    }

    fn keep(&mut self, payload: &[u8]) {
        self.payload.clear();
        self.payload.extend_from_slice(payload);
        (self.stage, self.refused) = (Keeping::UnderWay, None);
    }

    fn hold(&mut self, now: Instant) {
        self.stage = Keeping::Waiting;
        self.refused.get_or_insert(now);
    }

    /// The command is over.
    pub(super) fn forget(&mut self) {
        self.stage = Keeping::Nothing;
        if self.payload.capacity() > ROOM_KEPT {
            self.payload = Vec::new();
        }
    }

    fn may_wait(&self, now: Instant) -> bool {
        self.is_under_way() && self.refused.is_none_or(|since| now < since + self.patience)
    }
}

impl Split {
    /// Keeps the command that goes home, if another home may run it in this one's place.
    pub(in crate::session::split) fn keep_for_another_home(&mut self, payload: &[u8], status: StatusFlags) {
        let is_outside = (self.outlives_home() || self.reads_on()) && !status.contains(StatusFlags::IN_TRANS);
        match is_outside && self.is_all_of_it(payload) {
            true => self.kept.keep(payload),
            false => self.kept.forget(),
        }
    }

    /// Whether the payload is all that another home needs to run the command.
    fn is_all_of_it(&self, payload: &[u8]) -> bool {
        match self.current.kind {
            Kind::Query => true,
            Kind::Execute => {
                let statement = self.executing.and_then(|id| self.statements.find(id));
                let is_whole = |statement: &Statement| {
                    let execution = Execution::parse(payload, statement.parameters, self.query_attributes);
                    !statement.long_data && execution.is_some_and(|execution| !execution.wants_cursor)
                };
                self.long_execution(payload).is_none() && statement.is_some_and(is_whole)
            }
            Kind::Prepare(_) | Kind::Reset | Kind::Fetch | Kind::Other | Kind::Unseen => false,
        }
    }

    /// The command that was kept, as the next home must get it.
    fn again(&mut self) -> Vec<u8> {
        let payload = std::mem::take(&mut self.kept.payload);
        let said = self.for_home(&payload);
        self.kept.payload = payload;
        self.kept.stage = Keeping::UnderWay;
        said
    }

    /// Whether an error in place of a reply may mean something else to the session than to its client.
    pub(in crate::session::split) fn minds_errors(&self) -> bool {
        self.may_repeat() || ((self.outlives_home() || self.reads_on()) && self.current.at == Side::Server)
    }

    /// What an error of home in place of a reply means.
    pub(in crate::session::split) fn weigh_refusal(
        &self,
        error: &ErrPacket,
        status: StatusFlags,
        now: Instant,
    ) -> Refusal {
        let classification = &self.current.classification;
        let is_refused = (self.outlives_home() && runs_no_writes(error))
            || (self.reads_on() && runs_nothing(error))
            || (error.code == Error::SERVER_SHUTDOWN.code && leaves_nothing_behind(classification));
        if !is_refused || self.is_bound() {
            return Refusal::Final;
        }
        match status.contains(StatusFlags::IN_TRANS) {
            true if self.outlives_home() => Refusal::OfTransaction,
            true => Refusal::Final,
            false if self.kept.may_wait(now) && !classification.effects.intersects(IN_PARTS) => Refusal::OfStatement,
            false if self.outlives_home() && matches!(self.current.kind, Kind::Unseen) => Refusal::OfLongCommand,
            false => Refusal::Final,
        }
    }
}

/// What a client hears whose command could not wait. Of several statements in it some may have been executed.
pub(in crate::session::split) fn too_long_to_wait(mut refused: ErrPacket) -> ErrPacket {
    let why = format!(" (a command over {} KiB is not kept for the next primary)", COMMAND_MAX >> 10);
    refused.message.extend_from_slice(why.as_bytes());
    refused
}

/// Whether an error says that the server did not execute a statement, as it would none that writes.
fn runs_no_writes(error: &ErrPacket) -> bool {
    let says = |words: &[u8]| memchr::memmem::find(&error.message, words).is_some();
    if runs_nothing(error) {
        return true;
    }
    match error.code {
        // The same code is for other options, too.
        code if code == Error::OPTION_PREVENTS_STATEMENT.code => says(b"read-only") || says(b"read_only"),
        code if code == Error::READ_ONLY_MODE.code => true,
        _ => false,
    }
}

/// Whether it says so of whatever looks at a table, as a Galera node that has left its group does. The same code is for commands
/// that no server knows.
fn runs_nothing(error: &ErrPacket) -> bool {
    error.code == Error::UNKNOWN_COMMAND.code && memchr::memmem::find(&error.message, b"WSREP").is_some()
}

/// Whether it makes no difference, outside a transaction, how much of a statement a server has executed that is gone.
fn leaves_nothing_behind(classification: &Classification) -> bool {
    let is_of_connection = matches!(classification.reason, Reason::Transaction | Reason::ChangesSession)
        && classification.statements == 1
        && classification.effects.without(OF_CONNECTION) == Effects::NONE;
    classification.class == Class::Read || is_of_connection
}

impl Session {
    /// Home did not run the command under way: it waits for another one.
    pub(in crate::session) fn hold_for_another_home(&mut self, surroundings: Surroundings<'_>) {
        if !self.survives_loss(surroundings) {
            return self.server_left(Ending::ServerGone);
        }
        let server = self.server.as_ref().map(|server| server.id);
        if let Some(split) = self.split_mut() {
            split.kept.hold(surroundings.now);
        }
        self.drop_home();
        self.wait_for_home(Stage::Looking);
        self.borrow_home(server);
    }

    /// Home refused the command under way.
    pub(in crate::session) fn refused_at_home(&mut self, code: u16, surroundings: Surroundings<'_>) {
        self.report_home(Failure::StatementRefused { code });
        self.hold_for_another_home(surroundings);
    }

    pub(in crate::session) fn report_home(&mut self, failure: Failure) {
        if let Some(server) = &self.server {
            self.outputs.push_back(Output::Report(server.id, failure));
        }
    }

    /// A home is ready: the command that another one did not run goes there. `false` if there is none.
    pub(in crate::session::split) fn run_again(&mut self) -> bool {
        let State::Relay(relay) = &mut self.state else { return false };
        let framing = relay.framing;
        let Some(split) = relay.split.as_deref_mut().filter(|split| split.kept.waits()) else { return false };
        let packet = split.again();
        relay.exchange = Exchange::Busy(Busy::sent(ReplyShape::ResultSet, framing));
        self.outputs.push_back(Output::Send(Side::Server, packet));
        true
    }

    /// No home was found for the command that waits for another one: its client hears why, in the place of a reply.
    pub(in crate::session::split) fn answer_kept(&mut self, error: &ErrPacket) -> bool {
        let Some(split) = self.split_mut().filter(|split| split.kept.waits()) else { return false };
        split.kept.forget();
        self.send_error(1, error);
        self.become_idle();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(code: Error, message: &str) -> bool {
        runs_no_writes(&ErrPacket::new(code, message))
    }

    #[test]
    fn only_a_read_only_server_and_a_node_without_its_cluster_refuse_all_writes() {
        // As MariaDB 10.11 and MySQL 9.7 say it.
        let mariadb = "The MariaDB server is running with the --read-only option so it cannot execute this statement";
        let mysql = "The MySQL server is running with the --super-read-only option so it cannot execute this statement";
        assert!(says(Error::OPTION_PREVENTS_STATEMENT, mariadb));
        assert!(says(Error::OPTION_PREVENTS_STATEMENT, mysql));
        let files =
            "The MySQL server is running with the --secure-file-priv option so it cannot execute this statement";
        assert!(!says(Error::OPTION_PREVENTS_STATEMENT, files));
        assert!(says(Error::UNKNOWN_COMMAND, "WSREP has not yet prepared node for application use"));
        assert!(!says(Error::UNKNOWN_COMMAND, "Unknown command"));
        assert!(says(Error::READ_ONLY_MODE, "Running in read-only mode"));
        assert!(!says(Error::LOCK_WAIT_TIMEOUT, "read-only"));
    }
}
