//! A relay before one server that can lose a reply: what the server did is done, and nobody hears of it. Or it passes nothing
//! on at all, and closes nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Stands before a server at an address of its own, for as long as the test process lives.
#[derive(Clone, Debug)]
pub(crate) struct Cutter {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The next command with these bytes in it goes to the server, and its reply is lost with the connection.
    marker: Mutex<Option<Vec<u8>>>,
    cuts: AtomicUsize,
    /// Whoever connects is hung up on.
    is_closed: AtomicBool,
    /// Nothing is passed on while this is true.
    is_hushed: Mutex<bool>,
    speaks: Condvar,
    /// Of all that is passed on now, or was.
    sockets: Mutex<Vec<TcpStream>>,
}

impl Cutter {
    pub(crate) fn before(server: SocketAddr) -> Cutter {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        let cutter = Cutter { address, shared };
        let relay = cutter.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is down is seen as one that hangs up.
                if relay.shared.is_closed.load(Ordering::SeqCst) {
                    continue;
                }
                if let Ok(server) = TcpStream::connect(server) {
                    relay.serve(client, server);
                }
            }
        });
        cutter
    }

    /// Loses the reply to the next command that has these bytes in it.
    pub(crate) fn arm(&self, marker: &str) {
        *self.shared.marker.lock().expect("no thread panics with it") = Some(marker.as_bytes().to_vec());
    }

    /// Replies that were lost.
    pub(crate) fn cuts(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// From now on what either side says is kept, and all connections stand.
    pub(crate) fn hush(&self) {
        *self.shared.is_hushed.lock().expect("no thread panics with it") = true;
    }

    /// What was kept, and all that comes, is passed on again.
    pub(crate) fn speak(&self) {
        *self.shared.is_hushed.lock().expect("no thread panics with it") = false;
        self.shared.speaks.notify_all();
    }

    /// The server dies, as seen from here: all connections break, and there are no new ones.
    pub(crate) fn close(&self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        self.break_all();
    }

    /// It is back.
    pub(crate) fn open(&self) {
        self.shared.is_closed.store(false, Ordering::SeqCst);
    }

    /// All connections break.
    pub(crate) fn break_all(&self) {
        for socket in self.shared.sockets.lock().expect("no thread panics with it").drain(..) {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn serve(&self, client: TcpStream, server: TcpStream) {
        {
            let mut sockets = self.shared.sockets.lock().expect("no thread panics with it");
            if self.shared.is_closed.load(Ordering::SeqCst) {
                return;
            }
            sockets.extend([client.try_clone(), server.try_clone()].map(|socket| socket.expect("a copy")));
        }
        let cut = Arc::new(Mutex::new(false));
        let [from_client, to_client] = [client.try_clone(), client.try_clone()].map(|socket| socket.expect("a copy"));
        let [from_server, to_server] = [server.try_clone(), server.try_clone()].map(|socket| socket.expect("a copy"));
        let (shared, armed) = (Arc::clone(&self.shared), Arc::clone(&cut));
        thread::spawn(move || {
            pass(from_client, to_server, |bytes| {
                shared.await_speech();
                if shared.takes(bytes) {
                    *armed.lock().expect("no thread panics with it") = true;
                }
                true
            });
        });
        let shared = Arc::clone(&self.shared);
        thread::spawn(move || {
            pass(from_server, to_client, |_| {
                shared.await_speech();
                let is_cut = *cut.lock().expect("no thread panics with it");
                if is_cut {
                    shared.cuts.fetch_add(1, Ordering::SeqCst);
                }
                !is_cut
            });
        });
    }
}

impl Shared {
    fn await_speech(&self) {
        let hushed = self.is_hushed.lock().expect("no thread panics with it");
        drop(self.speaks.wait_while(hushed, |hushed| *hushed).expect("no thread panics with it"));
    }

    /// Whether these bytes are what the cutter is armed for; once.
    fn takes(&self, bytes: &[u8]) -> bool {
        let mut marker = self.marker.lock().expect("no thread panics with it");
        let found = marker.as_ref().is_some_and(|marker| bytes.windows(marker.len()).any(|window| window == marker));
        if found {
            *marker = None;
        }
        found
    }
}

/// Passes bytes on until one end closes or `may_pass` says no; then both ends are closed.
fn pass(mut from: TcpStream, mut to: TcpStream, mut may_pass: impl FnMut(&[u8]) -> bool) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if !may_pass(&bytes[..length]) || to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    // Either may be closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
