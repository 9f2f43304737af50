//! Bytes captured from real servers, for tests; `tests/corpus/capture.py` says how to get them again.

use super::{capability::Capabilities, command::ReplyShape, result_set::Framing};

const FILES: [&str; 3] = [
    include_str!("../../tests/corpus/mariadb-10.11.txt"),
    include_str!("../../tests/corpus/mariadb-11.8.txt"),
    include_str!("../../tests/corpus/mysql-9.7.txt"),
];

/// A server's first packet, and what a client answered.
pub(crate) struct Opening {
    pub(crate) greeting: Vec<u8>,
    pub(crate) offered: Capabilities,
    pub(crate) response: Vec<u8>,
    /// The whole packet that ended the login.
    pub(crate) login: Vec<u8>,
    pub(crate) capabilities: Capabilities,
}

/// All bytes of the reply to one command.
pub(crate) struct CapturedReply {
    pub(crate) shape: ReplyShape,
    pub(crate) framing: Framing,
    /// The statement, with `_` for spaces.
    pub(crate) title: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// The logins of all servers.
pub(crate) fn openings() -> Vec<Opening> {
    let mut openings = Vec::new();
    let mut lines = FILES.iter().flat_map(|file| file.lines());
    while let Some(line) = lines.next() {
        if line.starts_with("greeting ") {
            let [line, response, login] = [line, lines.next().unwrap(), lines.next().unwrap()].map(fields);
            openings.push(Opening {
                greeting: unhex(line[1])[4..].to_vec(),
                offered: capabilities(response[1]),
                response: unhex(response[2]),
                login: unhex(login[2]),
                capabilities: capabilities(login[1]),
            });
        }
    }
    openings
}

/// The replies of all servers; under Miri some of each.
pub(crate) fn replies() -> Vec<CapturedReply> {
    let lines = FILES.iter().flat_map(|file| file.lines()).filter(|line| line.starts_with("reply "));
    lines.step_by(if cfg!(miri) { 15 } else { 1 }).map(reply).collect()
}

fn reply(line: &'static str) -> CapturedReply {
    let line = fields(line);
    let shape = match line[1] {
        "result_set" => ReplyShape::ResultSet,
        "cursor" => ReplyShape::Cursor,
        "simple" => ReplyShape::Simple,
        "statistics" => ReplyShape::Statistics,
        "prepare" => ReplyShape::Prepare,
        "field_list" => ReplyShape::FieldList,
        "fetch" => ReplyShape::Fetch,
        other => panic!("no reply has the shape {other}"),
    };
    CapturedReply { shape, framing: Framing::of(capabilities(line[2])), title: line[3], bytes: unhex(line[4]) }
}

fn fields(line: &'static str) -> Vec<&'static str> {
    line.split(' ').collect()
}

fn capabilities(hexadecimal: &str) -> Capabilities {
    Capabilities(u64::from_str_radix(hexadecimal, 16).unwrap())
}

/// The bytes behind hexadecimal digits.
pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2));
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
