//! The tables of `nvmet ls`: ports, subsystems, hosts.

use comfy_table::{ContentArrangement, Table, presets};

use super::{exporting, keys};
use crate::actual::{Actual, Attributes, Namespace, Port, Subsystem};
use crate::record::Record;

pub(super) fn tables(observed: &Actual, record: &Record) -> String {
    let tables = [ports(observed, record), subsystems(observed, record), hosts(observed, record)];
    let tables: Vec<String> = tables.into_iter().flatten().map(|table| table.to_string()).collect();
    if tables.is_empty() { "There are no ports, no subsystems and no hosts.".to_owned() } else { tables.join("\n\n") }
}

fn table(header: [&str; 5]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header);
    table
}

fn ports(observed: &Actual, record: &Record) -> Option<Table> {
    if observed.ports.is_empty() {
        return None;
    }
    let mut table = table(["Port", "Address", "Exports", "Referrals", "Made by"]);
    for (id, port) in &observed.ports {
        let exports: Vec<&str> = port.exports.iter().map(String::as_str).collect();
        table.add_row([
            id.to_string(),
            address(&port.attributes),
            or_none(exports.join("\n")),
            or_none(referrals(port).join("\n")),
            maker(record.ports.contains(id)),
        ]);
    }
    Some(table)
}

fn referrals(port: &Port) -> Vec<String> {
    let off = |enabled| if enabled { "" } else { " (off)" };
    let referrals = port.referrals.iter();
    referrals.map(|(name, seen)| format!("{name}: {}{}", address(&seen.attributes), off(seen.enabled))).collect()
}

fn subsystems(observed: &Actual, record: &Record) -> Option<Table> {
    if observed.subsystems.is_empty() {
        return None;
    }
    let mut table = table(["Subsystem", "Ports", "Namespaces", "Hosts", "Made by"]);
    for (nqn, subsystem) in &observed.subsystems {
        let ports: Vec<String> = exporting(observed, nqn).iter().map(u16::to_string).collect();
        table.add_row([
            nqn.clone(),
            or_none(ports.join(", ")),
            or_none(namespaces(subsystem).join("\n")),
            admitted(subsystem),
            maker(record.subsystems.contains(nqn)),
        ]);
    }
    Some(table)
}

fn hosts(observed: &Actual, record: &Record) -> Option<Table> {
    if observed.hosts.is_empty() {
        return None;
    }
    let mut table = table(["Host", "Keys", "Hash", "Group", "Made by"]);
    for (nqn, host) in &observed.hosts {
        let setting = |name| or_none(host.settings.get(name).cloned().unwrap_or_default());
        let made_by = maker(record.hosts.contains(nqn));
        table.add_row([nqn.clone(), keys(host).to_owned(), setting("dhchap_hash"), setting("dhchap_dhgroup"), made_by]);
    }
    Some(table)
}

fn address(attributes: &Attributes) -> String {
    let get = |name| attributes.get(name).map_or("", String::as_str);
    let traddr = get("addr_traddr");
    let place = match get("addr_trsvcid") {
        "" => traddr.to_owned(),
        service if traddr.contains(':') => format!("[{traddr}]:{service}"),
        service => format!("{traddr}:{service}"),
    };
    or_none(format!("{} {place}", get("addr_trtype")).trim().to_owned())
}

/// One line per device: consecutive namespaces on the same device share a line.
fn namespaces(subsystem: &Subsystem) -> Vec<String> {
    let mut runs: Vec<(u32, u32, String)> = Vec::new();
    for (&nsid, seen) in &subsystem.namespaces {
        let disk = disk(seen);
        match runs.last_mut() {
            Some((_, last, same)) if *last + 1 == nsid && *same == disk => *last = nsid,
            _ => runs.push((nsid, nsid, disk)),
        }
    }
    let line = |(first, last, disk): (u32, u32, String)| {
        if first == last { format!("{first}: {disk}") } else { format!("{first}-{last}: {disk}") }
    };
    runs.into_iter().map(line).collect()
}

fn disk(seen: &Namespace) -> String {
    let device = seen.device.as_ref().map_or_else(|| "no device".into(), |device| device.to_string_lossy());
    let off = if seen.enabled { "" } else { " (off)" };
    format!("{device}{off}")
}

fn admitted(subsystem: &Subsystem) -> String {
    let names: Vec<&str> = subsystem.hosts.iter().map(String::as_str).collect();
    if subsystem.any_host { "any".to_owned() } else { or_none(names.join("\n")) }
}

fn maker(ours: bool) -> String {
    if ours { "nvmet" } else { "others" }.to_owned()
}

fn or_none(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_on_one_device_take_one_line() {
        let on = |device: &str, enabled| Namespace { device: Some(device.into()), enabled, ..Namespace::default() };
        let namespaces =
            [(1, on("/dev/a", true)), (2, on("/dev/a", true)), (4, on("/dev/a", true)), (5, on("/dev/a", false))];
        let subsystem = Subsystem { namespaces: namespaces.into(), ..Subsystem::default() };
        assert_eq!(super::namespaces(&subsystem), ["1-2: /dev/a", "4: /dev/a", "5: /dev/a (off)"]);
    }
}
