//! What `sqluice::sql` says of statements, asked of real servers: no read of the table is refused where nothing may be
//! written, and the servers cut strings and comments where it does.

use crate::harness::{ALL_FLAVOURS, Client, Flavour, Server, Shape};

#[path = "../../src/sql/tests/table.rs"]
mod table;

/// A write in a read-only transaction, on a read-only server, and on a server in some other read-only mode.
const REFUSED_AS_WRITES: [u16; 3] = [1792, 1290, 1836];

/// The rows for a server, with what puts a session into their mode.
fn rows_for(flavour: Flavour) -> impl Iterator<Item = table::Row> {
    let family = if flavour.is_mariadb() { "mariadb" } else { "mysql" };
    table::rows().into_iter().filter(move |row| row.families == "both" || row.families == family)
}

fn set_mode(row: &table::Row) -> String {
    match row.mode.as_deref() {
        None => "SET NAMES utf8mb4, sql_mode = ''".to_owned(),
        Some(mode @ ("ansi_quotes" | "no_backslash_escapes")) => format!("SET NAMES utf8mb4, sql_mode = '{mode}'"),
        Some("unknown") => "SET NAMES ujis, sql_mode = ''".to_owned(),
        Some(charset) => format!("SET NAMES {charset}, sql_mode = ''"),
    }
}

/// Sends a text as it is, whatever its encoding, and gives the error's number.
fn error_of(client: &mut Client, text: &[u8]) -> Option<u16> {
    let mut payload = crate::harness::wire::query_payload(client.capabilities, "");
    payload.extend_from_slice(text);
    client.ask(Shape::Results, &payload).error.map(|error| error.code)
}

fn prepared(server: &Server) -> Client {
    let database = server.fresh_database();
    let mut client = server.direct();
    client.execute(&format!("USE {database}"));
    for table in ["t", "u", "v"] {
        client.execute(&format!(
            "CREATE TABLE {table} (id INT PRIMARY KEY, a INT, b INT, c INT, d INT, doc TEXT, INDEX i (a), INDEX j (b))"
        ));
    }
    client
}

#[test]
fn no_read_of_the_table_writes() {
    for flavour in ALL_FLAVOURS {
        let mut client = prepared(Server::shared(flavour));
        let mut executed = 0;
        for row in rows_for(flavour).filter(|row| row.verdict == "read") {
            client.execute(&set_mode(&row));
            client.execute("START TRANSACTION READ ONLY");
            let error = error_of(&mut client, &row.text);
            assert!(
                !error.is_some_and(|code| REFUSED_AS_WRITES.contains(&code)),
                "line {}, {flavour:?} {error:?} {row:?}",
                row.line
            );
            executed += usize::from(error.is_none());
            client.execute("ROLLBACK");
        }
        // The others name columns and tables that are not there, or are of another version.
        assert!(executed > 150, "{flavour:?} executed only {executed}");
    }
}

#[test]
fn servers_end_strings_where_the_table_does() {
    // 1064 is a text that cannot be parsed: of those that are unterminated all, of the reads without a table none.
    for flavour in ALL_FLAVOURS {
        let mut client = prepared(Server::shared(flavour));
        for row in rows_for(flavour) {
            let is_constant = row.verdict == "read" && row.text.starts_with(b"SELECT '") && !row.text.contains(&b';');
            let is_open = row.verdict == "unterminated text";
            if is_constant || is_open {
                client.execute(&set_mode(&row));
                let error = error_of(&mut client, &row.text);
                assert_eq!(error == Some(1064), is_open, "line {}, {flavour:?} {error:?} {row:?}", row.line);
            }
        }
    }
}
