//! Displays the firmware's boot tables.

use serde_json::Value;

use super::grid::Grid;
use super::{Dict, dicts, outline, text};
use crate::screen::Screen;
use stas_nvme::shown;

/// Displays each table: the host's identity, its interfaces, subsystems, discovery controllers and security profiles.
#[must_use]
pub fn boot_tables(answer: &Value) -> String {
    let tables: Vec<String> = dicts(answer).map(boot_table).collect();
    if tables.is_empty() { "no boot table (NBFT)".to_owned() } else { tables.join("\n") }
}

fn boot_table(table: &Dict) -> String {
    let mut out = format!("{}\n", text(table, "file"));
    if let Some(Value::Object(host)) = table.get("host") {
        out += &format!("  host\n{}", outline::members(host, "    "));
    }
    let mut section = |title: &str, key: &str, columns: &[(&'static str, &str)]| {
        let mut grid = Grid::new(&columns.iter().map(|(heading, _)| *heading).collect::<Vec<_>>());
        let records = table.get(key).map(dicts);
        for record in records.into_iter().flatten() {
            grid.row_of(columns.iter().map(|(_, keys)| cell(record, keys)).collect());
        }
        if let Some(text) = grid.text(Screen::ENDLESS) {
            out += &format!("  {title}\n");
            text.lines().for_each(|line| out += &format!("    {line}\n"));
        }
    };
    section(
        "interfaces (HFI)",
        "hfi",
        &[
            ("INDEX", "index"),
            ("MAC", "mac"),
            ("VLAN", "vlan"),
            ("ADDRESS", "ip/prefix"),
            ("GATEWAY", "gateway"),
            ("DNS", "dns"),
            ("DHCP", "dhcp_server"),
            ("HOST NAME", "host_name"),
        ],
    );
    section(
        "subsystems (SSNS)",
        "subsystem",
        &[
            ("INDEX", "index"),
            ("TRANSPORT", "transport"),
            ("ADDRESS", "traddr"),
            ("SVCID", "trsvcid"),
            ("HFI", "hfi"),
            ("NSID", "nsid"),
            ("NAMESPACE", "nid"),
            ("STATE", "availability"),
            ("SECURITY", "security"),
            ("NQN", "nqn"),
        ],
    );
    section(
        "discovery controllers",
        "discovery",
        &[("INDEX", "index"), ("ADDRESS", "uri"), ("HFI", "hfi"), ("SECURITY", "security"), ("NQN", "nqn")],
    );
    section(
        "security profiles",
        "security",
        &[
            ("INDEX", "index"),
            ("AUTHENTICATION", "in_band_authentication"),
            ("CHANNEL", "secure_channel"),
            ("SECRET", "secret_keypath"),
        ],
    );
    for flaw in table.get("flaws").and_then(Value::as_array).into_iter().flatten() {
        out += &format!("  wrong: {}\n", outline::scalar(flaw));
    }
    if let Some(error) = table.get("error").and_then(Value::as_str) {
        out += &format!("  cannot be used: {}\n", shown(error));
    }
    out
}

/// Joins the values of one or more keys (`ip/prefix`). Empty if the first one is absent.
fn cell(record: &Dict, keys: &str) -> String {
    let value = |key: &str| match record.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::Array(items)) if items.is_empty() => String::new(),
        Some(value) => outline::scalar(value),
    };
    let (first, rest) = keys.split_once('/').map_or((keys, None), |(first, rest)| (first, Some(rest)));
    match (value(first), rest) {
        (first, Some(rest)) if !first.is_empty() => format!("{first}/{}", value(rest)),
        (first, _) => first,
    }
}
