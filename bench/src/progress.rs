//! Says on standard error what is being measured: on a terminal in one line that changes, with the time that is left;
//! elsewhere in a line for each load.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

pub(crate) struct Progress {
    started: Instant,
    /// Measurements in all, as far as it is known beforehand.
    total: usize,
    done: usize,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Terminal,
    Lines,
}

/// To the start of the line, and nothing in it.
const CLEAR: &str = "\r\x1b[K";

impl Progress {
    pub(crate) fn new(total: usize) -> Progress {
        let way = if std::io::stderr().is_terminal() { Way::Terminal } else { Way::Lines };
        Progress { started: Instant::now(), total, done: 0, way }
    }

    /// All candidates come under a load.
    pub(crate) fn load(&self, load: &str) {
        match self.way {
            Way::Terminal => {}
            Way::Lines => say(load),
        }
    }

    /// A measurement begins.
    pub(crate) fn step(&mut self, what: &str) {
        match self.way {
            Way::Terminal => {
                let left = left(self.started.elapsed(), self.done, self.total);
                show(&format!("{CLEAR}{}/{} {what}{left}", self.done + 1, self.total.max(self.done + 1)));
            }
            Way::Lines => {}
        }
        self.done += 1;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        match self.way {
            Way::Terminal => show(CLEAR),
            Way::Lines => {}
        }
    }
}

/// A line that stays.
pub(crate) fn say(what: &str) {
    show(&format!("{what} ...\n"));
}

/// Whether anybody reads it does not matter to the measurement.
fn show(text: &str) {
    let mut output = std::io::stderr();
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

/// If the rest takes as long as what is done.
fn left(elapsed: Duration, done: usize, total: usize) -> String {
    if done == 0 || done >= total {
        return String::new();
    }
    let seconds = elapsed.mul_f64((total - done) as f64 / done as f64).as_secs();
    match seconds {
        0..100 => format!(", about {seconds} s left"),
        _ => format!(", about {} min left", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_what_is_done() {
        assert_eq!(left(Duration::from_secs(10), 1, 4), ", about 30 s left");
        assert_eq!(left(Duration::from_secs(60), 2, 10), ", about 4 min left");
        assert_eq!(left(Duration::from_secs(60), 0, 10), "");
        assert_eq!(left(Duration::from_secs(60), 12, 10), "");
    }
}
