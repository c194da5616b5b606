//! Browses for discovery controllers that are announced by mDNS (TP8009, RFC 6762, RFC 6763).
//!
//! mdns-sd implements the protocol, on its own thread and with its own sockets on port 5353, which it shares with Avahi
//! and systemd-resolved. Its events are read immediately, because it drops a listener that is too slow. They are
//! reported in batches, in no particular order, and not faster than `tell` takes them.
//!
//! mdns-sd trusts the network: its cache is unlimited, records without a PTR record never expire, and each received
//! record, even a known one, leaves timers until its time to live ends. So its size is checked every second. An
//! instance that has collected more than a real network announces is discarded and replaced by a new one, at the cost
//! of one query and its answers. The instance is also replaced when the interfaces have changed, because it attributes
//! a service to the interface on which it was first seen, and every 15 minutes.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mdns_sd::{DaemonStatus, IfKind, Metrics, ScopedIp, ServiceDaemon, ServiceEvent, VERIFY_TIMEOUT_DEFAULT};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use stas_core::browse::{BrowseCommand, ENDPOINTS_PER_SERVICE, Endpoint};
use stas_core::{NoThread, OsError};
use stas_net::browser::{AGE, BATCH, BATCH_PACE, NotWanted, SETTLE, pause};
use stas_net::until;
use stas_net::wire::{MdnsEvent, Report, Request, SERVICES_PER_RECORD};
use stas_nvme::announcement::SERVICE_TYPES;

use crate::connection::{Incoming, Outgoing};

/// Time between two checks of the browser's size.
const CHECK: Duration = Duration::from_secs(1);
/// Limit of records in the cache: 256 services with 24 records each, about one megabyte.
const RECORDS: i64 = 6144;
/// Limit of timers for records: one record leaves two timers each time it is announced.
const TIMERS: i64 = 65_536;
/// Limit of events of one instance: it remembers the name of each service that it has reported.
const EVENTS: usize = 16_384;
/// A browser that does not answer for this long is overloaded by announcements. It is discarded as soon as it can be
/// stopped.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Minimum time between two restarts because of network changes. It doubles, up to [`LONGEST_PACE`], with each restart
/// that comes before the browser has run for [`PACE_RESET_AFTER`].
const PACE: Duration = Duration::from_millis(500);
/// Maximum of the time that begins with [`PACE`].
const LONGEST_PACE: Duration = Duration::from_secs(8);
/// A browser that has run for this long resets the time to [`PACE`].
const PACE_RESET_AFTER: Duration = Duration::from_secs(20);
/// Time between two attempts to start a browser.
const START_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Number of services that may wait to be reported. Further ones are dropped, and found again by a restart of browsing
/// after [`BROWSE_AGAIN_AFTER`].
const WAITING: usize = 2048;
/// Time from a dropped service to the restart of browsing.
const BROWSE_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How long a requested restart may be delayed. It waits until no event has arrived for [`CHECK`]: a restart loses the
/// services that are still being resolved, and on a slow host it would lose them each time.
const RENEW_DELAY_MAX: Duration = Duration::from_secs(60);
/// Time limit for mdns-sd to stop after it has accepted the shutdown command. It usually takes milliseconds.
const END_LIMIT: Duration = Duration::from_secs(30);
/// Time between two checks whether a browser has ended.
const END_POLL: Duration = Duration::from_millis(20);
/// Stack size in bytes of the threads that read events.
const STACK: usize = 128 * 1024;
/// The port of mDNS (RFC 6762, 3).
const PORT: u16 = mdns_sd::MDNS_PORT;

/// Number of requests that wait for the browser. Further ones wait in the connection.
const REQUESTS: usize = 64;

/// Browses as the daemon asks until the connection ends.
///
/// # Errors
/// Fails if the daemon sends anything else.
pub(crate) async fn serve(mut incoming: Incoming, outgoing: Outgoing) -> io::Result<()> {
    let (requests, asked) = mpsc::channel(REQUESTS);
    // A connection that is closed is noticed by the loop below.
    let tell = move |batch: Vec<MdnsEvent>| {
        let outgoing = outgoing.clone();
        async move {
            for some in batch.chunks(SERVICES_PER_RECORD) {
                let _ = outgoing.send(&Report::Mdns(some.to_vec())).await;
            }
        }
    };
    tokio::spawn(run(asked, tell));
    while let Some(request) = incoming.next().await? {
        let Request::Browse(command) = request else { return Err(Incoming::unexpected(&request)) };
        if requests.send(command).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Why a browser instance is discarded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// The network has changed, a restart was requested, or the instance is too old.
    Renew,
    /// The instance holds too much, or could not keep up. Contains the reason.
    Flooded(String),
    /// Browsing is no longer wanted.
    Stop,
    /// The daemon has closed the connection.
    Closed,
}

async fn run<F>(mut asked: mpsc::Receiver<BrowseCommand>, tell: impl Fn(Vec<MdnsEvent>) -> F)
where
    F: Future<Output = ()>,
{
    let mut complained = None;
    let mut floods = 0_u64;
    let mut pace = PACE;
    loop {
        match asked.recv().await {
            Some(BrowseCommand::Start) => {}
            Some(_) => continue,
            None => return,
        }
        loop {
            let mut session = match Session::start(pace) {
                Ok(session) => session,
                Err(error) => {
                    if complained.as_ref() != Some(&error) {
                        tracing::warn!("cannot browse for announced discovery controllers: {error}; trying again");
                    }
                    complained = Some(error);
                    match pause(Instant::now() + START_AGAIN_AFTER, &mut asked).await {
                        None => continue,
                        Some(NotWanted::Stopped) => break,
                        Some(NotWanted::Closed) => return,
                    }
                }
            };
            if complained.take().is_some() {
                tracing::info!("browsing for announced discovery controllers");
            }
            tell(vec![MdnsEvent::Restarted]).await;
            let end = session.pass_on(&mut asked, &tell).await;
            if let End::Flooded(why) = &end {
                floods += 1;
                // Log the first, second, fourth, eighth, … flood.
                if floods.is_power_of_two() {
                    tracing::warn!("flooded with announcements ({why}): browsing starts afresh, for time {floods}");
                }
            }
            let (events, age) = (session.inbox.lock().events, session.started.elapsed().as_secs());
            tracing::debug!("browsing ends after {age} s and {events} events: {end:?}");
            pace = if session.started.elapsed() < PACE_RESET_AFTER { (2 * pace).min(LONGEST_PACE) } else { PACE };
            session.end().await;
            match end {
                End::Stop => break,
                End::Closed => return,
                End::Renew | End::Flooded(_) => {}
            }
        }
    }
}

/// Services that wait to be reported.
#[derive(Debug, Default)]
struct Inbox {
    news: Mutex<News>,
    there: Notify,
}

#[derive(Debug, Default)]
struct News {
    /// Newest event of each service.
    services: HashMap<String, MdnsEvent>,
    /// The same services, the one that waits longest first: services that announce themselves all the time do not
    /// starve others.
    order: VecDeque<String>,
    /// Number of events received.
    events: usize,
    /// True if a service was dropped because the limit was reached.
    full: bool,
    /// True if mdns-sd dropped the listener or has ended.
    closed: bool,
}

impl News {
    fn add(&mut self, service: String, event: MdnsEvent) {
        if let Some(waiting) = self.services.get_mut(&service) {
            *waiting = event;
        } else if self.services.len() < WAITING {
            self.order.push_back(service.clone());
            self.services.insert(service, event);
        } else {
            self.full = true;
        }
    }
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads all events, on its own thread, until mdns-sd ends.
    fn fill(self: Arc<Self>, events: &mdns_sd::Receiver<ServiceEvent>) {
        while let Ok(event) = events.recv() {
            let translated = translate(event);
            let mut news = self.lock();
            news.events += 1;
            if let Some((service, event)) = translated {
                news.add(service, event);
                drop(news);
                self.there.notify_one();
            }
        }
        self.lock().closed = true;
        self.there.notify_one();
    }

    /// Takes up to [`BATCH`] services.
    fn take(&self) -> Vec<MdnsEvent> {
        let mut news = self.lock();
        let some = news.order.len().min(BATCH);
        let some: Vec<String> = news.order.drain(..some).collect();
        let batch = some.iter().filter_map(|service| news.services.remove(service)).collect();
        if !news.services.is_empty() {
            self.there.notify_one();
        }
        batch
    }
}

/// Why an instance of mdns-sd cannot be started.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum BrowseError {
    #[error("UDP port {PORT} cannot be shared, another program holds it for itself ({0}); see `ss -ulpn`")]
    PortTaken(OsError),
    /// The error text of mdns-sd.
    #[error("{0}")]
    Mdns(String),
    #[error(transparent)]
    NoThread(#[from] NoThread),
}

/// One instance of mdns-sd.
struct Session {
    daemon: ServiceDaemon,
    inbox: Arc<Inbox>,
    started: Instant,
    /// Minimum lifetime when the network changes.
    pace: Duration,
    /// Time of a planned restart: the network changed, or services were dropped.
    renew: Option<Instant>,
    /// True if a restart was requested.
    wanted: bool,
    /// Number of events at the last check.
    events: usize,
    /// Pending request for the instance's size, and when it was sent.
    snapshot: Option<(mdns_sd::Receiver<Metrics>, Instant)>,
}

impl Session {
    fn start(pace: Duration) -> Result<Self, BrowseError> {
        port_is_shared().map_err(|error| BrowseError::PortTaken(OsError::new(error)))?;
        let say = |error: mdns_sd::Error| BrowseError::Mdns(error.to_string());
        let daemon = ServiceDaemon::new().map_err(say)?;
        // A host does not use the network for its own announcements.
        daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6]).map_err(say)?;
        let inbox = Arc::<Inbox>::default();
        for kind in SERVICE_TYPES {
            let events = daemon.browse(&format!("{kind}.local.")).map_err(say)?;
            let inbox = Arc::clone(&inbox);
            let thread = std::thread::Builder::new().name("mdns".to_owned()).stack_size(STACK);
            thread.spawn(move || inbox.fill(&events)).map_err(|error| NoThread(OsError::new(error)))?;
        }
        Ok(Self { daemon, inbox, started: Instant::now(), pace, renew: None, wanted: false, events: 0, snapshot: None })
    }

    /// Passes events to `tell` until the instance must be discarded. Returns the reason.
    async fn pass_on<F>(
        &mut self,
        asked: &mut mpsc::Receiver<BrowseCommand>,
        tell: &impl Fn(Vec<MdnsEvent>) -> F,
    ) -> End
    where
        F: Future<Output = ()>,
    {
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let end = tokio::select! {
                command = asked.recv() => self.asked(command),
                _ = check.tick() => self.check(),
                () = until(self.renew) => Some(End::Renew),
                () = self.inbox.there.notified() => {
                    let batch = self.inbox.take();
                    if !batch.is_empty() {
                        tell(batch).await;
                        sleep(BATCH_PACE).await;
                    }
                    None
                }
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    fn asked(&mut self, command: Option<BrowseCommand>) -> Option<End> {
        match command {
            None => return Some(End::Closed),
            Some(BrowseCommand::Stop) => return Some(End::Stop),
            Some(BrowseCommand::Start) => self.wanted = true,
            Some(BrowseCommand::NetworkChanged) => {
                self.renew.get_or_insert((Instant::now() + SETTLE).max(self.started + self.pace));
            }
            Some(BrowseCommand::Reconfirm(service)) => {
                // The browser may be too busy. The caller repeats the request.
                let _ = self.daemon.verify(service, VERIFY_TIMEOUT_DEFAULT);
            }
        }
        None
    }

    /// Checks the age and size of the instance.
    fn check(&mut self) -> Option<End> {
        if self.started.elapsed() >= AGE {
            return Some(End::Renew);
        }
        let (events, full, closed) = {
            let news = self.inbox.lock();
            (news.events, news.full, news.closed)
        };
        if closed {
            return Some(End::Flooded("more of them came than could be taken in".into()));
        }
        if events > EVENTS {
            return Some(End::Flooded(format!("{events} events")));
        }
        let calm = std::mem::replace(&mut self.events, events) == events;
        if self.wanted && (calm || self.started.elapsed() >= RENEW_DELAY_MAX) {
            return Some(End::Renew);
        }
        if full {
            self.renew.get_or_insert(self.started + BROWSE_AGAIN_AFTER);
        }
        if let Some((answer, asked)) = &self.snapshot {
            match answer.try_recv() {
                Ok(metrics) => {
                    self.snapshot = None;
                    if let Some(too_much) = too_much(&metrics) {
                        return Some(End::Flooded(too_much));
                    }
                }
                Err(_) if asked.elapsed() >= ANSWER_LIMIT => {
                    return Some(End::Flooded(format!("they keep the browser busy for {} s", ANSWER_LIMIT.as_secs())));
                }
                Err(_) => return None,
            }
        }
        self.snapshot = self.daemon.get_metrics().ok().map(|answer| (answer, Instant::now()));
        None
    }

    /// Stops the instance. Waits for its end even if it is too busy to stop: two instances must not run at the same
    /// time.
    async fn end(self) {
        let mut logged = false;
        loop {
            match self.daemon.shutdown() {
                Ok(status) => {
                    let begin = Instant::now();
                    while !status.is_disconnected() && status.try_recv() != Ok(DaemonStatus::Shutdown) {
                        if begin.elapsed() > END_LIMIT {
                            // Without an exit, browsing would stop for good while systemd sees a healthy process.
                            tracing::error!(
                                "the mDNS thread has not stopped within {} s: stas-net exits, and the daemon starts it \
                                 again. Nothing has to be done unless this repeats",
                                END_LIMIT.as_secs()
                            );
                            std::process::exit(1);
                        }
                        sleep(END_POLL).await;
                    }
                    return;
                }
                Err(mdns_sd::Error::Again) => {
                    if !std::mem::replace(&mut logged, true) {
                        tracing::warn!("the flood of announcements leaves no time to stop browsing");
                    }
                    sleep(CHECK).await;
                }
                Err(_) => return,
            }
        }
    }
}

/// Returns what exceeds its limit.
fn too_much(metrics: &Metrics) -> Option<String> {
    let count = |name: &str| metrics.get(name).copied().unwrap_or(0);
    let cached = ["ptr", "srv", "txt", "addr", "nsec", "subtype"];
    let records: i64 = cached.iter().map(|kind| count(&format!("cached-{kind}"))).sum();
    let timers = count("timer");
    match (records > RECORDS, timers > TIMERS) {
        (true, _) => Some(format!("{records} records")),
        (_, true) => Some(format!("{timers} timers")),
        _ => None,
    }
}

/// Translates an event of mdns-sd. `None` if it is irrelevant, or exceeds the limits of a record.
fn translate(event: ServiceEvent) -> Option<(String, MdnsEvent)> {
    let (name, event) = match event {
        ServiceEvent::ServiceResolved(service) => {
            // If a key occurs twice, the first one counts. Keys are case-insensitive (RFC 6763, 6.4).
            let value = |key: &str| {
                let mut properties = service.txt_properties.iter();
                let found = properties.find(|property| property.key().eq_ignore_ascii_case(key))?;
                Some(String::from_utf8_lossy(found.val().unwrap_or_default()).into_owned())
            };
            let endpoints = service.addresses.iter().flat_map(endpoints).take(ENDPOINTS_PER_SERVICE).collect();
            let (service, port, p, nqn) = (service.fullname.clone(), service.port, value("p"), value("nqn"));
            (service.clone(), MdnsEvent::Announced { service, port, p, nqn, endpoints })
        }
        ServiceEvent::ServiceRemoved(_, name) => (name.clone(), MdnsEvent::Gone(name)),
        _ => return None,
    };
    event.check().is_ok().then_some((name, event))
}

fn endpoints(address: &ScopedIp) -> Vec<Endpoint> {
    let ip = address.to_ip_addr();
    match address {
        ScopedIp::V4(v4) => v4.interface_ids().iter().map(|id| Endpoint { interface: id.index, address: ip }).collect(),
        ScopedIp::V6(v6) => vec![Endpoint { interface: v6.scope_id().index, address: ip }],
        _ => Vec::new(),
    }
}

/// Fails if another program holds the port exclusively. mdns-sd itself does not report that it got no socket.
fn port_is_shared() -> io::Result<()> {
    let trial = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&trial, sockopt::ReuseAddr, &true)?;
    setsockopt(&trial, sockopt::ReusePort, &true)?;
    let any = Ipv4Addr::UNSPECIFIED.octets();
    Ok(bind(trial.as_raw_fd(), &SockaddrIn::new(any[0], any[1], any[2], any[3], PORT))?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use log_lines::LogLines;

    /// A browser, and the events that it reports.
    fn browser() -> (mpsc::Sender<BrowseCommand>, mpsc::UnboundedReceiver<Vec<MdnsEvent>>) {
        let (sender, events) = mpsc::unbounded_channel();
        let (browser, asked) = mpsc::channel(8);
        let tell = move |batch| {
            let sender = sender.clone();
            async move { drop(sender.send(batch)) }
        };
        tokio::spawn(run(asked, tell));
        (browser, events)
    }

    /// Paused time: ten seconds between two attempts take no time.
    #[tokio::test(start_paused = true)]
    async fn while_another_program_keeps_the_port_to_itself_browsing_is_tried_again() {
        let hold = || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT));
        let Ok(other) = hold() else { return println!("skipped: a program of this host browses") };
        let log = LogLines::start();
        let (browser, mut events) = browser();
        browser.send(BrowseCommand::NetworkChanged).await.unwrap();
        browser.send(BrowseCommand::Start).await.unwrap();
        sleep(3 * START_AGAIN_AFTER).await;
        browser.send(BrowseCommand::NetworkChanged).await.unwrap();
        sleep(START_AGAIN_AFTER).await;
        let said = log.text();
        assert_eq!(said.matches("cannot browse").count(), 1, "{said}");
        assert!(said.contains("UDP port 5353 cannot be shared") && said.contains("ss -ulpn"), "{said}");

        browser.send(BrowseCommand::Stop).await.unwrap();
        sleep(START_AGAIN_AFTER).await;
        drop(other);
        sleep(3 * START_AGAIN_AFTER).await;
        assert!(events.try_recv().is_err(), "nobody wants it any more");

        browser.send(BrowseCommand::Start).await.unwrap();
        assert_eq!(events.recv().await, Some(vec![MdnsEvent::Restarted]));
        assert!(log.text().contains("browsing for announced discovery controllers"), "{}", log.text());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_tried_again_for_a_daemon_that_has_ended() {
        let Ok(_other) = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)) else {
            return println!("skipped: a program of this host browses");
        };
        let (browser, mut events) = browser();
        browser.send(BrowseCommand::Start).await.unwrap();
        sleep(START_AGAIN_AFTER / 2).await;
        drop(browser);
        assert_eq!(events.recv().await, None);
    }

    /// Services that announce themselves all the time do not delay others.
    #[test]
    fn waiting_services_are_reported_in_the_order_in_which_they_were_received() {
        let inbox = Inbox::default();
        let gone = |number: usize| MdnsEvent::Gone(format!("service {number}"));
        let add = |number: usize| inbox.lock().add(format!("service {number}"), gone(number));
        let mut reported = Vec::new();
        (0..WAITING).for_each(add);
        for round in 0..WAITING / BATCH {
            reported.extend(inbox.take());
            // Again what was reported, and what still waits.
            (round * BATCH..(round + 1) * BATCH).for_each(add);
            add(WAITING - 1);
        }
        assert_eq!(reported, (0..WAITING).map(gone).collect::<Vec<_>>());
        let (mut rest, mut known) = (inbox.take(), 0);
        while !rest.is_empty() {
            known += rest.len();
            rest = inbox.take();
        }
        assert_eq!(known, WAITING);
        assert!(!inbox.lock().full);
        (0..=WAITING).for_each(add);
        assert!(inbox.lock().full);
    }

    #[test]
    fn a_browser_that_has_collected_too_much_is_thrown_away() {
        let metrics = |name: &str, count| Metrics::from([(name.to_owned(), count)]);
        assert_eq!(too_much(&metrics("cached-ptr", RECORDS)), None);
        assert!(too_much(&metrics("cached-srv", RECORDS + 1)).unwrap().contains("records"));
        assert!(too_much(&metrics("timer", TIMERS + 1)).unwrap().contains("timers"));
        let half = RECORDS / 2 + 1;
        let both = Metrics::from([("cached-ptr".to_owned(), half), ("cached-nsec".to_owned(), half)]);
        assert!(too_much(&both).is_some());
    }
}
