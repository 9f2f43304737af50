//! The client proves who it is: our greeting, its answer, and the exchange of the authentication plugin.
//!
//! COM_CHANGE_USER runs through here again: the session goes back to this state with a new salt and, once the new
//! account is proven, gets a server of its own as if it had just connected.

use crate::{
    config::{Encryption, User},
    protocol::{
        auth::{Authenticated, Credential, DenyReason, Secret, Verification, Verifier, Verify, VerifyRequest},
        capability::Capabilities,
        error_code::Error,
        handshake::{ChangeUser, ClientHello, Greeting, HandshakeResponse, Salt},
        packet::{Peeked, peek_packet},
        status::StatusFlags,
    },
    topology::RoutingTable,
};

use super::{
    Account, Admission, ClientWay, Ending, Output, Session, Side, State, Step, Surroundings,
    entering::Entry,
    errors,
    login::{LOGIN_PACKET_MAX, Login},
};

/// A client that has not yet proven who it is.
pub(super) struct Frontend {
    /// The sequence id of our next packet.
    pub(super) sequence: u8,
    stage: Stage,
}

enum Stage {
    /// The greeting is out.
    Greeted { admission: Admission, offered: Capabilities, salt: Salt },
    /// Asked who this is; nothing of the client is heard meanwhile.
    Asking(Login, OwnedProof),
    /// Something that takes long to judge waits for its time; nothing of the client is heard meanwhile.
    Costly(Costly),
    /// The plugin's exchange goes on.
    Proving(Claim),
}

/// Who a client says it is, while it proves it.
struct Claim {
    login: Login,
    verifier: Verifier,
    verification: Verification,
    /// The client sent something for a password.
    with_password: bool,
    /// What a wrong password means: a user that may not log in from here has none that is right.
    if_denied: Ending,
}

impl Session {
    /// Sends our greeting; the session waits for the client's answer.
    pub(super) fn greet(&mut self, admission: Admission, surroundings: Surroundings<'_>) {
        let offer = &surroundings.table.offer;
        let salt = self.salts.draw();
        let greeting = Greeting {
            version: offer.version.clone(),
            connection_id: self.id.0,
            salt,
            capabilities: if self.tls.is_some() { offer.capabilities | Capabilities::SSL } else { offer.capabilities },
            collation: offer.collation,
            status: StatusFlags::AUTOCOMMIT,
            plugin: offer.plugin.name().into(),
        };
        let mut payload = Vec::with_capacity(128);
        greeting.encode(&mut payload);
        let sequence = self.send_packet(Side::Client, 0, &payload);
        let stage = Stage::Greeted { admission, offered: offer.capabilities, salt };
        self.state = State::Frontend(Box::new(Frontend { sequence, stage }));
    }

    /// The client's bytes while it logs in.
    pub(super) fn frontend_step(&mut self, received: &[u8], surroundings: Surroundings<'_>) -> Step {
        let State::Frontend(frontend) = &mut self.state else { unreachable!("the caller looked at the state") };
        if let Stage::Asking(..) | Stage::Costly(_) = frontend.stage {
            return Step::Wait;
        }
        match peek_packet(received, LOGIN_PACKET_MAX) {
            Peeked::NeedBytes { at_least } => Step::NeedBytes { at_least },
            Peeked::TooLong => {
                let sequence = frontend.sequence.wrapping_add(1);
                self.deny(sequence, errors::bad_handshake(), Ending::ClientProtocol);
                Step::Consume { length: received.len() }
            }
            Peeked::Complete { payload, sequence, length } => {
                if sequence == frontend.sequence {
                    frontend.sequence = sequence.wrapping_add(1);
                    self.login_packet(payload, surroundings);
                } else {
                    self.deny(sequence.wrapping_add(1), errors::packets_out_of_order(), Ending::ClientProtocol);
                }
                Step::Consume { length }
            }
        }
    }

    fn login_packet(&mut self, payload: &[u8], surroundings: Surroundings<'_>) {
        let State::Frontend(frontend) = std::mem::replace(&mut self.state, State::Ended) else {
            unreachable!("the caller looked at the state")
        };
        let sequence = frontend.sequence;
        match frontend.stage {
            Stage::Greeted { admission, offered, salt } => match ClientHello::parse(payload, offered) {
                Ok(ClientHello::Response(response)) => {
                    self.answered(response, admission, offered, salt, sequence, surroundings)
                }
                Ok(ClientHello::SslRequest) if self.tls.is_some() && self.client_way != ClientWay::Tls => {
                    self.client_way = ClientWay::Tls;
                    self.outputs.push_back(Output::StartTls(Side::Client));
                    let stage = Stage::Greeted { admission, offered, salt };
                    self.state = State::Frontend(Box::new(Frontend { sequence, stage }));
                }
                Ok(ClientHello::SslRequest) | Err(_) => {
                    self.deny(sequence, errors::bad_handshake(), Ending::LoginDenied)
                }
            },
            Stage::Asking(..) | Stage::Costly(_) => unreachable!("no packet is looked at meanwhile"),
            Stage::Proving(claim) if claim.verification.is_costly(payload, &claim.verifier) => {
                self.put_off(Costly::Next(claim, Secret::new(payload)), sequence);
            }
            Stage::Proving(claim) => self.proved(claim, payload, sequence, surroundings),
        }
    }

    /// The client has gone on with its proof.
    fn proved(&mut self, mut claim: Claim, payload: &[u8], sequence: u8, surroundings: Surroundings<'_>) {
        let verdict = claim.verification.receive(payload, &claim.verifier, surroundings.rsa);
        claim.with_password |= payload.len() > 1;
        self.weigh(claim, verdict, sequence, surroundings);
    }

    fn put_off(&mut self, costly: Costly, sequence: u8) {
        self.state = State::Frontend(Box::new(Frontend { sequence, stage: Stage::Costly(costly) }));
        self.outputs.push_back(Output::Reckon);
    }

    /// There is time for what was put off. The client may have gone meanwhile.
    pub(super) fn reckon(&mut self, surroundings: Surroundings<'_>) {
        let State::Frontend(frontend) = &self.state else { return };
        let Stage::Costly(_) = frontend.stage else { return };
        let State::Frontend(frontend) = std::mem::replace(&mut self.state, State::Ended) else { return };
        let (sequence, Stage::Costly(costly)) = (frontend.sequence, frontend.stage) else { return };
        match costly {
            Costly::First(login, proof, known) => self.judge(login, proof.borrowed(), known, sequence, surroundings),
            Costly::Next(claim, payload) => self.proved(claim, payload.expose(), sequence, surroundings),
        }
    }

    /// The client has answered our greeting.
    fn answered(
        &mut self,
        response: HandshakeResponse,
        admission: Admission,
        offered: Capabilities,
        salt: Salt,
        sequence: u8,
        surroundings: Surroundings<'_>,
    ) {
        self.capabilities = response.capabilities & offered;
        if !self.capabilities.contains(Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION) {
            return self.deny(sequence, errors::old_client(), Ending::LoginDenied);
        }
        let is_required = self.tls.is_some_and(|tls| tls.demand == Encryption::Required);
        if is_required && self.client_way == ClientWay::Open {
            return self.deny(sequence, errors::tls_required(), Ending::LoginDenied);
        }
        if let Some(error) = self.sent_elsewhere(&response.attributes, surroundings) {
            return self.deny(sequence, error, Ending::Redirected);
        }
        match admission {
            Admission::Welcome => {}
            Admission::Full => return self.deny(sequence, errors::too_many_connections(), Ending::Limit),
            Admission::Closing => return self.deny(sequence, errors::shutdown(), Ending::Drained),
        }
        let login = Login {
            user: response.user,
            database: response.database,
            collation: u16::from(response.collation),
            max_packet: response.max_packet,
            attributes: response.attributes,
        };
        let proof =
            Proof { salt, plugin: response.plugin.as_deref(), response: &response.auth_response, force_switch: false };
        self.verify(login, proof, sequence, surroundings);
    }

    /// Starts over for another user. `payload` is the whole COM_CHANGE_USER.
    pub(super) fn change_user(&mut self, payload: &[u8], sequence: u8, surroundings: Surroundings<'_>) {
        let Ok(request) = ChangeUser::parse(payload, self.capabilities) else {
            return self.deny(sequence, errors::refused_command(Error::UNKNOWN_COMMAND), Ending::ClientProtocol);
        };
        let ChangeUser { user, auth_response, database, collation, plugin, attributes } = request;
        let login = Login { user, database, collation, max_packet: 1 << 24, attributes };
        self.deadline = Some(surroundings.now + self.login_timeout);
        let proof =
            Proof { salt: self.salts.draw(), plugin: plugin.as_deref(), response: &auth_response, force_switch: true };
        self.verify(login, proof, sequence, surroundings);
    }

    /// Looks who this says it is, to weigh its first proof.
    fn verify(&mut self, login: Login, proof: Proof<'_>, sequence: u8, surroundings: Surroundings<'_>) {
        let table = surroundings.table;
        match table.named_user(&login.user).map(|user| table.user_config(user)) {
            Some(user) if !self.is_barred(user) => {
                let known =
                    Known { verifier: user.verifier.clone(), learns: learns_cleartext(&user.verifier, user, table) };
                self.begin(login, proof, known, sequence, surroundings);
            }
            None if table.config.newcomers.is_some() => {
                let stage = Stage::Asking(login, proof.to_owned());
                self.state = State::Frontend(Box::new(Frontend { sequence, stage }));
                self.outputs.push_back(Output::Inquire);
            }
            Some(_) | None => {
                let known = self.impostor(&login.user, table);
                self.begin(login, proof, known, sequence, surroundings);
            }
        }
    }

    /// Whether a user may not log in from where the client is.
    fn is_barred(&self, user: &User) -> bool {
        self.origin.is_some_and(|origin| !user.access.admits(origin))
    }

    /// Who waits for an answer about it.
    pub fn inquirer(&self) -> Option<&[u8]> {
        match &self.state {
            State::Frontend(frontend) => match &frontend.stage {
                Stage::Asking(login, _) => Some(&login.user),
                Stage::Greeted { .. } | Stage::Costly(_) | Stage::Proving(_) => None,
            },
            State::Leasing(_) | State::Entering(_) | State::Relay(_) | State::Severed(_) | State::Ended => None,
        }
    }

    /// What is known of a user without an entry of its own. The client may have gone meanwhile.
    pub(super) fn inquired(&mut self, verifier: Verifier, surroundings: Surroundings<'_>) {
        if self.inquirer().is_none() {
            return;
        }
        let State::Frontend(frontend) = std::mem::replace(&mut self.state, State::Ended) else { return };
        let (sequence, Stage::Asking(login, proof)) = (frontend.sequence, frontend.stage) else { return };
        let table = surroundings.table;
        let route = table.user(&login.user).map(|user| table.user_config(user));
        // A reload may have taken the newcomers' way meanwhile: then nobody is let in.
        let learns = route.is_some_and(|route| learns_cleartext(&verifier, route, table));
        self.begin(login, proof.borrowed(), Known { verifier, learns }, sequence, surroundings);
    }

    /// Weighs the first proof of a claim, when there is time for it.
    fn begin(&mut self, login: Login, proof: Proof<'_>, known: Known, sequence: u8, surroundings: Surroundings<'_>) {
        if self.request(&proof, &known).is_costly() {
            return self.put_off(Costly::First(login, proof.to_owned(), known), sequence);
        }
        self.judge(login, proof, known, sequence, surroundings);
    }

    fn request<'a>(&mut self, proof: &Proof<'a>, known: &'a Known) -> VerifyRequest<'a> {
        VerifyRequest {
            verifier: &known.verifier,
            salt: proof.salt,
            fresh_salt: self.salts.draw(),
            nonce: self.salts.nonce(),
            client_plugin: proof.plugin,
            response: proof.response,
            plugin_auth: self.capabilities.contains(Capabilities::PLUGIN_AUTH),
            learn_cleartext: known.learns,
            in_private: self.client_way != ClientWay::Open,
            force_switch: proof.force_switch,
        }
    }

    fn judge(&mut self, login: Login, proof: Proof<'_>, known: Known, sequence: u8, surroundings: Surroundings<'_>) {
        let table = surroundings.table;
        let named = table.named_user(&login.user).map(|user| table.user_config(user));
        let if_denied =
            if named.is_some_and(|user| self.is_barred(user)) { Ending::HostNotAllowed } else { Ending::LoginDenied };
        let (verification, verdict) = Verification::begin(self.request(&proof, &known));
        let claim = Claim {
            login,
            verifier: known.verifier,
            verification,
            with_password: !proof.response.is_empty(),
            if_denied,
        };
        self.weigh(claim, verdict, sequence, surroundings);
    }

    /// What an unknown user is measured by: never matched, and asked for in the way of one of the known users, always the
    /// same one for a name, so that the exchange does not tell which names exist.
    fn impostor(&mut self, name: &[u8], table: &RoutingTable) -> Known {
        let seed = self.salts.bytes();
        let users = &table.config.users;
        let hash = name.iter().fold(0_usize, |hash, &byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
        match users.get(hash % users.len().max(1)) {
            Some(model) => Known {
                verifier: Verifier::impostor_like(&model.verifier, seed),
                learns: learns_cleartext(&model.verifier, model, table),
            },
            None => Known { verifier: Verifier::impostor(seed), learns: false },
        }
    }

    fn weigh(&mut self, claim: Claim, verdict: Verify, sequence: u8, surroundings: Surroundings<'_>) {
        match verdict {
            Verify::Send(payload) => {
                let sequence = self.send_packet(Side::Client, sequence, &payload);
                self.state = State::Frontend(Box::new(Frontend { sequence, stage: Stage::Proving(claim) }));
            }
            Verify::SendThenAccept(payload, authenticated) => {
                let sequence = self.send_packet(Side::Client, sequence, &payload);
                self.admit(claim.login, authenticated, sequence, surroundings);
            }
            Verify::Accept(authenticated) => self.admit(claim.login, authenticated, sequence, surroundings),
            Verify::Deny(reason) => {
                let error = match reason {
                    DenyReason::NotInPrivate => errors::learnt_inside_tls(&claim.login.user),
                    _ => errors::access_denied(&claim.login.user, &self.host, claim.with_password),
                };
                self.doubt(&claim.login, surroundings);
                self.deny(sequence, error, claim.if_denied);
            }
        }
    }

    /// Somebody without an entry was not believed: what is known of it may be old.
    fn doubt(&mut self, login: &Login, surroundings: Surroundings<'_>) {
        let table = surroundings.table;
        if table.named_user(&login.user).is_none() && table.config.newcomers.is_some() {
            self.outputs.push_back(Output::Doubt);
        }
    }

    /// The client is who it says: ask for a server.
    fn admit(&mut self, login: Login, authenticated: Authenticated, sequence: u8, surroundings: Surroundings<'_>) {
        let table = surroundings.table;
        let user = table.user(&login.user).map(|user| table.user_config(user));
        let is_newcomer = table.named_user(&login.user).is_none();
        // Inside TLS the client may have seen a certificate that only this makes believable.
        let fingerprint = self.tls.filter(|_| self.client_way == ClientWay::Tls).map(|tls| tls.fingerprint);
        let assurance = fingerprint.and_then(|fingerprint| authenticated.assurance(&fingerprint)).unwrap_or_default();
        let server_user = user.and_then(|user| user.backend_user.as_ref()).map(|name| name.as_bytes().to_vec());
        let server_password = user.and_then(|user| user.backend_password.clone());
        let credential = match server_password {
            Some(password) => Credential::of_password(password),
            None => authenticated.into_credential(),
        };
        self.account = Some(Account {
            user: login.user.clone(),
            server_user,
            credential,
            collation: login.collation,
            is_newcomer,
        });
        // The worker bounds the wait for a server; the login's own deadline has been met.
        self.deadline = None;
        let entry = Entry::new(login, sequence, self.capabilities, assurance);
        let want = entry.want(None);
        self.state = State::Leasing(Box::new(entry));
        self.outputs.push_back(Output::Lease(want));
    }
}

/// What takes milliseconds to judge.
enum Costly {
    First(Login, OwnedProof, Known),
    /// The packet that came in answer to ours.
    Next(Claim, Secret),
}

/// What a user is judged by.
struct Known {
    verifier: Verifier,
    /// The servers need the password, and the client is asked for it.
    learns: bool,
}

/// Whether what is known of the user's password does not log in at its servers.
fn learns_cleartext(verifier: &Verifier, user: &User, table: &RoutingTable) -> bool {
    let logs_in = match verifier {
        Verifier::Cleartext(_) => true,
        Verifier::DoubleSha1(_) => !table.needs_cleartext(user.pool),
        Verifier::Ed25519(_) | Verifier::Sha256Crypt(_) | Verifier::Parsec(_) | Verifier::ByServer(_) => false,
    };
    !logs_in && user.backend_password.is_none()
}

/// The first proof that a client gives.
struct Proof<'a> {
    salt: Salt,
    plugin: Option<&'a [u8]>,
    response: &'a [u8],
    force_switch: bool,
}

/// The same, kept.
struct OwnedProof {
    salt: Salt,
    plugin: Option<Vec<u8>>,
    response: Vec<u8>,
    force_switch: bool,
}

impl Proof<'_> {
    fn to_owned(&self) -> OwnedProof {
        let Proof { salt, plugin, response, force_switch } = *self;
        OwnedProof { salt, plugin: plugin.map(Vec::from), response: response.to_vec(), force_switch }
    }
}

impl OwnedProof {
    fn borrowed(&self) -> Proof<'_> {
        let OwnedProof { salt, plugin, response, force_switch } = self;
        Proof { salt: *salt, plugin: plugin.as_deref(), response, force_switch: *force_switch }
    }
}
