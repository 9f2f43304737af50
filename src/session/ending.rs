//! Why a session ended: one value that gives the log line's words and the counter.

/// The one reason for which a session was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The client said goodbye.
    Quit,
    /// The client's connection was closed without a goodbye.
    ClientGone,
    /// The client did not log in: wrong password, unknown user, unusable handshake.
    LoginDenied,
    /// The client did not finish its login in time.
    LoginTimeout,
    /// The server refused the login that we made for the client.
    ServerDenied,
    /// The server's connection was lost.
    ServerGone,
    /// No server could be had.
    NoServer,
    /// A limit on sessions was reached.
    Limit,
    /// The client broke the protocol.
    ClientProtocol,
    /// The server broke the protocol.
    ServerProtocol,
    /// TLS with the client failed: no version in common, or one does not believe the other's certificate.
    ClientTls,
    /// The process is shutting down, or the session's user or server left the configuration.
    Drained,
    /// A session of the same user killed it while it had no connection to a server.
    Killed,
    /// The client was sent to another balancer.
    Redirected,
    /// A fault of ours.
    Fault,
}

impl Ending {
    /// Every reason; a reason's place here is its [`index`](Ending::index).
    pub const ALL: [Ending; 15] = [
        Ending::Quit,
        Ending::ClientGone,
        Ending::LoginDenied,
        Ending::LoginTimeout,
        Ending::ServerDenied,
        Ending::ServerGone,
        Ending::NoServer,
        Ending::Limit,
        Ending::ClientProtocol,
        Ending::ServerProtocol,
        Ending::ClientTls,
        Ending::Drained,
        Ending::Killed,
        Ending::Redirected,
        Ending::Fault,
    ];

    /// The reason's place in [`Ending::ALL`], for counters.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The name in logs, counters and the admin API.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Quit => "quit",
            Ending::ClientGone => "client_gone",
            Ending::LoginDenied => "login_denied",
            Ending::LoginTimeout => "login_timeout",
            Ending::ServerDenied => "server_denied_login",
            Ending::ServerGone => "server_gone",
            Ending::NoServer => "no_server",
            Ending::Limit => "limit",
            Ending::ClientProtocol => "client_protocol_error",
            Ending::ServerProtocol => "server_protocol_error",
            Ending::ClientTls => "client_tls_failed",
            Ending::Drained => "drained",
            Ending::Killed => "killed",
            Ending::Redirected => "redirected",
            Ending::Fault => "internal_fault",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ending;

    #[test]
    fn each_reason_stands_at_its_index() {
        for (place, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(ending.index(), place, "{}", ending.name());
        }
    }
}
