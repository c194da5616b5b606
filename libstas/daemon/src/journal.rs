//! Writes log lines to the journal or to stdout, and sets their level.
//!
//! Lines are queued for a writer thread, and the caller never waits. If the journal, a terminal or a pipe blocks (its
//! disk may be what this daemon is about to reconnect), the event loop continues. Lines that do not fit into the
//! queue are dropped and counted, and the count is logged.
//!
//! In the journal, the fields TID, DEVICE and NQN identify the controller of a line: `journalctl DEVICE=nvme3`. TARGET,
//! CODE_FILE and CODE_LINE identify the code that wrote the line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::Duration;

use tracing::field::{Field, FieldSet, Value, Visit};
use tracing::metadata::Kind;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::{Extensions, ExtensionsMut, LookupSpan, SpanData};
use tracing_subscriber::{Layer, reload};

use stas_core::{CodeLocation, Level, LogRecord};
use stas_nvme::shown;

/// Maximum number of queued lines.
const QUEUE: usize = 1024;
/// Longest text of a line in bytes. Text from other hosts is cut, too.
const LINE_MAX: usize = 8192;

/// Controls the running log. Clones control the same log.
#[derive(Clone)]
pub struct Journal {
    filter: reload::Handle<LevelFilter, NoSpans>,
    tron: Arc<AtomicBool>,
    jobs: SyncSender<Job>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("tron", &self.tron()).finish_non_exhaustive()
    }
}

impl Journal {
    /// Starts a daemon's log and makes it the process's log. Call it once, before any thread that logs.
    ///
    /// If the journal cannot be reached, lines go to stdout, and the first of them says so.
    #[must_use]
    pub fn start(name: &'static str, syslog: bool, tron: bool) -> Self {
        let (sink, complaint) = match syslog.then(|| Sink::journal(name)) {
            Some(Ok(sink)) => (sink, None),
            Some(Err(error)) => (Sink::stdout(name), Some(error)),
            None => (Sink::stdout(name), None),
        };
        let (journal, layer) = Self::with_sink(sink);
        journal.set_tron(tron);
        // Fails only at a second call: then the first log continues.
        let _ = tracing::subscriber::set_global_default(layer);
        if let Some(error) = complaint {
            tracing::warn!("cannot reach the journal ({error}): logging to stdout");
        }
        journal
    }

    fn with_sink(sink: Sink) -> (Self, impl Subscriber + Send + Sync) {
        let (jobs, inbox) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let (filter, handle) = reload::Layer::new(LevelFilter::INFO);
        let layer = NonBlockingLayer { jobs: jobs.clone(), lost: Arc::clone(&lost) };
        let mut sink = sink;
        let writer = move || write_lines(&mut sink, &inbox, &lost);
        if let Err(error) = std::thread::Builder::new().name("log".to_owned()).spawn(writer) {
            eprintln!("cannot start the thread that writes the log: {error}");
        }
        let journal = Self { filter: handle, tron: Arc::new(AtomicBool::new(false)), jobs };
        (journal, NoSpans.with(filter).with(layer))
    }

    /// Switches trace on or off.
    pub fn set_tron(&self, tron: bool) {
        self.tron.store(tron, Ordering::Relaxed);
        let level = if tron { LevelFilter::DEBUG } else { LevelFilter::INFO };
        // Fails only if the log has ended.
        let _ = self.filter.reload(level);
    }

    /// Whether trace is on.
    #[must_use]
    pub fn tron(&self) -> bool {
        self.tron.load(Ordering::Relaxed)
    }

    /// The level, named as in nvme-stas.
    #[must_use]
    pub fn level(&self) -> &'static str {
        if self.tron() { "DEBUG" } else { "INFO" }
    }

    /// Waits until all queued lines are written, at most for `limit`.
    pub fn flush(&self, limit: Duration) {
        let (done, written) = channel();
        if self.jobs.try_send(Job::Flush(done)).is_ok() {
            let _ = written.recv_timeout(limit);
        }
    }
}

/// Logs a core's message, with the code of the core that wrote it as its code location.
pub fn log(record: &LogRecord, location: CodeLocation) {
    let (code_file, code_line) = (location.file(), location.line());
    let text = &record.text;
    let tid = record.tid.as_ref().map(ToString::to_string);
    let device = record.ctrl.map(|ctrl| ctrl.to_string());
    let (tid, device) = (tid.as_deref(), device.as_deref());
    let nqn = record.tid.as_ref().map(|tid| tid.subsysnqn.as_str());
    match record.level {
        Level::Debug => tracing::debug!(tid, device, nqn, code_file, code_line, "{text}"),
        Level::Info => tracing::info!(tid, device, nqn, code_file, code_line, "{text}"),
        Level::Warning => tracing::warn!(tid, device, nqn, code_file, code_line, "{text}"),
        Level::Error => tracing::error!(tid, device, nqn, code_file, code_line, "{text}"),
    }
}

/// A queued line.
struct LogLine {
    level: tracing::Level,
    text: String,
    tid: Option<String>,
    device: Option<String>,
    nqn: Option<String>,
    /// Where the line comes from. `None`: from this module.
    origin: Option<&'static Metadata<'static>>,
    /// The file and line of the core that wrote it, if it is a core's message.
    core: Option<(String, u32)>,
}

impl LogLine {
    fn plain(level: tracing::Level, text: String) -> Self {
        Self { level, text, tid: None, device: None, nqn: None, origin: None, core: None }
    }

    /// Escapes control characters in the text and in the names of the controller.
    fn sanitize(&mut self) {
        let names = [&mut self.tid, &mut self.device, &mut self.nqn];
        names.into_iter().flatten().chain([&mut self.text]).for_each(sanitize);
    }

    /// The whole line as in nvme-stas: the controller, then the text.
    fn message(&self) -> String {
        let text = &self.text;
        match (&self.tid, &self.device) {
            (Some(tid), Some(device)) => format!("{tid} | {device} - {text}"),
            (Some(which), None) | (None, Some(which)) => format!("{which} - {text}"),
            (None, None) => text.clone(),
        }
    }
}

enum Job {
    /// Boxed, because the queue reserves the size of a job for each line that it can hold.
    Write(Box<LogLine>),
    Flush(Sender<()>),
}

/// The subscriber below the layers. The log shows no spans, so it disables them: a `Registry` takes 32 KiB for spans.
struct NoSpans;

impl Subscriber for NoSpans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !metadata.is_span()
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The journal's layer requires a subscriber that can look up spans.
impl LookupSpan<'_> for NoSpans {
    type Data = NoSpan;

    fn span_data(&self, _: &Id) -> Option<NoSpan> {
        None
    }
}

/// The data of a span: there are none.
enum NoSpan {}

impl SpanData<'_> for NoSpan {
    fn id(&self) -> Id {
        match *self {}
    }

    fn metadata(&self) -> &'static Metadata<'static> {
        match *self {}
    }

    fn parent(&self) -> Option<&Id> {
        match *self {}
    }

    fn extensions(&self) -> Extensions<'_> {
        match *self {}
    }

    fn extensions_mut(&self) -> ExtensionsMut<'_> {
        match *self {}
    }
}

/// The layer through which all threads log: makes a [`LogLine`] from an event and never waits.
struct NonBlockingLayer {
    jobs: SyncSender<Job>,
    lost: Arc<AtomicU64>,
}

impl<S: Subscriber> Layer<S> for NonBlockingLayer {
    /// Lines of other crates are only logged from level warning on.
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let ours = ["stas_", "stafd", "stacd"].iter().any(|name| metadata.target().starts_with(name));
        ours || *metadata.level() <= tracing::Level::WARN
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = LogLine::plain(*event.metadata().level(), String::new());
        line.origin = Some(event.metadata());
        event.record(&mut LogLineVisitor(&mut line));
        line.sanitize();
        if let Err(TrySendError::Full(_)) = self.jobs.try_send(Job::Write(Box::new(line))) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct LogLineVisitor<'a>(&'a mut LogLine);

impl Visit for LogLineVisitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        let line = &mut *self.0;
        match field.name() {
            "message" => line.text.insert_str(0, value),
            "tid" => line.tid = Some(value.to_owned()),
            "device" => line.device = Some(value.to_owned()),
            "nqn" => line.nqn = Some(value.to_owned()),
            "code_file" => line.core = Some((value.to_owned(), 0)),
            name => {
                let _ = write!(line.text, " {name}={value}");
            }
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match &mut self.0.core {
            Some((_, line)) if field.name() == "code_line" => *line = u32::try_from(value).unwrap_or_default(),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// Cuts a long text, escapes what is not visible and masks secrets: text from other hosts must not control a terminal,
/// look like other text, or fill the disk.
fn sanitize(text: &mut String) {
    if text.len() > LINE_MAX {
        let end = (0..=LINE_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    if let Cow::Owned(escaped) = shown(text) {
        *text = escaped;
    }
}

/// The places in the cores that write lines. tracing wants the metadata of a line to live as long as the process: each
/// place gets its own once, and their number is limited by the code.
#[derive(Default)]
struct Places(BTreeMap<(String, u32, tracing::Level), &'static Metadata<'static>>);

impl Places {
    /// The metadata for a line: those of the core that wrote it, otherwise `origin`.
    fn of(&mut self, line: &LogLine, origin: &'static Metadata<'static>) -> &'static Metadata<'static> {
        let Some((file, number)) = &line.core else { return origin };
        self.0.entry((file.clone(), *number, line.level)).or_insert_with(|| {
            let file: &'static str = file.clone().leak();
            let module: &'static str = module_of(file).leak();
            let fields = FieldSet::new(&["message", "tid", "device", "nqn"], origin.callsite());
            let (line, kind) = (Some(*number), Kind::EVENT);
            Box::leak(Box::new(Metadata::new(
                "event",
                module,
                *origin.level(),
                Some(file),
                line,
                Some(module),
                fields,
                kind,
            )))
        })
    }
}

/// The module of a file: `stas_core::fleet::removal` for libstas/core/src/fleet/removal.rs.
fn module_of(file: &str) -> String {
    let (folder, inside) = file.split_once("/src/").unwrap_or(("", file));
    let name = folder.replace("libstas/", "stas_");
    let inside = inside.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
    [name, inside].join("::")
}

/// Where lines are written.
enum Sink {
    Journal(tracing::Dispatch, Places),
    Lines { name: &'static str, clock: bool, out: Box<dyn std::io::Write + Send> },
}

impl Sink {
    fn journal(name: &'static str) -> std::io::Result<Self> {
        let layer = tracing_journald::layer()?
            // Without this, TID would become F_TID.
            .with_field_prefix(None)
            .with_syslog_identifier(name.to_owned())
            .with_priority_mappings(PriorityMappings {
                error: Priority::Error,
                warn: Priority::Warning,
                info: Priority::Informational,
                debug: Priority::Debug,
                trace: Priority::Debug,
            });
        let dispatch = tracing::Dispatch::new(NoSpans.with(layer));
        Ok(Self::Journal(dispatch, Places::default()))
    }

    fn stdout(name: &'static str) -> Self {
        let out = std::io::stdout();
        Self::Lines { name, clock: out.is_terminal(), out: Box::new(out) }
    }

    fn write(&mut self, line: &LogLine) {
        match self {
            Self::Journal(dispatch, places) => match line.origin {
                Some(origin) => resend(line, places.of(line, origin), dispatch),
                None => tracing::dispatcher::with_default(dispatch, || tracing::warn!("{}", line.text)),
            },
            Self::Lines { name, clock, out } => {
                let time =
                    if *clock { jiff::Timestamp::now().strftime("%H:%M:%SZ ").to_string() } else { String::new() };
                let level = match line.level {
                    tracing::Level::ERROR => "error: ",
                    tracing::Level::WARN => "warning: ",
                    tracing::Level::INFO => "",
                    _ => "debug: ",
                };
                // A lost stdout cannot be reported anywhere.
                let _ = writeln!(out, "{time}{name}: {level}{}", line.message()).and_then(|()| out.flush());
            }
        }
    }
}

/// Passes the line to the journal's own subscriber, as an event of its origin.
fn resend(line: &LogLine, origin: &'static Metadata<'static>, dispatch: &tracing::Dispatch) {
    let fields = origin.fields();
    // Every event has a message.
    let Some(message) = fields.field("message") else { return };
    let text = line.message();
    let [tid, device, nqn] = ["tid", "device", "nqn"].map(|name| fields.field(name).unwrap_or_else(|| message.clone()));
    // A field that the origin lacks has no value, and values that are `None` are not sent.
    let [tid_value, device_value, nqn_value] =
        [&line.tid, &line.device, &line.nqn].map(|value| value.as_ref().map(|value| value as &dyn Value));
    let values = [(&message, Some(&text as &dyn Value)), (&tid, tid_value), (&device, device_value), (&nqn, nqn_value)];
    dispatch.event(&Event::new(origin, &fields.value_set(&values)));
}

fn write_lines(sink: &mut Sink, inbox: &Receiver<Job>, lost: &AtomicU64) {
    while let Ok(job) = inbox.recv() {
        match job {
            Job::Write(line) => sink.write(&line),
            Job::Flush(done) => drop(done.send(())),
        }
        let missing = lost.swap(0, Ordering::Relaxed);
        if missing > 0 {
            let text = format!("{missing} log lines are lost: they came faster than they could be written");
            sink.write(&LogLine::plain(tracing::Level::WARN, text));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::net::UnixDatagram;
    use std::panic::Location;
    use std::process::Command;
    use std::sync::Mutex;

    use super::*;
    use stas_core::CtrlRef;
    use stas_nvme::{Tid, TidParts, Transport};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines_of(act: impl FnOnce(&Journal)) -> String {
        let page = Captured::default();
        let sink = Sink::Lines { name: "stafd", clock: false, out: Box::new(page.clone()) };
        let (journal, layer) = Journal::with_sink(sink);
        tracing::subscriber::with_default(layer, || act(&journal));
        journal.flush(Duration::from_secs(10));
        let text = page.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    fn record(level: Level, text: &str) -> LogRecord {
        let tid = Tid::new(TidParts {
            transport: Transport::Tcp,
            traddr: "192.0.2.1".into(),
            trsvcid: "8009".into(),
            subsysnqn: "nqn.x".into(),
            host_traddr: String::new(),
            host_iface: String::new(),
            host_nqn: String::new(),
        });
        LogRecord { level, tid: Some(tid), ctrl: Some(CtrlRef { device: 3, inode: 1 }), text: text.into() }
    }

    #[test]
    fn a_line_says_which_controller_and_how_bad() {
        let text = lines_of(|_| {
            log(&record(Level::Info, "connected"), Location::caller());
            log(&LogRecord { ctrl: None, ..record(Level::Warning, "refused, again in 2 s") }, Location::caller());
            log(&LogRecord { tid: None, ctrl: None, ..record(Level::Error, "no") }, Location::caller());
        });
        let expected = "stafd: (tcp, 192.0.2.1, 8009, nqn.x) | nvme3 - connected\n\
                        stafd: warning: (tcp, 192.0.2.1, 8009, nqn.x) - refused, again in 2 s\n\
                        stafd: error: no\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn trace_is_switched_while_running() {
        let text = lines_of(|journal| {
            log(&record(Level::Debug, "one"), Location::caller());
            journal.set_tron(true);
            assert_eq!((journal.tron(), journal.level()), (true, "DEBUG"));
            log(&record(Level::Debug, "two"), Location::caller());
            journal.set_tron(false);
            assert_eq!((journal.tron(), journal.level()), (false, "INFO"));
            log(&record(Level::Debug, "three"), Location::caller());
        });
        assert_eq!(text, "stafd: debug: (tcp, 192.0.2.1, 8009, nqn.x) | nvme3 - two\n");
    }

    #[test]
    fn foreign_text_drives_no_terminal_and_fills_no_disk() {
        let text = lines_of(|_| {
            tracing::info!("bell \u{7} and\nline \u{1b}[2J");
            tracing::info!("{}", "ä".repeat(1 << 20));
        });
        let (first, second) = text.split_once('\n').unwrap();
        assert_eq!(first, "stafd: bell \\u{7} and\\nline \\u{1b}[2J");
        assert!(second.len() < LINE_MAX + 64, "{}", second.len());
    }

    /// Set for a test that runs again with a /run of its own.
    const OWN_RUN: &str = "STAS_TEST_OWN_RUN";

    /// Runs a test of this module again in a mount namespace with an empty /run. Returns false if the system does not
    /// permit another mount namespace.
    fn with_own_run(test: &str) -> bool {
        let mount = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal";
        let prepared = |rest: &str| {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &format!("{mount} {rest}"), "sh"]);
            command
        };
        if !prepared("").output().is_ok_and(|output| output.status.success()) {
            return false;
        }
        let program = std::env::current_exe().unwrap();
        let mut command = prepared("&& exec \"$@\"");
        let (_, module) = module_path!().split_once("::").unwrap();
        let name = format!("{module}::{test}");
        let output = command.arg(program).args(["--exact", &name]).env(OWN_RUN, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        true
    }

    /// The fields of the next entry that is sent to the journal (systemd's JOURNAL_NATIVE_PROTOCOL).
    fn next_entry(socket: &UnixDatagram) -> BTreeMap<String, String> {
        let mut bytes = [0; 4096];
        // The first datagram is empty: it only tests whether the journal is there.
        let length = std::iter::repeat_with(|| socket.recv(&mut bytes).unwrap()).find(|length| *length > 0).unwrap();
        let (mut rest, mut fields) = (&bytes[..length], BTreeMap::new());
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
            let line = String::from_utf8(rest[..end].to_vec()).unwrap();
            rest = &rest[end + 1..];
            if let Some((name, value)) = line.split_once('=') {
                fields.insert(name.to_owned(), value.to_owned());
                continue;
            }
            // The length of the value in 8 bytes, the value, a newline.
            let (length, tail) = rest.split_first_chunk::<8>().unwrap();
            let (value, tail) = tail.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
            fields.insert(line, String::from_utf8(value.to_vec()).unwrap());
            rest = &tail[1..];
        }
        fields
    }

    #[test]
    fn a_journal_entry_names_the_code_that_wrote_it() {
        if std::env::var_os(OWN_RUN).is_none() {
            if !with_own_run("a_journal_entry_names_the_code_that_wrote_it") {
                eprintln!("skipped: this system permits no mount namespace");
            }
            return;
        }
        let socket = UnixDatagram::bind("/run/systemd/journal/socket").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let (_journal, layer) = Journal::with_sink(Sink::journal("stafd").unwrap());
        let line = tracing::subscriber::with_default(layer, || {
            tracing::info!(target: "stafd::finder", tid = "(tcp, 192.0.2.1)", errno = 5, "connected");
            let line = line!() - 1;
            log(&record(Level::Warning, "refused"), Location::caller());
            line
        });
        let found = next_entry(&socket);
        let line = line.to_string();
        let expected = [
            ("PRIORITY", "6"),
            ("TARGET", "stafd::finder"),
            ("CODE_FILE", file!()),
            ("CODE_LINE", &line),
            ("SYSLOG_IDENTIFIER", "stafd"),
            ("MESSAGE", "(tcp, 192.0.2.1) - connected errno=5"),
            ("TID", "(tcp, 192.0.2.1)"),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        let found = next_entry(&socket);
        assert_eq!(found["MESSAGE"], "(tcp, 192.0.2.1, 8009, nqn.x) | nvme3 - refused");
        let fields = ["PRIORITY", "DEVICE", "NQN"].map(|name| found[name].as_str());
        assert_eq!(fields, ["4", "nvme3", "nqn.x"]);
        let origin = ["TARGET", "CODE_FILE", "CODE_LINE"].map(|name| found[name].as_str());
        let next = (line.parse::<u32>().unwrap() + 2).to_string();
        assert_eq!(origin, ["stas_daemon::journal", file!(), &next]);
    }

    #[test]
    fn the_module_of_a_file_is_its_path_in_its_crate() {
        for (file, module) in [
            ("libstas/core/src/fleet/removal.rs", "stas_core::fleet::removal"),
            ("stafd/src/finder/mod.rs", "stafd::finder"),
            ("stacd/src/lib.rs", "stacd::lib"),
        ] {
            assert_eq!(module_of(file), module);
        }
    }

    #[test]
    fn other_crates_are_heard_when_they_warn() {
        let text = lines_of(|_| {
            tracing::info!(target: "zbus::connection", "chatter");
            tracing::warn!(target: "zbus::connection", "trouble");
        });
        assert_eq!(text, "stafd: warning: trouble\n");
    }

    #[test]
    fn a_blocked_log_blocks_no_caller_and_counts_dropped_lines() {
        struct Stuck(Receiver<()>);
        impl std::io::Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (release, gate) = channel();
        let page = Captured::default();
        let sink = Sink::Lines { name: "stafd", clock: false, out: Box::new(Tee(Stuck(gate), page.clone())) };
        struct Tee(Stuck, Captured);
        impl std::io::Write for Tee {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.write(bytes)?;
                self.1.write(bytes)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (journal, layer) = Journal::with_sink(sink);
        tracing::subscriber::with_default(layer, || {
            for number in 0..QUEUE + 100 {
                tracing::info!("line {number}");
            }
        });
        drop(release);
        // The queue was full, so the flush may not have been queued.
        while !String::from_utf8_lossy(&page.0.lock().unwrap()).contains("log lines are lost") {
            journal.flush(Duration::from_millis(100));
        }
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let told = text.lines().find(|line| line.contains("log lines are lost")).unwrap();
        let count: usize = told.split_whitespace().nth(2).unwrap().parse().unwrap();
        assert!((99..=100).contains(&count), "{told}");
    }
}
