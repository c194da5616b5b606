//! One queue and one thread for each controller that has pending jobs.

use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{lock, thread};
use stas_core::{CtrlRef, NoThread, OsError};

/// How long a thread waits for another job before it ends. A log page is read in many parts, one after the other.
const LINGER: Duration = Duration::from_millis(100);

/// A queued job. It gets an error if there is no thread for it.
type Job = Box<dyn FnOnce(Result<(), NoThread>) + Send>;

/// Executes the jobs of a controller one after the other. A job that hangs delays only those of its controller.
#[derive(Clone, Default)]
pub(super) struct Queues(Arc<Mutex<HashMap<CtrlRef, Sender<Job>>>>);

impl std::fmt::Debug for Queues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(lock(&self.0).keys()).finish()
    }
}

impl Queues {
    /// Queues a job after the pending jobs of the controller.
    pub(super) fn submit(&self, ctrl: CtrlRef, job: impl FnOnce(Result<(), NoThread>) + Send + 'static) {
        let job: Job = Box::new(job);
        let mut queues = lock(&self.0);
        // A thread ends only while it holds the lock, so its queue still receives jobs.
        let Some(job) = (match queues.get(&ctrl) {
            Some(queue) => queue.send(job).map_err(|refused| refused.0).err(),
            None => Some(job),
        }) else {
            return;
        };
        let (queue, jobs) = mpsc::channel();
        let own = self.clone();
        match thread::spawn(&format!("admin-{ctrl}"), move || own.work_off(ctrl, &jobs)) {
            Ok(()) => {
                // The thread owns the receiver until it ends, and it cannot end yet.
                let _ = queue.send(job);
                queues.insert(ctrl, queue);
            }
            Err(error) => {
                drop(queues);
                job(Err(NoThread(OsError::new(error))));
            }
        }
    }

    /// Executes the controller's jobs until there was none for [`LINGER`].
    fn work_off(&self, ctrl: CtrlRef, jobs: &Receiver<Job>) {
        loop {
            if let Ok(job) = jobs.recv_timeout(LINGER) {
                job(Ok(()));
                continue;
            }
            let mut queues = lock(&self.0);
            let Ok(job) = jobs.try_recv() else {
                queues.remove(&ctrl);
                return;
            };
            drop(queues);
            job(Ok(()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::thread::{ThreadId, current};

    use super::*;

    const CTRL: CtrlRef = CtrlRef { device: 0, inode: 0 };

    #[test]
    fn a_second_job_waits_for_the_first() {
        let queues = Queues::default();
        let (let_go, gate) = mpsc::channel::<()>();
        let (answers, received) = mpsc::channel();
        let answers_too = answers.clone();
        queues.submit(CTRL, move |_| {
            gate.recv().unwrap();
            answers.send(1).unwrap();
        });
        queues.submit(CTRL, move |_| answers_too.send(2).unwrap());
        received.try_recv().unwrap_err();
        let_go.send(()).unwrap();
        assert_eq!(received.iter().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_controller_that_hangs_holds_up_no_other() {
        let queues = Queues::default();
        let (let_go, gate) = mpsc::channel::<()>();
        queues.submit(CTRL, move |_| assert!(gate.recv().is_err()));
        let (answer, received) = mpsc::channel();
        queues.submit(CtrlRef { device: 1, inode: 0 }, move |_| answer.send(()).unwrap());
        received.recv().unwrap();
        drop(let_go);
    }

    /// The thread of a job. The next job may be queued before or after the thread has ended.
    fn thread_of_a_job(queues: &Queues) -> ThreadId {
        let (sender, receiver) = mpsc::channel();
        queues.submit(CTRL, move |thread| {
            thread.unwrap();
            sender.send(current().id()).unwrap();
        });
        receiver.recv().unwrap()
    }

    #[test]
    fn a_thread_executes_the_parts_of_a_page_and_ends_when_there_are_no_more() {
        let queues = Queues::default();
        let first = thread_of_a_job(&queues);
        let others = (0..100).map(|_| thread_of_a_job(&queues)).filter(|other| *other != first).count();
        assert!(others < 100, "a thread for each part");
        while !lock(&queues.0).is_empty() {
            std::thread::yield_now();
        }
        assert_ne!(thread_of_a_job(&queues), first);
    }
}
