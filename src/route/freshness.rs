//! Whether a server has what a session has written and seen before.

use std::fmt;
use std::time::Duration;

use crate::protocol::gtid::GtidPosition;
use crate::topology::{RoutingTable, ServerEntry, ServerIndex, ServerRole};

/// What is known of a server's past, compared with what a session must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// The session has nothing that it must see.
    Anything,
    /// It is the primary, or was seen to have all of it.
    Seen,
    /// It was not, and may have it by now.
    Unseen,
    /// It was not, and is so far behind its primary that it will not have it soon.
    Behind,
}

/// Who is this far behind its primary, or farther, is not waited at while there is somebody else.
const BEHIND: Duration = Duration::from_secs(1);

impl Sight {
    /// Of `server`, for a session that must see `fresh`.
    pub(super) fn of(server: &ServerEntry, fresh: Option<&GtidPosition>) -> Sight {
        match fresh {
            None => Sight::Anything,
            // The primary is where it comes from.
            Some(_) if server.health.role == ServerRole::Primary => Sight::Seen,
            Some(position) if server.progress.has_applied(position) => Sight::Seen,
            Some(_) if server.progress.lag().is_some_and(|lag| lag >= BEHIND) => Sight::Behind,
            Some(_) => Sight::Unseen,
        }
    }

    /// Whether the session can read there without waiting.
    pub fn is_fresh(self) -> bool {
        match self {
            Sight::Anything | Sight::Seen => true,
            Sight::Unseen | Sight::Behind => false,
        }
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Sight::Anything => "any state will do",
            Sight::Seen => "seen to have what the session has seen",
            Sight::Unseen => "not yet seen to have what the session has seen",
            Sight::Behind => "behind what the session has seen",
        })
    }
}

/// Whether a session that must see `fresh` can read at the server that it has, without waiting there. Costs one
/// comparison of positions.
pub fn is_fresh(table: &RoutingTable, server: ServerIndex, fresh: Option<&GtidPosition>) -> bool {
    Sight::of(table.server(server), fresh).is_fresh()
}
