//! What holds for all texts: seeded mutations of the table, and chance.

use proptest::prelude::*;

use super::*;
use crate::testing::{rounds, sample};

fn rows() -> Vec<Row> {
    sample(table::rows(), 150)
}

/// Rows that are not reads, so that a disguise can be looked for.
fn not_reads() -> Vec<Row> {
    rows().into_iter().filter(|row| row.verdict != "read").collect()
}

/// A blank or a comment, which separates words and says nothing.
fn blank() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(" "), Just("\n"), Just("\t "), Just("/**/"), Just("/* it's */ "), Just("-- x\n"), Just("#'\n")]
}

/// The text with other blanks between its words, and its letters in another case; what is quoted or a comment stays.
fn disguised(text: &[u8], blanks: &[&str], upper: bool) -> Vec<u8> {
    let is_plain = !text.iter().any(|byte| matches!(byte, b'\'' | b'"' | b'`' | b'#' | b'/' | b'\\' | 0x80..))
        && memchr::memmem::find(text, b"--").is_none();
    if !is_plain {
        return text.to_vec();
    }
    let mut disguised = Vec::new();
    for (index, byte) in text.iter().enumerate() {
        match byte {
            b' ' | b'\n' | b'\t' => disguised.extend_from_slice(blanks[index % blanks.len()].as_bytes()),
            byte if upper => disguised.push(byte.to_ascii_uppercase()),
            byte => disguised.push(byte.to_ascii_lowercase()),
        }
    }
    disguised
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(rounds(64, 1) as u32))]

    #[test]
    fn blanks_comments_and_case_make_no_read(blanks in prop::collection::vec(blank(), 1..5), upper: bool) {
        for row in not_reads() {
            let text = disguised(&row.text, &blanks, upper);
            for dialect in dialects(&row) {
                let before = classify(&row.text, dialect, true);
                let after = classify(&text, dialect, true);
                prop_assert!(after.class >= before.class, "{} became {after:?}", String::from_utf8_lossy(&text));
                prop_assert!(after.effects.contains(before.effects), "{}", String::from_utf8_lossy(&text));
            }
        }
    }

    #[test]
    fn a_comment_around_or_behind_makes_no_read(comment in "/\\*[ a-z'\"`;]{0,8}\\*/") {
        for row in not_reads().into_iter().filter(|row| row.verdict != "unterminated text") {
            for text in [[comment.as_bytes(), &row.text].concat(), [&row.text[..], b" ", comment.as_bytes()].concat()] {
                for dialect in dialects(&row) {
                    let found = classify(&text, dialect, true);
                    prop_assert!(found.class >= classify(&row.text, dialect, true).class, "{row:?}");
                }
            }
        }
    }
}

#[test]
fn code_in_an_executable_comment_is_no_more_a_read() {
    for row in not_reads() {
        for (before, after) in
            [("/*! ", " */"), ("/*!40000 ", " */"), ("/*!80034 ", "*/"), ("SELECT 1 /*!50000 ;", " */")]
        {
            let text = [before.as_bytes(), &row.text, after.as_bytes()].concat();
            for dialect in dialects(&row) {
                let is_skipped = before.contains("80034") && matches!(dialect.family, Family::MariaDb { .. });
                let class = classify(&row.text, dialect, true).class;
                let found = classify(&text, dialect, true);
                // A comment at the end of a row hides the end of the comment around it, or has none inside it.
                let is_odd = row.reads_to_the_end() || is_skipped;
                assert!(is_odd || found.class >= class.min(Class::ReadOfConnection), "{row:?} {found:?}");
                assert!(is_odd || class != Class::Primary || found.class == Class::Primary, "{row:?} {found:?}");
            }
        }
    }
}

impl Row {
    /// Whether what is put behind it would be read as part of a comment, or as nothing.
    fn reads_to_the_end(&self) -> bool {
        self.verdict == "no statement"
    }
}

#[test]
fn any_beginning_of_a_text_is_the_primarys() {
    for row in rows() {
        for dialect in dialects(&row) {
            for end in 0..=row.text.len() {
                let found = classify(&row.text[..end], dialect, false);
                assert_eq!(found.class, Class::Primary, "{row:?} {end}");
                assert!(found.effects.contains(Effects::UNSEEN));
            }
        }
    }
}

#[test]
fn a_read_with_anything_harmful_behind_it_is_none() {
    const HARMFUL: [&str; 8] = [
        " FOR UPDATE",
        " LOCK IN SHARE MODE",
        " INTO OUTFILE '/x'",
        "; DELETE FROM t",
        "; SET @x = 1",
        " + f(1)",
        " /*!50000 FOR UPDATE */",
        ";CREATE/**/TEMPORARY TABLE x (a INT)",
    ];
    for row in rows().into_iter().filter(|row| row.verdict == "read") {
        for harm in HARMFUL {
            // Behind a line's comment stands only comment.
            let text = [&row.text[..], b"\n", harm.as_bytes()].concat();
            for dialect in dialects(&row) {
                let found = classify(&text, dialect, true);
                assert_eq!(found.class, Class::Primary, "{} {found:?}", String::from_utf8_lossy(&text));
            }
        }
    }
}

/// Numbers that are the same in each run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ mixed >> 31) % bound.max(1) as u64) as usize
    }
}

#[test]
fn hostile_texts_end_in_a_verdict() {
    const TELLING: &[u8] = b"'\"`\\/*!M#-;()@.:=,$ \n0129eExXnNbB_aAfF\x00\x7F\x80\x81\xA0\xC3\xFF";
    let rows = rows();
    for round in 0..rounds(60_000, 20) {
        let mut numbers = Numbers(round);
        let mut text = vec![numbers.below(256) as u8];
        text.extend_from_slice(&rows[numbers.below(rows.len())].text);
        for _ in 0..numbers.below(6) {
            let place = 1 + numbers.below(text.len() - 1);
            match numbers.below(3) {
                0 => text.insert(place.min(text.len()), TELLING[numbers.below(TELLING.len())]),
                1 if place < text.len() => text[place] = TELLING[numbers.below(TELLING.len())],
                _ => text.truncate(place.max(1)),
            }
        }
        let outcome = std::panic::catch_unwind(|| fuzz_sql(&text));
        assert!(outcome.is_ok(), "round {round} fails on {:?}", String::from_utf8_lossy(&text));
    }
}
