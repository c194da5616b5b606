//! Finds raw users that take no lock (a database, a virtual machine) by the kernel's count of completed writes.
//!
//! The counts are read every ten seconds, with the periodic snapshots. The kernel does not record the time of a write.
//! It happened between two readings and counts from the later one. Writes before the first reading count as recent.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use super::block::{Blocks, Counts, Namespace};
use stas_core::CtrlRef;

/// How long storage counts as in use after a write.
pub(super) const RECENT: Duration = Duration::from_secs(600);
/// Grace period at the start of a connection in which writes do not count: programs that assemble volumes may write
/// labels then.
const GRACE: Duration = Duration::from_secs(5);
/// How late the reading at the end of the grace period may be.
const LATE: Duration = Duration::from_secs(1);
/// Minimum time between two readings of all counts.
const EVERY: Duration = Duration::from_secs(9);

/// The last counts, and the times of the last writes.
#[derive(Debug, Default)]
pub(super) struct Writes {
    connections: BTreeMap<CtrlRef, Connection>,
    /// When a write to each block device was last found.
    written: BTreeMap<Device, Instant>,
    /// When the counts of all controllers were last read.
    last_round: Option<Instant>,
}

/// A block device. `inode` distinguishes it from a later device of the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Device {
    name: String,
    inode: u64,
}

#[derive(Debug, Default)]
struct Connection {
    /// When the connection appeared. `None` if it existed before the first reading.
    since: Option<Instant>,
    last_read: Option<Instant>,
    counts: BTreeMap<Device, Counts>,
}

impl Connection {
    fn in_grace(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now <= since + GRACE + LATE)
    }

    /// End of the grace period. `None` if the counts were already read since then.
    fn grace_to_end(&self) -> Option<Instant> {
        let end = self.since? + GRACE;
        self.last_read.is_none_or(|last| last < end).then_some(end)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.last_read.is_none() || self.grace_to_end().is_some_and(|end| end <= now)
    }
}

impl Writes {
    /// The next end of a grace period: counts must be read then.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.connections.values().filter_map(Connection::grace_to_end).min()
    }

    /// Reads the counts that are due: those of all controllers periodically, those of a new controller immediately and
    /// at the end of its grace period. A count that cannot be read is read with the next round.
    pub(super) fn round(&mut self, now: Instant, blocks: &Blocks, present: &[CtrlRef]) {
        let known: BTreeSet<CtrlRef> = present.iter().copied().collect();
        self.connections.retain(|ctrl, _| known.contains(ctrl));
        let is_full = self.last_round.is_none_or(|last| now >= last + EVERY);
        let since = self.last_round.map(|_| now);
        for ctrl in present {
            let fresh = || Connection { since, ..Connection::default() };
            if self.connections.entry(*ctrl).or_insert_with(fresh).is_due(now) || is_full {
                let _ = self.read(now, blocks, *ctrl);
            }
        }
        if is_full {
            let there: BTreeSet<&Device> = self.connections.values().flat_map(|each| each.counts.keys()).collect();
            self.written.retain(|device, at| now < *at + RECENT && there.contains(device));
            self.last_round = Some(now);
        }
    }

    /// True if a namespace was written in the last ten minutes, or may have been.
    ///
    /// # Errors
    /// Fails if its counts cannot be read, or the kernel does not count.
    pub(super) fn recently(
        &mut self,
        now: Instant,
        blocks: &Blocks,
        ctrl: CtrlRef,
        namespace: &Namespace,
    ) -> io::Result<bool> {
        blocks.counts_writes(ctrl.device, namespace)?;
        self.read(now, blocks, ctrl)?;
        let Some(device) = device(blocks, namespace)? else { return Ok(false) };
        Ok(self.written.get(&device).is_some_and(|at| now < *at + RECENT))
    }

    /// Reads the counts of one controller's namespaces and notes the namespaces whose counts have changed.
    fn read(&mut self, now: Instant, blocks: &Blocks, ctrl: CtrlRef) -> io::Result<()> {
        let connection = self.connections.entry(ctrl).or_default();
        connection.last_read = Some(now);
        let in_grace = connection.in_grace(now);
        let mut counts = BTreeMap::new();
        for namespace in blocks.namespaces(ctrl.device)? {
            let Some(device) = device(blocks, &namespace)? else { continue };
            let count = blocks.written(ctrl.device, &namespace)?;
            let before = connection.counts.get(&device).copied().unwrap_or_default();
            if count != before && !in_grace {
                self.written.insert(device.clone(), now);
            }
            counts.insert(device, count);
        }
        connection.counts = counts;
        Ok(())
    }
}

fn device(blocks: &Blocks, namespace: &Namespace) -> io::Result<Option<Device>> {
    let inode = blocks.inode(&namespace.block)?;
    Ok(inode.map(|inode| Device { name: namespace.block.clone(), inode }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fake_tree::FakeTree;

    const SECOND: Duration = Duration::from_secs(1);

    /// One controller with one namespace, and its counts over time.
    struct Scene {
        tree: FakeTree,
        ctrl: CtrlRef,
        writes: Writes,
        start: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let tree = FakeTree::new();
            let ctrl = tree.controller(0, "");
            let scene = Self { tree, ctrl, writes: Writes::default(), start: Instant::now() };
            scene.tree.put("sys/class/block/nvme0n1/dev", "259:3\n");
            scene.count(0);
            scene
        }

        fn count(&self, writes: u64) {
            self.tree.set(self.ctrl, "nvme0c0n1/stat", &format!("9 0 72 3 {writes} 0 8 1 0 4 4 0 0 0 0 0 0"));
        }

        fn round(&mut self, second: u32, present: &[CtrlRef]) {
            self.writes.round(self.start + SECOND * second, &Blocks::new(&self.tree.roots()), present);
        }

        fn recently(&mut self, second: u32) -> bool {
            let blocks = Blocks::new(&self.tree.roots());
            let (namespace, now) = (blocks.namespaces(0).unwrap().remove(0), self.start + SECOND * second);
            self.writes.recently(now, &blocks, self.ctrl, &namespace).unwrap()
        }
    }

    #[test]
    fn a_write_counts_for_ten_minutes() {
        let mut scene = Scene::new();
        scene.round(0, &[scene.ctrl]);
        assert!(!scene.recently(8));
        scene.count(1);
        scene.round(10, &[scene.ctrl]);
        assert!(scene.recently(11));
        assert!(scene.recently(609));
        assert!(!scene.recently(611));
    }

    #[test]
    fn a_write_since_the_last_round_is_seen_too() {
        let mut scene = Scene::new();
        scene.round(0, &[scene.ctrl]);
        scene.count(1);
        assert!(scene.recently(3));
    }

    #[test]
    fn a_write_from_before_the_first_reading_may_be_recent() {
        let mut scene = Scene::new();
        scene.count(77);
        scene.round(0, &[scene.ctrl]);
        assert!(scene.recently(5));
        assert!(!scene.recently(601), "nothing was written since");
    }

    #[test]
    fn writes_of_the_first_five_seconds_of_a_connection_do_not_count() {
        let mut scene = Scene::new();
        scene.round(0, &[]);
        scene.round(20, &[scene.ctrl]);
        assert_eq!(scene.writes.deadline(), Some(scene.start + SECOND * 25));
        scene.count(5);
        assert!(!scene.recently(24));
        scene.round(25, &[scene.ctrl]);
        assert_eq!(scene.writes.deadline(), None);
        assert!(!scene.recently(28));
        scene.count(6);
        assert!(scene.recently(29));
    }

    #[test]
    fn a_reading_that_missed_the_end_of_the_grace_counts_what_it_finds() {
        let mut scene = Scene::new();
        scene.round(0, &[]);
        scene.round(20, &[scene.ctrl]);
        scene.count(5);
        scene.round(40, &[scene.ctrl]);
        assert!(scene.recently(41));
    }

    #[test]
    fn the_count_of_the_multipath_head_counts_too() {
        let mut scene = Scene::new();
        scene.round(0, &[scene.ctrl]);
        scene.tree.put("sys/class/block/nvme0n1/stat", "0 0 0 0 3 0 8 1 0 4 4\n");
        assert!(scene.recently(1));
    }

    #[test]
    fn a_write_by_a_path_that_is_gone_still_counts() {
        let mut scene = Scene::new();
        let other = scene.tree.controller(1, "");
        scene.tree.set(other, "nvme0c1n1/stat", "0 0 0 0 0 0 0 0 0 0 0");
        scene.round(0, &[scene.ctrl, other]);
        scene.tree.set(other, "nvme0c1n1/stat", "0 0 0 0 9 0 0 0 0 0 0");
        scene.round(10, &[scene.ctrl, other]);
        scene.tree.remove(other);
        scene.round(20, &[scene.ctrl]);
        assert!(scene.recently(21));
    }

    #[test]
    fn a_block_device_of_the_same_name_is_another_one() {
        let mut scene = Scene::new();
        scene.round(0, &[scene.ctrl]);
        scene.count(1);
        scene.round(10, &[scene.ctrl]);
        scene.count(0);
        scene.tree.put("sys/class/block/fresh/dev", "259:3\n");
        std::fs::remove_dir_all(scene.tree.path("sys/class/block/nvme0n1")).unwrap();
        std::fs::rename(scene.tree.path("sys/class/block/fresh"), scene.tree.path("sys/class/block/nvme0n1")).unwrap();
        assert!(!scene.recently(20));
    }

    #[test]
    fn counts_that_the_kernel_does_not_keep_prove_nothing() {
        let mut scene = Scene::new();
        scene.tree.set(scene.ctrl, "nvme0c0n1/queue/iostats", "0");
        let blocks = Blocks::new(&scene.tree.roots());
        let namespace = blocks.namespaces(0).unwrap().remove(0);
        let ask = |scene: &mut Scene| scene.writes.recently(scene.start, &blocks, scene.ctrl, &namespace);
        assert!(ask(&mut scene).unwrap_err().to_string().contains("nvme0c0n1/queue/iostats is 0"));
        scene.tree.unset(scene.ctrl, "nvme0c0n1/stat");
        scene.tree.set(scene.ctrl, "nvme0c0n1/queue/iostats", "1");
        assert!(ask(&mut scene).unwrap_err().to_string().contains("stat"));
    }
}
