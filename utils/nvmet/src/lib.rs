//! Drives the Linux kernel's NVMe-oF target (nvmet): makes in configfs what a TOML file asks for, and takes away what
//! it made.
//!
//! A [`wanted::Wanted`] configuration and an [`observed::Observed`] kernel become a [`plan::Plan`], which is pure; an
//! [`execute::Executor`] carries the plan out; a [`record::Record`] remembers what is ours.
//!
//! | module | role |
//! |---|---|
//! | [`config`], [`wanted`] | the TOML file, and what it asks for |
//! | [`observed`], [`place`] | what is there, and where |
//! | [`plan`], [`step`], [`module`] | what is to be done, in which order |
//! | [`execute`], [`record`] | doing it, and remembering it |
//! | [`listing`] | `nvmet ls` |
//! | [`arguments`], [`command`] | the command line, and its commands, made of the above |
//! | [`dhchap`], [`identity`] | keys that are never shown, names that never change |

pub mod arguments;
pub mod command;
pub mod config;
pub mod dhchap;
pub mod execute;
pub mod identity;
pub mod listing;
pub mod module;
pub mod observed;
pub mod place;
pub mod plan;
pub mod record;
pub mod step;
pub mod wanted;
