//! One routing decision: pure, without allocation, made of one verdict a server.

use std::fmt;

use super::balance::{self, Candidate};
use super::freshness::Sight;
use crate::config::PoolIndex;
use crate::protocol::capability::Capabilities;
use crate::protocol::gtid::GtidPosition;
use crate::topology::{Condition, Fitness, RoutingTable, ServerId, ServerIndex, ServerRole, Service};

/// What is asked of [`decide`].
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Where the session wants to go.
    pub pool: PoolIndex,
    /// Servers that have just failed this session.
    pub excluded: &'a [ServerId],
    /// What the session's client has been promised.
    pub required: Capabilities,
    /// What the session must see; absent: any state will do.
    pub fresh: Option<&'a GtidPosition>,
    /// Servers that have a connection at rest for the session: there it needs no place.
    pub lendable: &'a [ServerId],
    /// A turn counter where the pool goes round robin, else a random number.
    pub tie_break: u32,
}

impl Question<'_> {
    /// Where the next session of this pool would go: no client was promised anything, no server has failed it, and
    /// nobody's turn has come.
    pub fn without_a_session(pool: PoolIndex) -> Question<'static> {
        Question { pool, excluded: &[], required: Capabilities::NONE, fresh: None, lendable: &[], tie_break: 0 }
    }
}

/// A server was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The server.
    pub server: ServerIndex,
    /// The pool it was found in: the wanted one or one of its fallbacks.
    pub pool: PoolIndex,
    /// Whether the session can read there at once. Else the server may not have yet what the session must see, and
    /// no other one was known to have it either.
    pub fresh: bool,
}

/// No server was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There are servers, and each has as many connections as it may have: one will become free.
    AllFull,
    /// Neither the pool nor its fallbacks have a usable server.
    NoServer,
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Refusal::AllFull => "all usable servers have as many connections as they may have",
            Refusal::NoServer => "no usable server",
        })
    }
}

/// Picks a server for a session, in the wanted pool or else in its fallback, the fallback of that, and so on. Of the
/// usable ones of a pool, those come first that are known to have what the session must see.
///
/// A full pool does not fall back: its sessions wait for a place rather than flood the servers of another pool.
pub fn decide(table: &RoutingTable, question: &Question<'_>) -> Result<Decision, Refusal> {
    for pool in table.chain(question.pool) {
        let verdicts = table.pool(pool).candidates().map(|server| (server, verdict(table, pool, server, question)));
        let usable = verdicts.clone().filter_map(|(server, verdict)| verdict.candidate(server));
        if let Some(picked) = balance::pick(table.config.pool(pool).balance, usable, question.tie_break) {
            return Ok(Decision { server: picked.server, pool, fresh: picked.sight.is_fresh() });
        }
        if verdicts.into_iter().any(|(_, verdict)| verdict.is_full()) {
            return Err(Refusal::AllFull);
        }
    }
    Err(Refusal::NoServer)
}

/// Whether a server may be picked for a question, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Usable {
        /// Connections of it that are in use now.
        connections: u32,
        /// Its share.
        weight: u32,
        /// Whether it is known to have what the session must see.
        sight: Sight,
    },
    /// It may not.
    Unusable(Obstacle),
}

/// Why a server may not be picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// It is not up.
    NotUp(Condition),
    /// An operator takes it out of use.
    NotInUse(Service),
    /// It is up and has another role than the pool.
    OtherRole(ServerRole),
    /// It is up and has the role, and its data are old, or it does not let itself be used.
    Unfit,
    /// It is up and has the role, and its own operator wants it to be left.
    Leaving,
    /// It is used only where nobody is fit, and somebody is.
    LastResort,
    /// Its name has not been looked up.
    NoAddress,
    /// It has just failed this session.
    Excluded,
    /// It lacks what the client has been promised.
    Lacks(Capabilities),
    /// It has as many connections as it may have.
    Full {
        /// That many.
        max: u32,
    },
}

/// The verdict over one server of a pool's cluster. Load comes last: who is full is usable otherwise.
pub fn verdict(table: &RoutingTable, pool: PoolIndex, server: ServerIndex, question: &Question<'_>) -> Verdict {
    let entry = table.server(server);
    let connections = entry.load.in_use();
    let is_full = entry.max_connections != 0 && entry.load.connections() >= entry.max_connections;
    let missing = missing(question.required, entry.capabilities());
    let obstacle = if entry.health.condition != Condition::Up {
        Obstacle::NotUp(entry.health.condition)
    } else if !entry.service.is_in_use() {
        Obstacle::NotInUse(entry.service)
    } else if !entry.serves(table.config.pool(pool).role) {
        Obstacle::OtherRole(entry.health.role)
    } else if !table.pool(pool).takes(entry.health.fitness) {
        unfitness(entry.health.fitness)
    } else if entry.endpoint.is_none() {
        Obstacle::NoAddress
    } else if question.excluded.contains(&entry.id) {
        Obstacle::Excluded
    } else if missing != Capabilities::NONE {
        Obstacle::Lacks(missing)
    } else if is_full && !question.lendable.contains(&entry.id) {
        Obstacle::Full { max: entry.max_connections }
    } else {
        return Verdict::Usable { connections, weight: entry.weight, sight: Sight::of(entry, question.fresh) };
    };
    Verdict::Unusable(obstacle)
}

fn unfitness(fitness: Fitness) -> Obstacle {
    match fitness {
        Fitness::Unfit => Obstacle::Unfit,
        Fitness::Leaving => Obstacle::Leaving,
        Fitness::LastResort | Fitness::Fit => Obstacle::LastResort,
    }
}

/// What was promised and is not offered. Bit 0 is no promise: to MySQL it means long passwords, to MariaDB that the
/// peer is *not* MariaDB.
fn missing(required: Capabilities, offered: Option<Capabilities>) -> Capabilities {
    required.without(Capabilities::LONG_PASSWORD).without(offered.unwrap_or(Capabilities::NONE))
}

impl Verdict {
    pub(super) fn candidate(self, server: ServerIndex) -> Option<Candidate> {
        match self {
            Verdict::Usable { connections, weight, sight } => Some(Candidate { server, connections, weight, sight }),
            Verdict::Unusable(_) => None,
        }
    }

    /// Whether the server may be picked.
    pub fn is_usable(self) -> bool {
        matches!(self, Verdict::Usable { .. })
    }

    pub(super) fn is_full(self) -> bool {
        matches!(self, Verdict::Unusable(Obstacle::Full { .. }))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Usable { connections, weight, sight } => {
                let plural = if *connections == 1 { "" } else { "s" };
                write!(out, "usable: {connections} connection{plural}, weight {weight}")?;
                match sight {
                    Sight::Anything => Ok(()),
                    Sight::Seen | Sight::Unseen | Sight::Behind => write!(out, ", {sight}"),
                }
            }
            Verdict::Unusable(obstacle) => write!(out, "not used: {obstacle}"),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::NotUp(condition) => write!(out, "{condition}"),
            Obstacle::NotInUse(service) => write!(out, "{service}"),
            Obstacle::OtherRole(ServerRole::Unknown) => out.write_str("its role is unknown"),
            Obstacle::OtherRole(role) => write!(out, "{role}"),
            Obstacle::Unfit => out.write_str("unfit"),
            Obstacle::Leaving => out.write_str("leaving: its own operator takes it out of use"),
            Obstacle::LastResort => out.write_str("a last resort, and others are fit"),
            Obstacle::NoAddress => out.write_str("its name has not been looked up"),
            Obstacle::Excluded => out.write_str("it has just failed this session"),
            Obstacle::Lacks(missing) => write!(out, "lacks capabilities the client was promised ({missing:?})"),
            Obstacle::Full { max } => write!(out, "full: {max} connections"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;
    use crate::topology::testing::{answers, config, introduces, parse, position, table, table_at};
    use crate::topology::{CheckResult, GreetingFacts, Place, Writable};

    fn server(name: &str, more: &str) -> String {
        format!("name = \"{name}\"\naddress = \"{name}:3306\"\n{more}")
    }

    /// `db0` takes writes, all others do not.
    fn shop(more: &[&str]) -> RoutingTable {
        let servers: Vec<String> =
            more.iter().enumerate().map(|(index, more)| server(&format!("db{index}"), more)).collect();
        let results: Vec<CheckResult> =
            (0..more.len()).map(|index| answers(if index == 0 { Writable::Yes } else { Writable::No })).collect();
        table(config(&servers.iter().map(String::as_str).collect::<Vec<_>>()), &results)
    }

    fn occupy(table: &RoutingTable, server: usize, count: usize) -> Vec<Place> {
        (0..count).map(|_| table.servers[server].load.reserve(0).unwrap()).collect()
    }

    fn question(table: &RoutingTable, pool: &str) -> Question<'static> {
        let pool = table.config.pool_by_name(pool).unwrap();
        Question { pool, ..Question::without_a_session(pool) }
    }

    fn decision(table: &RoutingTable, pool: &str, server: usize) -> Result<Decision, Refusal> {
        Ok(Decision { server: ServerIndex(server), pool: table.config.pool_by_name(pool).unwrap(), fresh: true })
    }

    #[test]
    fn a_session_goes_to_the_member_with_the_fewest_connections() {
        let table = shop(&["", "", ""]);
        let _places = occupy(&table, 1, 2);
        assert_eq!(decide(&table, &question(&table, "read")), decision(&table, "read", 2));
        let _more = occupy(&table, 2, 3);
        assert_eq!(decide(&table, &question(&table, "read")), decision(&table, "read", 1));
        assert_eq!(decide(&table, &question(&table, "write")), decision(&table, "write", 0));
    }

    #[test]
    fn a_pool_without_members_falls_back() {
        let servers = [server("db0", ""), server("db1", "")];
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        let table = table(config(&servers), &[answers(Writable::Yes), CheckResult::Refused]);
        assert_eq!(decide(&table, &question(&table, "read")), decision(&table, "write", 0));
    }

    #[test]
    fn a_full_pool_does_not_fall_back() {
        let table = shop(&["", "max_connections = 2"]);
        let mut places = occupy(&table, 1, 2);
        assert_eq!(decide(&table, &question(&table, "read")), Err(Refusal::AllFull));
        places.pop();
        assert_eq!(decide(&table, &question(&table, "read")), decision(&table, "read", 1));
    }

    #[test]
    fn a_connection_at_rest_is_no_load_and_needs_no_place() {
        let table = shop(&["", "max_connections = 2", "max_connections = 2"]);
        let _places = (occupy(&table, 1, 2), occupy(&table, 2, 2));
        let _resting = table.servers[1].load.rest();
        assert_eq!(decide(&table, &question(&table, "read")), Err(Refusal::AllFull), "it is another user's");
        let lendable = [table.servers[1].id, table.servers[2].id];
        let question = Question { lendable: &lendable, ..question(&table, "read") };
        assert_eq!(decide(&table, &question), decision(&table, "read", 1), "there one less is in use");
    }

    #[test]
    fn a_server_that_failed_the_session_is_left_out() {
        let table = shop(&["", "", ""]);
        let excluded = [table.servers[1].id];
        let once = Question { excluded: &excluded, ..question(&table, "read") };
        assert_eq!(decide(&table, &once), decision(&table, "read", 2));
        let all: Vec<ServerId> = table.servers.iter().map(|server| server.id).collect();
        let never = Question { excluded: &all, ..once };
        assert_eq!(decide(&table, &never), Err(Refusal::NoServer));
    }

    #[test]
    fn a_server_must_have_what_the_client_was_promised() {
        let lesser = GreetingFacts {
            capabilities: crate::topology::captured::mariadb_10_11().capabilities.without(Capabilities::DEPRECATE_EOF),
            ..crate::topology::captured::mariadb_10_11()
        };
        let servers = [server("db0", ""), server("db1", ""), server("db2", "")];
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        let results = [answers(Writable::Yes), introduces(Writable::No, lesser), answers(Writable::No)];
        let table = table(config(&servers), &results);
        let required = Capabilities::DEPRECATE_EOF | Capabilities::LONG_PASSWORD;
        for tie_break in 0..3 {
            let question = Question { required, tie_break, ..question(&table, "read") };
            assert_eq!(decide(&table, &question), decision(&table, "read", 2));
        }
    }

    #[test]
    fn a_session_reads_where_its_writes_were_seen() {
        let servers: Vec<String> = (0..4).map(|index| server(&format!("db{index}"), "")).collect();
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        let results: Vec<CheckResult> =
            (0..4).map(|index| answers(if index == 0 { Writable::Yes } else { Writable::No })).collect();
        let table = table_at(config(&servers), &results, &[None, Some(5), Some(7), Some(7)]);
        let _places = (occupy(&table, 2, 2), occupy(&table, 3, 1));
        let ask = |pool: &str, must_see: u64| {
            let fresh = position(must_see);
            let decision = decide(&table, &Question { fresh: Some(&fresh), ..question(&table, pool) }).unwrap();
            (decision.server.0, decision.fresh)
        };
        assert_eq!(ask("read", 5), (1, true), "all have it, and this one has the fewest connections");
        assert_eq!(ask("read", 6), (3, true));
        assert_eq!(ask("read", 8), (1, false), "nobody was seen there, and a session can wait anywhere");
        table.servers[1].progress.note_lag(Some(Duration::from_secs(2)));
        assert_eq!(ask("read", 8), (3, false), "and nobody waits at one that is known to be behind");
        assert_eq!(ask("read", 5), (1, true), "unless it has come as far");
        assert_eq!(ask("write", 8), (0, true), "the primary has everything, whatever was seen of it");
        let fresh = position(6);
        assert!(crate::route::is_fresh(&table, ServerIndex(3), Some(&fresh)));
        assert!(!crate::route::is_fresh(&table, ServerIndex(1), Some(&fresh)));
        assert!(crate::route::is_fresh(&table, ServerIndex(1), None));
    }

    #[test]
    fn no_certain_writer_no_writes() {
        let servers = [server("db0", ""), server("db1", "")];
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        let table = table(config(&servers), &[answers(Writable::Yes), answers(Writable::Yes)]);
        assert_eq!(decide(&table, &question(&table, "write")), Err(Refusal::NoServer));
    }

    #[test]
    fn the_pool_s_own_way_of_balancing_is_used() {
        let text = |balance: &str| {
            format!(
                "[[listener]]\nname = \"app\"\naddress = \"127.0.0.1:0\"\n\
                 [cluster.shop]\ntopology = \"replication\"\nmonitor = {{ user = \"m\", password = \"m\" }}\n\
                 [[cluster.shop.server]]\n{}\n[[cluster.shop.server]]\n{}\n\
                 [pool.read]\ncluster = \"shop\"\nrole = \"replica\"\nbalance = \"{balance}\"\n\
                 [[user]]\nname = \"app\"\npassword = \"secret\"\npool = \"read\"\n",
                server("db0", ""),
                server("db1", ""),
            )
        };
        let picks = |balance: &str| {
            let config: Arc<Config> = parse(&text(balance));
            let table = table(config, &[answers(Writable::No), answers(Writable::No)]);
            let _places = occupy(&table, 0, 1);
            let ask = |tie_break| decide(&table, &Question { tie_break, ..question(&table, "read") }).unwrap().server.0;
            [ask(0), ask(1), ask(2), ask(u32::MAX)]
        };
        assert_eq!(picks("least-connections"), [1, 1, 1, 1]);
        assert_eq!(picks("round-robin"), [0, 1, 0, 1]);
        assert_eq!(picks("random"), [0, 0, 0, 1]);
    }

    /// One server of a random cluster.
    #[derive(Debug, Clone)]
    struct Random {
        result: CheckResult,
        weight: u32,
        max_connections: u32,
        connections: u32,
        excluded: bool,
        applied: Option<u64>,
    }

    fn random_server() -> impl Strategy<Value = Random> {
        let result = prop_oneof![
            4 => Just(answers(Writable::No)),
            2 => Just(answers(Writable::Yes)),
            1 => Just(CheckResult::Refused),
            1 => Just(CheckResult::TimedOut),
        ];
        let applied = prop::option::weighted(0.8, 0..4_u64);
        (result, 1..5_u32, 0..4_u32, 0..6_u32, prop::bool::weighted(0.1), applied).prop_map(
            |(result, weight, max_connections, connections, excluded, applied)| Random {
                result,
                weight,
                max_connections,
                connections,
                excluded,
                applied,
            },
        )
    }

    /// A table of such servers, and the places that hold their connections.
    fn random_shop(servers: &[Random]) -> (RoutingTable, Vec<Place>) {
        let bounds =
            |random: &Random| format!("weight = {}\nmax_connections = {}", random.weight, random.max_connections);
        let text: Vec<String> =
            servers.iter().enumerate().map(|(index, random)| server(&format!("db{index}"), &bounds(random))).collect();
        let results: Vec<CheckResult> = servers.iter().map(|random| random.result.clone()).collect();
        let applied: Vec<Option<u64>> = servers.iter().map(|random| random.applied).collect();
        let table = table_at(config(&text.iter().map(String::as_str).collect::<Vec<_>>()), &results, &applied);
        let places = |(index, random): (usize, &Random)| occupy(&table, index, random.connections as usize);
        let places = servers.iter().enumerate().flat_map(places).collect();
        (table, places)
    }

    fn usable(table: &RoutingTable, pool: PoolIndex, question: &Question<'_>) -> Vec<Candidate> {
        let candidates = table.pool(pool).candidates();
        candidates.filter_map(|server| verdict(table, pool, server, question).candidate(server)).collect()
    }

    fn is_full(table: &RoutingTable, pool: PoolIndex, question: &Question<'_>) -> bool {
        table.pool(pool).candidates().any(|server| verdict(table, pool, server, question).is_full())
    }

    fn check_decision(table: &RoutingTable, question: &Question<'_>, decision: Decision) {
        let usable = usable(table, decision.pool, question);
        let picked = usable.iter().find(|candidate| candidate.server == decision.server);
        let picked = picked.expect("an unusable server was picked");
        assert_eq!(decision.fresh, picked.sight.is_fresh());
        let is_better = |other: &Candidate| match (other.sight.is_fresh(), decision.fresh) {
            (true, false) => true,
            (false, true) => false,
            _ => balance::compare_load(picked, other).is_gt(),
        };
        assert!(!usable.iter().any(is_better), "{picked:?} of {usable:?}");
        let entry = table.server(decision.server);
        assert!(table.pool(decision.pool).members.contains(&decision.server));
        assert!(entry.max_connections == 0 || entry.load.connections() < entry.max_connections);
        assert!(!question.excluded.contains(&entry.id));
    }

    proptest! {
        #[test]
        fn a_decision_is_always_usable_and_never_the_worse_one(
            servers in prop::collection::vec(random_server(), 1..7),
            pool in prop::sample::select(vec!["read", "write"]),
            tie_break: u32,
            must_see in prop::option::of(0..4_u64),
        ) {
            let fresh = must_see.map(position);
            let (table, _places) = random_shop(&servers);
            let excluded = table.servers.iter().zip(&servers).filter(|(_, random)| random.excluded);
            let excluded: Vec<ServerId> = excluded.map(|(entry, _)| entry.id).collect();
            let question =
                Question { excluded: &excluded, tie_break, fresh: fresh.as_ref(), ..question(&table, pool) };
            let outcome = decide(&table, &question);
            let mut chain = table.chain(question.pool);
            match outcome {
                Ok(decision) => check_decision(&table, &question, decision),
                Err(Refusal::AllFull) => {
                    let full = chain.find(|&pool| is_full(&table, pool, &question));
                    prop_assert!(full.is_some_and(|pool| usable(&table, pool, &question).is_empty()));
                }
                Err(Refusal::NoServer) => prop_assert!(chain.all(|pool| usable(&table, pool, &question).is_empty())),
            }
            prop_assert_eq!(crate::route::explain(&table, &question).outcome, outcome);
        }
    }
}
