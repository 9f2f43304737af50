//! The configuration as an operator meets it: a text in, a configuration or errors out.

use std::io;
use std::path::Path;

use proptest::prelude::*;

use super::reference::{Absent, Form, ROOT};
use super::*;

/// A file that is right, without anything optional; line numbers in the tests count from its first line.
const MINIMAL: &str = r#"[[listener]]
name = "app"
address = "0.0.0.0:3306"

[cluster.shop]
topology = "replication"
monitor = { user = "monitor", password = "m" }
[[cluster.shop.server]]
name = "db1"
address = "10.0.0.11:3306"

[pool.write]
cluster = "shop"
role = "primary"

[[user]]
name = "app"
password = "hunter2"
pool = "write"
"#;

fn variable(name: &str) -> Option<String> {
    match name {
        "APP_PASSWORD" => Some("from the environment".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn file(path: &Path) -> io::Result<Vec<u8>> {
    match path.to_str() {
        Some("app.password") => Ok(b"from the file\n".to_vec()),
        Some("empty.password") => Ok(b"\n".to_vec()),
        Some("large.password") => Ok(vec![b'x'; limits::PASSWORD_FILE_BYTES_MAX + 1]),
        Some("long.password") => Ok(vec![b'x'; limits::PASSWORD_BYTES_MAX + 1]),
        Some("nul.password") => Ok(b"a\0b".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, "f", &Environment { online_cpus: 4, variable: &variable, file: &file })
}

fn right(text: &str) -> Config {
    parse(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The errors of a text, a line each, without the file's name.
fn errors(text: &str) -> Vec<String> {
    let errors = parse(text).err().map(|errors| errors.errors).unwrap_or_default();
    errors.iter().map(|error| error.to_string().strip_prefix("f:").expect("errors name the file").to_owned()).collect()
}

/// [`MINIMAL`] with one part of it written differently has exactly this error.
fn check(part: &str, written: &str, expected: &str) {
    assert!(MINIMAL.contains(part), "{part:?} is to be replaced");
    assert_eq!(errors(&MINIMAL.replacen(part, written, 1)), [expected], "with {written:?}");
}

/// [`MINIMAL`] with something added at its end has exactly this error. The addition starts on line 20.
fn check_added(added: &str, expected: &str) {
    assert_eq!(errors(&format!("{MINIMAL}{added}")), [expected], "with {added:?}");
}

#[test]
fn a_minimal_file_has_the_defaults_of_the_contract() {
    let config = right(MINIMAL);
    let seconds = Duration::from_secs;
    let process = Process {
        workers: 4,
        pin_workers: true,
        busy_poll: true,
        io: IoEngine::Auto,
        max_sessions: 10_000,
        shutdown_timeout: seconds(30),
        server_version: None,
        state_directory: "/var/lib/sqluice".into(),
        core_dumps: false,
    };
    assert_eq!(config.process, process);
    assert_eq!(config.log, Log { level: LogLevel::Info, format: LogFormat::Text });
    assert_eq!(config.admin.socket, Path::new("/run/sqluice/admin.sock"));
    assert!(!config.listeners[0].extra);
    let limits = Limits { login_timeout: seconds(10), failed_logins: Some(600), connections_per_address: None };
    assert_eq!(config.limits, limits);
    let listener = &config.listeners[0];
    assert_eq!((&listener.proxies, &listener.access), (&Vec::new(), &Access::default()));

    let cluster = &config.clusters[0];
    assert_eq!(cluster.topology, Topology::Replication);
    assert_eq!(
        (cluster.check_interval, cluster.check_timeout),
        (Duration::from_millis(500), Duration::from_millis(800))
    );
    assert_eq!((cluster.fall, cluster.rise), (3, 2));
    assert_eq!(
        (cluster.connect_timeout, cluster.max_replica_lag, cluster.hold_timeout),
        (seconds(2), seconds(10), seconds(10))
    );
    assert_eq!(cluster.donor_reads, DonorReads::LastResort);
    assert_eq!(cluster.follow_redirects, FollowRedirects::Configured);
    let server = &cluster.servers[0];
    assert_eq!((server.weight, server.role, server.max_connections), (100, RoleSetting::Auto, 0));
    assert_eq!(server.send_proxy, SendProxy::Off);

    assert_eq!((config.pools[0].balance, config.pools[0].fallback), (Balance::LeastConnections, None));
    let user = config.user(b"app").expect("the user is there");
    assert_eq!(user.verifier, Verifier::Cleartext(Secret::new(*b"hunter2")));
    assert_eq!((user.max_connections, &user.backend_user, &user.backend_password), (None, &None, &None));
}

/// Everything there is, written other than its default.
const COMPLETE: &str = r#"
[process]
workers = 2
pin_workers = false
busy_poll = false
io = "epoll"
max_sessions = 1_000
shutdown_timeout = "1m"
server_version = "8.4.3-sqluice"
state_directory = "/srv/sqluice"
core_dumps = true

[log]
level = "debug"
format = "json"
access = "off"

[admin]
socket = "/tmp/admin.sock"
http = "[::1]:9104"
http_host = "lb1.example.com"

[instant_failover]
mode = "all"
target = "lb2.example.com:3306"
error_code = 4200
text = "Please go to"
redirect_url = "off"

[users]
source = "servers"
account = { user = "reads", password = "reads-it" }
pool = "write"
refresh_interval = "1m"
learn_ttl = "1h"

[limits]
login_timeout = "5s"
failed_logins = 0
connections_per_address = 20

[[listener]]
name = "app"
address = "[::]:3306"
tls = "required"
tls_certificate = "tls/app.pem"
tls_key = "tls/app.key"
tls_minimum = "1.3"
tls_client_ca = "tls/clients.pem"
require_client_certificate = true
proxy_protocol_from = ["10.0.0.5", "2001:db8::/32"]
allow_from = ["10.0.0.0/8"]
deny_from = ["10.9.0.0/16"]
[[listener]]
name = "local"
address = "unix:/run/sqluice/mysql.sock"
extra = true

[cluster.shop]
topology = "replication"
monitor = { user = "monitor", password_env = "APP_PASSWORD" }
check_interval = "1s"
check_timeout = "2s"
fall = 5
rise = 4
connect_timeout = "3s"
max_replica_lag = "1h"
hold_timeout = "0s"
donor_reads = "always"
follow_redirects = "any"
tls = "verify-ca"
tls_ca = "/etc/ssl/db-ca.pem"
tls_certificate = "tls/lb.pem"
tls_key = "tls/lb.key"
[[cluster.shop.server]]
name = "db1"
address = "db1.example.com:3306"
weight = 1
role = "auto"
max_connections = 100
tls = "verify-full"
send_proxy = "v2"
[[cluster.shop.server]]
name = "db2"
address = "[2001:db8::12]:3306"
role = "replica"

[cluster."a.rchive"]
topology = "static"
server = [{ name = "old", address = "unix:/run/mysqld.sock", role = "primary" }]

[cluster.orders]
topology = "replication"
monitor = { user = "monitor", password = "m" }
failover = "manual"
admin = { user = "failover", password = "f" }
replication = { user = "repl", password_env = "APP_PASSWORD" }
server = [{ name = "o1", address = "10.0.0.21:3306" }, { name = "o2", address = "10.0.0.22:3306", priority = 0 }]

[pool.write]
cluster = "shop"
role = "primary"
[pool.read]
cluster = "shop"
role = "replica"
balance = "round-robin"
fallback = "write"
[pool.archive]
cluster = "a.rchive"
role = "primary"
balance = "random"

[[user]]
name = "a \"quoted\" name"
password_hash = "*2470c0c06dee42fd1618bb99005adca2ec9d1e19"
pool = "read"
max_connections = 500
backend_user = "reader"
allow_from = ["10.0.0.0/8"]
deny_from = ["10.9.0.0/16"]
backend_password_file = "app.password"
[[user]]
name = "app"
password_env = "APP_PASSWORD"
split = { write = "write", read = "read" }
read_your_writes = { within = "200ms" }
backend_password = "other"
[[user]]
name = "archive"
password_file = "app.password"
pool = "archive"
backend_password_env = "APP_PASSWORD"
[[user]]
name = "nobody"
password = ""
pool = "archive"
"#;

#[test]
fn everything_that_can_be_written_arrives() {
    let config = right(COMPLETE);
    assert_eq!((config.process.workers, config.process.max_sessions), (2, 1000));
    assert_eq!(config.process.server_version.as_deref(), Some("8.4.3-sqluice"));
    assert_eq!(config.process.state_directory.to_str(), Some("/srv/sqluice"));
    assert_eq!(config.listeners[1].address, ListenAddress::Unix("/run/sqluice/mysql.sock".into()));
    let monitor = config.clusters[0].monitor.as_ref().expect("it was written");
    assert_eq!(monitor.password, Secret::new(*b"from the environment"));
    assert_eq!(
        config.clusters[0].servers[1].address,
        ServerAddress::Tcp { host: "2001:db8::12".to_owned(), port: 3306 }
    );

    // Clusters and pools stay in the order of the file.
    let pools: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(pools, ["write", "read", "archive"]);
    assert_eq!(config.pool_by_name("read"), Some(PoolIndex(1)));
    assert_eq!(config.pool(PoolIndex(1)).fallback, Some(PoolIndex(0)));
    assert_eq!(config.cluster(config.pools[2].cluster).name, "a.rchive");

    let quoted = config.user(b"a \"quoted\" name").expect("the user is there");
    assert!(matches!(quoted.verifier, Verifier::DoubleSha1(hash) if hash[0] == 0x24 && hash[19] == 0x19));
    assert_eq!(quoted.max_connections, Some(500));
    assert_eq!(quoted.backend_user.as_deref(), Some("reader"));
    assert_eq!(quoted.backend_password, Some(Secret::new(*b"from the file")));
    let archive = config.user(b"archive").expect("the user is there");
    assert_eq!(archive.verifier, Verifier::Cleartext(Secret::new(*b"from the file")));
    assert_eq!(config.user(b"nobody").expect("the user is there").verifier, Verifier::Cleartext(Secret::new(*b"")));
    let newcomers = config.newcomers.as_ref().expect("they were written");
    assert_eq!(config.user(b"\xFF").expect("who has no entry is served").pool, newcomers.route.pool);
    assert!(matches!(&newcomers.source, Source::Servers { account, .. } if account.user == "reads"));
    assert_eq!(newcomers.learn_ttl, Duration::from_secs(3600));
}

#[test]
fn every_default_is_what_it_would_be_if_written() {
    let mut written = String::new();
    for section in ROOT
        .with_inner()
        .into_iter()
        .filter(|section| !section.title.contains("NAME") && section.title != "[[listener]]")
    {
        let defaults = section.settings.iter().filter_map(|setting| match setting.absent {
            Absent::Is(default) if section.title != "[[user]]" => Some(format!("{} = {default}\n", setting.name)),
            _ => None,
        });
        let lines: String = defaults.collect();
        if !lines.is_empty() {
            written.push_str(&format!("{}\n{lines}", section.title));
        }
    }
    assert_eq!(changes(&right(MINIMAL), &right(&format!("{MINIMAL}{written}"))), []);
}

/// All sections with the settings they have in the documentation of the first releases, one of them not available yet.
const DOCUMENTED: &str = r#"
[process]
workers = "auto"              # threads; default: one per online CPU
pin_workers = true            # each to its own CPU
io = "auto"                   # auto | io_uring | epoll
max_sessions = 10000
shutdown_timeout = "30s"

[log]
level = "info"                # error | warn | info | debug | trace
format = "text"               # text | json
access = "off"

[admin]
socket = "/run/sqluice/admin.sock"

[instant_failover]
mode = "off"
target = "lb2.example.com:3306"
error_code = 4196
redirect_url = "off"

[[listener]]
name = "app"
address = "0.0.0.0:3306"
extra = false

[cluster.shop]
topology = "replication"
monitor = { user = "monitor", password = "..." }
check_interval = "500ms"
check_timeout = "800ms"
max_replica_lag = "10s"
hold_timeout = "10s"

[[cluster.shop.server]]
name = "db1"
address = "10.0.0.11:3306"
weight = 100
role = "auto"

[pool.write]
cluster = "shop"
role = "primary"

[pool.read]
cluster = "shop"
role = "replica"
balance = "least-connections"
fallback = "write"

[[user]]
name = "mysqlmaster"
password_hash = "*B17453F89631AE57EFC1B401AD1C7A59EFD547E5"
pool = "write"

[[user]]
name = "mysqlslave"
password_hash = "*14521EA7B4C66AE94E6CFF753453F89631AE57EF"
pool = "read"

[[user]]
name = "app"
password = "..."
split = { write = "write", read = "read" }
read_your_writes = true
max_connections = 500

[users]
source = "config"
"#;

#[test]
fn the_documented_example_works_as_it_is() {
    let config = right(DOCUMENTED);
    let app = config.user(b"app").expect("the user is there");
    assert_eq!((config.pool(app.pool).name.as_str(), app.max_connections), ("write", Some(500)));
    let split = app.split.expect("it was written");
    assert_eq!((config.pool(split.read).name.as_str(), split.freshness), ("read", Freshness::OwnWrites));
    assert_eq!(config.users[0].split, None);
}

/// [`DOCUMENTED`] with one part written differently has exactly these errors.
fn check_documented(part: &str, written: &str, expected: &[&str]) {
    assert!(DOCUMENTED.contains(part), "{part:?} is to be replaced");
    assert_eq!(errors(&DOCUMENTED.replacen(part, written, 1)), expected, "with {written:?}");
}

#[test]
fn whoever_promotes_needs_replicas_that_can_be_promoted() {
    let promotes = |more: &str| format!("topology = \"replication\"\nfailover = \"manual\"\n{more}");
    let replication = "replication = { user = \"repl\", password = \"r\" }\n";
    let config = right(&MINIMAL.replacen("topology = \"replication\"", &promotes(replication), 1));
    let promotion = config.clusters[0].promotion.as_ref().expect("it is configured");
    assert_eq!((promotion.failover, promotion.admin.user.as_str()), (Failover::Manual, "monitor"));
    assert_eq!((promotion.replication.user.as_str(), config.clusters[0].servers[0].priority), ("repl", 100));
    assert!(right(MINIMAL).clusters[0].promotion.is_none());

    let topology = "topology = \"replication\"";
    let account = "write `replication = { user = \"…\", password = \"…\" }`, the account that replicas use";
    check(topology, &promotes(""), &format!("7:12: a former primary has to follow the new one: {account}"));
    let two = "[[cluster.shop.server]]\nname = \"db2\"\naddress = \"10.0.0.12:3306\"\n[[cluster.shop.server]]";
    let text = MINIMAL.replacen(topology, &promotes(replication), 1).replacen("[[cluster.shop.server]]", two, 1);
    let problem = "without its primary a cluster of two has no majority that could decide";
    let automatic = text.replacen("\"manual\"", "\"automatic\"", 1);
    assert_eq!(errors(&automatic), [format!("7:12: {problem}: write \"manual\", or add a server")]);
    let local = text.replacen("10.0.0.12:3306", "unix:/run/db2.sock", 1);
    let problem = "no replica can follow a UNIX socket: write a host and a port, or leave `failover` out";
    assert_eq!(errors(&local), [format!("13:11: {problem}")]);
    let fixed = text.replacen("10.0.0.12:3306\"", "10.0.0.12:3306\"\nrole = \"replica\"", 1);
    let problem = "with `failover` no server has a role for ever: leave `role` out, or write `priority = 0`";
    assert_eq!(errors(&fixed), [format!("14:8: {problem}")]);
}

#[test]
fn a_user_has_one_pool_or_two_of_one_cluster() {
    let split = "split = { write = \"write\", read = \"read\" }";
    let both = format!("pool = \"write\"\n{split}");
    check_documented(split, &both, &["66:9: `pool` and `split` are two destinations: write only one of them"]);
    check_documented(&format!("{split}\nread_your_writes = true\n"), "", &["62:1: [[user]] needs `pool` or `split`"]);
    check_documented(split, "split = \"read\"", &["65:9: `split` is a text: write a table with write or read"]);
    check_documented(split, "split = { write = \"write\" }", &["65:9: [[user]] split needs `read`: name of a pool"]);
    check_documented(
        split,
        "split = { write = \"write\", read = \"raed\" }",
        &["65:35: there is no pool named \"raed\": write the name of one, like \"read\", or add [pool.raed]"],
    );
    check_documented(
        split,
        "split = { write = \"read\", read = \"read\" }",
        &["65:19: writes would go to servers that are not this cluster's primary: write another pool than \"read\""],
    );
    check_documented(
        "role = \"primary\"\n\n[pool.read]\ncluster = \"shop\"\nrole = \"replica\"\nbalance = \"least-connections\"\nfallback = \"write\"",
        "role = \"primary\"\nfallback = \"read\"\n\n[pool.read]\ncluster = \"shop\"\nrole = \"replica\"",
        &["64:19: writes would go to servers that are not this cluster's primary: \
           take \"read\" from the fallbacks of \"write\", or write another pool"],
    );
}

#[test]
fn a_split_stays_in_its_cluster_over_all_fallbacks() {
    let other = "[cluster.other]\ntopology = \"static\"\nserver = [{ name = \"a\", address = \"a:1\", role = \"primary\" }]\n\
                 [pool.other]\ncluster = \"other\"\nrole = \"primary\"\n";
    let with_other = |part: &str, written: &str| {
        assert!(DOCUMENTED.contains(part), "{part:?} is to be replaced");
        errors(&format!("{}{other}", DOCUMENTED.replacen(part, written, 1)))
    };
    assert_eq!(
        with_other("read = \"read\" }", "read = \"other\" }"),
        ["65:35: reads would leave the cluster of \"write\": write another pool than \"other\""]
    );
    assert_eq!(
        with_other("fallback = \"write\"", "fallback = \"other\""),
        ["65:35: reads would leave the cluster of \"write\": \
          take \"other\" from the fallbacks of \"read\", or write another pool"]
    );
}

#[test]
fn how_fresh_reads_are_is_said_in_one_of_three_ways() {
    let freshness = |written: &str| {
        let written = format!("read_your_writes = {written}");
        right(&DOCUMENTED.replace("read_your_writes = true", &written)).users[2].split.expect("a split").freshness
    };
    assert_eq!(freshness("false"), Freshness::Any);
    assert_eq!(freshness("true"), Freshness::OwnWrites);
    assert_eq!(freshness("{ within = \"200ms\" }"), Freshness::Within(Duration::from_millis(200)));
    let check = |written: &str, expected: &str| {
        check_documented("read_your_writes = true", &format!("read_your_writes = {written}"), &[expected]);
    };
    check("\"yes\"", "66:20: `read_your_writes` is a text: write true, false or { within = \"200ms\" }");
    let other_keys = "66:20: `read_your_writes` has other keys than `within`: write { within = \"200ms\" }";
    check("{ }", other_keys);
    check("{ within = \"1s\", wait = \"1s\" }", other_keys);
    check("{ within = 200 }", "66:20: `read_your_writes` has no unit: write \"200s\" or \"200ms\", with the quotes");
    check("{ within = \"2h\" }", "66:20: `read_your_writes` is out of range: write \"1ms\" to \"1h\"");
}

#[test]
fn what_is_about_a_split_is_refused_without_one() {
    check_added(
        "read_your_writes = false\n",
        "20:20: `read_your_writes` means nothing without `split`: leave it out, or write `split`",
    );
}

#[test]
fn connections_are_kept_for_a_session_or_for_a_transaction() {
    let of = |added: &str| right(&format!("{MINIMAL}{added}")).users[0].reuse;
    assert_eq!(of(""), Reuse::Session);
    assert_eq!(of("backend_reuse = \"session\"\n"), Reuse::Session);
    assert_eq!(of("backend_reuse = \"transaction\"\n"), Reuse::Transaction);
    check_added(
        "backend_reuse = \"statement\"\n",
        "20:17: `backend_reuse` cannot be \"statement\": write \"session\" or \"transaction\"",
    );
}

#[test]
fn servers_are_spoken_to_as_their_cluster_says_but_for_what_they_say_themselves() {
    let config = right(COMPLETE);
    let [first, second] = config.clusters[0].servers.as_slice() else { panic!("there are two") };
    assert_eq!(second.tls, config.clusters[0].tls);
    assert_eq!(second.tls.demand, ServerDemand::VerifyCa);
    assert_eq!(first.tls, ServerTls { demand: ServerDemand::VerifyFull, ..second.tls.clone() });
    let alone = right(MINIMAL);
    assert_eq!(
        alone.clusters[0].servers[0].tls,
        ServerTls { demand: ServerDemand::Disabled, ca: None, identity: None }
    );
    assert_eq!(alone.listeners[0].tls.demand, Encryption::Preferred);
}

#[test]
fn files_of_tls_come_in_pairs_and_with_what_they_are_for() {
    check(
        "address = \"0",
        "tls_certificate = \"a.pem\"\naddress = \"0",
        "3:19: a certificate needs its key: write `tls_key`, too",
    );
    check(
        "address = \"0",
        "tls_key = \"a.key\"\naddress = \"0",
        "3:11: a key needs its certificate: write `tls_certificate`, too",
    );
    check(
        "address = \"0",
        "require_client_certificate = true\naddress = \"0",
        "3:30: `require_client_certificate`: without `tls_client_ca` no certificate of a client can be believed: write it, \
         or leave this out",
    );
}

#[test]
fn relative_paths_of_tls_are_beside_the_configuration_file() {
    let config = right(COMPLETE).with_files_in(Path::new("/etc/sqluice"));
    let files = config.listeners[0].tls.identity.as_ref().expect("they were written");
    assert_eq!(files.certificate, Path::new("/etc/sqluice/tls/app.pem"));
    assert_eq!(config.listeners[0].tls.client_ca.as_deref(), Some(Path::new("/etc/sqluice/tls/clients.pem")));
    let server = &config.clusters[0].servers[0].tls;
    assert_eq!(server.ca.as_deref(), Some(Path::new("/etc/ssl/db-ca.pem")));
    assert_eq!(server.identity.as_ref().expect("of its cluster").key, Path::new("/etc/sqluice/tls/lb.key"));
}

#[test]
fn what_is_not_available_yet_is_refused_by_its_name() {
    check_added(
        "[log]\naccess = \"/a\"\n",
        "21:10: `access` is not available yet: write `access = \"off\"` or leave it out",
    );
}

#[test]
fn whoever_has_no_entry_needs_a_source_and_a_way() {
    let account = "account = { user = \"reads\", password = \"r\" }\n";
    let learn = right(&format!("{MINIMAL}[users]\nsource = \"learn\"\npool = \"write\"\n"));
    let newcomers = learn.newcomers.as_ref().expect("they are let in");
    assert!(matches!(newcomers.source, Source::Learn));
    assert_eq!((newcomers.learn_ttl, newcomers.route.split), (Duration::from_secs(600), None));
    assert!(right(MINIMAL).newcomers.is_none());
    assert!(right(&format!("{MINIMAL}[users]\nsource = \"config\"\n")).newcomers.is_none());

    let to_be_served = "who has no [[user]] entry has to be served somewhere: write `pool` or `split`";
    check_added("[users]\nsource = \"learn\"\n", &format!("21:10: {to_be_served}"));
    check_added(&format!("[users]\nsource = \"servers\"\n{account}"), &format!("21:10: {to_be_served}"));
    check_added(
        "[users]\nsource = \"servers\"\npool = \"write\"\n",
        "21:10: the accounts have to be read by somebody: write `account = { user = \"…\", password = \"…\" }`",
    );
    check_added(
        "[users]\npool = \"write\"\n",
        "21:8: `pool` means nothing with source \"config\": leave it out, or write another `source`",
    );
    check_added(
        &format!("[users]\nsource = \"learn\"\npool = \"write\"\n{account}"),
        "23:11: `account` means nothing with source \"learn\": leave it out, or write another `source`",
    );
}

#[test]
fn networks_are_a_list_of_texts() {
    let check = |written: &str, expected: &str| {
        check(
            "address = \"0",
            &format!("allow_from = {written}\naddress = \"0"),
            &format!("3:14: `allow_from` {expected}"),
        );
    };
    check("\"10.0.0.0/8\"", "is a text: write a list like [\"10.0.0.0/8\"]");
    check("[10]", "is a number: write a text in quotes");
    check("[\"ten\"]", "cannot be \"ten\": write networks like \"10.0.0.0/8\" or \"2001:db8::/32\"");
    let many = vec!["\"::1\""; limits::NETWORKS_MAX + 1].join(", ");
    check(&format!("[{many}]"), "has 257 networks: write at most 256");
}

#[test]
fn the_status_page_has_an_ip_address_and_a_port() {
    let admin = right(&format!("{MINIMAL}[admin]\nhttp = \"127.0.0.1:9104\"\nhttp_host = \"lb1\"\n")).admin;
    assert_eq!(admin.http, Some("127.0.0.1:9104".parse().expect("an address")));
    assert_eq!(admin.http_host.as_deref(), Some("lb1"));
    for wrong in ["localhost:9104", "127.0.0.1", "unix:/run/sqluice/http.sock"] {
        let expected = format!(
            "21:8: `http` needs an IP address and a port, not \"{wrong}\": write \"127.0.0.1:9104\" or \"[::1]:9104\""
        );
        check_added(&format!("[admin]\nhttp = \"{wrong}\"\n"), &expected);
    }
}

#[test]
fn clients_are_sent_where_they_can_be_told_of_and_not_back() {
    let settings =
        right(&format!("{MINIMAL}[instant_failover]\nmode = \"on\"\ntarget = \"lb2:3307\"\n")).instant_failover;
    assert_eq!((settings.mode, settings.error_code), (RedirectMode::On, 4196));
    assert_eq!(settings.target.map(|target| target.to_string()).as_deref(), Some("lb2:3307"));
    assert_eq!(right(MINIMAL).instant_failover.mode, RedirectMode::Off);

    let added = |line: &str| format!("[instant_failover]\n{line}\n");
    check_added(
        &added("mode = \"all\""),
        "21:8: clients are to be sent elsewhere: write `target = \"host:port\"`, or \"off\"",
    );
    let advice = "write a host name or an IPv4 address and a port, like \"lb2.example.com:3306\"";
    for target in ["unix:/run/lb2.sock", "[2001:db8::2]:3306"] {
        check_added(
            &added(&format!("mode = \"on\"\ntarget = \"{target}\"")),
            &format!("22:10: `target` cannot be \"{target}\", which no client takes: {advice}"),
        );
    }
    check_added(
        &added("target = \"0.0.0.0:3306\""),
        "21:10: a listener of this file has the address \"0.0.0.0:3306\": write another one",
    );
    check_added(&added("text = \"go | to\""), "21:8: `text` cannot have a |, which ends it for clients: leave it out");
}

#[test]
fn connectors_that_follow_a_url_are_those_that_are_known_or_those_that_are_listed() {
    let of = |added: &str| right(&format!("{MINIMAL}[instant_failover]\n{added}\n")).instant_failover;
    let names = |settings: &InstantFailover| {
        settings.followers.iter().map(|follower| follower.name.clone()).collect::<Vec<_>>()
    };
    let known = of("redirect_url = \"followers\"");
    assert_eq!((known.redirect_url, names(&known).len()), (RedirectUrl::Followers, 2));
    let listed = of("follower = [{ name = \"MySqlConnector\", from = \"2.4\" }]");
    assert_eq!(names(&listed), ["MySqlConnector"]);
    assert_eq!(listed.followers[0].from.map(|from| from.to_string()).as_deref(), Some("2.4.0"));
    check_added(
        "[[instant_failover.follower]]\nname = \"x\"\nfrom = \"new\"\n",
        "22:8: `from` cannot be \"new\": write the numbers of a release, like \"3.4.0\"",
    );
}

#[test]
fn only_a_user_of_one_server_can_be_handed_on_to_it() {
    assert_eq!(right(&format!("{MINIMAL}handoff = true\n")).users[0].handoff, Handoff::ToServer);
    assert_eq!(right(MINIMAL).users[0].handoff, Handoff::Never);
    let problem =
        |what: &str| format!("clients that are sent on to a server cannot have {what}: leave one of the two out");
    check_added(
        "handoff = true\nbackend_reuse = \"transaction\"\n",
        &format!("20:11: {}", problem("`backend_reuse = \"transaction\"`, which needs us between the two")),
    );
    check(
        "pool = \"write\"\n",
        "split = { write = \"write\", read = \"write\" }\nhandoff = true\n",
        &format!("20:11: {}", problem("`split`, which needs two servers")),
    );
}

#[test]
fn clients_of_extra_listeners_and_unix_sockets_come_in_by_another_way() {
    let entrance =
        |written: &str| right(&MINIMAL.replacen("address = \"0.0.0.0:3306\"", written, 1)).listeners[0].entrance();
    assert_eq!(entrance("address = \"0.0.0.0:3306\""), Entrance::Ordinary);
    assert_eq!(entrance("address = \"0.0.0.0:3306\"\nextra = true"), Entrance::Exempt);
    assert_eq!(entrance("address = \"unix:/run/my.sock\""), Entrance::Exempt);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_one() {
    check("topology", "topologie", "6:1: unknown key \"topologie\" in [cluster.NAME]: write `topology`");
    check_added("pol = \"write\"\n", "20:1: unknown key \"pol\" in [[user]]: write `pool`");
    check_added("pasword_env = \"X\"\n", "20:1: unknown key \"pasword_env\" in [[user]]: write `password_env`");
    check_added("[proces]\n", "20:2: unknown key \"proces\" in the file: write `process`");
    check_added(
        "weight = 3\n",
        "20:1: unknown key \"weight\" in [[user]]: it belongs in [[cluster.NAME.server]]; the nearest here is `split`",
    );
    check_added("\"a\\u001b\" = 3\n", "20:1: unknown key \"a\\u{1b}\" in [[user]]: the nearest known one is `name`");
    let long = "x".repeat(100);
    check_added(&format!("{long} = 3\n"), &format!("20:1: unknown key \"{}…\" in [[user]]: leave it out", &long[..60]));
}

#[test]
fn a_value_of_the_wrong_form_is_refused_with_the_right_one() {
    let process = |setting: &str, expected: &str| {
        check_added(&format!("[process]\n{setting}\n"), expected);
    };
    process("pin_workers = \"yes\"", "21:15: `pin_workers` is a text: write true or false, without quotes");
    process(
        "max_sessions = \"9\"",
        "21:16: `max_sessions` is a text: write a number from 1 to 1000000, without quotes",
    );
    process(
        "max_sessions = 0",
        "21:16: `max_sessions` is out of range: write a number from 1 to 1000000, without quotes",
    );
    process(
        "max_sessions = -1",
        "21:16: `max_sessions` is out of range: write a number from 1 to 1000000, without quotes",
    );
    process(
        "max_sessions = 1.5",
        "21:16: `max_sessions` is a number with a fraction: write a number from 1 to 1000000, without quotes",
    );
    process(
        "max_sessions = 99999999999999999999999999999999999999999999",
        "21:16: `max_sessions` is out of range: write a number from 1 to 1000000, without quotes",
    );
    process(
        "workers = \"two\"",
        "21:11: `workers` cannot be \"two\": write \"auto\", or a number from 1 to 256 without quotes",
    );
    process("workers = 0", "21:11: `workers` is out of range: write a number from 1 to 256, without quotes");
    process("io = \"uring\"", "21:6: `io` cannot be \"uring\": write \"auto\", \"io_uring\" or \"epoll\"");
    process("io = 1", "21:6: `io` is a number: write a text in quotes");
    process(
        "shutdown_timeout = 30",
        "21:20: `shutdown_timeout` has no unit: write \"30s\" or \"30ms\", with the quotes",
    );
    process(
        "shutdown_timeout = \"half an hour\"",
        "21:20: `shutdown_timeout` cannot be \"half an hour\": write a whole number and its unit, like \"250ms\", \"5s\", \"1m\" or \"2h\"",
    );
    process("shutdown_timeout = \"25h\"", "21:20: `shutdown_timeout` is out of range: write \"0s\" to \"24h\"");
    process(
        "server_version = \"8\\n\"",
        "21:18: `server_version` cannot be \"8\\n\": write 1 to 64 bytes without control characters",
    );
    check_added(
        "[pool]\nread = 3\n",
        "21:8: `read` is a number: write a table with cluster, role, balance or fallback",
    );
    check_added("log = 3\n", "20:1: unknown key \"log\" in [[user]]: the nearest known one is `pool`");
    check("[[listener]]", "[listener]", "1:1: `listener` is a table: write [[listener]] above its settings");
    check_added(
        "[limits]\nlogin_timeout = \"1ms\"\n",
        "21:17: `login_timeout` is out of range: write \"100ms\" to \"1h\"",
    );
    check_added(
        "[cluster.empty]\ntopology = \"static\"\nserver = []\n",
        "22:10: there is no server: write at least one [[cluster.NAME.server]]",
    );
}

#[test]
fn addresses_are_checked() {
    check(
        "\"0.0.0.0:3306\"",
        "\"localhost:3306\"",
        "3:11: `address` needs an IP address of this machine before the port, not \"localhost:3306\": \
         write \"0.0.0.0:3306\", \"[::]:3306\" or \"unix:/run/sqluice/mysql.sock\"",
    );
    check(
        "\"10.0.0.11:3306\"",
        "\"10.0.0.11\"",
        "10:11: `address` has no port in \"10.0.0.11\": \
         write \"10.0.0.11:3306\", \"[2001:db8::11]:3306\", \"db1.example.com:3306\" or \"unix:/path\"",
    );
    check_added(
        "[[listener]]\nname = \"b\"\naddress = \"0.0.0.0:3306\"\n",
        "22:11: another listener has the address \"0.0.0.0:3306\": write another one",
    );
    check_added(
        "[[cluster.shop.server]]\nname = \"db2\"\naddress = \"10.0.0.11:3306\"\n",
        "22:11: another server of this cluster has the address \"10.0.0.11:3306\": write another one",
    );
    check_added(
        "[[listener]]\nname = \"b\"\naddress = \"unix:/run/sqluice/admin.sock\"\n",
        "22:11: \"unix:/run/sqluice/admin.sock\" is the socket of [admin]: write another path",
    );
    check_added(
        "[admin]\nsocket = \"admin.sock\"\n",
        "21:10: `socket` needs an absolute path, not \"admin.sock\": write one like /run/sqluice/mysql.sock",
    );
    // The kernel chooses a port for each.
    let any_port = "[[listener]]\nname = \"b\"\naddress = \"127.0.0.1:0\"\n[[listener]]\nname = \"c\"\naddress = \"127.0.0.1:0\"\n";
    assert_eq!(right(&format!("{MINIMAL}{any_port}")).listeners.len(), 3);
}

#[test]
fn names_are_unique_and_references_lead_somewhere() {
    check_added(
        "[[listener]]\nname = \"app\"\naddress = \"0.0.0.0:3307\"\n",
        "21:8: there is another listener named \"app\": write another name",
    );
    check_added(
        "[[user]]\nname = \"app\"\npassword = \"x\"\npool = \"write\"\n",
        "21:8: there is another user named \"app\": write another name",
    );
    check_added(
        "[[cluster.shop.server]]\nname = \"db1\"\naddress = \"10.0.0.12:3306\"\n",
        "21:8: there is another server of this cluster named \"db1\": write another name",
    );
    check(
        "name = \"db1\"",
        "name = \"db 1\"",
        "9:8: `name` cannot be \"db 1\": write 1 to 64 letters, digits, \"-\", \"_\" or \".\"",
    );
    check_added(
        "[pool.\"a/b\"]\ncluster = \"shop\"\nrole = \"primary\"\n",
        "20:7: the name of a pool cannot be \"a/b\": write 1 to 64 letters, digits, \"-\", \"_\" or \".\"",
    );
    check(
        "pool = \"write\"",
        "pool = \"wirte\"",
        "19:8: there is no pool named \"wirte\": write the name of one, like \"write\", or add [pool.wirte]",
    );
    check(
        "cluster = \"shop\"",
        "cluster = \"show\"",
        "13:11: there is no cluster named \"show\": write the name of one, like \"shop\", or add [cluster.show]",
    );
    check(
        "role = \"primary\"",
        "role = \"primary\"\nfallback = \"read\"",
        "15:12: there is no pool named \"read\": write the name of one, like \"write\", or add [pool.read]",
    );
}

#[test]
fn fallbacks_end() {
    check(
        "role = \"primary\"",
        "role = \"primary\"\nfallback = \"write\"",
        "15:12: the fallback of pool \"write\" leads back to it: write another pool, or none",
    );
    // `c` leads to the circle of `a` and `b`, but is not part of it.
    let circle = "[pool]\na = { cluster = \"shop\", role = \"replica\", fallback = \"b\" }\n\
                  b = { cluster = \"shop\", role = \"replica\", fallback = \"a\" }\n\
                  c = { cluster = \"shop\", role = \"replica\", fallback = \"a\" }\n";
    let minimal = MINIMAL
        .replace("[pool.write]", "[pool_write]")
        .replace("[pool_write]\ncluster = \"shop\"\nrole = \"primary\"\n", circle);
    assert_eq!(
        errors(&minimal.replace("pool = \"write\"", "pool = \"c\"")),
        [
            "13:54: the fallback of pool \"a\" leads back to it: write another pool, or none",
            "14:54: the fallback of pool \"b\" leads back to it: write another pool, or none",
        ]
    );
}

#[test]
fn every_pool_can_have_a_member() {
    check(
        "address = \"10.0.0.11:3306\"",
        "address = \"10.0.0.11:3306\"\nrole = \"replica\"",
        "15:8: pool \"write\" would always be empty: no server of cluster \"shop\" can have this role; change it here, or the `role` of a server",
    );
    check(
        "\"replication\"",
        "\"static\"",
        "8:1: topology \"static\" asks no server for its role: write `role = \"primary\"` or `role = \"replica\"`",
    );
    check(
        "topology = \"replication\"\nmonitor = { user = \"monitor\", password = \"m\" }\n",
        "topology = \"galera\"\n",
        "5:10: topology \"galera\" needs an account for the health checks: \
         write `monitor = { user = \"…\", password = \"…\" }`, or make the topology \"static\"",
    );
    check(
        "monitor = { user = \"monitor\", password = \"m\" }\n",
        "",
        "5:10: topology \"replication\" needs an account for the health checks: \
         write `monitor = { user = \"…\", password = \"…\" }`, or make the topology \"static\"",
    );
}

#[test]
fn a_cluster_has_one_primary_at_most() {
    let server = |name, role| {
        format!("[[cluster.shop.server]]\nname = \"{name}\"\naddress = \"{name}:3306\"\nrole = \"{role}\"\n")
    };
    check_added(
        &format!("{}{}{}", server("a", "primary"), server("b", "replica"), server("c", "primary")),
        "31:8: another server of this cluster is the primary, and writes go to one: write `role = \"replica\"`",
    );
}

#[test]
fn of_nothing_there_is_too_much() {
    let listener = |port| format!("[[listener]]\nname = \"l{port}\"\naddress = \"127.0.0.1:{port}\"\n");
    let listeners = |count: usize| (0..count).map(|index| listener(4000 + index)).collect::<String>();
    let most = format!("{}{MINIMAL}", listeners(limits::LISTENERS_MAX - 1));
    assert_eq!(right(&most).listeners.len(), limits::LISTENERS_MAX);
    assert_eq!(errors(&format!("{most}{}", listener(1))), ["1:1: there are 65 [[listener]]: write at most 64"]);

    let pools = |count: usize| {
        (0..count).map(|index| format!("[pool.p{index}]\ncluster = \"shop\"\nrole = \"primary\"\n")).collect::<String>()
    };
    let too_many = errors(&format!("{MINIMAL}{}", pools(limits::POOLS_MAX)));
    assert_eq!(too_many, ["12:2: there are 1025 [pool.NAME]: write at most 1024"]);
}

#[test]
fn a_user_has_exactly_one_password_in_a_form_that_works() {
    let check_password = |written: &str, expected: &str| check("password = \"hunter2\"", written, expected);
    check_password(
        "",
        "16:1: user \"app\" has no password: write one of password, password_file, password_env or password_hash",
    );
    check_password(
        "password_env = \"APP_PASSWORD\"\npassword = \"x\"",
        "18:16: `password` and `password_env` are two passwords: write only one of them",
    );
    check_password(
        "password_file = \"other.password\"",
        "18:17: the password file \"other.password\" cannot be read (entity not found): write the path of a readable file",
    );
    check_password(
        "password_file = \"empty.password\"",
        "18:17: the password file \"empty.password\" is empty: write a password to it",
    );
    check_password(
        "password_file = \"large.password\"",
        "18:17: the password file \"large.password\" has more than 4096 bytes: write only a password to it",
    );
    check_password(
        "password_file = \"long.password\"",
        "18:17: the password in file \"long.password\" has 257 bytes: no server takes more than 256",
    );
    check_password(
        "password_file = \"nul.password\"",
        "18:17: the password in file \"nul.password\" has a NUL byte, which no client can send: write another password",
    );
    check_password(
        "password_env = \"OTHER\"",
        "18:16: the environment variable \"OTHER\" is not set: set it for the process, or use `password_file`",
    );
    check_password(
        "password_env = \"EMPTY\"",
        "18:16: the environment variable \"EMPTY\" is empty: set it to a password",
    );
    check_password("password = 1", "18:12: `password` is a number: write a text in quotes");
    check_password(
        "password = \"<masked>\"",
        "18:12: `password` is what `check --print` shows in place of a secret: write the secret itself",
    );
    let hash =
        "`password_hash` is none that a server stores: write what `sqluice hash-password` prints, or use `password`";
    for wrong in
        ["hunter2", "*ABC", "2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19", "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1EXX"]
    {
        check_password(&format!("password_hash = \"{wrong}\""), &format!("18:17: {hash}"));
    }
    check(
        "password = \"m\"",
        "",
        "7:11: the monitor has no password: write one of password, password_file or password_env",
    );
    check_added(
        "backend_password = \"a\"\nbackend_password_env = \"EMPTY\"\n",
        "21:24: `backend_password` and `backend_password_env` are two passwords: write only one of them",
    );
}

#[test]
fn what_is_missing_is_named_at_its_table() {
    check("name = \"app\"\naddress", "address", "1:1: [[listener]] needs `name`: name");
    check(
        "topology = \"replication\"\n",
        "",
        "5:10: [cluster.NAME] needs `topology`: `\"replication\"`, `\"group-replication\"`, `\"static\"` or `\"galera\"`",
    );
    check("pool = \"write\"\n", "", "16:1: [[user]] needs `pool` or `split`");
    assert_eq!(
        errors(""),
        [
            "1:1: there is no listener: write at least one [[listener]]",
            "1:1: there is no cluster: write at least one [cluster.NAME]",
            "1:1: there is no pool: write at least one [pool.NAME]",
            "1:1: there is no user: write at least one [[user]]",
        ]
    );
}

#[test]
fn all_errors_of_a_file_are_reported_in_its_order() {
    let text = MINIMAL.replace("0.0.0.0:3306", "x").replace("\"replication\"", "\"none\"").replace("pool = ", "pol = ");
    let places: Vec<String> =
        errors(&text).iter().map(|error| error.split(": ").next().expect("a place").to_owned()).collect();
    assert_eq!(places, ["3:11", "6:12", "19:1"]);

    let many = "[[user]]\n".repeat(limits::CONFIG_ERRORS_MAX);
    let refused = parse(&many).expect_err("nothing is right there");
    assert_eq!(refused.errors.len(), limits::CONFIG_ERRORS_MAX);
    assert!(refused.not_shown > 0);
}

#[test]
fn a_broken_line_does_not_hide_the_errors_of_the_others() {
    let text = MINIMAL.replace("name = \"app\"\naddress", "name = app\naddress").replace("topology", "topologie");
    let errors = errors(&text);
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].starts_with("2:8: this is not TOML: "), "{errors:?}");
    assert_eq!(errors[1], "6:1: unknown key \"topologie\" in [cluster.NAME]: write `topology`");
    check_added("[pool.write]\n", "20:7: this is here for the second time: write each key and each table once");
}

#[test]
fn nothing_secret_is_in_an_error_or_in_what_is_printed() {
    let secrets = ["hunter2", "from the file", "from the environment", "other\"", "2470", "\"m\""];
    let printed =
        format!("{}{:?}{}{:?}", print(&right(COMPLETE)), right(COMPLETE), print(&right(MINIMAL)), right(MINIMAL));
    for secret in secrets {
        assert!(!printed.contains(secret), "{secret}");
    }
    for wrong in [
        "password_hash = \"hunter2\"",
        "password = [\"hunter2\"]",
        "password = \"hunter2\\u0000\"",
        "password_hash = \"hunter2",
    ] {
        let errors = errors(&MINIMAL.replace("password = \"hunter2\"", wrong));
        assert!(!errors.is_empty() && !errors.concat().contains("hunter2"), "{errors:?}");
    }
}

#[test]
fn what_is_printed_is_the_same_configuration_once_the_secrets_are_put_back() {
    for text in [MINIMAL, COMPLETE] {
        let config = right(text);
        let printed = print(&config);
        let masked = errors(&printed);
        assert!(
            masked.iter().all(|error| error.ends_with("write the secret itself") || error.contains("must be")),
            "{masked:?}"
        );
        let again = right(
            &printed
                .replace(
                    "password_hash = \"<masked>\"",
                    "password_hash = \"*0000000000000000000000000000000000000000\"",
                )
                .replace("<masked>", "secret"),
        );
        let changed: Vec<String> = changes(&config, &again).iter().map(Change::to_string).collect();
        let secret = ["password changed", "monitor changed", "admin changed", "replication changed", "account changed"];
        assert!(changed.iter().all(|line| secret.iter().any(|words| line.contains(words))), "{changed:?}");
    }
}

#[test]
fn every_setting_is_printed() {
    let config = right(COMPLETE);
    let printed = effective::entries(&config);
    for section in ROOT.with_inner().into_iter().skip(1) {
        let shown: Vec<&str> = printed
            .iter()
            .filter(|entry| std::ptr::eq(entry.section, section))
            .flat_map(|entry| entry.settings.iter().map(|(setting, _)| setting.name))
            .collect();
        for setting in section.settings {
            let has_no_value = match setting.form {
                Form::Only(_) | Form::Tables { .. } => true,
                // Where a password came from is not part of its meaning.
                Form::PasswordFile | Form::PasswordVariable => true,
                // There is this or the other, as among the users.
                _ if (section.title, setting.name) == ("[users]", "split") => true,
                // An account is shown in one piece.
                _ => [
                    "[cluster.NAME] monitor",
                    "[cluster.NAME] admin",
                    "[cluster.NAME] replication",
                    "[[user]] split",
                    "[users] account",
                    "[users] split",
                ]
                .contains(&section.title),
            };
            assert!(
                has_no_value || shown.contains(&setting.name),
                "{} `{}` is not printed",
                section.title,
                setting.name
            );
        }
    }
}

/// What is different between [`COMPLETE`] and itself with one part written differently.
fn check_change(part: &str, written: &str, expected: &[&str]) {
    assert!(COMPLETE.contains(part), "{part:?} is to be replaced");
    let lines: Vec<String> =
        changes(&right(COMPLETE), &right(&COMPLETE.replacen(part, written, 1))).iter().map(Change::to_string).collect();
    assert_eq!(lines, expected, "with {written:?}");
}

#[test]
fn a_change_is_one_line() {
    check_change("weight = 1", "weight = 50", &["server shop/db1: weight 1 -> 50 (for new sessions)"]);
    check_change("workers = 2", "workers = 3", &["process: workers 2 -> 3 (from the next start on)"]);
    check_change("fall = 5", "", &["cluster shop: fall 5 -> 3"]);
    check_change("hold_timeout = \"0s\"", "hold_timeout = \"90s\"", &["cluster shop: hold_timeout \"0s\" -> \"90s\""]);
    check_change("mode = \"all\"", "mode = \"on\"", &["instant failover: mode \"all\" -> \"on\""]);
    check_change("donor_reads = \"always\"\n", "", &["cluster shop: donor_reads \"always\" -> \"last-resort\""]);
    let changes = ["cluster shop: follow_redirects \"any\" -> \"configured\""];
    check_change("follow_redirects = \"any\"\n", "", &changes);
    check_change("fallback = \"write\"", "", &["pool read: fallback \"write\" -> none (for new sessions)"]);
    check_change(
        "backend_password = \"other\"",
        "backend_password = \"another\"",
        &["user app: backend_password changed (for new sessions)"],
    );
    check_change(
        "read = \"read\" }\nread_your_writes = { within = \"200ms\" }",
        "read = \"write\" }",
        &[
            "user app: split { write = \"write\", read = \"read\" } -> { write = \"write\", read = \"write\" } (for new sessions)",
            "user app: read_your_writes { within = \"200ms\" } -> true (for new sessions)",
        ],
    );
    check_change("backend_password = \"other\"", "", &["user app: backend_password changed (for new sessions)"]);
    check_change("password_env = \"APP_PASSWORD\" }", "password = \"new\" }", &["cluster shop: monitor changed"]);
    check_change("*2470", "*2471", &["user a \"quoted\" name: password changed (for new sessions)"]);
    check_change(
        "password_hash = \"*2470c0c06dee42fd1618bb99005adca2ec9d1e19\"",
        "password = \"x\"",
        &["user a \"quoted\" name: password changed (for new sessions)"],
    );
    check_change("name = \"db2\"", "name = \"db3\"", &["server shop/db3 added", "server shop/db2 removed"]);
    // Comments and the order of keys mean nothing.
    check_change("weight = 1\nrole = \"auto\"", "role = \"auto\" # automatic\nweight = 1", &[]);
}

#[test]
fn the_example_works_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning/sqluice.toml");
    let text = std::fs::read_to_string(path).expect("the example is in the repository");
    let any_file = |_: &Path| Ok(b"secret\n".to_vec());
    let environment = Environment { online_cpus: 2, variable: &variable, file: &any_file };
    let config = Config::parse(&text, "tuning/sqluice.toml", &environment).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.clusters[0].servers.len(), config.users.len()), (3, 2));
    assert_eq!(config.pool(config.users[1].pool).fallback, Some(config.users[0].pool));
}

#[test]
fn the_configuration_in_the_readme_works_as_it_is() {
    let readme = include_str!("../../README.md");
    let fenced = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a TOML block");
    let text: String = fenced.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let config = parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.clusters[0].servers.len(), config.users.len()), (3, 3));
}

#[test]
fn a_file_is_loaded_with_the_passwords_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).expect("it can be written");
    write("sqluice.toml", MINIMAL.replace("password = \"hunter2\"", "password_file = \"p\"").as_bytes());
    write("p", b"beside\n");
    let config = Config::load(&folder.path().join("sqluice.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.users[0].verifier, Verifier::Cleartext(Secret::new(*b"beside")));

    write("latin1.toml", b"# a\n# caf\xE9\n");
    let refused = Config::load(&folder.path().join("latin1.toml")).expect_err("it is not UTF-8").to_string();
    assert!(refused.ends_with("latin1.toml:2:6: this is not UTF-8: write the file in UTF-8"), "{refused}");
    let refused = Config::load(&folder.path().join("none.toml")).expect_err("it is not there").to_string();
    assert!(refused.contains("none.toml: cannot be read (No such file"), "{refused}");
}

#[test]
fn the_worst_case_grows_with_the_sessions_and_workers() {
    let config = right(MINIMAL);
    let worst = limits::worst_case_bytes(&config);
    let of_a_connection = limits::OVERFLOW_HIGH_WATER + limits::BURST_BYTES;
    assert!(worst.bytes() > 2 * of_a_connection * config.process.max_sessions as usize);
    assert_eq!(worst.to_string().lines().count(), worst.shares.len() + 1);
    let more = right(&format!("{MINIMAL}[process]\nmax_sessions = 1_000_000\nworkers = 256\n"));
    assert!(limits::worst_case_bytes(&more).bytes() > worst.bytes());
    let split = right(&MINIMAL.replace("pool = \"write\"", "split = { write = \"write\", read = \"write\" }"));
    let sessions = config.process.max_sessions as usize;
    let more = limits::worst_case_bytes(&split).bytes() - worst.bytes();
    assert!(more >= of_a_connection * sessions, "a session may have two servers");
    let fixed = MINIMAL.replace("topology = \"replication\"", "topology = \"static\"");
    let fixed = right(&fixed.replace("[pool.write]", "role = \"primary\"\n[pool.write]"));
    let more = worst.bytes() - limits::worst_case_bytes(&fixed).bytes();
    assert!(more >= limits::SPLIT_BYTES * sessions, "a session may change its server");
}

proptest! {
    #[test]
    fn any_bytes_are_a_configuration_or_errors(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz_config(&bytes);
    }

    /// Almost right files reach further in than arbitrary bytes do.
    #[test]
    fn a_file_with_anything_in_it_is_a_configuration_or_errors(
        at in 0..COMPLETE.len(),
        removed in 0..40_usize,
        inserted in "[\\PC\n\"\\[\\]{}=.#0-9a-z]{0,20}",
    ) {
        let end = (at + removed).min(COMPLETE.len());
        fuzz_config(format!("{}{inserted}{}", &COMPLETE[..at], &COMPLETE[end..]).as_bytes());
    }
}
