//! Results of text values, read by whoever asked for them: answers to questions of our own.
//!
//! [`Reply`](super::result_set::Reply) says when an answer is whole, without keeping anything of it. This reads the bytes that
//! were gathered meanwhile. Column definitions, of which a server may send sixty for one row, are stepped over by their heads
//! and looked into only for a name that is asked for.

use super::{
    packet::{HEADER_LENGTH, Header},
    reader::{Malformed, Reader},
    response::{EOF_HEADER, ERR_HEADER, ErrPacket, OK_HEADER},
    result_set::Framing,
};

/// A value of a row; `None` is NULL.
pub type Value<'a> = Option<&'a [u8]>;

/// One result of an answer.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// Columns, and any number of rows.
    Rows(Rows<'a>),
    /// It was done; there are no columns.
    Done,
    /// The error that stands in place of a result, or of the end of its rows.
    Refused(ErrPacket),
}

/// The results of an answer in their order. One that is not whole ends them, as what cannot be a result does.
#[derive(Clone, Debug)]
pub struct Outcomes<'a> {
    rest: &'a [u8],
    framing: Framing,
}

/// The columns and rows of a whole result.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Packets, one a column; none, where the server left them out.
    definitions: &'a [u8],
    /// Packets, one a row.
    rows: &'a [u8],
}

impl<'a> Outcomes<'a> {
    /// Those in `bytes`, which begin with an answer on a connection with this framing.
    pub fn new(bytes: &'a [u8], framing: Framing) -> Self {
        Self { rest: bytes, framing }
    }

    fn rows_behind(&mut self, column_count: &[u8]) -> Option<Outcome<'a>> {
        let definitions = self.rest;
        for _ in 0..self.definition_count(column_count).ok()? {
            next_packet(&mut self.rest)?;
        }
        let definitions = &definitions[..definitions.len() - self.rest.len()];
        if !self.framing.deprecate_eof {
            next_packet(&mut self.rest).filter(|eof| eof.first() == Some(&EOF_HEADER))?;
        }
        let rows = self.rest;
        loop {
            let length = rows.len() - self.rest.len();
            let packet = next_packet(&mut self.rest)?;
            match *packet.first()? {
                EOF_HEADER => return Some(Outcome::Rows(Rows { definitions, rows: &rows[..length] })),
                ERR_HEADER => return refused(packet),
                _ => {}
            }
        }
    }

    fn definition_count(&self, head: &[u8]) -> Result<u64, Malformed> {
        let mut reader = Reader::new(head);
        let count = reader.lenenc("column count")?;
        let has_flag = self.framing.optional_metadata || self.framing.cache_metadata;
        let definitions_follow = !has_flag || reader.is_empty() || reader.u8("metadata flag")? != 0;
        Ok(if definitions_follow { count } else { 0 })
    }
}

impl<'a> Iterator for Outcomes<'a> {
    type Item = Outcome<'a>;

    fn next(&mut self) -> Option<Outcome<'a>> {
        let first = next_packet(&mut self.rest)?;
        match *first.first()? {
            OK_HEADER => Some(Outcome::Done),
            ERR_HEADER => refused(first),
            _ => self.rows_behind(first),
        }
    }
}

impl<'a> Rows<'a> {
    /// The names of the columns, as their definitions have them.
    pub fn names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        packets(self.definitions).map(|definition| name(definition).unwrap_or_default())
    }

    /// The values of each row. What is malformed ends a row.
    pub fn values(&self) -> impl Iterator<Item = Vec<Value<'a>>> + use<'a> {
        packets(self.rows).map(values)
    }
}

fn refused<'a>(payload: &[u8]) -> Option<Outcome<'a>> {
    ErrPacket::parse(payload).ok().map(Outcome::Refused)
}

fn name(definition: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(definition);
    for field in ["catalog", "schema", "table alias", "table"] {
        reader.lenenc_bytes(field)?;
    }
    reader.lenenc_bytes("column alias")
}

fn values(row: &[u8]) -> Vec<Value<'_>> {
    let mut reader = Reader::new(row);
    let value = || reader.lenenc_bytes_or_null("value").ok();
    std::iter::from_fn(value).collect()
}

fn packets(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || next_packet(&mut bytes))
}

/// The payload of the packet that `bytes` begin with, if it is whole. No answer has packets of several pieces.
fn next_packet<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let header = Header::parse(bytes).filter(|header| !header.is_continued())?;
    let (packet, rest) = bytes.split_at_checked(HEADER_LENGTH + header.payload_length as usize)?;
    *bytes = rest;
    Some(&packet[HEADER_LENGTH..])
}

/// Fuzz entry: the first byte chooses the framing, the second where the rest is cut. What is cut off changes nothing of the
/// results in front of it.
pub fn fuzz_text_answer(bytes: &[u8]) {
    let Some(([framing, cut], answer)) = bytes.split_first_chunk() else {
        return;
    };
    let framing = Framing { deprecate_eof: framing & 1 == 1, cache_metadata: framing & 2 == 2, ..Framing::default() };
    let start = &answer[..answer.len() * usize::from(*cut) / 255];
    let told = |bytes| -> Vec<String> { Outcomes::new(bytes, framing).map(told).collect() };
    assert!(told(answer).starts_with(&told(start)));
}

/// All that a result says, as words.
fn told(outcome: Outcome<'_>) -> String {
    match outcome {
        Outcome::Rows(rows) => {
            let names: Vec<_> = rows.names().collect();
            let values: Vec<_> = rows.values().collect();
            format!("{names:?} {values:?}")
        }
        Outcome::Done => "done".to_owned(),
        Outcome::Refused(error) => format!("{error:?}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{
        capability::Capabilities, command::ReplyShape, corpus, status::StatusFlags, text_result::TextResult,
    };

    const FRAMINGS: [Capabilities; 4] = [
        Capabilities::NONE,
        Capabilities::DEPRECATE_EOF,
        Capabilities::MARIADB_CACHE_METADATA,
        Capabilities::DEPRECATE_EOF.with(Capabilities::OPTIONAL_RESULTSET_METADATA),
    ];

    /// Two results, of which the second one has no row.
    fn two_results(capabilities: Capabilities) -> Vec<u8> {
        let mut out = Vec::new();
        let more = StatusFlags::AUTOCOMMIT | StatusFlags::MORE_RESULTS;
        let mut first = TextResult::begin(&mut out, 1, capabilities, more, &["name", "value"]);
        first.row(&[Some(b"version"), Some(b"1")]);
        first.row(&[None, Some(b"")]);
        let next = first.finish();
        TextResult::begin(&mut out, next, capabilities, StatusFlags::AUTOCOMMIT, &["Master_Host"]).finish();
        out
    }

    fn all(bytes: &[u8], capabilities: Capabilities) -> Vec<String> {
        Outcomes::new(bytes, Framing::of(capabilities)).map(told).collect()
    }

    #[test]
    fn names_and_values_are_read_in_every_framing() {
        for capabilities in FRAMINGS {
            let out = two_results(capabilities);
            let mut outcomes = Outcomes::new(&out, Framing::of(capabilities));
            let Some(Outcome::Rows(first)) = outcomes.next() else { panic!("no result with {capabilities:?}") };
            assert_eq!(first.names().collect::<Vec<_>>(), [&b"name"[..], b"value"]);
            let values: Vec<_> = first.values().collect();
            assert_eq!(values, [[Some(&b"version"[..]), Some(b"1")], [None, Some(b"")]]);
            let Some(Outcome::Rows(second)) = outcomes.next() else { panic!("no second result") };
            assert_eq!((second.names().collect::<Vec<_>>(), second.values().count()), (vec![&b"Master_Host"[..]], 0));
            assert!(outcomes.next().is_none());
        }
    }

    #[test]
    fn a_result_counts_when_it_is_whole() {
        let out = two_results(Capabilities::DEPRECATE_EOF);
        let whole = all(&out, Capabilities::DEPRECATE_EOF);
        for cut in 0..out.len() {
            let part = all(&out[..cut], Capabilities::DEPRECATE_EOF);
            assert!(part.len() < 2 && whole.starts_with(&part), "cut at {cut}: {part:?}");
        }
    }

    #[test]
    fn an_error_may_stand_in_place_of_a_result_or_of_its_end() {
        const ERROR: &[u8] = b"\x0A\0\0\x09\xFF\x86\x04#42000no";
        let out = two_results(Capabilities::DEPRECATE_EOF);
        let Some(second) = out.windows(4).rposition(|head| head[0] == 1 && head[1..3] == [0, 0]) else { panic!() };
        let behind_first = all(&[&out[..second], ERROR].concat(), Capabilities::DEPRECATE_EOF);
        assert!(behind_first.len() == 2 && behind_first[1].contains("1158"), "{behind_first:?}");
        let end = out.len() - 11;
        let in_place_of_the_end = all(&[&out[..end], ERROR].concat(), Capabilities::DEPRECATE_EOF);
        assert!(in_place_of_the_end.len() == 2 && in_place_of_the_end[1].contains("1158"), "{in_place_of_the_end:?}");
    }

    #[test]
    fn the_answers_of_real_servers_are_read_to_their_end() {
        let answers = corpus::replies().into_iter().filter(|reply| reply.shape == ReplyShape::ResultSet);
        let mut rows_of_the_table = 0;
        for reply in answers.filter(|reply| reply.title.starts_with("SELECT")) {
            let mut outcomes = Outcomes::new(&reply.bytes, reply.framing);
            for outcome in outcomes.by_ref() {
                let Outcome::Rows(rows) = outcome else { continue };
                let names: Vec<_> = rows.names().collect();
                let is_even = |values: Vec<_>| names.is_empty() || values.len() == names.len();
                assert!(rows.values().all(is_even), "{}", reply.title);
                if names == [b"a", b"b"] {
                    rows_of_the_table += rows.values().count();
                }
            }
            assert!(outcomes.rest.is_empty(), "{}", reply.title);
        }
        assert!(cfg!(miri) || rows_of_the_table > 0, "the names are those of the statements");
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_read_or_left(framing: u8, cut: u8, rest: Vec<u8>) {
            fuzz_text_answer(&[vec![framing, cut], rest].concat());
        }
    }
}
