//! Replies as packet payloads.

use crate::protocol::capability::Capabilities;
use crate::protocol::error_code::ErrorCode;
use crate::protocol::response::{EOF_HEADER, EofPacket, ErrPacket, OK_HEADER, OkPacket};
use crate::protocol::status::StatusFlags;
use crate::protocol::writer::Writer;

use super::answer::{ColumnKind, Done};
use super::prepared::Prepared;
use super::refusal::Refusal;
use super::store::{Row, Value};

/// The types of tracked changes: of a system variable, and of the session's database.
const TRACKED_VARIABLE: u8 = 0;
const TRACKED_SCHEMA: u8 = 1;
/// Collations in column definitions: utf8mb4_general_ci, and that of numbers.
const COLLATION_TEXT: u16 = 45;
const COLLATION_BINARY: u16 = 63;
const TYPE_LONG_LONG: u8 = 0x08;
const TYPE_VAR_STRING: u8 = 0xFD;
/// A NULL in a text row, and the missing default value of a field list.
const NULL: u8 = 0xFB;

/// How rows are sent: for COM_QUERY, or for COM_STMT_EXECUTE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowForm {
    Text,
    Binary,
}

pub(super) fn ok(done: &Done, capabilities: Capabilities, status: StatusFlags) -> Vec<u8> {
    let variables = done.variables.iter().flat_map(|(name, value)| tracked_variable(name, value));
    let trackers: Vec<u8> = variables.chain(done.schema.iter().flat_map(|name| tracked_schema(name))).collect();
    let trackers = (!trackers.is_empty()).then_some(trackers);
    let packet =
        OkPacket { affected: done.affected, insert_id: done.insert_id, status, trackers, ..OkPacket::default() };
    let mut payload = Vec::new();
    packet.encode(OK_HEADER, capabilities, &mut payload);
    payload
}

fn tracked_variable(name: &str, value: &[u8]) -> Vec<u8> {
    let mut inner = Vec::new();
    let mut writer = Writer::new(&mut inner);
    writer.lenenc_bytes(name.as_bytes());
    writer.lenenc_bytes(value);
    let mut trackers = vec![TRACKED_VARIABLE];
    Writer::new(&mut trackers).lenenc_bytes(&inner);
    trackers
}

fn tracked_schema(name: &str) -> Vec<u8> {
    let mut inner = Vec::new();
    Writer::new(&mut inner).lenenc_bytes(name.as_bytes());
    let mut trackers = vec![TRACKED_SCHEMA];
    Writer::new(&mut trackers).lenenc_bytes(&inner);
    trackers
}

pub(super) fn error(refusal: &Refusal) -> Vec<u8> {
    error_with_state(refusal, Some(refusal.state()))
}

/// In place of the greeting an ERR has no SQL state: the client's capabilities are not known yet.
pub(super) fn error_before_greeting(refusal: &Refusal) -> Vec<u8> {
    error_with_state(refusal, None)
}

fn error_with_state(refusal: &Refusal, state: Option<[u8; 5]>) -> Vec<u8> {
    let mut payload = Vec::new();
    ErrPacket { code: ErrorCode(refusal.code()), state, message: refusal.message().into() }.encode(&mut payload);
    payload
}

/// The reply to COM_SET_OPTION, and the end of rows.
pub(super) fn end(capabilities: Capabilities, status: StatusFlags) -> Vec<u8> {
    if !capabilities.contains(Capabilities::DEPRECATE_EOF) {
        return eof(status);
    }
    let packet = OkPacket { status, ..OkPacket::default() };
    let mut payload = Vec::new();
    packet.encode(EOF_HEADER, capabilities, &mut payload);
    payload
}

fn eof(status: StatusFlags) -> Vec<u8> {
    let mut payload = Vec::new();
    EofPacket { warnings: 0, status }.encode(&mut payload);
    payload
}

/// The packets before the rows: how many columns, and what each is.
pub(super) fn result_head(
    columns: &[String],
    kinds: &[ColumnKind],
    capabilities: Capabilities,
    status: StatusFlags,
) -> Vec<Vec<u8>> {
    let mut count = Vec::new();
    Writer::new(&mut count).lenenc(columns.len() as u64);
    let mut packets = vec![count];
    packets.extend(columns.iter().zip(kinds).map(|(name, kind)| column_definition(name, *kind)));
    if !capabilities.contains(Capabilities::DEPRECATE_EOF) {
        packets.push(eof(status));
    }
    packets
}

/// The reply to COM_STMT_PREPARE.
pub(super) fn prepared(prepared: &Prepared, capabilities: Capabilities, status: StatusFlags) -> Vec<Vec<u8>> {
    let ends_lists = !capabilities.contains(Capabilities::DEPRECATE_EOF);
    let mut head = vec![OK_HEADER];
    let mut writer = Writer::new(&mut head);
    writer.u32(prepared.id);
    // At most the 64 columns of a table for each of the few items a statement can have room for.
    writer.u16(u16::try_from(prepared.columns.len()).unwrap_or(u16::MAX));
    writer.u16(prepared.parameter_count);
    writer.zeros(1);
    writer.u16(0);
    let mut packets = vec![head];
    if prepared.parameter_count > 0 {
        packets.extend((0..prepared.parameter_count).map(|_| column_definition("?", ColumnKind::Text)));
        packets.extend(ends_lists.then(|| eof(status)));
    }
    if !prepared.columns.is_empty() {
        packets.extend(prepared.columns.iter().map(|name| column_definition(name, ColumnKind::Text)));
        packets.extend(ends_lists.then(|| eof(status)));
    }
    packets
}

fn column_definition(name: &str, kind: ColumnKind) -> Vec<u8> {
    let (collation, length, code) = match kind {
        ColumnKind::Integer => (COLLATION_BINARY, 20, TYPE_LONG_LONG),
        ColumnKind::Text => (COLLATION_TEXT, 1 << 20, TYPE_VAR_STRING),
    };
    let mut payload = Vec::with_capacity(32 + name.len());
    let mut writer = Writer::new(&mut payload);
    writer.lenenc_bytes(b"def");
    // Schema, table and original table: nothing says where the value is from.
    for _ in 0..3 {
        writer.lenenc_bytes(b"");
    }
    writer.lenenc_bytes(name.as_bytes());
    writer.lenenc_bytes(b"");
    writer.lenenc(0x0C);
    writer.u16(collation);
    writer.u32(length);
    writer.u8(code);
    // Flags, decimals and a filler.
    writer.zeros(5);
    payload
}

/// One row.
pub(super) fn row(row: &Row, kinds: &[ColumnKind], form: RowForm) -> Vec<u8> {
    let mut payload = Vec::new();
    match form {
        RowForm::Text => text_row(row, &mut payload),
        RowForm::Binary => binary_row(row, kinds, &mut payload),
    }
    payload
}

fn text_row(row: &Row, payload: &mut Vec<u8>) {
    let mut writer = Writer::new(payload);
    for value in row {
        match value {
            Value::Null => writer.u8(NULL),
            Value::Integer(number) => writer.lenenc_bytes(number.to_string().as_bytes()),
            Value::Text(text) => writer.lenenc_bytes(text),
        }
    }
}

fn binary_row(row: &Row, kinds: &[ColumnKind], payload: &mut Vec<u8>) {
    // The bitmap of a row begins with two unused bits.
    let mut nulls = vec![0_u8; (row.len() + 2).div_ceil(8)];
    for (index, _) in row.iter().enumerate().filter(|(_, value)| **value == Value::Null) {
        nulls[(index + 2) / 8] |= 1 << ((index + 2) % 8);
    }
    let mut writer = Writer::new(payload);
    writer.u8(OK_HEADER);
    writer.bytes(&nulls);
    for (value, kind) in row.iter().zip(kinds) {
        match (value, kind) {
            (Value::Null, _) => {}
            (Value::Integer(number), ColumnKind::Integer) => writer.u64(number.cast_unsigned()),
            (Value::Integer(number), ColumnKind::Text) => writer.lenenc_bytes(number.to_string().as_bytes()),
            (Value::Text(text), _) => writer.lenenc_bytes(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_row_has_lengths_and_fb_for_null() {
        let values = vec![Value::Integer(-7), Value::Null, Value::text("ab")];
        assert_eq!(row(&values, &[], RowForm::Text), b"\x02-7\xFB\x02ab");
    }

    #[test]
    fn a_binary_row_has_its_nulls_in_a_bitmap_behind_two_unused_bits() {
        let values = vec![Value::Null, Value::Integer(7), Value::text("ab")];
        let kinds = [ColumnKind::Text, ColumnKind::Integer, ColumnKind::Text];
        assert_eq!(row(&values, &kinds, RowForm::Binary), b"\x00\x04\x07\0\0\0\0\0\0\0\x02ab");
    }

    #[test]
    fn a_change_of_database_is_tracked_for_clients_that_ask_for_it() {
        let done = Done { schema: Some("shop".into()), ..Done::default() };
        let tracked = ok(&done, Capabilities::PROTOCOL_41.with(Capabilities::SESSION_TRACK), StatusFlags::AUTOCOMMIT);
        assert_eq!(tracked, b"\x00\x00\x00\x02\x40\x00\x00\x00\x07\x01\x05\x04shop");
        let plain = ok(&done, Capabilities::PROTOCOL_41, StatusFlags::AUTOCOMMIT);
        assert_eq!(plain, b"\x00\x00\x00\x02\x00\x00\x00");
    }
}
