//! The process: start, signals, reload, drain.
