//! Shows the boot tables of the firmware.

use std::io;
use std::process::ExitCode;

use libstas::linux::nbft::{self, TableError};
use serde_json::{Value, json};
use stas_cli::output::{print, render};
use stas_cli::table;

use crate::arguments::BootTable;

/// Prints the tables. An unusable table is listed with the reason, and makes the exit status 1.
pub(crate) fn show(which: &BootTable) -> ExitCode {
    let found = match nbft::read(&which.path) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("stasadm: cannot look for boot tables in {}: {error}{}", which.path.display(), hint(&error));
            return ExitCode::FAILURE;
        }
    };
    let mut status = ExitCode::SUCCESS;
    let mut tables = Vec::new();
    for each in found {
        match each {
            Ok(each) => {
                let path = if which.path.is_dir() { which.path.join(&each.name) } else { which.path.clone() };
                let mut table = json!(each.nbft);
                table["file"] = json!(path.display().to_string());
                tables.push(table);
            }
            Err(TableError::Unreadable { path, error }) => {
                eprintln!("stasadm: cannot read {}: {error}{}", path.display(), hint(&error));
                status = ExitCode::FAILURE;
            }
            Err(TableError::Bad { path, error }) => {
                eprintln!("stasadm: {}: {error}", path.display());
                tables.push(json!({ "file": path.display().to_string(), "error": error.to_string() }));
                status = ExitCode::FAILURE;
            }
        }
    }
    if let Err(error) = print(&render(which.output, &Value::Array(tables), Value::clone, table::boot_tables)) {
        eprintln!("stasadm: cannot write the answer: {error}");
        status = ExitCode::FAILURE;
    }
    status
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied { "; try again with sudo" } else { "" }
}
