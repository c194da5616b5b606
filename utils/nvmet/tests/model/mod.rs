//! A model of the kernel: it performs a step, or returns the rule of configfs that the step violates.
//!
//! The rules are those of drivers/nvme/target/configfs.c and drivers/block/null_blk/main.c, sometimes stricter.

mod rules;
pub(crate) mod worlds;

use nvmet::actual::{Actual, Host, Key, Namespace, NullBlk, Port, RamDisk, Referral, Subsystem};
use nvmet::identity::Identifier;
use nvmet::module::Module;
use nvmet::step::{Item, Link, Step, Value};

/// The modelled kernel and its visible state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) seen: Actual,
}

/// The rule that a step violates.
pub(crate) type Broken = String;

impl Model {
    /// Performs one step.
    pub(crate) fn apply(&mut self, step: &Step) -> Result<(), Broken> {
        rules::check(&self.seen, step).map_err(|rule| format!("{rule}: {step:?}"))?;
        match step {
            Step::Load(module, parameters) => self.load(*module, parameters),
            Step::Unload(module) => self.unload(*module),
            Step::Make(item) => self.make(item),
            Step::Remove(item) => self.remove(item),
            Step::Set(item, attribute, value) => self.set(item, attribute, value)?,
            Step::Protect(..) => {}
            Step::Link(link) => self.link(link, true),
            Step::Unlink(link) => self.link(link, false),
        }
        Ok(())
    }

    fn load(&mut self, module: Module, parameters: &[String]) {
        self.seen.modules.insert(module);
        if module == Module::Brd {
            let value = |name| parameters.iter().find_map(|word| word.strip_prefix(name)?.parse().ok()).unwrap_or(0);
            let disk = RamDisk { size_mib: value("rd_size=") / 1024, in_use: false };
            self.seen.ram_disks = (0..value("rd_nr=")).map(|number| (number, disk.clone())).collect();
        }
    }

    /// A used module stays loaded, as with the real executor.
    fn unload(&mut self, module: Module) {
        if !rules::in_use(&self.seen, module) {
            self.seen.modules.remove(&module);
            if module == Module::Brd {
                self.seen.ram_disks.clear();
            }
        }
    }

    fn make(&mut self, item: &Item) {
        match item {
            Item::Port(id) => drop(self.seen.ports.insert(*id, Port::default())),
            Item::Subsystem(nqn) => drop(self.seen.subsystems.insert(nqn.clone(), Subsystem::default())),
            Item::Host(nqn) => drop(self.seen.hosts.insert(nqn.clone(), Host::default())),
            Item::NullBlk(name) => drop(self.seen.null_blk.insert(name.clone(), NullBlk::default())),
            Item::Referral(port, name) => {
                let mut referral = Referral::default();
                referral.attributes.insert("addr_portid".to_owned(), "0".to_owned());
                self.port(*port).referrals.insert(name.clone(), referral);
            }
            Item::Namespace(nqn, nsid) => {
                let random = Identifier::derived("drawn by the kernel", *nsid);
                let fresh = Namespace { uuid: Some(random), ..Namespace::default() };
                self.subsystem(nqn).namespaces.insert(*nsid, fresh);
            }
        }
    }

    fn remove(&mut self, item: &Item) {
        match item {
            Item::Port(id) => drop(self.seen.ports.remove(id)),
            Item::Subsystem(nqn) => drop(self.seen.subsystems.remove(nqn)),
            Item::Host(nqn) => drop(self.seen.hosts.remove(nqn)),
            Item::NullBlk(name) => drop(self.seen.null_blk.remove(name)),
            Item::Referral(port, name) => drop(self.port(*port).referrals.remove(name)),
            Item::Namespace(nqn, nsid) => drop(self.subsystem(nqn).namespaces.remove(nsid)),
        }
    }

    fn set(&mut self, item: &Item, attribute: &str, value: &Value) -> Result<(), Broken> {
        let text = match value {
            Value::Plain(text) => text.clone(),
            Value::Key(_) | Value::NoKey => String::new(),
        };
        let key = match value {
            Value::Key(secret) => Key::Set(secret.clone()),
            Value::Plain(_) | Value::NoKey => Key::Unset,
        };
        let on = text == "1";
        match (item, attribute) {
            (Item::Port(id), _) => drop(self.port(*id).attributes.insert(attribute.to_owned(), text)),
            (Item::Referral(port, name), "enable") => self.referral(*port, name).enabled = on,
            (Item::Referral(port, name), _) => {
                self.referral(*port, name).attributes.insert(attribute.to_owned(), text);
            }
            (Item::Subsystem(nqn), "attr_allow_any_host") => self.subsystem(nqn).any_host = on,
            (Item::Namespace(nqn, nsid), "enable") => self.namespace(nqn, *nsid).enabled = on,
            (Item::Namespace(nqn, nsid), "device_path") => self.namespace(nqn, *nsid).device = Some(text.into()),
            (Item::Namespace(nqn, nsid), "device_uuid") => self.namespace(nqn, *nsid).uuid = Identifier::parse(&text),
            (Item::Namespace(nqn, nsid), "device_nguid") => {
                self.namespace(nqn, *nsid).nguid = Identifier::parse(&text).filter(|nguid| !nguid.is_zero());
            }
            (Item::Host(nqn), "dhchap_key") => self.host(nqn).dhchap_key = key,
            (Item::Host(nqn), "dhchap_ctrl_key") => self.host(nqn).dhchap_ctrl_key = key,
            (Item::Host(nqn), _) => drop(self.host(nqn).settings.insert(attribute.to_owned(), text)),
            (Item::NullBlk(name), "size") => self.null_blk(name).size_mib = text.parse().unwrap(),
            (Item::NullBlk(name), "memory_backed") => self.null_blk(name).memory_backed = on,
            (Item::NullBlk(name), "power") => self.null_blk(name).powered = on,
            (item, attribute) => return Err(format!("{item:?} has no attribute {attribute}")),
        }
        Ok(())
    }

    fn link(&mut self, link: &Link, linked: bool) {
        let (set, name) = match link {
            Link::Export { port, nqn } => (&mut self.port(*port).exports, nqn),
            Link::Admission { nqn, host } => (&mut self.subsystem(nqn).hosts, host),
        };
        if linked {
            set.insert(name.clone())
        } else {
            set.remove(name)
        };
    }

    fn port(&mut self, id: u16) -> &mut Port {
        self.seen.ports.get_mut(&id).unwrap()
    }

    fn referral(&mut self, port: u16, name: &str) -> &mut Referral {
        self.port(port).referrals.get_mut(name).unwrap()
    }

    fn subsystem(&mut self, nqn: &str) -> &mut Subsystem {
        self.seen.subsystems.get_mut(nqn).unwrap()
    }

    fn namespace(&mut self, nqn: &str, nsid: u32) -> &mut Namespace {
        self.subsystem(nqn).namespaces.get_mut(&nsid).unwrap()
    }

    fn host(&mut self, nqn: &str) -> &mut Host {
        self.seen.hosts.get_mut(nqn).unwrap()
    }

    fn null_blk(&mut self, name: &str) -> &mut NullBlk {
        self.seen.null_blk.get_mut(name).unwrap()
    }
}
