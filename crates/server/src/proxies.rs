//! The client's address behind proxies, which write it into `X-Forwarded-For`. Anybody can write that header, so only entries
//! from trusted proxies count. The trusted proxies are those on this machine and the configured ones.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;

/// The trusted proxies besides those on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

impl FromStr for Proxies {
    type Err = String;

    /// Parses addresses and networks: `10.0.0.1,fd00::/8`.
    fn from_str(text: &str) -> Result<Proxies, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(network).collect::<Result<_, _>>().map(Proxies)
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.ok_or_else(|| format!("{text:?} is neither an address nor a network like 10.0.0.0/8"))
}

impl Proxies {
    /// Whether this is the address of a trusted proxy.
    pub fn trust(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.0.iter().any(|network| network.contains(&address))
    }

    /// The client behind a connection from `peer`. `lines` are the header's lines in the order in which they arrived. The
    /// nearest proxy wrote the last entry. From there the entries of trusted proxies are skipped, and the next entry is the
    /// client.
    pub fn client<'a>(&self, peer: IpAddr, lines: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        let mut client = peer.to_canonical();
        for entry in lines.rev().flat_map(|line| line.rsplit(',')) {
            if !self.trust(client) {
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

/// The address of an entry. Some proxies include the port.
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
    fn only_trusted_proxies_are_believed() {
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
    fn trusted_proxies_are_skipped_from_the_right() {
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
        for bad in ["x", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0.0/", "10.0.0.0/8/8", "example.com", "10.0.0/8"]
        {
            assert!(bad.parse::<Proxies>().is_err(), "{bad}");
        }
        assert_eq!("".parse(), Ok(Proxies::default()));
    }
}
