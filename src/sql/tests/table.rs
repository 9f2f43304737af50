//! Reads `tests/corpus/statements.txt`; its head says how it is written. Also the test with real servers uses it.

/// One line with the heading above it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// For messages.
    pub(crate) line: usize,
    /// `both`, `mysql` or `mariadb`.
    pub(crate) families: String,
    /// `ansi_quotes`, `no_backslash_escapes` or a character set.
    pub(crate) mode: Option<String>,
    pub(crate) verdict: String,
    pub(crate) effects: Option<Vec<String>>,
    pub(crate) needs: Option<Vec<String>>,
    pub(crate) text: Vec<u8>,
}

pub(crate) fn rows() -> Vec<Row> {
    let mut heading = None;
    let mut rows = Vec::new();
    for (index, line) in include_str!("../../../tests/corpus/statements.txt").lines().enumerate() {
        if let Some(text) = line.strip_prefix("= ") {
            heading = Some(heading_of(text));
            continue;
        }
        let is_note = line.starts_with("# ---") || heading.is_none();
        if !is_note && !line.is_empty() {
            let row: &Row = heading.as_ref().expect("a heading stands above");
            rows.push(Row { line: index + 1, text: unescaped(line), ..row.clone() });
        }
    }
    rows
}

/// `DIALECT | VERDICT | effects: … | needs: …`
fn heading_of(text: &str) -> Row {
    let mut parts = text.split('|').map(str::trim);
    let mut dialect = parts.next().expect("a dialect").split(' ');
    let families = dialect.next().expect("a family").to_owned();
    assert!(["both", "mysql", "mariadb"].contains(&&*families), "{text}");
    let mode = dialect.next().map(str::to_owned);
    let verdict = parts.next().expect("a verdict").to_owned();
    let mut row = Row { line: 0, families, mode, verdict, effects: None, needs: None, text: Vec::new() };
    for part in parts {
        let (name, list) = part.split_once(':').unwrap_or_else(|| panic!("a list in {text}"));
        let list = Some(list.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect());
        match name {
            "effects" => row.effects = list,
            "needs" => row.needs = list,
            other => panic!("{other} in {text}"),
        }
    }
    row
}

fn unescaped(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let escaped = match rest {
            [b'x', high, low, ..] => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).expect("hexadecimal");
                rest = &rest[2..];
                u8::from_str_radix(digits, 16).expect("hexadecimal")
            }
            [b'n', ..] => b'\n',
            [b't', ..] => b'\t',
            [b'0', ..] => 0,
            [b'\\', ..] => b'\\',
            _ => panic!("an unknown escape in {line}"),
        };
        rest = &rest[1..];
        bytes.push(escaped);
    }
    bytes
}
