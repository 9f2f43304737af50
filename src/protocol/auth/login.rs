//! We as the client: log in at a server with what a user's login, or the configuration, gave us.
//!
//! The caller reads the greeting, sends the response that [`Login::begin`] gives it the proof for, and then hands
//! each of the server's packets to [`Login::receive`] until one ends the login. A server is never sent a password
//! in clear but where nobody listens, and no more switches are followed than there are plugins to try.
//!
//! Without TLS the key that a password is encrypted with is the one the server sends: who stands in between
//! could send another.

use std::fmt;

use zeroize::Zeroizing;

use super::{
    Credential, Plugin, RsaError, Secret,
    caching_sha2::{self, FAST_OK, FULL_WANTED, KEY_WANTED, MORE_DATA},
    ed25519,
    native::{self, Digest20},
    parsec::{self, Stretching},
    rsa::{encrypt_password, with_nul},
};
use crate::protocol::{
    capability::Capabilities,
    handshake::{AuthSwitch, Greeting, Salt},
    reader::Malformed,
    response::{ERR_HEADER, ErrPacket, OK_HEADER, OkPacket},
};

/// An account of MariaDB may list several plugins, and each but the first is a switch.
const SWITCHES_MAX: u8 = 4;

/// The plugin by which PAM asks whatever it likes.
const DIALOG: &[u8] = b"dialog";

/// First byte of a wish for a second factor.
const NEXT_FACTOR: u8 = 0x02;

/// A login at a server, between two of its packets.
#[derive(Debug)]
pub struct Login {
    plugin: Plugin,
    salt: Salt,
    stage: Stage,
    /// How often the server has changed its mind; at most [`SWITCHES_MAX`].
    switches: u8,
    way: Way,
}

/// What the server's next packet can be, beside OK, ERR and another switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The proof is sent; `caching_sha2_password` may want the password.
    Proved,
    /// The server's key is asked for.
    KeyWanted,
    /// How the key for the signature is made, after this nonce of the server's.
    StretchingWanted([u8; parsec::NONCE_LENGTH]),
    /// Nothing else: the password or a signature is sent.
    Answered,
}

/// Who could listen on the way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Whoever is in between.
    Open,
    /// Nobody: a UNIX socket, or inside TLS.
    Private,
}

/// What to do next at a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginStep {
    /// Send this payload, then wait for the server's next packet. The payload may be empty.
    Send(Vec<u8>),
    /// Wait for the server's next packet.
    Wait,
    /// We are in.
    Accepted(OkPacket),
    /// The server does not let us in.
    Refused(ErrPacket),
    /// The server wants something that we do not have, or do not give.
    Unanswerable {
        /// The plugin that it wants.
        plugin: Vec<u8>,
        /// Why it cannot be answered.
        why: Obstacle,
    },
    /// A packet that has no place here.
    Malformed,
}

/// Why a server's plugin cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The plugin is not known here. MySQL also asks a user that it does not know for a plugin of its choice, so that
    /// this may mean a wrong name.
    UnknownPlugin,
    /// The plugin wants the password in clear.
    WantsCleartext,
    /// The plugin asks questions that are meant for people.
    Dialog,
    /// The plugin needs the password, and only a hash of it is known.
    OnlyHashKnown,
    /// The server wants a second factor.
    SeveralFactors,
    /// The server switches plugins without end.
    TooManySwitches,
    /// The password could not be encrypted.
    Rsa(RsaError),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Obstacle::UnknownPlugin => "this authentication plugin is not supported",
            Obstacle::WantsCleartext => {
                "the server wants the password in clear, which is sent only inside TLS: write `tls = \"required\"` for it"
            }
            Obstacle::Dialog => {
                "the server asks questions that only a person can answer; with `pam_use_cleartext_plugin=ON` it asks for the \
                 password alone"
            }
            Obstacle::OnlyHashKnown => {
                "the server needs the password, and only a hash of it is known: let the client use TLS and \
                 caching_sha2_password, or write `password` or `backend_password`"
            }
            Obstacle::SeveralFactors => "the account has several authentication factors",
            Obstacle::TooManySwitches => "the server asks for one authentication plugin after the other",
            Obstacle::Rsa(error) => return error.fmt(formatter),
        })
    }
}

impl Login {
    /// Chooses a plugin and proves the password to a greeting: both go into the handshake response.
    pub fn begin(greeting: &Greeting, credential: &Credential) -> (Login, Plugin, Vec<u8>) {
        let offered = Plugin::from_name(&greeting.plugin).unwrap_or(Plugin::NativePassword);
        // A server switches to the account's plugin anyway: open with what can be answered.
        let (plugin, response) = match prove(offered, &greeting.salt, credential) {
            Some(response) => (offered, response),
            None => {
                let native = Plugin::NativePassword;
                (native, prove(native, &greeting.salt, credential).unwrap_or_default())
            }
        };
        let login = Login { plugin, salt: greeting.salt, stage: Stage::Proved, switches: 0, way: Way::Open };
        (login, plugin, response)
    }

    /// The server is reached over a UNIX socket or inside TLS, where nobody listens: it expects the password itself in
    /// place of RSA.
    #[must_use]
    pub fn in_private(self) -> Login {
        Login { way: Way::Private, ..self }
    }

    /// Answers the server's next packet. `capabilities` are those that the handshake response named.
    pub fn receive(&mut self, payload: &[u8], credential: &Credential, capabilities: Capabilities) -> LoginStep {
        match payload.first() {
            Some(&OK_HEADER) => OkPacket::parse(payload, capabilities).map(LoginStep::Accepted),
            Some(&ERR_HEADER) => ErrPacket::parse(payload).map(LoginStep::Refused),
            Some(&AuthSwitch::HEADER) if payload.len() == 1 => {
                Ok(unanswerable(b"mysql_old_password", Obstacle::UnknownPlugin))
            }
            Some(&AuthSwitch::HEADER) => self.switch(payload, credential),
            Some(&MORE_DATA) => Ok(self.more_data(&payload[1..], credential)),
            Some(&NEXT_FACTOR) => Ok(unanswerable(second_factor(payload), Obstacle::SeveralFactors)),
            _ => Ok(LoginStep::Malformed),
        }
        .unwrap_or(LoginStep::Malformed)
    }

    fn switch(&mut self, payload: &[u8], credential: &Credential) -> Result<LoginStep, Malformed> {
        let AuthSwitch { plugin: name, data } = AuthSwitch::parse(payload)?;
        let Some(plugin) = Plugin::from_name(&name) else {
            let why = if name == DIALOG { Obstacle::Dialog } else { Obstacle::UnknownPlugin };
            return Ok(unanswerable(&name, why));
        };
        if self.switches == SWITCHES_MAX {
            return Ok(unanswerable(&name, Obstacle::TooManySwitches));
        }
        self.switches += 1;
        self.plugin = plugin;
        match self.answer(&data, credential) {
            Ok(answer) => Ok(LoginStep::Send(answer)),
            Err(Stop::Malformed(malformed)) => Err(malformed),
            Err(Stop::At(why)) => Ok(unanswerable(&name, why)),
        }
    }

    /// The answer to what came with a switch to the plugin.
    fn answer(&mut self, data: &[u8], credential: &Credential) -> Result<Vec<u8>, Stop> {
        let password = || password_of(credential).ok_or(Obstacle::OnlyHashKnown);
        match self.plugin {
            Plugin::NativePassword | Plugin::CachingSha2Password => {
                self.salt = Salt::parse(data)?;
                self.stage = Stage::Proved;
                Ok(prove(self.plugin, &self.salt, credential).ok_or(Obstacle::OnlyHashKnown)?)
            }
            Plugin::Sha256Password => {
                self.salt = Salt::parse(data)?;
                Ok(self.sha256(password()?))
            }
            Plugin::ClearPassword if self.way == Way::Open => Err(Stop::At(Obstacle::WantsCleartext)),
            Plugin::ClearPassword => Ok(self.in_clear(password()?)),
            Plugin::Ed25519 => {
                self.stage = Stage::Answered;
                Ok(ed25519::sign(password()?, &nonce(data)?).to_vec())
            }
            Plugin::Parsec => {
                password()?;
                self.stage = Stage::StretchingWanted(nonce(data)?);
                Ok(Vec::new())
            }
        }
    }

    /// `sha256_password`: the password each time, under the server's key where somebody may listen. MySQL also asks users that
    /// it does not know for this plugin, now and then, and says only then that it does not know them.
    fn sha256(&mut self, password: &[u8]) -> Vec<u8> {
        const KEY_WANTED: u8 = 0x01;
        if self.way == Way::Private || password.is_empty() {
            return self.in_clear(password);
        }
        self.stage = Stage::KeyWanted;
        vec![KEY_WANTED]
    }

    /// The password as it is; an empty one is its NUL alone.
    fn in_clear(&mut self, password: &[u8]) -> Vec<u8> {
        self.stage = Stage::Answered;
        with_nul(password).expose().to_vec()
    }

    /// The longer exchange of plugins that want the password; `data` is what follows the header byte.
    fn more_data(&mut self, data: &[u8], credential: &Credential) -> LoginStep {
        let name = self.plugin.name();
        match (self.plugin, self.stage, data) {
            (Plugin::CachingSha2Password, Stage::Proved, [FAST_OK]) => LoginStep::Wait,
            (Plugin::CachingSha2Password, Stage::Proved, [FULL_WANTED]) => match credential {
                Credential::Cleartext(password) => LoginStep::Send(self.full(password)),
                Credential::Empty | Credential::NativeStage1(_) | Credential::NotKnown => {
                    unanswerable(name, Obstacle::OnlyHashKnown)
                }
            },
            (_, Stage::KeyWanted, pem) => match credential {
                Credential::Cleartext(password) => self.send_under_key(pem, password),
                Credential::Empty | Credential::NativeStage1(_) | Credential::NotKnown => {
                    unanswerable(name, Obstacle::OnlyHashKnown)
                }
            },
            (_, Stage::StretchingWanted(nonce), stretching) => self.sign(&nonce, stretching, credential),
            (_, Stage::Proved | Stage::Answered, _) => LoginStep::Malformed,
        }
    }

    fn full(&mut self, password: &Secret) -> Vec<u8> {
        match self.way {
            Way::Private => self.in_clear(password.expose()),
            Way::Open => {
                self.stage = Stage::KeyWanted;
                vec![KEY_WANTED]
            }
        }
    }

    /// The signature of `parsec`, under the key that is made in this way.
    fn sign(&mut self, nonce: &[u8; parsec::NONCE_LENGTH], stretching: &[u8], credential: &Credential) -> LoginStep {
        self.stage = Stage::Answered;
        match (Stretching::parse(stretching), password_of(credential)) {
            (Some(stretching), Some(password)) => LoginStep::Send(stretching.answer(password, nonce)),
            (None, _) | (_, None) => LoginStep::Malformed,
        }
    }

    fn send_under_key(&mut self, pem: &[u8], password: &Secret) -> LoginStep {
        self.stage = Stage::Answered;
        match encrypt_password(pem, password, &self.salt) {
            Ok(ciphertext) => LoginStep::Send(ciphertext),
            Err(error) => unanswerable(self.plugin.name(), Obstacle::Rsa(error)),
        }
    }
}

/// Why a switch is not answered.
enum Stop {
    Malformed(Malformed),
    At(Obstacle),
}

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Stop {
        Stop::Malformed(malformed)
    }
}

impl From<Obstacle> for Stop {
    fn from(obstacle: Obstacle) -> Stop {
        Stop::At(obstacle)
    }
}

fn unanswerable(plugin: &[u8], why: Obstacle) -> LoginStep {
    LoginStep::Unanswerable { plugin: plugin.to_vec(), why }
}

/// The plugin of a wish for a second factor.
fn second_factor(payload: &[u8]) -> &[u8] {
    payload[1..].split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The password, where it is known.
fn password_of(credential: &Credential) -> Option<&[u8]> {
    match credential {
        Credential::Empty => Some(&[]),
        Credential::Cleartext(password) => Some(password.expose()),
        Credential::NativeStage1(_) | Credential::NotKnown => None,
    }
}

/// The 32 bytes that are to be signed. No server ends them with a NUL, and one that does means the same.
fn nonce(data: &[u8]) -> Result<[u8; 32], Malformed> {
    let nonce = match data {
        [nonce @ .., 0] if nonce.len() == 32 => nonce,
        nonce => nonce,
    };
    nonce.try_into().map_err(|_| Malformed { field: "nonce" })
}

/// The answer of a plugin to a salt; `None` where the credential, or any answer to a salt, cannot give it.
fn prove(plugin: Plugin, salt: &Salt, credential: &Credential) -> Option<Vec<u8>> {
    match (plugin, credential) {
        (Plugin::Sha256Password | Plugin::ClearPassword | Plugin::Ed25519 | Plugin::Parsec, _) => None,
        (_, Credential::Empty) => Some(Vec::new()),
        (_, Credential::Cleartext(password)) if password.is_empty() => Some(Vec::new()),
        (Plugin::NativePassword, _) => Some(native::prove(&*native_stage1(credential)?, salt).to_vec()),
        (Plugin::CachingSha2Password, Credential::Cleartext(password)) => {
            Some(caching_sha2::prove(password.expose(), salt).to_vec())
        }
        (Plugin::CachingSha2Password, Credential::NativeStage1(_) | Credential::NotKnown) => None,
    }
}

fn native_stage1(credential: &Credential) -> Option<Digest20> {
    match credential {
        Credential::Empty | Credential::NotKnown => None,
        Credential::Cleartext(password) => Some(native::stage1(password.expose())),
        Credential::NativeStage1(stage1) => stage1.expose().try_into().ok().map(Zeroizing::new),
    }
}

/// Feeds a server's packets, and sees that the login ends.
pub(super) fn fuzz_login(bytes: &[u8]) {
    let Some((choice, packets)) = bytes.split_first() else {
        return;
    };
    let plugin = [&b"mysql_native_password"[..], b"caching_sha2_password", b"sha256_password", b""];
    let credential = match choice & 0x0C {
        0x00 => Credential::Empty,
        0x04 => Credential::NativeStage1(Secret::new([3; 20])),
        _ => Credential::Cleartext(Secret::new(*b"password")),
    };
    let greeting = Greeting {
        version: Vec::new(),
        connection_id: 1,
        salt: Salt([1; 20]),
        capabilities: Capabilities::NONE,
        collation: 0,
        status: Default::default(),
        plugin: plugin[usize::from(choice & 3)].to_vec(),
    };
    let (mut login, _, _) = Login::begin(&greeting, &credential);
    let mut sent = 0;
    for packet in packets.split(|byte| *byte == 0xA5) {
        match login.receive(packet, &credential, Capabilities::SESSION_TRACK) {
            LoginStep::Send(payload) => {
                assert!(!payload.starts_with(b"password"), "over a network the password is not sent in clear");
                sent += 1;
            }
            LoginStep::Wait => {}
            _ => break,
        }
    }
    assert!(sent <= 3 * (usize::from(SWITCHES_MAX) + 1), "a login does not go on for ever");
}

#[cfg(test)]
mod tests {
    use super::{super::rsa::tests::KEY, *};
    use crate::protocol::{
        auth::{Verification, Verifier, Verify, VerifyRequest},
        error_code::{Error, ErrorCode},
    };

    const SALT: Salt = Salt([0x11; 20]);
    const FRESH: Salt = Salt([0x22; 20]);
    const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

    fn greeting(plugin: &[u8]) -> Greeting {
        Greeting {
            version: b"9.7.4".to_vec(),
            connection_id: 1,
            salt: SALT,
            capabilities: Capabilities::ALL_MYSQL,
            collation: 255,
            status: Default::default(),
            plugin: plugin.to_vec(),
        }
    }

    fn password(text: &str) -> Credential {
        Credential::of_password(Secret::new(text))
    }

    fn stage1(text: &str) -> Credential {
        Credential::NativeStage1(Secret::new(*native::stage1(text.as_bytes())))
    }

    fn switch_to(plugin: &[u8], data: &[u8]) -> Vec<u8> {
        [&[0xFE], plugin, &[0], data].concat()
    }

    fn receive(login: &mut Login, payload: &[u8], credential: &Credential) -> LoginStep {
        login.receive(payload, credential, Capabilities::SESSION_TRACK)
    }

    fn start(plugin: &[u8], credential: &Credential) -> Login {
        Login::begin(&greeting(plugin), credential).0
    }

    /// Our client logs in at our server: whether it gets in.
    fn meet(greeted: Plugin, verifier: &Verifier, learn_cleartext: bool, credential: &Credential) -> bool {
        let (mut login, plugin, response) = Login::begin(&greeting(greeted.name()), credential);
        let (mut verification, mut next) = Verification::begin(VerifyRequest {
            verifier,
            salt: SALT,
            fresh_salt: FRESH,
            nonce: [0x33; 32],
            client_plugin: Some(plugin.name()),
            response: &response,
            plugin_auth: true,
            learn_cleartext,
            in_private: false,
            force_switch: false,
        });
        loop {
            let payload = match next {
                Verify::Send(payload) => payload,
                Verify::SendThenAccept(payload, _) => {
                    assert_eq!(receive(&mut login, &payload, credential), LoginStep::Wait);
                    return matches!(receive(&mut login, OK, credential), LoginStep::Accepted(_));
                }
                Verify::Accept(_) => {
                    return matches!(receive(&mut login, OK, credential), LoginStep::Accepted(_));
                }
                Verify::Deny(_) => return false,
            };
            match receive(&mut login, &payload, credential) {
                LoginStep::Send(answer) => next = verification.receive(&answer, verifier, &KEY),
                LoginStep::Unanswerable { .. } => return false,
                other => panic!("our server sent what our client does not understand: {other:?}"),
            }
        }
    }

    #[test]
    fn our_client_gets_in_at_our_server_with_whatever_can_prove_the_password() {
        let cleartext = Verifier::Cleartext(Secret::new("pw"));
        let hash = Verifier::DoubleSha1(*native::stage2(b"pw"));
        for greeted in [Plugin::NativePassword, Plugin::CachingSha2Password] {
            for (verifier, learn) in [(&cleartext, false), (&cleartext, true), (&hash, false), (&hash, true)] {
                assert!(meet(greeted, verifier, learn, &password("pw")), "{greeted:?} {verifier:?} {learn}");
                assert!(!meet(greeted, verifier, learn, &password("other")), "{greeted:?} {verifier:?} {learn}");
                assert!(!meet(greeted, verifier, learn, &Credential::Empty), "{greeted:?} {verifier:?} {learn}");
            }
            assert!(meet(greeted, &cleartext, false, &stage1("pw")));
            assert!(meet(greeted, &hash, false, &stage1("pw")));
            assert!(!meet(greeted, &hash, true, &stage1("pw")), "a hash does not give the password");
            assert!(meet(greeted, &Verifier::Cleartext(Secret::default()), false, &Credential::Empty));
        }
    }

    #[test]
    fn the_greeted_plugin_is_answered_where_it_can_be() {
        let begin = |plugin: &[u8], credential: &Credential| {
            let (_, plugin, response) = Login::begin(&greeting(plugin), credential);
            (plugin, response.len())
        };
        assert_eq!(begin(b"caching_sha2_password", &password("pw")), (Plugin::CachingSha2Password, 32));
        assert_eq!(begin(b"caching_sha2_password", &stage1("pw")), (Plugin::NativePassword, 20));
        assert_eq!(begin(b"caching_sha2_password", &Credential::Empty), (Plugin::CachingSha2Password, 0));
        assert_eq!(begin(b"mysql_native_password", &stage1("pw")), (Plugin::NativePassword, 20));
        assert_eq!(begin(b"sha256_password", &password("pw")), (Plugin::NativePassword, 20));
        assert_eq!(begin(b"", &password("")), (Plugin::NativePassword, 0));
    }

    fn check_unanswerable(credential: &Credential, payload: &[u8], plugin: &[u8], why: Obstacle) {
        let step = receive(&mut start(b"mysql_native_password", credential), payload, credential);
        assert_eq!(step, LoginStep::Unanswerable { plugin: plugin.to_vec(), why });
    }

    #[test]
    fn what_cannot_be_answered_is_said_to_be_so() {
        let pw = password("pw");
        let salt = SALT.to_bytes();
        check_unanswerable(
            &pw,
            &switch_to(b"mysql_clear_password", b""),
            b"mysql_clear_password",
            Obstacle::WantsCleartext,
        );
        check_unanswerable(&pw, &switch_to(b"dialog", b"\x04Password: "), b"dialog", Obstacle::Dialog);
        check_unanswerable(&pw, &switch_to(b"auth_gssapi_client", b""), b"auth_gssapi_client", Obstacle::UnknownPlugin);
        for plugin in [&b"client_ed25519"[..], b"parsec"] {
            check_unanswerable(&stage1("pw"), &switch_to(plugin, &[1; 32]), plugin, Obstacle::OnlyHashKnown);
        }
        check_unanswerable(&pw, &[0xFE], b"mysql_old_password", Obstacle::UnknownPlugin);
        check_unanswerable(
            &pw,
            b"\x02authentication_webauthn\0xyz",
            b"authentication_webauthn",
            Obstacle::SeveralFactors,
        );
        let switch = switch_to(b"caching_sha2_password", &salt);
        check_unanswerable(&stage1("pw"), &switch, b"caching_sha2_password", Obstacle::OnlyHashKnown);
    }

    #[test]
    fn switches_are_followed_but_not_for_ever() {
        let credential = password("pw");
        let mut login = start(b"mysql_native_password", &credential);
        for round in 0..SWITCHES_MAX {
            let plugin = [&b"caching_sha2_password"[..], b"mysql_native_password"][usize::from(round % 2)];
            let step = receive(&mut login, &switch_to(plugin, &[round + 1; 20]), &credential);
            assert!(matches!(step, LoginStep::Send(_)), "{round}: {step:?}");
        }
        let step = receive(&mut login, &switch_to(b"mysql_native_password", &[9; 20]), &credential);
        assert!(matches!(step, LoginStep::Unanswerable { why: Obstacle::TooManySwitches, .. }));
    }

    #[test]
    fn sha256_password_gets_the_password_under_the_servers_key() {
        let credential = password("secret");
        let mut login = start(b"caching_sha2_password", &credential);
        let switch = switch_to(b"sha256_password", &FRESH.to_bytes());
        assert_eq!(receive(&mut login, &switch, &credential), LoginStep::Send(vec![0x01]));
        let key = [&[1], KEY.public_key_pem()].concat();
        let LoginStep::Send(ciphertext) = receive(&mut login, &key, &credential) else { panic!("no password") };
        let hidden = KEY.decrypt(&ciphertext).unwrap();
        let shown: Vec<u8> =
            hidden.expose().iter().zip(FRESH.0.iter().cycle()).map(|(byte, salt)| byte ^ salt).collect();
        assert_eq!(shown, b"secret\0");
        assert!(matches!(receive(&mut login, OK, &credential), LoginStep::Accepted(_)));

        let mut login = start(b"caching_sha2_password", &Credential::Empty);
        assert_eq!(receive(&mut login, &switch, &Credential::Empty), LoginStep::Send(vec![0]));
        let mut login = start(b"caching_sha2_password", &stage1("secret"));
        assert!(matches!(receive(&mut login, &switch, &stage1("secret")), LoginStep::Unanswerable { .. }));
    }

    #[test]
    #[cfg_attr(miri, ignore = "many signatures, of which each takes half a minute")]
    fn a_nonce_is_signed_under_the_key_of_the_password() {
        let credential = password("pw");
        let mut login = start(b"mysql_native_password", &credential);
        let LoginStep::Send(signature) = receive(&mut login, &switch_to(b"client_ed25519", &[7; 32]), &credential)
        else {
            panic!("a signature")
        };
        let key = ed25519::public_key(b"pw");
        assert!(ed25519::is_signature(&signature.try_into().unwrap(), &[7; 32], &key));
        assert_eq!(receive(&mut login, &[1, 4], &credential), LoginStep::Malformed);
    }

    #[test]
    #[cfg_attr(miri, ignore = "the signature is of the library in C")]
    fn parsec_is_told_how_its_key_is_made_before_it_signs() {
        let credential = password("pw");
        let stretching = [&b"\x01P\0"[..], &[5; 18]].concat();
        let mut login = start(b"mysql_native_password", &credential);
        assert_eq!(receive(&mut login, &stretching, &credential), LoginStep::Malformed, "nobody has asked for it");
        let mut login = start(b"mysql_native_password", &credential);
        let step = receive(&mut login, &switch_to(b"parsec", &[7; 32]), &credential);
        assert_eq!(step, LoginStep::Send(Vec::new()));
        let expected = Stretching::parse(&stretching[1..]).unwrap().answer(b"pw", &[7; 32]);
        assert_eq!(receive(&mut login, &stretching, &credential), LoginStep::Send(expected));
        assert_eq!(receive(&mut login, &stretching, &credential), LoginStep::Malformed, "it is signed once");
    }

    #[test]
    fn a_server_that_forgot_the_user_gets_the_password_under_its_key() {
        let credential = password("pw");
        let mut login = start(b"caching_sha2_password", &credential);
        assert_eq!(receive(&mut login, &[1, 4], &credential), LoginStep::Send(vec![2]));
        let key = [&[1], KEY.public_key_pem()].concat();
        let LoginStep::Send(ciphertext) = receive(&mut login, &key, &credential) else { panic!("a ciphertext") };
        let hidden = KEY.decrypt(&ciphertext).unwrap();
        assert_eq!(hidden.expose(), [b'p' ^ 0x11, b'w' ^ 0x11, 0x11]);
        assert_eq!(receive(&mut login, &key, &credential), LoginStep::Malformed, "the key is wanted once");
        assert!(matches!(receive(&mut login, OK, &credential), LoginStep::Accepted(_)));
    }

    #[test]
    fn where_nobody_listens_every_plugin_that_wants_the_password_gets_it() {
        for (plugin, salt) in [(&b"sha256_password"[..], &FRESH.to_bytes()[..]), (b"mysql_clear_password", b"")] {
            let sent = |credential: &Credential| {
                let mut login = start(b"caching_sha2_password", credential).in_private();
                receive(&mut login, &switch_to(plugin, salt), credential)
            };
            assert_eq!(sent(&password("pw")), LoginStep::Send(b"pw\0".to_vec()));
            assert_eq!(sent(&Credential::Empty), LoginStep::Send(b"\0".to_vec()));
            let plugin = plugin.to_vec();
            assert_eq!(sent(&stage1("pw")), LoginStep::Unanswerable { plugin, why: Obstacle::OnlyHashKnown });
        }
    }

    #[test]
    fn over_a_unix_socket_the_password_is_sent_as_it_is() {
        let credential = password("pw");
        let mut login = start(b"caching_sha2_password", &credential).in_private();
        assert_eq!(receive(&mut login, &[1, 4], &credential), LoginStep::Send(b"pw\0".to_vec()));
        let mut login = start(b"mysql_native_password", &credential).in_private();
        receive(&mut login, &switch_to(b"caching_sha2_password", &[3; 20]), &credential);
        assert_eq!(receive(&mut login, &[1, 4], &credential), LoginStep::Send(b"pw\0".to_vec()), "after a switch too");
    }

    #[test]
    fn a_key_that_is_none_ends_the_login() {
        let credential = password("pw");
        let mut login = start(b"caching_sha2_password", &credential);
        receive(&mut login, &[1, 4], &credential);
        let step = receive(&mut login, b"\x01-----BEGIN", &credential);
        assert!(matches!(step, LoginStep::Unanswerable { why: Obstacle::Rsa(RsaError::PublicKey), .. }));
    }

    #[test]
    fn a_refusal_is_given_on_as_it_came() {
        let credential = password("pw");
        let mut login = start(b"mysql_native_password", &credential);
        let LoginStep::Refused(error) = receive(&mut login, b"\xFF\x15\x04#28000no", &credential) else {
            panic!("a refusal")
        };
        assert_eq!((error.code, error.state), (Error::ACCESS_DENIED.code, Some(*b"28000")));
        assert_ne!(error.code, ErrorCode(1));
    }

    #[test]
    fn what_has_no_place_in_a_login_is_malformed() {
        let credential = password("pw");
        let check = |plugin: &[u8], payload: &[u8]| {
            assert_eq!(
                receive(&mut start(plugin, &credential), payload, &credential),
                LoginStep::Malformed,
                "{payload:02x?}"
            );
        };
        check(b"mysql_native_password", b"");
        check(b"mysql_native_password", &[0]);
        check(b"mysql_native_password", &[0xFF, 1]);
        check(b"mysql_native_password", &[1, 4]);
        check(b"mysql_native_password", &[7, 7]);
        check(b"mysql_native_password", &switch_to(b"mysql_native_password", &[1; 8]));
        check(b"mysql_native_password", b"\xFEunended");
        check(b"caching_sha2_password", &[1]);
        check(b"caching_sha2_password", b"\x01-----BEGIN PUBLIC KEY-----");
    }
}
