//! Resolves host names with the system's resolver (hosts file, DNS, mDNS, as configured in nsswitch.conf).

use std::io;
use std::net::{IpAddr, ToSocketAddrs};

use stas_core::{OsError, ResolveError};

/// Resolves a name to its addresses, in the resolver's order and without duplicates. Blocks as long as the resolver,
/// which is about half a minute if no name server answers.
///
/// # Errors
/// [`ResolveError`] if the resolver has no address of the name.
pub fn resolve(name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    let failed = |error: io::Error| ResolveError::Resolver { name: name.to_owned(), error: OsError::new(error) };
    let answers = (name, 0).to_socket_addrs().map_err(failed)?;
    let mut addresses = Vec::new();
    for address in answers.map(|answer| answer.ip().to_canonical()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(ResolveError::NoAddress(name.to_owned())) } else { Ok(addresses) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_its_own_name() {
        assert_eq!(resolve("192.0.2.1").unwrap(), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(resolve("::ffff:192.0.2.1").unwrap(), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn each_address_comes_once() {
        let addresses = resolve("localhost").unwrap();
        assert!(addresses.iter().all(|address| address.is_loopback()), "{addresses:?}");
        let mut sorted = addresses.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), addresses.len());
    }

    #[test]
    fn a_name_that_does_not_exist_is_reported_by_its_name() {
        let error = resolve("no-such-host.invalid").unwrap_err().to_string();
        assert!(error.starts_with("cannot look up no-such-host.invalid: "), "{error}");
    }
}
