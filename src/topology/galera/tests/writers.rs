use super::*;

#[test]
fn one_node_has_the_writes_and_the_others_the_reads() {
    Stage::whole(3).check(Some(1), &[2, 3]).check_situation("all nodes in the group");
}

#[test]
fn nobody_writes_before_all_were_asked_and_it_is_known_where_others_write() {
    let mut stage = Stage::new(3);
    stage.says(1, &synced(7, 3)).says(2, &synced(7, 3)).check(None, &[1, 2]);
    stage.refuses(3).check(None, &[1, 2]);
    stage.tick().says(1, &synced(7, 3)).says(2, &synced(7, 3)).check(Some(1), &[2]);
}

#[test]
fn whoever_has_just_started_takes_the_node_that_is_written_to() {
    let mut stage = Stage::new(3);
    stage.all_say(&synced(7, 3)).tick();
    stage.says(1, &synced(7, 3)).says(2, &View { replicated: 4, ..synced(7, 3) }).says(3, &synced(7, 3));
    stage.check(Some(2), &[1, 3]);
}

#[test]
fn of_idle_nodes_the_one_that_has_run_longest_is_taken_and_of_equals_the_first() {
    let check = |uptimes: [u64; 3], writer| {
        let mut stage = Stage::new(3);
        for _ in 0..2 {
            stage.tick();
            for (index, seconds) in uptimes.into_iter().enumerate() {
                stage.says(index + 1, &View { uptime: Duration::from_secs(seconds), ..synced(7, 3) });
            }
        }
        stage.check(Some(writer), &(1..=3).filter(|node| *node != writer).collect::<Vec<_>>());
    };
    check([600, 605, 601], 1);
    check([20, 605, 7_000], 3);
    check([20, 605, 606], 2);
}

#[test]
fn a_spare_writes_only_when_it_is_the_last() {
    let mut stage = Stage::with("", &["weight = 0", "", ""]);
    stage.all_say(&synced(7, 3)).all_say(&synced(7, 3)).check(Some(2), &[1, 3]);
    stage.refuses(2).refuses(3).check(Some(1), &[]);
}

#[test]
fn writes_do_not_flip_back_when_the_old_node_rejoins() {
    let mut stage = Stage::whole(3);
    stage.tick().refuses(1).check(Some(2), &[3]);
    stage.tick().says(2, &synced(8, 2)).says(3, &synced(8, 2));
    stage.all_say(&synced(9, 3)).all_say(&synced(9, 3)).check(Some(2), &[1, 3]);
}

#[test]
fn writes_do_not_flip_back_to_a_donor() {
    let mut stage = Stage::whole(3);
    stage.tick().says(1, &donor(7, 3)).check(Some(2), &[3]);
    stage.all_say(&synced(7, 3)).check(Some(2), &[1, 3]);
}

#[test]
fn a_configured_primary_has_the_writes_whenever_it_is_in_step() {
    let mut stage = Stage::with("", &["role = \"replica\"", "role = \"primary\"", ""]);
    stage.all_say(&synced(7, 3)).check(Some(2), &[1, 3]);
    stage.refuses(2).check(Some(3), &[1]);
    stage.all_say(&synced(8, 3)).all_say(&synced(8, 3)).check(Some(2), &[1, 3]);
    stage.refuses(2).refuses(3).check(None, &[1]);
}

#[test]
fn a_read_only_node_never_writes() {
    let mut stage = Stage::whole(2);
    stage.tick().says(1, &View { writable: Writable::No, ..synced(7, 2) }).check(Some(2), &[1]);
    stage.says(2, &View { writable: Writable::No, ..synced(7, 2) }).check(None, &[1, 2]);
}

#[test]
fn a_donor_gets_reads_only_when_nobody_else_is_left() {
    let mut stage = Stage::whole(3);
    stage.tick().says(3, &donor(7, 3)).check(Some(1), &[2]);
    assert_eq!(&*stage.reason(3), "donor of a state transfer");
    stage.tick().refuses(2).check(Some(1), &[]);
    stage.tick().refuses(1).check(Some(3), &[]);
}

#[test]
fn a_donor_gets_reads_like_the_others_where_that_is_configured() {
    let mut stage = Stage::with("donor_reads = \"always\"", &["", "", ""]);
    stage.all_say(&synced(7, 3)).all_say(&synced(7, 3));
    stage.tick().says(1, &donor(7, 3)).says(3, &desynced(7, 3)).check(Some(2), &[1, 3]);
}

#[test]
fn the_last_two_donors_share_the_work() {
    let mut stage = Stage::whole(2);
    stage.tick().says(1, &desynced(7, 2)).check(Some(2), &[]);
    stage.says(2, &desynced(7, 2)).check(Some(2), &[1]);
}

#[test]
fn a_node_that_rejects_queries_gets_none() {
    let mut stage = Stage::whole(3);
    let rejecting = View { queries: Queries::Rejected, ..synced(7, 3) };
    stage.tick().says(1, &rejecting).says(2, &rejecting).check(Some(3), &[]);
    assert_eq!(&*stage.reason(1), "wsrep_reject_queries is set");
    stage.says(3, &rejecting).check(None, &[]);
}

#[test]
fn a_node_under_maintenance_gets_no_new_work_and_the_next_has_the_writes() {
    let mut stage = Stage::whole(3);
    let leaving = View { queries: Queries::Unwanted, ..synced(7, 3) };
    stage.tick().says(1, &leaving).check(Some(2), &[3]);
    assert_eq!(&*stage.reason(1), "pxc_maint_mode is set: it takes no new work");
    let table = stage.beliefs.table();
    let keeping: Vec<bool> = table.servers.iter().map(|server| server.keeps_sessions()).collect();
    assert_eq!(keeping, [false, true, true], "and who is there goes");
    stage.says(1, &synced(7, 3)).check(Some(2), &[1, 3]);
}

#[test]
fn two_halves_that_look_alike_are_two() {
    let half = |address: &str, number| {
        let mut view = synced(number, 1);
        view.group.members = vec![address.into()];
        view
    };
    // Both made to go on from the same view: number and size are the same.
    let mut stage = Stage::whole(2);
    stage.tick().says(1, &half("10.0.0.1:3306", 8)).check(Some(1), &[2]);
    stage.tick().says(2, &half("10.0.0.2:3306", 8)).tick().says(1, &half("10.0.0.1:3306", 8));
    stage.check(Some(1), &[]).check_situation("split brain: two parts take writes");
    // Nodes that do not tell their addresses.
    let mut stage = Stage::whole(2);
    stage.tick().says(1, &half("AUTO", 8)).tick().says(2, &half("AUTO", 8)).tick().says(1, &half("AUTO", 8));
    stage.check(Some(1), &[]).check_situation("split brain: two parts take writes");
}

#[test]
fn a_new_group_beside_the_one_with_the_writes_gets_none_of_them() {
    // Of three members only the writer is reached, and n2 was made to begin anew.
    let mut stage = Stage::new(2);
    stage.all_say(&synced(7, 3)).all_say(&synced(7, 3)).check(Some(1), &[2]);
    stage.tick().refuses(2).tick().says(1, &synced(8, 2)).check(Some(1), &[]);
    let mut stray = synced(1, 1);
    stray.group.history = "another".into();
    (0..3).for_each(|_| _ = stage.tick().says(1, &synced(8, 2)).says(2, &stray));
    stage.check(Some(1), &[]).check_situation("split brain: two parts take writes");
    // The same with the history that they shared.
    (0..3).for_each(|_| _ = stage.tick().says(1, &synced(8, 2)).says(2, &synced(9, 1)));
    stage.check(Some(1), &[]);
}

#[test]
fn balancers_that_write_to_different_halves_come_to_one() {
    // Nodes that do not tell their addresses have views that look alike.
    for addresses in [["10.0.0.1:3306", "10.0.0.2:3306"], ["AUTO", "AUTO"]] {
        let half = |node: usize, replicated| {
            let mut view = View { replicated, ..synced(8, 1) };
            view.group.members = vec![addresses[node - 1].into()];
            view
        };
        // This one saw only n2 when the halves were made to go on.
        let mut stage = Stage::whole(2);
        stage.tick().refuses(1).tick().says(2, &half(2, 0)).check(Some(2), &[]);
        stage.tick().says(1, &half(1, 0));
        for step in 1..=4 {
            stage.tick().says(1, &half(1, step)).says(2, &half(2, step)).check(Some(2), &[]);
        }
        for step in 5..=9 {
            stage.tick().says(1, &half(1, step)).says(2, &half(2, step));
        }
        stage.check(Some(1), &[]);
    }
}

#[test]
fn a_part_with_its_majority_has_the_writes_before_one_whose_members_are_not_all_reached() {
    let busy = |number, size, replicated| View { replicated, ..synced(number, size) };
    // One balancer writes to n1, whose group has another member that is not reached; the other one to n2, which was made to go
    // on alone.
    let mut one = Stage::whole(3);
    one.tick().refuses(2).refuses(3).tick().says(1, &synced(9, 2)).check(Some(1), &[]);
    let mut other = Stage::whole(3);
    other.tick().refuses(1).refuses(3).tick().says(2, &synced(8, 1)).check(Some(2), &[]);
    for step in 1..=6 {
        one.tick().says(1, &busy(9, 2, step)).says(2, &busy(8, 1, step));
        other.tick().says(1, &busy(9, 2, step)).says(2, &busy(8, 1, step)).check(Some(2), &[]);
    }
    one.check(Some(2), &[]);
}

#[test]
fn a_joiner_gets_nothing() {
    let mut stage = Stage::whole(3);
    stage.tick().says(2, &joining(5, 3)).check(Some(1), &[3]);
    let catching_up = View { state: LocalState::Joined, readiness: Readiness::NotReady, ..synced(7, 3) };
    stage.says(2, &catching_up).says(1, &catching_up).check(Some(3), &[]);
    stage.says(3, &catching_up).check(None, &[]);
}

#[test]
fn a_node_that_hung_and_goes_on_with_its_old_view_gets_nothing() {
    let mut stage = Stage::whole(3);
    stage.tick().is_silent(1).check(Some(2), &[3]);
    stage.tick().says(2, &synced(8, 2)).says(3, &synced(8, 2));
    stage.tick().says(1, &synced(7, 3)).tick().says(1, &synced(7, 3)).check(Some(2), &[3]);
    assert_eq!(&*stage.reason(1), "its view of the group is not the majority's: it hangs or is cut off");
    stage.check_situation("one node cut off");
}

#[test]
fn writes_leave_a_node_when_the_majority_has_gone_on_without_it() {
    let mut stage = Stage::whole(3);
    // n1 is cut off from the others, and has not noticed.
    stage.tick().says(2, &synced(8, 2)).check(Some(1), &[2, 3]);
    stage.says(3, &synced(8, 2)).check(Some(1), &[2, 3]);
    stage.says(1, &synced(7, 3)).check(Some(2), &[3]);
}

#[test]
fn a_node_that_was_asked_before_the_group_changed_keeps_the_writes() {
    // A sixth member, which is not configured, leaves.
    let mut stage = Stage::new(5);
    stage.all_say(&synced(7, 6)).all_say(&synced(7, 6)).tick();
    (2..=5).for_each(|node| _ = stage.says(node, &synced(8, 5)));
    stage.check(Some(1), &[2, 3, 4, 5]);
    stage.tick().says(1, &synced(8, 5)).check(Some(1), &[2, 3, 4, 5]);
}

#[test]
fn a_changed_group_is_asked_again_at_once() {
    let mut stage = Stage::whole(3);
    stage.beliefs.take_outdated();
    stage.tick().says(2, &synced(8, 2));
    let mut outdated = stage.beliefs.take_outdated();
    outdated.sort_unstable();
    assert_eq!(outdated, [stage.ids[0], stage.ids[2]]);
    stage.says(3, &synced(8, 2)).says(1, &synced(8, 2));
    assert!(stage.beliefs.take_outdated().is_empty());
}

#[test]
fn members_that_are_not_configured_count() {
    // Of five members two are configured, and the other of them has been cut off with nobody.
    let mut stage = Stage::whole(2);
    stage.all_say(&synced(8, 5)).check(Some(1), &[2]);
    stage.tick().says(2, &synced(9, 4)).check(Some(1), &[2]);
    stage.tick().says(1, &synced(8, 5)).says(1, &synced(8, 5)).check(Some(2), &[]);
}

#[test]
fn a_group_that_begins_its_count_anew_is_followed() {
    let mut stage = Stage::whole(3);
    stage.tick().refuses(1).refuses(2).refuses(3).check(None, &[]);
    stage.all_say(&synced(0, 3)).all_say(&synced(0, 3)).check(Some(1), &[2, 3]);
}

#[test]
fn of_two_parts_that_both_go_on_only_the_writer_s_is_used() {
    let mut stage = Stage::whole(2);
    stage.tick().says(1, &non_primary(&["10.0.0.1:3306"])).says(2, &non_primary(&["10.0.0.2:3306"])).check(None, &[]);
    stage.tick().says(1, &synced(8, 1)).check(Some(1), &[]);
    stage.tick().says(2, &synced(9, 1)).tick().says(1, &synced(8, 1)).says(2, &synced(9, 1));
    stage.check(Some(1), &[]).check_situation("split brain: two parts take writes");
}

#[test]
fn whoever_did_not_see_the_split_writes_to_no_part() {
    let mut stage = Stage::new(2);
    for _ in 0..3 {
        stage.tick().says(1, &synced(8, 1)).says(2, &synced(9, 1));
    }
    stage.check(None, &[]).check_situation("split brain: two parts take writes");
    let alarms = stage.entry().alarms;
    let expected = "the group goes on in 2 parts that know nothing of each other: n1 (10.0.0.1:3306) | n2 (10.0.0.2:3306); none is used here";
    assert!(alarms.iter().any(|alarm| alarm == expected), "{alarms:?}");
}

#[test]
fn two_balancers_that_chose_differently_come_to_one() {
    let mut stage = Stage::whole(3);
    stage.tick().refuses(1).tick().says(2, &synced(8, 2)).says(3, &synced(8, 2)).check(Some(2), &[3]);
    stage.all_say(&synced(9, 3)).all_say(&synced(9, 3)).check(Some(2), &[1, 3]);
    // Another balancer, which did not see that, writes to n1.
    for step in 1..=4 {
        let busy = View { replicated: step, ..synced(9, 3) };
        stage.tick().says(1, &busy).says(2, &busy).says(3, &synced(9, 3)).check(Some(2), &[1, 3]);
    }
    let busy = View { replicated: 5, ..synced(9, 3) };
    stage.tick().says(1, &busy).says(2, &busy).check(Some(1), &[2, 3]);
}

#[test]
fn whoever_chose_while_nobody_wrote_follows_the_first_writes_once() {
    let mut stage = Stage::whole(3);
    for step in 1..=5 {
        stage.check(Some(1), &[2, 3]).tick();
        stage.says(1, &synced(7, 3)).says(2, &View { replicated: step, ..synced(7, 3) }).says(3, &synced(7, 3));
    }
    stage.check(Some(2), &[1, 3]);
    for step in 1..=9 {
        stage
            .tick()
            .says(2, &View { replicated: 5, ..synced(7, 3) })
            .says(3, &View { replicated: step, ..synced(7, 3) });
    }
    stage.check(Some(2), &[1, 3]);
}

#[test]
fn who_writes_beside_the_balancers_is_told_and_not_followed_for_less_than_an_older_node() {
    let mut stage = Stage::whole(3);
    for step in 1..=9 {
        let busy = View { replicated: step, ..synced(7, 3) };
        stage.tick().says(1, &busy).says(2, &synced(7, 3)).says(3, &busy).check(Some(1), &[2, 3]);
    }
    let alarms = stage.entry().alarms;
    assert!(alarms[0].starts_with("n3 (10.0.0.3:3306) gets writes, too:"), "{alarms:?}");
    for _ in 0..20 {
        stage.tick().says(3, &View { replicated: 9, ..synced(7, 3) });
    }
    assert!(stage.entry().alarms.is_empty());
}

#[test]
fn a_refused_session_moves_the_writes_at_once() {
    let mut stage = Stage::whole(3);
    stage.tick();
    stage.beliefs.report(stage.ids[0], Failure::Refused, stage.now);
    stage.check(Some(2), &[3]);
}

#[test]
fn a_reload_keeps_the_writer() {
    let mut stage = Stage::whole(3);
    stage.tick().refuses(1).all_say(&synced(9, 3)).all_say(&synced(9, 3)).check(Some(2), &[1, 3]);
    let config = Arc::clone(stage.beliefs.config());
    stage.beliefs.apply(config, stage.now);
    stage.check(Some(2), &[1, 3]);
}
