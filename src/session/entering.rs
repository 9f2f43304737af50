//! Getting a server and logging in to it as the client.
//!
//! The server's final OK becomes the client's, so that a schema that does not exist, an expired password or a state
//! tracker is seen as over a direct connection. `door` knows the login itself, `refusals` what happens without one.

use std::{sync::Arc, time::Instant};

use crate::{
    config::{self, Mobility, Reuse},
    protocol::{
        auth::{Credential, Secret},
        capability::Capabilities,
        packet::{Peeked, peek_packet},
        response::{ErrPacket, OK_HEADER, OkPacket},
        session_track::{self, Tracker},
    },
    topology::Failure,
};

use super::{
    Account, Output, ServerFacts, ServerWay, Session, Side, State, Step, Surroundings, Want,
    door::{Answer, Door, Introduction, Knock, required},
    hops::Hops,
    login::{LOGIN_PACKET_MAX, Login},
    onward::Onward,
    relay::{Relay, Unfollowed},
    split::{Split, Tenure},
};

/// A client that is proven and waits until a server has it.
pub(super) struct Entry {
    pub(super) login: Login,
    /// The sequence id of our next packet to the client.
    pub(super) client_sequence: u8,
    required: Capabilities,
    /// What the client is told of our certificate with its OK; empty for nothing.
    assurance: Vec<u8>,
    pub(super) door: Door,
    /// Why the server tried last did not take the session: what the client hears if no other does.
    pub(super) refusal: Option<ErrPacket>,
    /// A server took all the time of a login, and did not judge it.
    pub(super) is_unjudged: bool,
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
            is_unjudged: false,
            hops,
        }
    }

    pub(super) fn want(&self, avoid: Option<crate::topology::ServerId>) -> Want {
        let (lead, has_schema) = (self.hops.next().cloned(), self.login.database.is_some());
        Want {
            required: self.required,
            avoid,
            is_bounded: self.is_unjudged,
            lead,
            has_schema,
            may_be_reset: true,
            last: None,
            fresh: None,
        }
    }
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
        self.deadline = Some(surroundings.now + server.greeting_timeout);
        self.server = Some(server);
        self.state = State::Entering(entry);
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
            Knock::Answer(answer) => {
                self.answer_at_door(Side::Server, sequence, answer, surroundings.now);
                self.state = State::Entering(entry);
            }
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

    /// Answers a server's packet of this number. From our introduction on it has the time that a login may take: whoever asks
    /// others for their word, like PAM, or makes those wait who guess, takes longer for that than for a greeting.
    pub(super) fn answer_at_door(&mut self, side: Side, sequence: u8, answer: Answer, now: Instant) {
        let next = sequence.wrapping_add(1);
        match answer {
            Answer::Introduction { tls_request, response } => {
                self.deadline = Some(now + self.login_timeout);
                let next = tls_request.map_or(next, |request| self.begin_tls(side, next, &request));
                self.send_packet(side, next, &response);
            }
            Answer::Word(payload) => {
                self.send_packet(side, next, &payload);
            }
            Answer::Command(payload) => {
                self.send_packet(side, 0, &payload);
            }
            Answer::Nothing => {}
        }
    }

    /// Asks a server for TLS; what is sent next is sent inside, with the number that is given back.
    fn begin_tls(&mut self, side: Side, sequence: u8, request: &[u8]) -> u8 {
        let next = self.send_packet(side, sequence, request);
        self.outputs.push_back(Output::StartTls(side));
        next
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
        if self.commands > 0 {
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
    pub(super) fn newcomers_password(&self) -> Option<(Vec<u8>, Secret)> {
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
            Some(Mobility::Free | Mobility::Reading | Mobility::Ordered) | None => Unfollowed::Untold,
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
}

/// Trackers but for those of system variables.
fn without_variables(trackers: &[u8]) -> Vec<u8> {
    session_track::filtered(trackers, |tracker| !matches!(tracker, Tracker::SystemVariables(_)))
}
