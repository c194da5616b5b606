//! A minimal Rust lexer: finds the paths that a source file names, and its words.

use std::collections::BTreeSet;

/// A path such as `std::net::IpAddr` that a source names, `use` groups taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Line of its first segment, from 1.
    pub line: usize,
    /// Its segments; `crate`, `self` and `super` as written.
    pub segments: Vec<String>,
}

/// A relevant token: a word, or one punctuation character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Line, from 1.
    pub line: usize,
    /// The word or character. The text of literals and comments is dropped.
    pub text: String,
}

impl Token {
    fn is(&self, text: &str) -> bool {
        self.text == text
    }

    fn is_word(&self) -> bool {
        self.text.starts_with(|first: char| first.is_alphabetic() || first == '_')
    }
}

/// The tokens of the product: no comments, no literals, nothing below `#[cfg(test)]`.
#[must_use]
pub fn tokens(source: &str) -> Vec<Token> {
    without_tests(&lex(source))
}

/// The modules that a source declares.
#[must_use]
pub fn modules(source: &str) -> BTreeSet<String> {
    let tokens = tokens(source);
    tokens.windows(2).filter(|pair| pair[0].is("mod")).map(|pair| pair[1].text.clone()).collect()
}

/// All paths of two segments or more, and all that is imported.
#[must_use]
pub fn named(source: &str) -> Vec<Named> {
    let tokens = tokens(source);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let after_path = goes_on(&tokens[..at]);
        if tokens[at].is("use") && !after_path {
            at = import(&tokens, at + 1, &[], &mut found);
        } else if tokens[at].is_word() && !after_path {
            let (segments, next) = segments(&tokens, at);
            if segments.len() > 1 {
                found.push(Named { line: tokens[at].line, segments });
            }
            at = next;
        } else {
            at += 1;
        }
    }
    found
}

/// True if the next word continues a path: after `word::` or `<type>::`, but not after `-> ::`.
fn goes_on(before: &[Token]) -> bool {
    let [.., second, first, colon, other] = before else { return false };
    colon.is(":") && other.is(":") && (first.is_word() || (first.is(">") && !second.is("-")))
}

/// Parses `word(::word)*` at `at`. Returns the words and the end.
fn segments(tokens: &[Token], mut at: usize) -> (Vec<String>, usize) {
    let mut found = vec![tokens[at].text.clone()];
    at += 1;
    while at + 2 < tokens.len() && tokens[at].is(":") && tokens[at + 1].is(":") && tokens[at + 2].is_word() {
        found.push(tokens[at + 2].text.clone());
        at += 3;
    }
    (found, at)
}

/// One tree of a `use`, from `at`; returns where it ends.
fn import(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Named>) -> usize {
    while at < tokens.len() && tokens[at].is(":") {
        at += 1;
    }
    let mut path = prefix.to_vec();
    let line = tokens.get(at).map_or(0, |token| token.line);
    while at < tokens.len() && tokens[at].is_word() && !tokens[at].is("as") {
        path.push(tokens[at].text.clone());
        at += 1;
        while at < tokens.len() && tokens[at].is(":") {
            at += 1;
        }
    }
    if at < tokens.len() && tokens[at].is("{") {
        at += 1;
        while at < tokens.len() && !tokens[at].is("}") {
            at = import(tokens, at, &path, found);
            while at < tokens.len() && !tokens[at].is(",") && !tokens[at].is("}") {
                at += 1;
            }
            if at < tokens.len() && tokens[at].is(",") {
                at += 1;
            }
        }
        return at + 1;
    }
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    found.push(Named { line, segments: path });
    at
}

/// Leaves out the item that follows each `#[cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let marked = tokens[at..].iter().zip(MARK).filter(|(token, mark)| token.is(mark)).count() == MARK.len();
        if !marked {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut depth = 0;
        at += MARK.len();
        while at < tokens.len() {
            match tokens[at].text.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            let ends = tokens[at].is("}") || tokens[at].is(";");
            at += 1;
            if depth == 0 && ends {
                break;
            }
        }
    }
    kept
}

fn lex(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < text.len() {
        let start = at;
        let next = text.get(at + 1).copied();
        match text[at] {
            '/' if next == Some('/') => at = position(&text, at, |c| c == '\n'),
            '/' if next == Some('*') => at = end_of_comment(&text, at),
            '"' => at = end_of_string(&text, at),
            '\'' => at = end_of_quote(&text, at),
            c if c.is_alphanumeric() || c == '_' => {
                at = position(&text, at, |c| !c.is_alphanumeric() && c != '_');
                let word: String = text[start..at].iter().collect();
                let literal = matches!(word.as_str(), "r" | "b" | "c" | "br" | "cr");
                if literal && matches!(text.get(at), Some('"' | '#')) && raw_string(&text, at).is_some() {
                    at =
                        if word.contains('r') { raw_string(&text, at).unwrap_or(at) } else { end_of_string(&text, at) };
                } else if word == "b" && text.get(at) == Some(&'\'') {
                    at = end_of_quote(&text, at);
                } else {
                    found.push(Token { line, text: word });
                }
            }
            c => {
                at += 1;
                if !c.is_whitespace() {
                    found.push(Token { line, text: c.to_string() });
                }
            }
        }
        line += text[start..at].iter().filter(|c| **c == '\n').count();
    }
    found
}

fn position(text: &[char], from: usize, stop: impl Fn(char) -> bool) -> usize {
    text[from..].iter().position(|c| stop(*c)).map_or(text.len(), |offset| from + offset)
}

fn end_of_comment(text: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0);
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(text.len())
}

fn end_of_string(text: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// The end of a string of the form `#"…"#`, with any number of `#`.
fn raw_string(text: &[char], from: usize) -> Option<usize> {
    let open = position(text, from, |c| c != '#');
    if text.get(open) != Some(&'"') {
        return None;
    }
    let hashes = open - from;
    let closes = |at: &usize| text[*at] == '"' && text[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes;
    (open + 1..text.len()).find(closes).map(|at| at + 1 + hashes)
}

/// The end of a character literal; a lifetime is a mere quote.
fn end_of_quote(text: &[char], from: usize) -> usize {
    match (text.get(from + 1), text.get(from + 2)) {
        (Some('\\'), _) => (position(text, from + 3, |c| c == '\'') + 1).min(text.len()),
        (Some(_), Some('\'')) => from + 3,
        _ => from + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(source: &str) -> Vec<String> {
        named(source).into_iter().map(|named| named.segments.join("::")).collect()
    }

    #[test]
    fn groups_are_taken_apart() {
        assert_eq!(
            paths("use std::{fs, io::{self, Read as _}, net::*};"),
            ["std::fs", "std::io", "std::io::Read", "std::net"]
        );
    }

    #[test]
    fn a_path_in_an_expression_counts() {
        assert_eq!(paths("fn f() { let x = std::fs::read::<u8>(b\"x\"); }"), ["std::fs::read"]);
        assert_eq!(
            paths("fn f<'a>(x: &'a crate::host::Lane) -> ::nix::Result<()> {}"),
            ["crate::host::Lane", "nix::Result"]
        );
    }

    #[test]
    fn words_in_comments_and_literals_do_not() {
        let source = "// std::fs\n/* a /* std::fs */ tokio::x */ fn f() { g(\"std::fs\", r#\"a\"std::fs\"#, '\"', '\\'', b'\"') } std::time::Instant";
        assert_eq!(paths(source), ["std::time::Instant"]);
    }

    #[test]
    fn tests_do_not() {
        let source = "#[cfg(test)]\nmod tests { use std::fs; fn f() { std::fs::read(x) } }\nuse std::net::IpAddr;\n#[cfg(test)]\nuse std::fs;\nuse a::b;";
        assert_eq!(paths(source), ["std::net::IpAddr", "a::b"]);
    }

    #[test]
    fn lines_are_counted() {
        assert_eq!(named("\n\"two\nlines\"\nuse std::fs;").first().map(|named| named.line), Some(4));
    }
}
