//! Who waits for a server on one worker.
//!
//! Every session has a server connection of its own, made at its login and closed with it, so nothing is kept idle
//! here and nothing is shared.

mod waiters;

pub use waiters::{Served, TooManyWait, Waiters, Waiting};
