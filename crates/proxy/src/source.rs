//! Ranges of addresses that may call: the shop's own machines. Says yes or no; the refusal is the proxy's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::error::Error;

/// A network such as `10.0.0.0/8` or `fd00::/8`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceRange {
    network: u128,
    mask: u128,
    is_v4: bool,
}

impl SourceRange {
    /// An IPv4 address that came through an IPv6 socket counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (bits, is_v4) = bits(address.to_canonical());
        is_v4 == self.is_v4 && bits & self.mask == self.network
    }
}

impl FromStr for SourceRange {
    type Err = Error;

    /// Bits behind the prefix must be zero: `10.0.0.1/8` is more likely a slip than a wish.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::SourceRange(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let (network, is_v4) = bits(address.parse().map_err(|_| wrong())?);
        let length_max = if is_v4 { Ipv4Addr::BITS } else { Ipv6Addr::BITS };
        let is_number = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let length = match length {
            Some(digits) => {
                Some(digits).filter(is_number).and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?
            }
            None => length_max,
        };
        let free = length_max.checked_sub(length).ok_or_else(wrong)?;
        let mask = u128::MAX.checked_shl(free).unwrap_or(0);
        if network & !mask == 0 { Ok(Self { network, mask, is_v4 }) } else { Err(wrong()) }
    }
}

fn bits(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), true),
        IpAddr::V6(v6) => (v6.to_bits(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> SourceRange {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_holds_its_own_family_only() {
        for (text, address, is_in) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.0/8", "::a00:1", false),
            ("192.168.7.9", "192.168.7.9", true),
            ("192.168.7.9", "192.168.7.8", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::/0", "2001:db8::1", true),
            ("::1", "::1", true),
            ("::/0", "127.0.0.1", false),
        ] {
            assert_eq!(range(text).contains(address.parse().unwrap()), is_in, "{address} in {text}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in
            ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.1/8", "fd00::/129", "host", "10.0.0/8"]
        {
            assert!(text.parse::<SourceRange>().is_err(), "{text}");
        }
    }
}
