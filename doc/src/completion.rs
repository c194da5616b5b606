//! The completion scripts: what clap generates, and the devices and NQNs that the daemon knows.

use clap_complete::{Generator as _, Shell};

use crate::Completion;

/// The commands whose arguments are devices or NQNs.
const TAKE_NAMES: [&str; 3] = ["ls", "why", "wait"];

/// Completion script of a tool for one shell.
pub(crate) fn script(shell: Shell, tool: &str, definition: &clap::Command) -> Completion {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut definition.clone(), tool, &mut text);
    let mut text = String::from_utf8_lossy(&text).into_owned();
    let with_names: Vec<&str> =
        TAKE_NAMES.into_iter().filter(|command| definition.find_subcommand(command).is_some()).collect();
    if matches!(tool, "stafctl" | "stacctl") {
        text = match shell {
            Shell::Bash => bash(&text, tool, &with_names),
            Shell::Zsh => zsh(&text, tool),
            Shell::Fish => fish(&text, tool, &with_names),
            _ => text,
        };
    }
    Completion { name: shell.file_name(tool), text }
}

fn bash(text: &str, tool: &str, commands: &[&str]) -> String {
    let function = r#"
# Completes the devices and NQNs that the daemon knows.
_TOOL_with_names() {
    _TOOL "$@"
    (( COMP_CWORD > 1 )) || return
    local name word=${COMP_LINE:0:COMP_POINT}
    # The whole word: bash divides NQNs at their colons.
    word=${word##*[[:space:]]}
    case "${COMP_WORDS[1]} ${COMP_WORDS[COMP_CWORD-1]} $word" in
        *" "*" -"* | *" -o "* | *" --output "* | *" --timeout "*) return ;;
        COMMANDS) ;;
        *) return ;;
    esac
    COMPREPLY=()
    while IFS= read -r name; do
        # NQNs come from the network: those with characters that a shell interprets are not offered.
        [[ $name == "$word"* && $name != *[!A-Za-z0-9:._-]* ]] || continue
        # bash replaces only what follows the last colon.
        [[ $COMP_WORDBREAKS == *:* ]] && name=${name#"${word%"${word##*:}"}"}
        COMPREPLY+=("$name")
    done < <(TOOL ls --names 2>/dev/null)
}
"#;
    let patterns = commands.iter().map(|command| format!("\"{command} \"*")).collect::<Vec<_>>().join(" | ");
    let function = function.replace("COMMANDS", &patterns).replace("TOOL", tool);
    let (before, registration) = text.rsplit_once("\nif [[ \"${BASH_VERSINFO[0]}\"").unwrap_or((text, ""));
    let registration = registration.replace(&format!("-F _{tool} "), &format!("-F _{tool}_with_names "));
    format!("{before}{function}\nif [[ \"${{BASH_VERSINFO[0]}}\"{registration}")
}

fn zsh(text: &str, tool: &str) -> String {
    let function = format!(
        "# Completes the devices and NQNs that the daemon knows.\n_{tool}_names() {{\n    local -a names\n    \
         names=(${{(f)\"$({tool} ls --names 2>/dev/null)\"}})\n    compadd -a names\n}}\n\n"
    );
    let line = |line: &str| {
        // Arguments without an option begin with a colon.
        let is_argument = line.trim_start_matches('\'').trim_start_matches('*').starts_with(':');
        match line.strip_suffix(":_default' \\").filter(|_| is_argument) {
            Some(argument) => format!("{argument}:_{tool}_names' \\\n"),
            None => format!("{line}\n"),
        }
    };
    let text: String = text.lines().map(line).collect();
    text.replacen("if [ \"$funcstack[1]\"", &format!("{function}if [ \"$funcstack[1]\""), 1)
}

fn fish(text: &str, tool: &str, commands: &[&str]) -> String {
    let line = |command: &&str| {
        format!(
            "complete -c {tool} -n \"__fish_{tool}_using_subcommand {command}\" -f -a \"({tool} ls --names 2>/dev/null)\"\n"
        )
    };
    let lines: String = commands.iter().map(line).collect();
    format!("{text}# The devices and NQNs that the daemon knows.\n{lines}")
}
