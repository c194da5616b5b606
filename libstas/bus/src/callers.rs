//! Limits the time that a daemon spends on the calls of unprivileged users.
//!
//! A daemon answers the method calls at its public name one after the other. At most 64 messages wait in the daemon
//! (zbus), the others in the bus. A user whose answers have taken too much time is refused, so that the others need not
//! wait for all of them. Root is not limited. Property reads and introspection are not counted: they take little time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use zbus::message::Header;
use zbus::object_server::ResponseDispatchNotifier;
use zbus::{Connection, fdo};

use super::connection::caller_uid;

/// How much time the answers to one user may take in a row.
const BUDGET: Duration = Duration::from_secs(2);
/// Each second reduces the spent time of a user by 1/SHARE s: in the long run, the answers to one user take at most a
/// quarter of the time.
const SHARE: u32 = 4;
/// Maximum number of connections whose user is remembered: when it is reached, all are forgotten. If this many users
/// have an account, the accounts without spent time are dropped.
const REMEMBERED: usize = 1024;

/// The callers of a daemon. Without a bus none is unprivileged: the default admits every call.
#[derive(Clone, Debug, Default)]
pub struct Callers(Kind);

#[derive(Clone, Debug, Default)]
enum Kind {
    #[default]
    WithoutBus,
    Root,
    All(Arc<Shared>),
}

#[derive(Debug)]
struct Shared {
    /// The connection on which the bus is asked for the users of connections. On the public connection, its answers
    /// would wait behind all calls.
    bus: Connection,
    /// Users by the unique name of their connection. `None`: the connection has left the bus. The bus never assigns a
    /// unique name twice.
    users: Mutex<BTreeMap<String, Option<u32>>>,
    spent: Mutex<Accounts>,
}

impl Callers {
    /// `bus`: a connection that other users cannot call.
    #[must_use]
    pub fn new(bus: Connection) -> Self {
        Self(Kind::All(Arc::new(Shared { bus, users: Mutex::default(), spent: Mutex::default() })))
    }

    /// The callers of a name that only root may call. The bus is not asked for their user: its answer would arrive
    /// behind further calls, which are answered only after this one.
    #[must_use]
    pub fn only_root() -> Self {
        Self(Kind::Root)
    }

    /// Admits a call. The time until the permit is dropped, or its answer sent, counts as the time of the answer.
    ///
    /// # Errors
    /// `LimitsExceeded` if the answers to this user have taken too much time. `AccessDenied` if the caller cannot be
    /// identified: it has left the bus.
    pub async fn admit(&self, header: &Header<'_>) -> fdo::Result<Permit> {
        let Kind::All(shared) = &self.0 else { return Ok(Permit(None)) };
        let user = shared.user_of(header).await;
        let user = user.map_err(|error| fdo::Error::AccessDenied(format!("the caller is not known: {error}")))?;
        let Some(user) = user else {
            return Err(fdo::Error::AccessDenied("the caller has left the bus".to_owned()));
        };
        if user == 0 {
            return Ok(Permit(None));
        }
        let now = Instant::now();
        let wait = shared.spent().wait(user, now);
        if wait > Duration::ZERO {
            return Err(fdo::Error::LimitsExceeded(format!(
                "user {user} has used too much of the daemon's time; try again in {:.1} s",
                wait.as_secs_f32()
            )));
        }
        Ok(Permit(Some((Arc::clone(shared), user, now))))
    }

    /// Fails unless the caller is root.
    ///
    /// # Errors
    /// `AccessDenied` if the caller is not root, or cannot be identified.
    pub async fn require_root(
        &self,
        connection: &Connection,
        header: Option<&Header<'_>>,
        what: &str,
    ) -> fdo::Result<()> {
        match &self.0 {
            Kind::WithoutBus => super::require_root(connection, header, what).await,
            Kind::Root => Ok(()),
            Kind::All(shared) => super::require_root(&shared.bus, header, what).await,
        }
    }
}

/// A call that is being answered.
#[derive(Debug)]
#[must_use]
pub struct Permit(Option<(Arc<Shared>, u32, Instant)>);

impl Permit {
    /// Wraps an answer so that the permit is dropped when the bus has taken the answer.
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

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((shared, user, begun)) = &self.0 {
            let now = Instant::now();
            shared.spent().spend(*user, now, now.saturating_duration_since(*begun));
        }
    }
}

impl Shared {
    async fn user_of(&self, header: &Header<'_>) -> zbus::Result<Option<u32>> {
        let Some(sender) = header.sender() else { return Err(zbus::Error::MissingField) };
        let users = || self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(user) = users().get(sender.as_str()) {
            return Ok(*user);
        }
        let user = match caller_uid(&self.bus, header).await {
            Ok(user) => Some(user),
            // This is remembered, too: hundreds of calls of this connection may wait, and each query of the bus takes
            // time.
            Err(zbus::Error::FDO(error)) if matches!(*error, fdo::Error::NameHasNoOwner(_)) => None,
            Err(error) => return Err(error),
        };
        let mut users = users();
        if users.len() >= REMEMBERED {
            users.clear();
        }
        users.insert(sender.to_string(), user);
        Ok(user)
    }

    fn spent(&self) -> MutexGuard<'_, Accounts> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time that the answers to each user have taken.
#[derive(Debug, Default)]
struct Accounts(BTreeMap<u32, Account>);

#[derive(Clone, Copy, Debug)]
struct Account {
    /// The spent time at the moment `at`. [`SHARE`] says how it decreases after that.
    spent: Duration,
    at: Instant,
}

impl Account {
    fn spent_at(self, now: Instant) -> Duration {
        self.spent.saturating_sub(now.saturating_duration_since(self.at) / SHARE)
    }
}

impl Accounts {
    /// How long a user must wait before its next call is admitted.
    fn wait(&self, user: u32, now: Instant) -> Duration {
        let spent = self.0.get(&user).map_or(Duration::ZERO, |account| account.spent_at(now));
        spent.saturating_sub(BUDGET) * SHARE
    }

    fn spend(&mut self, user: u32, now: Instant, took: Duration) {
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, account| account.spent_at(now) > Duration::ZERO);
        }
        let account = self.0.entry(user).or_insert(Account { spent: Duration::ZERO, at: now });
        *account = Account { spent: account.spent_at(now) + took, at: now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_whose_answers_take_long_waits_and_the_others_do_not() {
        let mut accounts = Accounts::default();
        let begin = Instant::now();
        let at = |seconds: f64| begin + Duration::from_secs_f64(seconds);
        accounts.spend(1000, at(0.0), Duration::from_secs(2));
        assert_eq!(accounts.wait(1000, at(0.0)), Duration::ZERO, "that is its budget");
        accounts.spend(1000, at(1.0), Duration::from_secs(1));
        assert_eq!(accounts.wait(1000, at(1.0)), Duration::from_secs(3));
        assert_eq!(accounts.wait(1000, at(4.0)), Duration::ZERO);
        assert_eq!(accounts.wait(1001, at(1.0)), Duration::ZERO, "another user");
        accounts.spend(1000, at(1000.0), Duration::from_secs(2));
        assert_eq!(accounts.wait(1000, at(1000.0)), Duration::ZERO, "what was spent long ago is forgotten");
    }

    #[test]
    fn users_without_recent_calls_are_forgotten() {
        let mut accounts = Accounts::default();
        let now = Instant::now();
        for user in 0..10_000 {
            accounts.spend(user, now + Duration::from_secs(u64::from(user)), Duration::from_millis(1));
        }
        assert!(accounts.0.len() <= REMEMBERED, "{}", accounts.0.len());
    }
}
