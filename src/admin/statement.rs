//! What the text of a statement says of where it may run, for people.

use super::shapes::StatementExplanation;
use crate::protocol::version::{self, ServerVersion};
use crate::sql::{Class, Classification, ClientCharset, Dialect, Family, Hint, Span, classify};

/// Looks at a text as a session does that has set nothing and whose servers have at least that version. Where no
/// version is known, servers of either family may read it, of the oldest kind.
pub(super) fn look(text: &str, lowest: Option<ServerVersion>) -> Classification {
    let read = |family| {
        let dialect = Dialect { no_backslash_escapes: false, ansi_quotes: false, family, charset: ClientCharset::Utf8 };
        classify(text.as_bytes(), dialect, true)
    };
    match lowest {
        Some(version) => read(family_of(version)),
        None => {
            let (mysql, mariadb) = (read(Family::MySql { version: 0 }), read(Family::MariaDb { version: 0 }));
            if mysql.class >= mariadb.class { mysql } else { mariadb }
        }
    }
}

fn family_of(version: ServerVersion) -> Family {
    let number = u32::from(version.major) * 10_000 + u32::from(version.minor) * 100 + u32::from(version.patch);
    match version.family {
        version::Family::MySql => Family::MySql { version: number },
        version::Family::MariaDb => Family::MariaDb { version: number },
    }
}

/// The same in words.
pub(super) fn explanation(text: &str, found: &Classification) -> StatementExplanation {
    StatementExplanation {
        class: class_name(found.class).to_string(),
        reason: found.reason.text().to_string(),
        token: part(text, found.token),
        hint: found.hint.map(|hint| hint_text(text, hint)),
        effects: found.effects.names().map(str::to_string).collect(),
        needs: found.needs.names().map(str::to_string).collect(),
    }
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Read => "a read that any replica answers",
        Class::ReadOfConnection => "a read about the statement before it",
        Class::ReadOnlyTransaction => "the begin of a transaction that only reads",
        Class::Primary => "a statement for the primary",
    }
}

fn hint_text(text: &str, hint: Hint) -> String {
    match hint {
        Hint::Primary => "primary".to_string(),
        Hint::Replica => "replica".to_string(),
        Hint::Server(name) => format!("server={}", part(text, name)),
    }
}

/// A part of the text, printable and not long.
fn part(text: &str, span: Span) -> String {
    const SHOWN_CHARACTERS_MAX: usize = 60;
    let part = String::from_utf8_lossy(span.of(text.as_bytes()));
    let mut shown: String = part.chars().take(SHOWN_CHARACTERS_MAX).collect();
    if shown.len() < part.len() {
        shown.push('…');
    }
    shown.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, lowest: Option<&str>, expected: (&str, &str, &str)) {
        let lowest = lowest.map(|version| ServerVersion::parse(version.as_bytes()).expect("a version"));
        let explained = explanation(text, &look(text, lowest));
        assert_eq!((&*explained.class, &*explained.reason, &*explained.token), expected, "{text}");
    }

    #[test]
    fn the_token_that_decided_is_shown() {
        let read = "a read that any replica answers";
        check("SELECT a FROM t", Some("10.11.6-MariaDB"), (read, "plain read", ""));
        check("SELECT a FROM t", None, (read, "plain read", ""));
        let primary = "a statement for the primary";
        check("SELECT a FROM t FOR  UPDATE", Some("9.7.0"), (primary, "FOR UPDATE", "UPDATE"));
        check("SELECT stored(1)", Some("9.7.0"), (primary, "unknown function", "stored"));
        let long = format!("SELECT {}(1)", "f".repeat(64));
        check(&long, Some("9.7.0"), (primary, "unknown function", &format!("{}…", "f".repeat(60))));
    }

    #[test]
    fn a_hint_and_what_a_statement_does_are_shown() {
        let text = "SET @a = 1 /* sqluice: server=db2 */";
        let explained = explanation(text, &look(text, None));
        assert_eq!(explained.hint.as_deref(), Some("server=db2"));
        assert_eq!(explained.effects, ["user variables"]);
    }
}
