//! Checks what a configuration needs from the host: host names, interfaces, options of the kernel, the registry.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Mutex;

use libstas::core::configured::Review;
use libstas::core::{Links, ResolveError};
use libstas::linux::Roots;
use libstas::linux::fabrics::Fabrics;
use libstas::linux::links::{Change, Watch};
use libstas::net::names::resolve;
use libstas::nvme::connect::{OptionError, SupportedOptions, option_string};
use libstas::nvme::tid::{parse_ip, parse_link_local};
use libstas::nvme::{HostIdentity, Tid};
use nix::unistd::{AccessFlags, access};

use super::files::OwnFile;
use super::finding::{Finding, FindingLevel};

/// Maximum number of look-ups at the same time.
const LOOKUPS: usize = 16;

/// The answers to look-ups.
pub(super) type Addresses = BTreeMap<String, Result<Vec<IpAddr>, ResolveError>>;

/// What is known of the host.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// The options that the kernel takes; `None` if that is not known.
    pub(super) supported: Option<SupportedOptions>,
    /// The network interfaces; `None` if they are not known.
    pub(super) links: Option<Links>,
}

impl Host {
    /// Reads what this host supports. Adds a finding for everything that cannot be read.
    pub(super) fn look(roots: &Roots, findings: &mut Vec<Finding>) -> Self {
        let supported = match Fabrics::new(roots).supported() {
            Ok(supported) => Some(supported),
            Err(error) => {
                findings.push(no_options(roots, &error));
                None
            }
        };
        let links = match links() {
            Ok(links) => Some(links),
            Err(error) => {
                findings
                    .push(Finding::new(FindingLevel::Note, format!("the network interfaces are not checked: {error}")));
                None
            }
        };
        findings.extend(registry(roots));
        Self { supported, links }
    }

    /// Checks the controllers of one file.
    pub(super) fn check(&self, own: &OwnFile, review: &Review, identity: Option<&HostIdentity>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (tid, (parameters, line)) in &review.controllers {
            let mut warn = |text: String| findings.push(Finding::at(&own.path, *line, text));
            if let Some(links) = &self.links {
                missing_on_host(tid, links).into_iter().for_each(&mut warn);
            }
            let (Some(supported), Some(identity)) = (&self.supported, identity) else { continue };
            match option_string(tid, parameters, identity, own.conf.purpose(), supported) {
                // The parser has complained about these.
                Err(OptionError::Insecure(_) | OptionError::Secret { .. }) => {}
                Err(error) => warn(format!("controller= cannot be connected: {error}")),
                Ok(options) if options.left_out().is_empty() => {}
                Ok(options) => {
                    let options = options.left_out().join(", ");
                    warn(format!("controller= is connected without {options}: this kernel does not take it"));
                }
            }
        }
        findings.sort_by(|a, b| a.text.cmp(&b.text));
        findings.dedup();
        findings
    }
}

/// What the identity of a controller names and the host does not have.
fn missing_on_host(tid: &Tid, links: &Links) -> Vec<String> {
    let mut missing = Vec::new();
    let scope = parse_link_local(&tid.traddr).and_then(|(_, scope)| scope).unwrap_or_default();
    let interfaces: BTreeSet<&str> =
        [tid.host_iface.as_str(), scope].into_iter().filter(|name| !name.is_empty()).collect();
    for name in interfaces {
        let by_number = || links.numbered(name.parse().ok()?);
        match links.named(name).or_else(by_number) {
            None => missing.push(format!("controller= needs the interface {name}, which this host does not have")),
            Some(interface) if !interface.up => {
                missing.push(format!("controller= needs the interface {name}, which is down"))
            }
            Some(_) => {}
        }
    }
    if tid.transport().is_ip()
        && let Some((address, _)) = parse_ip(&tid.host_traddr)
        && links.owner(address).is_none()
    {
        missing.push(format!("controller= connects from {address} (host-traddr), which is no address of this host"));
    }
    missing
}

/// Looks up all names, several at the same time. Blocks as long as the resolver, up to about half a minute for each
/// name.
pub(super) fn look_up(
    names: &BTreeSet<&str>,
    resolve: impl Fn(&str) -> Result<Vec<IpAddr>, ResolveError> + Sync,
) -> Addresses {
    let waiting: Mutex<Vec<&str>> = Mutex::new(names.iter().copied().collect());
    let answers = Mutex::new(Addresses::new());
    let next = || waiting.lock().ok()?.pop();
    std::thread::scope(|scope| {
        for _ in 0..names.len().min(LOOKUPS) {
            scope.spawn(|| {
                while let Some(name) = next() {
                    let answer = resolve(name);
                    if let Ok(mut answers) = answers.lock() {
                        answers.insert(name.to_owned(), answer);
                    }
                }
            });
        }
    });
    answers.into_inner().unwrap_or_default()
}

/// Looks up the names of a file with the resolver of this host.
pub(super) fn addresses(own: &OwnFile) -> Addresses {
    look_up(&Review::names(&own.conf.view()), resolve)
}

/// Warnings about the names in `exclude=`. Those in `controller=` are part of the [`Review`].
pub(super) fn unresolved_exclusions(own: &OwnFile, addresses: &Addresses) -> Vec<Finding> {
    let view = own.conf.view();
    let exclusions = view.exclusions.iter().filter(|exclusion| exclusion.is_name);
    let failed = exclusions.filter_map(|exclusion| {
        let name = exclusion.traddr.as_ref()?;
        let why = addresses.get(name)?.as_ref().err()?;
        let text = format!("exclude= does not exclude the address of {name}, which cannot be resolved: {why}");
        Some(Finding::at(&own.path, exclusion.line, text))
    });
    failed.collect()
}

fn links() -> io::Result<Links> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut watch = Watch::start()?;
        loop {
            if let Change::Links(links) = watch.next().await? {
                return Ok(Links::clone(&links));
            }
        }
    })
}

fn no_options(roots: &Roots, error: &io::Error) -> Finding {
    let device = roots.dev.join("nvme-fabrics");
    let device = device.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            let text = format!("{device} does not exist: nothing can be connected; `modprobe nvme-fabrics` makes it");
            Finding::new(FindingLevel::Warning, text)
        }
        io::ErrorKind::PermissionDenied => {
            let text = format!("the options of the kernel are not checked: {device}: {error}; try again with sudo");
            Finding::new(FindingLevel::Note, text)
        }
        _ => Finding::new(FindingLevel::Warning, format!("the options of the kernel are not known: {device}: {error}")),
    }
}

/// What is wrong with the registry of owners.
fn registry(roots: &Roots) -> Option<Finding> {
    let folder = &roots.registry;
    let place = folder.display();
    if !folder.exists() {
        let text = format!("{place} does not exist: the units of the daemons make it when they start");
        return Some(Finding::new(FindingLevel::Note, text));
    }
    if !folder.is_dir() {
        return Some(Finding::new(
            FindingLevel::Warning,
            format!("{place} is not a folder: other programs cannot see what is ours"),
        ));
    }
    let error = access(folder, AccessFlags::W_OK | AccessFlags::X_OK).err()?;
    let root = nix::unistd::geteuid().is_root();
    let (level, hint) = if root {
        (FindingLevel::Warning, "other programs cannot see what is ours")
    } else {
        (FindingLevel::Note, "only root writes there")
    };
    Some(Finding::new(level, format!("{place} cannot be written: {}; {hint}", error.desc())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use libstas::core::Interface;

    use super::super::files::own_file;
    use super::*;
    use stas_cli::client::Daemon;

    const CONF: &str = "[Controllers]
controller=transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=nqn.a;host-iface=eth0
controller=transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=nqn.a;host-iface=eth1
controller=transport=tcp;traddr=192.0.2.1;trsvcid=4420;nqn=nqn.a;host-iface=eth2;host-traddr=192.0.2.99
controller=transport=tcp;traddr=fe80::1%eth9;trsvcid=4420;nqn=nqn.a
controller=transport=tcp;traddr=array;trsvcid=4420;nqn=nqn.a
exclude=traddr=spare
";

    fn own(text: &str) -> (OwnFile, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stacd.conf");
        fs::write(&path, text).unwrap();
        let mut findings = Vec::new();
        let own = own_file(&path, Daemon::Stacd, &mut findings).unwrap();
        assert_eq!(findings, []);
        (own, directory)
    }

    fn lines(own: &OwnFile, findings: &[Finding]) -> Vec<String> {
        let prefix = format!("warning: {}:", own.path.display());
        findings.iter().map(|finding| finding.to_string().replace(&prefix, "")).collect()
    }

    fn interface(index: u32, name: &str, up: bool) -> Interface {
        Interface {
            index,
            name: name.into(),
            mac: Vec::new(),
            up,
            addresses: vec![format!("192.0.2.{index}0").parse().unwrap()],
        }
    }

    #[test]
    fn what_the_host_does_not_have_is_reported_with_the_line() {
        let (own, _directory) = own(CONF);
        let addresses = look_up(&Review::names(&own.conf.view()), |name| Err(ResolveError::NoAddress(name.to_owned())));
        let review = Review::of(&own.conf.view(), &own.conf.defaults("nqn.host"), &addresses);
        let links = Links(vec![interface(1, "eth0", true), interface(2, "eth1", false), interface(3, "eth2", true)]);
        let supported =
            SupportedOptions::parse("transport=%s,nqn=%s,traddr=%s,trsvcid=%s,hostnqn=%s,hostid=%s,host_traddr=%s");
        let host = Host { supported, links: Some(links) };
        let identity = HostIdentity::new("nqn.host", "3fc9b1b1-5d0c-4e86-b3e9-2b6d7c6c6a0e");
        let found = host.check(&own, &review, Some(&identity));
        let without = "controller= is connected without host_iface: this kernel does not take it";
        assert_eq!(
            lines(&own, &found),
            [
                format!("2: {without}"),
                format!("3: {without}"),
                "3: controller= needs the interface eth1, which is down".to_owned(),
                "4: controller= connects from 192.0.2.99 (host-traddr), which is no address of this host".to_owned(),
                format!("4: {without}"),
                format!("5: {without}"),
                "5: controller= needs the interface eth9, which this host does not have".to_owned(),
            ]
        );
        assert_eq!(review.left_out.len(), 1);
        let exclusions = unresolved_exclusions(&own, &addresses);
        assert_eq!(
            lines(&own, &exclusions),
            ["7: exclude= does not exclude the address of spare, which cannot be resolved: spare has no address"]
        );
    }

    #[test]
    fn names_are_looked_up_once_each_and_many_at_the_same_time() {
        let names: Vec<String> = (0..40).map(|number| format!("host{number}")).collect();
        let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let answers = look_up(&names, |_| Ok(vec!["192.0.2.1".parse().unwrap()]));
        assert_eq!(answers.len(), 40);
        assert!(look_up(&BTreeSet::new(), |_| unreachable!()).is_empty());
    }

    #[test]
    fn without_the_device_or_the_registry_the_remedy_is_reported() {
        let root = tempfile::tempdir().unwrap();
        let roots = Roots {
            sys: root.path().join("sys"),
            dev: root.path().join("dev"),
            proc: root.path().join("proc"),
            registry: root.path().join("registry"),
        };
        let mut findings = Vec::new();
        let host = Host::look(&roots, &mut findings);
        assert!(host.supported.is_none());
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(
            lines.iter().any(|line| line.starts_with("warning: ") && line.contains("`modprobe nvme-fabrics`")),
            "{lines:?}"
        );
        assert!(
            lines.iter().any(|line| line.starts_with("note: ") && line.contains("/registry does not exist")),
            "{lines:?}"
        );
        fs::write(&roots.registry, "").unwrap();
        assert_eq!(registry(&roots).unwrap().level, FindingLevel::Warning);
        fs::remove_file(&roots.registry).unwrap();
        fs::create_dir(&roots.registry).unwrap();
        assert_eq!(registry(&roots), None);
    }
}
