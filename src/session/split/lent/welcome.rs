//! The end of a login for which no server was logged in to: the session was lent a connection, and says what a server would
//! have said.

use crate::{
    protocol::{
        response::{OK_HEADER, OkPacket},
        session_track,
        status::StatusFlags,
    },
    session::{
        Output, Session, Side, State, Surroundings,
        relay::Relay,
        split::{Split, chore::Chore},
    },
    sql::Family,
};

impl Session {
    /// The login is over: what a server says at the end of one.
    pub(in crate::session::split) fn welcome(&mut self, surroundings: Surroundings<'_>) {
        let is_new = self.commands == 0;
        let State::Relay(Relay { status, split: Some(split), .. }) = &mut self.state else { return };
        let status = *status;
        let Some(sequence) = split.lent.as_deref_mut().and_then(|lent| lent.welcome.take()) else { return };
        let trackers = split.told_at_door(is_new, status);
        let attributes = split.login.attributes.clone();
        self.learn_of_client(&attributes, surroundings.table);
        let trackers = match is_new {
            true => self.told_at_login(Some(&trackers), &attributes, surroundings),
            false => Some(trackers).filter(|trackers| !trackers.is_empty()),
        };
        let mut payload = Vec::with_capacity(64);
        OkPacket { status, trackers, ..OkPacket::default() }.encode(OK_HEADER, self.capabilities, &mut payload);
        self.send_packet(Side::Client, sequence, &payload);
        self.outputs.push_back(Output::Entered);
    }

    /// A client that has just logged in finds the session as the server's reset left it.
    pub(in crate::session::split) fn take_status(&mut self, chore: Chore, told: Option<StatusFlags>) {
        if let (State::Relay(relay), Some(status)) = (&mut self.state, told)
            && chore == Chore::HomeReset
            && relay.split.as_deref().and_then(|split| split.lent.as_deref()).is_some_and(|lent| lent.welcome.is_some())
        {
            relay.status = status;
        }
    }
}

impl Split {
    /// What the server tells at the end of a login: the schema, and MariaDB's variables to a client that is new.
    fn told_at_door(&self, is_new: bool, status: StatusFlags) -> Vec<u8> {
        let mut trackers = Vec::new();
        let tells_variables = matches!(self.family, Family::MariaDb { version } if version >= TELLS_VARIABLES);
        if is_new && tells_variables {
            for name in self.tells_by_itself.names() {
                if let Some(value) = self.value_at_door(name, status) {
                    session_track::append_variable(&mut trackers, name.as_bytes(), value);
                }
            }
        }
        if let Some(schema) = self.journal.schema().filter(|_| self.tells_by_itself.schema) {
            session_track::append_schema(&mut trackers, schema);
        }
        trackers
    }

    fn value_at_door(&self, name: &str, status: StatusFlags) -> Option<&[u8]> {
        match name {
            "autocommit" if status.contains(StatusFlags::AUTOCOMMIT) => Some(b"ON"),
            "autocommit" => Some(b"OFF"),
            name => self.journal.value(name.as_bytes()),
        }
    }
}

/// The version from which on MariaDB tells of all variables that it tracks behind a login, 11.3.1.
const TELLS_VARIABLES: u32 = 110_301;
