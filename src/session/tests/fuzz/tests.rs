//! The fuzz target on a stable toolchain: what is kept in the tree, changed by chance, and nothing but chance.

use std::collections::BTreeMap;

use super::*;
use crate::testing::{rounds, sample};

/// Inputs of a test run: some seconds of what libFuzzer does for hours.
const ROUNDS: u64 = rounds(20_000, 10);

/// Conversations that reach what a session does; a line that begins with `#` says what the next ones are.
const SEEDS: &str = include_str!("../../../../tests/corpus/sessions.txt");

fn seeds() -> Vec<&'static [u8]> {
    SEEDS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::as_bytes).collect()
}

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

    /// An act, or a choice.
    fn byte(&mut self) -> u8 {
        match self.below(3) {
            0 => b'0' + self.below(40) as u8,
            _ => ACTS[self.below(ACTS.len())],
        }
    }
}

/// A conversation with some acts put in, taken out and changed, and some behind it.
fn input(numbers: &mut Numbers, seeds: &[&[u8]]) -> Vec<u8> {
    let mut bytes = seeds[numbers.below(seeds.len())].to_vec();
    for _ in 0..numbers.below(6) {
        let place = numbers.below(bytes.len());
        match numbers.below(4) {
            _ if bytes.is_empty() => {}
            0 => bytes.insert(place, numbers.byte()),
            1 => bytes[place] = numbers.byte(),
            2 => drop(bytes.remove(place)),
            _ => bytes.truncate(place.max(2)),
        }
    }
    let more = numbers.below(30);
    bytes.extend((0..more).map(|_| numbers.byte()));
    bytes
}

/// Why an input fails, if it does.
fn failure(bytes: &[u8]) -> Option<String> {
    let panic = std::panic::catch_unwind(|| fuzz_session(bytes)).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).or(Some("no text".into()))
}

#[test]
fn no_conversation_breaks_a_session_or_its_promises() {
    let seeds = seeds();
    let changed = (0..ROUNDS).map(|round| input(&mut Numbers(round), &seeds));
    // The shortest input for each failure.
    let mut failures: BTreeMap<String, String> = BTreeMap::new();
    for bytes in sample(seeds.clone(), 50).into_iter().map(<[u8]>::to_vec).chain(changed) {
        if let Some(failure) = failure(&bytes) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let shortest = failures.entry(failure).or_insert(text.clone());
            if text.len() < shortest.len() {
                *shortest = text;
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Reads at replicas that an input comes to.
fn reads_at_replica(bytes: &[u8]) -> usize {
    let mut play = Play::new(bytes);
    while let Some(act) = play.script.next() {
        play.act(act);
    }
    play.ends.reads_at_replica
}

/// Else what a session does with two servers would hardly be tried: behind the first read, too, and whatever is changed.
#[test]
#[cfg_attr(miri, ignore = "it counts what comes of many inputs")]
fn conversations_with_two_servers_go_on() {
    let is_split =
        |bytes: &&[u8]| bytes.get(2) == Some(&b'l') && bytes.get(3).is_some_and(|user| b"4568".contains(user));
    let split: Vec<&[u8]> = seeds().into_iter().filter(is_split).collect();
    let again = split.iter().filter(|bytes| reads_at_replica(bytes) > 1).count();
    let changed = (0..500).map(|round| reads_at_replica(&input(&mut Numbers(round), &split)));
    let changed: Vec<usize> = changed.collect();
    let (read, more) =
        (changed.iter().filter(|reads| **reads > 0).count(), changed.iter().filter(|reads| **reads > 1).count());
    assert!(
        again * 2 >= split.len() && read > 120 && more > 90,
        "{again} of {}; {read} and {more} of 500",
        split.len()
    );
}

/// Else the target would go round in the login.
#[test]
#[cfg_attr(miri, ignore = "it counts what comes of many inputs")]
fn most_conversations_of_the_corpus_come_to_commands() {
    let reach = |bytes: &&[u8]| {
        let mut play = Play::new(bytes);
        while let Some(act) = play.script.next() {
            play.act(act);
        }
        play.session.commands() > 0
    };
    let (all, reached) = (seeds().len(), seeds().iter().filter(|bytes| reach(bytes)).count());
    assert!(reached * 2 > all, "{reached} of {all}");
}
