//! The PROXY protocol: what a balancer says in front of a connection about whose it is. Version 1 is a line of text, version
//! 2 is binary ("The PROXY protocol", Willy Tarreau, HAProxy 2.x's `doc/proxy-protocol.txt`).
//!
//! Read and written here, believed or not elsewhere. What version 2 adds behind the addresses is passed over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::reader::{Malformed, Reader};

/// The longest header that is read: the addresses, and what balancers of today put behind them several times over.
pub const HEADER_MAX: usize = 4 << 10;

/// The longest line of version 1, with its end.
const LINE_MAX: usize = 107;
const LINE_START: &[u8] = b"PROXY ";
const LINE_END: &[u8] = b"\r\n";

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The signature, version and command, family, and a length.
const FIXED_LENGTH: usize = 16;
const VERSION_2: u8 = 0x20;
const LOCAL: u8 = 0x0;
const PROXY: u8 = 0x1;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
/// Clients of a balancer's UNIX socket, and those of which it knows nothing.
const NO_ADDRESS: [u8; 2] = [0x31, 0x00];

/// From where to where a client's connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The client.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Of the client at the start of this route.
    Proxied(Route),
    /// The balancer's own, or of a client without an address.
    Local,
}

/// How a header is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// What stands at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeekedHeader {
    /// The start of a header: there is more to know with this many bytes.
    NeedBytes {
        /// More than were shown, and at most [`HEADER_MAX`].
        at_least: usize,
    },
    /// A header.
    Complete {
        /// What it says.
        header: Header,
        /// Its bytes.
        length: usize,
    },
    /// No header, or one that cannot be true.
    Malformed(Malformed),
}

/// Looks at the start of what a balancer sends.
pub fn peek_header(bytes: &[u8]) -> PeekedHeader {
    let looked = match bytes.first() {
        None => Ok(Looked::Short { at_least: 1 }),
        Some(b'\r') => binary(bytes),
        Some(_) => line(bytes),
    };
    match looked {
        Ok(Looked::Short { at_least }) => PeekedHeader::NeedBytes { at_least },
        Ok(Looked::Whole { header, length }) => PeekedHeader::Complete { header, length },
        Err(malformed) => PeekedHeader::Malformed(malformed),
    }
}

enum Looked {
    Short { at_least: usize },
    Whole { header: Header, length: usize },
}

fn malformed<T>(field: &'static str) -> Result<T, Malformed> {
    Err(Malformed { field })
}

/// Whether `bytes` are `start`, or the beginning of it.
fn begins_like(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

fn line(bytes: &[u8]) -> Result<Looked, Malformed> {
    if !begins_like(bytes, LINE_START) {
        return malformed("no PROXY header");
    }
    let shown = &bytes[..bytes.len().min(LINE_MAX)];
    match memchr::memmem::find(shown, LINE_END) {
        Some(end) if end < LINE_START.len() => malformed("the protocol of a PROXY line"),
        Some(end) => Ok(Looked::Whole { header: words(&shown[LINE_START.len()..end])?, length: end + LINE_END.len() }),
        None if shown.len() == LINE_MAX => malformed("the end of a PROXY line"),
        None => Ok(Looked::Short { at_least: shown.len() + 1 }),
    }
}

fn words(line: &[u8]) -> Result<Header, Malformed> {
    let mut words = line.split(|byte| *byte == b' ');
    let family = words.next().unwrap_or_default();
    if family == b"UNKNOWN" {
        return Ok(Header::Local);
    }
    if ![&b"TCP4"[..], b"TCP6"].contains(&family) {
        return malformed("the protocol of a PROXY line");
    }
    let (source, destination) = (address(words.next(), family)?, address(words.next(), family)?);
    let (source_port, destination_port) = (port(words.next())?, port(words.next())?);
    if words.next().is_some() {
        return malformed("the end of a PROXY line");
    }
    let (source, destination) = ((source, source_port), (destination, destination_port));
    Ok(Header::Proxied(Route { source: source.into(), destination: destination.into() }))
}

fn text(word: Option<&[u8]>) -> Option<&str> {
    word.and_then(|word| std::str::from_utf8(word).ok())
}

fn address(word: Option<&[u8]>, family: &[u8]) -> Result<IpAddr, Malformed> {
    let address =
        text(word).and_then(|text| text.parse().ok()).filter(|it: &IpAddr| it.is_ipv4() == (family == b"TCP4"));
    address.ok_or(Malformed { field: "an address of a PROXY line" })
}

fn port(word: Option<&[u8]>) -> Result<u16, Malformed> {
    // `parse` would take a sign.
    let digits = text(word).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or(Malformed { field: "a port of a PROXY line" })
}

fn binary(bytes: &[u8]) -> Result<Looked, Malformed> {
    if !begins_like(bytes, SIGNATURE) {
        return malformed("the signature of a PROXY header");
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_LENGTH>() else {
        return Ok(Looked::Short { at_least: FIXED_LENGTH });
    };
    let [command, family, high, low] = [fixed[12], fixed[13], fixed[14], fixed[15]];
    let behind = usize::from(u16::from_be_bytes([high, low]));
    let length = FIXED_LENGTH + behind;
    if length > HEADER_MAX {
        return malformed("the length of a PROXY header");
    }
    if command & 0xF0 != VERSION_2 {
        return malformed("the version of a PROXY header");
    }
    let Some(behind) = rest.get(..behind) else {
        return Ok(Looked::Short { at_least: length });
    };
    let header = match command & 0x0F {
        LOCAL => Header::Local,
        PROXY => addresses(family, behind)?,
        _ => return malformed("the command of a PROXY header"),
    };
    Ok(Looked::Whole { header, length })
}

fn addresses(family: u8, bytes: &[u8]) -> Result<Header, Malformed> {
    let field = "the addresses of a PROXY header";
    let mut reader = Reader::new(bytes);
    let (source, destination) = match family {
        TCP4 => (IpAddr::from(reader.array::<4>(field)?), IpAddr::from(reader.array::<4>(field)?)),
        TCP6 => (IpAddr::from(reader.array::<16>(field)?), IpAddr::from(reader.array::<16>(field)?)),
        family if NO_ADDRESS.contains(&family) => return Ok(Header::Local),
        _ => return malformed("the protocol of a PROXY header"),
    };
    let mut port = || reader.array(field).map(u16::from_be_bytes);
    let (source_port, destination_port) = (port()?, port()?);
    let (source, destination) = ((source, source_port), (destination, destination_port));
    Ok(Header::Proxied(Route { source: source.into(), destination: destination.into() }))
}

impl Header {
    /// The bytes of this header.
    pub fn encode(self, version: Version) -> Vec<u8> {
        match (version, self.addresses()) {
            (Version::V1, Some(addresses)) => addresses.line(),
            (Version::V1, None) => b"PROXY UNKNOWN\r\n".to_vec(),
            (Version::V2, Some(addresses)) => addresses.binary(),
            (Version::V2, None) => binary_header(LOCAL, NO_ADDRESS[1], &[]),
        }
    }

    fn addresses(self) -> Option<Addresses> {
        let Header::Proxied(Route { source, destination }) = self else { return None };
        let ports = [source.port(), destination.port()];
        // A header has one family; IPv4 beside IPv6 is written as IPv6.
        Some(match [source.ip().to_canonical(), destination.ip().to_canonical()] {
            [IpAddr::V4(source), IpAddr::V4(destination)] => Addresses::V4([source, destination], ports),
            either => Addresses::V6(either.map(as_ipv6), ports),
        })
    }
}

fn as_ipv6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Source and destination, of one family.
enum Addresses {
    V4([Ipv4Addr; 2], [u16; 2]),
    V6([Ipv6Addr; 2], [u16; 2]),
}

impl Addresses {
    fn line(&self) -> Vec<u8> {
        match self {
            Addresses::V4([source, destination], [from, to]) => {
                format!("PROXY TCP4 {source} {destination} {from} {to}\r\n")
            }
            Addresses::V6([source, destination], [from, to]) => {
                format!("PROXY TCP6 {source} {destination} {from} {to}\r\n")
            }
        }
        .into_bytes()
    }

    fn binary(&self) -> Vec<u8> {
        match self {
            Addresses::V4(addresses, ports) => {
                binary_header(PROXY, TCP4, &[addresses.map(|it| it.octets()).concat(), port_bytes(ports)].concat())
            }
            Addresses::V6(addresses, ports) => {
                binary_header(PROXY, TCP6, &[addresses.map(|it| it.octets()).concat(), port_bytes(ports)].concat())
            }
        }
    }
}

fn port_bytes(ports: &[u16; 2]) -> Vec<u8> {
    ports.map(u16::to_be_bytes).concat()
}

fn binary_header(command: u8, family: u8, behind: &[u8]) -> Vec<u8> {
    let length = u16::try_from(behind.len()).expect("two addresses and two ports");
    [&SIGNATURE[..], &[VERSION_2 | command, family], &length.to_be_bytes(), behind].concat()
}

/// For fuzzing: a header is the same however much comes behind it, no part of it is one, and what it says survives being
/// written.
pub fn fuzz_proxy(bytes: &[u8]) {
    match peek_header(bytes) {
        PeekedHeader::NeedBytes { at_least } => {
            assert!(
                bytes.len() < at_least && at_least <= HEADER_MAX,
                "a header wants more than it has, and not too much"
            );
        }
        PeekedHeader::Complete { header, length } => {
            assert!(length <= bytes.len().min(HEADER_MAX));
            assert_eq!(peek_header(&bytes[..length]), PeekedHeader::Complete { header, length });
            let cut = peek_header(&bytes[..length - 1]);
            assert!(matches!(cut, PeekedHeader::NeedBytes { at_least } if at_least <= length), "{cut:?}");
            check_written(header);
        }
        PeekedHeader::Malformed(_) => {
            assert!(matches!(peek_header(&[bytes, b"x"].concat()), PeekedHeader::Malformed(_)), "more cannot cure it");
        }
    }
}

fn check_written(header: Header) {
    for version in [Version::V1, Version::V2] {
        let written = header.encode(version);
        let expected = Header::addresses(header).map(|_| header.canonical()).unwrap_or(Header::Local);
        match peek_header(&written) {
            PeekedHeader::Complete { header, length } => {
                assert_eq!((header.canonical(), length), (expected, written.len()));
            }
            other => panic!("{other:?} of {}", written.escape_ascii()),
        }
    }
}

impl Header {
    /// IPv4 in IPv6's clothes as IPv4.
    fn canonical(self) -> Header {
        let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        match self {
            Header::Proxied(Route { source, destination }) => {
                Header::Proxied(Route { source: plain(source), destination: plain(destination) })
            }
            Header::Local => Header::Local,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(source: &str, destination: &str) -> Header {
        let parse = |text: &str| text.parse().expect("an address");
        Header::Proxied(Route { source: parse(source), destination: parse(destination) })
    }

    /// As the specification has it, for a client at 127.0.0.9.
    const WRITTEN_OUT: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\0\0\x09\x7f\0\0\x01\xd4\x31\x0c\xea";

    fn check(bytes: &[u8], expected: Header) {
        let length = bytes.len();
        for behind in [&b""[..], b"\x4a\0\0\0"] {
            let shown = [bytes, behind].concat();
            assert_eq!(
                peek_header(&shown),
                PeekedHeader::Complete { header: expected, length },
                "{}",
                shown.escape_ascii()
            );
        }
        for cut in 0..length {
            let PeekedHeader::NeedBytes { at_least } = peek_header(&bytes[..cut]) else { panic!("cut at {cut}") };
            assert!((cut + 1..=length).contains(&at_least), "{at_least} wanted at {cut} of {length}");
        }
    }

    fn check_refused(bytes: &[u8], field: &'static str) {
        assert_eq!(peek_header(bytes), PeekedHeader::Malformed(Malformed { field }), "{}", bytes.escape_ascii());
    }

    #[test]
    fn a_line_says_whose_connection_it_is() {
        check(b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 3306\r\n", route("192.0.2.1:4711", "10.0.0.1:3306"));
        check(b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", route("[2001:db8::1]:1", "[::1]:65535"));
        check(b"PROXY UNKNOWN\r\n", Header::Local);
        check(b"PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n", Header::Local);
    }

    #[test]
    fn a_binary_header_says_whose_connection_it_is() {
        check(WRITTEN_OUT, route("127.0.0.9:54321", "127.0.0.1:3306"));
        let ipv6 = [&[0x20, 1, 0x0D, 0xB8][..], &[0; 11], &[1], &[0; 15], &[1], &[0, 1], &[0x0C, 0xEA]].concat();
        let header = |command, family, behind: &[u8]| binary_header(command, family, behind);
        check(&header(PROXY, TCP6, &ipv6), route("[2001:db8::1]:1", "[::1]:3306"));
        check(&header(LOCAL, 0, b""), Header::Local);
        check(&header(LOCAL, TCP4, &[7; 20]), Header::Local);
        check(&header(PROXY, 0, b""), Header::Local);
        // Behind the addresses stand extensions.
        check(
            &header(PROXY, TCP4, &[&WRITTEN_OUT[16..], &[4, 0, 1, 0]].concat()),
            route("127.0.0.9:54321", "127.0.0.1:3306"),
        );
    }

    #[test]
    fn what_is_no_header_is_known_by_its_first_wrong_byte() {
        check_refused(b"PRX", "no PROXY header");
        check_refused(b"\x4a\0\0\x01", "no PROXY header");
        check_refused(b"\r\n\r\n\0\r\nQUIx", "the signature of a PROXY header");
    }

    #[test]
    fn a_header_that_cannot_be_true_is_refused() {
        check_refused(b"PROXY \r\n", "the protocol of a PROXY line");
        check_refused(b"PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n", "the protocol of a PROXY line");
        check_refused(b"PROXY TCP4 192.0.2.1 ::1 1 2\r\n", "an address of a PROXY line");
        check_refused(b"PROXY TCP4 192.0.2.1  10.0.0.1 1 2\r\n", "an address of a PROXY line");
        check_refused(b"PROXY TCP4 192.0.2.1 10.0.0.1 1 65536\r\n", "a port of a PROXY line");
        check_refused(b"PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n", "a port of a PROXY line");
        check_refused(b"PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n", "a port of a PROXY line");
        check_refused(b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n", "the end of a PROXY line");
        check_refused(&[LINE_START, &[b'x'; LINE_MAX]].concat(), "the end of a PROXY line");
        check_refused(&binary_header(PROXY, TCP4, &[0; 11]), "the addresses of a PROXY header");
        check_refused(&binary_header(PROXY, 0x12, &[0; 12]), "the protocol of a PROXY header");
        check_refused(&binary_header(2, TCP4, &[0; 12]), "the command of a PROXY header");
        check_refused(&[&SIGNATURE[..], &[0x11, TCP4, 0, 12]].concat(), "the version of a PROXY header");
        check_refused(&[&SIGNATURE[..], &[0x21, TCP4, 0xFF, 0xFF]].concat(), "the length of a PROXY header");
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for header in [
            route("192.0.2.1:4711", "10.0.0.1:3306"),
            route("[2001:db8::1]:1", "[::1]:65535"),
            route("192.0.2.1:4711", "[::1]:3306"),
            route("[::ffff:192.0.2.1]:4711", "10.0.0.1:3306"),
            Header::Local,
        ] {
            check_written(header);
        }
        assert_eq!(route("127.0.0.9:54321", "127.0.0.1:3306").encode(Version::V2), WRITTEN_OUT);
        let line = b"PROXY TCP4 127.0.0.9 127.0.0.1 54321 3306\r\n";
        assert_eq!(route("127.0.0.9:54321", "127.0.0.1:3306").encode(Version::V1), line);
        assert_eq!(Header::Local.encode(Version::V1), b"PROXY UNKNOWN\r\n");
    }
}
