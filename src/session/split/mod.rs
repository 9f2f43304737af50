//! A session whose reads go elsewhere than its writes.
//!
//! The session is **at home** at a primary, as any session is: there it logs in, there runs everything that is not
//! certainly a read, and there its state is true. A **replica** is leased when the first read may use one. Before a read
//! runs there, the replica's connection is made like home's (`journal`), and must have what the session has seen
//! (`sight`). Whatever cannot be made the same keeps reads at home (`pins`), and is never an error.
//!
//! - `plan` says where a command goes, `bonds` what keeps it at home, and `stay` counts that;
//! - `journal` is the session's state: `trackers` is what servers tell of it, `reading` how texts are read under it, `values` and
//!   `variables` what is compared between servers; `pins` is the state that cannot be carried;
//! - `sight` is what the session has seen: `last_seen` at a home that is gone, `snapshot` in a transaction, `views` and `hidden` by
//!   reads that do more than their texts show;
//! - `chore` is what we say ourselves before a command: `readying` brings a server to where it must be, `missing` says what it
//!   lacks, `words` what we say for it, `answers` takes in what comes back;
//! - `reply` follows replies, `absorb` learns from them; `asking` is about questions for what earlier statements left: `counting` how
//!   many rows they found or changed, `conditions` where their warnings are, `retained` and `repeating` what home runs again for them;
//! - `statements` are the prepared ones: `execution` the parts of their commands, `numbers` what they are called where home is lent,
//!   `retold` what clients are told of them once more;
//! - `replica` is the second server, `leasing` its coming and going;
//! - `lent` is a home that sessions share: `lending` its coming and going, `sharing` the same for replicas, `unreset` and `welcome` what
//!   begins on it;
//! - `rehoming` is about a home that is lost or changes: `refused` what it did not run, `leaving` one that an operator takes out,
//!   `awake` one that must not close us for idle.

mod absorb;
mod asking;
mod bonds;
mod chore;
mod journal;
mod leasing;
mod lent;
mod pins;
mod plan;
mod rehoming;
mod replica;
mod reply;
mod sight;
mod statements;
mod stay;

use std::{sync::Arc, time::Instant};

use crate::{
    config::{Freshness, Mobility, Split as SplitConfig, Topology, limits},
    protocol::{
        capability::Capabilities, response::ErrPacket, result_set::Framing, statement::StatementId,
        status::StatusFlags, version,
    },
    sql::{self, Classification, Dialect, Findings, Needs},
    topology::{RoutingTable, ServerId, UserLoad},
};

use super::{Side, login::Login};

use absorb::After;
use asking::{conditions::Conditions, retained::Retained};
use journal::{Journal, trackers::Tracking};
use lent::{Lent, unreset::Waiting};
use pins::Pins;
use rehoming::{Standing, awake::Awake, leaving::Leaving, refused::Kept};
use replica::Replicas;
use sight::{Sight, last_seen::LastSeen};
use statements::{Preparation, Statements};

pub(super) use chore::readying::Preparing;
pub(super) use lent::Tenure;
pub use stay::{Bond, RouteCounts, Stay};

/// The longest command that is looked into; a longer one goes home.
const COMMAND_MAX: usize = limits::SPLIT_COMMAND_BYTES;

/// What a session with two servers is, beside what every session is.
pub(super) struct Split {
    /// As the client logged in; for further logins.
    login: Login,
    family: sql::Family,
    /// Reads wait at the replica by themselves.
    replicas_wait: bool,
    /// The client asked for trackers.
    client_tracks: bool,
    /// COM_QUERY carries a block of attributes before the text.
    query_attributes: bool,
    /// The client chose by command whether a text may hold several statements: replicas know only of its login.
    chose_statements: bool,
    /// Results end with EOF packets, which have no room to say what changed.
    eof_tells_nothing: bool,
    /// Results do not tell again what was told of their columns when the statement was prepared.
    caches_metadata: bool,
    home: Home,
    /// What it tells clients of by itself.
    tells_by_itself: Tracking,
    /// Whether home waits for its cluster on every connection alike.
    waiting: Waiting,
    /// The home connection goes back between transactions.
    lent: Option<Box<Lent>>,
    /// What makes the session go on at another home.
    mobility: Mobility,
    /// The command under way at home, for another home.
    kept: Kept,
    standing: Standing,
    /// Its home server is taken out of use.
    leaving: Option<Box<Leaving>>,
    /// What it may have seen at the home before, until it has arrived at the next one.
    last_seen: Option<Box<LastSeen>>,
    /// What the command that waits is refused with.
    pub(super) refusal: Option<ErrPacket>,
    /// A read that the replica did not run waits for the home connection.
    repeats: bool,
    /// There is another pool for reads.
    reads_leave: bool,
    replicas: Replicas,
    journal: Journal,
    pins: Pins,
    sight: Sight,
    statements: Statements,
    /// The command under way.
    current: Current,
    /// The prepared statement that it executes.
    executing: Option<StatementId>,
    /// Why it stays at home, if it does.
    stay: Option<Stay>,
    /// The replica that it names.
    wanted: Option<ServerId>,
    /// What it leaves to be done.
    after: After,
    /// Reads at the replica, to be repeated at home.
    retained: Retained,
    /// The command under way at home, as the client sent it, if it does anything to the session.
    at_home: Vec<u8>,
    /// Fingerprints of texts that a replica refused.
    refused: Vec<u64>,
    counts: Arc<RouteCounts>,
    /// What the last statements had to say beside their results.
    conditions: Conditions,
    /// Where the last statement ran: there is its ROW_COUNT().
    last: Side,
    last_count: RowCount,
    /// The count of the last statement at home is that of a query.
    home_counts_as_query: bool,
    /// Home has run a query of ours in the place of a command that counted no rows.
    owes_count: bool,
    /// Where FOUND_ROWS() is that of the last query.
    found: Side,
    /// Whether it still is.
    found_there: FoundRows,
    /// What keeps home from closing the session.
    awake: Awake,
    /// What all sessions of the user share.
    user: Option<Arc<UserLoad>>,
    /// The session has made or changed what may be a view since the servers were asked for views.
    made_views: bool,
    /// The transaction has to be rolled back at home.
    owes_rollback: bool,
    /// The transaction under way changed the session at the replica, and home does not know how.
    stained: bool,
    /// The client asked in vain for what earlier statements left, as its reads had gone elsewhere: they stay at home.
    has_missed: bool,
    /// A read that was run again at home has left word of a schema there, for which the client does not wait.
    owes_no_schema: bool,
    /// Home may have word of a schema that an EOF packet had no room for.
    late_schema: bool,
    /// It came before the client's server would have told it.
    owes_schema: bool,
    /// Code that nobody saw may have set variables of which home did not tell.
    may_have_set_unseen: bool,
    /// Home has not run the last read yet, which changed the session.
    owes_home: bool,
    /// Where the command that waits was found to go.
    ready: Option<Side>,
    /// Data was read at home in the transaction under way.
    looked_in_transaction: bool,
    /// The last that home told of transactions is that one was begun.
    told_transaction: bool,
    /// The last statement at home failed, perhaps behind a commit of its own, of which no error tells.
    may_owe_position: bool,
    /// How texts are read.
    reading: Dialect,
    /// What that was made from: the journal's count of changes of meaning, and the server's flags.
    read_since: Option<(u32, StatusFlags)>,
}

/// Status flags that decide how texts are read.
const READING: StatusFlags = StatusFlags(StatusFlags::NO_BACKSLASH_ESCAPES.0 | StatusFlags::ANSI_QUOTES.0);

/// How far the home server is made to tell of the session.
#[derive(Debug)]
enum Home {
    /// Not asked for its values yet.
    Unknown,
    /// Its values are known; it does not tell of changes.
    Silent(Tracking),
    /// It tells of every change that matters.
    Telling(Tracking),
    /// It tells again what the client asked for, who wants to decide about it: everything stays at home.
    Returned,
    /// As that, but for positions: MySQL takes no word about them in a transaction.
    Owing(Tracking),
    /// It cannot: everything stays at home.
    Unable,
}

/// What the last statement left as ROW_COUNT().
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RowCount {
    /// It had rows, or failed: -1, which every server says behind a query.
    OfQuery,
    /// It was none that changes rows: 0.
    Zero,
    /// What only its server knows.
    Some,
}

/// What FOUND_ROWS() is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FoundRows {
    /// The client has run no query yet, or its last one found a single row, as a question of ours does.
    AsOfQuestion,
    /// That of the client's last query.
    OfQuery,
    /// That of a question of ours, which was asked before a command that took its place, as far as anybody knew; but it failed.
    OfQuestion,
    /// That of a query at a replica, or of what home ran behind it: no reply tells.
    Unknown,
}

/// The command under way.
#[derive(Debug)]
struct Current {
    kind: Kind,
    classification: Classification,
    /// The prepared statement that it names, of a session that gives its home connection back.
    statement: Option<StatementId>,
    /// Nobody answers it, also where it cannot be run.
    is_one_way: bool,
    /// It left warnings or an error.
    leaves_conditions: bool,
    /// It is about what servers tell of their sessions.
    is_about_tracking: bool,
    /// Where it runs.
    at: Side,
    /// It ends the transaction with nothing of it left.
    rolls_back: bool,
    /// Conditions of statements before it outlive it, if it leaves none.
    keeps_conditions: bool,
    /// What its statements make of FOUND_ROWS().
    findings: Findings,
    /// It asks about its connection, and finds a single row.
    finds_one_row: bool,
    /// What of that which those before it left is that of this one, when it is over.
    replaces: Needs,
    /// What of it may be.
    may_replace: Needs,
    /// It is no statement, and its answer counts the conditions of the one before.
    recounts: bool,
    /// It runs no statement, and its error comes to the conditions of the one before.
    adds_conditions: bool,
    /// It is no statement, and its answer is what ends the rows of a query.
    ends_like_query: bool,
    /// It sets variables as long as it runs, and for no longer.
    sets_for_itself: bool,
    /// It may change what its reply need not tell of.
    changes_unseen: bool,
    /// Its reply showed a change of state that no statement of its kind makes.
    state_changed: bool,
    /// Its reply said what changed.
    has_trackers: bool,
    /// Its reply brought the position of its transaction.
    has_position: bool,
    /// It may ask what its connection drew from a sequence.
    asks_what_was_drawn: bool,
    /// It may leave a LAST_INSERT_ID() behind.
    may_insert: bool,
    /// It has home wait for the cluster, or sets that.
    has_home_wait: bool,
}

/// What a command is to the session.
#[derive(Debug)]
enum Kind {
    /// A text; it stands in `at_home` if it does anything to the session.
    Query,
    /// A text to prepare.
    Prepare(Preparation),
    /// A prepared statement.
    Execute,
    /// Everything is as after the login again.
    Reset,
    /// Rows of a cursor.
    Fetch,
    /// Nothing that reads or writes data.
    Other,
    /// May be anything.
    Unseen,
}

impl Split {
    pub(super) fn new(
        login: Login,
        config: SplitConfig,
        capabilities: Capabilities,
        table: &RoutingTable,
        counts: Arc<RouteCounts>,
    ) -> Split {
        let journal = Journal::new(login.database.clone());
        let cluster = table.config.pool(config.read).cluster;
        let family = lowest_family(table, config);
        let is_galera = table.config.cluster(cluster).topology == Topology::Galera;
        let reading =
            Dialect { no_backslash_escapes: false, ansi_quotes: false, family, charset: sql::ClientCharset::Unknown };
        Split {
            family,
            reading,
            read_since: None,
            replicas_wait: is_galera && config.freshness == Freshness::OwnWrites,
            client_tracks: capabilities.contains(Capabilities::SESSION_TRACK),
            query_attributes: capabilities.contains(Capabilities::QUERY_ATTRIBUTES),
            chose_statements: false,
            eof_tells_nothing: !capabilities.contains(Capabilities::DEPRECATE_EOF),
            caches_metadata: Framing::of(capabilities).cache_metadata,
            home: Home::Unknown,
            tells_by_itself: Tracking::default(),
            waiting: Waiting::at(is_galera, family),
            lent: None,
            mobility: Mobility::Fixed,
            kept: Kept::new(table.config.cluster(cluster).hold_timeout),
            standing: Standing::default(),
            leaving: None,
            last_seen: None,
            refusal: None,
            repeats: false,
            reads_leave: true,
            replicas: Replicas::default(),
            journal,
            pins: Pins::default(),
            sight: Sight::new(config.freshness),
            statements: Statements::default(),
            current: Current::new(Kind::Other, plan::UNSEEN),
            executing: None,
            stay: None,
            wanted: None,
            after: After::Nothing,
            refused: Vec::new(),
            counts,
            retained: Retained::default(),
            at_home: Vec::new(),
            last: Side::Server,
            last_count: RowCount::Some,
            home_counts_as_query: false,
            owes_count: false,
            found: Side::Server,
            found_there: FoundRows::AsOfQuestion,
            conditions: Conditions::default(),
            awake: Awake::default(),
            user: table.user(&login.user).map(|user| Arc::clone(table.user_load(user))),
            made_views: false,
            owes_rollback: false,
            stained: false,
            has_missed: false,
            owes_no_schema: false,
            late_schema: false,
            owes_schema: false,
            may_have_set_unseen: false,
            owes_home: false,
            ready: None,
            looked_in_transaction: false,
            told_transaction: false,
            may_owe_position: false,
            login,
        }
    }

    /// The client may have written and seen anything before this login.
    pub(super) fn has_a_past(&mut self, now: Instant) {
        self.sight.looked_home(true, now);
    }

    /// For a user whose sessions may go on at another home for such reasons.
    pub(super) fn moving_by(self, mobility: Mobility) -> Split {
        Split { mobility, ..self }
    }

    /// Whether the session goes on when its home is lost, or takes no writes any more.
    fn outlives_home(&self) -> bool {
        self.mobility == Mobility::Free
    }

    /// Whether the session goes with its home, if that is lost: nobody knows what it has seen there, and the next one may
    /// be behind that.
    fn falls_with_home(&self) -> bool {
        let is_at_home = self.lent.as_deref().is_some_and(|lent| lent.is_here() && !lent.goes_back());
        let may_fall = match self.mobility {
            Mobility::Fixed | Mobility::Free => false,
            Mobility::Ordered => true,
            Mobility::Reading => !self.reads_on(),
        };
        may_fall && is_at_home && !self.is_moving()
    }

    /// For a user with one pool: reads go where everything goes.
    pub(super) fn with_one_pool(self) -> Split {
        Split { reads_leave: false, ..self }
    }

    /// The session has just logged in at this home connection, and may get another one.
    pub(super) fn settle(
        &mut self,
        tenure: Tenure,
        schema: Option<Vec<u8>>,
        server: Option<ServerId>,
        status: StatusFlags,
    ) {
        self.lent = Some(Box::new(Lent::logged_in(tenure, schema, server, status)));
    }

    /// The replica, if there is one.
    pub(super) fn replica(&self) -> Option<&super::ServerFacts> {
        self.replicas.facts()
    }

    /// Whether the command that waits may go where it was found to go.
    pub(super) fn is_decided(&self) -> bool {
        self.ready.is_some()
    }

    /// Whether a read that the replica did not run waits for home.
    pub(super) fn repeats_read(&self) -> bool {
        self.repeats
    }

    /// Why the session's reads, or the session, may not leave home.
    pub(super) fn pins(&self) -> impl Iterator<Item = &'static str> {
        let bond = self.lent.as_deref().and_then(Lent::bond).map(Bond::text);
        let other = bond.filter(|bond| self.pins.names().all(|name| name != *bond));
        self.pins.names().chain(other)
    }

    /// Sees to it that texts are read as the session's server reads them now.
    fn read_as_home(&mut self, status: StatusFlags) {
        let now = (self.journal.meaning(), status & READING);
        if self.read_since != Some(now) {
            self.reading = self.dialect(status);
            self.read_since = Some(now);
        }
    }

    fn dialect(&self, status: StatusFlags) -> Dialect {
        let ansi_quotes = match self.family {
            sql::Family::MariaDb { .. } => status.contains(StatusFlags::ANSI_QUOTES),
            sql::Family::MySql { .. } => self.journal.has_ansi_quotes(),
        };
        Dialect {
            no_backslash_escapes: status.contains(StatusFlags::NO_BACKSLASH_ESCAPES),
            ansi_quotes,
            family: self.family,
            charset: self.journal.charset(),
        }
    }
}

impl Current {
    fn new(kind: Kind, classification: Classification) -> Current {
        Current {
            kind,
            classification,
            statement: None,
            is_one_way: false,
            leaves_conditions: false,
            is_about_tracking: false,
            at: Side::Server,
            rolls_back: false,
            keeps_conditions: false,
            findings: Findings::UNSEEN,
            finds_one_row: false,
            replaces: Needs::NONE,
            may_replace: Needs::NONE,
            recounts: false,
            adds_conditions: false,
            ends_like_query: false,
            sets_for_itself: false,
            changes_unseen: false,
            state_changed: false,
            has_trackers: false,
            has_position: false,
            asks_what_was_drawn: false,
            may_insert: false,
            has_home_wait: false,
        }
    }

    /// Whether FOUND_ROWS() of a query before it outlives it.
    fn keeps_found_rows(&self) -> bool {
        self.findings.keep()
    }
}

/// The family of the servers that a session may meet, with the lowest version among them.
fn lowest_family(table: &RoutingTable, config: SplitConfig) -> sql::Family {
    let cluster = table.config.pool(config.read).cluster;
    let greetings =
        table.servers.iter().filter(|server| server.cluster == cluster).filter_map(|server| server.greeting.as_ref());
    let lowest = greetings.map(|greeting| greeting.version).min();
    let number = |version: version::ServerVersion| {
        u32::from(version.major) * 10_000 + u32::from(version.minor) * 100 + u32::from(version.patch)
    };
    match lowest {
        Some(version) if version.family == version::Family::MariaDb => {
            sql::Family::MariaDb { version: number(version) }
        }
        Some(version) => sql::Family::MySql { version: number(version) },
        None => sql::Family::MySql { version: 0 },
    }
}

#[cfg(test)]
mod tests;
