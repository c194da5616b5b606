//! What the manual pages quote is true: log lines, commands, units and configurations.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use tree::quotes::Messages;
use tree::{files, read, top};

/// A page, and its displays: the kind of each, such as `literal`, and its text.
struct ManPage {
    name: String,
    displays: Vec<(String, String)>,
    /// The words that are quoted in its prose.
    quoted: Vec<String>,
}

/// The text of an mdoc line without its escapes.
fn plain(line: &str) -> String {
    let escapes = [
        ("\\-", "-"),
        ("\\(aq", "'"),
        ("\\(dq", "\""),
        ("\\(ga", "`"),
        ("\\(ha", "^"),
        ("\\(ti", "~"),
        ("\\&", ""),
        ("\\%", ""),
    ];
    let text = escapes.iter().fold(line.to_owned(), |text, (escape, character)| text.replace(escape, character));
    text.replace("\\e", "\\")
}

fn pages() -> Vec<ManPage> {
    let pages: Vec<ManPage> = files("doc/man").iter().map(|path| page(path)).collect();
    assert!(pages.len() > 15, "the pages are found");
    pages
}

fn page(path: &Path) -> ManPage {
    let text = read(path);
    let mut page = ManPage { name: path.display().to_string(), displays: Vec::new(), quoted: Vec::new() };
    let mut display: Option<(String, Vec<String>)> = None;
    for line in text.lines() {
        if let Some(arguments) = line.strip_prefix(".Bd -") {
            display = Some((arguments.split(' ').next().unwrap().to_owned(), Vec::new()));
        } else if line == ".Ed" {
            let (kind, lines) = display.take().unwrap_or_else(|| panic!("{}: .Ed without .Bd", page.name));
            page.displays.push((kind, lines.join("\n")));
        } else if let Some((_, lines)) = &mut display {
            lines.extend((line != ".nh").then(|| plain(line)));
        } else if let Some(shown) = line.strip_prefix(".Dl ") {
            page.displays.push(("literal".to_owned(), plain(shown)));
        } else if let Some(quoted) = line.strip_prefix(".Ql ") {
            page.quoted.push(plain(quoted).trim_end_matches([' ', '.', ',', ';', ':']).trim_matches('"').to_owned());
        }
    }
    page
}

impl ManPage {
    /// The commands that it shows, split into words.
    fn commands(&self) -> Vec<Vec<String>> {
        let literal = self.displays.iter().filter(|(kind, _)| kind == "literal").flat_map(|(_, text)| text.lines());
        let lines = literal.chain(self.quoted.iter().map(String::as_str));
        let commands = lines.flat_map(|line| line.split(['|', '>', '&'])).map(words);
        commands.filter(|words: &Vec<String>| words.len() > 1).collect()
    }
}

/// The words of a command as a shell splits them; text between double quotes is one word.
fn words(command: &str) -> Vec<String> {
    let parts = command.split('"').enumerate();
    parts
        .flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

#[test]
fn every_quoted_log_line_is_in_the_sources() {
    let messages = Messages::of_the_product();
    let mut checked = 0;
    for page in pages().into_iter().filter(|page| page.name.ends_with(".7")) {
        for (_, text) in page.displays.iter().filter(|(kind, _)| kind == "ragged") {
            let line = text.replace('\n', " ");
            assert!(messages.contain(&line), "{}: no source prints this line:\n{line}", page.name);
            checked += 1;
        }
    }
    assert!(checked >= 30, "the log lines are found: {checked}");
}

#[test]
fn a_changed_log_line_is_noticed() {
    let messages = Messages::of_the_product();
    for (line, known) in [
        ("not connected: the target does not answer; retrying in 8 s (exponential back-off)", true),
        ("not connected: the target does not reply; retrying in 8 s (exponential back-off)", false),
        ("not connected: the target does not answer; retrying in 8 minutes (exponential back-off)", false),
        ("not reachable: the target does not answer; retrying in 8 s (exponential back-off)", false),
        ("not connected: the target does not answer; retrying in 8 s (growing intervals)", false),
        ("nvme1 is no longer wanted, but is kept: nvme1n1 has a mount on /srv/data", false),
        ("anything at all", false),
        ("nvme1: anything at all", false),
    ] {
        assert_eq!(messages.contain(line), known, "{line}");
    }
}

/// A lost backslash at the end of a line leaves the indentation of the source in the message.
#[test]
fn no_message_contains_the_indentation_of_its_source() {
    let messages = Messages::of_the_product();
    // Tables in help texts have several lines.
    for piece in messages.pieces().map(str::trim).filter(|piece| !piece.contains('\n')) {
        assert!(!piece.contains("      "), "{piece:?}");
    }
}

#[test]
fn every_command_of_the_pages_is_understood() {
    let programs: BTreeMap<&str, clap::Command> = manual::tools().into_iter().chain(manual::daemons()).collect();
    let mut checked = 0;
    for page in pages() {
        for words in page.commands() {
            let Some(program) = programs.get(words[0].as_str()) else { continue };
            // A sentence about a daemon begins with its name, too.
            if words[0].ends_with('d') && !words[1].starts_with('-') {
                continue;
            }
            // A word in capitals stands for a value; nvmet wants a number for PORT.
            let words: Vec<String> =
                words.iter().map(|word| if word == "PORT" { "1".to_owned() } else { word.clone() }).collect();
            // A page may name a command without its arguments.
            let error = program.clone().try_get_matches_from(&words).err();
            let error = error.filter(|error| error.kind() != clap::error::ErrorKind::MissingRequiredArgument);
            assert!(error.is_none(), "{}: {words:?}: {error:?}", page.name);
            checked += 1;
        }
    }
    assert!(checked > 30, "the commands are found: {checked}");
}

/// Units of other projects that the pages name.
const FOREIGN_UNITS: [&str; 2] = ["nvmf-autoconnect.service", "nvme-discoverd.service"];

#[test]
fn every_unit_that_a_command_names_is_there() {
    let verbs = ["enable", "disable", "mask", "start", "stop", "restart", "reload", "status", "edit"];
    let mut checked = 0;
    for page in pages() {
        for words in page.commands().into_iter().filter(|words| words[0] == "systemctl") {
            assert!(verbs.contains(&words[1].as_str()), "{}: {words:?}", page.name);
            for word in words[2..].iter().filter(|word| !word.starts_with('-')) {
                let unit = if word.contains('.') { word.clone() } else { format!("{word}.service") };
                let known = FOREIGN_UNITS.contains(&unit.as_str()) || top().join("systemd").join(&unit).exists();
                assert!(known, "{}: {words:?}: {unit}", page.name);
                checked += 1;
            }
        }
    }
    assert!(checked > 10, "the units are found: {checked}");
}

#[test]
fn every_controller_line_of_the_pages_is_accepted() {
    let mut checked = 0;
    for page in pages().into_iter().filter(|page| page.name.ends_with(".7")) {
        for (_, text) in page.displays.iter().filter(|(kind, _)| kind == "literal") {
            for line in text.lines().filter(|line| line.starts_with("controller=") || line.starts_with("exclude=")) {
                let text = format!("[Controllers]\n{line}\n");
                // Only a controller of stacd.conf needs an NQN.
                let complaints = match line.contains("nqn=") {
                    true => libstas::conf::stacd::parse(text.as_bytes(), "f").1,
                    false => libstas::conf::stafd::parse(text.as_bytes(), "f").1,
                };
                assert!(complaints.is_empty(), "{}: {line}: {complaints:?}", page.name);
                checked += 1;
            }
        }
    }
    assert!(checked >= 3, "the lines are found: {checked}");
}
