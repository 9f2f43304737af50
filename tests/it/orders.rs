//! What operators have ordered outlives the process: it is killed, and another one goes on with the same files.

use std::fs;

use serde_json::Value;

use crate::harness::{
    Account, Client, Engine, Flavour, Server, ServerError, Sqluice, Start, cluster, cluster_on, eventually, user,
};

/// One server under two addresses.
fn two_servers() -> String {
    let server = Server::shared(Flavour::MariaDb10);
    cluster_on(&[server, server]).replacen("\"127.0.0.1:", "\"localhost:", 1) + &user("app", "app")
}

fn server(sqluice: &Sqluice, name: &str) -> Value {
    let status = sqluice.status();
    let servers = status["clusters"][0]["servers"].as_array().expect("the cluster has servers");
    servers.iter().find(|row| row["name"] == name).expect("it is configured").clone()
}

fn services(sqluice: &Sqluice) -> [Value; 2] {
    ["s1", "s2"].map(|name| server(sqluice, name)["service"].clone())
}

fn say(sqluice: &Sqluice, arguments: &[&str]) {
    let told = sqluice.command(arguments).expect_success("the command");
    assert!(!told.contains("forgets"), "{told}");
}

#[track_caller]
fn refusal(sqluice: &Sqluice) -> ServerError {
    match sqluice.login(&Account::new("app", "app")) {
        Ok(_) => panic!("app is let in"),
        Err(error) => error,
    }
}

#[test]
fn a_server_that_was_taken_out_of_use_stays_out_when_the_process_is_killed() {
    let mut sqluice = Start::new(Engine::Epoll, two_servers()).run_with_servers_up(2);
    say(&sqluice, &["disable", "s1"]);
    sqluice.kill_and_restart();
    assert_eq!(services(&sqluice), ["out of use", "in use"]);
    sqluice.await_servers_up(2);
    let clients: Vec<Client> = (0..4).map(|_| sqluice.app()).collect();
    assert!(sqluice.sessions().iter().all(|session| session["server"] == "s2"), "nobody comes to s1");
    drop(clients);

    say(&sqluice, &["enable", "s1"]);
    say(&sqluice, &["drain", "s2", "--budget", "10m"]);
    sqluice.kill_and_restart();
    assert_eq!(services(&sqluice), ["in use", "draining"]);
    let left = server(&sqluice, "s2")["drain_seconds_left"].as_u64().expect("it has a budget");
    assert!((1..=600).contains(&left), "{left}");

    // Its time is over while nobody looks.
    sqluice.stop();
    let path = sqluice.folder().join("state/orders.json");
    let mut orders: Value = serde_json::from_slice(&fs::read(&path).expect("it was written")).expect("JSON");
    orders["servers"]["main"]["s2"]["until"] = orders["servers"]["main"]["s2"]["since"].clone();
    fs::write(&path, orders.to_string()).expect("it can be written");
    sqluice.start_again();
    assert_eq!(services(&sqluice), ["in use", "out of use"]);
}

#[test]
fn what_cannot_be_obeyed_any_more_is_said_and_forgotten() {
    let mut sqluice = Start::new(Engine::Epoll, two_servers()).run_with_servers_up(2);
    say(&sqluice, &["disable", "s2"]);
    sqluice.write_config(&(cluster(Server::shared(Flavour::MariaDb10)) + &user("app", "app")));
    sqluice.kill_and_restart();
    assert!(sqluice.log().contains("server main/s2 was taken out of use before the start, and is not configured"));
    sqluice.write_config(&two_servers());
    eventually("it is written down", || {
        let orders = fs::read_to_string(sqluice.folder().join("state/orders.json")).expect("it is there");
        (!orders.contains("s2")).then_some(())
    });
    sqluice.kill_and_restart();
    assert_eq!(services(&sqluice), ["in use", "in use"], "a server of the same name is another one");

    say(&sqluice, &["disable", "s1"]);
    sqluice.stop();
    fs::write(sqluice.folder().join("state/orders.json"), "{\"servers\": {\"main\"").expect("it can be written");
    sqluice.start_again();
    assert_eq!(services(&sqluice), ["in use", "in use"]);
    let complaint = "orders.json: EOF while parsing";
    assert!(sqluice.log().contains(complaint) && sqluice.log().contains("say it again where need be"));
}

#[test]
fn clients_are_sent_elsewhere_until_a_command_or_another_file_says_otherwise() {
    let settings = |mode| format!("[instant_failover]\nmode = \"{mode}\"\ntarget = \"lb2:3306\"\n\n");
    let body = |mode| settings(mode) + &cluster(Server::shared(Flavour::MariaDb10)) + &user("app", "app");
    let mut sqluice = Start::new(Engine::Epoll, body("off")).run_with_servers_up(1);
    say(&sqluice, &["failover", "on", "--target", "lb3:1", "--existing", "drain"]);
    sqluice.kill_and_restart();
    assert!(refusal(&sqluice).message.ends_with("|lb3:1"));
    let now = sqluice.status()["instant_failover"].clone();
    let expected = ["on", "drain", "command"].map(Value::from);
    assert_eq!([now["mode"].clone(), now["existing"].clone(), now["origin"].clone()], expected);

    sqluice.write_config(&body("all"));
    sqluice.kill_and_restart();
    assert!(refusal(&sqluice).message.ends_with("|lb2:3306"), "the file spoke last");
    say(&sqluice, &["failover", "off"]);
    sqluice.kill_and_restart();
    sqluice.app().quit();
}

#[test]
fn an_order_that_a_restart_forgets_says_so() {
    let mut sqluice = Start::new(Engine::Epoll, two_servers()).run_with_servers_up(2);
    // Where a file stands no folder can be, whoever asks.
    sqluice.stop();
    fs::remove_dir_all(sqluice.folder().join("state")).expect("it is ours");
    fs::write(sqluice.folder().join("state"), "").expect("it can be written");
    sqluice.start_again();
    let told = sqluice.command(&["disable", "s1"]).expect_success("sqluice disable");
    assert!(told.contains("note: a restart of sqluice forgets this"), "{told}");
    let told = sqluice.command(&["failover", "on", "--target", "lb3:1"]).expect_success("sqluice failover");
    assert!(told.contains("note: a restart of sqluice forgets this"), "{told}");
    sqluice.kill_and_restart();
    assert_eq!(services(&sqluice), ["in use", "in use"]);
    sqluice.app().quit();
}
