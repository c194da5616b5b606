//! The code that the daemons and tools share, under one name. Each module is a crate, whose Cargo.toml states its
//! dependencies.
//!
//! | module | crate | what it is about | depends on |
//! |---|---|---|---|
//! | [`nvme`] | stas-nvme | values and wire formats of NVMe-oF, pure | nothing |
//! | [`conf`] | stas-core | configuration files to typed settings, pure | nvme |
//! | [`core`] | stas-core | the decisions that both daemons share: pure state machines | conf, nvme |
//! | [`net`] | stas-net | the process without privileges for mDNS, names and probes, and the client of it | core, nvme |
//! | [`linux`] | stas-linux | Linux: the kernel's NVMe host, network interfaces | core, net, nvme |
//! | [`bus`] | stas-bus | D-Bus names, the contract between the daemons, proxies | core, nvme |
//! | [`daemon`] | stas-daemon | the shell that both daemons share | all of the above |
//!
//! The code that the commands share is in the crate stas-cli. It is not re-exported: no daemon depends on it.

pub use stas_bus as bus;
pub use stas_core as core;
pub use stas_core::conf;
pub use stas_daemon as daemon;
pub use stas_linux as linux;
pub use stas_net as net;
pub use stas_nvme as nvme;
