//! The shape of a reply whose exact bytes are the server's own: how many rows, and how many bytes of them.
//!
//! Deliberately not the library's follower: what a candidate passes on is judged here, so the two must not share a
//! mistake. It knows what a client with CLIENT_DEPRECATE_EOF gets, and packets below 16 MiB.

use super::fault::{Fault, refusal};
use crate::dataset::Shape;
use crate::wire::first_packet;

/// Takes a reply as it comes and says when it is over.
#[derive(Debug)]
pub(super) struct Follower {
    expected: Shape,
    stage: Stage,
    /// The start of a packet whose rest has not come.
    cut: Vec<u8>,
    rows: u32,
    row_bytes: u64,
    sequence: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    First,
    /// So many packets more that are not looked into.
    Definitions(u64),
    Rows,
    Over,
}

/// Whether more of the reply is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Over,
}

impl Follower {
    pub(super) fn new(expected: Shape) -> Follower {
        Follower { expected, stage: Stage::First, cut: Vec::new(), rows: 0, row_bytes: 0, sequence: 1 }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Progress, Fault> {
        let mut cut = std::mem::take(&mut self.cut);
        let taken = if cut.is_empty() {
            self.packets(bytes)?
        } else {
            cut.extend_from_slice(bytes);
            self.packets(&cut)?
        };
        let rest = if cut.is_empty() { &bytes[taken..] } else { &cut[taken..] };
        match self.stage {
            Stage::Over if rest.is_empty() => Ok(Progress::Over),
            Stage::Over => Err(strange(format!("{} bytes behind the reply", rest.len()))),
            Stage::First | Stage::Definitions(_) | Stage::Rows => {
                self.cut = rest.to_vec();
                Ok(Progress::More)
            }
        }
    }

    /// All whole packets of the reply at the start; returns their length.
    fn packets(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut taken = 0;
        while self.stage != Stage::Over
            && let Some((payload, sequence, length)) = first_packet(&bytes[taken..])
        {
            if sequence != self.sequence {
                return Err(strange(format!("packet {sequence} in place of {}", self.sequence)));
            }
            self.sequence = self.sequence.wrapping_add(1);
            self.packet(payload)?;
            taken += length;
        }
        Ok(taken)
    }

    fn packet(&mut self, payload: &[u8]) -> Result<(), Fault> {
        self.stage = match (self.stage, payload.first()) {
            (Stage::First | Stage::Rows, Some(0xFF)) => return Err(refusal(payload)),
            (Stage::First, Some(_)) => self.first(payload)?,
            (Stage::Definitions(left), _) => self.after_definition(left - 1),
            (Stage::Rows, Some(0xFE)) if payload.len() < 0xFF_FFFF => self.end()?,
            (Stage::Rows, Some(_)) => {
                self.rows += 1;
                self.row_bytes += payload.len() as u64;
                Stage::Rows
            }
            (Stage::First | Stage::Rows | Stage::Over, _) => return Err(strange("an empty packet".to_owned())),
        };
        Ok(())
    }

    fn first(&self, payload: &[u8]) -> Result<Stage, Fault> {
        match (self.expected, payload) {
            (Shape::Done { affected }, [0x00, count, ..]) if affected.is_none_or(|affected| affected == *count) => {
                Ok(Stage::Over)
            }
            (Shape::Rows { .. }, [columns @ 1..=0xFA]) => Ok(Stage::Definitions(u64::from(*columns))),
            (Shape::Prepared { parameters, columns }, [0x00, _, _, _, _, found @ ..])
                if found.starts_with(&[columns, 0, parameters, 0]) =>
            {
                Ok(self.after_definition(u64::from(columns) + u64::from(parameters)))
            }
            (Shape::Done { .. } | Shape::Rows { .. } | Shape::Prepared { .. }, _) => {
                Err(strange(format!("a reply that starts with {:02x?}", &payload[..payload.len().min(9)])))
            }
        }
    }

    fn after_definition(&self, left: u64) -> Stage {
        match (left, self.expected) {
            (0, Shape::Prepared { .. }) => Stage::Over,
            (0, Shape::Rows { .. } | Shape::Done { .. }) => Stage::Rows,
            (left, _) => Stage::Definitions(left),
        }
    }

    fn end(&self) -> Result<Stage, Fault> {
        let found = Shape::Rows { rows: self.rows, bytes: self.row_bytes };
        if found == self.expected {
            Ok(Stage::Over)
        } else {
            Err(strange(format!("{found:?} in place of {:?}", self.expected)))
        }
    }
}

fn strange(what: String) -> Fault {
    Fault::WrongShape(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Table;
    use crate::reply::Replies;
    use crate::wire::{ReplyWriter, ResultEnd, SessionState};

    /// Follows the bytes in pieces of every size.
    fn check(shape: Shape, bytes: &[u8], expected: Result<(), &str>) {
        for size in 1..=bytes.len() {
            let mut follower = Follower::new(shape);
            let mut progress = Ok(Progress::More);
            for piece in bytes.chunks(size) {
                progress = progress.and_then(|progress| match progress {
                    Progress::More => follower.take(piece),
                    Progress::Over => Err(strange("bytes behind the reply".to_owned())),
                });
            }
            match (&progress, expected) {
                (Ok(Progress::Over), Ok(())) => {}
                (Err(fault), Err(part)) if fault.to_string().contains(part) => {}
                (found, expected) => panic!("in pieces of {size}: {found:?} and not {expected:?}"),
            }
        }
    }

    #[test]
    fn the_stand_ins_replies_have_the_shape_that_is_asked_of_a_server() {
        let replies = Replies::new(ResultEnd::OkPacket, SessionState::Autocommit);
        check(Table::Point.text_shape(), replies.text(Table::Point), Ok(()));
        check(Table::Point.binary_shape(), replies.binary(Table::Point), Ok(()));
        check(Table::Point.prepare_shape(), replies.prepare(Table::Point), Ok(()));
    }

    #[test]
    fn a_lost_a_doubled_and_a_short_row_are_seen() {
        let reply = |rows: &[&[u8]]| {
            let mut writer = ReplyWriter::new(ResultEnd::OkPacket);
            writer.column_count(1);
            writer.column(b"c", crate::wire::ColumnType::Text);
            for row in rows {
                writer.text_row(&[row]);
            }
            writer.rows_end();
            writer.into_bytes()
        };
        let two_rows = Shape::Rows { rows: 2, bytes: 8 };
        check(two_rows, &reply(&[b"abc", b"def"]), Ok(()));
        check(two_rows, &reply(&[b"abc"]), Err("in place of"));
        check(two_rows, &reply(&[b"abc", b"def", b"def"]), Err("in place of"));
        check(two_rows, &reply(&[b"abc", b"de"]), Err("in place of"));
    }

    #[test]
    fn an_error_and_surplus_bytes_are_no_reply() {
        let mut writer = ReplyWriter::new(ResultEnd::OkPacket);
        writer.error(1146, b"42S02", "no such table");
        check(Table::Point.text_shape(), &writer.into_bytes(), Err("error 1146: no such table"));
        let mut surplus = Replies::new(ResultEnd::OkPacket, SessionState::Autocommit).text(Table::Point).to_vec();
        surplus.push(0);
        check(Table::Point.text_shape(), &surplus, Err("behind the reply"));
    }

    #[test]
    fn a_write_that_affected_another_number_of_rows_is_seen() {
        let mut writer = ReplyWriter::new(ResultEnd::OkPacket);
        writer.done(1);
        let reply = writer.into_bytes();
        check(Shape::Done { affected: Some(1) }, &reply, Ok(()));
        check(Shape::Done { affected: Some(0) }, &reply, Err("starts with"));
    }
}
