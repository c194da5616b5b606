//! Hides nvme-cli's udev rule while stafd runs, and restores it. stafd.service starts it without the restrictions of
//! stafd, which may not write below /run/udev:
//!
//! - `stas-udev-rule hide` before stafd starts,
//! - `stas-udev-rule restore` after stafd has ended, even if it was killed.

use std::process::ExitCode;

use stafd::shell::nvme_cli::UdevRuleOverride;

fn main() -> ExitCode {
    let rule = UdevRuleOverride::default();
    let (result, consequence) = match std::env::args().nth(1).as_deref() {
        Some("hide") => {
            (rule.install(), "nvme-cli's udev rule stays in force, and both it and stafd act on the same events")
        }
        Some("restore") => (rule.remove(), "nvme-cli's udev rule stays hidden"),
        _ => {
            eprintln!("usage: stas-udev-rule hide|restore");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{consequence}: {error}");
            ExitCode::FAILURE
        }
    }
}
