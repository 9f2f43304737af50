//! Whether a server takes writes, who it is, and how far it is in its primary's history: one statement.

use std::time::Instant;

use super::{Told, ask_for_row, is_on};
use crate::protocol::gtid::{GtidHistory, GtidPosition};
use crate::protocol::text_answer::Value;
use crate::protocol::version::{Family, ServerVersion};
use crate::reach::Inquiry;
use crate::topology::{CheckResult, Seen, View, Writable};

/// The question for role and position.
#[derive(Debug)]
pub(in crate::monitor) struct Role {
    version: ServerVersion,
    subject: Subject,
}

/// What a server is asked about, in one statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    RoleAndPosition,
    /// It has said that it does not know positions.
    Role,
}

impl Role {
    pub(super) fn new(version: ServerVersion) -> Role {
        Role { version, subject: Subject::RoleAndPosition }
    }

    pub(super) async fn ask(&mut self, inquiry: &mut Inquiry, deadline: Instant) -> Result<Told, CheckResult> {
        let asked = Instant::now();
        let answer = match ask_for_row(inquiry, self.question(), deadline).await {
            Err(failure) if self.forgoes(&failure) => ask_for_row(inquiry, self.question(), deadline).await,
            answer => answer,
        };
        self.read(&answer?, asked)
    }

    /// The statement that asks.
    pub(super) fn question(&self) -> &'static str {
        question(self.version, self.subject)
    }

    /// Whether a failure means that the server does not know positions: then it is not asked for them again.
    pub(super) fn forgoes(&mut self, failure: &CheckResult) -> bool {
        let asked_too_much = self.subject == Subject::RoleAndPosition && is_unknown_variable(failure);
        if asked_too_much {
            self.subject = Subject::Role;
        }
        asked_too_much
    }

    /// What the row of an answer says.
    pub(super) fn read(&self, values: &[Value<'_>], asked: Instant) -> Result<Told, CheckResult> {
        let (role, rest) = values.split_at(ROLE_COLUMNS.min(values.len()));
        if role.is_empty() {
            return Err(CheckResult::Malformed("no row for its read_only".to_owned()));
        }
        if rest.first().copied().is_some_and(is_on) {
            return Err(CheckResult::StatementFailed { code: OFFLINE_MODE, message: "offline_mode is ON".to_owned() });
        }
        let writable = if role.iter().copied().any(is_on) { Writable::No } else { Writable::Yes };
        let seen = position_of(self.version.family, values.get(BEFORE_POSITION..).unwrap_or_default(), asked);
        Ok(Told { writable: Some(writable), view: View::Unasked, seen, is_cut_short: false })
    }

    /// All transactions that the server has, by the row of an answer; nothing, where not all have GTIDs.
    pub(super) fn history(&self, values: &[Value<'_>]) -> Option<GtidHistory> {
        match (self.version.family, values.get(BEFORE_POSITION..)?) {
            (Family::MariaDb, [_, applied, _, state]) => GtidHistory::parse_mariadb((*state)?, (*applied)?).ok(),
            (Family::MySql, [Some(mode), executed]) if mode.eq_ignore_ascii_case(b"ON") => {
                GtidHistory::parse_mysql((*executed)?).ok()
            }
            _ => None,
        }
    }
}

/// The number and the UUID of the server, by the row of an answer; MariaDB has no UUID, and old servers are not asked.
pub(super) fn identity<'a>(values: &[Value<'a>]) -> Option<[Value<'a>; IDENTITY_COLUMNS]> {
    values.get(BEFORE_POSITION - IDENTITY_COLUMNS..BEFORE_POSITION)?.try_into().ok()
}

/// Columns of every [`question`] that are on where the server takes no writes. The one behind them is on where it lets in nobody
/// but administrators, of whom the monitor may be one.
const ROLE_COLUMNS: usize = 2;

/// Columns that say who the server is.
const IDENTITY_COLUMNS: usize = 2;

/// All of these; what follows is about its position.
const BEFORE_POSITION: usize = ROLE_COLUMNS + 1 + IDENTITY_COLUMNS;

/// `ER_SERVER_OFFLINE_MODE`: what everybody else is told at their login.
const OFFLINE_MODE: u16 = 3032;

/// `super_read_only` came with MySQL 5.7.8, `offline_mode` before that, and neither exists in MariaDB. A position is cut one byte behind the longest
/// that is read, so that no set of GTIDs, however long, makes an answer too large for a check.
fn question(version: ServerVersion, subject: Subject) -> &'static str {
    let has_super_read_only = (version.major, version.minor, version.patch) >= (5, 7, 8);
    match (version.family, subject) {
        (Family::MariaDb, Subject::RoleAndPosition) => {
            "SELECT @@read_only, 0, 0, @@server_id, NULL, @@log_bin, LEFT(@@GLOBAL.gtid_slave_pos, 65537), \
             LEFT(@@GLOBAL.gtid_current_pos, 65537), LEFT(@@GLOBAL.gtid_binlog_state, 65537)"
        }
        (Family::MySql, Subject::RoleAndPosition) if has_super_read_only => {
            "SELECT @@read_only, @@super_read_only, @@offline_mode, @@server_id, @@server_uuid, @@GLOBAL.gtid_mode, \
             LEFT(@@GLOBAL.gtid_executed, 65537)"
        }
        (Family::MySql, Subject::Role) if has_super_read_only => {
            "SELECT @@read_only, @@super_read_only, @@offline_mode, @@server_id, NULL"
        }
        (Family::MariaDb, Subject::Role) | (Family::MySql, _) => "SELECT @@read_only, 0, 0, @@server_id, NULL",
    }
}

fn is_unknown_variable(failure: &CheckResult) -> bool {
    matches!(failure, CheckResult::StatementFailed { code: UNKNOWN_SYSTEM_VARIABLE, .. })
}

/// What the columns of a [`question`] behind the role say; nothing, where there are none.
fn position_of(family: Family, columns: &[Value<'_>], asked: Instant) -> Option<Seen> {
    match (family, columns) {
        (Family::MariaDb, [log_bin, applied, committed, _]) => {
            let applied = GtidPosition::parse_mariadb((*applied)?).ok()?;
            // Without a binary log there is no history, and its position stands still.
            let committed = committed.filter(|_| is_on(*log_bin));
            let committed = committed.and_then(|text| GtidPosition::parse_mariadb(text).ok());
            Some(Seen { asked, applied, committed })
        }
        // In every other mode there may be transactions without a GTID, which no position tells of.
        (Family::MySql, [Some(mode), executed]) if mode.eq_ignore_ascii_case(b"ON") => {
            let executed = GtidPosition::parse_mysql((*executed)?).ok()?;
            Some(Seen { asked, applied: executed.clone(), committed: Some(executed) })
        }
        _ => None,
    }
}

/// `ER_UNKNOWN_SYSTEM_VARIABLE`: before MariaDB 10.0.2 and MySQL 5.6.5 there were no GTIDs.
const UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::gtid::GTID_TEXT_BYTES_MAX;

    fn question_to(text: &str, subject: Subject) -> &'static str {
        let version = ServerVersion::parse(text.as_bytes()).unwrap();
        question(version, subject)
    }

    #[test]
    fn super_read_only_is_asked_where_it_exists() {
        assert_eq!(
            question_to("9.7.4-2", Subject::Role),
            "SELECT @@read_only, @@super_read_only, @@offline_mode, @@server_id, NULL"
        );
        assert_eq!(question_to("5.7.7", Subject::Role), "SELECT @@read_only, 0, 0, @@server_id, NULL");
        assert_eq!(question_to("11.8.6-MariaDB", Subject::Role), "SELECT @@read_only, 0, 0, @@server_id, NULL");
    }

    #[test]
    fn an_administrator_is_told_what_others_are_at_their_login() {
        let mut role = Role::new(ServerVersion::parse(b"9.7.4-2").unwrap());
        let mut read = |offline: &'static str| {
            let values = ["0", "0", offline, "1"].map(bytes);
            role.subject = Subject::Role;
            role.read(&values, Instant::now()).map(|told| told.writable)
        };
        assert_eq!(read("0"), Ok(Some(Writable::Yes)));
        assert!(matches!(read("1"), Err(CheckResult::StatementFailed { code: 3032, .. })));
    }

    #[test]
    fn no_answer_is_too_long_and_a_cut_position_is_none() {
        let cut = format!(", {})", GTID_TEXT_BYTES_MAX + 1);
        assert_eq!(question_to("11.8.6-MariaDB", Subject::RoleAndPosition).matches(&cut).count(), 3);
        assert_eq!(question_to("9.7.4-2", Subject::RoleAndPosition).matches(&cut).count(), 1);
        let long = "0-1-1,".repeat(GTID_TEXT_BYTES_MAX);
        let columns = [bytes("1"), bytes(&long[..=GTID_TEXT_BYTES_MAX]), bytes("0-1-1"), bytes("")];
        assert_eq!(position_of(Family::MariaDb, &columns, Instant::now()), None);
    }

    fn bytes(text: &str) -> Value<'_> {
        Some(text.as_bytes())
    }

    #[test]
    fn a_position_is_what_surely_tells_of_every_transaction() {
        let asked = Instant::now();
        let mariadb = |text: &str| GtidPosition::parse_mariadb(text.as_bytes()).unwrap();
        let check = |log_bin: &str, committed| {
            let columns = [bytes(log_bin), bytes("0-1-4"), bytes("0-1-9"), bytes("")];
            let seen = Seen { asked, applied: mariadb("0-1-4"), committed };
            assert_eq!(position_of(Family::MariaDb, &columns, asked), Some(seen));
        };
        check("1", Some(mariadb("0-1-9")));
        check("0", None);
        let executed = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5,\n4e11fa47-71ca-11e1-9e33-c80aa9429562:7";
        let seen = |mode| position_of(Family::MySql, &[bytes(mode), bytes(executed)], asked);
        let position = GtidPosition::parse_mysql(executed.as_bytes()).unwrap();
        assert_eq!(seen("ON"), Some(Seen { asked, applied: position.clone(), committed: Some(position) }));
        assert_eq!((seen("OFF"), seen("ON_PERMISSIVE"), seen("OFF_PERMISSIVE")), (None, None, None));
        assert_eq!(position_of(Family::MySql, &[], asked), None);
    }
}
