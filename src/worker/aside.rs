//! Home connections that stand by while their sessions are made ready at another server.
//!
//! At most one a session. Nothing is said on one: a server that closes it, or says something, ends it, and the session
//! hears of that when it wants to go back.

use crate::{
    session::{Input, Side},
    slab::Key,
    topology::{Place, ServerId, Service},
};

use super::{
    connection::Connection,
    departing::Farewell,
    turn::{Owner, Worker},
};

/// A home connection that stands by.
#[derive(Debug)]
pub(super) struct Aside {
    connection: Connection,
    place: Option<Place>,
    server: ServerId,
    /// The worker's count of configurations when it was made or lent.
    config_count: u64,
    is_lent: bool,
}

const COM_QUIT: [u8; 5] = [1, 0, 0, 0, 0x01];

impl Worker {
    /// The session's home connection stands by from now on.
    pub(super) fn set_aside(&mut self, key: Key, server: ServerId) {
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let Some(connection) = tenant.server.take() else { return };
        let lease = &mut tenant.lease;
        let (place, config_count, is_lent) =
            (lease.place.take(), lease.config_count, std::mem::take(&mut lease.is_lent));
        let socket = connection.socket;
        tenant.aside = Some(Box::new(Aside { connection, place, server, config_count, is_lent }));
        self.own(socket, Owner::Aside(key));
    }

    /// The connection that stands by is the session's home again.
    pub(super) fn take_back(&mut self, key: Key) {
        self.give_up_search(key);
        let Some(tenant) = self.tenants.get_mut(key) else { return };
        let Some(aside) = tenant.aside.take() else {
            return self.answer(key, Input::Closed(Side::Server));
        };
        let Aside { connection, place, config_count, is_lent, .. } = *aside;
        let socket = connection.socket;
        tenant.server = Some(connection);
        let lease = &mut tenant.lease;
        (lease.place, lease.config_count, lease.is_lent) = (place, config_count, is_lent);
        self.own(socket, Owner::Session(key, Side::Server));
    }

    /// Whatever the session was to have in place of its home is not wanted any more.
    fn give_up_search(&mut self, key: Key) {
        self.waiters.remove(key);
        self.end_search(key);
        if let Some(tenant) = self.tenants.get_mut(key) {
            tenant.lease.connecting.take_if(|connecting| connecting.side == Side::Server);
        }
        self.release(key);
    }

    /// The session has arrived elsewhere, or is gone.
    pub(super) fn drop_aside(&mut self, key: Key) {
        let aside = self.tenants.get_mut(key).and_then(|tenant| tenant.aside.take());
        aside.into_iter().for_each(|aside| self.dismiss_aside(*aside));
    }

    /// Says goodbye to a server that nobody goes back to.
    pub(super) fn dismiss_aside(&mut self, aside: Aside) {
        let Aside { mut connection, place, is_lent, .. } = aside;
        connection.write(&mut self.io, COM_QUIT.to_vec());
        let farewell = if is_lent { Farewell::UntilForgotten } else { Farewell::WhenWritten };
        self.depart(connection, place, farewell);
    }

    /// The server has closed a connection that stands by, or says something that nobody asked for.
    pub(super) fn aside_lost(&mut self, key: Key) {
        let Some(aside) = self.tenants.get_mut(key).and_then(|tenant| tenant.aside.take()) else { return };
        self.shut(aside.connection.socket);
        self.free(aside.place);
    }

    /// Closes it now.
    pub(super) fn shut_aside(&mut self, aside: Aside) {
        self.shut(aside.connection.socket);
        self.free(aside.place);
    }

    /// The routing table is another one: nobody goes back to a server that is out of use.
    pub(super) fn look_at_aside(&mut self, key: Key) {
        let server = self.tenants.get(key).and_then(|tenant| tenant.aside.as_ref()).map(|aside| aside.server);
        if server.is_some_and(|server| matches!(self.service(server), Service::OutOfUse { .. })) {
            self.drop_aside(key);
        }
    }
}
