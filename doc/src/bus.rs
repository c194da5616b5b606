//! Describes the D-Bus interfaces of a daemon by their introspection data.

use std::path::PathBuf;

use libstas::bus::Callers;
use libstas::daemon::event_loop;
use libstas::daemon::history::History;
use libstas::daemon::journal::Journal;
use libstas::daemon::process_info::ProcessInfo;
use zbus::object_server::Interface;

use crate::mdoc::{Page, literal, prose};

/// One interface of a daemon.
#[derive(Debug)]
pub struct BusInterface {
    /// Its name, such as `org.nvmexpress.staf`.
    pub name: String,
    /// Its methods, signals and properties, in the order of the introspection data.
    pub members: Vec<Member>,
}

/// One member of an interface.
#[derive(Debug, Default)]
pub struct Member {
    /// `method`, `signal` or `property`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its documentation in the sources.
    pub doc: String,
    /// The arguments of a call or a signal, such as `detailed (b)`; for a property its type and access.
    arguments: Vec<String>,
    /// What a call returns.
    results: Vec<String>,
}

/// The interfaces of stafd.
#[must_use]
pub fn of_stafd() -> Vec<BusInterface> {
    let (handle, _) = event_loop::channel();
    let debug = stafd::api::StafDebug::new(handle.clone(), process("stafd"), History::default(), Callers::default());
    vec![
        parse(&introspection(&stafd::api::Staf::new(handle.clone(), Default::default(), Callers::default()))),
        parse(&introspection(&debug)),
        BusInterface {
            name: "org.nvmexpress.staf at the name org.nvmexpress.staf.root".to_owned(),
            ..parse(&introspection(&stafd::api::StafRoot::new(handle, History::default(), Default::default())))
        },
    ]
}

/// The interfaces of stacd.
#[must_use]
pub fn of_stacd() -> Vec<BusInterface> {
    let (handle, _) = event_loop::channel();
    let debug = stacd::api::StacDebug::new(handle.clone(), process("stacd"), History::default(), Callers::default());
    vec![
        parse(&introspection(&stacd::api::Stac::new(handle, Default::default(), Callers::default()))),
        parse(&introspection(&debug)),
    ]
}

fn process(name: &'static str) -> ProcessInfo {
    ProcessInfo::new(Journal::start(name, false, false), PathBuf::new())
}

fn introspection(interface: &dyn Interface) -> String {
    let mut xml = String::new();
    interface.introspect_to_writer(&mut xml, 0);
    xml
}

/// Reads what zbus writes: one element a line, each comment before the element that it documents.
fn parse(xml: &str) -> BusInterface {
    let mut interface = BusInterface { name: String::new(), members: Vec::new() };
    let (mut doc, mut in_doc) = (String::new(), false);
    for line in xml.lines().map(str::trim) {
        match line {
            "<!--" => (doc, in_doc) = (String::new(), true),
            "-->" => in_doc = false,
            _ if in_doc => doc += &format!("{line}\n"),
            _ => element(line, &mut interface, &mut doc),
        }
    }
    interface
}

fn element(line: &str, interface: &mut BusInterface, doc: &mut String) {
    let value = |name| attribute(line, name);
    match line.trim_start_matches('<').split_whitespace().next().unwrap_or_default() {
        "interface" => interface.name = value("name"),
        kind @ ("method" | "signal" | "property") => {
            let mut member =
                Member { kind: kind.into(), name: value("name"), doc: std::mem::take(doc), ..Member::default() };
            if kind == "property" {
                member.arguments = vec![value("type"), value("access")];
            }
            interface.members.push(member);
        }
        "arg" => {
            let Some(member) = interface.members.last_mut() else { return };
            let argument = format!("{} ({})", value("name"), value("type"));
            let list = if value("direction") == "out" { &mut member.results } else { &mut member.arguments };
            list.push(argument.trim().to_owned());
        }
        _ => {}
    }
}

/// The value of an attribute of an element. Empty: it has none of that name.
fn attribute(element: &str, name: &str) -> String {
    let start = format!(" {name}=\"");
    element.split_once(&start).and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default().to_owned()
}

/// Describes each member. The rest of the page is written by hand.
pub(crate) fn page(mut page: Page, interfaces: &[BusInterface]) -> Page {
    page.insert("INTERFACES", |page| interfaces.iter().for_each(|interface| describe(page, interface)));
    page
}

fn describe(page: &mut Page, interface: &BusInterface) {
    page.line(format_args!(".Ss {}", literal(&interface.name)));
    page.line(".Bl -tag -width Ds");
    for member in &interface.members {
        page.line(format_args!(".It {} Ic {}", member.kind, literal(&member.name)));
        let lists = [("Arguments", &member.arguments), ("Result", &member.results)];
        let name = |label| if member.kind == "property" { "Type" } else { label };
        for (label, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            page.line(format_args!("{}: {}.", name(label), literal(&list.join(", "))));
            page.line(".br");
        }
        page.line(prose(&member.doc.trim().replace('\n', " ")));
    }
    page.line(".El");
}

/// Both daemons, each with its interfaces.
#[must_use]
pub fn daemons() -> [(&'static str, Vec<BusInterface>); 2] {
    [("org.nvmexpress.staf", of_stafd()), ("org.nvmexpress.stac", of_stacd())]
}
