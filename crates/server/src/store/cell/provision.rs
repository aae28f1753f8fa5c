//! Tenant databases: cloned from the template ahead of time, handed out, dropped.

use std::sync::Arc;
use std::time::Duration;

use pg::{Conn, Error};
use tokio::sync::Notify;

use crm::model::id;

use crate::clock::random;
use crate::store::Store;
use crate::store::cell::direct::LOCK;
use crate::store::cell::migrate;
use crate::store::cell::{CONTROL_DATABASE, CONTROL_ROLE, Cells, TenantDatabase, literal, name};
use crate::store::control::NewWorkspace;

/// Connections that a workspace's API role may have open: REST's, SQL's and a few to spare.
const CONNECTION_LIMIT: u32 = 30;

/// Makes what an installation needs before anything else: Kith's own role and database, the control tables, the
/// template. Refuses a secret key that is not the one the installation was made with.
pub async fn set_up(store: &Store, cells: &Cells, key_check: &str) -> Result<(), Error> {
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
    let mut control = cells.control().await.map_err(explain_wrong_key)?;
    migrate::control(&mut control).await?;
    check_key(&mut control, key_check).await?;
    control.query("INSERT INTO cells (id, name) VALUES (0, 'first') ON CONFLICT DO NOTHING", &[]).await?;
    migrate::ensure_template(cells, &store.control, 0, store.migrations).await?;
    store.sweep_databases().await
}

/// No tenant's role has any business in a database that is not its own.
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

fn explain_wrong_key(error: Error) -> Error {
    match error {
        Error::Server(error) if error.code == "28P01" => Error::Config(
            "the secret key is not the one that this database was set up with (KITH_SECRET_KEY, or secret_key in the data dir)".into(),
        ),
        other => other,
    }
}

async fn check_key(control: &mut Conn, check: &str) -> Result<(), Error> {
    control
        .query("INSERT INTO meta (key, value) VALUES ('key_check', $1) ON CONFLICT DO NOTHING", &[Some(check)])
        .await?;
    let rows = control.query("SELECT value FROM meta WHERE key = 'key_check'", &[]).await?;
    if rows.get::<String>(0, "value")? == check {
        return Ok(());
    }
    Err(Error::Config(
        "the secret key is not the one that this database was set up with (KITH_SECRET_KEY, or secret_key in the data dir)".into(),
    ))
}

impl Store {
    /// Clones the template, makes it a workspace's own, and marks it warm.
    pub async fn make_database(&self, cell: u32) -> Result<(), Error> {
        let random_name = format!("w_{}", id::token(&random::<20>()));
        let (cell_text, version) = (cell.to_string(), self.workspace_version().to_string());
        let rows = self
            .control
            .query(
                "INSERT INTO databases (cell_id, name, role, version, state)
                 VALUES ($1::integer, $2, $2, $3::integer, 'making') RETURNING id",
                &[Some(&cell_text), Some(&random_name), Some(&version)],
            )
            .await?;
        let place = TenantDatabase::new(rows.get(0, "id")?, cell, &random_name, &random_name);
        self.clone_template(&place, &migrate::template_name(self.migrations)).await?;
        let id = place.database_id.to_string();
        self.control.query("UPDATE databases SET state = 'warm' WHERE id = $1::bigint", &[Some(&id)]).await?;
        Ok(())
    }

    /// Hands a warm database out to a new workspace; makes one where none is warm.
    pub async fn create_workspace(&self, new: &NewWorkspace<'_>) -> Result<(), Error> {
        loop {
            if self.control.take_database(self.workspace_version(), new).await? {
                return Ok(());
            }
            self.make_one_for_now().await?;
        }
    }

    /// Sees to it that a workspace has a database for its test data. Of many who come at once one makes it; who crashes
    /// half-way leaves a warm database behind, or none. True where it was made just now.
    pub async fn ensure_test_database(&self, workspace_id: &str) -> Result<bool, Error> {
        loop {
            if self.control.has_test_database(workspace_id).await? {
                return Ok(false);
            }
            match self.control.take_test_database(self.workspace_version(), workspace_id).await {
                Ok(true) => return Ok(true),
                Ok(false) => self.make_one_for_now().await?,
                Err(Error::Server(error)) if error.code == "23505" => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Clones of one template go one after the other in PostgreSQL anyway.
    async fn make_one_for_now(&self) -> Result<(), Error> {
        let _turn = self.making.lock().await;
        if self.warm_databases().await? == 0 {
            return self.make_database(0).await;
        }
        // Another makes one just now.
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
        // A clone does not inherit the template's rights: without this PUBLIC could connect.
        admin
            .script(&format!(
                "REVOKE ALL ON DATABASE {database} FROM PUBLIC;
                 GRANT CONNECT ON DATABASE {database} TO {role}, {viewer};
                 ALTER DATABASE {database} ALLOW_CONNECTIONS true;"
            ))
            .await?;
        migrate::adopt(&self.cells, place, self.secret_of(place).expose()).await
    }

    /// Drops a database and its roles, and forgets it.
    pub async fn drop_database(&self, place: &TenantDatabase) -> Result<(), Error> {
        let id = place.database_id.to_string();
        self.control
            .query(
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
        self.control.query("DELETE FROM databases WHERE id = $1::bigint", &[Some(&id)]).await?;
        Ok(())
    }

    /// Drops what a crash left half made or half dropped, and warm databases of an older template. A database that
    /// another process is making right now is younger than ten minutes.
    pub async fn sweep_databases(&self) -> Result<(), Error> {
        let version = self.workspace_version().to_string();
        let rows = self
            .control
            .query(
                "UPDATE databases SET state = 'dropping' WHERE state = 'dropping'
                    OR (state = 'making' AND created_at < now() - interval '10 minutes')
                    OR (state = 'warm' AND version <> $1::integer)
                 RETURNING id, cell_id, name, role",
                &[Some(&version)],
            )
            .await?;
        for row in 0..rows.len() {
            let (database, role): (String, String) = (rows.get(row, "name")?, rows.get(row, "role")?);
            self.drop_database(&TenantDatabase::new(rows.get(row, "id")?, rows.get(row, "cell_id")?, &database, &role))
                .await?;
        }
        Ok(())
    }

    /// How many databases are ready to be handed out, or will be in a moment. One that takes longer may be a crashed process's.
    async fn warm_databases(&self) -> Result<usize, Error> {
        let version = self.workspace_version().to_string();
        let sql = "SELECT count(*) AS warm FROM databases WHERE state IN ('warm', 'making') AND version = $1::integer
                   AND (state = 'warm' OR created_at > now() - interval '10 seconds')";
        self.control.query(sql, &[Some(&version)]).await?.get(0, "warm")
    }
}

/// Keeps `target` databases warm, for ever; `wanted` wakes it after one was handed out.
pub async fn keep_warm(store: Store, target: usize, wanted: Arc<Notify>) {
    loop {
        match refill(&store, target).await {
            Ok(()) => {
                let _ = tokio::time::timeout(Duration::from_secs(30), wanted.notified()).await;
            }
            Err(error) => {
                tracing::error!(%error, "can't make a database ahead of time; trying again");
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
    }
}

async fn refill(store: &Store, target: usize) -> Result<(), Error> {
    while store.warm_databases().await? < target {
        store.make_database(0).await?;
    }
    Ok(())
}
