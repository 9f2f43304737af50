//! Which server a session goes to, and why.
