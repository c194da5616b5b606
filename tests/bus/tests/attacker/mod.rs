//! Runs tests/vm/guest/flood.py as the user `nobody`: it sends calls to services of the bus and does not read the
//! answers.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};

use bus_tests::PrivateBus;

/// The first python3 in the path of root may be inaccessible to other users.
const PYTHON: &str = "/usr/bin/python3";

/// What it sends.
pub(crate) struct Flood {
    pub(crate) connections: usize,
    /// Calls on each connection.
    pub(crate) calls: usize,
    /// Length of the argument of each call, a string, in bytes. With 0, the argument is false.
    pub(crate) length: usize,
    /// Seconds for which it keeps the connections open before it begins again.
    pub(crate) hold: u64,
}

/// The running process.
pub(crate) struct Attacker(Child);

impl Attacker {
    /// Each service is its bus name, an object, an interface and a method. `None`, with the reason printed, if the
    /// machine lacks a program.
    pub(crate) fn start(bus: &PrivateBus, flood: &Flood, services: &[[&str; 4]]) -> Option<Self> {
        if let Some(lacking) = ["/usr/bin/setpriv", PYTHON].iter().find(|path| !Path::new(path).exists()) {
            eprintln!("skipped: {lacking} is not installed");
            return None;
        }
        let path = bus.address().split(['=', ',']).nth(1).unwrap();
        let mut command = bus_tests::as_nobody(PYTHON);
        command.args(["-c", include_str!("../../../vm/guest/flood.py"), path]);
        command.args([flood.connections, flood.calls, flood.length].map(|number| number.to_string()));
        command.arg(flood.hold.to_string()).args(services.concat());
        Some(Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()))
    }

    /// Ends it. Returns how many calls it has sent.
    pub(crate) fn end(mut self) -> usize {
        drop(self.0.stdin.take());
        let mut said = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        said.split(' ').next().unwrap().parse().unwrap()
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
