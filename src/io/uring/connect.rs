//! Connecting to servers.

use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::opcode;
use io_uring::types::Fd;
use socket2::SockAddr;

use super::Uring;
use crate::io::event::{Errno, Event, Full, SocketId};
use crate::io::operation::{Kind, Tag};
use crate::io::socket;

impl Uring {
    pub(in crate::io) fn connect(&mut self, fd: OwnedFd, address: &SockAddr) -> Result<SocketId, (OwnedFd, Full)> {
        let id = self.adopt(fd)?;
        let socket = self.sockets.get_mut(id).expect("adopted just now");
        if address.is_unix() {
            // Such a connect never waits for a network; a full backlog is an error at once.
            let result = socket::connect_now(&socket.fd, address);
            self.ready.push(Event::Connected { id, result });
            return Ok(id);
        }
        let address = socket.connecting.insert(Box::new(address.clone()));
        let entry = opcode::Connect::new(Fd(socket.fd.as_raw_fd()), address.as_ptr().cast(), address.len()).build();
        // SAFETY: the address is boxed and owned by the socket's slot, as is the descriptor; both stay until the
        // connect's completion, which `connected` handles.
        unsafe { self.submit(entry, Tag::new(Kind::Connect, id)) };
        Ok(id)
    }

    pub(super) fn connected(&mut self, id: SocketId, result: i32, events: &mut Vec<Event>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stale += 1;
            return;
        };
        socket.connecting = None;
        if !socket.is_open() {
            return self.remove_if_finished(id);
        }
        let result = if result < 0 { Err(Errno(-result)) } else { Ok(()) };
        events.push(Event::Connected { id, result });
    }
}
