//! Suspends workspaces with a backend that no signal ends: some of PostgreSQL's own functions never check for signals while they
//! run. Until the backend has ended, the workspace's roles may not log in, and the backend runs at the lowest priority.
//! Meanwhile the pool refuses requests.
//!
//! The state of the roles is the only record that a workspace is suspended, so that any process can lift the suspension later.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pg::cluster::Processes;
use pg::watchdog::Backend;
use pg::{Conn, Error};

use crm::model::fault::Fault;

use crate::store::cell::direct::LOCK;
use crate::store::cell::provision::CONNECTION_LIMIT;
use crate::store::cell::{Cells, name};
use crate::store::{Store, fault};

/// If more backends than this do not end, the server is restarted.
const MOST_STUCK: usize = 15;
/// The count must stay above that for this long, so that a disk which is slow for a moment does not cause a restart.
const HELD_FOR: Duration = Duration::from_secs(20);
/// How long the workspaces that caused a restart stay suspended.
const BAN: Duration = Duration::from_secs(600);

/// The backends that do not end.
#[derive(Default)]
pub struct Stuck {
    /// `None` if Kith does not run the server.
    processes: Option<Processes>,
    /// By the workspace's own role.
    workspaces: Mutex<HashMap<String, Suspended>>,
}

/// A workspace that is suspended.
struct Suspended {
    pids: BTreeSet<i32>,
    /// The end of a suspension that does not depend on the backends.
    banned_until: Option<Instant>,
}

impl Stuck {
    pub(super) fn with_processes(processes: Processes) -> Stuck {
        Stuck { processes: Some(processes), ..Stuck::default() }
    }

    fn workspaces(&self) -> MutexGuard<'_, HashMap<String, Suspended>> {
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Backends that got stuck. Some of them may have ended since.
    fn pids(&self) -> Vec<i32> {
        self.workspaces().values().flat_map(|suspended| suspended.pids.iter().copied()).collect()
    }
}

impl Cells {
    /// Bars a workspace's roles from logging in, and keeps its backend from taking processor time from others.
    pub(super) async fn suspend(&self, backend: &Backend) -> Result<(), Error> {
        let Backend { cell, pid, role, .. } = backend;
        if let Some(processes) = &self.stuck.processes
            && let Err(error) = processes.put_last(*pid)
        {
            tracing::warn!(pid, %error, "a stuck backend keeps its priority");
        }
        let new = || Suspended { pids: BTreeSet::new(), banned_until: None };
        self.stuck.workspaces().entry(own_role(role).to_owned()).or_insert_with(new).pids.insert(*pid);
        let mut admin = self.administer_cell(*cell).await?;
        change_roles(&mut admin, own_role(role), "NOLOGIN CONNECTION LIMIT 0").await?;
        drop(admin);
        match self.stuck.pids().len() > MOST_STUCK {
            true => self.begin_anew(*cell).await,
            false => Ok(()),
        }
    }

    /// Allows a workspace's roles to log in again.
    pub(super) async fn let_in(&self, backend: &Backend) -> Result<(), Error> {
        let own = own_role(&backend.role);
        let banned_until = self.stuck.workspaces().get(own).and_then(|it| it.banned_until);
        if let Some(until) = banned_until {
            tokio::time::sleep_until(until.into()).await;
        }
        let mut admin = self.administer_cell(backend.cell).await?;
        change_roles(&mut admin, own, &format!("LOGIN CONNECTION LIMIT {CONNECTION_LIMIT}")).await?;
        self.stuck.workspaces().remove(own);
        Ok(())
    }

    /// Makes the server end all its sessions, including those that do not end by themselves.
    async fn begin_anew(&self, cell: u32) -> Result<(), Error> {
        let Some(processes) = &self.stuck.processes else { return Ok(()) };
        tokio::time::sleep(HELD_FOR).await;
        let pids: Vec<String> = self.stuck.pids().iter().map(i32::to_string).collect();
        let left = self.administer_cell(cell).await?.query(ALIVE, &[Some(&format!("{{{}}}", pids.join(",")))]).await?;
        if left.len() <= MOST_STUCK {
            return Ok(());
        }
        tracing::error!(stuck = left.len(), "PostgreSQL begins anew, because too many backends do not end");
        let until = Instant::now() + BAN;
        for suspended in self.stuck.workspaces().values_mut() {
            suspended.banned_until = Some(until);
            suspended.pids.clear();
        }
        processes.kill(left.get(0, "pid")?)
    }
}

/// The backends of a list that still exist.
const ALIVE: &str = "SELECT pid FROM pg_stat_activity WHERE pid = ANY ($1::integer[]) AND usename ~ '^w_'";

/// The workspace's own role, given that role or its viewers' role.
fn own_role(role: &str) -> &str {
    role.strip_suffix("_r").unwrap_or(role)
}

/// Changes the roles with which a workspace's requests log in, if they already exist.
async fn change_roles(admin: &mut Conn, own: &str, how: &str) -> Result<(), Error> {
    let sql = "SELECT rolname FROM pg_roles WHERE rolname IN ($1::text, $1::text || '_r')";
    let found = admin.query(sql, &[Some(own)]).await?;
    let mut changes = LOCK.to_owned();
    for row in 0..found.len() {
        let role: String = found.get(row, "rolname")?;
        changes.push_str(&format!("ALTER ROLE {} {how};", name(&role)));
    }
    admin.script(&changes).await
}

/// Workspaces whose roles may not log in.
const SUSPENDED: &str = "SELECT rolname FROM pg_roles
    WHERE rolname ~ '^w_[0-9a-z]{20}(_r)?$' AND NOT rolcanlogin AND rolconnlimit = 0";

/// The backends of suspended workspaces.
const LEFT: &str = "SELECT pid, usename, datname FROM pg_stat_activity
    WHERE regexp_replace(usename, '_r$', '') = $1 AND datname IS NOT NULL";

impl Store {
    /// Allows workspaces to log in whose stuck backend has ended unobserved, for example after a crash. The remaining
    /// backends of other workspaces are watched from now on.
    pub async fn sweep_suspended(&self) -> Result<(), Fault> {
        self.let_in_forgotten().await.map_err(fault::of_connection)
    }

    /// The same, with PostgreSQL's own error.
    pub(super) async fn let_in_forgotten(&self) -> Result<(), Error> {
        let cell = 0;
        let mut admin = self.cells.administer_cell(cell).await?;
        let found = admin.query(SUSPENDED, &[]).await?;
        for row in 0..found.len() {
            let role: String = found.get(row, "rolname")?;
            let own = own_role(&role);
            if self.cells.stuck.workspaces().contains_key(own) {
                continue;
            }
            let left = admin.query(LEFT, &[Some(own)]).await?;
            for row in 0..left.len() {
                let (role, database): (String, String) = (left.get(row, "usename")?, left.get(row, "datname")?);
                let pid = left.get(row, "pid")?;
                self.watchdog.adopt(Backend { cell, pid, role: role.into(), database: database.into() });
            }
            if left.is_empty() {
                tracing::info!(role, "a suspended workspace is let in again");
                change_roles(&mut admin, own, &format!("LOGIN CONNECTION LIMIT {CONNECTION_LIMIT}")).await?;
            }
        }
        Ok(())
    }
}
