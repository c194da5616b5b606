//! D-Bus: names, wire types and typed proxies.
//!
//! | module | what it is about |
//! |---|---|
//! | [`contract`] | what stafd publishes and stacd reads |
//! | [`controller_id`] | the seven strings that name a controller, and the dictionaries that describe one |
//! | [`python`] | how Python writes a value: some values of the bus are written so |
//! | [`proxy`] | what a client calls: one typed proxy for each interface |
//! | [`connection`] | reaching the bus, owning a name on it, noticing its loss, knowing who calls |
//!
//! Nothing here decides anything: it translates.

pub mod connection;
pub mod contract;
pub mod controller_id;
pub mod proxy;
pub mod python;

pub use connection::{
    BusError, CALL_TIMEOUT, OwnedName, caller_is_root, next, own_name, require_root, system, system_with_limit,
};
pub use controller_id::{BadControllerId, ControllerId, Dict, key};
pub use proxy::{
    DcRemovedStream, DebugProxy, LogPagesChanged, LogPagesChangedStream, StacProxy, StafProxy, SystemdProxy,
};

/// The well-known name of stafd; also the name of its interface.
pub const STAF_NAME: &str = "org.nvmexpress.staf";
/// Where stafd's object is.
pub const STAF_PATH: &str = "/org/nvmexpress/staf";
/// The well-known name of stacd; also the name of its interface.
pub const STAC_NAME: &str = "org.nvmexpress.stac";
/// Where stacd's object is.
pub const STAC_PATH: &str = "/org/nvmexpress/stac";
