//! Who waits for a server on one worker, and which connections rest there.
//!
//! A session whose user has `backend_reuse = "session"` has a connection of its own, made at its login and closed with
//! it. With `"transaction"`, connections rest here between the transactions of different sessions.

mod resting;
mod waiters;

pub use resting::{Owner, Rest, Resting};
pub use waiters::{Served, TooManyWait, Waiters, Waiting};
