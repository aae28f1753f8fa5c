//! Where a request really comes from: proxies say whom they speak for in `X-Forwarded-For`. Anybody can write that header, so
//! it is believed as far as proxies have written it that are known: those on this machine, and those that are configured.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The proxies that are believed beside this machine's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Network>);

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl FromStr for Proxies {
    type Err = String;

    /// Reads `10.0.0.1,fd00::/8`.
    fn from_str(text: &str) -> Result<Proxies, String> {
        text.split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(Network::from_str)
            .collect::<Result<_, _>>()
            .map(Proxies)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let wrong = || format!("{text:?} is no address, and no network like 10.0.0.0/8");
        let (address, bits) = match text.split_once('/') {
            None => (text, None),
            Some((address, bits)) => (address, Some(bits)),
        };
        let address = IpAddr::from_str(address).map_err(|_| wrong())?;
        let most = width(address);
        let bits = match bits {
            None => most,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?,
        };
        Ok(Network { address, bits })
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl Network {
    fn has(&self, address: IpAddr) -> bool {
        let start = |address: IpAddr, bits: u32| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()).checked_shr(32 - bits).unwrap_or(0),
            IpAddr::V6(address) => address.to_bits().checked_shr(128 - bits).unwrap_or(0),
        };
        width(address) == width(self.address) && start(address, self.bits) == start(self.address, self.bits)
    }
}

impl Proxies {
    /// Whether this is the address of a proxy that is believed.
    pub fn believe(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.0.iter().any(|network| network.has(address))
    }

    /// Who is behind a connection from `peer`, by the header's lines in the order in which they came. The last entry was
    /// written by the nearest proxy; entries of proxies that are believed are walked past, and the first other one is it.
    pub fn client<'a>(&self, peer: IpAddr, lines: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        let mut client = peer.to_canonical();
        for entry in lines.rev().flat_map(|line| line.rsplit(',')) {
            if !self.believe(client) {
                break;
            }
            match address(entry.trim()) {
                Some(next) => client = next.to_canonical(),
                None => break,
            }
        }
        client
    }
}

/// The address of an entry: some proxies write the port too.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|entry| entry.strip_suffix(']')).unwrap_or(entry);
    bare.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(proxies: &str, peer: &str, lines: &[&str], client: &str) {
        let proxies: Proxies = proxies.parse().unwrap();
        let found = proxies.client(peer.parse().unwrap(), lines.iter().copied());
        assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{proxies:?} {peer} {lines:?}");
    }

    #[test]
    fn only_proxies_that_are_known_are_believed() {
        check("", "192.0.2.1", &["203.0.113.9"], "192.0.2.1");
        check("", "127.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("", "::1", &["203.0.113.9"], "203.0.113.9");
        check("", "::ffff:127.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("10.0.0.0/8", "10.1.2.3", &["203.0.113.9"], "203.0.113.9");
        check("10.0.0.0/8", "11.1.2.3", &["203.0.113.9"], "11.1.2.3");
        check("10.0.0.1", "10.0.0.2", &["203.0.113.9"], "10.0.0.2");
        check("fd00::/8", "fd12::1", &["2001:db8::1"], "2001:db8::1");
        check("0.0.0.0/0", "192.0.2.1", &["203.0.113.9"], "203.0.113.9");
        check("0.0.0.0/0", "2001:db8::1", &["203.0.113.9"], "2001:db8::1");
        check("10.0.0.0/8", "::ffff:10.0.0.1", &["203.0.113.9"], "203.0.113.9");
    }

    #[test]
    fn the_list_is_walked_from_the_right_past_those_that_are_known() {
        let known = "10.0.0.0/8, 192.0.2.7";
        check(known, "10.0.0.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9");
        check(known, "10.0.0.1", &["1.1.1.1, 203.0.113.9, 192.0.2.7"], "203.0.113.9");
        check(known, "10.0.0.1", &["1.1.1.1", "203.0.113.9,10.0.0.2 , 192.0.2.7"], "203.0.113.9");
        check(known, "10.0.0.1", &["203.0.113.9", "10.0.0.2"], "203.0.113.9");
        check(known, "10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        check(known, "10.0.0.1", &["1.1.1.1, 203.0.113.9:1234"], "203.0.113.9");
        check(known, "10.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1");
        check(known, "10.0.0.1", &["[2001:db8::1]"], "2001:db8::1");
        check(known, "10.0.0.1", &["1.1.1.1, nonsense"], "10.0.0.1");
        check(known, "10.0.0.1", &["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2");
        check(known, "10.0.0.1", &[""], "10.0.0.1");
        check(known, "10.0.0.1", &[], "10.0.0.1");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for bad in ["x", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0.0/", "10.0.0.0/8/8", "example.com"] {
            assert!(bad.parse::<Proxies>().is_err(), "{bad}");
        }
        assert_eq!("".parse(), Ok(Proxies::default()));
    }
}
