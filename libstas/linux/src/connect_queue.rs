//! The only thread that makes connections.
//!
//! The kernel makes one connection at a time, for all programs. So each daemon has one thread for it, and both daemons
//! lock the same file during the write. Then the time for which a daemon waits for the other one is not counted as the
//! time that the target took.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use super::fabrics::{Fabrics, NewController};
use super::secrets;
use super::sysfs::{ControllerDir, Scanner, inode};
use super::waiting::Waiting;
use super::{Roots, disconnect, rotation, thread};
use stas_core::{
    ConnectError, ConnectOutcome, ConnectReport, ConnectRequest, CtrlRef, Links, OsError, Rotated, RotationError,
    Snapshot, SnapshotError, matching,
};
use stas_nvme::Transport;
use stas_nvme::connect::{SecretLine, SupportedOptions, option_string};
use stas_nvme::secret::DhchapSecrets;

/// How long the thread leaves the lock free for a more urgent connection of the other daemon before it tries again.
const YIELD: Duration = Duration::from_millis(5);
/// Number of attempts to take the snapshot after a connect whose errors are ignored. The error of the next attempt is
/// reported.
const SNAPSHOT_TRIES: usize = 3;
/// If the other daemon has not used the lock for this long although it waits for a connection, it counts as stopped.
const PATIENCE: Duration = Duration::from_secs(5);

/// Data that the thread shares with the rest of this module.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Mount points of the kernel's file systems.
    pub roots: Roots,
    /// The only scanner of the process.
    pub scanner: Arc<Mutex<Scanner>>,
    /// The present network interfaces.
    pub links: Arc<Mutex<Arc<Links>>>,
    /// File that the daemons lock during the write.
    pub lock_file: PathBuf,
    /// For what each daemon waits.
    pub(super) waiting: Arc<Waiting>,
    /// True while a connection with secrets is being made: the kernel shows the secrets from the start.
    pub writing_secrets: Arc<AtomicBool>,
}

/// Sends requests to the thread.
#[derive(Debug)]
pub struct ConnectQueue {
    jobs: mpsc::Sender<Job>,
}

/// A request to the thread.
enum Job {
    Connect(Box<ConnectRequest>, Answer),
    Rotate(CtrlRef, Box<ConnectRequest>, RotationAnswer),
}

/// Receives the result of a rotation. Called once, on the thread that connects.
struct RotationAnswer(Box<dyn FnOnce(Rotated, Duration) + Send>);

/// Receives the result of a connect. Called once, on the thread that connects.
struct Answer(Box<dyn FnOnce(ConnectReport) + Send>);

impl ConnectQueue {
    /// Starts the thread.
    ///
    /// # Errors
    /// Fails if no thread can be started.
    pub fn start(shared: Shared) -> io::Result<Self> {
        let (jobs, received) = mpsc::channel::<Job>();
        thread::spawn("connect", move || {
            let mut worker = Worker::new(shared);
            for job in received {
                match job {
                    Job::Connect(request, Answer(answer)) => answer(worker.carry_out(&request)),
                    Job::Rotate(ctrl, request, RotationAnswer(answer)) => {
                        let (outcome, blocked_for) = worker.rotate(ctrl, &request);
                        answer(outcome, blocked_for);
                    }
                }
            }
        })?;
        Ok(Self { jobs })
    }

    /// Queues a connect request. `answer` is called once, on another thread, after the request was executed. It is
    /// never called if the kernel never returns.
    pub fn connect(&self, request: Box<ConnectRequest>, answer: impl FnOnce(ConnectReport) + Send + 'static) {
        let job = Job::Connect(request, Answer(Box::new(answer)));
        if let Err(mpsc::SendError(Job::Connect(_, Answer(answer)))) = self.jobs.send(job) {
            answer(failed(Snapshot::default(), Duration::ZERO, ConnectError::NoThread));
        }
    }

    /// Queues a change of the controller's secrets to those of the request. `answer` is called as in
    /// [`ConnectQueue::connect`].
    pub fn rotate(
        &self,
        ctrl: CtrlRef,
        request: Box<ConnectRequest>,
        answer: impl FnOnce(Rotated, Duration) + Send + 'static,
    ) {
        let job = Job::Rotate(ctrl, request, RotationAnswer(Box::new(answer)));
        if let Err(mpsc::SendError(Job::Rotate(_, _, RotationAnswer(answer)))) = self.jobs.send(job) {
            answer(Rotated::Unknown(ConnectError::NoThread.into()), Duration::ZERO);
        }
    }
}

/// State of the thread.
struct Worker {
    shared: Shared,
    fabrics: Fabrics,
    supported: Option<SupportedOptions>,
    has_warned: bool,
    /// Unsupported options that were already logged.
    logged: BTreeSet<&'static str>,
}

impl Worker {
    fn new(shared: Shared) -> Self {
        let fabrics = Fabrics::new(&shared.roots);
        Self { shared, fabrics, supported: None, has_warned: false, logged: BTreeSet::new() }
    }

    /// Executes one connect request.
    fn carry_out(&mut self, request: &ConnectRequest) -> ConnectReport {
        let lock = self.lock();
        let (before, found) = match self.look_for(request) {
            Ok(found) => found,
            Err(error) => return failed(Snapshot::default(), Duration::ZERO, error.into()),
        };
        if let Some(found) = found {
            return ConnectReport {
                outcome: ConnectOutcome::Found(found),
                snapshot: before,
                blocked_for: Duration::ZERO,
            };
        }
        let line = match self.line(request) {
            Ok(line) => line.reveal(),
            Err(error) => {
                let outcome = ConnectOutcome::Failed(error);
                return ConnectReport { outcome, snapshot: before, blocked_for: Duration::ZERO };
            }
        };
        let start = Instant::now();
        let written = self.write(request.tid.transport(), &line);
        let blocked_for = start.elapsed();
        drop(lock);
        let after = match &written {
            Ok(_) => self.snapshot_of_new(),
            Err(ConnectError::Already) => self.snapshot(),
            Err(_) => self.quick_snapshot(),
        };
        match after {
            Ok(mut snapshot) => {
                let device = written.as_ref().map(|new| new.instance).map_err(Clone::clone);
                let outcome = self.outcome(device, &snapshot, request);
                if let ConnectOutcome::Made(ctrl) = outcome {
                    self.own(&mut snapshot, ctrl);
                }
                ConnectReport { outcome, snapshot, blocked_for }
            }
            Err(error) => failed(before, blocked_for, error.into()),
        }
    }

    /// Changes the secrets of a controller to those of the request. Also returns how long this blocked the kernel's
    /// connect path.
    fn rotate(&mut self, ctrl: CtrlRef, request: &ConnectRequest) -> (Rotated, Duration) {
        let mut blocked_for = Duration::ZERO;
        let outcome = self.try_to_rotate(ctrl, request, &mut blocked_for);
        (outcome.unwrap_or_else(Rotated::Unknown), blocked_for)
    }

    fn try_to_rotate(
        &mut self,
        ctrl: CtrlRef,
        request: &ConnectRequest,
        blocked_for: &mut Duration,
    ) -> Result<Rotated, RotationError> {
        let Some(wanted) = request.secrets() else { return Ok(Rotated::Impossible) };
        let unread = |error: io::Error| RotationError::Sysfs(OsError::new(error));
        let dir = ControllerDir::open(&self.shared.roots, ctrl).map_err(unread)?.ok_or(RotationError::Gone)?;
        rotation::rotate(&dir, &wanted, |secrets| self.try_secrets(request, secrets, blocked_for)).map_err(unread)
    }

    /// Makes a trial connect with these secrets, or without secrets, and disconnects the resulting controller.
    fn try_secrets(
        &mut self,
        request: &ConnectRequest,
        secrets: Option<&DhchapSecrets>,
        blocked_for: &mut Duration,
    ) -> Result<(), ConnectError> {
        if !self.supported()?.has("discovery") {
            return Err(ConnectError::NoTrial);
        }
        let line = self.line(&request.with_secrets(secrets))?.reveal();
        let lock = self.lock();
        let start = Instant::now();
        let answer = self.write(request.tid.transport(), &line);
        *blocked_for += start.elapsed();
        drop(lock);
        let new = answer?;
        let device = new.instance;
        if let Ok(Some(inode)) = inode(&self.shared.roots.class(), device) {
            let made = CtrlRef { device, inode };
            drop(new);
            if let Err(error) = disconnect::disconnect(&self.shared.roots, made) {
                tracing::warn!("{made} was made to try a secret and cannot be disconnected: {error}");
            }
        }
        Ok(())
    }

    /// Determines the result of the write from the snapshot taken after it.
    fn outcome(
        &self,
        written: Result<u32, ConnectError>,
        snapshot: &Snapshot,
        request: &ConnectRequest,
    ) -> ConnectOutcome {
        match written {
            Ok(device) => match snapshot.controllers.iter().find(|ctrl| ctrl.ctrl.device == device) {
                Some(made) => ConnectOutcome::Made(made.ctrl),
                None => ConnectOutcome::Failed(ConnectError::Vanished(device)),
            },
            Err(ConnectError::Already) => match self.serving(snapshot, request) {
                Some(found) => ConnectOutcome::Found(found),
                None => ConnectOutcome::Failed(ConnectError::Already),
            },
            Err(error) => ConnectOutcome::Failed(error),
        }
    }

    /// Records the controller as ours. This is urgent: until then other programs may disconnect it.
    fn own(&self, snapshot: &mut Snapshot, ctrl: CtrlRef) {
        let scanner = || self.shared.scanner.lock().unwrap_or_else(PoisonError::into_inner);
        let registry = scanner().registry();
        if let Some(made) = snapshot.controllers.iter_mut().find(|made| made.ctrl == ctrl) {
            let owner = registry.connected(made);
            // A quick snapshot does not read the owner again.
            scanner().set_owner(ctrl, owner.clone());
            Arc::make_mut(made).owner = owner;
        }
    }

    fn serving(&self, snapshot: &Snapshot, request: &ConnectRequest) -> Option<CtrlRef> {
        let links = self.shared.links.lock().unwrap_or_else(PoisonError::into_inner).clone();
        matching::find_for(snapshot, request, &links).map(|ctrl| ctrl.ctrl)
    }

    /// Returns the controller that already serves the request, if any. Its state is read again, because a quick
    /// snapshot may be stale.
    fn look_for(&self, request: &ConnectRequest) -> Result<(Snapshot, Option<CtrlRef>), SnapshotError> {
        let mut snapshot = self.quick_snapshot()?;
        let mut found = self.serving(&snapshot, request);
        if found.is_some() {
            snapshot = self.snapshot()?;
            found = self.serving(&snapshot, request);
        }
        Ok((snapshot, found))
    }

    fn quick_snapshot(&self) -> Result<Snapshot, SnapshotError> {
        self.shared.scanner.lock().unwrap_or_else(PoisonError::into_inner).quick_snapshot()
    }

    /// The snapshot with a controller that was just made. One unreadable attribute of any controller makes a snapshot
    /// fail; without a snapshot the new controller would have no owner until the next attempt finds it.
    fn snapshot_of_new(&self) -> Result<Snapshot, SnapshotError> {
        let mut snapshots = std::iter::repeat_with(|| self.quick_snapshot()).take(SNAPSHOT_TRIES);
        snapshots.find(Result::is_ok).unwrap_or_else(|| self.quick_snapshot())
    }

    fn snapshot(&self) -> Result<Snapshot, SnapshotError> {
        self.shared.scanner.lock().unwrap_or_else(PoisonError::into_inner).snapshot()
    }

    /// Makes the option string. Reading the supported options may have to wait for another program's connect.
    fn line(&mut self, request: &ConnectRequest) -> Result<SecretLine, ConnectError> {
        let ConnectRequest { tid, parameters, identity, purpose, .. } = request;
        let line = option_string(tid, parameters, identity, *purpose, self.supported()?)?;
        for option in line.left_out() {
            if self.logged.insert(option) {
                tracing::warn!("this kernel does not know the option {option}: connections are made without it");
            }
        }
        Ok(line)
    }

    /// Writes the options, and hides the secrets as soon as the new controller is known.
    fn write(&self, transport: Transport, line: &str) -> Result<NewController, ConnectError> {
        let has_secrets = line.contains("secret=");
        self.shared.writing_secrets.store(has_secrets, Ordering::Release);
        let written = self.fabrics.connect(transport, line);
        self.shared.writing_secrets.store(false, Ordering::Release);
        if let (true, Ok(new)) = (has_secrets, &written) {
            hide_secrets_of(&self.shared.roots, new.instance);
        }
        written
    }

    /// The options that the kernel supports. Reading them is repeated until it has succeeded once.
    fn supported(&mut self) -> Result<&SupportedOptions, ConnectError> {
        match &mut self.supported {
            Some(known) => Ok(known),
            unknown => {
                let failed = |error: io::Error| ConnectError::Read {
                    errno: error.raw_os_error().unwrap_or(0),
                    error: OsError::new(error),
                };
                Ok(unknown.insert(self.fabrics.supported().map_err(failed)?))
            }
        }
    }

    /// Locks the file that both daemons lock. Without the lock, the time of the other daemon's connects is counted as
    /// time that the target took. Lets a more urgent connection of the other daemon go first, as long as that daemon
    /// makes progress.
    fn lock(&mut self) -> Option<Flock<File>> {
        let mut idle = Duration::ZERO;
        loop {
            let start = Instant::now();
            let lock = self.lock_now()?;
            if start.elapsed() > YIELD {
                // The other daemon has made a connection meanwhile.
                idle = Duration::ZERO;
            }
            if idle >= PATIENCE || !self.shared.waiting.more_urgent_waits() {
                return Some(lock);
            }
            drop(lock);
            std::thread::sleep(YIELD);
            idle += YIELD;
        }
    }

    fn lock_now(&mut self) -> Option<Flock<File>> {
        let locked = open_lock(&self.shared.lock_file)
            .and_then(|file| Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into()));
        match locked {
            Ok(lock) => Some(lock),
            Err(error) => {
                if !std::mem::replace(&mut self.has_warned, true) {
                    let path = self.shared.lock_file.display();
                    tracing::warn!(
                        "cannot lock {path}: {error}. Connecting goes on without; the time that another daemon spends \
                         in the kernel then counts as the target's"
                    );
                }
                None
            }
        }
    }
}

/// Opens the lock file. It is opened for each connect: if it was removed, both daemons soon lock the same file again.
/// systemd creates its directory; without systemd it is created here.
fn open_lock(path: &Path) -> io::Result<File> {
    let open = || File::options().create(true).truncate(false).write(true).mode(0o600).open(path);
    match (open(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().mode(0o700).create(parent)?;
            open()
        }
        (opened, _) => opened,
    }
}

/// Hides the secrets of the controller that now has this instance number.
pub(super) fn hide_secrets_of(roots: &Roots, device: u32) {
    if let Ok(Some(inode)) = inode(&roots.class(), device) {
        secrets::hide(roots, CtrlRef { device, inode });
    }
}

fn failed(snapshot: Snapshot, blocked_for: Duration, error: ConnectError) -> ConnectReport {
    ConnectReport { outcome: ConnectOutcome::Failed(error), snapshot, blocked_for }
}

#[cfg(test)]
mod tests;
