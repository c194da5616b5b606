//! Executes the cores' effects on the host and reports results and events: the entry point of this module.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;

use super::connect_queue::{ConnectQueue, Shared, hide_secrets_of};
use super::links::{Change, Watch};
use super::sysfs::{Reconnected, Scanner};
use super::uevents::{Incoming, Uevents};
use super::waiting::Waiting;
use super::{Roots, disconnect, names, probe, secrets, thread, usage};
use stas_core::{
    CtrlRef, Host, HostEffect, HostEvent, Links, NoThread, OpId, OsError, ProbeOutcome, Snapshot, UeventKind, Usage,
};

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
}

/// File that both daemons lock during a write to /dev/nvme-fabrics. systemd creates its directory.
const LOCK_FILE: &str = "/run/nvme-stas/connect.lock";

impl Default for Setup {
    /// The host on which this process runs.
    fn default() -> Self {
        Self { roots: Roots::default(), lock_file: LOCK_FILE.into(), in_use_socket: None }
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
    runtime: Handle,
    tell: Tell,
}

/// Receives the host's events. It must not block, and may drop events after the end of the daemon.
///
/// The number of events is limited by the number of requests, except for the kernel's events. Those are read on the
/// core's runtime: if the core is late they wait in the kernel's buffer, and a full buffer becomes one overrun.
#[derive(Clone)]
struct Tell(Arc<dyn Fn(HostEvent) + Send + Sync>);

impl std::fmt::Debug for Tell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tell")
    }
}

impl LinuxHost {
    /// Starts to monitor the kernel. All events from now on are passed to `tell`. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] if the kernel provides no socket for its events, or no thread can be started.
    pub fn start(setup: Setup, tell: impl Fn(HostEvent) + Send + Sync + 'static) -> Result<Self, StartError> {
        let failed = |what| move |source| StartError { what, source };
        let tell = Tell(Arc::new(tell));
        let scanner = Scanner::new(setup.roots.clone());
        let reconnected = scanner.reconnected();
        let shared = Shared {
            roots: setup.roots.clone(),
            scanner: Arc::new(Mutex::new(scanner)),
            links: Arc::default(),
            lock_file: setup.lock_file,
            writing_secrets: Arc::default(),
        };
        let uevents = Uevents::listen().map_err(failed("listen to the kernel's events"))?;
        let watch = Watch::start().map_err(failed("watch the network interfaces"))?;
        let watches_usage = setup.in_use_socket.is_some();
        let usage = Arc::new(usage::Watcher::new(&setup.roots, setup.in_use_socket));
        let snapshots = Snapshots::start(&shared, watches_usage.then(|| usage.clone()), tell.clone())
            .map_err(failed("start a thread"))?;
        let kernel = KernelEvents {
            tell: tell.clone(),
            snapshots: snapshots.clone(),
            reconnected,
            writing_secrets: shared.writing_secrets.clone(),
        };
        tokio::spawn(kernel.run(uevents));
        tokio::spawn(watch_links(watch, shared.links.clone(), tell.clone()));
        let waiting = Waiting::new(shared.lock_file.with_file_name("waiting"));
        let connect_queue = ConnectQueue::start(shared).map_err(failed("start a thread"))?;
        Ok(Self { roots: setup.roots, connect_queue, waiting, snapshots, usage, runtime: Handle::current(), tell })
    }

    /// Runs blocking `work` on its own thread and reports its result.
    fn apart<T, E: From<NoThread>>(
        &self,
        name: &str,
        work: impl FnOnce(&Roots) -> Result<T, E> + Send + 'static,
        event: impl Fn(Result<T, E>) -> HostEvent + Clone + Send + 'static,
    ) {
        let (roots, tell, told) = (self.roots.clone(), self.tell.clone(), event.clone());
        if let Err(error) = thread::spawn(name, move || (tell.0)(told(work(&roots)))) {
            (self.tell.0)(event(Err(NoThread(OsError::new(error)).into())));
        }
    }
}

impl Host for LinuxHost {
    type Effect = HostEffect;

    fn start(&self, effect: HostEffect) {
        match effect {
            HostEffect::TakeSnapshot(op) => self.snapshots.ask(Task::TakeSnapshot(op)),
            HostEffect::Probe { op, portal, handshake, only_if_others_wait } => {
                let (tell, waiting) = (self.tell.clone(), self.waiting.clone());
                let entry = waiting.enter();
                self.runtime.spawn(async move {
                    let outcome = match only_if_others_wait && !waiting.others_wait() {
                        true => ProbeOutcome::Skipped,
                        false => probe::probe(&portal, handshake).await,
                    };
                    drop(entry);
                    (tell.0)(HostEvent::Probed { op, outcome });
                });
            }
            HostEffect::Connect { op, request } => {
                let (tell, entry) = (self.tell.clone(), self.waiting.enter());
                self.connect_queue.connect(request, move |report| {
                    drop(entry);
                    (tell.0)(HostEvent::Connected { op, report: Box::new(report) });
                });
            }
            HostEffect::Disconnect { op, ctrl } => self.apart(
                &format!("delete-{}", ctrl.device),
                move |roots| disconnect::disconnect_unless_claimed(roots, ctrl),
                move |result| HostEvent::Disconnected { op, result },
            ),
            HostEffect::CheckUse { op, ctrl, disconnecting } => {
                let watcher = self.usage.clone();
                self.apart(
                    "usage",
                    move |_| Ok(watcher.check(ctrl, &disconnecting)),
                    move |usage: Result<_, NoThread>| {
                        let usage = usage.unwrap_or_else(|error| Usage::Unknown(error.into()));
                        HostEvent::UseChecked { op, usage }
                    },
                );
            }
            HostEffect::Resolve { op, name } => {
                self.apart("names", move |_| names::resolve(&name), move |result| HostEvent::Resolved { op, result })
            }
            HostEffect::Claim(ctrl) => self.snapshots.ask(Task::Claim(ctrl)),
            HostEffect::RotateSecrets { op, ctrl, request } => {
                let tell = self.tell.clone();
                self.connect_queue.rotate(ctrl, request, move |outcome, held| {
                    (tell.0)(HostEvent::SecretsRotated { op, outcome, held });
                });
            }
            HostEffect::HideSecrets(ctrl) => self.snapshots.ask(Task::Hide(ctrl)),
            // The daemon's shell writes the log and the state. These effects do not reach the host.
            HostEffect::Log(..) | HostEffect::Save => {}
        }
    }
}

/// A request to the snapshot thread.
#[derive(Clone, Copy, Debug)]
enum Task {
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
struct Snapshots(mpsc::Sender<Task>);

impl Snapshots {
    fn start(shared: &Shared, usage: Option<Arc<usage::Watcher>>, tell: Tell) -> io::Result<Self> {
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
                let snapshot = snapshot(&scanner, &roots, std::iter::once(task).chain(received.try_iter()), &tell);
                if let (Some(usage), Some(snapshot)) = (&usage, snapshot) {
                    usage.saw(&snapshot);
                }
            }
        })?;
        Ok(Self(tasks))
    }

    fn ask(&self, task: Task) {
        // The thread ends when there is no sender any more.
        let _ = self.0.send(task);
    }
}

/// Waits for a task, for `at_most` this long. `None`: without limit.
fn next_task(received: &mpsc::Receiver<Task>, at_most: Option<Duration>) -> Result<Task, RecvTimeoutError> {
    match at_most {
        Some(limit) => received.recv_timeout(limit),
        None => received.recv().map_err(|_| RecvTimeoutError::Disconnected),
    }
}

/// Executes all tasks requested so far. One snapshot answers all snapshot requests, and is returned.
fn snapshot(
    scanner: &Mutex<Scanner>,
    roots: &Roots,
    tasks: impl Iterator<Item = Task>,
    tell: &Tell,
) -> Option<Snapshot> {
    let mut asked = Vec::new();
    for task in tasks {
        match task {
            Task::TakeSnapshot(op) => asked.push(op),
            Task::Claim(ctrl) => claim(scanner, ctrl),
            Task::Removed(device, seqnum) => lock(scanner).registry().removed(device, seqnum),
            Task::Hide(ctrl) => secrets::hide(roots, ctrl),
            Task::HideNew(device) => hide_secrets_of(roots, device),
        }
    }
    if asked.is_empty() {
        return None;
    }
    let result = lock(scanner).snapshot();
    for op in asked {
        (tell.0)(HostEvent::SnapshotTaken { op, result: result.clone() });
    }
    result.ok()
}

/// Records that a controller is ours, if it still exists and has no owner.
fn claim(scanner: &Mutex<Scanner>, ctrl: CtrlRef) {
    let mut scanner = lock(scanner);
    // A sysfs that cannot be read is reported with the next snapshot.
    let Ok(snapshot) = scanner.quick_snapshot() else { return };
    if let Some(kernel) = snapshot.controllers.iter().find(|kernel| kernel.ctrl == ctrl) {
        let _ = scanner.registry().adopted(kernel);
    }
}

/// Passes the kernel's events on.
struct KernelEvents {
    tell: Tell,
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
                    uevents = anew("the kernel's events", &error, Uevents::listen).await;
                    (self.tell.0)(HostEvent::Overrun);
                }
            }
        }
    }

    fn pass_on(&self, incoming: Incoming) {
        let event = match incoming {
            Incoming::Overrun => return (self.tell.0)(HostEvent::Overrun),
            Incoming::Event(event) => event,
        };
        match event.kind {
            UeventKind::Connected | UeventKind::Rediscover => self.reconnected.note(event.device),
            // The kernel shows the secrets while it still connects.
            UeventKind::Add if self.writing_secrets.load(Ordering::Acquire) => {
                self.snapshots.ask(Task::HideNew(event.device));
            }
            UeventKind::Remove => self.snapshots.ask(Task::Removed(event.device, event.seqnum)),
            UeventKind::Add | UeventKind::Aen(_) | UeventKind::Other => {}
        }
        (self.tell.0)(HostEvent::Uevent(event));
    }
}

/// Passes changes of the network on.
async fn watch_links(mut watch: Watch, known: Arc<Mutex<Arc<Links>>>, tell: Tell) {
    loop {
        match watch.next().await {
            Ok(Change::Links(links)) => {
                *lock(&known) = links.clone();
                (tell.0)(HostEvent::Links(links));
            }
            Ok(Change::RouteAdded) => (tell.0)(HostEvent::RouteAdded),
            Err(error) => watch = anew("the network interfaces", &error, Watch::start).await,
        }
    }
}

/// Starts a failed monitor again, every [`PAUSE`] until it succeeds.
async fn anew<T>(what: &str, error: &io::Error, start: impl Fn() -> io::Result<T>) -> T {
    tracing::error!("cannot read {what}: {error}. Listening anew in {PAUSE:?}");
    loop {
        sleep(PAUSE).await;
        if let Ok(fresh) = start() {
            return fresh;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
