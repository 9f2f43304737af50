//! Plays programs on both ways in step, and finds the shortest program that still tells them apart.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use super::play::{Outcome, Player, Way};
use super::program::{Program, Step};
use super::rival::Rival;
use super::schema::{SpareEngine, set_up};
use crate::harness::wire::capability as cap;
use crate::harness::{Client, Flavour, Server, ServerError, Sqluice, fresh_name};

/// The ways of framing that a client can ask for.
const MODES: [u64; 6] = [
    BASE,
    PYMYSQL,
    BASE | cap::SESSION_TRACK,
    BASE | cap::DEPRECATE_EOF,
    BASE | cap::DEPRECATE_EOF | cap::SESSION_TRACK,
    BASE | cap::DEPRECATE_EOF
        | cap::SESSION_TRACK
        | cap::OPTIONAL_METADATA
        | cap::QUERY_ATTRIBUTES
        | cap::STMT_BULK
        | cap::EXTENDED_METADATA
        | cap::CACHE_METADATA,
];
const BASE: u64 = cap::USUAL | cap::MULTI_STATEMENTS;
/// PyMySQL's under Django: EOF packets, no trackers, one statement a text, rows found in place of rows changed.
const PYMYSQL: u64 = (cap::USUAL & !cap::PS_MULTI_RESULTS) | cap::FOUND_ROWS;

/// A program with a schema for each way, made beforehand so that replicas can have them before it begins.
pub(super) struct Trial {
    pub(super) program: Program,
    direct: String,
    through: String,
}

/// How a program ended that told no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With its last step, or with the session, on both ways.
    Whole,
    /// Where sqluice says that it cannot go on as one server does: what follows proves nothing.
    Forgotten,
}

impl Trial {
    /// Makes the schemas at the primary.
    pub(super) fn prepare(program: Program, primary: &mut Client, server: &Server, spare: SpareEngine) -> Trial {
        let name = fresh_name("");
        let number: u32 = name.trim_start_matches('_').parse().expect("a fresh name ends with its number");
        // Of one length, so that packets with either have one length.
        let [direct, through] = ["direct", "passed"].map(|way| format!("o{way}{number:05}"));
        for database in [&direct, &through] {
            primary.execute(&set_up(database, server.flavour, spare));
        }
        Trial { program, direct, through }
    }

    /// Where the two ways first differ. `settle` waits until every server has what the primary has.
    pub(super) fn run(
        &self,
        primary: &Server,
        sqluice: &Sqluice,
        settle: &dyn Fn(),
        patience: Duration,
    ) -> Result<Ending, Box<Difference>> {
        let offered = Client::connect(sqluice.address).expect("sqluice greets").greeting.capabilities;
        let capabilities = MODES[(self.program.seed % MODES.len() as u64) as usize] & offered;
        let way = |address, database| Way { address, flavour: primary.flavour, database, capabilities };
        let mut rival = self.has_rival().then(|| Rival::login(sqluice.address, &self.through, capabilities));
        let mut direct = Player::login(&way(primary.address, &self.direct), patience);
        let mut through = Player::login(&way(sqluice.address, &self.through), patience);
        // Until a session has read something, MariaDB's FOUND_ROWS() is that of an earlier session of the same thread.
        let opening = Step::Query(b"SELECT 'begun'".to_vec());
        assert_eq!(direct.play(&opening), through.play(&opening));
        let mut finds_unseen = false;
        for (index, step) in self.program.steps.iter().enumerate() {
            match step {
                Step::GiveWay => rival.iter_mut().for_each(Rival::take_turn),
                Step::CatchUp => settle(),
                _ => {}
            }
            let (left, right) = (direct.play(step), through.play(step));
            match (&left, &right) {
                // A session that ended in the same way on both has nothing more to tell.
                (Outcome::Ended(left), Outcome::Ended(right)) if !is_hang(*left) && !is_hang(*right) => break,
                _ if left == right && !matches!(left, Outcome::Broken(_)) => {}
                (_, right) if ends_early(right, rival.is_some()) => {
                    let said =
                        if let Outcome::Packets(packets) = &right { shown(packets.last()) } else { String::new() };
                    eprintln!("seed {}: ended early at step {index}, {step}: {said}", self.program.seed);
                    return Ok(Ending::Forgotten);
                }
                (left, right) if finds_unseen && asks_for_found_rows(step) && are_as_many(left, right) => {}
                (left, right) if may_lack_flag(step, primary.flavour) && lacks_only_flag(left, right) => {}
                _ => {
                    let (step, direct, through) = (step.clone(), left, right);
                    return Err(Box::new(Difference { index, capabilities, step, direct, through }));
                }
            }
            finds_unseen = may_find_unseen(step, &left).unwrap_or(finds_unseen);
        }
        Ok(Ending::Whole)
    }

    fn has_rival(&self) -> bool {
        self.program.steps.contains(&Step::GiveWay)
    }
}

/// A step that did not give the same on both ways.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) index: usize,
    capabilities: u64,
    step: Step,
    direct: Outcome,
    through: Outcome,
}

impl Difference {
    /// What differs, for people.
    pub(super) fn describe(&self) -> String {
        let mut text = format!("step {} differs, capabilities {:#x}: {}\n", self.index, self.capabilities, self.step);
        let (Outcome::Packets(direct), Outcome::Packets(through)) = (&self.direct, &self.through) else {
            let _ = write!(text, "   direct: {:?}\n  through: {:?}\n", self.direct, self.through);
            return text;
        };
        for index in 0..direct.len().max(through.len()) {
            if direct.get(index) != through.get(index) {
                let _ = writeln!(text, "  packet {index} of {} and {}:", direct.len(), through.len());
                let _ = writeln!(text, "   direct: {}", shown(direct.get(index)));
                let _ = writeln!(text, "  through: {}", shown(through.get(index)));
            }
        }
        text
    }
}

/// What was asked for went with a connection that is shared.
const GONE_WITH_CONNECTION: &[u8] = b"What the statement before left on its connection was given up with that";

/// A read failed before which the primary was asked for its position, behind a query there.
const FOUND_ROWS_LOST: &[u8] = b"What the last query found at the primary is not known any more";

/// A READ ONLY transaction that has read at a replica needs the primary: the README says so.
const SNAPSHOT_ELSEWHERE: &[u8] = b"The read-only transaction has its snapshot at a replica";

/// A read failed at the primary, and then an earlier query was run again there.
const CONDITIONS_LOST: &[u8] = b"Warnings and errors of the statement before are not known any more";

/// The primary would have to execute a closed statement again, or one that was sent parameters.
const READ_LOST: &[u8] = b"What the last read left at its replica is not known any more";

/// Whether sqluice says that it cannot go on as one server would: the README names each of these.
fn ends_early(outcome: &Outcome, is_shared: bool) -> bool {
    let always = [FOUND_ROWS_LOST, SNAPSHOT_ELSEWHERE, CONDITIONS_LOST, READ_LOST];
    always.into_iter().any(|words| says(outcome, words)) || is_shared && says(outcome, GONE_WITH_CONNECTION)
}

/// Whether this is what sqluice says.
fn says(outcome: &Outcome, words: &[u8]) -> bool {
    match outcome {
        Outcome::Packets(packets) => packets.iter().any(|packet| packet.windows(words.len()).any(|part| part == words)),
        _ => false,
    }
}

/// Whether FOUND_ROWS() behind a step may be that of code whose reply does not tell whether it found any, or that of the
/// query before: the README names it. `None` if the step leaves that as it was.
fn may_find_unseen(step: &Step, outcome: &Outcome) -> Option<bool> {
    const RUNS: [&[u8]; 2] = [b"CALL", b"EXECUTE"];
    let (Step::Query(text), Outcome::Packets(packets)) = (step, outcome) else { return None };
    match packets.len() {
        1 => RUNS.iter().any(|word| text.starts_with(word)).then_some(true),
        _ => Some(false),
    }
}

fn asks_for_found_rows(step: &Step) -> bool {
    const NAME: &[u8] = b"FOUND_ROWS()";
    matches!(step, Step::Query(text) if text.windows(NAME.len()).any(|part| part == NAME))
}

fn are_as_many(left: &Outcome, right: &Outcome) -> bool {
    matches!((left, right), (Outcome::Packets(left), Outcome::Packets(right)) if left.len() == right.len())
}

/// Behind stored code MariaDB flags in EOF packets that something changed, for what it was asked to tell of; sqluice has
/// asked for more than the client, and cannot know whose the flag is. It says nothing of what changed: the README names it.
fn may_lack_flag(step: &Step, flavour: Flavour) -> bool {
    const STORED: [&[u8]; 3] = [b".f_", b".p_", b".v_"];
    let Step::Query(text) = step else { return false };
    flavour.is_mariadb() && STORED.iter().any(|name| text.windows(name.len()).any(|part| part == *name))
}

/// Whether the two differ in nothing but that flag, which the server alone has.
fn lacks_only_flag(direct: &Outcome, through: &Outcome) -> bool {
    const FLAG: u8 = 0x40;
    let is_like = |(direct, through): (&Vec<u8>, &Vec<u8>)| match (&direct[..], &through[..]) {
        ([0xFE, left @ .., high], [0xFE, right @ .., low]) if direct.len() == 5 => {
            left == right && high & !FLAG == *low
        }
        _ => direct == through,
    };
    match (direct, through) {
        (Outcome::Packets(direct), Outcome::Packets(through)) => {
            direct.len() == through.len() && direct.iter().zip(through).all(is_like)
        }
        _ => false,
    }
}

fn is_hang(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn shown(packet: Option<&Vec<u8>>) -> String {
    match packet {
        None => "(none)".to_owned(),
        Some(packet) if packet.first() == Some(&0xFF) => ServerError::parse(packet).to_string(),
        Some(packet) => format!("{:.400}", packet.escape_ascii().to_string()),
    }
}

/// Leaves out steps, from many at a time to one by one, as long as what remains still fails.
pub(super) fn shrink(program: &Program, failed_at: usize, mut fails: impl FnMut(&Program) -> Option<usize>) -> Program {
    let mut best = Program { seed: program.seed, steps: program.steps[..=failed_at].to_vec() };
    let mut attempts = 0;
    let mut width = best.steps.len() / 2;
    while width > 0 {
        let mut from = 0;
        while from < best.steps.len() && attempts < SHRINK_ATTEMPTS_MAX {
            attempts += 1;
            let mut candidate = best.clone();
            candidate.steps.drain(from..(from + width).min(candidate.steps.len()));
            match fails(&candidate) {
                Some(index) => {
                    candidate.steps.truncate(index + 1);
                    best = candidate;
                }
                None => from += width,
            }
        }
        width /= 2;
    }
    best
}

/// Keeps a failing run from taking for ever; far above what a program of usual length needs.
const SHRINK_ATTEMPTS_MAX: usize = 300;
