//! The file as written: tables and keys, each value with its position. Only the types are checked here.

use serde::Deserialize;
use stas_nvme::Transport;
use toml::Spanned;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) storage: StorageKind,
    #[serde(default)]
    pub(super) brd: Brd,
    #[serde(default)]
    pub(super) null_blk: NullBlk,
    #[serde(default)]
    pub(super) host: Vec<Host>,
    #[serde(default)]
    pub(super) port: Vec<Port>,
    #[serde(default)]
    pub(super) subsystem: Vec<Subsystem>,
}

/// The kind of storage of namespaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StorageKind {
    Brd,
    #[default]
    NullBlk,
}

/// The table `[brd]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Brd {
    pub(super) size_mib: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) use_existing: bool,
}

/// The table `[null_blk]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NullBlk {
    pub(super) size_mib: Option<Spanned<u32>>,
    pub(super) memory_backed: Option<Spanned<bool>>,
    pub(super) shared: Option<Spanned<bool>>,
}

/// A table `[[host]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Host {
    pub(super) nqn: Spanned<String>,
    pub(super) dhchap_key: Option<Spanned<String>>,
    pub(super) dhchap_ctrl_key: Option<Spanned<String>>,
    pub(super) dhchap_hash: Option<Spanned<String>>,
    pub(super) dhchap_dhgroup: Option<Spanned<String>>,
}

/// A table `[[port]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Port {
    pub(super) id: Spanned<u16>,
    pub(super) transport: Spanned<Transport>,
    pub(super) traddr: Option<Spanned<String>>,
    pub(super) trsvcid: Option<Spanned<u16>>,
    #[serde(default)]
    pub(super) referral: Vec<Referral>,
}

/// A table `[[port.referral]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Referral {
    pub(super) name: Spanned<String>,
    pub(super) transport: Spanned<Transport>,
    pub(super) traddr: Option<Spanned<String>>,
    pub(super) trsvcid: Option<Spanned<u16>>,
    pub(super) port_id: Option<u16>,
}

/// A table `[[subsystem]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subsystem {
    pub(super) nqn: Spanned<String>,
    pub(super) count: Option<Spanned<u32>>,
    pub(super) namespaces: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) namespace: Vec<Namespace>,
    pub(super) storage: Option<StorageKind>,
    pub(super) ports: Option<Spanned<Vec<Spanned<u16>>>>,
    pub(super) allowed_hosts: Option<Vec<Spanned<String>>>,
}

/// A table `[[subsystem.namespace]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Namespace {
    pub(super) id: Option<Spanned<u32>>,
    pub(super) storage: Option<StorageKind>,
    pub(super) size_mib: Option<Spanned<u32>>,
    pub(super) device: Option<Spanned<String>>,
    pub(super) uuid: Option<Spanned<String>>,
    pub(super) nguid: Option<Spanned<String>>,
}
