//! Stands before a server and notes who of its guests begins with a header of the PROXY protocol; the server itself must
//! understand it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Before one server at an address of its own, for as long as the test process lives.
#[derive(Debug)]
pub(crate) struct Doorman {
    pub(crate) address: SocketAddr,
    guests: Arc<Mutex<Vec<Guest>>>,
}

/// Somebody who logged in there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Guest {
    pub(crate) user: String,
    /// It began with a header.
    pub(crate) is_introduced: bool,
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Where the length of the rest stands in a header, and where that begins.
const LENGTH_AT: usize = 14;
const HEADER_LENGTH: usize = 16;

/// Where the user's name begins in the first packet of a client.
const USER_AT: usize = 4 + 32;

impl Doorman {
    pub(crate) fn before(server: SocketAddr) -> Doorman {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let doorman = Doorman { address, guests: Arc::default() };
        let guests = Arc::clone(&doorman.guests);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(server) = TcpStream::connect(server) {
                    serve(client, server, Arc::clone(&guests));
                }
            }
        });
        doorman
    }

    /// Everybody who came, each kind once.
    pub(crate) fn guests(&self) -> Vec<Guest> {
        let mut guests = self.guests.lock().expect("no thread panics with it").clone();
        guests.sort();
        guests.dedup();
        guests
    }
}

fn serve(client: TcpStream, server: TcpStream, guests: Arc<Mutex<Vec<Guest>>>) {
    let [from_client, to_client] = [client.try_clone(), client.try_clone()].map(|socket| socket.expect("a copy"));
    let [from_server, to_server] = [server.try_clone(), server.try_clone()].map(|socket| socket.expect("a copy"));
    thread::spawn(move || {
        let mut first = Vec::new();
        pass(from_client, to_server, |bytes| {
            if first.len() < 1024 {
                first.extend_from_slice(bytes);
                let guest = guest(&first);
                // The name comes with the first packet, which is a short one.
                if guest.is_some() {
                    guests.lock().expect("no thread panics with it").extend(guest);
                    first.resize(1024, 0);
                }
            }
        });
    });
    thread::spawn(move || pass(from_server, to_client, |_| {}));
}

/// Who says these first bytes, once it is clear.
fn guest(bytes: &[u8]) -> Option<Guest> {
    let is_introduced = bytes.starts_with(SIGNATURE);
    let said = match is_introduced {
        true => {
            let length = bytes.get(LENGTH_AT..HEADER_LENGTH)?;
            bytes.get(HEADER_LENGTH + usize::from(u16::from_be_bytes([length[0], length[1]]))..)?
        }
        false => bytes,
    };
    let name = said.get(USER_AT..)?;
    let end = name.iter().position(|byte| *byte == 0)?;
    Some(Guest { user: String::from_utf8_lossy(&name[..end]).into_owned(), is_introduced })
}

/// Passes bytes on until one end closes; then both ends are closed.
fn pass(mut from: TcpStream, mut to: TcpStream, mut look: impl FnMut(&[u8])) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        look(&bytes[..length]);
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    // Either may be closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
