//! Reads of views that do more than read, kept at home.
//!
//! No text shows whether a name in it is that of a view, or what the view's own text calls. So the servers are asked,
//! now and then and once for all sessions of a user, which views call stored functions, lock, or speak of the server, and
//! which views are made of those. A view whose text the user may not see (SHOW VIEW) counts as one of them.

use std::time::Instant;

use crate::{
    session::split::Split,
    sql::{self, Effects, Reason},
};

/// Names of views are at most this many, or the rest is not known.
const VIEWS_MAX: usize = 1000;

impl Split {
    /// Whether the servers have to be asked for views before a read may leave home.
    pub(in crate::session::split) fn must_ask_for_views(&self, now: Instant) -> bool {
        self.made_views || self.user.as_ref().is_some_and(|user| user.views().must_be_asked(now))
    }

    /// Asks for them. Servers print the texts of views with all names in quotes and all functions of their own without.
    pub(in crate::session::split) fn views_question(&self) -> String {
        let telling: Vec<&str> = sql::telling_functions().collect();
        let telling = telling.join("|");
        let suspect = format!(
            "`[(]|({telling})[(]| for (update|share)| lock in share mode|\
             `(information_schema|performance_schema|mysql|sys)`[.]"
        );
        let (before, hint) = match self.family {
            sql::Family::MariaDb { .. } => ("SET STATEMENT max_statement_time=2 FOR ", ""),
            sql::Family::MySql { .. } => ("", "/*+ MAX_EXECUTION_TIME(2000) */ "),
        };
        format!(
            "{before}WITH RECURSIVE hidden (name) AS (SELECT table_name FROM information_schema.views \
             WHERE table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') \
             AND (view_definition IS NULL OR view_definition = '' OR view_definition REGEXP '{suspect}') \
             UNION SELECT v.table_name FROM information_schema.views AS v \
             JOIN hidden ON INSTR(v.view_definition, CONCAT('`', hidden.name, '`')) > 0) \
             SELECT {hint}CAST(name AS BINARY) FROM hidden LIMIT {VIEWS_MAX}"
        )
    }

    /// The names of such views; none if the server did not tell.
    pub(in crate::session::split) fn views_answered(&mut self, names: Option<Vec<Vec<u8>>>, now: Instant) {
        self.made_views = false;
        let Some(user) = &self.user else { return };
        match names {
            Some(names) => user.views().found(names.into_iter(), now),
            None => user.views().not_found(now),
        }
    }

    /// A statement ran at home that may have made a view, or a function that a view calls.
    pub(in crate::session::split) fn note_views(&mut self, effects: Effects) {
        let defines = self.current.classification.reason == Reason::NotARead;
        self.made_views |= defines && effects.contains(Effects::IMPLICIT_COMMIT);
    }

    /// Whether the read at hand names such a view.
    pub(in crate::session::split) fn reads_hidden_view(&self, payload: &[u8]) -> bool {
        let Some(user) = self.user.as_ref().filter(|user| user.views().any()) else { return false };
        let text = self.text_of_command(payload).unwrap_or_default();
        sql::names(text, self.reading).any(|name| user.views().has(sql::unquoted(name.of(text))))
    }
}
