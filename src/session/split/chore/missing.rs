//! What a server lacks before the next command may go to it: one thing at a time.

use crate::{
    protocol::{capability::Capabilities, gtid::GtidPosition, status::StatusFlags},
    session::{
        ReplicaWant, SharedWant, Side, Surroundings,
        split::{Home, Kind, Split, plan::OF_THE_LAST, sight::Demand, statements::Statement},
    },
    sql::{self, Needs},
    topology::ServerId,
};

use super::Chore;

/// What is missing.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::session::split) enum Next {
    /// Nothing: the command may go there.
    Ready(Side),
    /// A replica.
    Lease,
    /// The connection of the last read, which this one asks about.
    Reclaim,
    /// The replica must go first.
    Leave,
    /// This must be said.
    Say(Chore),
    /// The replica cannot take the session on as it is now.
    Refuse,
    /// A home connection.
    LeaseHome,
    /// The one that was kept goes to whoever waits for it.
    Yield,
    /// The one that there is cannot be made like the session's.
    LeaveHome,
    /// The one that there is stands by while another is made ready.
    SetAside,
}

impl Split {
    /// Whether a command may go to `goal` at once.
    pub(in crate::session::split) fn is_ready(
        &mut self,
        goal: Side,
        status: StatusFlags,
        surroundings: Surroundings<'_>,
    ) -> bool {
        self.next(goal, status, surroundings) == Next::Ready(goal)
    }

    /// What may be said in the same breath as `first`, as it depends on no answer: a connection that was another session's
    /// is made this one's in two round trips.
    pub(super) fn sayable_behind(
        &self,
        first: Chore,
        goal: Side,
        status: StatusFlags,
        surroundings: Surroundings<'_>,
    ) -> Vec<Chore> {
        if first == Chore::HomeWaits {
            return vec![Chore::HomeWait, Chore::HomeWaitsNoMore];
        }
        let missing: Vec<Chore> = match first.side() {
            Side::Server => {
                let statement = self.preparable_at_home().filter(|_| goal == Side::Server);
                self.missing_on_home(status).chain(statement).collect()
            }
            _ => self.missing_on_replica().chain(self.preparable_at_replica(surroundings)).collect(),
        };
        let behind = missing.iter().skip_while(|chore| **chore != first).skip(1);
        let before = std::iter::once(&first).chain(behind.clone());
        // What the last statement left at a replica would be that of a question of ours.
        let asks = self.current.classification.needs.intersects(OF_THE_LAST) && first.side() == Side::Replica;
        let pairs = behind.zip(before).take_while(|(chore, before)| {
            let is_taken = (asks && chore.is_question()) || self.would_take_found_rows(&Next::Say(**chore));
            !self.decides_about_others(**before) && !is_taken
        });
        pairs.map(|(chore, _)| *chore).collect()
    }

    /// Whether what is said behind a chore depends on what it comes to.
    fn decides_about_others(&self, chore: Chore) -> bool {
        let asks_for_values = matches!(chore, Chore::HomeTheirs | Chore::ReplicaValues);
        // A statement is refused where its schema is gone, and its connection goes on.
        let is_of_statement = chore.is_of_statement() || (chore == Chore::HomeSchema && self.prepares_elsewhere());
        asks_for_values || is_of_statement
    }

    /// What is missing. Of a home connection that is lent, first what it lacks itself.
    pub(super) fn next(&mut self, goal: Side, status: StatusFlags, surroundings: Surroundings<'_>) -> Next {
        let next = self.next_with_home(goal, status, surroundings);
        let is_at_home = match &next {
            Next::Ready(side) => *side == Side::Server,
            Next::Say(chore) => chore.side() == Side::Server,
            Next::Lease | Next::Reclaim | Next::Leave | Next::Refuse => false,
            Next::LeaseHome | Next::Yield | Next::LeaveHome | Next::SetAside => false,
        };
        if !is_at_home {
            return next;
        }
        let leaving = self.next_of_leaving(goal, status);
        let lacking = leaving.or_else(|| self.home_lacks(status)).or_else(|| self.next_proof());
        match lacking.unwrap_or(next) {
            next @ (Next::Ready(_) | Next::Say(Chore::Repeat)) => self.home_lacks_statement().unwrap_or(next),
            next => next,
        }
    }

    fn next_with_home(&mut self, goal: Side, status: StatusFlags, surroundings: Surroundings<'_>) -> Next {
        match self.home {
            Home::Unknown => return Next::Say(Chore::HomeValues),
            Home::Silent(_) if self.current.is_about_tracking => self.tracking_returned(),
            Home::Silent(_) => return Next::Say(Chore::Tracking),
            Home::Telling(_) if self.current.is_about_tracking => return Next::Say(Chore::ReturnTracking),
            // Not before a question for what the last statement left.
            Home::Owing(_) if !status.contains(StatusFlags::IN_TRANS) && self.is_void() => {
                return Next::Say(Chore::ReturnTracking);
            }
            Home::Telling(_) | Home::Returned | Home::Owing(_) | Home::Unable => {}
        }
        if self.journal.awaits_baseline() && self.may_be_asked_for_values() {
            return Next::Say(Chore::HomeChanges);
        }
        match goal {
            Side::Replica if self.has_home() && self.awake.is_neglected(surroundings.now) => Next::Say(Chore::Ping),
            Side::Replica => {
                let next = self.next_at_replica(status, surroundings);
                if self.would_take_found_rows(&next) { Next::Ready(Side::Server) } else { next }
            }
            _ => self.next_at_home(status),
        }
    }

    /// Whether nothing that home's last command left is asked for by the command at hand, or behind it.
    fn may_be_asked_for_values(&self) -> bool {
        let prepares_question = match &self.current.kind {
            Kind::Prepare(preparation) => preparation.classification.needs.intersects(OF_THE_LAST),
            Kind::Reset => true,
            Kind::Query | Kind::Execute | Kind::Fetch | Kind::Other | Kind::Unseen => false,
        };
        let is_telling = matches!(self.home, Home::Telling(_));
        is_telling && self.is_void() && !prepares_question && !self.current.keeps_found_rows()
    }

    /// Questions of ours are queries, too: none is asked where the last query of the client ran while its FOUND_ROWS()
    /// outlives the command at hand.
    fn would_take_found_rows(&self, next: &Next) -> bool {
        matches!(next, Next::Say(chore) if chore.is_question() && chore.side() == self.found)
            && self.current.keeps_found_rows()
    }

    fn next_at_home(&self, status: StatusFlags) -> Next {
        if self.owes_rollback {
            return Next::Say(Chore::RollBack);
        }
        if self.repeats_before() {
            return Next::Say(Chore::Repeat);
        }
        if self.owes_count && self.current.classification.needs.contains(Needs::ROW_COUNT) {
            return Next::Say(Chore::Ping);
        }
        match self.replicas.get() {
            Some(replica) if replica.must_commit(status) && replica.rest.is_some() => Next::Leave,
            Some(replica) if replica.must_commit(status) => Next::Say(Chore::Commit),
            _ => Next::Ready(Side::Server),
        }
    }

    fn next_at_replica(&mut self, status: StatusFlags, surroundings: Surroundings<'_>) -> Next {
        let of_the_last = self.current.classification.class == sql::Class::ReadOfConnection;
        // Before a replica is held: who waits for home, which may have to be lent for that, holds none.
        if self.may_have_set_unseen && !of_the_last {
            let had_no_answer = self.pins.binding_reads().is_some();
            return if had_no_answer { Next::Ready(Side::Server) } else { Next::Say(Chore::HomeChanges) };
        }
        let Some(known) = self.replicas.get() else {
            return match of_the_last {
                true if self.replicas.last().is_some() => Next::Reclaim,
                // What the last statement left behind went with its connection.
                true => self.next_at_home(status),
                false => self.next_without_replica(surroundings.now),
            };
        };
        if known.rest.is_some() {
            return if of_the_last { self.next_at_home(status) } else { Next::Ready(Side::Server) };
        }
        if of_the_last {
            return self.next_about_the_last(status);
        }
        let is_another = |wanted| self.replica().is_some_and(|replica| replica.id != wanted);
        let may_leave = !self.replicas.have_snapshot();
        if (may_leave && self.wanted.is_some_and(is_another)) || !self.may_keep_replica(surroundings) {
            return Next::Leave;
        }
        let in_transaction = status.contains(StatusFlags::IN_TRANS);
        let Some(replica) = self.replicas.get() else { return Next::Lease };
        let lacks_reset = replica.must_reset && !self.resets_replicas();
        if lacks_reset || (replica.schema.is_some() && self.journal.schema().is_none()) {
            return Next::Leave;
        }
        if !replica.must_reset && self.was_refused_settings() {
            return Next::Refuse;
        }
        if !replica.must_reset && replica.must_commit(status) {
            return Next::Say(Chore::Commit);
        }
        if let Some(chore) = self.missing_on_replica().next() {
            return Next::Say(chore);
        }
        if !replica.in_transaction {
            match self.sight.demand(replica.had, surroundings.now) {
                Demand::Nothing => {}
                _ if self.replicas_wait => {}
                Demand::Position(position) if is_seen_past(surroundings, replica.facts.id, position) => {
                    self.replica_has_all();
                    return self.next_at_replica(status, surroundings);
                }
                Demand::Position(_) => return Next::Say(Chore::Wait),
                Demand::AskHome => return Next::Say(Chore::Position),
                Demand::StayHome => return Next::Ready(Side::Server),
            }
        }
        if !replica.in_transaction && self.must_ask_for_views(surroundings.now) {
            return Next::Say(Chore::Views);
        }
        if in_transaction && !replica.in_transaction {
            return Next::Say(Chore::Begin);
        }
        match self.executed_statement() {
            Some(statement) if statement.is_unfit => Next::Ready(Side::Server),
            // Only the connection that was given back has read its text as it was meant.
            Some(statement) if !statement.is_at_replica() && statement.meaning != self.journal.meaning() => {
                Next::Ready(Side::Server)
            }
            Some(statement) if !statement.is_at_replica() => Next::Say(Chore::Prepare(statement.id)),
            _ => Next::Ready(Side::Replica),
        }
    }

    /// What must be said to the replica's connection so that it is like home's, in this order.
    fn missing_on_replica(&self) -> impl Iterator<Item = Chore> {
        let missing = self.replicas.get().map(|replica| {
            [
                (Chore::Reset, replica.must_reset),
                (Chore::Collation, replica.needs_collation),
                (Chore::Schema, self.journal.schema() != replica.schema.as_deref()),
                (Chore::ReplicaValues, replica.values.is_none()),
                (Chore::Settings, replica.applied != Some(self.journal.version())),
                (Chore::Role, replica.role.as_deref() != self.journal.role()),
            ]
        });
        missing.into_iter().flatten().filter_map(|(chore, is_missing)| is_missing.then_some(chore))
    }

    /// What the replica can be told beside, where it is known to be read from then: to wait, and of the statement.
    fn preparable_at_replica(&self, surroundings: Surroundings<'_>) -> impl Iterator<Item = Chore> {
        let Some(replica) = self.replicas.get().filter(|replica| !replica.in_transaction && !self.replicas_wait) else {
            return [None, None].into_iter().flatten();
        };
        let wait = match self.sight.demand(replica.had, surroundings.now) {
            Demand::Position(position) => !is_seen_past(surroundings, replica.facts.id, position),
            Demand::Nothing => false,
            Demand::AskHome | Demand::StayHome => return [None, None].into_iter().flatten(),
        };
        let is_preparable = |statement: &&Statement| {
            !statement.is_unfit && !statement.is_at_replica() && statement.meaning == self.journal.meaning()
        };
        let statement = self.executed_statement().filter(is_preparable);
        [wait.then_some(Chore::Wait), statement.map(|statement| Chore::Prepare(statement.id))].into_iter().flatten()
    }

    pub(in crate::session::split) fn want_replica(
        &mut self,
        required: Capabilities,
        surroundings: Surroundings<'_>,
    ) -> Option<ReplicaWant> {
        let (has_schema, last) = (self.journal.schema().is_some(), self.replicas.last());
        let shared = self.gives_home_back().then_some(SharedWant { has_schema, last });
        let mut want = self.replicas.want(required, self.sight.position(), shared, surroundings.now)?;
        if let Some(wanted) = self.wanted {
            let others = surroundings.table.servers.iter().map(|server| server.id).filter(|id| *id != wanted);
            want.avoid.extend(others);
        }
        Some(want)
    }

    /// Whether a replica's connection may be reset. A node of a Galera cluster waits for nothing any more on a connection
    /// that was, whatever its `wsrep_sync_wait` says: there, a new connection takes its place.
    pub(in crate::session::split) fn resets_replicas(&self) -> bool {
        !self.replicas_wait
    }

    /// The statement asks about the last one, which ran at the replica.
    fn next_about_the_last(&self, status: StatusFlags) -> Next {
        let needs = self.current.classification.needs;
        let is_as_home = self.replicas.get().is_none_or(|known| known.applied == Some(self.journal.version()));
        let is_in_schema = self.replicas.get().is_none_or(|known| known.schema.as_deref() == self.journal.schema());
        match self.executed_statement() {
            _ if self.last_for(needs) == Side::Server => self.next_at_home(status),
            _ if needs.contains(Needs::FOUND_ROWS) && self.took_found_rows(Side::Replica) => self.next_at_home(status),
            // A reset leaves FOUND_ROWS(), and nothing else that could be asked for.
            _ if self.replicas.get().is_some_and(|replica| replica.must_reset) => match self.resets_replicas() {
                true => Next::Say(Chore::Reset),
                false => self.next_at_home(status),
            },
            // Another schema leaves FOUND_ROWS().
            _ if !is_in_schema && needs.contains(Needs::FOUND_ROWS) => match self.journal.schema() {
                Some(_) if !self.was_refused_settings() && !needs.contains(Needs::ROW_COUNT) => {
                    Next::Say(Chore::Schema)
                }
                Some(_) | None => self.next_at_home(status),
            },
            // A SET leaves FOUND_ROWS() and, where a SET at home has, conditions. How the answer looks depends on modes and
            // character sets.
            _ if !is_as_home && !self.was_refused_settings() && !needs.contains(Needs::ROW_COUNT) => {
                Next::Say(Chore::Settings)
            }
            _ if !is_as_home => self.next_at_home(status),
            Some(statement) if statement.is_unfit || statement.is_told_anew => self.next_at_home(status),
            // Preparing it there would take away the warnings that it asks for.
            Some(statement) if !statement.is_at_replica() && needs.contains(Needs::WARNINGS) => {
                self.next_at_home(status)
            }
            Some(statement) if !statement.is_at_replica() => Next::Say(Chore::Prepare(statement.id)),
            Some(_) | None => Next::Ready(Side::Replica),
        }
    }

    /// Whether the replica could not take the session on as it is now.
    fn was_refused_settings(&self) -> bool {
        let now = Some((self.journal.version(), self.journal.meaning()));
        self.replicas.get().is_some_and(|replica| replica.refused == now)
    }

    fn may_keep_replica(&mut self, surroundings: Surroundings<'_>) -> bool {
        if self.gives_home_back() {
            // It was chosen for this read.
            return true;
        }
        let table = surroundings.table;
        let user = &self.login.user;
        let pool = || table.user_config(table.user(user)?).split.map(|split| split.read);
        self.replicas.may_keep(table, pool)
    }

    fn executed_statement(&self) -> Option<&Statement> {
        match self.current.kind {
            Kind::Execute => self.executing.and_then(|id| self.statements.find(id)),
            Kind::Query | Kind::Prepare(_) | Kind::Reset | Kind::Fetch | Kind::Other | Kind::Unseen => None,
        }
    }
}

/// Whether the health checks saw a server past a position.
pub(super) fn is_seen_past(surroundings: Surroundings<'_>, server: ServerId, position: &GtidPosition) -> bool {
    let table = surroundings.table;
    table.place(server).is_some_and(|place| table.server(place).progress.has_applied(position))
}
