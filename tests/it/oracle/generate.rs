//! Chance makes programs of pieces: short runs of steps that mean something together, with reads strewn between them.
//!
//! Nothing here may depend on the clock, on the connection's number, or on what other sessions do: a program has to give
//! the same result twice. Placeholders: see [`fill`].

use super::pieces::{COMMON, MARIADB, MYSQL, READS};
use super::program::{Program, Rows, Step, Types, Value};
use super::random::Random;
use crate::harness::Flavour;

/// Places for binary prepared statements.
const PLACES: usize = 3;

pub(super) fn generate(seed: u64, flavour: Flavour, length: usize) -> Program {
    let mut random = Random::new(seed);
    let mut steps = Vec::new();
    while steps.len() < length {
        for step in piece(&mut random, flavour) {
            steps.push(step);
            while random.once_in(4) {
                steps.push(read(&mut random));
            }
        }
    }
    Program { seed, steps }
}

/// The program with moments between its steps at which another session may take its connection: not where the next step
/// asks what the one before has left there. Its statements are executed with values of one kind: what servers make of a
/// parameter depends on its types in all executions before, which a connection that is prepared anew did not see.
pub(super) fn giving_way(program: Program) -> Program {
    let mut random = Random::new(!program.seed);
    let mut texts: [&[u8]; PLACES] = [b""; PLACES];
    let mut steps = Vec::new();
    let of_one_kind: Vec<Step> = program.steps.iter().filter_map(of_one_kind).collect();
    for step in &of_one_kind {
        let text = match step {
            Step::Query(text) => text,
            Step::Prepare { place, sql } => {
                texts[*place] = sql.as_bytes();
                texts[*place]
            }
            Step::Execute { place, .. } => texts[*place],
            _ => b"",
        };
        if random.once_in(3) && !asks_of_the_last(text) {
            steps.push(Step::GiveWay);
        }
        steps.push(step.clone());
    }
    Program { steps, ..program }
}

/// The program behind a beginning that reads at replicas which lag, then writes, and reads more when they have caught up:
/// the first reads behind a write stay at home, and most of what programs do keeps them there.
pub(super) fn catching_up(program: Program) -> Program {
    let mut random = Random::new(!program.seed);
    let mut steps: Vec<Step> = (0..3).map(|_| of_tables(&mut random)).collect();
    steps.push(Step::Query(b"INSERT INTO t1 (n) VALUES (1)".to_vec()));
    steps.extend((0..3).map(|_| of_tables(&mut random)));
    steps.push(Step::CatchUp);
    steps.extend((0..8).map(|_| of_tables(&mut random)));
    steps.extend(program.steps);
    Program { steps, ..program }
}

/// One of the first reads, which do nothing but read.
fn of_tables(random: &mut Random) -> Step {
    let text = *random.pick(&READS[..5]);
    Step::Query(fill(random, text))
}

/// The step with a number for each of its parameters; none of one that sends parts of them.
fn of_one_kind(step: &Step) -> Option<Step> {
    match step {
        Step::LongData { .. } => None,
        Step::Execute { place, rows, parameters, types } => Some(Step::Execute {
            place: *place,
            rows: *rows,
            parameters: (0..parameters.len()).map(|index| Value::LongLong(index as i64 + 3)).collect(),
            types: *types,
        }),
        other => Some(other.clone()),
    }
}

fn asks_of_the_last(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 7] =
        [b"ROW_COUNT", b"FOUND_ROWS", b"WARNINGS", b"ERRORS", b"DIAGNOSTICS", b"WARNING_COUNT", b"ERROR_COUNT"];
    let text = text.to_ascii_uppercase();
    WORDS.iter().any(|word| text.windows(word.len()).any(|part| part == *word))
}

fn piece(random: &mut Random, flavour: Flavour) -> Vec<Step> {
    let family = if flavour.is_mariadb() { MARIADB } else { MYSQL };
    match random.below(20) {
        0..=3 => vec![read(random)],
        4..=12 => texts(random, COMMON),
        13..=14 => texts(random, family),
        15..=18 => prepared(random),
        _ => vec![command(random)],
    }
}

/// One of these runs of statements.
fn texts(random: &mut Random, pieces: &[&[&str]]) -> Vec<Step> {
    random.pick(pieces).iter().map(|text| Step::Query(fill(random, text))).collect()
}

fn read(random: &mut Random) -> Step {
    let text = *random.pick(READS);
    let sql = fill(random, text);
    Step::Query(if random.once_in(6) { disguised(random, &sql) } else { sql })
}

/// The same statement, written so that a hasty look at its beginning sees something else.
fn disguised(random: &mut Random, sql: &[u8]) -> Vec<u8> {
    let (before, after): (&str, &str) = *random.pick(&[
        ("/* INSERT INTO t1 */ ", ""),
        ("-- UPDATE\n", ""),
        ("# DELETE\n \t", ""),
        ("\r\n\t ", " \n"),
        ("/*!40000 */", ""),
        ("/**/", ";"),
        ("", " -- ; INSERT INTO t1 (n) VALUES (1)"),
        ("", " /* ; BEGIN */"),
    ]);
    [before.as_bytes(), sql, after.as_bytes()].concat()
}

/// Replaces `<n>` by a small number, `<w>` by a string literal, `<v>` by a user variable. What names the program's schema
/// stays; see [`super::schema::HERE`].
fn fill(random: &mut Random, template: &str) -> Vec<u8> {
    const WORDS: [&str; 10] = [
        "'a'",
        "'Zoë'",
        "'it''s'",
        "'two words'",
        "''",
        "'-- no comment'",
        "'; DROP TABLE t9'",
        "'@u1'",
        "N'漢字'",
        "'/*'",
    ];
    const VARIABLES: [&str; 4] = ["@u1", "@u2", "@`u3`", "@U1"];
    let mut sql = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find('<') {
        sql.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at..];
        let (text, length) = match &rest.as_bytes()[..rest.len().min(3)] {
            b"<n>" => (random.below(15).to_string(), 3),
            b"<w>" => ((*random.pick(&WORDS)).to_owned(), 3),
            b"<v>" => ((*random.pick(&VARIABLES)).to_owned(), 3),
            _ => ("<".to_owned(), 1),
        };
        sql.extend_from_slice(text.as_bytes());
        rest = &rest[length..];
    }
    sql.extend_from_slice(rest.as_bytes());
    sql
}

/// A statement and how many parameters it has.
const PREPARED: &[(&str, usize)] = &[
    ("SELECT ?, ? + 1, CONCAT(?, 'x')", 3),
    ("SELECT id, n, s, d, moment, stamp FROM t1 WHERE id > ? ORDER BY id", 1),
    ("SELECT a.id, b.label, b.body FROM t1 a JOIN t2 b ON b.t1_id = a.id WHERE a.n = ? OR b.id = ? ORDER BY b.id", 2),
    ("INSERT INTO t1 (n, s, d) VALUES (?, ?, ?)", 3),
    ("UPDATE t1 SET n = n + ? WHERE id < ?", 2),
    ("DELETE FROM t1 WHERE id = ?", 1),
    ("REPLACE INTO t2 VALUES (?, 1, ?, ?)", 3),
    ("SELECT * FROM tmp1 WHERE a > ? ORDER BY a", 1),
    ("INSERT INTO tmp1 VALUES (?, ?)", 2),
    ("SELECT @u1, @u2, ?", 1),
    ("SELECT LAST_INSERT_ID(), ROW_COUNT(), FOUND_ROWS()", 0),
    ("SELECT * FROM t1 WHERE id = ? FOR UPDATE", 1),
    ("SELECT GET_LOCK('<db>', 0), RELEASE_LOCK('<db>')", 0),
    ("SELECT SQL_CALC_FOUND_ROWS id FROM t1 ORDER BY id LIMIT ?", 1),
    ("SELECT f_pure(?), f_write(?)", 2),
    ("CALL p_rows(?)", 1),
    ("CALL p_out(?, @u1, @u2)", 1),
    ("CALL p_write(?)", 1),
    ("SET @u1 = ?", 1),
    ("SET @@group_concat_max_len = ?", 1),
    ("SELECT GROUP_CONCAT(s ORDER BY id) FROM t1 WHERE id > ?", 1),
    ("SELECT 1 / ?, CAST(? AS SIGNED)", 2),
    ("SELECT id, s INTO @u1, @u2 FROM t1 WHERE id = ?", 1),
    ("SELECT @u1 := ?", 1),
    ("SELECT * FROM missing WHERE a = ?", 1),
    ("SELECT \"a\", 'b\\'c', @@sql_mode, ?", 1),
    ("SHOW WARNINGS", 0),
    ("SELECT @@server_id, @@port, @@read_only", 0),
    ("SELECT w FROM v_write WHERE id = ?", 1),
    ("SELECT DATABASE(), @@time_zone, @@autocommit, FROM_UNIXTIME(?)", 1),
    ("BEGIN", 0),
    ("COMMIT", 0),
    ("DROP TABLE IF EXISTS tmp1", 0),
    ("SELEKT ?", 1),
];

fn prepared(random: &mut Random) -> Vec<Step> {
    let place = random.below(PLACES);
    // Most use one that another piece has prepared, with whatever number of parameters that one has.
    let ((sql, count), mut steps) = match random.below(5) {
        0 => (*random.pick(PREPARED), Vec::new()),
        _ => {
            let chosen = *random.pick(PREPARED);
            (chosen, vec![Step::Prepare { place, sql: chosen.0.to_owned() }])
        }
    };
    for round in 0..1 + random.below(3) {
        // MariaDB's error for a parameter of a wrong kind names the row that the statement before was at.
        let is_call = sql.starts_with("CALL");
        let mut parameters: Vec<Value> =
            (0..count).map(|_| if is_call { Value::Long(random.below(12) as i32) } else { value(random) }).collect();
        if count > 0 && !is_call && random.once_in(6) {
            let parameter = random.below(count);
            steps.push(Step::LongData { place, parameter: parameter as u16, bytes: long_bytes(random) });
            steps.push(Step::LongData { place, parameter: parameter as u16, bytes: b"5".to_vec() });
            parameters[parameter] = Value::Sent;
            if random.once_in(4) {
                steps.push(Step::Reset { place });
            }
        }
        // The types of an earlier round hold only for values of the same types.
        let types = if round > 0 && random.once_in(2) { Types::AsBefore } else { Types::Said };
        if types == Types::AsBefore {
            parameters = as_before(&steps).unwrap_or(parameters);
        }
        let rows = if sql.contains("SELECT") && random.once_in(5) { Rows::Cursor } else { Rows::AtOnce };
        steps.push(Step::Execute { place, rows, parameters, types });
        if rows == Rows::Cursor {
            for _ in 0..random.below(4) {
                steps.push(Step::Fetch { place, count: 1 + random.below(4) as u32 });
            }
        }
    }
    match random.below(8) {
        0 => steps.push(Step::Reset { place }),
        1 | 2 => steps.push(Step::Close { place }),
        _ => {}
    }
    steps
}

/// The values of the last execution, whose types the server still has.
fn as_before(steps: &[Step]) -> Option<Vec<Value>> {
    steps.iter().rev().find_map(|step| match step {
        Step::Execute { parameters, .. } => Some(parameters.clone()),
        _ => None,
    })
}

fn value(random: &mut Random) -> Value {
    match random.below(12) {
        0 => Value::Null,
        1 => Value::Tiny(random.below(9) as i8 - 4),
        2..=4 => Value::Long(random.below(12) as i32),
        5..=7 => Value::LongLong(random.below(12) as i64),
        8 => Value::Double(random.below(40) as f64 / 8.0),
        9 => Value::Text((*random.pick(&["4", "x", "Zoë", ""])).to_owned()),
        10 => Value::Blob(vec![0, 39, 92, random.below(256) as u8]),
        _ => Value::Date(2024, 2, 1 + random.below(29) as u8),
    }
}

fn long_bytes(random: &mut Random) -> Vec<u8> {
    let length = *random.pick(&[0, 1, 40, 300, 20_000]);
    vec![b'0' + random.below(10) as u8; length]
}

fn command(random: &mut Random) -> Step {
    match random.below(12) {
        0..=2 => Step::Ping,
        3 | 4 => Step::ResetConnection,
        5 => Step::ChangeUser { database: Some("<db>".to_owned()) },
        6 if random.once_in(3) => Step::ChangeUser { database: None },
        6 | 7 => Step::InitDb((*random.pick(&["<db>", "<db>x", "information_schema", "no_such_schema"])).to_owned()),
        8 => Step::FieldList((*random.pick(&["t1", "t2", "missing", "tmp1"])).to_owned()),
        9 => Step::MultiStatements(false),
        _ => Step::MultiStatements(true),
    }
}
