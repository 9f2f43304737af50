//! All that is believed of all servers, and the routing table that follows from it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::known::{Known, Servers};
use super::orders::{Moment, Orders, Recalled, Sending, Withdrawal};
use super::replication::{Line, Pasts};
use super::standing::{Member, Standing};
use super::table::Users;
use super::writer;
use super::{
    CheckResult, ClusterEntry, Contact, Failure, FollowUp, Health, Redirect, Registry, RoutingTable, Seen, ServerEntry,
    ServerId, Service,
};
use super::{galera, group};
use crate::config::{Cluster, ClusterIndex, Config, Topology};
use crate::protocol::error_code::ErrorCode;

/// What is believed of each configured server.
///
/// Invariant: `servers` are those of `config`.
#[derive(Debug)]
pub struct Beliefs {
    config: Arc<Config>,
    registry: Registry,
    users: Arc<Users>,
    servers: Servers,
    /// Parallel to the clusters of `config`: what outlives an answer.
    memories: Vec<Memory>,
    /// Whether clients are sent elsewhere.
    redirect: Arc<Redirect>,
    /// Of the table made last.
    epoch: u64,
    /// Whether the table made last says all that is believed: most checks find nothing new, and a table has every server.
    is_told: bool,
}

/// What is remembered of a cluster beyond what its servers say now.
#[derive(Debug)]
enum Memory {
    /// Roles are configured.
    Nothing,
    Line(Line),
    Group(group::Memory),
    Galera(galera::Memory),
}

impl Memory {
    fn new(topology: Topology) -> Memory {
        match topology {
            Topology::Static => Memory::Nothing,
            Topology::Replication => Memory::Line(Line::default()),
            Topology::GroupReplication => Memory::Group(group::Memory::default()),
            Topology::Galera => Memory::Galera(galera::Memory::default()),
        }
    }

    /// What was remembered before, if it is of the same kind.
    fn or_older(self, old: Option<Memory>) -> Memory {
        old.filter(|old| std::mem::discriminant(old) == std::mem::discriminant(&self)).unwrap_or(self)
    }

    /// What is to be said of the cluster.
    fn entry(&self) -> ClusterEntry {
        match self {
            Memory::Nothing => ClusterEntry::unnamed(&[]),
            Memory::Line(line) => ClusterEntry::unnamed(line.alarms()),
            Memory::Group(group) => ClusterEntry::unnamed(group.alarms()),
            Memory::Galera(galera) => galera.entry(),
        }
    }
}

impl Beliefs {
    /// Nothing is known of any server yet.
    pub fn new(config: Arc<Config>, now: Instant) -> Beliefs {
        let mut registry = Registry::new();
        let users = Arc::new(Users::new(&config, &mut registry));
        let servers = Servers::new(&config, &mut registry, Servers::default(), now);
        let memories = config.clusters.iter().map(|cluster| Memory::new(cluster.topology)).collect();
        let redirect = Arc::new(Redirect::configured(&config.instant_failover));
        let mut beliefs = Beliefs { config, registry, users, servers, memories, redirect, epoch: 0, is_told: false };
        beliefs.conclude_all();
        beliefs
    }

    /// Takes another configuration. What is known of a server is kept while its name and address stay the same.
    pub fn apply(&mut self, config: Arc<Config>, now: Instant) {
        self.users = Arc::new(Users::new(&config, &mut self.registry));
        self.servers = Servers::new(&config, &mut self.registry, std::mem::take(&mut self.servers), now);
        self.registry.forget_unused(&config);
        let old = self.config.clusters.iter().map(|cluster| cluster.name.as_str());
        let mut old: HashMap<&str, Memory> = old.zip(std::mem::take(&mut self.memories)).collect();
        let clusters = config.clusters.iter();
        let memory = |cluster: &Cluster| Memory::new(cluster.topology).or_older(old.remove(cluster.name.as_str()));
        self.memories = clusters.map(memory).collect();
        let (before, after) = (&self.config.instant_failover, &config.instant_failover);
        self.redirect = Arc::new(self.redirect.reloaded(before, after));
        self.config = config;
        self.is_told = false;
        self.conclude_all();
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Takes in what a check of a server found. A server that is no longer configured is ignored.
    pub fn check(&mut self, server: ServerId, result: &CheckResult, now: Instant) {
        let Some(cluster) = self.servers.get(server).map(|known| known.cluster) else {
            return;
        };
        let before = self.said(cluster);
        let sends_elsewhere = self.sends_elsewhere(result);
        let Some(known) = self.servers.get_mut(server) else {
            return;
        };
        match sends_elsewhere {
            true => known.belief.leaves(now),
            false => known.belief.check(result, known.thresholds, now),
        }
        if !matches!(result, CheckResult::Answered(_) | CheckResult::TimedOut) {
            known.registered.progress.note(None);
        }
        if let CheckResult::Answered(answer) = result
            && let Some(contact) = &answer.contact
        {
            known.contact = Some(contact.clone());
        }
        if let CheckResult::Answered(_) = result {
            self.hear(cluster, server);
        }
        if let Memory::Galera(galera) = &mut self.memories[cluster.0] {
            galera.check(server, result, now);
        }
        self.conclude(cluster);
        self.is_told &= self.said(cluster) == before;
    }

    /// Whether a check was not let in because the server sends all its clients elsewhere.
    fn sends_elsewhere(&self, result: &CheckResult) -> bool {
        let settings = &self.config.instant_failover;
        matches!(result, CheckResult::LoginRefused { code, message }
            if settings.target_in(ErrorCode(*code), message.as_bytes()).is_some())
    }

    /// Takes in that a server failed a session, and says what to do about it.
    pub fn report(&mut self, server: ServerId, failure: Failure, now: Instant) -> FollowUp {
        let Some(cluster) = self.servers.get(server).map(|known| known.cluster) else {
            return FollowUp::Nothing;
        };
        let before = self.said(cluster);
        let Some(known) = self.servers.get_mut(server) else {
            return FollowUp::Nothing;
        };
        if matches!(failure, Failure::Refused | Failure::Reset) {
            known.registered.progress.note(None);
        }
        let follow_up = known.belief.report(failure, now);
        if let Memory::Galera(galera) = &mut self.memories[cluster.0] {
            galera.report(server, failure, now);
        }
        self.conclude(cluster);
        self.is_told &= self.said(cluster) == before;
        follow_up
    }

    /// Servers to ask again at once: what they said last was before something that they should know of.
    pub fn take_outdated(&mut self) -> Vec<ServerId> {
        let taken = self.memories.iter_mut().map(|memory| match memory {
            Memory::Galera(galera) => galera.take_to_ask(),
            Memory::Nothing | Memory::Line(_) | Memory::Group(_) => Vec::new(),
        });
        taken.flatten().collect()
    }

    /// Takes in how far a server that answered said it is; nothing, if it did not tell. Makes no new table.
    pub fn see(&mut self, server: ServerId, seen: Option<Seen>) {
        if let Some(known) = self.servers.get_mut(server) {
            known.registered.progress.note(seen);
        }
    }

    /// From now on no server of the cluster of that name gets new writes, whatever it says, until [`Beliefs::let_write`].
    pub fn hold_writes(&mut self, cluster: &str) {
        self.steer(cluster, Line::hold_writes);
    }

    /// Whoever is the primary of that cluster gets its writes again. `change` says whom this process made it: in whose place,
    /// and who.
    pub fn let_write(&mut self, cluster: &str, change: Option<(ServerId, ServerId)>) {
        self.steer(cluster, |line| line.let_write(change));
    }

    /// Tells the cluster of that name about a change of its primary that this process makes: only lines of writers know any.
    fn steer(&mut self, cluster: &str, tell: impl FnOnce(&mut Line)) {
        let index = self.config.clusters.iter().position(|known| known.name == cluster);
        if let Some(index) = index
            && let Memory::Line(line) = &mut self.memories[index]
        {
            tell(line);
            self.is_told = false;
            self.conclude(ClusterIndex(index));
        }
    }

    /// What the next process must know of the clusters' primaries.
    pub fn pasts(&self) -> Pasts {
        let clusters = self.config.clusters.iter().zip(&self.memories).enumerate();
        let pasts = clusters.filter_map(|(index, (cluster, memory))| match memory {
            Memory::Line(line) => {
                Some((cluster.name.clone(), line.past(&self.servers.members(ClusterIndex(index), cluster))?))
            }
            Memory::Nothing | Memory::Group(_) | Memory::Galera(_) => None,
        });
        pasts.collect()
    }

    /// Takes up what the process before this one has left.
    pub fn recall(&mut self, pasts: &Pasts) {
        for (index, (cluster, memory)) in self.config.clusters.iter().zip(&mut self.memories).enumerate() {
            if let (Memory::Line(line), Some(past)) = (memory, pasts.get(&cluster.name)) {
                line.recall(&self.servers.members(ClusterIndex(index), cluster), past);
            }
        }
        self.is_told = false;
        self.conclude_all();
    }

    /// What operators have ordered, as the next process must know it.
    pub fn orders(&self, now: Moment) -> Orders {
        let mut servers: BTreeMap<String, BTreeMap<String, Withdrawal>> = BTreeMap::new();
        for known in self.servers.iter() {
            if let Some(withdrawal) = Withdrawal::of(known.service, now) {
                let cluster = self.config.cluster(known.cluster).name.clone();
                servers.entry(cluster).or_default().insert(known.name.to_string(), withdrawal);
            }
        }
        Orders { servers, instant_failover: Sending::of(&self.redirect, &self.config.instant_failover) }
    }

    /// Obeys what operators have ordered of the process before this one, as far as that is possible.
    pub fn obey_again(&mut self, orders: &Orders, now: Moment) -> Vec<Recalled> {
        let servers = orders.servers.iter();
        let named = servers.flat_map(|(cluster, servers)| servers.iter().map(move |(name, of)| (cluster, name, of)));
        let mut recalled: Vec<Recalled> = named
            .map(|(cluster, name, withdrawal)| self.withdraw_again(cluster, name, withdrawal.service(now)))
            .collect();
        if let Some(sending) = &orders.instant_failover {
            let again = sending.again(&self.config.instant_failover);
            recalled.push(again.map_or(Recalled::Overruled, |redirect| {
                let mode = redirect.settings.mode;
                self.redirect(redirect);
                Recalled::InstantFailover(mode)
            }));
        }
        recalled
    }

    fn withdraw_again(&mut self, cluster: &str, name: &str, service: Service) -> Recalled {
        let is_it = |known: &&Known| *known.name == *name && self.config.cluster(known.cluster).name == cluster;
        let full_name = format!("{cluster}/{name}");
        let Some(id) = self.servers.iter().find(is_it).map(|known| known.registered.id) else {
            return Recalled::UnknownServer(full_name);
        };
        self.serve(id, service);
        Recalled::Server(full_name, service)
    }

    /// Takes a server into use, or out of it. A server that is no longer configured is ignored.
    pub fn serve(&mut self, server: ServerId, service: Service) {
        let Some(known) = self.servers.get_mut(server) else {
            return;
        };
        known.service = service;
        let cluster = known.cluster;
        self.is_told = false;
        self.conclude(cluster);
    }

    /// Takes those servers out of use whose time for draining is over, and tells which those are.
    pub fn retire(&mut self, now: Instant) -> Vec<ServerId> {
        let is_over = |known: &&Known| known.service.ends().is_some_and(|until| until <= now);
        let over: Vec<ServerId> = self.servers.iter().filter(is_over).map(Known::id).collect();
        over.iter().for_each(|&id| self.serve(id, Service::OutOfUse { since: now }));
        over
    }

    /// When [`Beliefs::retire`] has something to do next.
    pub fn next_retirement(&self) -> Option<Instant> {
        self.servers.iter().filter_map(|known| known.service.ends()).min()
    }

    /// Clients are sent elsewhere from now on, or not any more.
    pub fn redirect(&mut self, redirect: Redirect) {
        self.redirect = Arc::new(redirect);
        self.is_told = false;
    }

    /// The ids of all servers, in the order of the table.
    pub fn ids(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.servers.iter().map(Known::id)
    }

    /// Whether every server has been asked at least once, whatever came of it.
    pub fn all_checked(&self) -> bool {
        self.servers.iter().all(|known| known.belief.is_checked())
    }

    /// The table that follows from what is believed now.
    pub fn table(&mut self) -> RoutingTable {
        self.epoch += 1;
        self.is_told = true;
        let clusters = self.memories.iter().map(Memory::entry).collect();
        let (config, users) = (Arc::clone(&self.config), Arc::clone(&self.users));
        RoutingTable::new(self.epoch, config, self.entries(), clusters, Arc::clone(&self.redirect), users)
    }

    /// The table that follows from what is believed now, if it says anything else than `current`.
    pub fn next_table(&mut self, current: &RoutingTable) -> Option<RoutingTable> {
        if self.is_told && current.epoch == self.epoch {
            return None;
        }
        let next = self.table();
        if next.agrees_with(current) {
            self.epoch -= 1;
            return None;
        }
        Some(next)
    }

    /// What a table says of a cluster because of what was heard in it.
    fn said(&self, cluster: ClusterIndex) -> (Vec<(Health, Option<Contact>)>, ClusterEntry) {
        let members = self.servers.of(cluster).iter();
        (members.map(|known| (known.health(), known.contact.clone())).collect(), self.memories[cluster.0].entry())
    }

    /// Takes in an answer together with what it means to the rest of its cluster.
    fn hear(&mut self, cluster: ClusterIndex, id: ServerId) {
        let settings = self.config.cluster(cluster);
        let seen = self.servers.get(id).and_then(|known| known.registered.progress.last());
        let members = self.servers.members(cluster, settings);
        let lag = match &mut self.memories[cluster.0] {
            Memory::Nothing | Memory::Galera(_) => return,
            Memory::Line(line) => {
                line.hear(settings, &members, id, seen.as_deref());
                line.lag(id)
            }
            Memory::Group(group) => {
                let member = members.iter().find(|member| member.id == id);
                member.into_iter().for_each(|member| group.hear(settings, member, seen.as_deref()));
                group.lag(id)
            }
        };
        if let Some(known) = self.servers.get(id) {
            known.registered.progress.note_lag(lag);
        }
    }

    fn conclude_all(&mut self) {
        (0..self.config.clusters.len()).for_each(|cluster| self.conclude(ClusterIndex(cluster)));
    }

    /// Draws the conclusions from all that was heard in a cluster, in the order in which it was.
    fn conclude(&mut self, cluster: ClusterIndex) {
        let settings = self.config.cluster(cluster);
        let members = self.servers.members(cluster, settings);
        let standings = match &mut self.memories[cluster.0] {
            Memory::Line(line) => line.judge(settings, &members),
            Memory::Group(group) => group.judge(settings, &members),
            Memory::Galera(galera) => galera.judge(&members, settings.donor_reads),
            Memory::Nothing => {
                let role = |member: &Member<'_>| writer::own_role(settings.topology, member.server.role, member.belief);
                members.iter().map(|member| Standing::new(role(member))).collect()
            }
        };
        let known = self.servers.of_mut(cluster).iter_mut();
        known.zip(standings).for_each(|(known, standing)| known.standing = standing);
    }

    fn entries(&self) -> Vec<ServerEntry> {
        let servers = self.config.clusters.iter().flat_map(|cluster| &cluster.servers);
        self.servers.iter().zip(servers).map(|(known, server)| known.entry(server)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::gtid::GtidPosition;
    use crate::topology::greeting::captured::mysql_9_7;
    use crate::topology::testing::{answers, config, config_with, introduces, table};
    use crate::topology::{Condition, Fitness, ServerRole, View, Writable};

    const DB1: &str = "name = \"db1\"\naddress = \"10.0.0.1:3306\"";
    const DB2: &str = "name = \"db2\"\naddress = \"db2.example.com:3306\"";
    const DB3: &str = "name = \"db3\"\naddress = \"unix:/run/db3.sock\"";
    const DB2_MOVED: &str = "name = \"db2\"\naddress = \"db2.example.com:3307\"";

    fn ids(beliefs: &Beliefs) -> Vec<ServerId> {
        beliefs.ids().collect()
    }

    fn conditions(table: &RoutingTable) -> Vec<(&str, Condition)> {
        table.servers.iter().map(|server| (&*server.name, server.health.condition)).collect()
    }

    #[test]
    fn a_reload_keeps_ids_loads_and_beliefs_of_who_stays() {
        let now = Instant::now();
        let mut beliefs = Beliefs::new(config(&[DB1, DB2]), now);
        let before = ids(&beliefs);
        before.iter().for_each(|&id| beliefs.check(id, &answers(Writable::No), now));
        let old = beliefs.table();
        let place = old.servers[1].load.reserve(0).unwrap();
        beliefs.apply(config(&[DB3, DB2]), now);
        let new = beliefs.table();
        assert_eq!(conditions(&new), [("db3", Condition::Unknown), ("db2", Condition::Up)]);
        assert_eq!(new.servers[1].id, before[1]);
        assert_eq!(new.servers[1].load.connections(), 1);
        assert!(!before.contains(&new.servers[0].id), "an id is never given twice");
        assert_eq!(new.place(before[0]), None);
        assert_eq!(new.place(before[1]).map(|place| &*new.server(place).name), Some("db2"));
        drop(place);
        assert_eq!(new.servers[1].load.connections(), 0);
    }

    #[test]
    fn a_server_that_moved_is_believed_anew_and_counted_on() {
        let now = Instant::now();
        let mut beliefs = Beliefs::new(config(&[DB1, DB2]), now);
        let id = ids(&beliefs)[1];
        beliefs.check(id, &answers(Writable::No), now);
        beliefs.apply(config(&[DB1, DB2_MOVED]), now);
        let table = beliefs.table();
        assert_eq!((table.servers[1].id, table.servers[1].health.condition), (id, Condition::Unknown));
        assert_eq!(table.servers[1].endpoint, None, "the address that was looked up was that of the old name");
    }

    #[test]
    fn a_name_that_comes_back_while_it_is_in_use_is_the_same_server() {
        let now = Instant::now();
        let mut beliefs = Beliefs::new(config(&[DB1, DB2]), now);
        let id = ids(&beliefs)[0];
        let place = beliefs.table().servers[0].load.reserve(0).unwrap();
        beliefs.apply(config(&[DB2]), now);
        beliefs.apply(config(&[DB2, DB1]), now);
        assert_eq!(ids(&beliefs)[1], id);
        drop(place);
        beliefs.apply(config(&[DB2]), now);
        beliefs.apply(config(&[DB2, DB1]), now);
        assert_ne!(ids(&beliefs)[1], id, "nobody remembers an unused name");
    }

    #[test]
    fn nobody_begins_to_write_while_the_primary_changes() {
        let now = Instant::now();
        let mut beliefs = Beliefs::new(config(&[DB1, DB2]), now);
        let ids = ids(&beliefs);
        let say = |beliefs: &mut Beliefs, writable: [Writable; 2]| {
            ids.iter().zip(writable).for_each(|(&id, writable)| beliefs.check(id, &answers(writable), now));
        };
        let writers = |beliefs: &mut Beliefs| {
            let table = beliefs.table();
            let write = table.config.pool_by_name("write").unwrap();
            table.pool(write).members.iter().map(|member| member.0).collect::<Vec<_>>()
        };
        say(&mut beliefs, [Writable::Yes, Writable::No]);
        assert_eq!(writers(&mut beliefs), [0]);
        let before = beliefs.table();
        beliefs.hold_writes("shop");
        let during = beliefs.next_table(&before).expect("the workers have to be told");
        assert!(writers(&mut beliefs).is_empty());
        beliefs.let_write("shop", None);
        assert!(beliefs.next_table(&during).is_some(), "and again");
        beliefs.hold_writes("shop");
        assert_eq!(beliefs.table().servers[0].health.role, ServerRole::Yielding);
        beliefs.apply(config(&[DB1, DB2]), now);
        say(&mut beliefs, [Writable::No, Writable::Yes]);
        assert!(writers(&mut beliefs).is_empty(), "the new one waits for the word, too");
        beliefs.let_write("shop", None);
        assert_eq!(writers(&mut beliefs), [1]);
    }

    #[test]
    fn only_news_makes_a_new_table() {
        let now = Instant::now();
        let mut beliefs = Beliefs::new(config(&[DB1, DB2]), now);
        let id = ids(&beliefs)[0];
        let first = beliefs.table();
        assert!(beliefs.next_table(&first).is_none());
        beliefs.check(id, &answers(Writable::No), now);
        let second = beliefs.next_table(&first).expect("db1 is up now");
        assert!(second.epoch > first.epoch);
        beliefs.check(id, &answers(Writable::No), now + Duration::from_secs(1));
        assert!(beliefs.next_table(&second).is_none());
        beliefs.check(id, &introduces(Writable::No, mysql_9_7()), now + Duration::from_secs(2));
        assert!(beliefs.next_table(&second).is_some(), "it was upgraded");
    }

    fn position(text: &str) -> GtidPosition {
        GtidPosition::parse_mariadb(text.as_bytes()).expect("a position")
    }

    fn seen(text: &str, asked: Instant) -> Option<Seen> {
        Some(Seen { asked, applied: position(text), committed: Some(position(text)) })
    }

    #[test]
    fn progress_is_seen_through_every_table_and_makes_no_new_one() {
        let now = Instant::now();
        let mut beliefs = Beliefs::new(config(&[DB1, DB2]), now);
        let id = ids(&beliefs)[0];
        let table = beliefs.table();
        assert!(!table.servers[0].progress.has_applied(&position("")), "nothing was heard yet");
        beliefs.see(id, seen("0-1-4", now));
        assert!(beliefs.next_table(&table).is_none());
        assert!(table.servers[0].progress.has_applied(&position("0-1-4")));
        assert!(!table.servers[0].progress.has_applied(&position("0-1-5")));
        beliefs.apply(config(&[DB2, DB1]), now);
        beliefs.see(id, seen("0-1-5", now));
        assert_eq!(table.servers[0].progress.last().as_deref(), seen("0-1-5", now).as_ref());
        beliefs.see(id, None);
        assert_eq!(table.servers[0].progress.last(), None, "it can no longer tell");
    }

    #[test]
    fn a_server_in_trouble_has_to_show_anew_how_far_it_is() {
        let now = Instant::now();
        let remains_after = |trouble: &dyn Fn(&mut Beliefs, ServerId)| {
            let mut beliefs = Beliefs::new(config(&[DB1, DB2]), now);
            let id = ids(&beliefs)[1];
            beliefs.check(id, &answers(Writable::No), now);
            beliefs.see(id, seen("0-1-4", now));
            trouble(&mut beliefs, id);
            beliefs.table().servers[1].progress.last().is_some()
        };
        let check = |result: CheckResult| remains_after(&|beliefs, id| beliefs.check(id, &result, now));
        assert!(check(answers(Writable::No)), "it answered, and what it said of its position comes next");
        assert!(check(CheckResult::TimedOut), "silence is not an answer");
        assert!(!check(CheckResult::Refused));
        assert!(!check(CheckResult::Reset));
        let report = |failure| remains_after(&|beliefs, id| _ = beliefs.report(id, failure, now));
        assert!(report(Failure::LoginRefused { code: 1040 }));
        assert!(!report(Failure::Reset), "it may have crashed and lost what was not on its disk");
        assert!(!remains_after(&|beliefs, _| beliefs.apply(config(&[DB1, DB2_MOVED]), now)));
        assert!(remains_after(&|beliefs, _| beliefs.apply(config(&[DB1, DB2]), now)));
    }

    #[test]
    fn another_configuration_makes_a_new_table() {
        let now = Instant::now();
        let mut beliefs = Beliefs::new(config(&[DB1]), now);
        let first = beliefs.table();
        // Under Miri the same text would be the same configuration.
        beliefs.apply(config(&[&format!("{DB1}\n# the same")]), now);
        assert!(beliefs.next_table(&first).is_some());
    }

    #[test]
    fn changes_are_told_in_one_line_each() {
        let now = Instant::now();
        let mut beliefs = Beliefs::new(config(&[DB1, DB2]), now);
        let (db1, first) = (ids(&beliefs)[0], beliefs.table());
        ids(&beliefs).into_iter().for_each(|id| beliefs.check(id, &answers(Writable::No), now));
        let second = beliefs.table();
        beliefs.check(db1, &CheckResult::Refused, now);
        beliefs.apply(config(&[DB1, DB3]), now);
        let third = beliefs.table();
        let lines = |changes: Vec<crate::topology::Change>| changes.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            lines(second.changes_since(&first)),
            ["server shop/db1: unknown -> up, replica: answers", "server shop/db2: unknown -> up, replica: answers"]
        );
        assert_eq!(
            lines(third.changes_since(&second)),
            [
                "server shop/db1: up, replica -> down: connection refused",
                "server shop/db3: new -> unknown: not checked yet",
                "server shop/db2: up, replica -> removed: answers",
            ]
        );
        assert!(third.changes_since(&third).is_empty());
    }

    #[test]
    fn an_address_that_needs_no_look_up_is_known_at_once() {
        let mut beliefs = Beliefs::new(config(&[DB1, DB2, DB3]), Instant::now());
        let endpoints: Vec<Option<String>> =
            beliefs.table().servers.iter().map(|server| server.endpoint.as_ref().map(ToString::to_string)).collect();
        assert_eq!(endpoints, [Some("10.0.0.1:3306".to_owned()), None, Some("unix:/run/db3.sock".to_owned())]);
    }

    #[test]
    fn findings_of_servers_that_are_gone_are_ignored() {
        let now = Instant::now();
        let mut beliefs = Beliefs::new(config(&[DB1, DB2]), now);
        let gone = ids(&beliefs)[0];
        beliefs.apply(config(&[DB2]), now);
        let table = beliefs.table();
        beliefs.check(gone, &answers(Writable::Yes), now);
        assert_eq!(beliefs.report(gone, Failure::Refused, now), FollowUp::Nothing);
        assert!(beliefs.next_table(&table).is_none());
    }

    #[test]
    fn users_are_found_by_the_bytes_of_their_name() {
        let table = table(config(&[DB1]), &[answers(Writable::Yes)]);
        let user = table.user(b"app").unwrap();
        assert_eq!(table.user_config(user).name, "app");
        assert_eq!(table.user(b"App"), None);
        assert_eq!(table.user(b"\xff"), None);
        let seat = table.user_load(user).reserve(Some(1)).unwrap();
        assert_eq!(table.user_load(user).sessions(), 1);
        drop(seat);
    }

    #[test]
    fn a_server_that_sends_its_clients_elsewhere_is_used_where_nobody_else_is_left() {
        let now = Instant::now();
        let mut beliefs = Beliefs::new(config(&[DB1, DB2]), now);
        let ids = ids(&beliefs);
        ids.iter().for_each(|&id| beliefs.check(id, &answers(Writable::No), now));
        let members = |beliefs: &mut Beliefs| {
            let table = beliefs.table();
            let pool = table.config.pool_by_name("read").unwrap();
            let members = table.pool(pool).members.iter();
            members.map(|&member| table.server(member).name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(members(&mut beliefs), ["db1", "db2"]);
        beliefs.report(ids[0], Failure::Leaving, now);
        assert_eq!(members(&mut beliefs), ["db2"]);
        let refused = CheckResult::LoginRefused { code: 4196, message: "|in maintenance|db3:3306".to_owned() };
        beliefs.check(ids[1], &refused, now);
        assert_eq!(members(&mut beliefs), ["db1", "db2"]);
        let health = beliefs.table().servers[1].health.clone();
        assert_eq!((health.condition, health.fitness), (Condition::Up, Fitness::LastResort));
        assert_eq!(&*health.reason, "leaving: it sends its clients elsewhere");
    }

    #[test]
    fn a_password_is_learnt_where_some_server_will_ask_for_it() {
        let needs = |results: &[CheckResult]| {
            let table = table(config(&[DB1, DB2]), results);
            table.needs_cleartext(table.config.pool_by_name("read").unwrap())
        };
        assert!(!needs(&[answers(Writable::Yes), answers(Writable::No)]));
        assert!(needs(&[answers(Writable::Yes), introduces(Writable::No, mysql_9_7())]));
        assert!(needs(&[CheckResult::Refused, introduces(Writable::No, mysql_9_7())]));
    }

    #[test]
    fn a_static_cluster_needs_no_answer_about_writes() {
        let server = format!("{DB1}\nrole = \"primary\"");
        let answer = crate::topology::Answer { writable: None, view: View::Unasked, contact: None };
        let table = table(
            config_with("topology = \"static\"", &[&server, &format!("{DB2}\nrole = \"replica\"")]),
            &[CheckResult::Answered(answer), CheckResult::TimedOut],
        );
        let write = table.config.pool_by_name("write").unwrap();
        assert_eq!(table.pool(write).members.len(), 1);
    }
}
