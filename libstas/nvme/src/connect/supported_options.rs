//! The options that the kernel takes.

use std::collections::BTreeSet;

/// Which options the running kernel takes in the option string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportedOptions(BTreeSet<String>);

/// Options by the kernel version that introduced them, for kernels that cannot list their options (before 5.17).
const SINCE: [((u32, u32), &[&str]); 5] = [
    (
        (4, 15),
        &[
            "transport",
            "traddr",
            "trsvcid",
            "nqn",
            "queue_size",
            "nr_io_queues",
            "reconnect_delay",
            "ctrl_loss_tmo",
            "keep_alive_tmo",
            "hostnqn",
            "hostid",
            "host_traddr",
            "duplicate_connect",
        ],
    ),
    ((5, 3), &["disable_sqflow", "hdr_digest", "data_digest", "nr_write_queues", "nr_poll_queues", "tos"]),
    ((5, 14), &["host_iface"]),
    ((5, 16), &["discovery"]),
    ((6, 0), &["dhchap_secret", "dhchap_ctrl_secret"]),
];

/// The version (6, 1) of a kernel release as uname reports it (`6.1.0-18-amd64`). A number that cannot be parsed is
/// 0.
#[must_use]
pub fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

impl SupportedOptions {
    /// Reads the list that /dev/nvme-fabrics returns before anything is written to it:
    /// `instance=-1,cntlid=-1,transport=%s,…`.
    ///
    /// `None` if the text is not a list of options. Use [`SupportedOptions::for_kernel`] then.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = |option: &str| option.split('=').next().unwrap_or_default().trim().to_owned();
        let listed = Self(text.split(',').map(name).filter(|name| !name.is_empty()).collect());
        ["transport", "nqn"].iter().all(|option| listed.has(option)).then_some(listed)
    }

    /// The options of this kernel version, as far as they are known without reading the kernel's list.
    #[must_use]
    pub fn for_kernel(major: u32, minor: u32) -> Self {
        let known = SINCE.iter().filter(|(since, _)| (major, minor) >= *since);
        Self(known.flat_map(|(_, options)| options.iter().map(|option| (*option).to_owned())).collect())
    }

    /// As [`SupportedOptions::for_kernel`], for a release as uname reports it (`6.1.0-18-amd64`). A release that cannot
    /// be read is treated as the oldest kernel.
    #[must_use]
    pub fn for_release(release: &str) -> Self {
        let (major, minor) = kernel_version(release);
        Self::for_kernel(major.max(4), if major < 4 { 15 } else { minor })
    }

    /// True if the kernel knows the option.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.0.contains(option)
    }
}
