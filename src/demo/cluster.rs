//! The demo's three servers, whichever kind they are: a primary that can die and come back, and two replicas.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use crate::standin::{self, Options, StandIn};

use super::failure::{Failure, Trying};
use super::folder::Folder;
use super::mariadb::{Programs, Servers};
use super::{Accounts, Backing, MEMBERS, READER, WRITER};

/// See the module. Dropping it ends the servers.
#[derive(Debug)]
pub(super) enum Cluster {
    Real(Servers),
    StandIn(Vec<StandIn>),
}

/// A started cluster, and a sentence on what it is made of.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) cluster: Cluster,
    pub(super) made_of: String,
}

impl Cluster {
    pub(super) async fn start(backing: Backing, folder: &Folder, accounts: &Accounts) -> Result<Started, Failure> {
        let why = match (backing, Programs::find()) {
            (Backing::StandIn, _) => "as you asked".to_owned(),
            (Backing::RealIfFound, None) => "no mariadbd with mariadb-install-db in PATH".to_owned(),
            (Backing::RealIfFound, Some(programs)) => match start_real(programs, folder, accounts).await {
                Ok(started) => return Ok(started),
                Err(failure) => format!("MariaDB is here, but {failure}"),
            },
        };
        let cluster = Cluster::StandIn(start_stand_ins(accounts).await?);
        Ok(Started { cluster, made_of: format!("built-in stand-in servers ({why})") })
    }

    /// The servers' ports on 127.0.0.1, the primary's first.
    pub(super) fn ports(&self) -> Vec<u16> {
        match self {
            Cluster::Real(servers) => servers.ports(),
            Cluster::StandIn(servers) => servers.iter().map(|server| server.address().port()).collect(),
        }
    }

    pub(super) async fn kill_primary(&mut self) -> Result<(), Failure> {
        match self {
            Cluster::Real(servers) => servers.kill_primary().await,
            Cluster::StandIn(servers) => {
                servers[0].fail();
                Ok(())
            }
        }
    }

    pub(super) fn revive_primary(&mut self) -> Result<(), Failure> {
        match self {
            Cluster::Real(servers) => servers.revive_primary(),
            Cluster::StandIn(servers) => servers[0].recover().trying("bringing the primary back"),
        }
    }

    /// Rows in the demo's table, asked of the primary itself, not through the balancer.
    pub(super) async fn row_count(&self) -> Result<u64, Failure> {
        let (user, password) = WRITER;
        let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(self.ports()[0]).prefer_socket(false);
        let mut connection =
            Conn::new(options.user(Some(user)).pass(Some(password))).await.trying("asking the primary for its rows")?;
        let count = connection.query_first("SELECT COUNT(*) FROM demo.visits").await.trying("counting the rows")?;
        connection.disconnect().await.trying("leaving the primary")?;
        count.ok_or_else(|| Failure::new("the primary does not count its rows"))
    }
}

async fn start_real(programs: Programs, folder: &Folder, accounts: &Accounts) -> Result<Started, Failure> {
    let version = programs.version().await?;
    let servers = Servers::start(programs, folder, accounts).await?;
    Ok(Started { cluster: Cluster::Real(servers), made_of: format!("real servers, {version}") })
}

async fn start_stand_ins(accounts: &Accounts) -> Result<Vec<StandIn>, Failure> {
    let users = [WRITER, READER, ("monitor", accounts.service_password.as_str())];
    let logins = users.map(|(user, password)| standin::Account::native(user, password));
    let primary = Options::maria_db(1, logins.to_vec());
    let mut servers = Vec::with_capacity(MEMBERS);
    for index in 0..MEMBERS {
        let server_id = index as u32 + 1;
        let hostname = format!("standin{server_id}");
        // All have the primary's store: that is their replication.
        let options = Options { server_id, hostname, read_only: index > 0, ..primary.clone() };
        servers.push(StandIn::start(options).trying("starting a stand-in server")?);
    }
    let (user, password) = WRITER;
    let options = OptsBuilder::default().ip_or_hostname("127.0.0.1").tcp_port(servers[0].address().port());
    let mut connection =
        Conn::new(options.user(Some(user)).pass(Some(password))).await.trying("setting up the primary")?;
    for statement in accounts.schema() {
        connection.query_drop(statement).await.trying("setting up the primary")?;
    }
    connection.disconnect().await.trying("leaving the primary")?;
    Ok(servers)
}
