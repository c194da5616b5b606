//! Checks the README as far as a program can.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use tree::{files, read, top};

/// The code in the README: indented lines, and text between backticks.
fn code() -> Vec<String> {
    let mut found = Vec::new();
    for line in read("README.md").lines() {
        match line.strip_prefix("    ") {
            Some(block) => found.push(block.trim().to_owned()),
            None => found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned)),
        }
    }
    assert!(found.len() > 20, "the code is found");
    found
}

/// The commands in the README, split into words, without sudo.
fn commands() -> Vec<Vec<String>> {
    let lines = code();
    let commands = lines.iter().flat_map(|line| line.split("&&")).map(|command| {
        command.split_whitespace().skip_while(|word| *word == "sudo").map(str::to_owned).collect::<Vec<_>>()
    });
    commands.filter(|words| !words.is_empty()).collect()
}

fn commands_of(program: &str) -> Vec<Vec<String>> {
    let found: Vec<_> = commands().into_iter().filter(|words| words[0] == program).collect();
    assert!(!found.is_empty(), "the README names {program}");
    found
}

#[test]
fn every_make_command_has_its_target() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> =
        makefile.lines().filter(|line| line.contains(":")).map(|line| line.split(':').next().unwrap()).collect();
    let variables: BTreeSet<&str> =
        makefile.lines().filter_map(|line| line.split_once("?=")).map(|(name, _)| name.trim()).collect();
    for words in commands_of("make") {
        for word in &words[1..] {
            match word.split_once('=') {
                Some((variable, _)) => assert!(variables.contains(variable), "{words:?}: no variable {variable}"),
                None => assert!(targets.contains(word.as_str()), "{words:?}: no target {word}"),
            }
        }
    }
}

#[test]
fn make_help_lists_every_target_that_a_person_needs() {
    let help = Command::new("make").arg("-C").arg(top()).args(["--no-print-directory", "help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for words in commands_of("make") {
        for target in words[1..].iter().filter(|word| !word.contains('=')) {
            assert!(help.contains(&format!("make {target} ")), "make help does not tell of {target}");
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut checked = 0;
    for document in files("").into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = read(&document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = top().join(document.parent().unwrap()).join(target);
            assert!(path.exists(), "{}: {target}", document.display());
            checked += 1;
        }
    }
    assert!(checked >= 3, "the links are found");
}

#[test]
fn every_file_of_the_tree_that_a_document_names_exists() {
    let folders = ["libstas/", "stafd/", "stacd/", "utils/", "systemd/", "etc/", "tests/", "doc/", ".ci/"];
    for document in ["README.md", "doc/architecture.md"] {
        let text = read(document);
        let ends = |c: char| c.is_whitespace() || "`|(),;[]".contains(c);
        for word in text.split(ends).map(|word| word.trim_end_matches(['.', ':'])) {
            if folders.iter().any(|folder| word.starts_with(folder)) {
                assert!(top().join(word).exists(), "{document}: {word}");
            }
        }
    }
}

#[test]
fn every_unit_that_a_command_names_is_installed() {
    for words in commands_of("systemctl").into_iter().chain(commands_of("journalctl")) {
        // What follows -t is an identifier in the journal.
        let is_unit = |at: usize| words[at].starts_with("sta") && words[at] != "status" && words[at - 1] != "-t";
        for word in (1..words.len()).filter(|at| is_unit(*at)).map(|at| &words[at]) {
            let unit = if word.contains('.') { word.clone() } else { format!("{word}.service") };
            assert!(top().join("systemd").join(unit).exists(), "{words:?}: {word}");
        }
    }
}

#[test]
fn every_command_line_is_understood() {
    let programs: BTreeMap<&str, clap::Command> = manual::tools().into_iter().chain(manual::daemons()).collect();
    let mut checked = 0;
    for words in commands().into_iter().filter(|words| words.len() > 1) {
        let Some(program) = programs.get(words[0].as_str()) else { continue };
        let understood = program.clone().try_get_matches_from(&words);
        assert!(understood.is_ok(), "{words:?}: {}", understood.unwrap_err());
        checked += 1;
    }
    assert!(checked >= 5, "the commands are found");
}

/// The indented blocks that begin with a section, each with the file of /etc/stas that the text named last.
fn configurations() -> Vec<(String, String)> {
    let text = read("README.md");
    let mut found: Vec<(String, String)> = Vec::new();
    let (mut file, mut inside) = (String::new(), false);
    for line in text.lines() {
        let block = line.strip_prefix("    ");
        match block {
            Some(line) if line.starts_with('[') => {
                inside = true;
                found.push((file.clone(), format!("{line}\n")));
            }
            Some(line) if inside => found.last_mut().unwrap().1.push_str(&format!("{line}\n")),
            _ => inside = false,
        }
        let names = line.split(|c: char| c.is_whitespace() || c == ',' || c == ':');
        if let Some(name) = names.filter_map(|word| word.strip_prefix("/etc/stas/")).next_back() {
            file = name.to_owned();
        }
    }
    found
}

#[test]
fn every_configuration_is_accepted_without_complaint() {
    let configurations = configurations();
    assert_eq!(configurations.len(), 2, "the examples are found");
    for (file, text) in configurations {
        let complaints = match file.as_str() {
            "stafd.conf" => {
                let (settings, complaints) = libstas::conf::stafd::parse(text.as_bytes(), &file);
                assert!(!settings.controllers.is_empty(), "{text}");
                complaints
            }
            "stacd.conf" => {
                let (settings, complaints) = libstas::conf::stacd::parse(text.as_bytes(), &file);
                assert!(!settings.controllers.is_empty() && !settings.exclusions.is_empty(), "{text}");
                complaints
            }
            other => panic!("an example for {other:?}?"),
        };
        assert!(complaints.is_empty(), "{file}: {complaints:?}\n{text}");
    }
}
