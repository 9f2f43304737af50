//! Clients whose sessions end while something waits to be written to them: who gets all of it, and who is cut off.

use super::*;
use crate::{
    io::{End, Far},
    session::{DrainReason, Input},
};

/// In clear, with some room on the way to the client.
const SEED: u64 = 0;

/// More than is on its way at once.
const UNREAD: usize = 250_000;

/// How long whoever is not told to leave has for its last bytes.
const LINGER: Duration = Duration::from_secs(2);

/// `shutdown_timeout`, where nobody sets it.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// A worker, and a client whose session has ended with `UNREAD` bytes on their way.
struct Departure {
    world: World,
    far: Far,
    got: usize,
    began: Instant,
}

impl Departure {
    fn of(ends: Input) -> Departure {
        let mut world = World::new(SEED, Way::Pooled);
        let far = world.network.connect(1);
        while world.worker.tenants.len() == 0 {
            world.worker.turn(&mut world.events).expect("the network does not fail");
            world.network.advance(std::iter::empty());
        }
        let worker = &mut world.worker;
        let key = worker.tenants.keys()[0];
        worker.tenants.get_mut(key).expect("it is there").client.write(&mut worker.io, vec![7; UNREAD]);
        worker.tell(key, ends);
        assert_eq!((worker.tenants.len(), worker.departing.len()), (0, 1));
        Departure { began: world.network.now(), world, far, got: 0 }
    }

    /// Until so much time has gone by since the session ended.
    fn until(&mut self, since: Duration) {
        let at = self.began + since;
        loop {
            self.world.worker.turn(&mut self.world.events).expect("the network does not fail");
            match self.world.network.was_busy() {
                true => {}
                false if self.world.network.now() >= at => return,
                false => assert!(self.world.network.advance([at].into_iter()), "there is the end of the wait"),
            }
        }
    }

    fn read(&mut self) {
        self.got += self.far.receive().len();
    }

    fn is_open(&self) -> bool {
        self.world.worker.departing.len() == 1
    }

    fn elapsed(&self) -> Duration {
        self.world.network.now() - self.began
    }
}

#[test]
fn a_client_that_is_told_to_leave_has_the_time_to_read_what_was_written_to_it() {
    let mut departure = Departure::of(Input::Drain(DrainReason::Shutdown));
    while departure.far.over().is_none() {
        departure.until(departure.elapsed() + Duration::from_millis(1_500));
        departure.read();
    }
    assert_eq!(departure.far.over(), Some(End::Finished));
    assert!(departure.elapsed() > 3 * LINGER, "it has read slowly: {:?}", departure.elapsed());
    assert!(departure.got > UNREAD, "{} bytes: the greeting, what waited, and the error", departure.got);
}

#[test]
fn one_that_reads_nothing_is_waited_for_as_long_as_a_shutdown_may_take() {
    let mut departure = Departure::of(Input::Drain(DrainReason::UserRemoved));
    departure.until(SHUTDOWN_TIMEOUT - Duration::from_secs(1));
    assert!(departure.is_open());
    departure.until(SHUTDOWN_TIMEOUT + Duration::from_secs(1));
    assert!(!departure.is_open());
}

#[test]
fn one_that_has_all_of_it_is_not_waited_for_any_longer_than_another() {
    let mut departure = Departure::of(Input::Drain(DrainReason::Shutdown));
    while departure.far.over().is_none() {
        departure.until(departure.elapsed() + Duration::from_millis(100));
        departure.read();
    }
    let read = departure.elapsed();
    departure.until(read + LINGER / 2);
    assert!(departure.is_open(), "it has not closed");
    departure.until(read + LINGER + Duration::from_secs(1));
    assert!(!departure.is_open());
}

#[test]
fn one_that_was_killed_has_little_time() {
    let mut departure = Departure::of(Input::Killed);
    departure.until(LINGER / 2);
    assert!(departure.is_open());
    departure.until(LINGER + Duration::from_secs(1));
    assert!(!departure.is_open());
}
