//! Which transactions a server has in its own history, so exactly that two histories can be told apart that have parted.
//!
//! A [`super::GtidPosition`] of MariaDB says how far a server is, by numbers alone: after a failover that lost the
//! transactions 7 and 8, the new primary writes other ones with these numbers. The state of its binary log tells who wrote
//! what.

use std::fmt;

use super::mariadb::Gtid;
use super::{MySqlPosition, bounded, parts};
use crate::protocol::reader::Malformed;

/// Writers of one history of MariaDB, in each domain.
const WRITERS_MAX: usize = 512;

/// All transactions that a server has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GtidHistory {
    /// The last transaction of each server in each domain.
    MariaDb(MariaDbHistory),
    /// Every transaction of each source.
    MySql(MySqlPosition),
}

/// The last transaction of each server in each domain.
///
/// Invariant: sorted by domain and server, each pair once, at most `WRITERS_MAX`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MariaDbHistory {
    last: Vec<Gtid>,
}

impl GtidHistory {
    /// Reads `@@gtid_binlog_state` and `@@gtid_slave_pos`: what a replica without `log_slave_updates` has applied is only
    /// in the second one.
    pub fn parse_mariadb(state: &[u8], applied: &[u8]) -> Result<GtidHistory, Malformed> {
        let mut history = MariaDbHistory::default();
        for part in parts(bounded(state)?).chain(parts(bounded(applied)?)) {
            history.add(Gtid::parse(part)?)?;
        }
        Ok(GtidHistory::MariaDb(history))
    }

    /// Reads `@@gtid_executed`.
    pub fn parse_mysql(executed: &[u8]) -> Result<GtidHistory, Malformed> {
        MySqlPosition::parse(bounded(executed)?).map(GtidHistory::MySql)
    }

    /// Reads what a history is printed as.
    pub fn parse(text: &[u8]) -> Result<GtidHistory, Malformed> {
        // No position of MariaDB has a colon, and each of MySQL has one.
        match text.contains(&b':') {
            true => GtidHistory::parse_mysql(text),
            false => GtidHistory::parse_mariadb(text, b""),
        }
    }

    /// Whether every transaction of `other` is surely in this one, too.
    pub fn covers(&self, other: &GtidHistory) -> bool {
        match (self, other) {
            (GtidHistory::MariaDb(mine), GtidHistory::MariaDb(theirs)) => mine.covers(theirs),
            (GtidHistory::MySql(mine), GtidHistory::MySql(theirs)) => mine.covers(theirs),
            (GtidHistory::MariaDb(_), GtidHistory::MySql(_)) | (GtidHistory::MySql(_), GtidHistory::MariaDb(_)) => {
                false
            }
        }
    }

    /// What this one has and `other` lacks; none if that is nothing. Of MariaDB only the last transaction of each server
    /// is named. Of a very broken set only the first parts are kept.
    pub fn beyond(&self, other: &GtidHistory) -> Option<GtidHistory> {
        let rest = match (self, other) {
            (GtidHistory::MariaDb(mine), GtidHistory::MariaDb(theirs)) => GtidHistory::MariaDb(mine.beyond(theirs)),
            (GtidHistory::MySql(mine), GtidHistory::MySql(theirs)) => GtidHistory::MySql(mine.beyond(theirs)),
            (GtidHistory::MariaDb(_), GtidHistory::MySql(_)) | (GtidHistory::MySql(_), GtidHistory::MariaDb(_)) => {
                self.clone()
            }
        };
        (!rest.is_empty()).then_some(rest)
    }

    /// What the server of number `own`, which has this history, has and `other` certainly lacks. A history of MariaDB that
    /// came with a backup does not name every writer: one that `other` does not name counts if it is the server itself, or
    /// has gone further than anybody there.
    pub fn astray_from(&self, other: &GtidHistory, own: u32) -> Option<GtidHistory> {
        match (self.beyond(other)?, other) {
            (GtidHistory::MariaDb(MariaDbHistory { mut last }), GtidHistory::MariaDb(theirs)) => {
                last.retain(|gtid| gtid.server == own || theirs.surely_lacks(gtid));
                let rest = GtidHistory::MariaDb(MariaDbHistory { last });
                (!rest.is_empty()).then_some(rest)
            }
            (rest, _) => Some(rest),
        }
    }

    /// Whether there is no transaction in it.
    pub fn is_empty(&self) -> bool {
        match self {
            GtidHistory::MariaDb(history) => history.last.is_empty(),
            GtidHistory::MySql(history) => history.is_empty(),
        }
    }
}

impl fmt::Display for GtidHistory {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GtidHistory::MariaDb(history) => history.last.iter().enumerate().try_for_each(|(index, gtid)| {
                let separator = if index == 0 { "" } else { "," };
                write!(out, "{separator}{gtid}")
            }),
            GtidHistory::MySql(history) => history.fmt(out),
        }
    }
}

impl MariaDbHistory {
    fn add(&mut self, gtid: Gtid) -> Result<(), Malformed> {
        match self.place(&gtid) {
            Ok(at) => self.last[at].sequence = self.last[at].sequence.max(gtid.sequence),
            Err(_) if self.last.len() == WRITERS_MAX => return Err(Malformed { field: "GTID writers" }),
            Err(at) => self.last.insert(at, gtid),
        }
        Ok(())
    }

    fn has(&self, theirs: &Gtid) -> bool {
        self.place(theirs).is_ok_and(|at| self.last[at].sequence >= theirs.sequence)
    }

    fn covers(&self, other: &MariaDbHistory) -> bool {
        other.last.iter().all(|theirs| self.has(theirs))
    }

    fn beyond(&self, other: &MariaDbHistory) -> MariaDbHistory {
        MariaDbHistory { last: self.last.iter().filter(|mine| !other.has(mine)).copied().collect() }
    }

    /// Whether a transaction that is not known to be in it is certainly not.
    fn surely_lacks(&self, gtid: &Gtid) -> bool {
        let mut of_domain = self.last.iter().filter(|known| known.domain == gtid.domain);
        self.place(gtid).is_ok() || of_domain.all(|known| known.sequence < gtid.sequence)
    }

    fn place(&self, gtid: &Gtid) -> Result<usize, usize> {
        self.last.binary_search_by_key(&(gtid.domain, gtid.server), |known| (known.domain, known.server))
    }
}
