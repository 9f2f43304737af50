use std::time::Duration;

use super::super::state::State;
use super::*;
use crate::protocol::auth::Secret;
use crate::protocol::gtid::{GtidHistory, GtidPosition};

fn position(text: &str) -> GtidPosition {
    GtidPosition::parse_mariadb(text.as_bytes()).expect("a position")
}

fn account() -> Account {
    Account { user: "repl".to_owned(), password: Secret::new(*b"r") }
}

fn member(number: u16, sighting: Sighting) -> Member {
    Member { name: format!("db{number}"), host: format!("10.0.0.{number}"), port: 3306, priority: 100, sighting }
}

fn told(number: u16, read_only: bool, history: &str, link: Link) -> Member {
    let state = State {
        family: Family::MariaDb,
        server_id: u32::from(number),
        read_only,
        keeps_history: true,
        history: position(history),
        transactions: GtidHistory::parse_mariadb(b"", history.as_bytes()).expect("a history"),
        link,
    };
    member(number, Sighting::Told(Box::new(state)))
}

fn primary(number: u16, history: &str) -> Member {
    told(number, false, history, Link::None)
}

/// A replica of db1 that has received and applied so much.
fn replica(number: u16, received: &str, applied: &str) -> Member {
    let source = Source {
        host: "10.0.0.1".to_owned(),
        port: 3306,
        server_id: 1,
        receives: true,
        link_error: 0,
        pulse: "binlog.000001 4 7".to_owned(),
        heartbeat: Some(Duration::from_secs(1)),
        applier: Applier::Runs,
        uses_gtid: true,
        received: position(received),
        delay: 0,
    };
    told(number, true, applied, Link::One(source))
}

/// The same after its source went away.
fn orphan(number: u16, received: &str, applied: &str) -> Member {
    with_source(replica(number, received, applied), |source| source.receives = false)
}

fn with_state(mut member: Member, change: impl Fn(&mut State)) -> Member {
    let Sighting::Told(state) = &mut member.sighting else { panic!("it told") };
    change(state);
    member
}

fn with_source(member: Member, change: impl Fn(&mut Source)) -> Member {
    with_state(member, |state| {
        let Link::One(source) = &mut state.link else { panic!("it follows") };
        change(source);
    })
}

fn set() -> Vec<Member> {
    vec![primary(1, "0-1-9"), replica(2, "0-1-9", "0-1-9"), replica(3, "0-1-9", "0-1-8")]
}

fn orphans() -> Vec<Member> {
    vec![member(1, Sighting::Dead), orphan(2, "0-1-9", "0-1-8"), orphan(3, "0-1-9", "0-1-9")]
}

/// Nothing is planned, for this reason.
#[track_caller]
fn check_refused(members: &[Member], wanted: Option<usize>, reason: &str) {
    let Refused(said) = plan(members, wanted, &account()).expect_err("it is refused");
    assert!(said.contains(reason), "{said}");
}

#[track_caller]
fn check_chosen(members: &[Member], wanted: Option<usize>, expected: usize) {
    let plan = plan(members, wanted, &account()).unwrap_or_else(|Refused(why)| panic!("{why}"));
    assert_eq!((plan.old, plan.new), (0, expected));
}

/// Each step in a line: who, what, and the SQL.
fn lines(plan: &Plan, members: &[Member]) -> Vec<String> {
    let line = |step: &Step| {
        format!("{} {:?} {}", members[step.at].name, step.stage, step.action.shown(Family::MariaDb).join("; "))
    };
    plan.steps.iter().map(line).collect()
}

#[test]
fn a_switchover_opens_the_new_primary_only_when_it_has_what_the_closed_old_one_has() {
    let members = set();
    let plan = plan(&members, Some(2), &account()).expect("all is well");
    let change = "CHANGE MASTER TO MASTER_HOST = '10.0.0.3', MASTER_PORT = 3306";
    let expected = [
        format!("db1 Before {}", steps::OPEN_TRANSACTIONS),
        "db1 Before SET GLOBAL read_only = ON".to_owned(),
        "db1 Before KILL <each connection that may still write>".to_owned(),
        "db3 Before SELECT MASTER_GTID_WAIT('<all that the old primary has>', 1)".to_owned(),
        "db3 Before STOP SLAVE".to_owned(),
        "db3 Decisive SET GLOBAL read_only = OFF".to_owned(),
        "db3 After RESET SLAVE ALL".to_owned(),
        format!(
            "db2 After STOP SLAVE; {change}, MASTER_USE_GTID = slave_pos, MASTER_HEARTBEAT_PERIOD = 1; START SLAVE"
        ),
        "db1 After ".to_owned(),
        format!(
            "db1 After STOP SLAVE; SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_current_pos; {change}, \
             MASTER_USER = 'repl', MASTER_PASSWORD = <masked>, MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, \
             MASTER_HEARTBEAT_PERIOD = 1; START SLAVE"
        ),
    ];
    assert_eq!(lines(&plan, &members), expected);
    let undone: Vec<String> = plan.steps.iter().flat_map(|step| &step.undo).map(ToString::to_string).collect();
    assert_eq!(undone, ["SET GLOBAL read_only = OFF", "START SLAVE", "SET GLOBAL read_only = ON"]);
}

#[test]
fn a_server_that_is_told_to_follow_keeps_the_heartbeats_that_were_set_there_or_has_those_of_the_others() {
    let beats = |member: Member, milliseconds: Option<u64>| {
        with_source(member, |source| source.heartbeat = milliseconds.map(Duration::from_millis))
    };
    let check = |set: [Option<u64>; 2], expected: [&str; 2]| {
        let members = [
            primary(1, "0-1-9"),
            beats(replica(2, "0-1-9", "0-1-9"), set[0]),
            beats(replica(3, "0-1-9", "0-1-9"), set[1]),
        ];
        let plan = plan(&members, Some(1), &account()).expect("all is well");
        let lines = lines(&plan, &members).into_iter().filter_map(|line| {
            let (_, period) = line.split_once("HEARTBEAT_PERIOD = ")?;
            Some(format!("{} {}", &line[..3], period.trim_end_matches("; START SLAVE")))
        });
        assert_eq!(lines.collect::<Vec<_>>(), expected, "{set:?}");
    };
    check([Some(2500), Some(5000)], ["db3 5", "db1 2.5"]);
    check([Some(30_000), Some(15_000)], ["db3 15", "db1 15"]);
    check([Some(30_000), None], ["db3 1", "db1 1"]);
}

#[test]
fn a_failover_stops_all_from_receiving_before_it_looks_who_has_most() {
    let members = orphans();
    let plan = plan(&members, None, &account()).expect("the primary is gone");
    let expected = [
        "db2 Before STOP SLAVE IO_THREAD",
        "db3 Before STOP SLAVE IO_THREAD",
        "db3 Before SELECT MASTER_GTID_WAIT('<all that it has received>', 1)",
        "db3 Before STOP SLAVE",
        "db3 Decisive SET GLOBAL read_only = OFF",
        "db3 After RESET SLAVE ALL",
        "db2 After STOP SLAVE; CHANGE MASTER TO MASTER_HOST = '10.0.0.3', MASTER_PORT = 3306, \
         MASTER_USE_GTID = slave_pos, MASTER_HEARTBEAT_PERIOD = 1; START SLAVE",
    ];
    assert_eq!(lines(&plan, &members), expected);
}

#[test]
fn replicas_leave_the_old_primary_and_follow_the_new_one_all_at_once() {
    let together = |plan: &Plan| plan.steps.chunk_by(Step::goes_beside).map(<[Step]>::len).collect::<Vec<_>>();
    let orphans = [orphan(2, "0-1-9", "0-1-9"), orphan(3, "0-1-9", "0-1-9"), orphan(4, "0-1-9", "0-1-9")];
    let dead = member(1, Sighting::Dead);
    let members: Vec<Member> = std::iter::once(dead).chain(orphans).collect();
    // They stop; the new one has everything, follows nobody, takes writes, forgets; the others follow it.
    assert_eq!(together(&plan(&members, None, &account()).expect("the primary is gone")), [3, 1, 1, 1, 1, 2]);
    let of_mysql = |member: Member| with_state(member, |state| state.family = Family::MySql);
    let replicas = [replica(2, "0-1-9", "0-1-9"), replica(3, "0-1-9", "0-1-9")].map(of_mysql);
    let members: Vec<Member> = std::iter::once(hung()).chain(replicas).collect();
    // They call, nobody is answered, and so on.
    assert_eq!(together(&plan(&members, None, &account()).expect("it hangs")), [2, 1, 2, 1, 1, 1, 1, 1]);
}

fn hung() -> Member {
    member(1, Sighting::Silent("nothing within 2s".to_owned()))
}

#[test]
fn replicas_of_mysql_call_a_primary_that_hangs_before_anything_else() {
    let of_mysql = |member: Member| with_state(member, |state| state.family = Family::MySql);
    let replicas = [replica(2, "0-1-9", "0-1-9"), replica(3, "0-1-9", "0-1-9")].map(of_mysql);
    let [two, three] = replicas;
    let plan = plan(&[hung(), two, three], None, &account()).expect("whether it lives is found out on the way");
    let shown: Vec<_> =
        plan.steps[..5].iter().map(|step| (step.at, step.action.shown(Family::MySql).join("; "))).collect();
    let call = || "STOP REPLICA IO_THREAD; START REPLICA IO_THREAD".to_owned();
    let stop = || "STOP REPLICA IO_THREAD".to_owned();
    assert_eq!(shown, [(1, call()), (2, call()), (1, String::new()), (1, stop()), (2, stop())]);
    assert_eq!(plan.steps[2].action, Action::AwaitNoAnswerTo(vec![1, 2]));
    let undone: Vec<String> = plan.steps[..5].iter().flat_map(|step| &step.undo).map(ToString::to_string).collect();
    assert_eq!(undone, ["START REPLICA IO_THREAD"; 4]);
}

#[test]
fn replicas_of_mariadb_wait_for_the_heartbeat_of_a_primary_that_hangs() {
    let beats = |number, seconds: Option<u64>| {
        with_source(replica(number, "0-1-9", "0-1-9"), |source| source.heartbeat = seconds.map(Duration::from_secs))
    };
    let planned =
        plan(&[hung(), beats(2, Some(1)), beats(3, Some(3))], None, &account()).expect("they have heartbeats");
    assert_eq!(planned.steps[0].action, Action::AwaitSilence(vec![1, 2], Duration::from_secs(7)));
    assert_eq!(
        lines(&planned, &[hung(), beats(2, None), beats(3, None)])[1..3],
        ["db2 Before STOP SLAVE IO_THREAD", "db3 Before STOP SLAVE IO_THREAD"]
    );
    check_refused(
        &[hung(), beats(2, Some(1)), beats(3, Some(30))],
        None,
        "db3 is still connected to db1, and has no heartbeat",
    );
    check_refused(&[hung(), beats(2, None), beats(3, Some(1))], None, "db2 is still connected to db1");
    // Those who have given the connection up need not be asked.
    check_chosen(&[hung(), orphan(2, "0-1-9", "0-1-9"), beats(3, Some(1))], None, 1);
}

#[test]
fn a_primary_that_refuses_a_replica_has_answered_it() {
    let answers = |receives, error| {
        let member = with_source(replica(2, "", ""), |source| (source.receives, source.link_error) = (receives, error));
        member.source().expect("it follows").answers()
    };
    assert!(answers(true, 0) && answers(false, 1040) && answers(false, 3032));
    assert!(!answers(false, 0) && !answers(false, 2003) && !answers(false, 2013));
}

#[test]
fn nobody_is_promoted_with_half_of_the_picture() {
    let silent = |number| member(number, Sighting::Silent("nothing within 1s".to_owned()));
    let [one, two, three] = <[Member; 3]>::try_from(set()).expect("three");
    let set = |members: [&Member; 3]| members.map(Clone::clone).to_vec();
    check_refused(&set([&one, &two, &silent(3)]), Some(1), "db3 may do anything");
    check_refused(&set([&one, &silent(2), &silent(3)]), Some(1), "only 1 of 3 servers answer");
    check_refused(&set([&one, &two, &three]), Some(0), "db1 is the primary already");
    check_refused(&set([&one, &two, &three]), None, "db1 takes writes: there is nothing to repair");
    check_refused(&set([&one, &primary(2, "0-1-9"), &three]), Some(2), "db1 and db2 all take writes");
    let deaf = with_source(two.clone(), |source| source.receives = false);
    check_refused(&set([&one, &deaf, &three]), Some(1), "db2 does not receive from db1");
    let stopped = with_source(two.clone(), |source| source.applier = Applier::Stopped("Duplicate entry".to_owned()));
    check_refused(&set([&one, &stopped, &three]), Some(1), "stopped applying what it receives: Duplicate entry");
    let late = with_source(two.clone(), |source| source.delay = 30);
    check_refused(&set([&one, &late, &three]), Some(1), "db2 applies 30 seconds late");
    let by_file = with_source(two.clone(), |source| source.uses_gtid = false);
    check_refused(&set([&one, &by_file, &three]), Some(1), "db2 does not follow by GTID");
    let forgetful = with_state(two.clone(), |state| state.keeps_history = false);
    check_refused(&set([&one, &forgetful, &three]), Some(1), "db2 does not log what it applies");
    let stranger = with_source(two.clone(), |source| source.server_id = 99);
    check_refused(&set([&one, &stranger, &three]), Some(1), "not db1");
    let chained = with_state(one.clone(), |state| state.link = three.state().expect("told").link.clone());
    check_refused(&set([&chained, &two, &three]), Some(1), "takes writes and follows");
    let other = with_state(three.clone(), |state| state.family = Family::MySql);
    check_refused(&set([&one, &two, &other]), Some(1), "cannot follow each other");
    // A server that is surely dead is in nobody's way.
    check_chosen(&set([&one, &two, &member(3, Sighting::Dead)]), Some(1), 1);
}

#[test]
fn the_loss_of_a_primary_has_to_be_certain() {
    let [_, two, three] = <[Member; 3]>::try_from(orphans()).expect("three");
    let silent = |number| member(number, Sighting::Silent("nothing within 1s".to_owned()));
    // What cannot be reached from here may well be reached from elsewhere.
    let receiving = with_source(two.clone(), |source| source.receives = true);
    check_refused(
        &[member(1, Sighting::Dead), receiving, three.clone()],
        None,
        "db2 still receives from db1: it is alive",
    );
    check_chosen(&[silent(1), two.clone(), three.clone()], None, 2);
    let closed = told(1, true, "0-1-9", Link::None);
    check_refused(&[closed, two.clone(), three.clone()], None, "db1 answers and takes no writes");
    check_refused(&[member(1, Sighting::Dead), two.clone(), silent(3)], None, "only 1 of 3");
    let four = orphan(4, "0-1-9", "0-1-9");
    check_refused(
        &[member(1, Sighting::Dead), two.clone(), silent(3), four.clone(), orphan(5, "", "")],
        None,
        "db3 may do",
    );
    let elsewhere = with_source(three.clone(), |source| source.port = 3307);
    check_refused(&[member(1, Sighting::Dead), two.clone(), elsewhere], None, "do not agree on their primary");
    let alias = |member: &Member| with_source(member.clone(), |source| source.host = "primary".to_owned());
    check_refused(&[member(1, Sighting::Dead), alias(&two), alias(&three)], None, "the replicas follow primary:3306");
    let lone = told(2, true, "0-1-9", Link::None);
    check_refused(&[member(1, Sighting::Dead), lone, told(3, true, "0-1-9", Link::None)], None, "nobody to promote");
}

#[test]
fn the_best_has_received_most_then_applied_most_then_the_highest_priority() {
    let gone = || member(1, Sighting::Dead);
    let prefer = |member: Member, priority| Member { priority, ..member };
    let (behind, ahead) = (|number| orphan(number, "0-1-8", "0-1-8"), |number| orphan(number, "0-1-9", "0-1-9"));
    check_chosen(&[gone(), prefer(behind(2), 900), orphan(3, "0-1-9", "0-1-7")], None, 2);
    check_chosen(&[gone(), orphan(2, "0-1-9", "0-1-8"), ahead(3)], None, 2);
    check_chosen(&[gone(), ahead(2), ahead(3)], None, 1);
    check_chosen(&[gone(), ahead(2), prefer(ahead(3), 101)], None, 2);
    check_chosen(&[gone(), prefer(ahead(2), 0), ahead(3)], None, 2);
    check_refused(
        &[gone(), behind(2), prefer(ahead(3), 0)],
        None,
        "db3 has received most and cannot be promoted: its priority is 0",
    );
    let broken = with_source(ahead(3), |source| source.applier = Applier::Stopped("disk full".to_owned()));
    check_refused(&[gone(), behind(2), broken], None, "db3 has received most and cannot be promoted");
    // An operator may choose among equals, and no further.
    check_chosen(&[gone(), ahead(2), ahead(3)], Some(2), 2);
    check_refused(&[gone(), behind(2), ahead(3)], Some(1), "db2 lacks transactions that db3 has");
    check_refused(
        &[gone(), orphan(2, "0-1-9,1-2-3", ""), orphan(3, "0-1-9,1-2-2,2-3-1", "")],
        None,
        "each replica has",
    );
}

/// A replica of db2, which was promoted.
fn turned(number: u16) -> Member {
    with_source(replica(number, "0-2-12", "0-2-12"), |source| (source.host, source.server_id) = ("10.0.0.2".into(), 2))
}

#[track_caller]
fn check_rejoins(members: &[Member], expected: Option<(usize, &[&str])>) {
    let plan = rejoin(members, &account()).unwrap_or_else(|Refused(why)| panic!("{why}"));
    let shown = plan.as_ref().map(|plan| (plan.old, lines(plan, members)));
    let expected = expected.map(|(at, lines)| (at, lines.iter().map(ToString::to_string).collect::<Vec<_>>()));
    assert_eq!(shown, expected);
}

#[test]
fn who_comes_back_is_closed_and_compared_before_it_follows() {
    let new = || primary(2, "0-2-12");
    let follow = "db1 After STOP SLAVE; SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_current_pos; CHANGE MASTER TO \
                  MASTER_HOST = '10.0.0.2', MASTER_PORT = 3306, MASTER_USER = 'repl', MASTER_PASSWORD = <masked>, \
                  MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1; START SLAVE";
    let shut = "db1 After KILL <each connection of a client>; SET GLOBAL read_only = ON";
    let open = [primary(1, "0-1-9"), new(), turned(3)];
    check_rejoins(&open, Some((0, &[shut, "db1 After ", follow])));
    let closed = [told(1, true, "0-1-9", Link::None), new(), turned(3)];
    check_rejoins(&closed, Some((0, &["db1 After ", follow])));
    // One that was away with it follows it still.
    let away = [turned(1), new(), replica(3, "0-1-9", "0-1-9"), turned(4), turned(5)];
    check_rejoins(&away, None);
    let lost = [told(1, true, "0-1-9", Link::None), new(), turned(3), turned(4), replica(5, "0-1-9", "0-1-9")];
    check_rejoins(&lost[1..], None);
    check_rejoins(&[member(1, Sighting::Dead), new(), turned(3)], None);
    // An empty server is for somebody to fill, and a chain is left as it was made.
    check_rejoins(&[told(1, true, "", Link::None), new(), turned(3)], None);
    let chained =
        with_source(replica(4, "0-2-12", "0-2-12"), |source| (source.host, source.server_id) = ("10.0.0.3".into(), 3));
    check_rejoins(&[member(1, Sighting::Dead), new(), turned(3), chained, turned(5)], None);
}

#[test]
fn without_a_primary_that_most_follow_nobody_is_told_to_follow() {
    let both = [primary(1, "0-1-9"), primary(2, "0-2-12"), told(3, true, "0-1-9", Link::None)];
    let Refused(why) = rejoin(&both, &account()).expect_err("either could be it");
    assert!(why.contains("followed by most"), "{why}");
}
