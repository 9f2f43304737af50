//! The operator's side: HTTP and JSON over a UNIX socket, and the commands that use it.
//!
//! [`shapes`] are the answers as JSON, `api` the routes, `http` those of them that also answer over TCP, [`metrics`] what
//! Prometheus reads, [`report`] and [`explain`] make answers of a routing table,
//! [`drain`] tells who is at a server that is taken out of use, [`client`] is the other end for the commands, [`table`] and [`doctor`] what the commands print. The state itself belongs to the
//! control thread: the API asks it through a channel of [`Question`]s.

pub mod client;
pub mod doctor;
pub mod drain;
pub mod explain;
pub mod metrics;
pub mod report;
pub mod shapes;
pub mod table;

mod api;
mod http;
mod page;
mod statement;

pub use api::{QUESTIONS_MAX, Question, ReloadRefused, SWITCHOVER_TIMEOUT, serve};
pub use http::{HostName, serve as serve_http};
