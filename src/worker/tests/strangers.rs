//! Who does not say who it is makes way, in a session or before it has one.

use super::*;
use crate::config::limits::LOGIN_TIME_MIN;

/// A worker without a thread, whose listener believes balancers of this machine, or nobody.
fn doorkeeper(believed: &str) -> Worker {
    let table = table(
        testing::parse(&format!(
            "[[listener]]\nname = \"app\"\naddress = \"127.0.0.1:0\"\nproxy_protocol_from = [{believed}]\n\
             [cluster.shop]\ntopology = \"static\"\nmonitor = {{ user = \"m\", password = \"m\" }}\n\
             [[cluster.shop.server]]\nname = \"db\"\naddress = \"127.0.0.1:1\"\nrole = \"replica\"\n\
             [pool.main]\ncluster = \"shop\"\nrole = \"replica\"\n\
             [[user]]\nname = \"app\"\npassword = \"secret\"\npool = \"main\"\n"
        )),
        &[],
    );
    let mark = table.config.listeners[0].mark().into();
    let mut worker = idle_worker_of(Engine::Epoll, table);
    worker.listeners.insert(LISTENER, mark);
    worker
}

const LISTENER: u32 = 1;

fn accept(worker: &mut Worker) -> Client {
    let (near, far) = pair();
    worker.accepted(LISTENER, OwnedFd::from(near));
    Client::over(far)
}

fn strangers(worker: &Worker) -> (usize, u32) {
    assert_eq!(worker.strangers.len(), worker.tenants.len() + worker.anteroom.len());
    (worker.strangers.len(), worker.company.strangers.load(Ordering::SeqCst))
}

#[test]
fn the_first_of_too_many_makes_way_once_it_has_had_its_time() {
    for believed in ["", "\"127.0.0.0/8\""] {
        let mut worker = doorkeeper(believed);
        let half = worker.company.settings.sessions_max as usize / 2;
        let began = worker.now;
        let _first = accept(&mut worker);
        worker.now += Duration::from_millis(1);
        let _others: Vec<Client> = (0..half).map(|_| accept(&mut worker)).collect();
        assert_eq!(worker.anteroom.len(), if believed.is_empty() { 0 } else { half + 1 });
        assert_eq!(strangers(&worker), (half + 1, half as u32 + 1), "nobody has had its time");
        worker.now = began + LOGIN_TIME_MIN;
        let _last = accept(&mut worker);
        assert_eq!(strangers(&worker), (half + 1, half as u32 + 1), "one came, one went");
        assert!(worker.strangers.first().is_some_and(|(since, _)| *since > began), "the first went");
        assert_eq!(worker.company.sessions.load(Ordering::SeqCst), half as u32 + 1);
        let counters = &worker.mailbox.counters;
        let not_introduced = counters.turned_away[0].load(Ordering::SeqCst);
        assert_eq!(counters.ended(Ending::LoginTimeout) + not_introduced, 1, "and is counted");
    }
}

#[test]
fn connections_that_await_a_header_are_as_few_as_sessions_may_be() {
    let mut worker = doorkeeper("\"127.0.0.0/8\"");
    let clients: Vec<Client> = (0..300).map(|_| accept(&mut worker)).collect();
    let sessions = worker.company.sessions.load(Ordering::SeqCst);
    assert_eq!(
        (strangers(&worker), sessions),
        ((164, 164), 164),
        "the places, and those who are told that there is none"
    );
    let mut last = clients.into_iter().next_back().expect("there are some");
    assert_eq!(error_code(&last.receive().expect("an error").1), 1040);
}
