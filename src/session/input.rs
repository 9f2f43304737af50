//! What a session is told, and what it may look at while it decides.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    config::{Encryption, ServerDemand},
    latency::{Histogram, Tick},
    protocol::auth::{RsaKey, Verifier},
    topology::{RoutingTable, ServerId},
};

use super::SessionId;

/// One of the connections of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client that logged in to us.
    Client,
    /// The server that the session is at home at: its only one, or the one that its writes go to.
    Server,
    /// The server that reads of a split session go to.
    Replica,
    /// A second, short connection to another server, for one statement (a `KILL` that concerns that server).
    Errand,
}

/// What a session may look at while it handles something: all of it read-only.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Users, pools and servers as they are now.
    pub table: &'a RoutingTable,
    /// The key pair for clients that send their password over RSA.
    pub rsa: &'a RsaKey,
    /// The time of this turn of the loop.
    pub now: Instant,
    /// The same, for timing replies.
    pub tick: Tick,
}

/// Something that happened to a session, other than received bytes.
#[derive(Debug)]
pub enum Input {
    /// The answer to `Output::Inquire`: what is known of the password. Of a user that is not known, something that no password
    /// matches.
    Inquired(Verifier),
    /// The answer to `Output::Reckon`: there is time for it now.
    Reckon,
    /// The server asked for by `Output::Lease` is connected; its greeting comes next.
    Leased(ServerFacts),
    /// A connection of the worker's is lent, in answer to `Output::Lease` or `Output::LeaseHome`; to a replica, in answer to
    /// `Output::LeaseReplica` or `Output::ReclaimReplica`. A new one is told of by `Leased` or `ReplicaLeased`.
    Lent(Loan),
    /// The answer to `Output::Yield`: whether somebody waits for the connection.
    Yield {
        /// Somebody does.
        is_wanted: bool,
    },
    /// No server could be leased within the time that a session may wait.
    LeaseFailed(LeaseFailure),
    /// The replica asked for by `Output::LeaseReplica` is connected; its greeting comes next.
    ReplicaLeased(ServerFacts),
    /// There is no replica for the session now.
    ReplicaFailed,
    /// The answer to `Output::FindSession` of this session. It may come after a deadline, when another one is wanted.
    SessionFound(SessionId, Found),
    /// Another session of the same user has killed this one.
    Killed,
    /// The server asked for by `Output::Errand` is connected.
    ErrandConnected(ServerFacts),
    /// The server asked for by `Output::Errand` cannot be reached.
    ErrandFailed,
    /// The other end closed a connection, or it broke.
    Closed(Side),
    /// TLS with the other end failed, and nothing more comes of the connection; the text says why.
    TlsFailed(Side, String),
    /// Leave at the next moment outside a transaction.
    Drain(DrainReason),
    /// The routing table says something else of whether sessions go elsewhere.
    Recall,
    /// The home server is not what it was when it was leased.
    Displaced(Displacement),
    /// The replica is taken out of use: reads go elsewhere from the next one on.
    ReplicaDrained,
    /// The replica is out of use, and its connection is about to be closed.
    ReplicaOutOfUse,
    /// The time given by `poll_timeout` has come.
    Timeout,
}

/// What a session knows of the server that it was given.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// Which server.
    pub id: ServerId,
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The time that it has to greet.
    pub greeting_timeout: Duration,
    /// Its own number for the connection; 0 until it has greeted.
    pub thread_id: u32,
    /// Who could listen to what is said to it.
    pub way: ServerWay,
    /// When the connection was begun: the server has not been started anew since.
    pub since: Instant,
    /// Where its replies are timed, with those to the worker's other sessions that the same pool sent there.
    pub reply_times: Arc<Histogram>,
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerWay {
    /// Over a UNIX socket, where nobody listens.
    UnixSocket,
    /// Over a network, with this much TLS.
    Network(ServerDemand),
}

impl ServerWay {
    /// Where anybody may listen.
    pub(super) const OPEN: ServerWay = ServerWay::Network(ServerDemand::Disabled);
}

/// How a client speaks to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientWay {
    /// Over a network, in clear.
    Open,
    /// Over a network, inside TLS.
    Tls,
    /// Over a UNIX socket, where nobody listens.
    UnixSocket,
}

/// The TLS that a client is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsOffer {
    /// Whether the client may do without it.
    pub demand: Encryption,
    /// SHA-256 of the certificate that it will see.
    pub fingerprint: [u8; 32],
}

/// A connection that is lent to a session.
#[derive(Clone, Debug)]
pub struct Loan {
    /// To home or to a replica.
    pub side: Side,
    /// Its server.
    pub facts: ServerFacts,
    /// The session had it last, and nobody else since.
    pub is_own: bool,
    /// Its schema.
    pub schema: Option<Vec<u8>>,
}

/// Why there is no server for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseFailure {
    /// The user has as many sessions as its `max_connections` allows.
    UserFull {
        /// The limit.
        limit: u32,
    },
    /// Every usable server has as many connections as it may have.
    ServersFull(String),
    /// No server of the pool can be used; the text names each with its reason.
    NoServer(String),
    /// The user was removed from the configuration.
    UserGone,
}

/// Why a session is asked to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainReason {
    /// The process ends.
    Shutdown,
    /// Its user is no longer in the configuration.
    UserRemoved,
    /// Its server is no longer in the configuration.
    ServerRemoved,
    /// It is to go to another balancer: its client is told so in answer to its next command.
    Recalled,
    /// Its server does not take writes any more, and the session cannot take its state along.
    ServerDemoted,
}

/// Why a session cannot stay with its home server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Displacement {
    /// It is not the server that the session's writes go to any more.
    Demoted,
    /// It is about to hand that over: transactions may end there, and none may begin.
    Yields,
    /// It does not answer.
    Down,
    /// It does not answer, and what is on the connection can be of no use any more: whatever it says later comes too late.
    Gone,
    /// An operator takes it out of use: the session goes on elsewhere as soon as nothing of it is lost with that.
    Drained,
    /// It is out of use: nobody stays.
    OutOfUse,
}

/// What became of looking for the session that a client wants to kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There is none, or it has not logged in yet.
    Nobody,
    /// It works at servers, which say who may kill it.
    At(KillTargets),
    /// It has no connection to a server just now, so none can be asked who may kill this user's session.
    Homeless(Box<[u8]>),
    /// The same, but that a statement of it runs at a replica.
    Reading(Box<[u8]>, KillTarget),
}

/// The connections of the session that a client wants to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KillTargets {
    /// At its home server: with this one the session ends.
    pub session: KillTarget,
    /// Where its statement runs.
    pub statement: KillTarget,
}

impl KillTargets {
    /// Of a session with one connection.
    pub fn one(server: ServerId, thread_id: u32) -> KillTargets {
        let only = KillTarget { server, thread_id };
        KillTargets { session: only, statement: only }
    }
}

/// A connection of a session at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KillTarget {
    /// Its server.
    pub server: ServerId,
    /// The server's own number for its connection.
    pub thread_id: u32,
}
