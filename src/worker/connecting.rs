//! Connecting a session to a server that was found for it.

use std::{sync::Arc, time::Instant};

use socket2::SockAddr;
use tracing::debug;

use crate::{
    config::{SendProxy, ServerDemand},
    io::{self, Errno, SocketId},
    latency::Histogram,
    outside::OutsideServer,
    protocol::proxy::{self, Header},
    session::{Input, ServerFacts, ServerWay, Side},
    slab::Key,
    tls::Back,
    topology::{self, Failure, Report, ServerEntry, ServerId, ServerIndex},
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
    /// What the server is told before everything else: whose connection it is.
    header: Option<Vec<u8>>,
}

/// How a server is reached.
struct Way {
    facts: ServerFacts,
    address: SockAddr,
    back: Option<Arc<Back>>,
    header: Option<Vec<u8>>,
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
        let way = self.way(key, self.table.server(server), reply_times)?;
        self.connect_by(key, side, way)
    }

    fn way(&self, key: Key, entry: &ServerEntry, reply_times: Arc<Histogram>) -> std::io::Result<Way> {
        let endpoint = entry.endpoint.as_ref().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        let back = self.back(entry);
        let facts = ServerFacts {
            id: entry.id,
            name: Arc::clone(&entry.name),
            greeting_timeout: self.table.config.cluster(entry.cluster).connect_timeout,
            thread_id: 0,
            way: match endpoint {
                topology::Endpoint::Unix(_) => ServerWay::UnixSocket,
                topology::Endpoint::Tcp(_) => network(back.as_deref()),
            },
            since: self.now,
            reply_times,
        };
        Ok(Way { facts, address: socket_address(endpoint)?, back, header: self.proxy_header(key, entry) })
    }

    /// The way to a server outside of the configuration: as the one is spoken to that has sent sessions there, but that it
    /// has to prove its own name, and hears nothing of the client's address.
    fn way_outside(&self, server: &OutsideServer) -> std::io::Result<Way> {
        let sent_by = self.table.place(server.sent_by).ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        let entry = self.table.server(sent_by);
        let back = self.back(entry).map(|back| back.towards(server.target.host())).transpose();
        let back = back.map_err(|refusal| std::io::Error::other(refusal.to_string()))?.map(Arc::new);
        let facts = ServerFacts {
            id: server.id,
            name: server.target.to_string().into(),
            greeting_timeout: self.table.config.cluster(entry.cluster).connect_timeout,
            thread_id: 0,
            way: network(back.as_deref()),
            since: self.now,
            // Only servers of a pool are timed.
            reply_times: Arc::default(),
        };
        Ok(Way { facts, address: SockAddr::from(server.address), back, header: None })
    }

    fn back(&self, entry: &ServerEntry) -> Option<Arc<Back>> {
        let cluster = &self.table.config.cluster(entry.cluster).name;
        self.company.settings.terms.load().back(cluster, &entry.name).map(Arc::clone)
    }

    /// Connects to a server outside of the configuration.
    pub(super) fn connect_outside(&mut self, key: Key, side: Side, server: &OutsideServer) -> std::io::Result<()> {
        let way = self.way_outside(server)?;
        self.connect_by(key, side, way)
    }

    fn connect_by(&mut self, key: Key, side: Side, way: Way) -> std::io::Result<()> {
        let Way { facts, address, back, header } = way;
        let socket = io::socket::outgoing(&address)?;
        let socket = self.io.connect(socket, &address).map_err(|_| std::io::ErrorKind::QuotaExceeded)?;
        self.own(socket, Owner::Session(key, side));
        let deadline = self.now + facts.greeting_timeout;
        self.timers.set(deadline, Timer::Connecting(key));
        let config_count = self.config_count;
        let Some(tenant) = self.tenants.get_mut(key) else { return Ok(()) };
        match side {
            Side::Server => tenant.lease.config_count = config_count,
            Side::Replica => tenant.lease.replica_config_count = config_count,
            Side::Client | Side::Errand => {}
        }
        tenant.lease.connecting = Some(Connecting { side, server: facts, deadline, header });
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
        let Some(mut connecting) = self.tenants.get_mut(key).and_then(|tenant| tenant.lease.connecting.take()) else {
            return;
        };
        if result.is_ok() {
            self.introduce(key, side, connecting.header.take());
        }
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

    /// The header of the PROXY protocol that a server is configured to get.
    fn proxy_header(&self, key: Key, entry: &ServerEntry) -> Option<Vec<u8>> {
        // Nobody is in between on a UNIX socket.
        let Some(topology::Endpoint::Tcp(_)) = entry.endpoint else { return None };
        let servers = &self.table.config.cluster(entry.cluster).servers;
        let settings = servers.iter().find(|server| *server.name == *entry.name)?;
        let version = match settings.send_proxy {
            SendProxy::Off => return None,
            SendProxy::V1 => proxy::Version::V1,
            SendProxy::V2 => proxy::Version::V2,
        };
        let route = self.tenants.get(key).and_then(|tenant| tenant.route.as_deref());
        Some(route.map_or(Header::Local, |route| Header::Proxied(*route)).encode(version))
    }

    fn introduce(&mut self, key: Key, side: Side, header: Option<Vec<u8>>) {
        let connection = self.tenants.get_mut(key).and_then(|tenant| tenant.connection(side));
        if let Some((connection, header)) = connection.zip(header) {
            connection.write(&mut self.io, header);
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

/// How a server is spoken to over a network.
fn network(back: Option<&Back>) -> ServerWay {
    ServerWay::Network(back.map_or(ServerDemand::Disabled, Back::demand))
}

fn socket_address(endpoint: &topology::Endpoint) -> std::io::Result<SockAddr> {
    match endpoint {
        topology::Endpoint::Tcp(address) => Ok(SockAddr::from(*address)),
        topology::Endpoint::Unix(path) => SockAddr::unix(path),
    }
}
