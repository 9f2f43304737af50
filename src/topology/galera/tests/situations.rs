use super::*;

#[test]
fn one_node_stopped() {
    let mut stage = Stage::whole(3);
    stage.tick().says(3, &disconnected()).says(1, &synced(8, 2)).says(2, &synced(8, 2)).check(Some(1), &[2]);
    stage.tick().refuses(3).check_situation("one node stopped");
}

#[test]
fn a_node_that_was_stopped_unseen_is_told_from_a_lost_one_by_the_others() {
    let mut stage = Stage::whole(3);
    stage.tick().refuses(3).check_situation("a node has just gone");
    stage.tick().says(1, &synced(8, 2)).check_situation("one node stopped");
}

#[test]
fn a_node_that_is_being_stopped_shows_a_view_of_itself_alone() {
    let mut stage = Stage::whole(3);
    stage.tick().says(3, &non_primary(&["10.0.0.3:3306"])).tick().refuses(3);
    stage.tick().says(1, &synced(8, 2)).says(2, &synced(8, 2)).check_situation("one node stopped");
}

#[test]
fn a_lost_node_whose_place_another_has_taken_is_lost() {
    let mut stage = Stage::whole(2);
    stage.tick().refuses(2).tick().says(1, &synced(9, 2)).check_situation("a node has just gone");
    stage.tick().says(1, &synced(9, 2)).check_situation("one node crashed");
}

#[test]
fn two_nodes_stopped() {
    let mut stage = Stage::whole(3);
    stage.tick().refuses(3).tick().says(1, &synced(8, 2)).says(2, &synced(8, 2));
    stage.tick().refuses(2).tick().says(1, &synced(9, 1)).check_situation("two nodes stopped").check(Some(1), &[]);
}

#[test]
fn all_nodes_stopped() {
    let mut stage = Stage::whole(3);
    stage.tick().refuses(3).tick().says(1, &synced(8, 2)).says(2, &synced(8, 2));
    stage.tick().refuses(2).tick().says(1, &synced(9, 1)).tick().refuses(1);
    stage.check_situation("all nodes stopped").check(None, &[]);
}

#[test]
fn one_node_crashed() {
    let mut stage = Stage::whole(3);
    stage.tick().refuses(3).check_situation("a node has just gone");
    stage.tick().says(1, &synced(7, 3)).tick().says(1, &synced(7, 3)).check_situation("one node crashed");
    assert!(stage.entry().advice[0].starts_with("wait: the group holds all writes"));
    stage.tick().says(1, &synced(8, 2)).says(2, &synced(8, 2)).check_situation("one node crashed");
    assert!(stage.entry().advice[0].starts_with("start n3 (10.0.0.3:3306) again"));
}

#[test]
fn a_hung_node_is_a_lost_one() {
    let mut stage = Stage::whole(3);
    stage.tick().is_silent(3).tick().tick().says(1, &synced(7, 3)).check_situation("one node crashed");
}

#[test]
fn two_nodes_crashed_and_one_left_non_primary() {
    let mut stage = Stage::whole(3);
    stage.tick().refuses(1).refuses(2).check(Some(3), &[]);
    stage.tick().says(3, &non_primary(&["10.0.0.3:3306"])).check(None, &[]);
    stage.check_situation("two nodes crashed, one left non-Primary");
}

#[test]
fn all_nodes_crashed() {
    let mut stage = Stage::whole(3);
    stage.tick().refuses(1).refuses(2).refuses(3).check_situation("all nodes crashed");
}

#[test]
fn all_nodes_crashed_one_after_the_other() {
    let mut stage = Stage::whole(3);
    stage.tick().refuses(1).refuses(2).tick().says(3, &non_primary(&["10.0.0.3:3306"])).tick().refuses(3);
    stage.check_situation("all nodes crashed");
}

#[test]
fn the_last_node_after_a_crash_was_stopped() {
    let mut stage = Stage::whole(2);
    stage.tick().refuses(1).tick().tick().says(2, &synced(7, 2)).says(2, &synced(8, 1)).tick().refuses(2);
    stage.check_situation("all nodes stopped");
}

#[test]
fn split_brain() {
    let mut stage = Stage::whole(2);
    stage.tick().says(1, &non_primary(&["10.0.0.1:3306"])).says(2, &non_primary(&["10.0.0.2:3306"]));
    stage.check_situation("split brain: no part has a majority").check(None, &[]);
}

#[test]
fn split_brain_of_nodes_that_have_no_addresses_configured() {
    let mut stage = Stage::whole(2);
    stage.tick().says(1, &non_primary(&["AUTO"])).says(2, &non_primary(&["AUTO"]));
    stage.check_situation("split brain: no part has a majority");
}

#[test]
fn nodes_that_are_all_back_and_have_no_primary_component_are_one_part() {
    let mut stage = Stage::whole(2);
    let together = non_primary(&["10.0.0.1:3306", "10.0.0.2:3306"]);
    stage.all_say(&together).check_situation("no majority: two nodes non-Primary");
}

#[test]
fn a_node_cut_off_from_a_majority() {
    let mut stage = Stage::whole(3);
    stage.tick().says(1, &synced(8, 2)).says(2, &synced(8, 2)).says(3, &non_primary(&["10.0.0.3:3306"]));
    stage.check_situation("one node cut off").check(Some(1), &[2]);
}

#[test]
fn a_joiner_whose_port_is_closed_is_counted_by_the_group_and_fed_by_a_donor() {
    let mut stage = Stage::whole(3);
    stage.tick().refuses(3).tick().says(1, &synced(8, 2)).says(2, &synced(8, 2)).check_situation("one node stopped");
    stage.tick().says(1, &synced(9, 3)).says(2, &donor(9, 3)).check_situation("a node is joining").check(Some(1), &[]);
    stage.tick().says(2, &synced(9, 3)).says(3, &joining(7, 3)).check_situation("a node is joining");
    stage.all_say(&synced(9, 3)).all_say(&synced(9, 3)).check_situation("all nodes in the group");
}

#[test]
fn a_node_that_only_sqluice_does_not_reach_is_not_a_lost_one() {
    let after = |replicated| View { replicated, ..synced(7, 3) };
    let mut stage = Stage::whole(3);
    stage.tick().is_silent(3).tick().tick().says(1, &after(4)).check_situation("one node crashed");
    stage.tick().says(1, &after(5)).check_situation("one node out of reach from here").check(Some(1), &[2]);
    assert!(
        stage.entry().advice[0].starts_with("the group still has n3 (10.0.0.3:3306)"),
        "{:?}",
        stage.entry().advice
    );
    // Then it is lost indeed.
    stage.tick().says(1, &synced(8, 2)).says(2, &synced(8, 2));
    assert_ne!(stage.situation(), "one node out of reach from here");
    // Nobody writes.
    let mut stage = Stage::whole(3);
    stage.tick().is_silent(3).tick().tick().says(1, &synced(7, 3)).check_situation("one node crashed");
    stage.now += Duration::from_secs(60);
    stage.says(1, &synced(7, 3)).check_situation("one node out of reach from here");
}

#[test]
fn nothing_is_said_of_nodes_that_were_not_asked() {
    let mut stage = Stage::new(3);
    stage.check_situation("not asked yet");
    assert_eq!((stage.entry().alarms.len(), stage.entry().advice.len()), (0, 0));
    stage.refuses(1).refuses(2).check_situation("not asked yet");
    stage.refuses(3).check_situation("no node answers");
}

#[test]
fn a_node_that_was_never_reached() {
    let mut stage = Stage::new(3);
    stage.refuses(3).says(1, &synced(7, 2)).says(2, &synced(7, 2)).check_situation("one node never reached");
}
