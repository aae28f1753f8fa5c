//! Tenant databases: cloned from the template ahead of time, given to workspaces, dropped.

use std::time::Duration;

use pg::{Conn, Error};

use crm::model::fault::Fault;
use crm::model::id;

use crate::clock::random;
use crate::store::cell::direct::LOCK;
use crate::store::cell::{CONTROL_DATABASE, CONTROL_ROLE, Cells, TenantDatabase, literal, name};
use crate::store::cell::{migrate, rotate};
use crate::store::control::workspaces::{NewWorkspace, TestDatabase};
use crate::store::secrets::SecretKeys;
use crate::store::{Store, fault};

/// Connections of a workspace's API role: for REST, for SQL and a few spare ones.
pub(super) const CONNECTION_LIMIT: u32 = 30;

/// Sets up an installation: Kith's own role and database, the control tables, the template. Refuses a secret key that differs
/// from the one with which the installation was set up, unless that one is given too: then the key is replaced everywhere.
pub async fn set_up(store: &Store, cells: &Cells, keys: &SecretKeys) -> Result<(), Error> {
    let mut admin = cells.administer_cell(0).await?;
    let role = name(CONTROL_ROLE);
    if admin.query("SELECT FROM pg_roles WHERE rolname = $1", &[Some(CONTROL_ROLE)]).await?.is_empty() {
        let password = literal(&cells.verifier(CONTROL_ROLE));
        admin.script(&format!("CREATE ROLE {role} LOGIN PASSWORD {password}; GRANT pg_signal_backend, pg_read_all_stats, pg_use_reserved_connections TO {role};")).await?;
    }
    if admin.query("SELECT FROM pg_database WHERE datname = $1", &[Some(CONTROL_DATABASE)]).await?.is_empty() {
        admin
            .query(
                &format!("CREATE DATABASE {} OWNER {role} TEMPLATE template0 ENCODING 'UTF8'", name(CONTROL_DATABASE)),
                &[],
            )
            .await?;
    }
    close_to_public(&mut admin).await?;
    let mut control = rotate::control(cells, keys).await?;
    migrate::control(&mut control).await?;
    rotate::replace_key(store, cells, keys, &mut control).await?;
    control.query("INSERT INTO cells (id, name) VALUES (0, 'first') ON CONFLICT DO NOTHING", &[]).await?;
    migrate::ensure_template(cells, &store.control, 0, store.migrations).await?;
    store.let_in_forgotten().await?;
    store.drop_leftovers().await
}

/// Closes every database to roles without a grant: a tenant's role may connect only to its own database.
async fn close_to_public(admin: &mut Conn) -> Result<(), Error> {
    let rows = admin
        .query(
            "SELECT datname FROM pg_database WHERE datallowconn AND (datacl IS NULL OR EXISTS (
                 SELECT FROM aclexplode(datacl) AS a WHERE a.grantee = 0 AND a.privilege_type IN ('CONNECT', 'TEMPORARY')))",
            &[],
        )
        .await?;
    for row in 0..rows.len() {
        let database: String = rows.get(row, "datname")?;
        admin.script(&format!("REVOKE ALL ON DATABASE {} FROM PUBLIC", name(&database))).await?;
    }
    Ok(())
}

impl Store {
    /// Creates a warm database: clones the template and gives the clone its own roles.
    pub async fn make_database(&self, cell: u32) -> Result<(), Fault> {
        self.try_make_database(cell).await.map_err(fault::of_own_statement)
    }

    async fn try_make_database(&self, cell: u32) -> Result<(), Error> {
        let random_name = format!("w_{}", id::token(&random::<20>()));
        let (cell_text, version) = (cell.to_string(), self.workspace_version().to_string());
        let rows = self
            .control
            .try_query(
                "INSERT INTO databases (cell_id, name, role, version, state)
                 VALUES ($1::integer, $2, $2, $3::integer, 'making') RETURNING id",
                &[Some(&cell_text), Some(&random_name), Some(&version)],
            )
            .await?;
        let version = self.workspace_version();
        let place = TenantDatabase::new(rows.get(0, "id")?, cell, &random_name, &random_name, version);
        self.clone_template(&place, &migrate::template_name(self.migrations)).await?;
        let id = place.database_id.to_string();
        self.control.try_query("UPDATE databases SET state = 'warm' WHERE id = $1::bigint", &[Some(&id)]).await?;
        Ok(())
    }

    /// Creates a workspace with a warm database. If no database is warm, creates one first.
    pub async fn create_workspace(&self, new: &NewWorkspace<'_>) -> Result<(), Fault> {
        while !self.control.create_workspace(self.workspace_version(), new).await? {
            self.make_one_now().await.map_err(fault::of_own_statement)?;
        }
        Ok(())
    }

    /// Ensures that a workspace has a database for its test data. If many requests arrive at once, one of them creates it. A
    /// crash half-way leaves at most a warm database. Returns whether it was created now.
    pub async fn ensure_test_database(&self, workspace_id: &str) -> Result<bool, Fault> {
        while !self.control.has_test_database(workspace_id).await? {
            match self.control.take_test_database(self.workspace_version(), workspace_id).await? {
                TestDatabase::Taken => return Ok(true),
                TestDatabase::Present => return Ok(false),
                TestDatabase::NoneWarm => self.make_one_now().await.map_err(fault::of_own_statement)?,
            }
        }
        Ok(false)
    }

    /// Creates a database unless another request does. PostgreSQL creates clones of one template one at a time anyway.
    async fn make_one_now(&self) -> Result<(), Error> {
        let _turn = self.making.lock().await;
        if self.warm_databases().await? == 0 {
            return self.try_make_database(0).await;
        }
        // Another request is creating one.
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(())
    }

    async fn clone_template(&self, place: &TenantDatabase, template: &str) -> Result<(), Error> {
        let (database, role, viewer, system) =
            (name(&place.database), name(&place.role), name(&place.viewer), name(&place.system));
        let mut admin = self.cells.administer_cell(place.cell).await?;
        let verifier = |role: &str| literal(&self.cells.verifier(role));
        admin
            .script(&format!(
                "CREATE ROLE {role} LOGIN NOINHERIT CONNECTION LIMIT {CONNECTION_LIMIT} PASSWORD {};
                 CREATE ROLE {viewer} LOGIN NOINHERIT CONNECTION LIMIT {CONNECTION_LIMIT} PASSWORD {};
                 CREATE ROLE {system} NOLOGIN NOINHERIT;",
                verifier(&place.role),
                verifier(&place.viewer),
            ))
            .await?;
        let template = name(template);
        admin
            .query(
                &format!("CREATE DATABASE {database} TEMPLATE {template} STRATEGY wal_log ALLOW_CONNECTIONS false"),
                &[],
            )
            .await?;
        // A clone does not inherit the template's rights. Without this, PUBLIC could connect.
        admin
            .script(&format!(
                "REVOKE ALL ON DATABASE {database} FROM PUBLIC;
                 GRANT CONNECT ON DATABASE {database} TO {role}, {viewer};
                 GRANT TEMPORARY ON DATABASE {database} TO {role};
                 ALTER DATABASE {database} ALLOW_CONNECTIONS true;"
            ))
            .await?;
        migrate::adopt(&self.cells, place, self.secret_of(place).expose()).await
    }

    /// Drops a database and its roles.
    pub async fn drop_database(&self, place: &TenantDatabase) -> Result<(), Fault> {
        self.try_drop_database(place).await.map_err(fault::of_own_statement)
    }

    /// Drops databases that a crash left half created or half dropped, and warm ones of an older template.
    pub async fn sweep_databases(&self) -> Result<(), Fault> {
        self.drop_leftovers().await.map_err(fault::of_own_statement)
    }

    /// Creates warm databases until there are `target`.
    pub async fn refill(&self, target: usize) -> Result<(), Fault> {
        while self.warm_databases().await.map_err(fault::of_own_statement)? < target {
            self.make_database(0).await?;
        }
        Ok(())
    }

    async fn try_drop_database(&self, place: &TenantDatabase) -> Result<(), Error> {
        let id = place.database_id.to_string();
        self.control
            .try_query(
                "UPDATE databases SET state = 'dropping', workspace_id = NULL, mode = NULL WHERE id = $1::bigint",
                &[Some(&id)],
            )
            .await?;
        self.pool.evict_database(place.cell, &place.database);
        let mut admin = self.cells.administer_cell(place.cell).await?;
        admin.query(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", name(&place.database)), &[]).await?;
        let pattern = format!("{}\\_%", place.role.replace('_', "\\_"));
        let rows = admin
            .query(
                "SELECT rolname FROM pg_roles WHERE rolname = $1 OR rolname LIKE $2",
                &[Some(&place.role), Some(&pattern)],
            )
            .await?;
        for row in 0..rows.len() {
            let role: String = rows.get(row, "rolname")?;
            admin.script(&format!("{LOCK} DROP ROLE IF EXISTS {};", name(&role))).await?;
        }
        self.control.try_query("DELETE FROM databases WHERE id = $1::bigint", &[Some(&id)]).await?;
        Ok(())
    }

    /// A database that another process is creating is younger than ten minutes.
    async fn drop_leftovers(&self) -> Result<(), Error> {
        let version = self.workspace_version().to_string();
        let rows = self
            .control
            .try_query(
                "UPDATE databases SET state = 'dropping' WHERE state = 'dropping'
                    OR (state = 'making' AND created_at < now() - interval '10 minutes')
                    OR (state = 'warm' AND version <> $1::integer)
                 RETURNING id, cell_id, name, role, version",
                &[Some(&version)],
            )
            .await?;
        for row in 0..rows.len() {
            self.try_drop_database(&TenantDatabase::read(&rows, row)?).await?;
        }
        Ok(())
    }

    /// How many databases are warm, or will be soon. One that takes longer may belong to a process that crashed.
    async fn warm_databases(&self) -> Result<usize, Error> {
        let version = self.workspace_version().to_string();
        let sql = "SELECT count(*) AS warm FROM databases WHERE state IN ('warm', 'making') AND version = $1::integer
                   AND (state = 'warm' OR created_at > now() - interval '10 seconds')";
        self.control.try_query(sql, &[Some(&version)]).await?.get(0, "warm")
    }
}
