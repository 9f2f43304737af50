//! Ending the connections of those who could write where nobody may any more.

use mysql_async::Error;
use mysql_async::prelude::Queryable;
use tokio::time::sleep;

use super::run::{Run, Tried, connected};
use super::steps::{self, Action, Sql, Whose};
use super::survey::legible;
use crate::protocol::version::Family;

impl Run<'_> {
    /// A server that somebody has succeeded is closed. Commits of before may wait there for the receipt of a replica, which no
    /// KILL ends, and which keep it from being closed; they are not acknowledged, as their connections are gone.
    pub(super) async fn shut_door(&mut self, at: usize) -> Tried {
        self.end_sessions(at, Whose::Everybody).await?;
        let family = self.family(at);
        let waiting = self.variable_that_is_on(at, steps::receipts(family)).await?;
        let set = |value: &str| waiting.iter().map(|name| Sql::from(format!("SET GLOBAL {name} = {value}"))).collect();
        let (off, on): (Vec<Sql>, Vec<Sql>) = (set("OFF"), set("ON"));
        let deadline = Action::Run(Vec::new()).deadline();
        if let Err(why) = self.run(at, &off, deadline).await {
            self.complain(format_args!("{}: commits that wait for a receipt go on waiting: {why}", self.name(at)));
        }
        let shut = self.run(at, &steps::refuse_writes(family), deadline).await;
        let restored = self.run(at, &on, deadline).await;
        shut?;
        self.end_sessions(at, Whose::Everybody).await?;
        restored
    }

    /// Which of these variables is on, of those that the server knows.
    async fn variable_that_is_on(&mut self, at: usize, names: &[&'static str]) -> Result<Option<&'static str>, String> {
        for name in names {
            match connected(&mut self.connections[at])?.query_first::<u8, _>(format!("SELECT @@GLOBAL.{name}")).await {
                Ok(Some(1)) => return Ok(Some(name)),
                Ok(_) | Err(Error::Server(_)) => {}
                Err(error) => return Err(legible(&error)),
            }
        }
        Ok(None)
    }

    fn family(&self, at: usize) -> Family {
        self.members[at].state().map(|state| state.family).expect("nothing is done at a server that has not told")
    }

    pub(super) async fn end_sessions(&mut self, at: usize, whose: Whose) -> Tried {
        let accounts: Vec<&str> = [Some(&self.caller.account), self.cluster.monitor.as_ref()]
            .into_iter()
            .flatten()
            .map(|of| of.user.as_str())
            .collect();
        if whose == Whose::Writers {
            // Somebody may have begun to write since the last look at transactions.
            sleep(steps::TRANSACTIONS_KEPT).await;
        }
        let connection = connected(&mut self.connections[at])?;
        let sessions: Vec<(u64, String, bool)> =
            connection.query(steps::sessions(&accounts)).await.map_err(|error| legible(&error))?;
        let unbound = match whose {
            Whose::Everybody => Vec::new(),
            Whose::Writers => self.unbound_users(at).await?,
        };
        let is_meant = |user: &String, writes: bool| whose == Whose::Everybody || writes || unbound.contains(user);
        for (id, user, _) in sessions.iter().filter(|(_, user, writes)| is_meant(user, *writes)) {
            self.say(format_args!("{}: KILL {id} (of {user})", self.name(at)));
            match connected(&mut self.connections[at])?.query_drop(format!("KILL {id}")).await {
                Err(Error::Server(error)) if error.code == NO_SUCH_THREAD => {}
                Err(error) if unbound.contains(user) => return Err(format!("KILL {id}: {}", legible(&error))),
                Err(error @ Error::Server(_)) => {
                    self.complain(format_args!("{}: KILL {id}: {}", self.name(at), legible(&error)));
                }
                killed => killed.map_err(|error| legible(&error))?,
            }
        }
        Ok(())
    }

    /// Who may write in spite of `read_only`, as far as the account may know that.
    async fn unbound_users(&mut self, at: usize) -> Result<Vec<String>, String> {
        if self.family(at) == Family::MySql {
            return Ok(Vec::new());
        }
        match connected(&mut self.connections[at])?.query(steps::UNBOUND_USERS).await {
            Ok(users) => Ok(users),
            Err(error @ Error::Server(_)) => {
                let (name, why) = (self.name(at), legible(&error));
                self.complain(format_args!(
                    "{name}: whoever has READ_ONLY ADMIN may go on writing, as it cannot be told who has: {why}"
                ));
                Ok(Vec::new())
            }
            Err(error) => Err(legible(&error)),
        }
    }
}

/// `ER_NO_SUCH_THREAD`: it has ended by itself.
const NO_SUCH_THREAD: u16 = 1094;
