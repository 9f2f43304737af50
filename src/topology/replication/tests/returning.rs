//! Primaries that return after another took over, and what is remembered of that.

use super::*;

/// db1 is gone, db2 has taken over with all that db1 had, and db1 is back as it was.
fn returned(had_by_old: &'static str) -> Set {
    let mut set = Set::healthy();
    set.refuse(0);
    set.hear_one(1, writes("0-1-10"));
    set.hear_one(2, follows(2, "0-1-10"));
    set.expect([Unknown, Primary, Replica]);
    set.hear_one(1, writes("0-1-10,0-2-12"));
    set.hear_one(0, writes(had_by_old));
    set.hear_one(0, writes(had_by_old));
    set
}

#[test]
fn a_primary_that_returns_is_not_used_before_it_was_seen_read_only() {
    let mut set = returned("0-1-10");
    set.expect([Deposed, Primary, Replica]);
    set.expect_alarm("db1 took writes before another server took over, and still does");
    // The new one goes away: then there is none.
    set.refuse(1);
    set.expect([Deposed, Unknown, Replica]);
    set.hear_one(0, reads("0-1-10"));
    set.expect([Replica, Unknown, Replica]);
    set.hear_one(0, writes("0-1-10"));
    set.expect([Primary, Unknown, Replica]);
}

#[test]
fn a_primary_that_returns_as_a_replica_is_one() {
    let mut set = returned("0-1-10");
    let history = "0-1-10,0-2-12";
    set.hear([follows(2, history).but_writable(), writes(history), follows(2, history)]);
    set.expect([Replica, Primary, Replica]);
    set.expect_alarm("db1 is a replica and takes writes");
}

#[test]
fn a_primary_that_returns_with_more_than_was_taken_over_leaves_none_certain() {
    let mut set = returned("0-1-11");
    set.expect([Deposed, Contested, Replica]);
    set.expect_alarm("db2 and db1 take writes, and it is not certain whose history counts");
    set.hear_one(0, reads("0-1-11"));
    set.expect([Replica, Primary, Replica]);
}

#[test]
fn what_an_old_primary_was_seen_to_have_counts_even_if_it_lost_it() {
    let mut set = Set::healthy();
    set.hear_one(0, writes("0-1-11"));
    set.refuse(0);
    set.hear_one(1, writes("0-1-10"));
    set.expect([Unknown, Primary, Replica]);
    set.hear_one(0, writes("0-1-10"));
    set.hear_one(0, writes("0-1-10"));
    set.expect([Deposed, Contested, Replica]);
}

#[test]
fn a_server_that_was_away_from_the_beginning_takes_nothing_from_the_primary() {
    let mut set = Set::new();
    set.refuse(0);
    set.hear_one(1, writes("0-1-10,0-2-12"));
    set.hear_one(2, follows(2, "0-1-10,0-2-12"));
    set.expect([Unknown, Primary, Replica]);
    set.hear_one(0, writes("0-1-10"));
    set.hear_one(0, writes("0-1-10"));
    set.expect([Deposed, Primary, Replica]);
}

#[test]
fn the_memory_of_a_failover_outlives_a_reload() {
    let mut set = returned("0-1-10");
    set.beliefs.apply(config(&SERVERS), set.now);
    set.expect([Deposed, Primary, Replica]);
}

#[test]
fn a_new_primary_that_is_heard_before_the_old_one_is_contested_by_nobody() {
    let mut set = Set::healthy();
    set.beliefs.hold_writes("shop");
    set.hear_one(1, writes("0-1-10"));
    set.expect([Yielding, Yielding, Replica]);
    set.expect_no_alarm();
    set.hear_one(0, reads("0-1-10"));
    set.expect([Replica, Yielding, Replica]);
    set.beliefs.let_write("shop", Some((set.ids[0], set.ids[1])));
    set.expect([Replica, Primary, Replica]);
    set.expect_no_alarm();
}

#[test]
fn a_change_back_before_the_old_primary_was_seen_to_follow_the_new_one_leaves_a_primary() {
    let mut set = Set::healthy();
    let [db1, db2] = [set.ids[0], set.ids[1]];
    set.beliefs.hold_writes("shop");
    set.hear_one(1, writes("0-1-10"));
    set.hear_one(0, reads("0-1-10"));
    set.beliefs.let_write("shop", Some((db1, db2)));
    set.expect([Replica, Primary, Replica]);
    set.beliefs.hold_writes("shop");
    set.hear_one(0, writes("0-1-10,0-2-12"));
    set.expect([Yielding, Yielding, Replica]);
    set.expect_no_alarm();
    set.hear_one(1, reads("0-1-10,0-2-12"));
    set.beliefs.let_write("shop", Some((db2, db1)));
    set.expect([Primary, Replica, Replica]);
    set.expect_no_alarm();
}

#[test]
fn two_that_take_writes_during_a_change_are_told_once_both_have_said_so() {
    let alarm = "db1 and db2 take writes, and it is not certain whose history counts";
    let mut set = Set::healthy();
    set.beliefs.hold_writes("shop");
    set.hear_one(1, writes("0-1-10,0-2-12"));
    let before = set.table();
    set.hear_one(0, writes("0-1-11"));
    assert!(set.beliefs.next_table(&before).is_some(), "that is news");
    set.expect([Contested, Contested, Replica]);
    set.expect_alarm(alarm);
    set.hear_one(1, writes("0-1-10,0-2-13"));
    set.expect([Contested, Contested, Replica]);
    set.hear_one(0, reads("0-1-11"));
    set.expect([Replica, Yielding, Replica]);
    // And at its end at the latest.
    set.hear_one(0, writes("0-1-11"));
    set.expect([Yielding, Yielding, Replica]);
    set.beliefs.let_write("shop", None);
    set.expect([Contested, Contested, Replica]);
    set.expect_alarm(alarm);
}

impl Set {
    /// The process ends, and the next one knows what it left.
    fn restarted(self) -> Set {
        let pasts = self.beliefs.pasts();
        let text = serde_json::to_string(&pasts).expect("they are text");
        let mut next = Set { now: self.now, ..Set::new() };
        next.beliefs.recall(&serde_json::from_str(&text).expect("it was just written"));
        next
    }
}

#[test]
fn the_memory_of_a_failover_outlives_the_process() {
    let mut set = returned("0-1-10").restarted();
    set.refuse(1);
    set.hear_one(2, follows(2, "0-1-10,0-2-12"));
    set.hear_one(0, writes("0-1-10"));
    set.expect([Deposed, Unknown, Replica]);
    // Read-only, and yet the one with the history that counts.
    set.hear_one(1, reads("0-1-10,0-2-12"));
    set.hear_one(1, reads("0-1-10,0-2-12"));
    set.expect([Deposed, Replica, Replica]);
    set.hear_one(0, reads("0-1-10"));
    set.hear_one(0, writes("0-1-10"));
    set.expect([Primary, Replica, Replica]);
}

#[test]
fn whoever_this_process_made_the_primary_stays_it_whatever_the_old_one_brings_back() {
    let replace = |set: &mut Set| {
        let change = (set.ids[0], set.ids[1]);
        set.beliefs.hold_writes("shop");
        set.beliefs.let_write("shop", Some(change));
    };
    let mut set = Set::healthy();
    replace(&mut set);
    set.refuse(0);
    set.hear_one(1, writes("0-1-10"));
    set.hear_one(2, follows(2, "0-1-10"));
    for mut set in [set.restarted(), {
        let mut set = Set::healthy();
        replace(&mut set);
        set.refuse(0);
        set
    }] {
        set.refuse(0);
        set.hear_one(1, writes("0-1-10,0-2-12"));
        set.hear_one(2, follows(2, "0-1-10,0-2-12"));
        (0..2).for_each(|_| set.hear_one(0, writes("0-1-11")));
        set.expect([Deposed, Primary, Replica]);
        // Whoever tried to close it failed, and it takes writes again.
        set.hear_one(0, reads("0-1-11"));
        set.hear_one(0, writes("0-1-11"));
        set.expect([Deposed, Primary, Replica]);
        // It has followed the new one: what comes then somebody else has decided.
        set.hear_one(0, follows(2, "0-1-11,0-2-12"));
        set.hear_one(0, writes("0-1-11,0-2-12"));
        set.expect([Contested, Contested, Replica]);
    }
}

#[test]
fn who_was_made_the_primary_again_between_two_processes_is_it() {
    let mut set = returned("0-1-10").restarted();
    let history = "0-1-20,0-2-12";
    set.hear([writes(history), follows(1, history), follows(1, history)]);
    set.expect([Primary, Replica, Replica]);
    // One process has seen it all, and knows that nobody has closed it since.
    let mut set = returned("0-1-10");
    set.hear([writes(history), follows(1, history), follows(1, history)]);
    set.expect([Deposed, Replica, Replica]);
}

#[test]
fn a_primary_that_was_replaced_between_two_processes_is_not_used_when_it_comes_back() {
    let mut set = Set::healthy().restarted();
    set.refuse(0);
    set.hear_one(1, writes("0-1-10,0-2-12"));
    set.hear_one(2, follows(2, "0-1-10,0-2-12"));
    set.expect([Unknown, Primary, Replica]);
    set.refuse(1);
    set.hear_one(0, writes("0-1-10"));
    set.hear_one(0, writes("0-1-10"));
    set.expect([Deposed, Unknown, Replica]);
}

#[test]
fn a_past_that_names_strangers_means_nothing() {
    let mut set = Set::new();
    let past =
        |writer: &str| Past { writer: writer.to_owned(), fenced: [("db1".to_owned(), None)].into(), replaced: None };
    set.beliefs.recall(&[("shop".to_owned(), past("db9")), ("elsewhere".to_owned(), past("db2"))].into());
    set.hear([writes("0-1-10"), follows(1, "0-1-10"), follows(1, "0-1-10")]);
    set.expect([Primary, Replica, Replica]);
    assert_eq!(set.beliefs.pasts()["shop"], Past { writer: "db1".to_owned(), ..Past::default() });
}
