//! The rules: which steps the kernel refuses in which state.

use std::path::Path;

use nvmet::actual::Actual;
use nvmet::module::Module;
use nvmet::step::{Item, Link, Step};

type Verdict = Result<(), &'static str>;

fn must(holds: bool, rule: &'static str) -> Verdict {
    if holds { Ok(()) } else { Err(rule) }
}

/// Returns the rule that a step violates.
pub(crate) fn check(seen: &Actual, step: &Step) -> Verdict {
    match step {
        Step::Load(module, _) => must(!seen.modules.contains(module), "a loaded module takes no parameters"),
        Step::Unload(module) => must(seen.modules.contains(module), "only a loaded module is unloaded"),
        Step::Make(item) => make(seen, item),
        Step::Remove(item) => {
            must(exists(seen, item), "what is removed exists")?;
            remove(seen, item)
        }
        Step::Set(item, attribute, value) => {
            must(exists(seen, item), "what is written to exists")?;
            set(seen, item, attribute, matches!(value, nvmet::step::Value::Plain(text) if text == "1"))
        }
        Step::Protect(item, _) => must(exists(seen, item), "what is protected exists"),
        Step::Link(link) => {
            must(!linked(seen, link), "a link is made once")?;
            must(exists(seen, &link.target()), "what is linked to exists")?;
            make_link(seen, link)
        }
        Step::Unlink(link) => must(linked(seen, link), "a link that is removed exists"),
    }
}

/// True if the module is used and cannot be unloaded.
pub(crate) fn in_use(seen: &Actual, module: Module) -> bool {
    let any_item = !(seen.ports.is_empty() && seen.subsystems.is_empty() && seen.hosts.is_empty());
    let transports = [Module::NvmetTcp, Module::NvmetRdma, Module::NvmetFc, Module::NvmeLoop];
    match module {
        Module::Nvmet => any_item || transports.iter().any(|transport| seen.modules.contains(transport)),
        Module::NullBlk => !seen.null_blk.is_empty(),
        Module::Brd => uses(seen, |device| device.starts_with("/dev/ram")),
        transport => seen.ports.values().any(|port| {
            let kind = port.attributes.get("addr_trtype").and_then(|kind| kind.parse().ok());
            !port.exports.is_empty() && kind.map(Module::of_transport) == Some(transport)
        }),
    }
}

fn make(seen: &Actual, item: &Item) -> Verdict {
    must(!exists(seen, item), "what is made is not there")?;
    match item {
        Item::NullBlk(_) => must(seen.modules.contains(&Module::NullBlk), "null_blk is loaded"),
        Item::Referral(port, _) => must(seen.ports.contains_key(port), "a referral has a port"),
        Item::Namespace(nqn, _) => must(seen.subsystems.contains_key(nqn), "a namespace has a subsystem"),
        Item::Port(_) | Item::Subsystem(_) | Item::Host(_) => {
            must(seen.modules.contains(&Module::Nvmet), "nvmet is loaded")
        }
    }
}

fn remove(seen: &Actual, item: &Item) -> Verdict {
    match item {
        Item::Port(id) => {
            let empty = |port: &nvmet::actual::Port| port.exports.is_empty() && port.referrals.is_empty();
            must(seen.ports.get(id).is_some_and(empty), "a port that is removed exports and refers to nothing")
        }
        Item::Subsystem(nqn) => {
            let empty = |it: &nvmet::actual::Subsystem| it.namespaces.is_empty() && it.hosts.is_empty();
            must(seen.subsystems.get(nqn).is_some_and(empty), "a subsystem that is removed is empty")?;
            must(
                !seen.ports.values().any(|port| port.exports.contains(nqn)),
                "a subsystem that is removed is not exported",
            )
        }
        Item::Host(nqn) => {
            must(!seen.subsystems.values().any(|it| it.hosts.contains(nqn)), "a host that is removed is let in nowhere")
        }
        Item::NullBlk(name) => {
            let path = nvmet::desired::null_blk_device(name);
            must(!uses(seen, |device| device == path), "a device that is removed is not exported")
        }
        Item::Namespace(nqn, nsid) => must(!enabled(seen, nqn, *nsid), "a namespace is disabled before it is removed"),
        Item::Referral(..) => Ok(()),
    }
}

fn set(seen: &Actual, item: &Item, attribute: &str, on: bool) -> Verdict {
    match item {
        Item::Port(id) => {
            must(seen.ports.get(id).is_some_and(|port| port.exports.is_empty()), "a port that listens takes no address")
        }
        Item::Referral(port, name) if attribute != "enable" => {
            let off = seen.ports.get(port).and_then(|port| port.referrals.get(name)).is_some_and(|it| !it.enabled);
            must(off, "an enabled referral takes no address")
        }
        Item::Subsystem(nqn) if on => {
            let nobody = seen.subsystems.get(nqn).is_some_and(|it| it.hosts.is_empty());
            must(nobody, "any host and hosts by name exclude each other")
        }
        Item::Namespace(nqn, nsid) if attribute != "enable" => {
            must(!enabled(seen, nqn, *nsid), "an enabled namespace takes no attribute")
        }
        Item::Namespace(nqn, nsid) if on => {
            let namespace = seen.subsystems.get(nqn).and_then(|it| it.namespaces.get(nsid));
            let device = namespace.and_then(|it| it.device.as_deref());
            must(device.is_some_and(|device| is_there(seen, device)), "the device of a namespace is there")
        }
        Item::NullBlk(name) if attribute != "power" => must(
            seen.null_blk.get(name).is_some_and(|it| !it.powered),
            "a device takes properties before it is powered",
        ),
        _ => Ok(()),
    }
}

fn make_link(seen: &Actual, link: &Link) -> Verdict {
    match link {
        Link::Admission { nqn, .. } => must(
            seen.subsystems.get(nqn).is_some_and(|it| !it.any_host),
            "any host and hosts by name exclude each other",
        ),
        Link::Export { port, .. } => {
            let attributes = seen.ports.get(port).map(|it| &it.attributes).ok_or("a link hangs on a port")?;
            let kind =
                attributes.get("addr_trtype").and_then(|kind| kind.parse().ok()).ok_or("a port has a transport")?;
            must(seen.modules.contains(&Module::of_transport(kind)), "the transport's module is loaded")?;
            let mut listening = seen.ports.iter().filter(|(id, it)| *id != port && !it.exports.is_empty());
            must(!listening.any(|(_, it)| &it.attributes == attributes), "an address is listened at once")
        }
    }
}

fn exists(seen: &Actual, item: &Item) -> bool {
    match item {
        Item::Port(id) => seen.ports.contains_key(id),
        Item::Referral(port, name) => seen.ports.get(port).is_some_and(|it| it.referrals.contains_key(name)),
        Item::Subsystem(nqn) => seen.subsystems.contains_key(nqn),
        Item::Namespace(nqn, nsid) => seen.subsystems.get(nqn).is_some_and(|it| it.namespaces.contains_key(nsid)),
        Item::Host(nqn) => seen.hosts.contains_key(nqn),
        Item::NullBlk(name) => seen.null_blk.contains_key(name),
    }
}

fn linked(seen: &Actual, link: &Link) -> bool {
    match link {
        Link::Export { port, nqn } => seen.ports.get(port).is_some_and(|it| it.exports.contains(nqn)),
        Link::Admission { nqn, host } => seen.subsystems.get(nqn).is_some_and(|it| it.hosts.contains(host)),
    }
}

fn enabled(seen: &Actual, nqn: &str, nsid: u32) -> bool {
    seen.subsystems.get(nqn).and_then(|it| it.namespaces.get(&nsid)).is_some_and(|it| it.enabled)
}

fn uses(seen: &Actual, which: impl Fn(&Path) -> bool) -> bool {
    let namespaces = seen.subsystems.values().flat_map(|it| it.namespaces.values());
    namespaces.filter(|it| it.enabled).filter_map(|it| it.device.as_deref()).any(which)
}

fn is_there(seen: &Actual, device: &Path) -> bool {
    let name = device.to_str().and_then(|path| path.strip_prefix("/dev/")).unwrap_or_default();
    let ram = name.strip_prefix("ram").and_then(|number| number.parse().ok());
    seen.null_blk.get(name).is_some_and(|it| it.powered)
        || ram.is_some_and(|number: u32| seen.ram_disks.contains_key(&number))
        || seen.given.contains_key(device)
}
