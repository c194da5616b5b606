//! Generates the manual pages from what they describe.
//!
//! | page | made of |
//! |---|---|
//! | stafctl(1), stacctl(1), stasadm(1), nvmet(1), cdcsim(1) | the definition of the command line |
//! | stafd(8), stacd(8) | the same, for the options |
//! | nvme-stas-json(5) | the schema of `-o json` in libstas/cli |
//! | org.nvmexpress.staf(5), org.nvmexpress.stac(5) | the introspection data of the D-Bus interfaces |
//! | stafd.conf(5), stacd.conf(5), sys.conf(5) | the comments in etc/stas, and the table of keys |
//!
//! Text that cannot be generated (examples, files, related pages) is written by hand in doc/pages, in the language of
//! mdoc(7), and is added at the end of each page. A page without a source is written completely by hand in doc/man.
//!
//! The completion scripts for bash, zsh and fish are generated from the command lines, too. cdcsim has none: tests
//! start it.
//!
//! Pages and scripts are under version control, so that an installation needs no compiler for them. A test compares
//! them with their sources; `make man` writes them.

pub mod bus;
mod command;
mod completion;
mod configuration;
mod mdoc;
mod schema;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;
use libstas::daemon::arguments::{self, About};

use mdoc::Page;

/// A generated page.
#[derive(Debug)]
pub struct Manual {
    /// Its file name, such as `stafctl.1`.
    pub name: String,
    /// The page in the language of mdoc(7).
    pub text: String,
}

/// The directory of the pages.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("man")
}

/// Folder of the completion scripts.
#[must_use]
pub fn completion_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("completion")
}

/// A completion script as a file.
#[derive(Debug)]
pub struct Completion {
    /// File name that the shell expects, such as `_stafctl` for zsh.
    pub name: String,
    /// The whole script.
    pub text: String,
}

/// Completion scripts of the administrator's tools for each shell.
#[must_use]
pub fn completions() -> Vec<Completion> {
    let mut completions = Vec::new();
    for (name, definition) in tools().into_iter().filter(|(name, _)| *name != "cdcsim") {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            completions.push(completion::script(shell, name, &definition));
        }
    }
    completions
}

/// The tools, each with its command line.
#[must_use]
pub fn tools() -> Vec<(&'static str, clap::Command)> {
    vec![
        ("stafctl", stafctl::arguments::Arguments::command()),
        ("stacctl", stacctl::arguments::Arguments::command()),
        ("stasadm", stasadm::arguments::Arguments::command()),
        ("nvmet", nvmet::arguments::Cli::command()),
        ("cdcsim", cdcsim::arguments::Cli::command()),
    ]
}

/// The daemons, each with its command line.
#[must_use]
pub fn daemons() -> Vec<(&'static str, clap::Command)> {
    let daemons = [
        ("stafd", "find NVMe-oF discovery controllers and read their log pages", "/etc/stas/stafd.conf"),
        ("stacd", "keep NVMe-oF storage connected", "/etc/stas/stacd.conf"),
    ];
    let definition = |(name, what, conf_file)| (name, arguments::command(&About { name, what, more: "", conf_file }));
    daemons.into_iter().map(definition).collect()
}

/// Generates every page that has a source.
///
/// # Errors
/// Fails if a file in etc/stas or doc/pages cannot be read.
pub fn pages() -> io::Result<Vec<Manual>> {
    let mut pages = Vec::new();
    for (name, definition) in tools() {
        let page = Page::new(name, 1, definition.get_about());
        pages.push((name.to_owned(), 1, command::tool(page, definition)));
    }
    for (name, definition) in daemons() {
        let page = Page::new(name, 8, definition.get_about());
        pages.push((name.to_owned(), 8, command::daemon(page, definition)));
    }

    let page = Page::new("nvme-stas-json", 5, Some(&"output of stafctl and stacctl for programs".into()));
    pages.push(("nvme-stas-json".to_owned(), 5, schema::page(page)));

    for (name, interfaces) in bus::daemons() {
        let what = format!("interfaces of {} on D-Bus", if name.ends_with("staf") { "stafd" } else { "stacd" });
        let page = Page::new(name, 5, Some(&what.into()));
        pages.push((name.to_owned(), 5, bus::page(page, &interfaces)));
    }

    let files = [
        ("stafd.conf", "configuration of the NVMe-oF discovery daemon"),
        ("stacd.conf", "configuration of the NVMe-oF connector daemon"),
        ("sys.conf", "identity of this NVMe-oF host"),
    ];
    for (name, what) in files {
        let text = fs::read_to_string(top().join("etc/stas").join(name))?;
        let page = Page::new(name, 5, Some(&what.into()));
        pages.push((name.to_owned(), 5, configuration::page(page, name, &text)));
    }
    pages.into_iter().map(|(name, section, page)| finish(&format!("{name}.{section}"), page)).collect()
}

fn finish(name: &str, page: Page) -> io::Result<Manual> {
    let by_hand = fs::read_to_string(top().join("doc/pages").join(name))?;
    Ok(Manual { name: name.to_owned(), text: page.finish(&by_hand) })
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
