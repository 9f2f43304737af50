//! System and status variables, by name.

use crate::protocol::version::Family;

use super::server::Server;
use super::store::Value;

/// What a client may send in one command, in bytes.
pub(super) const MAX_ALLOWED_PACKET: usize = 32 << 20;

/// Variables that are the same on each stand-in: what drivers and clients ask for at connect.
const FIXED: &[(&str, Fixed)] = &[
    ("auto_increment_increment", Fixed::Number(1)),
    ("autocommit", Fixed::Number(1)),
    ("character_set_client", Fixed::Text("utf8mb4")),
    ("character_set_connection", Fixed::Text("utf8mb4")),
    ("character_set_database", Fixed::Text("utf8mb4")),
    ("character_set_results", Fixed::Text("utf8mb4")),
    ("character_set_server", Fixed::Text("utf8mb4")),
    ("collation_connection", Fixed::Text("utf8mb4_general_ci")),
    ("collation_database", Fixed::Text("utf8mb4_general_ci")),
    ("collation_server", Fixed::Text("utf8mb4_general_ci")),
    ("init_connect", Fixed::Text("")),
    ("interactive_timeout", Fixed::Number(28_800)),
    ("license", Fixed::Text("MIT OR Apache-2.0")),
    ("lower_case_table_names", Fixed::Number(0)),
    ("max_allowed_packet", Fixed::Number(MAX_ALLOWED_PACKET as i64)),
    ("net_write_timeout", Fixed::Number(60)),
    ("performance_schema", Fixed::Number(0)),
    ("query_cache_size", Fixed::Number(0)),
    ("query_cache_type", Fixed::Text("OFF")),
    ("sql_mode", Fixed::Text("STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION")),
    ("system_time_zone", Fixed::Text("UTC")),
    ("time_zone", Fixed::Text("SYSTEM")),
    ("transaction_isolation", Fixed::Text("REPEATABLE-READ")),
    ("tx_isolation", Fixed::Text("REPEATABLE-READ")),
    ("wait_timeout", Fixed::Number(28_800)),
];

#[derive(Clone, Copy)]
enum Fixed {
    Number(i64),
    Text(&'static str),
}

/// The global value of a system variable; `None` for one that this server does not have.
pub(super) fn system_variable(server: &Server, name: &str) -> Option<Value> {
    let options = &server.options;
    Some(match name {
        "server_id" => Value::Integer(options.server_id.into()),
        "hostname" => Value::text(&options.hostname),
        "version" => Value::text(&options.version),
        "version_comment" => Value::text("sqluice stand-in server"),
        "port" => Value::Integer(server.port.into()),
        "max_connections" => Value::Integer(options.max_connections.into()),
        "read_only" => Value::Integer(server.is_read_only().into()),
        // MariaDB has no such variable, and a health check must cope with both.
        "super_read_only" if options.family == Family::MySql => Value::Integer(server.is_read_only().into()),
        "offline_mode" if options.family == Family::MySql => Value::Integer(0),
        // There is none: the stand-in speaks TCP only.
        "socket" => Value::Null,
        _ => {
            if let Some(own) = server.node().and_then(|node| node.system_variable(name)) {
                return Some(own);
            }
            let place = FIXED.binary_search_by_key(&name, |(name, _)| name).ok()?;
            match FIXED[place].1 {
                Fixed::Number(number) => Value::Integer(number),
                Fixed::Text(text) => Value::text(text),
            }
        }
    })
}

/// All system variables as SHOW VARIABLES lists them: in order, switches as ON and OFF.
pub(super) fn system_variables(server: &Server) -> Vec<(&'static str, Value)> {
    const OWN: [&str; 13] = [
        "hostname",
        "max_connections",
        "offline_mode",
        "port",
        "pxc_maint_mode",
        "read_only",
        "server_id",
        "socket",
        "super_read_only",
        "version",
        "version_comment",
        "wsrep_desync",
        "wsrep_reject_queries",
    ];
    let names = OWN.into_iter().chain(FIXED.iter().map(|(name, _)| *name));
    let mut all: Vec<_> = names.filter_map(|name| Some((name, shown(name, system_variable(server, name)?)))).collect();
    all.sort_by_key(|(name, _)| *name);
    all
}

fn shown(name: &str, value: Value) -> Value {
    const SWITCHES: [&str; 6] =
        ["autocommit", "offline_mode", "performance_schema", "read_only", "super_read_only", "wsrep_desync"];
    match value {
        Value::Integer(number) if SWITCHES.contains(&name) => Value::text(if number == 0 { "OFF" } else { "ON" }),
        Value::Integer(number) => Value::text(number.to_string()),
        Value::Null => Value::text(""),
        text @ Value::Text(_) => text,
    }
}

/// The status variables, in order.
pub(super) fn status_variables(server: &Server) -> Vec<(&'static str, Value)> {
    let number = |number: u64| Value::text(number.to_string());
    let mut all = vec![
        ("Connections", number(server.connection_count())),
        ("Questions", number(server.statement_count())),
        ("Threads_connected", number(server.session_count() as u64)),
        ("Threads_running", number(1)),
        ("Uptime", number(server.started.elapsed().as_secs())),
    ];
    all.extend(server.node().into_iter().flat_map(|node| node.status_variables(server)));
    all
}

/// Whether `name` fits a LIKE pattern with `%` and `_`, ignoring case.
pub(super) fn is_like(name: &[u8], pattern: &[u8]) -> bool {
    // The last `%` seen: where the pattern goes on behind it, and how much of the name it has taken.
    let (mut at, mut pattern_at) = (0, 0);
    let mut wildcard: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(pattern_at) {
            Some(b'%') => {
                pattern_at += 1;
                wildcard = Some((pattern_at, at));
            }
            Some(byte) if *byte == b'_' || byte.eq_ignore_ascii_case(&name[at]) => {
                at += 1;
                pattern_at += 1;
            }
            _ => {
                let Some((behind, taken)) = wildcard else {
                    return false;
                };
                (pattern_at, at) = (behind, taken + 1);
                wildcard = Some((behind, taken + 1));
            }
        }
    }
    pattern[pattern_at..].iter().all(|byte| *byte == b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_variables_are_sorted_for_the_search() {
        assert!(FIXED.is_sorted_by_key(|(name, _)| *name));
    }

    #[test]
    fn like_knows_both_wildcards_and_no_case() {
        let check = |name: &str, pattern: &str| is_like(name.as_bytes(), pattern.as_bytes());
        assert!(check("max_allowed_packet", "MAX_allowed%"));
        assert!(check("wsrep_ready", "%ready"));
        assert!(check("aXbXc", "a%b%c"));
        assert!(check("ab", "__"));
        assert!(check("", "%"));
        assert!(!check("abc", "__"));
        assert!(!check("read_only", "read"));
        assert!(!check("abd", "a%b%c"));
    }
}
