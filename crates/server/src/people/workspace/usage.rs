//! What a workspace uses of its plan.

use serde_json::{Value, json};

use crm::model::fault::Fault;
use crm::model::who::Mode;

use crate::people::context::PersonContext;

/// The workspace's plan and its requests of this month: `{plan, monthly_requests, requests, associations}`. `plan` is null if this
/// Kith has no plans, and `requests` if they are not counted.
pub async fn of(context: &PersonContext<'_>, workspace_id: &str) -> Result<Value, Fault> {
    let member = context.member(workspace_id).await?;
    let grant = context.app.store.control.member_grant(workspace_id, &member.person.id, Mode::Live).await?;
    let plan = grant.and_then(|grant| grant.workspace.plan);
    let Some(terms) = context.app.keys.subscriptions().terms(plan.as_deref()) else {
        return Ok(json!({"plan": null, "monthly_requests": null, "requests": null, "associations": true}));
    };
    let requests = match terms.monthly_requests {
        None => None,
        Some(_) => {
            let month = format!("{}-01", context.now().get(..7).unwrap_or_default());
            Some(context.app.store.control.monthly_requests(workspace_id, &month).await?)
        }
    };
    Ok(
        json!({"plan": terms.name, "monthly_requests": terms.monthly_requests, "requests": requests, "associations": terms.associations}),
    )
}
