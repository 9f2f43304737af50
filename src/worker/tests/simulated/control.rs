//! The control thread's part: what is believed of the servers, and what an operator orders, become the worker's tables.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    super::{Answer, Beliefs, CheckResult, Company, Contact, Endpoint, Order, View, Writable, config_text, testing},
    Way,
    sealing::Sealing,
};
use crate::{
    io::Dice,
    topology::{RoutingTable, ServerId, Service, captured},
};

pub(super) struct Control {
    beliefs: Beliefs,
    servers: Vec<(ServerId, SocketAddr)>,
    dice: Dice,
    /// When the next thing is found out, or ordered.
    changes_at: Instant,
}

/// Who is there when a server is drained has this long.
const BUDGET: Duration = Duration::from_secs(3);

impl Control {
    /// All servers are up.
    pub(super) fn new(seed: u64, way: Way, sealing: &Sealing, addresses: &[SocketAddr], now: Instant) -> Control {
        let text = configuration(way, addresses, sealing.of_server());
        let listener = "address = \"127.0.0.1:0\"\n";
        let text = text.replacen(listener, &format!("{listener}{}", sealing.of_listener()), 1);
        let beliefs = Beliefs::new(testing::parse(&text), now);
        let servers: Vec<_> = beliefs.ids().zip(addresses.iter().copied()).collect();
        let mut control = Control { beliefs, servers, dice: Dice::new(seed ^ 0xC0417), changes_at: now };
        for place in 0..addresses.len() {
            control.is_up(place, now);
        }
        control
    }

    pub(super) fn table(&mut self) -> RoutingTable {
        self.beliefs.table()
    }

    pub(super) fn wakes(&self) -> impl Iterator<Item = Instant> {
        self.beliefs.next_retirement().into_iter().chain([self.changes_at])
    }

    /// Changes something if it is time to, and tells the worker.
    pub(super) fn act(&mut self, company: &Company, now: Instant) {
        self.beliefs.retire(now);
        if now >= self.changes_at {
            self.changes_at = now + Duration::from_secs(3) + self.dice.delay(Duration::from_secs(40));
            self.change(now);
        }
        if let Some(table) = self.beliefs.next_table(&company.settings.table.load()) {
            company.settings.table.store(Arc::new(table));
            let handles = company.handles.get().expect("they are set");
            handles[0].send(Order::TableChanged).expect("the worker reads its mail");
        }
    }

    /// A server is found to be down or up, or is taken out of use or into it.
    fn change(&mut self, now: Instant) {
        let place = self.dice.below(self.servers.len());
        let (server, _) = self.servers[place];
        match self.dice.below(12) {
            0 => self.beliefs.check(server, &CheckResult::Refused, now),
            1 => self.beliefs.serve(server, Service::draining(BUDGET, 0, now)),
            2..7 => self.is_up(place, now),
            _ => self.beliefs.serve(server, Service::InUse),
        }
    }

    fn is_up(&mut self, place: usize, now: Instant) {
        let (server, address) = self.servers[place];
        let contact = Contact { endpoint: Endpoint::Tcp(address), greeting: Arc::new(captured::mariadb_10_11()) };
        let writable = if place == 0 { Writable::Yes } else { Writable::No };
        let answer = Answer { writable: Some(writable), view: View::Unasked, contact: Some(contact) };
        // As often as it takes to be believed.
        for _ in 0..5 {
            self.beliefs.check(server, &CheckResult::Answered(answer.clone()), now);
        }
    }
}

/// Few places at each server, so that sessions wait for one.
fn configuration(way: Way, addresses: &[SocketAddr], of_server: &str) -> String {
    let (places, user) = match way {
        Way::Pooled => return config_text(addresses, &format!("max_connections = 3\n{of_server}"), "1s"),
        Way::Split => (6, "split = { write = \"write\", read = \"read\" }"),
        Way::Lent => (4, "pool = \"write\"\nbackend_reuse = \"transaction\""),
        Way::Shared => (4, "split = { write = \"write\", read = \"read\" }\nbackend_reuse = \"transaction\""),
    };
    let role = |place| if place == 0 { "primary" } else { "replica" };
    let server = |(place, address)| {
        let role = role(place);
        format!(
            "[[cluster.shop.server]]\nname = \"db{place}\"\naddress = \"{address}\"\nrole = \"{role}\"\n\
             max_connections = {places}\n{of_server}"
        )
    };
    let servers: String = addresses.iter().enumerate().map(server).collect();
    // Replicas have all at once here.
    let freshness = if way == Way::Lent { "" } else { "read_your_writes = false" };
    format!(
        "[[listener]]\nname = \"app\"\naddress = \"127.0.0.1:0\"\n\
         [cluster.shop]\ntopology = \"static\"\nmonitor = {{ user = \"m\", password = \"m\" }}\nhold_timeout = \"1s\"\n\
         {servers}\
         [pool.write]\ncluster = \"shop\"\nrole = \"primary\"\n\
         [pool.read]\ncluster = \"shop\"\nrole = \"replica\"\n\
         [[user]]\nname = \"app\"\npassword = \"secret\"\n{user}\n{freshness}\n"
    )
}
