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
    /// Goes on to ask behind a login.
    pub fn begin(entered: Entered) -> Inquiry {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{DuplexStream, duplex};

    use super::*;
    use crate::protocol::capability::Capabilities;
    use crate::protocol::status::StatusFlags;
    use crate::protocol::text_answer::Outcome;
    use crate::protocol::text_result::TextResult;

    const CAPABILITIES: Capabilities = Capabilities::DEPRECATE_EOF;

    /// An inquiry, and the server's end of its connection.
    fn inquiry() -> (Inquiry, DuplexStream) {
        let (ours, theirs) = duplex(1 << 20);
        let framing = Framing::of(CAPABILITIES);
        (Inquiry { stream: Box::new(ours), framing, question: Vec::new(), heard: Vec::new() }, theirs)
    }

    /// One row of one value.
    fn answer(value: &str, sequence: u8, status: StatusFlags) -> Vec<u8> {
        let mut out = Vec::new();
        let mut result = TextResult::begin(&mut out, sequence, CAPABILITIES, status, &["value"]);
        result.row(&[Some(value.as_bytes())]);
        result.finish();
        out
    }

    /// Reads a question, of which the length is known, and says something.
    async fn reply(server: &mut DuplexStream, question: &str, bytes: &[u8]) {
        let mut asked = vec![0; HEADER_LENGTH + 1 + question.len()];
        server.read_exact(&mut asked).await.expect("a question");
        assert_eq!(&asked[HEADER_LENGTH + 1..], question.as_bytes());
        server.write_all(bytes).await.expect("somebody listens");
    }

    fn first(outcomes: &mut Outcomes<'_>) -> Option<String> {
        let Outcome::Rows(rows) = outcomes.next()? else { return None };
        let value = rows.values().next()?[0]?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    async fn check_failure(says: &[u8], expected: CheckResult) {
        let (mut inquiry, mut server) = inquiry();
        let (told, ()) = tokio::join!(inquiry.ask("SELECT 1", soon()), async {
            reply(&mut server, "SELECT 1", says).await;
            drop(server);
        });
        assert_eq!(told.map(drop), Err(expected));
    }

    #[tokio::test]
    async fn one_question_after_the_other_is_answered_and_the_end_is_told() {
        let (mut inquiry, mut server) = inquiry();
        for value in ["1", &"long".repeat(10_000), "3"] {
            let bytes = answer(value, 1, StatusFlags::AUTOCOMMIT);
            let (told, ()) = tokio::join!(inquiry.ask("SELECT 1", soon()), reply(&mut server, "SELECT 1", &bytes));
            assert_eq!(first(&mut told.expect("an answer")).as_deref(), Some(value));
        }
        drop(inquiry);
        let mut quit = Vec::new();
        server.read_to_end(&mut quit).await.expect("the end");
        assert_eq!(quit, [1, 0, 0, 0, 1]);
    }

    #[tokio::test]
    async fn what_came_in_time_counts() {
        let (mut inquiry, mut server) = inquiry();
        let started = answer("1", 1, StatusFlags::AUTOCOMMIT | StatusFlags::MORE_RESULTS);
        server.write_all(&started).await.expect("there is room");
        let told = inquiry.ask("SELECT 1; SHOW", Instant::now()).await;
        assert_eq!(told.map(drop), Err(CheckResult::TimedOut));
        let mut heard = inquiry.heard();
        assert_eq!((first(&mut heard).as_deref(), first(&mut heard)), (Some("1"), None));
    }

    #[tokio::test]
    async fn what_is_no_answer_ends_it() {
        check_failure(b"", CheckResult::Reset).await;
        // MySQL 9.7, to whoever idled longer than `wait_timeout`.
        check_failure(b"\x0D\0\0\0\xFF\xBF\x0F#HY000idle", CheckResult::Reset).await;
        check_failure(b"\x05\0\0\x01\xFB/etc", CheckResult::Malformed("it asks for a file".to_owned())).await;
        let unexpected = CheckResult::Malformed("malformed packet: column count".to_owned());
        check_failure(b"\x03\0\0\x01\xFD\xFF\xFF", unexpected).await;
    }

    #[tokio::test]
    async fn an_answer_without_end_is_not_waited_for() {
        let (mut inquiry, mut server) = inquiry();
        const ROW: &[u8] = b"\x01\0\0\x04\0";
        const END_LENGTH: usize = 11;
        let endless = async {
            let whole = answer("1", 1, StatusFlags::AUTOCOMMIT);
            server.write_all(&whole[..whole.len() - END_LENGTH]).await.expect("somebody listens");
            while server.write_all(&ROW.repeat(1000)).await.is_ok() {}
        };
        let told = async {
            let told = inquiry.ask("SELECT 1", soon()).await.map(drop);
            drop(inquiry);
            told
        };
        let (told, ()) = tokio::join!(told, endless);
        assert_eq!(told, Err(CheckResult::Malformed("an answer of more than 4194304 bytes".to_owned())));
    }
}
