//! The commands that need no server and no running process.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const GOOD: &str = r#"
[[listener]]
name = "app"
address = "127.0.0.1:3306"

[cluster.shop]
topology = "static"
monitor = { user = "monitor", password = "hidden-one" }

[[cluster.shop.server]]
name = "db1"
address = "10.0.0.11:3306"
role = "primary"

[[cluster.shop.server]]
name = "db2"
address = "10.0.0.12:3306"
role = "replica"

[pool.write]
cluster = "shop"
role = "primary"

[pool.read]
cluster = "shop"
role = "replica"
fallback = "write"

[[user]]
name = "app"
password = "hidden-two"
pool = "write"

[[user]]
name = "reporting"
password_hash = "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"
pool = "read"
"#;

struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("sqluice.toml");
    std::fs::write(&path, text).expect("the file can be written");
    File { _folder: folder, path }
}

fn sqluice(arguments: &[&str], config: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sqluice"))
        .args(arguments)
        .arg("--config")
        .arg(config)
        .output()
        .expect("the binary can be run")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn check_accepts_a_good_file_and_prints_it_without_secrets() {
    let config = file(GOOD);
    let output = sqluice(&["check"], &config.path);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let output = sqluice(&["check", "--print"], &config.path);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for word in ["shop", "db2", "hold_timeout", "max_sessions", "reporting"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
    for secret in ["hidden-one", "hidden-two", "14E65567"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[test]
fn check_tells_the_place_of_each_mistake_and_what_to_write_instead() {
    // Each is one change to the good file, the line it is on, and a word that helps.
    let mistakes = [
        ("pool = \"read\"", "pool = \"raed\"", "read"),
        ("topology = \"static\"", "topolgy = \"static\"", "topology"),
        ("role = \"replica\"\nfallback", "role = \"slave\"\nfallback", "replica"),
        ("fallback = \"write\"", "fallback = \"read\"", "read"),
        ("address = \"10.0.0.12:3306\"", "address = \"10.0.0.12:333306\"", "10.0.0.12:333306"),
        ("password_hash = \"*14E6", "password_hash = \"*14X6", "hash"),
    ];
    for (right, wrong, word) in mistakes {
        assert!(GOOD.contains(right), "{right}");
        let text = GOOD.replacen(right, wrong, 1);
        let at = text.find(wrong).expect("the mistake is there");
        let line = text[..at].matches('\n').count() + 1;
        let config = file(&text);
        let output = sqluice(&["check"], &config.path);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{wrong}: {said}");
        let place = format!("{}:{line}:", config.path.display());
        assert!(said.contains(&place), "{wrong}: no {place} in {said}");
        assert!(said.contains(word), "{wrong}: no {word:?} in {said}");
    }
}

#[test]
fn a_file_that_is_not_there_is_an_error_of_the_configuration() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for command in ["check", "run"] {
        let output = sqluice(&[command], &folder.path().join("none.toml"));
        assert_eq!(output.status.code(), Some(2), "{command}: {}", said(&output));
        assert!(said(&output).contains("none.toml"), "{}", said(&output));
    }
    let output =
        Command::new(env!("CARGO_BIN_EXE_sqluice")).arg("no-such-command").output().expect("the binary can be run");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn explain_works_from_the_file_alone() {
    let config = file(GOOD);
    let output = sqluice(&["explain", "--user", "reporting", "SELECT 1"], &config.path);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for word in ["read", "db2", "db1"] {
        assert!(text.contains(word), "no {word} in {text}");
    }
    let output = sqluice(&["explain", "--user", "nobody", "SELECT 1"], &config.path);
    assert_ne!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn explain_says_what_a_statement_is_taken_for() {
    let split = "[[user]]\nname = \"both\"\npassword = \"x\"\nsplit = { write = \"write\", read = \"read\" }\n";
    let config = file(&format!("{GOOD}{split}"));
    let explained = |sql: &str| {
        let output = sqluice(&["explain", "--user", "both", sql], &config.path);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        said(&output)
    };
    let read = explained("SELECT name FROM t WHERE id = 1");
    assert!(read.starts_with("the statement goes to pool read\n"), "{read}");
    let write = explained("SELECT name FROM t WHERE id = 1 FOR UPDATE");
    assert!(write.starts_with("the statement goes to pool write\n"), "{write}");
    assert!(write.contains("it is a statement for the primary: FOR UPDATE, at `UPDATE`\n"), "{write}");
}

#[test]
fn hash_password_prints_what_a_file_may_hold() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sqluice"))
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary can be run");
    child.stdin.take().expect("stdin is piped").write_all(b"password\n").expect("the binary reads");
    let output = child.wait_with_output().expect("the binary ends");
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    // SELECT PASSWORD('password') of MariaDB 10.11.
    assert!(text.contains("*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"), "{text}");
    // CREATE USER … IDENTIFIED VIA ed25519 USING PASSWORD('password') stores this.
    assert!(text.contains("# password_hash = \""), "{text}");
    assert!(!text.contains("\"password\""), "{text}");
}

#[test]
fn a_command_that_finds_no_process_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (none, left) = (folder.path().join("none.sock"), folder.path().join("left.sock"));
    drop(std::os::unix::net::UnixListener::bind(&left).expect("a socket can be made"));
    for (socket, advice) in
        [(&none, "or say by --config FILE or --socket PATH where its socket is"), (&left, "is gone")]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_sqluice")).args(["status", "--socket"]).arg(socket).output();
        let output = output.expect("the binary can be run");
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert!(said(&output).contains(advice), "{}", said(&output));
    }
}
