//! The cached data of one fabrics controller, and how they are refreshed by each snapshot.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::Roots;
use super::directory::{ControllerDir, unless_gone};
use stas_core::{CtrlState, CtrlType, Dctype, KernelController, Owner};
use stas_nvme::Transport;
use stas_nvme::connect::kernel_version;
use stas_nvme::sysfs_address::SysfsAddress;

/// Cached data of one fabrics controller.
#[derive(Debug)]
pub(super) struct ClassEntry {
    /// Shared with snapshots. Changes are made in a copy.
    controller: Arc<KernelController>,
    /// Kept open: reading the state takes one system call and cannot read another controller's state. The units allow
    /// for enough descriptors (LimitNOFILE).
    state: File,
    /// True if all identifying attributes were present when they were read.
    complete: bool,
    /// True if the source address may have changed since it was read.
    address_is_old: bool,
    /// See [`tls_key_proves_tls`].
    tls_key_proves_tls: bool,
}

/// True if this kernel has the attribute `tls_key` for encrypted connections only (6.12 and later). Kernels 6.7 to 6.11
/// have it for every NVMe/TCP controller; it is empty if the connection is not encrypted, and while it is down.
pub(super) fn tls_key_proves_tls(roots: &Roots) -> bool {
    let release = fs::read_to_string(roots.proc.join("sys/kernel/osrelease")).unwrap_or_default();
    kernel_version(&release) >= (6, 12)
}

impl ClassEntry {
    /// Reads all data. `None` if the controller no longer exists.
    pub(super) fn read(
        dir: &ControllerDir,
        transport: Transport,
        tls_key_proves_tls: bool,
    ) -> io::Result<Option<Self>> {
        let Some(state) = dir.open_attribute("state")? else { return Ok(None) };
        let controller = Arc::new(KernelController::unread(dir.ctrl(), transport));
        let mut entry = Self { controller, state, complete: false, address_is_old: false, tls_key_proves_tls };
        let Some(state) = entry.read_state()? else { return Ok(None) };
        entry.set_state(state);
        Ok(entry.identify(dir)?.then_some(entry))
    }

    /// Reads the data that may have changed. False if the controller no longer exists.
    pub(super) fn refresh(&mut self, roots: &Roots, reconnected: bool) -> io::Result<bool> {
        let Some(state) = self.read_state()? else { return Ok(false) };
        let came_up = state == CtrlState::Live && !self.controller.is_live();
        self.set_state(state);
        self.address_is_old |= came_up || reconnected;
        let readdress = self.address_is_old && self.controller.is_live();
        if self.complete && !readdress {
            return Ok(true);
        }
        let Some(dir) = ControllerDir::open(roots, self.controller.ctrl)? else { return Ok(false) };
        if self.complete { self.address(&dir) } else { self.identify(&dir) }
    }

    /// True if the controller is live and all its data are known.
    pub(super) fn is_settled(&self) -> bool {
        self.complete && !self.address_is_old && self.controller.is_live()
    }

    pub(super) fn controller(&self) -> Arc<KernelController> {
        Arc::clone(&self.controller)
    }

    /// Sets the owner that the registry now records.
    pub(super) fn set_owner(&mut self, owner: Owner) {
        if self.controller.owner != owner {
            Arc::make_mut(&mut self.controller).owner = owner;
        }
    }

    /// Sets whether this host runs from it.
    pub(super) fn set_carries_system(&mut self, carries_system: bool) {
        if self.controller.carries_system != carries_system {
            Arc::make_mut(&mut self.controller).carries_system = carries_system;
        }
    }

    fn set_state(&mut self, state: CtrlState) {
        if self.controller.state != state {
            Arc::make_mut(&mut self.controller).state = state;
        }
    }

    /// Reads the state. `None` if the controller no longer exists.
    fn read_state(&self) -> io::Result<Option<CtrlState>> {
        let mut text = [0; 64];
        let length = unless_gone(self.state.read_at(&mut text, 0))?;
        Ok(length.and_then(|length| text.get(..length)).map(|text| CtrlState::parse(&String::from_utf8_lossy(text))))
    }

    /// Reads the identifying attributes. The kernel fills them in during the first connect; they are complete once the
    /// state has been live. False if the controller no longer exists: its attributes are removed first.
    fn identify(&mut self, dir: &ControllerDir) -> io::Result<bool> {
        let read = |name| dir.read(name).map(Option::unwrap_or_default);
        let cntrltype = dir.read("cntrltype")?;
        let c = Arc::make_mut(&mut self.controller);
        c.cntrltype = cntrltype.as_deref().map_or(CtrlType::Unknown, CtrlType::from_word);
        c.dctype = Dctype::from_word(&read("dctype")?);
        let Some(subsysnqn) = dir.read("subsysnqn")? else { return Ok(false) };
        c.subsysnqn = subsysnqn;
        c.hostnqn = read("hostnqn")?;
        c.hostid = read("hostid")?;
        let key = dir.read("tls_key")?;
        c.kato = read("kato")?.parse().ok();
        c.model = read("model")?;
        c.serial = read("serial")?;
        let has_type = cntrltype.is_none() || c.cntrltype != CtrlType::Unknown;
        let is_known = has_type && !c.subsysnqn.is_empty() && !c.model.is_empty();
        // Read after the key: the kernel forgets the key when the connection is lost.
        let is_live = self.controller.is_live() && self.read_state()? == Some(CtrlState::Live);
        let encrypted = self.is_encrypted(key.as_deref(), is_live);
        Arc::make_mut(&mut self.controller).encrypted = encrypted;
        self.complete = is_live || (is_known && encrypted.is_some());
        self.address(dir)
    }

    /// Whether the connection is encrypted, by the attribute `tls_key`. Kernels before 6.7 have neither TLS nor the
    /// attribute, unless the distribution has added both.
    fn is_encrypted(&self, key: Option<&str>, is_live: bool) -> Option<bool> {
        match key {
            None => Some(false),
            Some("") if self.tls_key_proves_tls => Some(true),
            Some("") if is_live => Some(false),
            Some("") => self.controller.encrypted,
            Some(_) => Some(true),
        }
    }

    /// Reads the addresses. False if the controller no longer exists.
    fn address(&mut self, dir: &ControllerDir) -> io::Result<bool> {
        let c = Arc::make_mut(&mut self.controller);
        let Some(address) = dir.read("address")? else { return Ok(false) };
        let address = SysfsAddress::parse(&address, c.transport);
        self.address_is_old &= !c.is_live();
        c.traddr = address.traddr;
        c.trsvcid = address.trsvcid;
        c.host_traddr = address.host_traddr;
        c.host_iface = address.host_iface;
        // Only present while the admin queue is live.
        c.src_addr = address.src_addr.or(c.src_addr);
        Ok(true)
    }
}
