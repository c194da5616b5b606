//! Resolves host names with the system's resolver (hosts file, DNS, mDNS, as configured in nsswitch.conf).

use std::io;
use std::net::{IpAddr, ToSocketAddrs};

use stas_core::{OsError, ResolveError};

/// Texts of `gai_strerror` for a name that does not exist, or that has no address (glibc and musl). The programs do not
/// set a locale, so that the text is always English. Any other error may be temporary.
const NO_ADDRESS: [&str; 3] =
    ["Name or service not known", "No address associated with hostname", "Name does not resolve"];

/// Resolves a name to its addresses, in the resolver's order and without duplicates. Blocks as long as the resolver,
/// which is about half a minute if no name server answers.
///
/// # Errors
/// [`ResolveError::NoAddress`] if the name does not exist or has no address, otherwise [`ResolveError::Resolver`].
pub fn resolve(name: &str) -> Result<Vec<IpAddr>, ResolveError> {
    let failed = |error: io::Error| match error.to_string() {
        text if NO_ADDRESS.iter().any(|known| text.ends_with(known)) => ResolveError::NoAddress(name.to_owned()),
        _ => ResolveError::Resolver { name: name.to_owned(), error: OsError::new(error) },
    };
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

    /// Without a name server, the resolver says that it could not look the name up.
    #[test]
    fn a_name_that_does_not_exist_is_reported_by_its_name() {
        match resolve("no-such-host.invalid").unwrap_err() {
            ResolveError::NoAddress(name) => assert_eq!(name, "no-such-host.invalid"),
            other => assert!(other.to_string().starts_with("cannot look up no-such-host.invalid: "), "{other}"),
        }
    }
}
