//! Resets of tenants' passwords. A workspace may change the password of its own role, and then Kith's log-ins fail until the
//! password is reset. One request resets it, and the others of the same role wait for it.
//!
//! A workspace that changes its password in a loop must not slow down others: a role's password is reset at most a few times a
//! second, the passwords of at most a few roles are reset at once, and no reset waits for a workspace's transaction.

use std::sync::Arc;
use std::time::Duration;

use pg::{Conn, Error};
use tokio::sync::{Mutex, MutexGuard, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::cache::Cache;
use crate::store::cell::{literal, name};

/// The shortest time between two resets of a role's password.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long after a reset the next one is logged again.
const QUIET: Duration = Duration::from_secs(60);
/// Resets at once. Each uses one of the administrator's connections.
const AT_ONCE: usize = 2;
/// How often a reset is tried if the workspace changes the role at the same time.
const TRIES: usize = 3;
/// How long a reset waits for a change by the workspace that has not been committed.
const LOCK_TIMEOUT: &str = "SET lock_timeout = '1s';";
/// The most roles whose last reset is remembered.
const ROLES: usize = 1000;

/// The resets of this process.
pub struct RolePasswords {
    last_resets: Cache<Arc<str>, Arc<LastReset>>,
    turns: Semaphore,
}

/// When a role's password was last reset. It is locked during a reset.
type LastReset = Mutex<Option<Instant>>;

impl Default for RolePasswords {
    fn default() -> RolePasswords {
        RolePasswords { last_resets: Cache::until_forgotten(ROLES), turns: Semaphore::new(AT_ONCE) }
    }
}

impl RolePasswords {
    /// When a role's password was last reset. Only the holder of its lock resets it.
    pub fn last_reset(&self, role: &str) -> Arc<LastReset> {
        self.last_resets.get_or_insert_with(role.into(), Arc::default)
    }

    /// Resets a role's password to the one with this verifier, in a session of the administrator.
    pub async fn reset(
        &self,
        role: &str,
        verifier: &str,
        last_reset: &mut MutexGuard<'_, Option<Instant>>,
        administer: impl Future<Output = Result<Conn, Error>>,
    ) -> Result<(), Error> {
        if let Some(at) = **last_reset {
            sleep_until(at + INTERVAL).await;
        }
        match last_reset.is_some_and(|at| at.elapsed() < QUIET) {
            true => tracing::debug!(role, "the password of a tenant's role was changed again; resetting it"),
            false => tracing::warn!(role, "the password of a tenant's role was changed; resetting it"),
        }
        let _turn = self.turns.acquire().await;
        let mut admin = administer.await?;
        let sql = format!("{LOCK_TIMEOUT} ALTER ROLE {} PASSWORD {}", name(role), literal(verifier));
        let mut done = admin.script(&sql).await;
        for _ in 1..TRIES {
            if !done.as_ref().is_err_and(is_concurrent) {
                break;
            }
            done = admin.script(&sql).await;
        }
        **last_reset = Some(Instant::now());
        done.map_err(|error| if is_concurrent(&error) { keeps_changing() } else { error })
    }
}

/// Whether the workspace changes the role at the same moment. PostgreSQL has no specific SQLSTATE for two updates of one row of
/// a catalog. The message is never translated.
fn is_concurrent(error: &Error) -> bool {
    let Error::Server(error) = error else { return false };
    error.code == "55P03" || error.code == "XX000" && error.message == "tuple concurrently updated"
}

/// The error of a log-in that failed although the password was just reset.
pub fn keeps_changing() -> Error {
    Error::Busy("the workspace keeps changing the password of its role".into())
}
