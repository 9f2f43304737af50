//! Logging in: verifying a client, and answering a server.
