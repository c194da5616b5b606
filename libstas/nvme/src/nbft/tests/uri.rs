use super::super::address::place;
use crate::Transport;

fn good(uri: &str) -> (Transport, String, String) {
    let place = place(uri).unwrap();
    (place.transport, place.traddr.to_string(), place.trsvcid)
}

#[test]
fn a_uri_names_transport_address_and_port() {
    let tcp = |traddr: &str, trsvcid: &str| (Transport::Tcp, traddr.to_owned(), trsvcid.to_owned());
    assert_eq!(good("nvme+tcp://192.0.2.1:8009/"), tcp("192.0.2.1", "8009"));
    assert_eq!(good("NVME+TCP://192.0.2.1:04420"), tcp("192.0.2.1", "4420"));
    assert_eq!(good("nvme+tcp://192.0.2.1"), tcp("192.0.2.1", "8009"));
    assert_eq!(good("nvme+tcp://192.0.2.1:/"), tcp("192.0.2.1", "8009"));
    assert_eq!(good("nvme+tcp://[2001:DB8::1]:8009/path?query"), tcp("2001:db8::1", "8009"));
    assert_eq!(good("nvme+tcp://[2001:db8::1]"), tcp("2001:db8::1", "8009"));
    assert_eq!(good("nvme+tcp://[::ffff:192.0.2.1]:1"), tcp("192.0.2.1", "1"));
    assert_eq!(good("nvme+rdma://192.0.2.1/").0, Transport::Rdma);
}

#[test]
fn what_names_none_says_why() {
    for (uri, why) in [
        ("", "does not start with"),
        ("192.0.2.1:8009", "does not start with"),
        ("iscsi://192.0.2.1:8009", "does not start with"),
        ("nvme+tcp://", "\"\" is no IP address"),
        ("nvme+tcp://storage.example:8009/", "\"storage.example\" is no IP address"),
        ("nvme+tcp://user@192.0.2.1:8009/", "is no IP address"),
        ("nvme+tcp://2001:db8::1/", "is no IP address"),
        ("nvme+tcp://[2001:db8::1/", "is no IP address"),
        ("nvme+tcp://192.0.2.1:0/", "\"0\" is no port number"),
        ("nvme+tcp://192.0.2.1:65536/", "is no port number"),
        ("nvme+tcp://192.0.2.1:+1/", "is no port number"),
    ] {
        let said = place(uri).unwrap_err().to_string();
        assert!(said.contains(why), "{uri}: {said:?} should say {why:?}");
    }
}
