//! The forms a setting's value may have: durations, addresses, names, choices. Each refusal says what to write instead.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::limits::SOCKET_PATH_BYTES_MAX;
use super::{
    Balance, DonorReads, Failover, FollowRedirects, IoEngine, ListenAddress, LogFormat, LogLevel, RedirectMode,
    RedirectUrl, Release, Reuse, Role, RoleSetting, SendProxy, ServerAddress, Topology,
};
use crate::protocol::redirect::Target;

/// What is wrong with a value, and what to write instead; goes on after the setting's name.
pub(crate) type Problem = String;

/// A setting with a fixed list of words.
pub(crate) trait Choice: Copy + PartialEq + 'static {
    /// Every value with its word.
    const ALL: &'static [(&'static str, Self)];

    /// The word of a value.
    fn word(self) -> &'static str {
        let named = Self::ALL.iter().find(|(_, value)| *value == self);
        named.expect("every value of a choice has a word").0
    }
}

/// The words of a choice, as the reference lists them.
pub(crate) fn words<T: Choice>() -> Vec<&'static str> {
    T::ALL.iter().map(|(word, _)| *word).collect()
}

impl Choice for IoEngine {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", IoEngine::Auto), ("io_uring", IoEngine::IoUring), ("epoll", IoEngine::Epoll)];
}

impl Choice for LogLevel {
    const ALL: &'static [(&'static str, Self)] = &[
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
}

impl Choice for LogFormat {
    const ALL: &'static [(&'static str, Self)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
}

impl Choice for RedirectMode {
    const ALL: &'static [(&'static str, Self)] =
        &[("off", RedirectMode::Off), ("on", RedirectMode::On), ("all", RedirectMode::All)];
}

impl Choice for RedirectUrl {
    const ALL: &'static [(&'static str, Self)] = &[("off", RedirectUrl::Off), ("followers", RedirectUrl::Followers)];
}

impl Choice for Topology {
    const ALL: &'static [(&'static str, Self)] = &[
        ("replication", Topology::Replication),
        ("group-replication", Topology::GroupReplication),
        ("static", Topology::Static),
        ("galera", Topology::Galera),
    ];
}

impl Choice for DonorReads {
    const ALL: &'static [(&'static str, Self)] =
        &[("last-resort", DonorReads::LastResort), ("always", DonorReads::Always)];
}

impl Choice for FollowRedirects {
    const ALL: &'static [(&'static str, Self)] =
        &[("configured", FollowRedirects::Configured), ("any", FollowRedirects::Any)];
}

impl Choice for Failover {
    const ALL: &'static [(&'static str, Self)] =
        &[("off", Failover::Off), ("manual", Failover::Manual), ("automatic", Failover::Automatic)];
}

impl Choice for RoleSetting {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", RoleSetting::Auto), ("primary", RoleSetting::Primary), ("replica", RoleSetting::Replica)];
}

impl Choice for Role {
    const ALL: &'static [(&'static str, Self)] = &[("primary", Role::Primary), ("replica", Role::Replica)];
}

impl Choice for Reuse {
    const ALL: &'static [(&'static str, Self)] = &[("session", Reuse::Session), ("transaction", Reuse::Transaction)];
}

impl Choice for SendProxy {
    const ALL: &'static [(&'static str, Self)] =
        &[("off", SendProxy::Off), ("v1", SendProxy::V1), ("v2", SendProxy::V2)];
}

impl Choice for Balance {
    const ALL: &'static [(&'static str, Self)] = &[
        ("least-connections", Balance::LeastConnections),
        ("round-robin", Balance::RoundRobin),
        ("random", Balance::Random),
    ];
}

/// Units of a duration, from the largest, in milliseconds.
const DURATION_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A duration like `"250ms"`: one whole number and one unit.
pub(crate) fn duration(text: &str) -> Result<Duration, Problem> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = DURATION_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| factor);
    let milliseconds = factor.and_then(|factor| number.parse::<u64>().ok()?.checked_mul(*factor));
    let advice = "write a whole number and its unit, like \"250ms\", \"5s\", \"1m\" or \"2h\"";
    milliseconds.map(Duration::from_millis).ok_or_else(|| format!("cannot be {}: {advice}", quoted(text)))
}

/// A duration as one writes it: in the largest unit that it is a whole number of.
pub(crate) struct DurationText(pub(crate) Duration);

impl fmt::Display for DurationText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        let fits = |(_, factor): &&(&str, u64)| milliseconds > 0 && milliseconds.is_multiple_of(u128::from(*factor));
        let (unit, factor) = DURATION_UNITS.iter().find(fits).unwrap_or(&("s", 1000));
        write!(out, "{}{unit}", milliseconds / u128::from(*factor))
    }
}

/// An address to listen on that is no file.
pub(crate) fn tcp_address(text: &str) -> Result<SocketAddr, Problem> {
    let advice = "write \"127.0.0.1:9104\" or \"[::1]:9104\"";
    SocketAddr::from_str(text).map_err(|_| format!("needs an IP address and a port, not {}: {advice}", quoted(text)))
}

/// An address to listen on: an IP address with a port, or `unix:` and a path.
pub(crate) fn listen_address(text: &str) -> Result<ListenAddress, Problem> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(ListenAddress::Unix);
    }
    let problem = match text.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => "needs an IP address of this machine before the port",
        _ => "needs an IP address and a port",
    };
    let advice = "write \"0.0.0.0:3306\", \"[::]:3306\" or \"unix:/run/sqluice/mysql.sock\"";
    SocketAddr::from_str(text).map(ListenAddress::Tcp).map_err(|_| format!("{problem}, not {}: {advice}", quoted(text)))
}

/// Where a server is: `host:port`, `address:port`, or `unix:` and a path.
pub(crate) fn server_address(text: &str) -> Result<ServerAddress, Problem> {
    if let Some(path) = text.strip_prefix("unix:") {
        return socket_path(path).map(ServerAddress::Unix);
    }
    let advice = "write \"10.0.0.11:3306\", \"[2001:db8::11]:3306\", \"db1.example.com:3306\" or \"unix:/path\"";
    let (host, port) = host_and_port(text).map_err(|why| format!("{why} in {}: {advice}", quoted(text)))?;
    Ok(ServerAddress::Tcp { host: host.to_owned(), port })
}

/// A host name or an IP address, and a port; or why there are none.
fn host_and_port(text: &str) -> Result<(&str, u16), &'static str> {
    let (host, port) = text.rsplit_once(':').ok_or("has no port")?;
    // `parse` would take a sign.
    let digits = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let port = match digits.map(str::parse::<u16>) {
        Some(Ok(port)) if port > 0 => port,
        _ => return Err("has no port from 1 to 65535"),
    };
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) if matches!(address.parse(), Ok(IpAddr::V6(_))) => Ok((address, port)),
        None if is_host(host) => Ok((host, port)),
        _ => Err("has no host name or IP address"),
    }
}

/// Where clients are sent: `host:port`. The problem, if there is one, goes on after what the address is for.
pub fn redirect_target(text: &str) -> Result<Target, String> {
    let advice = "write a host name or an IPv4 address and a port, like \"lb2.example.com:3306\"";
    let unusable = || format!("cannot be {}, which no client takes: {advice}", quoted(text));
    if text.starts_with("unix:") {
        return Err(unusable());
    }
    let (host, port) = host_and_port(text).map_err(|why| format!("{why} in {}: {advice}", quoted(text)))?;
    Target::new(host, port).ok_or_else(unusable)
}

/// The numbers of a connector's release.
pub(crate) fn release(text: &str) -> Result<Release, Problem> {
    let is_release = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let release = Release::parse(text).filter(|_| is_release);
    release.ok_or_else(|| format!("cannot be {}: write the numbers of a release, like \"3.4.0\"", quoted(text)))
}

/// Whether `text` is an IPv4 address or could be a host name (RFC 1123, and the underscores that people use anyway).
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(allowed) && !label.starts_with('-')
    };
    // Digits and dots are meant as an address; a resolver would take "10.0.0.300" for a name.
    let is_meant_as_address = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match is_meant_as_address {
        true => text.parse::<Ipv4Addr>().is_ok(),
        false => text.len() <= 253 && text.split('.').all(is_label),
    }
}

/// The path of a UNIX socket.
pub(crate) fn socket_path(text: &str) -> Result<PathBuf, Problem> {
    let problem = if !text.starts_with('/') {
        "needs an absolute path".to_owned()
    } else if text.len() > SOCKET_PATH_BYTES_MAX {
        format!("has a path of {} bytes; the kernel takes at most {SOCKET_PATH_BYTES_MAX}", text.len())
    } else if text.chars().any(char::is_control) || text.ends_with('/') {
        "needs the path of a socket".to_owned()
    } else {
        return Ok(PathBuf::from(text));
    };
    Err(format!("{problem}, not {}: write one like /run/sqluice/mysql.sock", quoted(text)))
}

/// What an operator wrote, safe to print: escaped, and cut where it gets long. Never for secrets.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN_CHARACTERS_MAX: usize = 60;
    let shown: String = text.chars().take(SHOWN_CHARACTERS_MAX).collect();
    let rest = if shown.len() < text.len() { "…" } else { "" };
    format!("\"{}{rest}\"", shown.escape_debug())
}

/// Words of a list as a sentence has them: `a, b or c`.
pub(crate) fn either(words: &[impl AsRef<str>]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} or {}", first.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_whole_number_and_a_unit() {
        let check = |text: &str, milliseconds: u64| {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        };
        check("0s", 0);
        check("250ms", 250);
        check("5s", 5000);
        check("1m", 60_000);
        check("2h", 7_200_000);
        for wrong in [
            "",
            "5",
            "s",
            "5 s",
            "-5s",
            "1.5s",
            "5sec",
            "5S",
            "1m30s",
            "99999999999999999999s",
            "9999999999999999h",
            "٣s",
        ] {
            let problem = duration(wrong).expect_err(wrong);
            assert!(problem.contains("\"250ms\""), "{wrong}: {problem}");
        }
    }

    #[test]
    fn a_printed_duration_reads_back_as_itself() {
        for (milliseconds, text) in [
            (0, "0s"),
            (1, "1ms"),
            (1500, "1500ms"),
            (30_000, "30s"),
            (60_000, "1m"),
            (90_000, "90s"),
            (3_600_000, "1h"),
        ] {
            let value = Duration::from_millis(milliseconds);
            assert_eq!(DurationText(value).to_string(), text);
            assert_eq!(duration(text), Ok(value));
        }
    }

    #[test]
    fn servers_have_a_host_and_a_port() {
        let check = |text: &str, host: &str, port| {
            let expected = ServerAddress::Tcp { host: host.to_owned(), port };
            assert_eq!(server_address(text), Ok(expected.clone()), "{text}");
            assert_eq!(server_address(&expected.to_string()), Ok(expected));
        };
        check("10.0.0.11:3306", "10.0.0.11", 3306);
        check("db1.example.com:1", "db1.example.com", 1);
        check("db_1:65535", "db_1", 65_535);
        check("[::1]:3306", "::1", 3306);
        assert_eq!(server_address("unix:/a/b"), Ok(ServerAddress::Unix(PathBuf::from("/a/b"))));
        for wrong in [
            "",
            "db1",
            ":3306",
            "db1:",
            "db1:0",
            "db1:65536",
            "db1:+1",
            "10.0.0.300:3306",
            "::1:3306",
            "[::1:3306",
            "[db1]:3306",
            "[10.0.0.1]:3306",
            "d b:3306",
            "-db:3306",
            "db..x:3306",
            "unix:relative",
            "unix:/dir/",
        ] {
            assert!(server_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn listeners_have_an_ip_address_and_a_port() {
        for right in ["0.0.0.0:3306", "[::]:3306", "127.0.0.1:0", "unix:/run/sqluice/mysql.sock"] {
            assert_eq!(listen_address(right).map(|address| address.to_string()), Ok(right.to_owned()));
        }
        let long = format!("unix:/{}", "x".repeat(SOCKET_PATH_BYTES_MAX));
        for wrong in ["", ":3306", "3306", "localhost:3306", "0.0.0.0", "0.0.0.0:99999", "unix:", "unix:a\0", &long] {
            assert!(listen_address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_was_written_is_printed_escaped_and_cut() {
        assert_eq!(quoted("a\"b\n\u{1b}"), r#""a\"b\n\u{1b}""#);
        assert_eq!(quoted(&"ä".repeat(100)), format!("\"{}…\"", "ä".repeat(60)));
    }
}
