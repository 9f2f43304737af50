//! How a Galera node sees its group: one statement, which a node outside the primary component answers, too.

use std::time::{Duration, Instant};

use super::role::Role;
use super::{Told, ask_for_row, is_on};
use crate::protocol::text_answer::Value;
use crate::protocol::version::{Family, ServerVersion};
use crate::reach::Inquiry;
use crate::topology::galera::{Connection, Desync, Group, LocalState, Queries, Readiness, Status, View as Galera};
use crate::topology::{CheckResult, View, Writable};

/// The question for a node's view of its group, beside that for role and position.
#[derive(Debug)]
pub(in crate::monitor) struct Node {
    family: Family,
    role: Role,
    question: String,
}

impl Node {
    pub(super) fn new(version: ServerVersion) -> Node {
        let role = Role::new(version);
        Node { family: version.family, question: question(version.family, &role), role }
    }

    pub(super) async fn ask(&mut self, inquiry: &mut Inquiry, deadline: Instant) -> Result<Told, CheckResult> {
        let asked = Instant::now();
        let answer = match ask_for_row(inquiry, &self.question, deadline).await {
            Err(failure) if self.role.forgoes(&failure) => {
                self.question = question(self.family, &self.role);
                ask_for_row(inquiry, &self.question, deadline).await
            }
            answer => answer,
        };
        let values = answer?;
        let (role, wsrep) = values.split_at(values.len().saturating_sub(COLUMNS));
        let told = self.role.read(role, asked)?;
        let view = view(wsrep, told.writable.unwrap_or(Writable::No))?;
        Ok(Told { view: View::Galera(Box::new(view)), ..told })
    }
}

/// The statement that asks for both.
fn question(family: Family, role: &Role) -> String {
    // Tables of the server itself are refused outside the primary component; these are not.
    // Of the MySQL family only Percona XtraDB Cluster knows the mode; elsewhere there is no row, which is NULL.
    let (schema, maintenance) = match family {
        Family::MariaDb => ("information_schema", "NULL"),
        Family::MySql => (
            "performance_schema",
            "(SELECT variable_value FROM performance_schema.global_variables WHERE variable_name = 'pxc_maint_mode')",
        ),
    };
    let names: Vec<String> = STATUS.iter().map(|name| format!("'{name}'")).collect();
    // As a value, not as a table to select from: a node that rejects queries allows that, and beside an aggregate every
    // variable that is ON or OFF would be 0 (MariaDB 10.11.19). The addresses come last, where MySQL may cut them.
    format!(
        "{}, @@wsrep_desync, @@wsrep_reject_queries, {maintenance}, \
         (SELECT GROUP_CONCAT(variable_name, '=', variable_value \
         ORDER BY variable_name = 'wsrep_incoming_addresses' SEPARATOR '\\n') \
         FROM {schema}.global_status WHERE variable_name IN ({}))",
        role.question(),
        names.join(", "),
    )
}

/// What the columns about the group say.
fn view(values: &[Value<'_>], writable: Writable) -> Result<Galera, CheckResult> {
    let [desync, queries, maintenance, status] = values else { return Err(malformed("its wsrep_ variables")) };
    let status = status.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let of = |name: &'static str| {
        let mut lines = status.lines().filter_map(|line| line.split_once('='));
        lines.find(|(said, _)| said.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let number = |name| of(name).and_then(|text| text.parse::<u64>().ok()).filter(|number| *number != NOTHING);
    let word = |name: &'static str| of(name).ok_or_else(|| malformed(name));
    let size = number("wsrep_cluster_size").and_then(|size| u32::try_from(size).ok()).unwrap_or(0);
    Ok(Galera {
        status: match word("wsrep_cluster_status")? {
            "Primary" => Status::Primary,
            "non-Primary" => Status::NonPrimary,
            _ => Status::Disconnected,
        },
        connection: if word("wsrep_connected")? == "ON" { Connection::Open } else { Connection::Closed },
        readiness: if word("wsrep_ready")? == "ON" { Readiness::Ready } else { Readiness::NotReady },
        state: local_state(number("wsrep_local_state")),
        group: Group {
            history: word("wsrep_cluster_state_uuid")?.into(),
            number: number("wsrep_cluster_conf_id"),
            size,
            members: members(of("wsrep_incoming_addresses").unwrap_or_default(), size),
        },
        desync: if is_on(*desync) { Desync::ByHand } else { Desync::Off },
        queries: match (queries, maintenance) {
            (Some(b"NONE"), None | Some(b"DISABLED")) => Queries::Accepted,
            (Some(b"NONE"), Some(_)) => Queries::Unwanted,
            _ => Queries::Rejected,
        },
        writable,
        committed: number("wsrep_last_committed"),
        replicated: number("wsrep_replicated").unwrap_or(0),
        uptime: Duration::from_secs(number("uptime").unwrap_or(0)),
    })
}

fn local_state(number: Option<u64>) -> LocalState {
    match number {
        Some(0) => LocalState::Initialized,
        Some(1) => LocalState::Joining,
        Some(2) => LocalState::Donor,
        Some(3) => LocalState::Joined,
        Some(4) => LocalState::Synced,
        Some(_) | None => LocalState::Broken,
    }
}

/// An arbitrator has no address, and an empty place in the list. A list that was cut tells nothing.
fn members(list: &str, size: u32) -> Vec<Box<str>> {
    let mut members: Vec<Box<str>> = list.split(',').map(Box::from).collect();
    members.sort_unstable();
    if members.len() == size as usize { members } else { Vec::new() }
}

fn malformed(what: &str) -> CheckResult {
    CheckResult::Malformed(format!("it does not tell {what}"))
}

/// The status variables that are asked for.
const STATUS: [&str; 11] = [
    "wsrep_cluster_status",
    "wsrep_connected",
    "wsrep_ready",
    "wsrep_local_state",
    "wsrep_cluster_state_uuid",
    "wsrep_cluster_conf_id",
    "wsrep_cluster_size",
    "wsrep_incoming_addresses",
    "wsrep_last_committed",
    "wsrep_replicated",
    "uptime",
];

/// Of the answer, behind those about role and position.
const COLUMNS: usize = 4;

/// What Galera says in place of a number that it does not have: -1 as it comes out of 64 bits without a sign.
const NOTHING: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Value<'_> {
        Some(text.as_bytes())
    }

    /// As captured from MariaDB 10.11.19 with Galera 26.4.23.
    fn answer(desync: &str, queries: &str, status: [&str; STATUS.len()]) -> Result<Galera, CheckResult> {
        let lines: Vec<String> =
            STATUS.iter().zip(status).map(|(name, value)| format!("{}={value}", name.to_uppercase())).collect();
        view(&[bytes(desync), bytes(queries), None, bytes(&lines.join("\n"))], Writable::Yes)
    }

    const HISTORY: &str = "0fbf749b-e58a-11f1-a9ad-6f0767e17f3f";

    #[test]
    fn a_node_in_step_says_so() {
        let addresses = "127.0.0.1:23352,127.0.0.1:23351,";
        let said =
            answer("0", "NONE", ["Primary", "ON", "ON", "4", HISTORY, "3", "3", addresses, "17", "4", "134"]).unwrap();
        let expected = Galera {
            status: Status::Primary,
            connection: Connection::Open,
            readiness: Readiness::Ready,
            state: LocalState::Synced,
            group: Group {
                history: HISTORY.into(),
                number: Some(3),
                size: 3,
                members: vec!["".into(), "127.0.0.1:23351".into(), "127.0.0.1:23352".into()],
            },
            desync: Desync::Off,
            queries: Queries::Accepted,
            writable: Writable::Yes,
            committed: Some(17),
            replicated: 4,
            uptime: Duration::from_secs(134),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn a_node_without_majority_has_no_number_of_its_view() {
        let none = "18446744073709551615";
        let own = "127.0.0.1:23351";
        let said =
            answer("0", "NONE", ["non-Primary", "ON", "OFF", "0", HISTORY, none, "1", own, "7", "0", "533"]).unwrap();
        let (number, size) = (said.group.number, said.group.size);
        assert_eq!(
            (said.status, said.readiness, said.state),
            (Status::NonPrimary, Readiness::NotReady, LocalState::Initialized)
        );
        assert_eq!((number, size, said.committed), (None, 1, Some(7)));
        let said = answer("0", "NONE", ["Disconnected", "OFF", "OFF", "0", HISTORY, none, "0", "", "-1", "0", "121"]);
        let said = said.unwrap();
        assert_eq!((said.status, said.connection, said.committed), (Status::Disconnected, Connection::Closed, None));
    }

    #[test]
    fn what_an_operator_has_set_is_seen() {
        let status = ["Primary", "ON", "ON", "2", HISTORY, "3", "3", "", "17", "4", "134"];
        assert_eq!(answer("1", "NONE", status).unwrap().desync, Desync::ByHand);
        assert_eq!(answer("0", "ALL", status).unwrap().queries, Queries::Rejected);
        assert_eq!(answer("0", "ALL_KILL", status).unwrap().queries, Queries::Rejected);
    }

    /// As the manual of Percona XtraDB Cluster 8.0 has the values of `pxc_maint_mode`.
    #[test]
    fn a_node_under_maintenance_wants_no_new_work() {
        let status = "WSREP_CLUSTER_STATUS=Primary\nWSREP_CONNECTED=ON\nWSREP_READY=ON\nWSREP_CLUSTER_STATE_UUID=u";
        let queries = |mode: &str, queries: &str| {
            let said = view(&[bytes("0"), bytes(queries), bytes(mode), bytes(status)], Writable::Yes);
            said.unwrap().queries
        };
        assert_eq!(queries("DISABLED", "NONE"), Queries::Accepted);
        assert_eq!(queries("SHUTDOWN", "NONE"), Queries::Unwanted);
        assert_eq!(queries("MAINTENANCE", "NONE"), Queries::Unwanted);
        assert_eq!(queries("MAINTENANCE", "ALL"), Queries::Rejected);
    }

    #[test]
    fn an_answer_that_lacks_something_is_none() {
        let missing = view(&[bytes("0"), bytes("NONE"), None, None], Writable::Yes);
        assert_eq!(missing, Err(CheckResult::Malformed("it does not tell wsrep_cluster_status".to_owned())));
        assert!(view(&[], Writable::Yes).is_err());
    }
}
