//! The event loop owns a core: it passes events to the core, executes its effects and answers queries.
//!
//! There are four inputs: events (host, bus, shell), queries (closures that read the core), signals, and time. Each
//! iteration takes one batch from one input, chosen at random among the ready ones, so that a storm on one input does
//! not delay the others. systemd's watchdog is only triggered here, so a loop that hangs misses it.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::clock::Clock;
use super::signals::Signal;
use super::systemd::Supervisor;
use stas_core::{Machine, Time};

/// Maximum number of events in one iteration.
const EVENTS: usize = 64;
/// Maximum number of queries in one iteration.
const QUERIES: usize = 16;
/// Maximum number of queued queries. Further callers on the bus wait.
const QUERIES_WAITING: usize = 64;
/// Minimum time between two saves.
const SAVE_PACE: Duration = Duration::from_millis(500);
/// Minimum time between two status lines.
const STATUS_PACE: Duration = Duration::from_secs(1);
/// Time limit for the last effects when the daemon stops. The core itself waits 5 s at most.
const STOP_LIMIT: Duration = Duration::from_secs(7);

/// A query: reads the core and sends the result to the caller.
type Query<C> = Box<dyn FnOnce(&C, Time) + Send>;

/// Executes a core's effects in a daemon.
pub trait Shell {
    /// State machine whose effects are executed.
    type Core: Machine;

    /// Starts an effect and returns at once.
    fn perform(&mut self, core: &Self::Core, effect: <Self::Core as Machine>::Effect) -> FollowUp;

    /// Called after the core has handled a batch of events, and their effects were started.
    fn handled(&mut self, _core: &Self::Core) {}

    /// Reads the configuration again. Returns the events that tell the core.
    fn reload(&mut self) -> Vec<<Self::Core as Machine>::Event>;

    /// Called when the daemon must stop. Returns the events that tell the core.
    fn stop(&mut self) -> Vec<<Self::Core as Machine>::Event>;

    /// True if a daemon that must stop may end now.
    fn settled(&self, core: &Self::Core) -> bool;

    /// Saves the core's state. Returns at once.
    fn save(&mut self, core: &Self::Core);

    /// The daemon's status in one line, for systemd.
    fn status(&self, core: &Self::Core) -> String;
}

/// What the loop must do after an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowUp {
    /// The effect needs no further action.
    Done,
    /// Save the core's state soon.
    Save,
}

/// Gives other tasks access to a running loop.
#[derive(Debug)]
pub struct Handle<C: Machine> {
    events: mpsc::UnboundedSender<C::Event>,
    queries: mpsc::Sender<Query<C>>,
}

impl<C: Machine> Clone for Handle<C> {
    fn clone(&self) -> Self {
        Self { events: self.events.clone(), queries: self.queries.clone() }
    }
}

/// The loop has ended because the daemon stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the daemon is stopping")]
pub struct Stopped;

impl<C: Machine> Handle<C> {
    /// Queues an event for the core. Events after the end of the loop are dropped.
    pub fn post(&self, event: C::Event) {
        let _ = self.events.send(event);
    }

    /// Queues a query and waits for its result.
    ///
    /// # Errors
    /// [`Stopped`] if the loop has ended.
    pub async fn ask<R: Send + 'static>(
        &self,
        query: impl FnOnce(&C, Time) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (sender, answer) = oneshot::channel();
        // The caller may no longer wait.
        let boxed: Query<C> = Box::new(move |core, now| drop(sender.send(query(core, now))));
        self.queries.send(boxed).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}

/// The receivers of a [`Handle`].
#[derive(Debug)]
pub struct Inbox<C: Machine> {
    events: mpsc::UnboundedReceiver<C::Event>,
    queries: mpsc::Receiver<Query<C>>,
}

/// Creates a handle and its receivers. The handle can be used before [`EventLoop::new`].
#[must_use]
pub fn channel<C: Machine>() -> (Handle<C>, Inbox<C>) {
    let (event_sender, events) = mpsc::unbounded_channel();
    let (query_sender, queries) = mpsc::channel(QUERIES_WAITING);
    (Handle { events: event_sender, queries: query_sender }, Inbox { events, queries })
}

/// Connects a core, its shell, a clock and a supervisor.
pub struct EventLoop<S: Shell, K, V> {
    core: S::Core,
    shell: S,
    clock: K,
    supervisor: V,
    inbox: Inbox<S::Core>,
    out: Vec<<S::Core as Machine>::Effect>,
    save_at: Option<Time>,
    saved_at: Option<Time>,
    status_at: Option<Time>,
    status: String,
    stop_by: Option<Time>,
}

impl<S: Shell + std::fmt::Debug, K, V> std::fmt::Debug for EventLoop<S, K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLoop").field("shell", &self.shell).field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why an iteration of the loop was started.
enum Wakeup<C: Machine, E> {
    Events(Vec<C::Event>),
    Queries(Vec<Query<C>>),
    Signal(Signal),
    Time,
    Alive,
    Lost(E),
}

impl<S: Shell, K: Clock, V: Supervisor> EventLoop<S, K, V> {
    /// Creates a loop for a core.
    pub fn new(core: S::Core, shell: S, clock: K, supervisor: V, inbox: Inbox<S::Core>) -> Self {
        Self {
            core,
            shell,
            clock,
            supervisor,
            inbox,
            out: Vec::new(),
            save_at: None,
            saved_at: None,
            status_at: None,
            status: String::new(),
            stop_by: None,
        }
    }

    /// Reports readiness to systemd and runs until the daemon must stop or `lost` returns. Before it returns, the
    /// core's state is passed to [`Shell::save`].
    ///
    /// # Errors
    /// The result of `lost`: the daemon cannot continue.
    pub async fn run<E>(
        mut self,
        first: Vec<<S::Core as Machine>::Event>,
        mut signals: mpsc::Receiver<Signal>,
        lost: impl Future<Output = E>,
    ) -> Result<(), E> {
        let mut lost = std::pin::pin!(lost);
        let mut heartbeat = self.supervisor.watchdog_period().map(|period| {
            let mut heartbeat = interval(period);
            heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            heartbeat
        });
        self.take_in(first);
        self.supervisor.ready();
        let result = loop {
            match self.next_wakeup(&mut signals, heartbeat.as_mut(), lost.as_mut()).await {
                Wakeup::Events(events) => self.take_in(events),
                Wakeup::Queries(queries) => self.answer(queries),
                Wakeup::Signal(Signal::Reload) => self.reload(),
                Wakeup::Signal(Signal::Stop) => self.stop(),
                Wakeup::Time => self.keep_time(),
                Wakeup::Alive => self.supervisor.alive(),
                Wakeup::Lost(error) => break Err(error),
            }
            if self.stop_by.is_some_and(|limit| self.shell.settled(&self.core) || limit <= self.clock.now()) {
                break Ok(());
            }
            // Lets the bus's tasks and other tasks run.
            tokio::task::yield_now().await;
        };
        self.shell.save(&self.core);
        result
    }

    async fn next_wakeup<E>(
        &mut self,
        signals: &mut mpsc::Receiver<Signal>,
        heartbeat: Option<&mut Interval>,
        lost: std::pin::Pin<&mut impl Future<Output = E>>,
    ) -> Wakeup<S::Core, E> {
        let wake = [self.core.deadline(), self.save_at, self.status_at, self.stop_by].into_iter().flatten().min();
        let (mut events, mut queries) = (Vec::new(), Vec::new());
        let Inbox { events: event_receiver, queries: query_receiver } = &mut self.inbox;
        tokio::select! {
            1.. = event_receiver.recv_many(&mut events, EVENTS) => Wakeup::Events(events),
            1.. = query_receiver.recv_many(&mut queries, QUERIES) => Wakeup::Queries(queries),
            Some(signal) = signals.recv() => Wakeup::Signal(signal),
            () = self.clock.sleep_until(wake.unwrap_or_default()), if wake.is_some() => Wakeup::Time,
            () = beat(heartbeat) => Wakeup::Alive,
            error = lost => Wakeup::Lost(error),
        }
    }

    fn take_in(&mut self, events: Vec<<S::Core as Machine>::Event>) {
        for event in events {
            self.core.handle(self.clock.now(), event, &mut self.out);
            self.carry_out();
        }
        self.shell.handled(&self.core);
        let now = self.clock.now();
        self.status_at.get_or_insert(if self.status.is_empty() { now } else { now + STATUS_PACE });
    }

    fn carry_out(&mut self) {
        // The vector is not kept: it would stay as long as the longest burst.
        for effect in std::mem::take(&mut self.out) {
            if self.shell.perform(&self.core, effect) == FollowUp::Save && self.save_at.is_none() {
                let now = self.clock.now();
                self.save_at = Some(self.saved_at.map_or(now, |last| now.max(last + SAVE_PACE)));
            }
        }
    }

    fn answer(&mut self, queries: Vec<Query<S::Core>>) {
        let now = self.clock.now();
        for query in queries {
            query(&self.core, now);
        }
    }

    fn reload(&mut self) {
        self.supervisor.reloading();
        let events = self.shell.reload();
        self.take_in(events);
        self.supervisor.ready();
    }

    fn stop(&mut self) {
        if self.stop_by.is_none() {
            self.supervisor.stopping();
            let events = self.shell.stop();
            self.take_in(events);
            self.stop_by = Some(self.clock.now() + STOP_LIMIT);
        }
    }

    fn keep_time(&mut self) {
        let now = self.clock.now();
        let due = |moment: Option<Time>| moment.is_some_and(|moment| moment <= now);
        if due(self.core.deadline()) {
            self.take_in(vec![S::Core::TICK]);
        }
        if due(self.save_at) {
            self.save_at = None;
            self.saved_at = Some(now);
            self.shell.save(&self.core);
        }
        if due(self.status_at) {
            self.status_at = None;
            let status = self.shell.status(&self.core);
            if status != self.status {
                self.supervisor.status(&status);
                self.status = status;
            }
        }
    }
}

/// Waits for the next watchdog signal. Forever if there is no watchdog.
async fn beat(heartbeat: Option<&mut Interval>) {
    match heartbeat {
        Some(heartbeat) => drop(heartbeat.tick().await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::time::{Instant, sleep};

    use super::*;

    /// Counts events, and requests a tick every ten seconds.
    #[derive(Debug, Default)]
    struct Counter {
        count: u64,
        ticks: Vec<Time>,
    }

    #[derive(Debug)]
    enum Event {
        Count,
        Tick,
    }

    impl Machine for Counter {
        type Event = Event;
        type Effect = u64;

        const TICK: Event = Event::Tick;

        fn handle(&mut self, now: Time, event: Event, out: &mut Vec<u64>) {
            match event {
                Event::Count => {
                    self.count += 1;
                    out.push(self.count);
                }
                Event::Tick => self.ticks.push(now),
            }
        }

        fn deadline(&self) -> Option<Time> {
            Some(Time(Duration::from_secs(10 * (self.ticks.len() as u64 + 1))))
        }
    }

    /// Records actions in order, with the second in which they happened.
    #[derive(Clone, Debug)]
    struct Diary(Arc<Mutex<Vec<(u64, String)>>>, Instant);

    impl Diary {
        fn note(&self, what: impl Into<String>) {
            self.0.lock().unwrap().push((self.1.elapsed().as_secs(), what.into()));
        }

        fn words(&self) -> Vec<String> {
            self.0.lock().unwrap().iter().map(|(_, what)| what.clone()).collect()
        }

        fn count(&self, word: &str) -> usize {
            self.words().iter().filter(|what| *what == word).count()
        }
    }

    #[derive(Debug)]
    struct Toy {
        diary: Diary,
        settles: bool,
    }

    impl Shell for Toy {
        type Core = Counter;

        fn perform(&mut self, _: &Counter, _: u64) -> FollowUp {
            FollowUp::Save
        }
        fn reload(&mut self) -> Vec<Event> {
            self.diary.note("read");
            vec![Event::Count]
        }
        fn stop(&mut self) -> Vec<Event> {
            vec![Event::Count]
        }
        fn settled(&self, _: &Counter) -> bool {
            self.settles
        }
        fn save(&mut self, _: &Counter) {
            self.diary.note("save");
        }
        fn status(&self, core: &Counter) -> String {
            format!("{} counted", core.count)
        }
    }

    struct Watching(Diary);

    impl Supervisor for Watching {
        fn ready(&self) {
            self.0.note("ready");
        }
        fn reloading(&self) {
            self.0.note("reloading");
        }
        fn stopping(&self) {
            self.0.note("stopping");
        }
        fn status(&self, line: &str) {
            self.0.note(line);
        }
        fn alive(&self) {
            self.0.note("alive");
        }
        fn watchdog_period(&self) -> Option<Duration> {
            Some(Duration::from_secs(5))
        }
    }

    /// tokio's paused test clock.
    struct Paused(Instant);

    impl Clock for Paused {
        fn now(&self) -> Time {
            Time(self.0.elapsed())
        }
        async fn sleep_until(&self, moment: Time) {
            tokio::time::sleep_until(self.0 + moment.0).await;
        }
    }

    struct Running {
        handle: Handle<Counter>,
        signals: mpsc::Sender<Signal>,
        lose: oneshot::Sender<&'static str>,
        diary: Diary,
        end: tokio::task::JoinHandle<Result<(), &'static str>>,
    }

    fn start(settles: bool) -> Running {
        let diary = Diary(Arc::default(), Instant::now());
        let (handle, inbox) = channel();
        let (signals, signal_receiver) = mpsc::channel(4);
        let (lose, lost) = oneshot::channel();
        let toy = Toy { diary: diary.clone(), settles };
        let event_loop =
            EventLoop::new(Counter::default(), toy, Paused(Instant::now()), Watching(diary.clone()), inbox);
        let lost = async move { lost.await.unwrap_or("given up") };
        let end = tokio::spawn(event_loop.run(vec![Event::Count], signal_receiver, lost));
        Running { handle, signals, lose, diary, end }
    }

    impl Running {
        async fn stop(self) -> Diary {
            self.signals.send(Signal::Stop).await.unwrap();
            assert_eq!(self.end.await.unwrap(), Ok(()));
            drop(self.lose);
            self.diary
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_core_gets_its_tick_when_its_deadline_comes_and_not_before() {
        let world = start(true);
        sleep(Duration::from_secs(25)).await;
        let ticks = world.handle.ask(|core, _| core.ticks.clone()).await.unwrap();
        assert_eq!(ticks.iter().map(|at| at.0.as_secs()).collect::<Vec<_>>(), [10, 20]);
        world.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_events_holds_up_neither_queries_nor_time() {
        let world = start(true);
        let storm = world.handle.clone();
        let feeder = tokio::spawn(async move {
            loop {
                for _ in 0..1000 {
                    storm.post(Event::Count);
                }
                sleep(Duration::from_millis(1)).await;
            }
        });
        for _ in 0..100 {
            world.handle.ask(|core, _| core.count).await.unwrap();
        }
        sleep(Duration::from_secs(11)).await;
        assert_eq!(world.handle.ask(|core, _| core.ticks.len()).await.unwrap(), 1);
        feeder.abort();
        let diary = world.stop().await;
        assert!(diary.count("alive") >= 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_queries_holds_up_no_event() {
        let world = start(true);
        let askers: Vec<_> = (0..500)
            .map(|_| {
                let handle = world.handle.clone();
                tokio::spawn(
                    async move { while handle.ask(|core, _| core.count).await.is_ok_and(|count| count < 3) {} },
                )
            })
            .collect();
        tokio::task::yield_now().await;
        world.handle.post(Event::Count);
        world.handle.post(Event::Count);
        for asker in askers {
            asker.await.unwrap();
        }
        world.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn many_changes_are_few_saves_and_the_last_one_is_saved() {
        let world = start(true);
        for _ in 0..100 {
            world.handle.post(Event::Count);
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_secs(1)).await;
        let saves = world.diary.count("save");
        assert!((3..=4).contains(&saves), "{saves} saves for a second of changes");
        let diary = world.stop().await;
        assert_eq!(diary.words().last().unwrap(), "save");
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_while_nothing_happens() {
        let world = start(true);
        sleep(Duration::from_secs(61)).await;
        let beats = world.diary.count("alive");
        assert!((12..=13).contains(&beats), "{beats}");
        world.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_is_announced_before_and_after() {
        let world = start(true);
        sleep(Duration::from_secs(2)).await;
        world.signals.send(Signal::Reload).await.unwrap();
        sleep(Duration::from_secs(2)).await;
        let diary = world.stop().await;
        let words: Vec<_> = diary.words().into_iter().filter(|word| word != "alive" && word != "save").collect();
        assert_eq!(words, ["ready", "1 counted", "reloading", "read", "ready", "2 counted", "stopping"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_status_is_reported_at_most_once_a_second() {
        let world = start(true);
        for _ in 0..100 {
            world.handle.post(Event::Count);
            sleep(Duration::from_millis(50)).await;
        }
        let told = world.diary.words().iter().filter(|word| word.ends_with("counted")).count();
        assert!((4..=7).contains(&told), "{told}");
        world.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_the_last_effects_but_not_for_ever() {
        let world = start(false);
        let before = Instant::now();
        let diary = world.stop().await;
        assert_eq!(before.elapsed().as_secs(), STOP_LIMIT.as_secs());
        assert_eq!(diary.words().last().unwrap(), "save");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_bus_ends_the_loop_after_a_save() {
        let world = start(true);
        sleep(Duration::from_secs(1)).await;
        world.lose.send("the bus is lost").unwrap();
        assert_eq!(world.end.await.unwrap(), Err("the bus is lost"));
        assert_eq!(world.diary.words().last().unwrap(), "save");
        assert_eq!(world.handle.ask(|core, _| core.count).await, Err(Stopped));
    }
}
