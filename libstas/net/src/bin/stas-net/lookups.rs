//! Resolves the host names that the daemon asks for.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use stas_core::ResolveError;
use stas_net::client::UNANSWERED;
use stas_net::names;
use stas_net::wire::{ADDRESSES_MAX, Report, Request, Unresolved, error_text};
use tokio::sync::{Semaphore, oneshot};

use crate::connection::{Incoming, Outgoing};

/// Look-ups at the same time: as many as the daemon sends. Further ones wait.
const AT_ONCE: usize = UNANSWERED;
/// Stack of a look-up's thread in bytes. Modules of the resolver (nsswitch.conf) use large buffers.
const STACK: usize = 512 * 1024;

/// Resolves names until the connection ends.
///
/// # Errors
/// Fails if the daemon sends anything else.
pub(crate) async fn serve(mut incoming: Incoming, outgoing: Outgoing) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(request) = incoming.next().await? {
        let Request::Resolve { id, name } = request else { return Err(Incoming::unexpected(&request)) };
        // No further request is read until there is a place.
        let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
        let outgoing = outgoing.clone();
        tokio::spawn(async move {
            let result = look_up(name).await;
            drop(place);
            // The daemon has closed the connection: this process is about to end.
            let _ = outgoing.send(&Report::Resolved { id, result }).await;
        });
    }
    Ok(())
}

/// Resolves a name on a thread of its own, because the resolver blocks.
async fn look_up(name: String) -> Result<Vec<IpAddr>, Unresolved> {
    let failed = |error: String| Unresolved::Resolver(error_text(&error));
    let (answer, answered) = oneshot::channel();
    let resolve = move || drop(answer.send(names::resolve(&name)));
    let thread = std::thread::Builder::new().name("names".to_owned()).stack_size(STACK).spawn(resolve);
    thread.map_err(|error| failed(format!("no thread can be started: {error}")))?;
    match answered.await {
        Ok(Ok(mut addresses)) => {
            addresses.truncate(ADDRESSES_MAX);
            Ok(addresses)
        }
        Ok(Err(ResolveError::NoAddress(_))) => Err(Unresolved::NoAddress),
        Ok(Err(ResolveError::Resolver { error, .. })) => Err(failed(error.to_string())),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("the resolver ended without an answer".to_owned())),
    }
}
