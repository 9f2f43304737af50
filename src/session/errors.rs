//! The errors that a session tells its client: number, SQL state and words in one place.
//!
//! The words are the servers' own where they have some, so that applications which look at them go on working.

use crate::{
    config::InstantFailover,
    protocol::{
        error_code::{Error, ErrorCode},
        redirect::{self, Target},
        response::ErrPacket,
    },
};

use super::SessionId;

/// Wrong password and unknown user look the same.
pub(super) fn access_denied(user: &[u8], host: &str, with_password: bool) -> ErrPacket {
    let answer = if with_password { "YES" } else { "NO" };
    let user = String::from_utf8_lossy(user);
    ErrPacket::new(Error::ACCESS_DENIED, format!("Access denied for user '{user}'@'{host}' (using password: {answer})"))
}

pub(super) fn bad_handshake() -> ErrPacket {
    ErrPacket::new(Error::BAD_HANDSHAKE, "Bad handshake")
}

pub(super) fn tls_required() -> ErrPacket {
    ErrPacket::new(
        Error::SECURE_TRANSPORT_REQUIRED,
        "Connections using insecure transport are prohibited here: let the client use TLS (--ssl-mode=REQUIRED, --ssl)",
    )
}

/// A server would have to judge the password, and it may be given only where nobody listens.
pub(super) fn learnt_inside_tls(user: &[u8]) -> ErrPacket {
    let user = String::from_utf8_lossy(user);
    let words = format!(
        "Access denied for user '{user}': its password is not known here yet, and is asked for only inside TLS: let the client \
         use TLS (--ssl-mode=REQUIRED, --ssl), or give the user an entry in the configuration"
    );
    ErrPacket::new(Error::SECURE_TRANSPORT_REQUIRED, words)
}

pub(super) fn old_client() -> ErrPacket {
    ErrPacket::new(
        Error::NOT_SUPPORTED_AUTH_MODE,
        "Client does not support authentication protocol requested by server; consider upgrading MySQL client",
    )
}

pub(super) fn too_many_connections() -> ErrPacket {
    ErrPacket::new(Error::TOO_MANY_CONNECTIONS, "Too many connections")
}

pub(super) fn user_limit(user: &[u8], limit: u32) -> ErrPacket {
    let user = String::from_utf8_lossy(user);
    ErrPacket::new(
        Error::USER_LIMIT_REACHED,
        format!("User '{user}' has exceeded the 'max_user_connections' resource (current value: {limit})"),
    )
}

pub(super) fn servers_full(why: &str) -> ErrPacket {
    ErrPacket::new(Error::TOO_MANY_CONNECTIONS, format!("Too many connections: {why}"))
}

pub(super) fn no_server(why: &str) -> ErrPacket {
    ErrPacket::new(Error::NET_READ_ERROR, format!("No server available: {why}"))
}

pub(super) fn server_lost(name: &str) -> ErrPacket {
    ErrPacket::new(Error::NET_READ_ERROR, format!("Lost connection to server '{name}' during query"))
}

/// The next home may be behind what the session has read at the one that it lost.
pub(super) fn sight_lost() -> ErrPacket {
    let why = "Lost connection to server: no other one is known to have what the session may have seen there";
    ErrPacket::new(Error::NET_READ_ERROR, why)
}

/// A Galera node was asked to have all that its cluster had committed, and has not come that far.
pub(super) fn behind_its_cluster(name: &str) -> ErrPacket {
    let words = format!("Server '{name}' did not catch up with its cluster in time; try restarting transaction");
    ErrPacket::new(Error::LOCK_WAIT_TIMEOUT, words)
}

pub(super) fn server_unusable(name: &str, why: &str) -> ErrPacket {
    ErrPacket::new(Error::NET_READ_ERROR, format!("Cannot use server '{name}': {why}"))
}

/// FOUND_ROWS() and its like, asked when the connection of the statement before has been given to another session.
pub(super) fn aftermath_lost() -> ErrPacket {
    let words = "What the statement before left on its connection was given up with that: ask at once, in a transaction, \
                 or set backend_reuse = \"session\" for this user";
    ErrPacket::new(Error::NOT_SUPPORTED_YET, words)
}

/// FOUND_ROWS(), asked behind a query at a replica and what may have found rows at the primary.
pub(super) fn found_rows_unknown() -> ErrPacket {
    let words = "What FOUND_ROWS() is of is not known: the last query ran at a replica, and behind it the primary ran what may \
                 have found rows or not; ask before that, or begin the query with /* sqluice: primary */";
    ErrPacket::new(Error::NOT_SUPPORTED_YET, words)
}

/// A question for what statements at different servers left.
pub(super) fn counts_apart() -> ErrPacket {
    let words = "What is asked for is at two servers, as a query before ran at a replica: ask for each count by itself, ask right \
                 behind the query, or begin that with /* sqluice: primary */";
    ErrPacket::new(Error::NOT_SUPPORTED_YET, words)
}

/// FOUND_ROWS(), asked behind a read that failed, before which the primary was asked where it is.
pub(super) fn found_rows_lost() -> ErrPacket {
    let words = "What the last query found at the primary is not known any more: sqluice asked the primary for its position, \
                 which is a query, too, before a read that failed";
    ErrPacket::new(Error::NOT_SUPPORTED_YET, words)
}

/// What a read left at its replica, asked for where that cannot say it and the primary cannot run the read again.
pub(super) fn read_lost() -> ErrPacket {
    let words = "What the last read left at its replica is not known any more: its prepared statement was closed, or was \
                 sent parameters for its next execution";
    ErrPacket::new(Error::NOT_SUPPORTED_YET, words)
}

/// Warnings or errors of a statement at the primary, asked for when that has run an earlier read again for FOUND_ROWS().
pub(super) fn conditions_lost() -> ErrPacket {
    let words = "Warnings and errors of the statement before are not known any more: the primary ran an earlier read again, \
                 to answer FOUND_ROWS()";
    ErrPacket::new(Error::NOT_SUPPORTED_YET, words)
}

/// The transaction under way was lost with its server, which rolls it back.
pub(super) fn transaction_lost() -> ErrPacket {
    let words = "The server of the transaction was lost or takes no writes any more, and the transaction is rolled back; \
                 try restarting transaction";
    ErrPacket::new(Error::DEADLOCK, words)
}

/// The server was lost while it committed.
pub(super) fn commit_in_doubt() -> ErrPacket {
    let words = "Lost connection to the server during a commit: whether the transaction is committed is unknown";
    ErrPacket { state: Some(*b"08007"), ..ErrPacket::new(Error::NET_READ_ERROR, words) }
}

/// A statement cannot be prepared on another connection as it was prepared for the client.
pub(super) fn needs_prepare() -> ErrPacket {
    let words = "The statement or its settings have changed since it was prepared, and its connection was given up: \
                 prepare it again, or set backend_reuse = \"session\" for this user";
    ErrPacket::new(Error::NEEDS_PREPARE, words)
}

pub(super) fn shutdown() -> ErrPacket {
    ErrPacket::new(Error::SERVER_SHUTDOWN, "Server shutdown in progress")
}

/// The server was taken out of use, and the session had what no other server could be given.
pub(super) fn server_drained(name: &str) -> ErrPacket {
    ErrPacket::new(Error::SERVER_SHUTDOWN, format!("Server shutdown in progress: '{name}' was taken out of use"))
}

/// The SQL state of a login that was rejected: connectors that know several hosts try the next one.
pub(super) const LOGIN_REJECTED: [u8; 5] = *b"08004";
/// The SQL state of a connection that is over: pools throw it away, and connect again.
pub(super) const CONNECTION_LOST: [u8; 5] = *b"08S01";

/// The client is to connect somewhere else.
pub(super) fn elsewhere(settings: &InstantFailover, target: &Target, state: [u8; 5]) -> ErrPacket {
    let message = redirect::message(&settings.text, target);
    ErrPacket { code: ErrorCode(settings.error_code), state: Some(state), message }
}

pub(super) fn login_timeout() -> ErrPacket {
    ErrPacket::new(Error::NET_READ_INTERRUPTED, "Got timeout reading communication packets")
}

pub(super) fn packets_out_of_order() -> ErrPacket {
    ErrPacket::new(Error::PACKETS_OUT_OF_ORDER, "Got packets out of order")
}

pub(super) fn unknown_session(id: SessionId) -> ErrPacket {
    ErrPacket::new(Error::NO_SUCH_THREAD, format!("Unknown thread id: {id}"))
}

pub(super) fn not_owner(id: SessionId) -> ErrPacket {
    ErrPacket::new(Error::KILL_DENIED, format!("You are not owner of thread {id}"))
}

pub(super) fn refused_command(kind: Error) -> ErrPacket {
    let words = match kind {
        Error::UNKNOWN_COMMAND => "Unknown command",
        Error::DEADLOCK => {
            "The read-only transaction has its snapshot at a replica, where this cannot run; try restarting transaction"
        }
        _ => "This command is not available through the load balancer",
    };
    ErrPacket::new(kind, words)
}
