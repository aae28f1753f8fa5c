//! What a database server must have for Kith, looked at one by one.

use pg::{Conn, Error};

use crate::store::cell::server::DatabaseServer;

/// One thing that was looked at.
#[derive(Debug)]
pub struct Finding {
    /// Whether it is as it must be.
    pub good: bool,
    /// What was found, and what to do about it.
    pub text: String,
}

/// The oldest version that will do, as `server_version_num`.
const OLDEST_VERSION: u32 = 160_000;
/// Extensions that a workspace has (agentCRM seed, "Preinstalled Postgres extensions").
const EXTENSIONS: &[&str] = &["citext", "pg_trgm", "vector", "pgcrypto"];

impl DatabaseServer {
    /// ReadBatcher at the server.
    pub async fn examine(&self) -> Result<Vec<Finding>, String> {
        let mut conn = self
            .cells
            .administer_cell(0)
            .await
            .map_err(|error| format!("can't log in to the database server: {error}"))?;
        look(&mut conn).await.map_err(|error| error.to_string())
    }
}

async fn look(conn: &mut Conn) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let mut note = |good: bool, text: String| findings.push(Finding { good, text });

    let version: u32 = setting(conn, "server_version_num").await?.parse().unwrap_or(0);
    let version_text = setting(conn, "server_version").await?;
    note(version >= OLDEST_VERSION, format!("PostgreSQL {version_text} (16 or newer is needed)"));

    for extension in EXTENSIONS {
        let found = conn
            .query("SELECT default_version FROM pg_available_extensions WHERE name = $1", &[Some(extension)])
            .await?;
        let text = match found.is_empty() {
            false => format!("extension {extension} {}", found.get::<String>(0, "default_version")?),
            true => format!(
                "extension {extension} is not installed on the server (package postgresql-contrib, or postgresql-16-pgvector for vector)"
            ),
        };
        note(!found.is_empty(), text);
    }

    let me = conn.query("SELECT rolname, rolsuper FROM pg_roles WHERE rolname = current_user", &[]).await?;
    let (name, is_superuser): (String, String) = (me.get(0, "rolname")?, me.get(0, "rolsuper")?);
    note(
        is_superuser == "t",
        format!(
            "role {name} is {}a superuser (event triggers guard the tenants)",
            if is_superuser == "t" { "" } else { "not " }
        ),
    );

    for (name, good, why) in [
        ("fsync", "on", "acknowledged writes must survive a crash"),
        ("full_page_writes", "on", "acknowledged writes must survive a crash"),
        ("synchronous_commit", "on", "acknowledged writes must survive a crash"),
        ("max_prepared_transactions", "0", "a tenant's prepared transaction would hold locks for ever"),
        (
            "autovacuum",
            "off",
            "its workers evaluate workspaces' index expressions without a limit of time; Kith vacuums in sessions of the workspaces' own",
        ),
    ] {
        let value = setting(conn, name).await?;
        note(value == good, format!("{name} = {value} ({good} is needed: {why})"));
    }
    for (name, least, why) in [
        ("max_connections", 150, "Kith keeps up to 126 connections"),
        ("max_locks_per_transaction", 256, "one tenant could fill the lock table of all"),
    ] {
        let value: i64 = setting(conn, name).await?.parse().unwrap_or(0);
        note(value >= least, format!("{name} = {value} (at least {least} is needed: {why})"));
    }
    Ok(findings)
}

async fn setting(conn: &mut Conn, name: &str) -> Result<String, Error> {
    conn.query("SELECT current_setting($1) AS value", &[Some(name)]).await?.get(0, "value")
}
