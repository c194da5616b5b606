//! Captures log lines in tests.
#![cfg(test)]
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing::subscriber::DefaultGuard;

/// Captures the log lines of this thread until it is dropped.
pub(crate) struct LogLines {
    text: Text,
    _guard: DefaultGuard,
}

impl LogLines {
    pub(crate) fn start() -> Self {
        let text = Text::default();
        let page = text.clone();
        let front = tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(move || page.clone());
        Self { text, _guard: tracing::subscriber::set_default(front.finish()) }
    }

    /// Returns all captured lines.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.text.0.lock().unwrap().clone()).unwrap()
    }
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
