//! MySQL: a set of transactions, as intervals of numbers for each source and tag.
//!
//! A later number says nothing about an earlier one: replicas may apply out of order, and group members draw their numbers
//! from blocks. So nothing is left out when two sets are compared.

use std::fmt;

use super::{Unmergeable, number, parts};
use crate::protocol::reader::Malformed;

/// Sources of one set, each tag counting as one. Every server that was ever a primary is one.
const SOURCES_MAX: usize = 512;

/// Intervals of one source. A server's own set has one or two, a session's grows with each of its writes.
const INTERVALS_MAX: usize = 64;

/// The largest transaction number of MySQL.
const NUMBER_MAX: u64 = i64::MAX as u64 - 1;

/// The longest tag.
const TAG_BYTES_MAX: usize = 32;

/// Transactions by source.
///
/// Invariant: sorted by source, each source once and with at least one interval, at most `SOURCES_MAX`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MySqlPosition {
    sources: Vec<Transactions>,
}

/// The transactions of one source.
///
/// Invariant: at most [`INTERVALS_MAX`] intervals, rising, with at least one number between any two.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Transactions {
    source: Source,
    intervals: Vec<Interval>,
}

/// Who numbers transactions: a server, and since MySQL 8.3 a tag that a session may choose.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Source {
    uuid: Uuid,
    /// Lower case; mostly empty.
    tag: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Uuid(u128);

/// Invariant: `1 <= first <= last <= NUMBER_MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    first: u64,
    last: u64,
}

impl MySqlPosition {
    /// Reads `uuid:1-5:7:tag:1-2,uuid:9`. A set with more intervals than are kept is refused: a server may lack
    /// what is between them.
    pub(super) fn parse(text: &[u8]) -> Result<MySqlPosition, Malformed> {
        let mut position = MySqlPosition::default();
        for part in parts(text) {
            position.parse_source(part)?;
        }
        Ok(position)
    }

    /// One server's part: its UUID, then intervals, before which a tag may stand.
    fn parse_source(&mut self, text: &[u8]) -> Result<(), Malformed> {
        let mut words = text.split(|byte| *byte == b':').map(<[u8]>::trim_ascii);
        let uuid = Uuid::parse(words.next().unwrap_or_default())?;
        let mut source = Source { uuid, tag: Box::from("") };
        let mut has_interval = true;
        for word in words {
            if word.first().is_some_and(u8::is_ascii_digit) {
                self.parse_interval(&source, word)?;
                has_interval = true;
            } else if has_interval {
                source.tag = parse_tag(word)?;
                has_interval = false;
            } else {
                return Err(Malformed { field: "GTID interval" });
            }
        }
        let is_source = has_interval && self.sources.iter().any(|known| known.source == source);
        if is_source { Ok(()) } else { Err(Malformed { field: "GTID interval" }) }
    }

    fn parse_interval(&mut self, source: &Source, word: &[u8]) -> Result<(), Malformed> {
        let interval = Interval::parse(word)?;
        let transactions = self.of(source).map_err(|Unmergeable| Malformed { field: "GTID sources" })?;
        transactions.add(interval);
        match transactions.intervals.len() <= INTERVALS_MAX {
            true => Ok(()),
            false => Err(Malformed { field: "GTID intervals" }),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    pub(super) fn covers(&self, other: &MySqlPosition) -> bool {
        let has = |theirs: &Transactions| {
            self.place(&theirs.source).is_ok_and(|at| {
                let mine = &self.sources[at];
                theirs.intervals.iter().all(|interval| mine.has(*interval))
            })
        };
        other.sources.iter().all(has)
    }

    pub(super) fn merge(&mut self, other: &MySqlPosition) -> Result<(), Unmergeable> {
        let new = other.sources.iter().filter(|theirs| self.place(&theirs.source).is_err()).count();
        if self.sources.len() + new > SOURCES_MAX {
            return Err(Unmergeable);
        }
        for theirs in &other.sources {
            let mine = self.of(&theirs.source)?;
            theirs.intervals.iter().for_each(|interval| {
                mine.add(*interval);
                mine.close_gaps();
            });
        }
        Ok(())
    }

    /// The transactions that `other` lacks, of each source the first [`INTERVALS_MAX`] intervals.
    pub(super) fn beyond(&self, other: &MySqlPosition) -> MySqlPosition {
        let rest = self.sources.iter().map(|mine| match other.place(&mine.source) {
            Ok(at) => mine.beyond(&other.sources[at]),
            Err(_) => mine.clone(),
        });
        MySqlPosition { sources: rest.filter(|transactions| !transactions.intervals.is_empty()).collect() }
    }

    /// The transactions of a source, which may be new.
    fn of(&mut self, source: &Source) -> Result<&mut Transactions, Unmergeable> {
        let at = match self.place(source) {
            Ok(at) => at,
            Err(_) if self.sources.len() == SOURCES_MAX => return Err(Unmergeable),
            Err(at) => {
                self.sources.insert(at, Transactions { source: source.clone(), intervals: Vec::new() });
                at
            }
        };
        Ok(&mut self.sources[at])
    }

    fn place(&self, source: &Source) -> Result<usize, usize> {
        self.sources.binary_search_by(|known| known.source.cmp(source))
    }
}

impl Transactions {
    fn has(&self, wanted: Interval) -> bool {
        let after = self.intervals.partition_point(|interval| interval.first <= wanted.first);
        after > 0 && self.intervals[after - 1].last >= wanted.last
    }

    fn beyond(&self, other: &Transactions) -> Transactions {
        let mut rest = Vec::new();
        for mine in &self.intervals {
            let mut first = mine.first;
            for theirs in other.intervals.iter().filter(|theirs| theirs.last >= mine.first && theirs.first <= mine.last)
            {
                if theirs.first > first {
                    rest.push(Interval { first, last: theirs.first - 1 });
                }
                first = theirs.last + 1;
            }
            if first <= mine.last {
                rest.push(Interval { first, last: mine.last });
            }
        }
        rest.truncate(INTERVALS_MAX);
        Transactions { source: self.source.clone(), intervals: rest }
    }

    /// Adds an interval, one with those it touches.
    fn add(&mut self, new: Interval) {
        let begin = self.intervals.partition_point(|interval| interval.last + 1 < new.first);
        let end = self.intervals.partition_point(|interval| interval.first <= new.last + 1);
        let touched = &self.intervals[begin..end];
        let first = touched.first().map_or(new.first, |interval| interval.first.min(new.first));
        let last = touched.last().map_or(new.last, |interval| interval.last.max(new.last));
        self.intervals.splice(begin..end, [Interval { first, last }]);
    }

    /// Keeps to the bound by filling the oldest gaps: a server that has the transactions around them has them, too, or
    /// will be taken for one that is behind. It is never taken for one that is further than it is.
    fn close_gaps(&mut self) {
        while self.intervals.len() > INTERVALS_MAX {
            let oldest = self.intervals.remove(0);
            self.intervals[0].first = oldest.first;
        }
    }
}

impl Uuid {
    /// Reads the 36 characters that servers print.
    fn parse(text: &[u8]) -> Result<Uuid, Malformed> {
        const DASHES: [usize; 4] = [8, 13, 18, 23];
        let malformed = Malformed { field: "GTID source" };
        if text.len() != 36 || DASHES.iter().any(|&at| text[at] != b'-') {
            return Err(malformed);
        }
        let digits = text.iter().enumerate().filter(|(at, _)| !DASHES.contains(at)).map(|(_, digit)| *digit);
        let value = digits
            .map(|digit| char::from(digit).to_digit(16))
            .try_fold(0_u128, |value, digit| Some(value << 4 | u128::from(digit?)));
        value.map(Uuid).ok_or(malformed)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        write!(out, "{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
    }
}

impl Interval {
    fn parse(text: &[u8]) -> Result<Interval, Malformed> {
        const FIELD: &str = "GTID interval";
        let dash = text.iter().position(|byte| *byte == b'-');
        let (first, last) = match dash {
            Some(at) => (number(text[..at].trim_ascii(), FIELD)?, number(text[at + 1..].trim_ascii(), FIELD)?),
            None => {
                let only = number(text, FIELD)?;
                (only, only)
            }
        };
        match 1 <= first && first <= last && last <= NUMBER_MAX {
            true => Ok(Interval { first, last }),
            false => Err(Malformed { field: FIELD }),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(out, "{}", self.first),
            false => write!(out, "{}-{}", self.first, self.last),
        }
    }
}

/// A letter or `_`, then letters, digits and `_`; upper case means the same as lower.
fn parse_tag(text: &[u8]) -> Result<Box<str>, Malformed> {
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    let is_tag = text.first().is_some_and(is_letter)
        && text.len() <= TAG_BYTES_MAX
        && text.iter().all(|byte| is_letter(byte) || byte.is_ascii_digit());
    let text = std::str::from_utf8(text).ok().filter(|_| is_tag);
    text.map(|text| text.to_ascii_lowercase().into_boxed_str()).ok_or(Malformed { field: "GTID tag" })
}

impl fmt::Display for MySqlPosition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Transactions { source, intervals }) in self.sources.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(out, "{separator}{}", source.uuid)?;
            if !source.tag.is_empty() {
                write!(out, ":{}", source.tag)?;
            }
            intervals.iter().try_for_each(|interval| write!(out, ":{interval}"))?;
        }
        Ok(())
    }
}
