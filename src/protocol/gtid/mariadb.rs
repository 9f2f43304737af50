//! MariaDB: transactions of a domain are numbered in the order in which every server has them, so the last one tells all.

use std::cmp::Ordering;
use std::fmt;

use super::{Unmergeable, number, parts};
use crate::protocol::reader::Malformed;

/// Domains of one position. A domain is a stream of writes of its own; few sites have more than one.
const DOMAINS_MAX: usize = 256;

/// The last transaction of each domain.
///
/// Invariant: sorted by domain, each domain once, at most `DOMAINS_MAX`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MariaDbPosition {
    last: Vec<Gtid>,
}

/// One transaction: `domain-server-sequence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gtid {
    pub(super) domain: u32,
    /// Who wrote it first. It says nothing about how far a server is.
    pub(super) server: u32,
    pub(super) sequence: u64,
}

impl MariaDbPosition {
    /// Of a domain that is named twice, as `@@gtid_binlog_state` does for each server, the later transaction counts.
    pub(super) fn parse(text: &[u8]) -> Result<MariaDbPosition, Malformed> {
        let mut position = MariaDbPosition::default();
        for part in parts(text) {
            position.add(Gtid::parse(part)?).map_err(|Unmergeable| Malformed { field: "GTID domains" })?;
        }
        Ok(position)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    pub(super) fn covers(&self, other: &MariaDbPosition) -> bool {
        let has = |theirs: &Gtid| self.place(theirs.domain).is_ok_and(|at| self.last[at].sequence >= theirs.sequence);
        other.last.iter().all(has)
    }

    pub(super) fn merge(&mut self, other: &MariaDbPosition) -> Result<(), Unmergeable> {
        let new = other.last.iter().filter(|theirs| self.place(theirs.domain).is_err()).count();
        if self.last.len() + new > DOMAINS_MAX {
            return Err(Unmergeable);
        }
        other.last.iter().try_for_each(|theirs| self.add(*theirs))
    }

    fn add(&mut self, gtid: Gtid) -> Result<(), Unmergeable> {
        match self.place(gtid.domain) {
            Ok(at) if self.last[at].sequence.cmp(&gtid.sequence) == Ordering::Less => self.last[at] = gtid,
            Ok(_) => {}
            Err(_) if self.last.len() == DOMAINS_MAX => return Err(Unmergeable),
            Err(at) => self.last.insert(at, gtid),
        }
        Ok(())
    }

    fn place(&self, domain: u32) -> Result<usize, usize> {
        self.last.binary_search_by_key(&domain, |gtid| gtid.domain)
    }
}

impl Gtid {
    pub(super) fn parse(text: &[u8]) -> Result<Gtid, Malformed> {
        let mut numbers = text.split(|byte| *byte == b'-');
        let mut next = |field| number(numbers.next().unwrap_or_default(), field);
        let small = |number: u64, field| u32::try_from(number).map_err(|_| Malformed { field });
        let domain = small(next("GTID domain")?, "GTID domain")?;
        let server = small(next("GTID server")?, "GTID server")?;
        let sequence = next("GTID sequence")?;
        match numbers.next() {
            None => Ok(Gtid { domain, server, sequence }),
            Some(_) => Err(Malformed { field: "GTID" }),
        }
    }
}

impl fmt::Display for MariaDbPosition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, gtid) in self.last.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(out, "{separator}{gtid}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Gtid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gtid { domain, server, sequence } = self;
        write!(out, "{domain}-{server}-{sequence}")
    }
}
