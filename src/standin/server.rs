//! One stand-in server: who it is, how it behaves now, and who is connected. Shared by its sessions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::protocol::version::Family;

use super::Options;
use super::fault::{Armed, Fault};
use super::node::{Maintenance, Node};
use super::refusal::Refusal;

/// Faults waiting for their statement; arming more is refused.
const FAULTS_MAX: usize = 64;

/// See the module. Locks are held for single steps, never over an `await`.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) options: Options,
    pub(super) port: u16,
    pub(super) started: Instant,
    read_only: AtomicBool,
    /// Absent outside of a group.
    node: Mutex<Option<Node>>,
    login_delay: Mutex<Duration>,
    /// True: connections are accepted and nothing is said on any of them.
    silent: watch::Sender<bool>,
    faults: Mutex<VecDeque<Armed>>,
    /// Users of caching_sha2_password whose next logins are fast; a restart forgets them.
    cached_logins: Mutex<BTreeSet<String>>,
    sessions: Mutex<BTreeMap<u32, Connected>>,
    last_session_id: AtomicU32,
    statement_count: AtomicU64,
}

/// A session as KILL and SHOW PROCESSLIST see it.
#[derive(Debug, Clone)]
pub(super) struct Connected {
    /// Empty before the login has succeeded.
    pub(super) user: String,
    pub(super) host: String,
    pub(super) switches: Arc<KillSwitches>,
}

/// What KILL pulls. A pull is kept until the session looks at it.
#[derive(Debug, Default)]
pub(super) struct KillSwitches {
    pub(super) connection: Notify,
    pub(super) query: Notify,
}

impl Server {
    pub(super) fn new(options: Options, port: u16) -> Server {
        Server {
            read_only: AtomicBool::new(options.read_only),
            options,
            port,
            started: Instant::now(),
            node: Mutex::default(),
            login_delay: Mutex::new(Duration::ZERO),
            silent: watch::Sender::new(false),
            faults: Mutex::default(),
            cached_logins: Mutex::default(),
            sessions: Mutex::default(),
            last_session_id: AtomicU32::new(0),
            statement_count: AtomicU64::new(0),
        }
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::SeqCst)
    }

    pub(super) fn set_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Ordering::SeqCst);
    }

    /// What it is in its group, if it is in one.
    pub(super) fn node(&self) -> Option<Node> {
        locked(&self.node).clone()
    }

    pub(super) fn join(&self, members: Vec<SocketAddr>) {
        *locked(&self.node) = Some(Node { members, maintenance: Maintenance::Disabled });
    }

    /// Outside of a group there is nothing that could be set.
    pub(super) fn set_maintenance(&self, maintenance: Maintenance) {
        locked(&self.node).iter_mut().for_each(|node| node.maintenance = maintenance);
    }

    /// Refuses what changes data on a read-only server, in the product's words.
    pub(super) fn check_writable(&self) -> Result<(), Refusal> {
        if !self.is_read_only() {
            return Ok(());
        }
        Err(Refusal::read_only(
            self.options.family,
            match self.options.family {
                Family::MariaDb => "--read-only",
                Family::MySql => "--super-read-only",
            },
        ))
    }

    pub(super) fn login_delay(&self) -> Duration {
        *locked(&self.login_delay)
    }

    pub(super) fn set_login_delay(&self, delay: Duration) {
        *locked(&self.login_delay) = delay;
    }

    pub(super) fn set_silent(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    /// Waits while the server is told to say nothing.
    pub(super) async fn may_speak(&self) {
        let mut silent = self.silent.subscribe();
        // The sender lives in `self`, so it cannot go away during the wait.
        let _ = silent.wait_for(|silent| !silent).await;
    }

    /// Arms `fault` for the next statement that contains `text`.
    pub(super) fn arm(&self, text: &str, fault: Fault) {
        let mut faults = locked(&self.faults);
        assert!(faults.len() < FAULTS_MAX, "at most {FAULTS_MAX} faults wait for their statement");
        faults.push_back(Armed { text: text.into(), fault });
    }

    /// The first fault armed for this statement; it strikes once.
    pub(super) fn take_fault(&self, statement: &[u8]) -> Option<Fault> {
        let mut faults = locked(&self.faults);
        let place = faults.iter().position(|armed| armed.is_for(statement))?;
        faults.remove(place).map(|armed| armed.fault)
    }

    pub(super) fn has_cached_login(&self, user: &str) -> bool {
        locked(&self.cached_logins).contains(user)
    }

    /// At most one entry for each account.
    pub(super) fn cache_login(&self, user: &str) {
        locked(&self.cached_logins).insert(user.into());
    }

    pub(super) fn forget_logins(&self) {
        locked(&self.cached_logins).clear();
    }

    pub(super) fn count_statement(&self) {
        self.statement_count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn statement_count(&self) -> u64 {
        self.statement_count.load(Ordering::Relaxed)
    }

    /// Connections made so far.
    pub(super) fn connection_count(&self) -> u64 {
        self.last_session_id.load(Ordering::Relaxed).into()
    }

    /// Takes a place among the sessions, or `None` when all are taken.
    pub(super) fn enter(self: &Arc<Server>, host: String) -> Option<Place> {
        let mut sessions = locked(&self.sessions);
        if sessions.len() >= self.options.max_connections as usize {
            return None;
        }
        let id = self.last_session_id.fetch_add(1, Ordering::Relaxed) + 1;
        let switches = Arc::new(KillSwitches::default());
        sessions.insert(id, Connected { user: String::new(), host, switches: Arc::clone(&switches) });
        Some(Place { id, switches, server: Arc::clone(self) })
    }

    pub(super) fn session_count(&self) -> usize {
        locked(&self.sessions).len()
    }

    /// All sessions by their connection id.
    pub(super) fn sessions(&self) -> Vec<(u32, Connected)> {
        locked(&self.sessions).iter().map(|(id, connected)| (*id, connected.clone())).collect()
    }

    pub(super) fn kill(&self, id: u64, query_only: bool) -> Result<(), Refusal> {
        let sessions = locked(&self.sessions);
        let found = u32::try_from(id).ok().and_then(|id| sessions.get(&id));
        let connected = found.ok_or_else(|| Refusal::no_such_thread(id))?;
        if query_only {
            connected.switches.query.notify_waiters();
        } else {
            connected.switches.connection.notify_one();
        }
        Ok(())
    }
}

/// A session's place: given back when it is dropped, however the session ended.
#[derive(Debug)]
pub(super) struct Place {
    /// The connection id; never 0.
    pub(super) id: u32,
    pub(super) switches: Arc<KillSwitches>,
    server: Arc<Server>,
}

impl Place {
    pub(super) fn logged_in(&self, user: &str) {
        if let Some(connected) = locked(&self.server.sessions).get_mut(&self.id) {
            connected.user = user.into();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.server.sessions).remove(&self.id);
    }
}

/// A panic of another session leaves each of these values whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
