//! What a server's table says of one account, read.

use serde_json::Value;

use super::roster::{Account, HostPattern};
use crate::protocol::auth::{Secret, Verifier};

/// The plugins whose stored passwords tell a right one from a wrong one.
const JUDGED_HERE: [&str; 5] =
    ["mysql_native_password", "ed25519", "parsec", "caching_sha2_password", "sha256_password"];

/// A row of MySQL's `mysql.user`. Nothing where nothing here can tell who it is.
pub(super) fn of_mysql(host: &str, plugin: &str, stored: &[u8]) -> Option<Account> {
    Some(Account { host: HostPattern::new(host), verifier: verifier(plugin, stored)? })
}

/// A row of MariaDB's `mysql.global_priv`, where the account is JSON. Nothing for a role either.
pub(super) fn of_mariadb(host: &str, privileges: &[u8]) -> Option<Account> {
    let account: Value = serde_json::from_slice(privileges).ok()?;
    if account["is_role"] == Value::Bool(true) {
        return None;
    }
    // Of several plugins the first counts that can be judged here: any of them lets the user in. An empty entry in the list
    // stands for the plugin outside of it.
    let listed = account["auth_or"].as_array().into_iter().flatten();
    let of = |way: &Value| {
        let way = if way["plugin"].is_null() { &account } else { way };
        verifier(way["plugin"].as_str().unwrap_or("mysql_native_password"), stored(way).as_bytes())
    };
    let verifier = listed.map(of).chain([of(&account)]).flatten().next()?;
    Some(Account { host: HostPattern::new(host), verifier })
}

fn stored(way: &Value) -> &str {
    way["authentication_string"].as_str().unwrap_or_default()
}

fn verifier(plugin: &str, stored: &[u8]) -> Option<Verifier> {
    if !JUDGED_HERE.contains(&plugin) {
        return None;
    }
    match stored {
        [] => Some(Verifier::Cleartext(Secret::default())),
        // What MariaDB writes where no password is right.
        b"invalid" => None,
        stored => Verifier::parse_stored(stored),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "*5BCB3E6AC345B435C7C2E6B7949A04CE6F6563D3";
    const KEY: &str = "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY";

    fn mariadb(privileges: &str) -> Option<Verifier> {
        of_mariadb("%", privileges.as_bytes()).map(|account| account.verifier)
    }

    #[test]
    fn an_account_of_mariadb_is_json() {
        let stored = |text| Verifier::parse_hash(text);
        let native = format!(r#"{{"access":1,"plugin":"mysql_native_password","authentication_string":"{HASH}"}}"#);
        assert_eq!(mariadb(&native), stored(HASH));
        let ed25519 = format!(r#"{{"plugin":"ed25519","authentication_string":"{KEY}","account_locked":true}}"#);
        assert_eq!(mariadb(&ed25519), stored(KEY), "that it is locked its server says");
        assert_eq!(mariadb(r#"{"access":0}"#), Some(Verifier::Cleartext(Secret::default())));
        assert_eq!(mariadb(r#"{"plugin":"mysql_native_password","authentication_string":"invalid"}"#), None);
        assert_eq!(mariadb(r#"{"plugin":"unix_socket","authentication_string":""}"#), None);
        assert_eq!(mariadb(r#"{"access":0,"is_role":true}"#), None);
        assert_eq!(mariadb("not json"), None);
    }

    #[test]
    fn of_several_plugins_the_first_that_can_be_judged_counts() {
        let several = |first: &str| {
            format!(
                r#"{{"plugin":"mysql_native_password","authentication_string":"{HASH}","auth_or":[{{"plugin":"{first}","authentication_string":"{KEY}"}},{{}}]}}"#
            )
        };
        assert_eq!(mariadb(&several("ed25519")), Verifier::parse_hash(KEY));
        assert_eq!(mariadb(&several("pam")), Verifier::parse_hash(HASH));
    }

    #[test]
    fn an_account_of_mysql_has_columns() {
        let stored = b"$A$005$ssssssssssssssssssss5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5";
        let verifier = |plugin, stored| of_mysql("%", plugin, stored).map(|account| account.verifier);
        assert_eq!(verifier("caching_sha2_password", stored), Verifier::parse_stored(stored));
        assert_eq!(verifier("caching_sha2_password", b""), Some(Verifier::Cleartext(Secret::default())));
        assert_eq!(verifier("caching_sha2_password", b"$A$005$THISISACOMBINATIONOFINVALIDSALTANDPASSWORD"), None);
        assert_eq!(verifier("auth_socket", b""), None);
    }
}
