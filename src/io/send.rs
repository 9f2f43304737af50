//! What is tried to be written at the end of a turn, what it owns meanwhile, and what its result means. Both engines use
//! it: io_uring hands it to the kernel with everything else of the turn, epoll calls the kernel for each.

use std::mem;
use std::ptr;

use super::buffer::Span;
use super::event::{Errno, Event, SocketId};

/// The most spans that are written to one socket at the end of a turn.
pub const SEND_SPANS_MAX: usize = 16;

/// Flags of a send that only tries: what does not fit stays unsent, and a broken connection is an error, not a signal.
pub(super) const TRY: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// Messages kept for reuse. More than one turn ever has in flight would be memory for nothing.
const SPARE_MAX: usize = 256;

/// The spans that one socket was given in a turn, in order; never empty.
pub(super) enum Try {
    One(Span),
    Several(Box<Message>),
}

/// How a try ended.
pub(super) enum Outcome {
    /// Everything was written.
    Whole,
    /// This was not, in order; the first may be the rest of a span.
    Part(Vec<Span>),
    Broken(Errno),
}

impl Try {
    /// Adds a span. Gives it back when there are as many as one send takes.
    pub(super) fn add(&mut self, span: Span, messages: &mut Messages) -> Result<(), Span> {
        if let Try::Several(message) = self {
            return message.add(span);
        }
        if let Try::One(first) = mem::replace(self, Try::Several(messages.take())) {
            self.add(first, messages)?;
        }
        self.add(span, messages)
    }

    /// The outcome of a send that wrote `result` bytes, or failed with that negative error number. All that was written
    /// is let go of, and the message is empty again.
    pub(super) fn over(self, result: i32, messages: &mut Messages) -> Outcome {
        let result = written(result);
        match self {
            Try::One(mut span) => match result {
                Err(error) => Outcome::Broken(error),
                Ok(written) if written == span.len() => Outcome::Whole,
                Ok(written) => {
                    span.advance(written);
                    Outcome::Part(vec![span])
                }
            },
            Try::Several(mut message) => {
                let outcome = message.over(result);
                messages.give_back(message);
                outcome
            }
        }
    }

    /// All that is to be written.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Try::One(span) => span.bytes().to_vec(),
            Try::Several(message) => message.spans.iter().flat_map(|span| span.bytes()).copied().collect(),
        }
    }

    /// What a send says that wrote everything.
    pub(super) fn whole(self, messages: &mut Messages) {
        if let Try::Several(mut message) = self {
            message.spans.clear();
            messages.give_back(message);
        }
    }
}

impl Outcome {
    /// The event that tells of it. A whole one is told only if somebody asked.
    pub(super) fn event(self, id: SocketId, telling: Telling) -> Option<Event> {
        match (self, telling) {
            (Outcome::Whole, Telling::Rest) => None,
            (Outcome::Whole, Telling::End) => Some(Event::Sent { id, unsent: Vec::new() }),
            (Outcome::Part(unsent), _) => Some(Event::Sent { id, unsent }),
            (Outcome::Broken(error), _) => Some(Event::SendFailed { id, error }),
        }
    }
}

/// What somebody wants to hear of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    /// What was not written.
    Rest,
    /// That it is over.
    End,
}

/// Bytes written, or why nothing can be written any more.
fn written(result: i32) -> Result<usize, Errno> {
    match -result {
        ..=0 => Ok(result as usize),
        // ENOBUFS: the system is short of memory for now.
        libc::EAGAIN | libc::EINTR | libc::ENOBUFS => Ok(0),
        error => Err(Errno(error)),
    }
}

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
            header: unsafe { mem::zeroed() },
            pieces: [empty; SEND_SPANS_MAX],
            spans: Vec::with_capacity(SEND_SPANS_MAX),
        })
    }

    fn add(&mut self, span: Span) -> Result<(), Span> {
        let Some(piece) = self.pieces.get_mut(self.spans.len()) else { return Err(span) };
        piece.iov_base = span.as_ptr().cast_mut().cast();
        piece.iov_len = span.len();
        self.spans.push(span);
        Ok(())
    }

    /// The header for the kernel; valid until a span is added, or the message is moved out of its box or dropped.
    pub(super) fn header(&mut self) -> *const libc::msghdr {
        self.header.msg_iov = self.pieces.as_mut_ptr();
        self.header.msg_iovlen = self.spans.len() as _;
        &raw const self.header
    }

    /// Empties the message.
    fn over(&mut self, result: Result<usize, Errno>) -> Outcome {
        let mut left = match result {
            Ok(written) => written,
            Err(error) => {
                self.spans.clear();
                return Outcome::Broken(error);
            }
        };
        let whole = self.spans.iter().take_while(|span| {
            let is_whole = span.len() <= left;
            left -= if is_whole { span.len() } else { 0 };
            is_whole
        });
        let whole = whole.count();
        self.spans.drain(..whole);
        let Some(first) = self.spans.first_mut() else { return Outcome::Whole };
        first.advance(left);
        Outcome::Part(mem::replace(&mut self.spans, Vec::with_capacity(SEND_SPANS_MAX)))
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

    fn take(&mut self) -> Box<Message> {
        self.spare.pop().unwrap_or_else(Message::new)
    }

    fn give_back(&mut self, message: Box<Message>) {
        debug_assert!(message.spans.is_empty());
        if self.spare.len() < SPARE_MAX {
            self.spare.push(message);
        }
    }
}
