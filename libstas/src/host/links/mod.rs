//! Network interfaces, their addresses, and new routes, as rtnetlink tells them.
//!
//! A notification is a hint that something has changed; what there is comes from asking for all of it. So nothing
//! is lost with a lost notification, and the order of the addresses is the kernel's.

mod message;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{MsgFlags, NetlinkAddr, recvfrom, send};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::sys::watch;
use crate::core::{Interface, Links};
use message::{Address, Dump, Link, Message, Received};

/// How long to wait for more after a first notification: an interface that comes up sends several.
const SETTLE: Duration = Duration::from_millis(20);
/// Two questions are at least this far apart: between them a storm piles up unread, and the kernel drops the rest.
const PACE: Duration = Duration::from_millis(250);
/// The kernel answers in milliseconds, unless somebody holds its lock for the network configuration.
const ANSWER: Duration = Duration::from_secs(10);
/// How often to ask again when things change while the kernel answers.
const TRIES: usize = 5;
/// The kernel fills datagrams of up to 32 KiB when it answers.
const DATAGRAM: usize = 64 << 10;

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The interfaces as they are now.
    Links(Arc<Links>),
    /// A route was added or changed.
    RouteAdded,
}

/// Watches the network interfaces.
#[derive(Debug)]
pub struct Watch {
    notifications: AsyncFd<Socket>,
    questions: AsyncFd<Socket>,
    sequence: u32,
    known: Option<Arc<Links>>,
    hints: Hints,
    asked: Option<Instant>,
    found: VecDeque<Change>,
    buffer: Box<[u8]>,
}

/// What the notifications since the last answer hint at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hints {
    links: bool,
    routes: bool,
}

impl Hints {
    const ALL: Self = Self { links: true, routes: true };

    fn any(self) -> bool {
        self.links || self.routes
    }

    fn take(&mut self, received: &[Received]) {
        for received in received {
            match received.message {
                Message::Link(_) | Message::Address(_) | Message::Gone => self.links = true,
                Message::Route => self.routes = true,
                Message::Done { .. } | Message::Refused(_) => {}
            }
        }
    }
}

impl Watch {
    /// Starts to watch. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the kernel gives no such sockets.
    pub fn start() -> io::Result<Self> {
        let groups = libc::RTMGRP_LINK
            | libc::RTMGRP_IPV4_IFADDR
            | libc::RTMGRP_IPV6_IFADDR
            | libc::RTMGRP_IPV4_ROUTE
            | libc::RTMGRP_IPV6_ROUTE;
        let mut notifications = rtnetlink()?;
        notifications.bind(&SocketAddr::new(0, groups.cast_unsigned()))?;
        Ok(Self {
            notifications: watch(notifications)?,
            questions: watch(rtnetlink()?)?,
            sequence: 0,
            known: None,
            hints: Hints { links: true, routes: false },
            asked: None,
            found: VecDeque::new(),
            buffer: vec![0; DATAGRAM].into(),
        })
    }

    /// The next change; the first one tells what interfaces there are. May be cancelled.
    ///
    /// # Errors
    /// When a socket no longer works.
    pub async fn next(&mut self) -> io::Result<Change> {
        loop {
            if let Some(change) = self.found.pop_front() {
                return Ok(change);
            }
            if !self.hints.any() {
                self.notified().await?;
                sleep(SETTLE).await;
            }
            if let Some(asked) = self.asked {
                sleep_until(asked + PACE).await;
            }
            self.drain()?;
            self.find_out().await?;
        }
    }

    /// Turns hints into changes. Both kinds at once, so that neither keeps the other waiting in a storm.
    async fn find_out(&mut self) -> io::Result<()> {
        self.asked = Some(Instant::now());
        if self.hints.links {
            let links = self.ask().await?;
            self.hints.links = false;
            if self.known.as_deref() != Some(&links) {
                let links = Arc::new(links);
                self.known = Some(links.clone());
                self.found.push_back(Change::Links(links));
            }
        }
        if std::mem::take(&mut self.hints.routes) {
            self.found.push_back(Change::RouteAdded);
        }
        Ok(())
    }

    /// Waits for notifications.
    async fn notified(&mut self) -> io::Result<()> {
        while !self.hints.any() {
            let mut ready = self.notifications.readable().await?;
            match receive(ready.get_inner(), &mut self.buffer) {
                Ok(Some(received)) => self.hints.take(&received),
                Ok(None) => ready.clear_ready(),
                Err(error) => self.hints = overrun(error)?,
            }
        }
        Ok(())
    }

    /// Takes in what else there is: it is answered together.
    fn drain(&mut self) -> io::Result<()> {
        loop {
            match receive(self.notifications.get_ref(), &mut self.buffer) {
                Ok(Some(received)) => self.hints.take(&received),
                Ok(None) => return Ok(()),
                Err(error) => self.hints = overrun(error)?,
            }
        }
    }

    /// Asks for all interfaces and addresses.
    async fn ask(&mut self) -> io::Result<Links> {
        for _ in 0..TRIES {
            let mut table = Table::default();
            let consistent = timeout(ANSWER, async {
                Ok::<_, io::Error>(
                    self.dump(Dump::Links, &mut table).await? && self.dump(Dump::Addresses, &mut table).await?,
                )
            });
            if consistent.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
                return Ok(table.links());
            }
        }
        Err(io::Error::other("the network interfaces change faster than they can be read"))
    }

    /// Takes one answer in; false when things changed meanwhile.
    async fn dump(&mut self, dump: Dump, table: &mut Table) -> io::Result<bool> {
        self.sequence = self.sequence.wrapping_add(1);
        send(self.questions.as_raw_fd(), &message::request(dump, self.sequence), MsgFlags::empty())?;
        let mut consistent = true;
        loop {
            let mut ready = self.questions.readable().await?;
            let Some(received) = receive(ready.get_inner(), &mut self.buffer)? else {
                ready.clear_ready();
                continue;
            };
            // An answer to an earlier question that was given up may still come in.
            for received in received.into_iter().filter(|received| received.sequence == self.sequence) {
                consistent &= !received.interrupted;
                match received.message {
                    Message::Done { consistent: done } => return Ok(consistent && done),
                    Message::Refused(errno) => return Err(io::Error::from_raw_os_error(errno)),
                    Message::Link(link) => table.link(link),
                    Message::Address(address) => table.address(address),
                    Message::Gone | Message::Route => {}
                }
            }
        }
    }
}

/// After lost notifications everything may have changed.
fn overrun(error: io::Error) -> io::Result<Hints> {
    if error.raw_os_error() == Some(Errno::ENOBUFS as i32) { Ok(Hints::ALL) } else { Err(error) }
}

fn rtnetlink() -> io::Result<Socket> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_non_blocking(true)?;
    Ok(socket)
}

/// One datagram of the kernel; `None` when there is none now.
fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<Option<Vec<Received>>> {
    loop {
        match recvfrom::<NetlinkAddr>(socket.as_raw_fd(), buffer) {
            Ok((length, Some(sender))) if sender.pid() == 0 => {
                return Ok(Some(message::parse(buffer.get(..length).unwrap_or_default())));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Puts the answers together.
#[derive(Debug, Default)]
struct Table {
    interfaces: BTreeMap<u32, (Link, Vec<Address>)>,
}

impl Table {
    fn link(&mut self, link: Link) {
        self.interfaces.insert(link.index, (link, Vec::new()));
    }

    fn address(&mut self, address: Address) {
        // An interface that came up between the two answers will be told soon.
        if let Some((_, addresses)) = self.interfaces.get_mut(&address.index) {
            addresses.push(address);
        }
    }

    fn links(self) -> Links {
        let interfaces = self.interfaces.into_values().map(|(link, mut addresses)| {
            addresses.retain(|address| address.usable);
            addresses.sort_by_key(|address| (address.ip.is_ipv6(), address.secondary));
            Interface {
                index: link.index,
                name: link.name,
                mac: link.mac,
                up: link.up,
                addresses: addresses.into_iter().map(|address| address.ip).collect(),
            }
        });
        Links(interfaces.collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn link(index: u32, name: &str) -> Link {
        Link { index, name: name.into(), mac: Vec::new(), up: true }
    }

    fn address(index: u32, ip: &str) -> Address {
        Address { index, ip: ip.parse().unwrap(), usable: true, secondary: false }
    }

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_primary_address_comes_first_and_tentative_ones_do_not_come() {
        let mut table = Table::default();
        table.link(link(2, "eth0"));
        table.address(Address { secondary: true, ..address(2, "192.0.2.2") });
        table.address(address(2, "192.0.2.1"));
        table.address(Address { usable: false, ..address(2, "2001:db8::1") });
        table.address(address(2, "fe80::1"));
        table.address(address(7, "203.0.113.1"));
        let Links(interfaces) = table.links();
        assert_eq!(interfaces.len(), 1);
        assert_eq!(interfaces.first().unwrap().addresses, ips(&["192.0.2.1", "192.0.2.2", "fe80::1"]));
    }

    #[test]
    fn lost_notifications_hint_at_everything() {
        assert_eq!(overrun(Errno::ENOBUFS.into()).unwrap(), Hints::ALL);
        assert!(overrun(Errno::EBADF.into()).is_err());
    }

    #[tokio::test]
    async fn the_first_change_tells_what_there_is() {
        let mut watch = Watch::start().unwrap();
        let Change::Links(links) = watch.next().await.unwrap() else { panic!("no links") };
        let lo = links.named("lo").unwrap();
        assert!(lo.up);
        assert_eq!(lo.addresses.first(), Some(&IpAddr::from([127, 0, 0, 1])));
        assert_eq!(links.owner([127, 0, 0, 1].into()).map(|owner| owner.name.as_str()), Some("lo"));
    }

    #[tokio::test]
    async fn in_a_storm_neither_kind_of_change_waits_for_the_other() {
        let mut watch = Watch::start().unwrap();
        watch.hints = Hints::ALL;
        assert!(matches!(watch.next().await.unwrap(), Change::Links(_)));
        watch.known = None;
        watch.hints = Hints::ALL;
        assert_eq!(watch.next().await.unwrap(), Change::RouteAdded);
    }
}
