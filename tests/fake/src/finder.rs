//! stafd's core, and the discovery controllers that it reads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use libstas::conf::StafConf;
use libstas::core::{AdminError, CtrlRef, CtrlState, HostEffect, HostEvent};
use libstas::nvme::HostIdentity;
use libstas::nvme::admin::CommandError;
use libstas::nvme::log_page::{Entry, EntryError, LogPage, Malformed};
use libstas::nvme::supported::DiscoveryLidSpecific;
use stafd::finder::{Effect, Event, Finder, NotRegistered, Settings};

use crate::{Core, Daemon, FakeHost, Op};

/// The discovery controllers. One without an entry in `pages` has an empty page.
#[derive(Debug, Default)]
pub struct DiscoveryControllers {
    /// Their pages, by address.
    pub pages: BTreeMap<String, Vec<Entry>>,
    /// Further entries of their other ports, by address: on the page unless only the port-local ones are requested.
    pub other_ports: BTreeMap<String, Vec<Entry>>,
    /// True if every read fails.
    pub unreadable: bool,
    /// Discovery controllers, by address, that drop the connection on such a command ([`Op::ReadSupported`],
    /// [`Op::Register`]); [`FakeHost::reconnect`] restores it.
    pub drops_on: BTreeSet<(String, Op)>,
    /// A defect that one entry of each page has.
    pub malformed: Option<EntryError>,
    /// The answers to the next registrations; later ones succeed.
    pub register_answers: VecDeque<Result<(), NotRegistered>>,
}

impl DiscoveryControllers {
    fn read(&self, traddr: &str, port_local: bool) -> LogPage {
        let others = self.other_ports.get(traddr).filter(|_| !port_local);
        LogPage {
            genctr: 1,
            entries: self.pages.get(traddr).into_iter().chain(others).flatten().cloned().collect(),
            dropped: self.malformed.iter().map(|flaw| Malformed::new(0, flaw.clone(), &[])).collect(),
            ..LogPage::default()
        }
    }
}

impl Core for Finder {
    type Conf = StafConf;
    type Peer = DiscoveryControllers;

    fn settings(conf: &StafConf, identity: Arc<HostIdentity>) -> Event {
        Event::Configured(Box::new(Settings { conf: conf.clone(), identity }))
    }

    fn host_event(event: HostEvent) -> Event {
        Event::Host(event)
    }

    fn host_effect(effect: &Effect) -> Option<&HostEffect> {
        if let Effect::Host(host) = effect { Some(host) } else { None }
    }

    fn own_op(effect: &Effect) -> Option<Op> {
        match effect {
            Effect::ReadSupported { .. } => Some(Op::ReadSupported),
            Effect::ReadLogPage { .. } => Some(Op::ReadPage),
            Effect::Register { .. } => Some(Op::Register),
            _ => None,
        }
    }

    fn answer(host: &mut FakeHost<Self>, effect: Effect) -> Option<Event> {
        let broken = host.breaks(&effect);
        Some(match effect {
            Effect::ReadSupported { op, .. } if broken => Event::SupportedRead {
                op,
                result: Err(CommandError::Host("command aborted by the host".into()).into()),
            },
            Effect::Register { op, .. } if broken => Event::Registered { op, result: Err(NotRegistered::Lost) },
            Effect::Register { op, ctrl, .. } if !host.is_live(ctrl) => {
                let reason = AdminError::NotLive(ctrl, CtrlState::Unknown).into();
                Event::Registered { op, result: Err(NotRegistered::Failed { reason, again: false }) }
            }
            Effect::ReadSupported { op, .. } => {
                let specific = DiscoveryLidSpecific { extdlpes: false, pleos: true, allsubes: false };
                Event::SupportedRead { op, result: Ok(Some(specific)) }
            }
            Effect::ReadLogPage { op, ctrl, pleo, .. } => {
                assert!(host.conf.pleo || !pleo);
                Event::LogPageRead { op, result: host.read_page(ctrl, pleo) }
            }
            Effect::Register { op, .. } => {
                Event::Registered { op, result: host.peer.register_answers.pop_front().unwrap_or(Ok(())) }
            }
            _ => return None,
        })
    }

    fn save(&self) -> String {
        serde_json::to_string(&self.saved()).unwrap()
    }
}

impl Daemon for Finder {
    fn restored(saved: &str, seed: u64) -> Self {
        let saved = if saved.is_empty() { Default::default() } else { serde_json::from_str(saved).unwrap() };
        Self::new(saved, seed)
    }
}

impl FakeHost<Finder> {
    /// A stafd with these addresses or names configured (NVMe/TCP, port 8009). It is not started yet.
    #[must_use]
    pub fn with(controllers: &[&str]) -> Self {
        let lines = controllers.iter().map(|traddr| format!("controller=transport=tcp;traddr={traddr}\n"));
        Self::configured(&format!("[Controllers]\n{}", lines.collect::<String>()))
    }

    /// Sets the page of the discovery controller at that address.
    #[must_use]
    pub fn page(mut self, traddr: &str, entries: Vec<Entry>) -> Self {
        self.peer.pages.insert(traddr.into(), entries);
        self
    }

    /// Sets the further entries of the other ports of the discovery controller at that address.
    #[must_use]
    pub fn other_ports(mut self, traddr: &str, entries: Vec<Entry>) -> Self {
        self.peer.other_ports.insert(traddr.into(), entries);
        self
    }

    /// Changes the page of the discovery controller at that address, and sends the event.
    pub fn page_is(&mut self, traddr: &str, entries: Vec<Entry>) {
        self.peer.pages.insert(traddr.into(), entries);
        let devices: BTreeSet<u32> = self.kernel.iter().filter(|k| k.traddr == traddr).map(|k| k.ctrl.device).collect();
        for device in devices {
            self.uevent(device, libstas::core::UeventKind::Aen(libstas::nvme::aen::DISCOVERY_LOG_CHANGED));
        }
    }

    fn is_live(&self, ctrl: CtrlRef) -> bool {
        self.kernel.iter().any(|kernel| kernel.ctrl == ctrl && kernel.is_live())
    }

    /// True when the effect breaks the connection.
    fn breaks(&mut self, effect: &Effect) -> bool {
        let (ctrl, op) = match effect {
            Effect::ReadSupported { ctrl, .. } => (*ctrl, Op::ReadSupported),
            Effect::Register { ctrl, .. } => (*ctrl, Op::Register),
            _ => return false,
        };
        let Some(kernel) = self.kernel.iter_mut().find(|kernel| kernel.ctrl == ctrl && kernel.is_live()) else {
            return false;
        };
        let breaks = self.peer.drops_on.contains(&(kernel.traddr.clone(), op));
        if breaks {
            kernel.state = CtrlState::Connecting;
        }
        breaks
    }

    fn read_page(&self, ctrl: CtrlRef, port_local: bool) -> Result<LogPage, AdminError> {
        match self.kernel.iter().find(|kernel| kernel.ctrl == ctrl) {
            Some(kernel) if kernel.is_live() && !self.peer.unreadable => Ok(self.peer.read(&kernel.traddr, port_local)),
            _ => Err(CommandError::Host("I/O error".into()).into()),
        }
    }
}
