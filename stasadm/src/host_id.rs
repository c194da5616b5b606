//! Determines the UUID for the host ID.
//!
//! The kernel requires one host ID per host NQN (since 6.5). If the kernel has connections with this host's NQN, their
//! host ID is used. Otherwise it is the UUID in the host NQN, like in the initramfs and nvme-cli.

use std::fs;
use std::path::{Path, PathBuf};

use libstas::conf::sys::{self, Value};
use uuid::Uuid;

use crate::host_uuid;

/// Precedes the UUID in an NQN that contains one.
const UUID_PART: &str = ":uuid:";

/// The origin of the UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// From a kernel connection with the same host NQN.
    Kernel,
    /// From the host NQN.
    HostNqn,
    /// Random: the next call returns another one.
    Random,
}

/// The host ID of the host with the root directory `root`; `conf_file` is its sys.conf.
pub(crate) fn of(root: &Path, conf_file: &Path) -> (Uuid, Source) {
    let nqn = host_nqn(root, conf_file);
    let pairs = kernel_pairs(root);
    if let Some((.., id)) = pairs.iter().find(|(_, kernel_nqn, _)| *kernel_nqn == nqn) {
        return (*id, Source::Kernel);
    }
    let is_free = |id: &Uuid| !id.is_nil() && pairs.iter().all(|(.., kernel_id)| kernel_id != id);
    let made_of = nqn.rsplit_once(UUID_PART).and_then(|(_, text)| Uuid::try_parse(text).ok()).filter(is_free);
    made_of.map_or_else(|| (Uuid::new_v4(), Source::Random), |id| (id, Source::HostNqn))
}

/// The configured host NQN. If it is missing, the one that `stasadm hostnqn` would create (at boot both are created at
/// the same time).
fn host_nqn(root: &Path, conf_file: &Path) -> String {
    let text = fs::read(conf_file).unwrap_or_default();
    let configured = match sys::parse(&text, "").0.nqn {
        Value::Literal(nqn) => Some(nqn),
        Value::File(path) => fs::read_to_string(below(root, &path)).ok(),
    };
    let first_word = |text: String| text.trim_start_matches('\u{feff}').split_whitespace().next().map(str::to_owned);
    configured.and_then(first_word).or_else(|| kernels_nqn(root)).unwrap_or_else(|| match host_uuid::of(root) {
        (_, host_uuid::Source::Random) => String::new(),
        (uuid, _) => host_uuid::nqn(&uuid),
    })
}

/// The host NQN of the connections that stafd and stacd have made or adopted, if all have the same one. Connections of
/// others do not count: they may have any NQN, for example the random one of the kernel.
pub(crate) fn kernels_nqn(root: &Path) -> Option<String> {
    let ours = |device: &str| {
        let owner = fs::read_to_string(root.join("run/nvme/registry").join(device).join("owner"));
        owner.is_ok_and(|owner| owner.trim() == "stas")
    };
    let pairs = kernel_pairs(root).into_iter();
    let mut nqns = pairs.filter(|(device, ..)| ours(device)).map(|(_, nqn, _)| nqn);
    let first = nqns.next()?;
    nqns.all(|nqn| nqn == first).then_some(first)
}

/// The device, host NQN and host ID of each kernel connection, the oldest device first.
fn kernel_pairs(root: &Path) -> Vec<(String, String, Uuid)> {
    let Ok(entries) = fs::read_dir(root.join("sys/class/nvme")) else { return Vec::new() };
    let mut controllers: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    controllers.sort();
    let read =
        |controller: &Path, name| fs::read_to_string(controller.join(name)).ok().map(|text| text.trim().to_owned());
    let pair = |controller: &PathBuf| {
        let id = Uuid::try_parse(&read(controller, "hostid")?).ok().filter(|id| !id.is_nil())?;
        let nqn = read(controller, "hostnqn").filter(|nqn| !nqn.is_empty())?;
        Some((controller.file_name()?.to_str()?.to_owned(), nqn, id))
    };
    controllers.iter().filter_map(pair).collect()
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const U: &str = "00000000-0000-4000-8000-00000000000a";
    const KERNELS: &str = "00000000-0000-4000-8000-00000000000b";

    fn nqn() -> String {
        format!("nqn.2014-08.org.nvmexpress:uuid:{U}")
    }

    /// The host ID of a host with only these files.
    fn id_of(files: &[(&str, &str)]) -> (String, Source) {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let (id, source) = of(root.path(), &root.path().join("etc/stas/sys.conf"));
        (id.to_string(), source)
    }

    #[test]
    fn a_lost_nqn_is_that_of_the_kernels_connections_if_they_agree() {
        let [one, two] = ["nvme0", "nvme1"];
        let owned = |device: &str, nqn: &str, owner: &str| {
            [
                (format!("sys/class/nvme/{device}/hostnqn"), format!("{nqn}\n")),
                (format!("sys/class/nvme/{device}/hostid"), format!("{KERNELS}\n")),
                (format!("run/nvme/registry/{device}/owner"), format!("{owner}\n")),
            ]
        };
        let connection = |device: &str, nqn: &str| owned(device, nqn, "stas");
        let cases = [
            (vec![], None),
            (vec![connection(one, "nqn.a")], Some("nqn.a")),
            (vec![owned(one, "nqn.a", "other")], None),
            (vec![connection(one, "nqn.a"), owned(two, "nqn.b", "other")], Some("nqn.a")),
            (vec![connection(one, "nqn.a"), connection(two, "nqn.a")], Some("nqn.a")),
            (vec![connection(one, "nqn.a"), connection(two, "nqn.b")], None),
            (vec![connection(one, "")], None),
        ];
        for (files, expected) in cases {
            let root = tempfile::tempdir().unwrap();
            for (path, content) in files.into_iter().flatten() {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            assert_eq!(kernels_nqn(root.path()).as_deref(), expected);
            // The host ID that is created at the same time fits that NQN.
            let id = of(root.path(), &root.path().join("etc/stas/sys.conf"));
            assert_eq!(id.1 == Source::Kernel, expected.is_some(), "{id:?}");
        }
    }

    #[test]
    fn the_id_is_the_kernels_for_the_host_nqn_else_that_of_the_nqn_else_random() {
        let nqn = nqn();
        let hostnqn = ("etc/nvme/hostnqn", nqn.as_str());
        let kernel_nqn = ("sys/class/nvme/nvme1/hostnqn", nqn.as_str());
        let kernel_id = ("sys/class/nvme/nvme1/hostid", KERNELS);
        let kernels = || (KERNELS.to_owned(), Source::Kernel);
        let made_of_nqn = || (U.to_owned(), Source::HostNqn);
        assert_eq!(id_of(&[hostnqn, kernel_nqn, kernel_id]), kernels());
        assert_eq!(id_of(&[hostnqn]), made_of_nqn());
        assert_eq!(id_of(&[hostnqn, ("sys/class/nvme/nvme0/model", "a PCIe disk")]), made_of_nqn());
        assert_eq!(id_of(&[hostnqn, ("sys/class/nvme/nvme1/hostnqn", "nqn.other"), kernel_id]), made_of_nqn());
        let other_with_u = ("sys/class/nvme/nvme1/hostid", U);
        assert_eq!(id_of(&[hostnqn, ("sys/class/nvme/nvme1/hostnqn", "nqn.other"), other_with_u]).1, Source::Random);
        for nqn in
            ["nqn.2014-08.org.example:a", "nqn.a:uuid:nonsense", "nqn.a:uuid:00000000-0000-0000-0000-000000000000"]
        {
            assert_eq!(id_of(&[("etc/nvme/hostnqn", nqn)]).1, Source::Random, "{nqn}");
        }
        assert_eq!(id_of(&[]).1, Source::Random);
    }

    #[test]
    fn the_host_nqn_is_where_sys_conf_says_or_the_one_that_will_be_made() {
        let conf = format!("[Host]\nnqn={}\n", nqn());
        let made_of_nqn = (U.to_owned(), Source::HostNqn);
        assert_eq!(id_of(&[("etc/stas/sys.conf", &conf), ("etc/nvme/hostnqn", "nqn.unused")]), made_of_nqn);
        let elsewhere = ("etc/stas/sys.conf", "[Host]\nnqn=file:///srv/nqn\n");
        assert_eq!(id_of(&[elsewhere, ("srv/nqn", &format!("{}\n", nqn()))]), made_of_nqn);
        let machine = ("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        assert_eq!(id_of(&[machine]), ("f2782346-4809-484a-9a8b-952a04b57ba4".to_owned(), Source::HostNqn));
    }
}
