//! Back-pressure: who does not read stops whoever writes to it, and nobody else.

use super::*;

/// A server that lets everybody in, says OK to all commands, and to a query sends `STREAM_ROWS` rows.
struct Fountain {
    address: SocketAddr,
    written: Arc<AtomicUsize>,
}

const ROW_BYTES: usize = 60_000;

const STREAM_ROWS: usize = 1_000;

/// What the kernel may keep at our own two sockets on the way, and we on top of it: less than the stream has.
const IN_FLIGHT_MAX: usize = 50 << 20;

/// What the two ends let the kernel keep.
const END_BYTES: usize = 64 << 10;

impl Fountain {
    fn start(greeting: Vec<u8>) -> Fountain {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let written = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&written);
        // Both threads end with their sockets: the listener's with the test process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (greeting, counter) = (greeting.clone(), Arc::clone(&counter));
                thread::spawn(move || Fountain::serve(Client::over(stream), &greeting, &counter));
            }
        });
        Fountain { address, written }
    }

    fn serve(mut peer: Client, greeting: &[u8], written: &AtomicUsize) {
        peer.send(0, greeting);
        if peer.receive().is_err() {
            return;
        }
        peer.send(2, OK);
        while let Ok((_, command)) = peer.receive() {
            match command[0] {
                0x03 if Fountain::pour(&mut peer, written).is_err() => return,
                0x03 => {}
                _ => peer.send(1, OK),
            }
        }
    }

    fn pour(peer: &mut Client, written: &AtomicUsize) -> io::Result<()> {
        socket2::SockRef::from(&peer.stream).set_send_buffer_size(END_BYTES)?;
        let mut sequence = 1;
        let mut head = Vec::new();
        sequence = write_packet(&mut head, sequence, &[1]);
        sequence = write_packet(&mut head, sequence, b"\x03def\0\0\0\x01a\0\x0c\x2d\0\x01\0\0\0\xfd\0\0\0\0\0");
        peer.stream.write_all(&head)?;
        for row in 0..STREAM_ROWS {
            let mut bytes = Vec::with_capacity(ROW_BYTES + 8);
            sequence = write_packet(&mut bytes, sequence, &row_payload(row));
            peer.stream.write_all(&bytes)?;
            written.fetch_add(bytes.len(), Ordering::SeqCst);
        }
        let mut end = Vec::new();
        write_packet(&mut end, sequence, &[0xFE, 0, 0, 2, 0, 0, 0]);
        peer.stream.write_all(&end)
    }
}

fn row_payload(row: usize) -> Vec<u8> {
    let mut payload = vec![0xFC];
    payload.extend_from_slice(&(ROW_BYTES as u16).to_le_bytes());
    payload.resize(3 + ROW_BYTES, row as u8);
    payload
}

#[test]
fn a_client_that_does_not_read_stops_its_server_and_nobody_else() {
    let mut greeting = Vec::new();
    Client::connect(standin().address()).greeting().encode(&mut greeting);
    for engine in ENGINES {
        let server = Fountain::start(greeting.clone());
        let house = House::new(engine, &[server.address], "");
        let mut slow = house.logged_in();
        let mut quick = house.logged_in();
        socket2::SockRef::from(&slow.stream).set_recv_buffer_size(END_BYTES).expect("a socket takes a size");
        slow.query("SELECT a FROM t");
        // Until the stream stands still, which it never does if somebody on the way takes all of it.
        let mut before = 0;
        loop {
            (0..200).for_each(|_| quick.ping());
            let now = server.written.load(Ordering::SeqCst);
            assert!(now < IN_FLIGHT_MAX, "{engine:?}: {now} bytes have nowhere to be");
            if now > 0 && now == before {
                break;
            }
            before = now;
        }
        for row in 0..STREAM_ROWS + 2 {
            let (sequence, payload) = slow.receive().expect("the stream goes on");
            assert_eq!(sequence, (row + 1) as u8, "{engine:?}");
            if let Some(row) = row.checked_sub(2) {
                assert!(payload == row_payload(row), "{engine:?}: row {row} is another one");
            }
        }
        assert_eq!(slow.receive().expect("the end").1[0], 0xFE);
        slow.ping();
        drop((slow, quick));
        eventually("nothing is taken", || house.is_empty());
    }
}

#[test]
fn any_number_of_commands_may_wait_for_the_reply_before_them() {
    // As much as a worker keeps for a client, of the shortest command that is answered without the server.
    const KILLS: usize = 3_000;
    let server = standin();
    for engine in ENGINES {
        let house = House::new(engine, &[server.address()], "");
        let mut client = house.logged_in();
        let nobody = crate::session::SessionId::new(0, 4_000_000).0;
        let mut bytes = Vec::new();
        write_packet(&mut bytes, 0, &[0x0E]);
        for _ in 0..KILLS {
            write_packet(&mut bytes, 0, &[&[0x0C], &nobody.to_le_bytes()[..]].concat());
        }
        client.stream.write_all(&bytes).expect("the worker reads");
        assert_eq!(client.receive().expect("an answer").1[0], 0x00, "OK");
        for _ in 0..KILLS {
            assert_eq!(error_code(&client.receive().expect("an answer").1), 1094);
        }
    }
}

#[test]
fn a_client_that_does_not_read_our_own_answers_is_not_read_either() {
    // Far more than the kernel keeps of them, each with an answer several times as long.
    const COMMANDS_MAX: usize = 4 << 20;
    let server = standin();
    for engine in ENGINES {
        let house = House::new(engine, &[server.address()], "");
        let mut client = house.logged_in();
        let socket = socket2::SockRef::from(&client.stream);
        socket.set_recv_buffer_size(END_BYTES).expect("a socket takes a size");
        socket.set_send_buffer_size(END_BYTES).expect("a socket takes a size");
        // Only what is not read at all runs into it; a slow reader is read to the end below.
        socket.set_write_timeout(Some(Duration::from_secs(2))).expect("a socket takes a timeout");
        let unknown: Vec<u8> = [1, 0, 0, 0, 0xFE].repeat(1024);
        let mut sent = 0;
        let stopped = loop {
            match client.stream.write(&unknown[sent % unknown.len()..]) {
                Ok(written) => sent += written,
                Err(error) => break error.kind(),
            }
            assert!(sent < COMMANDS_MAX * 5, "{engine:?}: somebody takes it all");
        };
        assert_eq!(stopped, io::ErrorKind::WouldBlock);
        for _ in 0..sent / 5 {
            assert_eq!(error_code(&client.receive().expect("an answer").1), 1047);
        }
    }
}
