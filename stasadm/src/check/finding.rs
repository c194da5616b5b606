//! What a check finds.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use libstas::conf::{Complaint, Severity};
use libstas::nvme::shown;

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FindingLevel {
    /// Nothing is wrong, but something is not as the administrator may expect, or was not checked.
    Note,
    /// It works, but not as written, or not now.
    Warning,
    /// A line is refused.
    Error,
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: FindingLevel,
    /// File, and line if it is about one, then what is wrong.
    pub(super) text: String,
}

impl Finding {
    pub(super) fn new(level: FindingLevel, text: impl Into<String>) -> Self {
        Self { level, text: text.into() }
    }

    /// A warning about a line of a file.
    pub(super) fn at(path: &Path, line: usize, text: impl fmt::Display) -> Self {
        Self::new(FindingLevel::Warning, format!("{}:{line}: {text}", path.display()))
    }
}

impl From<&Complaint> for Finding {
    fn from(complaint: &Complaint) -> Self {
        let level = match complaint.severity {
            Severity::Warning | Severity::Unknown => FindingLevel::Warning,
            Severity::Refused => FindingLevel::Error,
        };
        Self::new(level, complaint.to_string())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            FindingLevel::Note => "note",
            FindingLevel::Warning => "warning",
            FindingLevel::Error => "error",
        };
        write!(f, "{level}: {}", shown(&self.text))
    }
}

/// The number of errors and warnings: `1 error, 2 warnings`.
pub(super) fn summary(findings: &[Finding]) -> String {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let counted = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{count} {what}s")),
    };
    let parts = [counted(count(FindingLevel::Error), "error"), counted(count(FindingLevel::Warning), "warning")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "no errors, no warnings".to_owned() } else { parts.join(", ") }
}

/// The exit status: 0 without a complaint, 1 after warnings, 2 after errors.
pub(super) fn status(findings: &[Finding]) -> ExitCode {
    match findings.iter().map(|finding| finding.level).max() {
        None | Some(FindingLevel::Note) => ExitCode::SUCCESS,
        Some(FindingLevel::Warning) => ExitCode::from(1),
        Some(FindingLevel::Error) => ExitCode::from(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_and_the_status_is_that_of_the_worst() {
        let findings: Vec<Finding> =
            [FindingLevel::Note, FindingLevel::Warning, FindingLevel::Error, FindingLevel::Warning]
                .map(|level| Finding::new(level, "f"))
                .into();
        assert_eq!(summary(&findings), "1 error, 2 warnings");
        assert_eq!(summary(findings.get(..1).unwrap_or_default()), "no errors, no warnings");
        for (length, code) in [(0, 0), (1, 0), (2, 1), (4, 2)] {
            assert_eq!(status(findings.get(..length).unwrap_or_default()), ExitCode::from(code));
        }
    }

    #[test]
    fn an_unknown_key_is_a_warning_and_a_refused_line_an_error() {
        let complaint = |severity| Complaint { file: "f".into(), line: 3, severity, text: "odd\u{7}".into() };
        let shown = |severity| Finding::from(&complaint(severity)).to_string();
        assert!(shown(Severity::Unknown).starts_with("warning: f:3: odd"));
        assert!(shown(Severity::Refused).starts_with("error: f:3: odd"));
    }
}
