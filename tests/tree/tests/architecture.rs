//! Checks the structure of the tree where neither Cargo nor clippy enforces it (doc/architecture.md).
//!
//! Cargo.toml of each crate states its dependencies. The lists in clippy.toml keep clock, files, sockets and threads
//! out of the cores. These tests fail if a change weakens either.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tree::{files, product_sources, read};

/// The crates of the product, each with its dependencies in this tree.
const CRATES: [(&str, &[&str]); 15] = [
    ("libstas/nvme", &[]),
    ("libstas/core", &["stas-nvme"]),
    ("libstas/net", &["stas-core", "stas-nvme"]),
    ("libstas/linux", &["stas-core", "stas-net", "stas-nvme"]),
    ("libstas/bus", &["stas-core", "stas-nvme"]),
    ("libstas/daemon", &["stas-bus", "stas-core", "stas-linux", "stas-nvme"]),
    ("libstas/cli", &["stas-bus", "stas-nvme"]),
    ("libstas", &["stas-bus", "stas-core", "stas-daemon", "stas-linux", "stas-net", "stas-nvme"]),
    ("stafd", &["libstas"]),
    ("stacd", &["libstas"]),
    ("stafctl", &["libstas", "stas-cli"]),
    ("stacctl", &["libstas", "stas-cli"]),
    ("stasadm", &["libstas", "stas-cli"]),
    ("utils/nvmet", &["stas-nvme"]),
    ("utils/cdcsim", &["stas-nvme"]),
];

/// The crates without a shell.
const PURE: [&str; 2] = ["libstas/nvme", "libstas/core"];

/// The foreign crates that they may use: none performs I/O.
const PURE_DEPENDENCIES: [&str; 5] = ["serde", "sha2", "strsim", "thiserror", "uuid"];

/// The crates with a core and a shell, each with the modules of its shell. These may use clock, files, sockets and
/// threads.
const MIXED: [(&str, &[&str]); 3] =
    [("stafd", &["api", "shell"]), ("stacd", &["api", "shell"]), ("utils/cdcsim", &["arguments", "control", "shell"])];

/// Names that must not occur in the core of a mixed crate, although its shell uses them.
const SHELL_NAMES: [&str; 15] = [
    "crate::api",
    "crate::arguments",
    "crate::shell",
    "libstas::daemon",
    "libstas::linux",
    "libstas::net",
    "mdns_sd::",
    "nix::",
    "stas_daemon::",
    "stas_linux::",
    "stas_net::",
    "tempfile::",
    "tokio::",
    "tracing::",
    "zbus::",
];

/// The only file with `unsafe`.
const UNSAFE: &str = "libstas/linux/src/unsafe_calls.rs";

/// The line that enables the lists in clippy.toml for a crate.
const REFUSED: &str = "#![deny(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]";

/// The line that disables them for a module of a shell.
const ALLOWED: &str = "#[allow(clippy::disallowed_macros, clippy::disallowed_methods, clippy::disallowed_types)]";

fn complain(what: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{what}:\n  {}", complaints.join("\n  "));
}

/// The names in the table `[dependencies]` of a crate.
fn dependencies(folder: &str) -> BTreeSet<String> {
    let manifest = read(format!("{folder}/Cargo.toml"));
    let table = manifest.split("\n[dependencies]\n").nth(1).unwrap_or("").split("\n[").next().unwrap_or("");
    let name = |line: &str| line.split(['.', ' ', '=']).next().unwrap_or("").to_owned();
    table.lines().map(name).filter(|name| !name.is_empty()).collect()
}

#[test]
fn every_crate_depends_on_what_the_architecture_allows_it() {
    let manifests = files("").into_iter().filter(|path| path.ends_with("Cargo.toml"));
    let ours: BTreeSet<String> = manifests
        .filter_map(|path| read(path).split_once("\nname = \"").map(|(_, rest)| rest.to_owned()))
        .filter_map(|rest| rest.split('"').next().map(str::to_owned))
        .collect();
    assert!(ours.contains("stas-nvme"), "the manifests are read");
    for (folder, allowed) in CRATES {
        let found: Vec<String> = dependencies(folder).intersection(&ours).cloned().collect();
        assert_eq!(found, allowed, "{folder}/Cargo.toml");
    }
}

#[test]
fn crates_without_a_shell_depend_on_no_crate_that_performs_io() {
    for folder in PURE {
        let strange: Vec<String> = dependencies(folder)
            .into_iter()
            .filter(|name| !PURE_DEPENDENCIES.contains(&name.as_str()) && !name.starts_with("stas-"))
            .collect();
        assert!(strange.is_empty(), "{folder}/Cargo.toml: {strange:?}");
    }
}

#[test]
fn clippy_checks_all_cores() {
    for folder in PURE.into_iter().chain(MIXED.map(|(folder, _)| folder)) {
        let root = read(format!("{folder}/src/lib.rs"));
        assert!(root.lines().any(|line| line == REFUSED), "{folder}/src/lib.rs has no line {REFUSED}");
    }
    for (folder, shell) in MIXED {
        let root = read(format!("{folder}/src/lib.rs"));
        let lines: Vec<&str> = root.lines().collect();
        let allowed: Vec<&str> = lines
            .windows(2)
            .filter(|pair| pair[0] == ALLOWED)
            .map(|pair| pair[1].trim_start_matches("pub mod ").trim_end_matches(';'))
            .collect();
        assert_eq!(allowed, shell, "{folder}/src/lib.rs");
    }
}

#[test]
fn the_cores_of_the_daemons_and_of_cdcsim_use_nothing_of_their_shells() {
    let mut complaints = Vec::new();
    let mut read_files = 0;
    for (folder, shell) in MIXED {
        let roots = ["main.rs".to_owned(), "lib.rs".to_owned()].into_iter();
        let shell = shell.iter().flat_map(|module| [format!("{module}.rs"), (*module).to_owned()]);
        let skipped: Vec<PathBuf> =
            shell.chain(roots).chain(["bin".to_owned()]).map(|name| Path::new(folder).join("src").join(name)).collect();
        let sources = product_sources().into_iter().filter(|path| path.starts_with(Path::new(folder).join("src")));
        for path in sources.filter(|path| !skipped.iter().any(|skipped| path.starts_with(skipped))) {
            read_files += 1;
            let source = read(&path);
            for (number, line) in (1..).zip(source.lines()) {
                let code = line.split("//").next().unwrap_or("");
                if SHELL_NAMES.iter().any(|name| code.contains(name)) {
                    complaints.push(format!("{}:{number}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert!(read_files > 30, "the sources are read");
    complain("a core performs no I/O and reads no clock, but it uses", &complaints);
}

#[test]
fn the_cores_of_the_daemons_use_of_d_bus_only_the_contract() {
    let deciding = ["stafd/src/finder", "stacd/src/connector"];
    let mut complaints = Vec::new();
    for path in product_sources().iter().filter(|path| deciding.iter().any(|folder| path.starts_with(folder))) {
        for (number, line) in (1..).zip(read(path).lines()) {
            if line.contains("libstas::bus") && !line.contains("libstas::bus::contract") {
                complaints.push(format!("{}:{number}: {}", path.display(), line.trim()));
            }
        }
    }
    complain("a core uses more of D-Bus than the contract", &complaints);
}

/// What comes from the network is parsed without privileges: the daemons neither send nor receive there.
#[test]
fn no_daemon_has_sockets_of_its_own_or_resolves_names() {
    const NETWORK: [&str; 9] = [
        "mdns_sd",
        "net::names",
        "to_socket_addrs",
        "ToSocketAddrs",
        "TcpListener",
        "TcpSocket",
        "TcpStream",
        "UdpSocket",
        "getaddrinfo",
    ];
    let folders = ["libstas/nvme", "libstas/core", "libstas/linux", "libstas/bus", "libstas/daemon", "stafd", "stacd"];
    let mut complaints = Vec::new();
    let client = product_sources().into_iter().filter(|path| {
        let of_daemons = folders.iter().any(|folder| path.starts_with(Path::new(folder).join("src")));
        let of_client = path.starts_with("libstas/net/src") && !path.starts_with("libstas/net/src/bin");
        of_daemons || of_client && !path.ends_with("names.rs")
    });
    for path in client {
        for (number, line) in (1..).zip(read(&path).lines()) {
            let code = line.split("//").next().unwrap_or("");
            if NETWORK.iter().any(|name| code.contains(name)) {
                complaints.push(format!("{}:{number}: {}", path.display(), line.trim()));
            }
        }
    }
    complain("a daemon uses the network", &complaints);
}

#[test]
fn unsafe_code_lives_in_one_file() {
    let allowed: Vec<PathBuf> =
        product_sources().into_iter().filter(|path| read(path).contains("unsafe_code")).collect();
    assert_eq!(allowed, [Path::new(UNSAFE)], "the workspace denies it to all others");
}

#[test]
fn no_module_is_a_drawer_for_strangers() {
    const DRAWERS: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "misc", "manager", "shared"];
    let complaints: Vec<String> = product_sources()
        .iter()
        .filter(|path| {
            let inside = path.iter().skip_while(|part| *part != "src");
            inside.map(|part| part.to_string_lossy()).any(|part| DRAWERS.contains(&part.trim_end_matches(".rs")))
        })
        .map(|path| path.display().to_string())
        .collect();
    complain("a module is named for what it is about", &complaints);
}

#[test]
fn nothing_is_left_to_be_done_later_in_the_code() {
    let marks = ["TO", "FIX", "XX"].into_iter().zip(["DO", "ME", "X"]).map(|(head, tail)| format!("{head}{tail}"));
    let marks: Vec<String> = marks.collect();
    let kinds = ["rs", "toml", "md", "service", "target", "conf", "py", "sh", ""];
    let texts: Vec<PathBuf> = files("")
        .into_iter()
        .filter(|path| kinds.contains(&path.extension().unwrap_or_default().to_string_lossy().as_ref()))
        .collect();
    assert!(texts.len() > 20, "the files are read");
    let mut complaints = Vec::new();
    for path in texts {
        let Ok(text) = std::fs::read_to_string(tree::top().join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.split(|c: char| !c.is_alphanumeric()).any(|word| word == mark)) {
                complaints.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    complain("a mark of unfinished work", &complaints);
}
