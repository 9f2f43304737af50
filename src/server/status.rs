//! What the process says of itself: its status and its metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use super::control::{Control, Phase};
use super::replies::Counted;
use crate::admin::metrics::{Metrics, Totals};
use crate::admin::report;
use crate::admin::shapes::{
    self, CertificateStatus, InstantFailoverStatus, ListenerStatus, ProcessStatus, SessionCount, SessionStatus,
    SplitCounts, Status,
};
use crate::config::{self, ListenAddress};
use crate::session::Ending;
use crate::tls;
use crate::topology::RoutingTable;
use crate::worker::{self, Counters, Handle, SessionRow};

impl Control {
    pub(super) fn metrics(&self) -> Metrics {
        let replies = Counted::by(self.workers.handles()).named(&self.table.load());
        Metrics { status: self.status(), started_seconds: self.started_seconds(), totals: self.totals(), replies }
    }

    /// The wall clock may have been set since the start: then this moves with it, as it must to be compared with others.
    fn started_seconds(&self) -> f64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.saturating_sub(self.started.elapsed()).as_secs_f64()
    }

    fn totals(&self) -> Totals {
        let counters = || self.workers.handles().iter().map(Handle::counters);
        let sum =
            |of: fn(&Counters) -> &AtomicU64| counters().map(|counters| of(counters).load(Ordering::Relaxed)).sum();
        let turned_away = |(index, reason): (usize, &&'static str)| {
            (*reason, counters().map(|counters| counters.turned_away[index].load(Ordering::Relaxed)).sum())
        };
        let ended = |ending: Ending| (ending.name(), counters().map(|counters| counters.ended(ending)).sum());
        Totals {
            accepted: sum(|counters| &counters.accepted),
            accepts_failed: sum(|counters| &counters.accepts_failed),
            turned_away: worker::REASONS.iter().enumerate().map(turned_away).collect(),
            client_bytes: sum(|counters| &counters.client_bytes),
            server_bytes: sum(|counters| &counters.server_bytes),
            faults: sum(|counters| &counters.faults),
            waits: sum(|counters| &counters.waits),
            waits_expired: sum(|counters| &counters.waits_expired),
            ended: Ending::ALL.into_iter().map(ended).collect(),
        }
    }

    pub(super) fn status(&self) -> Status {
        let table = self.table.load();
        let replies = self.last_minute.until(Counted::by(self.workers.handles()), Instant::now());
        Status {
            process: ProcessStatus {
                version: env!("CARGO_PKG_VERSION").to_string(),
                pid: std::process::id(),
                phase: self.shown_phase(),
                uptime_seconds: self.started.elapsed().as_secs(),
                engine: self.workers.engine().to_string(),
                workers: self.workers.handles().len(),
                table_epoch: table.epoch,
                http: self.door.address().map(|address| address.to_string()),
            },
            sessions: self.session_count(&table),
            split: self.split_counts(&table),
            instant_failover: Some(instant_failover_status(&table, self.workers.handles())),
            listeners: self.listener_status(),
            clusters: report::clusters(&table, &replies, &self.promoter.awaited(), Instant::now()),
            pools: report::pools(&table),
            successions: report::successions(&self.monitor.successions(), Instant::now()),
        }
    }

    fn listener_status(&self) -> Vec<ListenerStatus> {
        let terms = self.keeper.terms().load_full();
        let status = |(settings, bound): (&config::Listener, &ListenAddress)| ListenerStatus {
            name: settings.name.clone(),
            address: bound.to_string(),
            extra: settings.extra,
            tls: settings.tls.demand.to_string(),
            certificate: terms.front(&settings.mark()).map(|front| certificate_status(front.identity())),
        };
        self.listeners.iter().map(status).collect()
    }

    pub(super) fn shown_phase(&self) -> shapes::Phase {
        match self.phase {
            Phase::Serving => shapes::Phase::Serving,
            Phase::Draining { .. } => shapes::Phase::Draining,
        }
    }

    fn session_count(&self, table: &RoutingTable) -> SessionCount {
        let by_worker = self.sessions_by_worker();
        SessionCount { current: by_worker.iter().sum(), max: table.config.process.max_sessions.into(), by_worker }
    }

    /// The workers' counts together, where any user is split.
    fn split_counts(&self, table: &RoutingTable) -> Option<SplitCounts> {
        table.config.routes().any(|user| user.split.is_some()).then_some(())?;
        let mut sum = SplitCounts::default();
        for handle in self.workers.handles() {
            let routes = &handle.counters().routes;
            sum.reads_at_replicas += routes.at_replicas();
            sum.reads_repeated += routes.repeated();
            for (bond, count) in routes.reads_at_home().filter(|(_, count)| *count > 0) {
                *sum.reads_at_primary.entry(bond.text().to_owned()).or_default() += count;
            }
            for (reason, count) in routes.others().filter(|(_, count)| *count > 0) {
                *sum.other_statements.entry(reason.text().to_owned()).or_default() += count;
            }
        }
        Some(sum)
    }
}

fn certificate_status(identity: &tls::Identity) -> CertificateStatus {
    CertificateStatus {
        subject: identity.subject().to_owned(),
        is_self_signed: identity.is_made_here(),
        expires: identity.expires(),
        days_left: identity.days_left(),
    }
}

pub(super) fn instant_failover_status(table: &RoutingTable, handles: &[Handle]) -> InstantFailoverStatus {
    let sent = handles.iter().map(|handle| handle.counters().ended(Ending::Redirected)).sum();
    report::instant_failover(&table.redirect, sent)
}

pub(super) fn session_status(row: SessionRow) -> SessionStatus {
    SessionStatus {
        id: row.id,
        worker: row.worker,
        user: row.user,
        address: row.address,
        server: row.server,
        replica: row.replica,
        last_server: row.last_server,
        state: row.state.to_string(),
        pins: row.pins.into_iter().map(str::to_string).collect(),
        ties: row.ties.into_iter().map(str::to_string).collect(),
        tied_seconds: row.tied_seconds,
        commands: row.commands,
        age_seconds: row.age_seconds,
    }
}
