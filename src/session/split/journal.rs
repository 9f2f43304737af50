//! What a session has set, as its home server tells and as its statements say, and the SQL that makes another server's
//! connection the same.
//!
//! System variables come from the home server's own trackers, with the values that it understood. User variables have no
//! tracker: only those set to a literal are known, until a statement runs that may have changed them unseen.

mod late_schema;
pub(super) mod reading;
pub(super) mod trackers;
pub(super) mod values;
pub(super) mod variables;

use crate::{
    config::limits,
    sql::{self, ClientCharset, Dialect},
};

use trackers::is_on;
use values::Values;
use variables::{compared, is_server_bound, is_set_by_another, is_set_by_names};

/// With this, `WHERE id IS NULL` means the last row that was inserted.
const AUTO_IS_NULL: &[u8] = b"sql_auto_is_null";

/// Variables and their values in bytes that a session may have changed; a session with more stays at home.
const BYTES_MAX: usize = limits::SPLIT_SETTINGS_BYTES;

/// A name with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variable {
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// What SET NAMES has set.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Names {
    charset: Vec<u8>,
    /// If it named one.
    collation: Option<Vec<u8>>,
}

/// A user variable. Without a literal it has a value that only the home server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct UserVariable {
    name: Vec<u8>,
    literal: Option<Vec<u8>>,
    /// A trigger may have changed it since.
    is_doubted: bool,
}

/// The state of a session that goes with it to another server.
#[derive(Debug, Default)]
pub(super) struct Journal {
    schema: Option<Vec<u8>>,
    /// The variables that are compared, as the home server had them when the session began.
    baseline: Option<Values>,
    /// It may have given them other values to the session when that was reset.
    awaits_baseline: bool,
    /// The session is as COM_RESET_CONNECTION left it: with the server's own character sets in place of the login's, which
    /// may have the same names.
    was_reset: bool,
    /// Character set and collation of a SET NAMES. It gives results a collation that no variable shows and no other
    /// statement would give them.
    names: Option<Names>,
    /// What was changed since.
    changed: Vec<Variable>,
    user_variables: Vec<UserVariable>,
    /// Any user variable may have been changed by code that nobody has seen.
    user_variables_unknown: bool,
    /// A trigger may have changed any of them, without a SET, of which the server would have told.
    user_variables_doubted: bool,
    /// The statement that set the role.
    role: Option<Vec<u8>>,
    /// A read that asks for NULL finds the last row that home gave a number to.
    finds_last_insert: bool,
    /// Counts changes.
    version: u32,
    /// Counts changes after which the same text may mean something else.
    meaning: u32,
    /// More than is kept, or nothing that could be written as SQL.
    unportable: bool,
}

/// What a change of a variable means for the session beyond its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// It goes with the session.
    Portable,
    /// It keeps the session at home.
    ServerBound,
    /// The client asks for trackers of its own.
    Tracking,
    /// It is not of the session.
    Ignored,
}

impl Journal {
    pub(super) fn new(schema: Option<Vec<u8>>) -> Journal {
        Journal { schema, ..Journal::default() }
    }

    /// The home server's values of the variables that are compared.
    pub(super) fn baseline(&self) -> Option<&Values> {
        self.baseline.as_ref()
    }

    pub(super) fn set_baseline(&mut self, values: Values) {
        self.finds_last_insert = values.of(AUTO_IS_NULL).is_some_and(is_on);
        self.baseline = Some(values);
        self.awaits_baseline = false;
        self.version += 1;
        self.meaning += 1;
    }

    /// The session is as after its login again.
    pub(super) fn reset(&mut self) {
        let (schema, baseline) = (self.schema.take(), std::mem::take(&mut self.baseline));
        let (version, meaning) = (self.version + 1, self.meaning + 1);
        *self = Journal { schema, baseline, version, meaning, was_reset: true, ..Journal::default() };
    }

    /// Home will be asked for its values later: until then nobody knows those that nobody has set.
    pub(super) fn await_baseline(&mut self) {
        self.awaits_baseline = true;
    }

    pub(super) fn awaits_baseline(&self) -> bool {
        self.awaits_baseline
    }

    /// Whether a connection that has just been logged in is another than home's for want of a reset.
    pub(super) fn was_reset(&self) -> bool {
        self.was_reset
    }

    pub(super) fn schema(&self) -> Option<&[u8]> {
        self.schema.as_deref()
    }

    pub(super) fn set_schema(&mut self, schema: &[u8]) {
        self.schema = (!schema.is_empty()).then(|| schema.to_vec());
        self.meaning += 1;
    }

    pub(super) fn version(&self) -> u32 {
        self.version
    }

    pub(super) fn meaning(&self) -> u32 {
        self.meaning
    }

    /// Whether `IS NULL` finds the row that the connection made last.
    pub(super) fn finds_last_insert(&self) -> bool {
        self.finds_last_insert
    }

    pub(super) fn is_portable(&self) -> bool {
        !self.unportable
    }

    /// The home server says that a variable has a new value.
    pub(super) fn variable_changed(&mut self, name: &[u8], value: &[u8]) -> Noted {
        if name == b"last_gtid" || name == b"statement_id" || name == b"autocommit" {
            return Noted::Ignored;
        }
        if name.starts_with(b"session_track_") {
            return Noted::Tracking;
        }
        if is_server_bound(name) {
            return Noted::ServerBound;
        }
        self.note_meaning(name);
        if name == AUTO_IS_NULL {
            self.finds_last_insert = is_on(value);
        }
        let variable = Variable { name: name.to_vec(), value: value.to_vec() };
        match self.changed.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = variable,
            None => self.changed.push(variable),
        }
        self.changes();
        Noted::Portable
    }

    /// The home server tells of the connection's character set, and not of the collation, which is that set's own now.
    pub(super) fn collation_follows(&mut self) {
        self.changed.retain(|variable| variable.name != b"collation_connection");
    }

    /// A statement with a SET NAMES was executed, and the home server has told what it set.
    pub(super) fn named(&mut self, text: &[u8], dialect: Dialect) {
        let mut assignments = sql::assignments(text, dialect).filter(|assignment| {
            let is_named = matches!(assignment.value, sql::ValueKind::Names { .. } | sql::ValueKind::CharacterSet(_));
            is_named || is_set_by_names(&assignment.name.of(text).to_ascii_lowercase())
        });
        let (first, second) = (assignments.next(), assignments.next());
        let Some(sql::ValueKind::Names { charset, collation }) = first.map(|first| first.value) else { return };
        let plain = |span: sql::Span| {
            let name = unquoted(span.of(text));
            name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').then(|| name.to_ascii_lowercase())
        };
        let collation = collation.map(plain);
        if let (Some(charset), None) = (plain(charset), second)
            && collation != Some(None)
        {
            self.names = Some(Names { charset, collation: collation.flatten() });
            self.changed.retain(|variable| !is_set_by_names(&variable.name));
            self.changes();
        }
    }

    /// After these the same text may be read in another way; and a string kept as text may be another string.
    fn note_meaning(&mut self, name: &[u8]) {
        if decides_reading(name) {
            self.meaning += 1;
            for variable in &mut self.user_variables {
                variable.literal.take_if(|literal| !literal.iter().all(|byte| is_number(*byte)));
            }
        }
    }

    /// The collation of literals; `None` where it is that of the character set, whatever that is at the server.
    pub(super) fn collation(&self) -> Option<&[u8]> {
        let changed = |name: &[u8]| self.changed.iter().find(|variable| variable.name == name);
        if let Some(collation) = changed(b"collation_connection") {
            return Some(&collation.value);
        }
        match (changed(b"character_set_connection"), &self.names) {
            (Some(_), _) => None,
            (None, Some(names)) => names.collation.as_deref(),
            (None, None) => self.baseline.as_ref()?.of(b"collation_connection"),
        }
    }

    fn changes(&mut self) {
        self.version += 1;
        let of_changed: usize = self.changed.iter().map(|variable| variable.name.len() + variable.value.len()).sum();
        let of_user: usize = self.user_variables.iter().map(UserVariable::bytes).sum();
        if of_changed + of_user > BYTES_MAX {
            self.unportable = true;
        }
    }

    pub(super) fn set_role(&mut self, statement: &[u8]) {
        self.role = Some(statement.to_vec());
        self.unportable |= statement.len() > BYTES_MAX;
        self.version += 1;
    }

    /// A statement that assigns user variables was executed.
    pub(super) fn assigned(&mut self, text: &[u8], dialect: Dialect) {
        for assignment in sql::assignments(text, dialect) {
            if assignment.scope == sql::Scope::User {
                let literal = match assignment.value {
                    sql::ValueKind::Literal(span) => portable_literal(span.of(text)),
                    _ => None,
                };
                self.set_user_variable(assignment.name.of(text), literal);
            }
        }
        self.changes();
    }

    /// A statement that names these user variables may have given them values that nobody saw.
    pub(super) fn may_have_assigned(&mut self, text: &[u8], dialect: Dialect) {
        for name in sql::user_variables(text, dialect) {
            self.set_user_variable(name.of(text), None);
        }
        self.changes();
    }

    /// A statement that assigns these was prepared, which makes those that were not there: NULL, of a type that is the
    /// statement's.
    pub(super) fn may_have_made(&mut self, text: &[u8], dialect: Dialect) {
        for name in sql::user_variables(text, dialect) {
            let plain = plain_name(name.of(text));
            if self.user_variables.iter().all(|known| known.name != plain) {
                self.set_user_variable(name.of(text), None);
            }
        }
        self.changes();
    }

    /// Code that nobody saw may have assigned any user variable.
    pub(super) fn forget_user_variables(&mut self) {
        self.user_variables_unknown = true;
        self.user_variables = Vec::new();
    }

    /// A trigger may have run. Those do not assign user variables as a rule, and the server tells of it if one does with a
    /// SET: the values are kept, and not relied on where they need not be.
    pub(super) fn doubt_user_variables(&mut self) {
        self.user_variables_doubted = true;
        self.user_variables.iter_mut().for_each(|variable| variable.is_doubted = true);
    }

    fn set_user_variable(&mut self, name: &[u8], literal: Option<&[u8]>) {
        let name = plain_name(name);
        // To a server, names that differ in case and accents only are the same. Of too many, none is kept.
        if !name.is_ascii() || name.contains(&b'`') || self.unportable {
            return self.forget_user_variables();
        }
        let literal = literal.map(<[u8]>::to_vec);
        let is_null = literal.as_deref().is_some_and(|literal| literal.eq_ignore_ascii_case(NULL));
        let may_have_any = self.user_variables_unknown || self.user_variables_doubted;
        match self.user_variables.iter_mut().find(|known| known.name == name) {
            Some(known) if is_null => (known.literal, known.is_doubted) = (known.then_null(), false),
            Some(known) => (known.literal, known.is_doubted) = (literal, false),
            None if is_null && may_have_any => {
                self.user_variables.push(UserVariable { name, literal: None, is_doubted: false });
            }
            None => self.user_variables.push(UserVariable { name, literal, is_doubted: false }),
        }
    }

    /// The literal that a user variable was set to last, as far as that is known.
    pub(super) fn user_variable(&self, name: &[u8]) -> Option<&[u8]> {
        let name = plain_name(name);
        self.user_variables.iter().find(|known| known.name == name)?.literal.as_deref()
    }

    /// Whether every user variable that a statement names is known here.
    pub(super) fn knows_user_variables(&self, text: &[u8], dialect: Dialect) -> bool {
        sql::user_variables(text, dialect).all(|name| {
            let name = plain_name(name.of(text));
            match self.user_variables.iter().find(|known| known.name == name) {
                Some(known) => known.literal.is_some() && !known.is_doubted,
                // One that was never set is NULL everywhere.
                None => !self.user_variables_unknown && !self.user_variables_doubted,
            }
        })
    }

    /// Whether every user variable that the session may have set is known here.
    pub(super) fn knows_all_user_variables(&self) -> bool {
        !self.user_variables_unknown && self.user_variables.iter().all(|variable| variable.literal.is_some())
    }

    /// Whether all that the session has set can be written as SQL.
    pub(super) fn is_writable(&self) -> bool {
        let is_writable = |name: &[u8], value: &[u8]| setting(name, value).is_ok();
        self.baseline.iter().flat_map(Values::iterate).all(|(name, value)| is_writable(name, value))
            && self.changed.iter().all(|variable| is_writable(&variable.name, &variable.value))
    }

    /// What character set and quotes the session's texts are read with.
    pub(super) fn charset(&self) -> ClientCharset {
        self.value(b"character_set_client").map_or(ClientCharset::Unknown, ClientCharset::from_name)
    }

    /// Whether every statement reads what is committed, and no transaction has a snapshot.
    pub(super) fn reads_what_is_committed(&self) -> bool {
        let level = self.value(b"transaction_isolation").or(self.value(b"tx_isolation")).unwrap_or_default();
        level == b"READ-COMMITTED" || level == b"READ-UNCOMMITTED"
    }

    /// MySQL tells of ANSI quotes by `sql_mode` alone.
    pub(super) fn has_ansi_quotes(&self) -> bool {
        self.value(b"sql_mode").is_none_or(|modes| memchr::memmem::find(modes, b"ANSI_QUOTES").is_some())
    }

    pub(super) fn value(&self, name: &[u8]) -> Option<&[u8]> {
        if let Some(variable) = self.changed.iter().find(|variable| variable.name == name) {
            return Some(&variable.value);
        }
        match &self.names {
            Some(names) if name == b"character_set_client" || name == b"character_set_connection" => {
                Some(&names.charset)
            }
            Some(_) | None => self.baseline.as_ref().filter(|_| !self.awaits_baseline)?.of(name),
        }
    }

    /// Whether the session is known to have this value, as a query shows it.
    pub(super) fn has(&self, name: &[u8], value: &[u8]) -> bool {
        let changed = |name: &[u8]| self.changed.iter().any(|variable| variable.name == name);
        let is_changed = changed(name);
        let is_collation = name == b"collation_connection";
        match &self.names {
            // That of a character set which was told without one: the set's own, or behind SET CHARACTER SET the schema's.
            _ if is_collation && !is_changed && changed(b"character_set_connection") => false,
            Some(Names { collation, .. }) if is_collation && !is_changed => {
                collation.as_ref().is_none_or(|known| known == value)
            }
            Some(Names { charset, .. }) if is_set_by_names(name) && !is_changed => charset == value,
            Some(_) | None => self.value(name).is_some_and(|known| match known {
                // A tracker has words where a query has numbers.
                b"ON" => value == b"1" || value == known,
                b"OFF" => value == b"0" || value == known,
                _ => value == known,
            }),
        }
    }

    /// The statement that makes a connection like the home server's, whose values of the variables compared are `theirs`.
    /// `extra` goes with it. `None` when nothing differs; an error when it cannot be written.
    pub(super) fn settings(
        &self,
        theirs: Option<&Values>,
        extra: impl Iterator<Item = &'static str>,
    ) -> Result<Option<Vec<u8>>, Unwritable> {
        let mine = self.baseline.iter().flat_map(Values::iterate);
        let theirs = theirs.into_iter().flat_map(Values::iterate);
        let differing = mine.zip(theirs).filter(|(mine, theirs)| mine != theirs);
        let differing = differing.map(|(mine, _)| mine);
        let is_named = |name: &[u8]| self.names.is_some() && is_set_by_names(name);
        let is_changed = |name: &[u8]| {
            let decisive: &[u8] = if name == b"collation_connection" { b"character_set_connection" } else { name };
            self.changed.iter().any(|changed| changed.name == name || changed.name == decisive)
        };
        let untouched = differing.filter(|(name, _)| !is_named(name) && !is_changed(name));
        let changed = self.changed.iter().map(|variable| (&*variable.name, &*variable.value));
        let mut variables: Vec<(&[u8], &[u8])> = untouched.chain(changed).collect();
        variables.sort_by_key(|(name, _)| is_set_by_another(name));
        let names = self.names.iter().map(|Names { charset, collation }| match collation {
            Some(collation) => [b"NAMES '", &**charset, b"' COLLATE '", collation, b"'"].concat(),
            None => [b"NAMES '", &**charset, b"'"].concat(),
        });
        let mut parts: Vec<Vec<u8>> = names.chain(extra.map(|extra| extra.as_bytes().to_vec())).collect();
        for (name, value) in variables {
            parts.push(setting(name, value)?);
        }
        for variable in &self.user_variables {
            if let Some(literal) = &variable.literal {
                parts.push([b"@`", &*variable.name, b"`=", literal].concat());
            }
        }
        Ok((!parts.is_empty()).then(|| [b"SET ", &*parts.join(&b", "[..])].concat()))
    }

    /// Names all that a connection can be asked for of what the session has, each behind a comma.
    pub(super) fn list_settings(&self, family: sql::Family, list: &mut Vec<u8>) {
        let compared: Vec<&[u8]> = compared(family).map(str::as_bytes).collect();
        let changed = self.changed.iter().map(|variable| &*variable.name);
        let others = changed.filter(|name| !compared.contains(name));
        for name in compared.iter().copied().chain(others) {
            list.extend_from_slice(&[b", @@SESSION.", name].concat());
        }
        for variable in &self.user_variables {
            list.extend_from_slice(&[b", @`", &*variable.name, b"`"].concat());
        }
    }

    pub(super) fn role(&self) -> Option<&[u8]> {
        self.role.as_deref()
    }
}

impl UserVariable {
    /// What makes it NULL elsewhere. A NULL leaves a variable the type of its value before.
    fn then_null(&self) -> Option<Vec<u8>> {
        let before = self.literal.as_deref().filter(|_| !self.is_doubted)?;
        let is_null = before.len() >= NULL.len() && before[before.len() - NULL.len()..].eq_ignore_ascii_case(NULL);
        Some(if is_null { before.to_vec() } else { [before, b", @`", &*self.name, b"`=", NULL].concat() })
    }

    fn bytes(&self) -> usize {
        self.name.len() + self.literal.as_ref().map_or(0, Vec::len)
    }
}

const NULL: &[u8] = b"NULL";

/// A value with bytes that depend on modes or character sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unwritable;

pub(super) fn setting(name: &[u8], value: &[u8]) -> Result<Vec<u8>, Unwritable> {
    let is_plain = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b' '..=b'~') && !b"'\\`".contains(byte));
    if !is_plain(name) || !is_plain(value) {
        return Err(Unwritable);
    }
    let is_number = !value.is_empty() && value.iter().all(|byte| is_number(*byte));
    Ok(match value {
        b"" if name == b"character_set_results" => [b"SESSION ", name, b"=NULL"].concat(),
        value if is_number => [b"SESSION ", name, b"=", value].concat(),
        value => [b"SESSION ", name, b"='", value, b"'"].concat(),
    })
}

fn is_number(byte: u8) -> bool {
    byte.is_ascii_digit() || byte == b'.' || byte == b'-'
}

/// A literal that means the same wherever it is said: numbers, NULL, and strings without anything to escape.
fn portable_literal(literal: &[u8]) -> Option<&[u8]> {
    let is_word = literal.iter().all(|byte| byte.is_ascii_alphanumeric() || b".+-".contains(byte));
    let inner = literal.strip_prefix(b"'").and_then(|rest| rest.strip_suffix(b"'"));
    let is_string =
        inner.is_some_and(|inner| inner.iter().all(|byte| matches!(byte, b' '..=b'~') && !b"'\\".contains(byte)));
    (is_word || is_string).then_some(literal)
}

fn decides_reading(name: &[u8]) -> bool {
    name.starts_with(b"character_set_") || name.starts_with(b"collation_") || name == b"sql_mode"
}

/// The name of a user variable without its quotes, in lower case: names are the same in any case.
fn plain_name(name: &[u8]) -> Vec<u8> {
    let name = name.strip_prefix(b"@").unwrap_or(name);
    unquoted(name).to_ascii_lowercase()
}

fn unquoted(name: &[u8]) -> &[u8] {
    let quoted = |quote: &[u8]| name.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    [&b"`"[..], b"'", b"\""].into_iter().find_map(quoted).unwrap_or(name)
}

#[cfg(test)]
mod tests;
