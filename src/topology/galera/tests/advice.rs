use super::*;

#[track_caller]
fn check(entry: &ClusterEntry, alarms: &[&str], steps: &[&str]) {
    let begins = |lines: &[String], expected: &[&str]| {
        lines.len() == expected.len() && lines.iter().zip(expected).all(|(line, begin)| line.starts_with(begin))
    };
    assert!(begins(&entry.alarms, alarms), "{:#?}", entry.alarms);
    assert!(begins(&entry.advice, steps), "{:#?}", entry.advice);
}

#[test]
fn a_group_in_step_needs_nobody() {
    check(&Stage::whole(3).entry(), &[], &[]);
}

#[test]
fn stopped_nodes_are_started_one_at_a_time() {
    let mut stage = Stage::whole(3);
    stage.tick().refuses(3).tick().says(1, &synced(8, 2)).says(2, &synced(8, 2));
    stage.tick().refuses(2).tick().says(1, &synced(9, 1));
    check(
        &stage.entry(),
        &["n2 (10.0.0.2:3306) and n3 (10.0.0.3:3306) do not answer"],
        &[
            "the group goes on; when the work on n2 (10.0.0.2:3306) and n3 (10.0.0.3:3306) is done",
            "one at a time: n2 first",
        ],
    );
}

#[test]
fn of_stopped_nodes_the_last_is_bootstrapped() {
    let mut stage = Stage::whole(2);
    let last = View { committed: Some(123), ..synced(8, 1) };
    stage.tick().refuses(1).tick().says(2, &last).tick().refuses(2);
    check(
        &stage.entry(),
        &["n1 (10.0.0.1:3306) and n2 (10.0.0.2:3306) do not answer", "no node gets writes"],
        &[
            "n2 (10.0.0.2:3306) was the last to leave, at wsrep_last_committed 123. On its host look into grastate.dat",
            "without it, look into that file on the other hosts, too",
            "then start n1 (10.0.0.1:3306), one at a time",
        ],
    );
    let positions = "prints the position as \"Recovered position\". Last seen from here: n1 100 and n2 123";
    assert!(stage.entry().advice[1].ends_with(positions), "{}", stage.entry().advice[1]);
}

#[test]
fn the_furthest_node_that_is_left_is_bootstrapped_after_the_others_are_known_to_be_down() {
    let mut stage = Stage::whole(5);
    stage.tick().refuses(1).refuses(2).refuses(3);
    let left = |committed| View { committed: Some(committed), ..non_primary(&["10.0.0.4:3306", "10.0.0.5:3306"]) };
    stage.tick().says(4, &left(100)).says(5, &left(101));
    let gone = "n1 (10.0.0.1:3306), n2 (10.0.0.2:3306) and n3 (10.0.0.3:3306)";
    check(
        &stage.entry(),
        &[
            &format!("{gone} do not answer"),
            "n4 (10.0.0.4:3306) is non-Primary: it sees 2 members of its group",
            "n5 (10.0.0.5:3306) is non-Primary",
            "no node gets writes",
        ],
        &[
            &format!("make sure, on the hosts, that no mariadbd runs as {gone}"),
            "then, on n5 (10.0.0.5:3306) and on no other node: `SET GLOBAL wsrep_provider_options = 'pc.bootstrap=YES'`",
            &format!("then start {gone}, one at a time"),
        ],
    );
}

#[test]
fn a_lost_node_that_was_further_than_all_that_are_left_is_named() {
    let mut stage = Stage::whole(2);
    stage.tick().says(1, &View { committed: Some(105), ..synced(7, 2) }).tick().refuses(1);
    stage.tick().says(2, &non_primary(&["10.0.0.2:3306"]));
    let warning = "n1 (10.0.0.1:3306) was last seen at wsrep_last_committed 105, further than any that is left";
    let advice = stage.entry().advice;
    assert!(advice[1].starts_with(warning), "{advice:#?}");
}

#[test]
fn after_a_crash_of_all_they_are_started_together_and_waited_for() {
    let mut stage = Stage::whole(3);
    stage.tick().refuses(1).refuses(2).refuses(3);
    check(
        &stage.entry(),
        &["n1 (10.0.0.1:3306), n2 (10.0.0.2:3306) and n3 (10.0.0.3:3306) do not answer", "no node gets writes"],
        &[
            "make sure, on the hosts, that no mariadbd runs",
            "start n1 (10.0.0.1:3306), n2 (10.0.0.2:3306) and n3 (10.0.0.3:3306) all together",
            "if it does not, stop them all and find the most advanced one: on each host `mariadbd --wsrep-recover`",
            "on the host with the highest SEQNO, and on no other, set `safe_to_bootstrap: 1`",
            "then start the others, one at a time",
        ],
    );
}

#[test]
fn halves_without_a_majority_wait_or_one_is_chosen() {
    let mut stage = Stage::whole(2);
    stage.tick().says(1, &non_primary(&["10.0.0.1:3306"])).says(2, &non_primary(&["10.0.0.2:3306"]));
    check(
        &stage.entry(),
        &[
            "n1 (10.0.0.1:3306) is non-Primary: it sees only itself of its group",
            "n2 (10.0.0.2:3306) is non-Primary",
            "no node gets writes",
        ],
        &[
            "if the network between the nodes can be repaired soon: do that and wait",
            "else choose one part to go on",
            "then, on n1 (10.0.0.1:3306) and on no other node",
            "the nodes of the other part rejoin by IST",
        ],
    );
}

#[test]
fn of_two_halves_that_take_writes_one_is_given_up() {
    let mut stage = Stage::new(2);
    (0..3).for_each(|_| _ = stage.tick().says(1, &synced(8, 1)).says(2, &synced(9, 1)));
    let steps = [
        "decide which part is to live",
        "keep a copy of the data",
        "repair the network; then on each stopped node delete",
    ];
    assert!(stage.entry().advice.iter().zip(steps).all(|(line, begin)| line.starts_with(begin)));
}

#[test]
fn a_state_transfer_is_told_with_its_cost_and_its_end() {
    let mut stage = Stage::whole(3);
    stage.tick().refuses(3).tick().says(1, &synced(8, 2)).says(2, &synced(8, 2));
    stage.tick().says(1, &synced(9, 3)).says(2, &donor(9, 3));
    check(
        &stage.entry(),
        &[],
        &[
            "wait: n2 (10.0.0.2:3306) gives n3 (10.0.0.3:3306) its data. That costs",
            "to stop the transfer: first keep n3 (10.0.0.3:3306) away",
        ],
    );
    let stop = &stage.entry().advice[1];
    assert!(stop.contains("never mariadbd itself"), "{stop}");
}

#[test]
fn what_an_operator_has_set_is_named_with_the_way_back() {
    let mut stage = Stage::whole(3);
    stage.tick().says(2, &desynced(7, 3)).says(3, &View { queries: Queries::Rejected, ..synced(7, 3) });
    check(
        &stage.entry(),
        &["n2 (10.0.0.2:3306): wsrep_desync is ON", "n3 (10.0.0.3:3306): wsrep_reject_queries is set"],
        &[
            "when the work on n2 (10.0.0.2:3306) is done: `SET GLOBAL wsrep_desync = OFF`",
            "when the work on n3 (10.0.0.3:3306) is done: `SET GLOBAL wsrep_reject_queries = NONE`",
        ],
    );
}

#[test]
fn a_cut_off_node_is_not_to_be_bootstrapped() {
    let mut stage = Stage::whole(3);
    stage.tick().says(1, &synced(8, 2)).says(2, &synced(8, 2)).says(3, &non_primary(&["10.0.0.3:3306"]));
    check(
        &stage.entry(),
        &["n3 (10.0.0.3:3306) is non-Primary"],
        &["repair the network between n3 (10.0.0.3:3306) and the others"],
    );
    assert!(stage.entry().advice[0].contains("Do not set pc.bootstrap there"));
}

#[test]
fn nothing_changes_for_a_measure_that_changes_with_each_check() {
    let mut stage = Stage::whole(3);
    let before = stage.table();
    for committed in 200..210 {
        let busy = View { committed: Some(committed), replicated: committed, ..synced(7, 3) };
        stage.tick().says(1, &busy).says(2, &View { committed: Some(committed), ..synced(7, 3) });
    }
    assert!(stage.beliefs.next_table(&before).is_none());
}
