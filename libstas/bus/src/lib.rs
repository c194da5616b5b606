//! D-Bus: names, wire types and typed proxies.
//!
//! | module | what it is about |
//! |---|---|
//! | [`contract`] | what stafd publishes and stacd reads |
//! | [`controller_id`] | the seven strings that name a controller, and the dictionaries that describe one |
//! | [`python`] | formats values as Python does: some values of the bus have this form |
//! | [`events`] | the signals of a daemon about its controllers |
//! | [`metrics`] | the metrics of a daemon |
//! | [`proxy`] | typed client proxies, one for each interface |
//! | [`callers`] | limits the time that a daemon spends on the calls of unprivileged users |
//! | `bounded` | a socket to the bus through which other users cannot harm this process |
//! | [`connection`] | connects to the bus, owns a name, notices its loss, identifies callers |
//!
//! This module only translates. It makes no decisions.

mod bounded;
pub mod callers;
pub mod connection;
pub mod contract;
pub mod controller_id;
pub mod events;
pub mod metrics;
pub mod proxy;
pub mod python;

pub use callers::Callers;
pub use connection::{
    BusError, CALL_TIMEOUT, OwnedName, caller_uid, for_root, next, own_name, public, public_at, require_root, system,
};
pub use controller_id::{BadControllerId, ControllerId, Dict, key};
pub use events::{ControllerEvent, ControllerEvents};
pub use proxy::{
    DcRemovedStream, DebugProxy, LogPagesChanged, LogPagesChangedStream, StacProxy, StafProxy, SystemdProxy,
};

/// The well-known name of stafd; also the name of its interface.
pub const STAF_NAME: &str = "org.nvmexpress.staf";
/// The name of stafd on a second connection, which only root may call: stacd and the tools of root. The calls of other
/// users do not delay those there: the bus delivers all calls of one connection in order.
pub const STAF_ROOT_NAME: &str = "org.nvmexpress.staf.root";
/// Path of stafd's object.
pub const STAF_PATH: &str = "/org/nvmexpress/staf";
/// The well-known name of stacd; also the name of its interface.
pub const STAC_NAME: &str = "org.nvmexpress.stac";
/// The name of stacd's second connection, on which it calls stafd, and which the tools of root call. The bus refuses what
/// other users send to a connection with this name.
pub const STAC_ROOT_NAME: &str = "org.nvmexpress.stac.root";
/// Path of stacd's object.
pub const STAC_PATH: &str = "/org/nvmexpress/stac";
