//! The texts of plans.

use std::fmt;
use std::time::Duration;

use libstas::conf::Persistence;

use crate::files::{DcEntry, Excluded, host_name};
use crate::names::by;
use crate::plan::{Edit, EntryOf, Fault, Outage, What};

/// For example `1.234 s`.
#[must_use]
pub fn seconds(time: Duration) -> String {
    format!("{}.{:03} s", time.as_secs(), time.subsec_millis())
}

impl fmt::Display for DcEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(target, via) => write!(f, "the DC of {target}{}", by(*via)),
            Self::Name(number) => f.write_str(&host_name(*number)),
        }
    }
}

/// The text of an outage, for example `is unreachable`.
pub(crate) fn outage(how: Outage) -> &'static str {
    match how {
        Outage::Refuses => "refuses connections",
        Outage::Drops => "is unreachable",
        Outage::Mute => "accepts connections and sends nothing",
        Outage::Reboots => "reboots",
    }
}

fn excluded((target, subsystem): &Excluded) -> String {
    match (target, subsystem) {
        (Some(target), Some(subsystem)) => format!("{subsystem} at {target}"),
        (Some(target), None) => target.to_string(),
        (None, Some(subsystem)) => subsystem.to_string(),
        (None, None) => "everything".to_owned(),
    }
}

impl fmt::Display for EntryOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subsystem(subsystem) => write!(f, "{subsystem}"),
            Self::Dc(target) => write!(f, "the DC of {target}"),
        }
    }
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dc(dc) => write!(f, "controller= {dc} (added to or removed from stafd.conf)"),
            Self::ExcludeDc(target) => write!(f, "exclude= {target} (added to or removed from stafd.conf)"),
            Self::GarbleStaf => f.write_str("a line of stafd.conf that cannot be read (added or removed)"),
            Self::Zeroconf => f.write_str("zeroconf (enabled or disabled)"),
            Self::Persistence(Persistence::Forever) => f.write_str("zeroconf-connections-persistence -1"),
            Self::Persistence(Persistence::For(span)) => {
                write!(f, "zeroconf-connections-persistence {}", seconds(*span))
            }
            Self::Controller(target, subsystem, via) => {
                write!(f, "controller= {subsystem} at {target}{} (added to or removed from stacd.conf)", by(*via))
            }
            Self::Exclude(what) => write!(f, "exclude= {} (added to or removed from stacd.conf)", excluded(what)),
            Self::GarbleStac => f.write_str("a line of stacd.conf that cannot be read (added or removed)"),
            Self::Scope(scope) => write!(f, "disconnect-scope {scope:?}"),
            Self::InUse(in_use) => write!(f, "in-use {in_use:?}"),
            Self::ExcludeIface(daemon, iface) => write!(f, "exclude= {iface} (added to or removed from {daemon}.conf)"),
            Self::Family(daemon) => write!(f, "ip-family (ipv6 or both in {daemon}.conf)"),
            Self::IgnoreIface => f.write_str("ignore-iface (true or false in stacd.conf)"),
            Self::Trtypes => f.write_str("disconnect-trtypes (rdma or tcp)"),
            Self::Parameters(daemon) => {
                write!(f, "a parameter that the kernel refuses (added to or removed from {daemon}.conf)")
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EventsLost(daemon) => write!(f, "{daemon} loses half of its add and remove events"),
            Self::EventsLate(daemon) => write!(f, "{daemon} gets its events late"),
            Self::EventsDoubled(daemon) => write!(f, "{daemon} gets its events twice"),
            Self::EventsOverrun(daemon) => write!(f, "the event socket of {daemon} overruns"),
            Self::SnapshotsFail(daemon) => write!(f, "{daemon} cannot read sysfs"),
            Self::SnapshotsSlow(daemon) => write!(f, "{daemon} takes seconds to read sysfs"),
            Self::ProbesUnknown => f.write_str("probes fail with local errors"),
            Self::ProbesHang => f.write_str("probes hang"),
            Self::ProbesLie => f.write_str("probes say the opposite of what is true"),
            Self::ReadsFail => f.write_str("log pages cannot be read"),
            Self::ReadsHang => f.write_str("reads of log pages hang"),
            Self::BusFails => f.write_str("calls on the bus fail"),
            Self::BusSlow => f.write_str("the bus is slow"),
            Self::ResolverFails => f.write_str("the resolver fails"),
            Self::DisconnectRefused => f.write_str("the kernel refuses to disconnect"),
            Self::DisconnectHangs => f.write_str("disconnects hang"),
            Self::UseUnknown => f.write_str("checks for storage in use fail"),
            Self::ConnectPathSlow => f.write_str("the connect path is slow"),
            Self::MulticastLost => f.write_str("multicast packets are lost"),
            Self::TablesUnreadable => f.write_str("boot tables cannot be read"),
            Self::SavesFail(daemon) => write!(f, "the state of {daemon} cannot be written"),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Edits(edit, reload) => {
                let then = if *reload { ", and reloads" } else { ", and does not reload" };
                write!(f, "the administrator edits {edit}{then}")
            }
            Self::EditsAndReverts(edit, time) => {
                write!(f, "the administrator edits {edit}, reloads, and reverts it after {}", seconds(*time))
            }
            Self::Reloads(daemon) => write!(f, "the administrator reloads {daemon}"),
            Self::Restarts(daemon, away) => write!(f, "{daemon} is stopped, and started after {}", seconds(*away)),
            Self::Kills(daemon, away) => write!(f, "{daemon} is killed, and started after {}", seconds(*away)),
            Self::KillsAndLosesState(daemon, away) => {
                write!(f, "{daemon} is killed, loses its state, and is started after {}", seconds(*away))
            }
            Self::Freezes(daemon, time) => write!(f, "{daemon} is frozen for {}", seconds(*time)),
            Self::Suspends(time) => write!(f, "the host is suspended for {}", seconds(*time)),
            Self::DisconnectsByHand(nth) => write!(f, "nvme disconnect of controller number {nth}"),
            Self::OtherClaims(nth) => write!(f, "another orchestrator claims I/O controller number {nth}"),
            Self::OtherDisconnects(nth) => write!(f, "another orchestrator disconnects its controller number {nth}"),
            Self::ConnectsByHand(target, subsystem, via) => {
                write!(f, "nvme connect to {subsystem} at {target}{}", by(*via))
            }
            Self::ConnectsDcByHand(target, via) => write!(f, "nvme connect to the DC of {target}{}", by(*via)),
            Self::Discovers(target) => write!(f, "nvme discover at {target}"),
            Self::Mounts(subsystem) => write!(f, "{subsystem} is mounted or unmounted"),
            Self::Exports(target, subsystem) => write!(f, "{target} starts or stops exporting {subsystem}"),
            Self::Storm(target, subsystem, times, apart) => {
                write!(f, "{target} unlinks and links {subsystem} {times} times, {} apart", seconds(*apart))
            }
            Self::Zones(target, (at, subsystem)) => write!(f, "{target} starts or stops listing {subsystem} at {at}"),
            Self::ListsNothing(target, time) => write!(f, "{target} lists nothing for {}", seconds(*time)),
            Self::DamagesEntry(target, of, defect, time) => {
                write!(f, "{target} lists {of} with the defect {defect:?} for {}", seconds(*time))
            }
            Self::Refers(target, other) => write!(f, "{target} starts or stops referring to {other}"),
            Self::ChangesKeys { key, host_first, apart } => {
                let (first, then) = if *host_first { ("the host", "the targets") } else { ("the targets", "the host") };
                write!(f, "{first} and, {} later, {then} change to the key number {key}", seconds(*apart))
            }
            Self::ReplacesHostId(id) => write!(f, "/etc/nvme/hostid gets the host ID number {id}"),
            Self::Fails(target, how, time) => {
                write!(f, "{target} {} for {}", outage(*how), seconds(*time))
            }
            Self::DropsConnections(target) => write!(f, "{target} drops all its connections"),
            Self::MdnsAction(action) => write!(f, "{action}"),
            Self::MovesName(name, target) => write!(f, "{} leads to {target}", host_name(*name)),
            Self::RoutesChange => f.write_str("the routes use the other interface"),
            Self::RouteAdded => f.write_str("a route is added"),
            Self::Fault(fault, time) => write!(f, "for {}: {fault}", seconds(*time)),
        }
    }
}
