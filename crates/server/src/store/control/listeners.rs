//! Who listens to the events of workspaces.

use crm::model::fault::Fault;
use crm::model::value::array_of_texts;
use crm::plan::events::Snapshot;

use crate::store::cell::TenantDatabase;
use crate::store::control::Control;
use crate::store::control::webhooks::Holder;
use crate::store::control::workspaces::tenant_database;

/// A webhook endpoint that is enabled.
#[derive(Clone, Debug)]
pub struct Listener {
    /// `whep_…`
    pub id: String,
    /// The dialect of its events.
    pub dialect: String,
    /// The patterns of its events.
    pub events: Vec<String>,
    /// The snapshot of the workspace's database when it was enabled. It gets no events of what came before.
    pub since: Snapshot,
    /// The same, as PostgreSQL writes it.
    pub since_text: String,
}

/// A workspace in a mode that somebody listens to.
#[derive(Clone, Debug)]
pub struct Listened {
    /// `ws_…`
    pub workspace_id: String,
    /// `live` or `test`
    pub mode: String,
    /// The database with the data.
    pub place: TenantDatabase,
}

impl Control {
    /// The enabled endpoints of a workspace, in the order of their creation.
    pub async fn listeners(&self, holder: Holder<'_>) -> Result<Vec<Listener>, Fault> {
        let sql = "SELECT id, dialect, to_json(events)::text AS events, since FROM webhook_endpoints
                   WHERE workspace_id = $1 AND mode = $2 AND enabled ORDER BY created_at, id";
        self.query(sql, &[Some(holder.workspace_id), Some(holder.mode)]).await?.all(|row| {
            let (events, since_text): (String, String) = (row.get("events")?, row.get("since")?);
            Ok(Listener {
                id: row.get("id")?,
                dialect: row.get("dialect")?,
                events: serde_json::from_str(&events).map_err(Fault::internal)?,
                since: Snapshot::parse(&since_text).ok_or_else(|| Fault::internal("a snapshot that is none"))?,
                since_text,
            })
        })
    }

    /// All workspaces that somebody listens to.
    pub async fn listened(&self) -> Result<Vec<Listened>, Fault> {
        let sql = "SELECT d.workspace_id, d.mode, d.id, d.cell_id, d.name, d.role, d.version FROM databases AS d
                   WHERE d.state = 'taken' AND EXISTS (
                       SELECT FROM webhook_endpoints AS e WHERE e.workspace_id = d.workspace_id AND e.mode = d.mode AND e.enabled
                       UNION ALL
                       SELECT FROM automations AS a WHERE a.workspace_id = d.workspace_id AND a.mode = d.mode AND a.enabled)";
        self.query(sql, &[]).await?.all(|row| {
            let (workspace_id, mode) = (row.get("workspace_id")?, row.get("mode")?);
            Ok(Listened { workspace_id, mode, place: tenant_database(row)? })
        })
    }

    /// How many rows were written in each of these databases since the statistics were reset. Writes of direct connections
    /// show here too.
    pub async fn rows_written(&self, databases: &[String]) -> Result<Vec<(String, i64)>, Fault> {
        let sql = "SELECT datname, tup_inserted + tup_updated + tup_deleted AS written FROM pg_catalog.pg_stat_database
                   WHERE datname = ANY ($1::text[])";
        let databases = array_of_texts(databases);
        self.query(sql, &[Some(&databases)]).await?.all(|row| Ok((row.get("datname")?, row.get("written")?)))
    }
}
