//! Small results of text values, written for a client: answers that no server is asked for.

use super::{
    capability::Capabilities,
    collation::UTF8MB4_GENERAL_CI,
    packet::build_packet,
    response::{EOF_HEADER, EofPacket, OkPacket},
    status::StatusFlags,
    writer::Writer,
};

/// The type of every column here: VAR_STRING.
const VAR_STRING: u8 = 0xFD;

/// The longest value that a column is said to hold, in bytes.
const COLUMN_LENGTH: u32 = 1024;

/// Writes one result: the column definitions at once, then row by row, then the end.
pub struct TextResult<'a> {
    out: &'a mut Vec<u8>,
    /// Sequence id of the next packet.
    sequence: u8,
    /// Those of the client's connection: they decide how the result is framed.
    capabilities: Capabilities,
    /// What the end of the result says of the session.
    status: StatusFlags,
    column_count: usize,
}

impl<'a> TextResult<'a> {
    /// Writes the column count and the definitions; `sequence` is that of the first packet.
    pub fn begin(
        out: &'a mut Vec<u8>,
        sequence: u8,
        capabilities: Capabilities,
        status: StatusFlags,
        columns: &[&str],
    ) -> Self {
        assert!(!columns.is_empty(), "a result without columns is an OK packet");
        let mut result = Self { out, sequence, capabilities, status, column_count: columns.len() };
        result.packet(|writer| write_column_count(writer, capabilities, columns.len()));
        for name in columns {
            result.packet(|writer| write_definition(writer, capabilities, name));
        }
        if !capabilities.contains(Capabilities::DEPRECATE_EOF) {
            result.eof();
        }
        result
    }

    /// Writes a row; `None` is NULL.
    pub fn row(&mut self, values: &[Option<&[u8]>]) {
        assert_eq!(values.len(), self.column_count, "a row has a value for each column");
        self.packet(|writer| {
            for value in values {
                match value {
                    Some(bytes) => writer.lenenc_bytes(bytes),
                    None => writer.u8(0xFB),
                }
            }
        });
    }

    /// Writes the end; returns the sequence id of a packet that would follow.
    pub fn finish(mut self) -> u8 {
        if self.capabilities.contains(Capabilities::DEPRECATE_EOF) {
            let (capabilities, ok) = (self.capabilities, OkPacket { status: self.status, ..OkPacket::default() });
            let mut payload = Vec::new();
            ok.encode(EOF_HEADER, capabilities, &mut payload);
            self.packet(|writer| writer.bytes(&payload));
        } else {
            self.eof();
        }
        self.sequence
    }

    fn eof(&mut self) {
        let mut payload = Vec::with_capacity(EofPacket::LENGTH);
        EofPacket { warnings: 0, status: self.status }.encode(&mut payload);
        self.packet(|writer| writer.bytes(&payload));
    }

    fn packet(&mut self, build: impl FnOnce(&mut Writer<'_>)) {
        self.sequence = build_packet(self.out, self.sequence, build);
    }
}

fn write_column_count(writer: &mut Writer<'_>, capabilities: Capabilities, count: usize) {
    const DEFINITIONS_FOLLOW: u8 = 1;
    writer.lenenc(count as u64);
    if capabilities.intersects(Capabilities::OPTIONAL_RESULTSET_METADATA | Capabilities::MARIADB_CACHE_METADATA) {
        writer.u8(DEFINITIONS_FOLLOW);
    }
}

fn write_definition(writer: &mut Writer<'_>, capabilities: Capabilities, name: &str) {
    writer.lenenc_bytes(b"def");
    for schema_table_and_table_alias in [b""; 3] {
        writer.lenenc_bytes(schema_table_and_table_alias);
    }
    writer.lenenc_bytes(name.as_bytes());
    writer.lenenc_bytes(b"");
    if capabilities.contains(Capabilities::MARIADB_EXTENDED_METADATA) {
        writer.lenenc_bytes(b"");
    }
    writer.lenenc(0x0C);
    writer.u16(u16::from(UTF8MB4_GENERAL_CI));
    writer.u32(COLUMN_LENGTH);
    writer.u8(VAR_STRING);
    // Flags (none), decimals (none), and two bytes of filler.
    writer.zeros(5);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        command::ReplyShape,
        packet::{Peeked, peek_packet},
        reader::Reader,
        result_set::{Framing, Progress, Reply},
    };

    /// Capabilities that change how a result is framed.
    const FRAMING: [Capabilities; 5] = [
        Capabilities::DEPRECATE_EOF,
        Capabilities::OPTIONAL_RESULTSET_METADATA,
        Capabilities::MARIADB_CACHE_METADATA,
        Capabilities::MARIADB_EXTENDED_METADATA,
        Capabilities::SESSION_TRACK,
    ];

    fn write(capabilities: Capabilities) -> (Vec<u8>, u8) {
        let mut out = Vec::new();
        let mut result = TextResult::begin(&mut out, 1, capabilities, StatusFlags::AUTOCOMMIT, &["name", "value"]);
        result.row(&[Some(b"version"), Some(b"1")]);
        result.row(&[None, Some(b"")]);
        let next = result.finish();
        (out, next)
    }

    #[test]
    fn a_result_is_whole_in_every_framing() {
        for choice in 0..1 << FRAMING.len() {
            let chosen = FRAMING.iter().enumerate().filter(|(place, _)| choice >> place & 1 == 1);
            let capabilities = chosen.fold(Capabilities::NONE, |all, (_, one)| all | *one);
            let (out, next) = write(capabilities);
            let mut reply = Reply::new(ReplyShape::ResultSet, Framing::of(capabilities));
            let followed = reply.follow(&out).unwrap();
            assert_eq!(followed.consumed, out.len(), "{capabilities:?}");
            let Progress::Done(end) = followed.progress else { panic!("no end with {capabilities:?}") };
            assert_eq!(end.status, Some(StatusFlags::AUTOCOMMIT));
            assert_eq!(reply.next_sequence(), next);
        }
    }

    /// The payloads of a stream of packets.
    fn payloads(mut stream: &[u8]) -> Vec<&[u8]> {
        let mut payloads = Vec::new();
        while let Peeked::Complete { payload, length, .. } = peek_packet(stream, usize::MAX) {
            payloads.push(payload);
            stream = &stream[length..];
        }
        payloads
    }

    #[test]
    fn a_row_holds_values_and_nulls() {
        let (out, _) = write(Capabilities::DEPRECATE_EOF);
        let payloads = payloads(&out);
        assert_eq!(payloads[0], [2]);
        assert_eq!(payloads[3], b"\x07version\x011");
        assert_eq!(payloads[4], b"\xFB\x00");
    }

    #[test]
    fn a_definition_has_the_fields_of_a_server_s() {
        let (out, _) = write(Capabilities::NONE);
        let mut reader = Reader::new(payloads(&out)[1]);
        let texts: Vec<_> = (0..6).map(|_| reader.lenenc_bytes("text").unwrap()).collect();
        assert_eq!(texts, [&b"def"[..], b"", b"", b"", b"name", b""]);
        assert_eq!(reader.lenenc("length of what follows"), Ok(reader.len() as u64));
        assert_eq!(reader.u16("collation"), Ok(45));
    }
}
