//! The login as a server does it, for a new connection and for COM_CHANGE_USER.

use sha1::{Digest, Sha1};

use crate::protocol::auth::{Plugin, RsaKey, Secret, Verification, Verifier, Verify, VerifyRequest};
use crate::protocol::capability::Capabilities;
use crate::protocol::collation::UTF8MB4_GENERAL_CI;
use crate::protocol::handshake::{ChangeUser, ClientHello, Greeting, HandshakeResponse, Salt};
use crate::protocol::status::StatusFlags;
use crate::protocol::version::Family;

use super::Account;
use super::refusal::Refusal;
use super::reply;
use super::server::{Place, Server};
use super::session::{Over, Step};
use super::wire::{NoPacket, Wire};

/// A client's login packets are at most this long: attributes alone may be 64 KiB.
const LOGIN_PAYLOAD_MAX: usize = 128 << 10;

/// What every stand-in can do. No TLS, no compression, no files from the client.
const OFFERED: Capabilities = Capabilities::LONG_PASSWORD
    .with(Capabilities::FOUND_ROWS)
    .with(Capabilities::LONG_FLAG)
    .with(Capabilities::CONNECT_WITH_DB)
    .with(Capabilities::NO_SCHEMA)
    .with(Capabilities::ODBC)
    .with(Capabilities::IGNORE_SPACE)
    .with(Capabilities::PROTOCOL_41)
    .with(Capabilities::INTERACTIVE)
    .with(Capabilities::IGNORE_SIGPIPE)
    .with(Capabilities::TRANSACTIONS)
    .with(Capabilities::RESERVED)
    .with(Capabilities::SECURE_CONNECTION)
    .with(Capabilities::MULTI_STATEMENTS)
    .with(Capabilities::MULTI_RESULTS)
    .with(Capabilities::PS_MULTI_RESULTS)
    .with(Capabilities::PLUGIN_AUTH)
    .with(Capabilities::CONNECT_ATTRS)
    .with(Capabilities::PLUGIN_AUTH_LENENC)
    .with(Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS)
    .with(Capabilities::SESSION_TRACK)
    .with(Capabilities::DEPRECATE_EOF);

/// A client that has proved its password.
#[derive(Debug)]
pub(super) struct LoggedIn {
    pub(super) user: String,
    pub(super) database: Option<String>,
    pub(super) capabilities: Capabilities,
}

/// Greets a new connection and checks its password. The OK is left to the caller.
pub(super) async fn log_in(
    wire: &mut Wire,
    place: &Place,
    host: &str,
    server: &Server,
    key: &RsaKey,
) -> Step<LoggedIn> {
    let salt = fresh_salt()?;
    server.may_speak().await;
    tokio::time::sleep(server.login_delay()).await;
    let greeting = greeting(place.id, salt, server);
    let mut payload = Vec::new();
    greeting.encode(&mut payload);
    wire.put(&payload);
    wire.flush().await?;
    let mut door = Door { wire, host, place, server, key };
    let payload = door.receive().await?;
    let Ok(ClientHello::Response(hello)) = ClientHello::parse(&payload, greeting.capabilities) else {
        return door.refuse(&Refusal::bad_handshake()).await;
    };
    door.check_new(salt, hello, greeting.capabilities).await
}

/// Checks the password of COM_CHANGE_USER, always with a fresh salt, as MariaDB does it.
pub(super) async fn change_user(
    wire: &mut Wire,
    payload: &[u8],
    capabilities: Capabilities,
    host: &str,
    place: &Place,
    server: &Server,
    key: &RsaKey,
) -> Step<LoggedIn> {
    let mut door = Door { wire, host, place, server, key };
    let Ok(change) = ChangeUser::parse(payload, capabilities) else {
        return door.refuse(&Refusal::unknown_command()).await;
    };
    let user = String::from_utf8_lossy(&change.user).into_owned();
    let proof = Proof {
        salt: fresh_salt()?,
        client_plugin: change.plugin.as_deref(),
        response: &change.auth_response,
        capabilities,
        switches: true,
    };
    door.check(&user, proof).await?;
    Ok(LoggedIn { user, database: named(change.database), capabilities })
}

fn greeting(id: u32, salt: Salt, server: &Server) -> Greeting {
    let (prefix, plugin, capabilities) = match server.options.family {
        // Before 11.0.1 MariaDB hides its version from clients that know no two-digit ones.
        Family::MariaDb if server.options.version.starts_with("10.") => {
            ("5.5.5-", Plugin::NativePassword, OFFERED.without(Capabilities::LONG_PASSWORD))
        }
        Family::MariaDb => ("", Plugin::NativePassword, OFFERED.without(Capabilities::LONG_PASSWORD)),
        Family::MySql => ("", Plugin::CachingSha2Password, OFFERED),
    };
    Greeting {
        version: format!("{prefix}{}", server.options.version).into_bytes(),
        connection_id: id,
        salt,
        capabilities,
        collation: UTF8MB4_GENERAL_CI,
        status: StatusFlags::AUTOCOMMIT,
        plugin: plugin.name().to_vec(),
    }
}

/// How the client proves its password at first.
struct Proof<'a> {
    /// What the greeting carried.
    salt: Salt,
    client_plugin: Option<&'a [u8]>,
    response: &'a [u8],
    capabilities: Capabilities,
    /// The answer belongs to no salt of ours, so the client must give another.
    switches: bool,
}

/// Where the password is checked.
struct Door<'a> {
    wire: &'a mut Wire,
    host: &'a str,
    place: &'a Place,
    server: &'a Server,
    key: &'a RsaKey,
}

impl Door<'_> {
    async fn check_new(&mut self, salt: Salt, hello: HandshakeResponse, offered: Capabilities) -> Step<LoggedIn> {
        let capabilities = hello.capabilities & offered;
        let user = String::from_utf8_lossy(&hello.user).into_owned();
        let client_plugin = hello.plugin.as_deref();
        let proof = Proof { salt, client_plugin, response: &hello.auth_response, capabilities, switches: false };
        self.check(&user, proof).await?;
        Ok(LoggedIn { user, database: named(hello.database), capabilities })
    }

    async fn check(&mut self, user: &str, proof: Proof<'_>) -> Step {
        let account = self.server.options.accounts.iter().find(|account| account.user == user);
        let fresh_salt = fresh_salt()?;
        let known = account.map_or_else(Known::nothing, |account| Known::of(account, self.server));
        let verifier = &known.verifier;
        let request = VerifyRequest {
            verifier,
            salt: proof.salt,
            fresh_salt,
            nonce: fresh_nonce()?,
            client_plugin: known.asked_plugin.map_or(proof.client_plugin, |plugin| Some(plugin.name())),
            response: proof.response,
            plugin_auth: proof.capabilities.contains(Capabilities::PLUGIN_AUTH),
            learn_cleartext: known.needs_password,
            in_private: false,
            force_switch: proof.switches
                || known.asked_plugin.is_some_and(|plugin| proof.client_plugin != Some(plugin.name())),
        };
        let with_password = !proof.response.is_empty();
        let (mut verification, mut step) = Verification::begin(request);
        loop {
            match step {
                Verify::Send(payload) => {
                    self.send(&payload).await?;
                    let answer = self.receive().await?;
                    step = verification.receive(&answer, verifier, self.key);
                }
                Verify::SendThenAccept(payload, _) => {
                    self.send(&payload).await?;
                    break;
                }
                Verify::Accept(_) => break,
                Verify::Deny(_) => return self.refuse(&Refusal::access_denied(user, self.host, with_password)).await,
            }
        }
        self.place.logged_in(user);
        self.server.cache_login(user);
        Ok(())
    }

    async fn send(&mut self, payload: &[u8]) -> Step {
        self.wire.put(payload);
        self.server.may_speak().await;
        Ok(self.wire.flush().await?)
    }

    async fn receive(&mut self) -> Step<Vec<u8>> {
        match self.wire.receive(LOGIN_PAYLOAD_MAX).await {
            Ok(payload) => Ok(payload),
            Err(NoPacket::Closed) => Err(Over),
            Err(NoPacket::TooLarge | NoPacket::OutOfOrder) => self.refuse(&Refusal::bad_handshake()).await,
        }
    }

    async fn refuse<T>(&mut self, refusal: &Refusal) -> Step<T> {
        self.send(&reply::error(refusal)).await?;
        Err(Over)
    }
}

/// What the server knows of an account, and so how it has it proved.
struct Known {
    verifier: Verifier,
    /// Only the password itself will do.
    needs_password: bool,
    /// The plugin that it must be, whichever one the client opens with.
    asked_plugin: Option<Plugin>,
}

impl Known {
    /// A stranger is asked for a proof as anybody else, and can give none.
    fn nothing() -> Known {
        let mut seed = [0; 20];
        // Nobody has these bytes as a password, even if they stay zeros: a password has no NUL.
        let _ = getrandom::fill(&mut seed);
        Known { verifier: Verifier::impostor(seed), needs_password: false, asked_plugin: None }
    }

    /// As a MySQL server does it: a native account is known by its double hash; of a caching_sha2 account a fast
    /// proof is taken after one full authentication since the server's start.
    fn of(account: &Account, server: &Server) -> Known {
        let cleartext = || Verifier::Cleartext(Secret::new(account.password.as_bytes()));
        if account.password.is_empty() {
            return Known { verifier: cleartext(), needs_password: false, asked_plugin: None };
        }
        let hash = Verifier::DoubleSha1(Sha1::digest(Sha1::digest(&account.password)).into());
        match account.plugin {
            Plugin::NativePassword => Known { verifier: hash, needs_password: false, asked_plugin: None },
            Plugin::CachingSha2Password if server.has_cached_login(&account.user) => {
                Known { verifier: cleartext(), needs_password: false, asked_plugin: Some(Plugin::CachingSha2Password) }
            }
            Plugin::CachingSha2Password => Known { verifier: hash, needs_password: true, asked_plugin: None },
            Plugin::Sha256Password | Plugin::ClearPassword | Plugin::Ed25519 | Plugin::Parsec => {
                Known { verifier: cleartext(), needs_password: false, asked_plugin: Some(account.plugin) }
            }
        }
    }
}

fn named(database: Option<Vec<u8>>) -> Option<String> {
    database.filter(|name| !name.is_empty()).map(|name| String::from_utf8_lossy(&name).into_owned())
}

fn fresh_nonce() -> Step<[u8; 32]> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|_| Over)?;
    Ok(nonce)
}

fn fresh_salt() -> Step<Salt> {
    let mut seed = [0; 20];
    // Without randomness there is no login.
    getrandom::fill(&mut seed).map_err(|_| Over)?;
    Ok(Salt::from_random(seed))
}
