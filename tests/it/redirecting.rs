//! The balancer's own maintenance: clients that are sent to another one at their login, and sessions that follow them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::harness::{
    Account, Client, Engine, Finished, Flavour, Reply, Server, ServerError, Sqluice, Start, client_cli, cluster,
    cluster_on, eventually, node, on_both_engines, php, python, user,
};

const WORDS: &str = "|This load balancer is in maintenance, please connect to|lb2.example.com:3307";

/// A balancer before one server, with a target in its configuration.
fn balancer(engine: Engine, server: &Server, listeners: &str) -> Sqluice {
    let body = format!("{listeners}{}{}{}", settings("off"), cluster(server), user("app", "app"));
    Start::new(engine, body).run_with_servers_up(1)
}

fn settings(mode: &str) -> String {
    format!("[instant_failover]\nmode = \"{mode}\"\ntarget = \"lb2.example.com:3307\"\n\n")
}

pub(crate) fn failover(sqluice: &Sqluice, arguments: &[&str]) -> String {
    sqluice.command(&[&["failover"], arguments].concat()).expect_success("sqluice failover")
}

/// How a login at that address is refused.
#[track_caller]
pub(crate) fn refusal(address: SocketAddr) -> ServerError {
    match Client::login(address, &Account::new("app", "app")) {
        Ok(_) => panic!("app is let in at {address}"),
        Err(error) => error,
    }
}

/// The bound address of a listener.
fn listener(sqluice: &Sqluice, name: &str) -> SocketAddr {
    let status = sqluice.status();
    let listeners = status["listeners"].as_array().expect("a list");
    let row = listeners.iter().find(|row| row["name"] == name).expect("it is open");
    row["address"].as_str().and_then(|address| address.parse().ok()).expect("an address and a port")
}

#[test]
fn new_clients_are_sent_elsewhere_and_administrators_are_not() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("mysql.sock");
        let listeners = format!(
            "[[listener]]\nname = \"extra\"\naddress = \"127.0.0.1:0\"\nextra = true\n\n\
             [[listener]]\nname = \"local\"\naddress = \"unix:{}\"\n\n",
            path.display()
        );
        let sqluice = balancer(engine, server, &listeners);
        let extra = listener(&sqluice, "extra");
        let over_socket = || {
            let socket = format!("--socket={}", path.display());
            client_cli(Flavour::MariaDb10, &[&socket, "--user=app", "--password=app", "-e", "SELECT 1"]).success
        };
        let mut session = sqluice.app();

        let said = failover(&sqluice, &["on"]);
        assert!(said.starts_with("instant failover on: new clients are sent to lb2.example.com:3307"), "{said}");
        let error = refusal(sqluice.address);
        assert_eq!((error.code, error.state.as_str(), error.message.as_str()), (4196, "08004", WORDS));
        Client::login(extra, &Account::new("app", "app")).expect("an administrator is let in").quit();
        assert!(over_socket());
        assert_eq!(session.value("SELECT 1"), "1", "sessions stay");

        failover(&sqluice, &["all", "--target", "lb3:1"]);
        for address in [sqluice.address, extra] {
            assert!(refusal(address).message.ends_with("|lb3:1"));
        }
        assert!(!over_socket());
        let status = sqluice.status();
        let now = &status["instant_failover"];
        assert_eq!((&now["mode"], &now["target"], &now["origin"]), (&"all".into(), &"lb3:1".into(), &"command".into()));
        assert_eq!(now["sent"], 4);

        failover(&sqluice, &["off"]);
        sqluice.app().quit();
        assert!(over_socket());
        assert_eq!(session.value("SELECT 1"), "1");
        let refused = sqluice.command(&["failover", "on", "--target", "[::1]:1"]);
        assert!(!refused.success && refused.stderr.contains("no client takes"), "{}", refused.stderr);
    });
}

#[test]
fn sessions_that_are_recalled_end_their_transactions_first() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let database = server.fresh_database();
        let sqluice = balancer(engine, server, "");
        let mut idle = sqluice.app();
        let mut busy = sqluice.app();
        busy.execute(&format!("CREATE TABLE {database}.t (id INT)"));
        busy.execute("BEGIN");
        failover(&sqluice, &["on", "--existing", "drain"]);
        eventually("both know", || {
            let rows = sqluice.sessions();
            let states: Vec<&str> = rows.iter().filter_map(|row| row["state"].as_str()).collect();
            (states.contains(&"leaving") && states.contains(&"in transaction")).then_some(())
        });
        let error = idle.query("SELECT 1").failed();
        assert_eq!((error.code, error.state.as_str(), error.message.as_str()), (4196, "08S01", WORDS));
        assert_eq!(idle.await_close(), None);

        busy.execute(&format!("INSERT INTO {database}.t VALUES (1)"));
        busy.execute("COMMIT");
        assert_eq!(busy.query("SELECT 1").failed().code, 4196);
        assert_eq!(busy.await_close(), None);
        assert_eq!(server.direct().value(&format!("SELECT COUNT(*) FROM {database}.t")), "1");
        sqluice.await_no_sessions();
    });
}

#[test]
fn a_reload_obeys_whoever_spoke_last() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice = balancer(engine, server, "");
        let reload = |mode: &str| {
            sqluice.write_config(&(settings(mode) + &cluster(server) + &user("app", "app")));
            sqluice.command(&["reload"]).expect_success("reload")
        };
        assert_eq!(reload("on"), "instant failover: mode \"off\" -> \"on\"\n");
        assert_eq!(refusal(sqluice.address).message, WORDS);
        failover(&sqluice, &["off"]);
        let said = reload("on");
        assert!(said.contains("stays off, as `sqluice failover` said last"), "{said}");
        sqluice.app().quit();
        let said = reload("all");
        assert!(said.contains("all as the file says now"), "{said}");
        assert_eq!(refusal(sqluice.address).code, 4196);

        // SIGHUP does the same, and nobody answers it.
        sqluice.write_config(&(settings("off") + &cluster(server) + &user("app", "app")));
        sqluice.hang_up();
        eventually("clients are let in again", || sqluice.login(&Account::new("app", "app")).ok());
    });
}

#[test]
fn people_can_read_where_to_go_in_whatever_client_they_use() {
    let server = Server::shared(Flavour::MariaDb10);
    let sqluice = balancer(Engine::IoUring, server, "");
    failover(&sqluice, &["on"]);
    let (host, port) = (sqluice.address.ip().to_string(), sqluice.address.port().to_string());
    let cli_at = |address: SocketAddr, flavour, option: &str| {
        let (host, port) = (format!("--host={}", address.ip()), format!("--port={}", address.port()));
        client_cli(flavour, &[&host, &port, "--user=app", "--password=app", option, "-e", "SELECT 1"])
    };
    let check = |what: &str, finished: Finished| {
        let said = finished.stdout + &finished.stderr;
        let bare = said.replace('\\', "");
        assert!(bare.contains(WORDS) && !said.contains("logged in"), "{what} says:\n{said}");
    };
    let cli = |flavour, option| cli_at(sqluice.address, flavour, option);
    check("mariadb 10.11", cli(Flavour::MariaDb10, "--skip-ssl"));
    check("mariadb 11.8", cli(Flavour::MariaDb11, "--skip-ssl"));
    check("mysql 9.7", cli(Flavour::MySql97, "--ssl-mode=DISABLED"));
    // Where TLS is demanded, nobody hears anything outside of it.
    let body = settings("on") + &cluster(server) + &user("app", "app");
    let sealed = Start::new(Engine::IoUring, body).listener("tls = \"required\"").run_with_servers_up(1);
    check("mariadb 10.11 in TLS", cli_at(sealed.address, Flavour::MariaDb10, "--ssl"));
    check("mariadb 11.8 in TLS", cli_at(sealed.address, Flavour::MariaDb11, "--ssl"));
    check("mysql 9.7 in TLS", cli_at(sealed.address, Flavour::MySql97, "--ssl-mode=REQUIRED"));
    for driver in ["pymysql", "mysqlclient", "mariadb"] {
        check(driver, python("login.py", &[driver, &host, &port]));
    }
    for driver in ["mysql2", "mariadb"] {
        check(driver, node("login.cjs", &[driver, &host, &port]));
    }
    let of_php = php("login.php", &[&host, &port]);
    assert_eq!(of_php.stdout.matches(WORDS).count(), 2, "mysqli and PDO say:\n{}{}", of_php.stdout, of_php.stderr);
}

/// A client that does what such an error asks for, at most eight times in a row.
fn follow(mut address: SocketAddr) -> Client {
    const HOPS_MAX: usize = 8;
    for _ in 0..=HOPS_MAX {
        match Client::login(address, &Account::new("app", "app")) {
            Ok(client) => return client,
            Err(error) => address = target_of(&error),
        }
    }
    panic!("more than {HOPS_MAX} hops, the last one to {address}");
}

#[track_caller]
fn target_of(error: &ServerError) -> SocketAddr {
    let target = error.message.strip_prefix('|').and_then(|rest| rest.split_once('|')).map(|(_, target)| target);
    let is_right = error.code == 4196;
    target.filter(|_| is_right).and_then(|target| target.parse().ok()).unwrap_or_else(|| panic!("{error}"))
}

#[test]
fn two_balancers_hand_their_clients_to_each_other_in_turn() {
    const CLIENTS: usize = 8;
    const TURNS: usize = 6;
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let database = server.fresh_database();
        server.direct().execute(&format!("CREATE TABLE {database}.t (id INT AUTO_INCREMENT PRIMARY KEY)"));
        let pair = [balancer(engine, server, ""), balancer(engine, server, "")];
        let (is_over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        let work = || {
            let mut client = follow(pair[0].address);
            let mut commits = 0;
            while !is_over.load(Ordering::Relaxed) {
                let began = client.query("BEGIN");
                if began.error.as_ref().is_some_and(|error| error.code == 4196) {
                    client = follow(target_of(&began.failed()));
                    continue;
                }
                // Nobody is sent away inside a transaction.
                client.execute(&format!("INSERT INTO {database}.t VALUES ()"));
                client.execute("COMMIT");
                commits += 1;
                done.fetch_add(1, Ordering::Relaxed);
            }
            commits
        };
        let commits: usize = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(work)).collect();
            for turn in 0..TURNS {
                let (from, to) = (&pair[turn % 2], &pair[(turn + 1) % 2]);
                let before = done.load(Ordering::Relaxed);
                eventually("everybody works", || (done.load(Ordering::Relaxed) > before + CLIENTS).then_some(()));
                failover(to, &["off"]);
                failover(from, &["on", "--target", &to.address.to_string(), "--existing", "drain"]);
                from.await_no_sessions();
            }
            is_over.store(true, Ordering::Relaxed);
            clients.into_iter().map(|client| client.join().expect("a client ends well")).sum()
        });
        assert_eq!(server.direct().value(&format!("SELECT COUNT(*) FROM {database}.t")), commits.to_string());
        for sqluice in &pair {
            assert_ne!(sqluice.status()["instant_failover"]["sent"], 0);
        }
    });
}

/// Says of itself what a connector does that follows `redirect_url`.
fn follower() -> Account<'static> {
    Account::new("app", "app").attributes(&[("_client_name", "MariaDB Connector/J"), ("_client_version", "3.4.1")])
}

/// The `redirect_url` that a login's OK carries.
fn url_in(client: &Client) -> Option<String> {
    url_of(&client.login_ok)
}

/// The same of the OK that answers a command.
fn url_told(reply: &Reply) -> Option<String> {
    url_of(&reply.packets[0])
}

fn url_of(ok: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(ok);
    let (_, behind) = text.split_once("redirect_url")?;
    // One byte of length stands before the value.
    let value = behind.get(1..)?.split(|character: char| character.is_control()).next()?;
    (!value.is_empty()).then(|| value.to_owned())
}

#[test]
fn connectors_that_follow_a_url_are_told_one_and_never_that_of_a_server() {
    let server = Server::start(Flavour::MariaDb11, &["--redirect-url=mariadb://elsewhere:1"]);
    let direct = Client::login(server.address, &follower()).expect("the server lets app in");
    assert_eq!(url_in(&direct).as_deref(), Some("mariadb://elsewhere:1"), "the server tells of its own");
    on_both_engines(|engine| {
        let settings = settings("off").replace("mode", "redirect_url = \"followers\"\nmode");
        let sqluice = Start::new(engine, settings + &cluster(&server) + &user("app", "app")).run_with_servers_up(1);
        let url = |account: &Account<'_>| url_in(&sqluice.login(account).expect("app is let in"));
        assert_eq!((url(&follower()), url(&Account::new("app", "app"))), (None, None));
        let mut session = sqluice.login(&follower()).expect("app is let in");
        assert_eq!(url_told(&session.query("SET redirect_url = 'mariadb://elsewhere:2'").ok()), None);
        failover(&sqluice, &["on"]);
        assert_eq!(url(&follower()).as_deref(), Some("mariadb://lb2.example.com:3307"));
        assert_eq!(refusal(sqluice.address).code, 4196);
        assert_eq!(url_told(&session.query("DO 1").ok()), None, "sessions stay");
        session.execute("BEGIN");
        failover(&sqluice, &["on", "--existing", "drain"]);
        assert_eq!(url_told(&session.query("DO 1").ok()), None, "it is in a transaction");
        assert_eq!(url_told(&session.query("COMMIT").ok()).as_deref(), Some("mariadb://lb2.example.com:3307"));
        assert_eq!(session.query("DO 1").failed().code, 4196, "it has not gone");
        let newer = follower().attributes(&[("_client_name", "MariaDB Connector/J"), ("_client_version", "3.5.3")]);
        assert_eq!(sqluice.login(&newer).expect_err("it would fail on a url").code, 4196);
    });
}

/// MariaDB's connector for Node follows, and says goodbye to whom it leaves. Its connection is of no use afterwards, by a
/// fault of its own, so that it is none of the connectors that are told as they come.
#[test]
fn a_real_connector_goes_where_the_url_sends_it() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let other = balancer(engine, server, "");
        let settings = format!(
            "[instant_failover]\nredirect_url = \"followers\"\ntarget = \"{}\"\n\n\
             [[instant_failover.follower]]\nname = \"MariaDB connector/Node\"\n\n",
            other.address
        );
        let body = settings + &cluster(server) + &user("app", "app");
        let leaving = Start::new(engine, body).run_with_servers_up(1);
        failover(&leaving, &["on"]);
        let (host, port) = (leaving.address.ip().to_string(), leaving.address.port().to_string());
        let finished = node("redirect.cjs", &[&host, &port]);
        assert_eq!(finished.stdout, format!("connected to {}\n", other.address), "{}", finished.stderr);
        for (sqluice, ending) in [(&leaving, "reason=\"quit\""), (&other, "user=app")] {
            eventually("it has been here, and has gone", || {
                let log = sqluice.log();
                let was_here = log.lines().any(|line| line.contains("logged in") && line.contains("user=app"));
                let has_ended = log.lines().any(|line| line.contains("session ended") && line.contains(ending));
                (was_here && has_ended).then_some(())
            });
        }
    });
}

#[test]
fn a_user_who_wants_no_hop_is_handed_to_the_server_with_the_fewest_connections() {
    let servers = [Server::shared(Flavour::MariaDb10), Server::shared(Flavour::MariaDb11)];
    on_both_engines(|engine| {
        let handed = user("app", "app").replace("pool =", "handoff = true\npool =");
        let sqluice = Start::new(engine, cluster_on(&servers) + &handed).run_with_servers_up(2);
        let mut clients: Vec<Client> = (0..4).map(|_| sqluice.login(&follower()).expect("app is let in")).collect();
        for client in &mut clients {
            let url = format!("mariadb://{}:{}", servers[0].address.ip(), client.value("SELECT @@port"));
            assert_eq!(url_in(client), Some(url));
        }
        let urls: std::collections::BTreeSet<_> = clients.iter().map(url_in).collect();
        assert_eq!(urls.len(), 2, "each of the two has the fewest in turn");
        let mut other = sqluice.app();
        assert_eq!((url_in(&other), other.value("SELECT 1").as_str()), (None, "1"), "others are served as ever");
    });
}

/// A balancer before two servers, `s1` and `s2`, at these addresses.
fn before(engine: Engine, servers: [SocketAddr; 2]) -> Sqluice {
    let real = Server::shared(Flavour::MariaDb10);
    let mut body = cluster_on(&[real, real]).replace("hold_timeout = \"10s\"", "hold_timeout = \"1500ms\"");
    for address in servers {
        body = body.replacen(&format!("\"{}\"", real.address), &format!("'{address}'"), 1);
    }
    Start::new(engine, body + &user("app", "app")).run_with_servers_up(2)
}

/// A balancer that others have for a server: their health checks log in to it, too.
pub(crate) fn behind(engine: Engine, server: &Server) -> Sqluice {
    let body = settings("off") + &cluster(server) + &user("app", "app") + &user("monitor", "monitor");
    Start::new(engine, body).run_with_servers_up(1)
}

#[test]
fn a_server_that_sends_its_clients_on_is_followed_and_left_alone() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let leaving = behind(engine, server);
        let front = before(engine, [leaving.address, server.address]);
        // Both servers are used, and who is there stays.
        let mut sessions: Vec<Client> = (0..4).map(|_| front.app()).collect();
        assert!(!leaving.sessions().is_empty());
        failover(&leaving, &["on", "--target", &server.address.to_string()]);
        let left = eventually("the first one is left alone", || {
            let mut client = front.app();
            assert_eq!(client.value("SELECT 1"), "1", "no client notices");
            client.quit();
            let row = front.status()["clusters"][0]["servers"][0].clone();
            (row["fitness"] == "last resort").then_some(row)
        });
        assert_eq!(
            (&left["state"], &left["reason"]),
            (&"up".into(), &"leaving: it sends its clients elsewhere".into())
        );
        sessions.iter_mut().for_each(|client| assert_eq!(client.value("SELECT 1"), "1"));
    });
}

#[test]
fn servers_that_send_their_clients_in_a_circle_are_named_to_the_client() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let pair = [behind(engine, server), behind(engine, server)];
        let front = before(engine, [pair[0].address, pair[1].address]);
        failover(&pair[0], &["on", "--target", &pair[1].address.to_string()]);
        failover(&pair[1], &["on", "--target", &pair[0].address.to_string()]);
        let error = refusal(front.address);
        assert_eq!((error.code, error.state.as_str()), (1158, "08S01"));
        assert!(error.message.contains("servers send their clients in a circle: s"), "{error}");
        failover(&pair[1], &["off"]);
        eventually("the circle is open", || front.login(&Account::new("app", "app")).ok());
    });
}
