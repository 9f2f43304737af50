//! What the stand-in server answers to each command: the statements of [`Table`], the mix of reads and writes, and what a
//! monitor and a driver say around them.

use std::cell::Cell;
use std::rc::Rc;

use super::census::{COM_STATISTICS, READS};
use super::select::{self, Facts};
use super::{Over, Role};
use crate::dataset::Table;
use crate::program::{INSERT, UPDATE};
use crate::reply::{Replies, done_reply};
use crate::wire::{ColumnType, ReplyWriter, ResultEnd, SessionState};

/// What a reply depends on, besides its command.
#[derive(Clone, Copy)]
pub(super) struct Session {
    end: ResultEnd,
    state: SessionState,
    role: Role,
    /// OK packets may tell of changes, as the client chose at login.
    has_trackers: bool,
    /// They do tell of committed transactions, as it set.
    tells_gtids: bool,
    /// Something was written in the transaction that is open.
    has_written: bool,
}

impl Session {
    pub(super) fn new(end: ResultEnd, role: Role, has_trackers: bool) -> Session {
        let state = SessionState::Autocommit;
        Session { end, state, role, has_trackers, tells_gtids: false, has_written: false }
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
    /// How often tables were read, by role.
    reads: [Cell<u64>; 2],
    /// The number of the last transaction.
    last_transaction: Cell<u64>,
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
            reads: Default::default(),
            last_transaction: Cell::new(1),
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
                Some(table) => self.read(replies.text(table), *session),
                None => self.to_statement(body, session),
            },
            0x16 => match Table::ALL.into_iter().find(|table| table.prepared_statement() == body) {
                Some(table) => replies.prepare(table).clone(),
                None => error(1295, b"HY000", "the stand-in server cannot prepare this"),
            },
            0x17 => match body.first_chunk().and_then(|id| Table::of_statement_id(u32::from_le_bytes(*id))) {
                Some(table) => self.read(replies.binary(table), *session),
                None => error(1243, b"HY000", "Unknown prepared statement handler"),
            },
            0x02 | 0x0E | 0x1A => self.ok[session.state as usize].clone(), // COM_INIT_DB, COM_PING, COM_STMT_RESET
            0x1F => {
                // COM_RESET_CONNECTION
                *session = Session::new(session.end, session.role, session.has_trackers);
                self.ok[session.state as usize].clone()
            }
            COM_STATISTICS => self.statistics(*session),
            _ => error(1047, b"08S01", "Unknown command"),
        }))
    }

    fn read(&self, reply: &Rc<[u8]>, session: Session) -> Rc<[u8]> {
        let reads = &self.reads[session.role as usize];
        reads.set(reads.get() + 1);
        reply.clone()
    }

    fn statistics(&self, session: Session) -> Rc<[u8]> {
        let mut writer = ReplyWriter::new(session.end);
        writer.packet(format!("{READS}{}", self.reads[session.role as usize].get()).as_bytes());
        writer.into_bytes().into()
    }

    /// A statement without rows that changed one, in a transaction or as one of its own.
    fn change(&self, session: &mut Session) -> Rc<[u8]> {
        match session.state {
            SessionState::InTransaction => {
                session.has_written = true;
                self.changed[session.state as usize].clone()
            }
            SessionState::Autocommit => self.commit(&self.changed, 1, session),
        }
    }

    /// A transaction that wrote is over: who asked for it is told its number.
    fn commit(&self, replies: &[Rc<[u8]>; 2], affected: u8, session: &mut Session) -> Rc<[u8]> {
        self.last_transaction.set(self.last_transaction.get() + 1);
        if !session.tells_gtids {
            return replies[session.state as usize].clone();
        }
        let mut writer = ReplyWriter::new(session.end).leaving(session.state);
        writer.committed(affected, select::gtid(self.last_transaction.get()).as_bytes());
        writer.into_bytes().into()
    }

    fn end_transaction(&self, commits: bool, session: &mut Session) -> Rc<[u8]> {
        session.state = SessionState::Autocommit;
        let has_written = std::mem::take(&mut session.has_written);
        if commits && has_written {
            return self.commit(&self.ok, 0, session);
        }
        self.ok[session.state as usize].clone()
    }

    fn set(&self, list: &str, session: &mut Session) -> Rc<[u8]> {
        if let Some(told) = select::assigned(list, "session_track_gtids") {
            session.tells_gtids = session.has_trackers && told.eq_ignore_ascii_case("OWN_GTID");
        }
        self.ok[session.state as usize].clone()
    }

    /// The mix of reads and writes, and what a monitor, a driver and a balancer say around the statements that count.
    fn to_statement(&self, statement: &[u8], session: &mut Session) -> Rc<[u8]> {
        let is_update = statement.strip_prefix(UPDATE).is_some_and(|row| row.iter().all(u8::is_ascii_digit));
        if is_update || statement == INSERT {
            return self.change(session);
        }
        let statement = String::from_utf8_lossy(statement);
        let statement = statement.trim().trim_end_matches(';');
        let (verb, rest) = statement.split_once(char::is_whitespace).unwrap_or((statement, ""));
        match verb.to_ascii_lowercase().as_str() {
            "begin" => {
                session.state = SessionState::InTransaction;
                self.ok[session.state as usize].clone()
            }
            "commit" => self.end_transaction(true, session),
            "rollback" => self.end_transaction(false, session),
            "set" => self.set(rest, session),
            "use" | "do" => self.ok[session.state as usize].clone(),
            "select" => match rest.strip_suffix(AND_REPLICA_STATUS) {
                Some(list) => self.row_and_replica_status(list, *session),
                None => self.one_row(rest, *session),
            }
            .unwrap_or_else(unknown),
            _ => unknown(),
        }
    }

    /// The row of a select list, or nothing where a part of it is not known.
    fn one_row(&self, list: &str, session: Session) -> Option<Rc<[u8]>> {
        let mut writer = ReplyWriter::new(session.end).leaving(session.state);
        write_rows(&mut writer, &select::columns(list, self.facts(session))?, 1)?;
        writer.rows_end();
        Some(writer.into_bytes().into())
    }

    /// The same, and behind it the status of replication, which a primary has no row of.
    fn row_and_replica_status(&self, list: &str, session: Session) -> Option<Rc<[u8]>> {
        let channels = match session.role {
            Role::Primary => 0,
            Role::Replica => 1,
        };
        let mut writer = ReplyWriter::new(session.end).leaving(session.state);
        write_rows(&mut writer, &select::columns(list, self.facts(session))?, 1)?;
        writer.rows_end_before_more();
        write_rows(&mut writer, &select::replica_status(self.last_transaction.get()), channels)?;
        writer.rows_end();
        Some(writer.into_bytes().into())
    }

    fn facts(&self, session: Session) -> Facts {
        Facts { role: session.role, last_transaction: self.last_transaction.get() }
    }
}

/// Columns and so many rows of their values, or nothing where a reply cannot have as many columns.
fn write_rows(writer: &mut ReplyWriter, columns: &[select::Column<'_>], rows: usize) -> Option<()> {
    writer.column_count(u8::try_from(columns.len()).ok().filter(|count| *count < 0xFB)?);
    for (name, value) in columns {
        let kind = if value.parse::<u64>().is_ok() { ColumnType::Integer } else { ColumnType::Text };
        writer.column(name.as_bytes(), kind);
    }
    writer.columns_end();
    let values: Vec<&[u8]> = columns.iter().map(|(_, value)| value.as_bytes()).collect();
    (0..rows).for_each(|_| writer.text_row(&values));
    Some(())
}

/// What a monitor puts behind a select list.
const AND_REPLICA_STATUS: &str = "; SHOW REPLICA STATUS";

fn unknown() -> Rc<[u8]> {
    error(1064, b"42000", "unknown to the stand-in server")
}

fn error(code: u16, state: &[u8; 5], message: &str) -> Rc<[u8]> {
    let mut writer = ReplyWriter::new(ResultEnd::OkPacket);
    writer.error(code, state, message);
    writer.into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(ResultEnd::OkPacket, Role::Primary, true)
    }

    fn answer(command: &[u8]) -> Option<Rc<[u8]>> {
        Answers::new().to(command, &mut session()).ok().expect("an answer, not the end of the connection")
    }

    fn first_byte(command: &[u8]) -> u8 {
        answer(command).expect("a reply")[4]
    }

    #[test]
    fn a_table_is_answered_without_a_copy() {
        let answers = Answers::new();
        let mut session = session();
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
    fn a_monitor_that_cuts_a_value_gets_the_value() {
        let reply = answer(b"\x03SELECT @@read_only, @@GLOBAL.gtid_mode, LEFT(@@GLOBAL.gtid_executed, 65537)");
        let reply = reply.expect("a reply");
        assert_eq!(reply[4], 3);
        let row = b"\x010\x02ON";
        let at = reply.windows(row.len()).position(|bytes| bytes == row).expect("the row");
        let value = &reply[at + row.len()..];
        let executed = select::executed(Answers::new().last_transaction.get());
        assert_eq!(value[1..=usize::from(value[0])], *executed.as_bytes());
    }

    #[test]
    fn a_monitor_that_asks_for_replication_gets_two_results() {
        let question = b"\x03SELECT @@read_only, @@server_id; SHOW REPLICA STATUS";
        let answers = Answers::new();
        let mut replica = Session::new(ResultEnd::OkPacket, Role::Replica, true);
        let told = answers.to(question, &mut replica).ok().flatten().expect("a reply");
        let count = |bytes: &[u8]| told.windows(bytes.len()).filter(|part| *part == bytes).count();
        assert_eq!(count(b"\x011\x012\x07\x00\x00\x05\xFE\x00\x00\x0A\x00\x00\x00"), 1, "its row, and more to come");
        assert_eq!(count(b"\x03Yes\x03Yes\x010\x010"), 1);
        let of_primary = answers.to(question, &mut session()).ok().flatten().expect("a reply");
        assert!(!of_primary.windows(3).any(|bytes| bytes == b"Yes"), "it replicates from nobody");
        assert!(of_primary.ends_with(b"\xFE\x00\x00\x02\x00\x00\x00"));
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
        let mut session = session();
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
    fn who_asked_is_told_of_what_it_commits() {
        let answers = Answers::new();
        let mut session = session();
        let mut ask = |statement: &[u8]| {
            let command = [b"\x03", statement].concat();
            answers.to(&command, &mut session).ok().flatten().expect("a reply")
        };
        assert_eq!(ask(INSERT)[5..], *b"\x01\x00\x02\x00\x00\x00");
        ask(b"SET SESSION session_track_schema=ON, SESSION session_track_gtids='OWN_GTID'");
        assert!(ask(INSERT).ends_with(b":3"));
        ask(b"BEGIN");
        assert_eq!(ask(INSERT)[5..], *b"\x01\x00\x03\x00\x00\x00");
        assert!(ask(b"COMMIT").ends_with(b":4"));
        ask(b"BEGIN");
        assert_eq!(ask(b"COMMIT")[5..], *b"\x00\x00\x02\x00\x00\x00", "nothing was written");
    }

    #[test]
    fn reads_are_counted_for_the_address_where_they_came() {
        let answers = Answers::new();
        let mut replica = Session::new(ResultEnd::OkPacket, Role::Replica, false);
        let read = [b"\x03", Table::Point.statement()].concat();
        for _ in 0..2 {
            assert!(answers.to(&read, &mut replica).is_ok());
        }
        assert!(answers.to(b"\x03SELECT 1", &mut replica).is_ok());
        let counted = |session: Session| answers.statistics(session)[4..].to_vec();
        assert_eq!((counted(session()), counted(replica)), (b"Table reads: 0".to_vec(), b"Table reads: 2".to_vec()));
    }

    #[test]
    fn commands_without_a_reply_get_none_and_quit_ends() {
        assert_eq!(answer(b"\x19\x01\x00\x00\x00"), None);
        assert!(Answers::new().to(b"\x01", &mut session()).is_err());
    }
}
