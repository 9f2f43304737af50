//! What a configuration looks like from outside: printed, and compared with another.

use super::*;

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
