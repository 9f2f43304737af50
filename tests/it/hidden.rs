//! Statements that hide what they do: views over stored functions, transactions that are prepared elsewhere, one-shot
//! settings. Each on real servers, with reads seen to reach the replicas.

use crate::harness::{Client, Shape, fresh_name, wire::capability as cap};
use crate::splitting::{Session, account, on_each_set};

/// What a session finds in its schema beside the table.
const CODE: [&str; 11] = [
    "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, v INT)",
    "CREATE FUNCTION f_set (a INT) RETURNS INT NO SQL BEGIN SET @u1 = a; RETURN a; END",
    "CREATE FUNCTION f_into (a INT) RETURNS INT READS SQL DATA BEGIN SELECT a INTO @u2; RETURN a; END",
    "CREATE FUNCTION f_write (a INT) RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO log (v) VALUES (a); RETURN a; END",
    "CREATE FUNCTION f_precise (a INT) RETURNS INT NO SQL \
     BEGIN SET SESSION div_precision_increment = a; RETURN a; END",
    "CREATE PROCEDURE p_precise (a INT) SET @@div_precision_increment = a",
    "CREATE VIEW v_plain AS SELECT id, n FROM t",
    "CREATE VIEW v_set AS SELECT f_set(9) AS w",
    "CREATE VIEW v_into AS SELECT f_into(5) AS w",
    "CREATE VIEW v_write AS SELECT id, f_write(id) AS w FROM t WHERE id < 3",
    "CREATE VIEW v_outer AS SELECT w FROM v_set",
];

/// Makes the schema's code, and has every framing of results go through the same steps.
fn in_each_framing(test: impl Fn(&mut Session<'_>)) {
    on_each_set(|session| {
        let mut primary = session.trio.primary().direct();
        primary.execute(&format!("USE {}", session.database));
        CODE.iter().for_each(|text| drop(primary.execute(text)));
        session.trio.await_replicas();
        for without in [0, cap::DEPRECATE_EOF] {
            let name = session.database.clone();
            let usual = account(&name).capabilities | cap::DEPRECATE_EOF;
            session.client =
                session.sqluice.login(&account(&name).capabilities(usual & !without)).expect("app logs in");
            test(session);
        }
    });
}

#[test]
fn what_a_view_sets_is_set_for_the_session() {
    in_each_framing(|session| {
        for (view, variable, value) in [("v_set", "@u1", "9"), ("v_outer", "@u1", "9"), ("v_into", "@u2", "5")] {
            session.assert_reads_leave();
            session.client.execute(&format!("SET {variable} = 1"));
            assert_eq!(session.client.value(&format!("SELECT w FROM {view}")), value);
            assert_eq!(session.client.value(&format!("SELECT {variable}")), value, "{view}");
            session.client.ask(Shape::Single, &[0x1F]).ok();
        }
    });
}

/// Where rows end with an EOF packet, MySQL tells of it with the next OK packet.
#[test]
fn what_a_function_sets_is_set_where_the_session_reads() {
    in_each_framing(|session| {
        session.assert_reads_leave();
        assert_eq!(session.client.value("SELECT f_precise(8)"), "8");
        assert_eq!(session.client.value("SELECT 1 / 7"), "0.14285714");
    });
}

/// Of `SET @@name`, MariaDB tells its clients nothing.
#[test]
fn what_a_procedure_or_a_prepared_text_sets_is_set_where_the_session_reads() {
    in_each_framing(|session| {
        session.assert_reads_leave();
        session.client.execute("CALL p_precise(8)");
        assert_eq!(session.client.value("SELECT 1 / 7"), "0.14285714");
        session.client.execute("PREPARE s FROM 'SET @@div_precision_increment = 6'");
        session.client.execute("EXECUTE s");
        assert_eq!(session.client.value("SELECT 1 / 7"), "0.142857");
        // MySQL tells of it, and of a change of which it does not tell what it is: there, reads stay at home.
        if session.trio.primary().flavour.is_mariadb() {
            session.assert_reads_leave();
        }
    });
}

#[test]
fn what_a_view_writes_is_written_at_the_primary_once() {
    in_each_framing(|session| {
        session.assert_reads_leave();
        let rows = |client: &mut Client| client.value("SELECT COUNT(*) FROM log").parse::<u32>().expect("a number");
        let before = rows(&mut session.client);
        for _ in 0..2 {
            assert_eq!(session.client.rows("SELECT id, w FROM v_write ORDER BY id").len(), 2);
        }
        assert_eq!(rows(&mut session.client), before + 4);
        session.trio.await_replicas();
        for replica in session.trio.replicas() {
            let count = replica.direct().value(&format!("SELECT COUNT(*) FROM {}.log", session.database));
            assert_eq!(count, (before + 4).to_string(), "a replica has what the primary wrote, and nothing of its own");
        }
    });
}

#[test]
fn a_view_that_only_reads_is_read_at_a_replica() {
    in_each_framing(|session| {
        session.assert_reads_leave();
        let text = fresh_name("plain_view");
        assert_eq!(session.client.rows(&format!("SELECT id, '{text}' FROM v_plain")).len(), 3);
        assert_eq!(session.trio.heard(&text), (0, 1));
    });
}

#[test]
fn a_view_that_was_just_made_is_known() {
    in_each_framing(|session| {
        session.assert_reads_leave();
        let name = fresh_name("v");
        session.client.execute(&format!("CREATE VIEW {name} AS SELECT f_set(7) AS w"));
        assert_eq!(session.client.value(&format!("SELECT w FROM {name}")), "7");
        assert_eq!(session.client.value("SELECT @u1"), "7");
    });
}

#[test]
fn what_a_session_may_write_is_not_what_its_replica_may() {
    on_each_set(|session| {
        session.assert_reads_leave();
        let name = if session.trio.primary().flavour.is_mariadb() { "tx_read_only" } else { "transaction_read_only" };
        assert_eq!(session.client.value(&format!("SELECT @@{name}")), "0");
        assert_eq!(session.client.value(&format!("SELECT @@session.{name}")), "0");
        let shown = session.client.rows(&format!("SHOW VARIABLES LIKE '{name}'"));
        assert_eq!(shown[0][1].as_deref(), Some("OFF"));
        session.client.execute("SET SESSION TRANSACTION READ ONLY");
        assert_eq!(session.client.value(&format!("SELECT @@{name}")), "1");
        session.client.execute("SET SESSION TRANSACTION READ WRITE");
        session.assert_reads_leave();
        session.client.execute("START TRANSACTION READ ONLY");
        assert_eq!(session.client.value("SELECT COUNT(*) FROM t"), "3");
        session.client.execute("COMMIT");
        session.client.execute("INSERT INTO t (n) VALUES (4)");
        assert_eq!(session.client.value("SELECT COUNT(*) FROM t"), "4");
    });
}

/// What the servers say of each text, directly and through sqluice: a value or the code of an error.
fn answers(client: &mut Client, texts: &[&str]) -> Vec<String> {
    let answer = |text: &&str| {
        let reply = client.query(text);
        match &reply.error {
            Some(error) => format!("error {}", error.code),
            None => reply.text_rows().first().map_or("ok".to_owned(), |row| row[0].clone().unwrap_or_default()),
        }
    };
    texts.iter().map(answer).collect()
}

/// The same texts in both ways, each in a schema of its own that has the same table.
#[track_caller]
fn assert_answered_as_directly(session: &mut Session<'_>, texts: &[&str]) {
    session.assert_reads_leave();
    let mut direct = session.trio.primary().direct();
    let database = fresh_name("direct");
    direct.execute(&format!("CREATE DATABASE {database}"));
    direct.execute(&format!("USE {database}"));
    direct.execute("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, n INT)");
    direct.execute(&format!("INSERT INTO t (n) SELECT n FROM {}.t", session.database));
    let expected = answers(&mut direct, texts);
    let heard = answers(&mut session.client, texts);
    let both: Vec<_> = texts.iter().zip(expected.iter().zip(&heard)).collect();
    assert!(expected == heard, "direct and through: {both:#?}");
}

#[test]
fn what_is_set_for_the_next_transaction_is_used_up_by_it() {
    on_each_set(|session| {
        assert_answered_as_directly(
            session,
            &[
                "SET TRANSACTION READ ONLY",
                "SELECT COUNT(*) FROM t",
                "INSERT INTO t (n) VALUES (6)",
                "SET TRANSACTION READ ONLY",
                "SELECT 1",
                "INSERT INTO t (n) VALUES (7)",
                "SELECT COUNT(*) FROM t",
                "INSERT INTO t (n) VALUES (8)",
                "SELECT COUNT(*) FROM t",
                "SET TRANSACTION READ ONLY",
                "BEGIN",
                "SELECT COUNT(*) FROM t",
                "INSERT INTO t (n) VALUES (9)",
                "COMMIT",
                "INSERT INTO t (n) VALUES (10)",
                "SELECT COUNT(*) FROM t",
            ],
        );
        session.assert_reads_leave();
    });
}

#[test]
fn a_prepared_transaction_is_in_the_way_of_reads_as_at_one_server() {
    on_each_set(|session| {
        let name = fresh_name("xa");
        let [start, end, prepare] = ["START", "END", "PREPARE"].map(|word| format!("XA {word} '{name}'"));
        let rollback = format!("XA ROLLBACK '{name}'");
        let read = "SELECT COUNT(*) FROM t";
        let write = "INSERT INTO t (n) VALUES (4)";
        assert_answered_as_directly(
            session,
            &[&start, write, read, &end, read, "SELECT 1", &prepare, "SELECT 1", read, "DO 1", read, &rollback, read],
        );
        session.assert_reads_leave();
    });
}

#[test]
fn a_lock_is_released_by_its_own_name() {
    on_each_set(|session| {
        session.assert_reads_leave();
        let name = fresh_name("lock");
        assert_eq!(session.client.value(&format!("SELECT GET_LOCK('{name}', 0)")), "1");
        session.client.execute(&format!("SELECT RELEASE_LOCK('another_{name}')"));
        session.assert_reads_stay();
        assert_eq!(session.client.value(&format!("SELECT RELEASE_LOCK('{name}')")), "1");
        session.assert_reads_leave();
    });
}

#[test]
fn a_read_only_transaction_never_reads_two_snapshots() {
    on_each_set(|session| {
        session.assert_reads_leave();
        let count = fresh_name("count");
        let run = |session: &mut Session<'_>| {
            session.client.execute("START TRANSACTION READ ONLY");
            let before = session.client.value(&format!("SELECT COUNT(*) + LENGTH('{count}') * 0 FROM t"));
            let write = format!("INSERT INTO {}.t (n) VALUES (7)", session.database);
            session.trio.primary().direct().execute(&write);
            (before, session.client.query("SELECT COUNT(*) INTO @rows FROM t").error.map(|error| error.code))
        };
        let (_, error) = run(session);
        assert_eq!((error, session.heard(&count)), (Some(1213), (0, 1)), "home would count a row more");
        // As after a deadlock, the transaction is over, and is run again.
        session.client.execute("COMMIT");
        let (before, error) = run(session);
        assert_eq!((error, session.heard(&count)), (None, (1, 1)), "and is at home from its beginning");
        assert_eq!(session.client.value("SELECT @rows"), before);
        session.client.execute("COMMIT");
        session.assert_reads_leave();
    });
}
