//! The demo while it goes on: the plan's acts, the clients' reports, the view, whichever comes first.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{self, MissedTickBehavior};

use crate::server::Running;
use crate::topology::{Condition, RoutingTable, ServerEntry, ServerRole};

use super::cluster::Cluster;
use super::failure::{Failure, Trying};
use super::ledger::{Ledger, Line, LineResult};
use super::plan::{Act, Plan};
use super::screen::Screen;
use super::traffic::{self, Report};
use super::view::{Belief, Scene};
use super::{Failovers, Signals, Traffic};

/// How often a terminal is redrawn, and how often a line is written elsewhere.
const REDRAW: Duration = Duration::from_millis(200);
const NEXT_LINE: Duration = Duration::from_secs(1);

/// Everything that stays as it is while the demo goes on.
pub(super) struct Stage<'a> {
    pub(super) balancer: &'a Running,
    pub(super) port: u16,
    pub(super) plan: Plan,
    pub(super) traffic: Traffic,
    pub(super) failovers: Failovers,
    pub(super) made_of: String,
    /// Shows the balancer's status in a shell.
    pub(super) status_command: String,
}

/// How the play goes on after something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

impl Stage<'_> {
    /// Plays until the plan or a signal ends it; what has happened by then.
    pub(super) async fn play(&self, cluster: &mut Cluster, signals: &mut Signals) -> Result<Ledger, Failure> {
        let screen = Screen::open().trying("writing to standard output")?;
        let mut play =
            Play { stage: self, ledger: Ledger::new(Instant::now()), screen, act: 0, last_shown: Vec::new() };
        play.introduce()?;
        let (_clients, mut reports) = self.clients();
        let mut redraw = time::interval(if matches!(play.screen, Screen::Terminal) { REDRAW } else { NEXT_LINE });
        redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next = tokio::select! {
                () = signals.wait() => Next::End,
                act = play.next_act() => play.carry_out(act, cluster).await?,
                Some(report) = reports.recv() => play.enter(&report)?,
                _ = redraw.tick() => play.show()?,
            };
            if next == Next::End {
                return Ok(play.ledger);
            }
        }
    }

    /// The clients, if there are to be any; they end when the set is dropped.
    fn clients(&self) -> (tokio::task::JoinSet<()>, mpsc::Receiver<Report>) {
        match self.traffic {
            Traffic::Own => traffic::start(self.port, self.failovers),
            Traffic::None => (tokio::task::JoinSet::new(), mpsc::channel(1).1),
        }
    }
}

struct Play<'a> {
    stage: &'a Stage<'a>,
    ledger: Ledger,
    screen: Screen,
    /// The plan's next act.
    act: u32,
    /// What the last line said of the servers.
    last_shown: Vec<Belief>,
}

impl Play<'_> {
    /// What a terminal shows at its foot all the time.
    fn introduce(&self) -> Result<(), Failure> {
        let beliefs = self.beliefs();
        let scene = self.scene(&beliefs);
        let title = scene.title();
        for line in std::iter::once(title).chain(scene.how_to_connect()) {
            self.screen.say(&line).trying("writing to standard output")?;
        }
        Ok(())
    }

    async fn next_act(&self) -> Act {
        match self.stage.plan.act(self.act) {
            Some((at, act)) => {
                time::sleep_until((self.ledger.started + at).into()).await;
                act
            }
            None => std::future::pending().await,
        }
    }

    async fn carry_out(&mut self, act: Act, cluster: &mut Cluster) -> Result<Next, Failure> {
        self.act += 1;
        match act {
            Act::Kill => {
                self.ledger.killed(Instant::now());
                cluster.kill_primary().await?;
            }
            Act::Revive => {
                self.ledger.revived(Instant::now());
                cluster.revive_primary()?;
            }
            Act::End => return Ok(Next::End),
        }
        self.say_headline()
    }

    fn enter(&mut self, report: &Report) -> Result<Next, Failure> {
        let outage_was_open = self.ledger.open_outage().is_some();
        if let Some(line) = self.ledger.enter(report) {
            self.say_failure(&line)?;
        }
        if outage_was_open && self.ledger.open_outage().is_none() {
            self.say_headline()?;
        }
        Ok(Next::GoOn)
    }

    fn show(&mut self) -> Result<Next, Failure> {
        let beliefs = self.beliefs();
        // Without traffic of its own the demo may stand for hours: lines that say nothing new are left out.
        let is_new = self.stage.traffic == Traffic::Own || beliefs != self.last_shown;
        if is_new || matches!(self.screen, Screen::Terminal) {
            self.screen.show(&self.scene(&beliefs)).trying("writing to standard output")?;
            self.last_shown = beliefs;
        }
        Ok(Next::GoOn)
    }

    fn say_headline(&self) -> Result<Next, Failure> {
        let beliefs = self.beliefs();
        self.screen.say(&self.scene(&beliefs).headline()).trying("writing to standard output")?;
        Ok(Next::GoOn)
    }

    fn say_failure(&self, line: &Line) -> Result<(), Failure> {
        if !matches!(line.result, LineResult::Failed(_)) {
            return Ok(());
        }
        let beliefs = self.beliefs();
        self.screen.say(&self.scene(&beliefs).statement(line)).trying("writing to standard output")
    }

    fn scene<'s>(&'s self, beliefs: &'s [Belief]) -> Scene<'s> {
        Scene {
            ledger: &self.ledger,
            beliefs,
            made_of: &self.stage.made_of,
            port: self.stage.port,
            status_command: &self.stage.status_command,
            has_traffic: self.stage.traffic == Traffic::Own,
            now: Instant::now(),
        }
    }

    fn beliefs(&self) -> Vec<Belief> {
        beliefs(&self.stage.balancer.table())
    }
}

/// What the balancer's own table says of each server.
fn beliefs(table: &RoutingTable) -> Vec<Belief> {
    let belief = |server: &ServerEntry| Belief {
        name: server.name.to_string(),
        role: role(server.health.role).into(),
        state: server.health.condition.to_string(),
        is_up: server.health.condition == Condition::Up,
        connections: server.load.connections(),
    };
    table.servers.iter().map(belief).collect()
}

/// In one word, for a column.
fn role(role: ServerRole) -> &'static str {
    match role {
        ServerRole::Primary => "primary",
        ServerRole::Yielding => "yields",
        ServerRole::Replica => "replica",
        ServerRole::Contested | ServerRole::Deposed => "contested",
        ServerRole::ReadOnlyPrimary => "read-only",
        ServerRole::Unknown => "-",
    }
}
