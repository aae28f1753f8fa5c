//! The switch that stops everything outgoing of a workspace: e-mail and webhooks.

use crm::model::fault::Fault;

use crate::store::control::Control;
use crate::store::control::audit::{AuditEntry, insert_entry};
use crate::store::control::keys::COUNT_CHANGE;

/// A position of the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendingSwitch {
    /// Nothing leaves. What would leave waits.
    Off,
    /// Everything leaves, and what has waited leaves too.
    Release,
    /// Everything leaves, but what has waited never does.
    Drop,
}

/// What waited when the switch was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldCounts {
    /// The e-mails.
    pub emails: i64,
    /// The webhook deliveries.
    pub deliveries: i64,
}

/// Why something that waited was dropped.
const DROPPED: &str = "It was dropped while sending was switched off.";

impl Control {
    /// Sets the switch. Returns what waited; `None` if there is no such workspace. An e-mail that is being sent right now is not dropped.
    pub async fn set_sending(
        &self,
        entry: &AuditEntry<'_>,
        switch: SendingSwitch,
    ) -> Result<Option<HeldCounts>, Fault> {
        let details = "jsonb_build_object('sending', $5 <> 'off', 'held', $5)";
        let insert_entry = insert_entry("workspace.sending_changed", "id", details, "FROM changed");
        let sql = format!(
            "WITH changed AS (UPDATE workspaces SET sending = $5 <> 'off' WHERE id = $2 RETURNING id),
             entry AS ({insert_entry}),
             mail AS (
                 SELECT o.id FROM outgoing_emails AS o
                 WHERE o.workspace_id = (SELECT id FROM changed) AND o.outcome IS NULL
                   AND (o.taken_by IS NULL OR o.next_attempt_at <= $4::timestamptz) FOR UPDATE),
             delivery AS (
                 SELECT d.id FROM webhook_deliveries AS d JOIN webhook_endpoints AS e ON e.id = d.endpoint_id
                 WHERE e.workspace_id = (SELECT id FROM changed) AND d.status = 'pending' AND d.taken_by IS NULL FOR UPDATE OF d),
             released_mail AS (
                 UPDATE outgoing_emails AS o SET next_attempt_at = $4::timestamptz, taken_by = NULL
                 FROM mail WHERE o.workspace_id = $2 AND o.id = mail.id AND $5 = 'release'),
             dropped_mail AS (
                 UPDATE outgoing_emails AS o
                 SET outcome = 'failed', message = NULL, ended_at = $4::timestamptz, next_attempt_at = $4::timestamptz,
                     taken_by = NULL,
                     error = $6 || CASE WHEN o.tried_at IS NULL THEN '' ELSE ' An earlier attempt may have been accepted.' END
                 FROM mail WHERE o.workspace_id = $2 AND o.id = mail.id AND $5 = 'drop'),
             dropped_delivery AS (
                 UPDATE webhook_deliveries AS d SET status = 'failed', error = $6, next_attempt_at = NULL
                 FROM delivery WHERE d.id = delivery.id AND $5 = 'drop'),
             dropped_log AS (
                 UPDATE webhook_endpoints AS e SET behind_at = NULL, behind_since = NULL
                 WHERE e.workspace_id = (SELECT id FROM changed) AND e.behind_at IS NOT NULL AND $5 = 'drop')
             SELECT (SELECT count(*) FROM mail) AS emails, (SELECT count(*) FROM delivery) AS deliveries, {COUNT_CHANGE} FROM changed"
        );
        let said = match switch {
            SendingSwitch::Off => "off",
            SendingSwitch::Release => "release",
            SendingSwitch::Drop => "drop",
        };
        self.query(&sql, &entry.params([Some(said), Some(DROPPED)]))
            .await?
            .first(|row| Ok(HeldCounts { emails: row.get("emails")?, deliveries: row.get("deliveries")? }))
    }
}
