//! The address of `[admin] http`: what browsers and Prometheus get there.

mod described;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::harness::{
    Browser, Client, Engine, Flavour, Scheme, Server, Sqluice, Start, cluster, on_both_engines, user,
};

/// Where the status page is.
fn page_address(sqluice: &Sqluice) -> SocketAddr {
    let status = sqluice.status();
    let address = status["process"]["http"].as_str().unwrap_or_else(|| panic!("no http in {status:#}"));
    address.parse().expect("an address")
}

/// Status line and headers, then the body.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    get_as(address, path, "*/*")
}

fn get_as(address: SocketAddr, path: &str, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("the status page listens");
    let headers = format!("Host: {address}\r\nAccept: {accept}\r\nConnection: close");
    write!(stream, "GET {path} HTTP/1.1\r\n{headers}\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head ends");
    (head.to_owned(), body.to_owned())
}

/// The value of the one sample with that name and these labels.
fn sample(address: SocketAddr, series: &str) -> Option<f64> {
    let (head, page) = get_as(address, "/metrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.3");
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

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let server = Server::shared(Flavour::MariaDb10);
    let body = cluster(server) + &user("app", "app");
    let sqluice = Start::new(Engine::Epoll, body).admin("http = \"127.0.0.1:0\"").run_with_servers_up(1);
    sqluice.app().execute("SELECT 1");
    let (head, page) = get(page_address(&sqluice), "/metrics");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    let promtool =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut promtool = promtool.expect("promtool is installed");
    promtool.stdin.take().expect("it is a pipe").write_all(page.as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}{page}");
}

/// What is true of any page that shows the state: it is live, and as wide as its window.
const LIVE: &str = "document.querySelector('#freshness').textContent === 'live' \
                    && document.documentElement.scrollWidth <= innerWidth";

/// The least contrast between a text and what is behind it, by the formula of WCAG 2: 4.5 is wanted of small text.
const CONTRAST: &str = r"(() => {
    const light = (colour) => colour.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255)
        .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
        .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
    const ground = (node) => (node === null ? 'rgb(255,255,255)'
        : /, 0\)$/.test(getComputedStyle(node).backgroundColor) ? ground(node.parentElement) : getComputedStyle(node).backgroundColor);
    const texts = [...document.querySelectorAll('main *, header *')].filter((node) => node.textContent.trim());
    const ratios = texts.map((node) => [light(getComputedStyle(node).color), light(ground(node))])
        .map(([text, behind]) => (Math.max(text, behind) + 0.05) / (Math.min(text, behind) + 0.05));
    return Math.min(...ratios);
})()";

/// Pictures of a test, for whoever wants to look at them; the test does not.
fn picture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("status-page");
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    folder.join(name)
}

/// The text of the drains in progress.
const DRAINS: &str = "document.querySelector('#drains').textContent";

/// A server with two clients is drained; one of them goes, and then the one that is in a transaction.
fn watch_a_drain(browser: &mut Browser, sqluice: &Sqluice, url: &str, clients: [Client; 2]) {
    let [bound, free] = clients;
    thread::scope(|scope| {
        let drained = scope.spawn(|| sqluice.command(&["drain", "s1", "--budget", "10m"]));
        browser.until(&format!("{DRAINS}.includes('main/s1: 0 of 2 connections gone after ')"));
        free.quit();
        browser.until(&format!("{DRAINS}.includes('main/s1: 1 of 2 connections gone after ')"));
        assert_eq!(browser.until("document.querySelector('#drains progress').position || null"), 0.5);
        check_contrast(browser);
        browser.screenshot(&picture("draining-light.png"));

        browser.open(url, (375, 800), Scheme::Dark);
        browser.until(LIVE);
        // Who comes later sees it from its beginning all the same.
        browser.until(&format!("{DRAINS}.includes('main/s1: 1 of 2 connections gone after ')"));
        check_contrast(browser);
        browser.screenshot(&picture("draining-dark-phone.png"));
        bound.quit();
        browser.until(&format!("{DRAINS}.includes('main/s1: 2 of 2 connections gone after ')"));
        let told = drained.join().expect("the command ends").expect_success("sqluice drain");
        assert!(told.contains("nobody is at s1 any more"), "{told}");
    });
    sqluice.command(&["enable", "s1"]).expect_success("sqluice enable");
    browser.until(&format!("{DRAINS} === ''"));
    browser.open(url, (1280, 900), Scheme::Light);
    browser.until(LIVE);
}

#[track_caller]
fn check_contrast(browser: &mut Browser) {
    let contrast = browser.until(CONTRAST);
    assert!(contrast.as_f64().is_some_and(|ratio| ratio >= 4.5), "{contrast}");
}

#[test]
fn a_browser_shows_servers_sessions_and_a_failure_without_being_loaded_again() {
    let server = Server::shared(Flavour::MariaDb10);
    let body = |lines: &str| cluster(server) + lines + &user("app", "app");
    let sqluice = Start::new(Engine::IoUring, body("")).admin("http = \"127.0.0.1:0\"").run_with_servers_up(1);
    let url = format!("http://{}/#sessions", page_address(&sqluice));
    let mut clients = [sqluice.app(), sqluice.app()];
    clients[0].execute("BEGIN");

    let mut browser = Browser::start();
    browser.open(&url, (1280, 900), Scheme::Light);
    browser.until(LIVE);
    browser.until("/s1.*primary.*● up.*2/.test(document.querySelector('#clusters tbody tr').textContent)");
    browser.until("document.querySelectorAll('#session-rows tbody tr').length === 2");
    browser.until("/2 sessions, 1 with a reason/.test(document.querySelector('#session-rows caption').textContent)");
    browser.until("document.querySelector('#session-rows').textContent.includes('transaction')");
    assert_eq!(browser.until("document.querySelector('#alarms').textContent === '' && document.title"), "sqluice");
    check_contrast(&mut browser);
    browser.screenshot(&picture("healthy-light.png"));

    watch_a_drain(&mut browser, &sqluice, &url, clients);

    // Nobody listens on port 1. The same page shows it, and says so to who cannot see colours.
    sqluice
        .write_config(&body("[[cluster.main.server]]\nname = \"s2\"\naddress = \"127.0.0.1:1\"\nrole = \"replica\"\n"));
    sqluice.command(&["reload"]).expect_success("reload");
    browser.until("document.querySelector('#alarms').textContent.includes('main: s2 is down')");
    browser.until("/s2.*✕ down/.test(document.querySelector('#clusters').textContent)");
    assert_eq!(browser.until("document.title"), "✕ 1 not up – sqluice");

    browser.open(&url, (375, 800), Scheme::Dark);
    browser.until(LIVE);
    browser.until("document.querySelector('#alarms').textContent.includes('main: s2 is down')");
    check_contrast(&mut browser);
    browser.screenshot(&picture("failed-dark-phone.png"));

    let (requests, complaints) = browser.requests_and_complaints();
    assert_eq!(complaints, serde_json::json!([]));
    let origin = format!("http://{}/", page_address(&sqluice));
    for request in requests.as_array().expect("a list") {
        let address = request.as_str().expect("an address");
        assert!(address.starts_with(&origin) || address == "data:,", "{address} is asked for");
    }
    drop(sqluice);
    browser.until("document.querySelector('#freshness').textContent.startsWith('no answer')");
}
