//! Plain threads for calls into the kernel that may block.

use std::io;
use std::thread::Builder;

use nix::sys::signal::SigSet;

/// Stack size in bytes: enough for every call of this module. Hundreds of such threads may wait at the same time.
const STACK: usize = 256 * 1024;

/// Runs `work` on its own thread with all signals blocked: a signal during a connect write would abort the connect. The
/// thread is never joined.
///
/// # Errors
/// Fails if the system cannot start another thread.
pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    Builder::new().name(name.to_owned()).stack_size(STACK).spawn(move || {
        // Fails only for an invalid mask or operation, and this one is neither.
        let _ = SigSet::all().thread_block();
        work();
    })?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use nix::sys::signal::Signal;

    use super::*;

    #[test]
    fn all_signals_are_blocked_in_it() {
        let (sender, receiver) = mpsc::channel();
        spawn("test", move || sender.send(SigSet::thread_get_mask().unwrap()).unwrap()).unwrap();
        let mask = receiver.recv().unwrap();
        assert!([Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGALRM].iter().all(|s| mask.contains(*s)));
        assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGTERM));
    }
}
