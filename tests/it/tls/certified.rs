//! Servers that let in nobody without TLS and a certificate: whatever connects to them, for a client or for sqluice itself,
//! shows it and asks for theirs.

use super::*;
use crate::harness::{Client, Engine, Sqluice, Trio};

/// Accounts of three servers of MySQL, each with its own certificates: `watcher` for sqluice itself, `certified`, who may do
/// everything, and `reader`.
fn set() -> &'static Trio {
    let trio = Trio::shared(Flavour::MySql97);
    trio.primary().root(
        "CREATE USER IF NOT EXISTS watcher@'%' IDENTIFIED BY 'watcher' REQUIRE X509; GRANT ALL ON *.* TO watcher@'%'; \
         CREATE USER IF NOT EXISTS certified@'%' IDENTIFIED BY 'certified' REQUIRE X509; \
         GRANT ALL ON *.* TO certified@'%'; \
         CREATE USER IF NOT EXISTS reader@'%' IDENTIFIED BY 'reader' REQUIRE X509; GRANT SELECT ON test.* TO reader@'%'",
    );
    trio.await_replicas();
    trio
}

/// How a server is to be believed, and what it is shown.
fn mutual(server: &Server) -> String {
    let file = |name: &str| server.data(name).display().to_string();
    format!(
        "tls = \"verify-ca\"\ntls_ca = \"{}\"\ntls_certificate = \"{}\"\ntls_key = \"{}\"\n",
        file("ca.pem"),
        file("client-cert.pem"),
        file("client-key.pem")
    )
}

fn in_front_of(trio: &Trio, engine: Engine, tls: impl Fn(&Server) -> String, user: &str) -> Start {
    let mut text = "[cluster.set]\ntopology = \"replication\"\ncheck_interval = \"100ms\"\ncheck_timeout = \"5s\"\n\
                    hold_timeout = \"30s\"\nfailover = \"manual\"\n\
                    monitor = { user = \"watcher\", password = \"watcher\" }\n\
                    admin = { user = \"watcher\", password = \"watcher\" }\n\
                    replication = { user = \"repl\", password = \"repl\" }\n"
        .to_owned();
    for (index, server) in trio.servers.iter().enumerate() {
        let (name, address) = (format!("db{}", index + 1), server.address);
        text += &format!("[[cluster.set.server]]\nname = \"{name}\"\naddress = \"{address}\"\n{}", tls(server));
    }
    text += "[pool]\nwrite = { cluster = \"set\", role = \"primary\" }\nread = { cluster = \"set\", role = \"replica\" }\n\
             [users]\nsource = \"servers\"\naccount = { user = \"watcher\", password = \"watcher\" }\npool = \"write\"\n\
             [[user]]\nname = \"reader\"\npassword = \"reader\"\npool = \"read\"\n\
             [[user]]\nname = \"certified\"\npassword = \"certified\"\n\
             split = { write = \"write\", read = \"read\" }\n";
    Start::new(engine, text + user)
}

fn certified(sqluice: &Sqluice) -> Client {
    sqluice.login(&Account::new("certified", "certified")).expect("it has a certificate there")
}

/// A variable of the session's status, at the server that has this statement.
fn status_of(client: &mut Client, name: &str) -> String {
    client
        .value(&format!("SELECT variable_value FROM performance_schema.session_status WHERE variable_name = '{name}'"))
}

#[test]
fn whatever_connects_to_a_server_has_its_tls_and_its_certificate() {
    let trio = set();
    on_both_engines(|engine| {
        // Checks are let in, and so is a promotion.
        let sqluice = in_front_of(trio, engine, mutual, "").run_with_servers_up(3);
        let plan = sqluice.command(&["switchover", "db2", "--dry-run"]).expect_success("a rehearsal");
        assert!(plan.starts_with("db1 -> db2"), "{plan}");
        // So is the reading of accounts: this user has no entry.
        assert_eq!(sqluice.app().value("SELECT CURRENT_USER()"), "app@%");
        // A session at its primary, and at a replica.
        let mut client = certified(&sqluice);
        client.execute("BEGIN");
        assert_eq!(client.value("SELECT @@port"), trio.primary().address.port().to_string());
        assert_eq!(status_of(&mut client, "Ssl_version"), "TLSv1.3");
        client.execute("COMMIT");
        let mut another = certified(&sqluice);
        another.rows("SELECT * FROM test.begun");
        let theirs = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'certified'";
        let at_replica = |replica: &Server| replica.root(theirs).trim().parse::<u32>().expect("a count");
        // Those of the engine before may still be on their way out.
        eventually("it is read at one replica", || {
            (trio.replicas().iter().map(at_replica).sum::<u32>() == 1).then_some(())
        });
        // An errand: the killed one's server is not the killer's.
        let mut reader = sqluice.login(&Account::new("reader", "reader")).expect("a session at a replica");
        reader.ping();
        client.execute(&format!("KILL {}", reader.connection_id()));
        let is_over = |client: &mut Client| client.try_command(&[0x0E]).and_then(|()| client.read()).err();
        eventually("its session is over", || is_over(&mut reader));
        // One that would go on if it lost its primary is over just as well.
        client.execute(&format!("KILL {}", another.connection_id()));
        eventually("its session is over", || is_over(&mut another));
    });
}

#[test]
fn lent_connections_have_it_and_later_ones_resume_what_earlier_ones_agreed_on() {
    let trio = set();
    on_both_engines(|engine| {
        let lent = "backend_reuse = \"transaction\"\n";
        let sqluice = in_front_of(trio, engine, mutual, lent).run_with_servers_up(3);
        let mut clients: Vec<Client> = (0..4).map(|_| certified(&sqluice)).collect();
        for client in &mut clients {
            client.execute("SET @mine = 1");
            assert_eq!(status_of(client, "Ssl_version"), "TLSv1.3");
            client.execute("BEGIN");
            assert_eq!(status_of(client, "Ssl_version"), "TLSv1.3");
        }
        // All four hold a connection to the primary; the last ones began when the first had been given its ticket.
        assert_eq!(status_of(clients.last_mut().expect("four"), "Ssl_sessions_reused"), "1");
    });
}

#[test]
fn a_server_that_is_not_believed_or_does_not_believe_us_is_not_used_and_the_log_says_why() {
    let trio = set();
    on_both_engines(|engine| {
        let unnamed = |server: &Server| mutual(server).replace("verify-ca", "verify-full");
        let sqluice = in_front_of(trio, engine, unnamed, "").run();
        await_line(&sqluice, &["set/db1", "TLS", "not valid for name"]);
        let nobody = |server: &Server| format!("tls = \"required\"\n# {}\n", server.address);
        let sqluice = in_front_of(trio, engine, nobody, "").run();
        await_line(&sqluice, &["set/db1", "the check is refused", "1045"]);
        let clear = |_: &Server| String::new();
        let sqluice = in_front_of(trio, engine, clear, "").run();
        await_line(&sqluice, &["set/db1", "the check is refused", "1045"]);
    });
}

fn await_line(sqluice: &Sqluice, parts: &[&str]) {
    eventually(&format!("the log has a line with {parts:?}"), || {
        sqluice.log().lines().any(|line| parts.iter().all(|part| line.contains(part))).then_some(())
    });
}
