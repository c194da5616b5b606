//! The kernel modules that the tool may load and unload.

use serde::{Deserialize, Serialize};
use stas_nvme::Transport;

/// A kernel module. Modules are loaded in this order and unloaded in reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Module {
    /// The target core.
    Nvmet,
    /// NVMe/TCP ports of the target.
    NvmetTcp,
    /// NVMe/RDMA ports of the target.
    NvmetRdma,
    /// Fibre Channel ports of the target.
    NvmetFc,
    /// Ports within this machine: host and target in one module.
    NvmeLoop,
    /// RAM disks for namespaces.
    Brd,
    /// Test block devices.
    NullBlk,
}

impl Module {
    /// All modules, in the order of loading.
    pub const ALL: [Self; 7] =
        [Self::Nvmet, Self::NvmetTcp, Self::NvmetRdma, Self::NvmetFc, Self::NvmeLoop, Self::Brd, Self::NullBlk];

    /// The module for ports of a transport.
    #[must_use]
    pub fn of_transport(transport: Transport) -> Self {
        match transport {
            Transport::Tcp => Self::NvmetTcp,
            Transport::Rdma => Self::NvmetRdma,
            Transport::Fc => Self::NvmetFc,
            Transport::Loop => Self::NvmeLoop,
        }
    }

    /// Its name for `modprobe`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nvmet => "nvmet",
            Self::NvmetTcp => "nvmet-tcp",
            Self::NvmetRdma => "nvmet-rdma",
            Self::NvmetFc => "nvmet-fc",
            Self::NvmeLoop => "nvme-loop",
            Self::Brd => "brd",
            Self::NullBlk => "null_blk",
        }
    }

    /// Its name in /sys/module.
    #[must_use]
    pub fn sysfs_name(self) -> String {
        self.name().replace('-', "_")
    }

    /// The kernel build option that enables it.
    #[must_use]
    pub fn build_option(self) -> &'static str {
        match self {
            Self::Nvmet => "CONFIG_NVME_TARGET",
            Self::NvmetTcp => "CONFIG_NVME_TARGET_TCP",
            Self::NvmetRdma => "CONFIG_NVME_TARGET_RDMA",
            Self::NvmetFc => "CONFIG_NVME_TARGET_FC",
            Self::NvmeLoop => "CONFIG_NVME_TARGET_LOOP",
            Self::Brd => "CONFIG_BLK_DEV_RAM",
            Self::NullBlk => "CONFIG_BLK_DEV_NULL_BLK",
        }
    }
}
