//! Owns who a request really comes from when proxies stand in between. Pure.
//! Read from the right: each proxy appends whom it saw, so the entries that
//! trusted proxies wrote are the last ones, and all before them is hearsay.

use std::net::{IpAddr, SocketAddr};

use crate::config::{Network, ProxyHeader};

/// The client's address: `peer`, or, while that is a trusted proxy, whom the
/// proxy says it saw. `values` are the values of `header` in their order. An
/// entry that cannot be read ends the search at the proxy that wrote it.
pub fn client_address<'a>(
    peer: IpAddr,
    header: ProxyHeader,
    values: impl DoubleEndedIterator<Item = &'a str>,
    trusted: &[Network],
) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    for entry in values.rev().flat_map(|value| value.rsplit(',')) {
        if !is_trusted(client) {
            break;
        }
        let seen = match header {
            ProxyHeader::XForwardedFor => parse_address(entry.trim()),
            ProxyHeader::Forwarded => forwarded_for(entry).and_then(parse_address),
        };
        let Some(seen) = seen else { break };
        client = seen.to_canonical();
    }
    client
}

/// The value of `for` in one element of a Forwarded header, without quotes.
fn forwarded_for(element: &str) -> Option<&str> {
    let value = element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value.trim())
    })?;
    Some(value.trim_matches('"'))
}

/// An address, with or without port, IPv6 with or without brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    bare.parse().or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: ProxyHeader, peer: &str, values: &[&str], expected: &str) {
        let trusted: Vec<Network> =
            ["10.0.0.0/8", "fd00::/8"].iter().map(|text| text.parse().unwrap()).collect();
        let found = client_address(peer.parse().unwrap(), header, values.iter().copied(), &trusted);
        assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {values:?}");
    }

    #[test]
    fn believes_trusted_proxies_only() {
        let check = |peer, values: &[&str], expected| {
            check(ProxyHeader::XForwardedFor, peer, values, expected);
        };
        check("203.0.113.7", &["198.51.100.1"], "203.0.113.7");
        check("10.0.0.1", &["198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &[], "10.0.0.1");
        // The client wrote the first entry, the proxy the second.
        check("10.0.0.1", &["192.0.2.66, 198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &["192.0.2.66", "198.51.100.1, 10.0.0.2"], "198.51.100.1");
        check("10.0.0.1", &["192.0.2.66, unknown"], "10.0.0.1");
        check("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1");
        check("::ffff:10.0.0.1", &["2001:db8::1"], "2001:db8::1");
        check("fd00::1", &["[2001:db8::1]:80"], "2001:db8::1");
    }

    #[test]
    fn reads_the_standard_header() {
        let check = |values: &[&str], expected| {
            check(ProxyHeader::Forwarded, "10.0.0.1", values, expected);
        };
        check(&["for=198.51.100.1;proto=https"], "198.51.100.1");
        check(&["for=192.0.2.66, proto=https;For=\"[2001:db8::1]:80\""], "2001:db8::1");
        check(&["for=192.0.2.66, for=_hidden"], "10.0.0.1");
        check(&["198.51.100.1"], "10.0.0.1");
    }
}
