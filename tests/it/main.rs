//! End to end: real servers, real drivers, a real sqluice between them, on both engines.

mod commands;
mod compare;
mod harness;
