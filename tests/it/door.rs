//! Who is let in, and whose address counts: clients on another host, headers of the PROXY protocol on both sides, limits
//! by address, and what is left of passwords.

mod distant;
mod limits;
mod proxy;
mod secrets;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::harness::{Account, Client, ServerError, Sqluice, WAIT_MAX, eventually};

/// A connection to `to` from another address of this machine, which says `first`.
fn connect_from(from: [u8; 4], to: SocketAddr, first: &[u8]) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::from(from), 0)).into()).expect("all of 127.0.0.0/8 is this machine's");
    socket.connect(&to.into()).expect("the listener accepts");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(WAIT_MAX)).expect("a socket takes a timeout");
    stream.write_all(first).expect("a new socket has room");
    stream
}

/// A login over a connection of [`connect_from`].
fn login_from(from: [u8; 4], sqluice: &Sqluice, first: &[u8], account: &Account<'_>) -> Result<Client, ServerError> {
    let mut client = Client::over(connect_from(from, sqluice.address, first))?;
    client.authenticate(account)?;
    Ok(client)
}

/// Until the other end closes; what it said before.
fn read_to_close(mut stream: TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut said);
    said
}

/// How many clients were turned away for a reason, or sessions ended for it.
fn counted(sqluice: &Sqluice, series: &str) -> u64 {
    let status = sqluice.status();
    let address: SocketAddr = status["process"]["http"].as_str().and_then(|it| it.parse().ok()).expect("a status page");
    let mut stream = TcpStream::connect(address).expect("the status page listens");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("it answers");
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series} in {page}"))
}

fn turned_away(sqluice: &Sqluice, reason: &str) -> u64 {
    counted(sqluice, &format!("sqluice_clients_turned_away_total{{reason=\"{reason}\"}}"))
}

fn await_line(sqluice: &Sqluice, parts: &[&str]) {
    eventually(&format!("the log has a line with {parts:?}"), || {
        sqluice.log().lines().any(|line| parts.iter().all(|part| line.contains(part))).then_some(())
    });
}

/// The addresses of the sessions.
fn addresses(sqluice: &Sqluice) -> Vec<IpAddr> {
    let rows = sqluice.sessions();
    let parse = |row: &serde_json::Value| row["address"].as_str().and_then(|it| it.parse::<SocketAddr>().ok());
    rows.iter().filter_map(parse).map(|address| address.ip()).collect()
}
