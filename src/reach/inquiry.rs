//! Questions to a server that was logged in to, as text, and their answers.
//!
//! This is what health checks go over: some statements a second to each server, for as long as the process lives. So an answer is
//! gathered in one buffer that stays, and handed out as it came.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout_at;

use super::failure::failure_of;
use super::introduction::Entered;
use super::wire::Stream;
use crate::protocol::command::{Command, ReplyShape};
use crate::protocol::packet::{HEADER_LENGTH, Header, build_packet};
use crate::protocol::response::ERR_HEADER;
use crate::protocol::result_set::{Framing, Progress, Reply};
use crate::protocol::text_answer::Outcomes;
use crate::topology::CheckResult;

/// A server that lets itself be asked. The server is told when this is dropped: it counts connections that just break off.
pub struct Inquiry {
    stream: Stream,
    framing: Framing,
    /// The last question, as it is sent.
    question: Vec<u8>,
    /// What came of its answer; `heard.len() <= ANSWER_BYTES_MAX`.
    heard: Vec<u8>,
}

impl Inquiry {
    pub(super) fn begin(entered: Entered) -> Inquiry {
        let framing = Framing::of(entered.capabilities);
        Inquiry { stream: entered.wire.stream, framing, question: Vec::new(), heard: Vec::new() }
    }

    /// Asks, and waits for the whole answer. After an error nothing more can be asked.
    ///
    /// # Errors
    /// When the server has not answered at `deadline` ([`heard`](Self::heard) is what it said until then), has closed the
    /// connection, or does not speak the protocol. What it says against the statement is an answer.
    pub async fn ask(&mut self, question: &str, deadline: Instant) -> Result<Outcomes<'_>, CheckResult> {
        match timeout_at(deadline.into(), self.gather(question)).await {
            Ok(gathered) => gathered.map(|()| self.heard()),
            Err(_) => Err(CheckResult::TimedOut),
        }
    }

    /// What was answered to the last question, as far as it came.
    pub fn heard(&self) -> Outcomes<'_> {
        Outcomes::new(&self.heard, self.framing)
    }

    async fn gather(&mut self, question: &str) -> Result<(), CheckResult> {
        self.heard.clear();
        self.heard.shrink_to(HEARD_BYTES_KEPT);
        self.send(question).await.map_err(|error| failure_of(&error))?;
        let mut reply = Reply::new(ReplyShape::ResultSet, self.framing);
        let mut followed = 0;
        loop {
            self.receive().await?;
            let progress = reply.follow(&self.heard[followed..]);
            let progress = progress.map_err(|error| CheckResult::Malformed(error.to_string()))?;
            followed += progress.consumed;
            match progress.progress {
                Progress::More => {}
                Progress::Done(_) => return Ok(()),
                Progress::LocalInfile => return Err(CheckResult::Malformed("it asks for a file".to_owned())),
            }
        }
    }

    async fn send(&mut self, question: &str) -> std::io::Result<()> {
        self.question.clear();
        build_packet(&mut self.question, 0, |writer| {
            writer.u8(Command::Query.byte());
            writer.bytes(question.as_bytes());
        });
        self.stream.write_all(&self.question).await?;
        // TLS may keep records back.
        self.stream.flush().await
    }

    async fn receive(&mut self) -> Result<(), CheckResult> {
        if self.heard.len() > ANSWER_BYTES_MAX {
            return Err(CheckResult::Malformed(format!("an answer of more than {ANSWER_BYTES_MAX} bytes")));
        }
        self.heard.reserve(RECEIVED_BYTES_MIN);
        match self.stream.read_buf(&mut self.heard).await {
            Ok(0) => Err(CheckResult::Reset),
            Ok(_) if is_farewell(&self.heard) => Err(CheckResult::Reset),
            Ok(_) => Ok(()),
            Err(error) => Err(failure_of(&error)),
        }
    }
}

/// Whether this is no answer, but what a server says by itself before it closes a connection that idled too long or was killed.
fn is_farewell(heard: &[u8]) -> bool {
    Header::parse(heard).is_some_and(|header| header.sequence == 0) && heard.get(HEADER_LENGTH) == Some(&ERR_HEADER)
}

impl Drop for Inquiry {
    /// As far as the socket takes it now, which it does where the server is not stuck.
    fn drop(&mut self) {
        let quit = [1, 0, 0, 0, Command::Quit.byte()];
        let mut nobody_waits = Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut self.stream).poll_write(&mut nobody_waits, &quit);
        let _ = Pin::new(&mut self.stream).poll_flush(&mut nobody_waits);
    }
}

impl fmt::Debug for Inquiry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Inquiry").field("heard", &self.heard.len()).finish_non_exhaustive()
    }
}

/// Of one answer: the positions of a server, and the status of some channels with two sets of GTIDs each. Most have less
/// than 8 KiB.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A buffer that had to grow beyond this is made smaller before the next answer.
const HEARD_BYTES_KEPT: usize = 64 << 10;

/// Room for each receive.
const RECEIVED_BYTES_MIN: usize = 2 << 10;
