//! What an operator should know of a Galera cluster, and the next step, in words. Nothing of it is ever run from here.

use super::departure::Departure;
use super::majority::Verdict;
use super::memory::Writing;
use super::situation::{Node, Picture, Situation};
use super::standing::Standing;
use super::view::{Group, View};
use crate::topology::ServerId;

/// What is wrong, a sentence each.
pub(super) fn alarms(picture: &Picture<'_>, writing: Writing, beside: &[ServerId]) -> Vec<String> {
    let mut alarms: Vec<String> = Vec::new();
    alarms.extend(absent(picture));
    alarms.extend(picture.here().filter_map(|(node, view, standing)| ailment(node, view, standing)));
    if let Verdict::Rivals(parts) = &picture.verdict {
        alarms.push(rivals(picture, parts, writing));
    }
    if writing == Writing::Nowhere && !matches!(picture.situation(), Situation::Unseen | Situation::Leaving) {
        alarms.push("no node gets writes".to_owned());
    }
    let also = picture.nodes.iter().filter(|node| beside.contains(&node.configured.id));
    alarms.extend(also.map(|node| {
        format!(
            "{} gets writes, too: from another balancer, or from clients that do not go through one; their transactions can fail at commit",
            node.label()
        )
    }));
    alarms
}

/// What to do, one step a line, in order. Empty when there is nothing to do.
pub(super) fn steps(picture: &Picture<'_>, writing: Writing) -> Vec<String> {
    let mut steps = match picture.situation() {
        Situation::Unseen | Situation::Whole | Situation::Joining => Vec::new(),
        Situation::Leaving => vec!["wait some seconds: the others will tell how it left".to_owned()],
        Situation::Stopped(_) | Situation::Missing(_) => start_stopped(picture),
        Situation::Crashed(_) => start_crashed(picture),
        Situation::CutOff(_) => reconnect(picture),
        Situation::OutOfReach(_) => repair_the_way(picture),
        Situation::NoQuorum { .. } => restore_majority(picture),
        Situation::SplitBrain => choose_a_part(picture),
        Situation::TwoPrimaries => give_up_a_part(picture, writing),
        Situation::AllStopped => bootstrap_last(picture),
        Situation::AllCrashed => bootstrap_most_advanced(picture),
        Situation::AllDown => bootstrap_unknown(picture),
    };
    steps.extend(transfer(picture));
    steps.extend(picture.here().filter_map(|(node, _, standing)| remedy(node, standing)));
    steps
}

fn absent(picture: &Picture<'_>) -> Option<String> {
    let joiners: Vec<_> = picture.joiners().iter().map(|node| node.configured.id).collect();
    let gone = picture.gone().map(|(node, ..)| node).chain(picture.missing());
    let away: Vec<String> = gone.filter(|node| !joiners.contains(&node.configured.id)).map(Node::label).collect();
    (!away.is_empty()).then(|| format!("{} {} not answer", listed(&away), if away.len() == 1 { "does" } else { "do" }))
}

/// What a node's own words say against it, where that is not part of a joining.
fn ailment(node: &Node<'_>, view: &View, standing: Standing) -> Option<String> {
    let label = node.label();
    if node.is_broken() {
        return Some(format!("{label} has found that its data differ from the group's"));
    }
    match standing {
        Standing::Synced | Standing::Donor | Standing::CatchingUp | Standing::Joining | Standing::Rival => None,
        Standing::NonPrimary => {
            Some(format!("{label} is non-Primary: it sees {} of its group, and refuses statements", members(view)))
        }
        Standing::Desynced
        | Standing::OtherView
        | Standing::Rejecting
        | Standing::Leaving
        | Standing::Disconnected
        | Standing::NotReady => Some(format!("{label}: {standing}")),
    }
}

fn members(view: &View) -> String {
    match view.group.size {
        1 => "only itself".to_owned(),
        size => format!("{size} members"),
    }
}

fn rivals(picture: &Picture<'_>, parts: &[Group], writing: Writing) -> String {
    let members = |part: &Group| {
        let labels: Vec<String> = nodes_of(picture, part).map(Node::label).collect();
        listed(&labels)
    };
    let parts: Vec<String> = parts.iter().map(members).collect();
    let named = picture.nodes.iter().find(|node| Writing::At(node.configured.id) == writing);
    let consequence = match named {
        Some(node) => format!("only the part of {} is used here", node.configured.name),
        None => "none is used here".to_owned(),
    };
    format!(
        "the group goes on in {} parts that know nothing of each other: {}; {consequence}",
        parts.len(),
        parts.join(" | ")
    )
}

fn nodes_of<'p, 'a>(picture: &'p Picture<'a>, part: &'p Group) -> impl Iterator<Item = &'p Node<'a>> {
    picture.here().filter(move |(_, view, _)| view.primary_group() == Some(part)).map(|(node, ..)| node)
}

fn start_stopped(picture: &Picture<'_>) -> Vec<String> {
    let away: Vec<&Node<'_>> = picture.gone().map(|(node, ..)| node).chain(picture.missing()).collect();
    let labels: Vec<String> = away.iter().map(|node| node.label()).collect();
    let mut steps = vec![format!(
        "the group goes on; when the work on {} is done, start it: `systemctl start mariadb`. It gets what it lacks from a donor: by IST if the donor still has that in its gcache (wsrep_local_cached_downto), else by SST, a full copy",
        listed(&labels)
    )];
    if let [first, rest @ ..] = away.as_slice()
        && !rest.is_empty()
    {
        steps.push(format!(
            "one at a time: {} first; when it is Synced, the next with `--wsrep-sst-donor={}`, so that no node that serves clients is the donor twice",
            first.configured.name, first.configured.name
        ));
    }
    steps
}

fn start_crashed(picture: &Picture<'_>) -> Vec<String> {
    if picture.gone().any(|(_, absence, _)| picture.still_counts(absence)) {
        return vec![
            "wait: the group holds all writes until it is sure that the node is lost (evs.suspect_timeout, 5 s by default), and then goes on without it".to_owned(),
        ];
    }
    let away: Vec<String> = picture.gone().map(|(node, ..)| node.label()).collect();
    vec![
        format!(
            "start {} again: `systemctl start mariadb`. It recovers its position and rejoins by itself; if its process still runs, it hangs or is cut off: look at the host and the network first",
            listed(&away)
        ),
        "do not bootstrap anything: the group has its majority".to_owned(),
    ]
}

fn reconnect(picture: &Picture<'_>) -> Vec<String> {
    let cut = picture.of_standing(Standing::NonPrimary).chain(picture.of_standing(Standing::OtherView));
    let cut: Vec<String> = cut.map(Node::label).collect();
    let apart: Vec<String> = picture.of_standing(Standing::Disconnected).map(Node::label).collect();
    let mut steps = Vec::new();
    if !cut.is_empty() {
        steps.push(format!(
            "repair the network between {} and the others (ports 4567, 4568, 4444); then only wait, it rejoins by itself. Do not set pc.bootstrap there: the group has its majority elsewhere, and two would take writes",
            listed(&cut)
        ));
    }
    if !apart.is_empty() {
        steps.push(format!(
            "{} runs outside of any group: it is being stopped, a state transfer to it has failed, or Galera is not configured there. Its error log says which; then restart it",
            listed(&apart)
        ));
    }
    steps
}

/// Only from here to there something is broken.
fn repair_the_way(picture: &Picture<'_>) -> Vec<String> {
    let away = picture.gone().filter(|(_, absence, _)| absence.departure == Departure::OutOfReach);
    let away: Vec<String> = away.map(|(node, ..)| node.label()).collect();
    vec![format!(
        "the group still has {} and goes on with it: only the way from here to it is broken. Look at the network and the firewall between; nothing is to be done to the group, and nothing to be started or bootstrapped",
        listed(&away)
    )]
}

fn restore_majority(picture: &Picture<'_>) -> Vec<String> {
    let away: Vec<String> = picture.gone().map(|(node, ..)| node).chain(picture.missing()).map(Node::label).collect();
    let mut steps = Vec::new();
    if !away.is_empty() {
        steps.push(format!(
            "make sure, on the hosts, that no mariadbd runs as {}: not to be reached from here is no proof. If one runs, only the network is broken: repair that and wait, the group goes on by itself",
            listed(&away)
        ));
    }
    steps.extend(ahead(picture));
    steps.extend(set_bootstrap(picture));
    if !away.is_empty() {
        steps.push(format!("then start {}, one at a time: `systemctl start mariadb`", listed(&away)));
    }
    steps
}

/// A node that is gone and was seen further than all that are left.
fn ahead(picture: &Picture<'_>) -> Option<String> {
    let (_, committed) = most_advanced(picture)?;
    let (node, _, view) = picture.gone().max_by_key(|(_, _, view)| view.committed)?;
    let further = view.committed.filter(|gone| *gone > committed)?;
    Some(format!(
        "{} was last seen at wsrep_last_committed {further}, further than any that is left: what it alone has committed is lost if the group goes on without it",
        node.label()
    ))
}

fn set_bootstrap(picture: &Picture<'_>) -> Option<String> {
    let (node, committed) = most_advanced(picture)?;
    Some(format!(
        "then, on {} and on no other node: `SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'`. It is the furthest of those that answer (wsrep_last_committed {committed}). Done on two nodes, it makes two groups that both take writes",
        node.label()
    ))
}

/// Of the nodes that wait for a majority, the one that is furthest; of several the first in the configuration.
fn most_advanced<'p, 'a>(picture: &'p Picture<'a>) -> Option<(&'p Node<'a>, u64)> {
    let waiting = picture.here().filter(|(_, view, _)| view.lacks_majority());
    let positions = waiting.map(|(node, view, _)| (node, view.committed.unwrap_or(0)));
    positions.reduce(|best, next| if next.1 > best.1 { next } else { best })
}

fn choose_a_part(picture: &Picture<'_>) -> Vec<String> {
    let mut steps = vec![
        "if the network between the nodes can be repaired soon: do that and wait; they become one group again by themselves, nothing is lost".to_owned(),
        "else choose one part to go on. Stop mariadbd on every node of the other part, or make sure that nobody ever sets pc.bootstrap there".to_owned(),
    ];
    steps.extend(set_bootstrap(picture));
    steps.push("the nodes of the other part rejoin by IST when the network is back; do not bootstrap them".to_owned());
    steps
}

fn give_up_a_part(picture: &Picture<'_>, writing: Writing) -> Vec<String> {
    let used = picture.nodes.iter().find(|node| Writing::At(node.configured.id) == writing);
    let hint =
        used.map(|node| format!(": that of {}, unless the other has what must not be lost", node.configured.name));
    vec![
        format!(
            "decide which part is to live{}. Stop mariadbd on every node of the other part now: each write there is one more that has to be carried over by hand",
            hint.unwrap_or_default()
        ),
        "keep a copy of the data and the binary logs of the part that was stopped: what was written there since the split is nowhere else".to_owned(),
        "repair the network; then on each stopped node delete grastate.dat and start it: it takes a full copy (SST) from the part that lives".to_owned(),
    ]
}

fn bootstrap_last(picture: &Picture<'_>) -> Vec<String> {
    let Some((last, _, view)) = picture.gone().max_by_key(|(_, absence, _)| absence.since) else { return Vec::new() };
    let others: Vec<String> = others(picture, last);
    let mut steps = vec![format!(
        "{} was the last to leave{}. On its host look into grastate.dat in the data directory: with `safe_to_bootstrap: 1`, run `galera_new_cluster` there, and on no other host",
        last.label(),
        at(view)
    )];
    steps.push(format!(
        "without it, look into that file on the other hosts, too: the one with `safe_to_bootstrap: 1` is the one to bootstrap, else the one with the highest `seqno`; where that is -1, `mariadbd --wsrep-recover` prints the position as \"Recovered position\"{}",
        positions(picture)
    ));
    steps.extend(start_others(&others));
    steps
}

fn bootstrap_most_advanced(picture: &Picture<'_>) -> Vec<String> {
    let all: Vec<String> = picture.nodes.iter().map(Node::label).collect();
    vec![
        "make sure, on the hosts, that no mariadbd runs: not to be reached from here is no proof. If one runs, repair the way from here to there first".to_owned(),
        format!(
            "start {} all together: `systemctl start mariadb` on each. Nodes that crashed remember their last group (gvwstate.dat, pc.recovery), and it goes on by itself when all of them are back: then only wait",
            listed(&all)
        ),
        format!(
            "if it does not, stop them all and find the most advanced one: on each host `mariadbd --wsrep-recover` prints \"Recovered position UUID:SEQNO\" (grastate.dat has seqno -1 after a crash){}",
            positions(picture)
        ),
        "on the host with the highest SEQNO, and on no other, set `safe_to_bootstrap: 1` in grastate.dat and run `galera_new_cluster`".to_owned(),
        "then start the others, one at a time: `systemctl start mariadb`".to_owned(),
    ]
}

fn bootstrap_unknown(picture: &Picture<'_>) -> Vec<String> {
    let all: Vec<String> = picture.nodes.iter().map(Node::label).collect();
    vec![
        format!("find out, on the hosts of {}, whether mariadbd runs: if it does, repair the way from here to there", listed(&all)),
        "if all are down, look into grastate.dat in each data directory: the one with `safe_to_bootstrap: 1` was stopped last; run `galera_new_cluster` there, and on no other host".to_owned(),
        "if none has it, all crashed: start all together and wait; if that does not help, `mariadbd --wsrep-recover` on each host prints its position: set `safe_to_bootstrap: 1` in grastate.dat on the highest, run `galera_new_cluster` there, and there only".to_owned(),
        "then start the others, one at a time: `systemctl start mariadb`".to_owned(),
    ]
}

fn others(picture: &Picture<'_>, one: &Node<'_>) -> Vec<String> {
    picture.nodes.iter().filter(|node| node.configured.id != one.configured.id).map(Node::label).collect()
}

fn start_others(others: &[String]) -> Option<String> {
    (!others.is_empty()).then(|| format!("then start {}, one at a time: `systemctl start mariadb`", listed(others)))
}

fn at(view: &View) -> String {
    view.committed.map(|committed| format!(", at wsrep_last_committed {committed}")).unwrap_or_default()
}

/// How far each node was when it was last heard.
fn positions(picture: &Picture<'_>) -> String {
    let position = |name: &str, view: &View| view.committed.map(|committed| format!("{name} {committed}"));
    let gone = picture.gone().filter_map(|(node, _, view)| position(node.configured.name, view));
    let seen: Vec<String> = gone.collect();
    if seen.is_empty() { String::new() } else { format!(". Last seen from here: {}", listed(&seen)) }
}

/// A state transfer that is under way: what it costs, and how to stop it.
fn transfer(picture: &Picture<'_>) -> Vec<String> {
    let donors: Vec<String> = picture.donors().map(Node::label).collect();
    let joiners: Vec<String> = picture.joiners().iter().map(|node| node.label()).collect();
    if donors.is_empty() {
        return joiners.first().map(|_| format!("wait: {} catches up", listed(&joiners))).into_iter().collect();
    }
    if joiners.is_empty() && picture.silent_members() == 0 {
        // The transfer is over, or an operator has just put the node in step again.
        return Vec::new();
    }
    let joiner = if joiners.is_empty() { "a node that is not configured here".to_owned() } else { listed(&joiners) };
    let donor = listed(&donors);
    vec![
        format!(
            "wait: {donor} gives {joiner} its data. That costs both hosts disk and network; with wsrep_sst_method=rsync {donor} holds its writes while files are copied, with mariabackup it goes on"
        ),
        format!(
            "to stop the transfer: first keep {joiner} away (stop mariadbd there and leave it stopped, or block its ports 4567, 4568 and 4444), so that it does not ask again; then end the processes of the transfer on {donor} (wsrep_sst_*, mariabackup, rsync, socat), never mariadbd itself: it goes back to Synced"
        ),
    ]
}

/// How to undo what an operator has done to a node.
fn remedy(node: &Node<'_>, standing: Standing) -> Option<String> {
    let label = node.label();
    if node.is_broken() {
        return Some(format!(
            "stop {label}, delete its grastate.dat and start it: it takes a full copy of the data (SST)"
        ));
    }
    match standing {
        Standing::Desynced => Some(format!("when the work on {label} is done: `SET GLOBAL wsrep_desync = OFF` there")),
        Standing::Rejecting => {
            Some(format!("when the work on {label} is done: `SET GLOBAL wsrep_reject_queries = NONE` there"))
        }
        Standing::Leaving => Some(format!(
            "when the work on {label} is done: `SET GLOBAL pxc_maint_mode = DISABLED` there; if it is being shut down, only wait"
        )),
        Standing::Synced
        | Standing::Donor
        | Standing::CatchingUp
        | Standing::Joining
        | Standing::OtherView
        | Standing::Rival
        | Standing::NonPrimary
        | Standing::Disconnected
        | Standing::NotReady => None,
    }
}

/// Some names as a list; of many the first ones.
fn listed(names: &[String]) -> String {
    let (shown, more) = names.split_at(names.len().min(NAMES_MAX));
    match (shown, more.len()) {
        (shown, 1..) => format!("{} and {} more", shown.join(", "), more.len()),
        ([first @ .., last], 0) if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        (shown, 0) => shown.join(", "),
    }
}

/// In one sentence.
const NAMES_MAX: usize = 8;
