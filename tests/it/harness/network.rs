//! Hosts of servers and clients whose links can be cut, by `tests/servers/network`.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, Command, Stdio};

use super::script::{Finished, in_tests, run};
use super::servers::{Flavour, script};

/// Hosts in a network of their own. Dropping it removes both.
#[derive(Debug)]
pub(crate) struct Network {
    number: u8,
    keeper: Child,
    /// The keeper removes the network when this closes, however the process ends.
    pipe: Option<ChildStdin>,
}

/// What leads from a host to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// To sqluice and to all clients.
    Front,
    /// To the other hosts.
    Back,
}

impl Network {
    /// Hosts 0 to `hosts` - 1. Fails where it may not be made: no test is skipped for that.
    #[track_caller]
    pub(crate) fn start(hosts: usize) -> Network {
        let mut keeper = Command::new(in_tests("servers/network"))
            .args(["hold", &hosts.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script can be run");
        let (pipe, output) = (keeper.stdin.take(), keeper.stdout.take().expect("stdout is piped"));
        let mut number = String::new();
        BufReader::new(output).read_line(&mut number).expect("a pipe can be read");
        let number = number.trim().parse().expect("`tests/servers/network hold` makes a network, or has said why not");
        Network { number, keeper, pipe }
    }

    /// From now on nothing comes through, and neither end is told.
    pub(crate) fn cut(&self, host: usize, link: Link) {
        self.turn("cut", host, link);
    }

    pub(crate) fn mend(&self, host: usize, link: Link) {
        self.turn("mend", host, link);
    }

    fn turn(&self, verb: &str, host: usize, link: Link) {
        let link = match link {
            Link::Front => "front",
            Link::Back => "back",
        };
        script("servers/network", &[verb, &self.number.to_string(), &(host + 1).to_string(), link]);
    }

    /// A port of a host, as it is reached from here.
    pub(super) fn front(&self, host: usize, port: u16) -> SocketAddr {
        let last = u8::try_from(4 * (host + 1) + 2).expect("few hosts");
        SocketAddr::from((Ipv4Addr::new(198, 18, self.number, last), port))
    }

    /// This machine, as a host reaches it; a free port.
    pub(crate) fn here(&self, host: usize) -> SocketAddr {
        let last = u8::try_from(4 * (host + 1) + 1).expect("few hosts");
        let address = SocketAddr::from((Ipv4Addr::new(198, 18, self.number, last), 0));
        let free = TcpListener::bind(address).expect("a link to the host leads from here");
        free.local_addr().expect("it is bound")
    }

    /// The command-line client of a flavour, on a host.
    pub(crate) fn client_cli(&self, host: usize, flavour: Flavour, arguments: &[&str]) -> Finished {
        self.run(host, "servers/server", &[&["client", flavour.name()], arguments].concat())
    }

    /// The same, while it works; nobody listens to it.
    pub(crate) fn start_client_cli(&self, host: usize, flavour: Flavour, arguments: &[&str]) -> Child {
        let mut command = self.command(host, "servers/server", &[&["client", flavour.name()], arguments].concat());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the script can be run")
    }

    /// A host, as the others reach it.
    pub(super) fn back(host: usize) -> String {
        format!("10.0.0.{}", host + 1)
    }

    /// Runs a script of the `tests` folder on a host; it must succeed.
    #[track_caller]
    pub(super) fn script(&self, host: usize, path: &str, arguments: &[&str]) -> String {
        self.run(host, path, arguments).expect_success(&format!("tests/{path} {}", arguments.join(" ")))
    }

    fn run(&self, host: usize, path: &str, arguments: &[&str]) -> Finished {
        run(&mut self.command(host, path, arguments))
    }

    /// Every script on the way becomes the next one: what is started is the last.
    fn command(&self, host: usize, path: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(in_tests("servers/network"));
        command.args(["exec", &self.number.to_string(), &(host + 1).to_string()]).arg(in_tests(path)).args(arguments);
        command
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // It ends when all is removed; a test that follows may get the same number.
        let _ = self.keeper.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// The kernel takes a namespace apart later than it is deleted, and not while a process lives in it. The next network may
    /// have the same number, and with it the same names.
    #[test]
    fn a_network_leaves_nothing_behind_that_the_next_one_trips_over() {
        let first = Network::start(2);
        let mut lives_on = Command::new(in_tests("servers/network"))
            .args(["exec", &first.number.to_string(), "1", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script can be run");
        lives_on.stdin.as_mut().expect("stdin is piped").write_all(b"here\n").expect("cat reads");
        let mut line = String::new();
        BufReader::new(lives_on.stdout.as_mut().expect("stdout is piped")).read_line(&mut line).expect("cat answers");
        let number = first.number;
        let made = links(number);
        assert_eq!(made.len(), 2, "{made:?}");
        drop(first);
        let left: Vec<String> = links(number).into_iter().filter(|link| made.contains(link)).collect();
        assert_eq!(left, [] as [String; 0]);
        drop(lives_on.stdin.take());
        lives_on.wait().expect("cat ends");
    }

    /// Links from here to the hosts of a network, each with its index, which no other link ever gets.
    fn links(number: u8) -> Vec<String> {
        let all = run(Command::new("ip").args(["-oneline", "link", "show"])).expect_success("ip link show");
        let ours = format!(": sq{number}-");
        all.lines()
            .filter(|line| line.contains(&ours))
            .filter_map(|line| Some(line.split_once('@')?.0.to_owned()))
            .collect()
    }
}
