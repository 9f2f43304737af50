//! Prepared statements of sessions that share their connections: whatever connection executes them, they answer as at one
//! server alone.

use super::{House, prepare};
use crate::compare::{MODES, Parameter, Recorder, execute_payload, same_beside_a_rival};
use crate::harness::wire::{append_lenenc_bytes, capability as cap, status};
use crate::harness::{ALL_FLAVOURS, Account, Client, Engine, Flavour, Shape, eventually, on_both_engines};

/// The scenario gives the same replies at one server and on one connection that another session takes now and then, to
/// clients without these capabilities.
fn same_on_one_connection(lacking: u64, scenario: impl Fn(&mut Recorder)) {
    same_beside_logins(&[UTF8MB4_GENERAL_CI], lacking, scenario);
}

/// That of the sessions that are compared.
const UTF8MB4_GENERAL_CI: u8 = 45;

/// The same, with each of these collations for the other session's login.
fn same_beside_logins(collations: &[u8], lacking: u64, scenario: impl Fn(&mut Recorder)) {
    for flavour in ALL_FLAVOURS {
        on_both_engines(|engine| {
            let house = match engine {
                Engine::IoUring => House::of_one_worker(engine, flavour),
                Engine::Epoll => House::open(engine, flavour, 1),
            };
            for ((mode, capabilities), collation) in MODES.into_iter().zip(collations.iter().cycle()) {
                eprintln!("{flavour:?}, {mode}, beside collation {collation}");
                same_beside_a_rival(house.server, &house.sqluice, capabilities & !lacking, *collation, &scenario);
            }
        });
    }
}

/// A value of each kind that a client may send: its type, the flag behind that, and its bytes.
fn values() -> Vec<(u8, u8, Vec<u8>)> {
    let text = |bytes: &[u8]| {
        let mut value = Vec::new();
        append_lenenc_bytes(&mut value, bytes);
        value
    };
    vec![
        (0x01, 0, (-5_i8).to_le_bytes().to_vec()),
        (0x01, 0x80, vec![250]),
        (0x02, 0, (-300_i16).to_le_bytes().to_vec()),
        (0x03, 0, (-70_000_i32).to_le_bytes().to_vec()),
        (0x03, 0x80, 4_000_000_000_u32.to_le_bytes().to_vec()),
        (0x08, 0, (-5_000_000_000_i64).to_le_bytes().to_vec()),
        (0x08, 0x80, u64::MAX.to_le_bytes().to_vec()),
        (0x04, 0, 1.5_f32.to_le_bytes().to_vec()),
        (0x05, 0, (-2.25_f64).to_le_bytes().to_vec()),
        (0xF6, 0, text(b"12.50")),
        (0xFD, 0, text("Zo\u{eb}".as_bytes())),
        (0xFC, 0, text(&[0, 255, b'\''])),
        (0x0A, 0, vec![4, 0xEA, 0x07, 2, 28]),
        (0x0C, 0, [&[11, 0xEA, 0x07, 2, 28, 23, 59, 58][..], &123_456_u32.to_le_bytes()].concat()),
        (0x0B, 0, [&[12, 1, 2, 0, 0, 0, 3, 4, 5][..], &600_000_u32.to_le_bytes()].concat()),
        (0x06, 0, Vec::new()),
    ]
}

/// COM_STMT_EXECUTE with these values; their types are in it only if it binds them.
fn execution(session: &Recorder, statement: u32, values: &[(u8, u8, Vec<u8>)], binds: bool) -> Vec<u8> {
    let has_attributes = session.client.capabilities & cap::QUERY_ATTRIBUTES != 0;
    let mut payload = [&[0x17], &statement.to_le_bytes()[..], &[0, 1, 0, 0, 0]].concat();
    if has_attributes {
        payload.push(values.len() as u8);
    }
    let mut nulls = vec![0_u8; values.len().div_ceil(8)];
    for (index, _) in values.iter().enumerate().filter(|(_, value)| value.0 == 0x06) {
        nulls[index / 8] |= 1 << (index % 8);
    }
    payload.extend(nulls);
    payload.push(u8::from(binds));
    for (kind, flag, _) in values.iter().filter(|_| binds) {
        payload.extend([*kind, *flag]);
        payload.extend(has_attributes.then_some(0));
    }
    values.iter().for_each(|(_, _, value)| payload.extend_from_slice(value));
    payload
}

#[test]
fn parameters_of_every_kind_keep_their_types_from_connection_to_connection() {
    // MariaDB tells a client that keeps definitions of columns only what it does not have.
    same_on_one_connection(cap::CACHE_METADATA, |session| {
        let values = values();
        let marks = vec!["?"; values.len()].join(", ");
        let statement = session.prepare(&format!("SELECT {marks}"));
        let concatenated = session.prepare(&format!("SELECT CONCAT_WS('|', {marks})"));
        for binds in [true, false, false, true] {
            for statement in [statement, concatenated] {
                let payload = execution(session, statement, &values, binds);
                session.ask(Shape::Results, &payload).ok();
            }
            session.give_way();
        }
    });
}

#[test]
fn statements_live_on_through_all_that_clients_do_with_them() {
    same_on_one_connection(0, |session| {
        session.query("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(100), b LONGTEXT) CHARSET utf8mb4").ok();
        let insert = session.prepare("INSERT INTO t VALUES (?, ?, ?)");
        let select = session.prepare("SELECT id, v, b FROM t WHERE id > ? ORDER BY id");
        session.give_way();
        for number in 1..=3 {
            session.execute(insert, 0, &[Parameter::Number(number), Parameter::Text("Zo\u{eb}"), Parameter::Null]).ok();
            session.give_way();
            session.execute(select, 0, &[Parameter::Number(0)]).ok();
        }
        session.execute(insert, 0, &[Parameter::Number(3), Parameter::Null, Parameter::Null]).failed();
        session.give_way();
        // In a transaction, and on a connection that does not know them yet.
        session.query("BEGIN").ok();
        session.execute(insert, 0, &[Parameter::Number(4), Parameter::Null, Parameter::Null]).ok();
        session.execute(select, 0, &[Parameter::Number(3)]).ok();
        session.query("ROLLBACK").ok();
        session.give_way();
        send_long_data(session, insert);
        session.execute(insert, 0, &[Parameter::Number(5), Parameter::Text("long"), Parameter::Long]).ok();
        session.give_way();
        session.execute(select, 0, &[Parameter::Number(4)]).ok();
        session.give_way();
        // COM_STMT_RESET takes the parts back.
        send_long_data(session, insert);
        session.ask(Shape::Single, &[&[0x1A], &insert.to_le_bytes()[..]].concat()).ok();
        session.give_way();
        session.execute(insert, 0, &[Parameter::Number(6), Parameter::Null, Parameter::Null]).ok();
        // What is closed is gone, wherever it was.
        session.client.command(&[&[0x19], &insert.to_le_bytes()[..]].concat());
        session.give_way();
        let capabilities = session.client.capabilities;
        session.ask(Shape::Results, &execute_payload(capabilities, insert, 0, &[])).failed();
        session.ask(Shape::Single, &[&[0x1A], &insert.to_le_bytes()[..]].concat()).failed();
        session.execute(select, 0, &[Parameter::Number(0)]).ok();
    });
}

fn send_long_data(session: &mut Recorder, statement: u32) {
    for piece in ["long ", "data ", "in pieces"] {
        session
            .client
            .command(&[&[0x18], &statement.to_le_bytes()[..], &2_u16.to_le_bytes(), piece.as_bytes()].concat());
    }
}

#[test]
fn statements_see_what_became_of_their_tables() {
    same_on_one_connection(cap::CACHE_METADATA, |session| {
        session.query("CREATE TABLE t (id INT PRIMARY KEY, v INT)").ok();
        session.query("INSERT INTO t VALUES (1, 10)").ok();
        let some = session.prepare("SELECT id, v FROM t");
        let update = session.prepare("UPDATE t SET v = v + ?");
        session.give_way();
        session.query("ALTER TABLE t ADD COLUMN w INT DEFAULT 7").ok();
        session.give_way();
        session.execute(some, 0, &[]).ok();
        session.execute(update, 0, &[Parameter::Number(5)]).ok();
        let all = session.prepare("SELECT * FROM t");
        session.give_way();
        session.query("ALTER TABLE t DROP COLUMN w, ADD COLUMN x VARCHAR(5) DEFAULT 'x'").ok();
        session.give_way();
        session.execute(all, 0, &[]).ok();
        session.query("DROP TABLE t").ok();
        session.give_way();
        session.execute(some, 0, &[]).failed();
        session.execute(update, 0, &[Parameter::Number(5)]).failed();
        session.query("CREATE TABLE t (id INT PRIMARY KEY, v INT)").ok();
        session.give_way();
        session.execute(some, 0, &[]).ok();
    });
}

#[test]
fn mariadbs_pipelined_and_bulk_executions_follow_the_connection() {
    for flavour in [Flavour::MariaDb10, Flavour::MariaDb11] {
        on_both_engines(|engine| {
            let house = House::open(engine, flavour, 1);
            same_beside_a_rival(
                house.server,
                &house.sqluice,
                MODES[2].1,
                UTF8MB4_GENERAL_CI,
                &|session: &mut Recorder| {
                    session.query("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))").ok();
                    let insert = session.prepare("INSERT INTO t VALUES (?, ?)");
                    for (first, binds) in [(0, true), (10, false), (20, false)] {
                        session.give_way();
                        let payload = bulk(insert, first, binds);
                        session.ask(Shape::Results, &payload).ok();
                    }
                    let select = session.prepare("SELECT COUNT(*) FROM t WHERE id > ?");
                    session.execute(select, 0, &[Parameter::Number(5)]).ok();
                    session.give_way();
                    // -1 is the statement that was prepared last, whoever has prepared what since.
                    session.execute(u32::MAX, 0, &[Parameter::Number(15)]).ok();
                    session.ask(Shape::Prepare, b"\x16SELEKT").failed();
                    session.give_way();
                    session.execute(u32::MAX, 0, &[Parameter::Number(15)]).failed();
                },
            );
        });
    }
}

/// COM_STMT_BULK_EXECUTE of ten rows.
fn bulk(statement: u32, first: i64, binds: bool) -> Vec<u8> {
    let flags: u16 = if binds { 0x80 } else { 0 };
    let mut payload = [&[0xFA], &statement.to_le_bytes()[..], &flags.to_le_bytes()].concat();
    payload.extend_from_slice(if binds { &[0x08, 0, 0xFD, 0] } else { &[] });
    for number in first..first + 10 {
        payload.push(0);
        payload.extend_from_slice(&number.to_le_bytes());
        payload.extend_from_slice(&[0, 3, b'a', b'b', b'c']);
    }
    payload
}

#[test]
fn an_open_cursor_and_parts_of_parameters_keep_the_connection_until_they_are_gone() {
    for flavour in ALL_FLAVOURS {
        on_both_engines(|engine| {
            let house = House::open(engine, flavour, 1);
            let [mut first, mut second] = [house.client(), house.client()];
            first.execute("INSERT INTO t (client, n) VALUES (1, 1), (1, 2), (1, 3)");
            let select = prepare(&mut first, "SELECT n FROM t ORDER BY n");
            let insert = prepare(&mut first, "INSERT INTO t (client, n) SELECT LENGTH(?), 0");
            let is_kept = |second: &mut Client| {
                let error = house.refused(second, "SELECT 1");
                assert_eq!(error.code, 1040, "{flavour:?}: {error}");
                let pins: Vec<String> = house.sqluice.sessions().iter().map(|row| row["pins"].to_string()).collect();
                assert!(pins.iter().any(|pins| pins.contains("prepared statement")), "{pins:?}");
            };
            assert_eq!(second.value("SELECT 1"), "1", "open statements keep nothing");

            let opened = first.ask(Shape::Results, &execute_payload(first.capabilities, select, 1, &[])).ok();
            assert_eq!(opened.status & status::CURSOR_EXISTS, status::CURSOR_EXISTS);
            is_kept(&mut second);
            let fetch = |count: u32| [&[0x1C], &select.to_le_bytes()[..], &count.to_le_bytes()].concat();
            assert_eq!(first.ask(Shape::Rows, &fetch(2)).ok().rows.len(), 2);
            is_kept(&mut second);
            let last = first.ask(Shape::Rows, &fetch(2)).ok();
            assert_eq!((last.rows.len(), last.status & status::LAST_ROW_SENT), (1, status::LAST_ROW_SENT));
            assert_eq!(second.value("SELECT 1"), "1", "the cursor is closed");

            first.command(&[&[0x18], &insert.to_le_bytes()[..], &[0, 0], b"parts"].concat());
            first.ping();
            is_kept(&mut second);
            let execution = execute_payload(first.capabilities, insert, 0, &[Parameter::Long]);
            first.ask(Shape::Results, &execution).ok();
            assert_eq!(second.value("SELECT client FROM t WHERE n = 0"), "5");
        });
    }
}

/// Whoever logged in at the connection. On MySQL, a reset gives a session the server's own in place of the login's.
#[test]
fn a_session_has_the_character_sets_of_its_login_or_of_its_reset() {
    const UTF8MB4_UNICODE_CI: u8 = 224;
    same_beside_logins(&[UTF8MB4_GENERAL_CI, UTF8MB4_UNICODE_CI], 0, |session| {
        for set in
            ["SET @a = 1", "SET time_zone = '+01:00'", "SET NAMES utf8mb4", "SET collation_connection = utf8mb4_bin"]
        {
            session.give_way();
            session.query("SELECT 'text', COLLATION('text')");
            session.query(set);
        }
        session.give_way();
        session.query("SELECT 'text', COLLATION('text')");
        session.ask(Shape::Single, &[0x1F]);
        let statement = session.prepare("SELECT 'text'");
        for _ in 0..2 {
            session.give_way();
            session.execute(statement, 0, &[]);
            session.query("SELECT 'text', COLLATION('text')");
        }
    });
}

/// A connection is held a moment for who may ask about the last statement, and then is for whoever waits.
#[test]
fn parts_of_a_parameter_keep_a_connection_that_was_only_held() {
    for flavour in ALL_FLAVOURS {
        on_both_engines(|engine| {
            let house = House::open(engine, flavour, 1);
            let [mut first, mut second] = [house.client(), house.client()];
            let insert = prepare(&mut first, "INSERT INTO t (client, n) SELECT LENGTH(?), 0");
            let execution = |value| execute_payload(first.capabilities, insert, 0, &[value]);
            let (short, in_parts) = (execution(Parameter::Text("one")), execution(Parameter::Long));
            first.ask(Shape::Results, &short).ok();
            first.command(&[&[0x18], &insert.to_le_bytes()[..], &[0, 0], b"parts"].concat());
            second.command(b"\x03SELECT 1");
            eventually("the second waits for the connection", || (house.counted("waiting") == 1).then_some(()));
            first.ask(Shape::Results, &in_parts).ok();
            second.reply(Shape::Results).expect("a whole reply").ok();
            assert_eq!(first.value("SELECT MAX(client) FROM t"), "5");
        });
    }
}

#[test]
fn a_client_that_keeps_the_definitions_is_told_when_they_are_others() {
    for flavour in [Flavour::MariaDb10, Flavour::MariaDb11] {
        on_both_engines(|engine| {
            let house = House::open(engine, flavour, 1);
            let account = Account::new("app", "app").database(&house.database).capabilities(MODES[2].1);
            let [mut first, mut second] = [(); 2].map(|()| house.sqluice.login(&account).expect("app logs in"));
            assert_ne!(first.capabilities & cap::CACHE_METADATA, 0);
            let statement = prepare(&mut first, "SELECT * FROM t");
            second.execute("ALTER TABLE t ADD COLUMN more INT");
            let payload = execute_payload(first.capabilities, statement, 0, &[]);
            let error = first.ask(Shape::Results, &payload).failed();
            assert_eq!((error.code, error.state.as_str()), (1615, "HY000"), "{error}");
            first.command(&[&[0x19], &statement.to_le_bytes()[..]].concat());
            let statement = prepare(&mut first, "SELECT * FROM t");
            let payload = execute_payload(first.capabilities, statement, 0, &[]);
            first.ask(Shape::Results, &payload).ok();
            // What one connection told the client with an execution, no other knows it to have.
            let typed = prepare(&mut first, "SELECT ?");
            let payload = execute_payload(first.capabilities, typed, 0, &[Parameter::Number(5)]);
            first.ask(Shape::Results, &payload).ok();
            assert_eq!(house.refused(&mut second, "SELECT 1").code, 1040);
            first.command(&[&[0x19], &typed.to_le_bytes()[..]].concat());
            assert_eq!(second.value("SELECT 1"), "1");
        });
    }
}

#[test]
fn more_statements_than_a_connection_keeps_are_all_executed() {
    const STATEMENTS: u32 = 300;
    for flavour in ALL_FLAVOURS {
        on_both_engines(|engine| {
            let house = House::open(engine, flavour, 1);
            let [mut first, mut second] = [house.client(), house.client()];
            let numbers = (0..STATEMENTS).map(|number| prepare(&mut first, &format!("SELECT 'text {number:03}'")));
            let numbers: Vec<u32> = numbers.collect();
            let mut execute_all = || {
                for (number, statement) in numbers.iter().enumerate() {
                    let payload = execute_payload(first.capabilities, *statement, 0, &[]);
                    let rows = first.ask(Shape::Results, &payload).ok().rows;
                    assert_eq!(rows, [[&[0, 0, 8][..], format!("text {number:03}").as_bytes()].concat()]);
                }
            };
            execute_all();
            assert_eq!(second.value("SELECT 1"), "1");
            execute_all();
        });
    }
}
