//! Home connections that come and go: borrowed before a command, given back behind it.

use std::time::Instant;

use crate::{
    protocol::{
        error_code::Error,
        packet::{Peeked, Walker, peek_packet},
        response::ErrPacket,
        status::StatusFlags,
    },
    session::{
        Ending, Loan, Output, Parking, ServerFacts, ServerWay, Session, Side, State, Step, Surroundings,
        door::{Door, Introduction, Knock, required},
        entering::Entry,
        errors,
        exchange::Exchange,
        login::LOGIN_PACKET_MAX,
        refusals::is_about_server,
        relay::Relay,
        split::{
            Current, Kind, Lent,
            chore::{Chore, readying::Stage},
            plan,
        },
    },
    sql::Family,
    topology::{Failure, ServerId},
};

use super::HOLD;

impl Session {
    /// Asks the worker for a home connection, another one than at the server that has just failed.
    pub(in crate::session::split) fn borrow_home(&mut self, avoid: Option<ServerId>) {
        // Who waits for a home holds no replica that others wait for.
        self.park_replica();
        let required = required(self.capabilities);
        let Some(want) = self.split().map(|split| split.want_home(required)) else { return };
        self.set_stage(Stage::Borrowing);
        // The worker has a deadline of its own, and answers.
        self.deadline = None;
        self.outputs.push_back(Output::LeaseHome(want, avoid));
    }

    /// A connection is lent: to a session that logs in, or for a command.
    pub(in crate::session) fn lent(&mut self, loan: Loan, surroundings: Surroundings<'_>) {
        match (&self.state, self.stage()) {
            _ if loan.side == Side::Replica => self.replica_lent(loan, surroundings),
            (State::Leasing(_), _) => self.lent_at_login(loan, surroundings),
            (_, Some(Stage::Borrowing)) => self.borrowed(loan, surroundings),
            _ => self.outputs.push_back(Output::Release),
        }
    }

    /// The client has proven who it is, and the server knows its account: the connection is made like a fresh one.
    fn lent_at_login(&mut self, loan: Loan, surroundings: Surroundings<'_>) {
        let State::Leasing(entry) = std::mem::replace(&mut self.state, State::Ended) else {
            unreachable!("the caller looked at the state")
        };
        self.server = Some(loan.facts.clone());
        let Entry { login, client_sequence, .. } = *entry;
        let split = self.split_of(login, surroundings).map(|mut split| {
            split.lent = Some(Box::new(Lent::borrowing(client_sequence)));
            Box::new(split)
        });
        if split.is_none() {
            // The configuration has changed meanwhile.
            return self.deny(client_sequence, errors::shutdown(), Ending::Drained);
        }
        self.state = State::Relay(Relay::new(self.capabilities, StatusFlags::AUTOCOMMIT, split));
        self.make_ready_from(Stage::Borrowing, Side::Server);
        self.borrowed(loan, surroundings);
    }

    fn borrowed(&mut self, loan: Loan, surroundings: Surroundings<'_>) {
        let is_own = loan.is_own;
        if let Some(split) = self.split_mut() {
            let needs_collation = split.loses_collation_at_reset();
            split.with_lent(|lent| lent.borrowed(&loan, needs_collation));
            if !is_own {
                split.statements.forget_home();
            }
        }
        self.server = Some(loan.facts);
        self.settled(is_own, surroundings);
    }

    /// A home connection is there. What the session wrote must be there, too.
    fn settled(&mut self, is_own: bool, surroundings: Surroundings<'_>) {
        if !is_own && let Some(split) = self.split_mut() {
            split.with_lent(Lent::is_another_connection);
        }
        self.settle_since(surroundings.now, surroundings);
    }

    /// The same, for a session that has waited for that `since`.
    pub(in crate::session::split) fn settle_since(&mut self, since: Instant, surroundings: Surroundings<'_>) {
        let Some(server) = self.server.as_ref().map(|server| server.id) else { return };
        let Some(split) = self.split_mut() else { return };
        if !split.hear_of_last_home(surroundings.table) {
            return self.lose_sight(surroundings);
        }
        if !split.may_move_to(server, surroundings.table) {
            return self.catch_up(since, surroundings);
        }
        split.moved_to(server);
        self.outputs.push_back(Output::Settled);
        self.set_stage(Stage::Looking);
        self.look_what_is_missing(surroundings);
    }

    /// A new connection stands, at which we log in. `false`: nobody waits for one.
    pub(in crate::session) fn home_connected(&mut self, facts: ServerFacts, surroundings: Surroundings<'_>) {
        let Some(Stage::Borrowing) = self.stage() else { return self.outputs.push_back(Output::Release) };
        self.deadline = Some(surroundings.now + facts.greeting_timeout);
        self.server = Some(facts);
        if let Some(split) = self.split_mut() {
            split.login.database = split.journal.schema().map(<[u8]>::to_vec);
        }
        self.set_stage(Stage::AtHomeDoor(Box::new(Door::Connected)));
    }

    pub(in crate::session::split) fn home_door_step(&mut self, bytes: &[u8], surroundings: Surroundings<'_>) -> Step {
        match peek_packet(bytes, LOGIN_PACKET_MAX) {
            Peeked::NeedBytes { at_least } => Step::NeedBytes { at_least },
            Peeked::TooLong => {
                self.home_failed(Some(Failure::Malformed), surroundings);
                Step::Consume { length: bytes.len() }
            }
            Peeked::Complete { payload, sequence, length } => {
                if let Some(knock) = self.home_knock(payload) {
                    self.home_knocked(knock, sequence, surroundings);
                }
                Step::Consume { length }
            }
        }
    }

    fn home_knock(&mut self, payload: &[u8]) -> Option<Knock> {
        let State::Relay(relay) = &mut self.state else { return None };
        let Exchange::Preparing(preparing) = &mut relay.exchange else { return None };
        let door = preparing.home_door()?;
        let account = self.account.as_ref().expect("a session in its command phase has an account");
        let who = Introduction {
            user: account.name_at_server(),
            credential: &account.credential,
            login: &relay.split.as_deref()?.login,
            capabilities: relay.server_capabilities,
            required: required(self.capabilities),
            host: &self.host,
            way: self.server.as_ref().map_or(ServerWay::OPEN, |server| server.way),
        };
        Some(door.packet(payload, &who))
    }

    fn home_knocked(&mut self, knock: Knock, sequence: u8, surroundings: Surroundings<'_>) {
        match knock {
            Knock::Answer(answer) => self.answer_at_door(Side::Server, sequence, answer, surroundings.now),
            Knock::Open { ok, thread_id } => {
                if let Some(server) = &mut self.server {
                    server.thread_id = thread_id;
                }
                if let Some(split) = self.split_mut() {
                    let schema = split.journal.schema().map(<[u8]>::to_vec);
                    let needs_reset = split.journal.was_reset() && matches!(split.family, Family::MySql { .. });
                    split.with_lent(|lent| lent.opened(schema, ok.status, needs_reset));
                    split.statements.forget_home();
                }
                self.settled(false, surroundings);
            }
            Knock::Refused(error) if Session::is_sent_on(&error, surroundings) => {
                self.home_failed(Some(Failure::Leaving), surroundings);
            }
            Knock::Refused(error) if error.state.is_none() || is_about_server(error.code) => {
                self.home_failed(Some(Failure::LoginRefused { code: error.code.0 }), surroundings);
            }
            Knock::Refused(error) => self.home_is_unfit(Some(error), surroundings),
            Knock::Unusable(why) => {
                let name = self.server.as_ref().map_or("?", |server| &server.name);
                let error = errors::server_unusable(name, &why);
                self.home_is_unfit(Some(error), surroundings);
            }
            Knock::Malformed => self.home_failed(Some(Failure::Malformed), surroundings),
        }
    }

    /// A new connection did not come to be: another one, as long as the worker has time for that.
    pub(in crate::session::split) fn home_failed(&mut self, failure: Option<Failure>, _: Surroundings<'_>) {
        let server = self.server.as_ref().map(|server| server.id);
        if let (Some(server), Some(failure)) = (server, failure) {
            self.outputs.push_back(Output::Report(server, failure));
        }
        self.drop_home();
        self.borrow_home(server);
    }

    /// The home connection broke while nothing of the session was on it.
    pub(in crate::session) fn home_lost(&mut self, surroundings: Surroundings<'_>) {
        if let Some(Stage::AtHomeDoor(_)) = self.stage() {
            return self.home_failed(Some(Failure::Reset), surroundings);
        }
        if !self.survives_loss(surroundings) {
            return self.server_left(Ending::ServerGone);
        }
        let name = self.server.as_ref().map_or_else(|| "?".into(), |server| server.name.clone());
        self.drop_home();
        if self.preparing().is_none() {
            self.deadline = None;
            return;
        }
        // What a replica was asked is answered before anything else is said.
        if self.is_replica_asked() {
            return;
        }
        match self.split_mut().and_then(|split| split.lent.as_deref_mut()).is_some_and(Lent::lost) {
            true => {
                self.set_stage(Stage::Looking);
                self.look_what_is_missing(surroundings);
            }
            false if self.stays_at_home(surroundings) => {}
            false => self.refuse_waiting(errors::server_lost(&name), Ending::ServerGone),
        }
    }

    /// Lets the home connection go for good.
    pub(in crate::session::split) fn drop_home(&mut self) {
        self.say_goodbye_to_server();
        if let Some(server) = self.server.take() {
            self.last_server = Some(server.name);
            self.outputs.push_back(Output::Release);
        }
        if let Some(split) = self.split_mut() {
            split.with_lent(Lent::gone);
            split.statements.forget_home();
        }
    }

    /// A home connection cannot be made what the session needs: its command hears why.
    pub(in crate::session::split) fn home_is_unfit(
        &mut self,
        refusal: Option<ErrPacket>,
        surroundings: Surroundings<'_>,
    ) {
        if self.stays_at_home(surroundings) {
            return;
        }
        let name = self.server.as_ref().map_or("?", |server| &server.name);
        let why = "it does not take on what the session has set";
        let refusal = refusal.unwrap_or_else(|| errors::server_unusable(name, why));
        if !self.may_do_without_home() {
            self.say_goodbye_to_server();
            return self.deny(1, refusal, Ending::ServerDenied);
        }
        self.drop_home();
        self.refuse_waiting(refusal, Ending::ServerDenied);
    }

    /// No home connection could be had in time.
    pub(in crate::session) fn home_not_found(&mut self, error: ErrPacket, ending: Ending) {
        if let Some(Stage::Borrowing) = self.stage() {
            self.finds_no_other_home();
            self.refuse_waiting(error, ending);
        }
    }

    /// Answers what waits with an error: a command, or the login.
    pub(in crate::session::split) fn refuse_waiting(&mut self, error: ErrPacket, ending: Ending) {
        self.deadline = None;
        if self.answer_kept(&error) {
            return;
        }
        let State::Relay(relay) = &mut self.state else { return };
        let Some(split) = relay.split.as_deref_mut() else { return };
        if let Some(sequence) = split.lent.as_deref_mut().and_then(|lent| lent.welcome.take()) {
            return self.deny(sequence, error, ending);
        }
        match &relay.exchange {
            Exchange::Idle => {}
            Exchange::Preparing(_) if std::mem::take(&mut split.repeats) => {
                relay.exchange = Exchange::Idle;
                self.send_error(1, &error);
                self.become_idle();
            }
            Exchange::Preparing(preparing) if preparing.command_waits() => {
                split.refuse_with(error);
                relay.exchange = Exchange::Refusing(Walker::new(), Error::TOO_MANY_CONNECTIONS);
            }
            _ => self.close(ending),
        }
    }

    /// Somebody may wait for the connection that was kept for what is left on it.
    pub(in crate::session::split) fn yield_home(&mut self) {
        self.set_stage(Stage::Yielding);
        self.outputs.push_back(Output::Yield);
    }

    pub(in crate::session) fn yielded(&mut self, is_wanted: bool, surroundings: Surroundings<'_>) {
        let Some(Stage::Yielding) = self.stage() else { return };
        let Some(split) = self.split_mut() else { return };
        match (is_wanted, split.must_ask_insert_id()) {
            (false, _) => split.with_lent(Lent::stay),
            (true, true) => return self.ask_insert_id(surroundings.now),
            (true, false) => self.park_home(),
        }
        self.set_stage(Stage::Looking);
        self.look_what_is_missing(surroundings);
    }

    /// Behind a command: gives the home connection back, if nothing of the session is on it that cannot be put on another.
    pub(super) fn let_home_go(&mut self, now: Option<Instant>) {
        let State::Relay(relay) = &mut self.state else { return };
        let (is_idle, status) = (relay.is_idle(), relay.status);
        let Some(split) = relay.split.as_deref_mut().filter(|split| split.lent.is_some()) else { return };
        if !is_idle || split.is_decided() || !split.lets_home_go(status) {
            return;
        }
        match now {
            Some(now) if split.has_aftermath() => {
                split.with_lent(Lent::hold);
                self.deadline = Some(now + HOLD);
            }
            Some(now) if split.must_ask_insert_id() => self.ask_insert_id(now),
            None if split.must_ask_insert_id() => {}
            _ => self.park_home(),
        }
    }

    /// Nobody has asked about the last statement: the connection need not be kept for that any longer.
    pub(in crate::session) fn hold_is_over(&mut self, surroundings: Surroundings<'_>) {
        if self.leaves_unasked(surroundings) {
            return;
        }
        let Some(split) = self.split_mut().filter(|split| split.lent.as_deref().is_some_and(Lent::is_held)) else {
            return;
        };
        match split.must_ask_insert_id() {
            true => self.ask_insert_id(surroundings.now),
            false => self.park_home(),
        }
    }

    /// Asks the connection for what it alone knows, before it goes.
    fn ask_insert_id(&mut self, now: Instant) {
        if self.preparing().is_none() {
            if let Some(split) = self.split_mut() {
                split.with_lent(Lent::stay);
                // Nothing of the last command is to be made ready for.
                split.current = Current::new(Kind::Other, plan::UNSEEN);
            }
            self.make_ready_from(Stage::Looking, Side::Server);
        }
        let words = match &mut self.state {
            State::Relay(Relay { split: Some(split), status, .. }) => split.words(Chore::InsertId, *status, now),
            _ => return,
        };
        if let Ok(Some(words)) = words {
            self.say(vec![(Chore::InsertId, words)], now);
        }
    }

    pub(super) fn park_home(&mut self) {
        let Some(facts) = self.server.take() else { return };
        self.last_server = Some(facts.name.clone());
        self.deadline = None;
        let required = required(self.capabilities);
        let count = self.parkings + 1;
        let Some(lent) = self.split_mut().and_then(|split| split.lent.as_deref_mut()) else { return };
        let (is_for_others, schema) = lent.park(count);
        self.parkings = count;
        let parking = Parking { side: Side::Server, facts, required, schema, is_for_others, count };
        self.outputs.push_back(Output::Park(Box::new(parking)));
    }

    /// The session ends: a connection with nothing of it left serves the next one.
    pub(super) fn leave_home_behind(&mut self) {
        let is_idle = matches!(&self.state, State::Relay(relay) if relay.is_idle());
        let goes_back = self.split().is_some_and(|split| split.gives_home_back());
        if is_idle && goes_back && self.may_do_without_home() {
            self.park_home();
        }
    }

    /// Whether nothing of the session would be lost with its home connection.
    pub(in crate::session) fn may_do_without_home(&self) -> bool {
        let State::Relay(relay) = &self.state else { return false };
        let Some(split) = relay.split.as_deref() else { return false };
        let Some(lent) = split.lent.as_deref() else { return false };
        let is_free = || !relay.status.contains(StatusFlags::IN_TRANS) && !split.is_bound();
        match &relay.exchange {
            Exchange::Idle | Exchange::Parting(_) | Exchange::Preparing(_) if !lent.goes_back() => is_free(),
            Exchange::Idle | Exchange::Parting(_) => lent.is_held(),
            Exchange::Preparing(_) => lent.is_free(),
            Exchange::OneWay(_)
            | Exchange::Busy(_)
            | Exchange::Refusing(..)
            | Exchange::Killing(_)
            | Exchange::Tunnel => false,
        }
    }
}
