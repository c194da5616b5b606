//! Which controllers the administrator excludes: the match of `exclude=` against a TID or a connection.

use std::net::IpAddr;

use super::kernel::KernelController;
use crate::conf::Exclusion;
use stas_nvme::{Tid, tid};

/// `exclude=` with its host names looked up.
#[derive(Clone, Debug, Default)]
pub struct Exclusions(Vec<(Exclusion, Vec<IpAddr>)>);

impl Exclusions {
    /// The exclusion that matches a controller. Exclusions without a host name come first, then the order of the file
    /// decides. `found_on` is the interface on which the controller was found.
    #[must_use]
    pub fn matching(&self, tid: &Tid, found_on: &str) -> Option<&Exclusion> {
        let matching =
            |(exclusion, addresses): &&(Exclusion, Vec<IpAddr>)| matches(exclusion, addresses, tid, found_on);
        self.0.iter().filter(matching).map(|(exclusion, _)| exclusion).min_by_key(|exclusion| exclusion.is_name)
    }

    /// As [`Self::matching`], by what the kernel reports of a connection.
    #[must_use]
    pub fn matching_connection(&self, kernel: &KernelController) -> Option<&Exclusion> {
        if self.0.is_empty() {
            return None;
        }
        self.matching(&kernel.tid(), &kernel.host_iface)
    }
}

impl FromIterator<(Exclusion, Vec<IpAddr>)> for Exclusions {
    fn from_iter<I: IntoIterator<Item = (Exclusion, Vec<IpAddr>)>>(exclusions: I) -> Self {
        Self(exclusions.into_iter().collect())
    }
}

/// True when an exclusion matches a controller. `addresses` are those of the exclusion's host name, if it has one.
pub(super) fn matches(exclusion: &Exclusion, addresses: &[IpAddr], tid: &Tid, found_on: &str) -> bool {
    let equal = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| wanted == has);
    let on_iface = |iface: &String| iface == &tid.host_iface || (!found_on.is_empty() && iface == found_on);
    let at = |traddr: &String| match exclusion.is_name {
        true => tid::parse_ip(&tid.traddr).is_some_and(|(ip, _)| addresses.contains(&ip)),
        false => same_address(traddr, &tid.traddr),
    };
    exclusion.transport.is_none_or(|transport| transport == tid.transport())
        && exclusion.traddr.as_ref().is_none_or(at)
        && equal(&exclusion.trsvcid, &tid.trsvcid)
        && equal(&exclusion.subsysnqn, &tid.subsysnqn)
        && equal(&exclusion.host_nqn, &tid.host_nqn)
        && exclusion.host_iface.as_ref().is_none_or(on_iface)
}

/// True when both addresses are the same. An excluded address without a scope (`%eth0`) matches in every scope.
fn same_address(excluded: &str, address: &str) -> bool {
    match (tid::parse_ip(excluded), tid::parse_ip(address)) {
        (Some((ip, scope)), Some((has, has_scope))) => ip == has && (scope.is_none() || scope == has_scope),
        _ => excluded.eq_ignore_ascii_case(address),
    }
}
