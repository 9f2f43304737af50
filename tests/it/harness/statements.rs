//! The servers' log of all statements, read for those that clients sent: a replica that applies what the primary wrote
//! is in it as well.

use std::collections::HashSet;

/// How many statements of account app with this text in them were run; preparing one is not running it.
pub(super) fn heard(log: &str, text: &str) -> usize {
    let mut app_connections = HashSet::new();
    let mut is_from_app = false;
    let mut count = 0;
    for line in log.lines() {
        let mut said = line;
        if line.contains("started with:") {
            // The server counts its connections from the beginning again.
            app_connections.clear();
            is_from_app = false;
        } else if let Some(Entry { connection, command, argument }) = entry(line) {
            if command == "Connect" && argument.starts_with("app@") {
                app_connections.insert(connection);
            }
            is_from_app = matches!(command, "Query" | "Execute") && app_connections.contains(&connection);
            said = argument;
        }
        // A line without a head is the next one of a statement.
        if is_from_app && said.contains(text) {
            count += 1;
        }
    }
    count
}

struct Entry<'a> {
    connection: u64,
    command: &'a str,
    argument: &'a str,
}

/// The head of an entry: `TIME<tab>  12 Query<tab>SELECT …`; MariaDB leaves out a time that has not changed.
fn entry(line: &str) -> Option<Entry<'_>> {
    let (_time, rest) = line.split_once('\t')?;
    let (head, argument) = rest.trim_start_matches('\t').split_once('\t')?;
    let (connection, command) = head.trim_start().split_once(' ')?;
    Some(Entry { connection: connection.parse().ok()?, command, argument })
}
