//! What the process counts, in the text format of OpenMetrics for who asks for it, as Prometheus does, else in the older one.
//!
//! Names follow the conventions of Prometheus: base units, `_total` for what only grows. Labels are names of the
//! configuration and words of ours, so there are as many series as the configuration has servers and pools: nothing that
//! a client sends becomes a label.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::shapes::{ClusterStatus, Phase, ServerStatus, Status, SuccessionStatus};
use crate::latency::Distribution;

/// What a scraper can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4, which everybody reads.
    Text,
}

impl Form {
    /// By the header `Accept`. Whoever knows OpenMetrics names it, and prefers it.
    pub(super) fn accepted(accept: &str) -> Form {
        match accept.contains("application/openmetrics-text") {
            true => Form::OpenMetrics,
            false => Form::Text,
        }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Form::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Form::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Replies are told apart from 64 µs to 16.8 s, by powers of two.
const REPLY_POWERS: (u32, u32) = (6, 24);

/// All that is counted, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    /// As `GET /v1/status` tells it.
    pub status: Status,
    /// When the process was started, in seconds after 1970.
    pub started_seconds: f64,
    /// What all workers have done together.
    pub totals: Totals,
    /// How long servers took to reply, by pool and server.
    pub replies: Vec<Replies>,
}

/// What all workers have done together since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Clients accepted.
    pub accepted: u64,
    /// Clients that could not be accepted.
    pub accepts_failed: u64,
    /// Clients that got no session, by reason.
    pub turned_away: Vec<(&'static str, u64)>,
    /// Bytes received from clients.
    pub client_bytes: u64,
    /// Bytes received from servers.
    pub server_bytes: u64,
    /// Faults of ours that ended a session.
    pub faults: u64,
    /// Sessions that had to wait for a server.
    pub waits: u64,
    /// Of those, the ones that were not given any in time.
    pub waits_expired: u64,
    /// Sessions that ended, by reason.
    pub ended: Vec<(&'static str, u64)>,
}

/// How long a server took to reply to sessions that one pool gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Replies {
    /// The server's cluster.
    pub cluster: String,
    /// The pool by which it was chosen.
    pub pool: String,
    /// The server.
    pub server: String,
    /// From the moment its command was passed on to the end of the reply.
    pub times: Distribution,
}

impl Metrics {
    /// The page that a scraper gets.
    pub(super) fn page(self, form: Form) -> String {
        let mut registry = Registry::with_prefix("sqluice");
        registry.register_collector(Box::new(self));
        let mut page = String::new();
        encode(&mut page, &registry).expect("a String takes everything");
        match form {
            Form::OpenMetrics => page,
            Form::Text => in_text_format(&page),
        }
    }
}

/// OpenMetrics calls a counter's family by its name without `_total`, where the older format has that of its samples, and ends
/// with a line of its own. All else is the same in both.
fn in_text_format(page: &str) -> String {
    let counter = |line| str::strip_suffix(str::strip_prefix(line, "# TYPE ")?, " counter");
    let counters: HashSet<&str> = page.lines().filter_map(counter).collect();
    let renamed = |line: &str| match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
        ["#", what, name, rest] if counters.contains(name) => format!("# {what} {name}_total {rest}\n"),
        _ => format!("{line}\n"),
    };
    page.lines().filter(|line| *line != "# EOF").map(renamed).collect()
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        process(&mut families, self)?;
        clients(&mut families, self)?;
        split(&mut families, &self.status)?;
        servers(&mut families, &self.status)?;
        clusters(&mut families, &self.status)?;
        replies(&mut families, &self.replies)
    }
}

fn process(families: &mut Families<'_>, metrics: &Metrics) -> fmt::Result {
    let process = &metrics.status.process;
    let draining = is(process.phase == Phase::Draining);
    families.gauge("build_info", "The release that runs", [(vec![("version", &*process.version)], 1.0)])?;
    families.gauge(
        "start_time_seconds",
        "When the process began, in seconds after 1970",
        one(metrics.started_seconds),
    )?;
    families.gauge("workers", "Threads that serve clients", one(process.workers as f64))?;
    families.gauge("draining", "1 while no more clients are accepted", one(draining))?;
    families.counter("routing_tables", "Tables made by reloads and changes of servers", one(process.table_epoch))?;
    families.counter("faults", "Sessions that a fault of sqluice ended", one(metrics.totals.faults))
}

fn clients(families: &mut Families<'_>, metrics: &Metrics) -> fmt::Result {
    let (sessions, totals) = (&metrics.status.sessions, &metrics.totals);
    let by_worker: Vec<String> = (0..sessions.by_worker.len()).map(|worker| worker.to_string()).collect();
    let by_worker = by_worker.iter().zip(&sessions.by_worker);
    let by_worker = by_worker.map(|(worker, count)| (vec![("worker", worker.as_str())], *count as f64));
    families.gauge("sessions", "Sessions now", by_worker)?;
    families.gauge("sessions_limit", "Sessions that there may be", one(sessions.max as f64))?;
    families.counter("clients_accepted", "Connections of clients", one(totals.accepted))?;
    families.counter(
        "accept_failures",
        "Times that no descriptor was left for a client",
        one(totals.accepts_failed),
    )?;
    let turned_away = totals.turned_away.iter().map(|(reason, count)| (vec![("reason", *reason)], *count));
    families.counter("clients_turned_away", "Clients that got no session, by what kept them out", turned_away)?;
    let ended = totals.ended.iter().map(|(reason, count)| (vec![("reason", *reason)], *count));
    families.counter("sessions_ended", "Sessions that are over, by what ended them", ended)?;
    let bytes = [(vec![("from", "clients")], totals.client_bytes), (vec![("from", "servers")], totals.server_bytes)];
    families.counter("received_bytes", "Bytes received, all of which are passed on but logins", bytes)?;
    families.counter("waits", "Sessions that had to wait for a server", one(totals.waits))?;
    families.counter("waits_expired", "Those that got none within hold_timeout", one(totals.waits_expired))
}

/// Nothing where no user is split.
fn split(families: &mut Families<'_>, status: &Status) -> fmt::Result {
    let Some(split) = &status.split else { return Ok(()) };
    families.counter("split_reads_at_replicas", "Reads that replicas ran", one(split.reads_at_replicas))?;
    families.counter(
        "split_reads_repeated",
        "Reads run again at the primary, which a replica did not run",
        one(split.reads_repeated),
    )?;
    families.counter(
        "split_reads_at_primary",
        "Reads that the primary ran, by what kept them there",
        because(&split.reads_at_primary),
    )?;
    families.counter(
        "split_other_statements",
        "Statements that are no reads, by the rule that decided",
        because(&split.other_statements),
    )
}

fn because(counts: &BTreeMap<String, u64>) -> impl Iterator<Item = (Labels<'_>, u64)> {
    counts.iter().map(|(reason, count)| (vec![("because", reason.as_str())], *count))
}

fn servers(families: &mut Families<'_>, status: &Status) -> fmt::Result {
    let mut gauge = |name, help, value: fn(&ServerStatus) -> Option<f64>| {
        families.gauge(name, help, each_server(status).filter_map(|(labels, server)| Some((labels, value(server)?))))
    };
    gauge("server_up", "1 if the server answers its checks", |server| Some(is(server.state == "up")))?;
    gauge("server_lag_seconds", "How far it is behind its primary; not there where nobody knows", |server| {
        server.lag_seconds
    })?;
    gauge("server_connections", "Connections to it, those that rest among them", |server| {
        Some(server.connections.into())
    })?;
    gauge("server_connections_resting", "Connections that no session has now", |server| Some(server.resting.into()))?;
    gauge("server_connections_limit", "Connections that it may be given", |server| {
        server.max_connections.map(f64::from)
    })?;
    gauge("server_sessions_waiting", "Sessions that wait for one of its connections", |server| {
        Some(server.waiting.into())
    })?;
    let now = each_server(status).map(|(mut labels, server)| {
        labels.extend([("role", &*server.role), ("state", &*server.state), ("fitness", &*server.fitness)]);
        (labels, 1.0)
    });
    families.gauge("server_info", "What is believed of it", now)
}

fn each_server(status: &Status) -> impl Iterator<Item = (Labels<'_>, &ServerStatus)> {
    status.clusters.iter().flat_map(|cluster| {
        let labels = |server| vec![("cluster", &*cluster.name), ("server", server)];
        cluster.servers.iter().map(move |server| (labels(&server.name), server))
    })
}

fn clusters(families: &mut Families<'_>, status: &Status) -> fmt::Result {
    let usable = status
        .pools
        .iter()
        .map(|pool| (vec![("cluster", &*pool.cluster), ("pool", &*pool.name)], pool.usable.len() as f64));
    families.gauge("pool_servers_usable", "Servers that the pool can choose from, fallbacks aside", usable)?;
    let alarms = status.clusters.iter().map(|cluster| (vec![("cluster", &*cluster.name)], cluster.alarms.len() as f64));
    families.gauge("cluster_alarms", "What is wrong with the cluster: sentences in its status", alarms)?;
    let changes = status.clusters.iter().map(|cluster| {
        let last = last_change(status, cluster);
        (vec![("cluster", &*cluster.name)], last.map_or(0, |change| change.number))
    });
    families.counter("primary_changes", "How often another server became the primary", changes)?;
    families.gauge(
        "primary_change_seconds",
        "The last change, from the old primary's last good reply on",
        moments(status),
    )
}

fn last_change<'s>(status: &'s Status, cluster: &ClusterStatus) -> Option<&'s SuccessionStatus> {
    status.successions.iter().rev().find(|change| change.cluster == cluster.name)
}

/// The moments of each cluster's last change.
fn moments(status: &Status) -> impl Iterator<Item = (Labels<'_>, f64)> {
    let changes = status.clusters.iter().filter_map(|cluster| last_change(status, cluster));
    changes.flat_map(|change| {
        let moments = [
            ("detected", Some(change.detected)),
            ("decided", change.decided),
            ("rerouted", Some(change.rerouted)),
            ("first_reply", change.first_reply),
        ];
        let known = moments.into_iter().filter_map(|(until, seconds)| Some((until, seconds?)));
        known.map(|(until, seconds)| (vec![("cluster", &*change.cluster), ("until", until)], seconds))
    })
}

fn replies(families: &mut Families<'_>, replies: &[Replies]) -> fmt::Result {
    let help = "From a command's way to the server to the end of its reply";
    let mut family = families.0.encode_descriptor("reply_seconds", help, None, MetricType::Histogram)?;
    for Replies { cluster, pool, server, times } in replies {
        let labels: Labels<'_> = vec![("cluster", cluster), ("pool", pool), ("server", server)];
        let (from, to) = REPLY_POWERS;
        let end = |end: Option<Duration>| end.map_or(f64::INFINITY, |end| end.as_secs_f64());
        let buckets: Vec<(f64, u64)> =
            times.by_powers_of_two(from, to).into_iter().map(|(until, count)| (end(until), count)).collect();
        let mut sample = family.encode_family(&labels)?;
        sample.encode_histogram::<NoLabelSet>(times.sum_seconds(), times.len(), &buckets, None)?;
    }
    Ok(())
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

fn one<'a, Value>(value: Value) -> [(Labels<'a>, Value); 1] {
    [(Labels::new(), value)]
}

fn is(it: bool) -> f64 {
    f64::from(u8::from(it))
}

/// One family after the other, each with a line of help.
struct Families<'e>(DescriptorEncoder<'e>);

impl Families<'_> {
    fn gauge<'l>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l>, f64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        samples.into_iter().try_for_each(|(labels, value)| match labels.is_empty() {
            true => family.encode_gauge(&value),
            false => family.encode_family(&labels)?.encode_gauge(&value),
        })
    }

    /// The name is without `_total`, which the format adds.
    fn counter<'l>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        samples.into_iter().try_for_each(|(labels, value)| match labels.is_empty() {
            true => family.encode_counter::<NoLabelSet, _, f64>(&value, None),
            false => family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::shapes::tests::a_status;
    use super::*;
    use crate::latency::Histogram;

    fn page() -> String {
        metrics().page(Form::OpenMetrics)
    }

    fn metrics() -> Metrics {
        let histogram = Histogram::default();
        [50, 100, 100, 20_000_000].iter().for_each(|time| histogram.count(*time));
        let mut times = Distribution::default();
        times.add(&histogram);
        let replies = Replies { cluster: "shop".into(), pool: "write".into(), server: "db1".into(), times };
        let turned_away = vec![("not_allowed", 3)];
        let ended = vec![("quit", 2), ("limit", 0)];
        let totals = Totals { accepted: 5, turned_away, ended, ..Totals::default() };
        Metrics { status: a_status(), started_seconds: 1.5e9, totals, replies: vec![replies] }
    }

    #[test]
    fn whoever_does_not_ask_for_openmetrics_gets_the_older_format() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        assert_eq!(Form::accepted(prometheus), Form::OpenMetrics);
        assert_eq!(["", "*/*", "text/plain"].map(Form::accepted), [Form::Text; 3]);
        let text = metrics().page(Form::Text);
        for line in [
            "# HELP sqluice_faults_total Sessions that a fault of sqluice ended",
            "# TYPE sqluice_faults_total counter",
            "sqluice_faults_total 0",
            "# TYPE sqluice_sessions gauge",
            "# TYPE sqluice_reply_seconds histogram",
        ] {
            assert!(text.lines().any(|shown| shown == line), "no {line} in\n{text}");
        }
        let samples =
            |page: &str| page.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(samples(&text), samples(&page()));
        assert!(!text.contains("# EOF"), "{text}");
    }

    #[test]
    fn each_number_has_its_name_and_labels() {
        let page = page();
        for line in [
            "sqluice_build_info{version=\"0.1.0\"} 1.0",
            "sqluice_sessions{worker=\"0\"} 2.0",
            "sqluice_sessions{worker=\"1\"} 1.0",
            "sqluice_clients_accepted_total 5",
            "sqluice_sessions_ended_total{reason=\"quit\"} 2",
            "sqluice_clients_turned_away_total{reason=\"not_allowed\"} 3",
            "sqluice_received_bytes_total{from=\"clients\"} 0",
            "sqluice_split_reads_at_primary_total{because=\"user variable\"} 5",
            "sqluice_server_up{cluster=\"shop\",server=\"db2\"} 0.0",
            "sqluice_server_connections_limit{cluster=\"shop\",server=\"db2\"} 200.0",
            "sqluice_server_info{cluster=\"shop\",server=\"db1\",role=\"primary\",state=\"up\",fitness=\"fit\"} 1.0",
            "sqluice_pool_servers_usable{cluster=\"shop\",pool=\"read\"} 0.0",
            "sqluice_cluster_alarms{cluster=\"shop\"} 1.0",
            "sqluice_primary_changes_total{cluster=\"shop\"} 1",
            "sqluice_primary_change_seconds{cluster=\"shop\",until=\"rerouted\"} 1.5",
        ] {
            assert!(page.lines().any(|shown| shown == line), "no {line} in\n{page}");
        }
        assert!(!page.contains("server_lag_seconds{"), "nobody knows the lag");
        assert!(page.ends_with("# EOF\n"), "{page}");
    }

    #[test]
    fn times_of_replies_are_a_histogram_that_counts_up_to_all() {
        let page = page();
        let labels = "cluster=\"shop\",pool=\"write\",server=\"db1\"";
        for line in [
            format!("sqluice_reply_seconds_bucket{{le=\"0.000064\",{labels}}} 1"),
            format!("sqluice_reply_seconds_bucket{{le=\"0.000128\",{labels}}} 3"),
            format!("sqluice_reply_seconds_bucket{{le=\"16.777216\",{labels}}} 3"),
            format!("sqluice_reply_seconds_bucket{{le=\"+Inf\",{labels}}} 4"),
            format!("sqluice_reply_seconds_count{{{labels}}} 4"),
            format!("sqluice_reply_seconds_sum{{{labels}}} 20.00025"),
        ] {
            assert!(page.lines().any(|shown| shown == line), "no {line} in\n{page}");
        }
    }

    #[test]
    fn dashboard_and_alerts_ask_for_what_there_is() {
        let page = page();
        for text in [
            include_str!("../../tuning/grafana-dashboard.json"),
            include_str!("../../tuning/prometheus-alerts.yml"),
            include_str!("../../tuning/prometheus-alerts-test.yml"),
        ] {
            let asked = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
            let asked: Vec<&str> = asked.filter(|word| word.starts_with("sqluice_")).collect();
            assert!(!asked.is_empty());
            for name in asked {
                assert!(
                    page.lines().any(|line| line.starts_with(&format!("# TYPE {name} "))
                        || line.starts_with(&format!("{name}{{"))
                        || line.starts_with(&format!("{name} "))),
                    "there is no {name}"
                );
            }
        }
    }

    #[test]
    fn a_configuration_is_all_that_makes_series() {
        let series = |status: Status| {
            let metrics = Metrics { status, started_seconds: 0.0, totals: Totals::default(), replies: vec![] };
            metrics.page(Form::OpenMetrics).lines().filter(|line| !line.starts_with('#')).count()
        };
        let mut busy = a_status();
        busy.sessions.current = 1_000_000;
        busy.process.table_epoch = 99;
        assert_eq!(series(busy), series(a_status()));
    }
}
