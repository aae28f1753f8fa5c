//! The log of requests. It is written in batches by `crate::request_log`, never by a request.

use std::sync::Arc;

use crm::model::fault::Fault;
use crm::model::value::array_of_texts;
use crm::model::who::Mode;

use crate::clock::iso_ms;
use crate::store::control::Control;
use crate::store::control::lists::{First, PagedList};

/// The most requests of a workspace and mode that are kept.
const MOST_KEPT: usize = 100_000;

/// A workspace's requests. `$5` is the mode, `$6` and `$7` the lowest and highest status, `$8` the method or empty, `$9` the
/// earliest time or empty.
pub static REQUEST_LOG: PagedList = PagedList {
    columns: &[
        ("id", "r.id"),
        ("created_at", "r.created_at"),
        ("method", "r.method"),
        ("path", "r.path"),
        ("tool", "r.tool"),
        ("status", "r.status"),
        ("code", "r.code"),
        ("duration_ms", "round(r.duration_us / 1000.0, 1)"),
        ("actor", "r.actor"),
        ("actor_name", "coalesce(nullif(k.name, ''), nullif(u.name, ''), u.email)"),
        ("key_hint", "k.hint"),
        ("agent", "r.agent"),
    ],
    from: "request_log AS r
           LEFT JOIN api_keys AS k ON r.actor LIKE 'api\\_key:%' AND k.id = substr(r.actor, 9) AND k.workspace_id = r.workspace_id
           LEFT JOIN users AS u ON r.actor LIKE 'user:%' AND u.id = substr(r.actor, 6)",
    conditions: &[
        "r.workspace_id = $1",
        "r.mode = $5",
        "r.status BETWEEN $6::integer AND $7::integer",
        "($8 = '' OR r.method = $8)",
        "r.created_at >= coalesce(nullif($9, '')::timestamptz, '-infinity')",
    ],
    order: ["created_at", "id"],
    first: First::Newest,
};

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct LoggedRequest {
    /// `req_…`
    pub id: String,
    /// The workspace that it was about.
    pub workspace_id: Arc<str>,
    /// The data that it was about.
    pub mode: Mode,
    /// When it came, Unix milliseconds.
    pub at_ms: i64,
    /// The method.
    pub method: String,
    /// The path, without query and secrets.
    pub path: String,
    /// The status of the response.
    pub status: u16,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// The actor, if one was admitted.
    pub actor: Option<Arc<str>>,
    /// The caller's program.
    pub agent: Option<String>,
    /// The tool of MCP that was called.
    pub tool: Option<String>,
    /// The code of the error.
    pub code: Option<&'static str>,
}

impl Control {
    /// Stores requests. Those of workspaces that are gone are left out.
    pub async fn log_requests(&self, requests: &[LoggedRequest]) -> Result<(), Fault> {
        let array =
            |text: &dyn Fn(&LoggedRequest) -> String| array_of_texts(&requests.iter().map(text).collect::<Vec<_>>());
        let columns = [
            array(&|it| it.workspace_id.to_string()),
            array(&|it| it.mode.name().to_owned()),
            array(&|it| iso_ms(it.at_ms)),
            array(&|it| it.id.clone()),
            array(&|it| it.method.clone()),
            array(&|it| it.path.clone()),
            array(&|it| it.status.to_string()),
            array(&|it| it.duration_us.to_string()),
            array(&|it| it.actor.as_deref().unwrap_or_default().to_owned()),
            array(&|it| it.agent.clone().unwrap_or_default()),
            array(&|it| it.tool.clone().unwrap_or_default()),
            array(&|it| it.code.unwrap_or_default().to_owned()),
        ];
        let sql = "INSERT INTO request_log (workspace_id, mode, created_at, id, method, path, status, duration_us, actor, agent, tool, code)
                   SELECT w.id, n.mode, n.at, n.id, n.method, n.path, n.status, n.duration_us,
                          nullif(n.actor, ''), nullif(n.agent, ''), nullif(n.tool, ''), nullif(n.code, '')
                   FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::smallint[], $8::bigint[],
                               $9::text[], $10::text[], $11::text[], $12::text[])
                        AS n (workspace_id, mode, at, id, method, path, status, duration_us, actor, agent, tool, code)
                   JOIN workspaces AS w ON w.id = n.workspace_id
                   ON CONFLICT DO NOTHING";
        let params: Vec<_> = columns.iter().map(|column| Some(column.as_str())).collect();
        self.query(sql, &params).await.map(drop)
    }

    /// Deletes a workspace's requests beyond the newest ones.
    pub async fn trim_request_log(&self, workspace_id: &str, mode: Mode) -> Result<(), Fault> {
        // As a value of its own, the last one is looked for once, whatever the planner knows about the table.
        let sql = "DELETE FROM request_log WHERE workspace_id = $1 AND mode = $2 AND (created_at, id) <= (
                       SELECT created_at, id FROM request_log WHERE workspace_id = $1 AND mode = $2
                       ORDER BY created_at DESC, id DESC OFFSET $3::bigint LIMIT 1)";
        self.query(sql, &[Some(workspace_id), Some(mode.name()), Some(&MOST_KEPT.to_string())]).await.map(drop)
    }
}
