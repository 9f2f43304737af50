//! The two ends of a handshake, joined by vectors of bytes; and what becomes of files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::config::{Encryption, KeyPairFiles, ListenerTls, ServerAddress, ServerDemand, ServerTls, TlsVersion};

const HOST: &str = "db1.example.com";

/// An authority and a certificate of it for [`HOST`], in a folder.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Files {
        let files = Files { folder: tempfile::tempdir().expect("a folder can be made") };
        files.renew();
        files
    }

    /// Another authority, and another certificate of it.
    fn renew(&self) {
        let authority_key = rcgen::KeyPair::generate().expect("a key");
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = parameters.self_signed(&authority_key).expect("a certificate");
        let issuer = rcgen::Issuer::new(parameters, authority_key);
        let key = rcgen::KeyPair::generate().expect("a key");
        let parameters = rcgen::CertificateParams::new(vec![HOST.to_owned()]).expect("a name");
        let certificate = parameters.signed_by(&key, &issuer).expect("a certificate");
        for (name, text) in
            [("ca.pem", authority.pem()), ("own.pem", certificate.pem()), ("own.key", key.serialize_pem())]
        {
            fs::write(self.path(name), text).expect("the file can be written");
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pair(&self) -> KeyPairFiles {
        KeyPairFiles { certificate: self.path("own.pem"), key: self.path("own.key") }
    }

    fn front(&self, settings: &ListenerTls) -> Front {
        let identity = Identity::load(&self.pair(), &mut Stamps::default()).expect("good files");
        Front::load(settings, Arc::new(identity), &mut Stamps::default()).expect("good files")
    }
}

fn listener() -> ListenerTls {
    ListenerTls {
        demand: Encryption::Preferred,
        identity: None,
        minimum: TlsVersion::Tls12,
        client_ca: None,
        require_client_certificate: false,
    }
}

fn server(demand: ServerDemand, ca: Option<PathBuf>) -> ServerTls {
    ServerTls { demand, ca, identity: None }
}

fn back(settings: &ServerTls, host: &str) -> Back {
    let address = ServerAddress::Tcp { host: host.to_owned(), port: 3306 };
    Back::load(settings, &address, &mut Stamps::default()).expect("good files").expect("TLS is wanted")
}

fn records(channel: &mut Channel) -> Vec<u8> {
    let mut all = Vec::new();
    while channel.has_records() {
        let mut some = [0; 100];
        let length = channel.take_records(&mut some);
        all.extend_from_slice(&some[..length]);
    }
    all
}

/// Gives bytes in pieces, and collects the plaintext; says whether the peer has ended.
fn give(channel: &mut Channel, wire: &[u8], piece: usize) -> Result<(Vec<u8>, bool), rustls::Error> {
    let mut plaintext = Vec::new();
    for mut piece in wire.chunks(piece) {
        loop {
            match channel.receive(&mut piece)? {
                Received::Plaintext(0) => break,
                Received::End => return Ok((plaintext, true)),
                Received::Plaintext(length) => {
                    let at = plaintext.len();
                    plaintext.resize(at + length, 0);
                    assert_eq!(channel.take_plaintext(&mut plaintext[at..]), length);
                }
            }
        }
    }
    Ok((plaintext, false))
}

/// Lets the two talk until neither has anything to say; gives what each heard.
fn converse(near: &mut Channel, far: &mut Channel, piece: usize) -> Result<(Vec<u8>, Vec<u8>), rustls::Error> {
    let (mut heard_near, mut heard_far) = (Vec::new(), Vec::new());
    while near.has_records() || far.has_records() {
        heard_far.extend(give(far, &records(near), piece)?.0);
        heard_near.extend(give(near, &records(far), piece)?.0);
    }
    Ok((heard_near, heard_far))
}

#[test]
fn what_is_said_before_and_after_a_handshake_arrives_however_it_is_cut() {
    let files = Files::new();
    let front = files.front(&listener());
    for piece in [1, 7, 1 << 20] {
        let back = back(&server(ServerDemand::VerifyFull, Some(files.path("ca.pem"))), HOST);
        let (mut near, mut far) =
            (Channel::connect(&back).expect("a client"), Channel::accept(&front).expect("a server"));
        assert!(near.is_untouched() && far.is_untouched());
        near.seal(b"said early");
        let (_, heard) = converse(&mut near, &mut far, piece).expect("they agree");
        assert_eq!(heard, b"said early");
        assert!(!near.is_untouched() && !far.is_untouched());
        assert!(near.agreement().is_some_and(|agreement| agreement.contains("TLSv1_3")), "{:?}", near.agreement());
        let long = vec![b'x'; 100_000];
        far.seal(&long);
        near.seal(b"short");
        let (heard_near, heard_far) = converse(&mut near, &mut far, piece).expect("they go on");
        assert_eq!((heard_near, heard_far), (long, b"short".to_vec()));
        near.seal(b"the last");
        near.end();
        assert_eq!(give(&mut far, &records(&mut near), piece).expect("a good end"), (b"the last".to_vec(), true));
    }
}

#[test]
fn bytes_that_are_no_records_are_answered_by_an_alert() {
    let mut channel = Channel::accept(&Files::new().front(&listener())).expect("a server");
    give(&mut channel, b"\x05\x00\x00\x01 a login in clear", 1 << 20).expect_err("no TLS");
    const ALERT: u8 = 21;
    assert_eq!(records(&mut channel).first(), Some(&ALERT));
    channel.seal(b"whatever is said then");
}

/// Whether a server with these files is believed.
fn is_believed(files: &Files, settings: &ServerTls, host: &str) -> bool {
    believes(&back(settings, host), files)
}

fn believes(back: &Back, files: &Files) -> bool {
    let front = files.front(&listener());
    let (mut near, mut far) = (Channel::connect(back).expect("a client"), Channel::accept(&front).expect("a server"));
    near.seal(b"hello");
    matches!(converse(&mut near, &mut far, 1 << 20), Ok((_, heard)) if heard == b"hello")
}

#[test]
fn a_server_must_prove_as_much_as_is_asked() {
    let (files, others) = (Files::new(), Files::new());
    let ca = |files: &Files| Some(files.path("ca.pem"));
    for demand in [ServerDemand::Preferred, ServerDemand::Required] {
        assert!(is_believed(&files, &server(demand, None), "10.0.0.1"), "{demand:?}");
    }
    assert!(is_believed(&files, &server(ServerDemand::VerifyCa, ca(&files)), "another.host"));
    assert!(!is_believed(&files, &server(ServerDemand::VerifyCa, ca(&others)), HOST));
    assert!(is_believed(&files, &server(ServerDemand::VerifyFull, ca(&files)), HOST));
    assert!(!is_believed(&files, &server(ServerDemand::VerifyFull, ca(&files)), "another.host"));
    assert!(!is_believed(&files, &server(ServerDemand::VerifyFull, ca(&others)), HOST));
}

#[test]
fn whom_a_server_sends_to_has_to_prove_its_own_name() {
    let files = Files::new();
    let settings = server(ServerDemand::VerifyFull, Some(files.path("ca.pem")));
    let sent = |from: &str, to: &str| back(&settings, from).towards(to).expect("a name");
    assert!(believes(&sent("another.host", HOST), &files));
    assert!(!believes(&sent(HOST, "another.host"), &files));
    assert_eq!(sent(HOST, "another.host").demand(), ServerDemand::VerifyFull);
}

#[test]
fn a_servers_own_certificate_may_stand_for_its_authority() {
    let files = Files::new();
    let own = Some(files.path("own.pem"));
    assert!(is_believed(&files, &server(ServerDemand::VerifyCa, own.clone()), "another.host"));
    assert!(is_believed(&files, &server(ServerDemand::VerifyFull, own.clone()), HOST));
    assert!(!is_believed(&files, &server(ServerDemand::VerifyFull, own.clone()), "another.host"));
    assert!(!is_believed(&Files::new(), &server(ServerDemand::VerifyCa, own), HOST), "another certificate");
}

#[test]
fn a_client_certificate_is_asked_for_and_judged() {
    let files = Files::new();
    let asking = ListenerTls { client_ca: Some(files.path("ca.pem")), ..listener() };
    let demanding = ListenerTls { require_client_certificate: true, ..asking.clone() };
    let nobody = server(ServerDemand::Required, None);
    let known = ServerTls { identity: Some(files.pair()), ..nobody.clone() };
    let stranger_files = Files::new();
    let stranger = ServerTls { identity: Some(stranger_files.pair()), ..nobody.clone() };
    let table = [
        (&asking, &nobody, true),
        (&asking, &known, true),
        (&asking, &stranger, false),
        (&demanding, &nobody, false),
        (&demanding, &known, true),
    ];
    for (front, client, is_let_in) in table {
        let (front, back) = (files.front(front), back(client, HOST));
        let (mut near, mut far) = (Channel::connect(&back).expect("ours"), Channel::accept(&front).expect("ours"));
        near.seal(b"hello");
        let heard = converse(&mut near, &mut far, 1 << 20);
        assert_eq!(heard.is_ok_and(|(_, heard)| heard == b"hello"), is_let_in, "{client:?}");
    }
}

#[test]
fn a_second_connection_resumes_the_first() {
    let files = Files::new();
    let (front, back) = (files.front(&listener()), back(&server(ServerDemand::Required, None), HOST));
    for kind in ["Full", "Resumed"] {
        let (mut near, mut far) = (Channel::connect(&back).expect("ours"), Channel::accept(&front).expect("ours"));
        near.seal(b"hello");
        converse(&mut near, &mut far, 1 << 20).expect("they agree");
        assert!(far.agreement().is_some_and(|agreement| agreement.ends_with(kind)), "{:?}", far.agreement());
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (files, others) = (Files::new(), Files::new());
    let mixed = KeyPairFiles { key: others.path("own.key"), ..files.pair() };
    let identity = Identity::load(&mixed, &mut Stamps::default()).expect("each is good");
    let refusal = Front::load(&listener(), Arc::new(identity), &mut Stamps::default()).expect_err("they do not fit");
    assert!(refusal.to_string().contains("cannot be used"), "{refusal}");
}

#[test]
fn files_that_are_none_are_refused_by_their_names() {
    let files = Files::new();
    let check = |pair: KeyPairFiles, name: &str, words: &str| {
        let refusal = Identity::load(&pair, &mut Stamps::default()).expect_err("not usable").to_string();
        assert!(refusal.contains(name) && refusal.contains(words), "{refusal}");
    };
    check(KeyPairFiles { certificate: files.path("missing"), ..files.pair() }, "missing", "cannot be read");
    check(KeyPairFiles { certificate: files.path("own.key"), ..files.pair() }, "own.key", "has no certificate");
    check(KeyPairFiles { key: files.path("own.pem"), ..files.pair() }, "own.pem", "has no usable key");
}

#[test]
fn the_certificate_that_is_made_here_stays_the_same_and_is_for_us_alone() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let state = folder.path().join("state");
    let first = Identity::own(&state).expect("one is made");
    assert!(first.is_made_here() && first.days_left() > 100 * 365);
    assert_eq!(Identity::own(&state).expect("it is there").fingerprint(), first.fingerprint());
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(&state), mode(&state.join("self-signed.pem"))), (0o700, 0o600));
    fs::write(state.join("self-signed.pem"), "broken").expect("it can be written");
    assert_ne!(Identity::own(&state).expect("another takes its place").fingerprint(), first.fingerprint());
}

#[test]
fn a_state_directory_that_cannot_be_written_to_keeps_nobody_from_starting() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("file");
    fs::write(&file, "in the way").expect("it can be written");
    Identity::own(&file.join("state")).expect("one in memory");
}
