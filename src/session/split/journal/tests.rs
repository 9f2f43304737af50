//! What the journal makes of changes.

use crate::sql::Family;

use super::{variables::compared, *};

const DIALECT: Dialect = Dialect {
    no_backslash_escapes: false,
    ansi_quotes: false,
    family: Family::MariaDb { version: 101_119 },
    charset: ClientCharset::Utf8,
};

fn names() -> impl Iterator<Item = &'static str> {
    compared(DIALECT.family)
}

fn baseline() -> Values {
    Values::new(DIALECT.family, names().map(|_| b"1".to_vec()))
}

fn journal() -> Journal {
    let mut journal = Journal::new(None);
    journal.set_baseline(baseline());
    journal
}

fn settings(journal: &Journal, theirs: &Values) -> String {
    let statement = journal.settings(Some(theirs), std::iter::empty()).expect("writable");
    String::from_utf8(statement.unwrap_or_default()).unwrap()
}

#[test]
fn a_session_that_changed_nothing_needs_nothing_where_servers_are_alike() {
    assert_eq!(settings(&journal(), &baseline()), "");
}

#[test]
fn other_defaults_and_changes_are_made_the_same() {
    let mut journal = journal();
    let value = |name: &&str| if *name == "time_zone" { b"SYSTEM".to_vec() } else { b"1".to_vec() };
    let theirs = Values::new(DIALECT.family, names().map(|name| value(&name)));
    assert_eq!(settings(&journal, &theirs), "SET SESSION time_zone=1");
    journal.variable_changed(b"time_zone", b"+02:00");
    journal.variable_changed(b"sort_buffer_size", b"300000");
    journal.variable_changed(b"character_set_results", b"");
    assert_eq!(
        settings(&journal, &theirs),
        "SET SESSION time_zone='+02:00', SESSION sort_buffer_size=300000, SESSION character_set_results=NULL"
    );
}

#[test]
fn what_another_variable_sets_anew_is_set_behind_it() {
    let mut journal = journal();
    journal.variable_changed(b"collation_connection", b"latin1_bin");
    journal.variable_changed(b"character_set_connection", b"latin1");
    assert_eq!(
        settings(&journal, &baseline()),
        "SET SESSION character_set_connection='latin1', SESSION collation_connection='latin1_bin'"
    );
}

#[test]
fn names_go_with_the_session_as_names() {
    let mut journal = journal();
    // MariaDB does not tell of the collation.
    journal.variable_changed(b"character_set_client", b"latin1");
    journal.named(b"SET NAMES 'latin1' COLLATE Latin1_bin", DIALECT);
    let value = |name| if name == "character_set_results" { b"other".to_vec() } else { b"1".to_vec() };
    let theirs = Values::new(DIALECT.family, names().map(value));
    assert_eq!(settings(&journal, &theirs), "SET NAMES 'latin1' COLLATE 'latin1_bin'");
    assert_eq!(journal.charset(), ClientCharset::from_name(b"latin1"));
    journal.variable_changed(b"character_set_results", b"ascii");
    journal.named(b"SET character_set_results = ascii", DIALECT);
    assert_eq!(
        settings(&journal, &theirs),
        "SET NAMES 'latin1' COLLATE 'latin1_bin', SESSION character_set_results='ascii'"
    );
}

#[test]
fn literals_of_user_variables_go_with_the_session() {
    let mut journal = journal();
    journal.assigned(b"SET @a = 5, @`B` := 'text', @c = 1 + 1", DIALECT);
    assert_eq!(settings(&journal, &baseline()), "SET @`a`=5, @`b`='text'");
    let knows = |text: &str| journal.knows_user_variables(text.as_bytes(), DIALECT);
    assert!(knows("SELECT @A, @b, @never_set"));
    assert!(!knows("SELECT @c"));
}

#[test]
fn a_variable_that_becomes_null_keeps_the_type_of_its_value_before() {
    let mut journal = journal();
    journal.assigned(b"SET @a = 5, @b = NULL, @c = 1 + 1", DIALECT);
    journal.assigned(b"SET @a = null, @b = NULL, @c = NULL", DIALECT);
    assert_eq!(settings(&journal, &baseline()), "SET @`a`=5, @`a`=NULL, @`b`=NULL");
    journal.assigned(b"SET @a = NULL", DIALECT);
    assert_eq!(settings(&journal, &baseline()), "SET @`a`=5, @`a`=NULL, @`b`=NULL");
    let knows = |journal: &Journal, text: &str| journal.knows_user_variables(text.as_bytes(), DIALECT);
    assert!(knows(&journal, "SELECT @a, @b"));
    assert!(!knows(&journal, "SELECT @c"), "of a type that nobody knows");
    journal.forget_user_variables();
    journal.assigned(b"SET @d = NULL", DIALECT);
    assert!(!knows(&journal, "SELECT @d"));
    journal.assigned(b"SET @a = 6", DIALECT);
    assert_eq!(settings(&journal, &baseline()), "SET @`a`=6");
}

#[test]
fn strings_are_forgotten_when_the_session_reads_texts_in_another_way() {
    let mut journal = journal();
    journal.assigned(b"SET @a = 5, @b = 'text'", DIALECT);
    let before = journal.meaning();
    journal.variable_changed(b"character_set_client", b"latin1");
    assert!(journal.meaning() > before);
    assert!(journal.knows_user_variables(b"SELECT @a", DIALECT));
    assert!(!journal.knows_user_variables(b"SELECT @b", DIALECT));
}

#[test]
fn code_that_nobody_saw_makes_all_user_variables_unknown() {
    let mut journal = journal();
    journal.assigned(b"SET @a = 5", DIALECT);
    journal.forget_user_variables();
    assert!(!journal.knows_user_variables(b"SELECT @a", DIALECT));
    journal.assigned(b"SET @a = 6", DIALECT);
    assert!(journal.knows_user_variables(b"SELECT @a", DIALECT));
    assert!(!journal.knows_user_variables(b"SELECT @other", DIALECT));
}

#[test]
#[cfg_attr(miri, ignore = "2000 variables, to get past the bound")]
fn of_too_many_user_variables_none_is_kept() {
    let mut journal = journal();
    for count in 0..2000 {
        journal.assigned(format!("SET @variable_{count} = 1").as_bytes(), DIALECT);
        assert!(journal.user_variables.iter().map(UserVariable::bytes).sum::<usize>() <= BYTES_MAX + 100);
    }
    assert!(!journal.is_portable());
    assert!(!journal.knows_user_variables(b"SELECT @variable_1", DIALECT));
}

#[test]
fn what_is_bound_to_a_server_is_not_carried() {
    let mut journal = journal();
    assert_eq!(journal.variable_changed(b"timestamp", b"1000.0"), Noted::ServerBound);
    assert_eq!(journal.variable_changed(b"session_track_schema", b"OFF"), Noted::Tracking);
    assert_eq!(journal.variable_changed(b"last_gtid", b"0-1-2"), Noted::Ignored);
    assert_eq!(settings(&journal, &baseline()), "");
}

#[test]
fn a_value_that_modes_could_change_is_not_written() {
    let mut journal = journal();
    journal.variable_changed(b"init_connect", b"it's");
    assert_eq!(journal.settings(Some(&baseline()), std::iter::empty()), Err(Unwritable));
}

#[test]
fn a_reset_keeps_the_schema_and_the_defaults() {
    let mut journal = journal();
    journal.set_schema(b"shop");
    journal.variable_changed(b"time_zone", b"+02:00");
    journal.assigned(b"SET @a = 5", DIALECT);
    journal.reset();
    assert_eq!((journal.schema(), settings(&journal, &baseline()).as_str()), (Some(&b"shop"[..]), ""));
}
