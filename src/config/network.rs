//! Owns networks of addresses: `10.0.0.0/8`, `::1/128`, or a single address.

use std::net::IpAddr;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer};

use super::values::parsed;

/// An address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    bits: u128,
    mask: u128,
}

/// IPv4 is kept as IPv6-mapped, so that `10.0.0.1` is found in `10.0.0.0/8`
/// also when a socket for both families reports it as `::ffff:10.0.0.1`.
fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        bits_of(address) & self.mask == self.bits
    }
}

/// Text that is not a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a network")]
pub struct NotANetwork;

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => {
                (address, Some(length.parse::<u32>().map_err(|_| NotANetwork)?))
            }
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let width: u32 = if address.is_ipv4() { 32 } else { 128 };
        let ignored = width.checked_sub(length.unwrap_or(width)).ok_or(NotANetwork)?;
        let mask = u128::MAX.checked_shl(ignored).unwrap_or(0);
        Ok(Network { bits: bits_of(address) & mask, mask })
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        parsed(input, "a network such as 10.0.0.0/8 or ::1/128")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, address: &str, inside: bool) {
        let network: Network = network.parse().unwrap();
        assert_eq!(network.contains(address.parse().unwrap()), inside, "{network:?} {address}");
    }

    #[test]
    fn contains_its_addresses_and_no_others() {
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.1.2.3", "10.1.2.3", true);
        check("10.1.2.3", "10.1.2.4", false);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("::/0", "203.0.113.9", true);
        check("2001:db8::/32", "2001:db8:7::1", true);
        check("127.0.0.0/8", "::ffff:127.0.0.1", true);
    }

    #[test]
    fn refuses_what_is_no_network() {
        for text in ["", "10.0.0.0/33", "::1/129", "10.0.0.0/-1", "10.0.0/8", "home", "1.2.3.4/"] {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork), "{text}");
        }
    }
}
