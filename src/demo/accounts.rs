//! The demo's accounts, database and table.

use std::io;

/// Who writes: everything this user does goes to the primary.
pub(super) const WRITER: (&str, &str) = ("mysqlmaster", "demo");
/// Who reads: everything this user does goes to a replica.
pub(super) const READER: (&str, &str) = ("mysqlslave", "demo");

/// What was made up for this run.
#[derive(Debug)]
pub(super) struct Accounts {
    /// Of the accounts `monitor` and `replication`.
    pub(super) service_password: String,
}

impl Accounts {
    pub(super) fn new() -> io::Result<Accounts> {
        Ok(Accounts { service_password: random_password()? })
    }

    /// The database and its table.
    pub(super) fn schema(&self) -> [&'static str; 2] {
        [
            "CREATE DATABASE demo",
            "CREATE TABLE demo.visits (id INT AUTO_INCREMENT PRIMARY KEY, server INT, note VARCHAR(100))",
        ]
    }

    /// All that a real primary has to be told, for its replicas, too.
    pub(super) fn statements(&self) -> Vec<String> {
        let user = |name: &str, password: &str| format!("CREATE USER {name}@'%' IDENTIFIED BY '{password}'");
        let mut statements: Vec<String> = self.schema().map(String::from).into();
        statements.extend([
            user(WRITER.0, WRITER.1),
            format!("GRANT ALL ON demo.* TO {}@'%'", WRITER.0),
            user(READER.0, READER.1),
            format!("GRANT SELECT ON demo.* TO {}@'%'", READER.0),
            user("monitor", &self.service_password),
            "GRANT REPLICA MONITOR, BINLOG MONITOR ON *.* TO monitor@'%'".into(),
            user("replication", &self.service_password),
            "GRANT REPLICATION SLAVE ON *.* TO replication@'%'".into(),
        ]);
        statements
    }
}

/// Letters that need no quoting anywhere, with 128 bits of the system's randomness.
pub(super) fn random_password() -> io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(random)))
}
