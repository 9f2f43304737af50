//! How far a server has come in its primary's history, and whether that is far enough: GTIDs of both families.
//!
//! A commit leaves a GTID in the reply of a session, a replica says which GTIDs it has applied. `covers` compares the two.
//! Positions of two families have nothing in common: neither covers the other, and they cannot be merged.

mod history;
mod mariadb;
mod mysql;

use std::fmt;
use std::time::Duration;

pub use history::{GtidHistory, MariaDbHistory};
pub use mariadb::MariaDbPosition;
pub use mysql::MySqlPosition;

use super::reader::Malformed;

/// Bytes of the text of a position. Longer ones have hundreds of sources; who has them is waited for by nobody.
pub const GTID_TEXT_BYTES_MAX: usize = 64 << 10;

/// Transactions that a server has, as it names them itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GtidPosition {
    /// The last sequence number of each domain: `0-1-4,1-2-9`.
    MariaDb(MariaDbPosition),
    /// Every transaction of each source: `3e11fa47-…:1-5:7`.
    MySql(MySqlPosition),
}

impl GtidPosition {
    /// Reads `@@gtid_slave_pos`, `@@gtid_binlog_pos` or `last_gtid` of MariaDB. An empty text is the empty position.
    pub fn parse_mariadb(text: &[u8]) -> Result<GtidPosition, Malformed> {
        MariaDbPosition::parse(bounded(text)?).map(GtidPosition::MariaDb)
    }

    /// Reads `@@gtid_executed` or the GTID tracker of MySQL. An empty text is the empty set.
    pub fn parse_mysql(text: &[u8]) -> Result<GtidPosition, Malformed> {
        MySqlPosition::parse(bounded(text)?).map(GtidPosition::MySql)
    }

    /// Whether there is no transaction in it.
    pub fn is_empty(&self) -> bool {
        match self {
            GtidPosition::MariaDb(position) => position.is_empty(),
            GtidPosition::MySql(position) => position.is_empty(),
        }
    }

    /// Whether every transaction of `other` is in this one, too. For MariaDB that means: in each domain at least as far.
    pub fn covers(&self, other: &GtidPosition) -> bool {
        match (self, other) {
            (GtidPosition::MariaDb(mine), GtidPosition::MariaDb(theirs)) => mine.covers(theirs),
            (GtidPosition::MySql(mine), GtidPosition::MySql(theirs)) => mine.covers(theirs),
            (GtidPosition::MariaDb(_), GtidPosition::MySql(_)) | (GtidPosition::MySql(_), GtidPosition::MariaDb(_)) => {
                false
            }
        }
    }

    /// Adds the transactions of `other`. Afterwards this one covers both; it may hold more than the two did, where
    /// keeping them apart would take too much room. After an error it is as it was.
    pub fn merge(&mut self, other: &GtidPosition) -> Result<(), Unmergeable> {
        match (self, other) {
            (GtidPosition::MariaDb(mine), GtidPosition::MariaDb(theirs)) => mine.merge(theirs),
            (GtidPosition::MySql(mine), GtidPosition::MySql(theirs)) => mine.merge(theirs),
            (GtidPosition::MariaDb(_), GtidPosition::MySql(_)) | (GtidPosition::MySql(_), GtidPosition::MariaDb(_)) => {
                Err(Unmergeable)
            }
        }
    }

    /// The statement that waits at a server until it has all of this: its one value is 0 when the server has it, and
    /// something else when `patience` ended first.
    pub fn wait_statement(&self, patience: Duration) -> String {
        let seconds = patience.as_secs_f64();
        match self {
            GtidPosition::MariaDb(position) => format!("SELECT MASTER_GTID_WAIT('{position}', {seconds:.3})"),
            GtidPosition::MySql(position) => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', {seconds:.3})"),
        }
    }
}

/// Prints the position as the servers' own functions take it; nothing in it needs quoting in an SQL text.
impl fmt::Display for GtidPosition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GtidPosition::MariaDb(position) => position.fmt(out),
            GtidPosition::MySql(position) => position.fmt(out),
        }
    }
}

/// Two positions have no common one: they are of two families, or have more domains or sources than are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmergeable;

fn bounded(text: &[u8]) -> Result<&[u8], Malformed> {
    let text = text.trim_ascii();
    if text.len() <= GTID_TEXT_BYTES_MAX { Ok(text) } else { Err(Malformed { field: "GTID position" }) }
}

/// A decimal number without sign.
fn number(digits: &[u8], field: &'static str) -> Result<u64, Malformed> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number);
    text.and_then(|text| text.parse().ok()).ok_or(Malformed { field })
}

/// The parts between commas; none of an empty text.
fn parts(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(move |_| !text.is_empty())
}

/// Fuzz entry: a position that was read is printed and read again as itself, covers itself, and merges to one that
/// covers both.
pub fn fuzz_gtid(bytes: &[u8]) {
    let (one, other) = bytes.split_at(bytes.len() / 2);
    for parse in [GtidPosition::parse_mariadb, GtidPosition::parse_mysql] {
        for text in [bytes, one, other] {
            let Ok(position) = parse(text) else { continue };
            assert_eq!(parse(position.to_string().as_bytes()).as_ref(), Ok(&position));
            assert!(position.covers(&position));
        }
        if let (Ok(mut merged), Ok(other)) = (parse(one), parse(other)) {
            let before = merged.clone();
            match merged.merge(&other) {
                Ok(()) => assert!(merged.covers(&before) && merged.covers(&other)),
                Err(Unmergeable) => assert_eq!(merged, before),
            }
        }
    }
    fuzz_histories(one, other);
}

/// What one history has beyond another is covered by the first and, unless it is nothing, not by the second.
fn fuzz_histories(one: &[u8], other: &[u8]) {
    let histories = [
        [GtidHistory::parse_mysql(one), GtidHistory::parse_mysql(other)],
        [GtidHistory::parse_mariadb(one, b""), GtidHistory::parse_mariadb(b"", other)],
    ];
    for [one, other] in histories {
        let (Ok(one), Ok(other)) = (one, other) else { continue };
        match one.beyond(&other) {
            Some(rest) => assert!(one.covers(&rest) && !other.covers(&rest)),
            None => assert!(other.covers(&one)),
        }
    }
}

#[cfg(test)]
mod tests;
