use crate::sql::{self, ClientCharset, Dialect, Family};

use super::*;

fn preparation(id: u32, text: &str, parameters: u16) -> Preparation {
    let dialect = Dialect {
        no_backslash_escapes: false,
        ansi_quotes: false,
        family: Family::MariaDb { version: 101_119 },
        charset: ClientCharset::Utf8,
    };
    Preparation {
        text: text.into(),
        classification: sql::classify(text.as_bytes(), dialect, true),
        meaning: 0,
        origin: None,
        id: Some(StatementId(id)),
        at_home: Some(StatementId(id)),
        parameters,
        definitions: Definitions::default(),
    }
}

/// One parameter, an INT of 7; with its type or without.
fn execute(id: u32, binds: bool) -> Vec<u8> {
    let mut payload = vec![0x17];
    payload.extend(id.to_le_bytes());
    payload.extend([0, 1, 0, 0, 0, 0, u8::from(binds)]);
    if binds {
        payload.extend([3, 0]);
    }
    payload.extend(7u32.to_le_bytes());
    payload
}

fn one() -> Statements {
    let mut statements = Statements::default();
    statements.prepared(preparation(5, "SELECT ?", 1));
    statements
}

#[test]
fn an_execution_goes_to_the_replica_under_its_number_there() {
    let mut statements = one();
    statements.prepared_at_replica(StatementId(5), StatementId(1));
    let payload = execute(5, true);
    let execution = Execution::parse(&payload, 1, false).unwrap();
    let sent = statements.for_replica(StatementId(5), &payload, &execution);
    assert_eq!(sent, Some(ForReplica::Number(StatementId(1))));
}

#[test]
fn types_that_one_server_was_told_are_told_to_the_other() {
    let mut statements = one();
    let (binding, bare) = (execute(5, true), execute(5, false));
    let execution = Execution::parse(&binding, 1, false).unwrap();
    assert_eq!(statements.find_mut(StatementId(5)).unwrap().bind(&binding, &execution, true), None);
    statements.prepared_at_replica(StatementId(5), StatementId(1));
    let execution = Execution::parse(&bare, 1, false).unwrap();
    let mut sent = || statements.for_replica(StatementId(5), &bare, &execution);
    assert_eq!(sent(), Some(ForReplica::Payload(execute(1, true))));
    assert_eq!(sent(), Some(ForReplica::Number(StatementId(1))));
    // Bound anew at the replica: home has the old ones.
    let execution = Execution::parse(&binding, 1, false).unwrap();
    statements.find_mut(StatementId(5)).unwrap().bind(&binding, &execution, false);
    let execution = Execution::parse(&bare, 1, false).unwrap();
    assert_eq!(statements.find_mut(StatementId(5)).unwrap().bind(&bare, &execution, true), Some(execute(5, true)));
}

#[test]
fn minus_one_is_the_statement_prepared_last() {
    let statements = one();
    assert_eq!(statements.find(StatementId::LAST_PREPARED).unwrap().id, StatementId(5));
}

#[test]
fn each_statement_is_found_in_whatever_order_they_come_and_go() {
    let mut statements = Statements::default();
    for id in [5, 1, 9, 3, 7, 3] {
        statements.prepared(preparation(id, &format!("SELECT {id}"), 0));
    }
    statements.close(StatementId(5));
    let text = |id| statements.find(StatementId(id)).map(|statement| statement.text.clone());
    for id in [1, 3, 7, 9] {
        assert_eq!(text(id), Some(format!("SELECT {id}").into_bytes()));
    }
    assert_eq!((text(5), text(4), statements.list.len()), (None, None, 4));
    let kept: usize = statements.list.iter().map(|statement| statement.kept).sum();
    assert_eq!(statements.bytes, kept);
}

#[test]
fn the_replica_keeps_a_bounded_number() {
    let mut statements = Statements::default();
    let count = AT_REPLICA_MAX as u32 + 1;
    for id in 1..=count {
        statements.prepared(preparation(id, "SELECT 1", 0));
    }
    for id in 1..=count {
        statements.prepared_at_replica(StatementId(id), StatementId(id + 1000));
    }
    assert_eq!(statements.take_closed(), [5, 0, 0, 0, 0x19, 0xE9, 3, 0, 0]);
}

#[test]
fn text_that_does_not_fit_is_not_kept() {
    let mut statements = Statements::default();
    for id in 0..5 {
        statements.prepared(preparation(id, &"x".repeat(64 << 10), 0));
    }
    assert!(statements.find(StatementId(2)).is_some());
    assert!(statements.find(StatementId(4)).is_none());
    statements.close(StatementId(2));
    statements.prepared(preparation(9, &"x".repeat(64 << 10), 0));
    assert!(statements.find(StatementId(9)).is_some());
}
