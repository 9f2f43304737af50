//! What is wrong with a file, in the words that an operator reads.

use super::*;

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
