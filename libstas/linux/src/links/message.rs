//! Decodes the rtnetlink messages that this module needs. Only the required fields are decoded: kernels often extend
//! these messages, and an extension must not hide an interface.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NlasIterator};
use nix::libc;

/// Lengths of struct nlmsghdr, ifinfomsg, ifaddrmsg and rtmsg in bytes.
const HEADER: usize = 16;
const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;
const RTMSG: usize = 12;
/// RTEXT_FILTER_SKIP_STATS (linux/rtnetlink.h): leaves out the counters, which makes answers much shorter.
const SKIP_STATS: u32 = 1 << 3;
/// RTM_F_CLONED (linux/rtnetlink.h): the route is a cache entry.
const CLONED: u32 = 0x200;

/// A decoded rtnetlink message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// RTM_NEWLINK: an interface was added or changed, or is part of an answer.
    Link(Link),
    /// RTM_NEWADDR: an address was added or changed, or is part of an answer.
    Address(Address),
    /// An interface or an address was changed or removed.
    Gone,
    /// A unicast route was added or changed.
    Route,
    /// The end of an answer. `consistent` is false if the data changed meanwhile.
    Done { consistent: bool },
    /// The kernel refused the request with this errno.
    Refused(i32),
}

/// An interface from RTM_NEWLINK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mac: Vec<u8>,
    pub(super) up: bool,
}

/// An address from RTM_NEWADDR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) index: u32,
    pub(super) ip: IpAddr,
    /// False while duplicate address detection runs (except for optimistic addresses), and after it has failed.
    pub(super) usable: bool,
    /// True if another address of the same subnet is the primary one.
    pub(super) secondary: bool,
}

/// A message with the relevant fields of its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// Sequence number of the request that it answers. Notifications have unrelated numbers.
    pub(super) sequence: u32,
    /// NLM_F_DUMP_INTR: the data changed while the answer was sent.
    pub(super) interrupted: bool,
    pub(super) message: Message,
}

/// The kind of objects that a request lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dump {
    Links,
    Addresses,
}

/// Encodes a request for all objects of a kind.
pub(super) fn request(dump: Dump, sequence: u32) -> Vec<u8> {
    let (kind, body) = match dump {
        Dump::Links => {
            let mut body = vec![0; IFINFOMSG];
            body.extend(8u16.to_ne_bytes());
            body.extend(libc::IFLA_EXT_MASK.to_ne_bytes());
            body.extend(SKIP_STATS.to_ne_bytes());
            (libc::RTM_GETLINK, body)
        }
        Dump::Addresses => (libc::RTM_GETADDR, vec![0; IFADDRMSG]),
    };
    let mut bytes = vec![0; HEADER];
    let mut header = NetlinkBuffer::new(&mut bytes);
    header.set_length((HEADER + body.len()) as u32);
    header.set_message_type(kind);
    header.set_flags(NLM_F_REQUEST | NLM_F_DUMP);
    header.set_sequence_number(sequence);
    bytes.extend(body);
    bytes
}

/// Decodes the messages of a datagram. Unknown messages are skipped.
pub(super) fn parse(datagram: &[u8]) -> Vec<Received> {
    let mut received = Vec::new();
    let mut rest = datagram;
    while let Ok(buffer) = NetlinkBuffer::new_checked(rest) {
        let interrupted = buffer.flags() & NLM_F_DUMP_INTR != 0;
        let length = buffer.length() as usize;
        let body = rest.get(HEADER..length).unwrap_or_default();
        if let Some(message) = message(buffer.message_type(), interrupted, body) {
            received.push(Received { sequence: buffer.sequence_number(), interrupted, message });
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    received
}

fn message(kind: u16, interrupted: bool, body: &[u8]) -> Option<Message> {
    match kind {
        libc::RTM_NEWLINK => link(body).map(Message::Link),
        libc::RTM_NEWADDR => address(body).map(Message::Address),
        libc::RTM_DELLINK | libc::RTM_DELADDR => Some(Message::Gone),
        libc::RTM_NEWROUTE => is_route(body).then_some(Message::Route),
        kind if i32::from(kind) == libc::NLMSG_DONE => Some(Message::Done { consistent: !interrupted }),
        kind if i32::from(kind) == libc::NLMSG_ERROR => {
            number(body, 0).map(|errno| Message::Refused(errno.cast_signed().saturating_neg()))
        }
        _ => None,
    }
}

fn link(body: &[u8]) -> Option<Link> {
    let index = number(body, 4)?;
    let flags = number(body, 8)?.cast_signed();
    let wanted = libc::IFF_UP | libc::IFF_LOWER_UP;
    let mut link = Link { index, name: String::new(), mac: Vec::new(), up: flags & wanted == wanted };
    for (kind, value) in attributes(body, IFINFOMSG) {
        match kind {
            libc::IFLA_IFNAME => link.name = String::from_utf8_lossy(value).trim_end_matches('\0').to_owned(),
            libc::IFLA_ADDRESS => link.mac = value.to_vec(),
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

fn address(body: &[u8]) -> Option<Address> {
    let mut flags = u32::from(*body.get(2)?);
    let index = number(body, 4)?;
    let mut local = None;
    let mut peer = None;
    for (kind, value) in attributes(body, IFADDRMSG) {
        match kind {
            libc::IFA_LOCAL => local = ip(value),
            libc::IFA_ADDRESS => peer = ip(value),
            libc::IFA_FLAGS => flags = number(value, 0).unwrap_or(flags),
            _ => {}
        }
    }
    let tentative = flags & libc::IFA_F_TENTATIVE != 0 && flags & libc::IFA_F_OPTIMISTIC == 0;
    // On a point-to-point link IFA_ADDRESS is the peer's address; on other links it is the interface's.
    Some(Address {
        index,
        ip: local.or(peer)?,
        usable: !tentative && flags & libc::IFA_F_DADFAILED == 0,
        secondary: flags & libc::IFA_F_SECONDARY != 0,
    })
}

/// True for unicast routes that are not cache entries.
fn is_route(body: &[u8]) -> bool {
    let kind = body.get(7).copied();
    let cloned = number(body, 8).is_some_and(|flags| flags & CLONED != 0);
    body.len() >= RTMSG && kind == Some(libc::RTN_UNICAST) && !cloned
}

fn attributes(body: &[u8], after: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let attributes = body.get(after..).unwrap_or_default();
    NlasIterator::new(attributes).map_while(Result::ok).map(|attribute| {
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        (kind, attribute.into_inner().get(4..length).unwrap_or_default())
    })
}

fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(value).ok().map(|bytes| IpAddr::from(bytes).to_canonical()),
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn datagram(kind: u16, flags: u16, head: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = head.to_vec();
        for (kind, value) in attributes {
            body.extend((4 + value.len() as u16).to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let mut bytes = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(7u32.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    fn only(bytes: &[u8]) -> Option<Message> {
        let mut received = parse(bytes);
        assert!(received.len() <= 1);
        received.pop().map(|received| received.message)
    }

    fn ifinfomsg(index: u32, flags: i32) -> Vec<u8> {
        [0u32.to_ne_bytes(), index.to_ne_bytes(), flags.to_ne_bytes(), [0; 4]].concat()
    }

    fn ifaddrmsg(flags: u8, index: u32) -> Vec<u8> {
        [[2, 24, flags, 0], index.to_ne_bytes()].concat()
    }

    #[test]
    fn an_interface_is_up_only_with_carrier() {
        for (flags, up) in
            [(libc::IFF_UP | libc::IFF_LOWER_UP, true), (libc::IFF_UP, false), (libc::IFF_LOWER_UP, false)]
        {
            let bytes = datagram(
                libc::RTM_NEWLINK,
                0,
                &ifinfomsg(3, flags),
                &[
                    (libc::IFLA_IFNAME, b"eth0\0"),
                    (999, b"from a newer kernel"),
                    (libc::IFLA_ADDRESS, &[2, 0, 0, 0, 0, 1]),
                ],
            );
            let link = Link { index: 3, name: "eth0".into(), mac: vec![2, 0, 0, 0, 0, 1], up };
            assert_eq!(only(&bytes), Some(Message::Link(link)));
        }
    }

    #[test]
    fn a_tentative_address_is_not_usable_yet() {
        let v6 = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap();
        for (flags, usable) in [
            (0, true),
            (libc::IFA_F_TENTATIVE, false),
            (libc::IFA_F_TENTATIVE | libc::IFA_F_OPTIMISTIC, true),
            (libc::IFA_F_DADFAILED, false),
        ] {
            let attributes: [(u16, &[u8]); 2] =
                [(libc::IFA_ADDRESS, &v6.octets()), (libc::IFA_FLAGS, &flags.to_ne_bytes())];
            let bytes = datagram(libc::RTM_NEWADDR, 0, &ifaddrmsg(0, 2), &attributes);
            let address = Address { index: 2, ip: v6.into(), usable, secondary: false };
            assert_eq!(only(&bytes), Some(Message::Address(address)), "{flags:#x}");
        }
    }

    #[test]
    fn on_a_point_to_point_link_the_local_address_counts() {
        let attributes: [(u16, &[u8]); 2] = [(libc::IFA_ADDRESS, &[192, 0, 2, 2]), (libc::IFA_LOCAL, &[192, 0, 2, 1])];
        let bytes = datagram(libc::RTM_NEWADDR, 0, &ifaddrmsg(libc::IFA_F_SECONDARY as u8, 2), &attributes);
        let address = Address { index: 2, ip: [192, 0, 2, 1].into(), usable: true, secondary: true };
        assert_eq!(only(&bytes), Some(Message::Address(address)));
    }

    #[test]
    fn only_routes_to_somewhere_count() {
        let route = |kind: u8, flags: u32| {
            let head = [[2, 24, 0, 0], [254, 3, 0, kind], flags.to_ne_bytes()].concat();
            only(&datagram(libc::RTM_NEWROUTE, 0, &head, &[]))
        };
        assert_eq!(route(libc::RTN_UNICAST, 0), Some(Message::Route));
        assert_eq!(route(libc::RTN_LOCAL, 0), None);
        assert_eq!(route(libc::RTN_UNICAST, CLONED), None);
    }

    #[test]
    fn the_end_of_an_answer_says_whether_it_is_consistent() {
        let done = libc::NLMSG_DONE as u16;
        assert_eq!(only(&datagram(done, 0, &[0; 4], &[])), Some(Message::Done { consistent: true }));
        assert_eq!(only(&datagram(done, NLM_F_DUMP_INTR, &[0; 4], &[])), Some(Message::Done { consistent: false }));
        let refused = datagram(libc::NLMSG_ERROR as u16, 0, &(-libc::EPERM).to_ne_bytes(), &[]);
        assert_eq!(only(&refused), Some(Message::Refused(libc::EPERM)));
    }

    #[test]
    fn a_request_is_well_formed() {
        for (dump, kind, length) in [(Dump::Links, libc::RTM_GETLINK, 40), (Dump::Addresses, libc::RTM_GETADDR, 24)] {
            let bytes = request(dump, 9);
            let buffer = NetlinkBuffer::new_checked(&bytes).unwrap();
            assert_eq!((buffer.message_type(), buffer.length(), buffer.sequence_number()), (kind, length, 9));
            assert_eq!(bytes.len(), length as usize);
        }
    }

    proptest! {
        #[test]
        fn any_datagram_can_be_read(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_message_body_can_be_read(kind in 0u16..40, flags: u16, body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&datagram(kind, flags, &body, &[]));
        }

        #[test]
        fn any_attributes_can_be_read(kind in prop_oneof![Just(libc::RTM_NEWLINK), Just(libc::RTM_NEWADDR)], attributes in prop::collection::vec((0u16..10, prop::collection::vec(any::<u8>(), 0..20)), 0..6)) {
            let attributes: Vec<(u16, &[u8])> = attributes.iter().map(|(kind, value)| (*kind, value.as_slice())).collect();
            let _ = parse(&datagram(kind, 0, &ifinfomsg(1, 0), &attributes));
            let _ = parse(&datagram(kind, 0, &ifaddrmsg(0, 1), &attributes));
        }

        #[test]
        fn each_message_of_a_datagram_is_read(count in 0usize..20) {
            let one = datagram(libc::RTM_NEWLINK, 0, &ifinfomsg(3, 0), &[(libc::IFLA_IFNAME, b"a\0")]);
            prop_assert_eq!(parse(&one.repeat(count)).len(), count);
        }
    }
}
