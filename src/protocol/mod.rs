//! MySQL and MariaDB bytes to values and back. Knows no session and no SQL.

pub mod auth;
