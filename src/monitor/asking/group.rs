//! Role, position and group of a member of a replication group: one statement, and one for the members that it knows.

use std::sync::Arc;
use std::time::Instant;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::Told;
use super::role::{self, Role, text};
use crate::monitor::connection::statement_failure;
use crate::protocol::version::ServerVersion;
use crate::reach::legible;
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

    pub(super) async fn ask(&mut self, client: &mut Conn) -> Result<Told, CheckResult> {
        let asked = Instant::now();
        let answer = match client.query_first(self.role.question()).await {
            Err(error) if self.role.forgoes(&error) => client.query_first(self.role.question()).await,
            answer => answer,
        };
        let values = answer.map_err(statement_failure)?.map(Row::unwrap).unwrap_or_default();
        let told = self.role.read(&values, asked)?;
        let members = match client.query::<(String, String, String), _>(MEMBERS).await {
            Ok(rows) => Ok(rows.into_iter().filter_map(member).collect()),
            Err(mysql_async::Error::Server(error)) => {
                let words = format!("ERROR {}: {}", error.code, legible(error.message.as_bytes()));
                Err(Arc::from(words))
            }
            Err(error) => return Err(statement_failure(error)),
        };
        let uuid = role::identity(&values).and_then(|[_, uuid]| text(uuid));
        let uuid = String::from_utf8_lossy(uuid.unwrap_or_default()).into_owned().into_boxed_str();
        Ok(Told { view: View::Group(GroupView { asked, uuid, members }), ..told })
    }
}

/// A row whose state has no known name is that of a member that is not online.
fn member((uuid, state, role): (String, String, String)) -> Option<GroupMember> {
    let state = State::of_word(&state).unwrap_or(State::Error);
    (!uuid.is_empty()).then(|| GroupMember { uuid: uuid.into_boxed_str(), state, is_primary: role == "PRIMARY" })
}

const MEMBERS: &str =
    "SELECT MEMBER_ID, MEMBER_STATE, MEMBER_ROLE FROM performance_schema.replication_group_members LIMIT 64";
