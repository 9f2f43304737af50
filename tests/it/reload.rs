//! A good configuration is applied whole while clients work; a bad one changes nothing.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::{
    Account, Client, Flavour, Server, Start, Trio, cluster, cluster_on, eventually, on_both_engines, user,
};

#[test]
fn users_come_and_go_and_change_their_passwords() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let app = user("app", "app");
        let sqluice = Start::new(engine, cluster(server) + &app).run_with_servers_up(1);
        let mut first = sqluice.app();
        assert_eq!(sqluice.login(&Account::new("other", "other")).expect_err("not yet").code, 1045);

        sqluice.write_config(&(cluster(server) + &app + &user("other", "other")));
        let said = sqluice.command(&["reload"]).expect_success("reload");
        assert!(said.contains("other"), "the change is told: {said}");
        let mut other = sqluice.login(&Account::new("other", "other")).expect("the new user logs in");
        other.ping();
        first.ping();

        // A mapped user's password is sqluice's alone.
        let mapped = |password: &str| {
            user("app", password).replace("pool =", "backend_user = \"app\"\nbackend_password = \"app\"\npool =")
        };
        sqluice.write_config(&(cluster(server) + &mapped("changed") + &user("other", "other")));
        sqluice.command(&["reload"]).expect_success("reload");
        assert_eq!(sqluice.login(&Account::new("app", "app")).expect_err("the old password").code, 1045);
        sqluice.login(&Account::new("app", "changed")).expect("the new password").ping();
        first.ping();

        sqluice.write_config(&(cluster(server) + &mapped("changed")));
        sqluice.command(&["reload"]).expect_success("reload");
        assert_eq!(sqluice.login(&Account::new("other", "other")).expect_err("it is gone").code, 1045);
        first.ping();
        let log = sqluice.log();
        assert!(!log.contains("changed\"") && !log.contains("= changed"), "no password in the log");
    });
}

#[test]
fn servers_come_and_go() {
    let servers = [Server::start(Flavour::MariaDb10, &[]), Server::start(Flavour::MariaDb10, &[])];
    let is_on =
        |client: &mut Client, server: &Server| client.value("SELECT @@port") == server.address.port().to_string();
    on_both_engines(|engine| {
        let app = user("app", "app");
        let sqluice = Start::new(engine, cluster_on(&[&servers[0]]) + &app).run_with_servers_up(1);
        let mut old = sqluice.app();
        sqluice.write_config(&(cluster_on(&[&servers[0], &servers[1]]) + &app));
        sqluice.command(&["reload"]).expect_success("reload");
        sqluice.await_servers_up(2);
        assert!(is_on(&mut sqluice.app(), &servers[1]), "the new server has the fewest connections");
        assert!(is_on(&mut old, &servers[0]));

        // The first one leaves: new sessions cannot get it any more.
        let second_only = cluster_on(&[&servers[0], &servers[1]]);
        let (before, after) = second_only.split_once("[[cluster.main.server]]\nname = \"s1\"").expect("s1 is there");
        let rest = after.split_once("[[cluster.main.server]]").expect("s2 is there").1;
        sqluice.write_config(&format!("{before}[[cluster.main.server]]{rest}{app}"));
        sqluice.command(&["reload"]).expect_success("reload");
        for _ in 0..4 {
            assert!(is_on(&mut sqluice.app(), &servers[1]));
        }
    });
}

#[test]
fn a_server_that_is_added_costs_no_transaction_at_the_primary() {
    let trio = Trio::start(Flavour::MariaDb10);
    trio.primary().direct().execute("CREATE TABLE test.kept (n INT)");
    let server = |name: &str, address| format!("[[cluster.set.server]]\nname = \"{name}\"\naddress = \"{address}\"\n");
    on_both_engines(|engine| {
        let mut text =
            "[cluster.set]\ntopology = \"replication\"\nmonitor = { user = \"monitor\", password = \"monitor\" }\n\
                        [pool.write]\ncluster = \"set\"\nrole = \"primary\"\n\
                        [[user]]\nname = \"app\"\npassword = \"app\"\npool = \"write\"\n"
                .to_owned();
        for (index, entry) in trio.servers.iter().enumerate() {
            text += &server(&format!("db{}", index + 1), entry.address);
        }
        let sqluice = Start::new(engine, text.clone()).run_with_servers_up(3);
        sqluice.await_role("db1", "primary");
        let mut clients: Vec<Client> = (0..4).map(|_| sqluice.app()).collect();
        for client in &mut clients {
            client.execute("BEGIN");
            client.execute("INSERT INTO test.kept VALUES (1)");
        }
        // Nobody answers there, and it takes a moment to know that.
        sqluice.write_config(&(text + &server("db4", SocketAddr::from(([127, 0, 0, 1], 9)))));
        sqluice.command(&["reload"]).expect_success("reload");
        sqluice.await_health("db4", "down");
        for client in &mut clients {
            client.execute("INSERT INTO test.kept VALUES (2)");
            client.execute("COMMIT");
        }
    });
    assert_eq!(trio.primary().root("SELECT COUNT(*) FROM test.kept").trim(), "16");
}

#[test]
fn listeners_come_and_go() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let body = cluster(server) + &user("app", "app");
        let sqluice = Start::new(engine, body.clone()).run_with_servers_up(1);
        let mut old = sqluice.app();
        // Next to the first one, on the same address of its own, and on a path.
        let second = SocketAddr::new(
            sqluice.address.ip(),
            if sqluice.address.port() < 60_000 { sqluice.address.port() + 1 } else { 50_000 },
        );
        let path = sqluice.folder().join("mysql.sock");
        let more = format!(
            "[[listener]]\nname = \"second\"\naddress = \"{second}\"\n\n[[listener]]\nname = \"local\"\naddress = \"unix:{}\"\n\n",
            path.display()
        );
        sqluice.write_config(&(more + &body));
        sqluice.command(&["reload"]).expect_success("reload");
        let mut client = Client::login(second, &Account::new("app", "app")).expect("the second listener serves");
        client.ping();
        assert!(path.exists());
        std::os::unix::net::UnixStream::connect(&path).expect("the path accepts");

        sqluice.write_config(&body);
        sqluice.command(&["reload"]).expect_success("reload");
        eventually("the second listener is closed", || TcpStream::connect(second).err());
        eventually("the path is gone", || (!path.exists()).then_some(()));
        old.ping();
        sqluice.app().ping();
    });
}

#[test]
fn a_bad_file_changes_nothing_and_tells_the_place() {
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let body = cluster(server) + &user("app", "app");
        let sqluice = Start::new(engine, body.clone()).run_with_servers_up(1);
        let mut client = sqluice.app();
        for (wrong, word) in [
            (body.replace("pool = \"main\"", "pool = \"mian\""), "main"),
            (body.replace("hold_timeout", "hold_timeuot"), "hold_timeout"),
            (body.replace("name = \"app\"\npassword", "name = app\npassword"), "quoted"),
            (body.clone() + "[pool.other]\ncluster = \"none\"\nrole = \"primary\"\n", "none"),
        ] {
            sqluice.write_config(&wrong);
            let finished = sqluice.command(&["reload"]);
            assert!(!finished.success, "{wrong} is wrong");
            let said = finished.stdout + &finished.stderr;
            assert!(tells_a_place(&said) && said.contains(word), "{said}");
            sqluice.app().ping();
            client.ping();
        }
        let before = sqluice.log().len();
        sqluice.hang_up();
        let logged = eventually("the log tells the place", || {
            let log = sqluice.log();
            tells_a_place(&log[before..]).then(|| log[before..].to_owned())
        });
        assert!(logged.contains("none"), "{logged}");
        sqluice.app().ping();

        sqluice.write_config(&(body + &user("other", "other")));
        sqluice.hang_up();
        eventually("the next good file is taken", || sqluice.login(&Account::new("other", "other")).ok());
        client.ping();
    });
}

/// `sqluice.toml:LINE:COLUMN:` somewhere.
fn tells_a_place(text: &str) -> bool {
    text.match_indices("sqluice.toml:").any(|(at, found)| {
        let mut numbers = text[at + found.len()..].split(':');
        let mut is_number = || numbers.next().is_some_and(|number| number.parse::<u32>().is_ok());
        is_number() && is_number()
    })
}

#[test]
fn reloads_under_load_disturb_nobody() {
    let servers = [Server::start(Flavour::MariaDb10, &[]), Server::start(Flavour::MariaDb10, &[])];
    on_both_engines(|engine| {
        let both = cluster_on(&[&servers[0], &servers[1]]) + &user("app", "app");
        let sqluice = Start::new(engine, both.clone()).run_with_servers_up(2);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut rounds = 0_u32;
                        let mut steady = sqluice.app();
                        while !over.load(Ordering::Relaxed) {
                            assert_eq!(steady.value("SELECT 1"), "1");
                            sqluice.app().quit();
                            rounds += 1;
                        }
                        rounds
                    })
                })
                .collect();
            for round in 0..20 {
                let weight = format!("name = \"s1\"\nweight = {}", 50 + round);
                sqluice
                    .write_config(&(both.replace("name = \"s1\"", &weight) + &user(&format!("user{round}"), "some")));
                if round % 2 == 0 {
                    sqluice.command(&["reload"]).expect_success("reload");
                } else {
                    sqluice.hang_up();
                    let account = Account { user: &format!("user{round}"), ..Account::new("", "wrong") };
                    assert_eq!(sqluice.login(&account).expect_err("the password is wrong").code, 1045);
                }
            }
            over.store(true, Ordering::Relaxed);
            for worker in workers {
                assert!(worker.join().expect("no session was disturbed") > 0);
            }
        });
    });
}
