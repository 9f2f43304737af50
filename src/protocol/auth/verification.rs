//! We as the server: is this client who it says it is?
//!
//! What a client is asked depends on what is known of the user, on what the client opened with, and on what the
//! user's servers will want; never on whether the password is right or the user exists. An unknown user is
//! verified against [`Verifier::impostor`] and takes the same way to the same end.
//!
//! At most one switch of plugins is asked for: go-sql-driver refuses a second one.

use sha2::{Digest, Sha256};

use super::{
    Credential, Plugin, RsaKey, Secret, Verifier,
    caching_sha2::{self, FAST_OK, FULL_WANTED, KEY_WANTED, MORE_DATA},
    ed25519,
    native::{self, Digest20},
    rsa::xor_with_salt,
};
use crate::protocol::handshake::{AuthSwitch, Salt};

/// Bytes of a proof of `caching_sha2_password`.
const SHA2_PROOF_LENGTH: usize = 32;

/// A client's wish for the public key under `sha256_password`.
const SHA256_KEY_WANTED: u8 = 0x01;

/// What a client sent to log in, and what it was asked.
#[derive(Clone, Copy, Debug)]
pub struct VerifyRequest<'a> {
    /// What is known of the user's password.
    pub verifier: &'a Verifier,
    /// The salt of our greeting.
    pub salt: Salt,
    /// A salt that was never used, for a switch of plugins.
    pub fresh_salt: Salt,
    /// Random bytes that were never used, for a switch to a plugin that signs them.
    pub nonce: [u8; 32],
    /// The plugin that the client opened with.
    pub client_plugin: Option<&'a [u8]>,
    /// The client's answer to `salt`, in the way of `client_plugin`.
    pub response: &'a [u8],
    /// The client knows PLUGIN_AUTH; without it, it can do `mysql_native_password` only, and no switch.
    pub plugin_auth: bool,
    /// The user's servers need a password that a hash cannot give: ask for it where only a hash is known.
    pub learn_cleartext: bool,
    /// Nobody listens to the client: a password may come as it is.
    pub in_private: bool,
    /// Ask for a new proof whatever came: COM_CHANGE_USER must not be proved with an old salt.
    pub force_switch: bool,
}

impl VerifyRequest<'_> {
    /// Whether to judge it takes milliseconds: it holds the password, of which a hash is known that is meant to be slow.
    pub fn is_costly(&self) -> bool {
        let plugin = wanted_plugin(self);
        let is_password = matches!(plugin, Plugin::Sha256Password | Plugin::ClearPassword);
        is_password && self.verifier.is_slow() && !needs_switch(self, plugin)
    }
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
    /// A server would have to judge the password, and the client can give it only where somebody may listen.
    NotInPrivate,
    /// The client can prove its password only in a way that tells nothing by what is known of it.
    Unprovable,
}

/// The proof that a client was verified. Only this module makes it.
#[derive(Clone, Debug)]
pub struct Authenticated {
    credential: Credential,
    common: Option<Common>,
}

/// What client and server both know of a password and of how it was proved, and nobody in between.
#[derive(Clone, Debug)]
enum Common {
    Native {
        stage2: Digest20,
        salt: Salt,
    },
    /// The salt is that of our greeting, whatever was signed: that is what clients and servers take.
    Ed25519 {
        key: [u8; 32],
        salt: Salt,
    },
}

impl Authenticated {
    /// What can log in at a server in the client's place.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// What convinces a client of MariaDB that a certificate is ours which nobody has signed: only who knows its password
    /// can say this of the certificate's fingerprint. Nothing where it proved its password in another family's way.
    ///
    /// The form is that of the OK packets of MariaDB 11.4 and later.
    pub fn assurance(&self, fingerprint: &[u8; 32]) -> Option<Vec<u8>> {
        let common = match self.common.as_ref()? {
            Common::Native { stage2, salt } => Sha256::new().chain_update(&stage2[..]).chain_update(salt.0),
            Common::Ed25519 { key, salt } => Sha256::new().chain_update(key).chain_update(salt.0),
        };
        let digest = common.chain_update(fingerprint).finalize();
        let digits = digest.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        Some([b"\x01", digits.as_bytes()].concat())
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
    in_private: bool,
}

/// What the client's next packet is.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// A proof in the way of the plugin that was asked for.
    Proof { plugin: Plugin, salt: Salt },
    /// A signature of this nonce, from somebody who was greeted with this salt.
    Signature { nonce: [u8; 32], greeted: Salt },
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
        let mut verification = Verification { stage: Stage::Over, in_private: request.in_private };
        let plugin = wanted_plugin(&request);
        let next = if needs_switch(&request, plugin) {
            verification.switch(plugin, &request)
        } else {
            verification.judge_proof(plugin, request.salt, request.response, request.verifier)
        };
        (verification, next)
    }

    /// Whether to judge the client's next packet takes milliseconds: by RSA, or by a hash that is meant to be slow.
    pub fn is_costly(&self, payload: &[u8], verifier: &Verifier) -> bool {
        match self.stage {
            Stage::Ciphertext { .. } => true,
            // The wish for the key is one byte. Who has the key already encrypts with it at once.
            Stage::Password { .. } => payload.len() > 1 && (!self.in_private || verifier.is_slow()),
            Stage::Proof { .. } | Stage::Signature { .. } | Stage::Over => false,
        }
    }

    /// Judges the client's next packet. `verifier` is the one of the beginning.
    pub fn receive(&mut self, payload: &[u8], verifier: &Verifier, key: &RsaKey) -> Verify {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Proof { plugin, salt } => self.judge_proof(plugin, salt, payload, verifier),
            Stage::Signature { nonce, greeted } => judge_signature(payload, nonce, greeted, verifier),
            Stage::Password { .. } if self.in_private && payload != [KEY_WANTED] => judge_cleartext(payload, verifier),
            Stage::Password { salt } if payload == [KEY_WANTED] => self.send_key(salt, key),
            Stage::Password { salt } if payload == [SHA256_KEY_WANTED] => self.send_key(salt, key),
            Stage::Password { salt } | Stage::Ciphertext { salt } => judge_password(payload, salt, verifier, key),
            Stage::Over => Verify::Deny(DenyReason::Malformed),
        }
    }

    fn send_key(&mut self, salt: Salt, key: &RsaKey) -> Verify {
        self.stage = Stage::Ciphertext { salt };
        Verify::Send([&[MORE_DATA], key.public_key_pem()].concat())
    }

    fn switch(&mut self, plugin: Plugin, request: &VerifyRequest<'_>) -> Verify {
        let salt = request.fresh_salt;
        let salted = salt.to_bytes().to_vec();
        let (stage, data) = match plugin {
            Plugin::Ed25519 => {
                (Stage::Signature { nonce: request.nonce, greeted: request.salt }, request.nonce.to_vec())
            }
            Plugin::Sha256Password | Plugin::ClearPassword => (Stage::Password { salt }, salted),
            Plugin::NativePassword | Plugin::CachingSha2Password | Plugin::Parsec => {
                (Stage::Proof { plugin, salt }, salted)
            }
        };
        self.stage = stage;
        let mut payload = Vec::new();
        AuthSwitch { plugin: plugin.name().to_vec(), data }.encode(&mut payload);
        Verify::Send(payload)
    }

    fn judge_proof(&mut self, plugin: Plugin, salt: Salt, response: &[u8], verifier: &Verifier) -> Verify {
        // For an empty password MySQL's plugins send its NUL alone.
        if response.is_empty() || response == [0] {
            return judge_no_password(verifier);
        }
        match (plugin, verifier) {
            (Plugin::NativePassword, _) => judge_native(response, salt, verifier),
            (Plugin::CachingSha2Password, _) if response.len() != SHA2_PROOF_LENGTH => {
                Verify::Deny(DenyReason::Malformed)
            }
            (Plugin::CachingSha2Password, Verifier::Cleartext(password)) => judge_sha2(response, salt, password),
            (Plugin::CachingSha2Password, Verifier::ByServer(Some(accepted)))
                if caching_sha2::is_proof(response, accepted.expose(), &salt) =>
            {
                judge_sha2(response, salt, accepted)
            }
            // What is given to be judged by a server must have been asked for where nobody listens or pretends.
            (Plugin::CachingSha2Password, Verifier::ByServer(_)) if !self.in_private => {
                Verify::Deny(DenyReason::NotInPrivate)
            }
            (Plugin::CachingSha2Password, _) => {
                self.stage = Stage::Password { salt };
                Verify::Send(vec![MORE_DATA, FULL_WANTED])
            }
            (Plugin::Sha256Password | Plugin::ClearPassword, _) => judge_cleartext(response, verifier),
            // Asked for with a switch only, and answered in a stage of its own.
            (Plugin::Ed25519 | Plugin::Parsec, _) => Verify::Deny(DenyReason::Malformed),
        }
    }
}

/// The plugin in whose way this client must prove its password.
fn wanted_plugin(request: &VerifyRequest<'_>) -> Plugin {
    use Plugin::{CachingSha2Password, ClearPassword, Ed25519, NativePassword, Sha256Password};
    let is_known = matches!(request.verifier, Verifier::Cleartext(_));
    let is_by_server = matches!(request.verifier, Verifier::ByServer(_));
    match request.client_plugin.and_then(Plugin::from_name) {
        _ if !request.plugin_auth => NativePassword,
        // Who gives the password can be judged by whatever is known of it, and logged in anywhere.
        Some(Sha256Password) if request.in_private || !is_by_server => Sha256Password,
        Some(ClearPassword) if request.in_private => ClearPassword,
        // MySQL's own clients of 9.0 and later name this one, and have no native one to switch to.
        Some(CachingSha2Password) if request.in_private => CachingSha2Password,
        Some(named @ (NativePassword | CachingSha2Password | Ed25519)) if is_known => named,
        _ if request.learn_cleartext => CachingSha2Password,
        _ if is_known => NativePassword,
        _ => request.verifier.own_plugin().unwrap_or(CachingSha2Password),
    }
}

fn needs_switch(request: &VerifyRequest<'_>, wanted: Plugin) -> bool {
    let named = request.client_plugin.and_then(Plugin::from_name);
    // A client whose plugin is not the greeting's did not look at the salt, and sends nothing whether it has a
    // password or not.
    let may_lack_salt = request.response.is_empty() && !request.verifier.is_without_password();
    // What these answer to is not in the greeting: a nonce, or a key that the salt hides the password under.
    let is_begun_by_switch = match wanted {
        Plugin::Ed25519 => true,
        Plugin::Sha256Password => !request.in_private,
        Plugin::NativePassword | Plugin::CachingSha2Password | Plugin::ClearPassword | Plugin::Parsec => false,
    };
    let is_answered = named == Some(wanted) && !may_lack_salt && !is_begun_by_switch;
    request.plugin_auth && (request.force_switch || !is_answered)
}

fn judge_no_password(verifier: &Verifier) -> Verify {
    if verifier.is_without_password() {
        return accept(Credential::Empty);
    }
    Verify::Deny(DenyReason::NoPassword)
}

/// Judges a signature of `client_ed25519`.
fn judge_signature(response: &[u8], nonce: [u8; 32], salt: Salt, verifier: &Verifier) -> Verify {
    if response.is_empty() {
        return judge_no_password(verifier);
    }
    let Ok(signature) = response.try_into() else {
        return Verify::Deny(DenyReason::Malformed);
    };
    let (key, credential) = match verifier {
        Verifier::Cleartext(password) => {
            (ed25519::public_key(password.expose()), Credential::of_password(password.clone()))
        }
        Verifier::Ed25519(key) => (*key, Credential::NotKnown),
        Verifier::DoubleSha1(_) | Verifier::Sha256Crypt(_) | Verifier::Parsec(_) | Verifier::ByServer(_) => {
            return Verify::Deny(DenyReason::Malformed);
        }
    };
    if !ed25519::is_signature(signature, &nonce, &key) {
        return Verify::Deny(DenyReason::WrongPassword);
    }
    Verify::Accept(Authenticated { credential, common: Some(Common::Ed25519 { key, salt }) })
}

fn judge_native(response: &[u8], salt: Salt, verifier: &Verifier) -> Verify {
    let Ok(proof) = response.try_into() else {
        return Verify::Deny(DenyReason::Malformed);
    };
    let (stage2, password) = match verifier {
        Verifier::Cleartext(password) => (*native::stage2(password.expose()), Some(password)),
        Verifier::DoubleSha1(stage2) => (*stage2, None),
        // A client without plugins cannot be asked for more.
        Verifier::Ed25519(_) | Verifier::Sha256Crypt(_) | Verifier::Parsec(_) | Verifier::ByServer(_) => {
            return Verify::Deny(DenyReason::Unprovable);
        }
    };
    let Some(stage1) = native::stage1_of_proof(proof, &salt, &stage2) else {
        return Verify::Deny(DenyReason::WrongPassword);
    };
    let credential = match password {
        Some(password) => Credential::of_password(password.clone()),
        None => Credential::NativeStage1(Secret::new(*stage1)),
    };
    let common = Some(Common::Native { stage2: Digest20::new(stage2), salt });
    Verify::Accept(Authenticated { credential, common })
}

fn judge_sha2(response: &[u8], salt: Salt, password: &Secret) -> Verify {
    if !caching_sha2::is_proof(response, password.expose(), &salt) {
        return Verify::Deny(DenyReason::WrongPassword);
    }
    let credential = Credential::of_password(password.clone());
    Verify::SendThenAccept(vec![MORE_DATA, FAST_OK], Authenticated { credential, common: None })
}

/// Judges the password itself: under our key, or in clear from a client that trusts its way to us.
fn judge_password(payload: &[u8], salt: Salt, verifier: &Verifier, key: &RsaKey) -> Verify {
    if payload.len() != key.ciphertext_length() {
        return judge_cleartext(payload, verifier);
    }
    match key.decrypt(payload) {
        Some(hidden) => judge_cleartext(xor_with_salt(hidden.expose(), &salt).expose(), verifier),
        None => Verify::Deny(DenyReason::Malformed),
    }
}

/// Judges a password and its NUL.
fn judge_cleartext(plaintext: &[u8], verifier: &Verifier) -> Verify {
    let Some((0, password)) = plaintext.split_last() else {
        return Verify::Deny(DenyReason::Malformed);
    };
    let password = Secret::new(password);
    if !verifier.is_of(&password) {
        return Verify::Deny(DenyReason::WrongPassword);
    }
    accept(Credential::of_password(password))
}

fn accept(credential: Credential) -> Verify {
    Verify::Accept(Authenticated { credential, common: None })
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
        nonce: [3; 32],
        client_plugin: [None, Some(&b"mysql_native_password"[..]), Some(b"caching_sha2_password"), Some(b"x")]
            [usize::from(plugin & 3)],
        response: packets.next().unwrap_or_default(),
        plugin_auth: choice & 2 != 0,
        learn_cleartext: choice & 4 != 0,
        in_private: choice & 16 != 0,
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

#[cfg(test)]
mod tests {
    use super::{super::rsa::tests::KEY, *};
    use crate::protocol::auth::encrypt_password;

    const SALT: Salt = Salt([0x11; 20]);
    const FRESH: Salt = Salt([0x22; 20]);
    const NONCE: [u8; 32] = [0x33; 32];
    const NATIVE: &[u8] = b"mysql_native_password";
    const SHA2: &[u8] = b"caching_sha2_password";
    const ED25519: &[u8] = b"client_ed25519";
    const SHA256: &[u8] = b"sha256_password";
    const CLEAR: &[u8] = b"mysql_clear_password";

    fn cleartext(password: &str) -> Verifier {
        Verifier::Cleartext(Secret::new(password))
    }

    fn double_sha1(password: &str) -> Verifier {
        Verifier::DoubleSha1(*native::stage2(password.as_bytes()))
    }

    fn request<'a>(verifier: &'a Verifier, plugin: &'a [u8], response: &'a [u8]) -> VerifyRequest<'a> {
        VerifyRequest {
            verifier,
            salt: SALT,
            fresh_salt: FRESH,
            nonce: NONCE,
            client_plugin: Some(plugin),
            response,
            plugin_auth: true,
            learn_cleartext: false,
            in_private: false,
            force_switch: false,
        }
    }

    fn prove(plugin: &[u8], password: &str, salt: Salt) -> Vec<u8> {
        match Plugin::from_name(plugin).unwrap() {
            Plugin::NativePassword => native::prove(&native::stage1(password.as_bytes()), &salt).to_vec(),
            Plugin::CachingSha2Password => caching_sha2::prove(password.as_bytes(), &salt).to_vec(),
            Plugin::Sha256Password => vec![SHA256_KEY_WANTED],
            Plugin::ClearPassword => [password.as_bytes(), &[0]].concat(),
            Plugin::Ed25519 | Plugin::Parsec => Vec::new(),
        }
    }

    fn password(text: &str) -> Credential {
        Credential::Cleartext(Secret::new(text))
    }

    fn stage1(text: &str) -> Credential {
        Credential::NativeStage1(Secret::new(*native::stage1(text.as_bytes())))
    }

    /// The whole exchange in words, with a client that knows `password` and answers whatever it is asked.
    fn converse(request: VerifyRequest<'_>, password: &str) -> Vec<String> {
        let (mut verification, mut next) = Verification::begin(request);
        let mut said = Vec::new();
        let mut salt = request.salt;
        loop {
            let payload = match next {
                Verify::Send(payload) => payload,
                Verify::SendThenAccept(payload, proven) => {
                    said.push(format!("{payload:02x?}, accept {}", kind(proven.credential())));
                    return said;
                }
                Verify::Accept(proven) => {
                    said.push(format!("accept {}", kind(proven.credential())));
                    return said;
                }
                Verify::Deny(reason) => {
                    said.push(format!("{reason:?}"));
                    return said;
                }
            };
            let answer = match payload[..] {
                [0xFE, ..] => {
                    let switch = AuthSwitch::parse(&payload).unwrap();
                    said.push(format!("switch to {}", switch.plugin.escape_ascii()));
                    if switch.plugin == ED25519 {
                        ed25519::sign(password.as_bytes(), &switch.data).to_vec()
                    } else {
                        salt = Salt::parse(&switch.data).unwrap();
                        prove(&switch.plugin, password, salt)
                    }
                }
                [MORE_DATA, FULL_WANTED] => {
                    said.push("full".to_owned());
                    vec![KEY_WANTED]
                }
                [MORE_DATA, ref pem @ ..] => {
                    said.push("key".to_owned());
                    encrypt_password(pem, &Secret::new(password), &salt).unwrap()
                }
                ref other => panic!("no client understands {other:02x?}"),
            };
            next = verification.receive(&answer, request.verifier, &KEY);
        }
    }

    fn kind(credential: &Credential) -> &'static str {
        match credential {
            Credential::Empty => "empty",
            Credential::Cleartext(_) => "cleartext",
            Credential::NativeStage1(_) => "stage 1",
            Credential::NotKnown => "nothing",
        }
    }

    /// The exchange with the right password, and that with a wrong one, which differs in nothing but the verdict.
    fn check(change: impl Fn(&mut VerifyRequest<'_>), verifier: &Verifier, plugin: &[u8], expected: &[&str]) {
        for (known, stranger) in [(verifier.clone(), false), (Verifier::impostor_like(verifier, [9; 20]), true)] {
            for typed in ["right", "wrong"] {
                let response = prove(if plugin == b"x" { NATIVE } else { plugin }, typed, SALT);
                let mut request = request(&known, plugin, &response);
                change(&mut request);
                let mut said = converse(request, typed);
                let verdict = said.pop().unwrap();
                let (expected_verdict, expected_way) = expected.split_last().unwrap();
                assert_eq!(said, expected_way, "{typed} {stranger}");
                let is_right = typed == "right" && !stranger;
                assert_eq!(verdict, if is_right { *expected_verdict } else { "WrongPassword" }, "{typed} {stranger}");
            }
        }
    }

    #[test]
    fn a_known_password_is_proved_in_the_way_of_the_client() {
        check(|_| (), &cleartext("right"), NATIVE, &["accept cleartext"]);
        check(|_| (), &cleartext("right"), SHA2, &["[01, 03], accept cleartext"]);
        check(|_| (), &cleartext("right"), b"x", &["switch to mysql_native_password", "accept cleartext"]);
        let learn = |request: &mut VerifyRequest<'_>| request.learn_cleartext = true;
        let expected = ["switch to caching_sha2_password", "[01, 03], accept cleartext"];
        check(learn, &cleartext("right"), b"x", &expected);
    }

    #[test]
    fn a_hash_is_proved_in_its_own_way() {
        check(|_| (), &double_sha1("right"), NATIVE, &["accept stage 1"]);
        check(|_| (), &double_sha1("right"), SHA2, &["switch to mysql_native_password", "accept stage 1"]);
        check(|_| (), &double_sha1("right"), b"x", &["switch to mysql_native_password", "accept stage 1"]);
    }

    #[test]
    fn behind_a_hash_the_password_is_learnt_where_it_is_needed() {
        let learn = |request: &mut VerifyRequest<'_>| request.learn_cleartext = true;
        check(learn, &double_sha1("right"), SHA2, &["full", "key", "accept cleartext"]);
        let expected = ["switch to caching_sha2_password", "full", "key", "accept cleartext"];
        check(learn, &double_sha1("right"), NATIVE, &expected);
    }

    #[test]
    fn a_signature_is_asked_for_by_a_nonce_of_its_own() {
        let switched = "switch to client_ed25519";
        check(|_| (), &cleartext("right"), ED25519, &[switched, "accept cleartext"]);
        let key = Verifier::Ed25519(ed25519::public_key(b"right"));
        check(|_| (), &key, ED25519, &[switched, "accept nothing"]);
        check(|_| (), &key, NATIVE, &[switched, "accept nothing"]);
        // Where the servers need the password, a signature is of no use.
        let learn = |request: &mut VerifyRequest<'_>| request.learn_cleartext = true;
        let full = ["switch to caching_sha2_password", "full", "key", "accept cleartext"];
        check(learn, &key, ED25519, &full);
    }

    /// MariaDB 11.8 and its client take the greeting's salt here, though another nonce was signed.
    #[test]
    #[cfg_attr(miri, ignore = "many signatures, of which each takes half a minute")]
    fn who_has_signed_is_assured_by_the_salt_of_the_greeting() {
        let key = ed25519::public_key(b"right");
        let verifier = Verifier::Ed25519(key);
        let (mut verification, _) = Verification::begin(request(&verifier, ED25519, b""));
        let next = verification.receive(&ed25519::sign(b"right", &NONCE), &verifier, &KEY);
        let Verify::Accept(proven) = next else { panic!("{next:?}") };
        let digest = Sha256::new().chain_update(key).chain_update(SALT.0).chain_update([9; 32]).finalize();
        let expected = digest.iter().fold("\x01".to_owned(), |text, byte| format!("{text}{byte:02X}"));
        assert_eq!(proven.assurance(&[9; 32]), Some(expected.into_bytes()));
    }

    #[test]
    fn a_client_of_sha256_password_gives_its_password_in_whatever_way_is_safe() {
        let hash = double_sha1("right");
        check(|_| (), &hash, SHA256, &["switch to sha256_password", "key", "accept cleartext"]);
        check(|_| (), &cleartext("right"), SHA256, &["switch to sha256_password", "key", "accept cleartext"]);
        let judged = |plugin, response: &[u8]| {
            let request = VerifyRequest { in_private: true, ..request(&hash, plugin, response) };
            match Verification::begin(request).1 {
                Verify::Accept(proven) => proven.into_credential() == password("right"),
                Verify::Deny(DenyReason::WrongPassword) => false,
                other => panic!("{other:?}"),
            }
        };
        for plugin in [SHA256, CLEAR] {
            assert!(judged(plugin, b"right\0"));
            assert!(!judged(plugin, b"wrong\0"));
        }
    }

    #[test]
    fn a_password_is_never_asked_for_in_clear_where_somebody_may_listen() {
        check(|_| (), &cleartext("right"), CLEAR, &["switch to mysql_native_password", "accept cleartext"]);
        check(|_| (), &double_sha1("right"), CLEAR, &["switch to mysql_native_password", "accept stage 1"]);
    }

    #[test]
    fn inside_tls_a_client_of_caching_sha2_password_is_not_asked_for_another_plugin() {
        let hash = double_sha1("right");
        let proof = prove(SHA2, "right", SALT);
        let request = VerifyRequest { in_private: true, ..request(&hash, SHA2, &proof) };
        let (mut verification, next) = Verification::begin(request);
        assert!(matches!(next, Verify::Send(payload) if payload == [MORE_DATA, FULL_WANTED]));
        let Verify::Accept(proven) = verification.receive(b"right\0", &hash, &KEY) else { panic!("not accepted") };
        assert_eq!(proven.into_credential(), password("right"));
    }

    #[test]
    fn what_only_the_password_tells_is_asked_for_as_the_password() {
        let stored = "$A$00A$ssssssssssssssssssss5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        let crypt = Verifier::parse_hash(stored).unwrap();
        let proof = prove(NATIVE, "right", SALT);
        let (_, next) = Verification::begin(request(&crypt, NATIVE, &proof));
        assert!(matches!(next, Verify::Send(payload) if payload.starts_with(b"\xFEcaching_sha2_password\0")));
        let old = VerifyRequest { plugin_auth: false, client_plugin: None, ..request(&crypt, NATIVE, &proof) };
        assert!(matches!(Verification::begin(old).1, Verify::Deny(DenyReason::Unprovable)));
    }

    #[test]
    fn what_a_server_is_to_judge_is_given_inside_tls_only() {
        let unknown = Verifier::ByServer(None);
        let known = Verifier::ByServer(Some(Secret::new("right")));
        let begin = |verifier: &Verifier, typed, in_private| {
            let proof = prove(SHA2, typed, SALT);
            Verification::begin(VerifyRequest { in_private, ..request(verifier, SHA2, &proof) })
        };
        for (verifier, typed) in [(&unknown, "right"), (&known, "changed")] {
            assert!(matches!(begin(verifier, typed, false).1, Verify::Deny(DenyReason::NotInPrivate)));
            let (mut verification, next) = begin(verifier, typed, true);
            assert!(matches!(next, Verify::Send(payload) if payload == [MORE_DATA, FULL_WANTED]));
            let given = [typed.as_bytes(), &[0]].concat();
            let Verify::Accept(proven) = verification.receive(&given, verifier, &KEY) else { panic!("not accepted") };
            assert_eq!(proven.into_credential(), password(typed));
        }
        let (mut verification, _) = begin(&unknown, "right", true);
        let next = verification.receive(&[0], &unknown, &KEY);
        assert!(matches!(next, Verify::Deny(DenyReason::WrongPassword)), "nobody is let in by our host's name");
        for in_private in [false, true] {
            let Verify::SendThenAccept(_, proven) = begin(&known, "right", in_private).1 else {
                panic!("not accepted")
            };
            assert_eq!(proven.into_credential(), password("right"));
        }
        for plugin in [SHA256, CLEAR, NATIVE, ED25519] {
            let (_, next) = Verification::begin(request(&unknown, plugin, b""));
            assert!(matches!(next, Verify::Send(payload) if payload.starts_with(b"\xFEcaching_sha2_password\0")));
        }
    }

    #[test]
    fn a_change_of_user_is_proved_anew() {
        let force = |request: &mut VerifyRequest<'_>| request.force_switch = true;
        check(force, &cleartext("right"), NATIVE, &["switch to mysql_native_password", "accept cleartext"]);
        let expected = ["switch to caching_sha2_password", "[01, 03], accept cleartext"];
        check(force, &cleartext("right"), SHA2, &expected);
        check(force, &double_sha1("right"), SHA2, &["switch to mysql_native_password", "accept stage 1"]);
    }

    #[test]
    fn a_client_without_plugins_can_do_the_native_way_only() {
        let old = |request: &mut VerifyRequest<'_>| {
            request.plugin_auth = false;
            request.client_plugin = None;
            request.learn_cleartext = true;
            request.force_switch = true;
        };
        check(old, &double_sha1("right"), NATIVE, &["accept stage 1"]);
        check(old, &cleartext("right"), NATIVE, &["accept cleartext"]);
    }

    #[test]
    fn the_credential_is_that_of_the_client() {
        let proof = prove(NATIVE, "right", SALT);
        let credential = |verifier: &Verifier| match Verification::begin(request(verifier, NATIVE, &proof)).1 {
            Verify::Accept(proven) => proven.into_credential(),
            other => panic!("not accepted: {other:?}"),
        };
        assert_eq!(credential(&cleartext("right")), password("right"));
        assert_eq!(credential(&double_sha1("right")), stage1("right"));
    }

    #[test]
    fn no_password_is_right_only_where_there_is_none() {
        for (plugin, response) in [(NATIVE, &b""[..]), (SHA2, b""), (SHA2, b"\0")] {
            let nobody = cleartext("");
            let (_, next) = Verification::begin(request(&nobody, plugin, response));
            assert!(matches!(next, Verify::Accept(proven) if *proven.credential() == Credential::Empty));
        }
        let nobody = cleartext("");
        let proof = prove(NATIVE, "something", SALT);
        let (_, next) = Verification::begin(request(&nobody, NATIVE, &proof));
        assert!(matches!(next, Verify::Deny(DenyReason::WrongPassword)));
    }

    #[test]
    fn a_client_that_sent_nothing_is_given_a_salt_of_its_plugin() {
        // libmysqlclient, when its own plugin is not the one of the greeting.
        let verifiers = [cleartext("right"), double_sha1("right"), Verifier::impostor([9; 20])];
        for (verifier, is_known) in verifiers.iter().zip([true, true, false]) {
            let (mut verification, next) = Verification::begin(request(verifier, NATIVE, b""));
            assert!(matches!(next, Verify::Send(_)));
            let next = verification.receive(&prove(NATIVE, "right", FRESH), verifier, &KEY);
            assert_eq!(matches!(next, Verify::Accept(_)), is_known);
            let (mut verification, _) = Verification::begin(request(verifier, NATIVE, b""));
            let next = verification.receive(b"", verifier, &KEY);
            assert!(matches!(next, Verify::Deny(DenyReason::NoPassword)));
        }
    }

    #[test]
    fn an_old_salt_proves_nothing_after_a_switch() {
        let verifier = cleartext("right");
        let proof = prove(NATIVE, "right", SALT);
        let (mut verification, _) =
            Verification::begin(VerifyRequest { force_switch: true, ..request(&verifier, NATIVE, &proof) });
        let next = verification.receive(&proof, &verifier, &KEY);
        assert!(matches!(next, Verify::Deny(DenyReason::WrongPassword)));
    }

    #[test]
    fn a_client_that_trusts_its_way_may_send_the_password_in_clear() {
        let verifier = double_sha1("right");
        let proof = prove(SHA2, "right", SALT);
        let ask = || Verification::begin(VerifyRequest { learn_cleartext: true, ..request(&verifier, SHA2, &proof) }).0;
        assert!(matches!(ask().receive(b"right\0", &verifier, &KEY), Verify::Accept(_)));
        assert!(matches!(ask().receive(b"wrong\0", &verifier, &KEY), Verify::Deny(DenyReason::WrongPassword)));
        assert!(matches!(ask().receive(b"right", &verifier, &KEY), Verify::Deny(DenyReason::Malformed)));
        assert!(matches!(ask().receive(b"", &verifier, &KEY), Verify::Deny(DenyReason::Malformed)));
    }

    #[test]
    fn proofs_of_a_wrong_length_are_malformed() {
        let verifier = cleartext("right");
        for (plugin, response) in [(NATIVE, &[1; 19][..]), (NATIVE, &[1; 32]), (SHA2, &[1; 20]), (SHA2, &[1; 300])] {
            let (mut verification, next) = Verification::begin(request(&verifier, plugin, response));
            assert!(matches!(next, Verify::Deny(DenyReason::Malformed)));
            let next = verification.receive(&prove(plugin, "right", SALT), &verifier, &KEY);
            assert!(matches!(next, Verify::Deny(DenyReason::Malformed)), "nothing is heard after the end");
        }
    }

    #[test]
    fn an_exchange_does_not_show_its_secrets() {
        let verifier = cleartext("hunter2");
        let proof = prove(NATIVE, "hunter2", SALT);
        let (_, next) = Verification::begin(request(&verifier, NATIVE, &proof));
        assert!(!format!("{next:?}").contains("hunter2") && format!("{next:?}").contains("Secret(..)"));
    }
}
