//! Drives the Linux kernel's NVMe-oF target (nvmet): creates in configfs what a TOML file describes, and removes what
//! it created.
//!
//! A [`plan::Plan`] is computed from a [`desired::Desired`] configuration and the [`actual::Actual`] state of the
//! kernel, without I/O. An [`execute::Executor`] performs the plan. A [`record::Record`] stores what we created.
//!
//! | module | role |
//! |---|---|
//! | [`config`], [`desired`] | the TOML file, and the target that it describes |
//! | [`actual`], [`paths`] | the present state, and its location |
//! | [`plan`], [`step`], [`module`] | the steps to be performed, in order |
//! | [`execute`], [`record`] | performing and recording the steps |
//! | [`listing`] | `nvmet ls` |
//! | [`arguments`], [`command`] | the command line, and its commands |
//! | [`dhchap`], [`identity`] | keys that are never shown, names that never change |

pub mod actual;
pub mod arguments;
pub mod command;
pub mod config;
pub mod desired;
pub mod dhchap;
pub mod execute;
pub mod identity;
pub mod listing;
pub mod module;
pub mod paths;
pub mod plan;
pub mod record;
pub mod step;
