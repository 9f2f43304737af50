//! Settings of the process and its threads that need a system call of their own.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Keeps the calling thread on one CPU.
pub fn set_cpu_affinity(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: a CPU set is plain bits, for which zero is valid; `cpu` is below its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        set
    };
    // SAFETY: the set lives through the call; zero names the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// While it lives, timers of this thread fire at their moment, and not somewhat later together with others.
pub(super) struct ExactTimers {
    slack_before: libc::c_ulong,
}

impl ExactTimers {
    pub(super) fn begin() -> io::Result<ExactTimers> {
        // SAFETY: a call with numbers only.
        let slack = unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) };
        let slack_before = libc::c_ulong::try_from(slack).map_err(|_| io::Error::last_os_error())?;
        set_timer_slack(1)?;
        Ok(ExactTimers { slack_before })
    }
}

impl Drop for ExactTimers {
    fn drop(&mut self) {
        // What was so before may be so again.
        let _ = set_timer_slack(self.slack_before);
    }
}

fn set_timer_slack(nanoseconds: libc::c_ulong) -> io::Result<()> {
    // SAFETY: a call with numbers only.
    if unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanoseconds) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Raises the number of descriptors this process may open as far as the system lets it, and returns that number.
pub fn raise_open_files_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure lives through the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the structure lives through the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

/// Keeps this process's memory to itself: no core dump is made of it, and nobody but root may look into it.
pub fn forbid_core_dumps() -> io::Result<()> {
    // SAFETY: a call with numbers only.
    if unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The first descriptor behind the three that every process is started with.
const FIRST_INHERITED: RawFd = 3;

/// The first `count` files that whoever started this process has opened for it, but for those that are not open. They are
/// given away once: nothing comes of asking again.
pub fn inherited_files(count: usize) -> Vec<OwnedFd> {
    static ARE_TAKEN: AtomicBool = AtomicBool::new(false);
    if count == 0 || ARE_TAKEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let is_open = |file: &RawFd| {
        // SAFETY: the call only looks at a descriptor, whether there is one or not.
        unsafe { libc::fcntl(*file, libc::F_GETFD) >= 0 }
    };
    // SAFETY: they are open, who started us meant them for us, and nobody else takes them: this is done once.
    (FIRST_INHERITED..).take(count).filter(is_open).map(|file| unsafe { OwnedFd::from_raw_fd(file) }).collect()
}

/// The time of CLOCK_MONOTONIC, which a service manager compares with its own. Ours is `Instant`, which hides it.
pub fn monotonic_microseconds() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure lives through the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    assert_eq!(result, 0, "every Linux has this clock");
    // Neither is negative: the clock starts at zero with the machine.
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_runs_on_the_cpu_it_was_given() {
        std::thread::spawn(|| {
            set_cpu_affinity(0).expect("CPU 0 exists");
            // SAFETY: a system call without arguments.
            assert_eq!(unsafe { libc::sched_getcpu() }, 0);
        })
        .join()
        .expect("the thread ends well");
    }

    #[test]
    fn a_cpu_that_cannot_exist_is_an_error() {
        assert!(set_cpu_affinity(1 << 20).is_err());
    }

    #[test]
    fn the_open_files_limit_becomes_the_hard_limit() {
        let limit = raise_open_files_limit().expect("raising to the hard limit is always allowed");
        assert_eq!(raise_open_files_limit().expect("again"), limit);
    }

    #[test]
    fn a_process_that_forbids_core_dumps_leaves_none() {
        forbid_core_dumps().expect("every process may");
        // SAFETY: a call with numbers only.
        assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) }, 0);
    }

    #[test]
    fn the_monotonic_clock_is_that_of_the_system() {
        let before = monotonic_microseconds();
        let uptime = std::fs::read_to_string("/proc/uptime").expect("Linux has it");
        let seconds: f64 = uptime.split(' ').next().and_then(|text| text.parse().ok()).expect("a number comes first");
        let after = monotonic_microseconds();
        assert!(before <= after);
        // The file also counts the time the machine slept, and has hundredths.
        assert!(before <= (seconds * 1e6) as u64 + 10_000, "{before} against {seconds} s");
    }
}
