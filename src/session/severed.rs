//! A session that has lost its server for good while its client said nothing: the client's next command is answered with
//! the reason, which drivers take for a lost connection, and the session ends.

use crate::protocol::{
    command::Command,
    packet::{HEADER_LENGTH, Walker},
};

use super::{Ending, Output, Session, Side, State, Step, errors};

impl Session {
    /// Gives up the server. The client hears of it when it asks for something.
    pub(super) fn await_last_command(&mut self) {
        if let Some(server) = self.server.take() {
            self.last_server = Some(server.name);
            self.outputs.push_back(Output::Release);
        }
        self.deadline = None;
        self.state = State::Severed(Walker::new());
    }

    /// Bytes of a client whose session has lost its server.
    pub(super) fn severed_step(&mut self, from: Side, received: &[u8]) -> Step {
        let State::Severed(walker) = &mut self.state else { unreachable!("the caller looked at the state") };
        if from != Side::Client {
            return Step::Consume { length: received.len() };
        }
        let is_whole = walker.is_between_packets() && received.len() == HEADER_LENGTH + 1;
        let is_quit = is_whole && Command::from(received[HEADER_LENGTH]) == Command::Quit;
        let walked = walker.walk(received);
        let sequence = walker.last_sequence().wrapping_add(1);
        match walked.finished {
            true if is_quit => self.close(Ending::Quit),
            true => {
                self.commands += 1;
                let name = self.last_server.as_deref().unwrap_or("?");
                self.deny(sequence, errors::server_drained(name), Ending::Drained);
            }
            false => {}
        }
        Step::Consume { length: walked.consumed }
    }
}
