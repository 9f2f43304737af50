//! Which server a session gets: its user's pool, the fewest connections by weight, the fallback, and every limit.

use std::collections::BTreeMap;
use std::thread;

use crate::harness::{
    Account, Client, Flavour, Server, Sqluice, Start, Trio, cluster, cluster_on, eventually, on_both_engines,
    on_each_flavour, user,
};

/// A cluster `shop` with roles as the servers say, a pool for each role, and a user for each pool.
fn replication(trio: &Trio, more: &str) -> String {
    let mut text = format!(
        "[cluster.shop]\ntopology = \"replication\"\nmonitor = {{ user = \"monitor\", password = \"monitor\" }}\n\
         check_interval = \"100ms\"\ncheck_timeout = \"5s\"\nhold_timeout = \"30s\"\n{more}\n\n"
    );
    for (index, server) in trio.servers.iter().enumerate() {
        text += &format!("[[cluster.shop.server]]\nname = \"db{}\"\naddress = \"{}\"\n\n", index + 1, server.address);
    }
    text + "[pool.write]\ncluster = \"shop\"\nrole = \"primary\"\n\n\
            [pool.read]\ncluster = \"shop\"\nrole = \"replica\"\nfallback = \"write\"\n\n\
            [[user]]\nname = \"app\"\npassword = \"app\"\npool = \"write\"\n\n\
            [[user]]\nname = \"other\"\npassword = \"other\"\npool = \"read\"\n\n"
}

fn port_of(client: &mut Client) -> u16 {
    client.value("SELECT @@port").parse().expect("a port is a number")
}

fn reader(sqluice: &Sqluice) -> Client {
    sqluice.login(&Account::new("other", "other")).unwrap_or_else(|error| panic!("a reader logs in: {error}"))
}

#[test]
fn users_get_the_role_of_their_pool_and_fall_back_when_it_is_empty() {
    for flavour in [Flavour::MariaDb10, Flavour::MySql97] {
        let trio = Trio::start(flavour);
        on_both_engines(|engine| {
            let sqluice = Start::new(engine, replication(&trio, "")).run_with_servers_up(3);
            let replicas: Vec<u16> = trio.replicas().iter().map(|server| server.address.port()).collect();
            let mut writer = sqluice.app();
            assert_eq!(port_of(&mut writer), trio.primary().address.port());
            let mut readers: Vec<Client> = (0..6).map(|_| reader(&sqluice)).collect();
            let mut counts = BTreeMap::new();
            for reader in &mut readers {
                *counts.entry(port_of(reader)).or_insert(0) += 1;
            }
            assert_eq!(counts, BTreeMap::from([(replicas[0], 3), (replicas[1], 3)]));

            // One replica dies: new readers go to the other. Both die: to the primary.
            trio.replicas()[0].kill();
            sqluice.await_health("db2", "down");
            assert_eq!(port_of(&mut reader(&sqluice)), replicas[1]);
            trio.replicas()[1].kill();
            sqluice.await_health("db3", "down");
            assert_eq!(port_of(&mut reader(&sqluice)), trio.primary().address.port());
            writer.ping();

            // They come back, read-only as replicas do.
            let read_only: &[&str] = if flavour.is_mariadb() { &["--read-only=ON"] } else { &["--super-read-only=ON"] };
            for (name, replica) in ["db2", "db3"].iter().zip(trio.replicas()) {
                replica.restart(read_only);
                sqluice.await_health(name, "up");
            }
            assert!(replicas.contains(&port_of(&mut reader(&sqluice))));
        });
    }
}

#[test]
fn writes_follow_the_primary_when_the_roles_change() {
    for flavour in [Flavour::MariaDb10, Flavour::MySql97] {
        let trio = Trio::start(flavour);
        let (off, on) = match flavour.is_mariadb() {
            true => ("SET GLOBAL read_only = OFF", "SET GLOBAL read_only = ON"),
            false => {
                ("SET GLOBAL super_read_only = OFF; SET GLOBAL read_only = OFF", "SET GLOBAL super_read_only = ON")
            }
        };
        on_both_engines(|engine| {
            let sqluice = Start::new(engine, replication(&trio, "")).run_with_servers_up(3);
            assert_eq!(port_of(&mut sqluice.app()), trio.servers[0].address.port());
            trio.servers[0].root(on);
            trio.servers[1].root(off);
            let new_primary = trio.servers[1].address.port();
            eventually("writes go to the new primary", || {
                sqluice
                    .login(&Account::new("app", "app"))
                    .ok()
                    .and_then(|mut client| (port_of(&mut client) == new_primary).then_some(()))
            });
            // Back for the other engine.
            trio.servers[1].root(on);
            trio.servers[0].root(off);
        });
    }
}

#[test]
fn with_two_writable_servers_nobody_writes() {
    let trio = Trio::start(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice =
            Start::new(engine, replication(&trio, "").replace("hold_timeout = \"30s\"", "hold_timeout = \"300ms\""))
                .run_with_servers_up(3);
        sqluice.app().ping();
        trio.servers[1].root("STOP SLAVE; SET GLOBAL read_only = OFF");
        let error = eventually("logins of the writer fail", || sqluice.login(&Account::new("app", "app")).err());
        assert!(error.state.starts_with("08"), "a pool of connections takes 08 for a reason to try again: {error}");
        // Which of two writable servers is the primary cannot be known; the one that still is read-only is a replica.
        assert_eq!(port_of(&mut reader(&sqluice)), trio.servers[2].address.port());
        trio.servers[1].root("SET GLOBAL read_only = ON; START SLAVE");
        eventually("writes go on", || sqluice.login(&Account::new("app", "app")).ok());
    });
}

#[test]
fn sessions_spread_by_weight_over_the_fewest_connections() {
    let servers = [Server::start(Flavour::MariaDb10, &[]), Server::start(Flavour::MariaDb10, &[])];
    on_both_engines(|engine| {
        let body = cluster_on(&[&servers[0], &servers[1]]) + &user("app", "app");
        let weighted = body
            .replace("name = \"s1\"", "name = \"s1\"\nweight = 50")
            .replace("name = \"s2\"", "name = \"s2\"\nweight = 150");
        let sqluice = Start::new(engine, weighted).workers(4).run_with_servers_up(2);
        let count = |clients: &mut [Client]| {
            let first = servers[0].address.port();
            clients.iter_mut().map(port_of).filter(|&port| port == first).count()
        };
        let mut clients: Vec<Client> = (0..40).map(|_| sqluice.app()).collect();
        let on_first = count(&mut clients);
        assert!((9..=11).contains(&on_first), "{on_first} of 40 at weight 50 of 200");
        // Those that leave make room: the server that lost its sessions gets the next ones.
        clients.retain_mut(|client| port_of(client) == servers[0].address.port());
        eventually("the others are gone", || (sqluice.sessions().len() == clients.len()).then_some(()));
        let mut next: Vec<Client> = (0..20).map(|_| sqluice.app()).collect();
        assert_eq!(count(&mut next), 0, "the second server is far below its share");
    });
}

#[test]
fn pools_can_balance_in_turn_and_at_random() {
    let servers = [Server::start(Flavour::MariaDb10, &[]), Server::start(Flavour::MariaDb10, &[])];
    on_both_engines(|engine| {
        for (balance, exact) in [("round-robin", true), ("random", false)] {
            let body = cluster_on(&[&servers[0], &servers[1]])
                .replace("[pool.main]", &format!("[pool.main]\nbalance = \"{balance}\""))
                + &user("app", "app");
            let sqluice = Start::new(engine, body).workers(1).run_with_servers_up(2);
            let mut counts = BTreeMap::new();
            for _ in 0..40 {
                // One after the other, so that the number of connections cannot decide.
                let mut client = sqluice.app();
                *counts.entry(port_of(&mut client)).or_insert(0) += 1;
                client.quit();
            }
            let fewest = counts.values().copied().min().unwrap_or(0);
            assert!(counts.len() == 2 && fewest >= if exact { 20 } else { 3 }, "{balance}: {counts:?}");
        }
    });
}

#[test]
fn a_user_and_the_process_have_limits_with_errors_of_their_own() {
    on_each_flavour(|engine, server| {
        let limited = cluster(server)
            + &user("app", "app").replace("pool =", "max_connections = 2\npool =")
            + &user("other", "other");
        let sqluice = Start::new(engine, limited).run_with_servers_up(1);
        let (first, mut second) = (sqluice.app(), sqluice.app());
        let error = sqluice.login(&Account::new("app", "app")).expect_err("two is the limit");
        assert_eq!((error.code, error.state.as_str()), (1226, "42000"), "{error}");
        reader(&sqluice).ping();
        first.quit();
        eventually("the place of a session that left is free", || sqluice.login(&Account::new("app", "app")).ok());
        second.ping();

        let body = cluster(server) + &user("app", "app");
        let sqluice =
            Start::new(engine, body).process("max_sessions = 3\nshutdown_timeout = \"1s\"").run_with_servers_up(1);
        let mut clients: Vec<Client> = eventually("three sessions", || {
            (0..3).map(|_| sqluice.login(&Account::new("app", "app")).ok()).collect::<Option<Vec<Client>>>()
        });
        let error = sqluice.login(&Account::new("app", "app")).expect_err("three is the limit");
        assert_eq!(error.code, 1040, "{error}");
        clients.iter_mut().for_each(Client::ping);
        clients.pop();
        eventually("the place of a session that left is free", || sqluice.login(&Account::new("app", "app")).ok());
    });
}

#[test]
fn a_full_server_gives_way_to_another_and_then_clients_wait() {
    let servers = [Server::start(Flavour::MariaDb10, &[]), Server::start(Flavour::MariaDb10, &[])];
    on_both_engines(|engine| {
        let body = (cluster_on(&[&servers[0], &servers[1]]) + &user("app", "app"))
            .replace("name = \"s1\"", "name = \"s1\"\nmax_connections = 1")
            .replace("name = \"s2\"", "name = \"s2\"\nmax_connections = 2");
        let sqluice =
            Start::new(engine, body.replace("hold_timeout = \"10s\"", "hold_timeout = \"60s\"")).run_with_servers_up(2);
        let mut clients: Vec<Client> = (0..3).map(|_| sqluice.app()).collect();
        let second = servers[1].address.port();
        let on_second = clients.iter_mut().map(port_of).filter(|&port| port == second).count();
        assert_eq!(on_second, 2);
        // A fourth one waits, and gets in when one leaves.
        thread::scope(|scope| {
            let fourth = scope.spawn(|| sqluice.app().value("SELECT 'in'"));
            eventually("the fourth session waits", || {
                let status = sqluice.status();
                let waiting: u64 =
                    status["clusters"][0]["servers"].as_array()?.iter().filter_map(|row| row["waiting"].as_u64()).sum();
                (waiting > 0 || sqluice.sessions().len() == 4).then_some(())
            });
            assert!(!fourth.is_finished(), "there is no place for it");
            clients.pop();
            assert_eq!(fourth.join().expect("the fourth session gets in"), "in");
        });

        // With a short patience the wait ends in an error that tells a pool of connections to try again.
        sqluice.write_config(&body.replace("hold_timeout = \"10s\"", "hold_timeout = \"200ms\""));
        sqluice.command(&["reload"]).expect_success("reload");
        clients.push(sqluice.app());
        let error = sqluice.login(&Account::new("app", "app")).expect_err("all servers are full");
        assert!(error.code == 1040 && error.state == "08004" || error.state.starts_with("08"), "{error}");
        clients.iter_mut().for_each(Client::ping);
    });
}

#[test]
fn a_server_that_has_no_connection_left_is_passed_over() {
    // It keeps one connection for those with SUPER, and the monitor holds one.
    let full = Server::start(Flavour::MariaDb10, &["--max-connections=10"]);
    let roomy = Server::start(Flavour::MariaDb10, &[]);
    on_both_engines(|engine| {
        let sqluice = Start::new(engine, cluster_on(&[&full, &roomy]) + &user("app", "app")).run_with_servers_up(2);
        let mut takers = Vec::new();
        while let Ok(client) = Client::login(full.address, &Account::new("app", "app")) {
            takers.push(client);
        }
        let mut clients: Vec<Client> = (0..6).map(|_| sqluice.app()).collect();
        for client in &mut clients {
            assert_eq!(port_of(client), roomy.address.port());
        }
        drop(takers);
        // Being full is no sickness.
        sqluice.await_health("s1", "up");
        eventually("the first server is used again", || {
            (port_of(&mut sqluice.app()) == full.address.port()).then_some(())
        });
    });
}

#[test]
fn a_changed_user_moves_to_the_pool_of_the_new_one() {
    let servers = [Server::shared(Flavour::MariaDb10), Server::shared(Flavour::MySql97)];
    on_both_engines(|engine| {
        let body = cluster_on(&servers).replacen("role = \"replica\"", "role = \"primary\"", 1)
            + "[pool.write]\ncluster = \"main\"\nrole = \"primary\"\n\n"
            + &user("app", "app").replace("pool = \"main\"", "pool = \"write\"")
            + &user("other", "other");
        let sqluice = Start::new(engine, body).run_with_servers_up(2);
        let mut client = sqluice.app();
        for _ in 0..3 {
            assert_eq!(port_of(&mut client), servers[0].address.port());
            client.change_user(&Account::new("other", "other")).unwrap_or_else(|error| panic!("to other: {error}"));
            assert_eq!(port_of(&mut client), servers[1].address.port());
            client.change_user(&Account::new("app", "app")).unwrap_or_else(|error| panic!("to app: {error}"));
        }
        eventually("one session holds one connection", || {
            let status = sqluice.status();
            let rows = status["clusters"][0]["servers"].as_array()?.clone();
            let held: Vec<u64> = rows.iter().filter_map(|row| row["connections"].as_u64()).collect();
            (held == [1, 0]).then_some(())
        });
    });
}

#[test]
fn a_pool_of_both_families_serves_the_same_clients() {
    let servers =
        [Server::shared(Flavour::MariaDb10), Server::shared(Flavour::MySql97), Server::shared(Flavour::MariaDb11)];
    on_both_engines(|engine| {
        let body = cluster_on(&servers) + &user("app", "app") + &user("other", "other");
        let sqluice = Start::new(engine, body).run_with_servers_up(3);
        for (_, capabilities) in crate::compare::MODES {
            let account = Account::new("app", "app").capabilities(capabilities).collation(255).database("test");
            let mut clients: Vec<Client> =
                (0..6).map(|_| sqluice.login(&account).unwrap_or_else(|error| panic!("{error}"))).collect();
            let mut counts = BTreeMap::new();
            for client in &mut clients {
                *counts.entry(port_of(client)).or_insert(0) += 1;
                assert_eq!(client.value("SELECT @@character_set_client"), "utf8mb4");
                let reply = client.ask(crate::harness::Shape::Prepare, b"\x16SELECT 1, ?").ok();
                assert_eq!(reply.packets[0].len(), clients_prepare_length(client));
                client.change_user(&Account::new("other", "other")).unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(client.value("SELECT CURRENT_USER()"), "other@%");
            }
            assert_eq!(counts.values().copied().collect::<Vec<i32>>(), [2, 2, 2], "{counts:?}");
        }
    });
}

/// The first packet of a PREPARE reply has a byte more where definitions are optional, which only MySQL knows.
fn clients_prepare_length(client: &Client) -> usize {
    assert_eq!(
        client.capabilities & crate::harness::wire::capability::OPTIONAL_METADATA,
        0,
        "MariaDB does not have it"
    );
    12
}
