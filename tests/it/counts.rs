//! What `sqluice status` tells of where the statements of split users ran: what their servers have heard.

use serde_json::Value;

use crate::harness::{eventually, fresh_name};
use crate::splitting::{Session, on_each_set};

/// All the counts of one kind together.
fn sum(counts: &Value) -> usize {
    let counts = counts.as_object().expect("counts by their reasons");
    counts.values().map(|count| usize::try_from(count.as_u64().expect("a count")).expect("a small one")).sum()
}

fn page(session: &Session<'_>) -> String {
    session.sqluice.command(&["status"]).expect_success("sqluice status")
}

#[test]
fn the_share_of_reads_at_replicas_is_that_of_a_clients_mix() {
    on_each_set(|session| {
        assert!(page(session).contains("no reads of split users yet"), "{}", page(session));
        let text = fresh_name("mix");
        let read = format!("SELECT COUNT(*), '{text}' FROM t");
        session.trio.await_replicas();
        eventually("a read goes to a replica", || {
            session.client.rows(&read);
            (session.trio.heard(&text).1 > 0).then_some(())
        });
        for (reads, statement) in [(5, "BEGIN"), (2, "COMMIT"), (0, "CREATE TEMPORARY TABLE mine (a INT)"), (1, "DO 1")]
        {
            (0..reads).for_each(|_| drop(session.client.rows(&read)));
            session.client.execute(statement);
        }

        let (primary, replicas) = session.heard(&text);
        assert!(primary >= 3 && replicas >= 6, "{primary} at the primary, {replicas} at replicas");
        let split = &session.sqluice.status()["split"];
        assert_eq!(split["reads_at_replicas"], replicas, "{split}");
        assert_eq!(sum(&split["reads_at_primary"]), primary, "{split}");
        assert_eq!(split["reads_at_primary"]["transaction"], 2, "{split}");
        assert_eq!(split["reads_at_primary"]["temporary table"], 1, "{split}");
        assert_eq!((sum(&split["other_statements"]), &split["reads_repeated"]), (4, &Value::from(0)), "{split}");

        let share = (replicas * 100) as f64 / (primary + replicas) as f64;
        let line = format!("{share:.0} % of the reads of split users ran at replicas; the others did not: ");
        let page = page(session);
        let told = page.lines().find_map(|told| told.strip_prefix(&*line)).unwrap_or_else(|| panic!("{line}: {page}"));
        for reason in ["transaction 2", "temporary table 1"] {
            assert!(told.split(", ").any(|told| told == reason), "{told}");
        }
    });
}

#[test]
fn a_statement_that_was_wrongly_taken_for_a_read_is_reported_and_not_tried_again() {
    on_each_set(|session| {
        let mut primary = session.trio.primary().direct();
        primary.execute(&format!("USE {}", session.database));
        primary.execute("CREATE TABLE log (n INT)");
        primary.execute(
            "CREATE FUNCTION f_write (a INT) RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO log VALUES (a); RETURN a; END",
        );
        session.assert_reads_leave();
        let view = fresh_name("v_late");
        // Of a view that somebody makes now, the user's sessions do not know yet what it does.
        primary.execute(&format!("CREATE VIEW {view} AS SELECT f_write(n) AS w FROM t"));
        session.trio.await_replicas();
        let text = fresh_name("taken_for_a_read");
        let counts = [(0, 0, 0), (1, 1, 0), (1, 2, 1)];
        for (place, (repeated, at_primary, refused)) in counts.into_iter().enumerate() {
            if place > 0 {
                assert_eq!(session.client.rows(&format!("SELECT w, '{text}' FROM {view}")).len(), 3);
            }
            let split = &session.sqluice.status()["split"];
            assert_eq!(split["reads_repeated"], repeated, "{split}");
            let known = split["reads_at_primary"].get("refused by a replica").and_then(Value::as_u64).unwrap_or(0);
            assert_eq!(known, refused, "{split}");
            assert_eq!(session.heard(&text), (at_primary, usize::from(place > 0)), "a replica is asked once");
        }
        assert!(page(session).contains("refused by a replica 1"), "{}", page(session));
        assert_eq!(session.client.value("SELECT COUNT(*) FROM log"), "6", "each was run once");
    });
}
