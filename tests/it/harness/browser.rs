//! A real browser that a test leads through pages: Debian's Chromium without a window.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::script::in_tests;

/// The colours that a page is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

/// Dropping it ends the browser.
#[derive(Debug)]
pub(crate) struct Browser {
    script: Child,
    /// Closed first at the end, which is what ends the script.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Browser {
    #[track_caller]
    pub(crate) fn start() -> Browser {
        let mut script = Command::new("node")
            .arg(in_tests("it/clients/browser.js"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node is there; was tests/servers/install run?");
        let orders = script.stdin.take();
        let answers = BufReader::new(script.stdout.take().expect("stdout is piped"));
        Browser { script, orders, answers }
    }

    /// A new page in a window of that size.
    #[track_caller]
    pub(crate) fn open(&mut self, url: &str, (width, height): (u32, u32), scheme: Scheme) {
        let scheme = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        self.tell(&json!({ "open": url, "width": width, "height": height, "scheme": scheme }));
    }

    /// Waits until an expression is true in the page, and gives its value.
    #[track_caller]
    pub(crate) fn until(&mut self, expression: &str) -> Value {
        self.tell(&json!({ "until": expression }))
    }

    /// The whole page as a picture.
    #[track_caller]
    pub(crate) fn screenshot(&mut self, file: &Path) {
        self.tell(&json!({ "screenshot": file }));
    }

    /// Every address that was asked for, and every error that a page complained of.
    #[track_caller]
    pub(crate) fn requests_and_complaints(&mut self) -> (Value, Value) {
        (self.tell(&json!({ "requests": true })), self.tell(&json!({ "complaints": true })))
    }

    #[track_caller]
    fn tell(&mut self, order: &Value) -> Value {
        let orders = self.orders.as_mut().expect("it is open until the end");
        writeln!(orders, "{order}").expect("the browser's script reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("its output can be read");
        assert!(!line.is_empty(), "the browser's script ended at {order}; what it said is above");
        serde_json::from_str(&line).expect("it answers in JSON")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.orders.take());
        // It reads its orders to their end and then ends the browser; nothing is left that it could wait for.
        let _ = self.script.wait();
    }
}
