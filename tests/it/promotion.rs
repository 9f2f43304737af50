//! Another server becomes the primary, under a load that notices if a row is lost, repeated, or seen too late.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::checker::Load;
use crate::harness::{Account, Client, Doorman, Engine, Flavour, Server, Sqluice, Start, Trio, client_cli, eventually};

/// Three servers with the account that promotions are made with, which has no more than it needs.
pub(crate) fn set(flavour: Flavour) -> Trio {
    let trio = Trio::start(flavour);
    let needs = match flavour.is_mariadb() {
        true => {
            "REPLICATION SLAVE ADMIN, REPLICATION MASTER ADMIN, REPLICA MONITOR, READ_ONLY ADMIN, CONNECTION ADMIN, PROCESS, RELOAD"
        }
        false => {
            "REPLICATION CLIENT, REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN, CONNECTION_ADMIN, SYSTEM_USER, PROCESS, RELOAD"
        }
    };
    trio.primary()
        .root(&format!("CREATE USER failover@'%' IDENTIFIED BY 'promotes'; GRANT {needs} ON *.* TO failover@'%'"));
    if !flavour.is_mariadb() {
        // By this it is known how often a replica is to hear from its source.
        trio.primary().root("GRANT SELECT ON performance_schema.replication_connection_configuration TO failover@'%'");
    }
    if flavour.is_mariadb() {
        // By these it is known who need not mind read_only: here keeper, by a role.
        trio.primary().root(
            "GRANT SELECT ON mysql.* TO failover@'%'; CREATE ROLE keepers; GRANT READ_ONLY ADMIN ON *.* TO keepers; \
             CREATE USER keeper@'%' IDENTIFIED BY 'keeper'; GRANT ALL ON test.* TO keeper@'%'; GRANT keepers TO keeper@'%'; \
             SET DEFAULT ROLE keepers FOR keeper@'%'",
        );
    }
    trio.await_replicas();
    trio
}

pub(crate) fn in_front_of(trio: &Trio, failover: &str) -> Sqluice {
    in_front_with(trio, failover, "5s")
}

/// A server as it stands in the configuration, with these lines more.
fn server_lines(place: usize, address: SocketAddr, more: &str) -> String {
    format!("[[cluster.set.server]]\nname = \"db{}\"\naddress = \"{address}\"\n{more}", place + 1)
}

/// Behind a `check_timeout`: who does not answer for twice that is down.
fn in_front_with(trio: &Trio, failover: &str, check_timeout: &str) -> Sqluice {
    in_front_that_holds(trio, failover, check_timeout, "60s")
}

/// Writes wait for a primary as long as `hold_timeout` says.
pub(crate) fn in_front_that_holds(trio: &Trio, failover: &str, check_timeout: &str, hold_timeout: &str) -> Sqluice {
    let servers = trio.servers.iter().enumerate();
    let lines = servers.map(|(place, server)| server_lines(place, server.address, ""));
    in_front_of_servers(lines.collect(), failover, check_timeout, hold_timeout)
}

fn in_front_of_servers(servers: String, failover: &str, check_timeout: &str, hold_timeout: &str) -> Sqluice {
    let mut text = format!(
        "[cluster.set]\ntopology = \"replication\"\nmonitor = {{ user = \"monitor\", password = \"monitor\" }}\n\
         check_interval = \"500ms\"\ncheck_timeout = \"{check_timeout}\"\nhold_timeout = \"{hold_timeout}\"\n\
         failover = \"{failover}\"\n\
         admin = {{ user = \"failover\", password = \"promotes\" }}\n\
         replication = {{ user = \"repl\", password = \"repl\" }}\n"
    );
    text += &servers;
    text += "[pool]\nwrite = { cluster = \"set\", role = \"primary\" }\n\
             read = { cluster = \"set\", role = \"replica\", fallback = \"write\" }\n\
             [[user]]\nname = \"app\"\npassword = \"app\"\nsplit = { write = \"write\", read = \"read\" }\n\
             [[user]]\nname = \"other\"\npassword = \"other\"\npool = \"write\"\n";
    Start::new(Engine::IoUring, text).run_with_servers_up(3)
}

/// The name of the server that the balancer takes for the primary.
fn primary(sqluice: &Sqluice) -> Option<String> {
    let status = sqluice.status();
    let servers = status["clusters"][0]["servers"].as_array().expect("the cluster has servers").clone();
    let primary = servers.iter().find(|server| server["role"] == "primary" && server["state"] == "up");
    primary.map(|server| server["name"].as_str().expect("a server has a name").to_owned())
}

pub(crate) fn await_primary(sqluice: &Sqluice, name: &str) {
    eventually(&format!("{name} is the primary"), || (primary(sqluice).as_deref() == Some(name)).then_some(()));
}

/// Until a server follows another one, and has caught up with it.
pub(crate) fn await_following(replica: &Server, primary: &Server) {
    let (ask, port) = match replica.flavour.is_mariadb() {
        true => ("SHOW SLAVE STATUS", primary.address.port()),
        false => ("SHOW REPLICA STATUS", primary.address.port()),
    };
    eventually(&format!("{} follows {port}", replica.address), || {
        let status = replica.root(ask);
        let columns: Vec<&str> = status.split('\t').collect();
        let threads = columns.iter().filter(|column| **column == "Yes").count();
        (columns.contains(&port.to_string().as_str()) && threads >= 2).then_some(())
    });
}

pub(crate) fn is_read_only(server: &Server) -> bool {
    server.root("SELECT @@GLOBAL.read_only").trim() == "1"
}

#[test]
fn a_primary_hands_over_under_load_and_a_promotion_that_fails_is_taken_back() {
    for flavour in [Flavour::MariaDb10, Flavour::MySql97] {
        let trio = set(flavour);
        let sqluice = in_front_of(&trio, "manual");
        let mut load = Load::start(sqluice.address, trio.primary(), 4);
        load.await_writes(10);
        await_primary(&sqluice, "db1");

        let told = sqluice.command(&["switchover", "db2", "--dry-run"]).expect_success("switchover --dry-run");
        assert!(told.contains("read_only = ON") && told.contains("read_only = OFF"), "{told}");
        assert!(!told.contains("= 'repl',") || !told.contains("PASSWORD = 'repl'"), "{told}");
        assert!(is_read_only(&trio.servers[1]) && !is_read_only(trio.primary()), "nothing was done");

        // The third one cannot be opened: its account lost what that needs.
        let [_, second, third] = &trio.servers;
        let privilege = if flavour.is_mariadb() { "READ_ONLY ADMIN" } else { "SYSTEM_VARIABLES_ADMIN" };
        let closed = if flavour.is_mariadb() { "" } else { "SET GLOBAL super_read_only = OFF; " };
        let close = if flavour.is_mariadb() { "" } else { "; SET GLOBAL super_read_only = ON" };
        third.root(&format!("{closed}SET sql_log_bin = 0; REVOKE {privilege} ON *.* FROM failover@'%'{close}"));
        load.try_out("an attempt that fails and is taken back");
        let failed = sqluice.command(&["switchover", "db3"]);
        assert!(!failed.success, "{failed:?}");
        assert!(failed.stderr.contains("everything was taken back"), "{}", failed.stderr);
        assert!(!failed.stderr.contains("cut off"), "{}", failed.stderr);
        assert!(!is_read_only(trio.primary()) && is_read_only(third), "{flavour:?}");
        load.await_writes(10);
        await_following(third, trio.primary());
        await_primary(&sqluice, "db1");

        set_heartbeat(third, 5);
        // Nobody writes on where it would be lost; who cannot write need not go.
        let keeper = Account::new("keeper", "keeper").database("test");
        let keeper = || Client::login(trio.primary().address, &keeper).expect("keeper logs in");
        let mut keeper = flavour.is_mariadb().then(keeper);
        let mut bystander = trio.primary().direct();
        load.try_out("a planned change");
        let done = hand_over_amid_a_transaction(&sqluice, trio.primary());
        keeper.iter_mut().for_each(|keeper| assert!(keeper.await_close().is_none_or(|error| error.code == 1927)));
        bystander.ping();
        assert!(done.contains("db2 is the primary"), "{done}");
        let page = sqluice.command(&["doctor"]).stdout;
        assert!(!page.contains("replicates from nobody"), "what was so during the change is told no more: {page}");
        load.await_writes(10);
        await_primary(&sqluice, "db2");
        assert!(is_read_only(trio.primary()) && !is_read_only(second));
        await_following(trio.primary(), second);
        await_following(third, second);
        assert_eq!([trio.primary(), third].map(heartbeat), [1.0, 5.0], "{flavour:?}: as it was set, or at others");
        let refused = sqluice.command(&["switchover", "db2"]);
        assert!(refused.stderr.contains("db2 is the primary already"), "{}", refused.stderr);

        // And back again: the old primary has followed the new one.
        load.try_out("the way back");
        sqluice.command(&["switchover", "db1"]).expect_success("switchover");
        load.await_writes(10);
        await_following(second, trio.primary());
        let kept = sqluice.status()["successions"].clone();
        let changes: Vec<(&str, &str)> = kept
            .as_array()
            .into_iter()
            .flatten()
            .map(|of| (of["from"].as_str().unwrap(), of["to"].as_str().unwrap()))
            .collect();
        assert_eq!(changes, [("db1", "db2"), ("db2", "db1")], "{kept}");
        assert!(kept[0]["decided"].is_number() && kept[0]["rerouted"].is_number(), "{kept}");
        let report = load.stop(trio.primary());
        report.expect_quiet(&format!("{flavour:?}: a planned change there and back, and one that failed"));
    }
}

/// Servers that insist on a header get one from whoever promotes them, as they do from the health checks.
#[test]
fn a_promotion_begins_each_connection_as_its_server_wants_it() {
    let trio = set(Flavour::MariaDb10);
    let doors = [0, 1, 2].map(|place| Doorman::before(trio.servers[place].address));
    for server in &trio.servers {
        server.root("SET GLOBAL proxy_protocol_networks = '127.0.0.0/8'");
    }
    trio.replicas().iter().for_each(|replica| replica.follow_at(doors[0].address));
    let lines =
        doors.iter().enumerate().map(|(place, door)| server_lines(place, door.address, "send_proxy = \"v2\"\n"));
    let sqluice = in_front_of_servers(lines.collect(), "manual", "5s", "60s");
    await_primary(&sqluice, "db1");
    sqluice.command(&["switchover", "db2"]).expect_success("switchover");
    await_primary(&sqluice, "db2");
    for door in &doors {
        let guests = door.guests();
        let is_there = |user: &str, is_introduced| {
            guests.iter().any(|guest| guest.user == user && guest.is_introduced == is_introduced)
        };
        for user in ["monitor", "failover"] {
            assert!(is_there(user, true) && !is_there(user, false), "{user}: {guests:?}");
        }
    }
}

/// A planned change to db2 waits for a transaction that is open, and not longer than that is. What was said of it.
fn hand_over_amid_a_transaction(sqluice: &Sqluice, primary: &Server) -> String {
    let looks = || sqluice.log().matches("db1: let open transactions end").count();
    let before = looks();
    let mut writer = primary.direct();
    writer.execute("BEGIN");
    writer.execute("INSERT INTO test.begun VALUES (50)");
    let done = thread::scope(|scope| {
        let handing = scope.spawn(|| sqluice.command(&["switchover", "set/db2"]).expect_success("switchover"));
        eventually("the change has begun", || (looks() > before).then_some(()));
        // Not over at the first look, nor at the next one: InnoDB shows its transactions as they were 120 ms ago.
        let begun = Instant::now();
        while begun.elapsed() < 3 * Duration::from_millis(120) {
            writer.execute("INSERT INTO test.begun VALUES (51)");
            writer.execute("DELETE FROM test.begun WHERE id = 51");
        }
        writer.execute("COMMIT");
        handing.join().expect("the command ends")
    });
    assert!(!done.contains("cut off"), "{done}");
    done
}

/// From now on a commit is acknowledged when a replica has received it: what is acknowledged survives the primary.
fn await_receipts(primary: &Server, replicas: &[&Server]) {
    if primary.flavour.is_mariadb() {
        primary.root(
            "SET GLOBAL rpl_semi_sync_master_timeout = 600000, GLOBAL rpl_semi_sync_master_enabled = ON, \
                      GLOBAL rpl_semi_sync_master_wait_point = AFTER_SYNC",
        );
        for replica in replicas {
            replica.root("SET GLOBAL rpl_semi_sync_slave_enabled = ON; STOP SLAVE IO_THREAD; START SLAVE IO_THREAD");
        }
    } else {
        install(primary, "source");
        for replica in replicas {
            replica.root("SET GLOBAL super_read_only = OFF");
            install(replica, "replica");
            replica.root("SET GLOBAL super_read_only = ON");
            replica
                .root("SET GLOBAL rpl_semi_sync_replica_enabled = ON; STOP REPLICA IO_THREAD; START REPLICA IO_THREAD");
        }
    }
    // Writes that waited for a receipt before anybody gives one would wait for ever.
    let clients = format!("\t{}", replicas.len());
    eventually("the primary knows who gives receipts", || {
        let status = primary.root("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync%clients'");
        status.trim_end().ends_with(&clients).then_some(())
    });
    if !primary.flavour.is_mariadb() {
        primary.root("SET GLOBAL rpl_semi_sync_source_timeout = 600000, GLOBAL rpl_semi_sync_source_enabled = ON");
    }
}

/// One of the two plugins of MySQL for semi-synchronous replication, unless it is there.
fn install(server: &Server, half: &str) {
    let there = "SELECT COUNT(*) FROM information_schema.PLUGINS WHERE PLUGIN_NAME =";
    if server.root(&format!("{there} 'rpl_semi_sync_{half}'")).trim() == "0" {
        server.root(&format!("SET sql_log_bin = 0; INSTALL PLUGIN rpl_semi_sync_{half} SONAME 'semisync_{half}.so'"));
    }
}

/// Until all balancers agree on a primary other than that one; its place in the set.
fn await_another_primary(balancers: &[&Sqluice], old: usize) -> usize {
    let old = format!("db{}", old + 1);
    let name = eventually("all balancers agree on another primary", || {
        let mut names = balancers.iter().map(|sqluice| primary(sqluice));
        let first = names.next().flatten().filter(|name| *name != old)?;
        names.all(|name| name.as_ref() == Some(&first)).then_some(first)
    });
    name.strip_prefix("db").and_then(|number| number.parse::<usize>().ok()).expect("a number") - 1
}

#[test]
fn of_two_balancers_one_replaces_a_dead_primary_and_who_comes_back_with_more_stays_out() {
    let trio = set(Flavour::MariaDb10);
    let [first, second, third] = &trio.servers;
    await_receipts(first, &[second, third]);
    let balancers = [in_front_of(&trio, "automatic"), in_front_of(&trio, "automatic")];
    let mut load = Load::start(balancers[0].address, first, 4);
    load.await_writes(20);
    load.try_out("kill -9");
    first.kill();
    let new = await_another_primary(&[&balancers[0], &balancers[1]], 0);
    load.await_writes(20);
    let done: Vec<bool> = balancers.iter().map(|sqluice| sqluice.log().contains("take writes")).collect();
    assert_eq!(done.iter().filter(|done| **done).count(), 1, "one of them did it: {done:?}");
    let [new, other] = [&trio.servers[new], &trio.servers[3 - new]];
    await_following(other, new);

    // It comes back open, and with a row that nobody else has.
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("first.sql");
    fs::write(&file, "CREATE TABLE test.astray (id INT);\n").expect("a file can be written");
    // Servers may run as another user.
    for path in [folder.path(), &file] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("they are ours");
    }
    first.restart(&[&format!("--init-file={}", file.display())]);
    eventually("the old primary is closed", || is_read_only(first).then_some(()));
    eventually("somebody says what is wrong with it", || {
        balancers.iter().any(|sqluice| sqluice.log().contains("it has transactions that")).then_some(())
    });
    load.await_writes(20);
    assert!(first.root("SHOW SLAVE STATUS").trim().is_empty(), "it follows nobody");
    let report = load.stop(new);
    report.expect_clean("kill -9 of the primary of MariaDB, two balancers");
}

/// The primary hangs under load with two transactions open there, and goes on after another one took its place. The place
/// of that one.
fn hang(trio: &Trio, old: usize, sqluice: &Sqluice, load: &Load) -> usize {
    let server = &trio.servers[old];
    // One could go on at another server, the other has a table that is only there.
    let mut open = [sqluice.app(), sqluice.app()];
    open[1].execute("CREATE TEMPORARY TABLE test.own (id INT)");
    for (number, client) in open.iter_mut().enumerate() {
        client.execute("BEGIN");
        client.execute(&format!("INSERT INTO test.begun VALUES ({})", 100 + number));
    }
    server.pause();
    let new = await_another_primary(&[sqluice], old);
    load.await_writes(20);
    let [moved, bound] = &mut open;
    let lost = moved.query("COMMIT").failed();
    assert_eq!((lost.code, &*lost.state), (1213, "40001"), "{lost}");
    bound.await_close();

    server.resume();
    let is_closed = || ask(server, "SELECT @@GLOBAL.read_only").filter(|answer| answer == "1");
    eventually("the old primary is closed", is_closed);
    let count = || ask(server, "SELECT COUNT(*) FROM test.begun WHERE id >= 100");
    assert_eq!(eventually("the old primary answers", count), "0", "nobody commits there");
    load.await_writes(20);
    new
}

/// What it says itself. Whoever could write there is ended, and this look may be one of them: that is no answer.
fn ask(server: &Server, sql: &str) -> Option<String> {
    let port = format!("--port={}", server.address.port());
    let who = ["--host=127.0.0.1", &port, "--user=app", "--password=app"];
    let finished = client_cli(server.flavour, &[&who[..], &["--batch", "--skip-column-names", "-e", sql]].concat());
    finished.success.then(|| finished.stdout.trim().to_owned())
}

/// A replica hears from its source after so many seconds, at least.
fn set_heartbeat(replica: &Server, seconds: u32) {
    replica.root(&match replica.flavour.is_mariadb() {
        true => format!("STOP SLAVE; CHANGE MASTER TO MASTER_HEARTBEAT_PERIOD = {seconds}; START SLAVE"),
        false => {
            format!("STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_HEARTBEAT_PERIOD = {seconds}; START REPLICA")
        }
    });
}

fn heartbeat(replica: &Server) -> f64 {
    let shown = replica.root(match replica.flavour.is_mariadb() {
        true => {
            "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'SLAVE_HEARTBEAT_PERIOD'"
        }
        false => "SELECT HEARTBEAT_INTERVAL FROM performance_schema.replication_connection_configuration",
    });
    shown.trim().parse().unwrap_or_else(|_| panic!("{shown} is no period"))
}

/// With the default it would be noticed late that the primary hangs.
fn a_slow_heartbeat_is_told_of(sqluice: &Sqluice, replica: &Server) {
    let beat = |seconds| set_heartbeat(replica, seconds);
    let await_doctor = |is_well| {
        let is_so = || sqluice.command(&["doctor"]).success == is_well;
        eventually(&format!("doctor: all is well is {is_well}"), || is_so().then_some(()));
    };
    await_doctor(true);
    beat(30);
    eventually("doctor names the replica", || {
        let page = sqluice.command(&["doctor"]).stdout;
        page.contains("db3 would notice late that its primary hangs (heartbeat period 30 s").then_some(())
    });
    beat(1);
    await_doctor(true);
}

#[test]
fn a_primary_of_mariadb_that_hangs_is_replaced_and_closed_when_it_goes_on() {
    let trio = set(Flavour::MariaDb11);
    let [first, second, third] = &trio.servers;
    await_receipts(first, &[second, third]);
    let sqluice = in_front_with(&trio, "automatic", "2s");
    a_slow_heartbeat_is_told_of(&sqluice, third);
    let load = Load::start(sqluice.address, first, 4);
    load.await_writes(20);
    let new = hang(&trio, 0, &sqluice, &load);
    await_following(&trio.servers[3 - new], &trio.servers[new]);
    let report = load.stop(&trio.servers[new]);
    report.expect_clean("SIGSTOP of the primary of MariaDB");
}

#[test]
fn a_primary_of_mysql_that_died_follows_when_it_comes_back_and_the_next_ones_hang_and_die() {
    let trio = set(Flavour::MySql97);
    let sqluice = in_front_with(&trio, "automatic", "2s");
    trio.primary().kill();
    let new = await_another_primary(&[&sqluice], 0);
    let mut load = Load::start(sqluice.address, &trio.servers[new], 4);
    load.await_writes(10);
    trio.primary().restart(&["--innodb-flush-log-at-trx-commit=2"]);
    await_following(trio.primary(), &trio.servers[new]);
    assert!(is_read_only(trio.primary()));
    sqluice.await_servers_up(3);

    let others: Vec<&Server> = (0..3).filter(|&at| at != new).map(|at| &trio.servers[at]).collect();
    await_receipts(&trio.servers[new], &others);
    load.await_writes(20);
    load.try_out("SIGSTOP");
    let newest = hang(&trio, new, &sqluice, &load);

    // The one that hung may have more than the others now, and then follows nobody.
    let sound = &trio.servers[3 - new - newest];
    await_following(sound, &trio.servers[newest]);
    await_receipts(&trio.servers[newest], &[sound]);
    load.await_writes(20);
    load.try_out("kill -9");
    trio.servers[newest].kill();
    let last = await_another_primary(&[&sqluice], newest);
    load.await_writes(20);
    let report = load.stop(&trio.servers[last]);
    report.expect_clean("SIGSTOP of a primary of MySQL, kill -9 of the next one");
}
