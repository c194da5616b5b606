#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tokio::net::TcpListener;

use super::*;

const SHORT: Duration = Duration::from_millis(300);

fn portal(traddr: &str, port: u16) -> Portal {
    Portal {
        traddr: traddr.to_owned(),
        trsvcid: port.to_string(),
        host_traddr: String::new(),
        host_iface: String::new(),
    }
}

async fn listener() -> (TcpListener, Portal) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, portal("127.0.0.1", port))
}

/// Accepts one connection, reads an ICReq, and sends `answer`.
async fn target(listener: TcpListener, answer: Vec<u8>) -> TcpStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = [0; 128];
    stream.read_exact(&mut request).await.unwrap();
    assert_eq!(request.get(..8).unwrap(), [0, 0, 128, 0, 128, 0, 0, 0]);
    stream.write_all(&answer).await.unwrap();
    stream
}

fn icresp() -> Vec<u8> {
    let mut pdu = vec![0; 128];
    pdu.splice(..8, [1, 0, 128, 0, 128, 0, 0, 0]);
    pdu
}

/// Counts the bytes that the target reads until the probe closes its side, or returns the error.
async fn read_to_the_end(stream: &mut TcpStream) -> io::Result<usize> {
    stream.read_to_end(&mut Vec::new()).await
}

#[tokio::test]
async fn a_handshake_ends_with_an_orderly_close() {
    let (listener, portal) = listener().await;
    let target = async {
        let mut stream = target(listener, icresp()).await;
        read_to_the_end(&mut stream).await
    };
    let (outcome, read) = tokio::join!(probe(&portal), target);
    assert_eq!((outcome, read.unwrap()), (Verdict::Alive, 0), "the end of the stream, and no reset");
}

/// Closing with unread data would send a reset.
#[tokio::test]
async fn what_a_portal_says_beyond_the_handshake_is_read_before_the_close() {
    let (listener, portal) = listener().await;
    let page = [b"HTTP/1.0 400 Bad Request\r\n\r\n".to_vec(), vec![b'x'; 10_000]].concat();
    let target = async {
        let mut stream = target(listener, page).await;
        read_to_the_end(&mut stream).await
    };
    let (outcome, read) = tokio::join!(probe(&portal), target);
    assert_eq!(outcome, Verdict::Dead(ProbeFailure::NotNvme(NotNvme::OtherProtocol)));
    assert_eq!(read.unwrap(), 0);
}

#[tokio::test]
async fn a_portal_that_never_closes_holds_a_probe_up_for_a_bounded_time() {
    let (listener, portal) = listener().await;
    let begin = tokio::time::Instant::now();
    let (outcome, _stream) = tokio::join!(probe(&portal), target(listener, icresp()));
    assert_eq!(outcome, Verdict::Alive);
    assert!(begin.elapsed() < LIMIT, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn the_probe_comes_from_the_source_address() {
    let (listener, mut portal) = listener().await;
    portal.host_traddr = "127.0.0.77".to_owned();
    let (outcome, stream) = tokio::join!(probe(&portal), target(listener, icresp()));
    assert_eq!(outcome, Verdict::Alive);
    assert_eq!(stream.peer_addr().unwrap().ip(), "127.0.0.77".parse::<IpAddr>().unwrap());
}

#[tokio::test]
async fn the_probe_leaves_by_the_interface() {
    let (listener, mut portal) = listener().await;
    portal.host_iface = "lo".to_owned();
    let (outcome, _stream) = tokio::join!(probe(&portal), target(listener, icresp()));
    assert_eq!(outcome, Verdict::Alive);
}

#[tokio::test]
async fn a_closed_port_is_dead() {
    let (listener, portal) = listener().await;
    drop(listener);
    assert_eq!(probe(&portal).await, Verdict::Dead(ProbeFailure::Refused));
}

#[tokio::test]
async fn a_handshake_that_is_answered_is_alive() {
    let (listener, portal) = listener().await;
    let (outcome, _stream) = tokio::join!(probe(&portal), target(listener, icresp()));
    assert_eq!(outcome, Verdict::Alive);
}

#[tokio::test]
async fn a_portal_that_accepts_and_stays_silent_is_dead() {
    let (_listener, portal) = listener().await;
    let silent = Verdict::Dead(ProbeFailure::NotNvme(NotNvme::Silent));
    assert_eq!(probe_within(SHORT, &portal).await, silent);
}

#[tokio::test]
async fn a_portal_that_hangs_up_is_dead() {
    let (listener, portal) = listener().await;
    let (outcome, ()) = tokio::join!(probe(&portal), async { drop(target(listener, Vec::new()).await) });
    assert_eq!(outcome, Verdict::Dead(ProbeFailure::NotNvme(NotNvme::Closes)));
}

#[tokio::test]
async fn local_errors_say_nothing_of_the_target() {
    let good = portal("127.0.0.1", 1);
    for (bad, word) in [
        (Portal { host_traddr: "192.0.2.77".into(), ..good.clone() }, "192.0.2.77"),
        (Portal { host_traddr: "::1".into(), ..good.clone() }, "family"),
        (Portal { host_iface: "no-such-iface".into(), ..good.clone() }, "no-such-iface"),
        (Portal { traddr: "storage.example".into(), ..good.clone() }, "no IP address"),
        (Portal { traddr: "fe80::1%no-such".into(), ..good.clone() }, "no-such"),
        (Portal { trsvcid: "http".into(), ..good.clone() }, "no port"),
    ] {
        let Verdict::Unknown(reason) = probe_within(SHORT, &bad).await else { panic!("{bad:?}") };
        assert!(reason.contains(word), "{reason}");
    }
}

#[test]
fn a_link_local_address_takes_its_interface_from_the_scope_or_else_from_host_iface() {
    let index = |name: &str| (name == "eth7").then_some(7);
    let scope_of = |traddr: &str, iface: &str| {
        let portal = Portal { host_iface: iface.to_owned(), ..portal(traddr, 8009) };
        match destination(&portal, index) {
            Ok(SocketAddr::V6(to)) => Some(to.scope_id()),
            _ => None,
        }
    };
    assert_eq!(scope_of("fe80::1%eth7", ""), Some(7));
    assert_eq!(scope_of("fe80::1", "eth7"), Some(7));
    assert_eq!(scope_of("2001:db8::1", "eth7"), Some(0));
    assert_eq!(scope_of("fe80::1", "eth8"), None);
}

proptest! {
    #[test]
    fn any_portal_can_be_read(traddr: String, trsvcid: String, host_iface: String) {
        let portal = Portal { traddr, trsvcid, host_traddr: String::new(), host_iface };
        let _ = destination(&portal, |_| Some(1));
    }

    #[test]
    fn any_answer_can_be_read(head: [u8; 8]) {
        prop_assert_eq!(is_icresp(&head), head.get(..1) == Some(&[1]) && head.get(2) == Some(&128) && head.get(4..) == Some(&[128, 0, 0, 0]));
    }
}
