//! From a path or a text to a [`Config`], or to all that is wrong with it.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::thread;

use toml::de::DeTable;

use super::error::{Complaints, ConfigErrors};
use super::file::File;
use super::limits::{CONFIG_FILE_BYTES_MAX, PASSWORD_FILE_BYTES_MAX};
use super::read::Reader;
use super::{Config, Environment, effective, error, resolve};

impl Config {
    /// Reads a file, the password files and environment variables it names, and the number of online CPUs.
    pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
        let name = path.display().to_string();
        let refused = |problem: String| ConfigErrors::of_file(&name, problem);
        let bytes = read_at_most(path, CONFIG_FILE_BYTES_MAX + 1)
            .map_err(|error| refused(format!("cannot be read ({error}): write one, or name another with --config")))?;
        if bytes.len() > CONFIG_FILE_BYTES_MAX {
            return Err(refused(format!("has more than {CONFIG_FILE_BYTES_MAX} bytes: name another file")));
        }
        let text = zeroize::Zeroizing::new(into_text(&name, bytes)?);
        let directory = path.parent().unwrap_or(Path::new("."));
        let environment = Environment {
            online_cpus: thread::available_parallelism().map_or(1, usize::from),
            variable: &|name| std::env::var(name).ok(),
            file: &|path| read_at_most(&directory.join(path), PASSWORD_FILE_BYTES_MAX + 1),
        };
        Config::parse(&text, &name, &environment).map(|config| config.with_files_in(directory))
    }

    /// Reads a text; `file` is its name in errors. The result depends on nothing but the arguments.
    pub fn parse(text: &str, file: &str, environment: &Environment<'_>) -> Result<Config, ConfigErrors> {
        let (tree, syntax_errors) = DeTable::parse_recoverable(text);
        let mut complaints = Complaints::new(file, text);
        for error in &syntax_errors {
            let offset = error.span().map_or(text.len(), |span| span.start);
            complaints.syntax(offset, syntax_problem(error.message()));
        }
        let file = File::read(Reader::root(tree.get_ref(), &complaints));
        // In a broken file, whatever does not fit together may only seem so.
        let config = match complaints.is_whole() {
            true => resolve::resolve(file, environment, &complaints),
            false => None,
        };
        complaints.verdict(config)
    }
}

fn syntax_problem(message: &str) -> String {
    match message {
        "duplicate key" => "this is here for the second time: write each key and each table once".to_owned(),
        _ => format!("this is not TOML: {message}"),
    }
}

fn read_at_most(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    // With room for all of it from the start: a vector that grows leaves copies of secrets behind.
    let length = file.metadata()?.len().min(bytes_max as u64);
    let mut bytes = Vec::with_capacity(length as usize + 1);
    file.take(bytes_max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn into_text(file: &str, bytes: Vec<u8>) -> Result<String, ConfigErrors> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..valid]);
        let place = Some(error::place(&before, valid));
        let problem = "this is not UTF-8: write the file in UTF-8".to_owned();
        let error = error::ConfigError { file: file.to_owned(), place, problem };
        ConfigErrors { errors: vec![error], not_shown: 0 }
    })
}

/// For fuzzing: any bytes give a configuration or errors, and a configuration can be printed and compared.
pub fn fuzz_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let environment = Environment {
        online_cpus: 4,
        variable: &|name| (name.len() % 2 == 0).then(|| name.to_owned()),
        file: &|path| Ok(path.as_os_str().as_encoded_bytes().to_vec()),
    };
    match Config::parse(text, "fuzz.toml", &environment) {
        Ok(config) => {
            effective::print(&config);
            assert_eq!(super::changes(&config, &config), []);
            super::limits::worst_case_bytes(&config).to_string();
        }
        Err(errors) => {
            assert!(!errors.errors.is_empty(), "a refused file has at least one error");
            assert!(errors.errors.iter().all(|error| error.place.is_some()), "every error in a text has a place");
            errors.to_string();
        }
    }
}
