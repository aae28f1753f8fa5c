//! Billing plans of workspaces, and the requests that they make each month.

use std::collections::HashMap;

use crm::model::fault::Fault;
use crm::model::value::array_of_texts;

use crate::store::control::Control;
use crate::store::control::keys::COUNT_CHANGE;

/// The requests that a workspace has made in a month.
#[derive(Debug)]
pub struct MonthlyRequests {
    /// `ws_…`
    pub workspace_id: String,
    /// The month's first day, ISO 8601.
    pub month: String,
    /// The number of requests.
    pub requests: u64,
}

impl Control {
    /// Gives a workspace a plan. Returns false if the workspace does not exist.
    pub async fn set_plan(&self, workspace_id: &str, plan: &str) -> Result<bool, Fault> {
        let sql = format!("UPDATE workspaces SET plan = $2 WHERE id = $1 RETURNING {COUNT_CHANGE}");
        Ok(!self.query(&sql, &[Some(workspace_id), Some(plan)]).await?.is_empty())
    }

    /// The stored number of a workspace's requests in a month.
    pub async fn monthly_requests(&self, workspace_id: &str, month: &str) -> Result<u64, Fault> {
        let sql = "SELECT requests FROM monthly_requests WHERE workspace_id = $1 AND month = $2::date";
        let count =
            self.query(sql, &[Some(workspace_id), Some(month)]).await?.first(|row| row.get::<i64>("requests"))?;
        Ok(count.unwrap_or_default().max(0) as u64)
    }

    /// Adds requests, and returns the totals by workspace and month. Deleted workspaces are left out.
    pub async fn add_requests(&self, used: &[&MonthlyRequests]) -> Result<HashMap<(String, String), u64>, Fault> {
        let array = |text: fn(&MonthlyRequests) -> String| {
            array_of_texts(&used.iter().map(|used| text(used)).collect::<Vec<_>>())
        };
        let ids = array(|used| used.workspace_id.clone());
        let months = array(|used| used.month.clone());
        let counts = array(|used| used.requests.to_string());
        // Always in the same order, so that two processes don't deadlock.
        let sql = "INSERT INTO monthly_requests AS m (workspace_id, month, requests)
                   SELECT w.id, u.month, u.requests
                   FROM unnest($1::text[], $2::date[], $3::bigint[]) AS u (id, month, requests)
                   JOIN workspaces AS w ON w.id = u.id ORDER BY 1, 2
                   ON CONFLICT (workspace_id, month) DO UPDATE SET requests = m.requests + excluded.requests
                   RETURNING m.workspace_id, m.month::text AS month, m.requests";
        self.query(sql, &[Some(&ids), Some(&months), Some(&counts)]).await?.all(|row| {
            let requests: i64 = row.get("requests")?;
            Ok(((row.get("workspace_id")?, row.get("month")?), requests.max(0) as u64))
        })
    }
}
