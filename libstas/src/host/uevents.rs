//! The kernel's events about controllers, from its own uevent group: they come without udevd too.

use std::io;
use std::os::fd::AsRawFd;

use netlink_sys::protocols::NETLINK_KOBJECT_UEVENT;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{NetlinkAddr, recvfrom, setsockopt, sockopt};
use tokio::io::unix::AsyncFd;

use super::sys::watch;
use super::sysfs::device_number;
use crate::core::{Uevent, UeventKind};
use crate::nvme::aen;

/// The group in which the kernel speaks; udevd speaks in group 2.
const KERNEL: u32 = 1;
/// Room for the events that a storm leaves unread, in bytes.
const BUFFER: usize = 16 << 20;
/// The kernel makes events of at most 2 KiB and a path.
const EVENT: usize = 16 << 10;

/// What came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// An event about a controller.
    Event(Uevent),
    /// Events were lost.
    Overrun,
}

/// Listens to the kernel's events.
#[derive(Debug)]
pub struct Uevents {
    socket: AsyncFd<Socket>,
    buffer: Box<[u8]>,
}

impl Uevents {
    /// Starts to listen; all events from now on come in. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the kernel gives no such socket.
    pub fn listen() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_KOBJECT_UEVENT)?;
        socket.set_non_blocking(true)?;
        enlarge(&socket)?;
        socket.bind(&SocketAddr::new(0, KERNEL))?;
        Ok(Self { socket: watch(socket)?, buffer: vec![0; EVENT].into() })
    }

    /// The next event about a controller. May be cancelled: nothing is lost.
    ///
    /// # Errors
    /// When the socket no longer works.
    pub async fn next(&mut self) -> io::Result<Incoming> {
        loop {
            let mut ready = self.socket.readable().await?;
            let fd = ready.get_inner().as_raw_fd();
            match recvfrom::<NetlinkAddr>(fd, &mut self.buffer) {
                Ok((length, sender)) => {
                    // Only the kernel has port 0: whoever else sends here is not believed.
                    let from_kernel = sender.is_some_and(|sender| sender.pid() == 0);
                    let event = self.buffer.get(..length).filter(|_| from_kernel).and_then(parse);
                    if let Some(event) = event {
                        return Ok(Incoming::Event(event));
                    }
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => return Ok(Incoming::Overrun),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Without CAP_NET_ADMIN the system's limit for receive buffers holds.
fn enlarge(socket: &Socket) -> io::Result<()> {
    if setsockopt(socket, sockopt::RcvBufForce, &BUFFER).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &BUFFER)?;
    }
    Ok(())
}

/// Reads one message of the kernel: `ACTION@DEVPATH` and then `KEY=VALUE`, each ended by a NUL. `None` for what is
/// not about a controller (nvmeN).
#[must_use]
pub fn parse(message: &[u8]) -> Option<Uevent> {
    let mut fields = message.split(|byte| *byte == 0);
    fields.next().filter(|header| header.contains(&b'@'))?;
    let mut action = None;
    let mut is_nvme = false;
    let mut device = None;
    let mut seqnum = None;
    let mut aen = None;
    let mut event = None;
    for (key, value) in fields.filter_map(|field| str::from_utf8(field).ok()?.split_once('=')) {
        match key {
            "ACTION" => action = Some(value),
            "SUBSYSTEM" => is_nvme = value == "nvme",
            "DEVPATH" => device = value.rsplit('/').next().and_then(device_number),
            "SEQNUM" => seqnum = value.parse().ok(),
            "NVME_AEN" => aen = aen::parse(value),
            "NVME_EVENT" => event = Some(value),
            _ => {}
        }
    }
    if !is_nvme {
        return None;
    }
    let kind = match (action?, aen, event) {
        ("add", ..) => UeventKind::Add,
        ("remove", ..) => UeventKind::Remove,
        (_, Some(aen), _) => UeventKind::Aen(aen),
        (_, None, Some("connected")) => UeventKind::Connected,
        (_, None, Some("rediscover")) => UeventKind::Rediscover,
        _ => UeventKind::Other,
    };
    Some(Uevent { seqnum: seqnum?, device: device?, kind })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(fields: &[&str]) -> Vec<u8> {
        fields.iter().flat_map(|field| field.bytes().chain([0])).collect()
    }

    fn about(action: &str, more: &[&str]) -> Option<Uevent> {
        let path = "/devices/virtual/nvme-fabrics/ctl/nvme3";
        let head = [
            format!("{action}@{path}"),
            format!("ACTION={action}"),
            format!("DEVPATH={path}"),
            "SUBSYSTEM=nvme".to_owned(),
        ];
        let mut fields: Vec<&str> = head.iter().map(String::as_str).collect();
        fields.extend(more);
        fields.push("SEQNUM=4711");
        parse(&message(&fields))
    }

    #[test]
    fn the_kernel_s_events_are_understood() {
        let cases = [
            ("add", vec!["MAJOR=240", "MINOR=3", "DEVNAME=nvme3", "NVME_TRTYPE=tcp"], UeventKind::Add),
            ("remove", vec!["DEVNAME=nvme3"], UeventKind::Remove),
            ("change", vec!["NVME_AEN=0x70f002", "NVME_TRTYPE=tcp"], UeventKind::Aen(0x0070_f002)),
            ("change", vec!["NVME_EVENT=connected"], UeventKind::Connected),
            ("change", vec!["NVME_EVENT=rediscover"], UeventKind::Rediscover),
            ("change", vec!["NVME_EVENT=something new"], UeventKind::Other),
            ("bind", vec![], UeventKind::Other),
        ];
        for (action, more, kind) in cases {
            assert_eq!(about(action, &more), Some(Uevent { seqnum: 4711, device: 3, kind }), "{action} {more:?}");
        }
    }

    #[test]
    fn namespaces_subsystems_and_other_devices_are_none_of_our_business() {
        for (subsystem, name) in [("block", "nvme0n1"), ("nvme-generic", "ng0n1"), ("nvme-subsystem", "nvme-subsys0")] {
            let fields = [
                format!("add@/devices/x/{name}"),
                "ACTION=add".to_owned(),
                format!("DEVPATH=/devices/x/{name}"),
                format!("SUBSYSTEM={subsystem}"),
                "SEQNUM=1".to_owned(),
            ];
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            assert_eq!(parse(&message(&fields)), None, "{name}");
        }
    }

    #[test]
    fn a_message_of_udev_is_not_taken_for_the_kernel_s() {
        assert_eq!(parse(b"libudev\0\xfe\xed\xca\xfe\0ACTION=add\0SUBSYSTEM=nvme\0DEVPATH=/nvme0\0SEQNUM=1\0"), None);
    }

    #[tokio::test]
    async fn a_message_that_is_not_from_the_kernel_is_not_believed() {
        use nix::sys::socket::{MsgFlags, getsockname, sendto};
        let mut uevents = Uevents::listen().unwrap();
        let fd = uevents.socket.get_ref().as_raw_fd();
        let port = getsockname::<NetlinkAddr>(fd).unwrap().pid();
        let forged = message(&["add@/x/nvme0", "ACTION=add", "DEVPATH=/x/nvme0", "SUBSYSTEM=nvme", "SEQNUM=1"]);
        assert!(parse(&forged).is_some());
        let sender = Socket::new(NETLINK_KOBJECT_UEVENT).unwrap();
        match sendto(sender.as_raw_fd(), &forged, &NetlinkAddr::new(port, 0), MsgFlags::empty()) {
            // The kernel keeps those from lying who have no CAP_NET_ADMIN.
            Err(Errno::EPERM) => return,
            sent => assert_eq!(sent, Ok(forged.len())),
        }
        drop(uevents.socket.readable().await.unwrap());
        tokio::select! {
            biased;
            incoming = uevents.next() => panic!("{incoming:?}"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(recvfrom::<NetlinkAddr>(fd, &mut [0; 64]), Err(Errno::EAGAIN), "it came in and was dropped");
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_fields_can_be_read(fields in prop::collection::vec("(ACTION|DEVPATH|SUBSYSTEM|SEQNUM|NVME_AEN|NVME_EVENT)=[ -~]{0,40}", 0..12)) {
            let mut bytes = b"change@/x\0".to_vec();
            for field in &fields {
                bytes.extend(field.bytes().chain([0]));
            }
            let _ = parse(&bytes);
        }

        #[test]
        fn every_event_is_read_back(seqnum: u64, device: u32, aen: u32) {
            let text = format!("change@/a/nvme{device}\0ACTION=change\0DEVPATH=/a/nvme{device}\0SUBSYSTEM=nvme\0NVME_AEN={aen:#x}\0SEQNUM={seqnum}\0");
            prop_assert_eq!(parse(text.as_bytes()), Some(Uevent { seqnum, device, kind: UeventKind::Aen(aen) }));
        }
    }
}
