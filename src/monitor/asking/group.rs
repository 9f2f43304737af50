//! Role, position and group of a member of a replication group: one statement, and one for the members that it knows.

use std::time::Instant;

use super::role::{self, Role};
use super::{Told, ask_for_row, rows_of};
use crate::protocol::text_answer::Value;
use crate::protocol::version::ServerVersion;
use crate::reach::Inquiry;
use crate::topology::group::{GroupMember, State, View as GroupView};
use crate::topology::{CheckResult, View};

/// The question for role, position and group.
#[derive(Debug)]
pub(in crate::monitor) struct Group {
    role: Role,
}

impl Group {
    pub(super) fn new(version: ServerVersion) -> Group {
        Group { role: Role::new(version) }
    }

    pub(super) async fn ask(&mut self, inquiry: &mut Inquiry, deadline: Instant) -> Result<Told, CheckResult> {
        let asked = Instant::now();
        let answer = match ask_for_row(inquiry, self.role.question(), deadline).await {
            Err(failure) if self.role.forgoes(&failure) => ask_for_row(inquiry, self.role.question(), deadline).await,
            answer => answer,
        };
        let values = answer?;
        let told = self.role.read(&values, asked)?;
        let uuid = role::identity(&values).and_then(|[_, uuid]| uuid).map(words).unwrap_or_default();
        let members = match rows_of(inquiry.ask(MEMBERS, deadline).await?.next()) {
            Ok(rows) => Ok(rows.values().filter_map(|row| member(&row)).collect()),
            Err(CheckResult::StatementFailed { code, message }) => Err(format!("ERROR {code}: {message}").into()),
            Err(failure) => return Err(failure),
        };
        Ok(Told { view: View::Group(GroupView { asked, uuid, members }), ..told })
    }
}

/// A row whose state has no known name is that of a member that is not online.
fn member(row: &[Value<'_>]) -> Option<GroupMember> {
    let [uuid, state, role] = <[Value<'_>; 3]>::try_from(row).ok()?.map(Option::unwrap_or_default);
    let state = State::of_word(&words(state)).unwrap_or(State::Error);
    (!uuid.is_empty()).then(|| GroupMember { uuid: words(uuid), state, is_primary: role == b"PRIMARY" })
}

fn words(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into()
}

const MEMBERS: &str =
    "SELECT MEMBER_ID, MEMBER_STATE, MEMBER_ROLE FROM performance_schema.replication_group_members LIMIT 64";
