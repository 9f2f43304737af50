//! Wakes connections at the moment that their next request is due.
//!
//! The runtime's own timers count milliseconds, which is more than a request takes, and a thread that spins until a
//! moment has come takes the CPU from the server beside it. So each thread has one timer of the kernel's.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Instant;

use monoio::net::UnixStream;
use monoio::task::JoinHandle;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

pub(super) struct Pacer {
    timer: OwnedFd,
    /// The same timer, as something that the runtime can wait for: it knows no other descriptors than sockets, and
    /// nothing but readiness is asked of this one.
    readiness: UnixStream,
    /// Who waits, the earliest first. The number tells those apart that are due at the same moment.
    waiting: RefCell<BTreeMap<(Instant, u64), Waker>>,
    next_number: Cell<u64>,
    /// Nobody is to wait any more.
    over: Cell<bool>,
}

impl Pacer {
    /// The task has to be waited for after [`Pacer::end`]: a runtime that ends with a task that waits is never freed,
    /// with its ring and all the sockets that it was about to close.
    pub(super) fn start() -> io::Result<(Rc<Pacer>, JoinHandle<()>)> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let readiness = UnixStream::from_std(timer.try_clone()?.into())?;
        let pacer = Rc::new(Pacer {
            timer,
            readiness,
            waiting: RefCell::new(BTreeMap::new()),
            next_number: Cell::new(0),
            over: Cell::new(false),
        });
        let task = monoio::spawn(pacer.clone().run());
        Ok((pacer, task))
    }

    /// Returns when `due` has come, or when it does not matter any more.
    pub(super) async fn until(&self, due: Instant) {
        let mut place = None;
        poll_fn(|task| {
            if self.over.get() || Instant::now() >= due {
                self.waiting.borrow_mut().remove(&(due, place.unwrap_or(u64::MAX)));
                return Poll::Ready(());
            }
            let number = *place.get_or_insert_with(|| self.next_number.replace(self.next_number.get() + 1));
            self.wait(due, number, task.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Lets everybody go, now and from now on.
    pub(super) fn end(&self) {
        self.over.set(true);
        for waker in std::mem::take(&mut *self.waiting.borrow_mut()).into_values() {
            waker.wake();
        }
        self.arm(Instant::now());
    }

    fn wait(&self, due: Instant, number: u64, waker: Waker) {
        let mut waiting = self.waiting.borrow_mut();
        let earliest = waiting.first_key_value().is_none_or(|((first, _), _)| due < *first);
        waiting.insert((due, number), waker);
        if earliest {
            self.arm(due);
        }
    }

    async fn run(self: Rc<Self>) {
        while !self.over.get() && self.readiness.readable(false).await.is_ok() {
            // Makes the timer unready again. Nothing to read is as good: it was armed anew meanwhile.
            let _ = rustix::io::read(&self.timer, &mut [0; 8]);
            self.wake_due();
        }
    }

    fn wake_due(&self) {
        let now = Instant::now();
        let mut waiting = self.waiting.borrow_mut();
        while let Some(entry) = waiting.first_entry() {
            let due = entry.key().0;
            if due > now {
                return self.arm(due);
            }
            entry.remove().wake();
        }
    }

    fn arm(&self, due: Instant) {
        // Zero would disarm it.
        let left = due.saturating_duration_since(Instant::now()).max(std::time::Duration::from_nanos(1));
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec::try_from(left).expect("a load is not that long"),
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once).expect("a good timer and a good time");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::thread::{run_on_ring, within_patience};

    #[test]
    fn nothing_is_left_of_a_pacer_that_ended() {
        let ended = run_on_ring(within_patience(async {
            let (pacer, task) = Pacer::start().expect("a timer");
            let left = Rc::downgrade(&pacer);
            pacer.end();
            drop(pacer);
            task.await;
            Ok(left.upgrade().is_none())
        }));
        assert!(ended.expect("an end"));
    }
}
