//! The e-mail integrations of workspaces, and the switch that stops everything outgoing.

use crm::model::email::Mailbox;
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
    // $2 is the beginning of the address.
    ("inbound_url", "(CASE WHEN i.provider = 'resend' THEN $2::text || i.workspace_id END)"),
    ("receives", "(i.webhook_secret IS NOT NULL)"),
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
    /// The integration of a workspace, as JSON. A workspace without one has a row too. `inbound_url` is the beginning of the address of the
    /// provider's webhook, and `last_error` why the integration can't be used.
    pub async fn integration(
        &self,
        workspace_id: &str,
        inbound_url: &str,
        last_error: Option<&str>,
    ) -> Result<Option<Rows>, Fault> {
        let sql = format!(
            "SELECT {} FROM workspaces AS w LEFT JOIN email_integrations AS i ON i.workspace_id = w.id WHERE w.id = $1",
            json_columns(&[COLUMNS, &[("last_error", "$3::text")]].concat())
        );
        Ok(found(self.query(&sql, &[Some(workspace_id), Some(inbound_url), last_error]).await?))
    }

    /// How a workspace receives e-mail from its provider: the integration, the sealed secret of the webhook, and the actor who has set it.
    /// `None` if it receives none.
    pub async fn receiving(&self, workspace_id: &str) -> Result<Option<Receiving>, Fault> {
        let sql =
            "SELECT i.settings, i.from_email, i.verified, i.webhook_secret, i.created_by FROM email_integrations AS i
                   WHERE i.workspace_id = $1 AND i.webhook_secret IS NOT NULL";
        self.query(sql, &[Some(workspace_id)]).await?.first(|row| {
            let settings = optional_bytes(row, "settings")?.unwrap_or_default();
            Ok(Receiving {
                integration: Integration {
                    settings,
                    from_email: row.get("from_email")?,
                    verified: row.is("verified")?,
                },
                webhook_secret: optional_bytes(row, "webhook_secret")?.unwrap_or_default(),
                actor: row.get("created_by")?,
            })
        })
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

    /// The workspace's own addresses, in lower case: those of its members, the one that its e-mail is sent from, and that of its mailbox.
    pub async fn own_addresses(&self, workspace_id: &str) -> Result<Vec<String>, Fault> {
        let sql =
            "SELECT u.email AS address FROM members AS m JOIN users AS u ON u.id = m.user_id WHERE m.workspace_id = $1
                   UNION SELECT lower(i.from_email) FROM email_integrations AS i WHERE i.workspace_id = $1
                   UNION SELECT lower(COALESCE(m.address, m.username)) FROM mailboxes AS m WHERE m.workspace_id = $1";
        let found: Vec<String> = self.query(sql, &[Some(workspace_id)]).await?.all(|row| row.get("address"))?;
        let bare = |text: String| Mailbox::parse(&text).map_or(text, |mailbox| mailbox.address);
        Ok(found.into_iter().map(bare).collect())
    }

    /// Notes whether the provider accepts the sender.
    pub async fn note_verified(&self, workspace_id: &str, verified: bool) -> Result<(), Fault> {
        let sql =
            "UPDATE email_integrations SET verified = $2::boolean WHERE workspace_id = $1 AND verified <> $2::boolean";
        self.query(sql, &[Some(workspace_id), Some(if verified { "t" } else { "f" })]).await.map(drop)
    }
}

/// How a workspace receives e-mail from its provider.
#[derive(Clone, Debug)]
pub struct Receiving {
    /// The integration.
    pub integration: Integration,
    /// The secret of the webhook, sealed.
    pub webhook_secret: Vec<u8>,
    /// The actor who set it.
    pub actor: String,
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
    /// The secret of the provider's webhook, sealed. `None` leaves the present one, `Some(None)` removes it.
    pub webhook_secret: Option<Option<&'a [u8]>>,
    /// The beginning of the address of the provider's webhook.
    pub inbound_url: &'a str,
    /// The actor who sets it.
    pub actor: &'a str,
    /// The current time, ISO 8601.
    pub now: &'a str,
}

impl ControlTransaction<'_> {
    /// Sets the integration of a workspace, in the place of a previous one.
    pub async fn set_integration(&mut self, new: &NewIntegration<'_>) -> Result<Option<Rows>, Fault> {
        let sql = format!(
            "INSERT INTO email_integrations AS i (workspace_id, provider, settings, from_email, verified, webhook_secret, created_by, created_at, updated_at)
             VALUES ($1, $3, $4::bytea, $5, $6::boolean, $7::bytea, $8, $9::timestamptz, $9::timestamptz)
             ON CONFLICT (workspace_id) DO UPDATE SET provider = EXCLUDED.provider, settings = EXCLUDED.settings,
                 from_email = EXCLUDED.from_email, verified = EXCLUDED.verified,
                 webhook_secret = CASE WHEN $10::boolean THEN EXCLUDED.webhook_secret ELSE i.webhook_secret END,
                 created_by = EXCLUDED.created_by, updated_at = EXCLUDED.updated_at
             RETURNING {}",
            json_columns(&[COLUMNS, &[("last_error", "NULL::text")]].concat())
        );
        let flag = |it: bool| if it { "t" } else { "f" };
        let (sealed, secret) = (bytea(new.settings), new.webhook_secret.flatten().map(bytea));
        let params = [
            Some(new.workspace_id),
            Some(new.inbound_url),
            Some(new.provider),
            Some(&sealed),
            Some(new.from_email),
            Some(flag(new.verified)),
            secret.as_deref(),
            Some(new.actor),
            Some(new.now),
            Some(flag(new.webhook_secret.is_some())),
        ];
        Ok(found(self.query(&sql, &params).await?))
    }

    /// Removes the integration of a workspace. Returns whether there was one.
    pub async fn remove_integration(&mut self, workspace_id: &str) -> Result<bool, Fault> {
        let sql = "DELETE FROM email_integrations WHERE workspace_id = $1 RETURNING workspace_id";
        Ok(!self.query(sql, &[Some(workspace_id)]).await?.is_empty())
    }
}
