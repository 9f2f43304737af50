//! What a session asks its worker to do.

use crate::{
    protocol::{auth::Secret, capability::Capabilities, gtid::GtidPosition, redirect::Target},
    topology::{Failure, ServerId},
};

use super::{Ending, ServerFacts, SessionId, Side};

/// How the bytes just shown to [`Session::step`](super::Session::step) are to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Pass the first `length` bytes on, unchanged. `length > 0`.
    Forward {
        /// Who gets them.
        to: Side,
        /// Bytes to pass on.
        length: usize,
    },
    /// Pass the first `length` bytes on with another number in them. `at + 4 <= length`.
    Renumber {
        /// Who gets them.
        to: Side,
        /// Bytes to pass on.
        length: usize,
        /// Where the number stands.
        at: usize,
        /// Its bytes.
        number: [u8; 4],
    },
    /// The session has used up the first `length` bytes. `length > 0`.
    Consume {
        /// Bytes to drop.
        length: usize,
    },
    /// Show the same bytes again when there are at least this many.
    NeedBytes {
        /// Bytes wanted from the start of these.
        at_least: usize,
    },
    /// Show the same bytes again after something else has happened.
    Wait,
}

/// Something the worker must carry out. Outputs are in order; all of them come before the next `step`.
#[derive(Debug)]
pub enum Output {
    /// Write these framed bytes to one side.
    Send(Side, Vec<u8>),
    /// Begin TLS on one side: what is sent from now on is sealed, and what comes is opened.
    StartTls(Side),
    /// Ask what is known of a user that has no entry in the configuration: [`Session::inquirer`](super::Session::inquirer) says of
    /// whom. Answered by `Input::Inquired`.
    Inquire,
    /// To judge what a client has sent takes milliseconds: say when there is time. Answered by `Input::Reckon`.
    Reckon,
    /// A user without an entry could not prove who it is, by what is known of it.
    Doubt,
    /// A server has accepted this password of a user without an entry.
    Learnt {
        /// The user's name.
        user: Vec<u8>,
        /// The password.
        password: Secret,
    },
    /// A server has refused this password of such a user.
    Unlearnt {
        /// The user's name.
        user: Vec<u8>,
        /// The password.
        password: Secret,
    },
    /// Find, reserve and connect a server for the session's user.
    Lease(Want),
    /// Give up the server connection, after what was sent to it is written.
    Release,
    /// Lend a home connection of the session's user for some statements: one that rests, or a new one.
    LeaseHome(HomeWant, Option<ServerId>),
    /// A connection rests until the session, or another one of its user, needs it.
    Park(Box<Parking>),
    /// Somebody may wait for the home connection that the session keeps: answered by `Input::Yield`.
    Yield,
    /// The home connection, at this server, stands by while another one is looked for.
    SetAside(ServerId),
    /// The one that stands by is the home connection again; another one, or the search for it, is given up. If it was lost
    /// meanwhile, `Input::Closed` tells.
    TakeBack,
    /// The one that stands by is not needed any more.
    DropAside,
    /// Find, reserve and connect a replica for the reads of the session's user, or lend a connection to one. Where sessions
    /// share them, the session waits for a while; else the answer may be at once that there is none.
    LeaseReplica(Box<ReplicaWant>),
    /// Lend the connection to a replica that the session gave back last, if nobody had it since.
    ReclaimReplica(LastReplica),
    /// Give up the replica, after what was sent to it is written.
    ReleaseReplica,
    /// End this session of the same user.
    KillHomeless(SessionId),
    /// Ask where another session works, which is to end if so said; answered by `Input::SessionFound`.
    FindSession {
        /// The session that is looked for.
        id: SessionId,
        /// Its end is wanted, and not only that of its statement.
        is_to_end: bool,
    },
    /// Connect a second time, to this server, for one statement.
    Errand(ServerId),
    /// The errand is over: close its connection.
    EndErrand,
    /// What was leased or lent is ready for use: the search for it is over.
    Settled,
    /// Tell the monitor that a server failed this session.
    Report(ServerId, Failure),
    /// The client is logged in at a server: its first or next account works.
    Entered,
    /// Write out what the client was sent, then close everything. Nothing follows.
    Close(Ending),
}

/// What a leased server must be able to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// Capabilities that the client was promised.
    pub required: Capabilities,
    /// The server tried last, when it turned the session away: try another.
    pub avoid: Option<ServerId>,
    /// Only in the time that a session may wait for a server: that one took the time of a login.
    pub is_bounded: bool,
    /// Where the server tried last has sent the session: there, if that may serve it.
    pub lead: Option<Lead>,
    /// The session has a schema; matters where connections are lent.
    pub has_schema: bool,
    /// A connection that was another session's will do, after a reset.
    pub may_be_reset: bool,
    /// The count of the connection that the session gave back last.
    pub last: Option<u64>,
    /// Better one that is known to have this.
    pub fresh: Option<GtidPosition>,
}

/// Where a server has sent a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lead {
    /// To another server of its cluster.
    Configured(ServerId),
    /// To an address that is not configured.
    Outside {
        /// The address.
        target: Target,
        /// The configured server that began it: the one at the address is spoken to in the same way.
        sent_by: ServerId,
    },
}

/// What a home connection must be like that is lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HomeWant {
    /// Capabilities that the client was promised: it has these, and no others of the kind.
    pub required: Capabilities,
    /// The session has a schema. One without cannot have a connection with one: no command takes it away.
    pub has_schema: bool,
    /// A connection that was another session's will do, after a reset.
    pub may_be_reset: bool,
    /// The count of the connection that the session gave back last, which is the best to have.
    pub last: u64,
    /// Better one that is known to have this: the session waits at one that has not.
    pub fresh: Option<GtidPosition>,
}

/// A connection that rests.
#[derive(Clone, Debug)]
pub struct Parking {
    /// To home or to a replica.
    pub side: Side,
    /// Its server.
    pub facts: ServerFacts,
    /// What the client was promised when it was opened.
    pub required: Capabilities,
    /// Its schema.
    pub schema: Option<Vec<u8>>,
    /// Other sessions may have it after a reset.
    pub is_for_others: bool,
    /// The count by which its last session knows it.
    pub count: u64,
}

/// What a leased replica must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaWant {
    /// Capabilities that the client was promised.
    pub required: Capabilities,
    /// Replicas that have failed the session of late.
    pub avoid: Vec<ServerId>,
    /// Better one that is known to have this.
    pub fresh: Option<GtidPosition>,
    /// Of a session that shares its connections: what one must be like that is lent.
    pub shared: Option<SharedWant>,
}

/// What a replica's connection must be like that is lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedWant {
    /// The session has a schema. One without cannot have a connection with one.
    pub has_schema: bool,
    /// Where the session read last. It stays there while that is fair: elsewhere it has to ask for what it has seen.
    pub last: Option<LastReplica>,
}

/// The connection to a replica that a session gave back last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastReplica {
    /// Its server.
    pub server: ServerId,
    /// The count by which the session knows it.
    pub count: u64,
}
