//! The whole simulator as a pure machine: socket events in, socket actions out.
//!
//! Call [`Simulator::handle`] with each event, and with [`Event::Tick`] at [`Simulator::deadline`]. Call
//! [`Simulator::request`] with each request of the control socket.

mod request;
mod show;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::connection::{Connection, Output};
use crate::fault::Fault;
use crate::world::World;

/// The number of a connection, which the shell assigns. Numbers are not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

/// An event for the simulator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A listener has accepted a connection.
    Accepted {
        /// The number of the connection.
        id: Id,
        /// The address of the host.
        peer: SocketAddr,
        /// The local address.
        local: SocketAddr,
        /// The port ID of the listener.
        port: u16,
    },
    /// Bytes were received.
    Received {
        /// The number of the connection.
        id: Id,
        /// The received bytes.
        bytes: Vec<u8>,
    },
    /// A connection has ended: the host has closed it, or it failed.
    Closed {
        /// The number of the connection.
        id: Id,
    },
    /// The deadline is reached.
    Tick,
}

/// An action for the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send bytes on a connection.
    Send {
        /// The number of the connection.
        id: Id,
        /// The bytes to send.
        bytes: Vec<u8>,
    },
    /// Close the connection when everything is sent. Its number is no longer valid.
    Close {
        /// The number of the connection.
        id: Id,
    },
    /// Reset the connection at once. Its number is no longer valid.
    Reset {
        /// The number of the connection.
        id: Id,
    },
    /// Start listening, or refuse connections.
    Listen(bool),
    /// Write a line to the log.
    Say(String),
    /// End the program.
    Stop,
}

/// All connections, and the state that they share.
#[derive(Debug)]
pub struct Simulator {
    world: World,
    connections: BTreeMap<Id, OpenConnection>,
    listens: bool,
    vanished: Option<Vanished>,
    storms: Option<Duration>,
    actions: Vec<Action>,
}

/// A connection and its delayed output.
#[derive(Debug)]
struct OpenConnection {
    connection: Connection,
    late: VecDeque<(Duration, Output)>,
    /// Storm events still to be sent, in thousandths.
    storm: u64,
}

/// An outage of the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Vanished {
    until: Duration,
    nqn: Option<String>,
    cntlid: Option<u16>,
    empty: bool,
}

/// The interval in which a storm sends.
const GUST: Duration = Duration::from_millis(10);

impl Simulator {
    /// Creates a simulator. Its shell must listen.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self { world, connections: BTreeMap::new(), listens: true, vanished: None, storms: None, actions: Vec::new() }
    }

    /// Handles an event.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Action> {
        match event {
            Event::Accepted { id, .. } if !self.listens => self.actions.push(Action::Reset { id }),
            Event::Accepted { id, peer, local, port } => {
                let connection = Connection::new(peer, local, port);
                self.connections.insert(id, OpenConnection { connection, late: VecDeque::new(), storm: 0 });
            }
            Event::Received { id, bytes } => {
                let world = &mut self.world;
                let line = self.connections.get_mut(&id);
                let outputs = line.map(|line| line.connection.receive(now, &bytes, world)).unwrap_or_default();
                self.put(now, id, outputs);
            }
            Event::Closed { id } => {
                if let Some(host) =
                    self.connections.remove(&id).and_then(|line| Some(line.connection.host()?.to_owned()))
                {
                    self.actions.push(Action::Say(format!("{host} is disconnected")));
                }
            }
            // Time has passed for all connections.
            Event::Tick => return self.settle(now),
        }
        std::mem::take(&mut self.actions)
    }

    /// When it needs a tick.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let connections = self.connections.values();
        let of_connections =
            connections.flat_map(|each| [each.connection.deadline(), each.late.front().map(|(due, _)| *due)]);
        let own = [self.world.faults.deadline(), self.vanished.as_ref().map(|it| it.until), self.storms];
        of_connections.chain(own).flatten().min()
    }

    /// Does what is due, and applies the active faults.
    fn settle(&mut self, now: Duration) -> Vec<Action> {
        self.world.faults.expire(now);
        if let Some(vanished) = self.vanished.take_if(|vanished| vanished.until <= now) {
            self.come_back(vanished);
        }
        let listens = self.vanished.is_none() && !self.world.faults.is_there(&Fault::Refuse);
        if listens != self.listens {
            self.listens = listens;
            self.actions.push(Action::Listen(listens));
        }
        self.blow(now);
        let ids: Vec<Id> = self.connections.keys().copied().collect();
        for id in ids {
            let outputs = self.connections.get_mut(&id).map(|line| line.connection.tick(now)).unwrap_or_default();
            self.put(now, id, outputs);
            while let Some(output) = self.next_due(now, id) {
                self.perform(id, output);
            }
        }
        std::mem::take(&mut self.actions)
    }

    fn come_back(&mut self, vanished: Vanished) {
        if let Some(nqn) = vanished.nqn {
            self.world.identity.nqn = nqn;
        }
        if let Some(cntlid) = vanished.cntlid {
            self.world.count_cntlid_from(cntlid);
        }
        if vanished.empty {
            self.world.forget();
        }
        self.actions.push(Action::Say(format!("back again as {}", self.world.identity.nqn)));
    }

    /// Sends the storm events of one interval.
    fn blow(&mut self, now: Duration) {
        if !self.world.faults.is_stormy() {
            self.storms = None;
            return;
        }
        if self.storms.is_some_and(|next| now < next) {
            return;
        }
        self.storms = Some(now + GUST);
        let ids: Vec<Id> = self.connections.keys().copied().collect();
        for id in ids {
            let Some(line) = self.connections.get_mut(&id) else { continue };
            let Some(rate) = self.world.faults.storm(line.connection.host()) else { continue };
            line.storm += u64::from(rate) * u64::try_from(GUST.as_millis()).unwrap_or_default();
            let count = u32::try_from(line.storm / 1000).unwrap_or(u32::MAX);
            line.storm %= 1000;
            let outputs = line.connection.force_events(count, &mut self.world);
            self.put(now, id, outputs);
        }
    }

    /// Sends events to the hosts whose page has changed.
    fn tell(&mut self, now: Duration, hosts: &std::collections::BTreeSet<String>) {
        let ids: Vec<Id> = self.connections.keys().copied().collect();
        for id in ids {
            let Some(line) = self.connections.get_mut(&id) else { continue };
            if line.connection.host().is_some_and(|host| hosts.contains(host)) {
                let outputs = line.connection.change(&mut self.world);
                self.put(now, id, outputs);
            }
        }
    }

    /// Performs the output of a connection, now or delayed.
    fn put(&mut self, now: Duration, id: Id, outputs: Vec<Output>) {
        let Some(line) = self.connections.get_mut(&id) else { return };
        for output in outputs {
            let pick = |fault: &Fault| if let Fault::Delay { ms } = fault { Some(*ms) } else { None };
            let late = match &output {
                Output::Send(_) => self.world.faults.take(line.connection.host(), pick).unwrap_or(0),
                _ => 0,
            };
            let after = line.late.back().map_or(Duration::ZERO, |(due, _)| *due);
            line.late.push_back(((now + Duration::from_millis(late)).max(after), output));
        }
        while let Some(output) = self.next_due(now, id) {
            self.perform(id, output);
        }
    }

    fn next_due(&mut self, now: Duration, id: Id) -> Option<Output> {
        let line = self.connections.get_mut(&id)?;
        line.late.front().filter(|(due, _)| *due <= now)?;
        line.late.pop_front().map(|(_, output)| output)
    }

    fn perform(&mut self, id: Id, output: Output) {
        let action = match output {
            Output::Send(bytes) => Action::Send { id, bytes },
            Output::Say(text) => Action::Say(text),
            Output::Close => {
                self.connections.remove(&id);
                Action::Close { id }
            }
            Output::Reset => {
                self.connections.remove(&id);
                Action::Reset { id }
            }
        };
        self.actions.push(action);
    }

    /// Resets the connections of one host, or all.
    fn reset(&mut self, host: Option<&str>) -> usize {
        let concerned = |line: &OpenConnection| host.is_none() || line.connection.host() == host;
        let ids: Vec<Id> = self.connections.iter().filter(|(_, line)| concerned(line)).map(|(id, _)| *id).collect();
        ids.iter().for_each(|id| self.perform(*id, Output::Reset));
        ids.len()
    }
}
