//! How long servers took to reply, as sessions count it.

use std::time::Duration;

use super::super::{stage::*, *};
use crate::{
    latency::{Distribution, Histogram},
    protocol::status::StatusFlags,
};

fn timed(server: &ServerFacts) -> Distribution {
    let mut sum = Distribution::default();
    sum.add(&server.reply_times);
    sum
}

fn of(milliseconds: &[u64]) -> Distribution {
    let histogram = Histogram::default();
    milliseconds.iter().for_each(|time| histogram.count(time * 1000));
    let mut sum = Distribution::default();
    sum.add(&histogram);
    sum
}

fn home(stage: &Stage) -> Distribution {
    timed(stage.session.server().expect("it has a server"))
}

#[test]
fn a_reply_is_timed_from_its_commands_way_to_the_server_to_its_end() {
    for cut in [1, usize::MAX] {
        let mut stage = Stage::working();
        stage.cut = cut;
        assert_eq!(home(&stage), of(&[]), "a login is no command");
        stage.now += Duration::from_secs(60);
        stage.show(Side::Client, &query("SELECT 1"));
        stage.now += Duration::from_millis(30);
        let reply = result();
        let (first, rest) = reply.split_at(reply.len() / 2);
        stage.show(Side::Server, first);
        assert_eq!(home(&stage), of(&[]), "the reply is not over");
        stage.now += Duration::from_millis(20);
        stage.show(Side::Server, rest);
        assert_eq!(home(&stage), of(&[50]));
    }
}

#[test]
fn an_early_command_counts_from_the_end_of_the_reply_before_it() {
    let mut stage = Stage::working();
    let mut early = stage.show(Side::Client, &[query("SELECT 1"), query("SELECT 2")].concat());
    stage.now += Duration::from_millis(30);
    stage.show(Side::Server, &packet(1, &ok(StatusFlags::AUTOCOMMIT)));
    early = stage.show(Side::Client, &early);
    assert_eq!(early, b"");
    stage.now += Duration::from_millis(5);
    stage.show(Side::Server, &packet(1, &ok(StatusFlags::AUTOCOMMIT)));
    assert_eq!(home(&stage), of(&[30, 5]));
}

#[test]
fn what_no_server_replies_to_is_not_timed() {
    const COM_STMT_CLOSE: u8 = 0x19;
    let mut stage = Stage::working();
    stage.show(Side::Client, &command(COM_STMT_CLOSE, &[1, 0, 0, 0]));
    stage.show(Side::Client, &command(0xF0, b"unknown"));
    assert_ne!(stage.take_client(), b"", "we refuse it ourselves");
    assert_eq!(home(&stage), of(&[]));
}
