//! Data that arrives in pieces: PDUs, records of stas-net, addresses, announcements.

use cdcsim::pdu::{Framer, Incoming};
use libstas::core::ProbeOutcome;
use libstas::core::browse::BrowseEvent;
use libstas::net::wire::{Frames, MdnsEvent, RECORD_MAX, Record, Report, Request, WireError};
use libstas::nvme::Transport;
use libstas::nvme::announcement::{candidate, offer};
use libstas::nvme::sysfs_address::SysfsAddress;

/// A stream contains the same PDUs wherever it is split. The first byte selects the position.
pub(crate) fn pdu(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let (first, second) = stream.split_at(usize::from(*cut).min(stream.len()));
    let whole = cut_up(&[stream]);
    assert_eq!(cut_up(&[first, second]), whole);
    let data: usize = whole.iter().filter_map(|pdu| pdu.as_ref().ok()).map(data_of).sum();
    assert!(data <= stream.len(), "more data than came in");
}

fn data_of(pdu: &Incoming) -> usize {
    match pdu {
        Incoming::Command { data: Some(data), .. } | Incoming::Data { data: Some(data), .. } => data.len(),
        _ => 0,
    }
}

fn cut_up(pieces: &[&[u8]]) -> Vec<Result<Incoming, cdcsim::pdu::Fatal>> {
    let mut framer = Framer::default();
    let mut pdus = Vec::new();
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.next_pdu() {
                Ok(None) => break,
                Ok(Some(pdu)) => {
                    if let Incoming::Initialize { digests, .. } = pdu {
                        framer.agree(digests);
                    }
                    pdus.push(Ok(pdu));
                }
                Err(fatal) => {
                    pdus.push(Err(fatal));
                    return pdus;
                }
            }
        }
    }
    pdus
}

/// What stas-net sends to a daemon.
pub(crate) fn net_reports(bytes: &[u8]) {
    for report in records::<Report>(bytes) {
        let text = match report {
            Report::Resolved { result: Err(why), .. } => why.of("array.example".to_owned()).to_string(),
            Report::Resolved { result: Ok(addresses), .. } => format!("{addresses:?}"),
            Report::Probed { verdict, .. } => match ProbeOutcome::from(verdict) {
                ProbeOutcome::Unknown(error) => error.to_string(),
                ProbeOutcome::Dead(failure) => failure.to_string(),
                ProbeOutcome::Alive | ProbeOutcome::Skipped => String::new(),
            },
            Report::Mdns(events) => events.into_iter().map(event_in_words).collect(),
        };
        assert!(!text.contains(char::is_control), "{text}");
    }
}

fn event_in_words(events: MdnsEvent) -> String {
    match BrowseEvent::from(events) {
        BrowseEvent::Announced { offer: Ok(offer), .. } => {
            let tid = candidate(&offer, [192, 0, 2, 1].into(), "eth0", false, "nqn.2014-08.org.example:host");
            assert!(!tid.subsysnqn.contains(','), "{tid}");
            tid.to_string()
        }
        BrowseEvent::Announced { offer: Err(unusable), .. } => unusable.to_string(),
        BrowseEvent::Gone(_) | BrowseEvent::Restarted | BrowseEvent::Interrupted => String::new(),
    }
}

/// What a daemon sends to stas-net.
pub(crate) fn net_requests(bytes: &[u8]) {
    records::<Request>(bytes);
}

/// A stream contains the same records wherever it is split. The first byte selects the position. What is read can be
/// sent again, and is the same then.
fn records<R: Record + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Vec<R> {
    let Some((cut, stream)) = bytes.split_first() else { return Vec::new() };
    let (first, second) = stream.split_at(usize::from(*cut).min(stream.len()));
    let (whole, error) = read_records::<R>(&[stream]);
    assert_eq!(read_records::<R>(&[first, second]), (whole, error));
    let (records, _) = read_records::<R>(&[stream]);
    for record in &records {
        // JSON may grow: a character is written as it is in the input, and as six bytes here.
        let Ok(frame) = record.frame() else { continue };
        assert!(frame.len() <= RECORD_MAX + 4);
        assert_eq!(read_records::<R>(&[&frame]), (vec![R::parse(&frame[4..]).expect("it was read before")], None));
    }
    records
}

fn read_records<R: Record>(pieces: &[&[u8]]) -> (Vec<R>, Option<WireError>) {
    let mut frames = Frames::default();
    let mut records = Vec::new();
    for piece in pieces {
        frames.buffer().extend_from_slice(piece);
        loop {
            match frames.next_record() {
                Ok(Some(record)) => records.push(record),
                Ok(None) => break,
                Err(error) => return (records, Some(error)),
            }
        }
    }
    (records, None)
}

pub(crate) fn control(bytes: &[u8]) {
    let Ok(request) = serde_json::from_slice::<cdcsim::control::Request>(bytes) else { return };
    let text = serde_json::to_string(&request).expect("a request can be written");
    let again: cdcsim::control::Request = serde_json::from_str(&text).expect("what is written is read back");
    assert_eq!(serde_json::to_string(&again).ok().as_ref(), Some(&text));
}

pub(crate) fn sysfs_address(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for transport in [Transport::Tcp, Transport::Rdma, Transport::Fc, Transport::Loop] {
        let address = SysfsAddress::parse(text, transport);
        assert!(!address.traddr.contains(','), "{address:?}");
        assert!(address.traddr.len() <= text.len() + 64, "{address:?}");
    }
}

/// The strings of a TXT record: a length, then `KEY=VALUE`. The first two bytes are the port.
pub(crate) fn txt(bytes: &[u8]) {
    let Some((port, mut rest)) = bytes.split_first_chunk::<2>() else { return };
    let mut pairs = Vec::new();
    while let Some((length, more)) = rest.split_first() {
        let (string, more) = more.split_at(usize::from(*length).min(more.len()));
        rest = more;
        let (key, value) = match string.iter().position(|byte| *byte == b'=') {
            Some(at) => (&string[..at], Some(&string[at + 1..])),
            None => (string, None),
        };
        if let Ok(key) = str::from_utf8(key) {
            pairs.push((key, value));
        }
    }
    match offer(u16::from_be_bytes(*port), pairs) {
        Ok(offer) => {
            let tid = candidate(&offer, [192, 0, 2, 1].into(), "eth0", false, "nqn.2014-08.org.example:host");
            assert!(!tid.to_string().contains(char::is_control), "{tid}");
            assert!(!tid.subsysnqn.contains(','), "{tid}");
        }
        Err(unusable) => assert!(!unusable.to_string().contains(char::is_control), "{unusable}"),
    }
}
