//! One queue and one thread for each controller that has pending jobs.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use crate::{lock, thread};
use stas_core::{CtrlRef, NoThread, OsError};

/// A queued job. It gets an error if there is no thread for it.
type Job = Box<dyn FnOnce(Result<(), NoThread>) + Send>;

/// Executes the jobs of a controller one after the other. A job that hangs delays only those of its controller.
#[derive(Clone, Default)]
pub(super) struct Queues(Arc<Mutex<HashMap<CtrlRef, VecDeque<Job>>>>);

impl std::fmt::Debug for Queues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(lock(&self.0).keys()).finish()
    }
}

impl Queues {
    /// Queues a job after the pending jobs of the controller.
    pub(super) fn submit(&self, ctrl: CtrlRef, job: impl FnOnce(Result<(), NoThread>) + Send + 'static) {
        let mut queues = lock(&self.0);
        if let Some(queue) = queues.get_mut(&ctrl) {
            queue.push_back(Box::new(job));
            return;
        }
        queues.insert(ctrl, VecDeque::from([Box::new(job) as Job]));
        drop(queues);
        let own = self.clone();
        if let Err(error) = thread::spawn(&format!("admin-{ctrl}"), move || own.work_off(ctrl, || Ok(()))) {
            let error = NoThread(OsError::new(error));
            self.work_off(ctrl, || Err(error.clone()));
        }
    }

    /// Executes the controller's queue until it is empty.
    fn work_off(&self, ctrl: CtrlRef, thread: impl Fn() -> Result<(), NoThread>) {
        loop {
            let mut queues = lock(&self.0);
            let Some(job) = queues.get_mut(&ctrl).and_then(VecDeque::pop_front) else {
                queues.remove(&ctrl);
                return;
            };
            drop(queues);
            job(thread());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_second_job_waits_for_the_first() {
        let queues = Queues::default();
        let ctrl = CtrlRef { device: 0, inode: 0 };
        let (first_runs, wait_for_first) = mpsc::channel();
        let (let_go, gate) = mpsc::channel::<()>();
        let (answers, received) = mpsc::channel();
        let answers_too = answers.clone();
        queues.submit(ctrl, move |_| {
            first_runs.send(()).unwrap();
            gate.recv().unwrap();
            answers.send(1).unwrap();
        });
        wait_for_first.recv().unwrap();
        queues.submit(ctrl, move |_| answers_too.send(2).unwrap());
        assert_eq!(lock(&queues.0).get(&ctrl).map(VecDeque::len), Some(1), "it waits");
        let_go.send(()).unwrap();
        assert_eq!(received.iter().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_controller_that_hangs_holds_up_no_other() {
        let queues = Queues::default();
        let (let_go, gate) = mpsc::channel::<()>();
        queues.submit(CtrlRef { device: 0, inode: 0 }, move |_| assert!(gate.recv().is_err()));
        let (answer, received) = mpsc::channel();
        queues.submit(CtrlRef { device: 1, inode: 0 }, move |_| answer.send(()).unwrap());
        received.recv().unwrap();
        drop(let_go);
    }
}
