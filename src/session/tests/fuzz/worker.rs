//! What the worker tells a session: answers to its wishes, and what happens around it.

use super::*;

impl Play<'_> {
    pub(super) fn grant(&mut self) {
        let server = facts(self.script.choice(5) as u32);
        if std::mem::take(&mut self.wishes.home) {
            self.ends.open(Side::Server);
            self.tell(Input::Leased(server));
        } else if std::mem::take(&mut self.wishes.replica) {
            self.ends.open(Side::Replica);
            self.tell(Input::ReplicaLeased(server));
        } else if std::mem::take(&mut self.wishes.errand) {
            self.ends.open(Side::Errand);
            self.tell(Input::ErrandConnected(server));
        }
    }

    /// A connection that rested, where the user shares them.
    pub(super) fn lend(&mut self) {
        let (facts, is_own) = (facts(self.script.choice(5) as u32), self.script.choice(2) == 1);
        let shares = self.session.user().is_some_and(|user| [&b"lent"[..], b"shared"].contains(&user));
        let side = match () {
            () if !shares => return,
            () if std::mem::take(&mut self.wishes.home) => Side::Server,
            () if std::mem::take(&mut self.wishes.replica) => Side::Replica,
            () => return,
        };
        self.ends.lend(side);
        self.tell(Input::Lent(Loan { side, facts, is_own, schema: None }));
    }

    pub(super) fn refuse(&mut self) {
        if std::mem::take(&mut self.wishes.home) {
            let failures = [
                LeaseFailure::NoServer("none".into()),
                LeaseFailure::UserFull { limit: 1 },
                LeaseFailure::ServersFull("full".into()),
                LeaseFailure::UserGone,
            ];
            let failure = failures[self.script.choice(failures.len())].clone();
            self.tell(Input::LeaseFailed(failure));
        } else if std::mem::take(&mut self.wishes.replica) {
            self.tell(Input::ReplicaFailed);
        } else if std::mem::take(&mut self.wishes.errand) {
            self.tell(Input::ErrandFailed);
        }
    }

    pub(super) fn hang_up(&mut self) {
        let side = SIDES[self.script.choice(SIDES.len())];
        if !self.ends.hangs_up(side) {
            return;
        }
        // A session goes on without these, perhaps with the next one.
        if matches!(side, Side::Errand | Side::Replica) {
            self.ends.close(side);
        }
        self.tell(Input::Closed(side));
    }

    pub(super) fn time_out(&mut self) {
        let Some(deadline) = self.session.poll_timeout() else { return };
        self.now = self.now.max(deadline);
        self.tell(Input::Timeout);
        let next = self.session.poll_timeout();
        assert!(next.is_none_or(|next| next > self.now), "a deadline that has passed is set again");
    }

    pub(super) fn find(&mut self) {
        let Some(id) = self.wishes.found.take() else { return };
        let found = match self.script.choice(5) {
            0 => Found::Nobody,
            1 => Found::Homeless(b"app"[..].into()),
            2 => Found::At(KillTargets::one(ServerId(0), 5)),
            3 => Found::Reading(b"app"[..].into(), KillTarget { server: ServerId(2), thread_id: 6 }),
            _ => Found::At(KillTargets::one(ServerId(2), 6)),
        };
        self.tell(Input::SessionFound(id, found));
    }

    pub(super) fn drain(&mut self) {
        let inputs = [
            Input::Drain(DrainReason::Shutdown),
            Input::Drain(DrainReason::UserRemoved),
            Input::Drain(DrainReason::ServerRemoved),
            Input::Drain(DrainReason::Recalled),
            Input::Drain(DrainReason::ServerDemoted),
            Input::Recall,
            Input::Killed,
        ];
        let choice = self.script.choice(inputs.len());
        self.tell(inputs.into_iter().nth(choice).expect("a choice is one of them"));
    }

    /// Its servers are not what they were.
    pub(super) fn displace(&mut self) {
        const REASONS: [Displacement; 6] = [
            Displacement::Demoted,
            Displacement::Yields,
            Displacement::Down,
            Displacement::Gone,
            Displacement::Drained,
            Displacement::OutOfUse,
        ];
        match self.script.choice(8) {
            6 if self.session.replica().is_some() => self.tell(Input::ReplicaDrained),
            7 if self.session.replica().is_some() => self.replica_out_of_use(),
            choice if choice < 6 && self.session.server().is_some() => self.tell(Input::Displaced(REASONS[choice])),
            _ => {}
        }
    }

    pub(super) fn replica_out_of_use(&mut self) {
        self.tell(Input::ReplicaOutOfUse);
        if self.session.replica().is_some() {
            self.ends.close(Side::Replica);
            self.tell(Input::Closed(Side::Replica));
        }
    }

    pub(super) fn answer_yield(&mut self) {
        if std::mem::take(&mut self.wishes.yielded) {
            let is_wanted = self.script.choice(2) == 1;
            self.tell(Input::Yield { is_wanted });
        }
    }

    pub(super) fn lose_aside(&mut self) {
        if let Some(aside) = &mut self.aside {
            aside.hang_up();
        }
    }

    pub(super) fn reckon(&mut self) {
        if std::mem::take(&mut self.wishes.reckoned) {
            self.tell(Input::Reckon);
        } else if std::mem::take(&mut self.wishes.inquired) {
            let verifier = match self.script.choice(3) {
                0 => Verifier::Cleartext(Secret::new(b"secret".to_vec())),
                1 => Verifier::ByServer(None),
                _ => Verifier::parse_hash("*14E65567ABDB5135D0CFD9A70B3032C179A49EE7").expect("of `secret`"),
            };
            self.tell(Input::Inquired(verifier));
        }
    }
}
