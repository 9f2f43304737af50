//! MariaDB can leave out the definitions of a prepared statement's columns where a client knows them: from the PREPARE, or
//! from the execution before. With two servers, what one of them tells anew the other does not know to be told, and would
//! leave out its own. So a statement whose definitions are told anew is executed at home from then on, and where home is
//! lent keeps its connection.

use crate::{
    protocol::{
        packet::{HEADER_LENGTH, Header},
        reader::Reader,
        response::{EOF_HEADER, ERR_HEADER, OK_HEADER},
        result_set::Progress,
    },
    session::{Session, State, Step, Surroundings, exchange::Exchange, moves::Move, relay::Relay, split::Kind},
};

/// What the first packet of an execution's reply says of definitions.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// So many bytes are needed to say that.
    NeedBytes(usize),
    /// They follow.
    Anew,
    /// They do not, or there are no rows.
    Nothing,
}

/// A count of columns with the flag behind it is never longer.
const FIRST_PACKET_MAX: u32 = 10;

fn told(bytes: &[u8]) -> Told {
    let Some(header) = Header::parse(bytes) else { return Told::NeedBytes(HEADER_LENGTH) };
    let end = HEADER_LENGTH + header.payload_length as usize;
    if header.payload_length > FIRST_PACKET_MAX {
        return Told::Nothing;
    }
    let Some(payload) = bytes.get(HEADER_LENGTH..end) else { return Told::NeedBytes(end) };
    if matches!(payload.first(), None | Some(&(OK_HEADER | ERR_HEADER | EOF_HEADER | 0xFB))) {
        return Told::Nothing;
    }
    let mut reader = Reader::new(payload);
    match (reader.lenenc("column count"), reader.u8("metadata flag")) {
        (Ok(_), Ok(1)) => Told::Anew,
        _ => Told::Nothing,
    }
}

impl Relay {
    /// Looks at the beginning of a reply for definitions that are told anew. What else is to be done than to pass it on.
    pub(in crate::session::split) fn look_for_definitions(&mut self, bytes: &[u8]) -> Option<Move> {
        let Exchange::Busy(busy) = &mut self.exchange else { return None };
        let split = self.split.as_deref_mut()?;
        let is_execution = matches!(split.current.kind, Kind::Execute);
        if busy.is_answered || !is_execution || !self.framing.cache_metadata {
            return None;
        }
        match told(bytes) {
            Told::Nothing => return None,
            Told::NeedBytes(at_least) => return Some(Move::Pass(Step::NeedBytes { at_least })),
            Told::Anew => {}
        }
        if let Some(id) = split.executing {
            split.statements.change(id, |statement| statement.is_told_anew = true);
        }
        if !split.may_repeat() {
            return None;
        }
        let mut rest = busy.reply.take()?;
        let followed = rest.follow(bytes).ok()?;
        let is_over = matches!(followed.progress, Progress::Done(_));
        if let Some(replica) = split.replicas.get_mut() {
            replica.rest = (!is_over).then_some(rest);
        }
        Some(Move::Repeat { length: followed.consumed })
    }

    /// The replica still sends a reply that nobody wants.
    pub(in crate::session) fn has_unwanted_rest(&self) -> bool {
        let replica = self.split.as_deref().and_then(|split| split.replicas.get());
        replica.is_some_and(|replica| replica.rest.is_some())
    }
}

impl Session {
    /// More of a replica's reply that nobody wants.
    pub(in crate::session) fn rest_step(&mut self, bytes: &[u8], surroundings: Surroundings<'_>) -> Step {
        let State::Relay(relay) = &mut self.state else { return Step::Consume { length: bytes.len() } };
        let replica = relay.split.as_deref_mut().and_then(|split| split.replicas.get_mut());
        let followed = replica.and_then(|replica| {
            let followed = replica.rest.as_mut()?.follow(bytes).ok()?;
            replica.rest.take_if(|_| matches!(followed.progress, Progress::Done(_)));
            Some(followed.consumed)
        });
        match followed.filter(|length| *length > 0) {
            Some(length) => Step::Consume { length },
            None => {
                self.replica_closed(surroundings);
                Step::Consume { length: bytes.len() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_behind_the_count_of_columns_tells() {
        assert_eq!(told(&[2, 0, 0, 1, 3, 1]), Told::Anew);
        assert_eq!(told(&[2, 0, 0, 1, 3, 0]), Told::Nothing);
        assert_eq!(told(&[4, 0, 0, 1, 0xFC, 0, 1, 1]), Told::Anew);
        assert_eq!(told(&[7, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]), Told::Nothing);
        assert_eq!(told(&[2, 0, 0, 1, 3]), Told::NeedBytes(6));
        assert_eq!(told(&[2]), Told::NeedBytes(4));
    }
}
