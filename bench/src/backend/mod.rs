//! The server behind the candidates: the stand-in, a real one that the bench starts, or one that is given.

mod schema;
mod started;

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;

use schema::Schema;
use started::Started;

use crate::launch::{Cpu, Process, free_address};
use crate::reply::Comparison;
use crate::target::{Account, Target};

/// Which server it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    StandIn,
    Started(Family),
    Given(SocketAddr),
}

/// Whose real server the bench starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    MariaDb,
    MySql,
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        match text {
            "stand-in" => Ok(Choice::StandIn),
            "mariadb" => Ok(Choice::Started(Family::MariaDb)),
            "mysql" => Ok(Choice::Started(Family::MySql)),
            address => address
                .parse()
                .map(Choice::Given)
                .map_err(|_| "`stand-in`, `mariadb`, `mysql`, or an address with its port is needed".to_owned()),
        }
    }
}

/// A server that serves. Dropping it ends what was started and removes what was made.
pub(crate) struct Backend {
    pub(crate) target: Target,
    // In this order: the tables are dropped while their server runs.
    _schema: Option<Schema>,
    _started: Option<Started>,
    _stand_in: Option<Process>,
}

impl Backend {
    /// `account` is that of a given server. `connections` is the largest number of them that will work at once.
    pub(crate) fn open(
        choice: Choice,
        account: Option<Account>,
        connections: usize,
        cpu: Cpu,
        directory: &Path,
    ) -> Result<Backend, Box<dyn Error>> {
        match choice {
            Choice::StandIn => {
                let replica = free_address()?;
                let arguments = ["stand-in", "--replica", &replica.to_string()];
                let (process, address) = Process::start_own(cpu, &arguments, &directory.join("stand-in.log"))?;
                let target = Target { replica: Some(replica), ..Target::stand_in(address) };
                Ok(Backend { target, _schema: None, _started: None, _stand_in: Some(process) })
            }
            Choice::Started(family) => {
                let (started, target) = Started::start(family, cpu)?;
                let schema = Schema::create(&target, connections)?;
                Ok(Backend { target, _schema: Some(schema), _started: Some(started), _stand_in: None })
            }
            Choice::Given(address) => {
                let account = account.ok_or("a server that is given needs `--user` and `--password-env`")?;
                let target = Target { comparison: Comparison::Shape, account, ..Target::stand_in(address) };
                let schema = Schema::create(&target, connections)?;
                Ok(Backend { target, _schema: Some(schema), _started: None, _stand_in: None })
            }
        }
    }
}
