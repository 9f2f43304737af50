//! Assignments that MariaDB does not tell of: to `@@name` without a scope, though they set the session's value as any
//! other spelling does. Seen on 10.11. What they assign is taken from the text.

use crate::sql::{self, Assignment, Dialect, Family, Scope, ValueKind};

use super::Split;

impl Split {
    /// A SET was executed.
    pub(super) fn note_untold(&mut self, text: &[u8], dialect: Dialect) {
        if !matches!(self.family, Family::MariaDb { .. }) || memchr::memmem::find(text, b"@@").is_none() {
            return;
        }
        // Of several statements only the first is read here.
        if self.current.classification.statements > 1 {
            return self.pins.bind_for_good();
        }
        let of_session: Vec<Assignment> = sql::assignments(text, dialect)
            .filter(|assignment| assignment.scope == Scope::Session && !sql::is_server_bound(assignment.name.of(text)))
            .collect();
        for assignment in of_session.iter().filter(|assignment| is_untold(assignment, text)) {
            let name = plain_name(assignment, text);
            let is_once = of_session.iter().filter(|other| plain_name(other, text) == name).count() == 1;
            match literal(assignment.value, &name, text).filter(|_| is_once) {
                Some(value) => drop(self.journal.variable_changed(&name, value)),
                None => self.pins.bind_for_good(),
            }
        }
    }
}

fn is_untold(assignment: &Assignment, text: &[u8]) -> bool {
    text[..assignment.name.start as usize].trim_ascii_end().ends_with(b"@@")
}

fn plain_name(assignment: &Assignment, text: &[u8]) -> Vec<u8> {
    sql::unquoted(assignment.name.of(text)).to_ascii_lowercase()
}

/// The value of a literal as the server would tell it, or as good.
fn literal<'a>(value: ValueKind, name: &[u8], text: &'a [u8]) -> Option<&'a [u8]> {
    let ValueKind::Literal(span) = value else { return None };
    let written = span.of(text);
    if let Some(inner) = written.strip_prefix(b"'").and_then(|rest| rest.strip_suffix(b"'")) {
        return inner.iter().all(|byte| matches!(byte, b' '..=b'~') && !b"'\\".contains(byte)).then_some(inner);
    }
    let is = |word: &[u8]| written.eq_ignore_ascii_case(word);
    match () {
        () if is(b"DEFAULT") => None,
        () if is(b"TRUE") => Some(b"1"),
        () if is(b"FALSE") => Some(b"0"),
        () if is(b"NULL") => (name == b"character_set_results").then_some(b""),
        () => written.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte)).then_some(written),
    }
}
