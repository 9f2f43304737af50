//! The whole process in this one: real workers and sockets, before a server that nobody runs.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Method;
use tempfile::TempDir;

use super::control::{Order, Source};
use super::notify::ServiceManager;
use super::watchdog::Watchdog;
use super::*;
use crate::admin::ReloadRefused;
use crate::admin::client;
use crate::admin::shapes::{Phase, Reloaded, Status};

/// A folder with a configuration file, and where its process is found.
struct Place {
    folder: TempDir,
    server: SocketAddr,
}

impl Place {
    fn new() -> Place {
        // A port that was free a moment ago: nobody answers, which is all that is asked of the server.
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        Place { folder: tempfile::tempdir().expect("a folder"), server: server.expect("a free port") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One listener on a free port and these further lines.
    fn text(&self, more: &str) -> String {
        format!(
            r#"
            [process]
            workers = 1
            pin_workers = false
            max_sessions = 10
            shutdown_timeout = "1h"
            state_directory = "{}"
            [admin]
            socket = "{}"
            [[listener]]
            name = "app"
            address = "127.0.0.1:0"
            [cluster.shop]
            topology = "static"
            [[cluster.shop.server]]
            name = "db1"
            address = "{}"
            role = "primary"
            [pool.write]
            cluster = "shop"
            role = "primary"
            [[user]]
            name = "app"
            password = "secret"
            pool = "write"
            {more}
            "#,
            self.path("state").display(),
            self.path("admin.sock").display(),
            self.server,
        )
    }

    fn write(&self, text: &str) -> PathBuf {
        let path = self.path("sqluice.toml");
        std::fs::write(&path, text).expect("the file can be written");
        path
    }

    fn config(&self) -> Config {
        Config::load(&self.write(&self.text(""))).expect("a good configuration")
    }

    async fn control(&self, manager: ServiceManager) -> Control {
        let source = Source::File(self.path("sqluice.toml"));
        Control::open(self.config(), source, manager).await.expect("it starts")
    }

    fn status(&self) -> Result<Status, client::ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let body = runtime.block_on(client::request(&self.path("admin.sock"), Method::GET, "/v1/status"))?;
        Ok(serde_json::from_slice(&body).expect("a status"))
    }
}

fn tcp(address: &ListenAddress) -> SocketAddr {
    match address {
        ListenAddress::Tcp(address) => *address,
        ListenAddress::Unix(path) => panic!("{} is not a TCP address", path.display()),
    }
}

#[test]
fn a_process_in_threads_serves_until_it_is_stopped_and_leaves_nothing_behind() {
    let place = Place::new();
    let running = start(place.config()).expect("it starts");
    let [(name, address)] = running.listeners() else { panic!("one listener") };
    assert_eq!(name, "app");
    let address = tcp(address);
    TcpStream::connect(address).expect("clients are accepted");
    let status = place.status().expect("the admin socket answers");
    assert_eq!((status.process.phase, status.process.workers), (Phase::Serving, 1));
    assert_eq!(status.listeners[0].address, address.to_string());
    assert_eq!(status.clusters[0].servers[0].connections, 0);

    running.stop().expect("the worker ends when it is told to");
    assert!(TcpStream::connect(address).is_err());
    assert!(!place.path("admin.sock").exists());
}

#[test]
fn draining_without_sessions_is_over_at_once() {
    let place = Place::new();
    // The timeout is an hour: only the workers' own end can end this test.
    start(place.config()).expect("it starts").drain().expect("the worker ends when it is told to");
}

#[test]
fn a_second_process_with_the_same_admin_socket_does_not_start_and_does_not_disturb_the_first() {
    let place = Place::new();
    let first = start(place.config()).expect("it starts");
    let error = start(place.config()).expect_err("the admin socket is taken");
    assert!(matches!(error, StartError::AdminSocket { .. }), "{error}");
    assert!(error.to_string().contains("is sqluice running already?"), "{error}");
    place.status().expect("the first one still answers");
    first.stop().expect("the worker ends when it is told to");
}

#[test]
fn where_no_admin_socket_can_be_made_the_start_says_what_to_do() {
    let said = |kind: std::io::ErrorKind| {
        StartError::AdminSocket { path: "/run/sqluice/admin.sock".into(), error: kind.into() }.to_string()
    };
    let denied = said(std::io::ErrorKind::PermissionDenied);
    let advice =
        "make /run/sqluice a folder of the user that sqluice runs as (the systemd unit does), or name another place by";
    assert_eq!(denied, format!("admin socket /run/sqluice/admin.sock: permission denied: {advice} `[admin] socket`"));
    let place = Place::new();
    let mut config = place.config();
    config.admin.socket = place.path("none/of/these/admin.sock");
    let error = start(config).expect_err("there is no folder for it");
    assert!(error.to_string().contains("none/of/these, or name another place by `[admin] socket`"), "{error}");
}

#[tokio::test]
async fn a_reload_opens_new_listeners_and_closes_removed_ones() {
    let place = Place::new();
    let mut control = place.control(ServiceManager::Absent).await;
    let socket = place.path("mysql.sock");
    let listener = format!("[[listener]]\nname = \"local\"\naddress = \"unix:{}\"", socket.display());
    place.write(&place.text(&listener));
    let before = control.table().load().epoch;
    let Reloaded { changes, needs_restart, .. } = control.reload().await.expect("a good file");
    assert_eq!((changes.as_slice(), needs_restart.len()), (["listener local added".to_string()].as_slice(), 0));
    assert!(control.table().load().epoch > before);
    std::os::unix::net::UnixStream::connect(&socket).expect("the new listener accepts");

    place.write(&place.text(""));
    let reloaded = control.reload().await.expect("a good file");
    assert_eq!(reloaded.changes, ["listener local removed"]);
    assert!(!socket.exists());
    assert_eq!(control.reload().await, Ok(Reloaded { changes: vec![], needs_restart: vec![], notes: vec![] }));
}

#[tokio::test]
async fn a_reload_that_is_refused_changes_nothing() {
    let place = Place::new();
    let mut control = place.control(ServiceManager::Absent).await;
    let addresses = control.addresses();
    let before = control.table().load_full();

    place.write(&place.text("").replace("pool = \"write\"", "pool = \"wrote\""));
    let Err(ReloadRefused::BadConfig(lines)) = control.reload().await else { panic!("there is no such pool") };
    let file = place.path("sqluice.toml");
    assert!(lines[0].starts_with(&format!("{}:25:", file.display())), "{lines:?}");

    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let taken = taken.local_addr().map(|address| (address, taken)).expect("bound");
    let user = "[[user]]\nname = \"new\"\npassword = \"secret\"\npool = \"write\"";
    place.write(&place.text(&format!("{user}\n[[listener]]\nname = \"taken\"\naddress = \"{}\"", taken.0)));
    let Err(ReloadRefused::Impossible(lines)) = control.reload().await else { panic!("the address is taken") };
    assert!(lines[0].starts_with(&format!("listener taken: cannot listen on {}", taken.0)), "{lines:?}");

    assert!(Arc::ptr_eq(&before, &control.table().load_full()), "the table is still the same");
    assert_eq!(control.addresses(), addresses);
    TcpStream::connect(tcp(&addresses[0].1)).expect("the listener still accepts");
}

#[tokio::test]
async fn the_status_page_follows_the_configuration_and_keeps_its_address_when_the_next_is_taken() {
    let place = Place::new();
    let mut control = place.control(ServiceManager::Absent).await;
    assert_eq!(control.door.address(), None);
    let text = |http: &str| place.text("").replace("socket =", &format!("{http}\nsocket ="));
    place.write(&text("http = \"127.0.0.1:0\""));
    assert_eq!(control.reload().await.expect("a good file").changes, ["admin: http none -> \"127.0.0.1:0\""]);
    let first = control.door.address().expect("it is open");
    TcpStream::connect(first).expect("it listens");

    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let taken_address = taken.local_addr().expect("bound");
    place.write(&text(&format!("http = \"{taken_address}\"")));
    let Err(ReloadRefused::Impossible(lines)) = control.reload().await else { panic!("the address is taken") };
    assert!(lines[0].starts_with(&format!("[admin] http: cannot listen on {taken_address}: ")), "{lines:?}");
    assert_eq!(control.door.address(), Some(first));

    drop(taken);
    control.reload().await.expect("it is free now");
    assert_eq!(control.door.address(), Some(taken_address));
    // The task of the first one ends when the runtime comes to it.
    while TcpStream::connect(first).is_ok() {
        tokio::task::yield_now().await;
    }
    place.write(&text(""));
    control.reload().await.expect("a good file");
    assert_eq!(control.door.address(), None);
}

#[tokio::test]
async fn the_service_manager_hears_of_start_reload_and_end() {
    let place = Place::new();
    let (ours, theirs) = UnixDatagram::pair().expect("a pair of sockets");
    theirs.set_nonblocking(true).expect("a socket takes that");
    let heard = || {
        let mut buffer = [0; 512];
        let length = theirs.recv(&mut buffer).expect("a message was sent");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut control = place.control(ServiceManager::Listening(ours)).await;
    assert_eq!(heard(), "READY=1");
    assert!(heard().starts_with("STATUS=serving on app 127.0.0.1:"));
    control.reload().await.expect("the same file");
    assert!(heard().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(heard(), "READY=1");
    let (orders, inbox) = mpsc::channel(1);
    orders.send(Order::Terminate).await.expect("there is a place for one");
    control.run(inbox).await.expect("the worker ends when it is told to");
    assert_eq!(heard(), "STOPPING=1");
    assert!(theirs.recv(&mut [0; 1]).is_err(), "that was all");
}

#[tokio::test]
async fn the_service_manager_hears_that_all_is_well_while_workers_answer_and_nothing_while_one_does_not() {
    let place = Place::new();
    let control = place.control(ServiceManager::Absent).await;
    let workers = control.workers.handles().to_vec();
    let mut watchdog = Watchdog::new(Some(Duration::from_millis(4)));
    assert!(watchdog.all_answer(&workers), "nobody was asked yet");
    assert!(!watchdog.all_answer(&workers), "the worker has had no turn to answer in");
    while !watchdog.all_answer(&workers) {
        watchdog.tick().await;
    }
    control.end().await;
    // Workers that have ended are told of elsewhere.
    while !watchdog.all_answer(&workers) {
        watchdog.tick().await;
    }
}

#[tokio::test]
async fn signs_of_life_are_sent_from_the_loop() {
    let place = Place::new();
    let (ours, theirs) = UnixDatagram::pair().expect("a pair of sockets");
    theirs.set_nonblocking(true).expect("a socket takes that");
    let mut control = place.control(ServiceManager::Listening(ours)).await;
    control.watchdog = Watchdog::new(Some(Duration::from_millis(4)));
    let (orders, inbox) = mpsc::channel(1);
    let heard = async {
        let theirs = tokio::net::UnixDatagram::from_std(theirs).expect("a runtime");
        let mut signs = 0;
        while signs < 3 {
            let mut buffer = [0; 512];
            let length = theirs.recv(&mut buffer).await.expect("a message comes");
            signs += usize::from(&buffer[..length] == b"WATCHDOG=1");
        }
        orders.send(Order::Stop).await.expect("there is a place for one");
        theirs
    };
    let (ended, _theirs) = tokio::join!(control.run(inbox), heard);
    ended.expect("the worker ends when it is told to");
}

#[tokio::test]
async fn a_worker_that_ends_by_itself_ends_the_process_with_an_error() {
    let place = Place::new();
    let mut control = place.control(ServiceManager::Absent).await;
    let (deaths, inbox) = mpsc::unbounded_channel();
    deaths.send(0).expect("the inbox is here");
    control.deaths = inbox;
    let (_orders, orders_inbox) = mpsc::channel(1);
    assert_eq!(control.run(orders_inbox).await, Err(WorkerEnded { worker: 0 }));
    assert!(!place.path("admin.sock").exists());
}
