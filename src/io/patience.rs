//! Whether a thread with nothing to do looks for the next completion a while before it sleeps.
//!
//! Who sleeps has to be woken: by the peer's CPU, which pays for it, and by his own, which leaves an idle state first. On
//! a virtual machine each takes tens of microseconds, more than a small reply does. A look costs at most its own time,
//! and only CPU that nobody was using.
//!
//! It pays where the next completion is near and is a loss everywhere else, so looks live on credit: one that met its
//! completion earns what a wake-up would have taken, less its own time; one in vain costs its time. Who is out of credit
//! sleeps, until a small share of the time that passes has paid for a fresh series: looks in vain cost no more than that.
//!
//! Where completions come so fast that a sleeper wakes up to a handful, each bears a small part of the wake-up, and a
//! look would only take them one by one: nobody looks there.

use std::hint;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::system;

/// The longest look in times of a wake-up: a peer that sleeps is woken, too, before it answers.
const WAKE_UPS: u32 = 2;

/// No look is longer, whatever a wake-up takes.
const LONGEST: Duration = Duration::from_micros(100);

/// Looks of full length that the credit has room for. Several, because one alone seldom meets anything: a conversation
/// gains its pace when nobody in it sleeps.
const SERIES: u32 = 10;

/// Of so many parts of the time one may be looked in vain.
const PARTS: u32 = 50;

/// Completions in the time of a wake-up from which on sleeping costs each of them little.
const HANDFUL: u32 = 4;

pub(super) struct Patience {
    /// Zero: no looks at all.
    longest: Duration,
    /// Completions that come closer than this are not looked for.
    closest: Duration,
    pace: Pace,
    credit: Duration,
    mood: Mood,
    /// When time was last turned into credit.
    paid: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// Until the credit does not cover a look.
    Looking,
    /// Until the credit is full.
    Sleeping,
}

impl Patience {
    /// Sleeps at once.
    pub(super) fn none() -> Patience {
        Patience::new(Duration::ZERO)
    }

    /// Looks as long as is worth it where a wake-up takes so long.
    pub(super) fn new(wake_up: Duration) -> Patience {
        let longest = (wake_up * WAKE_UPS).min(LONGEST);
        let now = Instant::now();
        let pace = Pace::new(now);
        Patience {
            longest,
            closest: longest / WAKE_UPS / HANDFUL,
            pace,
            credit: longest * SERIES,
            mood: Mood::Looking,
            paid: now,
        }
    }

    /// So many completions came.
    pub(super) fn saw(&mut self, completions: usize) {
        self.pace.seen += completions;
    }

    /// Whether a look is worth its time now.
    pub(super) fn is_willing(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if self.longest.is_zero() {
            return false;
        }
        let now = now();
        let full = self.longest * SERIES;
        self.credit = full.min(self.credit + now.saturating_duration_since(self.paid) / PARTS);
        self.paid = now;
        self.mood = match self.mood {
            Mood::Looking if self.credit < self.longest => Mood::Sleeping,
            Mood::Sleeping if self.credit == full => Mood::Looking,
            mood => mood,
        };
        self.mood == Mood::Looking && self.pace.gap(now) >= self.closest
    }

    /// Looks until `came` says that something did, but no longer than `at_most`.
    pub(super) fn look(&mut self, at_most: Option<Duration>, mut came: impl FnMut() -> bool) -> bool {
        let longest = at_most.map_or(self.longest, |at_most| at_most.min(self.longest));
        let begun = Instant::now();
        loop {
            let came = came();
            let spent = begun.elapsed();
            if came || spent >= longest {
                self.settle(came, spent);
                return came;
            }
            hint::spin_loop();
        }
    }

    fn settle(&mut self, came: bool, spent: Duration) {
        let earned = if came { self.longest } else { Duration::ZERO };
        self.credit = (self.credit + earned).saturating_sub(spent);
    }
}

/// How close completions come.
struct Pace {
    /// Completions since then.
    seen: usize,
    since: Instant,
    /// Between two of them, as last judged.
    gap: Duration,
}

impl Pace {
    /// Completions after which the pace is judged anew.
    const ENOUGH: usize = 32;

    /// The same for the time, when there are fewer.
    const LONG: Duration = Duration::from_millis(1);

    fn new(now: Instant) -> Pace {
        Pace { seen: 0, since: now, gap: Pace::LONG }
    }

    fn gap(&mut self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.since);
        if self.seen >= Pace::ENOUGH || passed >= Pace::LONG {
            let seen = u32::try_from(self.seen.max(1)).unwrap_or(u32::MAX);
            *self = Pace { seen: 0, since: now, gap: passed / seen };
        }
        self.gap
    }
}

/// How long it takes until a sleeping thread runs again, as seen by this one now: how late it wakes from short sleeps.
///
/// # Errors
/// When the system does not let the thread ask for exact timers.
pub fn wake_up_time() -> io::Result<Duration> {
    const SLEEP: Duration = Duration::from_micros(200);
    const SLEEPS: usize = 15;
    let exact = system::ExactTimers::begin()?;
    let mut late = [Duration::ZERO; SLEEPS];
    for late in &mut late {
        let begun = Instant::now();
        thread::sleep(SLEEP);
        *late = begun.elapsed().saturating_sub(SLEEP);
    }
    drop(exact);
    late.sort_unstable();
    Ok(late[SLEEPS / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAKE_UP: Duration = Duration::from_micros(20);
    const LOOK: Duration = Duration::from_micros(40);

    /// Looks one right after the other until there is no credit for another.
    fn looks(patience: &mut Patience, now: Instant, came: bool, spent: Duration) -> u32 {
        let mut count = 0;
        while count < 1000 && patience.is_willing(|| now) {
            patience.settle(came, spent);
            count += 1;
        }
        count
    }

    #[test]
    fn looks_in_vain_end_and_cost_a_small_share_of_the_time() {
        let mut patience = Patience::new(WAKE_UP);
        let start = patience.paid;
        assert_eq!(looks(&mut patience, start, false, LOOK), SERIES);
        let series = LOOK * SERIES * PARTS;
        let almost = start + series - Duration::from_micros(100);
        assert_eq!(looks(&mut patience, almost, false, LOOK), 0, "the next series is not paid yet");
        assert_eq!(looks(&mut patience, start + series, false, LOOK), SERIES);
    }

    #[test]
    fn looks_that_meet_their_completion_before_a_wake_up_would_have_go_on() {
        let mut patience = Patience::new(WAKE_UP);
        let start = patience.paid;
        assert_eq!(looks(&mut patience, start, true, LOOK / 2), 1000);
    }

    #[test]
    fn what_looks_earned_pays_for_no_more_than_a_series() {
        let mut patience = Patience::new(WAKE_UP);
        let start = patience.paid;
        looks(&mut patience, start, true, Duration::ZERO);
        assert_eq!(looks(&mut patience, start + Duration::from_secs(60), false, LOOK), SERIES);
    }

    #[test]
    fn completions_that_come_in_handfuls_are_not_looked_for() {
        let mut patience = Patience::new(WAKE_UP);
        let mut now = patience.paid;
        let mut looks_at = |gap: Duration| {
            now += gap * 40;
            patience.saw(40);
            patience.is_willing(|| now)
        };
        assert!(looks_at(Duration::from_micros(10)), "two in a wake-up");
        assert!(!looks_at(Duration::from_micros(4)), "five in a wake-up");
        assert!(looks_at(Duration::from_micros(10)), "two again");
    }

    #[test]
    fn a_few_completions_at_once_do_not_make_a_pace() {
        let mut patience = Patience::new(WAKE_UP);
        let start = patience.paid;
        patience.saw(Pace::ENOUGH - 1);
        assert!(patience.is_willing(|| start + Duration::from_micros(1)));
        assert!(patience.is_willing(|| start + Duration::from_secs(1)), "over a second they are nothing");
    }

    #[test]
    fn a_look_is_bounded_however_long_a_wake_up_takes_and_none_is_none() {
        let start = Instant::now();
        let mut patience = Patience::new(Duration::from_secs(1));
        assert_eq!(patience.longest, LONGEST);
        assert!(patience.is_willing(|| start));
        assert!(!Patience::none().is_willing(|| start));
        assert!(!Patience::new(Duration::ZERO).is_willing(|| start));
    }

    #[test]
    fn a_look_ends_with_what_it_waits_for_or_with_its_time() {
        let mut patience = Patience::new(WAKE_UP);
        let mut asked = 0;
        assert!(patience.look(None, || {
            asked += 1;
            asked == 3
        }));
        assert_eq!(asked, 3);
        let begun = Instant::now();
        assert!(!patience.look(None, || false));
        assert!(begun.elapsed() >= LOOK);
        assert!(!patience.look(Some(Duration::ZERO), || false));
    }

    #[test]
    fn a_wake_up_takes_some_time() {
        let time = wake_up_time().expect("every Linux has exact timers");
        assert!(!time.is_zero());
    }
}
