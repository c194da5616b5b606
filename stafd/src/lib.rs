//! stafd, the finder: finds discovery controllers, keeps a connection to each, reads its discovery log page and
//! publishes it.

pub mod api;
pub mod finder;
pub mod shell;
