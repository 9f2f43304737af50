//! What is built on: licences are those that `deny.toml` allows, and all comes from the one registry.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The list of that name in a table of `deny.toml`.
fn allowed(table: &str, list: &str) -> Vec<String> {
    let text =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml")).expect("it is in the repository");
    let file: toml::Table = text.parse().expect("it is TOML");
    let values = file[table][list].as_array().expect("a list");
    values.iter().map(|value| value.as_str().expect("a text").to_owned()).collect()
}

fn packages() -> Vec<Value> {
    // Of other platforms nothing may have been downloaded.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let metadata = ["metadata", "--format-version", "1", "--locked", "--filter-platform", &platform];
    let output = Command::new(env!("CARGO")).args(metadata).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let output = output.expect("cargo runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
    metadata["packages"].as_array().expect("the packages").clone()
}

/// Whether an SPDX expression can be met with these licences. `/` is an older way to write OR.
fn is_met(expression: &str, licences: &[String]) -> bool {
    let words = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = words.split_whitespace().collect();
    let (is_met, rest) = alternatives(&words, licences);
    assert!(rest.is_empty(), "{expression:?} is understood up to {rest:?}");
    is_met
}

fn alternatives<'w>(words: &'w [&'w str], licences: &[String]) -> (bool, &'w [&'w str]) {
    let (mut is_met, mut rest) = requirements(words, licences);
    while let Some((&"OR", behind)) = rest.split_first() {
        let (other, behind) = requirements(behind, licences);
        (is_met, rest) = (is_met | other, behind);
    }
    (is_met, rest)
}

fn requirements<'w>(words: &'w [&'w str], licences: &[String]) -> (bool, &'w [&'w str]) {
    let (mut is_met, mut rest) = one(words, licences);
    while let Some((&"AND", behind)) = rest.split_first() {
        let (other, behind) = one(behind, licences);
        (is_met, rest) = (is_met & other, behind);
    }
    (is_met, rest)
}

fn one<'w>(words: &'w [&'w str], licences: &[String]) -> (bool, &'w [&'w str]) {
    match words {
        ["(", inside @ ..] => {
            let (is_met, rest) = alternatives(inside, licences);
            assert_eq!(rest.first(), Some(&")"), "a parenthesis is closed");
            (is_met, &rest[1..])
        }
        [licence, "WITH", exception, rest @ ..] => (licences.contains(&format!("{licence} WITH {exception}")), rest),
        [licence, rest @ ..] => (licences.iter().any(|allowed| allowed == licence), rest),
        [] => panic!("a licence is missing"),
    }
}

#[test]
fn every_library_has_a_licence_and_a_source_that_are_allowed() {
    let licences = allowed("licenses", "allow");
    let mut registries = BTreeSet::new();
    let mut refused = Vec::new();
    for package in packages() {
        let name = package["name"].as_str().expect("a package has a name");
        let licence = package["license"].as_str().unwrap_or_default();
        if licence.is_empty() || !is_met(licence, &licences) {
            refused.push(format!("{name}: licence {licence:?}"));
        }
        // Our own have none.
        match package["source"].as_str() {
            Some(source) if !source.starts_with("registry+") => refused.push(format!("{name}: from {source}")),
            source => registries.extend(source.map(str::to_owned)),
        }
    }
    assert_eq!(registries.len(), 1, "from more than one registry: {registries:?}");
    assert!(refused.is_empty(), "deny.toml does not allow:\n{}", refused.join("\n"));
}

#[test]
fn expressions_of_licences_are_understood() {
    let ours = ["MIT".to_owned(), "ISC".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
    let check = |expression: &str, expected| assert_eq!(is_met(expression, &ours), expected, "{expression}");
    check("MIT", true);
    check("GPL-3.0", false);
    check("GPL-3.0 OR MIT", true);
    check("GPL-3.0/MIT", true);
    check("GPL-3.0 AND MIT", false);
    check("ISC AND (GPL-3.0 OR MIT)", true);
    check("ISC AND (GPL-3.0 OR Zlib) OR GPL-3.0", false);
    check("Apache-2.0 WITH LLVM-exception OR Apache-2.0", true);
    check("Apache-2.0", false);
}
