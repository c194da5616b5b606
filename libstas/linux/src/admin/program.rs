//! The program stas-admin: executes the admin commands of stafd, and has no other task.
//!
//! It has the capability CAP_SYS_ADMIN, which stafd and stacd do not have. It does not parse what a controller returns.

use std::io::{self, BufReader, Read, Write};
use std::sync::{Arc, Mutex};

use super::device::execute;
use super::queues::Queues;
use super::wire::{self, Answer, Request};
use crate::{Roots, lock};
use stas_core::AdminError;

/// Answers each record of `requests` until its end. The commands of different controllers are executed at the same time.
///
/// # Errors
/// Fails if a record is invalid or requests a command that stafd never sends.
pub fn serve(requests: impl Read, answers: impl Write + Send + 'static, roots: &Roots) -> io::Result<()> {
    let answers = Arc::new(Mutex::new(answers));
    let queues = Queues::default();
    let mut requests = BufReader::new(requests);
    while let Some((Request { id, ctrl, task }, data)) = wire::read(&mut requests)? {
        if task.commands(data.len()).is_none() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{task:?} is not permitted")));
        }
        let (answers, roots) = (answers.clone(), roots.clone());
        queues.submit(ctrl, move |thread| {
            let result = thread.map_err(|error| AdminError::NoThread(ctrl, error));
            let (error, data) = match result.and_then(|()| execute(&roots, ctrl, task, &data)) {
                Ok(data) => (None, data),
                Err(error) => (Some(error.into()), Vec::new()),
            };
            // An error means that stafd has closed the connection and needs no answer.
            let _ = wire::write(&mut *lock(&answers), &Answer { id, error }, &data);
        });
    }
    Ok(())
}
