//! The stand-in, driven over TCP as its users do it: by mysql_async, and by our own login.

use std::io::ErrorKind;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{ChangeUserOpts, Conn, Error, OptsBuilder, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Account, Fault, Options, StandIn};
use crate::protocol::auth::{Credential, Login, LoginStep, Secret};
use crate::protocol::capability::Capabilities;
use crate::protocol::handshake::{Greeting, HandshakeResponse, ServerHello};
use crate::protocol::packet::{HEADER_LENGTH, Header, write_packet};

fn accounts() -> Vec<Account> {
    vec![Account::native("app", "secret"), Account::caching_sha2("sha", "secret"), Account::native("open", "")]
}

fn maria_db() -> StandIn {
    StandIn::start(Options::maria_db(7, accounts())).expect("a stand-in")
}

fn mysql() -> StandIn {
    StandIn::start(Options::mysql(8, accounts())).expect("a stand-in")
}

/// A primary, and a replica with the same rows.
fn cluster() -> (StandIn, StandIn) {
    let primary = maria_db();
    let options = Options { server_id: 9, read_only: true, ..primary.options().clone() };
    (primary, StandIn::start(options).expect("a stand-in"))
}

fn options(server: &StandIn, user: &str, password: &str) -> OptsBuilder {
    let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(server.address().port());
    options.user(Some(user)).pass(Some(password)).prefer_socket(false)
}

async fn connect(server: &StandIn) -> Conn {
    Conn::new(options(server, "app", "secret")).await.expect("a login")
}

fn code(error: &Error) -> Option<u16> {
    match error {
        Error::Server(error) => Some(error.code),
        _ => None,
    }
}

async fn refused(connection: &mut Conn, statement: &str) -> (u16, String) {
    match connection.query_drop(statement).await {
        Err(Error::Server(error)) => (error.code, error.message),
        other => panic!("{statement}: {other:?}"),
    }
}

#[tokio::test]
async fn every_plugin_lets_the_right_password_in_and_no_other() {
    for server in [maria_db(), mysql()] {
        for (user, password) in [("app", "secret"), ("sha", "secret"), ("sha", "secret"), ("open", "")] {
            let login = Conn::new(options(&server, user, password)).await;
            let mut connection =
                login.unwrap_or_else(|error| panic!("{user} at {:?}: {error}", server.options().family));
            let current: Option<String> = connection.query_first("SELECT CURRENT_USER()").await.expect("a name");
            assert_eq!(current, Some(format!("{user}@%")));
        }
        for (user, password) in [("app", "wrong"), ("app", ""), ("sha", "wrong"), ("open", "x"), ("nobody", "secret")] {
            let refusal = Conn::new(options(&server, user, password)).await.expect_err("a wrong password");
            assert_eq!(code(&refusal), Some(1045), "{user}: {refusal}");
        }
    }
}

#[tokio::test]
async fn a_restart_asks_for_full_authentication_again() {
    let server = mysql();
    for expected in [true, false] {
        assert_eq!(full_authentication_was_asked(&server).await, expected);
    }
    server.fail();
    server.recover().expect("a listener");
    assert!(full_authentication_was_asked(&server).await);
}

/// Logs `sha` in with our own client; whether the password itself had to be sent.
async fn full_authentication_was_asked(server: &StandIn) -> bool {
    const MORE_DATA_FULL_AUTHENTICATION: &[u8] = &[0x01, 0x04];
    let mut client = RawClient::connect(server).await;
    let credential = Credential::of_password(Secret::new(*b"secret"));
    let (mut login, plugin, response) = Login::begin(&client.greeting, &credential);
    let capabilities = client.greeting.capabilities
        & (Capabilities::PROTOCOL_41 | Capabilities::PLUGIN_AUTH | Capabilities::SECURE_CONNECTION);
    let hello = HandshakeResponse {
        capabilities,
        max_packet: 1 << 24,
        collation: 45,
        user: b"sha".to_vec(),
        auth_response: response,
        database: None,
        plugin: Some(plugin.name().to_vec()),
        attributes: Vec::new(),
    };
    let mut payload = Vec::new();
    hello.encode(&mut payload);
    client.send(&payload).await;
    let mut was_asked = false;
    loop {
        let packet = client.receive().await;
        was_asked |= packet == MORE_DATA_FULL_AUTHENTICATION;
        match login.receive(&packet, &credential, capabilities) {
            LoginStep::Send(payload) => client.send(&payload).await,
            LoginStep::Wait => {}
            LoginStep::Accepted(_) => return was_asked,
            other => panic!("the login came to {other:?}"),
        }
    }
}

/// Packets by hand.
struct RawClient {
    stream: TcpStream,
    greeting: Greeting,
    sequence: u8,
}

impl RawClient {
    async fn connect(server: &StandIn) -> RawClient {
        let mut stream = TcpStream::connect(server.address()).await.expect("a connection");
        let (_, payload) = read_packet(&mut stream).await;
        let Ok(ServerHello::Greeting(greeting)) = Greeting::parse(&payload) else {
            panic!("no greeting: {payload:?}");
        };
        RawClient { stream, greeting, sequence: 1 }
    }

    async fn send(&mut self, payload: &[u8]) {
        let mut packet = Vec::new();
        write_packet(&mut packet, self.sequence, payload);
        self.stream.write_all(&packet).await.expect("a server that listens");
    }

    async fn receive(&mut self) -> Vec<u8> {
        let (sequence, payload) = read_packet(&mut self.stream).await;
        self.sequence = sequence.wrapping_add(1);
        payload
    }
}

async fn read_packet(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; HEADER_LENGTH];
    stream.read_exact(&mut head).await.expect("a packet");
    let header = Header::from_bytes(head);
    let mut payload = vec![0; header.payload_length as usize];
    stream.read_exact(&mut payload).await.expect("a whole packet");
    (header.sequence, payload)
}

#[tokio::test]
async fn health_checks_and_clients_get_the_variables_they_ask_for() {
    let server = maria_db();
    let mut connection = connect(&server).await;
    let statement = "SELECT @@server_id, @@hostname AS host, @@global.read_only, @@port, @@version, CONNECTION_ID()";
    let row: Row = connection.query_first(statement).await.expect("an answer").expect("a row");
    let names: Vec<_> = row.columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
    assert_eq!(names, ["@@server_id", "host", "@@global.read_only", "@@port", "@@version", "CONNECTION_ID()"]);
    let expected = (
        7_u32,
        "standin7".to_owned(),
        0_u8,
        server.address().port(),
        "10.11.0-MariaDB-standin".to_owned(),
        connection.id(),
    );
    assert_eq!(mysql_async::from_row::<(u32, String, u8, u16, String, u32)>(row), expected);
    let shown: Option<(String, String)> =
        connection.query_first("SHOW VARIABLES LIKE 'read_only'").await.expect("a row");
    assert_eq!(shown, Some(("read_only".into(), "OFF".into())));
    assert_eq!(refused(&mut connection, "SELECT @@super_read_only").await.0, 1193);
    assert_eq!(refused(&mut connect(&mysql()).await, "SELECT @@nonsense").await.0, 1193);
    let both: Option<(u8, u8)> =
        connect(&mysql()).await.query_first("SELECT @@read_only, @@super_read_only").await.expect("a row");
    assert_eq!(both, Some((0, 0)));
}

#[tokio::test]
async fn a_write_to_the_primary_is_on_the_replica_and_a_replica_refuses_writes() {
    let (primary, replica) = cluster();
    let (mut writer, mut reader) = (connect(&primary).await, connect(&replica).await);
    writer.query_drop("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, note VARCHAR(20))").await.expect("a table");
    writer.query_drop("INSERT INTO t (note) VALUES ('one'), (NULL)").await.expect("two rows");
    assert_eq!((writer.affected_rows(), writer.last_insert_id()), (2, Some(1)));
    let rows: Vec<(i64, Option<String>)> = reader.query("SELECT * FROM t").await.expect("rows");
    assert_eq!(rows, [(1, Some("one".into())), (2, None)]);
    let (code, message) = refused(&mut reader, "INSERT INTO t (note) VALUES ('two')").await;
    let expected = "The MariaDB server is running with the --read-only option so it cannot execute this statement";
    assert_eq!((code, message.as_str()), (1290, expected));
    replica.set_read_only(false);
    reader.query_drop("DELETE FROM t WHERE id = 2").await.expect("a writable server");
    let counted: Option<u64> = writer.query_first("SELECT COUNT(*) FROM t").await.expect("a count");
    assert_eq!((counted, primary.store().row_count("t")), (Some(1), Some(1)));
}

#[tokio::test]
async fn a_transaction_is_seen_by_others_when_it_commits_and_its_flag_is_on_until_then() {
    let server = maria_db();
    let (mut one, mut other) = (connect(&server).await, connect(&server).await);
    one.query_drop("CREATE TABLE t (id INT)").await.expect("a table");
    one.query_drop("BEGIN").await.expect("a transaction");
    one.query_drop("INSERT INTO t VALUES (1)").await.expect("a row");
    let counts = "SELECT COUNT(*) FROM t";
    let (own, others): (Option<u8>, Option<u8>) =
        (one.query_first(counts).await.unwrap(), other.query_first(counts).await.unwrap());
    assert_eq!((own, others), (Some(1), Some(0)));
    one.query_drop("ROLLBACK").await.expect("an end");
    assert_eq!(server.store().row_count("t"), Some(0));
    one.query_drop("BEGIN; INSERT INTO t VALUES (2); COMMIT").await.expect("three statements at once");
    assert_eq!(server.store().row_count("t"), Some(1));
    one.query_drop("START TRANSACTION; INSERT INTO t VALUES (3)").await.expect("a row");
    server.set_read_only(true);
    assert_eq!(refused(&mut one, "COMMIT").await.0, 1290);
    assert_eq!(server.store().row_count("t"), Some(1));
}

/// The status flags of the OK that a statement is answered with.
async fn status_after(client: &mut RawClient, statement: &str) -> u16 {
    client.sequence = 0;
    client.send(&[b"\x03", statement.as_bytes()].concat()).await;
    let packet = client.receive().await;
    assert_eq!(packet[..3], [0, 0, 0], "{statement} is answered with OK");
    u16::from_le_bytes([packet[3], packet[4]])
}

#[tokio::test]
async fn the_status_flags_tell_of_transactions_and_autocommit() {
    let server = maria_db();
    let mut client = RawClient::connect(&server).await;
    // `open` has no password: an empty response is the whole proof.
    client.send(b"\x00\x82\x08\x00\x00\x00\x00\x01\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0open\0\0mysql_native_password\0").await;
    assert_eq!(client.receive().await[0], 0, "the login's OK");
    let table = "CREATE TABLE t (id INT)";
    let story = [
        (table, 2),
        ("BEGIN", 3),
        ("SET @x = 1", 3),
        ("COMMIT", 2),
        ("SET autocommit = 0", 0),
        ("DELETE FROM t", 1),
        ("ROLLBACK", 0),
    ];
    for (statement, expected) in story {
        assert_eq!(status_after(&mut client, statement).await, expected, "after {statement}");
    }
}

#[tokio::test]
async fn prepared_statements_take_parameters_and_give_binary_rows() {
    let server = maria_db();
    let mut connection = connect(&server).await;
    connection.query_drop("CREATE TABLE t (id INT AUTO_INCREMENT, note VARCHAR(20))").await.expect("a table");
    connection.exec_drop("INSERT INTO t (note) VALUES (?)", ("it's",)).await.expect("a row");
    connection.exec_drop("INSERT INTO t (note) VALUES (?)", (None::<String>,)).await.expect("a row");
    let rows: Vec<(i64, Option<String>)> = connection.exec("SELECT * FROM t", ()).await.expect("rows");
    assert_eq!(rows, [(1, Some("it's".into())), (2, None)]);
    let row: Option<(i64, String, Option<u8>)> =
        connection.exec_first("SELECT ?, @@hostname, ? FROM t WHERE id = ?", (-5, None::<u8>, 2)).await.expect("a row");
    assert_eq!(row, Some((-5, "standin7".into(), None)));
    let refusal = connection.exec_drop("FLY ?", (1,)).await.expect_err("no such statement");
    assert_eq!(code(&refusal), Some(1064));
}

#[tokio::test]
async fn the_session_commands_do_what_they_are_for() {
    let server = maria_db();
    let mut connection = connect(&server).await;
    connection.ping().await.expect("a pong");
    connection.query_drop("SET @x = 5, wait_timeout = 10").await.expect("variables");
    connection.query_drop("USE test").await.expect("a database");
    let statement = "SELECT @x, @@wait_timeout, DATABASE()";
    let set: Option<(Option<i64>, i64, Option<String>)> = connection.query_first(statement).await.expect("a row");
    assert_eq!(set, Some((Some(5), 10, Some("test".into()))));
    assert!(connection.reset().await.expect("COM_RESET_CONNECTION is known"));
    let reset: Option<(Option<i64>, i64, Option<String>)> = connection.query_first(statement).await.expect("a row");
    assert_eq!(reset, Some((None, 28_800, Some("test".into()))));
    let change = ChangeUserOpts::default().with_user(Some("sha".into())).with_pass(Some("secret".into()));
    connection.change_user(change).await.expect("the other user's password");
    let user: Option<String> = connection.query_first("SELECT CURRENT_USER()").await.expect("a name");
    assert_eq!(user.as_deref(), Some("sha@%"));
    assert_eq!(refused(&mut connection, "USE nowhere").await.0, 1049);
    assert_eq!(refused(&mut connection, "SELECT 1 FROM nowhere").await.0, 1146);
    let (code, message) = refused(&mut connection, "GRANT ALL ON x TO y").await;
    assert_eq!(code, 1064);
    assert!(message.ends_with("'GRANT ALL ON x TO y'"), "{message}");
}

#[tokio::test]
async fn an_unknown_command_gets_1047_and_the_connection_goes_on() {
    const UNKNOWN: &[u8] = &[0xE0];
    const PING: &[u8] = &[0x0E];
    const STATISTICS: &[u8] = &[0x09];
    let server = maria_db();
    let mut client = RawClient::connect(&server).await;
    client.send(b"\x00\x82\x08\x00\x00\x00\x00\x01\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0open\0\0mysql_native_password\0").await;
    client.receive().await;
    for (command, expected) in [(UNKNOWN, &b"\xFF\x17\x04#08S01Unknown command"[..]), (PING, &b"\0\0\0\x02\0\0\0"[..])]
    {
        client.sequence = 0;
        client.send(command).await;
        assert_eq!(client.receive().await, expected);
    }
    client.sequence = 0;
    client.send(STATISTICS).await;
    assert!(client.receive().await.starts_with(b"Uptime: "));
    // Sequence ids begin at 0 with each command.
    client.sequence = 5;
    client.send(PING).await;
    assert_eq!(client.receive().await[..3], [0xFF, 0x84, 0x04], "1156, packets out of order");
}

#[tokio::test]
async fn kill_ends_a_connection_or_only_its_statement() {
    let server = maria_db();
    let (mut victim, mut killer) = (connect(&server).await, connect(&server).await);
    let id = victim.id();
    let sleep = tokio::spawn(async move {
        let slept = victim.query_drop("SELECT SLEEP(600)").await;
        (victim, slept)
    });
    // KILL QUERY reaches a statement that runs, so it is tried until it does.
    while !sleep.is_finished() {
        killer.query_drop(format!("KILL QUERY {id}")).await.expect("a known connection");
    }
    let (mut victim, slept) = sleep.await.expect("no panic");
    assert_eq!(code(&slept.expect_err("an interrupted sleep")), Some(1317));
    victim.ping().await.expect("the connection goes on");
    killer.query_drop(format!("KILL {id}")).await.expect("a known connection");
    assert!(victim.ping().await.is_err());
    assert_eq!(refused(&mut killer, "KILL 4000000000").await.0, 1094);
    assert_eq!(refused(&mut killer, "KILL CONNECTION_ID()").await.0, 1317);
    assert!(killer.ping().await.is_err());
}

#[tokio::test]
async fn a_failed_server_refuses_connections_and_comes_back_on_its_port_with_its_rows() {
    let server = maria_db();
    let mut connection = connect(&server).await;
    connection.query_drop("CREATE TABLE t (id INT)").await.expect("a table");
    connection.query_drop("BEGIN; INSERT INTO t VALUES (1)").await.expect("an open transaction");
    server.fail();
    assert_eq!(server.session_count(), 0);
    assert!(connection.ping().await.is_err());
    let refused = TcpStream::connect(server.address()).await.expect_err("no listener");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    server.recover().expect("a listener");
    let mut connection = connect(&server).await;
    assert_eq!(connection.query_first("SELECT COUNT(*) FROM t").await.expect("a count"), Some(0));
}

#[tokio::test]
async fn a_hung_server_accepts_and_says_nothing_until_it_recovers() {
    let server = maria_db();
    let mut connection = connect(&server).await;
    server.hang();
    let mut stream = TcpStream::connect(server.address()).await.expect("an accepted connection");
    let query = tokio::spawn(async move { connection.query_first::<u8, _>("SELECT 1").await });
    // Both are at the server, which would answer at once.
    while server.connection_count() < 2 || server.statement_count() < 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(stream.try_read(&mut [0; 1]).expect_err("silence").kind(), ErrorKind::WouldBlock);
    assert!(!query.is_finished());
    server.recover().expect("still listening");
    assert_eq!(query.await.expect("no panic").expect("an answer, late"), Some(1));
    assert_eq!(read_packet(&mut stream).await.1[0], 0x0A, "the greeting, late");
}

#[tokio::test]
async fn a_fault_strikes_the_statement_it_is_armed_for_and_no_other() {
    let server = maria_db();
    server.arm("needle", Fault::CloseAfterCommand);
    let mut connection = connect(&server).await;
    connection.query_drop("CREATE TABLE t (note VARCHAR(20))").await.expect("no needle in it");
    connection.query_drop("INSERT INTO t VALUES ('needle')").await.expect_err("a closed connection");
    assert_eq!(server.store().row_count("t"), Some(1), "carried out, and not answered");
    server.arm("needle", Fault::CloseBeforeCommand);
    connect(&server).await.query_drop("INSERT INTO t VALUES ('needle')").await.expect_err("a closed connection");
    assert_eq!(server.store().row_count("t"), Some(1), "not carried out");
    connect(&server).await.query_drop("INSERT INTO t VALUES ('needle')").await.expect("a fault strikes once");
}

#[tokio::test]
async fn a_result_can_break_in_the_middle() {
    let server = maria_db();
    let statement = "SELECT seq FROM seq_1_to_1000";
    for fault in [Fault::CloseAfterRows(10), Fault::CloseInsideRow(10)] {
        server.arm("seq_1_to", fault);
        let mut connection = connect(&server).await;
        let mut result = connection.query_iter(statement).await.expect("the columns came");
        for expected in 1..=10_u64 {
            let row = result.next().await.expect("a whole row").expect("a row");
            assert_eq!(mysql_async::from_row::<u64>(row), expected);
        }
        assert_eq!(code(&result.next().await.expect_err("a broken connection")), None, "{fault:?}");
    }
    server.arm("seq_1_to", Fault::ErrorAfterRows(10));
    let mut connection = connect(&server).await;
    let refusal = connection.query::<u64, _>(statement).await.expect_err("an ERR packet");
    assert_eq!(code(&refusal), Some(1105));
    server.arm("seq_1_to", Fault::SlowRows(Duration::from_millis(1)));
    let rows: Vec<u64> = connection.query("SELECT seq FROM seq_1_to_5").await.expect("the connection goes on");
    assert_eq!(rows, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_row_may_be_longer_than_a_packet() {
    let server = maria_db();
    let mut connection = connect(&server).await;
    for length in [0xFF_FFFF - 5, 0xFF_FFFF - 4, 0xFF_FFFF - 3, 20_000_000] {
        let row: Option<String> = connection.query_first(format!("SELECT REPEAT('x', {length})")).await.expect("a row");
        assert_eq!(row.map(|text| text.len()), Some(length));
    }
}

#[tokio::test]
async fn no_statement_makes_more_text_than_the_bound() {
    let server = maria_db();
    let patient = options(&server, "app", "secret").max_allowed_packet(Some(1 << 30));
    let mut connection = Conn::new(patient).await.expect("a login");
    let statement =
        "SELECT REPEAT('x', 33554432), REPEAT('y', 33554432), REPEAT('z', 1), REPEAT('x', 9223372036854775807)";
    let row: Row = connection.query_first(statement).await.expect("an answer").expect("a row");
    let lengths = (0..4).map(|column| row.get::<Option<Vec<u8>>, _>(column).flatten().map(|text| text.len()));
    assert_eq!(lengths.collect::<Vec<_>>(), [Some(33_554_432), Some(33_554_432), None, None]);
}

#[tokio::test]
async fn one_connection_too_many_is_refused_in_place_of_the_greeting() {
    let server =
        StandIn::start(Options { max_connections: 1, ..Options::maria_db(1, accounts()) }).expect("a stand-in");
    let first = connect(&server).await;
    let refusal = Conn::new(options(&server, "app", "secret")).await.expect_err("no room");
    assert_eq!(code(&refusal), Some(1040));
    drop(first);
    // The place is given back when the server has seen the end of the connection.
    while server.session_count() > 0 {
        tokio::task::yield_now().await;
    }
    connect(&server).await;
}
