//! Processes of the bench: each on its own CPU, and none outlives the run.
//!
//! A process is started through this binary's own `launch` command, which sets what a process can only set for itself
//! (CPU, limits, the signal it gets when its parent ends) and then becomes the program. So the process id is the
//! program's, and the bench needs no code between fork and exec.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Resource, Signal};
use rustix::thread::CpuSet;

/// What a program writes when it accepts connections, followed by its address.
pub(crate) const LISTENING: &str = "listening ";

/// The number of a CPU, as the kernel counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cpu(pub(crate) usize);

/// Which CPU does what: what is measured has one for itself, where there are two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    pub(crate) candidate: Cpu,
    pub(crate) stand_in: Cpu,
    /// One thread of the load generator each.
    pub(crate) generators: Vec<Cpu>,
}

impl Placement {
    /// The last CPU for the candidate, the first for the server behind it, the ones between for the load; with less
    /// than three, load and server share.
    pub(crate) fn of(cpus: &[Cpu]) -> Placement {
        let (&candidate, others) = cpus.split_last().expect("this process runs on a CPU");
        let (stand_in, generators) = match others {
            [] => (candidate, vec![candidate]),
            [only] => (*only, vec![*only]),
            [first, rest @ ..] => (*first, rest.to_vec()),
        };
        Placement { candidate, stand_in, generators }
    }
}

/// The CPUs that this process may use.
pub(crate) fn usable_cpus() -> io::Result<Vec<Cpu>> {
    let set = rustix::thread::sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).map(Cpu).collect())
}

/// Keeps the calling thread on one CPU.
pub(crate) fn pin_thread(cpu: Cpu) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu.0);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// As many open files as the hard limit lets us: each connection through a proxy needs four in all.
pub(crate) fn raise_file_limit() -> io::Result<()> {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(rustix::process::setrlimit(Resource::Nofile, limit)?)
}

/// The `launch` command: becomes `program`. Returns only when that fails.
pub(crate) fn launch(cpu: Cpu, parent: u32, program: &[String]) -> io::Error {
    match prepare(cpu, parent) {
        Ok(()) => Command::new(&program[0]).args(&program[1..]).exec(),
        Err(error) => error,
    }
}

fn prepare(cpu: Cpu, parent: u32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have ended before the line above; then nobody would send the signal.
    let current = rustix::process::getppid().map(Pid::as_raw_pid).and_then(|pid| u32::try_from(pid).ok());
    if current != Some(parent) {
        return Err(io::Error::other("the bench that started this is gone"));
    }
    pin_thread(cpu)
}

/// A command that runs `program` through `launch`.
pub(crate) fn command(cpu: Cpu, program: &Path) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["launch", "--cpu", &cpu.0.to_string(), "--parent", &std::process::id().to_string(), "--"])
        .arg(program);
    Ok(command)
}

/// A running program, ended when this value goes.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `program`; what it writes on standard error goes to `log`.
    pub(crate) fn start(cpu: Cpu, program: &Path, arguments: &[&str], log: &Path) -> io::Result<Process> {
        Process::spawn(cpu, program, arguments, File::create(log)?.into())
    }

    /// Starts `program` and hands over what it writes on standard error.
    pub(crate) fn start_heard(cpu: Cpu, program: &Path, arguments: &[&str]) -> io::Result<(Process, ChildStderr)> {
        let mut process = Process::spawn(cpu, program, arguments, Stdio::piped())?;
        let errors = process.child.stderr.take().expect("piped at the start, taken once");
        Ok((process, errors))
    }

    fn spawn(cpu: Cpu, program: &Path, arguments: &[&str], errors: Stdio) -> io::Result<Process> {
        let child = command(cpu, program)?
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()?;
        Ok(Process { child })
    }

    /// Starts one of this binary's own servers and waits until it tells its address.
    pub(crate) fn start_own(cpu: Cpu, arguments: &[&str], log: &Path) -> io::Result<(Process, SocketAddr)> {
        let mut process = Process::start(cpu, &std::env::current_exe()?, arguments, log)?;
        let mut output = BufReader::new(process.take_output());
        let mut line = String::new();
        output.read_line(&mut line)?;
        let address = line.trim_end().strip_prefix(LISTENING).and_then(|address| address.parse().ok());
        match address {
            Some(address) => Ok((process, address)),
            None => Err(io::Error::other(format!("`{}` did not start: {}", arguments.join(" "), last_words(log)))),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, as Ctrl-C does, and waits until it has.
    pub(crate) fn interrupt(&mut self) -> io::Result<()> {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::INT)?;
        self.child.wait().map(drop)
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> io::Result<Option<String>> {
        Ok(self.child.try_wait()?.map(|status| status.to_string()))
    }

    fn take_output(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("piped at the start, taken once")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a process that has ended and been waited for, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of a log that say something: what a program that ended had to say. The reason often stands before the
/// news that the program stops.
pub(crate) fn last_words(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut lines: Vec<_> = text.lines().rev().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    lines.reverse();
    if lines.is_empty() { "it said nothing".to_owned() } else { lines.join(" | ") }
}

/// An address that nothing listens on. Another process could take the port before the candidate does; then the
/// candidate ends at its start and says why.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cpus: usize, candidate: usize, stand_in: usize, generators: &[usize]) {
        let cpus: Vec<_> = (0..cpus).map(Cpu).collect();
        let expected = Placement {
            candidate: Cpu(candidate),
            stand_in: Cpu(stand_in),
            generators: generators.iter().copied().map(Cpu).collect(),
        };
        assert_eq!(Placement::of(&cpus), expected);
    }

    #[test]
    fn the_candidate_shares_its_cpu_only_when_there_is_no_other() {
        check(1, 0, 0, &[0]);
        check(2, 1, 0, &[0]);
        check(3, 2, 0, &[1]);
        check(8, 7, 0, &[1, 2, 3, 4, 5, 6]);
    }
}
