//! sqluice: an io_uring, thread-per-core layer-7 load balancer for MySQL and MariaDB.
//!
//! The map, from the bytes up. `ARCHITECTURE.md` holds the reasons and the invariants.

pub mod accounts;
pub mod admin;
pub mod config;
pub mod demo;
pub mod failover;
pub mod io;
pub mod latency;
pub mod log;
pub mod monitor;
pub mod outside;
pub mod pool;
pub mod protocol;
pub mod reach;
pub mod route;
pub mod server;
pub mod session;
mod slab;
pub mod sql;
pub mod standin;
#[cfg(test)]
mod testing;
pub mod tls;
pub mod topology;
pub mod worker;
