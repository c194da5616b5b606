//! The mDNS network: announcements per interface, and stafd's browser. The browser behaves like stas-net: it restarts on
//! request, after a change of the interfaces, and when it is old. Between two restarts it reports a service and its
//! goodbye once. The goodbye of a service that vanishes during a restart is not reported.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use libstas::core::HostEvent;
use libstas::core::browse::{BrowseCommand, BrowseEvent, Endpoint};
use libstas::net::browser::{AGE, BATCH, BATCH_PACE, SETTLE};
use libstas::nvme::announcement;

use crate::mdns_actions::{MdnsAction, TIME_TO_LIVE, dead, is_dead};
use crate::names::{self, Daemon, Iface, Target};
use crate::plan::{Fault, InitialWorld};
use crate::world::{Incoming, QueuedEvent, World, trace};

/// A goodbye takes effect after this time (RFC 6762, 10.1).
const GOODBYE: Duration = Duration::from_secs(1);
/// A service that does not answer is verified for this long (RFC 6762, 10.4).
const VERIFY: Duration = Duration::from_secs(10);
/// The state of the mDNS network.
#[derive(Debug, Default)]
pub(crate) struct MdnsNetwork {
    /// The announced targets, and the interfaces of each.
    announced: BTreeMap<Target, BTreeSet<Iface>>,
    /// Announced targets that are silent at the moment, with the number of the silence.
    silent: BTreeMap<Target, u64>,
    epochs: u64,
    /// Missing interfaces, and how often each was lost.
    gone: BTreeMap<Iface, u32>,
    browser: Option<Browser>,
    /// The browser that ended by itself, until another one has started.
    interrupted: Option<u64>,
    /// Events of the browser arrive in order: none before this time.
    events_until: Duration,
}

/// One incarnation of the browser: each restart begins a new one.
#[derive(Debug)]
struct Browser {
    incarnation: u64,
    /// True while a restart is pending.
    restart_pending: bool,
    /// The targets that it has reported.
    reported: BTreeSet<Target>,
}

impl MdnsNetwork {
    pub(crate) fn new(initial: &InitialWorld) -> Self {
        Self { announced: initial.announced.clone(), ..Self::default() }
    }

    /// The present interfaces.
    pub(crate) fn ifaces(&self) -> BTreeSet<Iface> {
        Iface::ALL.into_iter().filter(|iface| !self.gone.contains_key(iface)).collect()
    }

    /// The interfaces on which a target's announcement can be received.
    pub(crate) fn receivable(&self, target: Target) -> BTreeSet<Iface> {
        let announced = self.announced.get(&target).filter(|_| !self.silent.contains_key(&target));
        announced.into_iter().flatten().copied().filter(|iface| !self.gone.contains_key(iface)).collect()
    }

    /// The targets whose announcement can be received.
    pub(crate) fn all_receivable(&self) -> Vec<Target> {
        self.announced.keys().copied().filter(|target| !self.receivable(*target).is_empty()).collect()
    }
}

/// The service name of a target.
pub(crate) fn service(target: Target) -> String {
    format!("target-{}._nvme-disc._tcp.local.", target.0)
}

/// The target with that service name.
pub(crate) fn target_of(service: &str) -> Option<Target> {
    service.strip_prefix("target-")?.split('.').next()?.parse().ok().map(Target)
}

impl World {
    /// Handles a request of stafd's core to the browser.
    pub(crate) fn browse(&mut self, command: BrowseCommand) {
        match command {
            BrowseCommand::Stop => (self.mdns_net.browser, self.mdns_net.interrupted) = (None, None),
            // The next one starts in any case.
            BrowseCommand::Start if self.mdns_net.interrupted.is_some() => {}
            BrowseCommand::Start => self.browser_starts(),
            BrowseCommand::NetworkChanged => {
                if let Some(browser) = self.mdns_net.browser.as_mut().filter(|browser| !browser.restart_pending) {
                    browser.restart_pending = true;
                    let incarnation = browser.incarnation;
                    self.after(SETTLE, QueuedEvent::RestartBrowser(incarnation));
                }
            }
            BrowseCommand::Reconfirm(service) => {
                if let (Some(browser), Some(target)) = (&self.mdns_net.browser, target_of(&service)) {
                    let incarnation = browser.incarnation;
                    self.after(VERIFY, QueuedEvent::Verified(incarnation, target));
                }
            }
        }
    }

    /// stafd has ended, and its browser with it.
    pub(crate) fn browser_ends(&mut self) {
        (self.mdns_net.browser, self.mdns_net.interrupted) = (None, None);
        self.mdns_net.events_until = Duration::ZERO;
    }

    pub(crate) fn restart_browser(&mut self, incarnation: u64) {
        if self.browses(incarnation) {
            self.browser_starts();
        }
    }

    /// Another process takes the place of the browser that ended by itself.
    pub(crate) fn browser_returns(&mut self, incarnation: u64) {
        if self.mdns_net.interrupted.take_if(|interrupted| *interrupted == incarnation).is_some() {
            self.browser_starts();
        }
    }

    fn browses(&self, incarnation: u64) -> bool {
        self.mdns_net.browser.as_ref().is_some_and(|browser| browser.incarnation == incarnation)
    }

    fn browser_starts(&mut self) {
        self.mdns_net.epochs += 1;
        let incarnation = self.mdns_net.epochs;
        self.mdns_net.browser = Some(Browser { incarnation, restart_pending: false, reported: BTreeSet::new() });
        self.send_browse_events(vec![BrowseEvent::Restarted]);
        self.after(AGE, QueuedEvent::RestartBrowser(incarnation));
        let (flood, others): (Vec<_>, Vec<_>) =
            self.mdns_net.all_receivable().into_iter().partition(|daemon| is_dead(*daemon));
        for target in others {
            let wait = self.reception_takes();
            self.after(wait, QueuedEvent::Receive(incarnation, vec![target]));
        }
        self.receive_flood(incarnation, &flood);
    }

    fn receive_flood(&mut self, incarnation: u64, flood: &[Target]) {
        let mut wait = self.reception_takes();
        for batch in flood.chunks(BATCH) {
            self.after(wait, QueuedEvent::Receive(incarnation, batch.to_vec()));
            wait += BATCH_PACE;
        }
    }

    /// The delay of a query or an announcement; a lost one is received the next time.
    fn reception_takes(&mut self) -> Duration {
        let lost = self.has(Fault::MulticastLost);
        let rng = self.streams.stream("air");
        let wait = rng.ms(20, 500);
        if lost { wait + Duration::from_secs([0, 1, 3, 7, 12, 25][rng.below(6)]) } else { wait }
    }

    fn schedule_reception(&mut self, target: Target) {
        if let Some(incarnation) = self.mdns_net.browser.as_ref().map(|browser| browser.incarnation) {
            let wait = self.reception_takes();
            self.after(wait, QueuedEvent::Receive(incarnation, vec![target]));
        }
    }

    /// The browser receives these targets, if they can still be received.
    pub(crate) fn receive(&mut self, incarnation: u64, targets: &[Target]) {
        if !self.browses(incarnation) {
            return;
        }
        let mut heard = Vec::new();
        for target in targets {
            let on = self.mdns_net.receivable(*target);
            if on.is_empty() {
                continue;
            }
            if let Some(browser) = &mut self.mdns_net.browser {
                browser.reported.insert(*target);
            }
            let Ok(address) = target.address().parse() else { continue };
            heard.push(BrowseEvent::Announced {
                service: service(*target),
                offer: announcement::offer(8009, [("p", Some(b"tcp".as_slice()))]),
                endpoints: on.into_iter().map(|iface| Endpoint { interface: iface.index(), address }).collect(),
            });
        }
        self.send_browse_events(heard);
    }

    /// The browser reports these targets as gone, unless they can still be received.
    pub(crate) fn receive_goodbye(&mut self, incarnation: u64, targets: &[Target]) {
        if self.browses(incarnation) {
            let gone: Vec<Target> =
                targets.iter().copied().filter(|target| self.mdns_net.receivable(*target).is_empty()).collect();
            self.report_gone(&gone);
        }
    }

    /// Ends the verification of a target: it has answered, or is gone.
    pub(crate) fn verified(&mut self, incarnation: u64, target: Target) {
        if !self.browses(incarnation) {
            return;
        }
        let unheard = self.has(Fault::MulticastLost) && self.streams.stream("verify").percent(50);
        if unheard {
            self.report_gone(&[target]);
            self.schedule_reception(target);
        } else {
            self.receive_goodbye(incarnation, &[target]);
        }
    }

    fn report_gone(&mut self, targets: &[Target]) {
        let Some(browser) = &mut self.mdns_net.browser else { return };
        let gone = targets.iter().filter(|target| browser.reported.remove(target));
        let heard = gone.map(|target| BrowseEvent::Gone(service(*target))).collect();
        self.send_browse_events(heard);
    }

    fn send_browse_events(&mut self, heard: Vec<BrowseEvent>) {
        if heard.is_empty() {
            return;
        }
        let wait = self.streams.latency("heard");
        self.mdns_net.events_until = self.mdns_net.events_until.max(self.now + wait);
        let wait = self.mdns_net.events_until - self.now;
        self.send(Daemon::Stafd, wait, Incoming::BrowseEvent(heard));
    }

    /// Performs an action of an announced target.
    pub(crate) fn mdns_action(&mut self, action: MdnsAction) {
        match action {
            MdnsAction::Toggles(target) if self.mdns_net.announced.contains_key(&target) => {
                self.send_goodbye(&[target])
            }
            MdnsAction::Toggles(target) => self.announces(target),
            MdnsAction::LeavesAndReturns(target, time) => {
                self.send_goodbye(&[target]);
                self.after(time, QueuedEvent::Announces(target));
            }
            MdnsAction::FallsSilent(target, time) => {
                self.mdns_net.epochs += 1;
                let epoch = self.mdns_net.epochs;
                self.mdns_net.silent.insert(target, epoch);
                self.expires(&[target]);
                self.after(time, QueuedEvent::EndsSilence(target, epoch));
            }
            MdnsAction::TogglesInterface(target, iface) => {
                let mut on = self.mdns_net.announced.get(&target).cloned().unwrap_or_default();
                if !on.remove(&iface) {
                    on.insert(iface);
                }
                if on.is_empty() {
                    self.send_goodbye(&[target]);
                } else {
                    self.mdns_net.announced.insert(target, on);
                    self.schedule_reception(target);
                }
            }
            MdnsAction::Fails { target, how, goodbye, time, returns } => {
                if goodbye {
                    self.send_goodbye(&[target]);
                }
                self.fail(target, how, time);
                if returns {
                    self.after(time, QueuedEvent::Announces(target));
                }
            }
            MdnsAction::Flood(count, time) => {
                let flood: Vec<Target> = dead(count).collect();
                for target in &flood {
                    self.mdns_net.announced.insert(*target, [Iface::Eth0].into());
                }
                if let Some(incarnation) = self.mdns_net.browser.as_ref().map(|browser| browser.incarnation) {
                    self.receive_flood(incarnation, &flood);
                }
                if let Some(time) = time {
                    self.after(time, QueuedEvent::FloodEnds(count));
                }
            }
            MdnsAction::Interrupts(time) => {
                if let Some(browser) = self.mdns_net.browser.take() {
                    self.mdns_net.interrupted = Some(browser.incarnation);
                    self.send_browse_events(vec![BrowseEvent::Interrupted]);
                    self.after(time, QueuedEvent::BrowserReturns(browser.incarnation));
                }
            }
            MdnsAction::LosesInterface(iface, time) => {
                *self.mdns_net.gone.entry(iface).or_default() += 1;
                self.interface_is_gone(iface, time);
                self.links_change();
                self.after(time, QueuedEvent::InterfaceBack(iface));
            }
        }
    }

    pub(crate) fn announces(&mut self, target: Target) {
        let on = self.plan.initial.announced.get(&target).cloned().unwrap_or_else(|| [Iface::Eth0].into());
        trace!(self, "the DC of {target} announces itself");
        self.mdns_net.announced.insert(target, on);
        self.schedule_reception(target);
    }

    pub(crate) fn flood_ends(&mut self, count: usize) {
        let flood: Vec<Target> = dead(count).collect();
        self.send_goodbye(&flood);
    }

    fn send_goodbye(&mut self, targets: &[Target]) {
        self.mdns_net.announced.retain(|target, _| !targets.contains(target));
        let lost = self.has(Fault::MulticastLost) && self.streams.stream("goodbye").percent(50);
        match self.mdns_net.browser.as_ref().map(|browser| browser.incarnation) {
            Some(incarnation) if !lost => {
                let wait = GOODBYE + self.streams.stream("goodbye").ms(0, 200);
                self.after(wait, QueuedEvent::ReceiveGoodbye(incarnation, targets.to_vec()));
            }
            _ => self.expires(targets),
        }
    }

    /// The announcements expire, because they are not repeated.
    fn expires(&mut self, targets: &[Target]) {
        if let Some(incarnation) = self.mdns_net.browser.as_ref().map(|browser| browser.incarnation) {
            self.after(TIME_TO_LIVE, QueuedEvent::ReceiveGoodbye(incarnation, targets.to_vec()));
        }
    }

    /// A silent target repeats its announcement.
    pub(crate) fn ends_silence(&mut self, target: Target, epoch: u64) {
        if self.mdns_net.silent.get(&target) == Some(&epoch) {
            self.mdns_net.silent.remove(&target);
            trace!(self, "the announcement of the DC of {target} can be received again");
            self.schedule_reception(target);
        }
    }

    pub(crate) fn interface_back(&mut self, iface: Iface) {
        let Some(times) = self.mdns_net.gone.get_mut(&iface) else { return };
        *times -= 1;
        if *times == 0 {
            self.mdns_net.gone.remove(&iface);
            self.mark_stranded(iface);
            trace!(self, "{iface} is back");
            self.links_change();
            // Changes of the meantime are reported now to the connections that have survived.
            for target in (0..self.plan.initial.targets.len()).map(Target) {
                self.announce_change(target);
            }
        }
    }

    fn links_change(&mut self) {
        self.links = names::links(&self.mdns_net.ifaces()).into();
        for daemon in Daemon::BOTH {
            let wait = self.streams.latency("links");
            self.event(daemon, wait, HostEvent::Links(self.links.clone()));
        }
    }
}
