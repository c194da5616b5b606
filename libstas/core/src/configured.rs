//! What the configuration lists: `controller=` and `exclude=`, with their host names resolved.
//!
//! A name that no longer resolves keeps its last addresses. While the address that a line uses is in the answer, it is
//! used as long as it has a connection, whatever the order of the answer. If it leaves the answer or fails, the next one
//! is connected beside it. As soon as the next one has replaced it ([`Progress::arrived`]), it is dropped if it left
//! the answer or was never live. Otherwise it stays connected until it has been missing from the answer for
//! [`EXCLUDED_AFTER`], or at a reload.
//!
//! A wrong or incomplete answer must not end an exclusion: an address that leaves the answer stays excluded for
//! [`EXCLUDED_AFTER`], or until a reload.

mod addresses;
mod choice;
mod names;
mod review;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

pub use addresses::Progress;
pub use names::{ANSWER, EXCLUDED_AFTER, REFRESH, SavedNames};
pub use review::{LeftOutLine, Review};

use choice::Choice;
use names::Name;

use super::context::Context;
use super::exclusions::{Exclusions, matches};
use super::fleet::ConfigLines;
use super::timers::Timer;
use crate::conf::{ControllerEntry, Exclusion, FamilyOrder, StacConf, StafConf};
use stas_nvme::{Parameters, Tid, TidParts, tid};

/// `controller=` and `exclude=` of one daemon.
#[derive(Clone, Debug, Default)]
pub struct Configured {
    controllers: Vec<ControllerEntry>,
    exclusions: Vec<Exclusion>,
    family: FamilyOrder,
    ignore_iface: bool,
    names: BTreeMap<String, Name>,
    /// The addresses of each line with a host name.
    choices: BTreeMap<String, Choice>,
    file: String,
    lost_line: Option<usize>,
    /// The controllers that the last call of [`Configured::controllers`] returned.
    listed: BTreeSet<Tid>,
    may_be_used: BTreeSet<Tid>,
    left_out: Vec<shown::LeftOut>,
    logged: shown::LoggedState,
}

/// What applies to all `controller=` entries.
#[derive(Clone, Debug)]
pub struct Defaults<'a> {
    /// Connection parameters of `[Global]`.
    pub parameters: &'a Parameters,
    /// The host's own NQN.
    pub host_nqn: &'a str,
    /// The default subsystem NQN for entries without one; `None` if an entry must have one.
    pub subsysnqn: &'a str,
}

/// The settings that decide which controllers are configured and excluded.
#[derive(Clone, Debug)]
pub struct ConfigView<'a> {
    /// controller=
    pub controllers: &'a [ControllerEntry],
    /// exclude=
    pub exclusions: &'a [Exclusion],
    /// ip-family
    pub family: FamilyOrder,
    /// ignore-iface
    pub ignore_iface: bool,
    /// The name of the file, without its directory.
    pub file: &'a str,
    /// The first line that may be a `controller=` and cannot be read.
    pub lost_line: Option<usize>,
}

/// Takes these settings from a daemon's configuration.
macro_rules! view_of {
    ($conf:ty, $file:literal) => {
        impl<'a> From<&'a $conf> for ConfigView<'a> {
            fn from(conf: &'a $conf) -> Self {
                Self {
                    controllers: &conf.controllers,
                    exclusions: &conf.exclusions,
                    family: conf.ip_family,
                    ignore_iface: conf.ignore_iface,
                    file: $file,
                    lost_line: conf.lost_line,
                }
            }
        }
    };
}

view_of!(StafConf, "stafd.conf");
view_of!(StacConf, "stacd.conf");

impl Configured {
    /// Takes a new configuration and looks up all its names.
    pub fn set(&mut self, ctx: &mut Context<'_>, view: &ConfigView<'_>) {
        let is_reload = !self.file.is_empty();
        self.controllers = view.controllers.to_vec();
        self.exclusions = view.exclusions.to_vec();
        self.family = view.family;
        self.ignore_iface = view.ignore_iface;
        self.file = view.file.to_owned();
        self.lost_line = view.lost_line;
        // Log again, after a reload, what still applies.
        self.logged = shown::LoggedState::default();
        let in_controllers = self.controllers.iter().filter(|entry| entry.is_name).map(|entry| entry.traddr.clone());
        let in_exclusions = self
            .exclusions
            .iter()
            .filter(|exclusion| exclusion.is_name)
            .filter_map(|exclusion| exclusion.traddr.clone());
        let meant: BTreeSet<String> = in_controllers.chain(in_exclusions).collect();
        self.names.retain(|name, _| meant.contains(name));
        for name in meant {
            let state = self.names.entry(name.clone()).or_default();
            state.backoff.reset();
            if is_reload {
                state.reload();
            }
            ctx.timers.set(Timer::LookUp(name), ctx.now);
        }
    }

    /// The configured controllers.
    pub fn controllers(
        &mut self,
        ctx: &mut Context<'_>,
        defaults: &Defaults<'_>,
        progress: &Progress<'_>,
    ) -> BTreeMap<Tid, Parameters> {
        let mut named: BTreeMap<Tid, Parameters> = BTreeMap::new();
        self.choose_addresses(ctx, defaults, progress);
        for entry in &self.controllers {
            let parameters = entry.parameters.over(defaults.parameters);
            for address in self.addresses(entry) {
                let tid = self.tid(entry, &address, defaults);
                // If several lines list a controller, the first one applies, with the strictest security settings of
                // all of them.
                let secured = |first: &mut Parameters| first.secure_like(&parameters);
                named.entry(tid).and_modify(secured).or_insert_with(|| parameters.clone());
            }
        }
        self.listed = named.keys().cloned().collect();
        self.left_out = self.find_left_out(ctx, defaults);
        named
    }

    /// The `controller=` line of each configured controller: the first one if several list it.
    #[must_use]
    pub fn config_lines(&self, defaults: &Defaults<'_>) -> ConfigLines {
        let mut lines = BTreeMap::new();
        for (tid, line) in self.lines(defaults) {
            lines.entry(tid).or_insert(line);
        }
        ConfigLines { file: self.file.clone(), lines, ..ConfigLines::default() }
    }

    /// The name of the configuration file, without its directory.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The lines of the `controller=` entries that list these controllers.
    fn lines<'a>(&'a self, defaults: &'a Defaults<'_>) -> impl Iterator<Item = (Tid, usize)> + 'a {
        self.controllers.iter().flat_map(move |entry| {
            let addresses = self.addresses(entry).into_iter();
            addresses.map(move |address| (self.tid(entry, &address, defaults), entry.line))
        })
    }

    fn tid(&self, entry: &ControllerEntry, address: &str, defaults: &Defaults<'_>) -> Tid {
        let or = |own: &str, default: &str| if own.is_empty() { default.to_owned() } else { own.to_owned() };
        let tid = Tid::new(TidParts {
            transport: entry.transport,
            traddr: address.to_owned(),
            trsvcid: entry.trsvcid.clone(),
            subsysnqn: or(&entry.subsysnqn, defaults.subsysnqn),
            host_traddr: entry.host_traddr.clone(),
            host_iface: entry.host_iface.clone(),
            host_nqn: or(&entry.host_nqn, defaults.host_nqn),
        });
        if self.ignore_iface { tid.unbound() } else { tid }
    }

    /// True when the administrator excluded that controller. `found_on` is the interface on which it was found. It
    /// counts even when ignore-iface keeps it out of the TID.
    #[must_use]
    pub fn excludes(&self, tid: &Tid, found_on: &str) -> bool {
        self.exclusion_of(tid, found_on).is_some()
    }

    /// The exclusion that excludes that controller. Of several, an exclusion without a host name comes first.
    #[must_use]
    pub fn exclusion_of(&self, tid: &Tid, found_on: &str) -> Option<&Exclusion> {
        let addresses = |exclusion: &Exclusion| self.addresses_of(exclusion);
        let matching =
            self.exclusions.iter().filter(|exclusion| matches(exclusion, &addresses(exclusion), tid, found_on));
        matching.min_by_key(|exclusion| exclusion.is_name)
    }

    /// The exclusions with the addresses that their host names have now.
    #[must_use]
    pub fn exclusions(&self) -> Exclusions {
        let looked_up = |exclusion: &Exclusion| (exclusion.clone(), self.addresses_of(exclusion));
        self.exclusions.iter().map(looked_up).collect()
    }

    /// The addresses that an exclusion's host name has, or had a short time ago.
    fn addresses_of(&self, exclusion: &Exclusion) -> Vec<IpAddr> {
        let name = exclusion.traddr.as_ref().filter(|_| exclusion.is_name);
        let state = name.and_then(|name| self.names.get(name));
        state.map(|state| state.present().collect()).unwrap_or_default()
    }

    /// True while an exclusion has a host name without a completed look-up, so that it may mean that controller. Its
    /// interface does not count: the controller may be found on another interface later.
    #[must_use]
    pub fn may_exclude(&self, tid: &Tid) -> bool {
        let unknown = |name: &String| self.names.get(name).is_none_or(|name| !name.asked && name.addresses.is_empty());
        let open = self.exclusions.iter().filter(|exclusion| exclusion.is_name);
        open.filter(|exclusion| exclusion.traddr.as_ref().is_some_and(unknown)).any(|exclusion| {
            let but_for_its_address = Exclusion { traddr: None, host_iface: None, ..exclusion.clone() };
            matches(&but_for_its_address, &[], tid, "")
        })
    }

    /// True when `ip-family` allows that address.
    #[must_use]
    pub fn allows(&self, tid: &Tid) -> bool {
        !tid.transport().is_ip() || tid::parse_ip(&tid.traddr).is_some_and(|(ip, _)| family_used(ip, self.family))
    }
}

fn family_used(ip: IpAddr, family: FamilyOrder) -> bool {
    match family {
        FamilyOrder::V4 => ip.is_ipv4(),
        FamilyOrder::V6 => ip.is_ipv6(),
        FamilyOrder::Both => true,
    }
}
