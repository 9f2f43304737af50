//! The architecture as a test: who may import whom, where `unsafe` may be, and what the pure modules may not name.
//!
//! It reads the sources, without comments and without tests: a test may use what it likes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may import of the crate. `server`, `demo` and the binary stand above all and may import anything.
const MAY_IMPORT: [(&str, &[&str]); 20] = [
    ("protocol", &[]),
    ("sql", &[]),
    ("slab", &[]),
    ("latency", &[]),
    ("log", &["config"]),
    ("config", &["protocol"]),
    ("topology", &["protocol", "config"]),
    ("route", &["protocol", "sql", "config", "topology"]),
    ("pool", &["config", "topology", "slab"]),
    ("session", &["latency", "protocol", "sql", "config", "topology", "route"]),
    ("io", &["slab"]),
    ("reach", &["protocol", "config", "topology", "tls"]),
    ("accounts", &["protocol", "config", "topology", "io", "reach"]),
    ("outside", &["protocol", "config", "topology"]),
    ("monitor", &["protocol", "config", "topology", "reach"]),
    ("failover", &["protocol", "config", "topology", "monitor", "reach"]),
    ("admin", &["latency", "protocol", "sql", "config", "topology", "route", "failover"]),
    ("standin", &["protocol"]),
    ("tls", &["config"]),
    (
        "worker",
        &[
            "accounts", "outside", "latency", "protocol", "config", "topology", "route", "pool", "session", "io",
            "tls", "slab",
        ],
    ),
];

const MAY_IMPORT_ANYTHING: [&str; 4] = ["server", "demo", "main", "lib"];

/// Values in, values out.
const PURE: [&str; 8] = ["protocol", "sql", "topology", "route", "pool", "session", "slab", "latency"];

/// What brings I/O, a clock, randomness, threads or locks. Addresses and atomics are values.
const IMPURE_NAMES: [&str; 19] = [
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "std::fs",
    "std::process",
    "std::thread",
    "std::env",
    "Mutex",
    "RwLock",
    "Condvar",
    "Instant::now",
    "SystemTime",
    "tokio",
    "getrandom",
    "async",
    "libc::",
    "socket2",
];

#[test]
fn modules_import_only_what_the_architecture_allows() {
    let mut breaches = Vec::new();
    for source in sources() {
        if MAY_IMPORT_ANYTHING.contains(&source.module.as_str()) {
            continue;
        }
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(module, _)| *module == source.module) else {
            breaches.push(format!(
                "{} is of module {:?}, which is not in the table",
                source.path.display(),
                source.module
            ));
            continue;
        };
        for imported in imports(&source.code) {
            if imported != source.module && !allowed.contains(&imported.as_str()) {
                breaches.push(format!("{} imports {imported}", source.path.display()));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn unsafe_code_is_only_in_io() {
    let outside: Vec<_> = sources().into_iter().filter(|source| source.module != "io").collect();
    let breaches: Vec<_> =
        outside.iter().filter(|source| names(&source.code, "unsafe")).map(|source| &source.path).collect();
    assert!(breaches.is_empty(), "unsafe in {breaches:?}");
}

#[test]
fn pure_modules_have_no_io_clock_randomness_threads_or_locks() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| PURE.contains(&source.module.as_str())) {
        for name in IMPURE_NAMES {
            if names(&source.code, name) {
                breaches.push(format!("{} names {name}", source.path.display()));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_kind_of_import_is_seen() {
    let imported = |code: &str| imports(code).into_iter().collect::<Vec<_>>();
    assert_eq!(imported("use crate::config::Limits;"), ["config"]);
    assert_eq!(imported("use crate::{config::{A, B}, io, protocol::{auth::{C}, D}};"), ["config", "io", "protocol"]);
    assert_eq!(imported("let x = crate::io::Io::new(); pub(crate) fn f() {}"), ["io"]);
    assert!(imported("use std::io; use my_crate::io;").is_empty());
}

/// One file of `src`, of the module that its first folder or its name gives.
struct Source {
    path: PathBuf,
    module: String,
    /// Without comments, texts and tests.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            let name = path.file_stem().expect("a source has a name").to_string_lossy().into_owned();
            if name == "tests" || name == "testing" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(&root).expect("found below src").to_owned();
            let first = relative.components().next().expect("a source has a path").as_os_str().to_string_lossy();
            let module = first.trim_end_matches(".rs").to_owned();
            let code = code_of(&fs::read_to_string(&path).expect("a source is text"));
            found.push(Source { path: relative, module, code });
        }
    }
    assert!(found.len() > 20, "the sources were found");
    found
}

/// The text without comments, without what stands in quotes, and without the test module, which ends a file.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    for line in text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().lines() {
        let line = line.split("//").next().unwrap_or_default();
        // Texts that hold a quote are rare enough to be left alone.
        for (index, part) in line.split('"').enumerate() {
            code.push_str(if index % 2 == 0 { part } else { "\"\"" });
        }
        code.push('\n');
    }
    code
}

/// The modules of this crate that some code names by `crate::`, alone or in braces.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(is_name) {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(top_level_names(group)),
            None => found.extend(first_name(rest)),
        }
    }
    found
}

/// The names that a group of imports begins each of its entries with, up to its closing brace.
fn top_level_names(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut is_entry = true;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_entry = true,
            character if is_entry && is_name(character) => {
                names.extend(first_name(&group[at..]));
                is_entry = false;
            }
            _ => {}
        }
    }
    names
}

/// A lower-case first name is a module; others are what `lib.rs` itself defines.
fn first_name(code: &str) -> Option<String> {
    let name: String = code.chars().take_while(|&character| is_name(character)).collect();
    name.starts_with(|first: char| first.is_ascii_lowercase()).then_some(name)
}

fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let after = &code[at + name.len()..];
        !code[..at].ends_with(is_name) && (name.ends_with(':') || !after.starts_with(is_name))
    })
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}
