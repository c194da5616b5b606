//! Bounds the answers that unprivileged callers make a daemon hold in memory.
//!
//! A program that sends calls faster than the bus takes the answers would make the daemon hold any number of answers,
//! each as long as all log pages. So each call of a user other than root takes a [`Permit`] before its answer is made,
//! and frees it when the bus has taken the answer. Calls by root, and so by stacd, need none and never wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zbus::message::Header;
use zbus::object_server::ResponseDispatchNotifier;
use zbus::{Connection, fdo};

use super::connection::caller_uid;

/// Maximum number of unanswered calls of one user.
const OF_ONE_USER: usize = 16;
/// Maximum number of unanswered calls of all users but root together.
const OF_ALL_USERS: usize = 64;
/// Maximum number of answers for users other than root that are in memory at the same time.
const ANSWERS: usize = 2;
/// Maximum number of connections whose user is remembered.
const REMEMBERED: usize = 1024;

/// The unprivileged callers of one interface.
#[derive(Clone, Debug)]
pub struct Callers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Users by the unique name of their connection. The bus never gives a unique name to another connection. The lock
    /// is held during a question to the bus, so that a flood of calls asks once for each connection.
    users: tokio::sync::Mutex<BTreeMap<String, u32>>,
    unanswered: Mutex<Unanswered>,
    answers: Arc<Semaphore>,
}

impl Default for Callers {
    fn default() -> Self {
        let answers = Arc::new(Semaphore::new(ANSWERS));
        Self(Arc::new(Shared { users: Default::default(), unanswered: Default::default(), answers }))
    }
}

impl Callers {
    /// Takes a permit for a call. Waits while other unprivileged callers are answered.
    ///
    /// # Errors
    /// `LimitsExceeded` if the user, or all users but root together, have too many unanswered calls. `AccessDenied` if
    /// the caller cannot be identified: it has left the bus.
    pub async fn admit(&self, connection: &Connection, header: &Header<'_>) -> fdo::Result<Permit> {
        let user = self.user_of(connection, header).await;
        let user = user.map_err(|error| fdo::Error::AccessDenied(format!("the caller is not known: {error}")))?;
        self.admit_user(user).await
    }

    async fn admit_user(&self, user: u32) -> fdo::Result<Permit> {
        if user == 0 {
            return Ok(Permit(None));
        }
        let call = Call::count(&self.0, user)?;
        let answer = Arc::clone(&self.0.answers).acquire_owned().await;
        let answer = answer.map_err(|error| fdo::Error::Failed(error.to_string()))?;
        Ok(Permit(Some((call, answer))))
    }

    async fn user_of(&self, connection: &Connection, header: &Header<'_>) -> zbus::Result<u32> {
        let Some(sender) = header.sender() else { return caller_uid(connection, header).await };
        let mut users = self.0.users.lock().await;
        if let Some(user) = users.get(sender.as_str()) {
            return Ok(*user);
        }
        let user = caller_uid(connection, header).await?;
        if users.len() >= REMEMBERED {
            users.clear();
        }
        users.insert(sender.to_string(), user);
        Ok(user)
    }
}

/// What a call needs until the bus has taken its answer. Nothing for a call by root.
#[derive(Debug)]
#[must_use]
pub struct Permit(Option<(Call, OwnedSemaphorePermit)>);

impl Permit {
    /// Wraps an answer so that the permit is freed when the bus has taken the answer.
    pub fn answer<R>(self, answer: R) -> ResponseDispatchNotifier<R> {
        let (answer, taken) = ResponseDispatchNotifier::new(answer);
        if self.0.is_some() {
            tokio::spawn(async move {
                taken.await;
                drop(self);
            });
        }
        answer
    }
}

/// One unanswered call.
#[derive(Debug)]
struct Call {
    shared: Arc<Shared>,
    user: u32,
}

impl Call {
    fn count(shared: &Arc<Shared>, user: u32) -> fdo::Result<Self> {
        shared.unanswered().add(user)?;
        Ok(Self { shared: Arc::clone(shared), user })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.shared.unanswered().remove(self.user);
    }
}

impl Shared {
    fn unanswered(&self) -> MutexGuard<'_, Unanswered> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of unanswered calls of each user.
#[derive(Debug, Default)]
struct Unanswered {
    of_user: BTreeMap<u32, usize>,
    of_all: usize,
}

impl Unanswered {
    fn add(&mut self, user: u32) -> fdo::Result<()> {
        let of_user = self.of_user.get(&user).copied().unwrap_or_default();
        if of_user >= OF_ONE_USER {
            return Err(fdo::Error::LimitsExceeded(format!(
                "user {user} has {of_user} unanswered calls, which are the most; wait for an answer"
            )));
        }
        if self.of_all >= OF_ALL_USERS {
            return Err(fdo::Error::LimitsExceeded(format!(
                "the users of this host have {} unanswered calls, which are the most; try again",
                self.of_all
            )));
        }
        self.of_user.insert(user, of_user + 1);
        self.of_all += 1;
        Ok(())
    }

    fn remove(&mut self, user: u32) {
        if let Some(of_user) = self.of_user.get_mut(&user) {
            *of_user -= 1;
            self.of_all -= 1;
            if *of_user == 0 {
                self.of_user.remove(&user);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Polls a future once.
    fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn is_refused<T>(result: Poll<fdo::Result<T>>) -> bool {
        matches!(result, Poll::Ready(Err(fdo::Error::LimitsExceeded(_))))
    }

    #[tokio::test]
    async fn one_user_holds_two_answers_and_waits_for_fourteen_more() {
        let callers = Callers::default();
        let held = [callers.admit_user(1000).await.unwrap(), callers.admit_user(1000).await.unwrap()];
        let mut waiting: Vec<_> = (0..OF_ONE_USER - ANSWERS).map(|_| Box::pin(callers.admit_user(1000))).collect();
        for call in &mut waiting {
            assert!(poll(call.as_mut()).is_pending());
        }
        assert!(is_refused(poll(callers.admit_user(1000))));
        assert!(poll(callers.admit_user(1001)).is_pending(), "another user may wait, too");
        assert!(matches!(poll(callers.admit_user(0)), Poll::Ready(Ok(_))), "root never waits");

        drop(held);
        assert!(poll(waiting[0].as_mut()).is_ready() && poll(waiting[1].as_mut()).is_ready());
        drop(waiting);
        assert!(matches!(poll(callers.admit_user(1000)), Poll::Ready(Ok(_))));
        assert_eq!(callers.0.unanswered().of_all, 0, "a call that is dropped is not counted");
    }

    #[tokio::test]
    async fn all_users_together_have_a_bound_and_root_has_none() {
        let callers = Callers::default();
        let _held = [callers.admit_user(999).await.unwrap(), callers.admit_user(999).await.unwrap()];
        let mut waiting: Vec<_> =
            (ANSWERS..OF_ALL_USERS).map(|call| Box::pin(callers.admit_user(1000 + call as u32 / 16))).collect();
        waiting.iter_mut().for_each(|call| drop(poll(call.as_mut())));
        assert!(is_refused(poll(callers.admit_user(2000))));
        let root: Vec<_> = (0..1000).map(|_| poll(callers.admit_user(0))).collect();
        assert!(root.iter().all(|permit| matches!(permit, Poll::Ready(Ok(_)))));
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_the_answer_was_sent_or_dropped() {
        let callers = Callers::default();
        for _ in 0..100 {
            let permit = callers.admit_user(1000).await.unwrap();
            drop(permit.answer("all log pages"));
        }
        while callers.0.unanswered().of_all > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(callers.0.answers.available_permits(), ANSWERS);
    }
}
