//! What servers do: they greet, answer well and badly, refuse and lie.

use std::collections::VecDeque;

use super::*;

/// Errors that mean something to a session, and one that does not.
const ERRORS: [(u16, &str); 12] = [
    (1064, "42000"),
    (1045, "28000"),
    (1040, "08004"),
    (1049, "42000"),
    (1053, "08S01"),
    (1205, "HY000"),
    (1213, "40001"),
    (1290, "HY000"),
    (1792, "25006"),
    (1243, "HY000"),
    (4196, "08004"),
    (1927, "70100"),
];

impl Play<'_> {
    /// One of the servers that there are.
    pub(super) fn with_server(&mut self, act: impl FnOnce(&mut Self, Side)) {
        let open: Vec<Side> = SIDES[1..].iter().copied().filter(|side| self.ends.is_open(*side)).collect();
        let choice = if open.len() > 1 { self.script.choice(open.len()) } else { 0 };
        if let Some(side) = open.get(choice) {
            act(self, *side);
        }
    }

    /// A whole login, as it mostly goes.
    pub(super) fn server_lets_in(&mut self) {
        self.with_server(|play, side| {
            play.says(side, &greeting_packet());
            let sequence = play.ends.next_sequence(side);
            play.says(side, &packet(sequence, &ok(StatusFlags::AUTOCOMMIT)));
        });
    }

    /// What a good server says to all that it was asked.
    pub(super) fn answers_well(&mut self, side: Side) {
        for _ in 0..self.ends.asked(side).map_or(0, VecDeque::len) {
            let Some(command) = self.ends.asked(side).and_then(|asked| asked.front().cloned()) else { return };
            self.answers(side, &command);
        }
    }

    fn answers(&mut self, side: Side, command: &[u8]) {
        let text = String::from_utf8_lossy(&command[1..]).into_owned();
        let status = self.ends.runs(side, command);
        let variables = text.matches("@@SESSION.").count();
        match command[0] {
            0x03 if variables > 0 && text.starts_with("SELECT") => self.result(side, 1, &vec!["0"; variables]),
            0x03 if text.contains("GTID_WAIT(") || text.contains("LAST_INSERT_ID()") => self.result(side, 1, &["0"]),
            0x03 if text.contains("@@GLOBAL.gtid") => self.result(side, 1, &["0-1-5"]),
            0x03 if text.contains("SELECT") => self.numbered_row(side, 1),
            0x16 => self.says(side, &packet(1, &[0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
            0x17 => self.numbered_row(side, 1),
            _ => self.says(side, &packet(1, &ok(status))),
        }
    }

    pub(super) fn ok(&mut self, side: Side) {
        const STATUS: [StatusFlags; 4] = [
            StatusFlags::AUTOCOMMIT,
            StatusFlags::IN_TRANS,
            StatusFlags::MORE_RESULTS,
            StatusFlags::NO_BACKSLASH_ESCAPES,
        ];
        let status = STATUS[self.script.choice(STATUS.len())];
        let sequence = self.ends.next_sequence(side);
        self.says(side, &packet(sequence, &ok(status)));
    }

    pub(super) fn rows(&mut self, side: Side) {
        let first = self.ends.next_sequence(side);
        self.numbered_row(side, first);
    }

    /// A result with a row that no other result has.
    fn numbered_row(&mut self, side: Side, first: u8) {
        self.numbered += 1;
        let row = Journal::row(self.numbered);
        self.row(side, first, 1, row);
    }

    fn result(&mut self, side: Side, first: u8, values: &[&str]) {
        let row = values.iter().flat_map(|value| [&[value.len() as u8], value.as_bytes()].concat()).collect();
        self.row(side, first, values.len(), row);
    }

    /// A result of one row.
    fn row(&mut self, side: Side, first: u8, columns: usize, row: Vec<u8>) {
        const COLUMN: &[u8] = b"\x03def\0\0\0\x01a\0\x0c\x2d\0\x01\0\0\0\xfd\0\0\0\0\0";
        let status = self.ends.status(side).0.to_le_bytes();
        let definitions = std::iter::repeat_n(COLUMN.to_vec(), columns);
        let end = [&[0xFE, 0, 0][..], &status, &[0, 0]].concat();
        let payloads = [vec![columns as u8]].into_iter().chain(definitions).chain([row, end]);
        let packets = payloads.enumerate().map(|(place, payload)| packet(first.wrapping_add(place as u8), &payload));
        self.says(side, &packets.collect::<Vec<_>>().concat());
    }

    pub(super) fn error(&mut self, side: Side) {
        let (code, state) = ERRORS[self.script.choice(ERRORS.len())];
        let payload = [&[0xFF][..], &code.to_le_bytes(), b"#", state.as_bytes(), b"no"].concat();
        let sequence = self.ends.next_sequence(side);
        self.says(side, &packet(sequence, &payload));
    }

    pub(super) fn servers_packet(&mut self, side: Side) {
        let payload = self.script.bytes();
        let sequence = self.ends.next_sequence(side);
        self.says(side, &packet(sequence, &payload));
    }
}
