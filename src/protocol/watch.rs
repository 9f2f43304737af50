//! Stops a reply at the packets that say something of the session: an OK with state changes, an error in place of a
//! reply, the id of a prepared statement.
//!
//! Rows and everything else go by as in [`Reply::follow`]; only a packet that is stopped at must be there as a whole.

use super::{
    packet::{HEADER_LENGTH, Header},
    reader::{Malformed, Reader},
    response::{EOF_HEADER, ERR_HEADER, EofPacket, OK_HEADER},
    result_set::{Expected, Progress, Reply, ReplyError},
    status::StatusFlags,
};

/// The longest packet that is stopped at. The names and values of all variables of a session are far shorter.
pub const HELD_MAX: usize = 1 << 20;

/// Which packets to stop at, beside OK packets with state changes and the first one of a prepare reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// An error in place of a reply.
    pub errors: bool,
    /// EOF packets with the flag of state changes, which they have no room to tell of.
    pub changes_in_eof: bool,
    /// OK or EOF in place of a reply, whatever it says.
    pub counts: bool,
}

/// How far [`Reply::follow_watched`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Bytes that belong to the reply and may be passed on.
    pub consumed: usize,
    /// What comes next.
    pub event: Event,
}

/// What comes after the bytes that were followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// As without watching.
    Progress(Progress),
    /// A packet to look at, whole, header included. Show it to [`Reply::follow`] when that is done.
    Held {
        /// Bytes of the packet.
        length: usize,
        /// What it is.
        packet: Held,
    },
    /// Whether the next packet is one to look at shows when there are this many bytes of it.
    NeedBytes {
        /// Bytes wanted, from the first that was not consumed.
        at_least: usize,
    },
}

/// A packet that was stopped at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// OK.
    Ok,
    /// ERR in place of a reply.
    Error,
    /// The first one of a prepare reply.
    Prepared,
    /// EOF.
    Eof,
}

impl Reply {
    /// As [`Reply::follow`], but stops in front of packets to look at.
    ///
    /// # Errors
    /// As [`Reply::follow`]; and for a packet to look at of more than [`HELD_MAX`] bytes.
    pub fn follow_watched(&mut self, bytes: &[u8], watch: Watch) -> Result<Watched, ReplyError> {
        let (consumed, progress) =
            self.follow_until(bytes, |reply, rest| look(reply.expects(), rest, watch) != Look::Pass)?;
        let event = match progress {
            Some(progress) => Event::Progress(progress),
            None => match look(self.expects(), &bytes[consumed..], watch) {
                Look::Hold { length, packet } => Event::Held { length, packet },
                Look::NeedBytes { at_least } if at_least > HELD_MAX && consumed == 0 => {
                    return Err(Malformed { field: "session state changes" }.into());
                }
                Look::NeedBytes { at_least } => Event::NeedBytes { at_least },
                Look::Pass => unreachable!("it was stopped at"),
            },
        };
        Ok(Watched { consumed, event })
    }
}

/// What to do with the next packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Pass,
    NeedBytes { at_least: usize },
    Hold { length: usize, packet: Held },
}

/// Looks at the packet at the start of `rest`. The state and the first byte together tell what it is.
#[inline]
fn look(expected: Expected, rest: &[u8], watch: Watch) -> Look {
    if expected == Expected::Nothing || (expected == Expected::Eof && !watch.changes_in_eof) {
        return Look::Pass;
    }
    let Some(&[a, b, c, d, first_byte]) = rest.first_chunk() else {
        return if rest.starts_with(&[0, 0, 0]) { Look::Pass } else { Look::NeedBytes { at_least: HEADER_LENGTH + 1 } };
    };
    let header = Header::from_bytes([a, b, c, d]);
    let packet = match (expected, first_byte) {
        _ if header.payload_length == 0 || header.is_continued() => return Look::Pass,
        (Expected::Answer | Expected::Prepared, ERR_HEADER) if watch.errors => Held::Error,
        (Expected::Prepared, OK_HEADER) => Held::Prepared,
        (Expected::Answer, OK_HEADER) => Held::Ok,
        (Expected::Answer | Expected::RowsEnd, EOF_HEADER) if header.payload_length as usize > EofPacket::LENGTH => {
            Held::Ok
        }
        (Expected::Answer, EOF_HEADER) if watch.counts => Held::Eof,
        (Expected::Eof, EOF_HEADER) if header.payload_length as usize == EofPacket::LENGTH => Held::Eof,
        _ => return Look::Pass,
    };
    let length = HEADER_LENGTH + header.payload_length as usize;
    match rest.get(HEADER_LENGTH..length) {
        None => Look::NeedBytes { at_least: length },
        Some(_) if watch.counts && expected == Expected::Answer => Look::Hold { length, packet },
        Some(payload) if packet == Held::Ok && !says_something(payload) => Look::Pass,
        Some(payload) if packet == Held::Eof && !eof_says_something(payload) => Look::Pass,
        Some(_) => Look::Hold { length, packet },
    }
}

/// Whether an OK packet has state changes.
fn says_something(payload: &[u8]) -> bool {
    read_status(payload).is_ok_and(|status| status.contains(StatusFlags::SESSION_STATE_CHANGED))
}

fn eof_says_something(payload: &[u8]) -> bool {
    EofPacket::parse(payload).is_ok_and(|eof| eof.status.contains(StatusFlags::SESSION_STATE_CHANGED))
}

fn read_status(payload: &[u8]) -> Result<StatusFlags, Malformed> {
    let mut reader = Reader::new(payload);
    reader.u8("packet header")?;
    reader.lenenc("affected rows")?;
    reader.lenenc("insert id")?;
    Ok(StatusFlags(reader.u16("status flags")?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{
        capability::Capabilities, command::ReplyShape, packet::write_packet, response::OkPacket, result_set::Framing,
    };

    const WATCH: Watch = Watch { errors: true, changes_in_eof: false, counts: false };
    const WATCH_EOF: Watch = Watch { errors: false, changes_in_eof: true, counts: false };

    fn framing(deprecate_eof: bool) -> Framing {
        Framing { deprecate_eof, ..Framing::default() }
    }

    fn ok(header: u8, trackers: Option<&[u8]>, info: &[u8]) -> Vec<u8> {
        let ok = OkPacket {
            status: StatusFlags::AUTOCOMMIT,
            info: info.to_vec(),
            trackers: trackers.map(<[u8]>::to_vec),
            ..OkPacket::default()
        };
        let mut payload = Vec::new();
        ok.encode(header, Capabilities::SESSION_TRACK, &mut payload);
        payload
    }

    fn stream(payloads: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut sequence = 1;
        for payload in payloads {
            sequence = write_packet(&mut bytes, sequence, payload);
        }
        bytes
    }

    /// Follows a whole reply shown in pieces; gives what was held and where the reply ended.
    fn held(shape: ReplyShape, deprecate_eof: bool, watch: Watch, stream: &[u8], step: usize) -> (Vec<Held>, usize) {
        let mut reply = Reply::new(shape, framing(deprecate_eof));
        let (mut found, mut at, mut shown) = (Vec::new(), 0, 0);
        loop {
            shown = (shown + step).min(stream.len());
            loop {
                let watched = reply.follow_watched(&stream[at..shown], watch).expect("a good reply");
                at += watched.consumed;
                match watched.event {
                    Event::Progress(Progress::Done(_)) => return (found, at),
                    Event::Progress(_) => break,
                    Event::NeedBytes { at_least } => {
                        assert!(at_least > shown - at);
                        break;
                    }
                    Event::Held { length, packet } => {
                        found.push(packet);
                        at += reply.follow(&stream[at..at + length]).expect("a good packet").consumed;
                    }
                }
            }
            assert!(shown < stream.len(), "the reply has an end");
        }
    }

    fn check(shape: ReplyShape, deprecate_eof: bool, watch: Watch, payloads: &[&[u8]], expected: &[Held]) {
        let stream = stream(payloads);
        for step in (1..=stream.len()).take(100) {
            assert_eq!(held(shape, deprecate_eof, watch, &stream, step), (expected.to_vec(), stream.len()), "{step}");
        }
    }

    #[test]
    fn an_ok_is_held_only_when_it_says_something() {
        check(ReplyShape::ResultSet, true, WATCH, &[&ok(0, None, b"")], &[]);
        check(ReplyShape::ResultSet, true, WATCH, &[&ok(0, None, b"Rows matched: 1")], &[]);
        check(ReplyShape::ResultSet, true, WATCH, &[&ok(0, Some(b"\x02\x011"), b"")], &[Held::Ok]);
    }

    #[test]
    fn the_end_of_rows_is_held_where_it_is_an_ok() {
        let changed = ok(0xFE, Some(b"\x02\x011"), b"");
        let rows: [&[u8]; 4] = [b"\x01", b"\x03def definition", b"\x011", &changed];
        check(ReplyShape::ResultSet, true, WATCH, &rows, &[Held::Ok]);
        let eof: &[u8] = b"\xFE\0\0\x02\x40";
        check(ReplyShape::ResultSet, false, WATCH, &[b"\x01", b"\x03def definition", eof, b"\x011", eof], &[]);
    }

    #[test]
    fn eofs_are_held_only_when_they_say_something_and_somebody_wants_to_know() {
        let (plain, changed): (&[u8], &[u8]) = (b"\xFE\0\0\x02\0", b"\xFE\0\0\x02\x40");
        let rows = |first, last| [&b"\x01"[..], b"\x03def definition", first, b"\x011", b"\xFB", last];
        check(ReplyShape::ResultSet, false, WATCH_EOF, &rows(plain, plain), &[]);
        check(ReplyShape::ResultSet, false, WATCH_EOF, &rows(plain, changed), &[Held::Eof]);
        check(ReplyShape::ResultSet, false, WATCH_EOF, &rows(changed, changed), &[Held::Eof; 2]);
        check(ReplyShape::ResultSet, false, WATCH, &rows(changed, changed), &[]);
        // A row of a value of 16 KiB begins with what would be the flag.
        let long = [&[0xFC, 0, 0x40][..], &[0; 0x4000]].concat();
        check(ReplyShape::ResultSet, false, WATCH_EOF, &[b"\x01", b"\x03def", plain, &long, plain], &[]);
        let prepared: &[u8] = &[0, 9, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0];
        let reply = [prepared, b"\x03def", changed, b"\x03def", changed];
        check(ReplyShape::Prepare, false, WATCH_EOF, &reply, &[Held::Prepared, Held::Eof, Held::Eof]);
    }

    #[test]
    fn an_answer_is_held_whose_count_is_to_be_changed() {
        let watch = Watch { errors: false, changes_in_eof: false, counts: true };
        for deprecate_eof in [false, true] {
            check(ReplyShape::Simple, deprecate_eof, watch, &[&ok(0, None, b"")], &[Held::Ok]);
            check(ReplyShape::Simple, deprecate_eof, watch, &[&ok(0xFE, None, b"")], &[Held::Ok]);
            check(ReplyShape::Simple, deprecate_eof, watch, &[b"\xFE\0\0\x02\0"], &[Held::Eof]);
        }
    }

    #[test]
    fn errors_and_statement_ids_are_held() {
        let error: &[u8] = b"\xFF\x0A\x05#HY000read only";
        check(ReplyShape::ResultSet, true, WATCH, &[error], &[Held::Error]);
        check(ReplyShape::Prepare, true, WATCH, &[error], &[Held::Error]);
        check(ReplyShape::ResultSet, true, Watch { errors: false, ..WATCH }, &[error], &[]);
        check(ReplyShape::Prepare, true, WATCH, &[&[0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]], &[Held::Prepared]);
    }

    proptest! {
        #[test]
        fn hostile_replies_end_or_fail(bytes: Vec<u8>, deprecate_eof: bool) {
            let mut reply = Reply::new(ReplyShape::ResultSet, framing(deprecate_eof));
            let mut at = 0;
            while let Ok(watched) = reply.follow_watched(&bytes[at..], WATCH) {
                at += watched.consumed;
                match watched.event {
                    Event::Held { length, .. } => match reply.follow(&bytes[at..at + length]) {
                        Ok(followed) => at += followed.consumed,
                        Err(_) => break,
                    },
                    Event::NeedBytes { at_least } => {
                        assert!(at_least > bytes.len() - at);
                        break;
                    }
                    Event::Progress(_) => break,
                }
            }
        }
    }
}
