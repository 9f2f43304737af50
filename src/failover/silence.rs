//! Whether a primary that does not answer here answers anybody: one that hangs keeps its connections, so its replicas look
//! closer before it is replaced.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::run::{POLL_INTERVAL, Run, Tried, connected};
use super::state::{Sighting, Source};
use super::survey::{self, ask};

impl Run<'_> {
    /// For as long as a check may take: then who has not answered the replicas that called has not answered anybody.
    pub(super) async fn await_no_answer(&mut self, callers: &[usize]) -> Tried {
        let end = Instant::now() + survey::patience(self.cluster).min(SILENCE_TIME_MAX);
        loop {
            for &at in callers {
                if self.look_at(at).await?.is_some_and(Source::answers) {
                    let (old, name) = (self.name(self.plan.old), self.name(at));
                    return Err(format!("{old} answers {name}: it is alive, and only unreachable from here"));
                }
            }
            if Instant::now() >= end {
                return Ok(());
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// As long as a heartbeat may take, and longer: then whoever has sent none to any replica sends nothing to anybody.
    pub(super) async fn await_silence(&mut self, linked: &[usize], lasting: Duration) -> Tried {
        let end = Instant::now() + lasting;
        let mut before: Vec<Option<String>> = Vec::new();
        loop {
            let mut pulses = Vec::new();
            for &at in linked {
                pulses.push(self.look_at(at).await?.map(|source| source.pulse.clone()));
            }
            let heard = pulses.iter().zip(&before).position(|(pulse, before)| pulse != before);
            if let Some(heard) = heard {
                let (old, name) = (self.name(self.plan.old), self.name(linked[heard]));
                return Err(format!("{old} still sends to {name}: it is alive, and only unreachable from here"));
            }
            if Instant::now() >= end {
                return Ok(());
            }
            before = pulses;
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn look_at(&mut self, at: usize) -> Result<Option<&Source>, String> {
        let state = ask(connected(&mut self.connections[at])?).await?;
        self.members[at].sighting = Sighting::Told(Box::new(state));
        Ok(self.members[at].source())
    }
}

/// A primary that answers at all answers a call within this time.
const SILENCE_TIME_MAX: Duration = Duration::from_secs(30);
