//! The process: start, signals, reload, drain.

mod notify;
