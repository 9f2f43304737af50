//! What the stand-in server answers to each command: the statements of [`Table`], the mix of reads and writes, and what a
//! monitor and a driver say around them.

use std::rc::Rc;

use super::Over;
use crate::case::Table;
use crate::program::{INSERT, UPDATE};
use crate::reply::{Replies, done_reply};
use crate::wire::{ColumnType, ReplyWriter, ResultEnd, SessionState};

/// What a reply depends on, besides its command.
#[derive(Clone, Copy)]
pub(super) struct Session {
    end: ResultEnd,
    state: SessionState,
}

impl Session {
    pub(super) fn new(end: ResultEnd) -> Session {
        Session { end, state: SessionState::Autocommit }
    }
}

/// Everything that can be answered.
pub(super) struct Answers {
    with_eof: [Replies; 2],
    with_ok: [Replies; 2],
    /// Nothing affected.
    ok: [Rc<[u8]>; 2],
    /// One row affected.
    changed: [Rc<[u8]>; 2],
}

/// In the order of their numbers, by which [`Answers`] has its replies.
const STATES: [SessionState; 2] = [SessionState::Autocommit, SessionState::InTransaction];

impl Answers {
    pub(super) fn new() -> Answers {
        Answers {
            with_eof: STATES.map(|state| Replies::new(ResultEnd::EofPackets, state)),
            with_ok: STATES.map(|state| Replies::new(ResultEnd::OkPacket, state)),
            ok: STATES.map(|state| done_reply(0, state)),
            changed: STATES.map(|state| done_reply(1, state)),
        }
    }

    fn replies(&self, session: Session) -> &Replies {
        match session.end {
            ResultEnd::EofPackets => &self.with_eof[session.state as usize],
            ResultEnd::OkPacket => &self.with_ok[session.state as usize],
        }
    }

    /// The reply to a command, or nothing where the protocol has none. COM_QUIT ends the connection.
    pub(super) fn to(&self, payload: &[u8], session: &mut Session) -> Result<Option<Rc<[u8]>>, Over> {
        let (&kind, body) = payload.split_first().ok_or(Over)?;
        let replies = self.replies(*session);
        Ok(Some(match kind {
            0x01 => return Err(Over),
            0x18 | 0x19 => return Ok(None), // COM_STMT_SEND_LONG_DATA, COM_STMT_CLOSE
            0x03 => match Table::ALL.into_iter().find(|table| table.statement() == body) {
                Some(table) => replies.text(table).clone(),
                None => self.to_statement(body, session),
            },
            0x16 => match Table::ALL.into_iter().find(|table| table.prepared_statement() == body) {
                Some(table) => replies.prepare(table).clone(),
                None => error(1295, b"HY000", "the stand-in server cannot prepare this"),
            },
            0x17 => match body.first_chunk().and_then(|id| Table::of_statement_id(u32::from_le_bytes(*id))) {
                Some(table) => replies.binary(table).clone(),
                None => error(1243, b"HY000", "Unknown prepared statement handler"),
            },
            0x02 | 0x0E | 0x1A => self.ok[session.state as usize].clone(), // COM_INIT_DB, COM_PING, COM_STMT_RESET
            0x1F => self.enter(SessionState::Autocommit, session),         // COM_RESET_CONNECTION
            _ => error(1047, b"08S01", "Unknown command"),
        }))
    }

    fn enter(&self, state: SessionState, session: &mut Session) -> Rc<[u8]> {
        session.state = state;
        self.ok[state as usize].clone()
    }

    /// The mix of reads and writes, and what a monitor and a driver say around the statements that count.
    fn to_statement(&self, statement: &[u8], session: &mut Session) -> Rc<[u8]> {
        let is_update = statement.strip_prefix(UPDATE).is_some_and(|row| row.iter().all(u8::is_ascii_digit));
        if is_update || statement == INSERT {
            return self.changed[session.state as usize].clone();
        }
        let statement = String::from_utf8_lossy(statement);
        let statement = statement.trim().trim_end_matches(';');
        let (verb, rest) = statement.split_once(char::is_whitespace).unwrap_or((statement, ""));
        match verb.to_ascii_lowercase().as_str() {
            "begin" => self.enter(SessionState::InTransaction, session),
            "commit" | "rollback" => self.enter(SessionState::Autocommit, session),
            "set" | "use" | "do" => self.ok[session.state as usize].clone(),
            "select" => {
                one_row(rest, *session).unwrap_or_else(|| error(1064, b"42000", "unknown to the stand-in server"))
            }
            _ => error(1064, b"42000", "unknown to the stand-in server"),
        }
    }
}

/// The row of `@@name, @@name AS alias, 1`, or nothing where one of them is not known.
fn one_row(expressions: &str, session: Session) -> Option<Rc<[u8]>> {
    let columns = expressions.split(',').map(|column| column_of(column.trim())).collect::<Option<Vec<_>>>()?;
    let mut writer = ReplyWriter::new(session.end).leaving(session.state);
    writer.column_count(u8::try_from(columns.len()).ok().filter(|count| *count < 0xFB)?);
    for (name, value) in &columns {
        let kind = if value.parse::<u64>().is_ok() { ColumnType::Integer } else { ColumnType::Text };
        writer.column(name.as_bytes(), kind);
    }
    writer.columns_end();
    writer.text_row(&columns.iter().map(|(_, value)| value.as_bytes()).collect::<Vec<_>>());
    writer.rows_end();
    Some(writer.into_bytes().into())
}

/// Name and value of one expression of a select list.
fn column_of(column: &str) -> Option<(&str, &'static str)> {
    let (expression, name) = match column.split_once(char::is_whitespace) {
        Some((expression, alias)) => (expression, alias.trim().trim_start_matches("AS ").trim_start_matches("as ")),
        None => (column, column),
    };
    let lower = expression.to_ascii_lowercase();
    let variable = lower.strip_prefix("@@").unwrap_or(&lower);
    let variable = variable.trim_start_matches("global.").trim_start_matches("session.");
    let (_, value) = VARIABLES.iter().find(|(known, _)| *known == variable)?;
    Some((name, value))
}

pub(super) const VERSION: &str = "8.0.40-stand-in";

const VARIABLES: [(&str, &str); 20] = [
    ("1", "1"),
    ("version()", VERSION),
    ("version", VERSION),
    ("version_comment", "sqluice bench"),
    ("max_allowed_packet", "67108864"),
    ("wait_timeout", "28800"),
    ("interactive_timeout", "28800"),
    ("socket", ""),
    ("hostname", "stand-in"),
    ("port", "3306"),
    ("read_only", "0"),
    ("super_read_only", "0"),
    ("innodb_read_only", "0"),
    ("server_id", "1"),
    ("server_uuid", "00000000-0000-0000-0000-000000000001"),
    ("gtid_mode", "OFF"),
    ("autocommit", "1"),
    ("sql_mode", ""),
    ("time_zone", "SYSTEM"),
    ("lower_case_table_names", "0"),
];

fn error(code: u16, state: &[u8; 5], message: &str) -> Rc<[u8]> {
    let mut writer = ReplyWriter::new(ResultEnd::OkPacket);
    writer.error(code, state, message);
    writer.into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(command: &[u8]) -> Option<Rc<[u8]>> {
        Answers::new()
            .to(command, &mut Session::new(ResultEnd::OkPacket))
            .ok()
            .expect("an answer, not the end of the connection")
    }

    fn first_byte(command: &[u8]) -> u8 {
        answer(command).expect("a reply")[4]
    }

    #[test]
    fn a_table_is_answered_without_a_copy() {
        let answers = Answers::new();
        let mut session = Session::new(ResultEnd::OkPacket);
        let reply = answers.to(b"\x03SELECT c FROM point WHERE id=4711", &mut session).ok().flatten();
        assert!(Rc::ptr_eq(&reply.expect("a reply"), answers.with_ok[0].text(Table::Point)));
    }

    #[test]
    fn a_monitor_gets_its_variables() {
        let reply =
            answer(b"\x03SELECT @@max_allowed_packet,@@wait_timeout, @@global.read_only AS ro").expect("a reply");
        assert_eq!(reply[4], 3);
        let row = b"\x0867108864\x0528800\x010";
        assert!(reply.windows(row.len()).any(|bytes| bytes == row));
        assert!(reply.windows(3).any(|bytes| bytes == b"\x02ro"));
    }

    #[test]
    fn what_is_not_known_is_an_error_and_not_silence() {
        assert_eq!(first_byte(b"\x03SELECT @@no_such_variable"), 0xFF);
        assert_eq!(first_byte(b"\x03DELETE FROM point"), 0xFF);
        assert_eq!(first_byte(b"\x17\x63\x00\x00\x00"), 0xFF);
        assert_eq!(first_byte(b"\x11user"), 0xFF);
    }

    #[test]
    fn a_transaction_shows_in_the_status_of_each_reply_until_it_ends() {
        let answers = Answers::new();
        let mut session = Session::new(ResultEnd::OkPacket);
        let update = [b"\x03", UPDATE, b"10007"].concat();
        let statements: [(&[u8], &[u8]); 5] = [
            (&update, b"\x00\x01\x00\x02\x00\x00\x00"),
            (b"\x03BEGIN", b"\x00\x00\x00\x03\x00\x00\x00"),
            (&update, b"\x00\x01\x00\x03\x00\x00\x00"),
            (b"\x03SELECT c FROM point WHERE id=4711", b"\xFE\x00\x00\x03\x00\x00\x00"),
            (b"\x03COMMIT", b"\x00\x00\x00\x02\x00\x00\x00"),
        ];
        for (statement, end) in statements {
            let reply = answers.to(statement, &mut session).ok().flatten().expect("a reply");
            assert!(reply.ends_with(end), "{}", String::from_utf8_lossy(statement));
        }
    }

    #[test]
    fn commands_without_a_reply_get_none_and_quit_ends() {
        assert_eq!(answer(b"\x19\x01\x00\x00\x00"), None);
        assert!(Answers::new().to(b"\x01", &mut Session::new(ResultEnd::OkPacket)).is_err());
    }
}
