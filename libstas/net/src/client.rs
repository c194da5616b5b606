//! Asks stas-net for the addresses of host names and for probes.
//!
//! Each query is answered: with the answer of stas-net, or with the reason why there is none. A query that is
//! lost with its connection is sent once more. stas-net is started by the first query or by
//! [`NetClient::warm_up_probes`], and ends when there was no query for [`IDLE`].

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::Instant;

use stas_core::{OsError, Portal, ProbeError, ProbeOutcome, ResolveError};

use crate::link::{Backoff, Link, LinkError};
use crate::until;
use crate::wire::{Report, Request, Role, Unresolved, Verdict};

/// The connection is closed after this time without a query. Host names are looked up every 60 s.
pub const IDLE: Duration = Duration::from_secs(90);
/// Maximum number of queries that wait for an answer of stas-net. Further ones wait to be sent.
pub const UNANSWERED: usize = 64;
/// Maximum number of queries that wait to be sent. Further ones fail at once.
pub const UNSENT: usize = 4096;
/// Maximum number of times that a query is sent.
const TRIES: u32 = 2;
/// Time limit for an answer to a look-up. The resolver takes half a minute if no name server answers, and longer with
/// search domains.
const LOOKUP: Duration = Duration::from_secs(240);
/// Time limit for an answer to a probe, which takes 3.5 s.
const PROBE: Duration = Duration::from_secs(8);

/// Asks for addresses and probes. The answer may come on any thread.
#[derive(Debug)]
pub struct NetClient {
    names: mpsc::Sender<Asked>,
    probes: mpsc::Sender<Asked>,
}

impl NetClient {
    /// Creates a client of the stas-net that is started at `socket`. Must be called in a tokio runtime.
    #[must_use]
    pub fn start(socket: PathBuf) -> Self {
        let start = |role, meanwhile, limit| {
            let (calls, asked) = mpsc::channel(UNSENT);
            let caller = Caller {
                socket: socket.clone(),
                role,
                limit,
                backoff: Backoff::new(role, meanwhile),
                link: None,
                unsent: VecDeque::new(),
                sent: BTreeMap::new(),
                next_id: 0,
                used: Instant::now(),
            };
            tokio::spawn(caller.run(asked));
            calls
        };
        Self {
            names: start(Role::Names, "host names keep their last known addresses", LOOKUP),
            probes: start(Role::Probe, "portals are connected to without a probe", PROBE),
        }
    }

    /// Starts the stas-net for probes ahead of time: probes are expected soon.
    pub fn warm_up_probes(&self) {
        // If the queue is full, probes have started it already.
        let _ = self.probes.try_send(Asked::WarmUp);
    }

    /// Resolves a host name.
    pub fn resolve(&self, name: String, done: impl FnOnce(Result<Vec<IpAddr>, ResolveError>) + Send + 'static) {
        let asked = name.clone();
        let query = Query::Resolve(name);
        let done = move |answer| {
            done(match answer {
                Ok(Answer::Resolved(Ok(addresses))) => unique(&asked, addresses),
                Ok(Answer::Resolved(Err(why))) => Err(why.of(asked)),
                Ok(Answer::Probed(_)) => Err(ResolveError::NoAnswer),
                Err(error) => Err(ResolveError::Resolver { name: asked, error }),
            });
        };
        ask(&self.names, query, Box::new(done));
    }

    /// Probes a portal. Without stas-net the outcome is unknown.
    pub fn probe(&self, portal: Portal, done: impl FnOnce(ProbeOutcome) + Send + 'static) {
        let done = move |answer| {
            done(match answer {
                Ok(Answer::Probed(verdict)) => verdict.into(),
                Ok(Answer::Resolved(_)) => ProbeOutcome::Unknown(ProbeError::NoAnswer),
                Err(error) => ProbeOutcome::Unknown(ProbeError::Attempt(error)),
            });
        };
        ask(&self.probes, Query::Probe(portal), Box::new(done));
    }
}

/// The addresses in one form, each once. Those that belong to no single host are left out: `controller=` refuses them,
/// too.
fn unique(name: &str, addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, ResolveError> {
    let mut found = Vec::new();
    for address in addresses.into_iter().map(|address| address.to_canonical()) {
        let one_host = !(address.is_unspecified() || address.is_multicast() || address == IpAddr::from([255; 4]));
        if one_host && !found.contains(&address) {
            found.push(address);
        }
    }
    if found.is_empty() { Err(ResolveError::NoAddress(name.to_owned())) } else { Ok(found) }
}

fn ask(calls: &mpsc::Sender<Asked>, query: Query, done: Done) {
    let call = Call { query, done, tries: 0, until: None };
    if let Err(TrySendError::Full(asked) | TrySendError::Closed(asked)) = calls.try_send(Asked::Query(call))
        && let Asked::Query(refused) = asked
    {
        (refused.done)(Err(OsError::new("too many requests wait for stas-net")));
    }
}

/// What a [`Caller`] is asked to do.
enum Asked {
    Query(Call),
    /// See [`NetClient::warm_up_probes`].
    WarmUp,
}

#[derive(Debug)]
enum Query {
    Resolve(String),
    Probe(Portal),
}

#[derive(Debug)]
enum Answer {
    Resolved(Result<Vec<IpAddr>, Unresolved>),
    Probed(Verdict),
}

type Done = Box<dyn FnOnce(Result<Answer, OsError>) + Send>;

struct Call {
    query: Query,
    done: Done,
    /// How often it was sent.
    tries: u32,
    /// When its answer is overdue; `None` until it is sent.
    until: Option<Instant>,
}

impl Call {
    fn request(&self, id: u64) -> Request {
        match &self.query {
            Query::Resolve(name) => Request::Resolve { id, name: name.clone() },
            Query::Probe(portal) => Request::Probe { id, portal: portal.clone() },
        }
    }

    fn is_answered_by(&self, answer: &Answer) -> bool {
        matches!(
            (&self.query, answer),
            (Query::Resolve(_), Answer::Resolved(_)) | (Query::Probe { .. }, Answer::Probed(_))
        )
    }
}

/// The queries of one role, and the connection that carries them.
struct Caller {
    socket: PathBuf,
    role: Role,
    /// Time limit for an answer. stas-net hangs if it takes longer.
    limit: Duration,
    backoff: Backoff,
    link: Option<Link>,
    unsent: VecDeque<Call>,
    sent: BTreeMap<u64, Call>,
    next_id: u64,
    /// When the connection was last used.
    used: Instant,
}

/// What a [`Caller`] waits for.
enum Event {
    Asked(Option<Asked>),
    Received(Result<Report, LinkError>),
    Due,
}

impl Caller {
    async fn run(mut self, mut asked: mpsc::Receiver<Asked>) {
        loop {
            self.send_what_waits().await;
            let due = self.due();
            let has_room = self.unsent.len() < UNSENT;
            let event = tokio::select! {
                call = asked.recv(), if has_room => Event::Asked(call),
                received = receive(&mut self.link) => Event::Received(received),
                () = until(due) => Event::Due,
            };
            match event {
                Event::Asked(Some(Asked::Query(call))) => self.unsent.push_back(call),
                Event::Asked(Some(Asked::WarmUp)) => self.warm_up().await,
                Event::Asked(None) => return,
                Event::Received(received) => {
                    if let Err(error) = received.and_then(|report| self.take(report)) {
                        self.lose(&error);
                    }
                }
                Event::Due if self.sent.is_empty() => self.link = None,
                Event::Due => self.lose(&LinkError::Silent),
            }
        }
    }

    /// Connects, so that stas-net is started. A failure is reported by the first query.
    async fn warm_up(&mut self) {
        if self.link.is_none() && self.backoff.not_before().is_none() {
            self.link = Link::connect(&self.socket, self.role).await.ok();
            self.used = Instant::now();
        }
    }

    /// When an answer is overdue, or the connection idle.
    fn due(&self) -> Option<Instant> {
        self.link.as_ref()?;
        let overdue = self.sent.values().filter_map(|call| call.until).min();
        Some(overdue.unwrap_or(self.used + IDLE))
    }

    /// Sends queries, over a new connection if there is none. During the back-off, all queries fail.
    async fn send_what_waits(&mut self) {
        while !self.unsent.is_empty() && self.sent.len() < UNANSWERED {
            if self.link.is_none() {
                if self.backoff.not_before().is_some() {
                    return self.fail_unsent("stas-net is not available at present");
                }
                match Link::connect(&self.socket, self.role).await {
                    Ok(link) => self.link = Some(link),
                    Err(error) => {
                        self.lose(&error);
                        continue;
                    }
                }
            }
            let (Some(link), Some(mut call)) = (&mut self.link, self.unsent.pop_front()) else { return };
            self.next_id += 1;
            let id = self.next_id;
            let sent = link.send(&call.request(id)).await;
            call.tries += 1;
            self.used = Instant::now();
            call.until = Some(self.used + self.limit);
            match sent {
                Ok(()) => drop(self.sent.insert(id, call)),
                // It exceeds a limit of the records: another connection would not help.
                Err(LinkError::Wire(error)) => (call.done)(Err(OsError::new(error))),
                Err(error) => {
                    self.sent.insert(id, call);
                    self.lose(&error);
                }
            }
        }
    }

    /// Takes an answer.
    fn take(&mut self, report: Report) -> Result<(), LinkError> {
        let (id, answer) = match report {
            Report::Resolved { id, result } => (id, Answer::Resolved(result)),
            Report::Probed { id, verdict } => (id, Answer::Probed(verdict)),
            Report::Mdns(_) => return Err(LinkError::Unasked),
        };
        if !self.sent.get(&id).is_some_and(|call| call.is_answered_by(&answer)) {
            return Err(LinkError::Unasked);
        }
        self.used = Instant::now();
        self.backoff.works(self.link.as_ref().map(Link::age).unwrap_or_default());
        if let Some(call) = self.sent.remove(&id) {
            (call.done)(Ok(answer));
        }
        Ok(())
    }

    /// The connection is lost, or there is none. Queries that were sent only once are sent again.
    fn lose(&mut self, error: &LinkError) {
        let link = self.link.take();
        if link.is_some() && self.sent.is_empty() && matches!(error, LinkError::Ended) {
            // Only an idle process has ended.
            return;
        }
        self.backoff.lost(link.as_ref().map(Link::age), error);
        let mut again = VecDeque::new();
        for call in std::mem::take(&mut self.sent).into_values() {
            if call.tries < TRIES {
                again.push_back(call);
            } else {
                (call.done)(Err(OsError::new(error)));
            }
        }
        again.append(&mut self.unsent);
        self.unsent = again;
        if self.link.is_none() && link.is_none() {
            self.fail_unsent(error);
        }
    }

    fn fail_unsent(&mut self, error: impl std::fmt::Display) {
        let error = OsError::new(error);
        for call in self.unsent.drain(..) {
            (call.done)(Err(error.clone()));
        }
    }
}

/// Receives the next record. Waits forever without a connection.
async fn receive(link: &mut Option<Link>) -> Result<Report, LinkError> {
    match link {
        Some(link) => link.receive().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
