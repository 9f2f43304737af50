//! What splitters are known to do wrong, each on real servers. Every test also sees reads reach the replicas: one that
//! sent everything to the primary would pass nothing here.

use std::thread;

use crate::compare::{Parameter, execute_payload};
use crate::harness::wire::{capability as cap, status};
use crate::harness::{
    Account, Client, Cutter, Engine, Flavour, Shape, Sqluice, Start, Trio, eventually, fresh_name, on_both_engines,
    split_at, split_trio,
};
use crate::pressure::{GROWTH_MAX_KIB, settled_kib};

const FLAVOURS: [Flavour; 2] = [Flavour::MariaDb10, Flavour::MySql97];

/// A session of a split user in a schema of its own, with a table `t (id, n)` of three rows that the replicas have.
pub(crate) struct Session<'a> {
    pub(crate) trio: &'a Trio,
    pub(crate) sqluice: &'a Sqluice,
    pub(crate) database: String,
    pub(crate) client: Client,
}

impl Session<'_> {
    /// How many statements with this text reached the primary, and any replica.
    pub(crate) fn heard(&self, text: &str) -> (usize, usize) {
        self.trio.heard(text)
    }

    #[track_caller]
    pub(crate) fn assert_stayed(&self, text: &str) {
        let (primary, replicas) = self.heard(text);
        assert!(
            primary > 0 && replicas == 0,
            "{text:?} reached the primary {primary} times, replicas {replicas} times"
        );
    }

    /// Reads go to a replica at this point of the session, as soon as one is known to have all that the session has seen.
    #[track_caller]
    pub(crate) fn assert_reads_leave(&mut self) {
        self.trio.await_replicas();
        eventually("a plain read goes to a replica", || (self.plain_read() == (0, 1)).then_some(()));
    }

    /// Reads stay at the primary at this point of the session.
    #[track_caller]
    pub(crate) fn assert_reads_stay(&mut self) {
        self.trio.await_replicas();
        assert_eq!(self.plain_read(), (1, 0), "a read belongs to the primary here");
    }

    /// How often a plain read reached the primary, and any replica.
    #[track_caller]
    fn plain_read(&mut self) -> (usize, usize) {
        let text = fresh_name("plain");
        let rows = self.client.rows(&format!("SELECT COUNT(*), '{text}' FROM t"));
        assert_eq!(rows.len(), 1);
        self.heard(&text)
    }

    #[track_caller]
    fn prepare(&mut self, sql: &str) -> u32 {
        let reply = self.client.ask(Shape::Prepare, &[b"\x16", sql.as_bytes()].concat()).ok();
        u32::from_le_bytes(reply.packets[0][1..5].try_into().expect("four bytes"))
    }

    #[track_caller]
    fn run(&mut self, statement: u32, flags: u8, parameters: &[Parameter<'_>]) -> Vec<Vec<u8>> {
        let payload = execute_payload(self.client.capabilities, statement, flags, parameters);
        self.client.ask(Shape::Results, &payload).ok().rows
    }
}

pub(crate) fn account(database: &str) -> Account<'_> {
    let capabilities = Account::new("", "").capabilities | cap::STMT_BULK;
    Account::new("app", "app").database(database).capabilities(capabilities)
}

/// Runs a test on both engines with a session on each flavour's set.
pub(crate) fn on_each_set(test: impl Fn(&mut Session<'_>)) {
    for flavour in FLAVOURS {
        let trio = Trio::shared(flavour);
        on_both_engines(|engine| {
            eprintln!("{flavour:?}, {engine:?}");
            let sqluice = Start::new(engine, split_trio(trio)).run_with_servers_up(3);
            let database = trio_database(trio);
            let client = sqluice.login(&account(&database)).unwrap_or_else(|error| panic!("app logs in: {error}"));
            test(&mut Session { trio, sqluice: &sqluice, database, client });
        });
    }
}

/// A schema with the table, which the replicas have as well.
pub(crate) fn trio_database(trio: &Trio) -> String {
    let database = trio.primary().fresh_database();
    let mut client = trio.primary().direct();
    client.execute(&format!("CREATE TABLE {database}.t (id INT AUTO_INCREMENT PRIMARY KEY, n INT)"));
    client.execute(&format!("INSERT INTO {database}.t (n) VALUES (1), (2), (3)"));
    trio.await_replicas();
    database
}

#[test]
fn reads_go_to_replicas_and_writes_to_the_primary() {
    on_each_set(|session| {
        session.assert_reads_leave();
        session.client.execute("INSERT INTO t (n) VALUES (4)");
        assert_eq!(session.client.value("SELECT COUNT(*) FROM t"), "4", "a session sees what it wrote");
        session.assert_stayed("INSERT INTO t (n) VALUES (4)");
        session.assert_reads_leave();
        let statement = session.prepare("SELECT n, 'prepared_read' FROM t WHERE id = ?");
        let before = session.heard("prepared_read").1;
        assert_eq!(session.run(statement, 0, &[Parameter::Number(2)]).len(), 1);
        assert!(session.heard("prepared_read").1 > before, "a prepared read is one for a replica");
    });
}

#[test]
fn a_write_whose_reply_is_lost_is_not_sent_again() {
    for flavour in FLAVOURS {
        let trio = Trio::shared(flavour);
        let cutter = Cutter::before(trio.primary().address);
        on_both_engines(|engine| {
            let sqluice = behind(engine, trio, 0, &cutter);
            let database = trio_database(trio);
            let mut client = sqluice.login(&account(&database)).expect("app logs in");
            let text = fresh_name("once");
            cutter.arm(&text);
            let cuts = cutter.cuts();
            client.command(&[b"\x03UPDATE t SET n = n + 10 WHERE id = 1 AND '", text.as_bytes(), b"' <> ''"].concat());
            // An error of a lost connection, or just its end.
            if let Ok(reply) = client.reply(Shape::Results) {
                let error = reply.failed();
                assert!(error.state.starts_with("08"), "{error}");
            }
            assert_eq!(cutter.cuts(), cuts + 1, "the reply was lost");
            assert_eq!(trio.heard(&text), (1, 0), "{flavour:?}: the statement was sent once");
            let value = trio.primary().direct().value(&format!("SELECT n FROM {database}.t WHERE id = 1"));
            assert_eq!(value, "11");
        });
    }
}

#[test]
fn a_prepared_write_and_a_commit_whose_replies_are_lost_are_not_sent_again() {
    for flavour in FLAVOURS {
        let trio = Trio::shared(flavour);
        let cutter = Cutter::before(trio.primary().address);
        on_both_engines(|engine| {
            let sqluice = behind(engine, trio, 0, &cutter);
            let database = trio_database(trio);
            let value = || trio.primary().direct().value(&format!("SELECT n FROM {database}.t WHERE id = 1"));
            let lost = |client: &mut Client, text: &str, payload: &[u8]| {
                cutter.arm(text);
                let cuts = cutter.cuts();
                client.command(payload);
                if let Ok(reply) = client.reply(Shape::Results) {
                    let error = reply.failed();
                    assert!(error.state.starts_with("08"), "{error}");
                }
                assert_eq!(cutter.cuts(), cuts + 1, "the reply was lost");
                assert_eq!(trio.heard(text), (1, 0), "{flavour:?}: the statement was sent once");
            };

            let mut client = sqluice.login(&account(&database)).expect("app logs in");
            let update = b"\x16UPDATE t SET n = n + 10 WHERE id = 1 AND ? <> ''";
            let reply = client.ask(Shape::Prepare, update).ok();
            let statement = u32::from_le_bytes(reply.packets[0][1..5].try_into().expect("four bytes"));
            let text = fresh_name("prepared_once");
            let payload = execute_payload(client.capabilities, statement, 0, &[Parameter::Text(&text)]);
            lost(&mut client, &text, &payload);
            assert_eq!(value(), "11");

            let mut client = sqluice.login(&account(&database)).expect("app logs in");
            client.execute("BEGIN");
            client.execute("UPDATE t SET n = n + 10 WHERE id = 1");
            let text = fresh_name("commit_once");
            lost(&mut client, &text, format!("\x03COMMIT /* {text} */").as_bytes());
            assert_eq!(value(), "21");
        });
    }
}

/// sqluice with one server of the set behind a cutter.
fn behind(engine: Engine, trio: &Trio, index: usize, cutter: &Cutter) -> Sqluice {
    let mut addresses = trio.servers.each_ref().map(|server| server.address);
    addresses[index] = cutter.address;
    Start::new(engine, split_at(&addresses)).run_with_servers_up(3)
}

#[test]
fn a_read_whose_reply_is_lost_is_answered_by_another_server() {
    for flavour in FLAVOURS {
        let trio = Trio::shared(flavour);
        let cutters = [1, 2].map(|index: usize| Cutter::before(trio.servers[index].address));
        on_both_engines(|engine| {
            let mut addresses = trio.servers.each_ref().map(|server| server.address);
            addresses[1..].copy_from_slice(&cutters.each_ref().map(|cutter| cutter.address));
            let sqluice = Start::new(engine, split_at(&addresses)).run_with_servers_up(3);
            let database = trio_database(trio);
            let mut client = sqluice.login(&account(&database)).expect("app logs in");
            let text = fresh_name("again");
            let cuts: usize = cutters.iter().map(Cutter::cuts).sum();
            // Whichever replica gets it loses the reply, and the other one does, too.
            cutters.iter().for_each(|cutter| cutter.arm(&text));
            assert_eq!(client.value(&format!("SELECT n FROM t WHERE id = 2 AND '{text}' <> ''")), "2");
            let lost = cutters.iter().map(Cutter::cuts).sum::<usize>() - cuts;
            assert!(lost > 0, "{flavour:?}: a reply was lost");
            assert_eq!(client.value("SELECT COUNT(*) FROM t"), "3", "the session goes on");
            cutters.iter().for_each(|cutter| cutter.arm("nothing has this in it"));
        });
    }
}

#[test]
fn a_read_without_autocommit_is_part_of_the_transaction() {
    on_each_set(|session| {
        session.assert_reads_leave();
        session.client.execute("SET autocommit = 0");
        let first = session.client.execute("SELECT n, 'opens_it' FROM t WHERE id = 1");
        assert_eq!(first.status & status::IN_TRANSACTION, status::IN_TRANSACTION);
        session.assert_stayed("opens_it");
        // What others commit meanwhile is not seen, which a replica could not know.
        session.trio.primary().direct().execute(&format!("UPDATE {}.t SET n = 100 WHERE id = 2", session.database));
        session.trio.await_replicas();
        session.client.execute("UPDATE t SET n = n + 1 WHERE id = 1");
        assert_eq!(session.client.value("SELECT n FROM t WHERE id = 1"), "2");
        assert_eq!(session.client.value("SELECT n FROM t WHERE id = 2"), "2");
        session.client.execute("ROLLBACK");
        assert_eq!(session.client.value("SELECT n FROM t WHERE id = 1"), "1");
        session.client.execute("SET autocommit = 1");
        session.assert_reads_leave();
    });
}

#[test]
fn session_variables_never_lock_a_session_out() {
    on_each_set(|session| {
        session.client.execute("SET @x = 5");
        assert_eq!(session.client.value("SELECT @x"), "5");
        assert_eq!(session.client.value("SELECT n FROM t WHERE id = 2 AND @x = 5"), "2");
        session.assert_reads_leave();
        session.client.execute("SET group_concat_max_len = 5, sql_mode = 'ANSI_QUOTES', time_zone = '+03:00'");
        assert_eq!(session.client.value("SELECT GROUP_CONCAT(\"n\" ORDER BY \"id\") FROM t"), "1,2,3");
        assert_eq!(session.client.value("SELECT FROM_UNIXTIME(0)"), "1970-01-01 03:00:00");
        session.client.execute("SET @y = (SELECT MAX(n) FROM t)");
        assert_eq!(session.client.value("SELECT @y + @x"), "8");
        let error = session.client.query("SET no_such_variable = 1").failed();
        assert_eq!(error.code, 1193);
        session.assert_reads_leave();
        assert_eq!(session.client.value("SELECT COUNT(*) FROM t"), "3");
        session.client.ask(Shape::Single, &[0x1F]).ok();
        session.assert_reads_leave();
    });
}

#[test]
fn temporary_tables_are_found_however_they_are_spelled() {
    on_each_set(|session| {
        for create in [
            "CREATE TEMPORARY TABLE mine (a INT)",
            "create/* */temporary\n\ttable mine (a int)",
            "/*!40000 CREATE TEMPORARY TABLE mine (a INT) */",
            "  CREATE  TEMPORARY  TABLE  IF  NOT  EXISTS `mine` (a INT)",
        ] {
            eprintln!("before {create:?}");
            session.assert_reads_leave();
            session.client.execute(create);
            session.client.execute("INSERT INTO mine VALUES (7)");
            assert_eq!(session.client.value("SELECT a FROM mine"), "7", "{create}");
            assert_eq!(session.client.value("SELECT COUNT(*) FROM t JOIN mine"), "3");
            session.client.execute("DROP TEMPORARY TABLE mine");
        }
        // One that hides a table of the schema.
        session.client.execute("CREATE TEMPORARY TABLE t (id INT, n INT)");
        assert_eq!(session.client.value("SELECT COUNT(*) FROM t"), "0");
        session.client.execute("DROP TEMPORARY TABLE t");
        assert_eq!(session.client.value("SELECT COUNT(*) FROM t"), "3");
        session.assert_reads_leave();
    });
}

#[test]
fn functions_of_the_connection_are_asked_of_its_server() {
    on_each_set(|session| {
        session.assert_reads_leave();
        session.client.execute("INSERT INTO t (n) VALUES (9)");
        let id = session.client.value("SELECT MAX(id) FROM t");
        assert_eq!(session.client.value("SELECT LAST_INSERT_ID()"), id);
        let last = session.prepare("SELECT CONCAT(LAST_INSERT_ID())");
        let row = [b"\0\0".to_vec(), vec![id.len() as u8], id.clone().into_bytes()].concat();
        assert_eq!(session.run(last, 0, &[]), [row]);
        session.client.execute("UPDATE t SET n = n + 1 WHERE id < 3");
        assert_eq!(session.client.value("SELECT ROW_COUNT()"), "2");
        session.client.execute("SELECT SQL_CALC_FOUND_ROWS id FROM t LIMIT 1");
        assert_eq!(session.client.value("SELECT FOUND_ROWS()"), "4");
        session.client.execute("SELECT 1 / 0 FROM t");
        assert!(!session.client.rows("SHOW WARNINGS").is_empty() || session.trio.primary().flavour.is_mariadb());

        let lock = fresh_name("lock");
        assert_eq!(session.client.value(&format!("SELECT GET_LOCK('{lock}', 0)")), "1");
        session.assert_stayed(&format!("SELECT GET_LOCK('{lock}"));
        let mut other = session.sqluice.login(&account(&session.database)).expect("app logs in");
        assert_eq!(other.value(&format!("SELECT GET_LOCK('{lock}', 0)")), "0", "one lock for all sessions");
        assert_eq!(session.client.value(&format!("SELECT RELEASE_LOCK('{lock}')")), "1");

        let shared = fresh_name("shared");
        session.client.execute("BEGIN");
        session.client.execute(&format!("SELECT n, '{shared}' FROM t WHERE id = 1 LOCK IN SHARE MODE"));
        session.client.execute("COMMIT");
        session.client.execute(&format!("SELECT n, '{shared}' FROM t WHERE id = 1 LOCK IN SHARE MODE"));
        session.assert_stayed(&shared);
        session.assert_reads_leave();
    });
}

#[test]
fn what_a_server_says_of_itself_is_asked_of_the_primary_with_and_without_its_schema() {
    on_each_set(|session| {
        session.assert_reads_leave();
        let named = fresh_name("named");
        session.client.execute(&format!("SELECT COUNT(*), '{named}' FROM information_schema.PROCESSLIST"));
        session.assert_stayed(&named);
        session.client.execute("USE information_schema");
        let unnamed = fresh_name("unnamed");
        session.client.execute(&format!("SELECT COUNT(*), '{unnamed}' FROM PROCESSLIST"));
        session.assert_stayed(&unnamed);
        let prepared = fresh_name("prepared");
        let statement = session.prepare(&format!("SELECT COUNT(*), '{prepared}' FROM PROCESSLIST"));
        session.run(statement, 0, &[]);
        session.assert_stayed(&prepared);
        session.client.execute(&format!("USE {}", session.database));
        session.assert_reads_leave();
    });
}

#[test]
fn a_write_behind_a_read_in_one_text_is_a_write() {
    on_each_set(|session| {
        session.assert_reads_leave();
        let text = fresh_name("behind");
        session
            .client
            .execute(&format!("SELECT 1; INSERT INTO t (n) VALUES (50 + LENGTH('{text}') * 0); SELECT '{text}'"));
        session.assert_stayed(&text);
        assert_eq!(session.client.value("SELECT COUNT(*) FROM t WHERE n = 50"), "1");
        session
            .client
            .execute(&format!("SELECT ';' /* ; */; BEGIN; UPDATE t SET n = 51 WHERE n = 50 AND '{text}' <> ''"));
        session.assert_reads_stay();
        session.client.execute("SELECT 1; ROLLBACK");
        assert_eq!(session.client.value("SELECT COUNT(*) FROM t WHERE n = 50"), "1");
        session.assert_stayed(&text);
    });
}

#[test]
fn cursors_and_bulk_executions_keep_their_session() {
    on_each_set(|session| {
        session.assert_reads_leave();
        let select = session.prepare("SELECT n FROM t WHERE id > ? ORDER BY id");
        session.run(select, 1, &[Parameter::Number(0)]);
        let fetch = |session: &mut Session<'_>, count: u8| {
            let payload = [&[0x1C], &select.to_le_bytes()[..], &[count, 0, 0, 0]].concat();
            session.client.ask(Shape::Rows, &payload).ok()
        };
        assert_eq!(fetch(session, 2).rows.len(), 2);
        // Other statements between the fetches do not move the cursor elsewhere.
        assert_eq!(session.client.value("SELECT COUNT(*) FROM t"), "3");
        let rest = fetch(session, 9);
        assert_eq!((rest.rows.len(), rest.status & status::LAST_ROW_SENT), (1, status::LAST_ROW_SENT));
        session.client.ask(Shape::Single, &[&[0x1A], &select.to_le_bytes()[..]].concat()).ok();

        if session.client.capabilities & cap::STMT_BULK != 0 {
            let insert = session.prepare("INSERT INTO t (n) VALUES (?)");
            let mut payload = [&[0xFA], &insert.to_le_bytes()[..], &[0x80, 0, 0x08, 0]].concat();
            for number in 1000_i64..1003 {
                payload.push(0);
                payload.extend_from_slice(&number.to_le_bytes());
            }
            session.client.ask(Shape::Results, &payload).ok();
            assert_eq!(session.client.value("SELECT COUNT(*) FROM t WHERE n >= 1000"), "3");
        }
        session.assert_reads_leave();
    });
}

#[test]
fn a_local_file_is_the_clients_and_its_rows_are_read_back() {
    on_each_set(|session| {
        session.assert_reads_leave();
        // A file of this name exists on this machine; what is loaded must be what the client sends.
        session.client.local_file = vec![b"901\n902\n".to_vec()];
        let reply = session.client.execute("LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE t (n)");
        assert_eq!(reply.files, ["/etc/hostname"]);
        assert_eq!(session.client.value("SELECT SUM(n) FROM t WHERE n > 900"), "1803");
    });
}

#[test]
fn a_client_that_does_not_read_stops_its_replica_and_nothing_else() {
    let trio = Trio::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        // One worker, so that the stuck session and the other share everything.
        let sqluice = Start::new(engine, split_trio(trio)).workers(1).run_with_servers_up(3);
        let database = trio_database(trio);
        let client = sqluice.login(&account(&database)).expect("app logs in");
        let mut steady = Session { trio, sqluice: &sqluice, database: database.clone(), client };
        steady.assert_reads_leave();
        let before = settled_kib(sqluice.process());
        let mut stuck = sqluice.login(&account(&database)).expect("app logs in");
        let text = fresh_name("large");
        let sql = format!(
            "\x03WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM s WHERE n < 300) \
             SELECT s.n, REPEAT('x', 1000000), '{text}' FROM s JOIN t WHERE t.id = 1"
        );
        stuck.command(sql.as_bytes());
        let during = settled_kib(sqluice.process());
        assert!(during < before + GROWTH_MAX_KIB, "grew from {before} to {during} KiB, with 300 MB on the way");
        assert_eq!(trio.heard(&text), (0, 1), "it is a replica's reply");
        for _ in 0..20 {
            assert_eq!(steady.client.value("SELECT COUNT(*) FROM t"), "3");
        }
        let reply = stuck.reply(Shape::Results).expect("the whole result arrives").ok();
        assert_eq!(reply.rows.len(), 300);
        assert!(reply.rows.iter().all(|row| row.len() > 1_000_000));
    });
}

#[test]
fn ever_new_texts_leave_nothing_in_memory() {
    const TEXTS: usize = 2_000;
    const TEXT_KIB: usize = 8;
    let trio = Trio::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice = Start::new(engine, split_trio(trio)).run_with_servers_up(3);
        let database = trio_database(trio);
        let client = sqluice.login(&account(&database)).expect("app logs in");
        let mut session = Session { trio, sqluice: &sqluice, database, client };
        session.assert_reads_leave();
        let filler = "x".repeat(TEXT_KIB * 1024);
        let mut say = |number: usize| match number % 4 {
            0 => assert_eq!(session.client.rows(&format!("SELECT {number}, '{filler}' FROM t WHERE id = 1")).len(), 1),
            1 => drop(session.client.execute(&format!("DO LENGTH('{number}{filler}')"))),
            2 => {
                let id = session.prepare(&format!("SELECT {number}, '{filler}' FROM t WHERE id = ?"));
                assert_eq!(session.run(id, 0, &[Parameter::Number(1)]).len(), 1);
                session.client.command(&[&[0x19], &id.to_le_bytes()[..]].concat());
            }
            _ => {
                let error =
                    session.client.query(&format!("SELECT no_such_column, {number}, '{filler}' FROM t")).failed();
                assert_eq!(error.code, 1054, "{error}");
            }
        };
        (0..TEXTS / 10).for_each(&mut say);
        let before = settled_kib(sqluice.process());
        (TEXTS / 10..TEXTS).for_each(&mut say);
        let after = settled_kib(sqluice.process());
        let sent = (TEXTS * TEXT_KIB) as u64;
        assert!(after < before + sent / 8, "grew from {before} to {after} KiB by {sent} KiB of texts");
    });
}

#[test]
fn reads_go_on_at_the_primary_while_no_replica_can_answer() {
    for flavour in FLAVOURS {
        let trio = Trio::start(flavour);
        trio.servers.iter().for_each(crate::harness::Server::listen);
        on_both_engines(|engine| {
            let sqluice = Start::new(engine, split_trio(&trio)).run_with_servers_up(3);
            let database = trio_database(&trio);
            let client = sqluice.login(&account(&database)).expect("app logs in");
            let mut session = Session { trio: &trio, sqluice: &sqluice, database, client };
            session.assert_reads_leave();
            // Both stand still: what was written can be read nowhere else.
            trio.replicas().iter().for_each(|replica| replica.stop_applying());
            session.client.execute("INSERT INTO t (n) VALUES (77)");
            assert_eq!(session.client.value("SELECT COUNT(*) FROM t WHERE n = 77"), "1");
            session.client.change_user(&account(&session.database)).expect("app is let in again");
            assert_eq!(session.client.value("SELECT COUNT(*) FROM t WHERE n = 77"), "1", "behind COM_CHANGE_USER");
            trio.replicas().iter().for_each(|replica| replica.start_applying());
            trio.await_replicas();
            // Both are gone, in the middle of a session that has used them.
            trio.replicas().iter().for_each(|replica| replica.kill());
            let text = fresh_name("alone");
            let sql = format!("SELECT COUNT(*) FROM t WHERE n = 77 AND '{text}' <> ''");
            assert_eq!(session.client.value(&sql), "1");
            assert_eq!(trio.primary().heard(&text), 1);
            for (index, name) in [(1, "db2"), (2, "db3")] {
                sqluice.await_health(name, "down");
                trio.restart(index);
                sqluice.await_health(name, "up");
            }
            trio.replicas().iter().for_each(crate::harness::Server::listen);
            session.assert_reads_leave();
        });
    }
}

#[test]
fn a_killed_replica_takes_no_read_with_it() {
    for flavour in FLAVOURS {
        let trio = Trio::start(flavour);
        on_both_engines(|engine| {
            let sqluice = Start::new(engine, split_trio(&trio)).run_with_servers_up(3);
            let database = trio_database(&trio);
            // Only the primary has it so: there the read takes no time, and at a replica it lasts until that is killed.
            trio.primary().root(&format!("SET sql_log_bin = 0; UPDATE {database}.t SET n = 0 WHERE id = 2"));
            let mut watchers = [1, 2].map(|index| (index, trio.servers[index].direct()));
            let mut client = sqluice.login(&account(&database)).expect("app logs in");
            let text = fresh_name("sleeps");
            client.command(format!("\x03SELECT n, SLEEP(n * 100), '{text}' FROM t WHERE id = 2").as_bytes());
            let runs = format!(
                "SELECT COUNT(*) FROM information_schema.processlist \
                 WHERE info LIKE '%{text}%' AND user = 'app' AND id <> CONNECTION_ID()"
            );
            let index = eventually("the read runs at a replica", || {
                watchers.iter_mut().find_map(|(index, watcher)| (watcher.value(&runs) == "1").then_some(*index))
            });
            trio.servers[index].kill();
            let reply = client.reply(Shape::Results).expect("the read is answered").ok();
            assert_eq!(reply.text_rows()[0][0].as_deref(), Some("0"), "{flavour:?}");
            trio.restart(index);
            sqluice.await_health(&format!("db{}", index + 1), "up");
        });
    }
}

#[test]
fn no_read_is_stale_and_none_goes_backwards() {
    for flavour in FLAVOURS {
        let trio = Trio::shared(flavour);
        on_both_engines(|engine| {
            let sqluice = Start::new(engine, split_trio(trio)).run_with_servers_up(3);
            assert_nothing_goes_backwards(trio, &sqluice, 60);
        });
    }
}

/// Each of some clients writes rows with rising numbers and reads them back at once, and all read what others wrote: what a
/// client wrote is there, and what it has seen of others never goes away again.
pub(crate) fn assert_nothing_goes_backwards(trio: &Trio, sqluice: &Sqluice, rounds: usize) {
    const WRITERS: usize = 8;
    const READERS: usize = 2;
    let database = trio_database(trio);
    let text = fresh_name("numbers_of");
    thread::scope(|scope| {
        for number in 0..WRITERS + READERS {
            let (sqluice, database, text) = (&sqluice, &database, &text);
            scope.spawn(move || {
                let mut client = sqluice.login(&account(database)).expect("app logs in");
                let mut seen = 0;
                for round in 1..=rounds {
                    if number < WRITERS {
                        writes_and_reads(&mut client, number, round, text);
                    }
                    let count = client.value(&format!("SELECT COUNT(*) FROM t WHERE '{text}' <> ''"));
                    let all: usize = count.parse().expect("a count");
                    assert!(all >= seen, "client {number} saw {seen} rows and then {all}");
                    seen = all;
                }
            });
        }
    });
    assert!(trio.heard(&text).1 > 0, "some of the reads were those of replicas");
}

fn writes_and_reads(client: &mut Client, number: usize, round: usize, text: &str) {
    let (low, high) = ((number + 1) * 1_000_000, (number + 2) * 1_000_000);
    client.execute(&format!("INSERT INTO t (n) VALUES ({})", low + round));
    let sql = format!("SELECT MAX(n) - {low}, '{text}' FROM t WHERE n > {low} AND n < {high}");
    let mine = &client.rows(&sql)[0][0];
    assert_eq!(*mine, Some(round.to_string()), "a client reads what it wrote");
}
