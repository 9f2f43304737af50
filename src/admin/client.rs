//! The other end of the admin API: one request over the UNIX socket, as the commands need it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::shapes::Problem;

/// Longer than the process lets a question wait, so that its own answer is what people see.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a request brought no answer.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody answers at the socket.
    Unreachable {
        /// Where the process was expected.
        socket: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The process answered, but not with what was asked for.
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why, for people.
        errors: Vec<String>,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Unreachable { socket, reason } => {
                write!(formatter, "no answer from the running process at {}: {reason}", socket.display())
            }
            ClientError::Refused { errors, .. } => write!(formatter, "{}", errors.join("\n")),
        }
    }
}

impl std::error::Error for ClientError {}

/// Asks the process that listens at `socket`; the answer is the JSON text of a 2xx response.
pub async fn request(socket: &Path, method: Method, path_and_query: &str) -> Result<Bytes, ClientError> {
    request_within(REQUEST_TIMEOUT, socket, method, path_and_query).await
}

/// As [`request`], for what takes its time.
pub async fn request_within(
    patience: Duration,
    socket: &Path,
    method: Method,
    path_and_query: &str,
) -> Result<Bytes, ClientError> {
    let unreachable = |reason: String| ClientError::Unreachable { socket: socket.to_path_buf(), reason };
    match timeout(patience, exchange(socket, method, path_and_query)).await {
        Ok(Ok((status, body))) if status.is_success() => Ok(body),
        Ok(Ok((status, body))) => Err(ClientError::Refused { status: status.as_u16(), errors: errors(status, &body) }),
        Ok(Err(reason)) => Err(unreachable(reason)),
        Err(_) => Err(unreachable(format!("it did not answer in {} seconds", patience.as_secs()))),
    }
}

async fn exchange(socket: &Path, method: Method, path_and_query: &str) -> Result<(StatusCode, Bytes), String> {
    let stream = UnixStream::connect(socket).await.map_err(|error| not_let_in(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let request = Request::builder()
        .method(method)
        .uri(path_and_query)
        // HTTP/1.1 wants a host; over a UNIX socket it has no meaning.
        .header("host", "sqluice")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        Ok::<_, hyper::Error>((status, response.into_body().collect().await?.to_bytes()))
    };
    tokio::pin!(connection);
    tokio::pin!(response);
    // The connection does the I/O. It may end before the last bytes of the body are read out of it.
    tokio::select! {
        biased;
        response = &mut response => return response.map_err(|error| error.to_string()),
        ended = &mut connection => ended.map_err(|error| error.to_string())?,
    }
    response.await.map_err(|error| error.to_string())
}

/// Why nobody let us in, and what to do then.
fn not_let_in(error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "only root and the user that sqluice runs as may ask it: be one of them (`sudo`)"
        }
        io::ErrorKind::NotFound => "start `sqluice run`, or say by --config FILE or --socket PATH where its socket is",
        io::ErrorKind::ConnectionRefused => "the process that made it is gone: start `sqluice run`",
        _ => return error.to_string(),
    };
    format!("{error}: {advice}")
}

/// The lines for people of an answer that is not 2xx; another server's page is shown by its status only.
fn errors(status: StatusCode, body: &[u8]) -> Vec<String> {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => problem.errors,
        Err(_) => vec![format!("the answer was {status}")],
    }
}

/// `path?name=value&…` with what has a meaning in a query written as `%XX`.
pub fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
    format!("{path}?{}", pairs.join("&"))
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_not_let_in_hears_what_to_do() {
        let said = |kind: io::ErrorKind| not_let_in(&kind.into());
        let denied =
            "permission denied: only root and the user that sqluice runs as may ask it: be one of them (`sudo`)";
        assert_eq!(said(io::ErrorKind::PermissionDenied), denied);
        assert_eq!(said(io::ErrorKind::BrokenPipe), "broken pipe");
    }

    #[test]
    fn a_query_carries_any_text() {
        let path = with_query("/v1/explain", &[("user", "a&b=c"), ("sql", "SELECT '+é'")]);
        assert_eq!(path, "/v1/explain?user=a%26b%3Dc&sql=SELECT%20%27%2B%C3%A9%27");
    }
}
