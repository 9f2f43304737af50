//! We as the server: is this client who it says it is?
//!
//! What a client is asked depends on what is known of the user, on what the client opened with, and on what the
//! user's servers will want; never on whether the password is right or the user exists. An unknown user is
//! verified against [`Verifier::impostor`] and takes the same way to the same end.
//!
//! At most one switch of plugins is asked for: go-sql-driver refuses a second one.

use super::{
    Credential, Plugin, RsaKey, Secret, Verifier,
    caching_sha2::{self, FAST_OK, FULL_WANTED, KEY_WANTED, MORE_DATA},
    native,
    rsa::xor_with_salt,
};
use crate::protocol::handshake::{AuthSwitch, Salt};

/// Bytes of a proof of `caching_sha2_password`.
const SHA2_PROOF_LENGTH: usize = 32;

/// What a client sent to log in, and what it was asked.
#[derive(Clone, Copy, Debug)]
pub struct VerifyRequest<'a> {
    /// What is known of the user's password.
    pub verifier: &'a Verifier,
    /// The salt of our greeting.
    pub salt: Salt,
    /// A salt that was never used, for a switch of plugins.
    pub fresh_salt: Salt,
    /// The plugin that the client opened with.
    pub client_plugin: Option<&'a [u8]>,
    /// The client's answer to `salt`, in the way of `client_plugin`.
    pub response: &'a [u8],
    /// The client knows PLUGIN_AUTH; without it, it can do `mysql_native_password` only, and no switch.
    pub plugin_auth: bool,
    /// The user's servers need a password that a hash cannot give: ask for it where only a hash is known.
    pub learn_cleartext: bool,
    /// Ask for a new proof whatever came: COM_CHANGE_USER must not be proved with an old salt.
    pub force_switch: bool,
}

/// What to do next with a client that wants to log in.
#[derive(Debug)]
pub enum Verify {
    /// Send this payload, then wait for the client's next packet.
    Send(Vec<u8>),
    /// Send this payload; the client is verified and waits for OK.
    SendThenAccept(Vec<u8>, Authenticated),
    /// The client is verified and waits for OK.
    Accept(Authenticated),
    /// The client gets an ERR, the same one for every reason.
    Deny(DenyReason),
}

/// Why a client was not let in; for our log, not for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenyReason {
    /// The proof is none for the password.
    WrongPassword,
    /// There is a password, and the client sent none.
    NoPassword,
    /// An answer that the plugin does not know.
    Malformed,
}

/// The proof that a client was verified. Only this module makes it.
#[derive(Clone, Debug)]
pub struct Authenticated {
    credential: Credential,
}

impl Authenticated {
    /// What can log in at a server in the client's place.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The same, when nothing else is wanted.
    pub fn into_credential(self) -> Credential {
        self.credential
    }
}

/// One client's login, between two of its packets.
#[derive(Debug)]
pub struct Verification {
    stage: Stage,
}

/// What the client's next packet is.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// A proof in the way of the plugin that was asked for.
    Proof { plugin: Plugin, salt: Salt },
    /// The password, or the wish for the key to encrypt it with.
    Password { salt: Salt },
    /// The password under our key.
    Ciphertext { salt: Salt },
    /// None.
    Over,
}

impl Verification {
    /// Judges what the client opened with.
    pub fn begin(request: VerifyRequest<'_>) -> (Verification, Verify) {
        let mut verification = Verification { stage: Stage::Over };
        let plugin = wanted_plugin(&request);
        let next = if needs_switch(&request, plugin) {
            verification.switch(plugin, request.fresh_salt)
        } else {
            verification.judge_proof(plugin, request.salt, request.response, request.verifier)
        };
        (verification, next)
    }

    /// Judges the client's next packet. `verifier` is the one of the beginning.
    pub fn receive(&mut self, payload: &[u8], verifier: &Verifier, key: &RsaKey) -> Verify {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Proof { plugin, salt } => self.judge_proof(plugin, salt, payload, verifier),
            Stage::Password { salt } if payload == [KEY_WANTED] => {
                self.stage = Stage::Ciphertext { salt };
                Verify::Send([&[MORE_DATA], key.public_key_pem()].concat())
            }
            Stage::Password { salt } | Stage::Ciphertext { salt } => judge_password(payload, salt, verifier, key),
            Stage::Over => Verify::Deny(DenyReason::Malformed),
        }
    }

    fn switch(&mut self, plugin: Plugin, salt: Salt) -> Verify {
        self.stage = Stage::Proof { plugin, salt };
        let mut payload = Vec::new();
        AuthSwitch { plugin: plugin.name().to_vec(), data: salt.to_bytes().to_vec() }.encode(&mut payload);
        Verify::Send(payload)
    }

    fn judge_proof(&mut self, plugin: Plugin, salt: Salt, response: &[u8], verifier: &Verifier) -> Verify {
        // For an empty password caching_sha2_password sends its NUL alone.
        if response.is_empty() || response == [0] {
            return judge_no_password(verifier);
        }
        match (plugin, verifier) {
            (Plugin::NativePassword, _) => judge_native(response, salt, verifier),
            (Plugin::CachingSha2Password, _) if response.len() != SHA2_PROOF_LENGTH => {
                Verify::Deny(DenyReason::Malformed)
            }
            (Plugin::CachingSha2Password, Verifier::Cleartext(password)) => judge_sha2(response, salt, password),
            (Plugin::CachingSha2Password, Verifier::DoubleSha1(_)) => {
                self.stage = Stage::Password { salt };
                Verify::Send(vec![MORE_DATA, FULL_WANTED])
            }
        }
    }
}

/// The plugin in whose way this client must prove its password.
fn wanted_plugin(request: &VerifyRequest<'_>) -> Plugin {
    let named = request.client_plugin.and_then(Plugin::from_name);
    match (request.verifier, named) {
        _ if !request.plugin_auth => Plugin::NativePassword,
        (Verifier::Cleartext(_), Some(named)) => named,
        _ if request.learn_cleartext => Plugin::CachingSha2Password,
        _ => Plugin::NativePassword,
    }
}

fn needs_switch(request: &VerifyRequest<'_>, wanted: Plugin) -> bool {
    let named = request.client_plugin.and_then(Plugin::from_name);
    // A client whose plugin is not the greeting's did not look at the salt, and sends nothing whether it has a
    // password or not.
    let may_lack_salt = request.response.is_empty() && !is_without_password(request.verifier);
    request.plugin_auth && (request.force_switch || named != Some(wanted) || may_lack_salt)
}

fn is_without_password(verifier: &Verifier) -> bool {
    match verifier {
        Verifier::Cleartext(password) => password.is_empty(),
        Verifier::DoubleSha1(_) => false,
    }
}

fn judge_no_password(verifier: &Verifier) -> Verify {
    if is_without_password(verifier) {
        return accept(Credential::Empty);
    }
    Verify::Deny(DenyReason::NoPassword)
}

fn judge_native(response: &[u8], salt: Salt, verifier: &Verifier) -> Verify {
    let Ok(proof) = response.try_into() else {
        return Verify::Deny(DenyReason::Malformed);
    };
    let stage2 = match verifier {
        Verifier::Cleartext(password) => *native::stage2(password.expose()),
        Verifier::DoubleSha1(stage2) => *stage2,
    };
    match (native::stage1_of_proof(proof, &salt, &stage2), verifier) {
        (Some(_), Verifier::Cleartext(password)) => accept(Credential::of_password(password.clone())),
        (Some(stage1), Verifier::DoubleSha1(_)) => accept(Credential::NativeStage1(Secret::new(*stage1))),
        (None, _) => Verify::Deny(DenyReason::WrongPassword),
    }
}

fn judge_sha2(response: &[u8], salt: Salt, password: &Secret) -> Verify {
    if !caching_sha2::is_proof(response, password.expose(), &salt) {
        return Verify::Deny(DenyReason::WrongPassword);
    }
    let credential = Credential::of_password(password.clone());
    Verify::SendThenAccept(vec![MORE_DATA, FAST_OK], Authenticated { credential })
}

/// Judges the password itself: under our key, or in clear from a client that trusts its way to us (a UNIX socket).
fn judge_password(payload: &[u8], salt: Salt, verifier: &Verifier, key: &RsaKey) -> Verify {
    let plaintext = if payload.len() == key.ciphertext_length() {
        key.decrypt(payload).map(|hidden| xor_with_salt(hidden.expose(), &salt))
    } else {
        Some(Secret::new(payload))
    };
    let Some((0, password)) = plaintext.as_ref().and_then(|plaintext| plaintext.expose().split_last()) else {
        return Verify::Deny(DenyReason::Malformed);
    };
    let password = Secret::new(password);
    let is_right = match verifier {
        Verifier::Cleartext(expected) => *expected == password,
        Verifier::DoubleSha1(expected) => Secret::new(*native::stage2(password.expose())) == Secret::new(*expected),
    };
    if !is_right {
        return Verify::Deny(DenyReason::WrongPassword);
    }
    accept(Credential::of_password(password))
}

fn accept(credential: Credential) -> Verify {
    Verify::Accept(Authenticated { credential })
}

/// Feeds a client's packets, and sees that none of them is let in against a verifier that nothing matches.
pub(super) fn fuzz_verification(bytes: &[u8]) {
    // A key takes a tenth of a second to make: one for all inputs.
    static KEY: std::sync::LazyLock<RsaKey> = std::sync::LazyLock::new(|| RsaKey::generate().expect("a key"));
    let Some((&[choice, plugin], packets)) = bytes.split_first_chunk() else {
        return;
    };
    let verifier = if choice & 1 == 0 { Verifier::impostor([7; 20]) } else { Verifier::DoubleSha1([7; 20]) };
    let mut packets = packets.split(|byte| *byte == 0xA5);
    let request = VerifyRequest {
        verifier: &verifier,
        salt: Salt([1; 20]),
        fresh_salt: Salt([2; 20]),
        client_plugin: [None, Some(&b"mysql_native_password"[..]), Some(b"caching_sha2_password"), Some(b"x")]
            [usize::from(plugin & 3)],
        response: packets.next().unwrap_or_default(),
        plugin_auth: choice & 2 != 0,
        learn_cleartext: choice & 4 != 0,
        force_switch: choice & 8 != 0,
    };
    let (mut verification, mut next) = Verification::begin(request);
    let mut rounds = 0;
    while let (Verify::Send(_), Some(packet)) = (&next, packets.next()) {
        next = verification.receive(packet, &verifier, &KEY);
        rounds += 1;
    }
    assert!(rounds <= 4, "a login is over after a few packets");
    assert!(matches!(next, Verify::Send(_) | Verify::Deny(_)));
}
