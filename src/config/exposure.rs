//! Files with secrets in them that everybody on the machine may read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::{Config, KeyPairFiles};

/// What is said of such a file.
pub fn exposed(file: &Path) -> String {
    let file = file.display();
    format!("{file} holds secrets, and everybody on this machine may read it: take that away with `chmod o-rwx {file}`")
}

/// Whether others than the file's owner and group may read it.
pub(super) fn is_exposed(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o004 != 0)
}

/// Whether a password or a hash of one stands somewhere in a table.
pub(super) fn has_secret(text: &str) -> bool {
    let (tree, _) = DeTable::parse_recoverable(text);
    table_has_secret(tree.get_ref())
}

const SECRETS: [&str; 3] = ["password", "password_hash", "backend_password"];

fn table_has_secret(table: &DeTable<'_>) -> bool {
    table.iter().any(|(key, value)| {
        let is_text = matches!(value.get_ref(), DeValue::String(_));
        is_text && SECRETS.contains(&key.get_ref().as_ref()) || value_has_secret(value.get_ref())
    })
}

fn value_has_secret(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(table) => table_has_secret(table),
        DeValue::Array(list) => list.iter().any(|value| value_has_secret(value.get_ref())),
        _ => false,
    }
}

impl Config {
    /// The keys of our certificates.
    pub(super) fn key_files(&self) -> Vec<PathBuf> {
        let servers = self.clusters.iter().flat_map(|cluster| &cluster.servers).map(|server| &server.tls.identity);
        let identities = self.listeners.iter().map(|listener| &listener.tls.identity).chain(servers);
        identities.flatten().map(|files: &KeyPairFiles| files.key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_wherever_it_stands() {
        assert!(has_secret("[[user]]\nname = \"a\"\npassword = \"b\"\n"));
        assert!(has_secret("[cluster.shop]\nmonitor = { user = \"m\", password = \"m\" }\n"));
        assert!(has_secret("[[user]]\npassword_hash = \"*00\"\n"));
        assert!(!has_secret("[[user]]\nname = \"password\"\npassword_file = \"b\"\n"));
        assert!(!has_secret("[pool.password]\nrole = \"primary\"\n"));
    }

    #[test]
    fn files_that_others_may_read_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str, mode| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
            path
        };
        let text = "[[listener]]\nname = \"app\"\naddress = \"127.0.0.1:0\"\n[cluster.c]\ntopology = \"static\"\n\
                    server = [{ name = \"s\", address = \"127.0.0.1:1\", role = \"primary\" }]\n\
                    [pool.p]\ncluster = \"c\"\nrole = \"primary\"\n";
        let in_file = format!("{text}[[user]]\nname = \"a\"\npassword = \"p\"\npool = \"p\"\n");
        let beside = format!("{text}[[user]]\nname = \"a\"\npassword_file = \"secret\"\npool = \"p\"\n");
        let exposed_of = |path: &Path| Config::load(path).expect("a configuration").exposed_files;
        let open = write("open.toml", &in_file, 0o644);
        assert_eq!(exposed_of(&open), std::slice::from_ref(&open));
        assert!(exposed_of(&write("closed.toml", &in_file, 0o640)).is_empty());
        let secret = write("secret", "p", 0o604);
        assert_eq!(exposed_of(&write("beside.toml", &beside, 0o644)), [secret]);
        write("secret", "p", 0o600);
        assert!(exposed_of(&folder.path().join("beside.toml")).is_empty());
    }
}
