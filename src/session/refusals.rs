//! A session that a server does not let in: whether another one may, what the client hears, and who else should know.

use crate::{
    protocol::{
        error_code::{Error, ErrorCode},
        response::ErrPacket,
    },
    topology::Failure,
};

use super::{Ending, LeaseFailure, Output, Session, State, Surroundings, door::Door, errors};

impl Session {
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

    /// TLS with the server that we log in to failed: another may have a better certificate.
    pub(super) fn tls_failed_at_door(&mut self, why: &str, surroundings: Surroundings<'_>) {
        let name = self.server.as_ref().map_or("?", |server| &server.name);
        let refusal = errors::server_unusable(name, &format!("TLS failed: {why}"));
        if let State::Entering(entry) = &mut self.state {
            entry.refusal = Some(refusal);
        }
        self.try_another(Failure::Malformed, surroundings);
    }

    /// A server's refusal is either about the server, then another may do, or about the account, then it is the
    /// client's to read.
    pub(super) fn refused_by_server(&mut self, error: ErrPacket, surroundings: Surroundings<'_>) {
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

    pub(super) fn unusable(&mut self, why: &str) {
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

    /// The server did not let us in in time. Whoever judges its logins may be slow for all servers, and may count what it is
    /// asked: it is not asked again and again.
    pub(super) fn server_login_timed_out(&mut self, surroundings: Surroundings<'_>) {
        let name = self.server.as_ref().map_or("?", |server| &server.name);
        let refusal = errors::server_unusable(name, "it has not judged the login in time");
        if let State::Entering(entry) = &mut self.state
            && !matches!(entry.door, Door::Connected)
        {
            entry.refusal = Some(refusal);
            entry.is_unjudged = true;
        }
        self.try_another(Failure::TimedOut, surroundings);
    }

    pub(super) fn try_another(&mut self, failure: Failure, _: Surroundings<'_>) {
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

/// What a client is told when no server could be had for its session.
fn told_of(failure: &LeaseFailure, user: &[u8]) -> (ErrPacket, Ending) {
    match failure {
        LeaseFailure::UserFull { limit } => (errors::user_limit(user, *limit), Ending::Limit),
        LeaseFailure::ServersFull(why) => (errors::servers_full(why), Ending::Limit),
        LeaseFailure::NoServer(why) => (errors::no_server(why), Ending::NoServer),
        LeaseFailure::UserGone => (errors::shutdown(), Ending::Drained),
    }
}
