//! Thousands of sockets opening, talking, pausing and closing at random: nothing may be lost, mixed up or left behind.

use std::io::Write;

use super::*;

const STEPS: usize = 20_000;
const OPEN_MAX: usize = 48;

/// One open socket of the test, its other end, and what each side has still to see.
struct Conversation {
    peer: UnixStream,
    id: SocketId,
    /// Bytes written by the peer that no event has brought yet.
    to_come: VecDeque<u8>,
    sending: bool,
    /// Bytes given to a send, in order, that the peer has not read.
    to_read: VecDeque<u8>,
    next_byte: u8,
}

struct Churn {
    conversations: Vec<Conversation>,
    dice: Dice,
    opened: usize,
}

impl Churn {
    fn step(&mut self, driver: &mut Driver) {
        match self.dice.below(10) {
            0 | 1 if self.conversations.len() < OPEN_MAX => self.open(driver),
            0..=8 if self.conversations.is_empty() => self.open(driver),
            2 => {
                let place = self.dice.below(self.conversations.len());
                let mut closed = self.conversations.swap_remove(place);
                driver.io.close(closed.id);
                if self.dice.below(2) == 0 {
                    // The peer may see what was still in flight, and then the end.
                    driver.settle(self.conversations.len());
                    expect_closed(&mut closed.peer);
                }
            }
            3 => self.any().pause(driver),
            4 => self.any().resume(driver),
            5 | 6 => {
                let length = 1 + self.dice.below(700);
                self.any().peer_writes(length);
            }
            7 => self.any().peer_reads(),
            8 => {
                let length = 1 + self.dice.below(2000);
                self.any().write_bytes(driver, length);
            }
            _ => self.poll(driver),
        }
    }

    fn any(&mut self) -> &mut Conversation {
        let place = self.dice.below(self.conversations.len());
        &mut self.conversations[place]
    }

    fn open(&mut self, driver: &mut Driver) {
        let Ok((peer, ours)) = UnixStream::pair() else {
            return;
        };
        peer.set_nonblocking(true).expect("option");
        // Slots may still be in the kernel's hands.
        let Ok(id) = driver.io.adopt(ours.into()) else {
            return;
        };
        self.opened += 1;
        driver.io.receive(id);
        self.conversations.push(Conversation {
            peer,
            id,
            to_come: VecDeque::new(),
            sending: false,
            to_read: VecDeque::new(),
            next_byte: self.opened as u8,
        });
    }

    /// A turn that does not wait.
    fn poll(&mut self, driver: &mut Driver) {
        driver.io.turn(Some(Instant::now()), &mut driver.batch).expect("a turn");
        // What `settle` has kept is older.
        driver.events.extend(driver.batch.drain(..));
        while let Some(event) = driver.events.pop_front() {
            self.happened(&mut driver.io, event);
        }
    }

    fn happened(&mut self, io: &mut Io, event: Event) {
        let id = event.socket().expect("only sockets here");
        // Events that were given out before a close, and kept by `settle`.
        let Some(conversation) = self.conversations.iter_mut().find(|other| other.id == id) else {
            return;
        };
        match event {
            Event::Received { span, .. } => {
                let expected: Vec<u8> = conversation.to_come.drain(..span.len()).collect();
                assert_eq!(span.bytes(), expected);
                if !conversation.sending {
                    conversation.sending = true;
                    conversation.to_read.extend(span.bytes());
                    io.send(id, span).expect("the first");
                    assert!(io.await_sent(id));
                }
            }
            Event::Sent { unsent, .. } => {
                conversation.sending = false;
                let keep = conversation.to_read.len() - length_of(&unsent);
                conversation.to_read.truncate(keep);
            }
            Event::SentBytes { result, .. } => {
                result.expect("the peer is there");
                conversation.sending = false;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
}

impl Conversation {
    fn pause(&mut self, driver: &mut Driver) {
        driver.io.pause(self.id);
    }

    fn resume(&mut self, driver: &mut Driver) {
        driver.io.receive(self.id);
    }

    fn peer_writes(&mut self, length: usize) {
        let bytes: Vec<u8> = (0..length).map(|offset| self.next_byte.wrapping_add(offset as u8)).collect();
        match self.peer.write(&bytes) {
            Ok(written) => {
                self.to_come.extend(&bytes[..written]);
                self.next_byte = self.next_byte.wrapping_add(written as u8);
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }

    fn peer_reads(&mut self) {
        let mut bytes = [0; 3000];
        match self.peer.read(&mut bytes) {
            Ok(read) => {
                let expected: Vec<u8> = self.to_read.drain(..read).collect();
                assert_eq!(&bytes[..read], expected);
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }

    fn write_bytes(&mut self, driver: &mut Driver, length: usize) {
        if self.sending {
            return;
        }
        self.sending = true;
        let bytes = vec![self.next_byte; length];
        self.to_read.extend(&bytes);
        driver.io.send_bytes(self.id, bytes);
    }
}

#[test]
fn random_life_of_thousands_of_sockets_leaves_nothing_behind() {
    for seed in 1..=4 {
        on_both_engines(tiny(4), |driver| {
            let all = driver.io.free_buffers();
            let mut churn = Churn { conversations: Vec::new(), dice: Dice::new(seed), opened: 0 };
            for _ in 0..STEPS {
                churn.step(driver);
            }
            assert!(churn.opened > 1000, "{}", churn.opened);
            for conversation in &churn.conversations {
                driver.io.close(conversation.id);
            }
            driver.settle(0);
            driver.events.clear();
            assert_eq!(driver.io.free_buffers(), all);
            for mut conversation in churn.conversations {
                conversation.peer.set_nonblocking(false).expect("option");
                expect_closed(&mut conversation.peer);
            }
        });
    }
}
