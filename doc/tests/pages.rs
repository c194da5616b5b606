//! The manual pages are complete, up to date and well-formed.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use clap::CommandFactory as _;
use libstas::conf::keys;

/// Foreign pages to which ours refer.
const FOREIGN: [&str; 1] = ["nvme.1"];

/// The name and the text of every page.
fn pages() -> Vec<(String, String)> {
    let mut pages: Vec<_> = fs::read_dir(manual::folder())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
        .collect();
    pages.sort();
    assert!(pages.len() >= 20);
    pages
}

fn page(name: &str) -> String {
    fs::read_to_string(manual::folder().join(name)).unwrap()
}

fn names() -> BTreeSet<String> {
    pages().into_iter().map(|(name, _)| name).collect()
}

#[test]
fn the_pages_are_what_their_sources_say() {
    for made in manual::pages().unwrap() {
        assert!(page(&made.name) == made.text, "doc/man/{} is out of date: run `make man`", made.name);
    }
}

#[test]
fn the_completion_scripts_are_what_the_command_lines_say() {
    let made = manual::completions();
    for script in &made {
        let path = manual::completion_folder().join(&script.name);
        let text = fs::read_to_string(path).unwrap_or_default();
        assert!(text == script.text, "doc/completion/{} is out of date: run `make man`", script.name);
    }
    assert_eq!(fs::read_dir(manual::completion_folder()).unwrap().count(), made.len());
}

/// The words that bash offers for a command line, in which the tool knows these names.
fn offered(tool: &str, line: &str, names: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(tool);
    fs::write(&program, format!("#!/bin/sh\n[ \"$*\" = 'ls --names' ] && cat <<'END'\n{names}END\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    // As bash divides a line: at blanks, and before and after each colon.
    let mut words: Vec<String> = line.replace(':', " : ").split(' ').map(str::to_owned).collect();
    words.dedup_by(|a, b| a.is_empty() && *b == ":");
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let (word, before) = (words.last().unwrap(), &words[words.len() - 2]);
    let script = format!(
        "source {script}\nCOMP_WORDBREAKS=$' :='\nCOMP_LINE='{line}' COMP_POINT={point} COMP_CWORD={index}\n\
         COMP_WORDS=({words})\nfunction=$(complete -p {tool} | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
         $function {tool} '{word}' '{before}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
        script = manual::completion_folder().join(format!("{tool}.bash")).display(),
        point = line.len(),
        index = words.len() - 1,
        words = quoted.join(" "),
    );
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash").args(["--norc", "-c", &script]).env("PATH", path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
    String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_the_devices_and_nqns_that_the_daemon_knows() {
    let names = "nvme1\nnvme10\nnqn.2014-08.org.example:disk1\nnqn.2014-08.org.example:disk2\nnqn.x:$(touch /tmp/x);\n";
    for (line, expected) in [
        ("stacctl why nvme", &["nvme1", "nvme10"][..]),
        ("stacctl ls nvme10", &["nvme10"]),
        ("stacctl wait nqn.2014", &["nqn.2014-08.org.example:disk1", "nqn.2014-08.org.example:disk2"]),
        ("stacctl wait nqn.2014-08.org.example:", &["disk1", "disk2"]),
        ("stacctl wait nvme1 nqn.2014-08.org.example:disk2", &["disk2"]),
        // A name that a shell would execute is not offered.
        ("stacctl why nqn.x", &[]),
        ("stacctl ls -o j", &["json"]),
        ("stacctl tree -o s", &["svg"]),
        ("stacctl wh", &["why"]),
        ("stacctl ls", &["ls"]),
        ("stafctl why nvme10", &["nvme10"]),
        ("stafctl dlp --transport nvme", &[]),
    ] {
        let tool = line.split(' ').next().unwrap();
        let offered = offered(tool, line, names);
        assert!(expected.iter().all(|word| offered.contains(&(*word).to_owned())), "{line}: {offered:?}");
        assert!(
            expected.len() == offered.len() || offered.iter().all(|word| !names.contains(word)),
            "{line}: {offered:?}"
        );
    }
}

#[test]
fn every_shell_asks_the_tool_for_names() {
    for tool in ["stafctl", "stacctl"] {
        for script in [format!("{tool}.bash"), format!("_{tool}"), format!("{tool}.fish")] {
            let text = fs::read_to_string(manual::completion_folder().join(&script)).unwrap();
            assert!(text.contains(&format!("{tool} ls --names")), "{script}");
            let shell = if script.ends_with(".bash") {
                "bash"
            } else if script.ends_with(".fish") {
                "fish"
            } else {
                "zsh"
            };
            match Command::new(shell).arg("-n").arg(manual::completion_folder().join(&script)).output() {
                Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{script}"),
                Err(error) => println!("skipped: {shell} cannot be started: {error}"),
            }
        }
        let zsh = fs::read_to_string(manual::completion_folder().join(format!("_{tool}"))).unwrap();
        assert_eq!(zsh.matches(&format!(":_{tool}_names' ")).count(), if tool == "stacctl" { 3 } else { 2 });
    }
}

#[test]
fn every_command_and_every_option_is_documented() {
    let tools = [
        ("stafctl.1", stafctl::arguments::Arguments::command()),
        ("stacctl.1", stacctl::arguments::Arguments::command()),
        ("stasadm.1", stasadm::arguments::Arguments::command()),
        ("nvmet.1", nvmet::arguments::Cli::command()),
    ];
    for (name, definition) in tools {
        let page = page(name);
        let mut documented = 0;
        for command in definition.get_subcommands() {
            let item = format!("\n.It Ic {}\n", command.get_name().replace('-', "\\-"));
            assert!(page.contains(&item), "{name}: {}", command.get_name());
            for argument in definition.get_arguments().chain(command.get_arguments()) {
                let item = match (argument.get_short(), argument.get_long()) {
                    (Some(short), Some(long)) => format!("\n.It Fl {short} , Fl \\-{}", long.replace('-', "\\-")),
                    (None, Some(long)) => format!("\n.It Fl \\-{}", long.replace('-', "\\-")),
                    _ => format!("\n.It Ar {}", argument.get_value_names().unwrap()[0]),
                };
                assert!(page.contains(&item), "{name}: {item}");
                documented += 1;
            }
        }
        assert!(documented > 0);
    }
}

#[test]
fn every_key_is_documented() {
    for (file, keys) in keys::FILES {
        let page = page(&format!("{file}.5"));
        for key in *keys {
            let item = format!("\n.It Ic {}", key.name.replace('-', "\\-"));
            let found = page.split(&item).skip(1).any(|rest| rest.starts_with(['=', ' ']));
            assert!(found, "{file}: {}", key.name);
        }
    }
}

#[test]
fn every_member_of_the_bus_is_documented() {
    for (daemon, interfaces) in manual::bus::daemons() {
        let page = page(&format!("{daemon}.5"));
        for interface in interfaces {
            assert!(interface.members.len() >= 2, "{}: its members are found", interface.name);
            for member in interface.members {
                let item = format!("\n.It {} Ic {}\n", member.kind, member.name);
                assert!(page.contains(&item), "{daemon}: {}", member.name);
                assert!(member.doc.trim().ends_with('.'), "{}.{} has no documentation", interface.name, member.name);
            }
        }
    }
}

#[test]
fn every_bus_call_in_a_page_names_a_member() {
    let daemons = manual::bus::daemons();
    let mut checked = 0;
    for (name, text) in pages() {
        for line in text.lines().filter(|line| line.starts_with("busctl call ") || line.starts_with("busctl get")) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, _, service, path, interface, member, ..] = words[..] else { panic!("{name}: {line}") };
            assert_eq!(path, format!("/{}", service.replace('.', "/")), "{name}: {line}");
            let known = daemons.iter().filter(|(daemon, _)| *daemon == service).flat_map(|(_, interfaces)| interfaces);
            let mut members = known.filter(|known| known.name == interface).flat_map(|known| &known.members);
            assert!(members.any(|known| known.name == member), "{name}: {line}");
            checked += 1;
        }
    }
    assert!(checked >= 3);
}

#[test]
fn every_page_is_well_formed() {
    for (name, text) in pages() {
        if let Some(target) = text.strip_prefix(".so man") {
            let target = target.trim().split_once('/').unwrap().1;
            assert!(names().contains(target), "{name}: {target}");
            continue;
        }
        let path: PathBuf = manual::folder().join(&name);
        // All warnings, except for long names that cannot be broken.
        match Command::new("groff").args(["-mandoc", "-Tutf8", "-ww", "-Wbreak", "-z"]).arg(path).output() {
            Ok(output) => assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}"),
            Err(error) => {
                println!("skipped: groff cannot be started: {error}");
                return;
            }
        }
    }
}

#[test]
fn every_reference_leads_to_a_page() {
    let names = names();
    let mut references = 0;
    for (name, text) in pages() {
        for reference in text.lines().filter_map(|line| line.strip_prefix(".Xr ")) {
            let mut words = reference.split_whitespace();
            let target = format!("{}.{}", words.next().unwrap().replace("\\-", "-"), words.next().unwrap());
            assert!(names.contains(&target) || FOREIGN.contains(&target.as_str()), "{name}: {target}");
            references += 1;
        }
    }
    assert!(references > 20);
}

#[test]
fn every_page_that_a_unit_names_is_there() {
    let units = manual::folder().join("../../systemd");
    let mut named = 0;
    for unit in fs::read_dir(units).unwrap() {
        let text = fs::read_to_string(unit.unwrap().path()).unwrap();
        for page in text.split("man:").skip(1) {
            let (name, rest) = page.split_once('(').unwrap();
            let section = rest.split(')').next().unwrap();
            assert!(names().contains(&format!("{name}.{section}")), "{name}({section})");
            named += 1;
        }
    }
    assert!(named >= 7);
}
