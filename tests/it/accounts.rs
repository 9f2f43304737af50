//! Every way to log in: {the account's plugin} × {the client's plugin} × {TLS or not} × {cold, warm} × {what is known of the
//! password} × {TLS towards the server or not}, with a driver that can do all of them, at real servers.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    Account, Client, Engine, Flavour, Server, ServerError, Sqluice, Start, cluster, cluster_on, eventually, fresh_name,
    python, user, wire::capability,
};

const PASSWORD: &str = "sesame7";

/// `*` and the hexadecimal SHA1(SHA1(PASSWORD)).
const DOUBLE_SHA1: &str = "*B8546E3706273EAEE03EA092C89A38847ECC0C51";

/// What a client may open with; with the last two it is told to prove itself otherwise.
const CLIENTS: [&str; 7] = [
    "mysql_native_password",
    "caching_sha2_password",
    "sha256_password",
    "client_ed25519",
    "mysql_clear_password",
    "parsec",
    "auth_gssapi_client",
];

/// What is known of a user's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The password.
    Password,
    /// Its double SHA-1, whatever its account at the servers stores.
    DoubleSha1,
    /// What its account stores.
    Stored,
    /// What its account stores, read from the server.
    Servers,
    /// Nothing.
    Learn,
}

const FORMS: [Form; 5] = [Form::Password, Form::DoubleSha1, Form::Stored, Form::Servers, Form::Learn];

/// One after the other: nobody has logged in before the first two, not even in the server's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    ClearCold,
    TlsCold,
    ClearWarm,
    TlsWarm,
}

const ROUNDS: [Round; 4] = [Round::ClearCold, Round::TlsCold, Round::ClearWarm, Round::TlsWarm];

impl Round {
    fn is_in_tls(self) -> bool {
        matches!(self, Round::TlsCold | Round::TlsWarm)
    }

    fn is_cold(self) -> bool {
        matches!(self, Round::ClearCold | Round::TlsCold)
    }
}

/// An account of the servers, one for each client's plugin, and nobody else's.
#[derive(Clone, Debug)]
struct Kind {
    name: String,
    /// How it is made.
    identified: &'static str,
    takes: Takes,
}

/// Which proofs an account takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Native,
    Another,
    /// It asks for another one first, and keeps both.
    AnotherOrNative,
}

fn kinds(flavour: Flavour) -> Vec<Kind> {
    let kind = |name, identified, takes| Kind { name: fresh_name(name), identified, takes };
    let native = kind("native", "VIA mysql_native_password USING PASSWORD('sesame7')", Takes::Native);
    let ed25519 = kind("ed25519", "VIA ed25519 USING PASSWORD('sesame7')", Takes::Another);
    let either = "VIA ed25519 USING PASSWORD('sesame7') OR mysql_native_password USING PASSWORD('sesame7')";
    let either = kind("either", either, Takes::AnotherOrNative);
    let parsec = kind("parsec", "VIA parsec USING PASSWORD('sesame7')", Takes::Another);
    match flavour {
        Flavour::MariaDb10 => vec![native, ed25519, either],
        Flavour::MariaDb11 => vec![native, ed25519, either, parsec],
        Flavour::MySql97 => vec![
            kind("sha2", "WITH caching_sha2_password BY 'sesame7'", Takes::Another),
            kind("sha256", "WITH sha256_password BY 'sesame7'", Takes::Another),
        ],
    }
}

#[derive(Clone, Debug)]
struct Cell {
    kind: Kind,
    client: &'static str,
    form: Form,
}

impl Cell {
    /// The account at the servers. Who is learnt has one of its own, since whatever is accepted is remembered by its name.
    fn account(&self) -> String {
        let of_form = if self.form == Form::Learn { "l" } else { "" };
        let client = CLIENTS.iter().position(|client| *client == self.client).expect("it is one of them");
        format!("{}{of_form}{client}", self.kind.name)
    }

    /// The name that its client says.
    fn user(&self) -> String {
        match self.form {
            Form::Password | Form::DoubleSha1 | Form::Stored => format!("{:?}_{}", self.form, self.account()),
            Form::Servers | Form::Learn => self.account(),
        }
    }

    /// What the client hears, where it cannot be let in.
    fn obstacle(&self, flavour: Flavour, round: Round) -> Option<&'static str> {
        let gives_password = match self.client {
            "sha256_password" => true,
            "caching_sha2_password" | "mysql_clear_password" => round.is_in_tls(),
            _ => false,
        };
        let is_double_sha1 = match self.form {
            Form::DoubleSha1 => self.kind.takes != Takes::Native,
            // What is stored last.
            Form::Stored => self.kind.takes == Takes::AnotherOrNative,
            Form::Password | Form::Servers | Form::Learn => false,
        };
        match self.form {
            // A server of MySQL has every client asked for its password.
            Form::DoubleSha1 | Form::Stored if is_double_sha1 && flavour.is_mariadb() && !gives_password => {
                Some("only a hash of it is known: let the client use TLS")
            }
            Form::Learn if round == Round::ClearCold => Some("asked for only inside TLS: let the client use TLS"),
            Form::Password | Form::DoubleSha1 | Form::Stored | Form::Servers | Form::Learn => None,
        }
    }
}

fn cells(flavour: Flavour) -> Vec<Cell> {
    let kinds = kinds(flavour);
    let of = |form| {
        let kinds = kinds.clone();
        kinds.into_iter().flat_map(move |kind| CLIENTS.map(|client| Cell { kind: kind.clone(), client, form }))
    };
    FORMS.into_iter().flat_map(of).collect()
}

fn create_accounts(server: &Server, cells: &[Cell]) {
    let mut sql = String::new();
    for cell in cells {
        sql += &format!("CREATE USER IF NOT EXISTS {}@'%' IDENTIFIED {};\n", cell.account(), cell.kind.identified);
    }
    server.root(&sql);
}

/// What the server stores of an account's password, as it may stand in a configuration.
fn stored(server: &Server, account: &str) -> String {
    let of_mariadb = "JSON_VALUE(Priv, '$.authentication_string') FROM mysql.global_priv";
    let of_mysql = "CONCAT('0x', HEX(authentication_string)) FROM mysql.user";
    let from = if server.flavour.is_mariadb() { of_mariadb } else { of_mysql };
    server.root(&format!("SELECT {from} WHERE User = '{account}'")).trim().to_owned()
}

fn configured(server: &Server, cell: &Cell) -> Option<String> {
    let account = cell.account();
    let password = match cell.form {
        Form::Password => format!("password = \"{PASSWORD}\""),
        Form::DoubleSha1 => format!("password_hash = \"{DOUBLE_SHA1}\""),
        Form::Stored => format!("password_hash = \"{}\"", stored(server, &account)),
        Form::Servers | Form::Learn => return None,
    };
    let name = cell.user();
    Some(format!("[[user]]\nname = \"{name}\"\n{password}\nbackend_user = \"{account}\"\npool = \"main\"\n\n"))
}

/// The balancers: one that has entries, one that reads accounts, one that learns.
struct Balancers {
    configured: Sqluice,
    reading: Sqluice,
    learning: Sqluice,
}

impl Balancers {
    fn start(server: &Server, tls: &str, cells: &[Cell]) -> Balancers {
        let start = |users: &str| {
            // The engine has no part in a login.
            let body = spoken_to(server, tls) + users;
            Start::new(Engine::IoUring, body).listener("tls = \"preferred\"").run_with_servers_up(1)
        };
        let entries: String = cells.iter().filter_map(|cell| configured(server, cell)).collect();
        Balancers {
            configured: start(&entries),
            reading: start(&source_servers("30s")),
            learning: start("[users]\nsource = \"learn\"\npool = \"main\"\n"),
        }
    }

    fn of(&self, form: Form) -> &Sqluice {
        match form {
            Form::Password | Form::DoubleSha1 | Form::Stored => &self.configured,
            Form::Servers => &self.reading,
            Form::Learn => &self.learning,
        }
    }

    fn run(&self, cells: &[Cell], round: Round) -> Vec<String> {
        let way = if round.is_in_tls() { "tls" } else { "clear" };
        let mut said = Vec::new();
        // Each balancer has an address of its own.
        for balancer in [&self.configured, &self.reading, &self.learning] {
            let of_this = cells.iter().filter(|cell| self.of(cell.form).address == balancer.address);
            let port = balancer.address.port();
            let arguments: Vec<String> =
                of_this.map(|cell| format!("{port}:{}:{PASSWORD}:{}:{way}", cell.user(), cell.client)).collect();
            let host = balancer.address.ip().to_string();
            let arguments: Vec<&str> =
                [host.as_str()].into_iter().chain(arguments.iter().map(String::as_str)).collect();
            said.extend(python("matrix.py", &arguments).expect_success("PyMySQL").lines().map(str::to_owned));
        }
        said
    }
}

/// A cluster of this server, with what holds for TLS towards it.
fn spoken_to(server: &Server, tls: &str) -> String {
    with_tls(&cluster(server), tls)
}

fn with_tls(body: &str, tls: &str) -> String {
    body.replace("[[cluster.main.server]]\n", &format!("[[cluster.main.server]]\ntls = \"{tls}\"\n"))
}

/// Rules of a PAM service by which a script judges, which has the password on its standard input.
fn judged_by(folder: &TempDir, script: &str) -> String {
    let judge = folder.path().join("judge");
    fs::write(&judge, format!("#!/bin/sh\n{script}\n")).expect("a file can be written");
    fs::set_permissions(&judge, Permissions::from_mode(0o755)).expect("its mode can be set");
    format!("auth required pam_exec.so expose_authtok quiet {}\naccount required pam_permit.so\n", judge.display())
}

fn source_servers(interval: &str) -> String {
    format!(
        "[users]\nsource = \"servers\"\npool = \"main\"\naccount = {{ user = \"reader\", password = \"reader\" }}\n\
         refresh_interval = \"{interval}\"\n"
    )
}

fn create_reader(server: &Server) {
    let table = if server.flavour.is_mariadb() { "global_priv" } else { "user" };
    server.root(&format!(
        "CREATE USER IF NOT EXISTS reader@'%' IDENTIFIED BY 'reader'; GRANT SELECT ON mysql.{table} TO reader@'%'"
    ));
}

fn check_matrix(server: &Server) {
    create_reader(server);
    for tls in ["preferred", "disabled"] {
        check_matrix_towards(server, tls);
    }
}

fn check_matrix_towards(server: &Server, tls: &str) {
    let flavour = server.flavour;
    let cells = cells(flavour);
    create_accounts(server, &cells);
    let balancers = Balancers::start(server, tls, &cells);
    let mut wrong = Vec::new();
    for round in ROUNDS {
        if round.is_cold() && !flavour.is_mariadb() {
            server.root("FLUSH PRIVILEGES");
        }
        let said = balancers.run(&cells, round);
        assert_eq!(said.len(), cells.len(), "each login says something");
        for (cell, said) in cells.iter().zip(said) {
            let is_right = match cell.obstacle(flavour, round) {
                Some(words) => said.starts_with("ERROR") && said.contains(words),
                None => said == format!("{}@%", cell.account()),
            };
            if !is_right {
                wrong.push(format!(
                    "{} from {} by {:?}, {round:?}: {said}",
                    cell.kind.identified, cell.client, cell.form
                ));
            }
        }
    }
    let all = 4 * cells.len();
    assert!(wrong.is_empty(), "{flavour:?}, TLS {tls}: {} of {all}\n{}", wrong.len(), wrong.join("\n"));
    for balancer in [&balancers.configured, &balancers.reading, &balancers.learning] {
        assert!(!balancer.log().contains(PASSWORD), "no password in the log");
    }
}

#[test]
fn every_login_that_can_work_works_at_mariadb_10() {
    check_matrix(Server::shared(Flavour::MariaDb10));
}

#[test]
fn every_login_that_can_work_works_at_mariadb_11() {
    let server = Server::shared(Flavour::MariaDb11);
    server.root("INSTALL SONAME 'auth_parsec'");
    check_matrix(server);
}

/// With a server of its own, since its memory of logins is emptied.
#[test]
fn every_login_that_can_work_works_at_mysql_9() {
    check_matrix(&Server::start(Flavour::MySql97, &[]));
}

/// An account that was made a moment ago, one whose password was changed, and one that is gone.
#[test]
fn accounts_of_the_servers_need_no_second_list() {
    for flavour in [Flavour::MariaDb11, Flavour::MySql97] {
        let server = Server::shared(flavour);
        create_reader(server);
        // Nobody waits for the timer.
        let body = cluster(server) + &source_servers("1h");
        let sqluice = Start::new(Engine::IoUring, body).run_with_servers_up(1);
        let name = fresh_name("made");
        let login = |password: &str| sqluice.login(&Account::new(&name, password));
        assert_eq!(login("one").expect_err("there is nobody of that name").code, 1045);
        server.root(&format!("CREATE USER {name}@'127.%' IDENTIFIED BY 'one'"));
        let mut client = eventually("an account that was just made", || login("one").ok());
        assert_eq!(client.value("SELECT CURRENT_USER()"), format!("{name}@127.%"));
        assert_eq!(login("two").expect_err("it is not its password").code, 1045);

        server.root(&format!("ALTER USER {name}@'127.%' IDENTIFIED BY 'two'"));
        eventually("the new password", || login("two").ok());
        assert_eq!(login("one").expect_err("it was its password").code, 1045);

        server.root(&format!("ALTER USER {name}@'127.%' ACCOUNT LOCK"));
        let (direct, through) = (
            Client::login(server.address, &Account::new(&name, "two")).expect_err("it is locked"),
            login("two").expect_err("it is locked"),
        );
        assert_eq!(through, direct, "the server's own words");
        server.root(&format!("DROP USER {name}@'127.%'"));
        // A server may ask whom it has not any more for the plugin of any account it has; then the accounts are read again.
        eventually("it is gone", || login("two").err().filter(|error| error.code == 1045));
    }
}

/// What is the server's own matter holds from its moment, with accounts that are not read again.
#[test]
fn a_lock_holds_from_its_moment_and_no_longer() {
    for flavour in [Flavour::MariaDb10, Flavour::MariaDb11, Flavour::MySql97] {
        let server = Server::shared(flavour);
        create_reader(server);
        let sqluice = Start::new(Engine::IoUring, cluster(server) + &source_servers("1h")).run_with_servers_up(1);
        let name = fresh_name("locked");
        server.root(&format!("CREATE USER {name}@'%' IDENTIFIED BY 'one' ACCOUNT LOCK"));
        let account = Account::new(&name, "one");
        let locked = Client::login(server.address, &account).expect_err("it is locked");
        assert!([3118, 4151].contains(&locked.code), "{locked}");
        eventually("the account is known", || sqluice.login(&account).err().filter(|error| *error == locked));
        server.root(&format!("ALTER USER {name}@'%' ACCOUNT UNLOCK"));
        let mut client = sqluice.login(&account).expect("it is not locked any more");
        server.root(&format!("ALTER USER {name}@'%' ACCOUNT LOCK"));
        assert_eq!(sqluice.login(&account).expect_err("it is locked again"), locked);
        assert_eq!(client.value("SELECT CURRENT_USER()"), format!("{name}@%"), "who is there stays, as at the server");
        let error = client.change_user(&account).expect_err("it is locked");
        assert_eq!(error.code, locked.code, "{error}");
    }
}

/// A password that expires while it is known here, and one that is renewed without being changed.
#[test]
fn a_password_that_expires_later_is_refused_from_then_on() {
    for flavour in [Flavour::MariaDb11, Flavour::MySql97] {
        let server = Server::shared(flavour);
        create_reader(server);
        let sqluice = Start::new(Engine::IoUring, cluster(server) + &source_servers("1h")).run_with_servers_up(1);
        let name = fresh_name("expiring");
        server.root(&format!("CREATE USER {name}@'%' IDENTIFIED BY 'one'"));
        let account = Account::new(&name, "one");
        let mut client = eventually("the account is known", || sqluice.login(&account).ok());
        server.root(&format!("ALTER USER {name}@'%' PASSWORD EXPIRE"));
        let direct = refusal(Client::login(server.address, &account));
        assert!([1820, 1862].contains(&direct.code), "{direct}");
        assert_eq!(refusal(sqluice.login(&account)), direct);
        assert_eq!(client.value("SELECT CURRENT_USER()"), format!("{name}@%"), "who is there stays, as at the server");
        server.root(&format!("ALTER USER {name}@'%' IDENTIFIED BY 'one'"));
        let mut client = eventually("it is renewed", || sqluice.login(&account).ok());
        assert_eq!(client.value("SELECT CURRENT_USER()"), format!("{name}@%"));
    }
}

/// A server that locks an account after so many wrong passwords says so to whoever comes through as well. It does not hear of
/// those that are judged here, which `failed_logins` bounds.
#[test]
fn an_account_that_wrong_passwords_have_locked_is_locked_for_all() {
    let server = Server::shared(Flavour::MySql97);
    create_reader(server);
    let sqluice = Start::new(Engine::IoUring, cluster(server) + &source_servers("1h")).run_with_servers_up(1);
    let name = fresh_name("guessed");
    let limits = "FAILED_LOGIN_ATTEMPTS 2 PASSWORD_LOCK_TIME 1";
    server.root(&format!("CREATE USER {name}@'%' IDENTIFIED BY 'one' {limits}"));
    let account = Account::new(&name, "one");
    eventually("the account is known", || sqluice.login(&account).ok());
    for _ in 0..3 {
        assert_eq!(sqluice.login(&Account::new(&name, "guess")).expect_err("a wrong password").code, 1045);
    }
    sqluice.login(&account).expect("it is not locked").ping();
    for _ in 0..2 {
        Client::login(server.address, &Account::new(&name, "guess")).expect_err("a wrong password");
    }
    let direct = Client::login(server.address, &account).expect_err("it is locked");
    assert_eq!((direct.code, sqluice.login(&account).expect_err("it is locked")), (3955, direct));
    server.root(&format!("ALTER USER {name}@'%' ACCOUNT UNLOCK"));
    sqluice.login(&account).expect("it is not locked any more").ping();
}

/// A server may take its time to judge a login: here it makes whoever comes behind two wrong passwords wait, longer than it has to
/// greet.
#[test]
fn a_server_that_takes_its_time_over_a_login_is_waited_for() {
    let server = Server::start(Flavour::MySql97, &[]);
    server.root(
        "INSTALL COMPONENT 'file://component_connection_control';
         SET GLOBAL component_connection_control.min_connection_delay = 5000;
         SET GLOBAL component_connection_control.failed_connections_threshold = 2",
    );
    server.root("CREATE USER awaited@'%' IDENTIFIED WITH caching_sha2_password BY 'one'");
    let body = cluster(&server).replace("hold_timeout = \"10s\"", "hold_timeout = \"2s\"")
        + "[[user]]\nname = \"awaited\"\npassword = \"one\"\npool = \"main\"\n";
    let sqluice = Start::new(Engine::IoUring, body).run_with_servers_up(1);
    for _ in 0..2 {
        Client::login(server.address, &Account::new("awaited", "guess")).expect_err("a wrong password");
    }
    let mut client = sqluice.login(&Account::new("awaited", "one")).expect("it is let in, later");
    assert_eq!(client.value("SELECT CURRENT_USER()"), "awaited@%");
}

/// PAM is told the password as it is: inside TLS, or not at all. Who is kept out by that hears what to change.
#[test]
fn an_account_of_pam_is_asked_for_its_password_inside_tls_only() {
    for (cleartext, cells) in [
        ("ON", &[("disabled", "write `tls = \"required\"` for it"), ("required", "Access denied for user")][..]),
        ("OFF", &[("disabled", "pam_use_cleartext_plugin=ON"), ("required", "pam_use_cleartext_plugin=ON")]),
    ] {
        let options = ["--plugin-load-add=auth_pam", &format!("--pam-use-cleartext-plugin={cleartext}")];
        let server = Server::start(Flavour::MariaDb11, &options);
        // Of a service that does not exist: PAM lets nobody in.
        server.root("CREATE USER asked@'%' IDENTIFIED VIA pam USING 'no such service'");
        for (tls, words) in cells {
            let entry = "[[user]]\nname = \"asked\"\npassword = \"secret\"\npool = \"main\"\n";
            let body = spoken_to(&server, tls) + entry;
            let sqluice = Start::new(Engine::IoUring, body).run_with_servers_up(1);
            let error = sqluice.login(&Account::new("asked", "secret")).expect_err("PAM knows nobody");
            assert!(error.message.contains(words), "{cleartext}, {tls}: {error}");
            assert_eq!(sqluice.health("s1"), "up", "it is the account that is wrong");
        }
    }
}

/// PAM may ask far away, and wait for somebody's second factor: it is given the time of a login.
#[test]
fn whoever_pam_knows_is_let_in_however_long_that_takes() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let rules = judged_by(&folder, "sleep 3\ntest \"$(tr -d '\\000')\" = \"the secret\"");
    let options = ["--pam-use-cleartext-plugin=ON"];
    let server = Server::start_with_pam(Flavour::MariaDb11, "deliberate", &rules, &options);
    server.root("CREATE USER asked@'%' IDENTIFIED VIA pam USING 'deliberate'");
    for (password, is_known) in [("the secret", true), ("a guess", false)] {
        let entry = format!("[[user]]\nname = \"asked\"\npassword = \"{password}\"\npool = \"main\"\n");
        let body = spoken_to(&server, "required").replace("hold_timeout = \"10s\"", "hold_timeout = \"2s\"") + &entry;
        let sqluice = Start::new(Engine::IoUring, body).run_with_servers_up(1);
        let answer = sqluice.login(&Account::new("asked", password));
        let who = answer.map(|mut client| client.value("SELECT CURRENT_USER()")).map_err(|error| error.code);
        assert_eq!(who, if is_known { Ok("asked@%".to_owned()) } else { Err(1045) });
    }
}

/// Whoever is asked of PAM waits alone: others log in beside any number of them.
#[test]
fn logins_that_take_long_keep_nobody_else_out() {
    let rules = "auth required pam_exec.so expose_authtok quiet /bin/sleep 8\naccount required pam_permit.so\n";
    let server = Server::start_with_pam(Flavour::MariaDb11, "slow", rules, &["--pam-use-cleartext-plugin=ON"]);
    server.root("CREATE USER asked@'%' IDENTIFIED VIA pam USING 'slow'");
    let body = spoken_to(&server, "required").replace("hold_timeout = \"10s\"", "hold_timeout = \"3s\"")
        + &user("app", "app")
        + &user("asked", "any");
    let sqluice = Start::new(Engine::IoUring, body).workers(1).run_with_servers_up(1);
    thread::scope(|scope| {
        let slow: Vec<_> = (0..100).map(|_| scope.spawn(|| sqluice.login(&Account::new("asked", "any")))).collect();
        let is_asked = |row: &&Value| row["user"] == "asked" && row["server"] == "s1";
        eventually("more log in than may at once", || {
            (sqluice.sessions().iter().filter(is_asked).count() > 64).then_some(())
        });
        sqluice.app().ping();
        assert!(slow.into_iter().all(|login| login.join().expect("it does not panic").is_ok()), "they get in, later");
    });
}

/// A login that is not judged in time is not tried at every server: each would ask the same judge once more.
#[test]
fn a_login_that_nobody_judges_is_not_tried_again_and_again() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let asked = folder.path().join("asked");
    let rules = judged_by(&folder, &format!("echo >> {}\nsleep 12", asked.display()));
    let options = ["--pam-use-cleartext-plugin=ON"];
    let servers = [(); 2].map(|()| Server::start_with_pam(Flavour::MariaDb11, "slow", &rules, &options));
    for server in &servers {
        server.root("CREATE USER asked@'%' IDENTIFIED VIA pam USING 'slow'");
    }
    let body = with_tls(&cluster_on(&[&servers[0], &servers[1]]), "required")
        .replace("hold_timeout = \"10s\"", "hold_timeout = \"1s\"")
        + &user("asked", "any")
        + "[limits]\nlogin_timeout = \"5s\"\n";
    let sqluice = Start::new(Engine::IoUring, body).run_with_servers_up(2);
    let error = sqluice.login(&Account::new("asked", "any")).expect_err("nobody says yes in that time");
    assert!(error.message.contains("it has not judged the login in time"), "{error}");
    assert_eq!(fs::read_to_string(&asked).expect("it was asked").lines().count(), 1);
}

/// A server lets somebody whose password has expired in to change it, or not at all, as it is set and as the client can
/// live with that. Either comes through as the server has it.
#[test]
fn an_expired_password_is_the_servers_matter() {
    let strict = Server::start(Flavour::MariaDb11, &["--disconnect-on-expired-password=1"]);
    for server in [Server::shared(Flavour::MariaDb11), &strict, Server::shared(Flavour::MySql97)] {
        create_reader(server);
        let body = cluster(server) + &source_servers("1h");
        let sqluice = Start::new(Engine::IoUring, body).run_with_servers_up(1);
        let name = fresh_name("expired");
        server.root(&format!("CREATE USER {name}@'%' IDENTIFIED BY 'one' PASSWORD EXPIRE"));
        let unable = Account::new(&name, "one");
        let able = unable.clone().capabilities(unable.capabilities | capability::EXPIRED_PASSWORDS);
        let is_known = || sqluice.login(&able).map_or_else(|error| error.code != 1045, |_| true);
        eventually("the account is known", || is_known().then_some(()));
        for account in [&unable, &able] {
            let direct = refusal(Client::login(server.address, account));
            assert!([1820, 1862].contains(&direct.code), "{direct}");
            assert_eq!(refusal(sqluice.login(account)), direct, "{:?}", server.flavour);
        }
        let mut client = sqluice.login(&able).expect("it may change its password");
        client.execute(&format!("SET PASSWORD = {}", of_two(server)));
        assert_eq!(client.value("SELECT CURRENT_USER()"), format!("{name}@%"));
        drop(client);
        let renewed = Account::new(&name, "two");
        let mut client = eventually("the new password", || sqluice.login(&renewed).ok());
        assert_eq!(client.value("SELECT CURRENT_USER()"), format!("{name}@%"));
    }
}

/// How the server takes a new password in SET PASSWORD.
fn of_two(server: &Server) -> &'static str {
    if server.flavour.is_mariadb() { "PASSWORD('two')" } else { "'two'" }
}

/// What somebody is told who may not do anything: at the login, or by the first statement.
fn refusal(login: Result<Client, ServerError>) -> ServerError {
    match login {
        Ok(mut client) => client.query("SELECT 1").failed(),
        Err(error) => error,
    }
}

/// A server's refusal makes what was learnt be forgotten, and another client's wrong guess does not.
#[test]
fn what_a_server_refuses_is_not_believed_any_more() {
    let server = Server::shared(Flavour::MariaDb11);
    let name = fresh_name("learnt");
    server.root(&format!("CREATE USER {name}@'%' IDENTIFIED BY 'one'"));
    let body = cluster(server) + "[users]\nsource = \"learn\"\npool = \"main\"\n";
    let sqluice = Start::new(Engine::IoUring, body).listener("tls = \"preferred\"").run_with_servers_up(1);
    let login = |password: &str, way: &str| {
        let cell = format!("{}:{name}:{password}:caching_sha2_password:{way}", sqluice.address.port());
        let host = sqluice.address.ip().to_string();
        python("matrix.py", &[&host, &cell]).expect_success("PyMySQL").trim().to_owned()
    };
    let (accepted, inside_tls) = (format!("{name}@%"), "asked for only inside TLS");
    assert!(login("one", "clear").contains(inside_tls));
    assert_eq!(login("one", "tls"), accepted);
    assert_eq!(login("one", "clear"), accepted);
    assert!(login("guessed", "tls").starts_with("ERROR 1045"));
    assert_eq!(login("one", "clear"), accepted, "somebody's guess changes nothing");
    server.root(&format!("ALTER USER {name}@'%' IDENTIFIED BY 'two'"));
    assert!(login("one", "clear").starts_with("ERROR 1045"), "the server says so");
    assert!(login("one", "clear").contains(inside_tls), "and it is forgotten");
    assert_eq!(login("two", "tls"), accepted);
    assert_eq!(login("two", "clear"), accepted);
}
