//! Numbered migrations: of the control database, of the template, and of workspaces that an older Kith created.
//!
//! A workspace migration has sections (migrations/workspace/README.md). Statements that change a tenant's tables run in a
//! session that logged in as the tenant. A privileged session changes only objects that Kith owns.

use std::collections::HashSet;

use pg::{Conn, Error};
use ring::digest;

use crm::model::fault::Fault;

use crate::store::Store;
use crate::store::cell::{Cells, TenantDatabase, literal, name};
use crate::store::control::Control;

/// The control database's migrations, in order; the first is version 1.
const CONTROL: &[&str] = &[
    include_str!("../../../migrations/control/0001_base.sql"),
    include_str!("../../../migrations/control/0002_people.sql"),
    include_str!("../../../migrations/control/0003_sign_ins.sql"),
    include_str!("../../../migrations/control/0004_invited_addresses.sql"),
    include_str!("../../../migrations/control/0005_plans.sql"),
    include_str!("../../../migrations/control/0006_webhooks.sql"),
    include_str!("../../../migrations/control/0007_automations.sql"),
    include_str!("../../../migrations/control/0008_email.sql"),
    include_str!("../../../migrations/control/0010_request_log.sql"),
    include_str!("../../../migrations/control/0011_deleted_workspaces.sql"),
    include_str!("../../../migrations/control/0012_connected_apps.sql"),
    include_str!("../../../migrations/control/0013_inbound.sql"),
    include_str!("../../../migrations/control/0014_email_attempts.sql"),
    include_str!("../../../migrations/control/0015_outgoing_accounts.sql"),
    include_str!("../../../migrations/control/0016_bounded_queues.sql"),
];

/// The workspace databases' migrations, in order; the first is version 1.
pub const WORKSPACE: &[&str] = &[
    include_str!("../../../migrations/workspace/0001_privileges.sql"),
    include_str!("../../../migrations/workspace/0002_guards.sql"),
    include_str!("../../../migrations/workspace/0003_identity_and_feed.sql"),
    include_str!("../../../migrations/workspace/0004_triggers.sql"),
    include_str!("../../../migrations/workspace/0005_tables.sql"),
    include_str!("../../../migrations/workspace/0006_pipelines.sql"),
    include_str!("../../../migrations/workspace/0007_custom_fields.sql"),
    include_str!("../../../migrations/workspace/0008_associations.sql"),
    include_str!("../../../migrations/workspace/0009_addresses.sql"),
    include_str!("../../../migrations/workspace/0010_search.sql"),
    include_str!("../../../migrations/workspace/0011_requests.sql"),
    include_str!("../../../migrations/workspace/0012_direct_sessions.sql"),
    include_str!("../../../migrations/workspace/0013_change_log.sql"),
    include_str!("../../../migrations/workspace/0014_runs.sql"),
    include_str!("../../../migrations/workspace/0015_events.sql"),
    include_str!("../../../migrations/workspace/0016_email.sql"),
    include_str!("../../../migrations/workspace/0017_inbound.sql"),
    include_str!("../../../migrations/workspace/0018_conversations.sql"),
    include_str!("../../../migrations/workspace/0019_run_effects.sql"),
    include_str!("../../../migrations/workspace/0020_published_position.sql"),
    include_str!("../../../migrations/workspace/0021_merge.sql"),
    include_str!("../../../migrations/workspace/0022_undo_rows.sql"),
    include_str!("../../../migrations/workspace/0023_undo.sql"),
];

/// Gives a new clone of the template to a workspace's roles.
const ADOPT: &str = include_str!("../../../migrations/workspace/adopt.sql");

/// Lets only one process at a time set up an installation.
const SETUP_LOCK: &str = "SELECT pg_advisory_lock(7236455901)";

/// The start of every section. No schema in which a tenant may create objects is searched (settings::ADMINISTRATOR).
const PINNED_PATH: &str = "SET search_path = pg_catalog, pg_temp;";

/// The shape of the built-in tables, one line per part (migrations/workspace/0002_guards.sql).
const SHAPE: &str = "SELECT jsonb_build_array(relation, kind, name, value)::text AS line FROM kith_guard.shape";

/// The role that runs a section of a workspace migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    /// The cell's administrator: extensions, guards.
    Admin,
    /// The role that owns the feed and the `kith` schema.
    System,
    /// The workspace's own role.
    Workspace,
}

/// The roles that a section's placeholders stand for.
#[derive(Clone, Copy, Debug)]
struct Roles<'a> {
    workspace: &'a str,
    system: &'a str,
    viewer: &'a str,
}

/// The roles in a template.
const TEMPLATE_ROLES: Roles<'_> = Roles { workspace: "kith_tpl", system: "kith_tpl_s", viewer: "kith_tpl_r" };

/// Splits a migration into its sections.
fn sections(migration: &str) -> Vec<(Section, String)> {
    let mut found: Vec<(Section, String)> = Vec::new();
    for line in migration.lines() {
        let section = match line.trim() {
            "-- section: admin" => Some(Section::Admin),
            "-- section: system" => Some(Section::System),
            "-- section: workspace" => Some(Section::Workspace),
            _ => None,
        };
        match (section, found.last_mut()) {
            (Some(section), _) => found.push((section, String::new())),
            (None, Some((_, body))) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

impl Roles<'_> {
    fn fill(&self, sql: &str) -> String {
        sql.replace("{{workspace}}", &name(self.workspace))
            .replace("{{system}}", &name(self.system))
            .replace("{{viewer}}", &name(self.viewer))
    }
}

/// Brings the control database up to date. Only one process at a time does it.
pub async fn control(conn: &mut Conn) -> Result<(), Error> {
    conn.query(SETUP_LOCK, &[]).await?;
    conn.script("CREATE TABLE IF NOT EXISTS migrations (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())")
        .await?;
    let rows = conn.query("SELECT COALESCE(max(version), 0) AS version FROM migrations", &[]).await?;
    let current: usize = rows.get(0, "version")?;
    for (version, migration) in CONTROL.iter().enumerate().skip(current).map(|(at, sql)| (at + 1, sql)) {
        // A script of the simple protocol is one transaction.
        conn.script(&format!("{migration};\nINSERT INTO migrations (version) VALUES ({version});")).await?;
        tracing::info!(version, "migrated the control database");
    }
    conn.query("SELECT pg_advisory_unlock(7236455901)", &[]).await?;
    Ok(())
}

/// The template's name: its version and a hash of its migrations, so that another build never uses it.
pub fn template_name(migrations: &[&str]) -> String {
    let hash = digest::digest(&digest::SHA256, migrations.concat().as_bytes());
    format!("kith_template_{}_{}", migrations.len(), hex::encode(&hash.as_ref()[..4]))
}

/// Builds the template of these migrations on a cell, if the cell does not have it.
pub async fn ensure_template(cells: &Cells, control: &Control, cell: u32, migrations: &[&str]) -> Result<(), Error> {
    let mut admin = cells.administer_cell(cell).await?;
    admin.query(SETUP_LOCK, &[]).await?;
    let template = template_name(migrations);
    if !admin.query("SELECT FROM pg_database WHERE datname = $1", &[Some(&template)]).await?.is_empty() {
        return Ok(());
    }
    let Roles { workspace, system, viewer } = TEMPLATE_ROLES;
    for role in [workspace, system, viewer] {
        if admin.query("SELECT FROM pg_roles WHERE rolname = $1", &[Some(role)]).await?.is_empty() {
            admin.script(&format!("CREATE ROLE {} NOLOGIN", name(role))).await?;
        }
    }
    let part = format!("{template}_part");
    admin.query(&format!("DROP DATABASE IF EXISTS {}", name(&part)), &[]).await?;
    admin.query(&format!("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'", name(&part)), &[]).await?;
    admin.script(&format!("REVOKE ALL ON DATABASE {} FROM PUBLIC", name(&part))).await?;
    let mut inside = cells.administer(cell, &part).await?;
    for migration in migrations {
        for (section, body) in sections(migration) {
            let body = TEMPLATE_ROLES.fill(&body);
            let script = match section {
                Section::Admin => body,
                Section::System => format!("SET ROLE {};\n{body}\n;RESET ROLE;", name(system)),
                Section::Workspace => {
                    let (begin, end) = (begin_section(workspace, inside.pid()), end_section(workspace));
                    format!("{begin}\nSET ROLE {};\n{body}\n;RESET ROLE;\n{end}", name(workspace))
                }
            };
            inside.script(&format!("{PINNED_PATH}\n{script}")).await?;
        }
    }
    let shape = serde_json::Value::from(shape(&mut inside).await?).to_string();
    let key = format!("shape of {template}");
    let keep = "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    control.try_query(keep, &[Some(&key), Some(&shape)]).await?;
    freeze_catalogs(&mut inside).await?;
    drop(inside);
    wait_until_left(&mut admin, &part).await?;
    // Databases belong to the whole server. If the template's roles had rights on this one, the first clones would revoke them
    // (adopt.sql), and of two at a time one would fail: "tuple concurrently updated".
    let all = [workspace, system, viewer].map(name).join(", ");
    admin.script(&format!("REVOKE ALL ON DATABASE {} FROM {all}", name(&part))).await?;
    admin.script(&format!("ALTER DATABASE {} RENAME TO {}", name(&part), name(&template))).await?;
    admin.script(&format!("ALTER DATABASE {} IS_TEMPLATE true ALLOW_CONNECTIONS false", name(&template))).await?;
    tracing::info!(template, "built the template database");
    Ok(())
}

/// Lets a backend pass the guards and use the functions of Kith's triggers.
fn begin_section(role: &str, pid: i32) -> String {
    format!("SELECT kith_guard.begin_section({}::regrole, {pid});", literal(&name(role)))
}

fn end_section(role: &str) -> String {
    format!("SELECT kith_guard.end_section({}::regrole);", literal(&name(role)))
}

async fn shape(conn: &mut Conn) -> Result<Vec<String>, Error> {
    let rows = conn.query(SHAPE, &[]).await?;
    (0..rows.len()).map(|row| rows.get(row, "line")).collect()
}

/// Freezes the template's catalogs, so that clones don't have to. The built-in tables are left out: with statistics that say
/// they are empty, they would be planned for as empty.
async fn freeze_catalogs(conn: &mut Conn) -> Result<(), Error> {
    let catalogs = "SELECT string_agg(oid::regclass::text, ', ') AS tables FROM pg_class
                    WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND NOT relisshared";
    let tables: String = conn.query(catalogs, &[]).await?.get(0, "tables")?;
    conn.query(&format!("VACUUM (FREEZE, ANALYZE) {tables}"), &[]).await.map(|_| ())
}

/// Waits until a database has no sessions. A closed session takes a moment to disappear.
async fn wait_until_left(admin: &mut Conn, database: &str) -> Result<(), Error> {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
    while !admin.query(sql, &[Some(database)]).await?.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Gives a new clone to a workspace: ownership, grants, secrets. No tenant has connected to it yet.
pub async fn adopt(cells: &Cells, place: &TenantDatabase, begin_secret: &str) -> Result<(), Error> {
    let roles = Roles { workspace: &place.role, system: &place.system, viewer: &place.viewer };
    let sql = roles.fill(ADOPT).replace("{{secret}}", &literal(begin_secret));
    cells.administer(place.cell, &place.database).await?.script(&sql).await
}

/// Brings a workspace's database up to these migrations. Sections can be run again after a crash.
async fn workspace(cells: &Cells, control: &Control, place: &TenantDatabase, migrations: &[&str]) -> Result<(), Error> {
    let roles = Roles { workspace: &place.role, system: &place.system, viewer: &place.viewer };
    let mut admin = cells.administer(place.cell, &place.database).await?;
    // One process at a time does it. The next process finds it done.
    admin.query(SETUP_LOCK, &[]).await?;
    let id = place.database_id.to_string();
    let rows = control.try_query("SELECT version FROM databases WHERE id = $1::bigint", &[Some(&id)]).await?;
    let current = if rows.is_empty() { place.version } else { rows.get(0, "version")? };
    for (number, migration) in (1..).zip(migrations).filter(|(number, _)| *number > current) {
        for (section, body) in sections(migration) {
            let body = format!("{PINNED_PATH}\n{}", roles.fill(&body));
            match section {
                Section::Admin => admin.script(&body).await?,
                Section::System => {
                    let enter = format!("SET ROLE {};\n{body};\nRESET ROLE;", name(&place.system));
                    admin.script(&enter).await?;
                }
                Section::Workspace => workspace_section(cells, place, &mut admin, &body).await?,
            }
        }
        tracing::info!(database = &*place.database, version = number, "migrated a workspace's database");
    }
    mend(cells, place, &mut admin).await?;
    keep_shape(&mut admin, control, &template_name(migrations)).await?;
    let version = migrations.len().to_string();
    let done = "UPDATE databases SET version = $2::integer WHERE id = $1::bigint";
    control.try_query(done, &[Some(&id), Some(&version)]).await?;
    Ok(())
}

/// Runs a workspace section in a session of the workspace's role.
async fn workspace_section(cells: &Cells, place: &TenantDatabase, admin: &mut Conn, body: &str) -> Result<(), Error> {
    let mut tenant = cells.tenant(place.cell, &place.role, &place.database).await?;
    admin.script(&begin_section(&place.role, tenant.pid())).await?;
    let done = tenant.script(body).await;
    admin.script(&end_section(&place.role)).await?;
    done
}

/// Removes objects that a workspace can have only because of a hole in the guards of an older version. The key that signs
/// contexts is replaced, because code that used such a hole may have read it.
async fn mend(cells: &Cells, place: &TenantDatabase, admin: &mut Conn) -> Result<(), Error> {
    admin.script("SELECT kith_guard.mend_rights()").await?;
    let mut tenant = cells.tenant(place.cell, &place.role, &place.database).await?;
    // Triggers of the workspace may refuse it. Then the index can't be rebuilt, and the upgrade stops there.
    if let Err(error) = tenant.script("SELECT kith.hide_duplicates()").await {
        tracing::warn!(%error, database = &*place.database, "can't hide records that have the same key");
    }
    drop(tenant);
    workspace_section(cells, place, admin, &format!("{PINNED_PATH} SELECT kith.mend_builtins()")).await?;
    admin.script("SELECT kith_guard.renew_key()").await
}

/// Makes the guards keep the built-in tables as they are now, if they are like the template's.
async fn keep_shape(admin: &mut Conn, control: &Control, template: &str) -> Result<(), Error> {
    let key = format!("shape of {template}");
    let rows = control.try_query("SELECT value FROM meta WHERE key = $1", &[Some(&key)]).await?;
    let wanted: Vec<String> = serde_json::from_str(&rows.get::<String>(0, "value")?)
        .map_err(|error| Error::Protocol(format!("the template's shape can't be read: {error}")))?;
    let found: HashSet<String> = shape(admin).await?.into_iter().collect();
    match wanted.iter().find(|line| !found.contains(*line)) {
        None => admin.query("SELECT kith_guard.snapshot()", &[]).await.map(|_| ()),
        Some(line) => Err(Error::Protocol(format!("after its migration the database lacks {line}"))),
    }
}

impl Store {
    /// Brings a workspace's database up to date if an older Kith created it. If many callers arrive at once, one of them does
    /// it. Every use of a workspace's database starts with this.
    pub async fn ready(&self, database: &TenantDatabase) -> Result<(), Fault> {
        if database.version >= self.workspace_version() {
            return Ok(());
        }
        // On the heap, like all that most calls do not need.
        Box::pin(self.bring_up_to_date(database)).await
    }

    async fn bring_up_to_date(&self, database: &TenantDatabase) -> Result<(), Fault> {
        let cache = self.catalogs.of(database);
        let upgrade = async || {
            let upgraded = workspace(&self.cells, &self.control, database, self.migrations).await;
            cache.forget();
            upgraded.map_err(|error| {
                tracing::error!(%error, database = &*database.database, "can't bring a workspace up to date");
                Fault::Unavailable { retry_after: 30, message: "The workspace is being brought up to date.".into() }
            })
        };
        cache.up_to_date.get_or_try_init(upgrade).await.copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_is_split_at_its_section_lines() {
        let found = sections("-- head\n-- section: admin\nA;\n-- section: workspace\nB;\nC;\n");
        assert_eq!(found, [(Section::Admin, "A;\n".to_owned()), (Section::Workspace, "B;\nC;\n".to_owned())]);
    }
}
