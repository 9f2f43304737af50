//! One client's conversation, without I/O.
