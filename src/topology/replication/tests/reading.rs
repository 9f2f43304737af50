//! Replicas that lag, stand still or went astray: who is read from, and what is reported.

use super::*;

#[test]
fn the_last_transactions_of_a_lost_primary_are_reported_where_they_are() {
    let mut set = Set::healthy();
    let parted = || [follows(2, "0-1-10,0-2-15"), writes("0-1-10,0-2-15"), follows(2, "0-1-12,0-2-15")];
    (0..5).for_each(|_| set.hear(parted()));
    set.expect_alarm("db3 has transactions that the primary does not have: 0-1-12");
}

#[test]
fn transactions_of_one_replica_alone_are_reported_when_they_stay() {
    let mut set = Set::healthy();
    let strayed = || [writes("0-1-20"), follows(1, "0-1-20,0-2-11"), follows(1, "0-1-20")];
    set.hear(strayed());
    set.hear(strayed());
    set.expect_no_alarm();
    (0..3).for_each(|_| set.hear(strayed()));
    set.expect_alarm("db2 has transactions that the primary does not have: 0-2-11");
    set.hear([writes("0-1-20,0-2-11"), follows(1, "0-1-20,0-2-11"), follows(1, "0-1-20")]);
    set.expect_no_alarm();
}

#[test]
fn what_a_replica_got_after_the_primary_was_asked_is_nobody_s_mistake() {
    let mut set = Set::healthy();
    for (primary, replica) in [("0-1-11", "0-1-12"), ("0-1-13", "0-1-14"), ("0-1-15", "0-1-16"), ("0-1-17", "0-1-18")] {
        set.hear([writes(primary), follows(1, replica), follows(1, replica)]);
    }
    set.expect_no_alarm();
}

#[test]
fn a_replica_whose_threads_do_not_run_is_not_read_from() {
    let check = |change: fn(&mut Channel), reason: &str| {
        let mut set = Set::healthy();
        set.hear_one(1, follows(1, "0-1-10").with(change));
        set.expect_fitness([Unfit, Fit]);
        assert_eq!(set.reason(1), reason);
        set.hear_one(1, follows(1, "0-1-10"));
        set.expect_fitness([Fit, Fit]);
    };
    check(|channel| channel.receiving = Receiving::Connecting, "does not reach its source");
    check(|channel| channel.receiving = Receiving::Stopped, "does not reach its source");
    check(|channel| channel.applying = false, "does not apply what it receives");
    check(
        |channel| (channel.applying, channel.error) = (false, "Duplicate entry '1'".to_owned()),
        "does not apply what it receives: Duplicate entry '1'",
    );
    check(|channel| (channel.applying, channel.receiving) = (false, Receiving::Stopped), "its replication is stopped");
}

#[test]
fn a_read_only_server_that_follows_nobody_is_not_read_from_while_there_is_a_primary() {
    let mut set = Set::healthy();
    set.hear_one(1, reads("0-1-10"));
    set.expect_fitness([Unfit, Fit]);
    assert_eq!(set.reason(1), "read-only, and replicates from nobody");
    set.refuse(0);
    set.expect_fitness([LastResort, Fit]);
}

#[test]
fn without_a_primary_those_that_lost_it_are_read_from() {
    let mut set = Set::healthy();
    set.refuse(0);
    let cut_off = |channel: &mut Channel| channel.receiving = Receiving::Connecting;
    (1..3).for_each(|place| set.hear_one(place, follows(1, "0-1-10").with(cut_off)));
    set.expect_fitness([LastResort, LastResort]);
    let table = set.table();
    let read = table.config.pool_by_name("read").expect("it is in the configuration");
    assert_eq!(table.pool(read).members.len(), 2);
}

#[test]
fn whoever_may_promote_says_which_replica_would_notice_late_that_its_primary_hangs() {
    let with_heartbeats = |settings: &str, seconds: [u64; 2]| {
        let cluster = format!("topology = \"replication\"\nmonitor = {{ user = \"m\", password = \"m\" }}\n{settings}");
        let mut set = Set::of(config_with(&cluster, &SERVERS));
        set.hear_one(0, writes("0-1-10"));
        for (place, seconds) in [1, 2].into_iter().zip(seconds) {
            let beats = |channel: &mut Channel| channel.heartbeat = Some(Duration::from_secs(seconds));
            set.hear_one(place, follows(1, "0-1-10").with(beats));
        }
        set
    };
    let promotes = "failover = \"manual\"\nadmin = { user = \"a\", password = \"a\" }\nreplication = { user = \"r\", password = \"r\" }";
    with_heartbeats("", [30, 0]).expect_no_alarm();
    with_heartbeats(promotes, [15, 1]).expect_no_alarm();
    with_heartbeats(promotes, [1, 30])
        .expect_alarm("db3 would notice late that its primary hangs (heartbeat period 30 s");
    with_heartbeats(promotes, [0, 1])
        .expect_alarm("db2 would notice late that its primary hangs (heartbeat period 0 s");
}

#[test]
fn a_replica_that_lags_comes_back_below_half() {
    let mut set = Set::with_lag("10s");
    let behind = |seconds, delay| {
        follows(1, "0-1-10").with(move |channel| {
            channel.behind = Some(Duration::from_secs(seconds));
            channel.delay = Duration::from_secs(delay);
        })
    };
    set.hear([writes("0-1-10"), behind(11, 0), behind(3_605, 3_600)]);
    set.expect_fitness([Unfit, Fit]);
    assert_eq!(set.reason(1), "further behind its primary than max_replica_lag (10.0 s)");
    let before = set.table();
    set.hear_one(1, behind(9, 0));
    assert!(set.beliefs.next_table(&before).is_none(), "another lag is no other table");
    assert_eq!(before.servers[1].progress.lag(), Some(Duration::from_secs(9)));
    set.hear_one(1, behind(5, 0));
    set.expect_fitness([Fit, Fit]);
}

#[test]
fn where_all_lag_reads_go_to_the_fallback() {
    let mut set = Set::with_lag("1s");
    let behind = || follows(1, "0-1-10").with(|channel| channel.behind = Some(Duration::from_secs(2)));
    set.hear([writes("0-1-10"), behind(), behind()]);
    let table = set.table();
    let read = table.config.pool_by_name("read").expect("it is in the configuration");
    assert!(table.pool(read).members.is_empty());
    set.expect([Primary, Replica, Replica]);
}

#[test]
fn a_link_that_is_silent_is_noticed_by_the_positions() {
    let mut set = Set::with_lag("5s");
    let primary = ["0-1-11", "0-1-12", "0-1-13", "0-1-14", "0-1-15", "0-1-16", "0-1-17", "0-1-18", "0-1-19"];
    set.hear([writes("0-1-10"), follows(1, "0-1-10"), follows(1, "0-1-10")]);
    for (round, history) in primary.into_iter().enumerate() {
        set.hear([writes(history), follows(1, "0-1-10"), follows(1, history)]);
        let expected = if round > 4 { Unfit } else { Fit };
        set.expect_fitness([expected, Fit]);
    }
}

#[test]
fn a_server_that_does_not_show_its_replication_is_used_with_an_alarm() {
    let mut set = Set::healthy();
    let words = "ERROR 1227: Access denied; you need (at least one of) the SLAVE MONITOR privilege(s)";
    set.hear_one(1, Says { sources: Sources::Denied(words.into()), ..reads("0-1-10") });
    set.hear_one(2, Says { sources: Sources::Silent, ..reads("0-1-10") });
    set.expect([Primary, Replica, Replica]);
    set.expect_fitness([Fit, Fit]);
    set.expect_alarm("db2 does not show its replication to the monitor's account (ERROR 1227");
}
