//! The kernel's events about NVMe controllers. They are read through libudev from the kernel's own netlink group, so
//! they arrive even if udevd does not run.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::unix::AsyncFd;
use udev::{MonitorBuilder, MonitorSocket};

use super::unsafe_calls;
use stas_core::{CtrlRef, Uevent, UeventKind};
use stas_nvme::aen;

/// Requested receive buffer in bytes. Without CAP_NET_ADMIN, which the daemons do not have, the kernel grants at most
/// net.core.rmem_max (usually 208 KiB, a few hundred events). If events are lost, all controllers and pages are read
/// again.
const BUFFER: usize = 16 << 20;

/// One result of reading the monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// An event about a controller.
    Event(Uevent),
    /// The receive buffer overflowed: events were lost.
    Overrun,
}

/// A monitor of the kernel's events about controllers.
pub struct Uevents(AsyncFd<MonitorSocket>);

impl std::fmt::Debug for Uevents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Uevents")
    }
}

impl Uevents {
    /// Starts the monitor. Every event from now on is delivered. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// Fails if the kernel provides no such socket.
    pub fn listen() -> io::Result<Self> {
        Self::with_buffer(BUFFER)
    }

    fn with_buffer(bytes: usize) -> io::Result<Self> {
        let socket = MonitorBuilder::new_kernel()?.match_subsystem("nvme")?.listen()?;
        setsockopt(&socket.as_fd(), sockopt::RcvBuf, &bytes)?;
        Ok(Self(unsafe_calls::watch_monitor(socket)?))
    }

    /// Waits for the next event about a controller. Cancelling it loses nothing.
    ///
    /// # Errors
    /// Fails if the socket no longer works.
    pub async fn next(&mut self) -> io::Result<Incoming> {
        loop {
            let mut ready = self.0.readable_mut().await?;
            let device = ready.get_inner().iter().next();
            // libudev returns no device both for an empty socket and for an overrun. Only errno distinguishes them, and
            // the next call into the C library may change it.
            let errno = Errno::last();
            match device {
                Some(event) => {
                    let property = |name: &str| event.property_value(name)?.to_str();
                    if let Some(event) = read(property) {
                        return Ok(Incoming::Event(event));
                    }
                }
                None => match errno {
                    Errno::EAGAIN => ready.clear_ready(),
                    Errno::EINTR => {}
                    Errno::ENOBUFS => return Ok(Incoming::Overrun),
                    errno => return Err(errno.into()),
                },
            }
        }
    }
}

/// Decodes an event from its properties. `None` if the device is not a controller (nvmeN).
fn read<'a>(property: impl Fn(&str) -> Option<&'a str>) -> Option<Uevent> {
    if property("SUBSYSTEM") != Some("nvme") {
        return None;
    }
    let device = property("DEVPATH")?.rsplit('/').next().and_then(CtrlRef::device_of)?;
    let seqnum = property("SEQNUM")?.parse().ok()?;
    let kind = match (property("ACTION")?, property("NVME_AEN").and_then(aen::parse), property("NVME_EVENT")) {
        ("add", ..) => UeventKind::Add,
        ("remove", ..) => UeventKind::Remove,
        (_, Some(aen), _) => UeventKind::Aen(aen),
        (_, None, Some("connected")) => UeventKind::Connected,
        (_, None, Some("rediscover")) => UeventKind::Rediscover,
        _ => UeventKind::Other,
    };
    Some(Uevent { seqnum, device, kind })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::time::timeout;

    use super::*;

    fn read_from(properties: &[(&str, &str)]) -> Option<Uevent> {
        read(|name| properties.iter().find(|(key, _)| *key == name).map(|(_, value)| *value))
    }

    fn about(subsystem: &str, device: &str, action: &str, more: &[(&str, &str)]) -> Option<Uevent> {
        let path = format!("/devices/virtual/nvme-fabrics/ctl/{device}");
        let head = [("ACTION", action), ("DEVPATH", &path), ("SUBSYSTEM", subsystem), ("SEQNUM", "4711")];
        read_from(&[&head, more].concat())
    }

    #[test]
    fn the_kinds_of_events_are_distinguished() {
        type Properties = &'static [(&'static str, &'static str)];
        let cases: [(&str, Properties, UeventKind); 7] = [
            ("add", &[("DEVNAME", "nvme3"), ("NVME_TRTYPE", "tcp")], UeventKind::Add),
            ("remove", &[("DEVNAME", "nvme3")], UeventKind::Remove),
            ("change", &[("NVME_AEN", "0x70f002"), ("NVME_TRTYPE", "tcp")], UeventKind::Aen(0x0070_f002)),
            ("change", &[("NVME_EVENT", "connected")], UeventKind::Connected),
            ("change", &[("NVME_EVENT", "rediscover")], UeventKind::Rediscover),
            ("change", &[("NVME_EVENT", "something new")], UeventKind::Other),
            ("bind", &[], UeventKind::Other),
        ];
        for (action, more, kind) in cases {
            let expected = Some(Uevent { seqnum: 4711, device: 3, kind });
            assert_eq!(about("nvme", "nvme3", action, more), expected, "{action} {more:?}");
        }
    }

    #[test]
    fn events_of_namespaces_and_subsystems_are_ignored() {
        for (subsystem, name) in [("block", "nvme0n1"), ("nvme-generic", "ng0n1"), ("nvme-subsystem", "nvme-subsys0")] {
            assert_eq!(about(subsystem, name, "add", &[]), None, "{name}");
        }
        assert_eq!(about("nvme", "nvme0c1", "add", &[]), None);
    }

    /// Makes the kernel send one event, which only root can: `change` of /dev/null.
    fn provoke() -> io::Result<()> {
        std::fs::write("/sys/class/mem/null/uevent", "change")
    }

    #[tokio::test]
    async fn an_overrun_is_reported_and_not_taken_for_an_empty_socket() {
        let mut uevents = Uevents::with_buffer(2048).unwrap();
        for _ in 0..200 {
            // The scenario many_dropped of tests/vm checks this with the installed daemons.
            if let Err(error) = provoke() {
                return eprintln!("skipped: only root can make the kernel send events ({error})");
            }
        }
        let incoming = timeout(Duration::from_secs(10), uevents.next()).await;
        assert_eq!(incoming.unwrap().unwrap(), Incoming::Overrun);
    }

    #[tokio::test]
    async fn events_of_other_subsystems_are_filtered_out() {
        let mut uevents = Uevents::listen().unwrap();
        if let Err(error) = provoke() {
            return eprintln!("skipped: only root can make the kernel send events ({error})");
        }
        drop(timeout(Duration::from_secs(10), uevents.0.readable()).await.unwrap().unwrap());
        tokio::select! {
            biased;
            incoming = uevents.next() => panic!("{incoming:?}"),
            () = std::future::ready(()) => {}
        }
    }

    #[tokio::test]
    async fn an_event_forged_by_another_process_is_ignored() {
        use netlink_sys::Socket;
        use netlink_sys::protocols::NETLINK_KOBJECT_UEVENT;
        use nix::sys::socket::{MsgFlags, NetlinkAddr, getsockname, sendto};
        use std::os::fd::AsRawFd;

        let mut uevents = Uevents::listen().unwrap();
        let port = getsockname::<NetlinkAddr>(uevents.0.get_ref().as_raw_fd()).unwrap().pid();
        let forged = b"add@/x/nvme0\0ACTION=add\0DEVPATH=/x/nvme0\0SUBSYSTEM=nvme\0SEQNUM=1\0";
        let sender = Socket::new(NETLINK_KOBJECT_UEVENT).unwrap();
        match sendto(sender.as_raw_fd(), forged, &NetlinkAddr::new(port, 0), MsgFlags::empty()) {
            Err(Errno::EPERM) => {
                return eprintln!("skipped: without CAP_NET_ADMIN the kernel delivers no forged event");
            }
            sent => assert_eq!(sent, Ok(forged.len())),
        }
        drop(timeout(Duration::from_secs(10), uevents.0.readable()).await.unwrap().unwrap());
        tokio::select! {
            biased;
            incoming = uevents.next() => panic!("{incoming:?}"),
            () = std::future::ready(()) => {}
        }
    }

    proptest! {
        #[test]
        fn any_properties_can_be_read(
            properties in prop::collection::vec(("ACTION|DEVPATH|SUBSYSTEM|SEQNUM|NVME_AEN|NVME_EVENT", "[ -~]{0,40}"), 0..12),
        ) {
            let _ = read(|name| properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()));
        }

        #[test]
        fn every_event_is_read_back(seqnum: u64, device: u32, aen: u32) {
            let (seqnum_text, path, aen_text) = (seqnum.to_string(), format!("/a/nvme{device}"), format!("{aen:#x}"));
            let properties = [("ACTION", "change"), ("DEVPATH", &*path), ("SUBSYSTEM", "nvme"), ("NVME_AEN", &*aen_text), ("SEQNUM", &*seqnum_text)];
            prop_assert_eq!(read_from(&properties), Some(Uevent { seqnum, device, kind: UeventKind::Aen(aen) }));
        }
    }
}
