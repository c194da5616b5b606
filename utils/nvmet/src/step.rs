//! The steps that change the kernel's target, one system call or command each, and their form as shell commands.
//!
//! Planners create them, [`crate::execute`] performs them, `--dry-run` prints them.

use std::fmt;
use std::path::{Path, PathBuf};

use stas_nvme::Secret;

use crate::module::Module;

/// A directory in configfs that the tool creates or removes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// ports/N
    Port(u16),
    /// ports/N/referrals/NAME
    Referral(u16, String),
    /// subsystems/NQN
    Subsystem(String),
    /// subsystems/NQN/namespaces/N
    Namespace(String, u32),
    /// hosts/NQN
    Host(String),
    /// A directory of `null_blk`, which is a block device
    NullBlk(String),
}

impl Item {
    /// Its path below the root of configfs.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Port(id) => format!("nvmet/ports/{id}"),
            Self::Referral(port, name) => format!("nvmet/ports/{port}/referrals/{name}"),
            Self::Subsystem(nqn) => format!("nvmet/subsystems/{nqn}"),
            Self::Namespace(nqn, nsid) => format!("nvmet/subsystems/{nqn}/namespaces/{nsid}"),
            Self::Host(nqn) => format!("nvmet/hosts/{nqn}"),
            Self::NullBlk(name) => format!("nullb/{name}"),
        }
        .into()
    }
}

/// A link in configfs: it exports a subsystem or admits a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// A port exports a subsystem.
    Export {
        /// The number of the port.
        port: u16,
        /// The NQN of the subsystem.
        nqn: String,
    },
    /// A subsystem admits a host.
    Admission {
        /// The NQN of the subsystem.
        nqn: String,
        /// The NQN of the host.
        host: String,
    },
}

impl Link {
    /// The path of the link below the root of configfs.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Export { port, nqn } => format!("nvmet/ports/{port}/subsystems/{nqn}"),
            Self::Admission { nqn, host } => format!("nvmet/subsystems/{nqn}/allowed_hosts/{host}"),
        }
        .into()
    }

    /// The target of the link.
    #[must_use]
    pub fn target(&self) -> Item {
        match self {
            Self::Export { nqn, .. } => Item::Subsystem(nqn.clone()),
            Self::Admission { host, .. } => Item::Host(host.clone()),
        }
    }
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text that anyone may read.
    Plain(String),
    /// A key, which only root may read.
    Key(Secret),
    /// No key: the kernel deletes the present one.
    NoKey,
}

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Load a module with these parameters.
    Load(Module, Vec<String>),
    /// Unload a module, unless it is used.
    Unload(Module),
    /// Create a directory in configfs.
    Make(Item),
    /// Remove a directory in configfs.
    Remove(Item),
    /// Write an attribute of an item.
    Set(Item, &'static str, Value),
    /// Make an attribute readable for root only. The kernel creates all of them readable for everyone.
    Protect(Item, &'static str),
    /// Create a link in configfs.
    Link(Link),
    /// Remove a link in configfs.
    Unlink(Link),
}

impl Step {
    /// Creates a step that writes a plain value.
    #[must_use]
    pub fn set(item: &Item, attribute: &'static str, value: impl fmt::Display) -> Self {
        Self::Set(item.clone(), attribute, Value::Plain(value.to_string()))
    }

    /// The step as a shell command, with configfs mounted at `root`. Keys are shown as `***`.
    #[must_use]
    pub fn shell(&self, root: &Path) -> String {
        let at = |path: PathBuf| quoted(&root.join(path).to_string_lossy());
        match self {
            Self::Load(module, parameters) => {
                let words = [&["modprobe".to_owned(), module.name().to_owned()], parameters.as_slice()].concat();
                words.join(" ")
            }
            Self::Unload(module) => format!("rmmod {}", module.name()),
            Self::Make(item) => format!("mkdir {}", at(item.path())),
            Self::Remove(item) => format!("rmdir {}", at(item.path())),
            Self::Set(item, attribute, value) => format!("{} > {}", printed(value), at(item.path().join(attribute))),
            Self::Protect(item, attribute) => format!("chmod 600 {}", at(item.path().join(attribute))),
            Self::Link(link) => format!("ln -s {} {}", at(link.target().path()), at(link.path())),
            Self::Unlink(link) => format!("rm {}", at(link.path())),
        }
    }
}

fn printed(value: &Value) -> String {
    match value {
        Value::Plain(text) => format!("echo {}", quoted(text)),
        Value::Key(secret) => format!("echo '{secret}'"),
        Value::NoKey => r"printf '\0'".to_owned(),
    }
}

/// Quotes a word for a shell if necessary.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-+=,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(step: &Step) -> String {
        step.shell(Path::new("/sys/kernel/config"))
    }

    #[test]
    fn steps_read_like_a_shell() {
        let port = Item::Port(1);
        assert_eq!(shell(&Step::Make(port.clone())), "mkdir /sys/kernel/config/nvmet/ports/1");
        assert_eq!(
            shell(&Step::set(&port, "addr_traddr", "::")),
            "echo :: > /sys/kernel/config/nvmet/ports/1/addr_traddr"
        );
        let export = Link::Export { port: 1, nqn: "klingons".into() };
        assert_eq!(
            shell(&Step::Link(export)),
            "ln -s /sys/kernel/config/nvmet/subsystems/klingons /sys/kernel/config/nvmet/ports/1/subsystems/klingons"
        );
        assert_eq!(shell(&Step::Load(Module::NullBlk, vec!["nr_devices=0".into()])), "modprobe null_blk nr_devices=0");
    }

    #[test]
    fn a_key_is_never_in_the_line() {
        let host = Item::Host("nqn.2014-08.org.example:h".into());
        let step = Step::Set(host, "dhchap_key", Value::Key(Secret::new("DHHC-1:00:secret:")));
        assert!(shell(&step).starts_with("echo '***' > "));
        assert!(!format!("{step:?}").contains("secret:"));
    }

    #[test]
    fn odd_words_are_quoted() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("$(reboot)"), "'$(reboot)'");
    }
}
