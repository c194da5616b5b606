//! What users are promised of stafd.conf and stacd.conf, sentence by sentence, and the shipped files.
#![allow(clippy::unwrap_used)]

mod properties;
mod shipped;
mod stacd_conf;
mod stafd_conf;
mod tls;

use super::{Complaint, StacConf, StafConf, stacd, stafd};

/// Parses a stafd.conf that causes no complaint.
#[track_caller]
fn staf(text: &str) -> StafConf {
    let (conf, complaints) = stafd::parse(text.as_bytes(), "stafd.conf");
    assert_eq!(complaints, [], "{text}");
    conf
}

/// Parses a stacd.conf that causes no complaint.
#[track_caller]
fn stac(text: &str) -> StacConf {
    let (conf, complaints) = stacd::parse(text.as_bytes(), "stacd.conf");
    assert_eq!(complaints, [], "{text}");
    conf
}

/// The only complaint about a file.
#[track_caller]
fn one(complaints: Vec<Complaint>) -> Complaint {
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    complaints.into_iter().next().unwrap()
}
