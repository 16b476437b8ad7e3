//! Client networks: an address, or an address and a prefix length (CIDR, RFC 4632 and RFC 4291).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses that share a prefix. An IPv4-mapped IPv6 address (`::ffff:10.1.2.3`) is the IPv4 address it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

/// Why a network cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not an address, or not a number after the slash.
    #[error("not an address or a network")]
    Malformed,
    /// More bits than the address has.
    #[error("an address of this family has only {0} bits")]
    Prefix(u8),
    /// Bits are set beyond the prefix: the writer meant something else than would match.
    #[error("bits are set beyond the prefix; the network is {0}")]
    HostBits(String),
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl Network {
    /// Reads `10.1.2.3`, `10.0.0.0/8`, `::1` or `fd00::/8`.
    ///
    /// # Errors
    /// Anything else, a prefix that is too long, or bits beyond the prefix.
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Malformed)?;
        let bits = width(address);
        let prefix = match prefix {
            None => bits,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| NetworkError::Malformed)?
            }
            Some(_) => return Err(NetworkError::Malformed),
        };
        if prefix > bits {
            return Err(NetworkError::Prefix(bits));
        }
        let base = masked(address, prefix);
        if base != address {
            return Err(NetworkError::HostBits(format!("{base}/{prefix}")));
        }
        Ok(Self { base, prefix }.canonical())
    }

    /// Whether an address lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.prefix) == self.base
    }

    /// `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
    fn canonical(self) -> Self {
        match self.base {
            IpAddr::V6(v6) if self.prefix >= 96 => match v6.to_ipv4_mapped() {
                Some(v4) => Self {
                    base: v4.into(),
                    prefix: self.prefix - 96,
                },
                None => self,
            },
            _ => self,
        }
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address with everything beyond the prefix cleared.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into()));
            Ipv4Addr::from_bits(v4.to_bits() & mask.unwrap_or(0)).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into()));
            Ipv6Addr::from_bits(v6.to_bits() & mask.unwrap_or(0)).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        Network::parse(network)
            .unwrap()
            .contains(address.parse().unwrap())
    }

    #[test]
    fn an_address_is_a_network_of_one() {
        assert!(contains("10.1.2.3", "10.1.2.3"));
        assert!(!contains("10.1.2.3", "10.1.2.4"));
        assert!(contains("::1", "::1"));
        assert!(!contains("::1", "::2"));
    }

    #[test]
    fn prefixes_of_every_length_split_where_they_say() {
        for prefix in 1..=32_u32 {
            let base = Ipv4Addr::from_bits(0x8000_0000);
            let network = Network::parse(&format!("{base}/{prefix}")).unwrap();
            let last = 0x8000_0000 | u32::MAX.checked_shr(prefix).unwrap_or(0);
            assert!(
                network.contains(Ipv4Addr::from_bits(last).into()),
                "{prefix}"
            );
            if let Some(beyond) = last.checked_add(1) {
                assert!(
                    !network.contains(Ipv4Addr::from_bits(beyond).into()),
                    "{prefix}"
                );
            }
        }
        assert!(contains("0.0.0.0/0", "255.255.255.255"));
        assert!(contains("::/0", "ffff::1"));
        assert!(contains("fd00::/8", "fdff::1"));
        assert!(!contains("fd00::/8", "fe00::1"));
    }

    #[test]
    fn families_do_not_mix_but_mapped_addresses_are_ipv4() {
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(contains("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(!contains("::/0", "10.1.2.3"));
    }

    #[test]
    fn what_would_not_match_as_meant_is_refused() {
        use NetworkError::{HostBits, Malformed, Prefix};
        for text in [
            "",
            "10",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/x",
            "/8",
            "10.0.0.0/999",
            "localhost",
        ] {
            assert_eq!(Network::parse(text), Err(Malformed), "{text}");
        }
        assert_eq!(Network::parse("10.0.0.0/33"), Err(Prefix(32)));
        assert_eq!(Network::parse("::/129"), Err(Prefix(128)));
        assert_eq!(
            Network::parse("10.1.2.3/8"),
            Err(HostBits("10.0.0.0/8".into()))
        );
    }
}
