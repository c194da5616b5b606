//! Captures log lines in tests.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;

/// While a process has only one subscriber, tracing asks that of the current thread whether anybody wants a line, and
/// remembers the answer for all threads: a test without a subscriber would switch a line off for the others. So there
/// is always a second one.
static SECOND: OnceLock<Dispatch> = OnceLock::new();

/// Captures the log lines of this thread until it is dropped.
pub struct LogLines {
    text: Text,
    _guard: DefaultGuard,
}

impl LogLines {
    /// Starts collecting, in place of the thread's subscriber.
    #[must_use]
    pub fn start() -> Self {
        SECOND.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
        let text = Text::default();
        let page = text.clone();
        let front = tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(move || page.clone());
        Self { text, _guard: tracing::subscriber::set_default(front.finish()) }
    }

    /// Returns all captured lines.
    #[must_use]
    pub fn text(&self) -> String {
        let bytes = self.text.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
