//! `ls`: which controllers are listed, in which order, and whether all that should be connected are.

use std::cmp::Ordering;
use std::net::IpAddr;

use clap::Args;
use serde_json::{Value, json};

use super::client::{Daemon, Failure};
use super::output::{Format, Listing, print};
use super::{kernel, table};
use stas_bus::{Dict, key};
use stas_nvme::shown;

/// The options of `ls`.
#[derive(Clone, Debug, Args)]
pub struct Ls {
    /// List only the controller with this device, or those whose state, transport, address, port, interface or NQN
    /// contains PATTERN
    #[arg(value_name = "PATTERN")]
    pub pattern: Option<String>,
    /// Exit with status 1 if a listed controller that is wanted is not connected, and name it on standard error
    #[arg(long)]
    pub check: bool,
    /// Print only the devices and NQNs, each on a line of its own
    #[arg(long, conflicts_with_all = ["check", "detailed", "output"])]
    pub names: bool,
    /// Print no headings
    #[arg(long)]
    pub no_legend: bool,
    /// How much of each, and in which format.
    #[command(flatten)]
    pub listing: Listing,
}

impl Ls {
    /// True if the daemon must answer in detail.
    #[must_use]
    pub fn needs_detail(&self) -> bool {
        self.check || self.pattern.is_some() || self.listing.needs_detail()
    }

    /// The answer of `ls`. With `--check` it is printed here if a controller is down.
    ///
    /// # Errors
    /// [`Failure::Down`] with `--check` if a controller is down, [`Failure::Output`] if the list cannot be printed.
    pub fn answer(&self, daemon: Daemon, mut controllers: Vec<Dict>) -> Result<String, Failure> {
        if let Some(pattern) = &self.pattern {
            controllers.retain(|controller| matches(controller, pattern));
        }
        if self.names {
            return Ok(names(controllers));
        }
        // Programs get the order of the daemon, as with nvme-stas.
        if self.listing.output.format() == Format::Table {
            controllers.sort_by(in_order);
        }
        let down: Vec<String> = controllers.iter().filter(|controller| is_down(controller)).map(line).collect();
        if !self.listing.needs_detail() {
            controllers
                .iter_mut()
                .for_each(|controller| controller.retain(|key, _| key::BASIC.contains(&key.as_str())));
        }
        let mut controllers: Vec<Value> = controllers.iter().map(|controller| json!(controller)).collect();
        // The notation of nvme-stas keeps its members.
        if self.listing.needs_detail() && self.listing.output.format() != Format::Python {
            kernel::add(&mut controllers);
        }
        let mut text = self.listing.render(daemon, &controllers.into());
        if self.no_legend && !self.listing.detailed && self.listing.output.format() == Format::Table {
            // The first line has the headings, or says that there are no controllers.
            text = text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        }
        if !self.check || down.is_empty() {
            return Ok(text);
        }
        print(&text)?;
        Err(Failure::Down(down.join("\n")))
    }
}

/// The devices and NQNs of controllers, each once, in natural order.
fn names(controllers: Vec<Dict>) -> String {
    let of = |mut controller: Dict| [key::DEVICE, key::SUBSYSNQN].map(|key| controller.remove(key).unwrap_or_default());
    let mut names: Vec<String> = controllers.into_iter().flat_map(of).collect();
    names.retain(|name| !name.is_empty() && name != "nvme?");
    names.sort_by(|a, b| natural(a, b));
    names.dedup();
    names.iter().map(|name| format!("{}\n", shown(name))).collect()
}

/// A controller in one line.
fn line(controller: &Dict) -> String {
    table::controller_line(&json!(controller))
}

/// True if the pattern is the controller's device, or if another property of its row contains it. Case is ignored.
#[must_use]
pub fn matches(controller: &Dict, pattern: &str) -> bool {
    let value = |key: &str| controller.get(key).map(|value| value.to_ascii_lowercase()).unwrap_or_default();
    let pattern = pattern.to_ascii_lowercase();
    // `nvme1` is not meant to be nvme10.
    if pattern.strip_prefix("nvme").is_some_and(|number| number.parse::<u32>().is_ok()) {
        return value(key::DEVICE) == pattern;
    }
    let keys = ["state", key::TRANSPORT, key::TRADDR, key::TRSVCID, key::HOST_IFACE, key::HOST_TRADDR, key::SUBSYSNQN];
    // An address with its port, as `ls` and the log show it.
    let portal = [format!("{}:{}", value(key::TRADDR), value(key::TRSVCID)), identity(controller)];
    keys.iter().map(|key| value(key)).chain(portal).any(|text| text.contains(&pattern))
}

/// The controller as the log names it: `(tcp, 192.0.2.1, 4420, nqn.x)`.
fn identity(controller: &Dict) -> String {
    let id = stas_bus::ControllerId::from_dict(controller);
    id.tid().map(|tid| tid.to_string().to_ascii_lowercase()).unwrap_or_default()
}

/// True for the state of a controller that is to be connected.
#[must_use]
pub fn is_wanted(state: &str) -> bool {
    !matches!(state, "kept" | "leaving" | "excluded")
}

/// True for a controller that is wanted and has no live connection.
fn is_down(controller: &Dict) -> bool {
    match controller.get("state") {
        Some(state) => state != "connected" && is_wanted(state),
        // nvme-stas tells no state.
        None => controller.get("connected").is_some_and(|connected| connected == "False"),
    }
}

/// The order of the rows: by transport, address, port and NQN, with numbers as numbers.
#[must_use]
pub fn in_order(a: &Dict, b: &Dict) -> Ordering {
    let value = |dict: &Dict, key: &str| dict.get(key).cloned().unwrap_or_default();
    let by = |key: &str| natural(&value(a, key), &value(b, key));
    value(a, key::TRANSPORT)
        .cmp(&value(b, key::TRANSPORT))
        .then_with(|| addresses(&value(a, key::TRADDR), &value(b, key::TRADDR)))
        .then_with(|| by(key::TRSVCID))
        .then_with(|| by(key::SUBSYSNQN))
        .then_with(|| by(key::HOST_IFACE))
        .then_with(|| by(key::DEVICE))
}

/// The order of two transport addresses: IPv4, then IPv6, then others.
fn addresses(a: &str, b: &str) -> Ordering {
    let ip = |text: &str| text.split('%').next().unwrap_or_default().parse::<IpAddr>().ok();
    match (ip(a), ip(b)) {
        (Some(first), Some(second)) => first.cmp(&second).then_with(|| natural(a, b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => natural(a, b),
    }
}

/// The order of two texts, with numbers as numbers: `nvme2` before `nvme10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (first, second) = (part(a), part(b));
        let order = match (number(first), number(second)) {
            (Some(first), Some(second)) => first.len().cmp(&second.len()).then_with(|| first.cmp(second)),
            _ => first.cmp(second),
        };
        if order.is_ne() || first.is_empty() {
            return order;
        }
        (a, b) = (a.get(first.len()..).unwrap_or_default(), b.get(second.len()..).unwrap_or_default());
    }
}

/// The digits, or the other characters, at the begin of a text.
fn part(text: &str) -> &str {
    let begins_with_digit = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != begins_with_digit).unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

/// The digits of a number without leading zeros.
fn number(part: &str) -> Option<&str> {
    part.starts_with(|c: char| c.is_ascii_digit()).then(|| part.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controller(device: &str, traddr: &str, state: &str, nqn: &str) -> Dict {
        let members = [
            (key::DEVICE, device),
            (key::TRANSPORT, "tcp"),
            (key::TRADDR, traddr),
            (key::TRSVCID, "4420"),
            ("state", state),
            (key::SUBSYSNQN, nqn),
        ];
        members.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn numbers_are_in_their_order() {
        let sorted = ["nvme", "nvme1", "nvme2", "nvme2n1", "nvme10", "x"];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(natural(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(natural("a007", "a7"), Ordering::Equal);
        let sorted =
            ["192.0.2.9", "192.0.2.10", "2001:db8::2", "2001:db8::10", "fe80::1%eth2", "fe80::1%eth10", "nn-1"];
        let mut shuffled = sorted;
        shuffled.reverse();
        shuffled.sort_by(|a, b| addresses(a, b));
        assert_eq!(shuffled, sorted);
    }

    #[test]
    fn a_pattern_is_a_device_or_a_part_of_a_property() {
        let dict = controller("nvme1", "192.0.2.1", "waiting", "nqn.2014-08.org.example:Klingons");
        for pattern in ["nvme1", "klingons", "192.0.2", "192.0.2.1:4420", "WAITING", "(tcp, 192.0.2.1, 4420, nqn"] {
            assert!(matches(&dict, pattern), "{pattern}");
        }
        for pattern in ["nvme10", "nvme", "192.0.2.1:44200", "starfleet"] {
            assert!(!matches(&dict, pattern), "{pattern}");
        }
    }

    #[test]
    fn names_are_devices_and_nqns_each_once() {
        let of = |device: &str, nqn: &str| controller(device, "192.0.2.1", "connected", nqn);
        let all = vec![of("nvme10", "nqn.b"), of("nvme2", "nqn.a\n"), of("nvme?", "nqn.b"), Dict::new()];
        assert_eq!(names(all), "nqn.a\\n\nnqn.b\nnvme2\nnvme10\n");
        assert_eq!(names(Vec::new()), "");
    }

    #[test]
    fn what_is_wanted_and_not_connected_is_down() {
        for (state, down) in [
            ("connected", false),
            ("kept", false),
            ("leaving", false),
            ("excluded", false),
            ("reconnecting", true),
            ("connecting", true),
            ("queued", true),
            ("waiting", true),
            ("given up", true),
            ("unresolved", true),
        ] {
            assert_eq!(is_down(&controller("nvme?", "192.0.2.1", state, "nqn.x")), down, "{state}");
        }
        let nvme_stas = |connected: &str| Dict::from([("connected".to_owned(), connected.to_owned())]);
        assert!(is_down(&nvme_stas("False")) && !is_down(&nvme_stas("True")));
    }
}
