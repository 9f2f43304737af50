//! A server that answers from memory: its own process, one thread, an epoll loop.
//!
//! It listens twice, as a primary and as a replica that has everything at once, and counts what it reads for each.
//!
//! It is not what is measured, so it must cost as little as it can and always the same: it lets everybody in, knows the
//! statements of the measured mixes and what a monitor asks, and sends replies that were built at the start. It stands on epoll
//! and not on the balancer's own ring, so that a change there does not change the server behind it too.

mod answers;
mod census;
mod select;
mod socket;

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use rustix::event::epoll;
use rustls::ServerConfig;

use answers::{Answers, Session};
use select::VERSION;
use socket::Socket;

pub(crate) use census::reads;

use crate::certificate::Certificate;
use crate::wire::{CLIENT_DEPRECATE_EOF, CLIENT_SESSION_TRACK, OK_PAYLOAD, ResultEnd, first_packet, write_packet};

/// Bytes taken from a socket at once: more than any command of the bench.
const READ_MAX: usize = 64 * 1024;
/// The largest command that is waited for; a longer one ends its connection.
const COMMAND_MAX: usize = 1024 * 1024;
/// Events handled in one turn.
const EVENTS_MAX: usize = 256;
/// The epoll values of the listening sockets; connections have their slot.
const PRIMARY: u64 = u64::MAX;
const REPLICA: u64 = u64::MAX - 1;

/// PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, CONNECT_WITH_DB, LONG_PASSWORD, LONG_FLAG, FOUND_ROWS, LOCAL_FILES,
/// IGNORE_SPACE, INTERACTIVE, multiple statements and results, PLUGIN_AUTH with long data, CONNECT_ATTRS, SESSION_TRACK
/// and DEPRECATE_EOF: what a MySQL 8.0 server offers, without compression and what changes the framing further.
const CAPABILITIES: u32 = 0x00BF_A78F | CLIENT_SSL | CLIENT_DEPRECATE_EOF;
const CLIENT_SSL: u32 = 1 << 11;
/// The length of what asks for TLS, which is the start of a login response.
const SSL_REQUEST: usize = 32;

/// What a client takes the server for, by the address where it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Primary,
    Replica,
}

/// Serves until the process is ended.
pub(crate) fn serve(primary: TcpListener, replica: Option<TcpListener>) -> io::Result<()> {
    let mut server = Server::new(primary, replica)?;
    let mut events = Vec::with_capacity(EVENTS_MAX);
    loop {
        server.turn(&mut events)?;
    }
}

struct Server {
    epoll: OwnedFd,
    primary: TcpListener,
    replica: Option<TcpListener>,
    /// Indexed by the epoll value; `None` is a free slot, and listed in `free`.
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    next_connection_id: u32,
    answers: Answers,
    tls: Arc<ServerConfig>,
    chunk: Box<[u8]>,
}

impl Server {
    fn new(primary: TcpListener, replica: Option<TcpListener>) -> io::Result<Server> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (listener, value) in [(Some(&primary), PRIMARY), (replica.as_ref(), REPLICA)] {
            let Some(listener) = listener else { continue };
            listener.set_nonblocking(true)?;
            epoll::add(&epoll, listener, epoll::EventData::new_u64(value), epoll::EventFlags::IN)?;
        }
        Ok(Server {
            epoll,
            primary,
            replica,
            connections: Vec::new(),
            free: Vec::new(),
            next_connection_id: 1,
            answers: Answers::new(),
            tls: own_certificate().map_err(io::Error::other)?,
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
                PRIMARY => self.accept(Role::Primary)?,
                REPLICA => self.accept(Role::Replica)?,
                slot => self.serve_connection(usize::try_from(slot).expect("a slot that this process chose")),
            }
        }
        Ok(())
    }

    fn accept(&mut self, role: Role) -> io::Result<()> {
        loop {
            let listener = match role {
                Role::Primary => Some(&self.primary),
                Role::Replica => self.replica.as_ref(),
            };
            let Some(listener) = listener else { return Ok(()) };
            let socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            self.greet(socket, role)?;
        }
    }

    fn greet(&mut self, socket: TcpStream, role: Role) -> io::Result<()> {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(slot as u64), epoll::EventFlags::IN)?;
        let mut connection = Connection::new(socket, role, self.tls.clone());
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
enum Stage {
    LoginResponse(Role, Arc<ServerConfig>),
    Command(Session),
}

struct Connection {
    socket: Socket,
    stage: Stage,
    /// The start of a command whose rest has not come, or commands that wait for `unsent`.
    received: Vec<u8>,
    /// A reply for which the socket had no room, and how much of it is sent. While there is one, nothing is read.
    unsent: Option<(Rc<[u8]>, usize)>,
}

impl Connection {
    fn new(socket: TcpStream, role: Role, tls: Arc<ServerConfig>) -> Connection {
        let (socket, stage) = (Socket::new(socket), Stage::LoginResponse(role, tls));
        Connection { socket, stage, received: Vec::new(), unsent: None }
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
                Stage::LoginResponse(_, tls) if payload.len() == SSL_REQUEST => {
                    self.socket.encrypt(tls.clone(), &bytes[answered + length..])?;
                    return Ok(bytes.len());
                }
                Stage::LoginResponse(role, _) => {
                    let role = *role;
                    self.welcome(payload, sequence, role)?;
                }
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
    fn welcome(&mut self, payload: &[u8], sequence: u8, role: Role) -> Result<(), Over> {
        let capabilities = u32::from_le_bytes(*payload.first_chunk().ok_or(Over)?);
        let end = match capabilities & CLIENT_DEPRECATE_EOF {
            0 => ResultEnd::EofPackets,
            _ => ResultEnd::OkPacket,
        };
        self.stage = Stage::Command(Session::new(end, role, capabilities & CLIENT_SESSION_TRACK != 0));
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
        match self.socket.flush() {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.unsent = Some((reply, sent));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn own_certificate() -> Result<Arc<ServerConfig>, Box<dyn Error + Send + Sync>> {
    Ok(Certificate::make()?.for_server()?)
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
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;
    use crate::dataset::Table;
    use crate::reply::{Replies, done_reply};
    use crate::wire::SessionState::Autocommit;

    /// Also the asking for TLS may come cut, or with the start of TLS behind it.
    #[test]
    fn tls_begins_where_it_is_asked_for() {
        let certificate = Certificate::make().expect("a certificate");
        let server = certificate.for_server().expect("a server with it");
        let client = certificate.for_client().expect("a client that trusts it");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let answers = Answers::new();
        let mut request = Vec::new();
        write_packet(&mut request, 1, &[CAPABILITIES.to_le_bytes().as_slice(), &[0; SSL_REQUEST - 4]].concat());
        for cut in 0..=request.len() + 1 {
            let mut tcp = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
            let (socket, _) = listener.accept().expect("accepted");
            socket.set_nonblocking(true).expect("a socket");
            let mut connection = Connection::new(socket, Role::Primary, server.clone());
            let host = crate::certificate::HOST.try_into().expect("a name");
            let mut tls = rustls::ClientConnection::new(client.clone(), host).expect("a client");
            let mut sent = request.clone();
            tls.write_tls(&mut sent).expect("a hello");
            for part in [&sent[..cut], &sent[cut..]].into_iter().filter(|part| !part.is_empty()) {
                tcp.write_all(part).expect("sent");
                let come = PollFd::new(&connection.socket, PollFlags::IN);
                poll(&mut [come], None).expect("something has come");
                assert!(connection.serve(&answers, &mut [0; 4096]).is_ok(), "cut at {cut}");
            }
            assert!(tls.read_tls(&mut tcp).is_ok_and(|count| count > 0), "cut at {cut}");
            tls.process_new_packets().expect("a server's hello");
            assert!(tls.peer_certificates().is_some(), "cut at {cut}");
        }
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
        expected.extend_from_slice(&done_reply(0, Autocommit));
        expected.extend_from_slice(Replies::new(ResultEnd::OkPacket, Autocommit).text(Table::Point));

        let tls = own_certificate().expect("a certificate");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        for cut in 0..=sent.len() {
            let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
            let (socket, _) = listener.accept().expect("accepted");
            let mut connection = Connection::new(socket, Role::Primary, tls.clone());
            for part in [&sent[..cut], &sent[cut..]] {
                assert!(connection.take_in(&answers, part).is_ok());
            }
            let mut received = vec![0; expected.len()];
            client.read_exact(&mut received).expect("every reply");
            assert_eq!(received, expected, "cut at {cut}");
        }
    }
}
