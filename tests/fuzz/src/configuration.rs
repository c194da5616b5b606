//! Files written by users and by earlier runs.

use std::collections::BTreeSet;

use cdcsim::configuration::Configuration;
use cdcsim::zoning::Zoning;
use libstas::conf::{self, Complaint, ControllerEntry};
use libstas::nvme::log_page::LogPage;
use nvmet::actual::Actual;
use nvmet::record::Record;

pub(crate) fn stafd(bytes: &[u8]) {
    let (conf, complaints) = conf::stafd::parse(bytes, "stafd.conf");
    each_names_its_line(bytes, &complaints);
    conf.controllers.iter().for_each(is_fit_for_the_kernel);
}

pub(crate) fn stacd(bytes: &[u8]) {
    let (conf, complaints) = conf::stacd::parse(bytes, "stacd.conf");
    each_names_its_line(bytes, &complaints);
    conf.controllers.iter().for_each(is_fit_for_the_kernel);
}

pub(crate) fn sys(bytes: &[u8]) {
    let (_, complaints) = conf::sys::parse(bytes, "sys.conf");
    each_names_its_line(bytes, &complaints);
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(written) = conf::sys::set_value(text, "symname", "fuzz") else { return };
    let (again, _) = conf::sys::parse(written.as_bytes(), "sys.conf");
    assert!(again.symname.is_some(), "what was set is read back from {written:?}");
}

fn each_names_its_line(bytes: &[u8], complaints: &[Complaint]) {
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    for complaint in complaints {
        assert!(complaint.line <= lines, "{complaint}");
        assert!(!complaint.text.contains('\n'), "{complaint}");
    }
}

/// A comma would start another option.
fn is_fit_for_the_kernel(entry: &ControllerEntry) {
    for text in
        [&entry.traddr, &entry.trsvcid, &entry.subsysnqn, &entry.host_traddr, &entry.host_iface, &entry.host_nqn]
    {
        assert!(!text.contains([',', '\n', '\0']), "{entry:?}");
    }
}

pub(crate) fn time_span(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(span) = conf::time_span::parse(text) else { return };
    let Some(length) = span.duration() else { return };
    let again = conf::time_span::parse(&format!("{}.{:09}", length.as_secs(), length.subsec_nanos()));
    assert_eq!(again.ok().and_then(|span| span.duration()), Some(length), "{text:?}");
}

/// Saving what was read from a saved state gives the same bytes.
pub(crate) fn saved_stafd(bytes: &[u8]) {
    let Ok(saved) = serde_json::from_slice::<stafd::finder::Saved>(bytes) else { return };
    let once = stafd::finder::Finder::new(saved, 1).saved();
    let text = serde_json::to_vec(&once).expect("a state can be written");
    let read = serde_json::from_slice(&text).expect("what is written is read back");
    assert_eq!(stafd::finder::Finder::new(read, 1).saved(), once);
}

pub(crate) fn saved_stacd(bytes: &[u8]) {
    let Ok(saved) = serde_json::from_slice::<stacd::connector::Saved>(bytes) else { return };
    let once = stacd::connector::Connector::new(saved, 1).saved();
    let text = serde_json::to_vec(&once).expect("a state can be written");
    let read = serde_json::from_slice(&text).expect("what is written is read back");
    assert_eq!(stacd::connector::Connector::new(read, 1).saved(), once);
}

/// Every valid configuration can be planned on a machine without targets.
pub(crate) fn nvmet(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(wanted) = nvmet::config::parse("fuzz.conf", text) else { return };
    let _ = nvmet::plan::create(&wanted, &Actual::default(), &Record::default());
}

/// Every page that a host is shown can be parsed.
pub(crate) fn cdcsim(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(configuration) = Configuration::parse(text) else { return };
    let hosts: BTreeSet<String> = configuration.zone.values().flat_map(|zone| zone.hosts.iter().cloned()).collect();
    let Ok(zoning) = Zoning::new(configuration.member, configuration.zone) else { return };
    for host in &hosts {
        let page = LogPage { entries: zoning.entries(host), ..LogPage::default() };
        let read = LogPage::parse(&page.encode()).expect("a page of the simulator can be read");
        assert_eq!(read.entries.len() + read.dropped.len(), page.entries.len());
    }
}
