//! Sessions that a server sends to an address outside of the configuration.

use crate::{
    config::limits::TRAVELLERS_MAX,
    outside::{Look, OutsideServer},
    session::{Lead, Side},
    slab::Key,
};

use super::turn::Worker;

impl Worker {
    /// Sends a session where a server has sent it, if that is outside of the configuration. False: it must look for another.
    pub(super) fn travel(&mut self, key: Key) -> bool {
        let search = self.tenants.get(key).and_then(|tenant| tenant.lease.search.as_ref());
        let Some(Lead::Outside { target, sent_by }) = search.and_then(|search| search.want.lead.clone()) else {
            return false;
        };
        match self.company.settings.outside.look_up(&target, sent_by, self.now) {
            Look::Found(server) => self.go_outside(key, &server).is_ok(),
            // The look-up of its name has a deadline, and wakes us.
            Look::Later if self.travellers.len() < TRAVELLERS_MAX => {
                self.travellers.push(key);
                true
            }
            Look::Later => false,
            Look::Nowhere(why) => {
                tracing::debug!(%target, why, "a session is not sent where a server sends it");
                false
            }
        }
    }

    fn go_outside(&mut self, key: Key, server: &OutsideServer) -> std::io::Result<()> {
        // An address that does not answer is not tried again.
        self.forget_lead(key);
        let place = server.load.reserve(0);
        self.connect_outside(key, Side::Server, server)?;
        if let Some(tenant) = self.tenants.get_mut(key) {
            tenant.lease.place = place;
        }
        Ok(())
    }

    /// Sends those on who waited for a name, if there is an answer.
    pub(super) fn send_travellers(&mut self) {
        for key in std::mem::take(&mut self.travellers) {
            self.guarded(Some(key), |worker| worker.travel_on(key));
        }
    }

    /// A session that has ended meanwhile searches for nothing.
    fn travel_on(&mut self, key: Key) {
        let is_searching = self.tenants.get(key).is_some_and(|tenant| tenant.lease.search.is_some());
        if is_searching && !self.travel(key) {
            self.forget_lead(key);
            self.find_or_wait(key);
            self.hand_over(key);
            self.pump(key);
        }
    }

    fn forget_lead(&mut self, key: Key) {
        if let Some(search) = self.tenants.get_mut(key).and_then(|tenant| tenant.lease.search.as_mut()) {
            search.want.lead = None;
        }
    }
}
