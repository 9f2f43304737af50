//! Real drivers and clients, directly and through sqluice: what they print must be the same.

use std::net::SocketAddr;
use std::process::Command;

use mysql_async::prelude::Queryable;

use crate::compare::relay;
use crate::harness::{
    Engine, Finished, Flavour, Server, Start, client_cli, cluster, fresh_name, in_cache, node, on_both_engines, python,
    run, user,
};

const FLAVOURS: [Flavour; 2] = [Flavour::MariaDb10, Flavour::MySql97];

/// Runs a client against the server itself and through sqluice, each time with an empty database of the same name, and
/// compares what it printed.
fn same_output(flavours: &[Flavour], client: impl Fn(SocketAddr, &str) -> Finished) {
    for &flavour in flavours {
        let server = Server::shared(flavour);
        let database = fresh_name("driver");
        let attempt = |address: SocketAddr| {
            let mut admin = server.direct();
            admin.execute(&format!("CREATE DATABASE {database}"));
            let finished = client(address, &database);
            admin.execute(&format!("DROP DATABASE {database}"));
            finished.expect_success(&format!("with {flavour:?} at {address}"))
        };
        let direct = attempt(server.address);
        assert!(direct.lines().count() >= 2, "the client did its work: {direct}");
        on_both_engines(|engine: Engine| {
            let sqluice = relay(engine, server);
            let through = attempt(sqluice.address);
            for (direct, through) in direct.lines().zip(through.lines()) {
                assert_eq!(direct, through, "{flavour:?}");
            }
            assert_eq!(direct.lines().count(), through.lines().count());
        });
    }
}

fn python_driver(driver: &str) {
    same_output(&FLAVOURS, |address, database| {
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        python("drivers.py", &[driver, &host, &port, "app", "app", database])
    });
}

fn node_driver(driver: &str) {
    same_output(&FLAVOURS, |address, database| {
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        node("drivers.cjs", &[driver, &host, &port, "app", "app", database])
    });
}

#[test]
fn pymysql() {
    python_driver("pymysql");
}

#[test]
fn mysql_connector_python() {
    python_driver("connector");
}

#[test]
fn mysqlclient() {
    python_driver("mysqlclient");
}

#[test]
fn mariadb_for_python() {
    python_driver("mariadb");
}

#[test]
fn aiomysql() {
    python_driver("aiomysql");
}

#[test]
fn asyncmy() {
    python_driver("asyncmy");
}

#[test]
fn mysql2_for_node() {
    node_driver("mysql2");
}

#[test]
fn mariadb_for_node() {
    node_driver("mariadb");
}

/// What a person might type, with results of several shapes.
const TYPED: &str = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20)); INSERT INTO t VALUES (1, 'a'), (2, NULL); \
     SELECT * FROM t; SELECT CURRENT_USER(), DATABASE(), @@port; SHOW TABLES; UPDATE t SET v = 'b'; SELECT COUNT(*) FROM t; \
     SHOW CREATE TABLE t; USE test; SELECT DATABASE();";

fn command_line_client(client: Flavour, options: &[&str]) {
    same_output(&FLAVOURS, |address, database| {
        let (host, port) = (format!("--host={}", address.ip()), format!("--port={}", address.port()));
        let mut arguments = vec![host.as_str(), &port, "--user=app", "--password=app", "--table"];
        arguments.extend(options);
        arguments.extend(["-e", TYPED, database]);
        client_cli(client, &arguments)
    });
}

#[test]
fn the_mariadb_10_11_client() {
    command_line_client(Flavour::MariaDb10, &[]);
}

#[test]
fn the_mariadb_11_8_client() {
    command_line_client(Flavour::MariaDb11, &["--skip-ssl"]);
}

#[test]
fn the_mysql_9_7_client() {
    command_line_client(Flavour::MySql97, &["--ssl-mode=DISABLED", "--get-server-public-key"]);
}

#[test]
fn a_client_on_the_same_machine_can_use_a_unix_socket() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("mysql.sock");
        let listener = format!("[[listener]]\nname = \"local\"\naddress = \"unix:{}\"\n\n", path.display());
        let _sqluice = Start::new(engine, listener + &cluster(server) + &user("app", "app")).run_with_servers_up(1);
        let socket = format!("--socket={}", path.display());
        for client in [Flavour::MariaDb10, Flavour::MySql97] {
            let said =
                client_cli(client, &[&socket, "--user=app", "--password=app", "-e", "SELECT CURRENT_USER() AS who"]);
            let said = said.expect_success("the client on the UNIX socket");
            assert_eq!(said.lines().collect::<Vec<_>>(), ["who", "app@%"]);
        }
    });
}

#[test]
fn mysql_async_for_rust() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    same_output(&FLAVOURS, |address, database| {
        let result = runtime.block_on(with_mysql_async(address, database));
        match result {
            Ok(stdout) => Finished { success: true, stdout, stderr: String::new() },
            Err(error) => Finished { success: false, stdout: String::new(), stderr: error.to_string() },
        }
    });
}

async fn with_mysql_async(address: SocketAddr, database: &str) -> mysql_async::Result<String> {
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(address.ip().to_string())
        .tcp_port(address.port())
        .user(Some("app"))
        .pass(Some("app"))
        .db_name(Some(database))
        .prefer_socket(false);
    let mut connection = mysql_async::Conn::new(options).await?;
    connection.query_drop("CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(50))").await?;
    connection.exec_batch("INSERT INTO t (v) VALUES (?)", (0..30).map(|number| (format!("v{number}"),))).await?;
    let rows: Vec<(u32, String)> = connection.exec("SELECT id, v FROM t WHERE id > ? ORDER BY id", (25,)).await?;
    let mut transaction = connection.start_transaction(mysql_async::TxOpts::default()).await?;
    transaction.query_drop("DELETE FROM t").await?;
    transaction.rollback().await?;
    let count: Option<u32> = connection.query_first("SELECT COUNT(*) FROM t").await?;
    let failed = connection.query_drop("SELECT * FROM missing").await.is_err();
    connection.reset().await?;
    connection.ping().await?;
    connection.disconnect().await?;
    Ok(format!("{rows:?}\n{count:?}\n{failed}\n"))
}

#[test]
fn sysbench_runs_without_an_error() {
    for flavour in FLAVOURS {
        let server = Server::shared(flavour);
        on_both_engines(|engine| {
            let sqluice = relay(engine, server);
            let database = server.fresh_database();
            let sysbench = |verb: &str| {
                let mut command = Command::new("sysbench");
                command.args([
                    "oltp_read_write",
                    "--db-driver=mysql",
                    "--mysql-user=app",
                    "--mysql-password=app",
                    "--tables=2",
                ]);
                command.args([
                    "--table-size=500",
                    "--threads=4",
                    "--events=300",
                    "--time=0",
                    "--mysql-ignore-errors=1213,1205",
                ]);
                command
                    .arg(format!("--mysql-host={}", sqluice.address.ip()))
                    .arg(format!("--mysql-port={}", sqluice.address.port()));
                command.arg(format!("--mysql-db={database}")).arg(verb);
                run(&mut command).expect_success(&format!("sysbench {verb}"))
            };
            sysbench("prepare");
            let report = sysbench("run");
            assert!(report.contains("total number of events:              300"), "{report}");
            sysbench("cleanup");
        });
    }
}

/// The binary log, as a replica would get it: an endless stream that is no reply to a command.
#[test]
fn the_binary_log_can_be_read_through_sqluice() {
    on_both_engines(|engine| {
        let server = Server::start(Flavour::MariaDb10, &[]);
        let sqluice = relay(engine, &server);
        let mut client = sqluice.app();
        client.execute("CREATE TABLE test.logged (v LONGTEXT)");
        for number in 0..50 {
            client.execute(&format!("INSERT INTO test.logged VALUES (REPEAT('{number} ', 5000))"));
        }
        let log = |address: SocketAddr| {
            let mut command = Command::new("mariadb-binlog");
            command.args([
                "--no-defaults",
                "--read-from-remote-server",
                "--user=app",
                "--password=app",
                "--base64-output=never",
            ]);
            command
                .arg(format!("--host={}", address.ip()))
                .arg(format!("--port={}", address.port()))
                .arg("binlog.000001");
            run(&mut command).expect_success("mariadb-binlog")
        };
        let direct = log(server.address);
        assert!(direct.contains("test.logged") || direct.contains("`logged`"), "{direct:.2000}");
        assert_eq!(log(sqluice.address), direct);
    });
}

#[test]
fn the_mysql_binary_log_can_be_read_through_sqluice() {
    on_both_engines(|engine| {
        let server = Server::start(Flavour::MySql97, &[]);
        let sqluice = relay(engine, &server);
        sqluice.app().execute("CREATE TABLE test.logged (v LONGTEXT)");
        let root = in_cache("roots/mysql97");
        let libraries = root.join("usr/lib/x86_64-linux-gnu");
        let log = |address: SocketAddr| {
            let mut command = Command::new(root.join("lib64/ld-linux-x86-64.so.2"));
            command.arg("--library-path").arg(&libraries).arg(root.join("usr/bin/mysqlbinlog"));
            command.args([
                "--no-defaults",
                "--read-from-remote-server",
                "--user=app",
                "--password=app",
                "--ssl-mode=DISABLED",
            ]);
            command.args(["--get-server-public-key", "--skip-gtids"]);
            command
                .arg(format!("--host={}", address.ip()))
                .arg(format!("--port={}", address.port()))
                .arg("binlog.000001");
            run(&mut command).expect_success("mysqlbinlog")
        };
        let direct = log(server.address);
        assert!(direct.contains("logged"), "{direct:.2000}");
        assert_eq!(log(sqluice.address), direct);
    });
}
