//! What is left of a password in the process's memory.

use std::fs::{File, read_to_string};
use std::os::unix::fs::FileExt;

use super::*;
use crate::harness::{Flavour, Process, Server, Start, client_cli, cluster, eventually, on_both_engines, user};

/// All passwords begin with this: over the beginning of what is freed an allocator writes its own lists, and what is left
/// of a password there would not be found.
const BEGINNING: &str = "what-is-freed-is-written-over-here:";
/// Known to sqluice by its hash alone: nothing but a client ever says it.
const TYPED: &str = "typed-by-its-user-7391";
const TYPED_HASH: &str = "*729DB00AB60F833A09142EE0B2023BDCB5F86423";
/// What somebody types who does not know it.
const GUESSED: &str = "guessed-by-somebody-5520";
/// Stands in the configuration, so that it is kept: whoever looks for passwords has to find this one.
const KEPT: &str = "kept-in-the-configuration-1846";

/// Clients at the same time.
const CLIENTS: usize = 8;

/// How often a text stands in what a process may write to.
fn found_in_memory(process: Process, text: &str) -> usize {
    let folder = format!("/proc/{}", process.0);
    let memory = File::open(format!("{folder}/mem")).expect("root may look into any process");
    let maps = read_to_string(format!("{folder}/maps")).expect("the process lives");
    let writable = maps.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next()?, fields.next()?);
        let (from, to) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        rights.starts_with("rw").then_some((number(from)?, number(to)?))
    });
    writable.map(|(from, to)| occurrences(&memory, from, to, text.as_bytes())).sum()
}

fn occurrences(memory: &File, from: u64, to: u64, text: &[u8]) -> usize {
    const PIECE: u64 = 1 << 20;
    let mut piece = vec![0; PIECE as usize + text.len() - 1];
    let starts = (from..to).step_by(PIECE as usize);
    let count = |at: u64| {
        let wanted = piece.len().min((to - at) as usize);
        // Of a region that went away meanwhile nothing can be read.
        let read = memory.read_at(&mut piece[..wanted], at).unwrap_or(0);
        piece[..read].windows(text.len()).filter(|window| *window == text).count()
    };
    starts.map(count).sum()
}

#[test]
fn nothing_is_left_of_the_passwords_of_clients_that_have_gone() {
    let server = Server::start(Flavour::MySql97, &[]);
    server.root(&format!("CREATE USER typing@'%' IDENTIFIED WITH caching_sha2_password BY '{BEGINNING}{TYPED}'"));
    on_both_engines(|engine| {
        let typing = format!("[[user]]\nname = \"typing\"\npassword_hash = \"{TYPED_HASH}\"\npool = \"main\"\n\n");
        let body = cluster(&server) + &user("kept", &format!("{BEGINNING}{KEPT}")) + &typing;
        let sqluice = Start::new(engine, body).listener("tls = \"preferred\"").run_with_servers_up(1);
        let (host, port) = (sqluice.address.ip().to_string(), sqluice.address.port().to_string());
        let attempt = |password: &str, way: &[&str]| {
            let (host, port) = (format!("--host={host}"), format!("--port={port}"));
            let password = format!("--password={BEGINNING}{password}");
            let login = ["--user=typing", &host, &port, &password, "--batch", "--skip-column-names"];
            client_cli(Flavour::MySql97, &[&login[..], way, &["-e", "SELECT CURRENT_USER()"]].concat())
        };
        for way in [&["--ssl-mode=REQUIRED"][..], &["--ssl-mode=DISABLED", "--get-server-public-key"]] {
            // Whoever has never been at the server is asked for its password there, too.
            server.root("FLUSH PRIVILEGES");
            // At once, so that what one leaves is not where the next one writes.
            std::thread::scope(|scope| {
                for _ in 0..CLIENTS {
                    scope.spawn(|| assert_eq!(attempt(TYPED, way).expect_success("typing").trim(), "typing@%"));
                    scope.spawn(|| assert!(!attempt(GUESSED, way).success, "nobody guesses it"));
                }
            });
        }
        sqluice.await_no_sessions();
        let process = sqluice.process();
        assert!(found_in_memory(process, KEPT) > 0, "what is kept is found, so the search works");
        assert_eq!((found_in_memory(process, TYPED), found_in_memory(process, GUESSED)), (0, 0));
        let log = sqluice.log();
        assert!([TYPED, GUESSED, KEPT].iter().all(|password| !log.contains(password)), "{log}");
    });
}

/// Of so many users that something of one of them would be left, if anything were.
#[test]
fn a_password_of_the_configuration_is_kept_once_and_goes_with_its_user() {
    const USERS: usize = 300;
    let server = Server::shared(Flavour::MariaDb10);
    // Written so that whoever reads the file has to put it together.
    let rest = &KEPT["kept".len()..];
    let kept = |number| user(&format!("kept{number}"), &format!("{BEGINNING}\\u006Bept{rest}-{number}"));
    let users: String = (0..USERS).map(kept).collect();
    on_both_engines(|engine| {
        let without = cluster(server) + &user("app", "app");
        let sqluice = Start::new(engine, without.clone() + &users).run_with_servers_up(1);
        let process = sqluice.process();
        assert_eq!(found_in_memory(process, KEPT), USERS, "nothing is left of what the file was read with");
        sqluice.write_config(&without);
        sqluice.command(&["reload"]).expect_success("reload");
        eventually("nobody has it any more", || (found_in_memory(process, KEPT) == 0).then_some(()));
    });
}

#[test]
fn a_configuration_that_everybody_may_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::shared(Flavour::MariaDb10);
    on_both_engines(|engine| {
        let sqluice = Start::new(engine, cluster(server) + &user("app", "app")).run();
        let config = sqluice.config_path();
        let set = |mode| std::fs::set_permissions(&config, std::fs::Permissions::from_mode(mode)).expect("it is ours");
        set(0o644);
        sqluice.command(&["reload"]).expect_success("reload");
        await_line(&sqluice, &["WARN", "everybody on this machine may read it", "chmod o-rwx"]);
        set(0o600);
    });
}
