//! What servers tell of their sessions on the side, in status flags and session trackers: sqluice has its servers tell
//! more than clients ask for, and no client may notice.

use crate::compare::{Parameter, Recorder, same};
use crate::harness::wire::capability as cap;
use crate::harness::{
    ALL_FLAVOURS, Account, Client, Engine, Flavour, Server, Shape, Sqluice, Start, Trio, fresh_name, on_both_engines,
    split_trio,
};
use crate::splitting::{account, trio_database};

const BASE: u64 = cap::USUAL | cap::MULTI_STATEMENTS;

/// Clients that are told nothing, that are told in EOF packets as well, and that are told at the end of rows, too.
const MODES: [u64; 4] =
    [BASE, BASE | cap::SESSION_TRACK, BASE | cap::DEPRECATE_EOF, BASE | cap::DEPRECATE_EOF | cap::SESSION_TRACK];

/// The scenario directly and through sqluice must give the same bytes. Each begins with a read at a replica, so that
/// sqluice has told its servers all that it ever tells them.
#[track_caller]
fn same_on_trio(trio: &Trio, sqluice: &Sqluice, scenario: impl Fn(&mut Recorder)) {
    for capabilities in MODES {
        eprintln!("{:?}, capabilities {capabilities:#x}", trio.primary().flavour);
        same(trio.primary(), sqluice, capabilities, &|session: &mut Recorder| {
            session.query("SELECT 'a read'");
            scenario(session);
        });
    }
}

fn sqluice(engine: Engine, trio: &Trio) -> Sqluice {
    Start::new(engine, split_trio(trio)).run_with_servers_up(3)
}

/// Runs the scenario directly and through sqluice in each of these modes, on every flavour's set and both engines.
pub(crate) fn same_everywhere(scenario: impl Fn(Flavour, &mut Recorder)) {
    for flavour in ALL_FLAVOURS {
        let trio = Trio::shared(flavour);
        on_both_engines(|engine| {
            same_on_trio(trio, &sqluice(engine, trio), |session| scenario(flavour, session));
        });
    }
}

fn say(session: &mut Recorder, texts: &[&str]) {
    for text in texts {
        session.query(text);
    }
}

#[test]
fn ends_of_results_have_no_flag_that_the_client_did_not_ask_for() {
    same_everywhere(|flavour, session| {
        say(
            session,
            &[
                "CREATE TABLE t (n INT)",
                "CREATE FUNCTION f_write (a INT) RETURNS INT MODIFIES SQL DATA \
                 BEGIN INSERT INTO t VALUES (a); RETURN a; END",
                "CREATE PROCEDURE p () BEGIN SELECT 1; SET @a = 2; SELECT @a; END",
                // The first use of stored code reads it, and MariaDB says so by itself.
                "SELECT f_write(1)",
                "CALL p()",
                "SELECT f_write(10)",
                "SELECT n, @a := n FROM t",
                "CALL p()",
            ],
        );
        let statement = session.prepare("SELECT ?, f_write(11)");
        session.execute(statement, 0, &[Parameter::Number(1)]);
        session.execute(statement, 0, &[Parameter::Number(2)]);
        if flavour.is_mariadb() {
            say(
                session,
                &["SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR SELECT \"n\" FROM t", "INSERT INTO t VALUES (1)"],
            );
        }
        // A view of another schema, of which MariaDB says by itself that something changed.
        session.query("SELECT * FROM mysql.user LIMIT 0");
    });
}

#[test]
fn variables_that_servers_tell_of_by_themselves_are_told_as_they_are() {
    same_everywhere(|_, session| {
        say(
            session,
            &[
                "SET @@autocommit = 1",
                "SET foreign_key_checks = 0, unique_checks = OFF",
                "SET sql_auto_is_null = 1",
                "SET sql_mode = ''",
                "SET time_zone = '+01:00'",
                "SET SESSION sort_buffer_size = 300000",
                "SET NAMES latin1",
                "CREATE PROCEDURE p_manual () SET autocommit = 0",
                "CALL p_manual()",
                "SET autocommit = ON",
            ],
        );
    });
}

#[test]
fn transactions_are_told_as_servers_tell_them() {
    same_everywhere(|_, session| {
        say(
            session,
            &[
                "CREATE TABLE t (n INT)",
                "CREATE TABLE other (n INT) ENGINE = MyISAM",
                "BEGIN",
                "INSERT INTO other VALUES (1)",
                "COMMIT",
                "START TRANSACTION",
                "COMMIT AND CHAIN",
                "INSERT INTO t VALUES (1)",
                "COMMIT AND CHAIN",
                "ROLLBACK",
                "START TRANSACTION READ ONLY",
                "SELECT * FROM t",
                "COMMIT",
                "INSERT INTO t VALUES (1)",
            ],
        );
    });
}

/// MySQL tells of the schema that an execution switched to and back, where ends of rows have no room for that, in the OK of
/// another command.
#[test]
fn the_schema_of_an_execution_is_told_when_a_server_would_tell_it() {
    same_everywhere(|_, session| {
        let statement = session.prepare("SELECT 1 / 0");
        session.execute(statement, 0, &[]);
        session.query("USE test");
        session.execute(statement, 0, &[]);
        say(session, &["SELECT 1; BEGIN", "COMMIT"]);
        // What the first asks, home is asked when the session has another schema.
        for question in ["SHOW WARNINGS; SELECT 2", "SELECT 2; SELECT FOUND_ROWS()"] {
            let statement = session.prepare("SELECT 1 / 0");
            session.execute(statement, 0, &[]);
            say(session, &["USE information_schema", question, "SELECT 1; BEGIN", "COMMIT", "USE test"]);
        }
    });
}

#[test]
fn what_the_client_asks_for_it_gets_and_nothing_else() {
    same_everywhere(|flavour, session| {
        say(
            session,
            &[
                "CREATE TABLE t (n INT)",
                "SELECT @@session_track_system_variables, @@session_track_schema, @@session_track_state_change",
                "SET session_track_system_variables = 'time_zone,sql_mode'",
                "SET sql_mode = ''",
                "SET @@autocommit = 1",
                "INSERT INTO t VALUES (1)",
                "SELECT @@session_track_system_variables",
                "SET SESSION SESSION_TRACK_STATE_CHANGE = ON",
                "SET @a = 1",
                "INSERT INTO t VALUES (1)",
                "SHOW VARIABLES LIKE 'session_track%'",
            ],
        );
        // To MariaDB's clients that know no trackers, ends of results say for ever that such a change was not told yet.
        if session.client.capabilities & cap::SESSION_TRACK != 0 {
            say(
                session,
                &[
                    "SET session_track_transaction_info = 'CHARACTERISTICS'",
                    "START TRANSACTION READ ONLY",
                    "SELECT * FROM t",
                    "COMMIT",
                ],
            );
        }
        if flavour.is_mariadb() {
            say(
                session,
                &["SET STATEMENT sql_mode = 'ANSI_QUOTES' FOR SELECT \"n\" FROM t", "INSERT INTO t VALUES (1)"],
            );
        } else {
            // The numbers of transactions differ; that they are told does not.
            say(session, &["SET session_track_gtids = OWN_GTID", "SET session_track_gtids = OFF"]);
        }
    });
}

#[test]
fn what_servers_tell_all_their_clients_is_told() {
    for flavour in [Flavour::MariaDb10, Flavour::MySql97] {
        let trio = Trio::start(flavour);
        for server in &trio.servers {
            server.root("SET GLOBAL session_track_state_change = ON, GLOBAL session_track_schema = OFF");
            // See above.
            if !flavour.is_mariadb() {
                server.root("SET GLOBAL session_track_transaction_info = 'STATE'");
            }
            server.root("SET GLOBAL session_track_system_variables = 'sql_mode,sort_buffer_size'");
        }
        on_both_engines(|engine| {
            let sqluice = sqluice(engine, &trio);
            same_on_trio(&trio, &sqluice, |session| {
                say(
                    session,
                    &[
                        "CREATE TABLE t (n INT)",
                        "USE test",
                        "SET @a = 1",
                        "SET sql_mode = ''",
                        "SET time_zone = '+01:00'",
                        "SET sort_buffer_size = 300000",
                        "BEGIN",
                        "COMMIT",
                        "SELECT @a",
                    ],
                );
            });
        });
    }
}

#[test]
fn positions_that_a_mysql_server_tells_all_its_clients_are_told() {
    let trio = Trio::start(Flavour::MySql97);
    trio.primary().root("SET GLOBAL session_track_gtids = 'OWN_GTID'");
    on_both_engines(|engine| {
        let sqluice = sqluice(engine, &trio);
        let database = trio.primary().fresh_database();
        let account = Account::new("app", "app").database(&database).capabilities(MODES[3]);
        let mut client = sqluice.login(&account).unwrap_or_else(|error| panic!("app logs in: {error}"));
        let reply = client.query("CREATE TABLE t (n INT)").ok();
        let uuid = trio.primary().direct().value("SELECT @@server_uuid");
        let packet = String::from_utf8_lossy(&reply.packets[0]);
        assert!(packet.contains(&uuid), "{packet:?} tells of a transaction of {uuid}");
        // In a transaction MySQL has no ear for it, nor for what sqluice would give back before.
        let mut direct = Client::login(trio.primary().address, &account).unwrap_or_else(|error| panic!("{error}"));
        for text in
            ["BEGIN", "SET @@session_track_gtids = 'OFF'", "INSERT INTO t VALUES (1)", "SELECT n FROM t", "ROLLBACK"]
        {
            let [expected, found] = [&mut direct, &mut client].map(|client| client.query(text).packets);
            assert_eq!(found, expected, "{text}");
            assert!(!text.starts_with("SET") || found[0].starts_with(b"\xFF\xE6\x06"), "refused with 1766: {found:?}");
        }
    });
}

/// The one thing that clients may see otherwise. MariaDB flags EOF packets when something changed that it would tell of if they
/// had room, and sqluice has home tell more than the client asked for: behind stored code, and where the client has its
/// server track transactions without knowing trackers, it cannot know whose change the flag stands for.
#[test]
fn behind_stored_code_nothing_differs_but_the_flag_in_eof_packets() {
    let trio = Trio::shared(Flavour::MariaDb10);
    let database = trio.primary().fresh_database();
    trio.primary().direct().execute(&format!(
        "USE {database}; CREATE FUNCTION f_set (a INT) RETURNS INT NO SQL BEGIN SET @u1 = a; RETURN a; END; \
         CREATE FUNCTION f_zone () RETURNS INT NO SQL BEGIN SET time_zone = '+01:00'; RETURN 1; END"
    ));
    trio.await_replicas();
    let in_other_schema = format!("SELECT {database}.f_set(5), @u1");
    let texts = [
        "SELECT 'a read'",
        "USE test",
        &in_other_schema,
        &format!("USE {database}"),
        "SELECT f_zone()",
        "SET session_track_transaction_info = 'CHARACTERISTICS'",
        "SELECT 1; SELECT 2, 3",
        "SELECT @u1, @@time_zone",
    ];
    on_both_engines(|engine| {
        let sqluice = sqluice(engine, trio);
        for capabilities in [BASE, BASE | cap::SESSION_TRACK] {
            let account = Account::new("app", "app").database(&database).capabilities(capabilities);
            let [mut direct, mut through] = [trio.primary().address, sqluice.address]
                .map(|address| Client::login(address, &account).unwrap_or_else(|error| panic!("app logs in: {error}")));
            // To one that knows trackers, what the flag stood for is told with that, or before.
            let knows_trackers = capabilities != BASE;
            for text in texts.into_iter().filter(|text| !knows_trackers || !text.contains("session_track")) {
                let packets =
                    |client: &mut Client| client.query(text).ok().packets.into_iter().map(without_flag).collect();
                let (expected, found): (Vec<_>, Vec<_>) = (packets(&mut direct), packets(&mut through));
                assert_eq!(found, expected, "{text}, capabilities {capabilities:#x}");
            }
        }
    });
}

/// An EOF packet without the flag of state changes.
fn without_flag(mut packet: Vec<u8>) -> Vec<u8> {
    if let [0xFE, _, _, _, high] = &mut packet[..] {
        *high &= !0x40;
    }
    packet
}

/// Where rows end with EOF packets, and behind errors, a position comes with a later OK or never; of several results, with one
/// that is not the last. Replicas that lag show whether the session knows all the same that it has written.
#[test]
fn what_was_written_is_read_back_though_its_position_is_told_late_or_never() {
    const CODE: [&str; 3] = [
        "CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, n INT)",
        "CREATE FUNCTION f_write (a INT) RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO log (n) VALUES (a); RETURN a; END",
        "CREATE PROCEDURE p_write () BEGIN SELECT 1; INSERT INTO log (n) VALUES (1); SELECT 2; END",
    ];
    const WRITES: [&str; 5] = [
        "SELECT f_write(1)",
        "CALL p_write()",
        "SELECT 1; INSERT INTO log (n) VALUES (1); SELECT 2",
        "INSERT INTO log (n) VALUES (1); SELECT * FROM missing",
        "BEGIN; SELECT f_write(1); COMMIT; SELECT 2",
    ];
    for flavour in [Flavour::MariaDb10, Flavour::MySql97] {
        let trio = Trio::start(flavour);
        trio.servers.iter().for_each(Server::listen);
        on_both_engines(|engine| {
            let sqluice = sqluice(engine, &trio);
            let database = trio_database(&trio);
            let mut primary = trio.primary().direct();
            primary.execute(&format!("USE {database}"));
            CODE.iter().for_each(|text| drop(primary.execute(text)));
            trio.await_replicas();
            trio.replicas().iter().for_each(|replica| replica.lag(1));
            let mut written = 0;
            for capabilities in MODES {
                let account = Account::new("app", "app").database(&database).capabilities(capabilities);
                let mut client = sqluice.login(&account).unwrap_or_else(|error| panic!("app logs in: {error}"));
                for (write, behind) in
                    WRITES.iter().flat_map(|write| ["DO 1", "SELECT 2", ""].map(|text| (write, text)))
                {
                    eprintln!("{flavour:?}, {engine:?}, capabilities {capabilities:#x}: {write}, {behind}");
                    client.query(write);
                    written += 1;
                    match behind {
                        "" => drop(client.ask(Shape::Single, &[0x1F]).ok()),
                        text => drop(client.query(text).ok()),
                    }
                    assert_eq!(client.value("SELECT COUNT(*) FROM log"), written.to_string());
                }
            }
            let text = fresh_name("lags");
            let mut other = sqluice.login(&account(&database)).unwrap_or_else(|error| panic!("app logs in: {error}"));
            assert_eq!(other.rows(&format!("SELECT n, '{text}' FROM t")).len(), 3);
            assert_eq!(trio.heard(&text), (0, 1), "whoever has written nothing reads at replicas");
            trio.replicas().iter().for_each(|replica| replica.lag(0));
        });
    }
}
