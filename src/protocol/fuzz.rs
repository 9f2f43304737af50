//! Every fuzz entry of the protocol by name: the targets that libFuzzer runs, and that a plain test feeds with
//! seeded and mutated bytes.

/// A function that takes hostile bytes and panics when a claim about them does not hold.
pub type Target = fn(&[u8]);

/// All entries, each beside its parser.
pub const TARGETS: [(&str, Target); 12] = [
    ("packet", super::packet::fuzz_packet),
    ("handshake", super::handshake::fuzz_handshake),
    ("attributes", super::attributes::fuzz_attributes),
    ("response", super::response::fuzz_response),
    ("reply", super::result_set::fuzz_reply),
    ("text_answer", super::text_answer::fuzz_text_answer),
    ("session_track", super::session_track::fuzz_session_track),
    ("kill", super::kill::fuzz_kill),
    ("auth", super::auth::fuzz_auth),
    ("gtid", super::gtid::fuzz_gtid),
    ("redirect", super::redirect::fuzz_redirect),
    ("proxy", super::proxy::fuzz_proxy),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::corpus;
    use crate::testing::rounds;

    /// Inputs for each target: a few seconds of a test, where libFuzzer takes hours and Miri has its time.
    const ROUNDS: u64 = rounds(4000, 10);

    /// It may come to signatures of a library in C, which Miri cannot interpret.
    const FOREIGN: &str = "auth";

    /// Numbers that are the same in each run (splitmix64).
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ mixed >> 31
        }

        fn below(&mut self, bound: usize) -> usize {
            (self.next() % bound.max(1) as u64) as usize
        }

        /// A byte, more often than not one that means something in this protocol.
        fn byte(&mut self) -> u8 {
            const TELLING: [u8; 12] = [0x00, 0x01, 0x02, 0x03, 0x04, 0x0A, 0xA5, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF];
            let number = self.next();
            if number & 0x100 == 0 { number as u8 } else { TELLING[self.below(TELLING.len())] }
        }
    }

    /// What real servers and clients sent.
    fn seeds() -> Vec<Vec<u8>> {
        let openings = corpus::openings().into_iter();
        let packets = openings.flat_map(|opening| [opening.greeting, opening.response, opening.login]);
        let replies = corpus::replies().into_iter().map(|reply| reply.bytes).filter(|bytes| bytes.len() < 2000);
        let texts = [
            &b"KILL /* it */ QUERY 42;"[..],
            b"\xFEmysql_native_password\0abcdefghijklmnopqrst\0",
            b"0-1-4,0-2-19, 7-3-100",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 3306\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x7f\0\0\x09\x7f\0\0\x01\xd4\x31\x0c\xea",
            b"3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7:backup:1-2,\n4e11fa47-71ca-11e1-9e33-c80aa9429562:9",
        ];
        packets.chain(replies).chain(texts.map(<[u8]>::to_vec)).collect()
    }

    /// A seed with a few changes behind some bytes that targets read as their choices, or nothing but chance.
    fn input(numbers: &mut Numbers, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..numbers.below(10)).map(|_| numbers.byte()).collect();
        if numbers.below(4) == 0 {
            let length = numbers.below(100);
            bytes.extend((0..length).map(|_| numbers.byte()));
            return bytes;
        }
        bytes.extend_from_slice(&seeds[numbers.below(seeds.len())]);
        for _ in 0..numbers.below(6) {
            let place = numbers.below(bytes.len());
            match numbers.below(3) {
                0 => bytes.insert(place, numbers.byte()),
                1 => bytes[place] = numbers.byte(),
                _ => bytes.truncate(place.max(1)),
            }
        }
        bytes
    }

    #[test]
    fn libfuzzer_has_every_target() {
        let manifest = include_str!("../../tests/fuzz/Cargo.toml");
        let names: Vec<_> =
            manifest.split("[[bin]]\nname = \"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        // The targets of other modules are the last.
        let targets: Vec<_> = TARGETS.map(|(name, _)| name).into_iter().chain(["config", "sql", "session"]).collect();
        assert_eq!(names, targets);
    }

    #[test]
    fn no_target_fails_on_seeded_and_mutated_bytes() {
        let seeds = seeds();
        for (name, target) in TARGETS.into_iter().filter(|(name, _)| !cfg!(miri) || *name != FOREIGN) {
            for round in 0..ROUNDS {
                let bytes = input(&mut Numbers(round), &seeds);
                let outcome = std::panic::catch_unwind(|| target(&bytes));
                assert!(outcome.is_ok(), "{name} fails in round {round} on {bytes:02x?}");
            }
        }
    }
}
