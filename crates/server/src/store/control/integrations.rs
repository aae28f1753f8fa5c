//! The e-mail integrations of workspaces, and the switch that stops everything outgoing.

use crm::model::fault::Fault;
use crm::model::rows::Rows;

use crate::store::control::lists::json_columns;
use crate::store::control::rows::optional_bytes;
use crate::store::control::transaction::ControlTransaction;
use crate::store::control::webhooks::found;
use crate::store::control::{Control, bytea};

/// What callers see of an integration.
const COLUMNS: &[(&str, &str)] = &[
    ("configured", "(i.workspace_id IS NOT NULL)"),
    ("provider", "i.provider"),
    ("from_email", "i.from_email"),
    ("verified", "COALESCE(i.verified, false)"),
];

/// How a workspace sends e-mail.
#[derive(Clone, Debug)]
pub struct Sending {
    /// Whether anything may leave now.
    pub is_on: bool,
    /// The integration, if there is one.
    pub integration: Option<Integration>,
}

/// A stored integration. Its secrets are sealed.
#[derive(Clone, Debug)]
pub struct Integration {
    /// The provider with its secrets, sealed.
    pub settings: Vec<u8>,
    /// The sender of mail that names none.
    pub from_email: String,
    /// Whether the provider accepted the sender when it was last asked.
    pub verified: bool,
}

impl Control {
    /// The integration of a workspace, as JSON. A workspace without one has a row too.
    pub async fn integration(&self, workspace_id: &str) -> Result<Option<Rows>, Fault> {
        let sql = format!(
            "SELECT {} FROM workspaces AS w LEFT JOIN email_integrations AS i ON i.workspace_id = w.id WHERE w.id = $1",
            json_columns(COLUMNS)
        );
        Ok(found(self.query(&sql, &[Some(workspace_id)]).await?))
    }

    /// How a workspace sends e-mail.
    pub async fn sending(&self, workspace_id: &str) -> Result<Sending, Fault> {
        let sql = "SELECT w.sending, i.settings, COALESCE(i.from_email, '') AS from_email, COALESCE(i.verified, false) AS verified
                   FROM workspaces AS w LEFT JOIN email_integrations AS i ON i.workspace_id = w.id WHERE w.id = $1";
        let found = self.query(sql, &[Some(workspace_id)]).await?.first(|row| {
            let integration = match optional_bytes(row, "settings")? {
                Some(settings) => {
                    Some(Integration { settings, from_email: row.get("from_email")?, verified: row.is("verified")? })
                }
                None => None,
            };
            Ok(Sending { is_on: row.is("sending")?, integration })
        })?;
        Ok(found.unwrap_or(Sending { is_on: false, integration: None }))
    }

    /// Notes whether the provider accepts the sender.
    pub async fn note_verified(&self, workspace_id: &str, verified: bool) -> Result<(), Fault> {
        let sql =
            "UPDATE email_integrations SET verified = $2::boolean WHERE workspace_id = $1 AND verified <> $2::boolean";
        self.query(sql, &[Some(workspace_id), Some(if verified { "t" } else { "f" })]).await.map(drop)
    }
}

/// An integration to be stored.
#[derive(Debug)]
pub struct NewIntegration<'a> {
    /// `ws_…`
    pub workspace_id: &'a str,
    /// The provider's name.
    pub provider: &'a str,
    /// The provider with its secrets, sealed.
    pub settings: &'a [u8],
    /// The sender of mail that names none.
    pub from_email: &'a str,
    /// Whether the provider accepts the sender.
    pub verified: bool,
    /// The actor who sets it.
    pub actor: &'a str,
    /// The current time, ISO 8601.
    pub now: &'a str,
}

impl ControlTransaction<'_> {
    /// Sets the integration of a workspace, in the place of a previous one.
    pub async fn set_integration(&mut self, new: &NewIntegration<'_>) -> Result<Option<Rows>, Fault> {
        let sql = format!(
            "INSERT INTO email_integrations AS i (workspace_id, provider, settings, from_email, verified, created_by, created_at, updated_at)
             VALUES ($1, $2, $3::bytea, $4, $5::boolean, $6, $7::timestamptz, $7::timestamptz)
             ON CONFLICT (workspace_id) DO UPDATE SET provider = EXCLUDED.provider, settings = EXCLUDED.settings,
                 from_email = EXCLUDED.from_email, verified = EXCLUDED.verified, created_by = EXCLUDED.created_by,
                 updated_at = EXCLUDED.updated_at
             RETURNING {}",
            json_columns(COLUMNS)
        );
        let (sealed, verified) = (bytea(new.settings), if new.verified { "t" } else { "f" });
        let params = [new.workspace_id, new.provider, &sealed, new.from_email, verified, new.actor, new.now].map(Some);
        Ok(found(self.query(&sql, &params).await?))
    }

    /// Removes the integration of a workspace. Returns whether there was one.
    pub async fn remove_integration(&mut self, workspace_id: &str) -> Result<bool, Fault> {
        let sql = "DELETE FROM email_integrations WHERE workspace_id = $1 RETURNING workspace_id";
        Ok(!self.query(sql, &[Some(workspace_id)]).await?.is_empty())
    }
}
