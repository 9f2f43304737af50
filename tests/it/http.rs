//! The address of `[admin] http`: what browsers and Prometheus get there.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::harness::{Flavour, Server, Sqluice, Start, cluster, on_both_engines, user};

/// Where the status page is.
fn page_address(sqluice: &Sqluice) -> SocketAddr {
    let status = sqluice.status();
    let address = status["process"]["http"].as_str().unwrap_or_else(|| panic!("no http in {status:#}"));
    address.parse().expect("an address")
}

/// Status line and headers, then the body.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("the status page listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head ends");
    (head.to_owned(), body.to_owned())
}

/// The value of the one sample with that name and these labels.
fn sample(address: SocketAddr, series: &str) -> Option<f64> {
    let (head, page) = get(address, "/metrics");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/openmetrics-text"), "{head}");
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap_or_else(|_| panic!("{series} is {line}")))
}

#[test]
fn metrics_count_each_reply_by_pool_and_server() {
    const SERVER: &str = "cluster=\"main\",pool=\"main\",server=\"s1\"";
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let body = cluster(server) + &user("app", "app");
        let sqluice = Start::new(engine, body).admin("http = \"127.0.0.1:0\"").run_with_servers_up(1);
        let address = page_address(&sqluice);
        let value = |series: &str| sample(address, series).unwrap_or_else(|| panic!("no {series}"));
        let count = format!("sqluice_reply_seconds_count{{{SERVER}}}");
        assert_eq!(sample(address, &count), None, "nobody was here");
        let mut client = sqluice.app();
        for _ in 0..25 {
            client.execute("SELECT 1");
        }
        client.query("SELECT no such thing").failed();
        client.execute("SELECT SLEEP(0.2)");
        assert_eq!(value(&count), 27.0);
        let fast = value(&format!("sqluice_reply_seconds_bucket{{le=\"0.131072\",{SERVER}}}"));
        assert!(fast <= 26.0, "one took 200 ms at least, and only {} were slower than 131 ms", 27.0 - fast);
        assert!(value(&format!("sqluice_reply_seconds_sum{{{SERVER}}}")) >= 0.2);
        let replies = sqluice.status()["clusters"][0]["servers"][0]["replies"].clone();
        assert_eq!(replies["count"], 27, "{replies:#}");
        assert!(replies["p99_seconds"].as_f64().is_some_and(|seconds| seconds >= 0.2), "{replies:#}");
        assert_eq!(value("sqluice_server_connections{cluster=\"main\",server=\"s1\"}"), 1.0);
        client.quit();
        sqluice.await_no_sessions();
        assert_eq!(value("sqluice_sessions_ended_total{reason=\"quit\"}"), 1.0);
        assert!(value("sqluice_received_bytes_total{from=\"clients\"}") > 25.0 * 13.0);
    });
}
