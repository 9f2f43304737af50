//! Asking who somebody is that has no entry in the configuration.

use crate::{
    accounts::Answer,
    config::limits::INQUIRERS_MAX,
    protocol::auth::{Secret, Verifier},
    session::Input,
    slab::Key,
};

use super::turn::Worker;

/// Sessions that wait until the accounts have been read again; their own deadlines bound that.
///
/// Invariant: at most `INQUIRERS_MAX`, all of which asked after `readings` of them.
#[derive(Debug, Default)]
pub(super) struct Inquirers {
    waiting: Vec<Key>,
    readings: u64,
}

impl Worker {
    /// A session asks who its client may be.
    pub(super) fn inquire(&mut self, key: Key) {
        let directory = &self.company.settings.directory;
        let readings = directory.readings();
        match self.look_up(key) {
            Some(Answer::Judge(verifier)) => self.answer(key, Input::Inquired(verifier)),
            Some(Answer::Later) if self.inquirers.waiting.len() < INQUIRERS_MAX => {
                if self.inquirers.waiting.is_empty() {
                    self.inquirers.readings = readings;
                }
                self.inquirers.waiting.push(key);
            }
            Some(Answer::Later) => self.answer_unknown(key),
            None => {}
        }
    }

    /// Answers those who wait, if the accounts have been read since.
    pub(super) fn answer_inquirers(&mut self) {
        if self.inquirers.waiting.is_empty() || self.company.settings.directory.readings() == self.inquirers.readings {
            return;
        }
        for key in std::mem::take(&mut self.inquirers.waiting) {
            self.guarded(Some(key), |worker| match worker.look_up(key) {
                Some(Answer::Judge(verifier)) => worker.tell(key, Input::Inquired(verifier)),
                // It was read, and nobody is found: once is enough.
                Some(Answer::Later) => worker.answer_unknown(key),
                None => {}
            });
        }
    }

    fn answer_unknown(&mut self, key: Key) {
        let verifier =
            self.tenants.get(key).and_then(|tenant| tenant.session.inquirer()).map(|user| self.impostor(user));
        if let Some(verifier) = verifier {
            self.tell(key, Input::Inquired(verifier));
        }
    }

    fn impostor(&self, user: &[u8]) -> Verifier {
        self.company.settings.directory.impostor(user)
    }

    /// Nothing where the session does not ask any more.
    fn look_up(&self, key: Key) -> Option<Answer> {
        let tenant = self.tenants.get(key)?;
        let user = tenant.session.inquirer()?;
        let directory = &self.company.settings.directory;
        Some(match &self.table.config.newcomers {
            Some(newcomers) => directory.look_up(newcomers, user, tenant.session.host(), self.now),
            // A reload has come between question and answer.
            None => Answer::Judge(directory.impostor(user)),
        })
    }

    /// A server has let somebody in.
    pub(super) fn learnt(&mut self, key: Key, user: &[u8], password: &Secret) {
        let (Some(tenant), Some(newcomers)) = (self.tenants.get(key), &self.table.config.newcomers) else { return };
        self.company.settings.directory.learn(newcomers, user, tenant.session.host(), password, self.now);
    }
}
