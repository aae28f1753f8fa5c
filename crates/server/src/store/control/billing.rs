//! Plans and monthly requests in the control plane.

use std::collections::HashMap;

use pg::Error;

use crm::model::value::array_of_texts;

use crate::store::control::Control;

/// Requests of a workspace in a month.
#[derive(Debug)]
pub struct Used {
    /// `ws_…`
    pub workspace_id: String,
    /// The month's first day, ISO 8601.
    pub month: String,
    /// How many.
    pub requests: u64,
}

impl Control {
    /// Gives a workspace a plan; false where there is no such workspace.
    pub async fn set_plan(&self, workspace_id: &str, plan: &str) -> Result<bool, Error> {
        let sql = "UPDATE workspaces SET plan = $2 WHERE id = $1 RETURNING nextval('access_changes') AS changed";
        let rows = self.query(sql, &[Some(workspace_id), Some(plan)]).await?;
        Ok(!rows.is_empty())
    }

    /// How many requests a workspace has made in a month, as far as they were noted.
    pub async fn monthly_requests(&self, workspace_id: &str, month: &str) -> Result<u64, Error> {
        let sql = "SELECT requests FROM monthly_requests WHERE workspace_id = $1 AND month = $2::date";
        let rows = self.query(sql, &[Some(workspace_id), Some(month)]).await?;
        if rows.is_empty() { Ok(0) } else { rows.get::<i64>(0, "requests").map(|count| count.max(0) as u64) }
    }

    /// Adds requests, and gives the totals by workspace and month. A workspace that is gone is left out.
    pub async fn note_requests(&self, used: &[&Used]) -> Result<HashMap<(String, String), u64>, Error> {
        let array = |text: fn(&Used) -> String| array_of_texts(&used.iter().map(|used| text(used)).collect::<Vec<_>>());
        let ids = array(|used| used.workspace_id.clone());
        let months = array(|used| used.month.clone());
        let counts = array(|used| used.requests.to_string());
        // In one order always, so that two processes never wait for each other crosswise.
        let rows = self
            .query(
                "INSERT INTO monthly_requests AS m (workspace_id, month, requests)
                 SELECT w.id, u.month, u.requests
                 FROM unnest($1::text[], $2::date[], $3::bigint[]) AS u (id, month, requests)
                 JOIN workspaces AS w ON w.id = u.id ORDER BY 1, 2
                 ON CONFLICT (workspace_id, month) DO UPDATE SET requests = m.requests + excluded.requests
                 RETURNING m.workspace_id, m.month::text AS month, m.requests",
                &[Some(&ids), Some(&months), Some(&counts)],
            )
            .await?;
        (0..rows.len())
            .map(|row| {
                let requests: i64 = rows.get(row, "requests")?;
                Ok(((rows.get(row, "workspace_id")?, rows.get(row, "month")?), requests.max(0) as u64))
            })
            .collect()
    }
}
