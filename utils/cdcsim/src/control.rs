//! What is asked for over the control socket: one JSON object a line, answered by one a line.
//!
//! The same definition is the command line of `cdcsim ctl`.

// The help shows addresses as they are typed: [2001:db8::1] is no link.
#![allow(rustdoc::broken_intra_doc_links)]

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fault::Fault;
use crate::world::Type;
use crate::zoning::{Address, Kind};

/// A request to the running simulator, as a subcommand and on its control socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// Show the identity of the controller, its members, zones and faults
    Show,
    /// Show the hosts that have connected: their registrations and their commands
    Hosts,
    /// Show the connections
    Connections,
    /// Show the entries that a host sees
    Page {
        /// NQN of the host
        host: String,
    },
    /// Add or change a member: a subsystem, or another discovery controller
    Add {
        /// Its name in zones
        name: String,
        /// Its NQN [default: the well-known one of discovery controllers]
        #[arg(long)]
        nqn: Option<String>,
        /// Its address: 192.0.2.1:4420, [2001:db8::1]:4420, rdma:192.0.2.1:4420; may be given again
        #[arg(long = "address", value_name = "ADDRESS", required = true)]
        addresses: Vec<Address>,
        /// Its kind
        #[arg(long, value_enum, default_value_t = Kind::Nvme)]
        #[serde(default)]
        kind: Kind,
        /// The controller has no connection to it (NCC)
        #[arg(long)]
        #[serde(default)]
        ncc: bool,
        /// It supports explicit persistent connections (EPCSD)
        #[arg(long)]
        #[serde(default)]
        epcsd: bool,
        /// The port ID of its entries; a direct controller that is asked for its port's entries leaves out the others
        #[arg(long, default_value_t = 1)]
        #[serde(default = "first_port")]
        port: u16,
        /// Zones that it is in from the start; may be given again
        #[arg(long = "zone", value_name = "ZONE")]
        #[serde(default)]
        zones: Vec<String>,
    },
    /// Remove a member, also from its zones
    Remove {
        /// Its name
        name: String,
    },
    /// Change zones
    Zone {
        /// How
        #[command(subcommand)]
        change: ZoneChange,
    },
    /// Change a member or the controller
    Set {
        /// What
        #[command(subcommand)]
        what: Setting,
    },
    /// Replace all members and zones by those of a TOML file; other settings in the file are ignored
    Load {
        /// The TOML file
        #[arg(value_name = "FILE", value_parser = read_file)]
        text: String,
    },
    /// Send events without a change
    Event {
        /// To this host only
        #[arg(long, value_name = "NQN")]
        host: Option<String>,
        /// Number of events on each connection
        #[arg(long, default_value_t = 1)]
        #[serde(default = "one")]
        count: u32,
    },
    /// Inject a fault
    Fault {
        /// For this host only
        #[arg(long, value_name = "NQN")]
        host: Option<String>,
        /// End after this many times; for log pages each read of the header counts
        #[arg(long, value_name = "N")]
        times: Option<u32>,
        /// End after this long
        #[arg(long, value_name = "SECONDS")]
        seconds: Option<u32>,
        /// What
        #[command(subcommand)]
        fault: Fault,
    },
    /// End a fault, or all faults
    Heal {
        /// The number that `fault` printed [default: all faults]
        id: Option<u32>,
    },
    /// Reset connections
    Disconnect {
        /// Only those of this host
        #[arg(long, value_name = "NQN")]
        host: Option<String>,
    },
    /// Simulate an outage: reset all connections and refuse new ones for a time
    Vanish {
        /// The length of the outage
        seconds: u32,
        /// Change the NQN when the outage ends
        #[arg(long)]
        nqn: Option<String>,
        /// ID of the first controller after the outage
        #[arg(long)]
        cntlid: Option<u16>,
        /// Lose all members, zones and hosts in the outage
        #[arg(long)]
        #[serde(default)]
        empty: bool,
    },
    /// End the simulator
    Stop,
}

fn first_port() -> u16 {
    1
}

fn one() -> u32 {
    1
}

fn read_file(path: &str) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

/// A change of zones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum ZoneChange {
    /// Add hosts and members to a zone; the zone is created if it does not exist
    Add(ZoneParts),
    /// Remove hosts and members from a zone; without any, remove the zone itself
    Remove(ZoneParts),
}

/// Hosts and members of a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
pub struct ZoneParts {
    /// Its name
    pub zone: String,
    /// NQN of a host, or * for every host; may be given again
    #[arg(long = "host", value_name = "NQN")]
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Name of a member; may be given again
    #[arg(long = "member", value_name = "NAME")]
    #[serde(default)]
    pub members: Vec<String>,
}

/// A setting that can be changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// Whether the controller lacks a connection to a member
    Ncc(Switch),
    /// Whether a member supports explicit persistent connections
    Epcsd(Switch),
    /// The controller's NQN, for hosts that connect from now on
    Nqn {
        /// The NQN
        nqn: String,
    },
    /// The controller's type, for hosts that connect from now on
    Type {
        /// The type
        #[arg(value_enum)]
        dctype: Type,
    },
    /// The ID of the next controller
    Cntlid {
        /// The ID
        cntlid: u16,
    },
}

/// A flag of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
pub struct Switch {
    /// Name of the member
    pub name: String,
    /// The new value
    #[arg(value_enum)]
    pub value: OnOff,
}

/// A flag's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnOff {
    /// Set
    On,
    /// Clear
    Off,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// The request succeeded, with this result.
    Ok(Value),
    /// The request failed, for this reason.
    Error(String),
}
