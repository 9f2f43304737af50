use super::*;
use crate::protocol::redirect::Target;
use crate::topology::testing::config;
use crate::topology::{Beliefs, ServerId};

const DB1: &str = "name = \"db1\"\naddress = \"10.0.0.1:3306\"";
const DB2: &str = "name = \"db2\"\naddress = \"10.0.0.2:3306\"";
const BUDGET: Duration = Duration::from_secs(60);

/// A process, and the time of the wall clock.
struct Process {
    beliefs: Beliefs,
    now: Moment,
}

impl Process {
    fn start(servers: &[&str], wall: u64) -> Process {
        let now = Moment { instant: Instant::now(), wall: Duration::from_secs(wall) };
        Process { beliefs: Beliefs::new(config(servers), now.instant), now }
    }

    fn serve(&mut self, server: u32, service: Service) {
        self.beliefs.serve(ServerId(server), service);
    }

    /// What it leaves, as the file has it.
    fn leaves(&self) -> Orders {
        let text = serde_json::to_string(&self.beliefs.orders(self.now)).expect("they are text");
        serde_json::from_str(&text).expect("it was just written")
    }

    fn recalls(&mut self, orders: &Orders) -> Vec<Recalled> {
        self.beliefs.obey_again(orders, self.now)
    }

    fn services(&mut self) -> Vec<Service> {
        self.beliefs.table().servers.iter().map(|server| server.service).collect()
    }
}

#[test]
fn servers_are_for_the_next_process_what_they_were_for_the_last() {
    let mut old = Process::start(&[DB1, DB2], 1_000);
    assert_eq!(old.leaves(), Orders::default());
    old.serve(0, Service::OutOfUse { since: old.now.instant });
    old.serve(1, Service::draining(BUDGET, 7, old.now.instant));
    let orders = old.leaves();

    let mut soon = Process::start(&[DB1, DB2], 1_020);
    soon.recalls(&orders);
    assert_eq!(soon.leaves(), orders, "times are what they were");
    let [Service::OutOfUse { .. }, Service::Draining { since, until, connections: 0 }] = soon.services()[..] else {
        panic!("{:?}", soon.services());
    };
    assert_eq!((until - since, until - soon.now.instant), (BUDGET, Duration::from_secs(40)));

    let mut late = Process::start(&[DB1, DB2], 1_060);
    late.recalls(&orders);
    assert!(late.services().iter().all(|service| matches!(service, Service::OutOfUse { .. })), "its time is over");
}

#[test]
fn a_clock_that_was_set_makes_nobody_wait_for_ever() {
    let mut old = Process::start(&[DB1], 1_000_000_000);
    old.serve(0, Service::draining(BUDGET, 0, old.now.instant));
    let mut new = Process::start(&[DB1], 1_000);
    new.recalls(&old.leaves());
    let end = new.services()[0].ends().expect("it is draining");
    assert!(end - new.now.instant <= Service::BUDGET_MAX);
}

#[test]
fn a_server_that_is_not_configured_any_more_is_named() {
    let mut old = Process::start(&[DB1, DB2], 1_000);
    old.serve(1, Service::OutOfUse { since: old.now.instant });
    let mut new = Process::start(&[DB1], 1_000);
    assert_eq!(new.recalls(&old.leaves()), [Recalled::UnknownServer("shop/db2".to_owned())]);
    assert_eq!((new.services(), new.leaves()), (vec![Service::InUse], Orders::default()));
}

fn settings(mode: RedirectMode, port: u16) -> InstantFailover {
    let file = config(&[DB1]).instant_failover.clone();
    InstantFailover { mode, target: Target::new("lb2", port), ..file }
}

#[test]
fn clients_go_where_the_last_command_sent_them_while_the_file_says_the_same() {
    let file = settings(RedirectMode::Off, 1);
    let order = file.commanded(RedirectMode::On, Target::new("lb3", 7)).expect("there is a target");
    let commanded = Redirect::commanded(order, Existing::Leave);
    let sending = Sending::of(&commanded, &file).expect("somebody commanded it");
    let text = serde_json::to_string(&sending).expect("it is text");
    let sending: Sending = serde_json::from_str(&text).expect("it was just written");
    assert_eq!(sending.again(&file), Some(commanded));
    for other in [settings(RedirectMode::All, 1), settings(RedirectMode::Off, 2)] {
        assert_eq!(sending.again(&other), None, "the file spoke last");
    }
    let words = InstantFailover { text: "other words".to_owned(), ..file.clone() };
    assert_eq!(sending.again(&words).map(|again| again.settings.text), Some("other words".to_owned()));
    assert_eq!(Sending::of(&Redirect::configured(&file), &file), None);
}
