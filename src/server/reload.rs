//! From a changed file to a changed process, or to the reasons why nothing changed.
//!
//! All that can be refused comes first: the file, then the addresses to listen on. After that nothing can fail.

use std::sync::Arc;

use super::control::{Control, Phase, Source};
use super::door;
use super::listeners::Plan;
use super::notify::Message;
use super::warn_of_exposed_files;
use crate::admin::ReloadRefused;
use crate::admin::shapes::Reloaded;
use crate::config::reference::Reload;
use crate::config::{Change, Config, ConfigErrors, changes};
use crate::io::monotonic_microseconds;
use crate::log;
use crate::tls::Terms;
use crate::topology::{Origin, Redirect};

impl Control {
    /// Reads the configuration again and applies it whole; on an error nothing changed.
    pub(super) async fn reload(&mut self) -> Result<Reloaded, ReloadRefused> {
        if self.phase != Phase::Serving {
            return Err(impossible("the process is ending"));
        }
        self.tell_manager(&Message::Reloading { monotonic_microseconds: monotonic_microseconds() });
        let reloaded = match self.prove() {
            Ok(proven) => Ok(self.apply(proven).await),
            Err(refused) => Err(refused),
        };
        match &reloaded {
            Ok(reloaded) => log_changes(reloaded),
            Err(ReloadRefused::BadConfig(reasons) | ReloadRefused::Impossible(reasons)) => {
                tracing::error!("the configuration was not loaded, nothing changed");
                reasons.iter().for_each(|reason| tracing::error!("{reason}"));
            }
        }
        self.tell_manager(&Message::Ready);
        reloaded
    }

    /// Everything that can be refused.
    fn prove(&mut self) -> Result<Proven, ReloadRefused> {
        let Source::File(path) = &self.source else {
            return Err(impossible("this process was started without a configuration file"));
        };
        let wanted = Config::load(path).map_err(|errors| bad_config(&errors))?;
        warn_of_exposed_files(&wanted);
        let current = Arc::clone(&self.table.load().config);
        let (config, changes) = keep_until_restart(wanted, &current);
        let terms = self.keeper.prove(&config).map_err(|refusal| impossible(&refusal.to_string()))?;
        let plan = self.listeners.prepare(&config.listeners).map_err(|error| impossible(&error.to_string()))?;
        let door = self.door.prepare(&config.admin).map_err(|error| impossible(&error.to_string()))?;
        Ok(Proven { config, changes, plan, terms, door })
    }

    async fn apply(&mut self, proven: Proven) -> Reloaded {
        log::set_level(proven.config.log.level);
        self.keeper.put_in_force(proven.terms);
        self.door.swap(proven.door, &proven.config.admin);
        // The table is published before a new listener accepts anyone, and before a removed one stops.
        let before = Arc::clone(&self.table.load().redirect);
        self.monitor.apply(Arc::new(proven.config)).await;
        let after = Arc::clone(&self.table.load().redirect);
        let notices = self.listeners.swap(proven.plan);
        self.give_notice(notices).await;
        let (needs_restart, changes): (Vec<&Change>, Vec<&Change>) =
            proven.changes.iter().partition(|change| change.holds == Reload::NextStart);
        Reloaded {
            changes: changes.into_iter().map(Change::to_string).collect(),
            // When they hold is what the list says already.
            needs_restart: needs_restart.iter().map(|change| format!("{}: {}", change.subject, change.what)).collect(),
            notes: of_command(&before, &after).into_iter().collect(),
        }
    }
}

/// What became of an operator's `sqluice failover`.
fn of_command(before: &Redirect, after: &Redirect) -> Option<String> {
    let was = before.settings.mode;
    match (before.origin, after.origin) {
        (Origin::Command, Origin::Command) => {
            Some(format!("instant failover: stays {was}, as `sqluice failover` said last"))
        }
        (Origin::Command, Origin::Configuration) => {
            let is = after.settings.mode;
            Some(format!("instant failover: {is} as the file says now, not {was} as `sqluice failover` said before"))
        }
        (Origin::Configuration, _) => None,
    }
}

/// A configuration that will be applied: nothing can fail any more.
struct Proven {
    config: Config,
    /// Against the configuration in force, with what has to wait for a restart.
    changes: Vec<Change>,
    plan: Plan,
    terms: Terms,
    door: door::Plan,
}

/// The wanted configuration with the present values of what only a start can set, and all changes that were wanted.
fn keep_until_restart(mut wanted: Config, current: &Config) -> (Config, Vec<Change>) {
    let changes = changes(current, &wanted);
    wanted.process.workers = current.process.workers;
    wanted.process.pin_workers = current.process.pin_workers;
    wanted.process.busy_poll = current.process.busy_poll;
    wanted.process.io = current.process.io;
    wanted.process.max_sessions = current.process.max_sessions;
    wanted.process.state_directory.clone_from(&current.process.state_directory);
    wanted.process.core_dumps = current.process.core_dumps;
    wanted.log.format = current.log.format;
    wanted.admin.socket.clone_from(&current.admin.socket);
    (wanted, changes)
}

fn log_changes(reloaded: &Reloaded) {
    if reloaded.changes.is_empty() && reloaded.needs_restart.is_empty() {
        tracing::info!("the configuration was loaded again: nothing changed");
    }
    reloaded.changes.iter().for_each(|change| tracing::info!("changed: {change}"));
    reloaded.notes.iter().for_each(|note| tracing::info!("{note}"));
    reloaded.needs_restart.iter().for_each(|change| tracing::warn!("needs a restart: {change}"));
}

fn bad_config(errors: &ConfigErrors) -> ReloadRefused {
    ReloadRefused::BadConfig(errors.to_string().lines().map(str::to_string).collect())
}

fn impossible(reason: &str) -> ReloadRefused {
    ReloadRefused::Impossible(vec![reason.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn config(text: &str) -> Config {
        let environment = Environment {
            online_cpus: 1,
            variable: &|_| None,
            file: &|_| Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
        };
        Config::parse(text, "test.toml", &environment).expect("a good configuration")
    }

    const REST: &str = r#"
        [[listener]]
        name = "app"
        address = "127.0.0.1:3306"
        [cluster.shop]
        topology = "static"
        [[cluster.shop.server]]
        name = "db1"
        address = "127.0.0.1:3307"
        role = "primary"
        [pool.write]
        cluster = "shop"
        role = "primary"
        [[user]]
        name = "app"
        password = "secret"
        pool = "write"
    "#;

    #[test]
    fn what_only_a_start_can_set_keeps_its_value_and_is_reported() {
        let current = config(&format!("[process]\nworkers = 1\n{REST}"));
        let wanted = config(&format!(
            "[process]\nworkers = 2\npin_workers = false\nbusy_poll = false\nio = \"epoll\"\nmax_sessions = 9\ncore_dumps = true\nshutdown_timeout = \"7s\"\n\
             [log]\nlevel = \"debug\"\nformat = \"json\"\n[admin]\nsocket = \"/tmp/other.sock\"\n{REST}"
        ));
        let (kept, wanted_changes) = keep_until_restart(wanted, &current);
        let waiting = wanted_changes.iter().filter(|change| change.holds == Reload::NextStart).count();
        assert_eq!(waiting, 8, "{wanted_changes:?}");
        // What is left to apply is exactly what a reload can do.
        let applied: Vec<String> = changes(&current, &kept).iter().map(Change::to_string).collect();
        let possible = wanted_changes.iter().filter(|change| change.holds != Reload::NextStart);
        assert_eq!(applied, possible.map(Change::to_string).collect::<Vec<_>>());
        assert_eq!(applied.len(), 2, "the log's level and the shutdown timeout: {applied:?}");
    }
}
