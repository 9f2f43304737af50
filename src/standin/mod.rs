//! A small MySQL server for the demo and the tests.
