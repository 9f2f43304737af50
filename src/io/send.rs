//! What a send owns while it is in flight, and what its result means. Both engines use it: io_uring hands the message to
//! the kernel and hears later, epoll calls the kernel at once.

use std::ptr;

use super::buffer::Span;
use super::event::{Errno, Event, SocketId};

/// The most spans one `send` writes.
pub const SEND_SPANS_MAX: usize = 16;

/// Flags of a send that only tries: what does not fit stays unsent, and a broken connection is an error, not a signal.
pub(super) const TRY: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// Messages kept for reuse. More than one turn ever has in flight would be memory for nothing.
const SPARE_MAX: usize = 256;

/// Several spans as one gathered send. Boxed wherever it is kept: its own address is with the kernel.
pub(super) struct Message {
    header: libc::msghdr,
    pieces: [libc::iovec; SEND_SPANS_MAX],
    /// Invariant: `pieces[i]` describes `spans[i]`; at most `SEND_SPANS_MAX`.
    spans: Vec<Span>,
}

impl Message {
    fn new() -> Box<Message> {
        let empty = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Box::new(Message {
            // SAFETY: a message header is plain numbers and pointers, for which zero is valid: no address, no control.
            header: unsafe { std::mem::zeroed() },
            pieces: [empty; SEND_SPANS_MAX],
            spans: Vec::with_capacity(SEND_SPANS_MAX),
        })
    }

    /// Takes over the spans of the next send.
    ///
    /// # Panics
    /// When there are more than `SEND_SPANS_MAX`.
    pub(super) fn fill(&mut self, spans: impl Iterator<Item = Span>) {
        debug_assert!(self.spans.is_empty());
        self.spans.extend(spans);
        assert!(self.spans.len() <= SEND_SPANS_MAX, "a send has at most {SEND_SPANS_MAX} spans");
        for (piece, span) in self.pieces.iter_mut().zip(&self.spans) {
            piece.iov_base = span.as_ptr().cast_mut().cast();
            piece.iov_len = span.len();
        }
    }

    /// The header for the kernel; valid until the message is filled again, moved out of its box or dropped.
    pub(super) fn header(&mut self) -> *const libc::msghdr {
        self.header.msg_iov = self.pieces.as_mut_ptr();
        self.header.msg_iovlen = self.spans.len() as _;
        &raw const self.header
    }

    /// The event for the kernel's result, and the message empty again.
    pub(super) fn sent(&mut self, id: SocketId, result: i32) -> Event {
        let result = match outcome(id, result) {
            Ok(sent) => sent,
            Err(failed) => {
                self.spans.clear();
                return failed;
            }
        };
        let mut left = result;
        let written = self
            .spans
            .iter()
            .take_while(|span| {
                let whole = span.len() <= left;
                if whole {
                    left -= span.len();
                }
                whole
            })
            .count();
        self.spans.drain(..written);
        if let Some(first) = self.spans.first_mut() {
            first.advance(left);
        }
        Event::Sent { id, sent: result, unsent: self.take_unsent() }
    }

    /// Without an allocation when nothing is left, which is the rule.
    fn take_unsent(&mut self) -> Vec<Span> {
        if self.spans.is_empty() {
            return Vec::new();
        }
        std::mem::replace(&mut self.spans, Vec::with_capacity(SEND_SPANS_MAX))
    }
}

/// The event for the result of a send of one span.
pub(super) fn sent_one(id: SocketId, mut span: Span, result: i32) -> Event {
    let sent = match outcome(id, result) {
        Ok(sent) => sent,
        Err(failed) => return failed,
    };
    span.advance(sent);
    let unsent = if span.is_empty() { Vec::new() } else { vec![span] };
    Event::Sent { id, sent, unsent }
}

/// How many bytes were written, or the event of a broken connection.
fn outcome(id: SocketId, result: i32) -> Result<usize, Event> {
    match -result {
        ..=0 => Ok(result as usize),
        // ENOBUFS: the system is short of memory for now.
        libc::EAGAIN | libc::EINTR | libc::ENOBUFS => Ok(0),
        error => Err(Event::SendFailed { id, error: Errno(error) }),
    }
}

/// Messages ready for reuse, so that sending several spans allocates nothing in the long run.
pub(super) struct Messages {
    // Boxed: a message that is given out keeps its address.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<Message>>,
}

impl Messages {
    pub(super) fn new() -> Messages {
        Messages { spare: Vec::new() }
    }

    pub(super) fn take(&mut self) -> Box<Message> {
        self.spare.pop().unwrap_or_else(Message::new)
    }

    pub(super) fn give_back(&mut self, message: Box<Message>) {
        debug_assert!(message.spans.is_empty());
        if self.spare.len() < SPARE_MAX {
            self.spare.push(message);
        }
    }
}
