//! What decides, beside the schema, how a text is read when it is prepared. A statement is read once, and means from then on
//! what it meant; on another connection it is prepared with the settings that it was prepared with before.

use super::{Journal, Unwritable, setting};

/// The session's settings when a statement was prepared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::session::split) struct Reading {
    sql_mode: Vec<u8>,
    client: Vec<u8>,
    connection: Vec<u8>,
    /// `None` where it is that of the character set, whatever that is at the server.
    collation: Option<Vec<u8>>,
}

impl Reading {
    pub(in crate::session::split) fn of(journal: &Journal) -> Reading {
        let value = |name: &[u8]| journal.value(name).unwrap_or_default().to_vec();
        Reading {
            sql_mode: value(b"sql_mode"),
            client: value(b"character_set_client"),
            connection: value(b"character_set_connection"),
            collation: journal.collation().map(<[u8]>::to_vec),
        }
    }

    /// The statement that has texts read so.
    pub(in crate::session::split) fn statement(&self) -> Result<Vec<u8>, Unwritable> {
        let mut parts = vec![
            setting(b"sql_mode", &self.sql_mode)?,
            setting(b"character_set_client", &self.client)?,
            setting(b"character_set_connection", &self.connection)?,
        ];
        if let Some(collation) = &self.collation {
            parts.push(setting(b"collation_connection", collation)?);
        }
        Ok([b"SET ", &*parts.join(&b", "[..])].concat())
    }
}
