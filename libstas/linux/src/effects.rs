//! Executes the cores' effects on the host and reports results and events: the entry point of this module.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;

use super::connect_queue::{ConnectQueue, Shared, hide_secrets_of};
use super::links::{Change, Watch};
use super::sysfs::{Reconnected, Scanner};
use super::uevents::{Incoming, Uevents};
use super::waiting::Waiting;
use super::{Roots, disconnect, lock, secrets, thread, usage};
use stas_core::{
    CtrlRef, DisconnectError, Host, HostEffect, HostEvent, Links, NoThread, OpId, OsError, ProbeOutcome, Snapshot,
    UeventKind, Usage,
};
use stas_net::client::NetClient;

/// Time before a failed monitor is restarted.
const PAUSE: Duration = Duration::from_secs(1);

/// Parameters of the host.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Mount points of the kernel's file systems.
    pub roots: Roots,
    /// File that the daemons lock during a write to /dev/nvme-fabrics.
    pub lock_file: PathBuf,
    /// Socket of stas-in-use. Set for a daemon that uses [`HostEffect::CheckUse`].
    pub in_use_socket: Option<PathBuf>,
    /// Socket of stas-net.
    pub net_socket: PathBuf,
    /// True if stas-net is started at once, because portals will be probed soon.
    pub probes_soon: bool,
}

/// File that both daemons lock during a write to /dev/nvme-fabrics. systemd creates its directory.
const LOCK_FILE: &str = "/run/nvme-stas/connect.lock";

impl Default for Setup {
    /// The host on which this process runs.
    fn default() -> Self {
        Self {
            roots: Roots::default(),
            lock_file: LOCK_FILE.into(),
            in_use_socket: None,
            net_socket: stas_net::SOCKET.into(),
            probes_soon: false,
        }
    }
}

/// Why the host's events cannot be monitored.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {source}")]
pub struct StartError {
    what: &'static str,
    source: io::Error,
}

/// The Linux host. Its threads are never joined: dropping it does not wait.
#[derive(Debug)]
pub struct LinuxHost {
    roots: Roots,
    connect_queue: ConnectQueue,
    waiting: Arc<Waiting>,
    snapshots: Snapshots,
    usage: Arc<usage::Watcher>,
    net: NetClient,
    sink: EventSink,
}

/// Receives the host's events. It must not block, and may drop events after the end of the daemon.
///
/// The number of events is limited by the number of requests, except for the kernel's events. Those are read on the
/// core's runtime: if the core is late they wait in the kernel's buffer, and a full buffer becomes one overrun.
#[derive(Clone)]
struct EventSink(Arc<dyn Fn(HostEvent) + Send + Sync>);

impl std::fmt::Debug for EventSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventSink")
    }
}

impl LinuxHost {
    /// Starts to monitor the kernel. All events from now on are passed to `sink`. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] if the kernel provides no socket for its events, or no thread can be started.
    pub fn start(setup: Setup, sink: impl Fn(HostEvent) + Send + Sync + 'static) -> Result<Self, StartError> {
        let failed = |what| move |source| StartError { what, source };
        let sink = EventSink(Arc::new(sink));
        let scanner = Scanner::new(setup.roots.clone());
        let reconnected = scanner.reconnected();
        let waiting = Waiting::new(setup.lock_file.with_file_name("waiting"));
        let shared = Shared {
            roots: setup.roots.clone(),
            scanner: Arc::new(Mutex::new(scanner)),
            links: Arc::default(),
            waiting: waiting.clone(),
            lock_file: setup.lock_file,
            writing_secrets: Arc::default(),
        };
        let uevents = Uevents::listen().map_err(failed("listen to the kernel's events"))?;
        let watch = Watch::start().map_err(failed("watch the network interfaces"))?;
        let watches_usage = setup.in_use_socket.is_some();
        let usage = Arc::new(usage::Watcher::new(&setup.roots, setup.in_use_socket));
        let snapshots = Snapshots::start(&shared, watches_usage.then(|| usage.clone()), sink.clone())
            .map_err(failed("start a thread"))?;
        let kernel = KernelEvents {
            sink: sink.clone(),
            snapshots: snapshots.clone(),
            reconnected,
            writing_secrets: shared.writing_secrets.clone(),
        };
        tokio::spawn(kernel.run(uevents));
        tokio::spawn(watch_links(watch, shared.links.clone(), sink.clone()));
        let connect_queue = ConnectQueue::start(shared).map_err(failed("start a thread"))?;
        let net = NetClient::start(setup.net_socket);
        if setup.probes_soon {
            net.warm_up_probes();
        }
        Ok(Self { roots: setup.roots, connect_queue, waiting, snapshots, usage, net, sink })
    }

    /// Runs blocking `work` on its own thread and reports its result.
    fn spawn_detached<T, E: From<NoThread>>(
        &self,
        name: &str,
        work: impl FnOnce(&Roots) -> Result<T, E> + Send + 'static,
        event: impl Fn(Result<T, E>) -> HostEvent + Clone + Send + 'static,
    ) {
        let (roots, sink, done) = (self.roots.clone(), self.sink.clone(), event.clone());
        if let Err(error) = thread::spawn(name, move || (sink.0)(done(work(&roots)))) {
            (self.sink.0)(event(Err(NoThread(OsError::new(error)).into())));
        }
    }
}

impl Host for LinuxHost {
    type Effect = HostEffect;

    fn start(&self, effect: HostEffect) {
        match effect {
            HostEffect::TakeSnapshot(op) => self.snapshots.ask(SnapshotTask::TakeSnapshot(op)),
            HostEffect::Probe { op, portal, only_if_others_wait } => {
                let (sink, entry) = (self.sink.clone(), self.waiting.enter());
                if only_if_others_wait && !self.waiting.others_wait() {
                    drop(entry);
                    return (sink.0)(HostEvent::Probed { op, outcome: ProbeOutcome::Skipped });
                }
                self.net.probe(portal, move |outcome| {
                    drop(entry);
                    (sink.0)(HostEvent::Probed { op, outcome });
                });
            }
            HostEffect::Connect { op, request } => {
                let (sink, entry) = (self.sink.clone(), self.waiting.enter());
                self.connect_queue.connect(request, move |report| {
                    drop(entry);
                    (sink.0)(HostEvent::Connected { op, report: Box::new(report) });
                });
            }
            HostEffect::Disconnect { op, ctrl, ends_use, recheck_use } => {
                let (watcher, once) = (self.usage.clone(), recheck_use.is_some());
                let recheck = move || match &recheck_use {
                    Some(not_counted) => watcher.check_again(ctrl, not_counted),
                    None if ends_use && watcher.carriers().may_contain(ctrl.device) => {
                        Err(DisconnectError::CarriesSystem)
                    }
                    None => Ok(()),
                };
                self.spawn_detached(
                    &format!("delete-{}", ctrl.device),
                    move |roots| disconnect::disconnect_unless_claimed(roots, ctrl, once, recheck),
                    move |result| HostEvent::Disconnected { op, result },
                );
            }
            HostEffect::CheckUse { op, ctrl, not_counted } => {
                let watcher = self.usage.clone();
                self.spawn_detached(
                    "usage",
                    move |_| Ok(watcher.check(ctrl, &not_counted)),
                    move |usage: Result<_, NoThread>| {
                        let usage = usage.unwrap_or_else(|error| Usage::Unknown(error.into()));
                        HostEvent::UseChecked { op, usage }
                    },
                );
            }
            HostEffect::Resolve { op, name } => {
                let sink = self.sink.clone();
                self.net.resolve(name, move |result| (sink.0)(HostEvent::Resolved { op, result }));
            }
            HostEffect::Claim(ctrl) => self.snapshots.ask(SnapshotTask::Claim(ctrl)),
            HostEffect::RotateSecrets { op, ctrl, request } => {
                let sink = self.sink.clone();
                self.connect_queue.rotate(ctrl, request, move |outcome, blocked_for| {
                    (sink.0)(HostEvent::SecretsRotated { op, outcome, blocked_for });
                });
            }
            HostEffect::WaitFor(urgency) => self.waiting.wait_for(urgency),
            HostEffect::HideSecrets(ctrl) => self.snapshots.ask(SnapshotTask::Hide(ctrl)),
            // The daemon's shell writes the log and the state. These effects do not reach the host.
            HostEffect::Log(..) | HostEffect::Save => {}
        }
    }
}

/// A request to the snapshot thread.
#[derive(Clone, Copy, Debug)]
enum SnapshotTask {
    TakeSnapshot(OpId),
    /// Record this controller as ours in the registry.
    Claim(CtrlRef),
    /// The kernel removed the controller with this instance number. Second value: sequence number of the event.
    Removed(u32, u64),
    /// Hide the secrets of this controller.
    Hide(CtrlRef),
    /// Hide the secrets of the controller that has this instance number now.
    HideNew(u32),
}

/// Sends requests to the snapshot thread, which reads sysfs.
#[derive(Clone, Debug)]
struct Snapshots(mpsc::Sender<SnapshotTask>);

impl Snapshots {
    fn start(shared: &Shared, usage: Option<Arc<usage::Watcher>>, sink: EventSink) -> io::Result<Self> {
        let (tasks, received) = mpsc::channel();
        let (scanner, roots) = (shared.scanner.clone(), shared.roots.clone());
        thread::spawn("snapshot", move || {
            lock(&scanner).registry().sweep();
            loop {
                let due_in = usage.as_ref().and_then(|usage| usage.due_in());
                let task = match next_task(&received, due_in) {
                    Ok(task) => task,
                    Err(RecvTimeoutError::Timeout) => {
                        usage.as_ref().inspect(|usage| usage.read_counts());
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                };
                let prepare = |scanner: &mut Scanner| {
                    if let Some(usage) = &usage {
                        scanner.set_carriers(usage.carriers());
                    }
                };
                let tasks = std::iter::once(task).chain(received.try_iter());
                let snapshot = snapshot(&scanner, prepare, &roots, tasks, &sink);
                if let (Some(usage), Some(snapshot)) = (&usage, snapshot) {
                    usage.saw(&snapshot);
                }
            }
        })?;
        Ok(Self(tasks))
    }

    fn ask(&self, task: SnapshotTask) {
        // The thread ends when there is no sender any more.
        let _ = self.0.send(task);
    }
}

/// Waits for a task, for `at_most` this long. `None`: without limit.
fn next_task(
    received: &mpsc::Receiver<SnapshotTask>,
    at_most: Option<Duration>,
) -> Result<SnapshotTask, RecvTimeoutError> {
    match at_most {
        Some(limit) => received.recv_timeout(limit),
        None => received.recv().map_err(|_| RecvTimeoutError::Disconnected),
    }
}

/// Executes all tasks requested so far. One snapshot answers all snapshot requests. Returns it. `prepare` is called
/// before the snapshot.
fn snapshot(
    scanner: &Mutex<Scanner>,
    prepare: impl FnOnce(&mut Scanner),
    roots: &Roots,
    tasks: impl Iterator<Item = SnapshotTask>,
    sink: &EventSink,
) -> Option<Snapshot> {
    let mut asked = Vec::new();
    for task in tasks {
        match task {
            SnapshotTask::TakeSnapshot(op) => asked.push(op),
            SnapshotTask::Claim(ctrl) => claim(scanner, ctrl),
            SnapshotTask::Removed(device, seqnum) => lock(scanner).registry().removed(device, seqnum),
            SnapshotTask::Hide(ctrl) => secrets::hide(roots, ctrl),
            SnapshotTask::HideNew(device) => hide_secrets_of(roots, device),
        }
    }
    if asked.is_empty() {
        return None;
    }
    let result = {
        let mut scanner = lock(scanner);
        prepare(&mut scanner);
        scanner.snapshot()
    };
    for op in asked {
        (sink.0)(HostEvent::SnapshotTaken { op, result: result.clone() });
    }
    result.ok()
}

/// Records that a controller is ours, if it still exists and has no owner.
fn claim(scanner: &Mutex<Scanner>, ctrl: CtrlRef) {
    let mut scanner = lock(scanner);
    // A sysfs that cannot be read is reported with the next snapshot.
    let Ok(snapshot) = scanner.quick_snapshot() else { return };
    if let Some(kernel) = snapshot.controllers.iter().find(|kernel| kernel.ctrl == ctrl) {
        let owner = scanner.registry().adopted(kernel);
        scanner.set_owner(ctrl, owner);
    }
}

/// Passes the kernel's events on.
struct KernelEvents {
    sink: EventSink,
    snapshots: Snapshots,
    reconnected: Reconnected,
    writing_secrets: Arc<AtomicBool>,
}

impl KernelEvents {
    async fn run(self, mut uevents: Uevents) {
        loop {
            match uevents.next().await {
                Ok(incoming) => self.pass_on(incoming),
                Err(error) => {
                    uevents = restart_monitor("the kernel's events", &error, Uevents::listen).await;
                    (self.sink.0)(HostEvent::Overrun);
                }
            }
        }
    }

    fn pass_on(&self, incoming: Incoming) {
        let event = match incoming {
            Incoming::Overrun => return (self.sink.0)(HostEvent::Overrun),
            Incoming::Event(event) => event,
        };
        match event.kind {
            UeventKind::Connected | UeventKind::Rediscover => self.reconnected.note(event.device),
            // The kernel shows the secrets while it still connects.
            UeventKind::Add if self.writing_secrets.load(Ordering::Acquire) => {
                self.snapshots.ask(SnapshotTask::HideNew(event.device));
            }
            UeventKind::Remove => self.snapshots.ask(SnapshotTask::Removed(event.device, event.seqnum)),
            UeventKind::Add | UeventKind::Aen(_) | UeventKind::Other => {}
        }
        (self.sink.0)(HostEvent::Uevent(event));
    }
}

/// Passes changes of the network on.
async fn watch_links(mut watch: Watch, known: Arc<Mutex<Arc<Links>>>, sink: EventSink) {
    loop {
        match watch.next().await {
            Ok(Change::Links(links)) => {
                *lock(&known) = links.clone();
                (sink.0)(HostEvent::Links(links));
            }
            Ok(Change::RouteAdded) => (sink.0)(HostEvent::RouteAdded),
            Err(error) => watch = restart_monitor("the network interfaces", &error, Watch::start).await,
        }
    }
}

/// Starts a failed monitor again, every [`PAUSE`] until it succeeds.
async fn restart_monitor<T>(what: &str, error: &io::Error, start: impl Fn() -> io::Result<T>) -> T {
    tracing::error!("cannot read {what}: {error}. Listening anew in {PAUSE:?}");
    loop {
        sleep(PAUSE).await;
        if let Ok(fresh) = start() {
            return fresh;
        }
    }
}

#[cfg(test)]
mod tests;
