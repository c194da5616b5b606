//! The fuzz targets: one body for each parser of untrusted bytes.
//!
//! A body takes any bytes. It panics if the parser panics, or if its result violates a promise. The programs in
//! `libfuzzer/` call the bodies with generated input, and a test of this crate with the files in `corpus/`.

mod configuration;
mod pages;
mod stream;
mod structured;

/// The body of a fuzz target.
pub type Body = fn(&[u8]);

/// All bodies, with the name of their target and corpus.
pub const BODIES: &[(&str, Body)] = &[
    ("cdcsim_conf", configuration::cdcsim),
    ("cdcsim_control", stream::control),
    ("dim", pages::dim),
    ("identify", pages::identify),
    ("log_page", pages::log_page),
    ("log_page_structured", structured::log_page),
    ("nbft", pages::nbft),
    ("net_reports", stream::net_reports),
    ("net_requests", stream::net_requests),
    ("nvmet_conf", configuration::nvmet),
    ("pdu", stream::pdu),
    ("pdu_structured", structured::pdu),
    ("saved_stacd", configuration::saved_stacd),
    ("saved_stafd", configuration::saved_stafd),
    ("stacd_conf", configuration::stacd),
    ("stafd_conf", configuration::stafd),
    ("supported", pages::supported),
    ("sys_conf", configuration::sys),
    ("sysfs_address", stream::sysfs_address),
    ("time_span", configuration::time_span),
    ("txt", stream::txt),
];

/// The body of a target; `None` if the target does not exist.
#[must_use]
pub fn body(name: &str) -> Option<Body> {
    BODIES.iter().find(|(known, _)| *known == name).map(|(_, body)| *body)
}
