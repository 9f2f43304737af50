//! Logins: every way to hold a password, every plugin a client may start with, and what is refused.

use sha1::{Digest, Sha1};

use crate::compare::relay;
use crate::harness::wire::capability as cap;
use crate::harness::{
    ALL_FLAVOURS, Account, Client, Engine, Flavour, Server, Sqluice, Start, cluster, on_both_engines, on_each_flavour,
    user,
};

const LONG_PASSWORD: &str = "a pässword of more than twenty bytes, with spaces";

/// What a client may name first: those that sqluice knows, and one that it cannot use.
const PLUGINS: [&str; 5] =
    ["mysql_native_password", "caching_sha2_password", "sha256_password", "client_ed25519", "auth_gssapi_client"];

/// `*` and the hexadecimal SHA1(SHA1(password)).
fn native_hash(password: &str) -> String {
    let digits: String =
        Sha1::digest(Sha1::digest(password.as_bytes())).iter().map(|byte| format!("{byte:02X}")).collect();
    format!("*{digits}")
}

/// A user that logs in at the servers under its own name, its password held as `line` says.
fn user_with(name: &str, line: &str) -> String {
    format!("[[user]]\nname = \"{name}\"\n{line}\npool = \"main\"\n\n")
}

/// The accounts of the test servers, each with its password held in another way.
fn every_form(engine: Engine, server: &Server) -> Start {
    let folder = tempfile::Builder::new().prefix("sqluice-it-").tempdir().expect("a folder can be made");
    let file = folder.path().join("password");
    // The line end that an editor leaves is not part of the password.
    std::fs::write(&file, format!("{LONG_PASSWORD}\n")).expect("the file can be written");
    let body = cluster(server)
        + &user("app", "app")
        + &user_with("other", &format!("password_hash = \"{}\"", native_hash("other")))
        + &user_with("longish", &format!("password_file = \"{}\"", file.display()))
        + &user_with("monitor", "password_env = \"SQLUICE_TEST_PASSWORD\"")
        + &user_with("empty", "password = \"\"");
    Start::new(engine, body).environment("SQLUICE_TEST_PASSWORD", "monitor").files(folder)
}

const EVERY_ACCOUNT: [(&str, &str); 5] =
    [("app", "app"), ("other", "other"), ("longish", LONG_PASSWORD), ("monitor", "monitor"), ("empty", "")];

#[test]
fn every_account_logs_in_with_every_plugin_and_every_form_of_password() {
    on_each_flavour(|engine, server| {
        let sqluice = every_form(engine, server).run_with_servers_up(1);
        for (name, password) in EVERY_ACCOUNT {
            for plugin in PLUGINS {
                let account = Account::new(name, password).plugin(plugin);
                let mut client = match sqluice.login(&account) {
                    Ok(client) => client,
                    Err(error) => panic!("{name} cannot log in with {plugin}: {error}"),
                };
                assert_eq!(client.value("SELECT CURRENT_USER()"), format!("{name}@%"));
                client.quit();
            }
        }
    });
}

#[test]
fn a_server_that_forgot_its_cached_logins_is_logged_in_to_again() {
    on_both_engines(|engine| {
        let server = Server::start(Flavour::MySql97, &[]);
        let sqluice = every_form(engine, &server).run_with_servers_up(1);
        for round in ["cold", "warm", "cold again"] {
            if round != "warm" {
                server.root("FLUSH PRIVILEGES");
            }
            for (name, password) in EVERY_ACCOUNT {
                let mut client = sqluice
                    .login(&Account::new(name, password))
                    .unwrap_or_else(|error| panic!("{name}, {round}: {error}"));
                assert_eq!(client.value("SELECT CURRENT_USER()"), format!("{name}@%"), "{round}");
            }
        }
    });
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_the_same() {
    on_each_flavour(|engine, server| {
        // An unknown user is asked in the way of one of the known ones, so these are all of one form.
        for line in ["password = \"app\"".to_owned(), format!("password_hash = \"{}\"", native_hash("app"))] {
            let sqluice = Start::new(engine, cluster(server) + &user_with("app", &line)).run_with_servers_up(1);
            for (plugin, password) in PLUGINS.into_iter().flat_map(|plugin| [(plugin, "wrong"), (plugin, "")]) {
                let attempt = |name| {
                    let mut client = Client::connect(sqluice.address).expect("sqluice greets");
                    let account = Account::new(name, password).plugin(plugin);
                    let error = client.authenticate(&account).expect_err("this cannot log in");
                    assert_eq!(client.await_close(), None, "nothing follows the refusal");
                    (error.message.replace(name, "USER"), error.code, error.state, client.exchange)
                };
                let known = attempt("app");
                assert_eq!((known.1, known.2.as_str()), (1045, "28000"), "{}", known.0);
                assert_eq!(known, attempt("nobody"), "{line}, {plugin}, {password:?}");
            }
            let direct = Client::login(server.address, &Account::new("app", "wrong")).expect_err("wrong password");
            let through = sqluice.login(&Account::new("app", "wrong")).expect_err("wrong password");
            assert_eq!(direct.message, through.message, "the same text as the server's");
            assert!(!sqluice.log().contains("wrong"), "no password in the log");
        }
    });
}

#[test]
fn a_client_may_be_mapped_to_another_account_of_the_servers() {
    on_each_flavour(|engine, server| {
        let mapped = "password = \"front\"\nbackend_user = \"service\"\nbackend_password = \"service-secret\"";
        let hashed = format!(
            "password_hash = \"{}\"\nbackend_user = \"service\"\nbackend_password = \"service-secret\"",
            native_hash("hashed")
        );
        let body = cluster(server) + &user_with("front", mapped) + &user_with("hashed", &hashed);
        let sqluice = Start::new(engine, body).run_with_servers_up(1);
        for name in ["front", "hashed"] {
            for plugin in PLUGINS {
                let mut client = sqluice
                    .login(&Account::new(name, name).plugin(plugin))
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(client.value("SELECT CURRENT_USER()"), "service@%");
            }
        }
        let error =
            sqluice.login(&Account::new("front", "service-secret")).expect_err("that is the other account's password");
        assert_eq!(error.code, 1045);
        let log = sqluice.log();
        assert!(!log.contains("service-secret"), "no password in the log");
    });
}

#[test]
fn a_database_can_be_named_at_login() {
    on_each_flavour(|engine, server| {
        let sqluice = every_form(engine, server).run_with_servers_up(1);
        let mut client = sqluice.login(&Account::new("app", "app").database("test")).expect("test exists");
        assert_eq!(client.value("SELECT DATABASE()"), "test");
        for (account, code) in [
            (Account::new("app", "app").database("no_such_database"), 1049),
            (Account::new("empty", "").database("mysql"), 1044),
        ] {
            let direct = Client::login(server.address, &account).expect_err("the server refuses");
            let through = sqluice.login(&account).expect_err("the server refuses");
            assert_eq!(direct.code, code);
            assert_eq!(through, direct);
        }
    });
}

#[test]
fn connection_attributes_reach_the_server_with_the_clients_address() {
    on_both_engines(|engine| {
        let server = Server::start(Flavour::MySql97, &["--performance-schema=ON"]);
        let sqluice = relay(engine, &server);
        let account = Account::new("app", "app").attributes(&[("program_name", "a test"), ("_client_name", "wire")]);
        let mut client = sqluice.login(&account).expect("app logs in");
        let local = client.socket().local_addr().expect("a socket has an address");
        let rows = client.rows(
            "SELECT attr_name, attr_value FROM performance_schema.session_connect_attrs \
             WHERE processlist_id = CONNECTION_ID() ORDER BY ordinal_position",
        );
        let attributes: Vec<(&str, &str)> = rows
            .iter()
            .map(|row| (row[0].as_deref().expect("a name"), row[1].as_deref().unwrap_or_default()))
            .collect();
        assert!(attributes.starts_with(&[("program_name", "a test"), ("_client_name", "wire")]), "{attributes:?}");
        let own: Vec<_> = attributes.iter().filter(|(name, _)| name.starts_with("_sqluice_")).collect();
        assert!(own.iter().any(|(_, value)| value.contains(&local.ip().to_string())), "{attributes:?}");
        // Attributes of a client that sends none, and as many as the protocol allows.
        let mut bare = sqluice.app();
        assert_eq!(bare.value("SELECT 1"), "1");
        let long = "v".repeat(32_000);
        let account = Account::new("app", "app").attributes(&[("one", &long), ("two", &long)]);
        sqluice.login(&account).expect("64 KiB of attributes are allowed").ping();
    });
}

#[test]
fn a_collation_that_a_server_does_not_know_becomes_its_nearest() {
    on_each_flavour(|engine, server| {
        let sqluice = relay(engine, server);
        let mut client = sqluice.login(&Account::new("app", "app").collation(255)).expect("app logs in");
        // Directly, MariaDB 10.11 would silently fall back to latin1.
        assert_eq!(client.value("SELECT @@character_set_client"), "utf8mb4");
        assert_eq!(client.value("SELECT @@character_set_results"), "utf8mb4");
        for collation in [8, 33, 45, 224] {
            let account = Account::new("app", "app").collation(collation);
            let sql = "SELECT CONCAT_WS('/', @@character_set_client, @@character_set_results, @@collation_connection)";
            let direct = Client::login(server.address, &account).expect("app logs in").value(sql);
            let through = sqluice.login(&account).expect("app logs in").value(sql);
            assert_eq!(direct, through, "collation {collation}");
        }
    });
}

#[test]
fn a_user_can_be_changed_with_a_fresh_challenge() {
    on_each_flavour(|engine, server| {
        let sqluice = every_form(engine, server).run_with_servers_up(1);
        let mut client = sqluice.app();
        for plugin in ["mysql_native_password", "caching_sha2_password"] {
            client.execute("SET @kept = 1");
            for (name, password) in [("other", "other"), ("longish", LONG_PASSWORD), ("empty", ""), ("app", "app")] {
                let account = Account::new(name, password).database("test").plugin(plugin);
                client.change_user(&account).unwrap_or_else(|error| panic!("change to {name} with {plugin}: {error}"));
                assert_eq!(client.value("SELECT CURRENT_USER()"), format!("{name}@%"));
                assert_eq!(client.value("SELECT DATABASE()"), "test");
                assert_eq!(client.value("SELECT @kept"), "NULL");
            }
        }
        let error = client.change_user(&Account::new("other", "wrong")).expect_err("the password is wrong");
        assert_eq!((error.code, error.state.as_str()), (1045, "28000"));
        let mut client = sqluice.app();
        let error = client.change_user(&Account::new("nobody", "wrong")).expect_err("there is no such user");
        assert_eq!((error.code, error.state.as_str()), (1045, "28000"));
    });
}

#[test]
fn what_is_offered_is_what_the_servers_can_do_and_sqluice_carries() {
    on_each_flavour(|engine, server| {
        let sqluice = relay(engine, server);
        let direct = Client::connect(server.address).expect("the server greets").greeting;
        let through = Client::connect(sqluice.address).expect("sqluice greets").greeting;
        let hidden = cap::SSL | cap::COMPRESS | cap::ZSTD;
        assert_eq!(through.capabilities & hidden, 0, "{:#x}", through.capabilities);
        assert_eq!(through.capabilities & !direct.capabilities & !cap::LONG_PASSWORD, 0, "more than the server offers");
        let needed =
            cap::DEPRECATE_EOF | cap::SESSION_TRACK | cap::MULTI_STATEMENTS | cap::PLUGIN_AUTH | cap::LOCAL_FILES;
        assert_eq!(through.capabilities & needed, needed, "{:#x}", through.capabilities);
        // Clients tell the family by it, and some features by its numbers.
        assert_eq!(through.version, direct.version);
        assert!(through.salt.iter().all(|&byte| (1..=127).contains(&byte) && byte != b'$'), "{:02x?}", through.salt);
    });
}

#[test]
fn every_session_has_a_connection_id_of_its_own() {
    on_both_engines(|engine| {
        let sqluice = Start::new(engine, cluster(Server::shared(Flavour::MariaDb10)) + &user("app", "app"))
            .workers(4)
            .run_with_servers_up(1);
        let clients: Vec<_> = (0..40).map(|_| sqluice.app()).collect();
        let mut ids: Vec<u32> = clients.iter().map(Client::connection_id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), clients.len());
        assert!(!ids.contains(&0));
        let listed: Vec<u64> = sqluice.sessions().iter().filter_map(|row| row["id"].as_u64()).collect();
        assert!(ids.iter().all(|&id| listed.contains(&u64::from(id))), "{ids:?} in {listed:?}");
    });
}

#[test]
fn an_account_that_only_sqluice_has_is_refused_as_the_server_refuses_it() {
    on_each_flavour(|engine, server| {
        let body = cluster(server) + &user("only_here", "secret") + &user("other", "drifted");
        let sqluice = Start::new(engine, body).run_with_servers_up(1);
        for (name, password) in [("only_here", "secret"), ("other", "drifted")] {
            let error = sqluice.login(&Account::new(name, password)).expect_err("the server does not know this");
            assert_eq!((error.code, error.state.as_str()), (1045, "28000"), "{error}");
        }
        // It was the account that was wrong, not the server.
        assert_eq!(sqluice.health("s1"), "up");
    });
}

#[test]
fn a_server_may_want_another_plugin_than_the_two_of_the_clients() {
    on_each_flavour(|engine, server| {
        let sqluice = Start::new(engine, cluster(server) + &user("signed", "signed") + &user("app", "app"))
            .run_with_servers_up(1);
        let mut client = sqluice.login(&Account::new("signed", "signed")).expect("ed25519 or sha256_password");
        assert_eq!(client.value("SELECT CURRENT_USER()"), "signed@%");
        sqluice.app().ping();
    });
}

#[test]
fn clients_without_plugin_names_log_in_where_the_servers_take_native_passwords() {
    for flavour in ALL_FLAVOURS.into_iter().filter(|flavour| flavour.is_mariadb()) {
        on_both_engines(|engine| {
            let sqluice = relay(engine, Server::shared(flavour));
            let old = cap::LONG_PASSWORD | cap::PROTOCOL_41 | cap::TRANSACTIONS | cap::SECURE_CONNECTION;
            let account = Account::new("app", "app").plugin("mysql_native_password").capabilities(old);
            let mut client = sqluice.login(&account).expect("an old client can log in");
            assert_eq!(client.value("SELECT CURRENT_USER()"), "app@%");
        });
    }
}

#[test]
fn the_servers_own_limit_on_an_account_reaches_the_client() {
    on_each_flavour(|engine, server| {
        let sqluice: Sqluice = Start::new(
            engine,
            cluster(server).replace("hold_timeout = \"10s\"", "hold_timeout = \"200ms\"") + &user("single", "single"),
        )
        .run_with_servers_up(1);
        let mut first = sqluice.login(&Account::new("single", "single")).expect("one connection is allowed");
        let error = sqluice.login(&Account::new("single", "single")).expect_err("a second one is not");
        assert_eq!((error.code, error.state.as_str()), (1226, "42000"), "{error}");
        first.ping();
    });
}

#[test]
fn a_client_can_come_over_ipv6() {
    on_both_engines(|engine| {
        let free = std::net::TcpListener::bind("[::1]:0").expect("loopback has IPv6");
        let address = free.local_addr().expect("it is bound");
        drop(free);
        let listener = format!("[[listener]]\nname = \"six\"\naddress = \"{address}\"\n\n");
        let server = Server::shared(Flavour::MariaDb10);
        let sqluice = Start::new(engine, listener + &cluster(server) + &user("app", "app")).run_with_servers_up(1);
        let mut client = Client::login(address, &Account::new("app", "app")).expect("IPv6 is served");
        assert_eq!(client.value("SELECT CURRENT_USER()"), "app@%");
        let listed = sqluice.sessions();
        assert!(listed.iter().any(|row| row["address"].as_str().is_some_and(|from| from.starts_with("[::1]:"))));
        let error = Client::login(address, &Account::new("app", "wrong")).expect_err("a wrong password");
        assert!(error.message.contains("'app'@'::1'"), "{error}");
    });
}
