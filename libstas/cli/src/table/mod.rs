//! Tables and outlines for users.
//!
//! The input are dictionaries from the bus, of these daemons and of nvme-stas. An absent key is displayed as an empty
//! cell, and a column without values is left out.

mod boot;
mod grid;
mod outline;

use std::fmt::Write as _;

pub use boot::boot_tables;
use grid::Grid;
pub use grid::Tone;
use serde_json::{Map, Value};
use unicode_width::UnicodeWidthStr as _;

use super::kernel::added;
use super::screen::Screen;
use stas_bus::key;
use stas_nvme::log_page::Treq;
use stas_nvme::shown;

type Dict = Map<String, Value>;

/// `ls`: one controller on each line. For a controller that is not connected, the reason follows on the next line.
#[must_use]
pub fn controllers(answer: &Value, screen: Screen) -> String {
    let mut grid = Grid::new(&["DEVICE", "STATE", "TRANSPORT", "ADDRESS", "SVCID", "VIA", "NAMESPACE", "NQN"]);
    for controller in dicts(answer) {
        let (state, tone) = state(controller);
        grid.row(
            [
                device(controller),
                state,
                text(controller, key::TRANSPORT),
                text(controller, key::TRADDR),
                text(controller, key::TRSVCID),
                via(controller),
                first_namespace(controller),
                text(controller, key::SUBSYSNQN),
            ],
            Some((1, tone)),
            explanation(controller),
        );
    }
    grid.text(screen).unwrap_or_else(|| "no controllers".to_owned())
}

/// The name of a controller: `tcp 192.0.2.1 4420 eth0 nqn.x`.
#[must_use]
pub fn controller_name(controller: &Value) -> String {
    let Some(controller) = controller.as_object() else { return String::new() };
    let identity = [key::TRANSPORT, key::TRADDR, key::TRSVCID].map(|key| text(controller, key)).into_iter();
    let identity = identity.chain([via(controller), text(controller, key::SUBSYSNQN)]);
    identity.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// One controller in one line: `tcp 192.0.2.1 4420 nqn.x: waiting: connection refused; next attempt: in 8 s`.
#[must_use]
pub fn controller_line(controller: &Value) -> String {
    let name = controller_name(controller);
    let Some(controller) = controller.as_object() else { return String::new() };
    let parts = [Some(name), Some(state(controller).0), explanation(controller)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
}

/// `ls -d` and the controllers of `status`: one paragraph for each controller, with all its data.
#[must_use]
pub fn controllers_in_detail(answer: &Value, screen: Screen) -> String {
    let paragraphs: Vec<String> = dicts(answer).map(|each| paragraph(each, screen)).collect();
    if paragraphs.is_empty() { "no controllers".to_owned() } else { paragraphs.join("\n") }
}

/// `dlp`: one entry of a log page on each line.
#[must_use]
pub fn log_page(answer: &Value, screen: Screen) -> String {
    entries(answer, "", screen).unwrap_or_else(|| "no entries".to_owned())
}

/// `adlp`: each discovery controller with its log page.
#[must_use]
pub fn all_log_pages(answer: &Value, screen: Screen) -> String {
    let mut out = String::new();
    for page in dicts(answer) {
        let Some(controller) = page.get(key::DISCOVERY_CONTROLLER).and_then(Value::as_object) else { continue };
        if !out.is_empty() {
            out.push('\n');
        }
        let headline = headline(controller);
        let nqn = screen.indented(headline.width() + 1).fit(&text(controller, key::SUBSYSNQN));
        let _ = writeln!(out, "{headline} {nqn}");
        let empty = || "  no entries\n".to_owned();
        out += &page.get(key::LOG_PAGES).and_then(|page| entries(page, "  ", screen)).unwrap_or_else(empty);
    }
    if out.is_empty() { "no discovery controllers".to_owned() } else { out }
}

/// `adlp -d`: as `adlp`, with all data of the discovery controllers.
#[must_use]
pub fn all_log_pages_in_detail(answer: &Value, screen: Screen) -> String {
    let pages = dicts(answer).filter_map(|page| {
        let mut controller = page.get(key::DISCOVERY_CONTROLLER)?.as_object()?.clone();
        controller.insert(key::LOG_PAGES.to_owned(), page.get(key::LOG_PAGES)?.clone());
        Some(paragraph(&controller, screen))
    });
    let pages: Vec<String> = pages.collect();
    if pages.is_empty() { "no discovery controllers".to_owned() } else { pages.join("\n") }
}

/// `status`: the state of the daemon, then its controllers.
#[must_use]
pub fn status(answer: &Value, screen: Screen) -> String {
    let Value::Object(answer) = answer else { return shown(&answer.to_string()).into_owned() };
    let mut process = answer.clone();
    let controllers = process.remove("controllers").unwrap_or_default();
    format!("{}\n{}", outline::members(&process, ""), controllers_in_detail(&controllers, screen))
}

/// The headline of a controller, then all its other data.
fn paragraph(controller: &Dict, screen: Screen) -> String {
    let told_above = [key::DEVICE, "state", key::TRANSPORT, key::TRADDR, key::TRSVCID];
    let mut rest = controller.clone();
    rest.retain(|key, value| !told_above.contains(&key.as_str()) && value.as_str() != Some(""));
    if let Some(listed) = rest.get_mut(added::NAMESPACES) {
        *listed = namespaces(controller).map(namespace).collect();
    }
    // The bus has both spellings: `status` that of nvme-stas 2, `adlp` the other one.
    let pages: Vec<Value> = ["log_pages", key::LOG_PAGES].iter().filter_map(|key| rest.remove(*key)).collect();
    let mut out = format!("{}\n{}", headline(controller), outline::members(&rest, "  "));
    for page in pages {
        match entries(&page, "    ", screen) {
            Some(entries) => out += &format!("  log page\n{entries}"),
            None => out += "  log page  no entries\n",
        }
    }
    out
}

/// The first line of a controller: `nvme0  connected  tcp 192.0.2.1 8009`.
fn headline(controller: &Dict) -> String {
    let address = [key::TRANSPORT, key::TRADDR, key::TRSVCID].map(|key| text(controller, key));
    let address: Vec<String> = address.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{}  {}  {}", device(controller), state(controller).0, address.join(" "))
}

fn entries(page: &Value, indent: &str, screen: Screen) -> Option<String> {
    let columns = ["SUBTYPE", "TRANSPORT", "ADDRESS", "SVCID", "PORT", "SECURITY", "TREQ", "FLAGS", "NQN"];
    let mut grid = Grid::new(&columns);
    for entry in dicts(page) {
        grid.row(
            [
                text(entry, "subtype"),
                text(entry, "trtype"),
                text(entry, "traddr"),
                text(entry, "trsvcid"),
                text(entry, "portid"),
                security(entry),
                requirements(&text(entry, "treq")),
                flags(&text(entry, "eflags")),
                text(entry, "subnqn"),
            ],
            None,
            None,
        );
    }
    Some(grid.text(screen.indented(indent.len()))?.lines().map(|line| format!("{indent}{line}\n")).collect())
}

/// Security of connections: `TLS 1.3 required`. Empty without TLS, and for a daemon that does not report it.
fn security(entry: &Dict) -> String {
    let tls = match text(entry, "sectype").as_str() {
        "" | "none" => return String::new(),
        "tls" => "TLS 1.2".to_owned(),
        "tls13" => "TLS 1.3".to_owned(),
        other => format!("sectype {other}"),
    };
    let treq: Treq = text(entry, "treq").parse().unwrap_or_default();
    match treq.secure_channel() {
        Treq::NOT_SPECIFIED => tls,
        channel => format!("{tls} {channel}"),
    }
}

/// The transport requirements in words. The bus has a number for a combination of bits.
fn requirements(treq: &str) -> String {
    let Ok(bits) = treq.parse::<Treq>() else { return treq.to_owned() };
    let both = [bits.secure_channel(), Treq(bits.0 & Treq::DISABLE_SQFLOW.0)];
    if bits.0 != both[0].0 | both[1].0 || both[0].0 == 0b11 {
        return treq.to_owned();
    }
    let words = both.into_iter().filter(|part| *part != Treq::NOT_SPECIFIED).map(|part| part.to_string());
    words.collect::<Vec<_>>().join(", ")
}

/// The entry flags in words (NVMe Base 2.0, discovery log page entry, EFLAGS).
fn flags(eflags: &str) -> String {
    const WORDS: [(u16, &str); 3] = [(1, "duplicate"), (2, "epcsd"), (4, "ncc")];
    let Ok(mut bits) = eflags.parse::<u16>() else { return eflags.to_owned() };
    let mut words: Vec<String> = Vec::new();
    for (bit, word) in WORDS {
        if bits & bit != 0 {
            words.push(word.to_owned());
            bits &= !bit;
        }
    }
    if bits != 0 {
        words.push(format!("{bits:#x}"));
    }
    words.join(",")
}

/// The state of a controller in one word, and how good it is.
#[must_use]
pub fn state_of(controller: &Value) -> (String, Tone) {
    state(controller.as_object().unwrap_or(&Map::new()))
}

fn device(controller: &Dict) -> String {
    let device = text(controller, key::DEVICE);
    if device == "nvme?" { "-".to_owned() } else { device }
}

/// The state in one word. For nvme-stas, which does not report a state, it is derived from the connection.
fn state(controller: &Dict) -> (String, Tone) {
    let reported = text(controller, "state");
    let word = match reported.as_str() {
        "" if text(controller, "connected") == "False" || device(controller) == "-" => "not connected",
        "" => "connected",
        reported => reported,
    };
    let tone = match word {
        "connected" => Tone::Good,
        "given up" | "not connected" => Tone::Bad,
        _ => Tone::Underway,
    };
    (word.to_owned(), tone)
}

/// The interface and source address of a controller. Empty if they are not part of its identity.
fn via(controller: &Dict) -> String {
    let parts = [key::HOST_IFACE, key::HOST_TRADDR].map(|key| text(controller, key));
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The reason for the state, and the time of the next attempt.
fn explanation(controller: &Dict) -> Option<String> {
    let parts = [
        ("boot table: ", key::NBFT),
        ("", key::REASON),
        ("next attempt: ", "next attempt"),
        ("same device as ", "alias of"),
    ];
    let parts = parts.map(|(words, key)| (words, text(controller, key))).into_iter();
    let mut parts: Vec<String> =
        parts.filter(|(_, value)| !value.is_empty()).map(|(words, value)| format!("{words}{value}")).collect();
    if state(controller).1 != Tone::Good {
        let times = [("since ", key::SINCE), ("the kernel gives up at about ", added::GIVES_UP_AT)];
        let times = times.map(|(words, key)| (words, text(controller, key))).into_iter();
        parts.extend(times.filter(|(_, value)| !value.is_empty()).map(|(words, value)| format!("{words}{value}")));
    }
    parts.extend(namespaces(controller).filter_map(without_io));
    if parts.is_empty() { None } else { Some(parts.join("; ")) }
}

fn namespaces(controller: &Dict) -> impl Iterator<Item = &Dict> {
    controller.get(added::NAMESPACES).map(dicts).into_iter().flatten()
}

/// The first block device, and how many more there are: `nvme1n1 +2`.
fn first_namespace(controller: &Dict) -> String {
    let mut devices = namespaces(controller).map(|namespace| text(namespace, key::DEVICE));
    let first = devices.next().unwrap_or_default();
    match devices.count() {
        0 => first,
        more => format!("{first} +{more}"),
    }
}

/// A namespace in words: `nvme1n1 (NSID 1, 20.0 GiB, optimized)`.
fn namespace(namespace: &Dict) -> Value {
    let nsid = namespace.get("nsid").and_then(Value::as_u64).map(|nsid| format!("NSID {nsid}"));
    let size = namespace.get("bytes").and_then(Value::as_u64).map(size);
    let ana_state = namespace.get("ana_state").and_then(Value::as_str).map(str::to_owned);
    let facts: Vec<String> = [nsid, size, ana_state].into_iter().flatten().collect();
    let device = text(namespace, key::DEVICE);
    if facts.is_empty() { device.into() } else { format!("{device} ({})", facts.join(", ")).into() }
}

/// A size with a binary prefix: `20.0 GiB`.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    // Tenths of a KiB, so that no fraction is lost.
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while tenths >= 10240
        && let Some(larger) = units.next()
    {
        tenths /= 1024;
        unit = Some(larger);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, unit.unwrap_or(&""))
}

/// A namespace to which this path cannot do I/O: `nvme1n1 is inaccessible (ANA)`.
fn without_io(namespace: &Dict) -> Option<String> {
    let ana_state = text(namespace, "ana_state");
    let is_usable = matches!(ana_state.as_str(), "" | "-" | "optimized" | "non-optimized");
    (!is_usable).then(|| format!("{} is {ana_state} on this path (ANA)", text(namespace, key::DEVICE)))
}

fn dicts(value: &Value) -> impl Iterator<Item = &Dict> {
    value.as_array().into_iter().flatten().filter_map(Value::as_object)
}

fn text(dict: &Dict, key: &str) -> String {
    dict.get(key).map(outline::scalar).unwrap_or_default()
}

#[cfg(test)]
mod tests;
