//! The `sqluice` command.

fn main() {}
