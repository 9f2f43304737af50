//! Whole files: the smallest, the largest, and those of the documentation.

use super::*;

#[test]
fn a_minimal_file_has_the_defaults_of_the_contract() {
    let config = right(MINIMAL);
    let seconds = Duration::from_secs;
    let process = Process {
        workers: 4,
        pin_workers: true,
        busy_poll: true,
        io: IoEngine::Auto,
        max_sessions: 10_000,
        shutdown_timeout: seconds(30),
        server_version: None,
        state_directory: "/var/lib/sqluice".into(),
        core_dumps: false,
    };
    assert_eq!(config.process, process);
    assert_eq!(config.log, Log { level: LogLevel::Info, format: LogFormat::Text });
    assert_eq!(config.admin.socket, Path::new("/run/sqluice/admin.sock"));
    assert!(!config.listeners[0].extra);
    let limits = Limits { login_timeout: seconds(10), failed_logins: Some(600), connections_per_address: None };
    assert_eq!(config.limits, limits);
    let listener = &config.listeners[0];
    assert_eq!((&listener.proxies, &listener.access), (&Vec::new(), &Access::default()));

    let cluster = &config.clusters[0];
    assert_eq!(cluster.topology, Topology::Replication);
    assert_eq!(
        (cluster.check_interval, cluster.check_timeout),
        (Duration::from_millis(500), Duration::from_millis(800))
    );
    assert_eq!((cluster.fall, cluster.rise), (3, 2));
    assert_eq!(
        (cluster.connect_timeout, cluster.max_replica_lag, cluster.hold_timeout),
        (seconds(2), seconds(10), seconds(10))
    );
    assert_eq!(cluster.donor_reads, DonorReads::LastResort);
    assert_eq!(cluster.follow_redirects, FollowRedirects::Configured);
    let server = &cluster.servers[0];
    assert_eq!((server.weight, server.role, server.max_connections), (100, RoleSetting::Auto, 0));
    assert_eq!(server.send_proxy, SendProxy::Off);

    assert_eq!((config.pools[0].balance, config.pools[0].fallback), (Balance::LeastConnections, None));
    let user = config.user(b"app").expect("the user is there");
    assert_eq!(user.verifier, Verifier::Cleartext(Secret::new(*b"hunter2")));
    assert_eq!((user.max_connections, &user.backend_user, &user.backend_password), (None, &None, &None));
}

#[test]
fn everything_that_can_be_written_arrives() {
    let config = right(COMPLETE);
    assert_eq!((config.process.workers, config.process.max_sessions), (2, 1000));
    assert_eq!(config.process.server_version.as_deref(), Some("8.4.3-sqluice"));
    assert_eq!(config.process.state_directory.to_str(), Some("/srv/sqluice"));
    assert_eq!(config.listeners[1].address, ListenAddress::Unix("/run/sqluice/mysql.sock".into()));
    let monitor = config.clusters[0].monitor.as_ref().expect("it was written");
    assert_eq!(monitor.password, Secret::new(*b"from the environment"));
    assert_eq!(
        config.clusters[0].servers[1].address,
        ServerAddress::Tcp { host: "2001:db8::12".to_owned(), port: 3306 }
    );

    // Clusters and pools stay in the order of the file.
    let pools: Vec<&str> = config.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(pools, ["write", "read", "archive"]);
    assert_eq!(config.pool_by_name("read"), Some(PoolIndex(1)));
    assert_eq!(config.pool(PoolIndex(1)).fallback, Some(PoolIndex(0)));
    assert_eq!(config.cluster(config.pools[2].cluster).name, "a.rchive");

    let quoted = config.user(b"a \"quoted\" name").expect("the user is there");
    assert!(matches!(quoted.verifier, Verifier::DoubleSha1(hash) if hash[0] == 0x24 && hash[19] == 0x19));
    assert_eq!(quoted.max_connections, Some(500));
    assert_eq!(quoted.backend_user.as_deref(), Some("reader"));
    assert_eq!(quoted.backend_password, Some(Secret::new(*b"from the file")));
    let archive = config.user(b"archive").expect("the user is there");
    assert_eq!(archive.verifier, Verifier::Cleartext(Secret::new(*b"from the file")));
    assert_eq!(config.user(b"nobody").expect("the user is there").verifier, Verifier::Cleartext(Secret::new(*b"")));
    let newcomers = config.newcomers.as_ref().expect("they were written");
    assert_eq!(config.user(b"\xFF").expect("who has no entry is served").pool, newcomers.route.pool);
    assert!(matches!(&newcomers.source, Source::Servers { account, .. } if account.user == "reads"));
    assert_eq!(newcomers.learn_ttl, Duration::from_secs(3600));
}

#[test]
fn every_default_is_what_it_would_be_if_written() {
    let mut written = String::new();
    for section in ROOT
        .with_inner()
        .into_iter()
        .filter(|section| !section.title.contains("NAME") && section.title != "[[listener]]")
    {
        let defaults = section.settings.iter().filter_map(|setting| match setting.absent {
            Absent::Is(default) if section.title != "[[user]]" => Some(format!("{} = {default}\n", setting.name)),
            _ => None,
        });
        let lines: String = defaults.collect();
        if !lines.is_empty() {
            written.push_str(&format!("{}\n{lines}", section.title));
        }
    }
    assert_eq!(changes(&right(MINIMAL), &right(&format!("{MINIMAL}{written}"))), []);
}

#[test]
fn the_documented_example_works_as_it_is() {
    let config = right(DOCUMENTED);
    let app = config.user(b"app").expect("the user is there");
    assert_eq!((config.pool(app.pool).name.as_str(), app.max_connections), ("write", Some(500)));
    let split = app.split.expect("it was written");
    assert_eq!((config.pool(split.read).name.as_str(), split.freshness), ("read", Freshness::OwnWrites));
    assert_eq!(config.users[0].split, None);
}

#[test]
fn what_is_not_available_yet_is_refused_by_its_name() {
    check_added(
        "[log]\naccess = \"/a\"\n",
        "21:10: `access` is not available yet: write `access = \"off\"` or leave it out",
    );
}

#[test]
fn the_example_works_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning/sqluice.toml");
    let text = std::fs::read_to_string(path).expect("the example is in the repository");
    let any_file = |_: &Path| Ok(b"secret\n".to_vec());
    let environment = Environment { online_cpus: 2, variable: &variable, file: &any_file };
    let config = Config::parse(&text, "tuning/sqluice.toml", &environment).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.clusters[0].servers.len(), config.users.len()), (3, 2));
    assert_eq!(config.pool(config.users[1].pool).fallback, Some(config.users[0].pool));
}

#[test]
fn the_configuration_in_the_readme_works_as_it_is() {
    let readme = include_str!("../../../README.md");
    let fenced = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a TOML block");
    let text: String = fenced.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let config = parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((config.clusters[0].servers.len(), config.users.len()), (3, 3));
}

#[test]
fn a_file_is_loaded_with_the_passwords_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).expect("it can be written");
    write("sqluice.toml", MINIMAL.replace("password = \"hunter2\"", "password_file = \"p\"").as_bytes());
    write("p", b"beside\n");
    let config = Config::load(&folder.path().join("sqluice.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.users[0].verifier, Verifier::Cleartext(Secret::new(*b"beside")));

    write("latin1.toml", b"# a\n# caf\xE9\n");
    let refused = Config::load(&folder.path().join("latin1.toml")).expect_err("it is not UTF-8").to_string();
    assert!(refused.ends_with("latin1.toml:2:6: this is not UTF-8: write the file in UTF-8"), "{refused}");
    let refused = Config::load(&folder.path().join("none.toml")).expect_err("it is not there").to_string();
    assert!(refused.contains("none.toml: cannot be read (No such file"), "{refused}");
}

#[test]
fn the_worst_case_grows_with_the_sessions_and_workers() {
    let config = right(MINIMAL);
    let worst = limits::worst_case_bytes(&config);
    let of_a_connection = limits::OVERFLOW_HIGH_WATER + limits::BURST_BYTES;
    assert!(worst.bytes() > 2 * of_a_connection * config.process.max_sessions as usize);
    assert_eq!(worst.to_string().lines().count(), worst.shares.len() + 1);
    let more = right(&format!("{MINIMAL}[process]\nmax_sessions = 1_000_000\nworkers = 256\n"));
    assert!(limits::worst_case_bytes(&more).bytes() > worst.bytes());
    let split = right(&MINIMAL.replace("pool = \"write\"", "split = { write = \"write\", read = \"write\" }"));
    let sessions = config.process.max_sessions as usize;
    let more = limits::worst_case_bytes(&split).bytes() - worst.bytes();
    assert!(more >= of_a_connection * sessions, "a session may have two servers");
    let fixed = MINIMAL.replace("topology = \"replication\"", "topology = \"static\"");
    let fixed = right(&fixed.replace("[pool.write]", "role = \"primary\"\n[pool.write]"));
    let more = worst.bytes() - limits::worst_case_bytes(&fixed).bytes();
    assert!(more >= limits::SPLIT_BYTES * sessions, "a session may change its server");
}

proptest! {
    #[test]
    fn any_bytes_are_a_configuration_or_errors(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz_config(&bytes);
    }

    /// Almost right files reach further in than arbitrary bytes do.
    #[test]
    fn a_file_with_anything_in_it_is_a_configuration_or_errors(
        at in 0..COMPLETE.len(),
        removed in 0..40_usize,
        inserted in "[\\PC\n\"\\[\\]{}=.#0-9a-z]{0,20}",
    ) {
        let end = (at + removed).min(COMPLETE.len());
        fuzz_config(format!("{}{inserted}{}", &COMPLETE[..at], &COMPLETE[end..]).as_bytes());
    }
}
