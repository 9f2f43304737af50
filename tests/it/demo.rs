//! `sqluice demo`, as a newcomer starts it, with its output in a pipe.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use crate::harness::{Process, WAIT_MAX, signal};

/// A demo whose folder is inside one of the test's own.
struct Demo {
    temporary: tempfile::TempDir,
    child: Child,
    /// Its output, of which somebody else waits for the next one: a pipe has no deadline.
    lines: Receiver<String>,
    /// What it has written so far.
    said: String,
}

impl Demo {
    fn start(arguments: &[&str]) -> Demo {
        let temporary = tempfile::tempdir().expect("a folder can be made");
        let mut command = Command::new(env!("CARGO_BIN_EXE_sqluice"));
        command.arg("demo").args(arguments).env("TMPDIR", temporary.path());
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be run");
        let output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok()));
        Demo { temporary, child, lines, said: String::new() }
    }

    /// The next line, `None` at the end; what it is waited for is `what`.
    #[track_caller]
    fn next_line(&mut self, deadline: Instant, what: &str) -> Option<String> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                self.said += &line;
                self.said.push('\n');
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("waited {WAIT_MAX:?} in vain for {what}:\n{}", self.said),
        }
    }

    /// Reads on until a line has `text`.
    #[track_caller]
    fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            let line = self.next_line(deadline, text);
            let line = line.unwrap_or_else(|| panic!("it ended without saying {text:?}:\n{}", self.said));
            if line.contains(text) {
                return;
            }
        }
    }

    fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// Waits for its end, and looks whether anything is left of it.
    #[track_caller]
    fn finish(mut self) -> Output {
        let deadline = Instant::now() + WAIT_MAX;
        while self.next_line(deadline, "its end").is_some() {}
        let output = self.child.wait_with_output().expect("it ends");
        let left = fs::read_dir(self.temporary.path()).expect("the test's own folder stays").count();
        assert_eq!(left, 0, "something is left in {}", self.temporary.path().display());
        Output { stdout: self.said.into_bytes(), ..output }
    }
}

const STORY: [&str; 3] = ["db1, the primary, was killed", "db1 was started again", "Writes go on"];

/// Plays it until its story is told, however long the primary takes to come back; all it has said.
#[track_caller]
fn play(arguments: &[&str]) -> String {
    let mut demo = Demo::start(arguments);
    STORY.iter().for_each(|part| demo.wait_for(part));
    signal(demo.process(), "INT");
    let output = demo.finish();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}{errors}");
    said
}

#[track_caller]
fn check_story(said: &str) {
    assert!(said.contains("mysqlmaster → db1"), "{said}");
    let counts = said.lines().find_map(|line| line.trim_start().strip_prefix("statements ")).expect("a summary");
    assert!(!counts.split(", ").any(|count| count.ends_with(" 0")), "a server without statements: {counts}");
    // Reads may go there, too: until replicas have found the primary that is back, they are not read from.
    let writes_elsewhere = ["mysqlmaster → db2", "mysqlmaster → db3"];
    assert!(!writes_elsewhere.iter().any(|wrong| said.contains(wrong)), "{said}");
    assert!(!said.contains('\x1b'), "escape codes in a pipe: {said}");
}

#[test]
fn with_stand_ins_it_shows_a_failure_and_its_end_and_leaves_nothing_behind() {
    let said = play(&["--stand-in"]);
    assert!(said.contains("built-in stand-in servers"), "{said}");
    let own = env!("CARGO_BIN_EXE_sqluice").trim_start_matches(concat!(env!("CARGO_MANIFEST_DIR"), "/"));
    assert!(said.contains(&format!("  {own} status --config ")), "{said}");
    check_story(&said);
}

#[test]
fn with_mariadb_in_path_it_plays_on_real_servers() {
    let said = play(&[]);
    assert!(said.contains("real servers, "), "{said}");
    check_story(&said);
}

#[test]
fn it_ends_by_itself_when_its_time_is_over() {
    let output = Demo::start(&["--stand-in", "--no-traffic", "--seconds", "1"]).finish();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\nsqluice demo, "));
}

#[test]
fn ctrl_c_ends_it_with_a_summary_at_any_time() {
    let mut demo = Demo::start(&["--stand-in", "--seconds", "600"]);
    demo.wait_for("mysqlmaster → db1");
    signal(demo.process(), "INT");
    let output = demo.finish();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("statements   db1 "));
    // Before there is anything to sum up.
    let mut demo = Demo::start(&[]);
    demo.wait_for("Starting");
    signal(demo.process(), "INT");
    assert_eq!(demo.finish().status.code(), Some(1));
}
