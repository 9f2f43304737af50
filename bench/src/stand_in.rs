//! A server that answers from memory: its own process, one thread, an epoll loop.
//!
//! It is not what is measured, so it must cost as little as it can and always the same: it lets everybody in, knows the
//! statements of [`Table`] and what a monitor asks, and sends replies that were built at the start. It stands on epoll
//! and not on the balancer's own ring, so that a change there does not change the server behind it too.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::event::epoll;

use crate::case::Table;
use crate::program::{INSERT, UPDATE};
use crate::reply::{Replies, done_reply};
use crate::wire::{
    CLIENT_DEPRECATE_EOF, ColumnType, OK_PAYLOAD, ReplyWriter, ResultEnd, SessionState, first_packet, write_packet,
};

/// Bytes taken from a socket at once: more than any command of the bench.
const READ_MAX: usize = 64 * 1024;
/// The largest command that is waited for; a longer one ends its connection.
const COMMAND_MAX: usize = 1024 * 1024;
/// Events handled in one turn.
const EVENTS_MAX: usize = 256;
/// The epoll value of the listening socket; connections have their slot.
const LISTENER: u64 = u64::MAX;

/// PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, CONNECT_WITH_DB, LONG_PASSWORD, LONG_FLAG, FOUND_ROWS, LOCAL_FILES,
/// IGNORE_SPACE, INTERACTIVE, multiple statements and results, PLUGIN_AUTH with long data, CONNECT_ATTRS, SESSION_TRACK
/// and DEPRECATE_EOF: what a MySQL 8.0 server offers, without TLS, compression and what changes the framing further.
const CAPABILITIES: u32 = 0x00BF_A78F | CLIENT_DEPRECATE_EOF;

/// Serves until the process is ended.
pub(crate) fn serve(listener: TcpListener) -> io::Result<()> {
    let mut server = Server::new(listener)?;
    let mut events = Vec::with_capacity(EVENTS_MAX);
    loop {
        server.turn(&mut events)?;
    }
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    /// Indexed by the epoll value; `None` is a free slot, and listed in `free`.
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    next_connection_id: u32,
    answers: Answers,
    chunk: Box<[u8]>,
}

impl Server {
    fn new(listener: TcpListener) -> io::Result<Server> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        Ok(Server {
            epoll,
            listener,
            connections: Vec::new(),
            free: Vec::new(),
            next_connection_id: 1,
            answers: Answers::new(),
            chunk: vec![0; READ_MAX].into_boxed_slice(),
        })
    }

    fn turn(&mut self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.iter() {
            match event.data.u64() {
                LISTENER => self.accept()?,
                slot => self.serve_connection(usize::try_from(slot).expect("a slot that this process chose")),
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            self.greet(socket)?;
        }
    }

    fn greet(&mut self, socket: TcpStream) -> io::Result<()> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(slot as u64), epoll::EventFlags::IN)?;
        let mut connection = Connection::new(socket);
        let greeting = greeting(self.next_connection_id);
        self.next_connection_id = self.next_connection_id.wrapping_add(1).max(1);
        match connection.send(greeting.into()) {
            Ok(()) => self.connections[slot] = Some(connection),
            Err(_) => self.free.push(slot),
        }
        Ok(())
    }

    fn serve_connection(&mut self, slot: usize) {
        // An event of a connection that ended earlier in this turn.
        let Some(connection) = &mut self.connections[slot] else {
            return;
        };
        let had_unsent = connection.unsent.is_some();
        let ended = connection.serve(&self.answers, &mut self.chunk).is_err();
        let interest = match (had_unsent, connection.unsent.is_some()) {
            (false, true) => Some(epoll::EventFlags::OUT),
            (true, false) => Some(epoll::EventFlags::IN),
            (false, false) | (true, true) => None,
        };
        let failed = interest.is_some_and(|interest| {
            let data = epoll::EventData::new_u64(slot as u64);
            epoll::modify(&self.epoll, connection.socket.as_fd(), data, interest).is_err()
        });
        if ended || failed {
            self.connections[slot] = None;
            self.free.push(slot);
        }
    }
}

/// The connection is over: the peer left, failed, or said what is not understood.
struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Over {
        Over
    }
}

/// What the next packet of a client is.
#[derive(Clone, Copy)]
enum Stage {
    LoginResponse,
    Command(Session),
}

/// What a reply depends on, besides its command.
#[derive(Clone, Copy)]
struct Session {
    end: ResultEnd,
    state: SessionState,
}

impl Session {
    fn new(end: ResultEnd) -> Session {
        Session { end, state: SessionState::Autocommit }
    }
}

struct Connection {
    socket: TcpStream,
    stage: Stage,
    /// The start of a command whose rest has not come, or commands that wait for `unsent`.
    received: Vec<u8>,
    /// A reply for which the socket had no room, and how much of it is sent. While there is one, nothing is read.
    unsent: Option<(Rc<[u8]>, usize)>,
}

impl Connection {
    fn new(socket: TcpStream) -> Connection {
        Connection { socket, stage: Stage::LoginResponse, received: Vec::new(), unsent: None }
    }

    fn serve(&mut self, answers: &Answers, chunk: &mut [u8]) -> Result<(), Over> {
        if let Some((reply, sent)) = self.unsent.take() {
            self.send_from(reply, sent)?;
            self.answer_received(answers)?;
        }
        // Once: what is left is told again by the next turn, and the other connections have theirs first.
        if self.unsent.is_none() {
            let count = match self.socket.read(chunk) {
                Ok(0) => return Err(Over),
                Ok(count) => count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            };
            self.take_in(answers, &chunk[..count])?;
        }
        Ok(())
    }

    fn take_in(&mut self, answers: &Answers, chunk: &[u8]) -> Result<(), Over> {
        if !self.received.is_empty() {
            self.received.extend_from_slice(chunk);
            return self.answer_received(answers);
        }
        let answered = self.answer(answers, chunk)?;
        self.received.extend_from_slice(&chunk[answered..]);
        Ok(())
    }

    fn answer_received(&mut self, answers: &Answers) -> Result<(), Over> {
        let received = std::mem::take(&mut self.received);
        let answered = self.answer(answers, &received)?;
        self.received = received;
        self.received.drain(..answered);
        if self.received.len() > COMMAND_MAX { Err(Over) } else { Ok(()) }
    }

    /// Answers the whole packets at the start of `bytes`, until one cannot be sent; returns their length.
    fn answer(&mut self, answers: &Answers, bytes: &[u8]) -> Result<usize, Over> {
        let mut answered = 0;
        while self.unsent.is_none()
            && let Some((payload, sequence, length)) = first_packet(&bytes[answered..])
        {
            match &mut self.stage {
                Stage::LoginResponse => self.welcome(payload, sequence)?,
                Stage::Command(session) => {
                    if let Some(reply) = answers.to(payload, session)? {
                        self.send(reply)?;
                    }
                }
            }
            answered += length;
        }
        Ok(answered)
    }

    /// Any name and any password will do.
    fn welcome(&mut self, payload: &[u8], sequence: u8) -> Result<(), Over> {
        let capabilities = u32::from_le_bytes(*payload.first_chunk().ok_or(Over)?);
        let end = match capabilities & CLIENT_DEPRECATE_EOF {
            0 => ResultEnd::EofPackets,
            _ => ResultEnd::OkPacket,
        };
        self.stage = Stage::Command(Session::new(end));
        let mut reply = Vec::new();
        write_packet(&mut reply, sequence.wrapping_add(1), &OK_PAYLOAD);
        self.send(reply.into())
    }

    fn send(&mut self, reply: Rc<[u8]>) -> Result<(), Over> {
        self.send_from(reply, 0)
    }

    fn send_from(&mut self, reply: Rc<[u8]>, mut sent: usize) -> Result<(), Over> {
        while sent < reply.len() {
            match self.socket.write(&reply[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.unsent = Some((reply, sent));
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Everything that can be answered.
struct Answers {
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
    fn new() -> Answers {
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
    fn to(&self, payload: &[u8], session: &mut Session) -> Result<Option<Rc<[u8]>>, Over> {
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

const VERSION: &str = "8.0.40-stand-in";

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

/// HandshakeV10 with mysql_native_password. The salt is always the same: no password is verified.
pub(crate) fn greeting(connection_id: u32) -> Vec<u8> {
    let capabilities = CAPABILITIES.to_le_bytes();
    let mut payload = vec![0x0A];
    payload.extend_from_slice(VERSION.as_bytes());
    payload.push(0);
    payload.extend_from_slice(&connection_id.to_le_bytes());
    payload.extend_from_slice(b"abcdefgh\0");
    payload.extend_from_slice(&capabilities[..2]);
    payload.extend_from_slice(&[0x2D, 0x02, 0x00]); // utf8mb4_general_ci, autocommit
    payload.extend_from_slice(&capabilities[2..]);
    payload.push(21);
    payload.extend_from_slice(&[0; 10]);
    payload.extend_from_slice(b"ijklmnopqrst\0");
    payload.extend_from_slice(b"mysql_native_password\0");
    let mut bytes = Vec::new();
    write_packet(&mut bytes, 0, &payload);
    bytes
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

    /// Commands arrive cut at any place, several at once, and are answered in order.
    #[test]
    fn answers_do_not_depend_on_how_commands_arrive() {
        let answers = Answers::new();
        let mut login = Vec::new();
        write_packet(&mut login, 1, &CAPABILITIES.to_le_bytes());
        let ping = crate::wire::command(0x0E, b"");
        let query = crate::wire::command(0x03, Table::Point.statement());
        let sent = [login, ping, query].concat();
        let mut expected = Vec::new();
        write_packet(&mut expected, 2, &OK_PAYLOAD);
        expected.extend_from_slice(&answers.ok[0]);
        expected.extend_from_slice(answers.with_ok[0].text(Table::Point));

        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        for cut in 0..=sent.len() {
            let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
            let mut connection = Connection::new(listener.accept().expect("accepted").0);
            for part in [&sent[..cut], &sent[cut..]] {
                assert!(connection.take_in(&answers, part).is_ok());
            }
            let mut received = vec![0; expected.len()];
            client.read_exact(&mut received).expect("every reply");
            assert_eq!(received, expected, "cut at {cut}");
        }
    }
}
