//! Changes of session state, as an OK packet carries them for a client with SESSION_TRACK.

use super::{
    reader::{Malformed, Reader},
    writer::Writer,
};

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracker<'a> {
    /// Type 0: system variables that were set, as pairs of name and value.
    SystemVariables(VariableChanges<'a>),
    /// Type 1: the current database.
    Schema(&'a [u8]),
    /// Type 2: something in the session changed that no other tracker names.
    StateChange,
    /// Type 3, MySQL only: the GTIDs of the statement's transaction.
    Gtids(&'a [u8]),
    /// Type 4: the SQL text that begins a transaction like the current one.
    TransactionCharacteristics(&'a [u8]),
    /// Type 5: eight letters about what the transaction has done so far.
    TransactionState(&'a [u8]),
    /// Any other type, passed over by its length.
    Unknown(u8),
}

/// The changes in `trackers`; after a malformed one nothing more comes.
pub fn iterate(trackers: &[u8]) -> Trackers<'_> {
    Trackers { reader: Reader::new(trackers) }
}

/// Iterator over changes.
pub struct Trackers<'a> {
    reader: Reader<'a>,
}

impl Trackers<'_> {
    /// Bytes of the changes that come next.
    pub fn left(&self) -> usize {
        self.reader.len()
    }
}

impl<'a> Iterator for Trackers<'a> {
    type Item = Result<Tracker<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let tracker = parse_tracker(&mut self.reader);
        if tracker.is_err() {
            self.reader.rest();
        }
        Some(tracker)
    }
}

/// The changes that are kept, up to the first malformed one.
pub fn filtered(trackers: &[u8], is_kept: impl Fn(&Tracker<'_>) -> bool) -> Vec<u8> {
    let mut kept = Vec::with_capacity(trackers.len());
    let mut rest = iterate(trackers);
    let mut start = 0;
    while let Some(Ok(tracker)) = rest.next() {
        let end = trackers.len() - rest.left();
        if is_kept(&tracker) {
            kept.extend_from_slice(&trackers[start..end]);
        }
        start = end;
    }
    kept
}

/// Appends the change of a system variable.
pub fn append_variable(trackers: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let mut pair = Vec::with_capacity(name.len() + value.len() + 2);
    let mut writer = Writer::new(&mut pair);
    writer.lenenc_bytes(name);
    writer.lenenc_bytes(value);
    let mut writer = Writer::new(trackers);
    writer.u8(0);
    writer.lenenc_bytes(&pair);
}

/// Appends the change of the current database.
pub fn append_schema(trackers: &mut Vec<u8>, schema: &[u8]) {
    let mut name = Vec::with_capacity(schema.len() + 1);
    Writer::new(&mut name).lenenc_bytes(schema);
    let mut writer = Writer::new(trackers);
    writer.u8(1);
    writer.lenenc_bytes(&name);
}

fn parse_tracker<'a>(reader: &mut Reader<'a>) -> Result<Tracker<'a>, Malformed> {
    let kind = reader.u8("type of a session state change")?;
    let data = reader.lenenc_bytes("session state change")?;
    let mut inner = Reader::new(data);
    Ok(match kind {
        0 => Tracker::SystemVariables(VariableChanges { data }),
        1 => Tracker::Schema(inner.lenenc_bytes("schema")?),
        2 => Tracker::StateChange,
        3 => {
            // One byte of encoding, of which only text exists.
            inner.skip(1, "encoding of a GTID set")?;
            Tracker::Gtids(inner.lenenc_bytes("GTID set")?)
        }
        4 => Tracker::TransactionCharacteristics(inner.lenenc_bytes("transaction characteristics")?),
        5 => Tracker::TransactionState(inner.lenenc_bytes("transaction state")?),
        other => Tracker::Unknown(other),
    })
}

/// Pairs of name and value. Servers send one pair a change; there may be more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariableChanges<'a> {
    data: &'a [u8],
}

impl<'a> VariableChanges<'a> {
    /// The pairs, up to the first malformed one.
    pub fn iterate(self) -> super::attributes::Pairs<'a> {
        super::attributes::iterate(self.data)
    }
}

/// Fuzz entry: reading stops.
pub fn fuzz_session_track(bytes: &[u8]) {
    let mut count = 0;
    for tracker in iterate(bytes) {
        if let Ok(Tracker::SystemVariables(changes)) = tracker {
            count += changes.iterate().count();
        }
        count += 1;
    }
    assert!(count <= 2 * bytes.len());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(trackers: &[u8], expected: &[Result<Tracker<'_>, Malformed>]) {
        assert_eq!(iterate(trackers).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn each_kind_of_change_is_read() {
        check(b"\x01\x05\x04test", &[Ok(Tracker::Schema(b"test"))]);
        check(b"\x02\x011\x09\x01x", &[Ok(Tracker::StateChange), Ok(Tracker::Unknown(9))]);
        check(b"\x03\x06\x00\x04ab:1", &[Ok(Tracker::Gtids(b"ab:1"))]);
        check(b"\x05\x09\x08T_R_WsS_", &[Ok(Tracker::TransactionState(b"T_R_WsS_"))]);
    }

    #[test]
    fn variables_come_as_pairs() {
        let trackers = b"\x00\x0f\x0aautocommit\x03OFF";
        let Some(Ok(Tracker::SystemVariables(changes))) = iterate(trackers).next() else { panic!("variables") };
        assert_eq!(changes.iterate().collect::<Vec<_>>(), [(&b"autocommit"[..], &b"OFF"[..])]);
    }

    #[test]
    fn a_variable_is_written_as_it_is_read() {
        let mut trackers = b"\x02\x011".to_vec();
        append_variable(&mut trackers, b"autocommit", b"OFF");
        assert_eq!(trackers, b"\x02\x011\x00\x0f\x0aautocommit\x03OFF");
    }

    #[test]
    fn a_schema_is_written_as_it_is_read() {
        let mut trackers = Vec::new();
        append_schema(&mut trackers, b"test");
        assert_eq!(trackers, b"\x01\x05\x04test");
    }

    #[test]
    fn nothing_comes_after_a_malformed_change() {
        check(b"\x01\x05\x09test\x02\x011", &[Err(Malformed { field: "schema" })]);
        check(b"\x01", &[Err(Malformed { field: "session state change" })]);
    }

    proptest! {
        #[test]
        fn hostile_changes_are_read_to_their_end(bytes: Vec<u8>) {
            fuzz_session_track(&bytes);
        }
    }
}
