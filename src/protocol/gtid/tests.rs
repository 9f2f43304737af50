//! Positions as servers print them, and what must hold of any two.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const ONE: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const OTHER: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

fn mariadb(text: &str) -> GtidPosition {
    GtidPosition::parse_mariadb(text.as_bytes()).unwrap_or_else(|malformed| panic!("{text}: {malformed:?}"))
}

fn mysql(text: &str) -> GtidPosition {
    GtidPosition::parse_mysql(text.as_bytes()).unwrap_or_else(|malformed| panic!("{text}: {malformed:?}"))
}

/// `{1}` and `{2}` stand for two servers.
fn set(text: &str) -> GtidPosition {
    mysql(&text.replace("{1}", ONE).replace("{2}", OTHER))
}

#[test]
fn positions_of_mariadb_are_read_and_printed() {
    for text in ["", "0-1-4", "0-13406-26,1-2-9"] {
        assert_eq!(mariadb(text).to_string(), text);
    }
    assert_eq!(mariadb(" 7-2-9 ,\n0-1-4").to_string(), "0-1-4,7-2-9");
    assert_eq!(mariadb("0-1-4,0-2-9,0-3-7").to_string(), "0-2-9", "the state of a binary log names each server");
    assert_eq!(mariadb("4294967295-4294967295-18446744073709551615").to_string().len(), 42);
}

#[test]
fn sets_of_mysql_are_read_and_printed() {
    let check = |text: &str, expected: &str| {
        let expected = expected.replace("{1}", ONE).replace("{2}", OTHER);
        assert_eq!(set(text).to_string(), expected, "{text}");
    };
    check("", "");
    check("{1}:1-28", "{1}:1-28");
    check("{1}:7", "{1}:7");
    check("{2}:1-5:7:9-10,\n{1}:1", "{1}:1,{2}:1-5:7:9-10");
    check("{1} : 5 - 6 : 1-4 , {1}:8", "{1}:1-6:8");
    check("{1}:1-5:Backup:1-2:9:x_1:3,{1}:backup:3", "{1}:1-5,{1}:backup:1-3:9,{1}:x_1:3");
    let upper = mysql(&format!("{}:1", ONE.to_uppercase()));
    assert_eq!(upper.to_string(), format!("{ONE}:1"));
}

#[test]
fn what_is_no_position_is_refused() {
    for text in
        [",", "0-1", "0-1-2-3", "0-1-x", "0--1", "4294967296-1-1", "0-1-18446744073709551616", "0-1-4,", "+0-1-4"]
    {
        assert!(GtidPosition::parse_mariadb(text.as_bytes()).is_err(), "{text}");
    }
    for rest in
        ["", ":", ":0", ":5-4", ":1-", ":-1", ":1:tag", ":tag:other:1", ":9223372036854775807", ":a-b:1", ":1::2"]
    {
        let text = format!("{ONE}{rest}");
        assert!(GtidPosition::parse_mysql(text.as_bytes()).is_err(), "{text}");
    }
    let long_tag = format!("{ONE}:{}:1", "t".repeat(33));
    for text in ["1-5", "3e11fa47:1", &ONE.replace('-', "x"), &long_tag, &format!("{ONE}:1,")] {
        assert!(GtidPosition::parse_mysql(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "a text of the greatest length")]
fn a_position_is_bounded_in_every_way() {
    let domains = |count: u32| (0..count).map(|domain| format!("{domain}-1-1")).collect::<Vec<_>>().join(",");
    assert!(GtidPosition::parse_mariadb(domains(256).as_bytes()).is_ok());
    assert!(GtidPosition::parse_mariadb(domains(257).as_bytes()).is_err());
    let mut full = mariadb(&domains(256));
    let before = full.clone();
    assert_eq!(full.merge(&mariadb("255-1-9,999-1-1")), Err(Unmergeable));
    assert_eq!(full, before);

    let intervals = |count: u64| (0..count).map(|number| format!(":{}", 1 + 2 * number)).collect::<String>();
    assert!(GtidPosition::parse_mysql(format!("{ONE}{}", intervals(64)).as_bytes()).is_ok());
    assert!(GtidPosition::parse_mysql(format!("{ONE}{}", intervals(65)).as_bytes()).is_err());
    let source = |number: u32| format!("{number:08x}{}:1", &ONE[8..]);
    let sources = |count| (0..count).map(source).collect::<Vec<_>>().join(",");
    assert!(GtidPosition::parse_mysql(sources(512).as_bytes()).is_ok());
    assert!(GtidPosition::parse_mysql(sources(513).as_bytes()).is_err());
    assert_eq!(mysql(&sources(512)).merge(&mysql(&source(9999))), Err(Unmergeable));

    let blanks = " ".repeat(GTID_TEXT_BYTES_MAX) + "0-1-1";
    assert!(GtidPosition::parse_mariadb(blanks.as_bytes()).is_ok(), "blanks around a position are not part of it");
    let wide = "0-1-1,".repeat(GTID_TEXT_BYTES_MAX / 6 + 1) + "0-1-1";
    assert!(GtidPosition::parse_mariadb(wide.as_bytes()).is_err());
}

#[test]
fn a_position_covers_what_it_has_come_past() {
    let check = |mine: &GtidPosition, theirs: &GtidPosition, expected: bool| {
        assert_eq!(mine.covers(theirs), expected, "{mine} covers {theirs}");
    };
    check(&mariadb("0-1-5"), &mariadb("0-2-5"), true);
    check(&mariadb("0-1-5"), &mariadb("0-1-6"), false);
    check(&mariadb("0-1-5,1-1-1"), &mariadb("0-1-5"), true);
    check(&mariadb("0-1-9"), &mariadb("0-1-5,1-1-1"), false);
    check(&mariadb(""), &mariadb(""), true);
    check(&mariadb(""), &mariadb("0-1-1"), false);
    check(&set("{1}:1-10"), &set("{1}:3-4:9"), true);
    check(&set("{1}:1-10:12"), &set("{1}:10-12"), false);
    check(&set("{1}:3-10"), &set("{1}:2-3"), false);
    check(&set("{1}:1-10"), &set("{1}:1,{2}:1"), false);
    check(&set("{1}:1-10"), &set("{1}:tag:1"), false);
    check(&set("{1}:1-10"), &mariadb("0-1-1"), false);
    check(&mariadb("0-1-5"), &set(""), false);
}

#[test]
fn a_session_s_set_stays_small_and_only_grows_stricter() {
    let mut token = set("{1}:1");
    for number in 1..500 {
        token.merge(&set(&format!("{{1}}:{}", 1 + 3 * number))).expect("one source");
    }
    assert_eq!(token.to_string().split(':').count(), 65, "a source and 64 intervals");
    assert!(token.covers(&set("{1}:1:4:1000:1498")));
    assert!(!token.covers(&set("{1}:1497")), "the youngest gaps stay open");
    assert!(token.covers(&set("{1}:1-1000")));
}

#[test]
fn positions_of_two_families_do_not_mix() {
    assert_eq!(mariadb("0-1-1").merge(&set("{1}:1")), Err(Unmergeable));
    assert_eq!(set("{1}:1").merge(&mariadb("")), Err(Unmergeable));
}

#[test]
fn a_server_is_asked_to_wait_in_its_own_words() {
    let patience = Duration::from_millis(250);
    assert_eq!(mariadb("0-1-4").wait_statement(patience), "SELECT MASTER_GTID_WAIT('0-1-4', 0.250)");
    assert_eq!(
        set("{1}:1-5").wait_statement(patience),
        format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{ONE}:1-5', 0.250)")
    );
}

/// A set of MySQL by its members: `(source, number)`.
type Members = BTreeSet<(bool, u64)>;

fn of_members(members: &Members) -> GtidPosition {
    let texts = members.iter().map(|(other, number)| format!("{}:{number}", if *other { OTHER } else { ONE }));
    mysql(&texts.collect::<Vec<_>>().join(","))
}

fn members() -> impl Strategy<Value = Members> {
    prop::collection::btree_set((any::<bool>(), 1..60_u64), 0..60)
}

fn domains() -> impl Strategy<Value = Vec<(u32, u64)>> {
    prop::collection::vec((0..4_u32, 0..20_u64), 0..6)
}

fn of_domains(domains: &[(u32, u64)]) -> GtidPosition {
    let texts = domains.iter().map(|(domain, sequence)| format!("{domain}-1-{sequence}"));
    mariadb(&texts.collect::<Vec<_>>().join(","))
}

proptest! {
    /// Against sets that are kept in the plainest way.
    #[test]
    fn intervals_are_sets(one in members(), other in members()) {
        let (mut merged, theirs) = (of_members(&one), of_members(&other));
        prop_assert_eq!(merged.covers(&theirs), one.is_superset(&other));
        merged.merge(&theirs).expect("two sources");
        prop_assert_eq!(&merged, &of_members(&one.union(&other).copied().collect()));
        prop_assert_eq!(mysql(&merged.to_string()), merged);
    }

    #[test]
    fn domains_are_compared_one_by_one(one in domains(), other in domains()) {
        let last = |domains: &[(u32, u64)], domain| {
            domains.iter().filter(|(of, _)| *of == domain).map(|(_, sequence)| *sequence).max()
        };
        let (mut merged, theirs) = (of_domains(&one), of_domains(&other));
        let covers = other.iter().all(|(domain, sequence)| last(&one, *domain) >= Some(*sequence));
        prop_assert_eq!(merged.covers(&theirs), covers);
        merged.merge(&theirs).expect("few domains");
        prop_assert!(merged.covers(&theirs) && merged.covers(&of_domains(&one)));
        prop_assert_eq!(merged.to_string(), of_domains(&[one, other].concat()).to_string());
    }

    #[test]
    fn hostile_positions_are_read_to_their_end(bytes: Vec<u8>) {
        fuzz_gtid(&bytes);
    }

    #[test]
    fn almost_right_positions_are_read_to_their_end(text in "[-0-9a-f:, _x]{0,80}", uuids in 0..3_usize) {
        fuzz_gtid(text.as_bytes());
        fuzz_gtid(format!("{ONE}:{}", text.replacen('x', OTHER, uuids)).as_bytes());
    }
}

fn history(text: &str) -> GtidHistory {
    match text.contains("{1}") || text.contains("{2}") {
        true => GtidHistory::parse_mysql(text.replace("{1}", ONE).replace("{2}", OTHER).as_bytes()),
        false => GtidHistory::parse_mariadb(text.as_bytes(), b""),
    }
    .unwrap_or_else(|malformed| panic!("{text}: {malformed:?}"))
}

#[test]
fn histories_that_have_parted_are_told_apart() {
    let check = |mine: &str, theirs: &str, beyond: &str| {
        let rest = history(mine).beyond(&history(theirs)).map_or(String::new(), |rest| rest.to_string());
        assert_eq!(rest, beyond.replace("{1}", ONE).replace("{2}", OTHER), "{mine} beyond {theirs}");
        assert_eq!(history(theirs).covers(&history(mine)), beyond.is_empty());
    };
    // Server 1 died with two transactions that nobody has; server 2 wrote others with these numbers.
    check("0-1-103", "0-1-101,0-2-109", "0-1-103");
    check("0-1-101", "0-1-101,0-2-109", "");
    check("0-1-101,1-1-1", "0-1-101,0-2-109", "1-1-1");
    check("0-2-5,0-1-4,0-1-3", "0-1-4", "0-2-5");
    check("{1}:1-10", "{1}:1-12,{2}:1", "");
    check("{1}:1-10:15-20", "{1}:3-4:6:9-16", "{1}:1-2:5:7-8:17-20");
    check("{1}:1-10,{2}:1", "{1}:1-5:tag:1", "{1}:6-10,{2}:1");
    check("{1}:1", "0-1-1", "{1}:1");
}

#[test]
fn only_what_a_server_certainly_has_alone_is_astray() {
    #[track_caller]
    fn check(replica: &str, primary: &str, expected: Option<&str>) {
        let found = history(replica).astray_from(&history(primary), 3).map(|rest| rest.to_string());
        assert_eq!(found.as_deref(), expected, "{replica} and {primary}");
    }
    check("0-1-9", "0-1-9", None);
    // The last transactions of a primary that is gone; a row of the replica's own; one further than anybody.
    check("0-1-9", "0-1-7,0-2-12", Some("0-1-9"));
    check("0-1-9,0-3-8", "0-1-9", Some("0-3-8"));
    check("0-1-9,0-7-12", "0-1-9", Some("0-7-12"));
    check("1-7-1", "0-1-9", Some("1-7-1"));
    // A writer of long ago, whom a backup does not name.
    check("0-1-9,0-7-2", "0-1-9", None);
    check("{1}:1-10,{2}:1", "{1}:1-12", Some(&format!("{OTHER}:1")));
}

#[test]
fn what_was_applied_without_being_logged_is_part_of_a_history() {
    let history = GtidHistory::parse_mariadb(b"0-2-7", b"0-1-9,3-1-1").expect("two positions");
    assert_eq!(history.to_string(), "0-1-9,0-2-7,3-1-1");
    assert!(GtidHistory::parse_mariadb(b"0-1", b"").is_err());
}

proptest! {
    #[test]
    fn what_is_beyond_another_history_is_missing_there(
        mine in proptest::collection::vec(1u64..40, 1..20), theirs in proptest::collection::vec(1u64..40, 1..20),
    ) {
        let of = |numbers: &[u64]| {
            let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
            history(&format!("{{1}}:{}", numbers.join(":")))
        };
        let expected: BTreeSet<u64> = mine.iter().filter(|number| !theirs.contains(number)).copied().collect();
        let expected: Vec<u64> = expected.into_iter().collect();
        let rest = of(&mine).beyond(&of(&theirs));
        prop_assert_eq!(rest, (!expected.is_empty()).then(|| of(&expected)));
    }
}
