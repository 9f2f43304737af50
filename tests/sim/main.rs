//! Seeded simulations: a small world that misbehaves by a random number, and the rules that must hold in it at every step.
//!
//! Each test runs some fixed seeds and one new one, and prints the seed it is at. `SQLUICE_SIM_SEED=N` runs only that one.

mod beliefs;
mod galera;
mod random;
mod replication;
mod setting;

use random::Random;

/// Runs a simulation for each seed.
fn for_each_seed(simulate: impl Fn(Random)) {
    let given = std::env::var("SQLUICE_SIM_SEED").ok();
    let seeds: Vec<u64> = match given {
        Some(seed) => vec![seed.parse().expect("SQLUICE_SIM_SEED is a number")],
        None => (0..FIXED_SEEDS).chain([new_seed()]).collect(),
    };
    for seed in seeds {
        println!("SQLUICE_SIM_SEED={seed}");
        simulate(Random::new(seed));
    }
}

fn new_seed() -> u64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_epoch.expect("it is after 1970").as_nanos() as u64
}

const FIXED_SEEDS: u64 = 40;
