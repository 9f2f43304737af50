//! What a short connection's CPU time goes into: the kernel, the proofs of the password, the handshake's packets, the rest.
//!
//! The whole is measured with the case `short`; the kernel's part comes from its clock ticks; the pieces are the library's
//! own functions, timed alone. A piece alone finds everything in the cache, so it is the least that it can cost.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sqluice::protocol::auth::{
    Authenticated, Credential, Login, RsaKey, Secret, Verification, Verifier, Verify, VerifyRequest, encrypt_password,
};
use sqluice::protocol::capability::Capabilities;
use sqluice::protocol::handshake::{ClientHello, Greeting, HandshakeResponse, Salt};
use sqluice::protocol::status::StatusFlags;

use crate::by_name;
use crate::candidate::Candidate;

/// Calls that are timed together, so that reading the clock costs nothing beside them.
const BATCH: u32 = 200;
/// Of RSA, which takes a thousand times as long as the rest.
const RSA_BATCH: u32 = 5;

const PASSWORD: &[u8] = b"bench-password";
const SALT: Salt = Salt(*b"abcdefghijklmnopqrst");

/// One piece of a login.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The fastest batch, in microseconds: what came between is the machine's, not the piece's.
    pub(crate) us: f64,
}

/// What a piece is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Packets of every login, written and read.
    Handshake,
    /// Proofs with `mysql_native_password`, as in front of the stand-in server.
    Native,
    /// Proofs with `caching_sha2_password` while the server remembers the user.
    CachingSha2,
    /// What a server that has forgotten the user asks for besides, and what we ask for where only a hash is known.
    Rsa,
}

/// Times each piece for about `time`.
pub(crate) fn pieces(time: Duration) -> Vec<Piece> {
    let greeting = greeting("mysql_native_password");
    let mut greeting_payload = Vec::new();
    greeting.encode(&mut greeting_payload);
    let response = response(&greeting);
    let mut response_payload = Vec::new();
    response.encode(&mut response_payload);
    let mut pieces = vec![
        piece("greet the client", Kind::Handshake, time, BATCH, || encoded(|out| greeting.encode(out))),
        piece("read the client's response", Kind::Handshake, time, BATCH, || {
            ClientHello::parse(black_box(&response_payload), CAPABILITIES)
        }),
        piece("read the server's greeting", Kind::Handshake, time, BATCH, || {
            Greeting::parse(black_box(&greeting_payload))
        }),
        piece("respond to the server", Kind::Handshake, time, BATCH, || encoded(|out| response.encode(out))),
    ];
    pieces.extend(proofs("mysql_native_password", Kind::Native, time));
    pieces.extend(proofs("caching_sha2_password", Kind::CachingSha2, time));
    pieces.extend(rsa(time));
    pieces
}

/// Verifying a client, and proving to a server what it gave us.
fn proofs(plugin: &'static str, kind: Kind, time: Duration) -> [Piece; 2] {
    let greeting = greeting(plugin);
    let verifier = Verifier::Cleartext(Secret::new(PASSWORD));
    let (_, _, proof) = Login::begin(&greeting, &Credential::Cleartext(Secret::new(PASSWORD)));
    let verified = verify(plugin, &proof, &verifier);
    let credential = verified.into_credential();
    [
        piece("verify the client", kind, time, BATCH, || verify(plugin, black_box(&proof), &verifier)),
        piece("prove to the server", kind, time, BATCH, || Login::begin(&greeting, black_box(&credential))),
    ]
}

fn verify(plugin: &str, proof: &[u8], verifier: &Verifier) -> Authenticated {
    let (_, next) = Verification::begin(VerifyRequest {
        verifier,
        salt: SALT,
        fresh_salt: SALT,
        nonce: [7; 32],
        client_plugin: Some(plugin.as_bytes()),
        response: proof,
        plugin_auth: true,
        learn_cleartext: plugin == "caching_sha2_password",
        in_private: false,
        force_switch: false,
    });
    match next {
        Verify::Accept(verified) | Verify::SendThenAccept(_, verified) => verified,
        Verify::Send(_) | Verify::Deny(_) => panic!("the right proof of {plugin} was not accepted"),
    }
}

fn rsa(time: Duration) -> [Piece; 2] {
    let key = RsaKey::generate().expect("a key can be made on this machine");
    let password = Secret::new(PASSWORD);
    let encrypt = || encrypt_password(key.public_key_pem(), &password, &SALT).expect("a short password fits");
    let ciphertext = encrypt();
    [
        piece("encrypt the password for the server", Kind::Rsa, time, RSA_BATCH, encrypt),
        piece("decrypt the client's password", Kind::Rsa, time, RSA_BATCH, || {
            key.decrypt(black_box(&ciphertext)).expect("encrypted for this key")
        }),
    ]
}

fn piece<T>(name: &'static str, kind: Kind, time: Duration, batch: u32, run: impl Fn() -> T) -> Piece {
    let deadline = Instant::now() + time;
    let mut fastest = Duration::MAX;
    // At least once, however long it takes.
    loop {
        let start = Instant::now();
        for _ in 0..batch {
            black_box(run());
        }
        fastest = fastest.min(start.elapsed() / batch);
        if Instant::now() > deadline {
            return Piece { name: name.to_owned(), kind, us: fastest.as_secs_f64() * 1e6 };
        }
    }
}

const CAPABILITIES: Capabilities = Capabilities::LONG_PASSWORD
    .with(Capabilities::PROTOCOL_41)
    .with(Capabilities::TRANSACTIONS)
    .with(Capabilities::SECURE_CONNECTION)
    .with(Capabilities::PLUGIN_AUTH)
    .with(Capabilities::DEPRECATE_EOF);

fn greeting(plugin: &str) -> Greeting {
    Greeting {
        version: b"8.0.40".to_vec(),
        connection_id: 4711,
        salt: SALT,
        capabilities: CAPABILITIES,
        collation: 45,
        status: StatusFlags(2),
        plugin: plugin.as_bytes().to_vec(),
    }
}

fn response(greeting: &Greeting) -> HandshakeResponse {
    let (_, plugin, auth_response) = Login::begin(greeting, &Credential::Cleartext(Secret::new(PASSWORD)));
    HandshakeResponse {
        capabilities: CAPABILITIES,
        max_packet: 0x0100_0000,
        collation: 45,
        user: b"bench".to_vec(),
        auth_response,
        database: None,
        plugin: Some(plugin.name().to_vec()),
        attributes: Vec::new(),
    }
}

fn encoded(encode: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    encode(&mut out);
    out
}

/// The whole cycle of one candidate: connect, log in, one query, quit, on both sides.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Whole {
    #[serde(with = "by_name")]
    pub(crate) candidate: Candidate,
    /// CPU time of one cycle in microseconds.
    pub(crate) us: f64,
    /// The part of it in the kernel, 0 to 1.
    pub(crate) kernel_share: f64,
}

/// A cycle and its parts, to be shown.
pub(crate) struct Split<'a> {
    pub(crate) whole: &'a Whole,
    pub(crate) pieces: &'a [Piece],
}

impl Split<'_> {
    fn sum_us(&self, kind: Kind) -> f64 {
        let of_kind = self.pieces.iter().filter(|piece| piece.kind == kind);
        of_kind.map(|piece| piece.us).sum()
    }
}

impl fmt::Display for Split<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.whole.us;
        let kernel = whole * self.whole.kernel_share;
        let (proofs, packets) = (self.sum_us(Kind::Native), self.sum_us(Kind::Handshake));
        let rest = whole - kernel - proofs - packets;
        write!(f, "{}: whole cycle {whole:.1} us", self.whole.candidate.name())?;
        for (name, part) in
            [("kernel", kernel), ("password proofs", proofs), ("handshake packets", packets), ("rest", rest)]
        {
            write!(f, "\n    {name:<18} {part:>8.2} us {:>5.1} %", part * 100.0 / whole)?;
        }
        Ok(())
    }
}

/// Each piece in a line, with the sums of their kinds.
pub(crate) fn list(pieces: &[Piece]) -> String {
    let mut text = String::new();
    for (kind, title) in [
        (Kind::Handshake, "handshake packets, of every login"),
        (Kind::Native, "proofs with mysql_native_password"),
        (Kind::CachingSha2, "proofs with caching_sha2_password"),
        (Kind::Rsa, "the password itself, over RSA"),
    ] {
        for (index, piece) in pieces.iter().filter(|piece| piece.kind == kind).enumerate() {
            if index == 0 {
                text.push_str(&format!("{title}\n"));
            }
            text.push_str(&format!("  {:<36} {:>9.3} us\n", piece.name, piece.us));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_piece_is_timed() {
        let pieces = pieces(Duration::ZERO);
        for kind in [Kind::Handshake, Kind::Native, Kind::CachingSha2, Kind::Rsa] {
            assert!(pieces.iter().filter(|piece| piece.kind == kind).count() >= 2, "{kind:?}");
        }
        assert!(pieces.iter().all(|piece| piece.us > 0.0 && list(std::slice::from_ref(piece)).contains(&piece.name)));
    }

    #[test]
    fn the_parts_add_up_to_the_whole() {
        let piece = |kind, us| Piece { name: "a piece".to_owned(), kind, us };
        let pieces = [piece(Kind::Native, 10.0), piece(Kind::Handshake, 5.0), piece(Kind::Rsa, 1000.0)];
        let whole = Whole { candidate: Candidate::Sqluice, us: 100.0, kernel_share: 0.75 };
        let text = Split { whole: &whole, pieces: &pieces }.to_string();
        let parts: Vec<_> = text.lines().skip(1).filter_map(|line| line.split_whitespace().rev().nth(3)).collect();
        assert_eq!(parts, ["75.00", "10.00", "5.00", "10.00"]);
    }
}
