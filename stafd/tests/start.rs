//! Starting stafd by hand where it cannot run.
#![allow(missing_docs)]

use fake_host::Program;

const STAFD: Program = Program { name: "stafd", path: env!("CARGO_BIN_EXE_stafd") };

#[test]
fn what_is_missing_is_said_with_the_remedy() {
    STAFD.says_what_is_missing();
}

#[test]
fn the_version_is_that_of_the_project_and_a_mistake_is_reported() {
    STAFD.says_its_version_and_reports_a_mistake();
}
