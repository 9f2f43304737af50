//! MySQL and MariaDB bytes to values and back. Knows no session and no SQL.
//!
//! Everything here is a function of its arguments: bytes come in as slices, however the network cut them,
//! and go out through `&mut Vec<u8>`. What a peer sends can make an error, never a panic, an unbounded loop
//! or an unbounded allocation; every length is checked by [`reader::Reader`] or, for packets that are only
//! followed and never stored, by [`packet::Walker`] and [`result_set::Reply`].
//!
//! Integers are little-endian. The facts come from the manuals of both families and from MariaDB 10.11 and
//! 11.8 and MySQL 9.7, whose bytes are the test data.

pub mod attributes;
pub mod auth;
pub mod capability;
pub mod collation;
pub mod command;
#[cfg(test)]
pub(crate) mod corpus;
pub mod error_code;
pub mod fuzz;
pub mod gtid;
pub mod handshake;
pub mod kill;
pub mod packet;
pub mod proxy;
pub mod reader;
pub mod redirect;
pub mod response;
pub mod result_set;
pub mod session_track;
pub mod statement;
pub mod status;
pub mod text_answer;
pub mod text_result;
pub mod version;
pub mod watch;
pub mod writer;

pub use reader::Malformed;
