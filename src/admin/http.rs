//! The status page, the metrics and the API's questions over TCP, for browsers and scrapers: nothing here changes anything.
//!
//! Anyone who reaches the address may read. A web page of somebody else, shown by a browser that does, may not: other
//! origins get no answer they could read, and a name of theirs that leads to this address is no name of ours
//! (`is_ours`). Connections are few, end after a while, and those that say nothing end soon.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::api::{self, Question};
use super::shapes::Problem;

/// Connections at once; further ones wait in the socket's queue.
const CONNECTIONS_MAX: usize = 64;
/// A connection without a whole request for so long is closed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection is closed after so long, when its request is over; whoever still watches makes another.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// What a request that is under way then may still take.
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause after an accept that failed, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The name, beside its IP addresses and `localhost`, by which the address may be asked for; it may change at any time.
pub type HostName = Arc<ArcSwapOption<String>>;

/// Serves on a listening socket until the future is dropped. Needs a tokio runtime with I/O.
pub async fn serve(
    listener: std::net::TcpListener,
    questions: mpsc::Sender<Question>,
    name: HostName,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let router = router(questions, name);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The connections end with this future.
    let mut connections = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("nobody closes the semaphore");
        match listener.accept().await {
            Ok((stream, _)) => {
                let router = router.clone();
                connections.spawn(async move {
                    connection(stream, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("the status page cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// One connection to its end. What goes wrong on it concerns the other end alone.
async fn connection(stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(router);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(served);
    if timeout(CONNECTION_TIMEOUT, served.as_mut()).await.is_err() {
        served.as_mut().graceful_shutdown();
        let _ = timeout(LAST_REQUEST_TIMEOUT, served).await;
    }
}

fn router(questions: mpsc::Sender<Question>, name: HostName) -> Router {
    api::questions_only(questions)
        .layer(middleware::from_fn_with_state(name, guarded))
        .layer(middleware::map_response(with_safe_headers))
}

/// Lets through what only asks, by a name of ours.
async fn guarded(State(name): State<HostName>, request: Request, next: Next) -> Response {
    let refusal = if !is_ours(request.headers(), name.load().as_deref().map(String::as_str)) {
        "this address is asked for by its IP address, localhost, or the name in `[admin] http_host`"
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        "over TCP nothing is changed: use the commands of sqluice on its host, or its UNIX socket"
    } else {
        return next.run(request).await;
    };
    (StatusCode::FORBIDDEN, Json(Problem { errors: vec![refusal.to_owned()] })).into_response()
}

/// A page of somebody else's can have its own name lead here, but cannot make a browser say another name than that. Who
/// says none is no browser.
fn is_ours(headers: &HeaderMap, own: Option<&str>) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = without_port(host);
    let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    is_address || name.eq_ignore_ascii_case("localhost") || own.is_some_and(|own| name.eq_ignore_ascii_case(own))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

/// Nothing is kept, guessed at, framed, or shown to other origins.
async fn with_safe_headers(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::admin::shapes::Phase;

    /// What a server without an owner of its questions answers to the bytes of one request.
    async fn answer(name: Option<&str>, request: &str) -> String {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (questions, mut asked) = mpsc::channel(1);
        let served =
            tokio::spawn(serve(listener, questions, Arc::new(ArcSwapOption::from_pointee(name.map(str::to_owned)))));
        let owner = tokio::spawn(async move {
            while let Some(Question::Health(answer)) = asked.recv().await {
                answer.send(Phase::Serving).expect("the handler waits");
            }
        });
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers and closes");
        served.abort();
        owner.abort();
        answer
    }

    async fn status_of(name: Option<&str>, method: &str, host: &str) -> String {
        let request = format!("{method} /v1/health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        answer(name, &request).await.split(' ').nth(1).expect("a status").to_owned()
    }

    #[tokio::test]
    async fn only_names_of_ours_are_answered() {
        for host in
            ["127.0.0.1:9104", "[::1]:9104", "[::1]", "localhost", "LocalHost:9104", "10.0.0.1", "lb1.example.com"]
        {
            assert_eq!(status_of(Some("lb1.example.com"), "GET", host).await, "200", "{host}");
        }
        for host in
            ["evil.example", "evil.example:9104", "localhost.evil.example", "127.0.0.1.evil.example", "lb1.example.com"]
        {
            assert_eq!(status_of(None, "GET", host).await, "403", "{host}");
        }
        let without = answer(None, "GET /v1/health HTTP/1.0\r\n\r\n").await;
        assert!(without.starts_with("HTTP/1.0 200"), "{without}");
    }

    #[tokio::test]
    async fn nothing_can_be_changed() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            assert_eq!(status_of(None, method, "localhost").await, "403", "{method}");
        }
        let reload = "POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        assert!(answer(None, reload).await.contains("over TCP nothing is changed"));
        let asked = "GET /v1/reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        assert!(answer(None, asked).await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn the_page_comes_with_a_policy_that_lets_nothing_else_in() {
        let page = answer(None, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
        let (head, body) = page.split_once("\r\n\r\n").expect("a head");
        for header in [
            "content-security-policy: default-src 'none'",
            "cache-control: no-store",
            "x-content-type-options: nosniff",
        ] {
            assert!(head.contains(header), "{head}");
        }
        assert!(body.starts_with("<!doctype html>"), "{body}");
    }
}
