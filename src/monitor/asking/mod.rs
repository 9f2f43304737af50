//! What a server is asked in each check, in the words of its family and as its cluster's topology wants to know it.

mod galera;
mod group;
mod replication;
mod role;

use std::time::Instant;

use crate::config::Topology;
use crate::protocol::response::ErrPacket;
use crate::protocol::text_answer::{Outcome, Rows, Value};
use crate::protocol::version::ServerVersion;
use crate::reach::{Inquiry, legible};
use crate::topology::{CheckResult, Seen, View, Writable};
use galera::Node;
use group::Group;
use replication::Replication;
use role::Role;

/// What a server says of itself.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// `None` where there is nobody to ask.
    pub(super) writable: Option<Writable>,
    /// How it sees the others of its cluster.
    pub(super) view: View,
    /// `None` where it cannot tell how far it is.
    pub(super) seen: Option<Seen>,
    /// Whether a part of the answer did not come in time: then its connection is of no more use.
    pub(super) is_cut_short: bool,
}

/// How much a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Everything,
    /// Without what it lately did not answer.
    Essentials,
}

/// The questions to one server over one connection, and what it has shown that it does not understand.
#[derive(Debug)]
pub(super) enum Asking {
    /// Roles are configured.
    Role(Role),
    /// Roles follow from who replicates from whom.
    Replication(Replication),
    /// Roles follow from how the nodes see their group.
    Node(Node),
    /// The members of a group say who is what.
    Group(Group),
}

impl Asking {
    pub(super) fn new(topology: Topology, version: ServerVersion) -> Asking {
        match topology {
            Topology::Replication => Asking::Replication(Replication::new(version)),
            Topology::GroupReplication => Asking::Group(Group::new(version)),
            Topology::Galera => Asking::Node(Node::new(version)),
            Topology::Static => Asking::Role(Role::new(version)),
        }
    }

    /// One check. Whoever has not told all at the deadline has told what it has told.
    pub(super) async fn ask(
        &mut self,
        inquiry: &mut Inquiry,
        extent: Extent,
        deadline: Instant,
    ) -> Result<Told, CheckResult> {
        match self {
            Asking::Role(role) => role.ask(inquiry, deadline).await,
            Asking::Node(node) => node.ask(inquiry, deadline).await,
            Asking::Replication(replication) => replication.ask(inquiry, extent, deadline).await,
            Asking::Group(group) => group.ask(inquiry, deadline).await,
        }
    }

    /// Whether a new connection may be told more than this one.
    pub(super) fn is_outdated(&self) -> bool {
        match self {
            Asking::Role(_) | Asking::Node(_) | Asking::Group(_) => false,
            Asking::Replication(replication) => replication.is_outdated(),
        }
    }
}

/// The values of the first row of an answer; none, where there is no row.
async fn ask_for_row<'a>(
    inquiry: &'a mut Inquiry,
    question: &str,
    deadline: Instant,
) -> Result<Vec<Value<'a>>, CheckResult> {
    first_row(inquiry.ask(question, deadline).await?.next())
}

fn first_row(outcome: Option<Outcome<'_>>) -> Result<Vec<Value<'_>>, CheckResult> {
    Ok(rows_of(outcome)?.values().next().unwrap_or_default())
}

/// The rows of a statement that has to have some.
fn rows_of(outcome: Option<Outcome<'_>>) -> Result<Rows<'_>, CheckResult> {
    match outcome {
        Some(Outcome::Rows(rows)) => Ok(rows),
        Some(Outcome::Refused(error)) => Err(refused(&error)),
        Some(Outcome::Done) | None => Err(CheckResult::Malformed("an answer without columns".to_owned())),
    }
}

fn refused(error: &ErrPacket) -> CheckResult {
    CheckResult::StatementFailed { code: error.code.0, message: legible(&error.message) }
}

fn number(value: Value<'_>) -> Option<u64> {
    std::str::from_utf8(value?).ok()?.parse().ok()
}

/// Whether a variable is on. It is a number; later versions of MariaDB have words for it, of which all but OFF forbid writes.
fn is_on(value: Value<'_>) -> bool {
    value.is_none_or(|text| text != b"0" && !text.eq_ignore_ascii_case(b"OFF"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_surely_off_is_off() {
        let is_on = |text: &str| is_on(Some(text.as_bytes()));
        assert!(!is_on("0") && !is_on("OFF") && !is_on("off"));
        assert!(is_on("1") && is_on("ON") && is_on("NO_LOCK_NO_ADMIN") && super::is_on(None));
    }

    #[test]
    fn an_error_is_no_answer() {
        let refusal = ErrPacket::parse(b"\xFF\xA9\x04#HY000Unknown system variable").unwrap();
        let expected = CheckResult::StatementFailed { code: 1193, message: "Unknown system variable".to_owned() };
        assert_eq!(first_row(Some(Outcome::Refused(refusal))), Err(expected));
        assert!(matches!(first_row(Some(Outcome::Done)), Err(CheckResult::Malformed(_))));
        assert!(matches!(first_row(None), Err(CheckResult::Malformed(_))));
    }
}
