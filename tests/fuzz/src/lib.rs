//! What is done with foreign bytes: one body for each parser.
//!
//! A body takes any bytes and panics when the parser does, or when what it gives breaks what it promises. The programs
//! in `libfuzzer/` feed them what a fuzzer makes up, and a test of this crate what lies in `corpus/`.

mod configuration;
mod pages;
mod stream;
mod structured;

/// One body.
pub type Body = fn(&[u8]);

/// All bodies, by the name of their target and of their corpus.
pub const BODIES: &[(&str, Body)] = &[
    ("cdcsim_conf", configuration::cdcsim),
    ("cdcsim_control", stream::control),
    ("dim", pages::dim),
    ("identify", pages::identify),
    ("log_page", pages::log_page),
    ("log_page_structured", structured::log_page),
    ("nbft", pages::nbft),
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

/// The body of a target; `None` when there is no such target.
#[must_use]
pub fn body(name: &str) -> Option<Body> {
    BODIES.iter().find(|(known, _)| *known == name).map(|(_, body)| *body)
}
