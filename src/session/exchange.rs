//! What is under way between two commands: a command on its way up, its reply on its way down.

use crate::protocol::{
    command::ReplyShape,
    error_code::Error,
    packet::{HEADER_LENGTH, Header, Walker},
    result_set::{Framing, Reply},
};

use super::{Side, Step, errand::Kill, parting::Parting, split::Preparing};

/// What is under way between two commands of the client.
pub(super) enum Exchange {
    /// Nothing: the next bytes are the client's, and begin a command.
    Idle,
    /// A command passes that the server does not answer.
    OneWay(Walker),
    /// A command passes, its reply is awaited, or follows.
    Busy(Busy),
    /// A command is swallowed, to be answered with an error.
    Refusing(Walker, Error),
    /// A server is made ready for a command that waits.
    Preparing(Box<Preparing>),
    /// The client kills a session that it knows by our number.
    Killing(Box<Kill>),
    /// The client is to go elsewhere, and hears so in answer to its next command.
    Parting(Parting),
    /// Both directions pass unseen until one side closes.
    Tunnel,
}

/// A command with a reply. Over when both have passed.
pub(super) struct Busy {
    /// The server that it goes to.
    pub(super) at: Side,
    pub(super) upload: Upload,
    pub(super) reply: Option<Reply>,
    /// The server has begun to answer.
    pub(super) is_answered: bool,
}

/// What still comes from the client.
pub(super) enum Upload {
    /// The rest of the command.
    Command(Walker),
    /// A file for LOAD DATA LOCAL: packets up to an empty one. `None` between two packets.
    File(Option<Walker>),
    /// Nothing.
    Done {
        /// The sequence id that the server's next packet has if it has not answered yet.
        answer_sequence: u8,
    },
}

impl Busy {
    /// A short command of ours that has been sent whole.
    pub(super) fn sent(shape: ReplyShape, framing: Framing) -> Busy {
        Busy {
            at: Side::Server,
            upload: Upload::Done { answer_sequence: 1 },
            reply: Some(Reply::new(shape, framing)),
            is_answered: false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.reply.is_none() && self.is_sent()
    }

    /// Nothing of it comes from the client any more.
    pub(super) fn is_sent(&self) -> bool {
        matches!(self.upload, Upload::Done { .. })
    }

    pub(super) fn upload(&mut self, bytes: &[u8]) -> Step {
        let to = self.at;
        match &mut self.upload {
            Upload::Done { .. } => Step::Wait,
            Upload::Command(walker) => {
                let walked = walker.walk(bytes);
                if walked.finished {
                    self.upload = Upload::done(walker);
                }
                Step::Forward { to, length: walked.consumed }
            }
            Upload::File(Some(walker)) => {
                let walked = walker.walk(bytes);
                if walked.finished {
                    self.upload = Upload::File(None);
                }
                Step::Forward { to, length: walked.consumed }
            }
            Upload::File(None) => self.file_packet(bytes),
        }
    }

    /// The beginning of a file's next packet; an empty one ends the file.
    fn file_packet(&mut self, bytes: &[u8]) -> Step {
        let Some(header) = Header::parse(bytes) else { return Step::NeedBytes { at_least: HEADER_LENGTH } };
        if header.payload_length == 0 {
            self.file_is_over(header.sequence.wrapping_add(1));
            return Step::Forward { to: self.at, length: HEADER_LENGTH };
        }
        let mut walker = Walker::new();
        let walked = walker.walk(bytes);
        self.upload = Upload::File((!walked.finished).then_some(walker));
        Step::Forward { to: self.at, length: walked.consumed }
    }

    fn file_is_over(&mut self, answer_sequence: u8) {
        self.upload = Upload::Done { answer_sequence };
        // A server that gave up the file has begun to answer already.
        if let Some(reply) = self.reply.as_mut().filter(|reply| reply.wants_file()) {
            reply.infile_sent();
            reply.set_sequence(answer_sequence);
        }
    }
}

impl Upload {
    pub(super) fn done(walker: &Walker) -> Upload {
        Upload::Done { answer_sequence: walker.last_sequence().wrapping_add(1) }
    }
}
