//! What a process has used, as the kernel counts it: CPU time, context switches, memory.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Totals since the process started. Two of them around a window say what the window cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time of all threads, in user and kernel mode, to the nanosecond.
    pub(crate) cpu: Duration,
    /// The same from the clock ticks, which alone know the two modes apart: only for their ratio.
    pub(crate) user_ticks: u64,
    pub(crate) kernel_ticks: u64,
    /// How often a thread went to sleep of its own will.
    pub(crate) voluntary_switches: u64,
}

impl Usage {
    /// Of a process with all its threads, also the kernel's workers for its ring, and of the processes it started. What a
    /// thread used that ends between two looks is missed: the candidates keep their threads.
    pub(crate) fn of(pid: u32) -> io::Result<Usage> {
        let mut usage = Usage::default();
        for process in tree(pid)? {
            unless_ended(process != pid, usage.add_process(process))?;
        }
        Ok(usage)
    }

    fn add_process(&mut self, pid: u32) -> io::Result<()> {
        let process = PathBuf::from(format!("/proc/{pid}"));
        let ticks = parse_ticks(&fs::read_to_string(process.join("stat"))?).ok_or_else(strange)?;
        self.user_ticks += ticks.user + ticks.ended_children_user;
        self.kernel_ticks += ticks.kernel + ticks.ended_children_kernel;
        // Known to the tick only, so that it does not fall out when a child ends within a window.
        self.cpu += ticks_time(ticks.ended_children_user + ticks.ended_children_kernel);
        for thread in fs::read_dir(process.join("task"))? {
            let thread = thread?.path();
            // A thread may end between the listing and here.
            let Ok(schedule) = fs::read_to_string(thread.join("schedstat")) else {
                continue;
            };
            let Ok(status) = fs::read_to_string(thread.join("status")) else {
                continue;
            };
            self.cpu += parse_schedule(&schedule).ok_or_else(strange)?;
            self.voluntary_switches += status_field(&status, "voluntary_ctxt_switches").ok_or_else(strange)?;
        }
        Ok(())
    }

    pub(crate) fn since(&self, earlier: &Usage) -> Usage {
        Usage {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            kernel_ticks: self.kernel_ticks.saturating_sub(earlier.kernel_ticks),
            voluntary_switches: self.voluntary_switches.saturating_sub(earlier.voluntary_switches),
        }
    }

    /// The part of the time spent in the kernel, 0 to 1; nothing when less than a tick was used.
    pub(crate) fn kernel_share(&self) -> Option<f64> {
        let ticks = self.user_ticks + self.kernel_ticks;
        (ticks > 0).then(|| self.kernel_ticks as f64 / ticks as f64)
    }
}

/// Lets the kernel count the peak of resident memory anew from here.
pub(crate) fn reset_peak_memory(pid: u32) -> io::Result<()> {
    tree(pid)?.into_iter().try_for_each(|pid| fs::write(format!("/proc/{pid}/clear_refs"), "5"))
}

/// Peak of resident memory in bytes since the process started, or since [`reset_peak_memory`]. Of several processes the
/// sum of the peaks.
pub(crate) fn peak_memory(pid: u32) -> io::Result<u64> {
    let mut total = 0;
    for process in tree(pid)? {
        let status = unless_ended(process != pid, fs::read_to_string(format!("/proc/{process}/status")))?;
        // One that has ended and was not waited for has none.
        let peak = status.map(|status| status_field(&status, "VmHWM").or((process != pid).then_some(0)));
        total += peak.unwrap_or(Some(0)).ok_or_else(strange)? * 1024;
    }
    Ok(total)
}

/// What was read of a process; nothing of a child that ended meanwhile.
fn unless_ended<T>(is_child: bool, read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Err(error) if is_child && has_ended(&error) => Ok(None),
        read => read.map(Some),
    }
}

/// Its directory is gone, or what was opened there tells nothing any more.
fn has_ended(error: &io::Error) -> bool {
    const NO_SUCH_PROCESS: i32 = 3;
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(NO_SUCH_PROCESS)
}

/// A process and all it has started, directly or not, as long as they live.
pub(crate) fn tree(pid: u32) -> io::Result<Vec<u32>> {
    let mut found = vec![pid];
    let mut looked_at = 0;
    while let Some(process) = found.get(looked_at).copied() {
        looked_at += 1;
        let threads = unless_ended(process != pid, fs::read_dir(format!("/proc/{process}/task")))?;
        for thread in threads.into_iter().flatten() {
            let Some(thread) = unless_ended(process != pid, thread)? else { continue };
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    Ok(found)
}

/// Bytes of resident memory that no other process shares.
pub(crate) fn private_memory(pid: u32) -> io::Result<u64> {
    let sums = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let field = |name| status_field(&sums, name).ok_or_else(strange);
    Ok((field("Private_Clean")? + field("Private_Dirty")?) * 1024)
}

fn strange() -> io::Error {
    io::Error::other("/proc does not have the form this was written for")
}

/// CPU time in clock ticks, of the process and of those of its children that it has seen end.
#[derive(Debug, PartialEq, Eq)]
struct Ticks {
    user: u64,
    kernel: u64,
    ended_children_user: u64,
    ended_children_kernel: u64,
}

/// utime, stime, cutime and cstime, the 14th to 17th field of /proc/PID/stat. The second is the name, which may hold
/// anything.
fn parse_ticks(stat: &str) -> Option<Ticks> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11).map_while(|field| field.parse().ok());
    Some(Ticks {
        user: fields.next()?,
        kernel: fields.next()?,
        ended_children_user: fields.next()?,
        ended_children_kernel: fields.next()?,
    })
}

fn ticks_time(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Time on a CPU in nanoseconds, the first field of a thread's schedstat.
fn parse_schedule(schedstat: &str) -> Option<Duration> {
    Some(Duration::from_nanos(schedstat.split_ascii_whitespace().next()?.parse().ok()?))
}

/// The number behind `name:` in a status file.
fn status_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn ticks_are_found_behind_a_name_with_brackets_and_spaces() {
        let stat = "4711 (a ) b (c) S 1 4711 4711 0 -1 4194560 1 2 3 4 1234 567 8 9 20 0 1 0 100 200 300";
        let expected = Ticks { user: 1234, kernel: 567, ended_children_user: 8, ended_children_kernel: 9 };
        assert_eq!(parse_ticks(stat), Some(expected));
        assert_eq!(parse_ticks("4711 (short) S 1 2"), None);
    }

    #[test]
    fn a_status_field_is_not_mistaken_for_one_whose_name_ends_alike() {
        let status = "nonvoluntary_ctxt_switches:\t9\nvoluntary_ctxt_switches:\t42\nVmHWM:\t  2048 kB\n";
        assert_eq!(status_field(status, "voluntary_ctxt_switches"), Some(42));
        assert_eq!(status_field(status, "VmHWM"), Some(2048));
        assert_eq!(status_field(status, "VmPeak"), None);
    }

    #[test]
    fn schedule_time_is_nanoseconds() {
        assert_eq!(parse_schedule("3999123 1000 7\n"), Some(Duration::from_nanos(3_999_123)));
    }

    /// The kernel's own figures, of this process: work shows up in them.
    #[test]
    fn own_work_is_seen() {
        let pid = std::process::id();
        let before = Usage::of(pid).expect("own figures");
        let mut digest = 0_u64;
        while Usage::of(pid).expect("own figures").since(&before).cpu < Duration::from_millis(5) {
            digest = (0..10_000).fold(digest, |digest, step| std::hint::black_box(digest.rotate_left(5) ^ step));
        }
        assert!(peak_memory(pid).expect("own memory") > 100_000);
        assert!(private_memory(pid).expect("own memory") > 100_000);
    }

    #[test]
    fn children_that_end_meanwhile_are_left_out() {
        let pid = std::process::id();
        let comings = std::thread::spawn(|| {
            for _ in 0..100 {
                Command::new("true").status().expect("a child");
            }
        });
        while !comings.is_finished() {
            Usage::of(pid).expect("own figures");
            assert!(peak_memory(pid).expect("own memory") > 100_000);
        }
        comings.join().expect("all children came");
    }

    /// A shell that waits for its child: what the child does is seen in the shell's figures.
    #[test]
    fn work_of_a_child_counts() {
        let mut shell = Command::new("sh")
            .args(["-c", "while :; do :; done & echo started; wait"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("piped")).read_line(&mut line).expect("it says so");
        let family = tree(shell.id()).expect("it lives");
        let [parent, child] = family[..] else { panic!("a shell and its child, not {family:?}") };
        assert_eq!(parent, shell.id());
        while Usage::of(parent).expect("it lives").cpu < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let child = rustix::process::Pid::from_raw(i32::try_from(child).expect("a process id")).expect("not 0");
        rustix::process::kill_process(child, rustix::process::Signal::KILL).expect("it lives");
        shell.wait().expect("it ends with its child");
    }
}
