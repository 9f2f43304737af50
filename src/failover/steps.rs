//! What a promotion does, step by step: each with its SQL in the server's dialect, and the SQL that takes it back.

use std::fmt;
use std::time::Duration;

use crate::config::Account;
use crate::protocol::version::Family;

/// One statement. Its text may hold a password; what is shown never does.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Sql {
    text: String,
    shown: Option<String>,
}

impl Sql {
    /// What the server gets.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl From<&str> for Sql {
    fn from(text: &str) -> Sql {
        Sql { text: text.to_owned(), shown: None }
    }
}

impl From<String> for Sql {
    fn from(text: String) -> Sql {
        Sql { text, shown: None }
    }
}

impl fmt::Display for Sql {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.shown.as_ref().unwrap_or(&self.text))
    }
}

impl fmt::Debug for Sql {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// One thing that is done at one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// A place among the members of the plan.
    pub(super) at: usize,
    /// For the log and for people.
    pub(super) what: &'static str,
    pub(super) action: Action,
    pub(super) stage: Stage,
    /// What takes it back.
    pub(super) undo: Vec<Sql>,
}

impl Step {
    /// Whether the next step does the same at another server: neither waits for the other.
    pub(super) fn goes_beside(&self, next: &Step) -> bool {
        let is_same = self.what == next.what && self.stage == next.stage && self.action == next.action;
        is_same && self.at != next.at && matches!(self.action, Action::Run(_))
    }
}

/// How a step is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Run(Vec<Sql>),
    /// Wait, not for long, until no transaction that has written is open. Those that are left will be refused.
    AwaitQuiet,
    /// End connections at the server: KILL of each.
    EndSessions(Whose),
    /// End everybody's connections and make it read-only, for which commits may not wait for the receipt of a replica.
    ShutDoor,
    /// Wait until it has applied all that the member there has, not longer than writes may be held.
    AwaitHistoryOf(usize),
    /// Watch these replicas, which have just called the old primary: it lives if it answers any of them.
    AwaitNoAnswerTo(Vec<usize>),
    /// Watch what comes to these replicas for so long: the old primary lives if anything does.
    AwaitSilence(Vec<usize>, Duration),
    /// Ask all replicas again, now that none receives any more, whether this one has all that any of them has received;
    /// then wait until it has applied that.
    AwaitReceived,
    /// Nothing is done if it has transactions that the member there lacks.
    CheckHistory(usize),
}

/// Whose connections are ended. Never those of replication, and of the accounts of balancers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Nobody has anything to do there any more.
    Everybody,
    /// Who has written in a transaction that is open, and who need not mind `read_only`.
    Writers,
}

/// What becomes of the promotion if a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// What was done is taken back, and the old primary goes on.
    Before,
    /// The same; when it is done, there is a new primary and no way back.
    Decisive,
    /// The new primary stays, and an operator is told what is missing.
    After,
}

impl Action {
    /// The SQL of it, as far as it is known before it is done.
    pub(super) fn shown(&self, family: Family) -> Vec<String> {
        match self {
            Action::Run(statements) => statements.iter().map(Sql::to_string).collect(),
            Action::AwaitQuiet => vec![OPEN_TRANSACTIONS.to_owned()],
            Action::ShutDoor => {
                let shut = refuse_writes(family).into_iter().map(|sql| sql.to_string());
                std::iter::once("KILL <each connection of a client>".to_owned()).chain(shut).collect()
            }
            Action::EndSessions(_) => vec!["KILL <each connection that may still write>".to_owned()],
            Action::AwaitHistoryOf(_) => vec![wait(family, "<all that the old primary has>")],
            Action::AwaitReceived => vec![wait(family, "<all that it has received>")],
            Action::AwaitNoAnswerTo(_) | Action::AwaitSilence(..) | Action::CheckHistory(_) => Vec::new(),
        }
    }

    /// When it has failed.
    pub(super) fn deadline(&self) -> Duration {
        match self {
            // A server that shuts its door waits for statements that hold table locks.
            Action::Run(_) | Action::EndSessions(_) => Duration::from_secs(10),
            Action::AwaitQuiet => QUIET_TIME_MAX + Duration::from_secs(5),
            Action::AwaitHistoryOf(_) | Action::CheckHistory(_) | Action::ShutDoor => Duration::from_secs(30),
            Action::AwaitNoAnswerTo(_) | Action::AwaitSilence(..) | Action::AwaitReceived => Duration::from_secs(120),
        }
    }
}

/// How long open transactions may go on before a planned change.
pub(super) const QUIET_TIME_MAX: Duration = Duration::from_secs(5);

/// Counts the transactions that have written something; those of replication have no connection's number.
pub(super) const OPEN_TRANSACTIONS: &str =
    "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id <> 0 AND trx_rows_modified > 0";

/// InnoDB keeps what it tells of transactions for 100 ms, counted from when it was last asked: whoever asks more often is told
/// the same for ever.
pub(super) const TRANSACTIONS_KEPT: Duration = Duration::from_millis(120);

/// The connections of clients: number, user, and whether it has written in a transaction that is open. `accounts` are those
/// of balancers.
pub(super) fn sessions(accounts: &[&str]) -> String {
    let spared: Vec<String> = SPARED_USERS.iter().chain(accounts).map(|user| quoted(user)).collect();
    format!(
        "SELECT process.ID, process.USER, COALESCE(transaction.trx_rows_modified, 0) > 0 \
         FROM information_schema.PROCESSLIST AS process LEFT JOIN information_schema.INNODB_TRX AS transaction \
         ON transaction.trx_mysql_thread_id = process.ID WHERE process.ID <> CONNECTION_ID() \
         AND process.COMMAND NOT LIKE 'Binlog Dump%' AND process.USER NOT IN ({})",
        spared.join(", ")
    )
}

/// Threads of a server that are no client's.
const SPARED_USERS: [&str; 3] = ["system user", "event_scheduler", "unauthenticated user"];

/// Users of MariaDB with SUPER or READ_ONLY ADMIN, be it by a role. MySQL has a `read_only` that everybody minds.
pub(super) const UNBOUND_USERS: &str = "WITH RECURSIVE able (name) AS (\
     SELECT User FROM mysql.global_priv WHERE CAST(JSON_VALUE(Priv, '$.access') AS UNSIGNED) & 0x200008000 <> 0 \
     UNION SELECT mapping.User FROM mysql.roles_mapping AS mapping JOIN able ON mapping.Role = able.name\
     ) SELECT name FROM able";

/// Waits for a position for a second: its value is 0 when the server has it.
pub(super) fn wait(family: Family, position: &str) -> String {
    match family {
        Family::MariaDb => format!("SELECT MASTER_GTID_WAIT('{position}', 1)"),
        Family::MySql => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', 1)"),
    }
}

/// No writes but those of replication and of who may do everything.
pub(super) fn refuse_writes(family: Family) -> Vec<Sql> {
    vec![Sql::from(match family {
        Family::MariaDb => "SET GLOBAL read_only = ON",
        Family::MySql => "SET GLOBAL super_read_only = ON",
    })]
}

/// The stronger of MySQL's two locks first: `read_only` cannot be taken off below it.
pub(super) fn take_writes(family: Family) -> Vec<Sql> {
    let statements: &[&str] = match family {
        Family::MariaDb => &["SET GLOBAL read_only = OFF"],
        Family::MySql => &["SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF"],
    };
    statements.iter().copied().map(Sql::from).collect()
}

/// Variables of which one, where it exists, has commits wait for the receipt of a replica.
pub(super) fn receipts(family: Family) -> &'static [&'static str] {
    match family {
        Family::MariaDb => &["rpl_semi_sync_master_enabled"],
        Family::MySql => &["rpl_semi_sync_source_enabled", "rpl_semi_sync_master_enabled"],
    }
}

pub(super) fn stop_receiving(family: Family) -> Vec<Sql> {
    vec![Sql::from(format!("STOP {} IO_THREAD", word(family)))]
}

pub(super) fn start_receiving(family: Family) -> Vec<Sql> {
    vec![Sql::from(format!("START {} IO_THREAD", word(family)))]
}

pub(super) fn stop_following(family: Family) -> Vec<Sql> {
    vec![Sql::from(format!("STOP {}", word(family)))]
}

pub(super) fn start_following(family: Family) -> Vec<Sql> {
    vec![Sql::from(format!("START {}", word(family)))]
}

/// So that it does not follow anybody after a restart.
pub(super) fn forget_source(family: Family) -> Vec<Sql> {
    vec![Sql::from(format!("RESET {} ALL", word(family)))]
}

/// The period of heartbeats where nobody has set one that a promotion could wait for.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

/// Follows another server with the account that it has. Servers forget the period of their heartbeats with a change of the
/// source: half of the net timeout, 30 s, would be too long to notice a primary that hangs.
pub(super) fn follow(family: Family, host: &str, port: u16, heartbeat: Duration) -> Vec<Sql> {
    let (host, seconds) = (quoted(host), heartbeat.as_secs_f64());
    let change = match family {
        Family::MariaDb => {
            format!(
                "CHANGE MASTER TO MASTER_HOST = {host}, MASTER_PORT = {port}, MASTER_USE_GTID = slave_pos, \
                 MASTER_HEARTBEAT_PERIOD = {seconds}"
            )
        }
        Family::MySql => {
            format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = {host}, SOURCE_PORT = {port}, SOURCE_AUTO_POSITION = 1, \
                 SOURCE_HEARTBEAT_PERIOD = {seconds}"
            )
        }
    };
    surrounded(family, vec![Sql::from(change)])
}

/// Follows another server for the first time.
pub(super) fn follow_as(family: Family, host: &str, port: u16, heartbeat: Duration, account: &Account) -> Vec<Sql> {
    let (password, seconds) = (String::from_utf8_lossy(account.password.expose()), heartbeat.as_secs_f64());
    let change = |password: &str| {
        let (host, user) = (quoted(host), quoted(&account.user));
        match family {
            Family::MariaDb => format!(
                "CHANGE MASTER TO MASTER_HOST = {host}, MASTER_PORT = {port}, MASTER_USER = {user}, \
                 MASTER_PASSWORD = {password}, MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, \
                 MASTER_HEARTBEAT_PERIOD = {seconds}"
            ),
            Family::MySql => format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = {host}, SOURCE_PORT = {port}, SOURCE_USER = {user}, \
                 SOURCE_PASSWORD = {password}, SOURCE_AUTO_POSITION = 1, SOURCE_CONNECT_RETRY = 1, \
                 SOURCE_HEARTBEAT_PERIOD = {seconds}, GET_SOURCE_PUBLIC_KEY = 1"
            ),
        }
    };
    let change = Sql { text: change(&quoted(&password)), shown: Some(change("<masked>")) };
    let begin = match family {
        // What it wrote itself as a primary is not in the position that a replica goes on from.
        Family::MariaDb => vec![Sql::from("SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_current_pos"), change],
        Family::MySql => vec![change],
    };
    surrounded(family, begin)
}

/// Replication may be changed only while it stands still.
fn surrounded(family: Family, change: Vec<Sql>) -> Vec<Sql> {
    [stop_following(family), change, start_following(family)].concat()
}

/// MySQL no longer knows the older word; every MariaDB does.
fn word(family: Family) -> &'static str {
    match family {
        Family::MariaDb => "SLAVE",
        Family::MySql => "REPLICA",
    }
}

/// A text as SQL writes it in every `sql_mode`: with doubled quotes, and no backslash alone.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::auth::Secret;

    #[test]
    fn a_password_is_sent_and_not_shown() {
        let account = Account { user: "repl".to_owned(), password: Secret::new(*b"it's") };
        for family in [Family::MariaDb, Family::MySql] {
            let statements = follow_as(family, "10.0.0.2", 3306, HEARTBEAT, &account);
            let sent: Vec<&str> = statements.iter().map(Sql::text).collect();
            assert!(sent.concat().contains("PASSWORD = 'it''s'"), "{sent:?}");
            assert!(!format!("{statements:?}").contains("it's") && !format!("{statements:?}").contains("it''s"));
        }
    }

    #[test]
    fn a_server_of_mysql_opens_in_two_steps() {
        let shown = |family| take_writes(family).iter().map(Sql::to_string).collect::<Vec<_>>();
        assert_eq!(shown(Family::MySql), ["SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF"]);
        assert_eq!(shown(Family::MariaDb), ["SET GLOBAL read_only = OFF"]);
    }
}
