//! Runs the simulator: one loop owns it, and tasks transfer the bytes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::control::{Control, ControlRequest};
use super::listeners::Listeners;
use super::sockets::Sockets;
use super::{ShellError, sockets};
use crate::arguments::Run;
use crate::configuration::Configuration;
use crate::simulator::{Action, Event, Simulator};

/// The default address: all addresses, with the port of discovery controllers.
const LISTEN: &str = "[::]:8009";
/// Maximum number of events waiting for the loop. If it is reached, connections are not read.
const EVENTS: usize = 256;

/// Runs the simulator until it is stopped.
///
/// # Errors
/// Fails if it cannot read its file, listen, or create its control socket.
pub fn serve(run: &Run, control: &Path) -> Result<(), ShellError> {
    let level = if run.verbose { tracing::Level::INFO } else { tracing::Level::WARN };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false).init();
    let configuration = configuration(run)?;
    let world = configuration.world().map_err(|error| ShellError::Configuration(named(run, &error.to_string())))?;
    allow_many_connections();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(ShellError::io("starting the runtime"))?;
    runtime.block_on(Shell::run(Simulator::new(world), &configuration, run, control))
}

/// Raises the limit for open files: each connection needs a descriptor.
fn allow_many_connections() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE)
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, most, most)
    {
        tracing::warn!("the limit of open files cannot be raised: {error}");
    }
}

fn configuration(run: &Run) -> Result<Configuration, ShellError> {
    let text = match &run.file {
        Some(file) => fs::read_to_string(file).map_err(ShellError::io(format!("reading {}", file.display())))?,
        None => String::new(),
    };
    let parsed = Configuration::parse(&text);
    let mut configuration = parsed.map_err(|error| ShellError::Configuration(named(run, &error.to_string())))?;
    if !run.listen.is_empty() {
        configuration.listen.clone_from(&run.listen);
    }
    if configuration.listen.is_empty() {
        configuration.listen.extend(LISTEN.parse::<std::net::SocketAddr>());
    }
    if let Some(nqn) = &run.nqn {
        configuration.nqn.clone_from(nqn);
    }
    configuration.dctype = run.dctype.unwrap_or(configuration.dctype);
    Ok(configuration)
}

/// The text of an error, with the name of the file.
fn named(run: &Run, what: &str) -> String {
    run.file.as_ref().map_or_else(|| what.to_owned(), |file| format!("{}: {what}", file.display()))
}

struct Shell {
    simulator: Simulator,
    started: Instant,
    sockets: Sockets,
    listeners: Listeners,
    stopping: bool,
}

impl Shell {
    async fn run(
        simulator: Simulator,
        configuration: &Configuration,
        run: &Run,
        control: &Path,
    ) -> Result<(), ShellError> {
        let (sender, mut events) = mpsc::channel(EVENTS);
        let sockets = Sockets::new(sender.clone());
        let listeners = Listeners::open(&configuration.listen, sockets::Accepted::new(sender)).await?;
        let announcer = match &run.announce {
            Some(name) => Some(super::listeners::announce(name, &configuration.nqn, &listeners)?),
            None => None,
        };
        // Created last: when the socket exists, the simulator listens.
        let (sender, mut requests) = mpsc::channel(EVENTS);
        let control = Control::open(control, sender)?;
        let failed = || ShellError::io("listening for signals");
        let mut terminate = signal(SignalKind::terminate()).map_err(failed())?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed())?;
        let mut shell = Self { simulator, started: Instant::now(), sockets, listeners, stopping: false };
        while !shell.stopping {
            let deadline = shell.simulator.deadline();
            let until = shell.started + deadline.unwrap_or(Duration::from_secs(3600));
            tokio::select! {
                Some(event) = events.recv() => {
                    shell.take(event).await;
                    // Handles all waiting events before it checks the deadlines of the connections again.
                    for _ in 0..EVENTS {
                        let Ok(event) = events.try_recv() else { break };
                        shell.take(event).await;
                    }
                }
                Some(request) = requests.recv() => shell.answer(request).await,
                () = sleep_until(until.into()) => shell.handle(Event::Tick).await,
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        if let Some(announcer) = announcer {
            super::listeners::take_back(&announcer);
        }
        control.close().await;
        Ok(())
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Handles an event of a socket.
    async fn take(&mut self, event: sockets::SocketEvent) {
        let event = match event {
            sockets::SocketEvent::Accepted { stream, peer, local, port } => {
                let id = self.sockets.add(stream);
                Event::Accepted { id, peer, local, port }
            }
            sockets::SocketEvent::Received { id, bytes } => Event::Received { id, bytes },
            sockets::SocketEvent::Closed { id } => {
                self.sockets.forget(id);
                Event::Closed { id }
            }
        };
        self.handle(event).await;
    }

    async fn handle(&mut self, event: Event) {
        let actions = self.simulator.handle(self.now(), event);
        self.act(actions).await;
    }

    async fn answer(&mut self, ControlRequest { request, reply }: ControlRequest) {
        let (answer, actions) = self.simulator.request(self.now(), request);
        // Perform the actions before the answer reports them.
        self.act(actions).await;
        // The client may have disconnected.
        let _ = reply.send(answer);
    }

    async fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send { id, bytes } => self.sockets.send(id, bytes),
                Action::Close { id } => self.sockets.close(id),
                Action::Reset { id } => self.sockets.reset(id),
                Action::Listen(true) => self.listeners.resume().await,
                Action::Listen(false) => self.listeners.pause().await,
                Action::Say(text) => tracing::info!("{text}"),
                Action::Stop => self.stopping = true,
            }
        }
    }
}
