//! What the kernel shows of a controller: its namespaces, whether I/O can use the path to them, and when the kernel
//! gives up a lost connection.
//!
//! It is read from sysfs when a tool shows it, as any user. The daemons do not read it: they need none of it.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::time::seconds;
use stas_bus::key;
use stas_nvme::sysfs_address::SysfsAddress;

/// The keys that [`add`] adds to a controller.
pub mod added {
    /// The namespaces: an array of objects.
    pub const NAMESPACES: &str = "namespaces";
    /// Seconds after which the kernel gives up a lost connection, or `off`.
    pub const CTRL_LOSS_TMO: &str = "ctrl-loss-tmo";
    /// Seconds between two attempts of the kernel to reconnect.
    pub const RECONNECT_DELAY: &str = "reconnect-delay";
    /// When the kernel gives up a lost connection.
    pub const GIVES_UP_AT: &str = "gives up at";
}

/// Size of a sector in sysfs, in bytes, whatever the namespace uses.
const SECTOR: u64 = 512;

/// Adds to each controller what the kernel shows of its device.
pub fn add<'a>(controllers: impl IntoIterator<Item = &'a mut Value>) {
    add_from(Path::new("/sys"), controllers);
}

fn add_from<'a>(sys: &Path, controllers: impl IntoIterator<Item = &'a mut Value>) {
    for controller in controllers {
        if let Some(directory) = directory(sys, controller) {
            add_to(sys, &directory, controller);
        }
    }
}

/// The directory of a controller's device. `None` without a device, or if the device is another controller's by now.
fn directory(sys: &Path, controller: &Value) -> Option<PathBuf> {
    let text = |key: &str| controller.get(key).and_then(Value::as_str).unwrap_or_default();
    let device = text(key::DEVICE);
    // A name from the bus must not lead to another folder.
    number(device.strip_prefix("nvme")?)?;
    let directory = sys.join("class/nvme").join(device);
    let address = SysfsAddress::parse(&attribute(&directory, "address")?, text(key::TRANSPORT).parse().ok()?);
    (address.traddr == text(key::TRADDR) && address.trsvcid == text(key::TRSVCID)).then_some(directory)
}

fn add_to(sys: &Path, directory: &Path, controller: &mut Value) {
    controller[added::NAMESPACES] = namespaces(sys, directory).into();
    for (key, name) in [(added::CTRL_LOSS_TMO, "ctrl_loss_tmo"), (added::RECONNECT_DELAY, "reconnect_delay")] {
        if let Some(value) = attribute(directory, name) {
            controller[key] = value.into();
        }
    }
    if let Some(at) = gives_up_at(controller) {
        controller[added::GIVES_UP_AT] = seconds(at).into();
    }
}

/// When the kernel gives up the lost connection, about: it counts attempts, and an attempt may take some seconds.
fn gives_up_at(controller: &Value) -> Option<Timestamp> {
    let text = |key: &str| controller.get(key).and_then(Value::as_str).unwrap_or_default();
    let lost: Timestamp = (text("state") == "reconnecting").then(|| text(key::SINCE).parse().ok())??;
    lost.checked_add(SignedDuration::from_secs(text(added::CTRL_LOSS_TMO).parse().ok()?)).ok()
}

/// The namespaces of a controller, in the order of their numbers.
fn namespaces(sys: &Path, directory: &Path) -> Vec<Value> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut found: Vec<(u64, Value)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (number, block) = block(&name)?;
            let path = directory.join(&name);
            let sectors = attribute(&sys.join("class/block").join(&block), "size").or_else(|| attribute(&path, "size"));
            let bytes = sectors.and_then(|sectors| sectors.parse::<u64>().ok()?.checked_mul(SECTOR));
            let nsid = attribute(&path, "nsid").and_then(|nsid| nsid.parse::<u64>().ok());
            let ana_state = attribute(&path, "ana_state");
            Some((number, json!({"device": block, "nsid": nsid, "bytes": bytes, "ana_state": ana_state})))
        })
        .collect();
    found.sort_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, namespace)| namespace).collect()
}

/// The number of a namespace, and the block device that applications use. `nvme1c3n1` is the hidden path of controller
/// nvme3 to nvme1n1 (native multipathing).
fn block(name: &str) -> Option<(u64, String)> {
    let (before, head) = name.strip_prefix("nvme")?.rsplit_once('n')?;
    let (subsystem, path) = before.split_once('c').map_or((before, None), |(subsystem, path)| (subsystem, Some(path)));
    number(subsystem)?;
    path.map_or(Some(0), number)?;
    Some((number(head)?, format!("nvme{subsystem}n{head}")))
}

fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn attribute(directory: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(directory.join(name)).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn put(sys: &Path, path: &str, text: &str) {
        let path = sys.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{text}\n")).unwrap();
    }

    /// nvme3 is a path to the shared nvme1n1 and nvme1n10, nvme4 has a namespace without multipathing.
    fn sysfs() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let sys = folder.path();
        for (path, text) in [
            ("class/nvme/nvme3/address", "traddr=192.0.2.1,trsvcid=4420,src_addr=192.0.2.9"),
            ("class/nvme/nvme3/ctrl_loss_tmo", "600"),
            ("class/nvme/nvme3/reconnect_delay", "10"),
            ("class/nvme/nvme3/nvme1c3n10/nsid", "12"),
            ("class/nvme/nvme3/nvme1c3n10/ana_state", "inaccessible"),
            ("class/nvme/nvme3/nvme1c3n1/nsid", "1"),
            ("class/nvme/nvme3/nvme1c3n1/ana_state", "optimized"),
            ("class/nvme/nvme3/ng1n1/dev", "1:1"),
            ("class/nvme/nvme3/hwmon1/name", "nvme"),
            ("class/block/nvme1n1/size", "2097152"),
            ("class/nvme/nvme4/address", "traddr=192.0.2.1,trsvcid=4420"),
            ("class/nvme/nvme4/ctrl_loss_tmo", "off"),
            ("class/nvme/nvme4/nvme4n1/size", "8"),
        ] {
            put(sys, path, text);
        }
        folder
    }

    fn shown(members: Value) -> Value {
        let mut controller = json!({"transport": "tcp", "traddr": "192.0.2.1", "trsvcid": "4420"});
        controller.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        add_from(sysfs().path(), [&mut controller]);
        controller
    }

    #[test]
    fn a_path_shows_the_block_device_of_all_paths_and_its_own_ana_state() {
        let nvme3 = shown(json!({"device": "nvme3", "state": "connected"}));
        assert_eq!(
            nvme3["namespaces"],
            json!([
                {"device": "nvme1n1", "nsid": 1, "bytes": 1 << 30, "ana_state": "optimized"},
                {"device": "nvme1n10", "nsid": 12, "bytes": null, "ana_state": "inaccessible"},
            ])
        );
        assert_eq!((&nvme3["ctrl-loss-tmo"], &nvme3["reconnect-delay"]), (&json!("600"), &json!("10")));
        assert_eq!(nvme3.get("gives up at"), None, "it is connected");
        let nvme4 = shown(json!({"device": "nvme4"}));
        assert_eq!(nvme4["namespaces"], json!([{"device": "nvme4n1", "nsid": null, "bytes": 4096, "ana_state": null}]));
    }

    #[test]
    fn the_kernel_gives_up_as_long_after_the_loss_as_its_timeout_says() {
        let lost = |device: &str| json!({"device": device, "state": "reconnecting", "since": "2026-11-28T12:00:00Z"});
        assert_eq!(shown(lost("nvme3"))["gives up at"], "2026-11-28T12:10:00Z");
        assert_eq!(shown(lost("nvme4")).get("gives up at"), None, "ctrl-loss-tmo is off");
        for odd in [json!({"since": "x"}), json!({"since": null}), json!({"state": "waiting"})] {
            let mut members = lost("nvme3");
            members.as_object_mut().unwrap().extend(odd.as_object().unwrap().clone());
            assert_eq!(shown(members).get("gives up at"), None, "{odd}");
        }
    }

    #[test]
    fn a_device_that_is_gone_or_is_another_one_by_now_shows_nothing() {
        for members in [
            json!({"device": "nvme?"}),
            json!({"device": "nvme7"}),
            json!({"device": "../nvme/nvme3"}),
            json!({"device": "nvme3/."}),
            json!({"device": "nvme"}),
            json!({"device": 3}),
            json!({}),
            json!({"device": "nvme3", "traddr": "192.0.2.2"}),
            json!({"device": "nvme3", "trsvcid": "4421"}),
            json!({"device": "nvme3", "transport": "pcie"}),
        ] {
            assert_eq!(shown(members.clone()).get("namespaces"), None, "{members}");
        }
        let mut odd = [json!(1), json!(null), json!("x"), json!([])];
        add(&mut odd);
        assert_eq!(odd, [json!(1), json!(null), json!("x"), json!([])]);
    }

    #[test]
    fn only_namespaces_have_the_name_of_one() {
        for (name, expected) in [
            ("nvme1n2", Some((2, "nvme1n2"))),
            ("nvme1c22n3", Some((3, "nvme1n3"))),
            ("nvme1", None),
            ("nvmen1", None),
            ("nvme1n", None),
            ("nvme1cn1", None),
            ("nvme1n1p1", None),
            ("ng1n1", None),
            ("nvme1c2c3n1", None),
        ] {
            assert_eq!(block(name), expected.map(|(number, block)| (number, block.to_owned())), "{name}");
        }
    }
}
