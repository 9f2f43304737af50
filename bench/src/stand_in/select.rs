//! Select lists of what a monitor, a driver and a balancer ask of a server itself, and assignments of what they set.

use std::borrow::Cow;

use super::Role;

/// What the values of an answer depend on.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    pub(super) role: Role,
    /// The number of the last transaction.
    pub(super) last_transaction: u64,
}

/// A column of a select list: its name and its value.
pub(super) type Column<'a> = (&'a str, Cow<'static, str>);

/// The columns of `@@name, @@SESSION.name AS alias, LEFT(@@GLOBAL.name, 9), 1`, or nothing where one is not known.
pub(super) fn columns(list: &str, facts: Facts) -> Option<Vec<Column<'_>>> {
    parts(list).map(|part| column(part, facts)).collect()
}

/// The value that a list of `SESSION name='value'` gives to a variable.
pub(super) fn assigned<'a>(list: &'a str, variable: &str) -> Option<&'a str> {
    parts(list).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let name = name.trim_end().trim_end_matches(':').trim_end().to_ascii_lowercase();
        let name = name.strip_prefix("session ").unwrap_or(unscoped(&name)).trim();
        (name == variable).then(|| value.trim().trim_matches(['\'', '"']))
    })
}

/// Between commas that stand in no brackets and no quotes.
fn parts(list: &str) -> impl Iterator<Item = &str> {
    let (mut depth, mut quote) = (0_u32, None);
    let separates = move |sign: char| {
        match (quote, sign) {
            (Some(open), sign) if sign == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => quote = Some(sign),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, _) => return sign == ',' && depth == 0,
        }
        false
    };
    list.split(separates).map(str::trim)
}

fn column(part: &str, facts: Facts) -> Option<Column<'_>> {
    let lower = part.to_ascii_lowercase();
    let (expression, name) = match lower.rfind(" as ") {
        Some(place) => (&part[..place], part[place + " as ".len()..].trim()),
        None => (part, part),
    };
    Some((name, value(expression.trim(), facts)?))
}

fn value(expression: &str, facts: Facts) -> Option<Cow<'static, str>> {
    let lower = expression.to_ascii_lowercase();
    if let Some((function, arguments)) = lower.strip_suffix(')').and_then(|call| call.split_once('('))
        && !arguments.is_empty()
    {
        return match function.trim() {
            "left" => left(arguments, facts),
            // Both addresses have the same data.
            "wait_for_executed_gtid_set" => Some("0".into()),
            _ => None,
        };
    }
    match unscoped(&lower) {
        "gtid_executed" => Some(executed(facts.last_transaction).into()),
        "read_only" | "super_read_only" if facts.role == Role::Replica => Some("1".into()),
        "server_id" if facts.role == Role::Replica => Some("2".into()),
        "server_uuid" if facts.role == Role::Replica => Some(REPLICA_UUID.into()),
        name => VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into()),
    }
}

fn left(arguments: &str, facts: Facts) -> Option<Cow<'static, str>> {
    let mut arguments = parts(arguments);
    let (text, length) = (value(arguments.next()?, facts)?, arguments.next()?.parse().ok()?);
    Some(text.get(..length).map_or_else(|| text.clone(), |start| start.to_owned().into()))
}

/// The name of a variable without its marks.
fn unscoped(name: &str) -> &str {
    let name = name.strip_prefix("@@").unwrap_or(name);
    ["global.", "session.", "local."].iter().find_map(|scope| name.strip_prefix(scope)).unwrap_or(name)
}

/// A transaction as the server tells of it.
pub(super) fn gtid(transaction: u64) -> String {
    format!("{SERVER_UUID}:{transaction}")
}

/// All transactions up to the last one.
pub(super) fn executed(last_transaction: u64) -> String {
    format!("{SERVER_UUID}:1-{last_transaction}")
}

/// The channel of a replica that has all and lacks nothing: the names and values of its status.
pub(super) fn replica_status(last_transaction: u64) -> [Column<'static>; 9] {
    [
        ("Source_Host", "stand-in".into()),
        ("Source_Port", "3306".into()),
        ("Source_Server_Id", "1".into()),
        ("Source_UUID", SERVER_UUID.into()),
        ("Replica_IO_Running", "Yes".into()),
        ("Replica_SQL_Running", "Yes".into()),
        ("Seconds_Behind_Source", "0".into()),
        ("SQL_Delay", "0".into()),
        ("Retrieved_Gtid_Set", executed(last_transaction).into()),
    ]
}

pub(super) const VERSION: &str = "8.0.40-stand-in";
const SERVER_UUID: &str = "00000000-0000-0000-0000-000000000001";
const REPLICA_UUID: &str = "00000000-0000-0000-0000-000000000002";

/// As a MySQL server of that version has them where nobody has set any.
const VARIABLES: [(&str, &str); 51] = [
    ("1", "1"),
    ("version()", VERSION),
    ("version", VERSION),
    ("version_comment", "sqluice bench"),
    ("max_allowed_packet", "67108864"),
    ("wait_timeout", "28800"),
    ("interactive_timeout", "28800"),
    ("socket", ""),
    ("hostname", "stand-in"),
    ("port", "3306"),
    ("read_only", "0"),
    ("super_read_only", "0"),
    ("offline_mode", "0"),
    ("innodb_read_only", "0"),
    ("server_id", "1"),
    ("server_uuid", SERVER_UUID),
    ("gtid_mode", "ON"),
    ("autocommit", "1"),
    ("sql_mode", ""),
    ("time_zone", "SYSTEM"),
    ("lower_case_table_names", "0"),
    ("session_track_system_variables", "time_zone,autocommit,character_set_client"),
    ("session_track_schema", "1"),
    ("session_track_state_change", "0"),
    ("session_track_gtids", "OFF"),
    ("character_set_client", "utf8mb4"),
    ("character_set_connection", "utf8mb4"),
    ("character_set_results", "utf8mb4"),
    ("collation_connection", "utf8mb4_general_ci"),
    ("lc_time_names", "en_US"),
    ("div_precision_increment", "4"),
    ("group_concat_max_len", "1024"),
    ("sql_select_limit", "18446744073709551615"),
    ("default_week_format", "0"),
    ("sql_auto_is_null", "0"),
    ("max_sort_length", "1024"),
    ("lc_messages", "en_US"),
    ("max_join_size", "18446744073709551615"),
    ("sql_big_selects", "1"),
    ("sql_safe_updates", "0"),
    ("sql_quote_show_create", "1"),
    ("sql_notes", "1"),
    ("session_track_transaction_info", "OFF"),
    ("transaction_isolation", "REPEATABLE-READ"),
    ("max_execution_time", "0"),
    ("block_encryption_mode", "aes-128-ecb"),
    ("end_markers_in_json", "0"),
    ("show_create_table_verbosity", "0"),
    ("cte_max_recursion_depth", "1000"),
    ("windowing_use_high_precision", "1"),
    ("default_collation_for_utf8mb4", "utf8mb4_0900_ai_ci"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts = Facts { role: Role::Primary, last_transaction: 7 };

    fn values(list: &str) -> Option<Vec<String>> {
        Some(columns(list, FACTS)?.into_iter().map(|(_, value)| value.into_owned()).collect())
    }

    #[test]
    fn each_part_of_a_list_has_its_value_whatever_brackets_it_has() {
        let asked = "@@SESSION.sql_mode, @@global.port AS p, LEFT(@@GLOBAL.gtid_executed, 4), version(), 1";
        assert_eq!(values(asked).expect("all are known"), ["", "3306", "0000", VERSION, "1"]);
        assert_eq!(columns("@@port as p", FACTS).expect("it is known")[0].0, "p");
        assert_eq!(values("WAIT_FOR_EXECUTED_GTID_SET('a:1-3,b:4', 0.100)").expect("it is known"), ["0"]);
        assert_eq!(values("@@port, @@no_such_variable"), None);
        assert_eq!(values("sleep(1)"), None);
    }

    #[test]
    fn all_transactions_so_far_are_told() {
        let executed = values("@@GLOBAL.gtid_executed").expect("it is known");
        assert!(executed[0].ends_with(":1-7") && gtid(7).ends_with(":7"));
    }

    #[test]
    fn an_assignment_is_found_among_others() {
        let list = "SESSION a='x,session_track_gtids=1', SESSION session_track_gtids='OWN_GTID'";
        assert_eq!(assigned(list, "session_track_gtids"), Some("OWN_GTID"));
        assert_eq!(assigned("@@session.session_track_gtids := OFF", "session_track_gtids"), Some("OFF"));
        assert_eq!(assigned(list, "b"), None);
    }
}
