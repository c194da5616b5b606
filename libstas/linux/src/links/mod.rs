//! Monitors network interfaces, their addresses, and new routes through rtnetlink.
//!
//! A notification is only a hint that something has changed. The interfaces themselves are read by a request for all of
//! them. So a lost notification loses no data, and addresses are in the kernel's order.

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

use super::unsafe_calls::watch;
use message::{Address, Dump, Link, Message, Received};
use stas_core::{Interface, Links};

/// Debounce time after the first notification: an interface that comes up sends several.
const SETTLE: Duration = Duration::from_millis(20);
/// Minimum time between two requests. In a storm, notifications wait in the socket meanwhile and the kernel drops the
/// rest.
const PACE: Duration = Duration::from_millis(250);
/// Time limit for an answer. The kernel answers in milliseconds, unless another program holds its network configuration
/// lock.
const ANSWER: Duration = Duration::from_secs(10);
/// How often a request is repeated because the data changed during the answer.
const TRIES: usize = 5;
/// Size of the receive buffer in bytes. The kernel's answers are datagrams of up to 32 KiB.
const DATAGRAM: usize = 64 << 10;

/// A change of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// All interfaces, as they are now.
    Links(Arc<Links>),
    /// A route was added or changed.
    RouteAdded,
}

/// Monitors the network interfaces.
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

/// What may have changed, according to the notifications since the last answer.
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
    /// Starts monitoring. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// Fails if the kernel provides no rtnetlink sockets.
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

    /// Waits for the next change. The first one lists the existing interfaces. Cancelling it loses nothing.
    ///
    /// # Errors
    /// Fails if a socket no longer works.
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

    /// Turns hints into changes. Both kinds are handled together, so that neither is delayed by a storm of the other.
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

    /// Waits for a notification.
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

    /// Reads all waiting notifications: one request covers them.
    fn drain(&mut self) -> io::Result<()> {
        loop {
            match receive(self.notifications.get_ref(), &mut self.buffer) {
                Ok(Some(received)) => self.hints.take(&received),
                Ok(None) => return Ok(()),
                Err(error) => self.hints = overrun(error)?,
            }
        }
    }

    /// Requests all interfaces and addresses.
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

    /// Sends one request and reads its answer. False if the data changed meanwhile.
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
            // The answer to an earlier, abandoned request may still arrive.
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

/// Reads one datagram of the kernel. `None` if none is waiting.
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

/// Combines the answers about interfaces and addresses.
#[derive(Debug, Default)]
struct Table {
    interfaces: BTreeMap<u32, (Link, Vec<Address>)>,
}

impl Table {
    fn link(&mut self, link: Link) {
        self.interfaces.insert(link.index, (link, Vec::new()));
    }

    fn address(&mut self, address: Address) {
        // An interface that was added between the two answers causes another notification.
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
