//! Connecting a session to a server that was found for it.

use std::{sync::Arc, time::Instant};

use socket2::SockAddr;
use tracing::debug;

use crate::{
    config::ServerDemand,
    io::{self, Errno, SocketId},
    latency::Histogram,
    session::{Input, ServerFacts, ServerWay, Side},
    slab::Key,
    topology::{self, Failure, Report, ServerId, ServerIndex},
};

use super::{
    connection::Connection,
    sealing::Security,
    turn::{Owner, Timer, Worker},
};

/// A connection on its way.
#[derive(Debug)]
pub(super) struct Connecting {
    pub(super) side: Side,
    pub(super) server: ServerFacts,
    pub(super) deadline: Instant,
}

impl Worker {
    /// Begins to connect. An error is one of ours, for want of descriptors or memory: the server has not heard of it, and
    /// must not be believed to be down.
    pub(super) fn connect(
        &mut self,
        key: Key,
        side: Side,
        server: ServerIndex,
        reply_times: Arc<Histogram>,
    ) -> std::io::Result<()> {
        let entry = self.table.server(server);
        let endpoint = entry.endpoint.as_ref().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        let timeout = self.table.config.cluster(entry.cluster).connect_timeout;
        let cluster = &self.table.config.cluster(entry.cluster).name;
        let back = self.company.settings.terms.load().back(cluster, &entry.name).map(Arc::clone);
        let facts = ServerFacts {
            id: entry.id,
            name: Arc::clone(&entry.name),
            login_timeout: timeout,
            thread_id: 0,
            way: match endpoint {
                topology::Endpoint::Unix(_) => ServerWay::UnixSocket,
                topology::Endpoint::Tcp(_) => {
                    ServerWay::Network(back.as_ref().map_or(ServerDemand::Disabled, |back| back.demand()))
                }
            },
            since: self.now,
            reply_times,
        };
        let address = socket_address(endpoint)?;
        let socket = io::socket::outgoing(&address)?;
        let socket = self.io.connect(socket, &address).map_err(|_| std::io::ErrorKind::QuotaExceeded)?;
        self.own(socket, Owner::Session(key, side));
        let deadline = self.now + timeout;
        self.timers.set(deadline, Timer::Connecting(key));
        let config_count = self.config_count;
        let Some(tenant) = self.tenants.get_mut(key) else { return Ok(()) };
        match side {
            Side::Server => tenant.lease.config_count = config_count,
            Side::Replica => tenant.lease.replica_config_count = config_count,
            Side::Client | Side::Errand => {}
        }
        tenant.lease.connecting = Some(Connecting { side, server: facts, deadline });
        let connection = Connection::new(socket, back.map_or(Security::Clear, Security::Wanted));
        match side {
            Side::Server => tenant.server = Some(connection),
            Side::Replica => tenant.replica = Some(Box::new(connection)),
            Side::Errand => tenant.errand = Some(connection),
            Side::Client => unreachable!("clients connect to us"),
        }
        Ok(())
    }

    /// A connect has ended, one way or the other.
    pub(super) fn connected(&mut self, socket: SocketId, result: Result<(), Errno>) {
        let Some(Owner::Session(key, side)) = self.owner(socket) else { return };
        let Some(connecting) = self.tenants.get_mut(key).and_then(|tenant| tenant.lease.connecting.take()) else {
            return;
        };
        match (result, side) {
            (Ok(()), Side::Errand) => {
                self.io.receive(socket);
                self.tell(key, Input::ErrandConnected(connecting.server));
            }
            (Ok(()), Side::Replica) => {
                self.io.receive(socket);
                self.tell(key, Input::ReplicaLeased(connecting.server));
            }
            // The table has changed meanwhile: a session must not settle where it would be sent away.
            (Ok(()), _) if !self.takes_sessions(connecting.server.id) => {
                self.give_up_server(key);
                self.find_or_wait(key);
            }
            (Ok(()), _) => {
                self.io.receive(socket);
                self.tell(key, Input::Leased(connecting.server));
            }
            (Err(error), _) => {
                debug!(server = &*connecting.server.name, %error, "cannot connect");
                let failure = if error.is_timeout() { Failure::TimedOut } else { Failure::Refused };
                self.connect_failed(key, side, connecting.server.id, failure);
            }
        }
    }

    /// The deadline of a connect has come.
    pub(super) fn connecting_due(&mut self, key: Key, at: Instant) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let Some(connecting) = tenant.lease.connecting.take_if(|connecting| connecting.deadline == at) else { return };
        self.connect_failed(key, connecting.side, connecting.server.id, Failure::TimedOut);
    }

    fn connect_failed(&mut self, key: Key, side: Side, server: ServerId, failure: Failure) {
        self.report(Report { server, failure });
        match side {
            Side::Errand => {
                self.end_errand(key);
                self.tell(key, Input::ErrandFailed);
            }
            Side::Replica => {
                self.release_replica(key);
                self.tell(key, Input::ReplicaFailed);
            }
            Side::Client | Side::Server => {
                self.give_up_server(key);
                self.search_on(key, server);
                self.find_or_wait(key);
            }
        }
    }

    /// Drops a server connection that never came about.
    fn give_up_server(&mut self, key: Key) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let (connection, place) = (tenant.server.take(), tenant.lease.place.take());
        tenant.lease.login = None;
        if let Some(connection) = connection {
            self.shut(connection.socket);
        }
        self.free(place);
    }
}

fn socket_address(endpoint: &topology::Endpoint) -> std::io::Result<SockAddr> {
    match endpoint {
        topology::Endpoint::Tcp(address) => Ok(SockAddr::from(*address)),
        topology::Endpoint::Unix(path) => SockAddr::unix(path),
    }
}
