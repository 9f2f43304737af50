//! `CONFIGURATION.md`, made of the reference.

use std::fmt::{self, Write as _};

use super::limits;
use super::reference::{ROOT, Section, Setting};

/// `CONFIGURATION.md`: every section with its settings, and the constant bounds.
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in ROOT.with_inner().into_iter().skip(1) {
        write_section(&mut page, section).expect(INFALLIBLE);
    }
    write_bounds(&mut page).expect(INFALLIBLE);
    page
}

const INFALLIBLE: &str = "a String takes everything";

const INTRODUCTION: &str = "\
# Configuration

sqluice reads one TOML file, `/etc/sqluice/sqluice.toml` unless `--config` names another. `tuning/sqluice.toml` is an
example to start from.

- `sqluice check` reports everything that is wrong with a file, as `file:line:column: what is wrong, and what to write
  instead`; `sqluice check --print` shows the effective settings with all defaults, secrets masked.
- An unknown key is an error. A file with an error changes nothing, neither at start nor at a reload.
- `sqluice reload`, or SIGHUP, applies a changed file as a whole. The column *reload* says from when on a changed
  setting holds: *at once*, for *new sessions*, or from the *next start* on.
- Durations are a whole number and a unit, in quotes: `\"250ms\"`, `\"5s\"`, `\"1m\"`, `\"2h\"`.
- Names of listeners, clusters, servers and pools have letters, digits, `-`, `_` and `.`.

This page is made from the table in `src/config/reference.rs`; a test keeps the two equal.
";

fn write_section(page: &mut String, section: &Section) -> fmt::Result {
    write!(page, "\n## `{}`\n\n{}\n\n", section.title, section.doc)?;
    page.push_str("| setting | form | default | reload | meaning |\n|---|---|---|---|---|\n");
    for setting in section.settings {
        let Setting { name, form, absent, reload, doc } = setting;
        writeln!(page, "| `{name}` | {form} | {absent} | {reload} | {doc} |")?;
    }
    Ok(())
}

fn write_bounds(page: &mut String) -> fmt::Result {
    page.push_str("\n## Bounds that are not settings\n\n");
    page.push_str("The sum of what all bounds allow, in bytes, is printed at start.\n\n");
    page.push_str("| of | at most | then |\n|---|---|---|\n");
    for bound in limits::BOUNDS {
        writeln!(page, "| {} | {} {} | {} |", bound.name, bound.value, bound.unit, bound.at_the_bound)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_page_is_what_the_reference_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONFIGURATION.md");
        if std::env::var_os("SQLUICE_WRITE_CONFIGURATION_MD").is_some() {
            fs::write(&path, markdown()).expect("the page can be written");
        }
        let page = fs::read_to_string(&path).expect("the page is in the repository");
        assert!(
            page == markdown(),
            "CONFIGURATION.md is not up to date: run `SQLUICE_WRITE_CONFIGURATION_MD=1 cargo test --lib config::page`"
        );
    }
}
