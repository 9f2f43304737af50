//! Where a run goes: the terminal, files, the repository's own record.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use crate::plot;
use crate::readme;
use crate::record::Record;
use crate::table;
use crate::targets;

/// Files to write a run to.
#[derive(clap::Args)]
pub(crate) struct Files {
    /// Write everything that was measured as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a picture of all candidates as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

impl Files {
    pub(crate) fn write(&self, record: &Record) -> Result<(), Box<dyn Error>> {
        if let Some(path) = &self.json {
            write(path, &record.to_json())?;
        }
        if let Some(path) = &self.plot {
            write(path, &plot::svg(record))?;
        }
        Ok(())
    }
}

/// Table, promises, and how quiet the machine was.
pub(crate) fn print(record: &Record) {
    println!("{}", table::render(record));
    println!("{}", targets::render(record));
    if let Some(parts) = &record.parts {
        println!("{parts}");
    }
    println!("{}", record.machine.load_averages());
}

/// Keeps a run as the last full one: `bench/results`, and the README's figures.
pub(crate) fn keep(record: &Record) -> Result<(), Box<dyn Error>> {
    write(&readme::recorded(), &record.to_json())?;
    // As it stands in the file, which is what the figures are compared with.
    publish(&Record::read(&readme::recorded())?)
}

/// The picture and the README's figures, from the recorded run.
pub(crate) fn publish(record: &Record) -> Result<(), Box<dyn Error>> {
    write(&readme::recorded_plot(), &plot::svg(record))?;
    readme::write(record)
}

fn write(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()).into())
}
