//! Ending operations early.

use io_uring::types::CancelBuilder;
use io_uring::{opcode, squeue};

use super::Uring;
use super::receive::Receive;
use super::send::Sending;
use crate::io::listener::Accepting;
use crate::io::operation::{Kind, Tag};

impl Uring {
    /// Asks the kernel to end an operation early. Its last completion comes either way.
    pub(super) fn cancel(&mut self, tag: Tag) {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::user_data(tag.to_bits()))
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(tag.cancellation().to_bits());
        // SAFETY: a cancellation names an operation by number; it has no addresses.
        unsafe { self.ring.push(&entry) };
    }

    /// A cancellation found nothing to cancel. Mostly the operation has completed by itself; but one whose socket
    /// became ready just then is out of the kernel's sight for a moment, and goes back to waiting afterwards.
    pub(super) fn cancel_missed(&mut self, tag: Tag) {
        let still_in_flight = match tag.kind {
            Kind::Accept => {
                self.listeners.get_mut(tag.owner).is_some_and(|listener| listener.state == Accepting::Stopping)
            }
            Kind::Receive => self.sockets.get_mut(tag.owner).is_some_and(|socket| {
                matches!(socket.receive, Receive::Stopping | Receive::Restarting)
                    || (socket.receive == Receive::Armed && !socket.is_open())
            }),
            Kind::Send => self
                .sockets
                .get_mut(tag.owner)
                .is_some_and(|socket| matches!(socket.sending, Sending::Bytes { .. }) && !socket.is_open()),
            Kind::Connect => {
                self.sockets.get_mut(tag.owner).is_some_and(|socket| socket.connecting.is_some() && !socket.is_open())
            }
            Kind::Wake => false,
        };
        if still_in_flight {
            self.cancel(Tag { cancel: false, ..tag });
        } else {
            self.stale += 1;
        }
    }
}
