//! Every command and reply shape of the protocol, in both EOF modes, compared with a direct connection.

use crate::compare::{Parameter, Recorder, execute_payload, relay, same, same_everywhere, same_on};
use crate::harness::wire::{capability as cap, framed, query_payload, status};
use crate::harness::{Account, Client, Flavour, Server, Shape, on_both_engines, on_each_flavour};

#[test]
fn text_queries_give_what_the_server_gives() {
    same_everywhere(|session| {
        session.query("SELECT 1").ok();
        session.query("SELECT NULL, '', 0, 'x', NULL").ok();
        session.query("SELECT '' UNION ALL SELECT NULL UNION ALL SELECT 'z'").ok();
        session.query("SELECT 1 FROM DUAL WHERE 1 = 0").ok();
        session.query("/* only a comment */");
        session.query("");
        session.query("SELEKT");
        session.query("SELECT * FROM missing").failed();
        session.query("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(100), b LONGBLOB)").ok();
        session.query("INSERT INTO t (v) VALUES ('a'), ('b'), (NULL)").ok();
        session.query("INSERT INTO t (v) SELECT v FROM t").ok();
        session.query("UPDATE t SET v = 'c' WHERE v = 'b'").ok();
        session.query("SELECT * FROM t ORDER BY id").ok();
        session.query("SELECT LAST_INSERT_ID(), ROW_COUNT()").ok();
        session.query("SELECT 1/0").ok();
        session.query("SHOW WARNINGS").ok();
        session.query("SELECT CAST('x' AS SIGNED)").ok();
        session.query("INSERT INTO t (id) VALUES (1)").failed();
        session.query(&format!("SELECT {}", vec!["1"; 600].join(", "))).ok();
        session.query(MANY_ROWS).ok();
        session.query("SELECT REPEAT('a', 250), REPEAT('b', 251), REPEAT('c', 65535), REPEAT('d', 65536)").ok();
    });
}

/// 3,600 rows with a number and some text; MySQL ends a recursion after 1,000 rounds.
const MANY_ROWS: &str = "WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM s WHERE n < 900) \
     SELECT n, REPEAT('r', n MOD 97), a FROM s, (SELECT 1 AS a UNION SELECT 2 UNION SELECT 3 UNION SELECT 4) t ORDER BY n, a";

#[test]
fn transactions_and_session_state_give_the_same_status_and_trackers() {
    same_everywhere(|session| {
        session.query("CREATE TABLE t (id INT PRIMARY KEY) ENGINE = InnoDB").ok();
        session.query("BEGIN").ok();
        session.query("INSERT INTO t VALUES (1)").ok();
        let reply = session.ask(Shape::Single, &[0x0E]).ok();
        assert_eq!(reply.status & status::IN_TRANSACTION, status::IN_TRANSACTION);
        session.query("SELECT * FROM t").ok();
        session.query("ROLLBACK").ok();
        session.query("SET autocommit = 0").ok();
        session.query("SELECT * FROM t").ok();
        session.query("COMMIT").ok();
        session.query("SET autocommit = 1").ok();
        session.query("SET NAMES latin1").ok();
        session.query("SET @a = 1, @b = 'two'").ok();
        session.query("SELECT @a, @b").ok();
        session.query("SET time_zone = '+01:00'").ok();
        session.query("CREATE DATABASE IF NOT EXISTS test").ok();
        session.query("USE test").ok();
        session.ask(Shape::Single, b"\x02information_schema").ok();
        session.ask(Shape::Single, b"\x02no_such_database").failed();
        session.query("SELECT DATABASE()").ok();
        // COM_RESET_CONNECTION
        session.ask(Shape::Single, &[0x1F]).ok();
        session.query("SELECT @a, @@character_set_client, DATABASE()").ok();
    });
}

#[test]
fn several_statements_and_calls_give_all_their_results() {
    same_everywhere(|session| {
        session.query("CREATE TABLE t (id INT PRIMARY KEY, v INT)").ok();
        session.query("SELECT 1; SELECT 2, 3; DO 1; INSERT INTO t VALUES (1, 1); SELECT * FROM t").ok();
        session.query("SELECT 1; SELECT 2; SELECT * FROM missing; SELECT 3").failed();
        session.query("INSERT INTO t VALUES (2, 2); INSERT INTO t VALUES (2, 2); SELECT 3").failed();
        session
            .query("CREATE PROCEDURE p (IN a INT, OUT b INT) BEGIN SELECT a; SELECT a, a UNION SELECT 5, 6; SET b = a + 1; SELECT id FROM t WHERE id > 100; END")
            .ok();
        session.query("CALL p(7, @b)").ok();
        session.query("CALL p(7, @b); SELECT @b").ok();
        session.query("CREATE PROCEDURE fails () BEGIN SELECT 1; SELECT 2; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'as meant'; SELECT 3; END").ok();
        session.query("CALL fails()").failed();
        // An OUT parameter of a prepared CALL comes as a result set of its own.
        let call = session.prepare("CALL p(?, ?)");
        session.execute(call, 0, &[Parameter::Number(3), Parameter::Null]).ok();
        session.query("SELECT 'still in step'").ok();
    });
}

#[test]
fn multi_statements_can_be_switched_for_a_session() {
    same_everywhere(|session| {
        session.ask(Shape::Single, &[0x1B, 1, 0]).ok();
        session.query("SELECT 1; SELECT 2").failed();
        session.ask(Shape::Single, &[0x1B, 0, 0]).ok();
        session.query("SELECT 1; SELECT 2").ok();
        session.ask(Shape::Single, &[0x1B, 9, 0]).failed();
        session.query("SELECT 3; SELECT 4").ok();
        // What was chosen outlives a change of user.
        session.ask(Shape::Single, &[0x1B, 1, 0]).ok();
        let mut account = Account::new("app", "app").capabilities(session.client.capabilities);
        let plugin = "caching_sha2_password";
        account.plugin = (session.client.greeting.plugin == plugin).then_some(plugin);
        session.client.change_user(&account).expect("app is still app");
        session.query("SELECT 1; SELECT 2").failed();
        session.ask(Shape::Single, &[0x1B, 0, 0]).ok();
        session.query("SELECT 1; SELECT 2").ok();
    });
}

#[test]
fn prepared_statements_work_with_every_command_for_them() {
    same_everywhere(|session| {
        session.query("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100), b LONGTEXT) CHARSET utf8mb4").ok();
        let insert = session.prepare("INSERT INTO t VALUES (?, ?, ?)");
        for number in 1..=20 {
            session.execute(insert, 0, &[Parameter::Number(number), Parameter::Text("Zoë"), Parameter::Null]).ok();
        }
        let select = session.prepare("SELECT id, v, b FROM t WHERE id > ? ORDER BY id");
        session.execute(select, 0, &[Parameter::Number(15)]).ok();
        session.execute(select, 0, &[Parameter::Number(18)]).ok();
        session.execute(select, 0, &[Parameter::Number(100)]).ok();
        session.prepare("SELECT 1");
        session.prepare("DO 1");
        session.ask(Shape::Prepare, b"\x16SELECT * FROM missing").failed();
        session.ask(Shape::Prepare, b"\x16SELEKT ?").failed();
        // Long data comes in pieces that nothing answers, and replaces the value of that parameter.
        for piece in ["long ", "data ", "in pieces"] {
            session
                .client
                .command(&[&[0x18], &insert.to_le_bytes()[..], &2_u16.to_le_bytes(), piece.as_bytes()].concat());
        }
        session.execute(insert, 0, &[Parameter::Number(99), Parameter::Text("long"), Parameter::Long]).ok();
        session.execute(select, 0, &[Parameter::Number(98)]).ok();
        // COM_STMT_RESET, COM_STMT_CLOSE without an answer, and the use of what is closed.
        session.ask(Shape::Single, &[&[0x1A], &insert.to_le_bytes()[..]].concat()).ok();
        session.client.command(&[&[0x19], &insert.to_le_bytes()[..]].concat());
        session.ask(Shape::Results, &execute_payload(session.client.capabilities, insert, 0, &[])).failed();
        session.ask(Shape::Single, &[&[0x1A], &777_u32.to_le_bytes()[..]].concat()).failed();
        session.query("SELECT 'still in step'").ok();
    });
}

#[test]
fn cursors_are_fetched_in_parts() {
    same_everywhere(|session| {
        session.query("CREATE TABLE t (id INT PRIMARY KEY)").ok();
        session.query("INSERT INTO t VALUES (1),(2),(3),(4),(5),(6),(7),(8),(9),(10)").ok();
        let select = session.prepare("SELECT id, REPEAT('c', id * 100) FROM t ORDER BY id");
        let opened = session.execute(select, 1, &[]).ok();
        assert_eq!(opened.status & status::CURSOR_EXISTS, status::CURSOR_EXISTS);
        let fetch = |count: u32| [&[0x1C], &select.to_le_bytes()[..], &count.to_le_bytes()].concat();
        let part = session.ask(Shape::Rows, &fetch(4)).ok();
        assert_eq!(part.rows.len(), 4);
        session.query("SELECT 'between'").ok();
        session.ask(Shape::Rows, &fetch(4)).ok();
        let last = session.ask(Shape::Rows, &fetch(100)).ok();
        assert_eq!((last.rows.len(), last.status & status::LAST_ROW_SENT), (2, status::LAST_ROW_SENT));
        session.ask(Shape::Rows, &fetch(1)).failed();
        // Asked for a cursor, but there is nothing to open one on.
        let other = session.prepare("DO 1");
        session.execute(other, 1, &[]).ok();
    });
}

/// MariaDB marks such results as if they had opened a cursor for the client.
#[test]
fn results_of_a_procedure_with_a_cursor_of_its_own_are_followed_to_their_end() {
    same_everywhere(|session| {
        session
            .query(
                "CREATE PROCEDURE walk() BEGIN DECLARE n INT; DECLARE walker CURSOR FOR SELECT 1 UNION SELECT 2; \
                 OPEN walker; FETCH walker INTO n; SELECT n; SELECT n LIMIT 0; FETCH walker INTO n; SELECT n; CLOSE walker; END",
            )
            .ok();
        session.query("CALL walk()").ok();
        session.query("SELECT 'in step'").ok();
        let call = session.prepare("CALL walk()");
        session.execute(call, 0, &[]).ok();
        session.query("SELECT 'still in step'").ok();
    });
}

#[test]
fn local_files_are_sent_refused_and_in_error() {
    same_everywhere(|session| {
        session.query("CREATE TABLE t (id INT, v VARCHAR(200))").ok();
        let lines: String = (0..5000).map(|number| format!("{number}\tvalue {number}\n")).collect();
        session.client.local_file = lines.as_bytes().chunks(9_000).map(<[u8]>::to_vec).collect();
        let loaded = session.query("LOAD DATA LOCAL INFILE 'rows.txt' INTO TABLE t").ok();
        assert_eq!(loaded.files, ["rows.txt"]);
        session.query("SELECT COUNT(*), SUM(id) FROM t").ok();
        // A client without the file sends the empty packet at once.
        session.query("LOAD DATA LOCAL INFILE 'missing.txt' INTO TABLE t").ok();
        session.client.local_file = vec![b"1\tone\n".to_vec()];
        session.query("SELECT 'before'; LOAD DATA LOCAL INFILE 'a.txt' INTO TABLE t; SELECT 'after'").ok();
        session.query("LOAD DATA LOCAL INFILE 'a.txt' INTO TABLE missing").failed();
        // The server finds an error in the data while they still come.
        session.query("CREATE TABLE narrow (id INT PRIMARY KEY)").ok();
        session.query("SET sql_mode = 'STRICT_ALL_TABLES'").ok();
        session.client.local_file = vec![b"1\nnot a number\n".to_vec(); 300];
        session.query("LOAD DATA LOCAL INFILE 'bad.txt' INTO TABLE narrow");
        session.query("SELECT 'still in step'").ok();
    });
}

#[test]
fn a_local_file_is_not_asked_for_from_a_client_that_did_not_offer_it() {
    on_each_flavour(|engine, server| {
        let sqluice = relay(engine, server);
        same(server, &sqluice, cap::USUAL | cap::DEPRECATE_EOF, &|session: &mut Recorder| {
            session.query("CREATE TABLE t (id INT)").ok();
            session.query("LOAD DATA LOCAL INFILE 'rows.txt' INTO TABLE t").failed();
        });
    });
}

#[test]
fn packets_at_and_over_sixteen_mebibytes_pass_both_ways() {
    for flavour in [Flavour::MariaDb10, Flavour::MySql97] {
        same_on(flavour, |session| {
            // Payloads of 2^24 - 2 to 2^24 bytes: a full piece is followed by another one, which may be empty.
            let overhead = query_payload(session.client.capabilities, "SELECT LENGTH('')").len();
            for length in 0xFF_FFFE_usize..=0x100_0000 {
                session.query(&format!("SELECT LENGTH('{}')", "x".repeat(length - overhead))).ok();
            }
            // A row begins with the value's length, in four bytes below 2^24 and in nine from there on.
            for length in [0xFF_FFFA_usize, 0xFF_FFFB, 0x100_0000, 34_000_000] {
                let reply = session.query(&format!("SELECT REPEAT('y', {length})")).ok();
                assert_eq!(reply.rows.len(), 1, "{length}");
            }
            session.query("SELECT 'still in step'").ok();
        });
    }
}

#[test]
fn a_packet_over_the_servers_limit_gets_the_servers_error_and_the_end() {
    on_each_flavour(|engine, server| {
        let sqluice = relay(engine, server);
        let mut client = sqluice.app();
        let sql = format!("SELECT '{}'", "z".repeat(68 * 1024 * 1024));
        // The server stops reading when it has seen the length, so the sending may fail; what it said counts.
        let _ = client.try_command(&query_payload(client.capabilities, &sql));
        if let Some(error) = client.await_close() {
            assert_eq!((error.code, error.state.as_str()), (1153, "08S01"), "{error}");
        }
        sqluice.app().ping();
    });
}

#[test]
fn an_error_in_the_middle_of_a_result_ends_it() {
    same_everywhere(|session| {
        session.query("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(500))").ok();
        session
            .query("INSERT INTO t WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM s WHERE n < 900) SELECT n, REPEAT('v', 400) FROM s")
            .ok();
        // The 701st row has a subquery with two rows, long after the first rows went out.
        let reply = session.query(
            "SELECT id, v, (SELECT i.id FROM t i WHERE i.id = 1 OR (o.id > 700 AND i.id = 2)) FROM t o ORDER BY id",
        );
        assert_eq!(reply.clone().failed().code, 1242);
        assert!(reply.rows.len() >= 600, "{} rows came before the error", reply.rows.len());
        session.query("SELECT 'still in step'").ok();
    });
}

#[test]
fn the_lesser_commands_are_answered_as_the_server_answers_them() {
    same_everywhere(|session| {
        session.query("CREATE TABLE t (id INT DEFAULT 7, v VARCHAR(10))").ok();
        session.ask(Shape::FieldList, b"\x04t\0");
        session.ask(Shape::FieldList, b"\x04t\0i%");
        session.ask(Shape::FieldList, b"\x04missing\0");
        session.ask(Shape::Single, &[0x0D]);
        session.ask(Shape::Single, &[0x07, 0x40]);
        session.query("SELECT 'still in step'").ok();
    });
}

#[test]
fn statistics_and_the_process_list_keep_the_session_in_step() {
    on_each_flavour(|engine, server| {
        let sqluice = relay(engine, server);
        for (_, capabilities) in crate::compare::MODES {
            let mut client =
                sqluice.login(&Account::new("app", "app").capabilities(capabilities)).expect("app logs in");
            let reply = client.ask(Shape::Single, &[0x09]);
            assert!(reply.packets[0].starts_with(b"Uptime"), "{:?}", reply.packets);
            // MySQL 9 has no COM_PROCESS_INFO any more.
            let reply = client.ask(Shape::Results, &[0x0A]);
            match reply.error {
                Some(error) => assert!(error.code == 1047 && !server.flavour.is_mariadb(), "COM_PROCESS_INFO: {error}"),
                None => assert!(!reply.rows.is_empty(), "this session is in the list"),
            }
            assert_eq!(client.value("SELECT 1"), "1");
        }
    });
}

#[test]
fn commands_that_nobody_knows_are_refused_without_ending_the_session() {
    on_each_flavour(|engine, server| {
        let sqluice = relay(engine, server);
        let mut client = sqluice.app();
        // Internal, removed, and never assigned commands.
        for command in [0x00, 0x05, 0x06, 0x0B, 0x0F, 0x10, 0x13, 0x14, 0x1D, 0x40, 0x80, 0xFB, 0xFE, 0xFF] {
            let error = client.ask(Shape::Single, &[command, b'x', 0]).failed();
            assert_eq!((error.code, error.state.as_str()), (1047, "08S01"), "command {command:#04x}: {error}");
            client.ping();
        }
        // Known, but not for a connection that passes through a balancer: COM_CLONE and group replication's own.
        for command in [0x20, 0x21] {
            let error = client.ask(Shape::Single, &[command, b'x', 0]).failed();
            assert_eq!((error.code, error.state.as_str()), (1235, "42000"), "command {command:#04x}: {error}");
            client.ping();
        }
        // COM_SHUTDOWN is not for clients of a balancer.
        client.ask(Shape::Single, &[0x08, 0x00]).failed();
        client.ping();
        server.direct().ping();
    });
}

#[test]
fn commands_sent_without_waiting_are_answered_in_order() {
    on_each_flavour(|engine, server| {
        let sqluice = relay(engine, server);
        let mut client = sqluice.app();
        let mut bytes = Vec::new();
        for number in 0..200 {
            bytes.extend(framed(
                &query_payload(client.capabilities, &format!("SELECT {number}, REPEAT('p', {})", number * 50)),
                &mut 0,
            ));
        }
        client.write_raw(&bytes).expect("the commands can be sent");
        for number in 0..200 {
            client.expect_new_reply();
            let reply = client.reply(Shape::Results).expect("every command is answered").ok();
            assert_eq!(reply.text_rows()[0][0].as_deref(), Some(number.to_string().as_str()));
        }
        // Commands without an answer, among others.
        let prepared = client.ask(Shape::Prepare, b"\x16SELECT ?").ok();
        let statement = u32::from_le_bytes(prepared.packets[0][1..5].try_into().expect("four bytes"));
        let mut bytes = Vec::new();
        bytes.extend(framed(&execute_payload(client.capabilities, statement, 0, &[Parameter::Number(5)]), &mut 0));
        bytes.extend(framed(&[&[0x19], &statement.to_le_bytes()[..]].concat(), &mut 0));
        bytes.extend(framed(&[0x0E], &mut 0));
        bytes.extend(framed(&[0x01], &mut 0));
        client.write_raw(&bytes).expect("the commands can be sent");
        client.expect_new_reply();
        assert_eq!(client.reply(Shape::Results).expect("EXECUTE is answered").ok().rows.len(), 1);
        client.expect_new_reply();
        client.reply(Shape::Single).expect("PING is answered").ok();
        assert_eq!(client.await_close(), None);
    });
}

#[test]
fn how_the_bytes_are_cut_does_not_matter() {
    on_each_flavour(|engine, server| {
        let sqluice = relay(engine, server);
        let mut client = sqluice.app();
        for command in
            [query_payload(client.capabilities, "SELECT 'one byte at a time'"), vec![0x0E], b"\x16SELECT ?, ?".to_vec()]
        {
            for byte in framed(&command, &mut 0) {
                client.write_raw(&[byte]).expect("a byte can be sent");
            }
            client.expect_new_reply();
            let shape = match command[0] {
                0x16 => Shape::Prepare,
                0x0E => Shape::Single,
                _ => Shape::Results,
            };
            client.reply(shape).expect("the command is answered").ok();
        }
    });
}

#[test]
fn mariadb_statements_can_be_prepared_and_executed_at_once() {
    for flavour in [Flavour::MariaDb10, Flavour::MariaDb11] {
        same_on(flavour, |session| {
            // The id -1 means the statement that was prepared last.
            let mut bytes = framed(b"\x16SELECT ?, 'at once'", &mut 0);
            bytes.extend(framed(
                &execute_payload(session.client.capabilities, u32::MAX, 0, &[Parameter::Number(4)]),
                &mut 0,
            ));
            session.client.write_raw(&bytes).expect("the commands can be sent");
            session.client.expect_new_reply();
            session.record(Shape::Prepare, "PREPARE").ok();
            session.client.expect_new_reply();
            session.record(Shape::Results, "EXECUTE").ok();
            // With metadata caching the definitions are sent once, then not again.
            session
                .ask(
                    Shape::Results,
                    &execute_payload(session.client.capabilities, u32::MAX, 0, &[Parameter::Number(5)]),
                )
                .ok();
        });
    }
}

#[test]
fn mariadb_bulk_execution_passes() {
    for flavour in [Flavour::MariaDb10, Flavour::MariaDb11] {
        same_on(flavour, |session| {
            if session.client.capabilities & cap::STMT_BULK == 0 {
                // Without the capability the command does not exist.
                session.ask(Shape::Results, &[0xFA, 1, 0, 0, 0, 0, 0]).failed();
                return;
            }
            session.query("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))").ok();
            let insert = session.prepare("INSERT INTO t VALUES (?, ?)");
            let mut payload =
                [&[0xFA], &insert.to_le_bytes()[..], &0x80_u16.to_le_bytes(), &[0x08, 0, 0xFD, 0]].concat();
            for number in 0_i64..500 {
                payload.push(0);
                payload.extend_from_slice(&number.to_le_bytes());
                // Every third value is NULL, which is an indicator without a value.
                if number % 3 == 0 {
                    payload.push(1);
                } else {
                    payload.extend_from_slice(&[0, 3, b'a', b'b', b'c']);
                }
            }
            session.ask(Shape::Results, &payload).ok();
            session.query("SELECT COUNT(*), COUNT(v) FROM t").ok();
            session.ask(Shape::Results, &payload).failed();
            let returning = session.prepare("INSERT INTO t VALUES (?, ?) RETURNING id, v");
            let row = [
                &[0xFA],
                &returning.to_le_bytes()[..],
                &0x80_u16.to_le_bytes(),
                &[0x08, 0, 0xFD, 0, 0],
                &900_i64.to_le_bytes(),
                &[0, 1, b'r'],
            ]
            .concat();
            session.ask(Shape::Results, &row).ok();
        });
    }
}

#[test]
fn mariadb_progress_reports_are_not_taken_for_errors() {
    on_both_engines(|engine| {
        let server = Server::shared(Flavour::MariaDb10);
        let sqluice = relay(engine, server);
        let database = server.fresh_database();
        let everything = crate::compare::MODES[2].1;
        let mut client = sqluice
            .login(&Account::new("app", "app").database(&database).capabilities(everything))
            .expect("app logs in");
        if client.capabilities & cap::PROGRESS == 0 {
            // Not offered to clients: then none may come.
            assert_eq!(
                Client::connect(sqluice.address).expect("sqluice greets").greeting.capabilities & cap::PROGRESS,
                0
            );
            return;
        }
        client.execute("CREATE TABLE t (id INT, v VARCHAR(200))");
        client.execute("INSERT INTO t SELECT seq, REPEAT('p', 150) FROM seq_1_to_40");
        client.execute("SET progress_report_time = 1");
        // A check of each row that takes ever longer, until the copy takes more than the second after which reports begin.
        let mut repeats = 10_000;
        loop {
            client.execute("ALTER TABLE t DROP CONSTRAINT IF EXISTS slow");
            let slow = format!(
                "ALTER TABLE t ADD CONSTRAINT slow CHECK (SHA2(REPEAT(v, {repeats}), 512) <> v), ALGORITHM = COPY"
            );
            if client.execute(&slow).progress_reports > 0 {
                break;
            }
            repeats *= 2;
        }
        assert_eq!(client.value("SELECT COUNT(*) FROM t"), "40");
    });
}
