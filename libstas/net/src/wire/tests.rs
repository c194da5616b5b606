use proptest::prelude::*;

use super::*;
use stas_core::NotNvme;

fn portal() -> Portal {
    Portal { traddr: "192.0.2.1".into(), trsvcid: "4420".into(), host_traddr: String::new(), host_iface: "eth0".into() }
}

fn requests() -> Vec<Request> {
    vec![
        Request::Role(Role::Names),
        Request::Role(Role::Probe),
        Request::Role(Role::Mdns),
        Request::Resolve { id: 1, name: "array.example".into() },
        Request::Probe { id: u64::MAX, portal: portal() },
        Request::Browse(BrowseCommand::Start),
        Request::Browse(BrowseCommand::Stop),
        Request::Browse(BrowseCommand::NetworkChanged),
        Request::Browse(BrowseCommand::Reconfirm("dc._nvme-disc._tcp.local.".into())),
    ]
}

fn announced(service: String, value: Option<String>, endpoints: usize) -> MdnsEvent {
    let endpoint = Endpoint { interface: u32::MAX, address: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap() };
    MdnsEvent::Announced { service, port: 8009, p: value.clone(), nqn: value, endpoints: vec![endpoint; endpoints] }
}

fn reports() -> Vec<Report> {
    let unresolved = |why| Report::Resolved { id: 1, result: Err(why) };
    let probed = |verdict| Report::Probed { id: 2, verdict };
    vec![
        Report::Resolved { id: 1, result: Ok(vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()]) },
        unresolved(Unresolved::NoAddress),
        unresolved(Unresolved::Resolver("no such host".into())),
        probed(Verdict::Alive),
        probed(Verdict::Dead(ProbeFailure::NotNvme(NotNvme::Silent))),
        probed(Verdict::Unknown("no buffer space".into())),
        Report::Mdns(vec![
            announced("dc".into(), Some("tcp".into()), 2),
            MdnsEvent::Gone("dc".into()),
            MdnsEvent::Restarted,
        ]),
    ]
}

fn read<R: Record>(bytes: &[u8]) -> Result<Vec<R>, WireError> {
    let mut frames = Frames::default();
    frames.buffer().extend_from_slice(bytes);
    let mut records = Vec::new();
    while let Some(record) = frames.next_record()? {
        records.push(record);
    }
    Ok(records)
}

fn framed(body: &str) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body.as_bytes()].concat()
}

#[test]
fn every_record_is_read_back_wherever_the_stream_is_cut() {
    let stream: Vec<u8> = reports().iter().flat_map(|report| report.frame().unwrap()).collect();
    let mut frames = Frames::default();
    let mut received = Vec::new();
    for byte in stream {
        frames.buffer().push(byte);
        received.extend(frames.next_record::<Report>().unwrap());
    }
    assert_eq!(received, reports());
    let stream: Vec<u8> = requests().iter().flat_map(|request| request.frame().unwrap()).collect();
    assert_eq!(read::<Request>(&stream).unwrap(), requests());
}

#[test]
fn the_longest_services_fit_into_one_record() {
    // JSON writes a control character as six bytes; DNS allows 255 of them in a name, and as many in a value.
    let longest = announced("\u{1}".repeat(255), Some("\u{1}".repeat(255)), ENDPOINTS_PER_SERVICE);
    let report = Report::Mdns(vec![longest; SERVICES_PER_RECORD]);
    assert!(report.frame().unwrap().len() < RECORD_MAX);
    let replaced = announced("x".repeat(SERVICE_MAX), Some("\u{fffd}".repeat(255)), ENDPOINTS_PER_SERVICE);
    assert!(Report::Mdns(vec![replaced; SERVICES_PER_RECORD]).frame().unwrap().len() < RECORD_MAX);
}

#[test]
fn what_breaks_a_limit_is_neither_sent_nor_taken_in() {
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let resolved = |result| Report::Resolved { id: 1, result };
    for report in [
        resolved(Ok(vec![address; ADDRESSES_MAX + 1])),
        resolved(Ok(Vec::new())),
        resolved(Err(Unresolved::Resolver("x".repeat(ERROR_MAX + 1)))),
        Report::Probed { id: 1, verdict: Verdict::Unknown("x".repeat(ERROR_MAX + 1)) },
        Report::Mdns(vec![MdnsEvent::Restarted; SERVICES_PER_RECORD + 1]),
        Report::Mdns(vec![announced("x".repeat(SERVICE_MAX + 1), None, 1)]),
        Report::Mdns(vec![announced("x".into(), Some("x".repeat(TXT_MAX + 1)), 1)]),
        Report::Mdns(vec![announced("x".into(), None, ENDPOINTS_PER_SERVICE + 1)]),
        Report::Mdns(vec![MdnsEvent::Gone("x".repeat(SERVICE_MAX + 1))]),
    ] {
        assert!(matches!(report.frame(), Err(WireError::Limit(_))), "{report:?}");
        let body = serde_json::to_string(&report).unwrap();
        assert!(matches!(read::<Report>(&framed(&body)), Err(WireError::Limit(_))), "{report:?}");
    }
    let mut long = portal();
    long.host_iface = "x".repeat(PORTAL_MAX + 1);
    for request in [
        Request::Resolve { id: 1, name: "x".repeat(NAME_MAX + 1) },
        Request::Probe { id: 1, portal: long },
        Request::Browse(BrowseCommand::Reconfirm("x".repeat(SERVICE_MAX + 1))),
    ] {
        assert!(matches!(request.frame(), Err(WireError::Limit(_))), "{request:?}");
    }
}

#[test]
fn what_is_no_record_is_refused() {
    for body in [
        "",
        "{}",
        "null",
        "[]",
        "{\"resolved\":{}}",
        "{\"probed\":{\"id\":1,\"verdict\":\"perhaps\"}}",
        "{\"probed\":{\"id\":-1,\"verdict\":\"alive\"}}",
        "{\"probed\":{\"id\":1,\"verdict\":\"alive\",\"and\":1}}",
        "{\"heard\":[{\"gone\":7}]}",
        "{\"heard\":[{\"announced\":{\"service\":\"x\",\"port\":65536,\"p\":null,\"nqn\":null,\"endpoints\":[]}}]}",
        "{\"resolved\":{\"id\":1,\"result\":{\"Ok\":[\"not an address\"]}}}",
    ] {
        assert!(matches!(read::<Report>(&framed(body)), Err(WireError::Unknown(_))), "{body}");
    }
    // The length is refused before the bytes have arrived.
    for length in [u32::try_from(RECORD_MAX).unwrap() + 1, u32::MAX] {
        assert_eq!(read::<Report>(&length.to_be_bytes()), Err(WireError::TooLong(length as usize)));
    }
}

#[test]
fn text_of_stas_net_is_safe_in_the_log() {
    let text = "a\u{1b}[31mred\u{202e} line\nsecond";
    let shown = Unresolved::Resolver(text.into()).of("array".into()).to_string();
    assert!(!shown.contains(['\u{1b}', '\u{202e}', '\n']), "{shown}");
    let ProbeOutcome::Unknown(error) = Verdict::Unknown(text.into()).into() else { panic!() };
    assert!(!error.to_string().contains(['\u{1b}', '\u{202e}', '\n']), "{error}");
    let report = framed("{\"heard\":[{\"\u{202e}\":1}]}");
    let refused = read::<Report>(&report).unwrap_err().to_string();
    assert!(!refused.contains('\u{202e}'), "{refused}");
}

#[test]
fn an_announcement_is_read_as_if_it_came_from_the_network() {
    let offer = |p: Option<&str>, nqn: Option<&str>, port| {
        let heard = MdnsEvent::Announced {
            service: "dc".into(),
            port,
            p: p.map(str::to_owned),
            nqn: nqn.map(str::to_owned),
            endpoints: Vec::new(),
        };
        match BrowseEvent::from(heard) {
            BrowseEvent::Announced { offer, .. } => offer,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(offer(Some("tcp"), None, 8009).unwrap().trsvcid, "8009");
    assert!(offer(None, None, 8009).is_err());
    assert!(offer(Some("tcp"), Some("nqn.a,b=c"), 8009).is_err());
    assert!(offer(Some("tcp"), None, 0).is_err());
}

#[test]
fn an_error_text_is_cut_between_two_characters() {
    let text = "ä".repeat(ERROR_MAX);
    assert_eq!(error_text(&text).len(), ERROR_MAX);
    assert_eq!(error_text(&format!("x{text}")).len(), ERROR_MAX - 1);
}

proptest! {
    #[test]
    fn any_stream_can_be_read(bytes: Vec<u8>) {
        let _ = read::<Report>(&bytes);
        let _ = read::<Request>(&bytes);
        let _ = Report::parse(&bytes);
    }
}
