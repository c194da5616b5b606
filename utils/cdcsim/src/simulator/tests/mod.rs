//! The simulator as hosts see it, without sockets and delays.
#![allow(clippy::unwrap_used)]

mod commands;
mod dissector;
mod faults;
mod host;
mod zones;

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use self::host::{Fabric, HOST, ic_request};
use super::*;
use crate::control::{Reply, Request};

proptest! {
    /// Whatever bytes arrive, in whatever pieces: nothing breaks, and the next host is served.
    #[test]
    fn any_bytes_do_no_harm(
        initialized: bool,
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6),
    ) {
        let mut fabric = Fabric::new();
        let id = fabric.accept();
        if initialized {
            fabric.send(id, &ic_request(0));
        }
        for piece in pieces {
            fabric.send(id, &piece);
        }
        let host = fabric.connect(HOST);
        prop_assert_eq!(fabric.identify(&host).len(), 4096);
    }

    /// Capsules with any submission queue entry and any data are answered at most once, or end the connection.
    #[test]
    fn any_command_is_answered_or_ends_the_connection(
        entries in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 64), any::<bool>()), 1..12),
        opcode in prop::sample::select(vec![0x02_u8, 0x06, 0x09, 0x0a, 0x0c, 0x18, 0x21, 0x7f]),
        data in proptest::collection::vec(any::<u8>(), 0..1100),
    ) {
        let mut fabric = Fabric::new();
        let host = fabric.connect(HOST);
        for (entry, known) in entries {
            let mut entry: [u8; 64] = entry.try_into().unwrap();
            if known {
                entry[0] = opcode;
                entry[39] = 0x5a;
            }
            let cid = u16::from_le_bytes([entry[2], entry[3]]);
            let answers = fabric.capsule(&host, &entry, &data);
            prop_assert!(answers.iter().filter(|pdu| pdu.kind == 0x05 && pdu.cid() == cid).count() <= 1);
        }
        let host = fabric.connect(HOST);
        prop_assert_eq!(fabric.identify(&host).len(), 4096);
    }

    /// Every request of the control socket succeeds or is refused, and the simulator keeps running.
    #[test]
    fn any_json_is_a_request_or_none(text in r#"\{"command": ?"[a-z]{1,8}"(, ?"[a-z]{1,8}": ?(1|"x"|\[\]|\{\}))*\}"#) {
        let mut fabric = Fabric::new();
        if let Ok(request) = serde_json::from_str::<Request>(&text) {
            let _ = fabric.simulator.request(Duration::ZERO, request);
        }
        let shown = fabric.ask(json!({"command": "show"}));
        prop_assert!(shown.is_object());
    }
}
