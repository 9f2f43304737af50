//! What the service manager is told: `sd_notify`, one datagram a message.
//!
//! Without `$NOTIFY_SOCKET` nothing is sent, so the same code runs under systemd, in a container and by hand.
//! A message that cannot be delivered is no reason to stop serving; the caller logs it and goes on.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Where messages go, if anybody wants them.
#[derive(Debug)]
pub(crate) enum ServiceManager {
    /// The process was started by something that does not listen.
    Absent,
    /// A connected datagram socket: the address was good when the process started.
    Listening(UnixDatagram),
}

/// One message. The texts are those of the manual page sd_notify(3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    /// Start-up or a reload is finished.
    Ready,
    /// A reload begins. The time is CLOCK_MONOTONIC: the manager takes an older one for an answer to an earlier reload.
    Reloading { monotonic_microseconds: u64 },
    /// The process is ending.
    Stopping,
    /// All is well: to be said again and again where the manager asked for it.
    Watchdog,
    /// One line for `systemctl status`.
    Status(&'a str),
}

impl ServiceManager {
    /// The one named by `$NOTIFY_SOCKET`.
    pub(crate) fn from_environment() -> io::Result<ServiceManager> {
        ServiceManager::at(std::env::var_os("NOTIFY_SOCKET"))
    }

    fn at(address: Option<OsString>) -> io::Result<ServiceManager> {
        let Some(address) = address.filter(|address| !address.is_empty()) else {
            return Ok(ServiceManager::Absent);
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&socket_address(&address)?)?;
        Ok(ServiceManager::Listening(socket))
    }

    /// Sends one message.
    pub(crate) fn tell(&self, message: &Message<'_>) -> io::Result<()> {
        match self {
            ServiceManager::Absent => Ok(()),
            ServiceManager::Listening(socket) => socket.send(message.text().as_bytes()).map(|_| ()),
        }
    }
}

impl Message<'_> {
    fn text(&self) -> String {
        match self {
            Message::Ready => "READY=1".to_string(),
            Message::Reloading { monotonic_microseconds } => {
                format!("RELOADING=1\nMONOTONIC_USEC={monotonic_microseconds}")
            }
            Message::Stopping => "STOPPING=1".to_string(),
            Message::Watchdog => "WATCHDOG=1".to_string(),
            // A message is a list of lines: a line break in the text would start a new field.
            Message::Status(text) => format!("STATUS={}", text.replace('\n', " ")),
        }
    }
}

/// How long the manager waits for a [`Message::Watchdog`] before it ends this process; absent where it waits for none.
pub(crate) fn watchdog_patience() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok();
    patience(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref(), std::process::id())
}

/// As sd_watchdog_enabled(3) reads the two variables.
fn patience(microseconds: Option<&str>, pid: Option<&str>, own: u32) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let microseconds = microseconds?.parse().ok().filter(|&microseconds| microseconds > 0 && is_ours)?;
    Some(Duration::from_micros(microseconds))
}

/// `@name` is a name in the abstract namespace, `/path` a file; nothing else can be a datagram socket here.
fn socket_address(address: &OsStr) -> io::Result<SocketAddr> {
    match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(address),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "NOTIFY_SOCKET is neither a path nor an abstract name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).expect("a message arrives");
        String::from_utf8(buffer[..length].to_vec()).expect("messages are text")
    }

    fn check_messages(listening: &UnixDatagram, address: OsString) {
        let manager = ServiceManager::at(Some(address)).expect("the address is good");
        for (message, expected) in [
            (Message::Ready, "READY=1"),
            (Message::Reloading { monotonic_microseconds: 12_345 }, "RELOADING=1\nMONOTONIC_USEC=12345"),
            (Message::Status("2 listeners\nREADY=1"), "STATUS=2 listeners READY=1"),
            (Message::Stopping, "STOPPING=1"),
            (Message::Watchdog, "WATCHDOG=1"),
        ] {
            manager.tell(&message).expect("somebody listens");
            assert_eq!(received(listening), expected);
        }
    }

    #[test]
    fn messages_arrive_at_a_socket_in_the_file_system() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let listening = UnixDatagram::bind(&path).expect("a socket");
        check_messages(&listening, path.into_os_string());
    }

    #[test]
    fn messages_arrive_at_an_abstract_socket() {
        let name = format!("sqluice-notify-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let listening = UnixDatagram::bind_addr(&address).expect("a socket");
        check_messages(&listening, OsString::from(format!("@{name}")));
    }

    #[test]
    fn a_watchdog_waits_for_the_process_that_it_names() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(patience(Some("30000000"), None, 7), seconds(30));
        assert_eq!(patience(Some("30000000"), Some("7"), 7), seconds(30));
        assert_eq!(patience(Some("30000000"), Some("8"), 7), None);
        for nothing in [None, Some("0"), Some("soon"), Some("")] {
            assert_eq!(patience(nothing, Some("7"), 7), None);
        }
    }

    #[test]
    fn nobody_listening_is_not_an_error() {
        for address in [None, Some(OsString::new())] {
            let manager = ServiceManager::at(address).expect("absence is fine");
            manager.tell(&Message::Ready).expect("nothing is sent");
        }
    }

    #[test]
    fn an_address_of_another_kind_is_refused() {
        assert!(ServiceManager::at(Some(OsString::from("vsock:2:1234"))).is_err());
    }

    #[test]
    fn a_listener_that_went_away_is_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let listening = UnixDatagram::bind(&path).expect("a socket");
        let manager = ServiceManager::at(Some(path.into_os_string())).expect("the address is good");
        drop(listening);
        assert!(manager.tell(&Message::Ready).is_err());
    }
}
