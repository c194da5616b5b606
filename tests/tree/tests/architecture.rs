//! Checks the allowed dependencies (doc/architecture.md).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tree::{files, product_sources, read, rust};

/// The rooms of libstas, and the rooms that each may know.
const ROOMS: [(&str, &[&str]); 7] = [
    ("nvme", &[]),
    ("conf", &["nvme"]),
    ("core", &["conf", "nvme"]),
    ("host", &["core", "conf", "nvme"]),
    ("bus", &["core", "nvme"]),
    ("daemon", &["host", "bus", "core", "conf", "nvme"]),
    ("cli", &["bus", "nvme"]),
];

/// The rooms that decide: no sockets, no files, no clock, no runtime.
const PURE: [&str; 3] = ["nvme", "conf", "core"];

/// Values of another module that the pure modules may use: the contract between the daemons.
const PURE_VALUES: [&str; 2] = ["bus", "contract"];

/// In a daemon everything decides, but for these.
const SHELLS: [&str; 7] = ["main", "lib", "bin", "api", "shell", "nvme_cli", "stafd_client"];

/// In the simulator of a discovery controller, too. `control` is also a command line, which reads a file.
const CDCSIM_SHELLS: [&str; 5] = ["main", "lib", "shell", "arguments", "control"];

/// The crates that the simulator may use in addition: its definitions are also command lines and files, and PDUs have
/// digests.
const CDCSIM_CRATES: [&str; 3] = ["clap", "crc32c", "toml"];

/// The foreign crates that pure modules may use: none of them performs I/O.
const PURE_CRATES: [&str; 7] = ["serde", "serde_json", "thiserror", "jiff", "sha2", "strsim", "uuid"];

/// Functions of these crates that use random numbers or the clock.
const IMPURE_NAMES: [&str; 3] = ["new_v4", "new_v7", "now"];

/// The parts of std that are the world, with the names in them that are mere values.
const WORLD: [(&str, &[&str]); 8] = [
    ("fs", &[]),
    ("env", &[]),
    ("io", &[]),
    ("net", &["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6", "AddrParseError"]),
    ("os", &[]),
    ("process", &[]),
    ("thread", &[]),
    ("time", &["Duration"]),
];

/// The only file that may be unsafe, if any is.
const UNSAFE: &str = "libstas/src/host/sys.rs";

/// Where a source lives: its crate, its room in it, and the path of its module.
struct Place {
    package: String,
    module: Vec<String>,
}

impl Place {
    fn of(path: &Path) -> Self {
        let parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let src = parts.iter().position(|part| part == "src").unwrap_or(0);
        let mut module: Vec<String> =
            parts[src + 1..].iter().map(|part| part.trim_end_matches(".rs").to_owned()).collect();
        if module.last().is_some_and(|last| last == "mod" || last == "lib" || last == "main") && module.len() > 1 {
            module.pop();
        }
        Self { package: parts[src - 1].clone(), module }
    }

    fn room(&self) -> &str {
        self.module.first().map_or("", String::as_str)
    }

    fn is_pure(&self) -> bool {
        match self.package.as_str() {
            "libstas" => PURE.contains(&self.room()),
            "stafd" | "stacd" => !SHELLS.contains(&self.room()),
            "cdcsim" => !CDCSIM_SHELLS.contains(&self.room()),
            _ => false,
        }
    }

    /// Resolves `crate`, `self`, `super` and the modules declared here in a path.
    fn resolve(&self, segments: &[String], declared: &BTreeSet<String>) -> Vec<String> {
        let mut base = vec![self.package.clone()];
        base.extend(self.module.iter().filter(|part| *part != "lib" && *part != "main").cloned());
        let mut rest = segments;
        match segments.first().map(String::as_str) {
            Some("crate") => base.truncate(1),
            Some("self" | "super") => {}
            Some(first) if declared.contains(first) => {}
            _ => return segments.to_vec(),
        }
        while let Some((first, tail)) = rest.split_first() {
            match first.as_str() {
                "super" => drop(base.pop()),
                "crate" | "self" => {}
                _ => break,
            }
            rest = tail;
        }
        base.extend(rest.iter().cloned());
        base
    }
}

/// Every path in a product source, resolved, with its position.
fn arrows() -> Vec<(Place, String, Vec<String>)> {
    let mut found = Vec::new();
    for path in product_sources() {
        let source = read(&path);
        let declared = rust::modules(&source);
        for named in rust::named(&source) {
            let place = Place::of(&path);
            let target = place.resolve(&named.segments, &declared);
            found.push((place, format!("{}:{}: {}", path.display(), named.line, target.join("::")), target));
        }
    }
    assert!(found.len() > 20, "the sources are read");
    found
}

fn complain(what: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{what}:\n  {}", complaints.join("\n  "));
}

#[test]
fn the_arrows_of_the_library_run_one_way() {
    let mut complaints = Vec::new();
    for (place, says, target) in arrows() {
        let [package, room, ..] = target.as_slice() else { continue };
        let known = ROOMS.iter().find(|(name, _)| *name == place.room()).map(|(_, known)| *known);
        let is_room = ROOMS.iter().any(|(name, _)| name == room);
        if let (true, "libstas", "libstas", Some(known)) = (is_room, place.package.as_str(), package.as_str(), known)
            && place.room() != room
            && !known.contains(&room.as_str())
        {
            complaints.push(says);
        }
    }
    complain("a room of libstas knows one that it must not know", &complaints);
}

#[test]
fn what_decides_never_touches_the_world() {
    let crates: BTreeSet<String> = dependencies();
    let mut complaints = Vec::new();
    for (place, says, target) in arrows() {
        let names = |at: usize| target.get(at).map_or("", String::as_str);
        let bad = match names(0) {
            "std" => WORLD.iter().any(|(world, values)| *world == names(1) && !values.contains(&names(2))),
            "libstas" => !PURE.contains(&names(1)) && PURE_VALUES != [names(1), names(2)],
            "cdcsim" => ["shell", "arguments"].contains(&names(1)),
            package if package == place.package => SHELLS.contains(&names(1)),
            package if place.package == "cdcsim" && CDCSIM_CRATES.contains(&package) => false,
            package => crates.contains(package) && !PURE_CRATES.contains(&package),
        };
        let impure = target.last().is_some_and(|last| IMPURE_NAMES.contains(&last.as_str()));
        if place.is_pure() && (bad || impure) {
            complaints.push(says);
        }
    }
    complain("what decides performs no I/O and reads no clock, but names", &complaints);
}

/// The crates of the workspace's table of dependencies, as they are named in code.
fn dependencies() -> BTreeSet<String> {
    let manifest = read("Cargo.toml");
    let table = manifest.split("[workspace.dependencies]").nth(1).unwrap_or("");
    let table = table.split("\n[").next().unwrap_or("");
    let names: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.trim().replace('-', "_"))
        .collect();
    assert!(names.contains("tokio"), "the table is found");
    names
}

#[test]
fn the_daemons_do_not_know_each_other_and_nobody_else_knows_them() {
    let mut complaints = Vec::new();
    for (place, says, target) in arrows() {
        let first = target.first().map_or("", String::as_str);
        if ["stafd", "stacd"].contains(&first) && first != place.package {
            complaints.push(says);
        }
    }
    complain("a daemon's crate is named outside of it", &complaints);
    for (package, other) in [("stafd", "stacd"), ("stacd", "stafd")] {
        let manifest = read(format!("{package}/Cargo.toml"));
        assert!(!manifest.contains(&format!("{other}.workspace")), "{package}/Cargo.toml depends on {other}");
    }
}

#[test]
fn the_daemons_know_nothing_of_the_tools() {
    let mut complaints = Vec::new();
    for (place, says, target) in arrows() {
        if ["stafd", "stacd"].contains(&place.package.as_str())
            && target.starts_with(&["libstas", "cli"].map(str::to_owned))
        {
            complaints.push(says);
        }
    }
    complain("a daemon names what the tools share", &complaints);
}

#[test]
fn unsafe_code_lives_in_one_file() {
    let complaints: Vec<String> = product_sources()
        .into_iter()
        .filter(|path| path != Path::new(UNSAFE))
        .flat_map(|path| {
            let tokens = rust::tokens(&read(&path));
            let unsafe_words =
                tokens.into_iter().filter(|token| ["unsafe", "unsafe_code"].contains(&token.text.as_str()));
            unsafe_words.map(|token| format!("{}:{}", path.display(), token.line)).collect::<Vec<_>>()
        })
        .collect();
    complain("unsafe outside of the one file that may", &complaints);
}

#[test]
fn no_module_is_a_drawer_for_strangers() {
    const DRAWERS: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "misc", "manager", "shared"];
    let complaints: Vec<String> = product_sources()
        .iter()
        .flat_map(|path| Place::of(path).module.into_iter().map(move |part| (path, part)))
        .filter(|(_, part)| DRAWERS.contains(&part.as_str()))
        .map(|(path, _)| path.display().to_string())
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
