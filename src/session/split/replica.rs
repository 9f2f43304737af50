//! The server that a session reads from, the one that it read from last, and those that have failed it.

use std::time::{Duration, Instant};

use crate::{
    config::PoolIndex,
    protocol::{capability::Capabilities, gtid::GtidPosition, result_set::Reply, status::StatusFlags},
    route,
    topology::{RoutingTable, ServerId},
};

use super::{
    super::{LastReplica, Loan, Parking, ReplicaWant, ServerFacts, SharedWant, Side},
    journal::values::Values,
};

/// How long a replica that failed the session is left alone, and all of them when there was none.
const REST: Duration = Duration::from_secs(1);

/// Reads between two looks at whether the session may keep its replica.
const READS_BETWEEN_LOOKS: u32 = 64;

/// The replica of a session, or why there is none.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    current: Option<Box<Replica>>,
    /// The one that was given back last, as the session left it.
    parked: Option<Parked>,
    failed: Vec<(ServerId, Instant)>,
    none_until: Option<Instant>,
}

/// A replica whose connection was given back, and the count that names it.
#[derive(Debug)]
struct Parked {
    replica: Box<Replica>,
    count: u64,
}

/// A connection to a replica, and what was done to make it like home's.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) facts: ServerFacts,
    pub(super) schema: Option<Vec<u8>>,
    /// It lacks a COM_RESET_CONNECTION that home has had, or was another session's.
    pub(super) must_reset: bool,
    /// It has the character set of another login, or of none: results show more of it than a variable says.
    pub(super) needs_collation: bool,
    /// A reset does not make it as new: a role stays.
    is_tainted: bool,
    /// Its values of the variables that are compared; none until it was asked.
    pub(super) values: Option<Values>,
    /// The journal's version that was put on.
    pub(super) applied: Option<u32>,
    pub(super) role: Option<Vec<u8>>,
    /// It begins its sessions without autocommit; home's has it, or there would be no read here.
    pub(super) lacks_autocommit: bool,
    /// The version of the session's sight that it is known to have.
    pub(super) had: u32,
    /// The rest of a reply that nobody wants; until it has come, nothing else may be asked.
    pub(super) rest: Option<Reply>,
    /// When the session read from it last, or from another connection to this server.
    pub(super) read_at: Option<Instant>,
    /// A read-only transaction is open on it, in step with home's.
    pub(super) in_transaction: bool,
    /// That transaction has read: its snapshot is nowhere else.
    pub(super) has_snapshot: bool,
    /// Home's transaction that it was in step with is over.
    pub(super) is_outlived: bool,
    /// The journal's counts of changes when it could not take the session on: reads stay at home until the next one.
    pub(super) refused: Option<(u32, u32)>,
    /// Its server is taken out of use.
    pub(super) is_unwanted: bool,
    reads: u32,
    /// The routing table that was looked at last.
    epoch: u64,
}

impl Replica {
    /// A transaction of its own must end before anything else: home's has ended.
    pub(super) fn must_commit(&self, status: StatusFlags) -> bool {
        self.in_transaction && (self.is_outlived || !status.contains(StatusFlags::IN_TRANS))
    }

    /// Home was told COM_RESET_CONNECTION.
    pub(super) fn home_was_reset(&mut self) {
        self.must_reset = true;
        self.needs_collation = false;
        (self.values, self.applied, self.role, self.refused) = (None, None, None, None);
        self.set_transaction(false);
    }

    /// A read-only transaction was begun or ended.
    pub(super) fn set_transaction(&mut self, is_open: bool) {
        (self.in_transaction, self.has_snapshot, self.is_outlived) = (is_open, false, false);
    }

    /// A read was answered.
    pub(super) fn set_read(&mut self, now: Instant) {
        self.read_at = Some(now);
        self.has_snapshot = self.in_transaction;
    }

    pub(super) fn set_role(&mut self, role: Option<Vec<u8>>) {
        self.is_tainted |= role.is_some();
        self.role = role;
    }

    /// Nothing is on it that another session could not be rid of.
    pub(super) fn is_free(&self) -> bool {
        self.rest.is_none() && !self.in_transaction
    }

    /// Takes over what is known of another connection's server, if this one's is the same, and was not started anew since
    /// the session read there: this connection is older. Whether it is.
    pub(super) fn follows(&mut self, before: &Replica) -> bool {
        let is_same = |at: Instant| before.facts.id == self.facts.id && self.facts.since <= at;
        let is_same = before.read_at.is_some_and(is_same);
        if is_same {
            (self.had, self.read_at) = (before.had, before.read_at);
        }
        is_same
    }

    fn new(facts: ServerFacts, schema: Option<Vec<u8>>, must_reset: bool, epoch: u64) -> Replica {
        Replica {
            facts,
            schema,
            must_reset,
            needs_collation: false,
            is_tainted: false,
            values: None,
            applied: None,
            role: None,
            lacks_autocommit: false,
            had: 0,
            rest: None,
            read_at: None,
            in_transaction: false,
            has_snapshot: false,
            is_outlived: false,
            refused: None,
            is_unwanted: false,
            reads: 0,
            epoch,
        }
    }

    /// Whether it has the snapshot of the session's transaction.
    pub(super) fn is_in_step(&self) -> bool {
        self.has_snapshot && !self.is_outlived
    }
}

impl Replicas {
    pub(super) fn facts(&self) -> Option<&ServerFacts> {
        self.current.as_ref().map(|replica| &replica.facts)
    }

    pub(super) fn get(&self) -> Option<&Replica> {
        self.current.as_deref()
    }

    /// Whether the session's transaction has its snapshot at the replica.
    pub(super) fn have_snapshot(&self) -> bool {
        self.get().is_some_and(Replica::is_in_step)
    }

    pub(super) fn get_mut(&mut self) -> Option<&mut Replica> {
        self.current.as_deref_mut()
    }

    pub(super) fn take(&mut self) -> Option<Box<Replica>> {
        self.current.take()
    }

    /// A replica is connected and will be logged in to with the session's schema.
    pub(super) fn leased(&mut self, facts: ServerFacts, schema: Option<&[u8]>, must_reset: bool, table: &RoutingTable) {
        let schema = schema.map(<[u8]>::to_vec);
        self.current = Some(Box::new(Replica::new(facts, schema, must_reset, table.epoch)));
    }

    /// A connection that rested is lent: the session's own, as it left it, or another one, which has to be reset and, as long
    /// as the client has not asked for that itself, to be given the character set of its login.
    pub(super) fn lent(&mut self, loan: Loan, needs_collation: bool, table: &RoutingTable) {
        self.current = match self.parked.take_if(|_| loan.is_own) {
            Some(Parked { replica, .. }) => Some(replica),
            None => {
                let replica = Replica::new(loan.facts, loan.schema, true, table.epoch);
                Some(Box::new(Replica { needs_collation, ..replica }))
            }
        };
    }

    /// Gives the connection back. Others may have it after a reset, where that makes it as new.
    pub(super) fn park(&mut self, required: Capabilities, count: u64, may_be_reset: bool) -> Option<Parking> {
        let replica = self.current.take_if(|replica| replica.is_free())?;
        let parking = Parking {
            side: Side::Replica,
            facts: replica.facts.clone(),
            required,
            schema: replica.schema.clone(),
            is_for_others: may_be_reset && !replica.is_tainted,
            count,
        };
        self.parked = Some(Parked { replica, count });
        Some(parking)
    }

    /// The connection that was given back and may still be as the session left it.
    pub(super) fn last(&self) -> Option<LastReplica> {
        let parked = self.parked.as_ref()?;
        Some(LastReplica { server: parked.replica.facts.id, count: parked.count })
    }

    /// The replica that there is, or the one that was given back.
    pub(super) fn known(&self) -> Option<&Replica> {
        self.get().or(self.parked.as_ref().map(|parked| &*parked.replica))
    }

    /// The same, to change.
    pub(super) fn known_mut(&mut self) -> Option<&mut Replica> {
        match &mut self.current {
            Some(current) => Some(current),
            None => self.parked.as_mut().map(|parked| &mut *parked.replica),
        }
    }

    /// What was known of the connection that was given back is of no use any more.
    pub(super) fn forget_parked(&mut self) -> Option<Box<Replica>> {
        self.parked.take().map(|parked| parked.replica)
    }

    /// What is wanted of the next one; none while all of them rest.
    pub(super) fn want(
        &mut self,
        required: Capabilities,
        fresh: Option<GtidPosition>,
        shared: Option<SharedWant>,
        now: Instant,
    ) -> Option<ReplicaWant> {
        if self.none_until.is_some_and(|until| until > now) {
            return None;
        }
        self.failed.retain(|(_, until)| *until > now);
        let avoid = self.failed.iter().map(|(server, _)| *server).collect();
        Some(ReplicaWant { required, avoid, fresh, shared })
    }

    pub(super) fn has_failed(&mut self, server: ServerId, now: Instant) {
        self.failed.retain(|(other, _)| *other != server);
        self.failed.push((server, now + REST));
    }

    pub(super) fn none_found(&mut self, now: Instant) {
        self.none_until = Some(now + REST);
    }

    pub(super) fn are_resting(&self, now: Instant) -> bool {
        self.none_until.is_some_and(|until| until > now)
    }

    /// A read begins. Whether the session may keep its replica for it: looked at now and then, and when the routing
    /// table has changed. `pool` finds where the session's reads go, if they still go anywhere else than home.
    pub(super) fn may_keep(&mut self, table: &RoutingTable, pool: impl FnOnce() -> Option<PoolIndex>) -> bool {
        let Some(replica) = self.current.as_deref_mut() else { return true };
        replica.reads = replica.reads.wrapping_add(1);
        if replica.in_transaction || (replica.epoch == table.epoch && replica.reads % READS_BETWEEN_LOOKS != 0) {
            return true;
        }
        replica.epoch = table.epoch;
        let Some(pool) = pool() else { return true };
        table.place(replica.facts.id).is_some_and(|place| route::is_fair(table, pool, place))
    }
}
