//! The connector counts attempts, lost connections and disconnects.
#![allow(clippy::unwrap_used, missing_docs)]

use fake_host::{Connector, FakeHost};
use libstas::core::counters::End;
use libstas::core::daemon_core::DaemonCore as _;

type Host = FakeHost<Connector>;

fn line(traddr: &str) -> String {
    format!("controller=transport=tcp;traddr={traddr};trsvcid=4420;nqn=nqn.a\n")
}

#[test]
fn what_happens_to_connections_is_counted_once() {
    let mut host = Host::configured(&format!("[Controllers]\n{}{}", line("192.0.2.1"), line("192.0.2.2")));
    host.dead.insert("192.0.2.2".into());
    host.start();
    host.wait(8.0);
    let counters = host.core.reconciler().fleet.counters().clone();
    assert_eq!((counters.connects, counters.waits.count), (1, 1));
    assert!(counters.failures["unreachable"] >= 2, "{counters:?}");
    assert!(counters.ends.is_empty(), "{counters:?}");

    host.lose("192.0.2.1");
    host.wait(5.0);
    host.reconnect("192.0.2.1");
    host.wait(5.0);
    let counters = host.core.reconciler().fleet.counters();
    assert_eq!((counters.ends.get(&End::Lost), counters.reconnects, counters.connects), (Some(&1), 1, 1));

    host.kernel.clear();
    host.wait(20.0);
    let counters = host.core.reconciler().fleet.counters();
    assert_eq!((counters.ends.get(&End::Gone), counters.reconnects, counters.connects), (Some(&1), 1, 2));

    host.configure(&format!("[Controllers]\nexclude=traddr=192.0.2.1\n{}", line("192.0.2.1")));
    host.wait(20.0);
    let counters = host.core.reconciler().fleet.counters();
    assert!(host.kernel.is_empty());
    assert_eq!(
        (counters.ends.get(&End::Excluded), counters.ends.get(&End::Gone)),
        (Some(&1), Some(&1)),
        "{counters:?}"
    );
}
