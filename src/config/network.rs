//! Networks by their first bits: who may come, and whose word of a client's address counts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::value::{Problem, quoted};

/// Addresses that share their first bits, like 10.0.0.0/8. One address is a network of its own.
///
/// Invariant: the bits behind the prefix are zero, and the prefix is no longer than the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address is in it. IPv4 in IPv6's clothes counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.prefix) == Some(self.address)
            && self.address.is_ipv4() == address.to_canonical().is_ipv4()
    }

    pub(super) fn parse(text: &str) -> Result<Network, Problem> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let refused = || format!("cannot be {}: write networks like \"10.0.0.0/8\" or \"2001:db8::/32\"", quoted(text));
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        // `parse` would take a sign.
        let is_number = |prefix: &&str| prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = match prefix {
            None => longest,
            Some(prefix) => {
                Some(prefix).filter(is_number).and_then(|prefix| prefix.parse().ok()).ok_or_else(refused)?
            }
        };
        match masked(address, prefix) {
            Some(base) if base == address => Ok(Network { address, prefix }),
            Some(base) => Err(format!("has bits behind its prefix in {}: write \"{base}/{prefix}\"", quoted(text))),
            None => Err(refused()),
        }
    }
}

/// The first `prefix` bits, and zeros; nothing, if the address has fewer.
fn masked(address: IpAddr, prefix: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let behind = 32_u32.checked_sub(prefix.into())?;
            let mask = u32::MAX.checked_shl(behind).unwrap_or(0);
            Some(Ipv4Addr::from_bits(address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let behind = 128_u32.checked_sub(prefix.into())?;
            let mask = u128::MAX.checked_shl(behind).unwrap_or(0);
            Some(Ipv6Addr::from_bits(address.to_bits() & mask).into())
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.prefix)
    }
}

/// `allow_from` and `deny_from`: from where clients may come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Only from these; empty: from everywhere.
    pub allow: Vec<Network>,
    /// Not from these, also where they are in `allow`.
    pub deny: Vec<Network>,
}

impl Access {
    /// Whether a client from that address may come.
    pub fn admits(&self, address: IpAddr) -> bool {
        let is_in = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        !is_in(&self.deny) && (self.allow.is_empty() || is_in(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::parse(text).unwrap_or_else(|problem| panic!("{text} {problem}"))
    }

    #[test]
    fn a_network_contains_what_shares_its_first_bits() {
        let check = |text: &str, address: &str, expected: bool| {
            let address = address.parse().expect("an address");
            assert_eq!(network(text).contains(address), expected, "{address} in {text}");
        };
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("10.1.2.3", "10.1.2.3", true);
        check("10.1.2.3", "10.1.2.2", false);
        check("0.0.0.0/0", "203.0.113.1", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("10.0.0.0/8", "::ffff:10.0.0.1", true);
        check("2001:db8::/33", "2001:db8:7fff::1", true);
        check("2001:db8::/33", "2001:db8:8000::1", false);
        check("::/0", "::1", true);
        check("::/0", "10.0.0.1", false);
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_to_write() {
        for wrong in
            ["", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0/8", "db1", "::/129", "10.0.0.0/8/8", "10.0.0.0/"]
        {
            let problem = Network::parse(wrong).expect_err(wrong);
            assert!(problem.contains("write networks like"), "{wrong}: {problem}");
        }
        assert_eq!(
            Network::parse("10.0.0.1/8"),
            Err("has bits behind its prefix in \"10.0.0.1/8\": write \"10.0.0.0/8\"".to_owned())
        );
        assert_eq!(network("10.0.0.0/8").to_string(), "10.0.0.0/8");
        assert_eq!(network("::1").to_string(), "::1/128");
    }

    #[test]
    fn a_network_that_is_denied_is_so_although_a_larger_one_is_allowed() {
        let access = Access { allow: vec![network("10.0.0.0/8")], deny: vec![network("10.9.0.0/16")] };
        let check = |address: &str, expected| {
            assert_eq!(access.admits(address.parse().expect("an address")), expected, "{address}");
        };
        check("10.1.0.1", true);
        check("10.9.0.1", false);
        check("192.0.2.1", false);
        assert!(Access::default().admits(IpAddr::from([192, 0, 2, 1])));
    }
}
