//! What simulated servers say when somebody connects, and the configuration that all worlds share.

use std::sync::Arc;

use sqluice::config::{Config, Environment};
use sqluice::protocol::capability::Capabilities;
use sqluice::protocol::version::ServerVersion;
use sqluice::route::Question;
use sqluice::topology::{Contact, Endpoint, GreetingFacts, RoutingTable};

/// Checks in a row that take a server out, and back.
pub(crate) const FALL: u32 = 3;
pub(crate) const RISE: u32 = 2;

/// What a new connection to a server tells.
pub(crate) fn contact() -> Contact {
    let text = b"5.5.5-10.11.19-MariaDB-0+deb12u1";
    let greeting = GreetingFacts {
        version_text: text.to_vec(),
        version: ServerVersion::parse(text).expect("the version of a real server"),
        capabilities: Capabilities::from_wire(0x81FF_F7FE, 0x1D),
        collation: 8,
        plugin: b"mysql_native_password".to_vec(),
    };
    Contact { endpoint: Endpoint::Tcp(([127, 0, 0, 1], 3306).into()), greeting: Arc::new(greeting) }
}

/// Which server of a pool.
pub(crate) fn question(table: &RoutingTable, pool: &str, tie_break: u32) -> Question<'static> {
    let pool = table.config.pool_by_name(pool).expect("it is in the configuration");
    Question { pool, excluded: &[], required: Capabilities::PROTOCOL_41, fresh: None, lendable: &[], tie_break }
}

/// A cluster `shop` of that topology with servers `db1`, `db2`, …, and a pool for each role.
pub(crate) fn config(topology: &str, servers: usize) -> Arc<Config> {
    let server = |number| {
        format!(
            "[[cluster.shop.server]]\nname = \"db{number}\"\naddress = \"10.0.0.{number}:3306\"\nmax_connections = {}\n",
            number % 3
        )
    };
    let servers: String = (1..=servers).map(server).collect();
    let text = format!(
        "[[listener]]\nname = \"app\"\naddress = \"127.0.0.1:0\"\n\
         [cluster.shop]\ntopology = \"{topology}\"\nmonitor = {{ user = \"m\", password = \"m\" }}\nfall = {FALL}\nrise = {RISE}\n{servers}\
         [pool.write]\ncluster = \"shop\"\nrole = \"primary\"\n\
         [pool.read]\ncluster = \"shop\"\nrole = \"replica\"\nfallback = \"write\"\n\
         [[user]]\nname = \"app\"\npassword = \"secret\"\npool = \"read\"\n"
    );
    let absent = std::io::ErrorKind::NotFound;
    let environment = Environment { online_cpus: 1, variable: &|_| None, file: &|_| Err(absent.into()) };
    match Config::parse(&text, "simulated.toml", &environment) {
        Ok(config) => Arc::new(config),
        Err(errors) => panic!("{errors}\n{text}"),
    }
}
