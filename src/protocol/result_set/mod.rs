//! Follows the reply to a command by the heads of its packets, and says where it ends and with which status.
//!
//! Rows are never parsed and nothing is stored: a header, one or two bytes of payload, and the rest is
//! skipped. Only the packets that begin or end something are looked at further, and of those at most
//! `HEAD_MAX` bytes. The bytes may be cut anywhere: that is what is dealt with here.
//!
//! What makes it more than counting packets is in `grammar`:
//! * the same first byte means different things at different places;
//! * with DEPRECATE_EOF there is no packet between column definitions and rows, and none at all behind the
//!   definitions of a prepare reply;
//! * where a server leaves column definitions out, the EOF packet behind them is still there.

mod grammar;

use std::fmt;

use super::{
    command::ReplyShape,
    packet::{HEADER_LENGTH, Header, HeaderParts, PAYLOAD_MAX},
    reader::Malformed,
    response::EOF_HEADER,
};

pub(super) use grammar::Expected;
pub use grammar::{Framing, ReplyEnd};
use grammar::{Grammar, State};

/// Bytes of a payload that are ever needed: header, two length-encoded integers, status and warnings of an OK packet.
const HEAD_MAX: usize = 23;

/// How far [`Reply::follow`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Bytes that belong to the reply and may be passed on.
    pub consumed: usize,
    /// What comes next.
    pub progress: Progress,
}

/// What comes after the bytes that were followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More of the reply. All bytes were consumed, except in front of a broken packet: the next call, with what
    /// was not consumed, gives the error.
    More,
    /// The server wants a file. The client answers with packets up to an empty one; then call
    /// [`Reply::infile_sent`]. A client that did not agree to LOCAL_FILES must not be asked.
    LocalInfile,
    /// Nothing: the reply is over.
    Done(ReplyEnd),
}

/// The server broke the protocol; the stream cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// A packet that begins or ends something is cut or lies.
    Malformed(Malformed),
    /// A packet that cannot stand at this place.
    Unexpected {
        /// Its first byte; `None` for an empty packet.
        first_byte: Option<u8>,
    },
}

impl From<Malformed> for ReplyError {
    fn from(malformed: Malformed) -> Self {
        ReplyError::Malformed(malformed)
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyError::Malformed(malformed) => malformed.fmt(formatter),
            ReplyError::Unexpected { first_byte: Some(byte) } => write!(formatter, "unexpected packet {byte:#04x}"),
            ReplyError::Unexpected { first_byte: None } => formatter.write_str("unexpected empty packet"),
        }
    }
}

impl std::error::Error for ReplyError {}

/// Follows one reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What the next packet is, or, inside a packet, the one after it.
    grammar: Grammar,
    position: Position,
    /// The head of a packet that was cut inside it; `Position::Head` says how much is there.
    head: [u8; HEAD_MAX],
    /// What an injected packet would have to carry.
    next_sequence: u8,
}

/// Where in a packet the bytes were cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// Between two packets.
    Between,
    /// In the header of a packet.
    Header(HeaderParts),
    /// In the head of a payload, of which `held` bytes are in `Reply::head`.
    Head { header: Header, held: u8 },
    /// Behind what is needed: `left` bytes of this piece go by unseen, and then another piece if `is_continued`.
    Body { left: u32, is_continued: bool },
    /// In the header of a later piece.
    NextPiece(HeaderParts),
}

impl Reply {
    /// Stands before the reply to a command of one packet.
    pub fn new(shape: ReplyShape, framing: Framing) -> Reply {
        Reply {
            grammar: Grammar::new(shape, framing),
            position: Position::Between,
            head: [0; HEAD_MAX],
            next_sequence: 1,
        }
    }

    /// Goes through `bytes` and stops behind the reply's last byte, behind a request for a file, or in front of
    /// a packet that cannot be.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<Followed, ReplyError> {
        let (consumed, progress) = self.follow_until(bytes, |_, _| false)?;
        Ok(Followed { consumed, progress: progress.expect("nothing stops it") })
    }

    /// The same, but stops as well between two packets where `stop`, shown what comes next, says so; then there is no
    /// progress to tell of.
    pub(super) fn follow_until(
        &mut self,
        bytes: &[u8],
        stop: impl Fn(&Reply, &[u8]) -> bool,
    ) -> Result<(usize, Option<Progress>), ReplyError> {
        let mut consumed = 0;
        loop {
            if self.position == Position::Between {
                match self.grammar.state() {
                    State::Over(end) => return Ok((consumed, Some(Progress::Done(end)))),
                    State::InfileWanted => return Ok((consumed, Some(Progress::LocalInfile))),
                    State::Row => consumed += self.skip_rows(&bytes[consumed..]),
                    _ => {}
                }
            }
            let rest = &bytes[consumed..];
            if rest.is_empty() {
                return Ok((consumed, Some(Progress::More)));
            }
            if self.position == Position::Between && stop(self, rest) {
                return Ok((consumed, None));
            }
            match self.advance(rest) {
                Ok(advanced) => consumed += advanced,
                // What came before is good and belongs to the client, so that an error can be put behind it.
                Err(_) if consumed > 0 && !self.is_inside_packet() => {
                    return Ok((consumed, Some(Progress::More)));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What the next packet may be, where it may be more than a row or a definition.
    pub(super) fn expects(&self) -> Expected {
        self.grammar.expects()
    }

    /// The server has asked for a file and not been told of its end.
    pub fn wants_file(&self) -> bool {
        self.grammar.state() == State::InfileWanted && self.position == Position::Between
    }

    /// The client's empty packet went by: OK, ERR or another result comes next.
    pub fn infile_sent(&mut self) {
        self.grammar.file_sent();
    }

    /// The sequence id of an ERR packet put behind what was followed: one more than the last header's.
    pub fn next_sequence(&self) -> u8 {
        self.next_sequence
    }

    /// Sets [`next_sequence`](Self::next_sequence) where packets of the client's were the last ones: before the
    /// reply to a command of several pieces, or after a file.
    pub fn set_sequence(&mut self, next: u8) {
        self.next_sequence = next;
    }

    /// Part of a packet was followed, and presumably passed on: nothing can be put behind it.
    pub fn is_inside_packet(&self) -> bool {
        self.position != Position::Between
    }

    /// The hot path: whole rows of one piece, as many as there are. Leaves alone what may be anything else.
    #[inline]
    fn skip_rows(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(&[a, b, c, d, first_byte]) = bytes[at..].first_chunk() {
            let header = Header::from_bytes([a, b, c, d]);
            let end = at + HEADER_LENGTH + header.payload_length as usize;
            let is_row = first_byte < EOF_HEADER && header.payload_length > 0 && !header.is_continued();
            if !is_row || end > bytes.len() {
                break;
            }
            self.next_sequence = header.sequence.wrapping_add(1);
            at = end;
        }
        at
    }

    /// Goes on by one step: a header, a head, or what there is of a payload. `bytes` are not empty.
    fn advance(&mut self, bytes: &[u8]) -> Result<usize, ReplyError> {
        match self.position {
            Position::Between => self.begin_packet(bytes),
            Position::Header(mut parts) => {
                let (taken, header) = parts.take(bytes);
                self.position = match header {
                    Some(header) => Position::Head { header, held: 0 },
                    None => Position::Header(parts),
                };
                // An empty packet has no byte that would bring us here again.
                if header.is_some_and(|header| header.payload_length == 0) {
                    self.take_head(&[])?;
                }
                Ok(taken)
            }
            Position::Head { .. } => self.take_head(bytes),
            Position::Body { left, is_continued } => {
                let skipped = bytes.len().min(left as usize);
                self.position = body(left - skipped as u32, is_continued);
                Ok(skipped)
            }
            Position::NextPiece(mut parts) => {
                let (taken, header) = parts.take(bytes);
                self.position = Position::NextPiece(parts);
                if let Some(header) = header {
                    self.next_sequence = header.sequence.wrapping_add(1);
                    self.position = body(header.payload_length, header.is_continued());
                }
                Ok(taken)
            }
        }
    }

    /// Takes header and head at once when both are there; otherwise goes on byte by byte.
    fn begin_packet(&mut self, bytes: &[u8]) -> Result<usize, ReplyError> {
        if let Some(header) = Header::parse(bytes) {
            let end = HEADER_LENGTH + head_length(header);
            if let Some(head) = bytes.get(HEADER_LENGTH..end) {
                self.begin_body(header, head)?;
                return Ok(end);
            }
        }
        self.position = Position::Header(HeaderParts::default());
        self.advance(bytes)
    }

    /// Gathers the head of a packet that was cut there.
    fn take_head(&mut self, bytes: &[u8]) -> Result<usize, ReplyError> {
        let Position::Head { header, held } = self.position else { unreachable!("only called inside a head") };
        let held = usize::from(held);
        let wanted = head_length(header);
        let taken = bytes.len().min(wanted - held);
        self.head[held..held + taken].copy_from_slice(&bytes[..taken]);
        self.position = Position::Head { header, held: (held + taken) as u8 };
        if held + taken == wanted {
            let head = self.head;
            self.begin_body(header, &head[..wanted])?;
        }
        Ok(taken)
    }

    /// Decides what a packet is, by its header and head. Changes nothing if it cannot be.
    fn begin_body(&mut self, header: Header, head: &[u8]) -> Result<(), ReplyError> {
        self.grammar.take(header, head)?;
        self.next_sequence = header.sequence.wrapping_add(1);
        self.position = body(header.payload_length - head.len() as u32, header.is_continued());
        Ok(())
    }
}

/// How much of a payload is needed.
fn head_length(header: Header) -> usize {
    HEAD_MAX.min(header.payload_length as usize)
}

/// The position before `left` bytes of a piece.
fn body(left: u32, is_continued: bool) -> Position {
    match (left, is_continued) {
        (0, false) => Position::Between,
        (0, true) => Position::NextPiece(HeaderParts::default()),
        (left, is_continued) => Position::Body { left, is_continued },
    }
}

const _: () = assert!(PAYLOAD_MAX > HEAD_MAX, "the head of a packet lies in its first piece");
const _: () = assert!(size_of::<Reply>() <= 64);

/// Fuzz entry: the first two bytes choose shape, framing and cut; cutting must not change what is found.
pub fn fuzz_reply(bytes: &[u8]) {
    const SHAPES: [ReplyShape; 7] = [
        ReplyShape::ResultSet,
        ReplyShape::Cursor,
        ReplyShape::Prepare,
        ReplyShape::Simple,
        ReplyShape::FieldList,
        ReplyShape::Fetch,
        ReplyShape::Statistics,
    ];
    let Some((&[choice, step], stream)) = bytes.split_first_chunk() else {
        return;
    };
    let shape = SHAPES[usize::from(choice & 0x0F) % SHAPES.len()];
    let framing = Framing {
        deprecate_eof: choice & 0x10 != 0,
        optional_metadata: choice & 0x20 != 0,
        cache_metadata: choice & 0x40 != 0,
        progress: choice & 0x80 != 0,
    };
    let whole = follow_all(Reply::new(shape, framing), stream, usize::MAX);
    assert_eq!(whole, follow_all(Reply::new(shape, framing), stream, usize::from(step).max(1)));
}

/// What became of a reply: the offsets of requests for files, and its end.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    files: Vec<usize>,
    /// Where the reply ended, and how; `None` if it did not, or broke.
    end: Option<(usize, ReplyEnd, u8)>,
    error: Option<ReplyError>,
}

/// Follows a reply that arrives in slices of `step` bytes. Files are taken for sent at once.
fn follow_all(mut reply: Reply, stream: &[u8], step: usize) -> Outcome {
    let mut outcome = Outcome { files: Vec::new(), end: None, error: None };
    let mut offset = 0;
    for mut slice in stream.chunks(step.min(stream.len().max(1))) {
        loop {
            let followed = match reply.follow(slice) {
                Ok(followed) => followed,
                Err(error) => {
                    outcome.error = Some(error);
                    return outcome;
                }
            };
            offset += followed.consumed;
            slice = &slice[followed.consumed..];
            match followed.progress {
                Progress::More if slice.is_empty() => break,
                Progress::More => assert!(!reply.is_inside_packet(), "only whole packets come before an error"),
                Progress::LocalInfile => {
                    outcome.files.push(offset);
                    reply.infile_sent();
                }
                Progress::Done(end) => {
                    outcome.end = Some((offset, end, reply.next_sequence()));
                    return outcome;
                }
            }
        }
    }
    outcome
}

#[cfg(test)]
mod tests;
