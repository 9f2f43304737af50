//! From what the servers say to what has to be done, or to the reason why nothing may be: a pure function.
//!
//! Rule: nobody is promoted with half of the picture. A server that does not answer, two servers that take writes, replicas
//! that have each what the others lack: all of these are for an operator to look at, and the reason says at what.

use std::time::Duration;

use super::state::{Applier, Link, Member, Sighting, Source, State};
use super::steps::{self, Action, Stage, Step, Whose};
use crate::config::Account;
use crate::protocol::version::Family;
use crate::topology::replication::HEARTBEAT_MAX;

/// A change of the primary, thought through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    /// Places among the members.
    pub(super) old: usize,
    pub(super) new: usize,
    pub(super) steps: Vec<Step>,
    /// What an operator should know of it.
    pub(super) notes: Vec<String>,
}

/// Why there is a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The old primary lives, and hands over.
    Switchover,
    /// It is gone.
    Failover,
    /// It was replaced, came back, and becomes a replica.
    Rejoin,
}

/// Why nothing may be done, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused(pub(super) String);

type Planned<T> = Result<T, Refused>;

fn refused<T>(why: impl Into<String>) -> Planned<T> {
    Err(Refused(why.into()))
}

/// What it takes to make `wanted` the primary, or, with nobody in particular wanted, the best after the loss of one.
pub(super) fn plan(members: &[Member], wanted: Option<usize>, replication: &Account) -> Planned<Plan> {
    check_picture(members)?;
    let writers: Vec<usize> = (0..members.len()).filter(|&at| takes_writes(&members[at])).collect();
    match (writers.as_slice(), wanted) {
        ([], wanted) => failover(members, wanted),
        ([old], Some(new)) if *old == new => refused(format!("{} is the primary already", members[new].name)),
        ([old], Some(new)) => switchover(members, *old, new, replication),
        ([old], None) => refused(format!("{} takes writes: there is nothing to repair", members[*old].name)),
        (several, _) => {
            let names: Vec<&str> = several.iter().map(|&at| members[at].name.as_str()).collect();
            let names = names.join(" and ");
            refused(format!("{names} all take writes: set read_only on all but the one whose data counts"))
        }
    }
}

fn takes_writes(member: &Member) -> bool {
    member.state().is_some_and(|state| !state.read_only)
}

/// What has to be known whatever is planned.
fn check_picture(members: &[Member]) -> Planned<()> {
    let told = members.iter().filter_map(Member::state);
    let count = told.clone().count();
    if count * 2 <= members.len() {
        return refused(format!("only {count} of {} servers answer: that is no majority", members.len()));
    }
    let mut families = told.map(|state| state.family);
    let first = families.next();
    match families.all(|family| Some(family) == first) {
        true => Ok(()),
        false => refused("MariaDB and MySQL cannot follow each other by GTIDs"),
    }
}

fn switchover(members: &[Member], old: usize, new: usize, replication: &Account) -> Planned<Plan> {
    if let Some(silent) = members.iter().find(|member| matches!(member.sighting, Sighting::Silent(_))) {
        return refused(unheard(silent));
    }
    let Some(primary) = members[old].state() else { return refused("the primary does not answer") };
    if !matches!(primary.link, Link::None) {
        return refused(format!("{} takes writes and follows another server", members[old].name));
    }
    let (state, source) = promotable(&members[new])?;
    if source.server_id != primary.server_id {
        let followed = format!("{}:{}", source.host, source.port);
        return refused(format!("{} follows {followed}, not {}", members[new].name, members[old].name));
    }
    if !source.receives {
        return refused(format!(
            "{} does not receive from {}: START REPLICA there first",
            members[new].name, members[old].name
        ));
    }
    let family = state.family;
    let mut steps = hand_over(family, old, new);
    let mut notes = Vec::new();
    turn_others(members, old, new, &mut steps, &mut notes);
    let (host, port) = (&members[new].host, members[new].port);
    let follows = Action::Run(steps::follow_as(family, host, port, heartbeat(members, old), replication));
    steps.push(after(old, "have nothing of its own", Action::CheckHistory(new)));
    steps.push(after(old, "follow the new primary", follows));
    Ok(Plan { kind: Kind::Switchover, old, new, steps, notes })
}

/// Up to a new primary that has all that the old one has.
fn hand_over(family: Family, old: usize, new: usize) -> Vec<Step> {
    let before = |at, what, action, undo| Step { at, what, action, stage: Stage::Before, undo };
    let mut steps = vec![
        before(old, "let open transactions end", Action::AwaitQuiet, Vec::new()),
        before(old, "take no more writes", Action::Run(steps::refuse_writes(family)), steps::take_writes(family)),
        before(old, "end who could write all the same", Action::EndSessions(Whose::Writers), Vec::new()),
        before(new, "have everything", Action::AwaitHistoryOf(old), Vec::new()),
    ];
    steps.extend(promote(family, new));
    steps
}

/// From a replica to the primary.
fn promote(family: Family, new: usize) -> Vec<Step> {
    vec![
        Step {
            at: new,
            what: "follow nobody",
            action: Action::Run(steps::stop_following(family)),
            stage: Stage::Before,
            undo: steps::start_following(family),
        },
        Step {
            at: new,
            what: "take writes",
            action: Action::Run(steps::take_writes(family)),
            stage: Stage::Decisive,
            undo: steps::refuse_writes(family),
        },
        after(new, "forget the old primary", Action::Run(steps::forget_source(family))),
    ]
}

fn after(at: usize, what: &'static str, action: Action) -> Step {
    Step { at, what, action, stage: Stage::After, undo: Vec::new() }
}

/// The replicas of the old primary that are not promoted.
fn turn_others(members: &[Member], old: usize, new: usize, steps: &mut Vec<Step>, notes: &mut Vec<String>) {
    for (at, member) in members.iter().enumerate().filter(|(at, _)| *at != old && *at != new) {
        match (&member.sighting, member.source()) {
            (Sighting::Told(state), Some(source)) if source.uses_gtid && follows(source, &members[old]) => {
                let (host, port) = (&members[new].host, members[new].port);
                let follow = steps::follow(state.family, host, port, heartbeat(members, at));
                steps.push(after(at, "follow the new primary", Action::Run(follow)));
            }
            (Sighting::Told(_), _) => {
                notes.push(format!(
                    "{} does not follow {} by GTID, and is left as it is",
                    member.name, members[old].name
                ));
            }
            (Sighting::Dead | Sighting::Silent(_), _) => {
                notes
                    .push(format!("{} does not answer, and has to be pointed at the new primary by hand", member.name));
            }
        }
    }
}

/// How long the primary may be silent before it sends the member there, which is told to follow it, a sign of life: as it was
/// set there, or at others, if a promotion can wait for that.
fn heartbeat(members: &[Member], at: usize) -> Duration {
    let was_set = |member: &Member| member.source()?.heartbeat.filter(|period| *period <= HEARTBEAT_MAX);
    was_set(&members[at]).or_else(|| members.iter().find_map(was_set)).unwrap_or(steps::HEARTBEAT)
}

/// By the number that it gives itself, or where that cannot be asked any more, by its address.
fn follows(source: &Source, primary: &Member) -> bool {
    match primary.state() {
        Some(state) => source.server_id == state.server_id,
        None => source.host.eq_ignore_ascii_case(&primary.host) && source.port == primary.port,
    }
}

fn unheard(member: &Member) -> String {
    match &member.sighting {
        Sighting::Silent(why) => format!("{} may do anything, as it does not answer: {why}", member.name),
        Sighting::Told(_) | Sighting::Dead => format!("{} is not needed", member.name),
    }
}

/// Whether a member can be the primary, apart from how far it is.
fn promotable(member: &Member) -> Planned<(&State, &Source)> {
    let name = &member.name;
    let Some(state) = member.state() else { return refused(format!("{name} does not answer")) };
    let Some(source) = member.source() else { return refused(format!("{name} is not the replica of one server")) };
    if !source.uses_gtid {
        return refused(format!("{name} does not follow by GTID: its place in another server's history is unknown"));
    }
    if !state.keeps_history {
        return refused(format!(
            "{name} does not log what it applies (log_bin and log_slave_updates): nobody could follow it"
        ));
    }
    if let Applier::Stopped(error) = &source.applier {
        return refused(format!(
            "{name} has stopped applying what it receives: {}",
            if error.is_empty() { "START REPLICA there first" } else { error }
        ));
    }
    if source.delay > 0 {
        return refused(format!("{name} applies {} seconds late on purpose", source.delay));
    }
    Ok((state, source))
}

/// What it takes to make a replica of a server that came back after its primary had changed; nothing, if there is none.
///
/// The primary is the one that takes writes and that most servers follow or are: what came back says the same of itself.
pub(super) fn rejoin(members: &[Member], replication: &Account) -> Planned<Option<Plan>> {
    let Some(new) = (0..members.len()).find(|&at| has_majority(members, at)) else {
        return refused("no server that takes writes is followed by most of the others");
    };
    let Some(old) = (0..members.len()).find(|&at| at != new && is_astray(members, at, new)) else { return Ok(None) };
    let (Some(state), primary) = (members[old].state(), &members[new]) else { return Ok(None) };
    let (family, source) = (state.family, members[old].source());
    let mut steps = Vec::new();
    if !state.read_only {
        steps.push(after(old, "end all sessions, and take no more writes", Action::ShutDoor));
    }
    steps.push(after(old, "have nothing of its own", Action::CheckHistory(new)));
    let heartbeat = heartbeat(members, old);
    let follow = match source {
        Some(_) => steps::follow(family, &primary.host, primary.port, heartbeat),
        None => steps::follow_as(family, &primary.host, primary.port, heartbeat, replication),
    };
    steps.push(after(old, "follow the new primary", Action::Run(follow)));
    Ok(Some(Plan { kind: Kind::Rejoin, old, new, steps, notes: Vec::new() }))
}

fn has_majority(members: &[Member], at: usize) -> bool {
    let followers = members.iter().filter_map(Member::source);
    let count = followers.filter(|source| source.receives && follows(source, &members[at])).count();
    takes_writes(&members[at]) && (count + 1) * 2 > members.len()
}

/// Whether a server has data, and follows nobody, or somebody who does not follow the primary.
fn is_astray(members: &[Member], at: usize, primary: usize) -> bool {
    let Some(state) = members[at].state() else { return false };
    match &state.link {
        Link::None => !state.history.is_empty(),
        Link::Several => false,
        Link::One(source) => {
            let is_in_line = |member: &Member| member.source().is_some_and(|source| follows(source, &members[primary]));
            let through = members.iter().find(|member| follows(source, member));
            !follows(source, &members[primary]) && through.is_some_and(|through| !is_in_line(through))
        }
    }
}

fn failover(members: &[Member], wanted: Option<usize>) -> Planned<Plan> {
    let old = lost_primary(members)?;
    let replicas: Vec<usize> = (0..members.len())
        .filter(|&at| at != old && members[at].source().is_some_and(|source| follows(source, &members[old])))
        .collect();
    let linked = still_linked(members, old, &replicas)?;
    let new = candidate(members, &replicas, wanted)?;
    let (state, _) = promotable(&members[new])?;
    let family = state.family;
    let stop = |&at: &usize| Step {
        at,
        what: "receive nothing more from the old primary",
        action: Action::Run(steps::stop_receiving(family)),
        stage: Stage::Before,
        undo: steps::start_receiving(family),
    };
    let mut steps = make_sure(members, old, &linked, new)?;
    steps.extend(replicas.iter().map(stop));
    let drain = Action::AwaitReceived;
    steps.push(Step { at: new, what: "have everything", action: drain, stage: Stage::Before, undo: Vec::new() });
    steps.extend(promote(family, new));
    let mut notes = vec![format!("{} must not take writes when it comes back", members[old].name)];
    turn_others(members, old, new, &mut steps, &mut notes);
    Ok(Plan { kind: Kind::Failover, old, new, steps, notes })
}

/// The replicas that are still connected to a lost primary. One that hangs leaves them so; where nobody listens at its
/// address, it must be alive elsewhere.
fn still_linked(members: &[Member], old: usize, replicas: &[usize]) -> Planned<Vec<usize>> {
    let receives = |at: &usize| members[*at].source().is_some_and(|source| source.receives);
    let linked: Vec<usize> = replicas.iter().copied().filter(receives).collect();
    match (&members[old].sighting, linked.first()) {
        (Sighting::Dead, Some(&replica)) => {
            let (old, replica) = (&members[old].name, &members[replica].name);
            refused(format!("{replica} still receives from {old}: it is alive, and only unreachable from here"))
        }
        _ => Ok(linked),
    }
}

/// A primary that hangs looks to its replicas like one that has nothing to send, until they look closer.
fn make_sure(members: &[Member], old: usize, linked: &[usize], new: usize) -> Planned<Vec<Step>> {
    match members[new].state().map(|state| state.family) {
        _ if linked.is_empty() => Ok(Vec::new()),
        Some(Family::MariaDb) => listen(members, old, linked, new).map(|step| vec![step]),
        Some(Family::MySql) | None => Ok(call_again(linked, new)),
    }
}

/// A replica of MariaDB tells of the heartbeats of its primary. It could not hang up on one that hangs and call again: its
/// thread waits for the answer, then, as long as `slave_net_timeout`, and cannot be stopped.
fn listen(members: &[Member], old: usize, linked: &[usize], new: usize) -> Planned<Step> {
    let mut longest = Duration::ZERO;
    for &at in linked {
        let (old, replica) = (&members[old].name, &members[at].name);
        match members[at].source().and_then(|source| source.heartbeat).filter(|period| *period <= HEARTBEAT_MAX) {
            Some(period) => longest = longest.max(period),
            None => {
                return refused(format!(
                    "{replica} is still connected to {old}, and has no heartbeat that would soon tell whether it lives: say \
                     CHANGE MASTER TO MASTER_HEARTBEAT_PERIOD = 1 there; without, slave_net_timeout has to pass"
                ));
            }
        }
    }
    let action = Action::AwaitSilence(linked.to_vec(), longest * 2 + BEAT_LATE_MAX);
    Ok(Step { at: new, what: "hear nothing of the old primary", action, stage: Stage::Before, undo: Vec::new() })
}

/// Each replica of MySQL hangs up and calls again: one that is answered proves that the primary lives.
fn call_again(linked: &[usize], new: usize) -> Vec<Step> {
    let family = Family::MySql;
    let call = |&at: &usize| Step {
        at,
        what: "hang up on the old primary, and call it again",
        action: Action::Run([steps::stop_receiving(family), steps::start_receiving(family)].concat()),
        stage: Stage::Before,
        undo: steps::start_receiving(family),
    };
    let mut calls: Vec<Step> = linked.iter().map(call).collect();
    let action = Action::AwaitNoAnswerTo(linked.to_vec());
    calls.push(Step { at: new, what: "see nobody answered", action, stage: Stage::Before, undo: Vec::new() });
    calls
}

/// Whom all replicas follow, and who does not answer.
fn lost_primary(members: &[Member]) -> Planned<usize> {
    let mut sources = members.iter().filter_map(Member::source);
    let Some(first) = sources.next() else { return refused("no server follows another: there is nobody to promote") };
    if let Some(other) = sources.find(|source| (&source.host, source.port) != (&first.host, first.port)) {
        let addresses = format!("{}:{} and {}:{}", first.host, first.port, other.host, other.port);
        return refused(format!("the replicas do not agree on their primary: {addresses}"));
    }
    let is_it = |member: &Member| follows(first, member);
    let Some(old) = members.iter().position(is_it) else {
        let (host, port) = (&first.host, first.port);
        return refused(format!(
            "the replicas follow {host}:{port}, which no server of this cluster has as its address"
        ));
    };
    if members[old].state().is_some() {
        let name = &members[old].name;
        return refused(format!("{name} answers and takes no writes: SET GLOBAL read_only = OFF there, or stop it"));
    }
    let is_silent = |at: usize| at != old && matches!(members[at].sighting, Sighting::Silent(_));
    match (0..members.len()).find(|&at| is_silent(at)) {
        Some(at) => refused(unheard(&members[at])),
        None => Ok(old),
    }
}

/// By most received, then most applied, then priority.
fn candidate(members: &[Member], replicas: &[usize], wanted: Option<usize>) -> Planned<usize> {
    let received = |at: usize| members[at].source().map(|source| &source.received);
    let has_all = |at: usize| {
        let others = replicas.iter().filter_map(|&other| received(other));
        received(at).is_some_and(|mine| others.clone().all(|theirs| mine.covers(theirs)))
    };
    let furthest: Vec<usize> = replicas.iter().copied().filter(|&at| has_all(at)).collect();
    if furthest.is_empty() {
        return refused(
            "each replica has transactions that another one lacks: an operator has to say which of them count",
        );
    }
    if let Some(wanted) = wanted {
        promotable(&members[wanted])?;
        return match furthest.contains(&wanted) {
            true => Ok(wanted),
            false => {
                refused(format!("{} lacks transactions that {} has", members[wanted].name, members[furthest[0]].name))
            }
        };
    }
    let mut able: Vec<usize> = furthest.iter().copied().filter(|&at| members[at].priority > 0).collect();
    able.retain(|&at| promotable(&members[at]).is_ok());
    let applied = |at: usize| members[at].state().map(|state| &state.history);
    let leads = |at: usize| match applied(at) {
        Some(mine) => furthest.iter().filter_map(|&other| applied(other)).all(|theirs| mine.covers(theirs)),
        None => false,
    };
    // Of equals the first in the configuration, so that every balancer comes to the same one.
    match able.iter().copied().rev().max_by_key(|&at| (leads(at), members[at].priority)) {
        Some(best) => Ok(best),
        None => {
            let first = &members[furthest[0]];
            let why = promotable(first).err().map_or("its priority is 0".to_owned(), |refused| refused.0);
            refused(format!("{} has received most and cannot be promoted: {why}", first.name))
        }
    }
}

/// How late a heartbeat may be on a busy machine.
const BEAT_LATE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
