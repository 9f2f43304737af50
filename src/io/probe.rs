//! Whether io_uring can be used here, found out by using it; and the one log line that says what is used and why.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::IoLimits;
use super::buffer::Span;
use super::event::{Event, SocketId};
use super::ring::Setup;
use super::uring::Uring;

/// Older kernels have io_uring, but with faults in multishot receives and provided buffers, or without them.
const KERNEL_FLOOR: KernelVersion = KernelVersion { major: 6, minor: 1 };

/// How long the kernel may take to pass a few bytes through a socket pair.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Words that fill the smallest socket buffer many times over.
const PROBE_TRIES_MAX: usize = 10_000;

/// The two numbers of a kernel's version that tell what it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// The 6 of 6.1.
    pub major: u32,
    /// The 1 of 6.1.
    pub minor: u32,
}

impl KernelVersion {
    /// Of text like `6.1.0-18-amd64`.
    fn parse(release: &str) -> Option<KernelVersion> {
        let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse);
        Some(KernelVersion { major: numbers.next()?.ok()?, minor: numbers.next()?.ok()? })
    }

    fn running() -> Option<KernelVersion> {
        KernelVersion::parse(&fs::read_to_string("/proc/sys/kernel/osrelease").ok()?)
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// Why io_uring is not used.
#[derive(Debug)]
pub enum Refusal {
    /// The configuration asks for epoll.
    NotWanted,
    /// The kernel is older than 6.1.
    KernelTooOld(KernelVersion),
    /// The ring, its buffers or its wake handle could not be set up.
    SetUp(io::Error),
    /// It was set up, but did not pass bytes as it must.
    Probe(&'static str),
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotWanted => write!(formatter, "the configuration asks for epoll"),
            Refusal::KernelTooOld(found) => {
                write!(formatter, "kernel {found} is older than {KERNEL_FLOOR}")
            }
            Refusal::SetUp(error) => {
                write!(formatter, "{error}{}", advice(error))
            }
            Refusal::Probe(what) => write!(formatter, "the probe failed: {what}"),
        }
    }
}

/// What an operator can do about a ring that could not be set up.
fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => " (forbidden by kernel.io_uring_disabled or by the container's seccomp profile)",
        Some(libc::ENOSYS) => " (the kernel has no io_uring, or the container's seccomp profile hides it)",
        Some(libc::ENOMEM) => " (raise the locked memory limit, RLIMIT_MEMLOCK)",
        Some(libc::EMFILE) => " (raise the open files limit, RLIMIT_NOFILE)",
        _ => "",
    }
}

/// What an engine uses of the kernel, and what it does not and why: its `Display` is one log line.
#[derive(Debug)]
pub struct EngineReport {
    kernel: Option<KernelVersion>,
    used: Used,
    limits: IoLimits,
}

#[derive(Debug)]
enum Used {
    IoUring(Setup),
    Epoll(Refusal),
}

impl EngineReport {
    pub(super) fn io_uring(setup: Setup, limits: IoLimits) -> EngineReport {
        EngineReport { kernel: KernelVersion::running(), used: Used::IoUring(setup), limits }
    }

    pub(super) fn epoll(refusal: Refusal, limits: IoLimits) -> EngineReport {
        EngineReport { kernel: KernelVersion::running(), used: Used::Epoll(refusal), limits }
    }

    /// `io_uring` or `epoll`.
    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        match self.used {
            Used::IoUring(_) => "io_uring",
            Used::Epoll(_) => "epoll",
        }
    }

    /// Why io_uring is not used; None when it is.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.used {
            Used::IoUring(_) => None,
            Used::Epoll(refusal) => Some(refusal),
        }
    }
}

impl fmt::Display for EngineReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.engine_name())?;
        if let Some(kernel) = self.kernel {
            write!(formatter, " on Linux {kernel}")?;
        }
        match &self.used {
            Used::IoUring(setup) => write!(formatter, ": {setup}, multishot accept and receive")?,
            Used::Epoll(refusal) => write!(formatter, ": io_uring is not used: {refusal}")?,
        }
        let IoLimits { small, large, .. } = self.limits;
        write!(
            formatter,
            "; receive buffers {} × {} B and {} × {} B",
            small.buffers, small.size, large.buffers, large.size
        )
    }
}

/// An io_uring engine that has shown that it works, or the reason why there is none.
pub(super) fn io_uring(limits: &IoLimits) -> Result<Uring, Refusal> {
    if let Some(kernel) = KernelVersion::running()
        && kernel < KERNEL_FLOOR
    {
        return Err(Refusal::KernelTooOld(kernel));
    }
    let mut engine = Uring::new(limits).map_err(Refusal::SetUp)?;
    probe(&mut engine)?;
    Ok(engine)
}

/// Receives twice with one multishot receive into provided buffers, fills the way back, sees the end, and closes: what
/// every session does.
fn probe(engine: &mut Uring) -> Result<(), Refusal> {
    let (mut peer, ours) = UnixStream::pair().map_err(Refusal::SetUp)?;
    // The kernel raises it to its least.
    SockRef::from(&ours).set_send_buffer_size(1).map_err(Refusal::SetUp)?;
    let id = engine.adopt(ours.into()).map_err(|_| Refusal::Probe("no slot for a socket"))?;
    engine.receive(id);
    for word in [&b"first"[..], b"second"] {
        peer.write_all(word).map_err(Refusal::SetUp)?;
        match next_event(engine)? {
            Event::Received { span, .. } if span.bytes() == word => {}
            Event::Failed { .. } => return Err(Refusal::Probe("multishot receive is refused")),
            _ => return Err(Refusal::Probe("a multishot receive brought other bytes")),
        }
    }
    probe_tries(engine, id, &mut peer)?;
    drop(peer);
    if !matches!(next_event(engine)?, Event::Ended { .. }) {
        return Err(Refusal::Probe("a receive did not see the end"));
    }
    engine.close(id);
    Ok(())
}

/// Sends to a peer that does not read until not everything is written, and compares what is told with what arrived: if
/// they differed, bytes would be lost.
fn probe_tries(engine: &mut Uring, id: SocketId, peer: &mut UnixStream) -> Result<(), Refusal> {
    let mut written = 0;
    for _ in 0..PROBE_TRIES_MAX {
        peer.write_all(b"back").map_err(Refusal::SetUp)?;
        let Event::Received { span, .. } = next_event(engine)? else {
            return Err(Refusal::Probe("a multishot receive ended early"));
        };
        written += span.len();
        if engine.send(id, span).is_err() || !engine.await_sent(id) {
            return Err(Refusal::Probe("a send was not taken"));
        }
        let Event::Sent { unsent, .. } = next_event(engine)? else {
            return Err(Refusal::Probe("a send failed"));
        };
        written -= unsent.iter().map(Span::len).sum::<usize>();
        if !unsent.is_empty() {
            return expect_arrived(peer, written);
        }
    }
    Err(Refusal::Probe("a send of more than there is room for is not told"))
}

fn expect_arrived(peer: &mut UnixStream, written: usize) -> Result<(), Refusal> {
    peer.set_nonblocking(true).map_err(Refusal::SetUp)?;
    let mut arrived = Vec::new();
    match peer.read_to_end(&mut arrived) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && arrived.len() == written => Ok(()),
        Ok(_) | Err(_) => Err(Refusal::Probe("a send wrote other than it told")),
    }
}

fn next_event(engine: &mut Uring) -> Result<Event, Refusal> {
    let deadline = Instant::now() + PROBE_TIMEOUT;
    let mut events = Vec::new();
    while events.is_empty() {
        if Instant::now() >= deadline {
            return Err(Refusal::Probe("a receive did not complete"));
        }
        engine.turn(Some(deadline), &mut events).map_err(Refusal::SetUp)?;
    }
    Ok(events.remove(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions_are_read_and_compared_by_number() {
        let version = |text| KernelVersion::parse(text).expect(text);
        assert_eq!(version("6.1.0-18-amd64\n"), KernelVersion { major: 6, minor: 1 });
        assert!(version("5.15.0") < KERNEL_FLOOR);
        assert!(version("6.0.19") < KERNEL_FLOOR);
        assert!(version("6.18.44-fc") > version("6.2.1"));
        assert_eq!(KernelVersion::parse("unknown"), None);
    }

    #[test]
    fn the_report_is_one_line_that_says_why() {
        let report = |refusal| EngineReport::epoll(refusal, IoLimits::default()).to_string();
        let forbidden = report(Refusal::SetUp(io::Error::from_raw_os_error(libc::EPERM)));
        assert!(forbidden.contains("seccomp"), "{forbidden}");
        let old = report(Refusal::KernelTooOld(KernelVersion { major: 5, minor: 15 }));
        assert!(old.contains("5.15 is older than 6.1"), "{old}");
        let used = EngineReport::io_uring(Setup::Deferred, IoLimits::default()).to_string();
        assert!(used.contains("DEFER_TASKRUN"), "{used}");
        for line in [forbidden, old, used] {
            assert!(!line.contains('\n'));
        }
    }
}
