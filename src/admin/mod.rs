//! The operator's side: HTTP and JSON over a UNIX socket, and the commands that use it.
//!
//! [`shapes`] are the answers as JSON, [`api`] the routes, [`socket`] the file they listen on, [`client`] the other
//! end for the commands, [`table`] what the commands print. The state itself belongs to the control thread: the API
//! asks it through a channel of [`Question`]s.

pub mod client;
pub mod shapes;
pub mod table;

mod api;
mod socket;

pub use api::{QUESTIONS_MAX, Question, router};
pub use socket::{AdminSocket, SocketError};
