//! Getting a server and logging in to it as the client.
//!
//! The login at the server is made with what the client was promised: its capabilities, its schema, its collation, its
//! attributes. The server's final OK becomes the client's, so that a schema that does not exist, an expired password
//! or a state tracker is seen as over a direct connection.

use std::sync::Arc;

use crate::{
    config::{self, Mobility, Reuse, ServerDemand},
    protocol::{
        attributes,
        auth::{Credential, Login as ServerLogin, LoginStep, Secret},
        capability::Capabilities,
        collation,
        command::Command,
        error_code::{Error, ErrorCode},
        handshake::{Greeting, HandshakeResponse, ServerHello},
        packet::{Peeked, peek_packet},
        response::{ErrPacket, OK_HEADER, OkPacket},
        session_track::{self, Tracker},
        version::{Family, ServerVersion},
    },
    topology::Failure,
};

use super::{
    Account, Ending, LeaseFailure, Output, ServerFacts, ServerWay, Session, Side, State, Step, Surroundings, Want,
    errors,
    frontend::{LOGIN_PACKET_MAX, Login},
    hops::Hops,
    onward::Onward,
    relay::{Relay, Unfollowed},
    split::{Split, Tenure, told_of},
};

/// What a client was promised, and what the server must therefore be able to do.
///
/// These change how packets read or statements behave; the others concern one connection only, ours or the server's.
const PROMISED: Capabilities = Capabilities::FOUND_ROWS
    .with(Capabilities::LONG_PASSWORD)
    .with(Capabilities::LONG_FLAG)
    .with(Capabilities::NO_SCHEMA)
    .with(Capabilities::ODBC)
    .with(Capabilities::LOCAL_FILES)
    .with(Capabilities::IGNORE_SPACE)
    .with(Capabilities::PROTOCOL_41)
    .with(Capabilities::INTERACTIVE)
    .with(Capabilities::TRANSACTIONS)
    .with(Capabilities::SECURE_CONNECTION)
    .with(Capabilities::MULTI_STATEMENTS)
    .with(Capabilities::MULTI_RESULTS)
    .with(Capabilities::PS_MULTI_RESULTS)
    .with(Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS)
    .with(Capabilities::SESSION_TRACK)
    .with(Capabilities::DEPRECATE_EOF)
    .with(Capabilities::OPTIONAL_RESULTSET_METADATA)
    .with(Capabilities::QUERY_ATTRIBUTES)
    .with(Capabilities::MARIADB_PROGRESS)
    .with(Capabilities::MARIADB_STMT_BULK_OPERATIONS)
    .with(Capabilities::MARIADB_EXTENDED_METADATA)
    .with(Capabilities::MARIADB_CACHE_METADATA)
    .with(Capabilities::MARIADB_BULK_UNIT_RESULTS);

/// What we use at a server that has it, whatever the client can do.
const LOGIN_ONLY: Capabilities =
    Capabilities::PLUGIN_AUTH.with(Capabilities::PLUGIN_AUTH_LENENC).with(Capabilities::CONNECT_ATTRS);

/// What the session needs of its server: its promises, but for bit 0, by which a client only says of which family it is.
pub(super) fn required(capabilities: Capabilities) -> Capabilities {
    (capabilities & PROMISED).without(Capabilities::LONG_PASSWORD)
}

/// A client that is proven and waits until a server has it.
pub(super) struct Entry {
    pub(super) login: Login,
    /// The sequence id of our next packet to the client.
    pub(super) client_sequence: u8,
    required: Capabilities,
    /// What the client is told of our certificate with its OK; empty for nothing.
    assurance: Vec<u8>,
    door: Door,
    /// Why the server tried last did not take the session: what the client hears if no other does.
    pub(super) refusal: Option<ErrPacket>,
    /// Servers that have sent the login on.
    pub(super) hops: Hops,
}

impl Entry {
    pub(super) fn new(login: Login, client_sequence: u8, capabilities: Capabilities, assurance: Vec<u8>) -> Entry {
        let hops = Hops::told_by(&login.attributes);
        Entry {
            login,
            client_sequence,
            required: required(capabilities),
            assurance,
            door: Door::Closed,
            refusal: None,
            hops,
        }
    }

    pub(super) fn want(&self, avoid: Option<crate::topology::ServerId>) -> Want {
        let (lead, has_schema) = (self.hops.next().cloned(), self.login.database.is_some());
        Want { required: self.required, avoid, lead, has_schema, may_be_reset: true, last: None }
    }
}

/// How far we are at a server's door. Used for the session's server and for an errand's.
pub(super) enum Door {
    /// Nothing is connected.
    Closed,
    /// Connected: the server greets first.
    Connected,
    /// The plugin's exchange goes on.
    Knocking { login: ServerLogin, thread_id: u32, capabilities: Capabilities },
    /// Logged in; the collation that did not fit the handshake is being set.
    Settling { ok: OkPacket, thread_id: u32 },
}

/// What a packet of a server led to.
pub(super) enum Knock {
    /// Write this packet (payload) with the next sequence id; go on.
    Say(Vec<u8>),
    /// Write the request with the next sequence id, begin TLS, and write the response inside it; go on.
    Secure { request: Vec<u8>, response: Vec<u8> },
    /// Write this command (payload), which starts a new exchange; go on.
    Command(Vec<u8>),
    /// Go on.
    Listen,
    /// We are in.
    Open { ok: OkPacket, thread_id: u32 },
    /// The server said no.
    Refused(ErrPacket),
    /// The server cannot serve this session; the text says why.
    Unusable(String),
    /// These are not the bytes of a MySQL server.
    Malformed,
}

/// What is told to a server at its door.
pub(super) struct Introduction<'a> {
    pub(super) user: &'a [u8],
    pub(super) credential: &'a Credential,
    pub(super) login: &'a Login,
    /// What client and we agreed on.
    pub(super) capabilities: Capabilities,
    pub(super) required: Capabilities,
    pub(super) host: &'a str,
    pub(super) way: ServerWay,
}

impl Door {
    /// Handles one packet of the server.
    pub(super) fn packet(&mut self, payload: &[u8], who: &Introduction<'_>) -> Knock {
        match std::mem::replace(self, Door::Closed) {
            Door::Connected => self.greeted(payload, who),
            Door::Knocking { mut login, thread_id, capabilities } => {
                let step = login.receive(payload, who.credential, capabilities);
                let knock = match step {
                    LoginStep::Send(payload) => Knock::Say(payload),
                    LoginStep::Wait => Knock::Listen,
                    LoginStep::Accepted(ok) => return self.accepted(ok, thread_id, who),
                    LoginStep::Refused(error) => return Knock::Refused(error),
                    LoginStep::Unanswerable { plugin, why } => {
                        return Knock::Unusable(format!(
                            "its account uses {}: {why}",
                            String::from_utf8_lossy(&plugin)
                        ));
                    }
                    LoginStep::Malformed => return Knock::Malformed,
                };
                *self = Door::Knocking { login, thread_id, capabilities };
                knock
            }
            Door::Settling { ok, thread_id } => match payload.first() {
                Some(0x00) => Knock::Open { ok, thread_id },
                Some(0xFF) => ErrPacket::parse(payload).map_or(Knock::Malformed, Knock::Refused),
                _ => Knock::Malformed,
            },
            Door::Closed => Knock::Malformed,
        }
    }

    fn greeted(&mut self, payload: &[u8], who: &Introduction<'_>) -> Knock {
        let greeting = match Greeting::parse(payload) {
            Ok(ServerHello::Greeting(greeting)) => greeting,
            Ok(ServerHello::Refused(error)) => return Knock::Refused(error),
            Err(_) => return Knock::Malformed,
        };
        if !greeting.capabilities.contains(who.required) {
            return Knock::Unusable("it lacks a protocol feature that the client was promised".into());
        }
        let Some(privacy) = privacy(&greeting, who.way) else {
            return Knock::Unusable("it does not offer TLS, which `tls` of the configuration asks for".into());
        };
        let (response, login) = introduce(&greeting, who, privacy);
        let mut payload = Vec::with_capacity(256);
        response.encode(&mut payload);
        *self = Door::Knocking { login, thread_id: greeting.connection_id, capabilities: response.capabilities };
        if privacy != Privacy::Tls {
            return Knock::Say(payload);
        }
        let mut request = Vec::new();
        response.encode_ssl_request(&mut request);
        Knock::Secure { request, response: payload }
    }

    fn accepted(&mut self, ok: OkPacket, thread_id: u32, who: &Introduction<'_>) -> Knock {
        if who.login.collation <= u16::from(u8::MAX) {
            return Knock::Open { ok, thread_id };
        }
        let statement = format!("SET collation_connection = {}", who.login.collation);
        let mut payload = vec![Command::Query.byte()];
        if who.capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
            payload.extend_from_slice(&[0, 1]);
        }
        payload.extend_from_slice(statement.as_bytes());
        *self = Door::Settling { ok, thread_id };
        Knock::Command(payload)
    }
}

/// Who could listen to a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Privacy {
    Open,
    Tls,
    UnixSocket,
}

/// Nothing, where TLS is asked for and the server does not offer it.
fn privacy(greeting: &Greeting, way: ServerWay) -> Option<Privacy> {
    let is_offered = greeting.capabilities.contains(Capabilities::SSL);
    match way {
        ServerWay::UnixSocket => Some(Privacy::UnixSocket),
        ServerWay::Network(ServerDemand::Disabled) => Some(Privacy::Open),
        ServerWay::Network(_) if is_offered => Some(Privacy::Tls),
        ServerWay::Network(ServerDemand::Preferred) => Some(Privacy::Open),
        ServerWay::Network(ServerDemand::Required | ServerDemand::VerifyCa | ServerDemand::VerifyFull) => None,
    }
}

fn introduce(greeting: &Greeting, who: &Introduction<'_>, privacy: Privacy) -> (HandshakeResponse, ServerLogin) {
    let (login, plugin, auth_response) = ServerLogin::begin(greeting, who.credential);
    let login = if privacy == Privacy::Open { login } else { login.in_private() };
    let mut capabilities = (who.capabilities & PROMISED) | (greeting.capabilities & LOGIN_ONLY);
    if privacy == Privacy::Tls {
        capabilities |= Capabilities::SSL;
    }
    if who.login.database.is_some() {
        capabilities |= Capabilities::CONNECT_WITH_DB;
    }
    let mut attribute_bytes = who.login.attributes.clone();
    attributes::append(&mut attribute_bytes, b"_sqluice_client_address", who.host.as_bytes());
    let family = ServerVersion::parse(&greeting.version).map_or(Family::MySql, |version| version.family);
    // An id of two bytes does not fit here and is set once we are in; until then its character set is this one's.
    let collation = u8::try_from(who.login.collation).unwrap_or(collation::UTF8MB4_GENERAL_CI);
    let response = HandshakeResponse {
        capabilities,
        max_packet: who.login.max_packet,
        collation: collation::for_server(family, collation),
        user: who.user.to_vec(),
        auth_response,
        database: who.login.database.clone(),
        plugin: Some(plugin.name().to_vec()),
        attributes: attribute_bytes,
    };
    (response, login)
}

impl Session {
    /// A server is connected.
    pub(super) fn leased(&mut self, server: ServerFacts, surroundings: Surroundings<'_>) {
        if let State::Relay(_) = &self.state {
            return self.home_connected(server, surroundings);
        }
        let State::Leasing(mut entry) = std::mem::replace(&mut self.state, State::Ended) else {
            unreachable!("a lease answers `Output::Lease`, which only this state gives")
        };
        entry.door = Door::Connected;
        self.deadline = Some(surroundings.now + server.login_timeout);
        self.server = Some(server);
        self.state = State::Entering(entry);
    }

    /// No server could be had in time.
    pub(super) fn lease_failed(&mut self, failure: LeaseFailure) {
        let sequence = self.login_sequence();
        let refusal = match &mut self.state {
            State::Leasing(entry) => entry.refusal.take(),
            State::Frontend(_) | State::Entering(_) | State::Relay(_) | State::Severed(_) | State::Ended => None,
        };
        if let Some(refusal) = refusal {
            return self.deny(sequence, refusal, Ending::ServerDenied);
        }
        let (error, ending) = told_of(&failure, self.user().unwrap_or_default());
        if let State::Relay(_) = &self.state {
            return self.home_not_found(error, ending);
        }
        self.deny(sequence, error, ending);
    }

    /// The server's bytes while we log in.
    pub(super) fn entering_step(&mut self, received: &[u8], surroundings: Surroundings<'_>) -> Step {
        match peek_packet(received, LOGIN_PACKET_MAX) {
            Peeked::NeedBytes { at_least } => Step::NeedBytes { at_least },
            Peeked::TooLong => {
                self.try_another(Failure::Malformed, surroundings);
                Step::Consume { length: received.len() }
            }
            Peeked::Complete { payload, sequence, length } => {
                self.server_login_packet(payload, sequence, surroundings);
                Step::Consume { length }
            }
        }
    }

    fn server_login_packet(&mut self, payload: &[u8], sequence: u8, surroundings: Surroundings<'_>) {
        let State::Entering(mut entry) = std::mem::replace(&mut self.state, State::Ended) else {
            unreachable!("the caller looked at the state")
        };
        let tracking = if self.tracks(surroundings) { Capabilities::SESSION_TRACK } else { Capabilities::NONE };
        let account = self.account.as_ref().expect("a session that enters a server has an account");
        let who = Introduction {
            user: account.name_at_server(),
            credential: &account.credential,
            login: &entry.login,
            capabilities: self.capabilities | tracking,
            required: entry.required,
            host: &self.host,
            way: self.server.as_ref().map_or(ServerWay::OPEN, |server| server.way),
        };
        let knock = entry.door.packet(payload, &who);
        match knock {
            Knock::Say(payload) => {
                self.send_packet(Side::Server, sequence.wrapping_add(1), &payload);
                self.state = State::Entering(entry);
            }
            Knock::Secure { request, response } => {
                self.begin_tls(Side::Server, sequence, &request, &response);
                self.state = State::Entering(entry);
            }
            Knock::Command(payload) => {
                self.send_packet(Side::Server, 0, &payload);
                self.state = State::Entering(entry);
            }
            Knock::Listen => self.state = State::Entering(entry),
            Knock::Open { ok, thread_id } => self.entered(*entry, ok, thread_id, surroundings),
            Knock::Refused(error) => {
                self.state = State::Entering(entry);
                self.refused_by_server(error, surroundings);
            }
            Knock::Unusable(why) => {
                self.state = State::Entering(entry);
                self.unusable(&why);
            }
            Knock::Malformed => {
                self.state = State::Entering(entry);
                self.try_another(Failure::Malformed, surroundings);
            }
        }
    }

    /// Asks a server for TLS, and answers its greeting inside.
    pub(super) fn begin_tls(&mut self, side: Side, sequence: u8, request: &[u8], response: &[u8]) {
        let next = self.send_packet(side, sequence.wrapping_add(1), request);
        self.outputs.push_back(Output::StartTls(side));
        self.send_packet(side, next, response);
    }

    /// TLS with the server that we log in to failed: another may have a better certificate.
    pub(super) fn tls_failed_at_door(&mut self, why: &str, surroundings: Surroundings<'_>) {
        let name = self.server.as_ref().map_or("?", |server| &server.name);
        let refusal = errors::server_unusable(name, &format!("TLS failed: {why}"));
        if let State::Entering(entry) = &mut self.state {
            entry.refusal = Some(refusal);
        }
        self.try_another(Failure::Malformed, surroundings);
    }

    /// The server has let us in: its OK is the client's.
    fn entered(&mut self, entry: Entry, mut ok: OkPacket, thread_id: u32, surroundings: Surroundings<'_>) {
        self.learn();
        // MariaDB says something of its own certificate here, which a client must not hold against ours.
        ok.info = entry.assurance;
        self.note_redirect(ok.trackers.as_deref());
        self.learn_of_client(&entry.login.attributes, surroundings.table);
        let onward = Onward::at(ok.trackers.as_deref());
        // MariaDB 11.8 tells of all variables behind a login, and not behind a change of user.
        if self.last_server.is_some() {
            let trackers = ok.trackers.take().map(|trackers| without_variables(&trackers));
            ok.trackers = trackers.filter(|trackers| !trackers.is_empty());
        } else {
            ok.trackers = self.told_at_login(ok.trackers.as_deref(), &entry.login.attributes, surroundings);
        }
        let status = ok.status;
        let mut payload = Vec::with_capacity(64);
        ok.encode(OK_HEADER, self.capabilities, &mut payload);
        self.send_packet(Side::Client, entry.client_sequence, &payload);
        self.deadline = None;
        let schema = entry.login.database.clone();
        let mut split = self.split_of(entry.login, surroundings).map(Box::new);
        if let (Some(split), Some(tenure)) = (split.as_deref_mut(), self.tenure(surroundings)) {
            let server = self.server.as_ref().map(|server| server.id);
            split.settle(tenure, schema, server, status);
        }
        let is_split = split.is_some();
        let unfollowed = self.unfollowed(surroundings);
        self.state = State::Relay(Relay::new(self.capabilities, status, split).telling(onward).staying(unfollowed));
        if let Some(server) = &mut self.server {
            server.thread_id = thread_id;
        }
        self.outputs.push_back(Output::Entered);
        if self.draining.is_some() {
            return self.leave_as_asked();
        }
        if is_split {
            self.make_ready(Side::Server, false, surroundings);
        }
    }

    /// What a server has accepted of somebody without an entry is kept for the next logins.
    fn learn(&mut self) {
        if let Some((user, password)) = self.newcomers_password() {
            self.outputs.push_back(Output::Learnt { user, password });
        }
    }

    /// Name and password of somebody without an entry, if it gave one.
    fn newcomers_password(&self) -> Option<(Vec<u8>, Secret)> {
        match self.account.as_ref()? {
            Account { user, credential: Credential::Cleartext(password), is_newcomer: true, .. } => {
                Some((user.clone(), password.clone()))
            }
            _ => None,
        }
    }

    /// How the session's reads are split off, if they are and its server can tell of its state.
    pub(super) fn split_of(&self, login: Login, surroundings: Surroundings<'_>) -> Option<Split> {
        self.tracks(surroundings).then_some(())?;
        let table = surroundings.table;
        let user = table.user_config(table.user(&login.user)?);
        let alone = config::Split { read: user.pool, freshness: config::Freshness::OwnWrites };
        let split = Split::new(login, user.split.unwrap_or(alone), self.capabilities, table, Arc::clone(&self.counts));
        let mut split = if user.split.is_some() { split } else { split.with_one_pool() };
        if self.commands > 0 {
            // A COM_CHANGE_USER does not make the client forget what it wrote before.
            split.has_a_past(surroundings.now);
        }
        Some(split.moving_by(table.config.mobility(user)))
    }

    /// When the user's sessions let their home connections go, if ever.
    fn tenure(&self, surroundings: Surroundings<'_>) -> Option<Tenure> {
        let table = surroundings.table;
        let user = table.user_config(table.user(self.user()?)?);
        match user.reuse {
            Reuse::Transaction => Some(Tenure::Transaction),
            Reuse::Session => (table.config.mobility(user) != Mobility::Fixed).then_some(Tenure::Session),
        }
    }

    /// Why the session stays with its server, if nobody follows what it sets.
    fn unfollowed(&self, surroundings: Surroundings<'_>) -> Unfollowed {
        let table = surroundings.table;
        let user = self.user().and_then(|user| table.user(user)).map(|user| table.user_config(user));
        match user.map(|user| table.config.mobility(user)) {
            _ if self.server.as_ref().is_some_and(|server| server.id.is_outside()) => Unfollowed::Outside,
            Some(Mobility::Fixed) => Unfollowed::NoOtherServer,
            Some(Mobility::Free | Mobility::Ordered) | None => Unfollowed::Untold,
        }
    }

    /// The server is asked to tell of the session's state, whatever the client asked for.
    fn tracks(&self, surroundings: Surroundings<'_>) -> bool {
        let table = surroundings.table;
        let user = self.user().and_then(|user| table.user(user)).map(|user| table.user_config(user));
        let is_tracked = user.is_some_and(|user| {
            user.split.is_some() || user.reuse == Reuse::Transaction || table.config.mobility(user) != Mobility::Fixed
        });
        let place = self.server.as_ref().and_then(|server| table.place(server.id));
        let offered = place.and_then(|place| table.server(place).capabilities());
        is_tracked && offered.is_some_and(|offered| offered.contains(Capabilities::SESSION_TRACK))
    }

    /// A server's refusal is either about the server, then another may do, or about the account, then it is the
    /// client's to read.
    fn refused_by_server(&mut self, error: ErrPacket, surroundings: Surroundings<'_>) {
        if self.sent_on(&error, surroundings) {
            return;
        }
        let is_about_the_server = is_refused_by_server(&error);
        let failure = Failure::LoginRefused { code: error.code.0 };
        if is_about_the_server {
            if let State::Entering(entry) = &mut self.state {
                // A refusal in place of the greeting has no SQL state yet; here the client expects one.
                let state = error.state.or(Some(*b"08004"));
                entry.refusal = Some(ErrPacket { state, ..error });
            }
            return self.try_another(failure, surroundings);
        }
        match self.is_of_newcomer() {
            true => self.newcomer_refused(&error),
            false if concerns_operator(&error) => self.report(failure),
            false => {}
        }
        let sequence = self.login_sequence();
        self.deny(sequence, error, Ending::ServerDenied);
    }

    fn is_of_newcomer(&self) -> bool {
        self.account.as_ref().is_some_and(|account| account.is_newcomer)
    }

    /// Who has no entry may be refused without anything being wrong at the server; but what is known of it may be old.
    fn newcomer_refused(&mut self, error: &ErrPacket) {
        if error.code == Error::ACCESS_DENIED.code
            && let Some((user, password)) = self.newcomers_password()
        {
            self.outputs.push_back(Output::Unlearnt { user, password });
        }
        self.outputs.push_back(Output::Doubt);
    }

    fn unusable(&mut self, why: &str) {
        let name = self.server.as_ref().map_or("?", |server| &server.name);
        let error = errors::server_unusable(name, why);
        match self.is_of_newcomer() {
            true => self.newcomer_refused(&error),
            false => self.report(Failure::LoginRefused { code: error.code.0 }),
        }
        self.deny(self.login_sequence(), error, Ending::ServerDenied);
    }

    /// The server went away before we were in.
    pub(super) fn server_left_during_login(&mut self, surroundings: Surroundings<'_>) {
        self.try_another(Failure::Reset, surroundings);
    }

    /// The server did not let us in in time.
    pub(super) fn server_login_timed_out(&mut self, surroundings: Surroundings<'_>) {
        self.try_another(Failure::TimedOut, surroundings);
    }

    fn try_another(&mut self, failure: Failure, _: Surroundings<'_>) {
        self.report(failure);
        self.search_on();
    }

    /// Not at this server.
    pub(super) fn search_on(&mut self) {
        let State::Entering(mut entry) = std::mem::replace(&mut self.state, State::Ended) else {
            unreachable!("only a session at a server's door is turned away")
        };
        entry.door = Door::Closed;
        let want = entry.want(self.server.take().map(|server| server.id));
        self.deadline = None;
        self.state = State::Leasing(entry);
        self.outputs.push_back(Output::Release);
        self.outputs.push_back(Output::Lease(want));
    }

    pub(super) fn report(&mut self, failure: Failure) {
        if let Some(server) = &self.server {
            self.outputs.push_back(Output::Report(server.id, failure));
        }
    }
}

/// Trackers but for those of system variables.
fn without_variables(trackers: &[u8]) -> Vec<u8> {
    session_track::filtered(trackers, |tracker| !matches!(tracker, Tracker::SystemVariables(_)))
}

/// A refusal is about the server, and not about the user.
fn is_refused_by_server(error: &ErrPacket) -> bool {
    error.state.is_none() || is_about_server(error.code)
}

/// A refusal says something of the server, or of the account as it is known here. Any other is the user's own matter: a
/// schema that does not exist, a password that has expired.
pub(super) fn concerns_operator(error: &ErrPacket) -> bool {
    is_refused_by_server(error) || is_about_account(error.code)
}

/// The server cannot take anybody, or not us: another may.
pub(super) fn is_about_server(code: ErrorCode) -> bool {
    [
        Error::TOO_MANY_CONNECTIONS,
        Error::TOO_MANY_USER_CONNECTIONS,
        Error::USER_LIMIT_REACHED,
        Error::HOST_BLOCKED,
        Error::HOST_NOT_ALLOWED,
        Error::SERVER_SHUTDOWN,
        Error::OFFLINE_MODE,
    ]
    .iter()
    .any(|error| error.code == code)
}

/// The account is not what our configuration says: the operator should hear of it.
fn is_about_account(code: ErrorCode) -> bool {
    [Error::ACCESS_DENIED, Error::ACCESS_DENIED_NO_PASSWORD, Error::NOT_SUPPORTED_AUTH_MODE]
        .iter()
        .any(|error| error.code == code)
}
