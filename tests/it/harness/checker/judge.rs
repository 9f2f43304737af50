//! What may not be, whatever happens to the servers: the books of the clients against the table, read by read and at the
//! end. Nothing here talks to anybody.

use std::collections::HashMap;
use std::fmt;

use super::client::{Diary, Fate, Phase, Write};

/// Something that a client was promised and did not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It was acknowledged, and is not there.
    Lost { client: u32, number: u32 },
    /// It is there more than once.
    Repeated { client: u32, number: u32, times: u32 },
    /// It was refused, and is there all the same.
    RefusedAndDone { client: u32, number: u32 },
    /// Of the rows of one transaction some are there and some are not.
    Torn { client: u32, first: u32 },
    /// Nobody has written it.
    Strange { client: u32, number: u32 },
    /// A read missed rows that the same session had been shown before.
    WentBackwards { client: u32, from: u32, to: u32 },
    /// A read missed what the same session had written before.
    MissedOwnWrite { client: u32, written: u32, highest: u32 },
    /// A statement got no answer at all.
    NoAnswer { client: u32, phase: Phase },
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Lost { client, number } => write!(out, "row {client}/{number} was acknowledged and is lost"),
            Fault::Repeated { client, number, times } => write!(out, "row {client}/{number} is there {times} times"),
            Fault::RefusedAndDone { client, number } => write!(out, "row {client}/{number} was refused and is there"),
            Fault::Torn { client, first } => write!(out, "the transaction of row {client}/{first} is there in part"),
            Fault::Strange { client, number } => write!(out, "row {client}/{number} was written by nobody"),
            Fault::WentBackwards { client, from, to } => {
                write!(out, "client {client} was shown {from} rows, and later in the same session {to}")
            }
            Fault::MissedOwnWrite { client, written, highest } => {
                write!(out, "client {client} wrote row {written}, and read {highest} as its last in the same session")
            }
            Fault::NoAnswer { client, phase } => write!(out, "client {client} got no answer {phase}"),
        }
    }
}

/// What a session has seen, so that a later read can be held against it.
#[derive(Debug, Default)]
pub(super) struct Watermark {
    rows: u32,
    /// The highest number that it was told is written.
    written: u32,
}

impl Watermark {
    pub(super) fn write(&mut self, number: u32) {
        self.written = self.written.max(number);
    }

    /// Takes in a read of `rows` rows; no row is ever deleted.
    pub(super) fn see(&mut self, client: u32, rows: u32, highest: u32) -> Option<Fault> {
        let before = std::mem::replace(&mut self.rows, rows);
        if rows < before {
            return Some(Fault::WentBackwards { client, from: before, to: rows });
        }
        (highest < self.written).then_some(Fault::MissedOwnWrite { client, written: self.written, highest })
    }
}

/// A row that is in the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    client: u32,
    number: u32,
    times: u32,
}

impl Stored {
    /// Client, number and count.
    pub(super) fn parse(row: &[Option<String>]) -> Stored {
        let number = |column: usize| row[column].as_deref().and_then(|text| text.parse().ok()).expect("a small number");
        Stored { client: number(0), number: number(1), times: number(2) }
    }
}

/// All faults of all clients, what `rows` shows at the end among them.
pub(super) fn faults(diaries: &[Diary], rows: &[Stored]) -> Vec<Fault> {
    let mut stored: HashMap<(u32, u32), u32> = rows.iter().map(|row| ((row.client, row.number), row.times)).collect();
    let mut faults = Vec::new();
    for diary in diaries {
        faults.extend(&diary.faults);
        for write in &diary.writes {
            let numbers = write.first..write.first + write.rows;
            let times: Vec<u32> = numbers.map(|number| stored.remove(&(diary.client, number)).unwrap_or(0)).collect();
            faults.extend(faults_of(diary.client, write, &times));
        }
    }
    // What is left is in nobody's books.
    let mut strangers: Vec<(u32, u32)> = stored.into_keys().collect();
    strangers.sort_unstable();
    faults.extend(strangers.into_iter().map(|(client, number)| Fault::Strange { client, number }));
    faults
}

/// `times` says how often each row of the write is there.
fn faults_of(client: u32, write: &Write, times: &[u32]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (number, &times) in (write.first..).zip(times) {
        match (write.fate, times) {
            (Fate::Acknowledged, 0) => faults.push(Fault::Lost { client, number }),
            (Fate::Refused, 1) => faults.push(Fault::RefusedAndDone { client, number }),
            (Fate::Acknowledged | Fate::Unknown, 1) | (Fate::Refused | Fate::Unknown, 0) => {}
            (_, times) => faults.push(Fault::Repeated { client, number, times }),
        }
    }
    let there = times.iter().filter(|&&times| times > 0).count();
    if write.fate == Fate::Unknown && there > 0 && there < times.len() {
        faults.push(Fault::Torn { client, first: write.first });
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::super::client::Kind;
    use super::*;

    fn check(fate: Fate, times: &[u32], expected: &[Fault]) {
        let write = Write { first: 7, rows: times.len() as u32, kind: Kind::Transaction, fate };
        let rows: Vec<Stored> = (7..)
            .zip(times)
            .filter(|(_, times)| **times > 0)
            .map(|(number, &times)| Stored { client: 3, number, times })
            .collect();
        let diary = Diary { client: 3, writes: vec![write], ..Diary::default() };
        assert_eq!(faults(&[diary], &rows), expected, "{fate:?} {times:?}");
    }

    #[test]
    fn what_was_said_of_a_write_is_held_against_the_table() {
        let (client, first) = (3, 7);
        check(Fate::Acknowledged, &[1, 1], &[]);
        check(Fate::Acknowledged, &[1, 0], &[Fault::Lost { client, number: 8 }]);
        check(Fate::Acknowledged, &[2], &[Fault::Repeated { client, number: 7, times: 2 }]);
        check(Fate::Refused, &[0, 0], &[]);
        check(Fate::Refused, &[1], &[Fault::RefusedAndDone { client, number: 7 }]);
        check(Fate::Unknown, &[0, 0], &[]);
        check(Fate::Unknown, &[1, 1], &[]);
        check(Fate::Unknown, &[0, 1], &[Fault::Torn { client, first }]);
        check(
            Fate::Unknown,
            &[2, 2].map(|times: u32| times),
            &[7, 8].map(|number| Fault::Repeated { client, number, times: 2 }),
        );
    }

    #[test]
    fn a_row_that_nobody_wrote_is_a_fault() {
        let rows = [Stored { client: 1, number: 4, times: 1 }];
        assert_eq!(faults(&[], &rows), [Fault::Strange { client: 1, number: 4 }]);
    }

    #[test]
    fn a_session_never_sees_less_than_before_or_than_it_wrote() {
        let mut watermark = Watermark::default();
        assert_eq!(watermark.see(0, 2, 2), None);
        watermark.write(3);
        assert_eq!(watermark.see(0, 2, 2), Some(Fault::MissedOwnWrite { client: 0, written: 3, highest: 2 }));
        assert_eq!(watermark.see(0, 3, 3), None);
        assert_eq!(watermark.see(0, 2, 3), Some(Fault::WentBackwards { client: 0, from: 3, to: 2 }));
    }
}
