//! One client's conversation, without I/O: bytes and events in, bytes and wishes out.
//!
//! A session goes through three rooms:
//!
//! 1. `frontend`: the client proves who it is, on our salt;
//! 2. `entering`: the worker looks for a server and connects to it, and we log in there as the client (`door`), or hear why not
//!    (`refusals`);
//! 3. `relay`: commands and replies pass through, followed by their heads only (`commands`, `exchange`); `carrying` does the rest
//!    (`errand` for KILL).
//!
//! COM_CHANGE_USER goes back to the first. [`Session::step`] is the hot path: it neither allocates nor queues while
//! commands and replies pass. Everything else is told by [`Session::handle`] and asked for by [`Session::poll_output`].
//!
//! A session knows neither sockets nor buffers, and the time only as it is told: the worker carries out what it asks.

mod carrying;
mod commands;
mod door;
mod ending;
mod entering;
mod errand;
mod errors;
mod exchange;
mod frontend;
mod hops;
mod input;
mod login;
mod moves;
mod onward;
mod output;
mod parting;
mod refusals;
mod relay;
mod salts;
mod severed;
mod split;

use std::{
    collections::VecDeque,
    fmt,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

pub use ending::Ending;
#[cfg(fuzzing)]
pub use fuzz::fuzz_session;
pub use input::{
    ClientWay, Displacement, DrainReason, Found, Input, KillTarget, KillTargets, LeaseFailure, Loan, ServerFacts,
    ServerWay, Side, Surroundings, TlsOffer,
};
pub use output::{HomeWant, LastReplica, Lead, Output, Parking, ReplicaWant, SharedWant, Step, Want};
pub use split::{Bond, RouteCounts, Stay};

use crate::{
    config::Entrance,
    latency::Tick,
    protocol::{
        auth::Credential,
        capability::Capabilities,
        packet::{Walker, write_packet},
        response::ErrPacket,
        status::StatusFlags,
    },
};

use entering::Entry;
use errand::KillsAsked;
use frontend::Frontend;
use relay::Relay;
use salts::Salts;

/// The number under which clients know their session: `CONNECTION_ID()` of the greeting, and what `KILL` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

impl SessionId {
    /// Servers count their connections from 1; ours start here, so that a number tells whose it is.
    const BASE: u32 = 0x4000_0000;
    const WORKER_SHIFT: u32 = 22;
    /// Workers that the number has room for.
    pub const WORKERS_MAX: usize = crate::config::limits::WORKERS_MAX;

    /// The number of a worker's `count`-th session; `count` wraps after 4 million.
    pub fn new(worker: usize, count: u32) -> SessionId {
        let worker = (worker % Self::WORKERS_MAX) as u32;
        SessionId(Self::BASE | worker << Self::WORKER_SHIFT | (count & ((1 << Self::WORKER_SHIFT) - 1)))
    }

    /// The session that a number given to `KILL` means, if it is one of ours and not a server's own.
    pub fn from_kill(id: u64) -> Option<SessionId> {
        let id = u32::try_from(id).ok()?;
        (id & !(Self::BASE - 1) == Self::BASE).then_some(SessionId(id))
    }

    /// The worker that has the session.
    pub fn worker(self) -> usize {
        ((self.0 & (Self::BASE - 1)) >> Self::WORKER_SHIFT) as usize
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a new session is made of.
#[derive(Debug)]
pub struct Birth {
    /// Its number.
    pub id: SessionId,
    /// The client's address as logs and error texts show it, without the port.
    pub host: Arc<str>,
    /// Its address; none behind a UNIX socket.
    pub origin: Option<IpAddr>,
    /// Random, for this session only.
    pub seed: [u8; 32],
    /// When the client connected.
    pub since: Instant,
    /// The time that a login may take, from then on.
    pub login_timeout: Duration,
    /// Where its statements are counted, if they are split.
    pub counts: Arc<RouteCounts>,
    /// Which way the client came in.
    pub entrance: Entrance,
    /// Whether the process has a place for it; if not, the client is told so after it has said who it is.
    pub admission: Admission,
    /// Who could listen to the client.
    pub way: ClientWay,
    /// The TLS that it is offered, if any.
    pub tls: Option<TlsOffer>,
}

/// Whether there is a place for one more session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// There is.
    Welcome,
    /// The process has all the sessions it may have.
    Full,
    /// The process is shutting down.
    Closing,
}

/// One client's conversation.
pub struct Session {
    id: SessionId,
    host: Arc<str>,
    origin: Option<IpAddr>,
    entrance: Entrance,
    salts: Salts,
    login_timeout: Duration,
    state: State,
    /// What client and we agreed on; empty until the client has answered our greeting.
    capabilities: Capabilities,
    /// Who the client proved to be.
    account: Option<Account>,
    /// The server in use, and the one used before it.
    server: Option<ServerFacts>,
    last_server: Option<Arc<str>>,
    outputs: VecDeque<Output>,
    deadline: Option<Instant>,
    draining: Option<DrainReason>,
    kills_asked: KillsAsked,
    /// The client goes where `redirect_url` in an OK sends it.
    is_follower: bool,
    commands: u64,
    /// Since when something under way, or left on its server, has tied it to that.
    tied_since: Option<Instant>,
    /// Counts the connections given back: with the session's number it names one of them.
    parkings: u64,
    /// When the command under way, or the last one, was passed on.
    asked_at: Tick,
    counts: Arc<RouteCounts>,
    client_way: ClientWay,
    tls: Option<TlsOffer>,
}

/// Who a client proved to be, and what logs in at servers in its name.
struct Account {
    user: Vec<u8>,
    /// The server's account, where it has another name than the client's.
    server_user: Option<Vec<u8>>,
    credential: Credential,
    /// Of the client's login.
    collation: u16,
    /// It has no entry of its own in the configuration.
    is_newcomer: bool,
}

impl Account {
    fn name_at_server(&self) -> &[u8] {
        self.server_user.as_deref().unwrap_or(&self.user)
    }
}

enum State {
    Frontend(Box<Frontend>),
    /// The client is who it says; the worker looks for a server.
    Leasing(Box<Entry>),
    /// A server is connected; we log in.
    Entering(Box<Entry>),
    Relay(Relay),
    /// Its server was taken out of use, and what it had there is lost: the next command is answered with that.
    Severed(Walker),
    /// `Output::Close` was given.
    Ended,
}

impl Session {
    /// A session whose client has just connected. Its greeting waits in [`Session::poll_output`].
    pub fn new(birth: Birth, surroundings: Surroundings<'_>) -> Session {
        let mut session = Session {
            id: birth.id,
            host: birth.host,
            origin: birth.origin,
            entrance: birth.entrance,
            salts: Salts::new(birth.seed),
            login_timeout: birth.login_timeout,
            state: State::Ended,
            capabilities: Capabilities::default(),
            account: None,
            server: None,
            last_server: None,
            outputs: VecDeque::new(),
            deadline: Some(birth.since + birth.login_timeout),
            draining: None,
            kills_asked: KillsAsked::default(),
            is_follower: false,
            commands: 0,
            tied_since: None,
            parkings: 0,
            asked_at: surroundings.tick,
            counts: birth.counts,
            client_way: birth.way,
            tls: birth.tls,
        };
        session.greet(birth.admission, surroundings);
        session
    }

    /// Shows bytes received from one side, from the first that was not yet forwarded or consumed.
    pub fn step(&mut self, from: Side, received: &[u8], surroundings: Surroundings<'_>) -> Step {
        debug_assert!(!received.is_empty(), "a step is for bytes");
        if let State::Relay(_) = &self.state {
            return self.relay_step(from, received, surroundings);
        }
        match (&self.state, from) {
            (State::Frontend(_), Side::Client) => self.frontend_step(received, surroundings),
            (State::Entering(_), Side::Server) => self.entering_step(received, surroundings),
            (State::Severed(_), _) => self.severed_step(from, received),
            (State::Ended, _) => Step::Consume { length: received.len() },
            // A client that sends on before its login is over is heard afterwards.
            (State::Frontend(_) | State::Leasing(_) | State::Entering(_), _) => Step::Wait,
            (State::Relay(_), _) => unreachable!("handled above"),
        }
    }

    /// Tells the session of anything but received bytes.
    pub fn handle(&mut self, input: Input, surroundings: Surroundings<'_>) {
        match input {
            Input::Inquired(verifier) => self.inquired(verifier, surroundings),
            Input::Reckon => self.reckon(surroundings),
            Input::Leased(server) => self.leased(server, surroundings),
            Input::Lent(loan) => self.lent(loan, surroundings),
            Input::Yield { is_wanted } => self.yielded(is_wanted, surroundings),
            Input::LeaseFailed(failure) => self.lease_failed(failure),
            Input::ReplicaLeased(server) => self.replica_leased(server, surroundings),
            Input::ReplicaFailed => self.no_replica(surroundings),
            Input::SessionFound(id, found) => self.session_found(id, found),
            Input::Killed => self.close(Ending::Killed),
            Input::ErrandConnected(server) => self.errand_connected(&server, surroundings),
            Input::ErrandFailed => self.errand_failed(),
            Input::Closed(Side::Client) => self.client_closed(),
            Input::Closed(Side::Server) => self.server_closed(surroundings),
            Input::Closed(Side::Replica) => self.replica_closed(surroundings),
            Input::Closed(Side::Errand) => self.errand_failed(),
            Input::TlsFailed(side, why) => self.tls_failed(side, &why, surroundings),
            Input::Drain(reason) => self.drain(reason),
            Input::Recall => self.recalled(surroundings),
            Input::Displaced(why) => self.displaced(why, surroundings),
            Input::ReplicaDrained => self.replica_is_to_be_left(),
            Input::ReplicaOutOfUse => self.replica_has_ended(surroundings.table),
            Input::Timeout => self.timed_out(surroundings),
        }
    }

    /// The next thing that the worker must carry out.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `Input::Timeout` is due, if nothing else happens before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// The session's number.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// The client's address without the port.
    pub fn host(&self) -> &Arc<str> {
        &self.host
    }

    /// The client's address; none behind a UNIX socket.
    pub fn origin(&self) -> Option<IpAddr> {
        self.origin
    }

    /// The user that the client proved to be.
    pub fn user(&self) -> Option<&[u8]> {
        self.account.as_ref().map(|account| account.user.as_slice())
    }

    /// The collation that the client's login named: whatever is on its connections, a reset leaves that.
    pub fn collation(&self) -> Option<u16> {
        self.account.as_ref().map(|account| account.collation)
    }

    /// The server in use.
    pub fn server(&self) -> Option<&ServerFacts> {
        self.server.as_ref()
    }

    /// The server where the session works now: of two, the one that runs its command.
    pub fn works_at(&self) -> Option<&ServerFacts> {
        let replica = self.split().filter(|_| self.is_busy_at(Side::Replica)).and_then(|split| split.replica());
        replica.or(self.server())
    }

    /// Whether what it hears may be a password.
    pub fn is_logging_in(&self) -> bool {
        !matches!(self.state, State::Relay(_) | State::Severed(_))
    }

    /// Whether it has logged in, and has no home just now: another session has the connection, or there is no primary.
    pub fn is_homeless(&self) -> bool {
        matches!(self.state, State::Relay(_)) && self.server.is_none()
    }

    /// Whether a client's command runs at that side.
    pub fn is_busy_at(&self, side: Side) -> bool {
        matches!(&self.state, State::Relay(relay) if relay.is_busy_at(side))
    }

    /// The server that the session reads from, where that is another one.
    pub fn replica(&self) -> Option<&ServerFacts> {
        self.split().and_then(|split| split.replica())
    }

    /// The server that was used before the one in use.
    pub fn last_server(&self) -> Option<&Arc<str>> {
        self.last_server.as_ref()
    }

    /// Commands that the client has sent.
    pub fn commands(&self) -> u64 {
        self.commands
    }

    /// What the session is doing, in a word or two.
    pub fn activity(&self) -> &'static str {
        match &self.state {
            State::Frontend(_) => "login",
            State::Leasing(_) => "waiting for a server",
            State::Entering(_) => "login at server",
            State::Relay(relay) => relay.activity(),
            State::Severed(_) => "lost its server",
            State::Ended => "closing",
        }
    }

    /// Why the session could not leave its server now.
    pub fn pins(&self) -> Vec<&'static str> {
        match &self.state {
            State::Relay(relay) => relay.pins(),
            State::Frontend(_) | State::Leasing(_) | State::Entering(_) | State::Severed(_) | State::Ended => {
                Vec::new()
            }
        }
    }

    /// Why the session could not go on at another server now than the one that it is at home at; nothing if it could.
    pub fn ties(&self) -> Vec<&'static str> {
        match &self.state {
            State::Relay(relay) => relay.ties(),
            State::Frontend(_) | State::Leasing(_) | State::Entering(_) | State::Severed(_) | State::Ended => {
                Vec::new()
            }
        }
    }

    /// Since when something has tied the session to its server.
    pub fn tied_since(&self) -> Option<Instant> {
        self.tied_since
    }

    /// A command is over: whether what it leaves ties the session to its server.
    fn note_ties(&mut self, now: Instant) {
        let State::Relay(relay) = &self.state else { return };
        let is_tied = relay.status.contains(StatusFlags::IN_TRANS)
            || relay.split.as_deref().is_some_and(|split| split.pins().next().is_some());
        self.tied_since = if is_tied { self.tied_since.or(Some(now)) } else { None };
    }

    fn client_closed(&mut self) {
        if let State::Relay(relay) = &self.state
            && relay.is_idle()
        {
            self.leave_connections_behind();
            self.say_goodbye_to_server();
        }
        self.close(Ending::ClientGone);
    }

    fn server_closed(&mut self, surroundings: Surroundings<'_>) {
        match &self.state {
            State::Entering(_) => self.server_left_during_login(surroundings),
            State::Relay(_) => self.home_broke(surroundings),
            State::Frontend(_) | State::Leasing(_) | State::Severed(_) | State::Ended => {}
        }
    }

    fn tls_failed(&mut self, side: Side, why: &str, surroundings: Surroundings<'_>) {
        match side {
            Side::Client => self.close(Ending::ClientTls),
            Side::Server if matches!(self.state, State::Entering(_)) => self.tls_failed_at_door(why, surroundings),
            Side::Server => self.server_closed(surroundings),
            Side::Replica => self.replica_closed(surroundings),
            Side::Errand => self.errand_failed(),
        }
    }

    fn drain(&mut self, reason: DrainReason) {
        if reason == DrainReason::ServerRemoved && matches!(self.state, State::Entering(_)) {
            return self.search_on();
        }
        self.draining = Some(reason);
        match &self.state {
            State::Relay(relay) if !relay.may_leave() => {}
            State::Relay(_) => self.leave(),
            State::Frontend(_) | State::Leasing(_) | State::Entering(_) => {
                self.deny(self.login_sequence(), errors::shutdown(), Ending::Drained)
            }
            State::Severed(_) => self.close(Ending::Drained),
            State::Ended => {}
        }
    }

    /// Leaves for the reason that was given.
    fn leave_as_asked(&mut self) {
        match self.draining {
            Some(DrainReason::Recalled) => self.part(),
            Some(_) => self.leave(),
            None => {}
        }
    }

    /// Ends an idle session in order: the server hears a goodbye, the client sees the connection closed, as from a
    /// server that is stopped.
    fn leave(&mut self) {
        self.leave_replica();
        self.say_goodbye_to_server();
        self.close(Ending::Drained);
    }

    fn timed_out(&mut self, surroundings: Surroundings<'_>) {
        self.deadline = None;
        match &self.state {
            State::Frontend(_) => self.deny(self.login_sequence(), errors::login_timeout(), Ending::LoginTimeout),
            State::Entering(_) => self.server_login_timed_out(surroundings),
            State::Relay(relay) if relay.is_preparing() => self.preparing_timed_out(surroundings),
            State::Relay(relay) if relay.is_idle() => self.hold_is_over(surroundings),
            State::Relay(_) => {
                self.errand_failed();
                self.wake_home(surroundings);
            }
            State::Leasing(_) | State::Severed(_) | State::Ended => {}
        }
    }

    /// The sequence id of the next packet to the client while it logs in.
    fn login_sequence(&self) -> u8 {
        match &self.state {
            State::Frontend(frontend) => frontend.sequence,
            State::Leasing(entry) | State::Entering(entry) => entry.client_sequence,
            State::Relay(_) | State::Severed(_) | State::Ended => 0,
        }
    }

    fn send_packet(&mut self, side: Side, sequence: u8, payload: &[u8]) -> u8 {
        let mut bytes = Vec::with_capacity(payload.len() + 4);
        let next = write_packet(&mut bytes, sequence, payload);
        self.outputs.push_back(Output::Send(side, bytes));
        next
    }

    fn send_error(&mut self, sequence: u8, error: &ErrPacket) {
        let mut payload = Vec::new();
        error.encode(&mut payload);
        self.send_packet(Side::Client, sequence, &payload);
    }

    /// Tells the client an error and closes.
    fn deny(&mut self, sequence: u8, error: ErrPacket, ending: Ending) {
        self.send_error(sequence, &error);
        self.close(ending);
    }

    /// One that has not let us in hears nothing: it would take a command for the answer to its greeting.
    fn say_goodbye_to_server(&mut self) {
        const COM_QUIT: [u8; 5] = [1, 0, 0, 0, 0x01];
        if self.server.is_some() && !self.is_at_door(Side::Server) {
            self.outputs.push_back(Output::Send(Side::Server, COM_QUIT.to_vec()));
        }
    }

    fn close(&mut self, ending: Ending) {
        self.give_up_unsaid_kill();
        self.state = State::Ended;
        self.deadline = None;
        self.outputs.push_back(Output::Close(ending));
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).field("activity", &self.activity()).finish_non_exhaustive()
    }
}

#[cfg(any(test, fuzzing))]
#[path = "tests/fuzz/mod.rs"]
mod fuzz;
#[cfg(any(test, fuzzing))]
#[cfg_attr(not(test), allow(dead_code, unused_imports, reason = "the fuzz target needs a part of it"))]
#[path = "tests/stage.rs"]
mod stage;
#[cfg(test)]
mod tests;
