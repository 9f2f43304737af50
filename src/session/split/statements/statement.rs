//! One prepared statement: what the client knows of it, and what each of its servers does.

use std::sync::Arc;

use crate::{
    protocol::{response::ErrPacket, statement::StatementId},
    session::split::journal::reading::Reading,
    sql::Classification,
};

use super::execution::{Execution, LongExecution};

/// One prepared statement.
#[derive(Debug)]
pub(in crate::session::split) struct Statement {
    /// For the client.
    pub(in crate::session::split) id: StatementId,
    pub(in crate::session::split) text: Vec<u8>,
    pub(in crate::session::split) classification: Classification,
    /// The journal's count of changes of meaning when it was prepared.
    pub(in crate::session::split) meaning: u32,
    /// Under what it was prepared, where home's connection may be another one.
    pub(in crate::session::split) origin: Option<Origin>,
    /// A hash of the definitions that the client was told.
    pub(in crate::session::split) definitions: u64,
    pub(in crate::session::split) parameters: u16,
    /// As the client bound them last.
    pub(super) types: Vec<u8>,
    pub(super) home: Option<AtServer>,
    /// Parts of parameters were sent home.
    pub(in crate::session::split) long_data: bool,
    /// It has a cursor at home, which its next execution closes.
    pub(in crate::session::split) has_cursor: bool,
    /// Home did not get parts of parameters, for this reason: the next execution is refused with it.
    pub(in crate::session::split) lost_data: Option<Box<ErrPacket>>,
    pub(super) replica: Option<AtServer>,
    /// An execution told the definitions of its columns anew.
    pub(in crate::session::split) is_told_anew: bool,
    /// The replica did not prepare it, or not as home did.
    pub(in crate::session::split) is_unfit: bool,
    /// Bytes that it counts for.
    pub(super) kept: usize,
}

#[derive(Debug)]
pub(super) struct AtServer {
    pub(super) id: StatementId,
    pub(super) has_types: bool,
    pub(super) used: u64,
}

/// A statement on its way to be one.
#[derive(Debug)]
pub(in crate::session::split) struct Preparation {
    pub(in crate::session::split) text: Vec<u8>,
    pub(in crate::session::split) classification: Classification,
    pub(in crate::session::split) meaning: u32,
    pub(in crate::session::split) origin: Option<Origin>,
    /// For the client.
    pub(in crate::session::split) id: Option<StatementId>,
    pub(in crate::session::split) at_home: Option<StatementId>,
    pub(in crate::session::split) parameters: u16,
    pub(in crate::session::split) definitions: Definitions,
}

/// What decides how a text is read when it is prepared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::session::split) struct Origin {
    pub(in crate::session::split) schema: Option<Vec<u8>>,
    pub(in crate::session::split) reading: Arc<Reading>,
}

/// A hash of what a prepare reply says of parameters and columns: FNV-1a, so that cuts do not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session::split) struct Definitions(pub(in super::super) u64);

impl Statement {
    pub(in crate::session::split) fn is_at_replica(&self) -> bool {
        self.replica.is_some()
    }

    pub(super) fn is_at_home(&self) -> bool {
        self.home.is_some()
    }

    /// Home has what another connection would lack: parts of parameters, a cursor, types that nobody saw. Or it has told
    /// definitions that another would not know the client to have.
    pub(super) fn is_bound(&self) -> bool {
        let has_unseen_types = self.parameters > 0 && self.types.is_empty() && self.home_has_types();
        self.long_data || self.has_cursor || has_unseen_types || self.is_told_anew
    }

    pub(super) fn home_has_types(&self) -> bool {
        self.home.as_ref().is_some_and(|home| home.has_types)
    }

    pub(super) fn told_home(&mut self, has_types: bool) {
        if let Some(home) = &mut self.home {
            home.has_types = has_types;
        }
    }

    /// An execution goes home that cannot be read: it may have bound any types, and opened a cursor.
    pub(in crate::session::split) fn bound_unseen(&mut self) {
        self.types.clear();
        self.told_home(true);
        self.long_data = false;
        self.has_cursor = true;
    }

    /// An execution goes home of which only the beginning was looked at. Gives the types that home must be told with it.
    pub(super) fn bind_long(&mut self, payload: &[u8], execution: &LongExecution) -> Option<Vec<u8>> {
        if execution.is_unseen {
            self.bound_unseen();
            return None;
        }
        self.long_data = false;
        self.has_cursor = execution.wants_cursor(payload);
        if execution.binds {
            self.types.clear();
            self.types.extend_from_slice(execution.types_in(payload));
            self.told_home(true);
            if let Some(replica) = &mut self.replica {
                replica.has_types = false;
            }
            return None;
        }
        (!self.home_has_types() && !self.types.is_empty()).then(|| self.types.clone())
    }

    /// An execution without types cannot go elsewhere, as nobody saw those that home was told.
    pub(in crate::session::split) fn lacks_types(&self, execution: &Execution) -> bool {
        self.parameters > 0 && !execution.binds && self.types.is_empty()
    }

    /// Whether home would not know what an execution means that is run there later.
    pub(in crate::session::split) fn lacks_types_in(&self, execution: &Execution) -> bool {
        self.parameters > 0 && !execution.binds && !self.types.is_empty()
    }

    pub(in crate::session::split) fn types(&self) -> &[u8] {
        &self.types
    }

    /// Whether an execution gives the parameters other types than they have.
    pub(in crate::session::split) fn is_bound_otherwise_by(&self, payload: &[u8], execution: &Execution) -> bool {
        execution.binds && self.types != payload[execution.types.clone()]
    }

    /// An execution is run at home again: what it binds there need not be what the client has bound since. Gives the payload
    /// that home must get instead.
    pub(in crate::session::split) fn bind_again(&mut self, payload: &[u8], execution: &Execution) -> Option<Vec<u8>> {
        if !execution.binds {
            return self.bind(payload, execution, true);
        }
        let is_as_bound = !self.is_bound_otherwise_by(payload, execution);
        self.told_home(is_as_bound);
        // It may have failed there before it took them in.
        if let Some(replica) = &mut self.replica {
            replica.has_types = false;
        }
        None
    }

    /// An execution goes out, to home or elsewhere: remembers the types that it binds. Gives the payload that home must
    /// get instead, where the types were told to the replica only.
    pub(in crate::session::split) fn bind(
        &mut self,
        payload: &[u8],
        execution: &Execution,
        goes_home: bool,
    ) -> Option<Vec<u8>> {
        if execution.binds {
            self.types.clear();
            self.types.extend_from_slice(&payload[execution.types.clone()]);
            self.told_home(goes_home);
            if let Some(replica) = &mut self.replica {
                replica.has_types = !goes_home;
            }
            return None;
        }
        if !goes_home || self.home_has_types() || self.types.is_empty() {
            return None;
        }
        self.told_home(true);
        let id = self.home.as_ref().map_or(self.id, |home| home.id);
        Some(execution.write(payload, id, &self.types))
    }
}

impl Preparation {
    /// Bytes that the statement will count for.
    pub(super) fn bytes(&self) -> usize {
        let schema = self.origin.as_ref().and_then(|origin| origin.schema.as_ref()).map_or(0, Vec::len);
        self.text.len() + schema + 2 * usize::from(self.parameters) + size_of::<Statement>() + size_of::<Reading>()
    }
}

impl Default for Definitions {
    fn default() -> Self {
        Definitions(0xCBF2_9CE4_8422_2325)
    }
}

impl Definitions {
    pub(in crate::session::split) fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}
