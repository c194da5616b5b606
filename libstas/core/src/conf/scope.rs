//! `disconnect-scope`: a typo that hides it must not disconnect anything.
//!
//! A misspelled or misplaced line is ignored like any other. But if the file gives no scope, and such a line may mean
//! one, the scope is [`NO_DISCONNECT`]: the default would disconnect what the line was to keep.

use super::keys::{self, DISCONNECT_SCOPE};
use super::near_miss::nearest;
use super::settings::{KeyedFile, NO_DISCONNECT};
use super::types::DisconnectScope;

/// The key of nvme-stas 1.x that kept connections which no source lists.
const STICKY_CONNECTIONS: &str = "sticky-connections";
/// The values with which it kept none.
const OFF: [&str; 4] = ["disabled", "false", "no", "off"];

/// Reads the scope. Complains of a line that may mean it.
pub(crate) fn read(settings: &mut KeyedFile<'_>) -> DisconnectScope {
    let word = settings.word(&DISCONNECT_SCOPE);
    if !settings.has_value(&DISCONNECT_SCOPE) {
        let meant = settings.other_lines().find(|(_, text)| may_mean_a_scope(text)).map(|(line, _)| line);
        if let Some(line) = meant {
            let text = format!(
                "the line may mean {}=: {NO_DISCONNECT} applies until the line is corrected or removed, or until \
                 [{}] sets {}=",
                DISCONNECT_SCOPE.name,
                keys::IOC_CONNECTIONS,
                DISCONNECT_SCOPE.name
            );
            settings.warning(line, text);
            return DisconnectScope::Nothing;
        }
    }
    match word {
        "all-connections-matching-disconnect-trtypes" => DisconnectScope::AllMatchingTrtypes,
        NO_DISCONNECT => DisconnectScope::Nothing,
        _ => DisconnectScope::OnlyStas,
    }
}

/// True for a line with a word, or two words in a row, that may mean `disconnect-scope`, `no-disconnect`, or
/// `sticky-connections` unless it is off.
fn may_mean_a_scope(line: &str) -> bool {
    // A line in UTF-16 has a NUL between its characters.
    let line: String = line.chars().filter(|c| !c.is_control() || c.is_whitespace()).collect();
    let comment = line.match_indices(['#', ';']).find(|(at, _)| line[..*at].ends_with(char::is_whitespace));
    let line = comment.and_then(|(at, _)| line.get(..at)).unwrap_or(&line);
    let words: Vec<&str> =
        line.split(|c: char| c.is_whitespace() || "=:;,[]\"'".contains(c)).filter(|word| !word.is_empty()).collect();
    let is_off = || words.iter().any(|word| OFF.iter().any(|off| word.eq_ignore_ascii_case(off)));
    let may_mean = |word: &str| match nearest(word, [DISCONNECT_SCOPE.name, NO_DISCONNECT, STICKY_CONNECTIONS]) {
        Some(STICKY_CONNECTIONS) => !is_off(),
        meant => meant.is_some(),
    };
    let pairs = words.iter().zip(words.iter().skip(1)).map(|(first, second)| format!("{first}-{second}"));
    words.iter().any(|word| may_mean(word)) || pairs.into_iter().any(|pair| may_mean(&pair))
}

#[cfg(test)]
mod tests {
    use super::super::stacd;
    use super::*;

    const SECTION: &str = "[I/O controller connection management]";

    fn scope(text: &[u8]) -> (DisconnectScope, Option<usize>) {
        let (conf, complaints) = stacd::parse(text, "stacd.conf");
        let warning = complaints.iter().find(|complaint| complaint.text.starts_with("the line may mean"));
        (conf.disconnect_scope, warning.map(|warning| warning.line))
    }

    #[test]
    fn a_line_that_may_mean_a_scope_disconnects_nothing() {
        for (line, text) in [
            (2, format!("{SECTION}\ndisconect-scope=no-disconnect")),
            (2, format!("{SECTION}\ndisconnect_scope=no-disconnect")),
            (2, format!("{SECTION}\ndisconnect scope = no-disconnect")),
            (2, format!("{SECTION}\ndisconnect-scop=everything")),
            (2, format!("{SECTION}\nscope=no-disconnect")),
            (2, format!("{SECTION}\ndisconnect-scope: no-disconnect")),
            (2, format!("{SECTION}\ndisconnect-scope no-disconnect")),
            (2, format!("{SECTION}\nDisconnect Scope: no-disconnect")),
            (2, format!("{SECTION}\nno disconnect")),
            (2, format!("{SECTION}\ndisconnect-scope")),
            (2, format!("{SECTION}\ndisconnect-scope\u{2}=no-disconnect")),
            (1, format!("{SECTION} disconnect-scope=no-disconnect")),
            (1, format!("{} disconnect-scope=no-disconnect", SECTION.trim_end_matches(']'))),
            (2, "[I/O controller conection management]\ndisconnect-scope=no-disconnect".to_owned()),
            (2, "[I/O controller connection management\ndisconnect-scope=no-disconnect".to_owned()),
            (2, "[Nonsense]\ndisconnect-scope=no-disconnect".to_owned()),
            (2, "[Global]\ndisconnect-scope=no-disconnect".to_owned()),
            (1, "disconnect-scope=no-disconnect".to_owned()),
            (3, "[Global]\ntron=true\n disconnect-scope=no-disconnect".to_owned()),
            (3, format!("{SECTION}\ndisconnect-scope=\n no-disconnect")),
            (3, format!("{SECTION}\ndisconnect-scope=\ndisconect-scope=no-disconnect")),
            (4, format!("{SECTION}\nlost\n# why\n  disconnect-scope=no-disconnect")),
            (2, format!("{SECTION}\nsticky-connections=enabled")),
            (2, "[Global]\nsticky-connections=true".to_owned()),
            (2, "[Global]\nsticky_conections=Enabled".to_owned()),
            (2, "[Global]\nsticky-connections: enabled".to_owned()),
        ] {
            assert_eq!(scope(text.as_bytes()), (DisconnectScope::Nothing, Some(line)), "{text}");
        }
        let (conf, complaints) = stacd::parse(b"[Global]\nscope=no-disconnect", "f");
        assert_eq!(conf.disconnect_scope, DisconnectScope::Nothing);
        assert_eq!(
            complaints.last().map(ToString::to_string).unwrap_or_default(),
            "f:2: the line may mean disconnect-scope=: no-disconnect applies until the line is corrected or \
             removed, or until [I/O controller connection management] sets disconnect-scope="
        );
    }

    #[test]
    fn a_line_that_is_not_utf_8_may_mean_a_scope() {
        let text = [SECTION.as_bytes(), b"\ndisconnect-scope=no-disconnect \xe9\n"].concat();
        assert_eq!(scope(&text), (DisconnectScope::Nothing, Some(2)));
        let text: Vec<u8> =
            format!("{SECTION}\ndisconnect-scope=no-disconnect").bytes().flat_map(|byte| [byte, 0]).collect();
        assert_eq!(scope(&text), (DisconnectScope::Nothing, Some(2)));
    }

    #[test]
    fn other_lines_and_comments_are_no_scope() {
        for text in [
            "",
            "#disconnect-scope=no-disconnect",
            "  ; disconect-scope=no-disconnect",
            "scope=wide",
            "disconnects=no",
            "disconect-trtypes=tcp",
            "in-use=disconnect",
            "in-use=keep # disconnect-scope is the default",
            "[Controllers] # disconnect-scope is the default",
            "nonsense",
            "sticky-connections=disabled",
            "sticky-connections=False",
            "sticky_connections: disabled",
            "[Controllers]\ncontroller=transport=tcp;traddr=192.0.2.1;nqn=no-disconnect",
        ] {
            for before in ["", "[Global]\n", "[Nonsense]\n", &format!("{SECTION}\n")] {
                let text = format!("{before}{text}");
                assert_eq!(scope(text.as_bytes()), (DisconnectScope::OnlyStas, None), "{text}");
            }
        }
    }

    #[test]
    fn the_scope_that_is_given_counts() {
        for (word, expected) in [
            ("only-stas-connections", DisconnectScope::OnlyStas),
            ("all-connections-matching-disconnect-trtypes", DisconnectScope::AllMatchingTrtypes),
            ("no-disconnect", DisconnectScope::Nothing),
        ] {
            let text =
                format!("disconnect-scope=no-disconnect\n{SECTION}\ndisconnect-scope={word}\nsticky-connections=true");
            assert_eq!(scope(text.as_bytes()), (expected, None), "{word}");
        }
        let text = format!("{SECTION}\ndisconnect-scope=nothing\nsticky-connections=true");
        assert_eq!(scope(text.as_bytes()), (DisconnectScope::Nothing, None), "an invalid word is reported itself");
    }
}
