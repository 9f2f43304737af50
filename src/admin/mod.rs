//! The operator's side: HTTP and JSON over a UNIX socket, and the commands that use it.
