//! The options that the kernel takes.

use std::collections::BTreeSet;

/// Which options the running kernel takes in the option string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportedOptions(BTreeSet<String>);

/// What a kernel takes that cannot list it (before 5.17), from which version on.
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

impl SupportedOptions {
    /// Reads what /dev/nvme-fabrics answers before anything is written to it: `instance=-1,cntlid=-1,transport=%s,…`.
    ///
    /// `None` if that is no list of options; the kernel's version tells then ([`SupportedOptions::for_kernel`]).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = |option: &str| option.split('=').next().unwrap_or_default().trim().to_owned();
        let listed = Self(text.split(',').map(name).filter(|name| !name.is_empty()).collect());
        ["transport", "nqn"].iter().all(|option| listed.has(option)).then_some(listed)
    }

    /// What a kernel of that version takes, as far as it is known without asking it.
    #[must_use]
    pub fn for_kernel(major: u32, minor: u32) -> Self {
        let known = SINCE.iter().filter(|(since, _)| (major, minor) >= *since);
        Self(known.flat_map(|(_, options)| options.iter().map(|option| (*option).to_owned())).collect())
    }

    /// As [`SupportedOptions::for_kernel`], from the release that uname tells (`6.1.0-18-amd64`). A release that
    /// cannot be read is taken for the oldest.
    #[must_use]
    pub fn for_release(release: &str) -> Self {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
        let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Self::for_kernel(major.max(4), if major < 4 { 15 } else { minor })
    }

    /// True if the kernel takes that option.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.0.contains(option)
    }
}
