//! Other ends: listeners, connects, and the ways in which a connection ends.

use std::io::Write;

use super::*;

#[test]
fn clients_are_accepted_until_listening_stops() {
    on_both_engines(tiny(8), |driver| {
        let (listening, address) = listener();
        driver.io.listen(7, listening);
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = TcpStream::connect(address).expect("connect");
            let Event::Accepted { key, socket } = driver.next() else {
                panic!("expected a client");
            };
            assert_eq!(key, 7);
            let id = driver.io.adopt(socket).expect("a slot");
            driver.io.receive(id);
            client.write_all(b"hello").expect("room");
            driver.expect_bytes(id, b"hello");
            clients.push(client);
        }
        driver.io.stop_listening(7);
        driver.fence();
        TcpStream::connect(address).expect_err("nobody listens");

        let (listening, address) = listener();
        driver.io.listen(7, listening);
        let _client = TcpStream::connect(address).expect("connect");
        assert!(matches!(driver.next(), Event::Accepted { key: 7, .. }));
    });
}

#[test]
fn a_client_that_comes_while_listening_stops_is_closed() {
    on_both_engines(tiny(8), |driver| {
        for _ in 0..20 {
            let (listening, address) = listener();
            driver.io.listen(7, listening);
            driver.fence();
            let mut client = TcpStream::connect(address).expect("connect");
            client.set_read_timeout(Some(LOST)).expect("option");
            driver.io.stop_listening(7);
            driver.fence();
            assert!(driver.events.is_empty(), "{:?}", driver.events);
            expect_closed(&mut client);
        }
    });
}

#[test]
fn many_clients_at_once_are_all_accepted_on_the_listener_they_came_to() {
    on_both_engines(tiny(8), |driver| {
        let (first, first_address) = listener();
        let (second, second_address) = listener();
        driver.io.listen(1, first);
        driver.io.listen(2, second);
        let clients: Vec<TcpStream> = (0..200)
            .map(|number| {
                let address = if number % 4 == 0 { second_address } else { first_address };
                TcpStream::connect(address).expect("connect")
            })
            .collect();
        let mut counts = [0; 2];
        for _ in &clients {
            let Event::Accepted { key, .. } = driver.next() else {
                panic!("expected a client");
            };
            counts[key as usize - 1] += 1;
        }
        assert_eq!(counts, [150, 50]);
    });
}

#[test]
fn a_connect_succeeds_over_tcp_and_over_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    on_both_engines(tiny(8), |driver| {
        let path = folder.path().join("server.sock");
        let (tcp, address) = listener();
        let unix = socket::listen_unix(&path, 0o777).expect("listen");
        for (listener, address) in
            [(tcp, SockAddr::from(address)), (unix, SockAddr::unix(&path).expect("short enough"))]
        {
            let ours = socket::outgoing(&address).expect("socket");
            let id = driver.io.connect(ours, &address).expect("a slot");
            match driver.next_of(id) {
                Event::Connected { result, .. } => result.expect("connected"),
                other => panic!("{other:?}"),
            }
            let (mut peer, _) = socket2::SockRef::from(&listener).accept().expect("accept");
            driver.io.receive(id);
            peer.write_all(b"greeting").expect("room");
            driver.expect_bytes(id, b"greeting");
        }
    });
}

#[test]
fn a_refused_connect_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    on_both_engines(tiny(8), |driver| {
        let (listening, address) = listener();
        drop(listening);
        let path = folder.path().join("nobody.sock");
        for (address, expected) in [
            (SockAddr::from(address), libc::ECONNREFUSED),
            (SockAddr::unix(&path).expect("short enough"), libc::ENOENT),
        ] {
            let ours = socket::outgoing(&address).expect("socket");
            let id = driver.io.connect(ours, &address).expect("a slot");
            match driver.next_of(id) {
                Event::Connected { result, .. } => assert_eq!(result, Err(Errno(expected))),
                other => panic!("{other:?}"),
            }
            driver.io.close(id);
        }
        driver.settle(0);
    });
}

#[test]
fn a_connect_that_nobody_answers_can_be_closed() {
    on_both_engines(tiny(8), |driver| {
        // A listener with a full backlog answers no more: its SYNs are dropped.
        let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
        full.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("bind");
        full.listen(0).expect("listen");
        let address = full.local_addr().expect("bound");
        let mut ids = Vec::new();
        for _ in 0..4 {
            let ours = socket::outgoing(&address).expect("socket");
            ids.push(driver.io.connect(ours, &address).expect("a slot"));
        }
        driver.fence();
        for id in ids {
            driver.io.close(id);
        }
        driver.settle(0);
    });
}

#[test]
fn a_reset_is_a_failure_and_an_ordinary_end_is_not() {
    on_both_engines(tiny(8), |driver| {
        let (peer, id) = driver.tcp_pair();
        driver.io.receive(id);
        driver.fence();
        socket2::SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("option");
        drop(peer);
        match driver.next_of(id) {
            Event::Failed { error, .. } => assert!(error.is_disconnect(), "{error:?}"),
            other => panic!("{other:?}"),
        }
        driver.io.close(id);

        let (peer, id) = driver.tcp_pair();
        driver.io.receive(id);
        drop(peer);
        assert!(matches!(driver.next_of(id), Event::Ended { .. }));
        driver.io.close(id);
        driver.settle(0);
    });
}

#[test]
fn a_peer_that_has_finished_sending_can_still_be_answered() {
    on_both_engines(tiny(8), |driver| {
        let (mut peer, id) = driver.tcp_pair();
        driver.io.receive(id);
        peer.write_all(b"question").expect("room");
        peer.shutdown(std::net::Shutdown::Write).expect("shut down");
        driver.expect_bytes(id, b"question");
        assert!(matches!(driver.next_of(id), Event::Ended { .. }));
        driver.io.receive(id);
        let answer = vec![b'a'; 5_000_000];
        driver.io.send_bytes(id, answer.clone());
        // The end is to come after the bytes that are still waiting for room.
        driver.io.shutdown_write(id);
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).expect("all of it");
            bytes
        });
        assert!(matches!(driver.next_of(id), Event::SentBytes { result: Ok(()), .. }));
        assert_eq!(reader.join().expect("content").len(), answer.len());
        driver.fence();
        assert!(driver.events.is_empty(), "the end comes once: {:?}", driver.events);
    });
}

#[test]
fn what_a_peer_said_before_it_left_is_received_after_a_failed_send() {
    on_both_engines(tiny(8), |driver| {
        let (mut source_peer, source) = driver.tcp_pair();
        driver.io.receive(source);
        let (mut peer, id) = driver.tcp_pair();
        peer.write_all(b"enough of that").expect("room");
        peer.shutdown(std::net::Shutdown::Both).expect("shut down");
        drop(peer);
        // The first bytes are answered with a reset; writes after that fail.
        let broken = loop {
            source_peer.write_all(b"more").expect("room");
            let span = driver.received(source);
            driver.io.send(id, span).expect("the first");
            assert!(driver.io.await_sent(id));
            match driver.next_of(id) {
                Event::Sent { .. } => {}
                other => break other,
            }
        };
        assert!(matches!(broken, Event::SendFailed { .. }), "{broken:?}");
        driver.io.receive(id);
        driver.expect_bytes(id, b"enough of that");
        assert!(matches!(driver.next_of(id), Event::Ended { .. } | Event::Failed { .. }));
        driver.io.close(id);
    });
}

#[test]
fn sending_to_a_peer_that_is_gone_fails() {
    on_both_engines(tiny(8), |driver| {
        let (mut source_peer, source) = driver.pair();
        driver.io.receive(source);
        let (peer, id) = driver.pair();
        let (bytes_peer, bytes_id) = driver.pair();
        drop((peer, bytes_peer));
        source_peer.write_all(b"for nobody").expect("room");
        let span = driver.received(source);
        driver.io.send(id, span).expect("the first");
        match driver.next_of(id) {
            Event::SendFailed { error, .. } => assert_eq!(error, Errno(libc::EPIPE)),
            other => panic!("{other:?}"),
        }
        driver.io.send_bytes(bytes_id, b"for nobody".to_vec());
        match driver.next_of(bytes_id) {
            Event::SentBytes { result, .. } => assert_eq!(result, Err(Errno(libc::EPIPE))),
            other => panic!("{other:?}"),
        }
        assert_eq!(driver.io.free_buffers(), (8, 8));
    });
}

#[test]
fn a_peer_that_goes_while_we_do_not_read_is_noticed_when_we_do() {
    on_both_engines(tiny(8), |driver| {
        let (mut peer, id) = driver.pair();
        driver.io.receive(id);
        driver.fence();
        driver.io.pause(id);
        driver.fence();
        peer.write_all(b"last words").expect("room");
        drop(peer);
        driver.fence();
        assert!(driver.events.is_empty(), "{:?}", driver.events);
        driver.io.receive(id);
        driver.expect_bytes(id, b"last words");
        assert!(matches!(driver.next_of(id), Event::Ended { .. }));
    });
}
