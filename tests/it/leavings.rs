//! What statements leave for those that ask about them: each kind of statement behind a query that ran at a replica, and
//! behind it each kind of question. What the client hears is what the primary alone would say, or an error that says that
//! nobody knows. It is never another number.

use crate::compare::execute_payload;
use crate::harness::wire::{capability as cap, query_payload};
use crate::harness::{
    Account, Client, Engine, Flavour, Reply, Shape, Sqluice, Start, Trio, fresh_name, lend_trio, split_trio,
};

/// What comes between the query and the question.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    Text(&'static str),
    /// A command with an answer of one packet.
    Command(&'static [u8]),
    Prepare(&'static str),
    /// Of what was prepared when the session began.
    Execute(usize),
}

use Leaving::{Command, Execute, Prepare, Text};

const PREPARED: [&str; 6] = [
    "SELECT n FROM three",
    "INSERT INTO t VALUES (5), (6)",
    "SELECT missing FROM three",
    "SELECT FOUND_ROWS(), ROW_COUNT()",
    "SELECT LAST_INSERT_ID(), FOUND_ROWS()",
    "SELECT @@warning_count",
];

const LEAVINGS: &[Leaving] = &[
    Text("SELECT n FROM three"),
    Text("SELECT n FROM three WHERE n > 9"),
    Text("SELECT SQL_CALC_FOUND_ROWS n FROM four LIMIT 1"),
    Text("SELECT n FROM three UNION ALL SELECT n FROM four"),
    Text("SELECT n FROM three UNION SELECT n FROM four LIMIT 2"),
    Text("SELECT 1 / 0, CAST('x' AS SIGNED)"),
    Text("SELECT CAST(CONCAT('x', n) AS SIGNED) FROM three"),
    Text("SELECT n FROM three FOR UPDATE"),
    Text("SELECT n INTO @into FROM three LIMIT 1"),
    Text("SELECT missing FROM three"),
    Text("SELECT * FROM missing"),
    Text("SELECT nonsense nonsense nonsense"),
    Text("SELECT n, (SELECT m.n FROM four m WHERE m.n >= f.n) FROM four f ORDER BY n DESC"),
    Text("SELECT n, (SELECT m.n FROM four m WHERE m.n >= f.n) FROM four f ORDER BY n DESC FOR UPDATE"),
    Text("SELECT (SELECT n FROM four)"),
    Text("SELECT n FROM three WHERE n = (SELECT n FROM four) FOR UPDATE"),
    Text("INSERT INTO three SELECT n FROM four"),
    Text("INSERT INTO t SELECT n FROM three WHERE 1 = 0"),
    Text("UPDATE three SET n = 1"),
    Text("UPDATE t, three SET t.n = 1 WHERE 1 = 0"),
    Text("DELETE t FROM t, three WHERE 1 = 0"),
    Text("DELETE FROM t WHERE EXISTS (SELECT 1 FROM three WHERE three.n = t.n)"),
    Text("DELETE FROM t WHERE n = (SELECT MAX(three.n) FROM three WHERE three.n = t.n)"),
    Text("UPDATE t SET n = (SELECT MAX(n) FROM three)"),
    Text("SET @a = 1 IN (SELECT n FROM three)"),
    Text("DO 1 IN (SELECT n FROM three)"),
    Text("INSERT INTO t VALUES (2 IN (SELECT n FROM three))"),
    Text("INSERT INTO t VALUES (IF(1, 1, (SELECT MAX(n) FROM three)))"),
    Text("SELECT n FROM three; SELECT * FROM missing"),
    Text("SELECT 1; SELECT * FROM missing; SELECT 2"),
    Text("SET @a = 1; SELECT * FROM missing"),
    Text("SHOW CREATE TABLE three; SELECT * FROM missing"),
    Text(FAILS_BEHIND_A_WRITE),
    Text("INSERT INTO t SELECT n FROM three; SELECT * FROM missing"),
    Text("SELECT n FROM three; SET @a = 1"),
    Text("BEGIN; INSERT INTO t VALUES (1), (2); COMMIT"),
    Text("SHOW CREATE TABLE three; SHOW CREATE TABLE four"),
    Text("SHOW CREATE DATABASE information_schema"),
    Text("SHOW WARNINGS"),
    Text("SHOW WARNINGS LIMIT 1"),
    Text("SHOW ERRORS"),
    Text("SHOW COUNT(*) WARNINGS"),
    Text("SELECT @@warning_count"),
    Text("SELECT FOUND_ROWS()"),
    Text("SELECT ROW_COUNT()"),
    Text("SELECT LAST_INSERT_ID()"),
    Text("SHOW TABLES LIKE 'three'"),
    Text("SHOW COLUMNS FROM three"),
    Text("SHOW CREATE TABLE three"),
    Text("SHOW INDEX FROM three"),
    Text("SHOW VARIABLES LIKE 'sql_mode'"),
    Text("DESCRIBE three"),
    Text("EXPLAIN SELECT n FROM three"),
    Text("INSERT INTO t VALUES (1), (2)"),
    Text("INSERT INTO numbered (v) VALUES (7), (8)"),
    Text("INSERT IGNORE INTO t VALUES ('x')"),
    Text("INSERT INTO t SELECT n FROM three"),
    Text("INSERT INTO four VALUES (9)"),
    Text("INSERT INTO missing VALUES (1)"),
    Text("UPDATE t SET n = n + 1"),
    Text("UPDATE t SET n = n WHERE 1 = 0"),
    Text("UPDATE t, three SET t.n = three.n WHERE t.n = three.n"),
    Text("DELETE FROM t WHERE n = 2"),
    Text("DELETE FROM t WHERE n IN (SELECT n FROM three)"),
    Text("REPLACE INTO t VALUES (1)"),
    Text("CREATE TABLE made (n INT)"),
    Text("CREATE TABLE IF NOT EXISTS three (n INT)"),
    Text("CREATE TABLE made SELECT n FROM three"),
    Text("DROP TABLE IF EXISTS missing"),
    Text("ALTER TABLE t COMMENT 'noted'"),
    Text("ALTER TABLE t ENGINE = InnoDB"),
    Text("TRUNCATE TABLE t"),
    Text("CREATE OR REPLACE VIEW v AS SELECT 1 AS one"),
    Text("ANALYZE TABLE three"),
    Text("CHECK TABLE three"),
    Text("OPTIMIZE TABLE three"),
    Text("CHECKSUM TABLE three"),
    Text("FLUSH STATUS"),
    Text("LOCK TABLES t READ"),
    Text("LOCK TABLES four READ"),
    Text("UNLOCK TABLES"),
    Text("SET @a = 1"),
    Text("SET @a = (SELECT MAX(n) FROM three)"),
    Text("SET @a = (SELECT COUNT(*))"),
    Text("SET sql_mode = 'ANSI_QUOTES'"),
    Text("SET NAMES latin1"),
    Text("SET SESSION TRANSACTION READ ONLY"),
    Text("SET TRANSACTION READ ONLY"),
    Text("SET missing_variable = 1"),
    Text("SET time_zone = '+01:00'"),
    Text("SET sql_select_limit = 2"),
    Text("CALL p_none()"),
    Text("CALL p_rows()"),
    Text("CALL p_into()"),
    Text("CALL p_fail()"),
    Text("CALL p_fail_silently()"),
    Text("CALL p_write()"),
    Text("CALL p_missing()"),
    Text("PREPARE s FROM 'SELECT n FROM three'"),
    Text("PREPARE s FROM 'SELECT n FROM three'; EXECUTE s"),
    Text("PREPARE s FROM 'INSERT INTO t VALUES (1), (2)'; EXECUTE s"),
    Text("DEALLOCATE PREPARE nothing"),
    Text("/* nothing */"),
    Text("# nothing"),
    Text("USE information_schema"),
    Text("USE <other>"),
    Text("USE missing"),
    Text("BEGIN"),
    Text("COMMIT"),
    Text("ROLLBACK"),
    Text("START TRANSACTION READ ONLY"),
    Text("SAVEPOINT s"),
    Text("HANDLER three OPEN"),
    Text("HANDLER three OPEN; HANDLER three READ FIRST"),
    Text("DO 1"),
    Text("DO SLEEP(0)"),
    Text("DO f_read()"),
    Text("DO (SELECT COUNT(*))"),
    Text("SELECT f_read()"),
    Text("SELECT f_write()"),
    Text("SELECT w FROM v_write"),
    Text("SELECT GET_LOCK('rows', 0)"),
    Text("KILL QUERY 0"),
    Text("HELP 'no such topic'"),
    Text("GET DIAGNOSTICS @n = NUMBER"),
    Text("SIGNAL SQLSTATE '01000'"),
    Text("SIGNAL SQLSTATE '45000'"),
    Command(b"\x0E"),
    Command(b"\x02information_schema"),
    Command(b"\x02no_such_schema"),
    Command(b"\x1B\0\0"),
    Command(b"\x1F"),
    Prepare("SELECT n FROM three"),
    Prepare("INSERT INTO t VALUES (1)"),
    Prepare("SELECT * FROM missing"),
    Execute(0),
    Execute(1),
    Execute(3),
];

/// A question, perhaps of several commands.
const QUESTIONS: &[&[Leaving]] = &[
    &[Text("SELECT FOUND_ROWS()")],
    &[Text("SELECT ROW_COUNT()")],
    &[Text("SELECT LAST_INSERT_ID()"), Text("SELECT FOUND_ROWS()")],
    &[Text("SELECT @@warning_count"), Text("SELECT FOUND_ROWS(), LAST_INSERT_ID()")],
    &[Text("SELECT @@error_count, ROW_COUNT()")],
    &[Text("SHOW WARNINGS"), Text("SELECT FOUND_ROWS()")],
    &[Text("SHOW WARNINGS"), Text("SELECT FOUND_ROWS(), ROW_COUNT(), LAST_INSERT_ID()")],
    &[Text("SELECT FOUND_ROWS(), ROW_COUNT()")],
    &[Text("SELECT ROW_COUNT(), LAST_INSERT_ID()")],
    &[Text("SELECT @@warning_count, FOUND_ROWS()")],
    &[Text("SELECT LAST_INSERT_ID(), ROW_COUNT(), FOUND_ROWS(), @@warning_count, @@error_count")],
    &[Text("SET @s = 1; SELECT FOUND_ROWS(), ROW_COUNT()")],
    &[Text("SELECT 1; SELECT FOUND_ROWS(), ROW_COUNT()")],
    &[Text("SELECT ROW_COUNT(); SELECT FOUND_ROWS()")],
    &[Text("SELECT FOUND_ROWS(); SELECT ROW_COUNT()")],
    &[Text("GET DIAGNOSTICS @n = NUMBER, @r = ROW_COUNT"), Text("SELECT @n, @r, FOUND_ROWS()")],
    &[Execute(3)],
    &[Execute(4)],
    &[Execute(5), Execute(3)],
    &[Text("EXECUTE counted")],
    &[Text("EXECUTE IMMEDIATE 'SELECT FOUND_ROWS()'"), Text("EXECUTE IMMEDIATE CONCAT('SELECT ', '1')")],
];

/// What `EXECUTE counted` runs. Sessions have it for that question alone: it binds them to their connection.
const COUNTED: &str = "PREPARE counted FROM 'SELECT FOUND_ROWS(), ROW_COUNT()'";

/// Behind a look at the primary some reads stay there; not the last of so many.
const READS: usize = 4;

/// What has the session be as it was, for statements that begin so.
const UNDO: &[(&str, &str)] = &[
    ("INSERT INTO four", "DELETE FROM four WHERE n = 9"),
    ("CREATE TABLE made", "DROP TABLE made"),
    ("LOCK", "UNLOCK TABLES"),
    ("SET sql_mode", "SET sql_mode = DEFAULT"),
    ("SET NAMES", "SET NAMES utf8mb4"),
    ("SET SESSION", "SET SESSION TRANSACTION READ WRITE"),
    ("SET TRANSACTION", "COMMIT"),
    ("SET time", "SET time_zone = DEFAULT"),
    ("SET sql_select", "SET sql_select_limit = DEFAULT"),
    ("USE", "USE <here>"),
    ("BEGIN", "COMMIT"),
    ("START", "COMMIT"),
    ("HANDLER", "HANDLER three CLOSE"),
    ("SELECT GET_LOCK", "SELECT RELEASE_LOCK('rows')"),
    ("SELECT n FROM three FOR", "COMMIT"),
    ("TRUNCATE", "INSERT INTO t VALUES (1), (2), (3)"),
    ("DELETE", "INSERT INTO t VALUES (1), (2), (3)"),
    ("UPDATE", "DELETE FROM t; INSERT INTO t VALUES (1), (2), (3)"),
];

const SCHEMA: &str = "CREATE TABLE four (n INT PRIMARY KEY); INSERT INTO four VALUES (1), (2), (3), (4); \
     CREATE TABLE three (n INT PRIMARY KEY); INSERT INTO three VALUES (1), (2), (3); \
     CREATE TABLE t (n INT); \
     CREATE TABLE numbered (id INT AUTO_INCREMENT PRIMARY KEY, v INT); \
     CREATE PROCEDURE p_none () SET @none = 1; \
     CREATE PROCEDURE p_rows () SELECT n FROM three; \
     CREATE PROCEDURE p_into () SELECT n INTO @into FROM three LIMIT 1; \
     CREATE PROCEDURE p_fail () BEGIN SELECT n FROM three; SIGNAL SQLSTATE '45000'; END; \
     CREATE PROCEDURE p_fail_silently () BEGIN SELECT n INTO @into FROM three LIMIT 1; SIGNAL SQLSTATE '45000'; END; \
     CREATE PROCEDURE p_write () INSERT INTO numbered (v) VALUES (1), (2); \
     CREATE FUNCTION f_read () RETURNS INT READS SQL DATA RETURN (SELECT COUNT(*) FROM three); \
     CREATE FUNCTION f_write () RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO t VALUES (3); RETURN 1; END; \
     CREATE VIEW v_write AS SELECT f_write() AS w; \
     CREATE TABLE <other>.four (n INT PRIMARY KEY); INSERT INTO <other>.four VALUES (1)";

/// One session of either way.
struct Session {
    client: Client,
    prepared: Vec<u32>,
    here: String,
}

impl Session {
    fn login(address: std::net::SocketAddr, capabilities: u64, here: &str) -> Session {
        let account = Account::new("app", "app").capabilities(capabilities).database(here);
        let client = Client::login(address, &account).unwrap_or_else(|error| panic!("app logs in: {error}"));
        let mut session = Session { client, prepared: Vec::new(), here: here.to_owned() };
        session.client.execute("SELECT 'begun'");
        session.prepared = PREPARED.iter().map(|text| session.prepare(text)).collect();
        session
    }

    fn prepare(&mut self, text: &str) -> u32 {
        let reply = self.client.ask(Shape::Prepare, &[b"\x16", text.as_bytes()].concat());
        if reply.error.is_some() {
            0
        } else {
            u32::from_le_bytes(reply.packets[0][1..5].try_into().expect("four bytes"))
        }
    }

    fn query(&mut self, text: &str) -> Reply {
        let text = text.replace("<here>", &self.here).replace("<other>", &format!("{}x", self.here));
        let payload = query_payload(self.client.capabilities, &text);
        self.client.ask(Shape::Results, &payload)
    }

    fn play(&mut self, leaving: Leaving) -> Reply {
        match leaving {
            Text(text) => self.query(text),
            Command(payload) => self.client.ask(Shape::Single, payload),
            Prepare(text) => {
                let mut reply = self.client.ask(Shape::Prepare, &[b"\x16", text.as_bytes()].concat());
                if reply.error.is_none() {
                    reply.packets[0][1..5].fill(0);
                }
                reply
            }
            Execute(place) => {
                let payload = execute_payload(self.client.capabilities, self.prepared[place], 0, &[]);
                self.client.ask(Shape::Results, &payload)
            }
        }
    }

    /// All that is heard of a question behind this.
    fn hear(&mut self, leaving: Leaving, question: &[Leaving]) -> Vec<Reply> {
        if matches!(leaving, Command(b"\x1F")) {
            self.prepared = PREPARED.iter().map(|text| self.prepare(text)).collect();
        }
        let is_by_name = question.iter().any(|asked| matches!(asked, Text("EXECUTE counted")));
        if is_by_name {
            self.query(COUNTED);
        }
        // The primary's connection has conditions of its own, which the reads make forgotten.
        self.query("SELECT missing FROM three FOR UPDATE");
        let mut heard: Vec<Reply> = (0..READS).map(|_| self.query("SELECT n FROM four")).collect();
        heard.push(self.play(leaving));
        heard.extend(question.iter().map(|asked| self.play(*asked)));
        match leaving {
            Command(_) => drop(self.query("USE <here>")),
            Text(text) => {
                let undo = UNDO.iter().filter(|(beginning, _)| text.starts_with(beginning)).map(|(_, undo)| undo);
                undo.for_each(|undo| drop(self.query(undo)));
            }
            Prepare(_) | Execute(_) => {}
        }
        if is_by_name {
            self.query("DEALLOCATE PREPARE counted");
        }
        heard
    }
}

/// A reply's rows, and its error.
fn shown(reply: &Reply) -> String {
    let rows: Vec<String> = reply.rows.iter().map(|row| row.escape_ascii().to_string()).collect();
    match &reply.error {
        Some(error) => format!("{rows:?} {}", error.code),
        None => format!("{rows:?}"),
    }
}

/// sqluice's own errors, and behind what and for what a client may hear them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// No reply tells whether that found rows, or home cannot run the query again.
    Unknown,
    /// Of several counts some are at the replica, and some at the primary.
    Apart,
    /// It went with a connection that is shared.
    Gone,
}

impl Refusal {
    fn of(reply: &Reply) -> Option<Refusal> {
        let message = &reply.error.as_ref().filter(|error| error.code == 1235)?.message;
        WORDS.iter().find(|(words, _)| message.starts_with(words)).map(|(_, refusal)| *refusal)
    }

    fn is_due(self, leaving: Leaving, question: &[Leaving], tenure: Tenure) -> bool {
        let is_uncertain = matches!(leaving, Text(text) if UNCERTAIN.iter().any(|part| text.contains(part)));
        let asks_several = question.len() > 1 || !matches!(question[0], Text(text) if SINGLE.contains(&text));
        match self {
            Refusal::Unknown => is_uncertain,
            Refusal::Apart => asks_several || matches!(leaving, Text(FAILS_BEHIND_A_WRITE)),
            Refusal::Gone => tenure == Tenure::Transaction,
        }
    }
}

const WORDS: [(&str, Refusal); 4] = [
    ("What FOUND_ROWS() is of is not known", Refusal::Unknown),
    ("What is asked for is at two servers", Refusal::Apart),
    ("What the last query found at the primary is not known any more", Refusal::Apart),
    ("What the statement before left on its connection", Refusal::Gone),
];

/// Stored and prepared code, what fails at work, queries that may not have been run, and locks that keep the primary from
/// running the query again.
const UNCERTAIN: [&str; 9] = [
    "CALL",
    "EXECUTE",
    "m.n >= f.n",
    "= (SELECT n FROM four)",
    "INSERT INTO three SELECT",
    "LOCK TABLES t",
    "IF(1",
    "DELETE",
    "UPDATE",
];

/// Of several statements that one failed of, nothing is known: the primary is asked.
const FAILS_BEHIND_A_WRITE: &str = "INSERT INTO t VALUES (1); SELECT * FROM missing";

/// Questions for one thing.
const SINGLE: [&str; 2] = ["SELECT FOUND_ROWS()", "SELECT ROW_COUNT()"];

/// How long a session has its connection to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tenure {
    Session,
    Transaction,
}

/// Those behind one statement: of three, one where sessions have their connection, and one where they share it, for a run to
/// be short. `SQLUICE_LEAVINGS=all` asks them all.
fn questions(row: usize, tenure: Tenure) -> impl Iterator<Item = &'static [Leaving]> {
    let are_all = std::env::var("SQLUICE_LEAVINGS").is_ok_and(|which| which == "all");
    let turn = row + tenure as usize;
    let asked = QUESTIONS.iter().enumerate().filter(move |(place, _)| are_all || (place + turn).is_multiple_of(3));
    asked.map(|(_, question)| *question)
}

/// What differs, for people.
fn differences(trio: &Trio, sqluice: &Sqluice, tenure: Tenure, capabilities: u64) -> Vec<String> {
    let mut found = Vec::new();
    let mut refused = 0;
    let mut all = 0;
    let (direct, through) = (database(trio), database(trio));
    trio.await_replicas();
    for (row, leaving) in LEAVINGS.iter().enumerate() {
        let mut left = Session::login(trio.primary().address, capabilities, &direct);
        let mut right = Session::login(sqluice.address, capabilities, &through);
        for question in questions(row, tenure) {
            let (heard, told) = (left.hear(*leaving, question), right.hear(*leaving, question));
            all += 1;
            if told.iter().any(|reply| Refusal::of(reply).is_some()) {
                // It reads at the primary from now on.
                left = Session::login(trio.primary().address, capabilities, &direct);
                right = Session::login(sqluice.address, capabilities, &through);
            }
            let place = (0..heard.len()).find(|place| {
                // What EXPLAIN and SHOW INDEX tell are estimates.
                let is_estimate = *place == READS && heard[*place].error.is_none();
                !is_estimate && shown(&heard[*place]).replace(&direct, &through) != shown(&told[*place])
            });
            let Some(place) = place else { continue };
            match Refusal::of(&told[place]) {
                Some(refusal) if refusal.is_due(*leaving, question, tenure) => refused += 1,
                _ => {
                    let (left, right) = (shown(&heard[place]), shown(&told[place]));
                    found.push(format!("{tenure:?}, {leaving:?} {question:?}: direct {left}, through {right}"));
                }
            }
        }
    }
    eprintln!("{all} questions, {refused} refused, {} differ", found.len());
    found
}

fn database(trio: &Trio) -> String {
    let name = fresh_name("rows");
    let mut client = trio.primary().direct();
    for text in [format!("CREATE DATABASE {name}"), format!("CREATE DATABASE {name}x"), format!("USE {name}")] {
        client.execute(&text);
    }
    client.execute(&SCHEMA.replace("<other>", &format!("{name}x")));
    name
}

fn check(flavour: Flavour) {
    let trio = Trio::shared(flavour);
    let base = cap::USUAL | cap::MULTI_STATEMENTS | cap::DEPRECATE_EOF | cap::SESSION_TRACK;
    let mut found = Vec::new();
    let modes = [(Tenure::Session, split_trio(trio)), (Tenure::Transaction, lend_trio(trio, 2))];
    for (tenure, configuration) in modes {
        let sqluice = Start::new(Engine::IoUring, configuration).run_with_servers_up(3);
        let offered = Client::connect(sqluice.address).expect("sqluice greets").greeting.capabilities;
        let before = trio.heard("FROM four").1;
        found.extend(differences(trio, &sqluice, tenure, base & offered));
        let reads = trio.heard("FROM four").1 - before;
        assert!(reads >= LEAVINGS.len() * QUESTIONS.len() / 3, "{reads} reads at replicas: too few to prove anything");
    }
    assert!(found.is_empty(), "{flavour:?}: {} differ\n{}", found.len(), found.join("\n"));
}

#[test]
fn what_statements_leave_is_told_as_the_primary_would_mariadb_10() {
    check(Flavour::MariaDb10);
}

#[test]
fn what_statements_leave_is_told_as_the_primary_would_mariadb_11() {
    check(Flavour::MariaDb11);
}

#[test]
fn what_statements_leave_is_told_as_the_primary_would_mysql() {
    check(Flavour::MySql97);
}
