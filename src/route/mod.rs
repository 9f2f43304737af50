//! Which server a session goes to, and why.
//!
//! [`decide`] is on the way of every lease: it allocates nothing and carries only its result. [`explain`] asks the same
//! question again through the same [`verdict`] and writes down the reason for each server; logs, `sqluice explain` and
//! tests see that one value.

mod balance;
mod decision;
mod destination;
mod explain;
mod fairness;
mod freshness;

pub use decision::{Decision, Obstacle, Question, Refusal, Verdict, decide, verdict};
pub use destination::{Destination, destination};
pub use explain::{Explained, Explanation, Step, explain};
pub use fairness::is_fair;
pub use freshness::{Sight, is_fresh};
