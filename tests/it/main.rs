//! End to end: real servers, real drivers, a real sqluice between them, on both engines.
//!
//! `layering`, `offline` and `supplies` need no servers. The others start what `tests/servers/install` has installed and fail
//! where it is missing; nothing is ever skipped.

mod accounts;
mod admin;
mod aftermath;
mod checking;
mod commands;
mod compare;
mod counts;
mod demo;
mod door;
mod drivers;
mod failure;
mod galera;
mod harness;
mod hidden;
mod http;
mod idle;
mod killing;
mod lagging;
mod layering;
mod leaks;
mod leavings;
mod login;
mod maintenance;
mod offline;
mod oracle;
mod orders;
mod outside;
mod pair;
mod positions;
mod pressure;
mod promotion;
mod readers;
mod recovery;
mod redirecting;
mod rehoming;
mod reload;
mod replicating;
mod reuse;
mod routing;
mod sets;
mod splitting;
mod sql;
mod supplies;
mod tls;
mod trackers;
mod tuning;
