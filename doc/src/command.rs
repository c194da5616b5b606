//! Describes a command line by its definition.

use clap::builder::StyledStr;
use clap::{Arg, Command};

use crate::mdoc::{Page, literal, prose, sentence};

/// Describes a tool: its commands with their options, then the common options.
pub(crate) fn tool(mut page: Page, mut definition: Command) -> Page {
    definition.build();
    page.section("SYNOPSIS");
    for command in commands(&definition) {
        name(&mut page, &definition);
        synopsis(&mut page, options(&definition).filter(|option| !is_help(option)));
        page.line(format_args!(".Ic {}", literal(command.get_name())));
        synopsis(&mut page, own(command));
        if commands(command).next().is_some() {
            page.line(".Ar COMMAND");
        }
    }
    page.section("DESCRIPTION");
    page.text(&details(&definition));
    page.section("COMMANDS");
    page.line(".Bl -tag -width Ds");
    for (path, command) in all_commands("", &definition) {
        page.line(format_args!(".It Ic {}", literal(&path)));
        page.text(&sentence(&text(command.get_about())));
        page.text(&details(command));
        if own(command).next().is_some() {
            list(&mut page, own(command));
        }
    }
    page.line(".El");
    page.section("OPTIONS");
    list(&mut page, options(&definition));
    page
}

/// Describes the options of a daemon. The rest of the page is written by hand.
pub(crate) fn daemon(mut page: Page, mut definition: Command) -> Page {
    definition.build();
    page.section("SYNOPSIS");
    name(&mut page, &definition);
    synopsis(&mut page, options(&definition).filter(|option| !is_help(option)));
    page.insert("OPTIONS", |page| list(page, options(&definition)));
    page
}

fn name(page: &mut Page, definition: &Command) {
    page.line(format_args!(".Nm {}", literal(definition.get_name())));
}

fn commands(definition: &Command) -> impl Iterator<Item = &Command> {
    definition.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

/// All commands and subcommands, each with its full name.
fn all_commands<'a>(before: &str, definition: &'a Command) -> Vec<(String, &'a Command)> {
    let below = |command: &'a Command| {
        let path = format!("{before}{}", command.get_name());
        let deeper = all_commands(&format!("{path} "), command);
        std::iter::once((path, command)).chain(deeper)
    };
    commands(definition).flat_map(below).collect()
}

fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|argument| !argument.is_hide_set())
}

/// The options that only this command has.
fn own(command: &Command) -> impl Iterator<Item = &Arg> {
    options(command).filter(|option| !is_help(option) && !option.is_global_set())
}

fn is_help(argument: &Arg) -> bool {
    matches!(argument.get_id().as_str(), "help" | "version")
}

fn synopsis<'a>(page: &mut Page, arguments: impl Iterator<Item = &'a Arg>) {
    for argument in arguments {
        let how = match (argument.get_short(), argument.get_long()) {
            (Some(short), _) => format!("Fl {short}"),
            (None, Some(long)) => format!("Fl \\-{}", literal(long)),
            (None, None) => String::new(),
        };
        let with_value = format!("{how}{}", value(argument));
        let line =
            if argument.is_required_set() { format!(".{}", with_value.trim()) } else { format!(".Op {with_value}") };
        page.line(line);
    }
}

fn list<'a>(page: &mut Page, arguments: impl Iterator<Item = &'a Arg>) {
    page.line(".Bl -tag -width Ds");
    for argument in arguments {
        let short = argument.get_short().map(|short| format!("Fl {short}"));
        let long = argument.get_long().map(|long| format!("Fl \\-{}", literal(long)));
        let names: Vec<String> = short.into_iter().chain(long).collect();
        page.line(format_args!(".It {}", format!("{}{}", names.join(" , "), value(argument)).trim()));
        page.line(prose(&help(argument)));
    }
    page.line(".El");
}

/// The placeholder of the argument's value, for example ` Ar FILE`.
fn value(argument: &Arg) -> String {
    if !argument.get_action().takes_values() {
        return String::new();
    }
    let id = argument.get_id().as_str().to_uppercase();
    let name = argument.get_value_names().and_then(|names| names.first()).map_or(id, ToString::to_string);
    format!(" Ar {}", literal(&name))
}

/// The purpose of an option, its possible values, and its default.
fn help(argument: &Arg) -> String {
    if argument.get_id() == "help" {
        return "Print help, then exit.".to_owned();
    }
    let text = text(argument.get_help());
    // If clap cannot know the default, the text states it in the same form as clap.
    let (text, stated) = match text.split_once(" [default: ") {
        Some((text, rest)) => {
            let (default, rest) = rest.split_once(']').unwrap_or((rest, ""));
            (format!("{text}{rest}"), Some(default.to_owned()))
        }
        None => (text, None),
    };
    let mut out = sentence(&text);
    if !argument.get_action().takes_values() {
        return out;
    }
    let values: Vec<String> =
        argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if let Some((last, others)) = values.split_last() {
        out += &format!(" One of {} and {last}.", others.join(", "));
    }
    let mut known = argument.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy()));
    let default = known.find(|_| !argument.is_hide_default_value_set()).or(stated);
    default.map_or(out.clone(), |default| format!("{out} The default is {default}."))
}

fn text(styled: Option<&StyledStr>) -> String {
    styled.map(ToString::to_string).unwrap_or_default()
}

/// The paragraphs after the first one.
fn details(command: &Command) -> String {
    let long = text(command.get_long_about());
    long.split_once("\n\n").map(|(_, rest)| rest.to_owned()).unwrap_or_default()
}
