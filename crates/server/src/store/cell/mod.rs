//! Cells: PostgreSQL clusters that hold workspaces, and the log-ins to them.
//!
//! Passwords are derived from the installation's secret, so none is stored. A tenant may change the password of its own role;
//! it is reset at the first log-in that fails.

pub mod change_log;
pub mod direct;
pub mod direct_address;
pub mod examine;
pub mod excess;
pub mod maintain;
pub mod migrate;
pub mod provision;
mod role_passwords;
pub mod rotate;
pub mod server;
pub mod settings;
pub mod suspend;

use std::sync::Arc;

use pg::cluster::Processes;
use pg::conn::Login;
use pg::pool::{Connect, Key, Lane, Share};
use pg::rows::Rows;
use pg::watchdog::{Backend, Doing};
use pg::{Conn, Error, Secret, Target};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::clock::random;
use crate::store::cell::direct_address::DirectAddress;
use crate::store::cell::role_passwords::RolePasswords;
use crate::store::cell::suspend::Stuck;
use crate::store::secrets::SecretKey;

/// Kith's own role. It owns the control database, ends runaway backends, and is not a superuser.
pub const CONTROL_ROLE: &str = "kith_control";
/// The control database.
pub const CONTROL_DATABASE: &str = "kith";

/// The location of a workspace's data of one mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantDatabase {
    /// Its id in the control database.
    pub database_id: i64,
    /// The cell.
    pub cell: u32,
    /// The database's name, which is random.
    pub database: Arc<str>,
    /// The workspace's API role.
    pub role: Arc<str>,
    /// Its read-only role.
    pub viewer: Arc<str>,
    /// The role that owns the activity feed, and can't log in.
    pub system: Arc<str>,
    /// The version of the template from which it was created or to which it was upgraded.
    pub version: i32,
    /// Its share of the connections.
    pub share: Share,
}

/// The share of a workspace that nobody owns. It is small, because anybody can create many such workspaces.
pub const UNCLAIMED: Share = Share::Small(2);

impl TenantDatabase {
    /// The names of the other roles are derived from `role`.
    pub fn new(database_id: i64, cell: u32, database: &str, role: &str, version: i32) -> TenantDatabase {
        TenantDatabase {
            database_id,
            cell,
            database: database.into(),
            role: role.into(),
            viewer: format!("{role}_r").into(),
            system: format!("{role}_s").into(),
            version,
            share: Share::Whole,
        }
    }

    /// The same with another share of the connections.
    pub fn with_share(self, share: Share) -> TenantDatabase {
        TenantDatabase { share, ..self }
    }

    /// Reads a row of `databases`: `id`, `cell_id`, `name`, `role`, `version`.
    pub(super) fn read(rows: &Rows, row: usize) -> Result<TenantDatabase, Error> {
        let (database, role): (String, String) = (rows.get(row, "name")?, rows.get(row, "role")?);
        let (id, cell, version) = (rows.get(row, "id")?, rows.get(row, "cell_id")?, rows.get(row, "version")?);
        Ok(TenantDatabase::new(id, cell, &database, &role, version))
    }

    /// The pool's key for its sessions.
    pub fn key(&self, lane: Lane, read_only: bool) -> Key {
        let role = if read_only { &self.viewer } else { &self.role };
        Key { cell: self.cell, database: self.database.clone(), role: role.clone(), lane }
    }
}

/// A cell's administrator, who is a superuser.
#[derive(Clone)]
pub struct Administrator {
    /// Its role.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// A database that always exists.
    pub database: String,
}

/// The cells of an installation. One machine has one.
pub struct Cells {
    target: Target,
    administrator: Administrator,
    secret: SecretKey,
    role_passwords: RolePasswords,
    /// The address at which people reach it with their own clients; `None` if they can't.
    direct_address: Option<DirectAddress>,
    /// The major version of the server.
    version: OnceCell<u32>,
    /// The backends that do not end, and the workspaces that are suspended because of them.
    pub(super) stuck: Stuck,
}

impl Cells {
    /// A single cell, number 0.
    pub fn new(target: Target, administrator: Administrator, secret: SecretKey) -> Cells {
        let (role_passwords, version) = (RolePasswords::default(), OnceCell::new());
        Cells { target, administrator, secret, role_passwords, direct_address: None, version, stuck: Stuck::default() }
    }

    /// The same, with the address at which people reach it.
    pub fn reached_at(self, direct_address: Option<DirectAddress>) -> Cells {
        Cells { direct_address, ..self }
    }

    /// The same, with access to the processes of Kith's own server.
    pub fn with_processes(self, processes: Processes) -> Cells {
        Cells { stuck: Stuck::with_processes(processes), ..self }
    }

    /// The address at which people reach a cell with their own clients.
    pub fn direct_address(&self, _cell: u32) -> Option<&DirectAddress> {
        self.direct_address.as_ref()
    }

    /// The address of a cell's server.
    pub fn target(&self, _cell: u32) -> &Target {
        &self.target
    }

    /// The password of a role that Kith created.
    pub fn password(&self, role: &str) -> Secret {
        self.secret.derive("role", role)
    }

    /// The stored form of a role's password. One round of hashing is enough for 256 random bits, and keeps log-ins cheap.
    pub fn verifier(&self, role: &str) -> String {
        pg::scram::verifier(self.password(role).expose(), 1, &random())
    }

    /// A session of the cell's administrator. It is for Kith's own objects, never for a tenant's.
    pub async fn administer(&self, _cell: u32, database: &str) -> Result<Conn, Error> {
        let Administrator { user, password, .. } = &self.administrator;
        let login = Login { user, password: password.expose(), database, settings: settings::ADMINISTRATOR };
        Conn::open(&self.target, &login).await
    }

    /// The administrator's session in the database that always exists.
    pub async fn administer_cell(&self, cell: u32) -> Result<Conn, Error> {
        self.administer(cell, &self.administrator.database).await
    }

    /// A session of Kith's own role in the control database.
    pub async fn control(&self) -> Result<Conn, Error> {
        self.login(CONTROL_ROLE, CONTROL_DATABASE, settings::OWN).await
    }

    /// A session of a tenant's role in its own database.
    pub async fn tenant(&self, cell: u32, role: &str, database: &str) -> Result<Conn, Error> {
        let version = *self.version.get_or_try_init(|| self.ask_version(cell)).await?;
        let since = settings::TENANT_SINCE.iter().filter(|(since, _)| version >= *since).map(|(_, setting)| setting);
        let settings: Vec<(&str, &str)> = settings::TENANT.iter().chain(since).copied().collect();
        let began = Instant::now();
        match self.login(role, database, &settings).await {
            Err(error) if is_wrong_password(&error) => {}
            other => return other,
        }
        let last_reset = self.role_passwords.last_reset(role);
        let mut last_reset = last_reset.lock().await;
        if last_reset.is_some_and(|at| at > began) {
            // Another request has reset it meanwhile.
            match self.login(role, database, &settings).await {
                Err(error) if is_wrong_password(&error) => {}
                other => return other,
            }
        }
        let admin = self.administer_cell(cell);
        self.role_passwords.reset(role, &self.verifier(role), &mut last_reset, admin).await?;
        match self.login(role, database, &settings).await {
            Err(error) if is_wrong_password(&error) => Err(role_passwords::keeps_changing()),
            other => other,
        }
    }

    async fn ask_version(&self, cell: u32) -> Result<u32, Error> {
        let mut admin = self.administer_cell(cell).await?;
        let sql = "SELECT current_setting('server_version_num')::integer / 10000 AS version";
        admin.query(sql, &[]).await?.get(0, "version")
    }

    async fn login(&self, role: &str, database: &str, settings: &[(&str, &str)]) -> Result<Conn, Error> {
        let password = self.password(role);
        let login = Login { user: role, password: password.expose(), database, settings };
        Conn::open(&self.target, &login).await
    }
}

/// A tenant may also store a password with more rounds than a client computes; that log-in fails in the client.
fn is_wrong_password(error: &Error) -> bool {
    matches!(error, Error::Auth(_)) || matches!(error, Error::Server(error) if error.code == "28P01")
}

impl Connect for Cells {
    fn open<'a>(&'a self, key: &'a Key) -> Doing<'a, Conn> {
        Box::pin(async move {
            if &*key.role == CONTROL_ROLE {
                return self.control().await;
            }
            match self.tenant(key.cell, &key.role, &key.database).await {
                // The role may not log in: another process has suspended the workspace.
                Err(Error::Server(error)) if error.code == "28000" => Err(Error::Suspended(key.database.to_string())),
                other => other,
            }
        })
    }
}

impl pg::watchdog::Admin for Cells {
    fn open(&self, _cell: u32) -> Doing<'_, Conn> {
        Box::pin(self.control())
    }

    fn is_tenants(&self, backend: &Backend) -> bool {
        &*backend.role != CONTROL_ROLE
    }

    fn stuck<'a>(&'a self, backend: &'a Backend) -> Doing<'a, ()> {
        Box::pin(self.suspend(backend))
    }

    fn unstuck<'a>(&'a self, backend: &'a Backend) -> Doing<'a, ()> {
        Box::pin(self.let_in(backend))
    }
}

/// A quoted identifier, for statements that take no parameters (such as CREATE ROLE).
pub fn name(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// A string literal, for the same statements.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
