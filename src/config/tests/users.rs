//! Who may log in, and where what they do goes.

use super::*;

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
