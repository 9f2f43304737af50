//! A session that leaves its home server because an operator takes that out of use, here or at the server itself.
//!
//! It leaves between two transactions, when nobody asks any more what the last statement left on the connection. That is
//! set *aside*, and kept until another one is proven to be the same: both are asked for all that the session has set, and
//! must answer the same, byte by byte. Where they do not, or no other server takes the session on, it goes back to the
//! connection that was set aside, and stays there until it sets something else. A command that finds no other server waits
//! for one, as long as any command may.

use crate::{
    config::Mobility,
    protocol::status::StatusFlags,
    session::{
        Ending, Output, ServerFacts, Session, Side, State, Surroundings, errors,
        exchange::Exchange,
        parting::Parting,
        relay::Relay,
        split::{
            Current, Kind, Lent, Split,
            chore::{Chore, Unsayable, missing::Next, readying::Stage},
            lent::HOLD,
            plan,
            statements::NumbersAtHome,
            stay::Bond,
        },
    },
    topology::{RoutingTable, ServerId},
};

/// What a server says of all that a session has set.
type Stock = Vec<Option<Vec<u8>>>;

/// How far a session is that leaves its home.
#[derive(Debug, Default)]
pub(in crate::session::split) struct Leaving {
    /// What the home that is left says.
    stock: Option<Stock>,
    aside: Option<Aside>,
    /// The next home says the same.
    is_proven: bool,
    /// Nobody has asked for a while what the last statement left on the connection.
    is_unasked: bool,
    /// The journal's version that no other server took on.
    refused: Option<u32>,
    /// Nobody can tell whether any other server has what the session wrote or saw.
    is_unprovable: bool,
}

/// What a session that is to leave its home may hope for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prospect {
    /// There is no other server now.
    NoOther,
    /// No other server can be shown to have what the session wrote or saw.
    Unprovable,
    /// Another server may take it on.
    Fair,
}

/// The home that a session goes back to, unless it arrives at another one.
#[derive(Debug)]
struct Aside {
    facts: ServerFacts,
    lent: Box<Lent>,
    numbers: NumbersAtHome,
}

impl Split {
    /// What a session that leaves does at its home first; nothing if that is not now.
    pub(in crate::session::split) fn next_of_leaving(&self, goal: Side, status: StatusFlags) -> Option<Next> {
        let leaving = self.leaving.as_deref()?;
        let lent = self.lent.as_deref()?;
        if goal != Side::Server || leaving.aside.is_some() || !lent.is_here() || !self.may_leave_home(status) {
            return None;
        }
        Some(match &leaving.stock {
            _ if self.must_ask_insert_id() => Next::Say(Chore::InsertId),
            None => Next::Say(Chore::Stock),
            Some(_) => Next::SetAside,
        })
    }

    /// What the next home must still show.
    pub(in crate::session::split) fn next_proof(&self) -> Option<Next> {
        let leaving = self.leaving.as_deref()?;
        (leaving.aside.is_some() && !leaving.is_proven).then_some(Next::Say(Chore::Proof))
    }

    /// Whether the client may still ask what its last statement left on the connection.
    fn waits_to_be_asked(&self) -> bool {
        self.has_aftermath() && self.leaving.as_deref().is_some_and(|leaving| !leaving.is_unasked)
    }

    /// Whether nothing of the session would be lost if it left its home before the command at hand.
    fn may_leave_home(&self, status: StatusFlags) -> bool {
        let Some(leaving) = self.leaving.as_deref() else { return false };
        let is_unasked = leaving.is_unasked || !self.has_aftermath() || self.is_void();
        let in_step = self.replicas.get().is_some_and(|replica| replica.in_transaction);
        let is_between = !status.contains(StatusFlags::IN_TRANS) && !in_step;
        is_between && is_unasked && !self.gives_home_back() && !self.is_kept_by_others() && !self.is_bound()
    }

    /// Whether an operator can have the session go on at another home.
    pub(in crate::session) fn may_be_moved(&self) -> bool {
        self.mobility != Mobility::Fixed && self.may_change_home()
    }

    /// Whether no other server took the session on as it is now.
    pub(super) fn is_kept_by_others(&self) -> bool {
        self.leaving.as_deref().is_some_and(|leaving| leaving.refused == Some(self.journal.version()))
    }

    /// What ties the session to its home, beside what is under way there.
    pub(in crate::session) fn ties(&self) -> Vec<&'static str> {
        let bond = self.bond_to_home().map(Bond::text);
        let refused = self.is_kept_by_others().then_some("no other server took on what it has set");
        let is_unprovable = self.leaving.as_deref().is_some_and(|leaving| leaving.is_unprovable);
        let unproven = is_unprovable.then_some("no other server is known to have what it wrote or saw");
        bond.into_iter().chain(refused).chain(unproven).collect()
    }

    /// Whether another home is being made ready while the old one stands by.
    pub(in crate::session::split) fn is_moving(&self) -> bool {
        self.leaving.as_deref().is_some_and(|leaving| leaving.aside.is_some())
    }

    /// Asks for all that the session has set.
    pub(in crate::session::split) fn stock_question(&self) -> Vec<u8> {
        let role: &[u8] = if self.journal.role().is_some() { b", CURRENT_ROLE()" } else { b"" };
        let mut question = [&b"SELECT DATABASE(), LAST_INSERT_ID(), @@SESSION.autocommit"[..], role].concat();
        self.journal.list_settings(self.family, &mut question);
        question
    }

    /// The home that is left has said what the session has set.
    pub(in crate::session::split) fn take_stock(&mut self, stock: Option<Stock>) {
        let version = self.journal.version();
        if let Some(leaving) = self.leaving.as_deref_mut() {
            // What cannot be compared is not left behind.
            leaving.refused = stock.is_none().then_some(version);
            leaving.stock = stock;
        }
    }

    /// The next home has said what the session has set there.
    pub(in crate::session::split) fn compare_stock(&mut self, stock: &Stock) -> Result<(), Unsayable> {
        let leaving = self.leaving.as_deref_mut().ok_or(Unsayable)?;
        leaving.is_proven = leaving.stock.as_ref() == Some(stock);
        if leaving.is_proven { Ok(()) } else { Err(Unsayable) }
    }

    /// Whether one of these servers may turn out to have all that the session needs of this home.
    fn prospect(&self, home: ServerId, others: impl Iterator<Item = ServerId>, table: &RoutingTable) -> Prospect {
        let is_seen = self.is_seen_of(home, table);
        // The next primary tells where it is, sooner or later.
        let may_prove = |other| self.outlives_home() || (is_seen && self.may_prove_itself(other, table));
        match others.map(may_prove).reduce(|one, other| one || other) {
            None => Prospect::NoOther,
            Some(false) => Prospect::Unprovable,
            Some(true) => Prospect::Fair,
        }
    }

    /// The command at hand is over: the next one may ask about it.
    pub(in crate::session::split) fn may_be_asked_again(&mut self) {
        if let Some(leaving) = self.leaving.as_deref_mut() {
            leaving.is_unasked = false;
        }
    }
}

impl Session {
    /// An operator takes the home server out of use: the session goes on at another one as soon as it can.
    pub(super) fn home_is_to_be_left(&mut self, surroundings: Surroundings<'_>) {
        let Some(split) = self.split_mut().filter(|split| split.may_be_moved()) else { return };
        split.leaving.get_or_insert_default();
        self.leave_when_free(surroundings);
    }

    /// Between two commands: leaves for another server if there is one, and nothing holds the session.
    pub(super) fn leave_when_free(&mut self, surroundings: Surroundings<'_>) {
        if self.split().is_none_or(|split| split.leaving.is_none()) {
            return;
        }
        let Some(home) = self.server.as_ref().map(|server| server.id) else { return };
        let others = self.other_homes(surroundings.table);
        let State::Relay(relay) = &mut self.state else { return };
        let (is_between, status) = (relay.may_leave() && matches!(relay.exchange, Exchange::Idle), relay.status);
        let Some(split) = relay.split.as_deref_mut().filter(|split| split.leaving.is_some()) else { return };
        if keeps_sessions(surroundings.table, home) {
            split.leaving = None;
            return;
        }
        let prospect = split.prospect(home, others, surroundings.table);
        split.leaving.iter_mut().for_each(|leaving| leaving.is_unprovable = prospect == Prospect::Unprovable);
        if !is_between || split.is_decided() || prospect != Prospect::Fair {
            return;
        }
        if split.waits_to_be_asked() {
            self.deadline.get_or_insert(surroundings.now + HOLD);
        } else if split.may_leave_home(status) {
            // Nothing of the last command is to be made ready for.
            split.current = Current::new(Kind::Other, plan::UNSEEN);
            self.make_ready(Side::Server, false, surroundings);
        }
    }

    /// Nobody has asked about the last statement. Whether that is what a session waited for that is to leave.
    pub(in crate::session::split) fn leaves_unasked(&mut self, surroundings: Surroundings<'_>) -> bool {
        let Some(leaving) = self.split_mut().and_then(|split| split.leaving.as_deref_mut()) else { return false };
        leaving.is_unasked = true;
        self.leave_when_free(surroundings);
        true
    }

    /// Where the session would be at home now, if it had to.
    fn other_homes<'a>(&self, table: &'a RoutingTable) -> impl Iterator<Item = ServerId> + use<'a> {
        let user = self.user().and_then(|user| table.user(user));
        let pools = user.into_iter().flat_map(|user| table.chain(table.user_config(user).pool));
        pools.flat_map(|pool| &table.pool(pool).members).map(|member| table.server(*member).id)
    }

    /// The home connection stands by while another one is made ready.
    pub(in crate::session::split) fn set_home_aside(&mut self, surroundings: Surroundings<'_>) {
        let Some(facts) = self.server.take() else { return };
        let server = facts.id;
        let Some(split) = self.split_mut() else { return };
        split.leaves_sight_of(facts.id, surroundings.table, surroundings.now);
        let (Some(leaving), Some(lent)) = (split.leaving.as_deref_mut(), split.lent.as_deref_mut()) else { return };
        let numbers = split.statements.set_home_aside();
        leaving.aside = Some(Aside { facts, lent: Box::new(lent.clone()), numbers });
        lent.gone();
        self.outputs.push_back(Output::SetAside(server));
    }

    /// Another home is ready for the session, and is the same: nothing is left at the old one.
    pub(in crate::session::split) fn arrive(&mut self, surroundings: Surroundings<'_>) {
        let keeps_sessions = self.server.as_ref().is_some_and(|server| keeps_sessions(surroundings.table, server.id));
        let Some(split) = self.split_mut().filter(|split| split.is_moving()) else { return };
        let left = split.leaving.take().and_then(|leaving| leaving.aside);
        split.leaving = (!keeps_sessions).then(Box::default);
        self.last_server = left.map(|aside| aside.facts.name);
        self.outputs.push_back(Output::DropAside);
    }

    /// Goes back to the connection that was set aside. False if there is none.
    fn return_home(&mut self) -> bool {
        let moving = self.split_mut().and_then(|split| split.leaving.as_deref_mut());
        let Some(aside) = moving.and_then(|leaving| leaving.aside.take()) else { return false };
        self.say_goodbye_to_server();
        self.server = Some(aside.facts);
        self.outputs.push_back(Output::TakeBack);
        if let Some(split) = self.split_mut() {
            split.last_seen = None;
            split.lent = Some(aside.lent);
            split.statements.return_home(aside.numbers);
            if let Some(leaving) = split.leaving.as_deref_mut() {
                (leaving.stock, leaving.is_proven) = (None, false);
            }
        }
        true
    }

    /// No server is there to go to. What waits hears of it; the session stays where it was.
    pub(in crate::session::split) fn finds_no_other_home(&mut self) {
        if !self.return_home() {
            return;
        }
        self.deadline = None;
        if let State::Relay(Relay { exchange, .. }) = &mut self.state
            && matches!(exchange, Exchange::Preparing(preparing) if !preparing.command_waits())
        {
            *exchange = Exchange::Idle;
        }
    }

    /// Another server does not take the session on: it stays with the one that it has. False if there is none.
    pub(in crate::session::split) fn stays_at_home(&mut self, surroundings: Surroundings<'_>) -> bool {
        if !self.return_home() {
            return false;
        }
        if let Some(split) = self.split_mut() {
            let version = split.journal.version();
            split.leaving.iter_mut().for_each(|leaving| leaving.refused = Some(version));
        }
        self.set_stage(Stage::Looking);
        self.look_what_is_missing(surroundings);
        true
    }

    /// The time for leaving the home server is over: what can go on elsewhere does, and the rest ends.
    pub(super) fn home_has_ended(&mut self, surroundings: Surroundings<'_>) {
        let others = self.other_homes(surroundings.table);
        let State::Relay(relay) = &self.state else { return };
        let is_reading = relay.is_busy_at(Side::Replica) && !relay.status.contains(StatusFlags::IN_TRANS);
        let is_free = relay.split.as_deref().is_some_and(|split| split.may_be_moved() && !split.is_bound());
        let home = self.server.as_ref().map(|server| server.id);
        let prospect = self.split_mut().zip(home).map(|(split, home)| {
            split.leaves_sight_of(home, surroundings.table, surroundings.now);
            split.leaving = None;
            split.prospect(home, others, surroundings.table)
        });
        match self.may_do_without_home() && prospect != Some(Prospect::Unprovable) {
            true => self.home_lost(surroundings),
            false if is_reading && is_free => self.drop_home(),
            false => {
                turn_out(home, surroundings.table);
                self.sever();
            }
        }
    }

    /// The replica is taken out of use: reads go elsewhere from the next one on.
    pub(in crate::session) fn replica_is_to_be_left(&mut self) {
        if let Some(replica) = self.split_mut().and_then(|split| split.replicas.get_mut()) {
            replica.is_unwanted = true;
        }
        self.leave_unwanted_replica();
    }

    /// Between two commands, gives up a replica that is taken out of use.
    pub(in crate::session::split) fn leave_unwanted_replica(&mut self) {
        let State::Relay(relay) = &self.state else { return };
        let replica = relay.split.as_deref().and_then(|split| split.replicas.get());
        let is_free = replica.is_some_and(|replica| replica.is_unwanted && !replica.in_transaction);
        if relay.is_idle() && is_free {
            self.leave_replica();
        }
    }

    /// The time for leaving the replica is over. What it alone has ends with it; anything else goes on without it.
    pub(in crate::session) fn replica_has_ended(&mut self, table: &RoutingTable) {
        if self.split().is_some_and(|split| split.replicas.have_snapshot()) {
            turn_out(self.replica().map(|replica| replica.id), table);
            self.sever();
        }
    }

    /// Ends what no other server can go on with. The client hears so in place of the answer that it waits for, or of the
    /// answer to its next command: what is said unasked, clients take for an answer out of order.
    pub(in crate::session) fn sever(&mut self) {
        let State::Relay(relay) = &self.state else { return };
        let waits = match &relay.exchange {
            Exchange::Idle | Exchange::Parting(Parting::Awaited) => false,
            Exchange::Preparing(preparing) => preparing.command_waits(),
            Exchange::OneWay(_)
            | Exchange::Busy(_)
            | Exchange::Refusing(..)
            | Exchange::Killing(_)
            | Exchange::Parting(Parting::Swallowing(_))
            | Exchange::Tunnel => true,
        };
        let sequence = relay.error_sequence();
        let name = self.server.as_ref().map_or_else(|| "?".into(), |server| server.name.clone());
        self.leave_replica();
        self.say_goodbye_to_server();
        match sequence {
            Some(sequence) if waits => self.deny(sequence, errors::server_drained(&name), Ending::Drained),
            _ if waits => self.close(Ending::Drained),
            _ => self.await_last_command(),
        }
    }
}

/// The session is ended because that server is taken out of use.
fn turn_out(server: Option<ServerId>, table: &RoutingTable) {
    if let Some(place) = server.and_then(|server| table.place(server)) {
        table.server(place).load.turn_out();
    }
}

fn keeps_sessions(table: &RoutingTable, server: ServerId) -> bool {
    table.place(server).is_some_and(|place| table.server(place).keeps_sessions())
}
