//! Chooses the format of an answer, and prints it.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::daemon::Daemon;
use super::schema::{self, Detail};
use super::screen::Screen;
use super::{pprint, table};
use stas_nvme::secret::masked;
use stas_nvme::shown::is_visible;

/// The format of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Made for reading
    Table,
    /// Made for programs
    Json,
    /// The notation of nvme-stas 2, for scripts that parse it
    Python,
}

/// The option that chooses the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub struct FormatArg {
    /// Format of the answer [default: table on a terminal, else python]
    #[arg(short = 'o', long = "output", value_name = "FORMAT")]
    pub output: Option<Format>,
}

/// The options that choose the format, and how wide a table may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub struct OutputArgs {
    /// In which format.
    #[command(flatten)]
    format: FormatArg,
    /// Shorten nothing, also on a terminal
    #[arg(long)]
    full: bool,
}

impl OutputArgs {
    /// The requested format. Default: a table on a terminal, the notation of nvme-stas for a script.
    #[must_use]
    pub fn format(self) -> Format {
        self.format.output.unwrap_or_else(|| if io::stdout().is_terminal() { Format::Table } else { Format::Python })
    }

    /// Where the table is shown.
    #[must_use]
    pub fn screen(self) -> Screen {
        Screen::of_stdout(self.full)
    }

    /// Formats an answer as [`render`] does.
    #[must_use]
    pub fn render(
        self,
        answer: &Value,
        json: impl FnOnce(&Value) -> Value,
        table: impl FnOnce(&Value, Screen) -> String,
    ) -> String {
        render(self.format(), answer, json, |answer| table(answer, self.screen()))
    }
}

/// How much to list of each controller, and in which format.
#[derive(Clone, Copy, Debug, Args)]
pub struct Listing {
    /// Show all that is known of each controller
    #[arg(short, long)]
    pub detailed: bool,
    /// The format of the list.
    #[command(flatten)]
    pub output: OutputArgs,
}

impl Listing {
    /// True if the daemon must answer in detail: its short answer lacks the state that the table shows.
    #[must_use]
    pub fn needs_detail(self) -> bool {
        self.detailed || self.output.format() == Format::Table
    }

    /// How much of each controller the answer shows.
    #[must_use]
    pub fn detail(self) -> Detail {
        if self.detailed { Detail::All } else { Detail::Identity }
    }

    /// Formats the controllers of a daemon.
    #[must_use]
    pub fn render(self, daemon: Daemon, controllers: &Value) -> String {
        let table = if self.detailed { table::controllers_in_detail } else { table::controllers };
        let json = |controllers: &Value| schema::controllers(daemon, self.detail(), controllers);
        self.output.render(controllers, json, table)
    }
}

/// Formats an answer as text with a final newline. `json` converts it for the JSON format, `table` makes the table.
#[must_use]
pub fn render(
    format: Format,
    answer: &Value,
    json: impl FnOnce(&Value) -> Value,
    table: impl FnOnce(&Value) -> String,
) -> String {
    let mut text = match format {
        Format::Table => table(answer),
        Format::Json => masked(&indented(&json(answer))).into_owned(),
        Format::Python => masked(&pprint::pformat(answer)).into_owned(),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// JSON on one line, with a final newline.
#[must_use]
pub fn json_line(value: &Value) -> String {
    format!("{}\n", masked(&escaped(&value.to_string())))
}

/// Indented JSON.
fn indented(answer: &Value) -> String {
    escaped(&format!("{answer:#}"))
}

/// Escapes characters that could control a terminal or be invisible: names come from the network.
fn escaped(json: &str) -> String {
    let mut out = String::new();
    for c in json.chars() {
        if c == '\n' || is_visible(c) {
            out.push(c);
        } else {
            // Only strings can contain such characters, and an escape in a string has the same meaning.
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// Writes to stdout. It is not an error if the reader has closed the pipe (`| head -1`).
///
/// # Errors
/// Any other write error, for example a full disk.
pub fn print(text: &str) -> io::Result<()> {
    print_to_reader(text).map(drop)
}

/// As [`print()`]. Returns false if the reader has closed the pipe.
///
/// # Errors
/// As [`print()`].
pub fn print_to_reader(text: &str) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_format_shows_the_same_answer() {
        let answer = json!([{"device": "nvme0", "ready": true}]);
        assert_eq!(
            render(Format::Python, &answer, Value::clone, |_| unreachable!()),
            "[{'device': 'nvme0', 'ready': True}]\n"
        );
        assert_eq!(
            render(Format::Json, &answer, Value::clone, |_| unreachable!()),
            "[\n  {\n    \"device\": \"nvme0\",\n    \"ready\": true\n  }\n]\n"
        );
        assert_eq!(
            render(Format::Table, &answer, Value::clone, |answer| format!("{} line", answer[0]["device"])),
            "\"nvme0\" line\n"
        );
    }

    #[test]
    fn no_format_shows_a_secret() {
        let answer = json!([{"subsysnqn": "nqn.x:DHHC-1:00:ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n:"}]);
        let table = |answer: &Value| crate::table::controllers_in_detail(answer, Screen::ENDLESS);
        for format in [Format::Table, Format::Json, Format::Python] {
            let text = render(format, &answer, Value::clone, table);
            assert!(text.contains("nqn.x:***") && !text.contains("ia6z"), "{text}");
        }
    }

    #[test]
    fn a_terminal_gets_no_orders_from_the_network() {
        let answer = json!({"nqn": "a\x1b[2Jb\u{9b}c\u{202e}d\u{e0041}é"});
        let text = render(Format::Json, &answer, Value::clone, |_| unreachable!());
        assert_eq!(text, "{\n  \"nqn\": \"a\\u001b[2Jb\\u009bc\\u202ed\\udb40\\udc41é\"\n}\n");
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(answer));
    }
}
