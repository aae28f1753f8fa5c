//! Webhook endpoints: lists, creates, changes and deletes them.

use crm::model::answer::{Answer, Record};
use crm::model::fault::Fault;
use crm::model::rows::Rows;
use crm::plan::control::WebhookFields;

use crate::store::control::lists::{First, PagedList, json_columns};
use crate::store::control::rows::ControlRows;
use crate::store::control::transaction::ControlTransaction;
use crate::store::control::{Control, bytea};
use crate::store::results;

const COLUMNS: &[(&str, &str)] = &[
    ("id", "e.id"),
    ("url", "e.url"),
    ("events", "e.events"),
    ("description", "e.description"),
    ("enabled", "e.enabled"),
    ("disabled_reason", "e.disabled_reason"),
    ("failing_since", "e.failing_since"),
    ("behind_since", "e.behind_since"),
    ("created_by", "e.created_by"),
    ("created_at", "e.created_at"),
    ("updated_at", "e.updated_at"),
];

/// A workspace's webhook endpoints of a mode, `$5`.
pub static WEBHOOKS: PagedList = PagedList {
    columns: COLUMNS,
    from: "webhook_endpoints AS e",
    conditions: &["e.workspace_id = $1", "e.mode = $5"],
    order: ["created_at", "id"],
    first: First::Newest,
};

/// The most endpoints of a workspace and mode.
pub const MOST_WEBHOOKS: i64 = 100;

/// The owner of control-plane data: a workspace in one mode.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// `ws_…`
    pub workspace_id: &'a str,
    /// `live` or `test`
    pub mode: &'a str,
}

/// An endpoint to be created.
#[derive(Debug)]
pub struct NewWebhook<'a> {
    /// `whep_…`
    pub id: &'a str,
    /// The dialect in which its events are written.
    pub dialect: &'a str,
    /// The normalized address.
    pub url: &'a str,
    /// The other fields.
    pub fields: &'a WebhookFields,
    /// The secret, sealed.
    pub secret: &'a [u8],
    /// The snapshot of the workspace's database at this moment.
    pub since: &'a str,
    /// The actor who subscribes.
    pub created_by: &'a str,
    /// The address of this Kith.
    pub public_url: &'a str,
    /// The current time, ISO 8601.
    pub now: &'a str,
}

/// An answer with one row as a record.
pub fn record(rows: Rows, created: bool) -> Answer {
    let (entity, width) = (None, rows.columns().len());
    Answer::Record { record: Record { entity, row: rows, width, parts: Vec::new(), related: Vec::new() }, created }
}

/// The row of a result, if there is one.
pub(super) fn found(rows: ControlRows) -> Option<Rows> {
    if rows.is_empty() { None } else { Some(results::rows(rows.0)) }
}

/// Texts as PostgreSQL reads an array.
pub(super) fn array<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    format!("{{{}}}", texts.into_iter().map(quoted).collect::<Vec<_>>().join(","))
}

/// An array of numbers in PostgreSQL's text form.
pub(super) fn array_of_numbers(numbers: impl IntoIterator<Item = usize>) -> String {
    format!("{{{}}}", numbers.into_iter().map(|it| it.to_string()).collect::<Vec<_>>().join(","))
}

impl Control {
    /// An endpoint, as JSON.
    pub async fn find_webhook(&self, holder: Holder<'_>, id: &str) -> Result<Option<Rows>, Fault> {
        let sql = format!(
            "SELECT {} FROM webhook_endpoints AS e WHERE e.id = $1 AND e.workspace_id = $2 AND e.mode = $3",
            json_columns(COLUMNS)
        );
        Ok(found(self.query(&sql, &[id, holder.workspace_id, holder.mode].map(Some)).await?))
    }
}

impl ControlTransaction<'_> {
    /// Creates an endpoint. Returns it with its secret, or nothing if the workspace has as many as it may have.
    pub async fn create_webhook(
        &mut self,
        holder: Holder<'_>,
        new: &NewWebhook<'_>,
        secret: &str,
    ) -> Result<Option<Rows>, Fault> {
        // The row of the workspace is locked, so that two requests can't both take the last place.
        self.query("SELECT FROM workspaces WHERE id = $1 FOR UPDATE", &[Some(holder.workspace_id)]).await?;
        let sql = format!(
            "INSERT INTO webhook_endpoints AS e (id, workspace_id, mode, dialect, url, events, description, enabled, secret,
                 since, created_by, public_url, created_at, updated_at)
             SELECT $1, $2, $3, $4, $5, $6::text[], $7, $8::boolean, $9::bytea, $10, $11, $12, $13::timestamptz, $13::timestamptz
             WHERE (SELECT count(*) FROM webhook_endpoints WHERE workspace_id = $2 AND mode = $3) < $14::bigint
             RETURNING {}, to_jsonb($15::text)::text AS secret",
            json_columns(COLUMNS)
        );
        let fields = new.fields;
        let events = array(fields.events.iter().flatten().map(String::as_str));
        let enabled = if fields.enabled.unwrap_or(true) { "t" } else { "f" };
        let (sealed, most) = (bytea(new.secret), MOST_WEBHOOKS.to_string());
        let params = [
            Some(new.id),
            Some(holder.workspace_id),
            Some(holder.mode),
            Some(new.dialect),
            Some(new.url),
            Some(&*events),
            fields.description.as_ref().and_then(Option::as_deref),
            Some(enabled),
            Some(&*sealed),
            Some(new.since),
            Some(new.created_by),
            Some(new.public_url),
            Some(new.now),
            Some(&*most),
            Some(secret),
        ];
        Ok(found(self.query(&sql, &params).await?))
    }

    /// Changes an endpoint. Enabling it forgets why it was disabled, and begins with what the snapshot `since` does not see.
    pub async fn update_webhook(
        &mut self,
        holder: Holder<'_>,
        id: &str,
        (fields, since): (&WebhookFields, &str),
        now: &str,
    ) -> Result<Option<Rows>, Fault> {
        let sql = format!(
            "UPDATE webhook_endpoints AS e
             SET url = COALESCE($4, e.url), events = COALESCE($5::text[], e.events), enabled = COALESCE($6::boolean, e.enabled),
                 description = CASE WHEN $7::boolean THEN $8 ELSE e.description END,
                 disabled_reason = CASE WHEN $6::boolean THEN NULL ELSE e.disabled_reason END,
                 failing_since = CASE WHEN $6::boolean OR $4 IS NOT NULL THEN NULL ELSE e.failing_since END,
                 since = CASE WHEN $6::boolean AND NOT e.enabled THEN $10 ELSE e.since END,
                 behind_at = CASE WHEN $6::boolean AND NOT e.enabled THEN NULL ELSE e.behind_at END,
                 behind_since = CASE WHEN $6::boolean AND NOT e.enabled THEN NULL ELSE e.behind_since END,
                 updated_at = $9::timestamptz
             WHERE e.id = $1 AND e.workspace_id = $2 AND e.mode = $3 RETURNING {}",
            json_columns(COLUMNS)
        );
        let events = fields.events.as_ref().map(|events| array(events.iter().map(String::as_str)));
        let flag = |flag: bool| if flag { "t" } else { "f" };
        let params = [
            Some(id),
            Some(holder.workspace_id),
            Some(holder.mode),
            fields.url.as_deref(),
            events.as_deref(),
            fields.enabled.map(flag),
            Some(flag(fields.description.is_some())),
            fields.description.as_ref().and_then(Option::as_deref),
            Some(now),
            Some(since),
        ];
        Ok(found(self.query(&sql, &params).await?))
    }

    /// Deletes an endpoint. Its deliveries are not sent any more; a sweep removes them. Returns its address and the number of
    /// deliveries, if there was one.
    pub async fn delete_webhook(&mut self, holder: Holder<'_>, id: &str) -> Result<Option<(String, u64)>, Fault> {
        let sql = "DELETE FROM webhook_endpoints AS e WHERE id = $1 AND workspace_id = $2 AND mode = $3
                   RETURNING url AS name, (SELECT count(*) FROM webhook_deliveries AS d WHERE d.endpoint_id = e.id) AS with_it";
        let rows = self.query(sql, &[id, holder.workspace_id, holder.mode].map(Some)).await?;
        rows.first(|row| Ok((row.get("name")?, row.get("with_it")?)))
    }

    /// Replaces the secret of an endpoint. The previous one ends at `old_ends`.
    pub async fn rotate_webhook_secret(
        &mut self,
        holder: Holder<'_>,
        id: &str,
        (sealed, secret): (&[u8], &str),
        (now, old_ends): (&str, &str),
    ) -> Result<Option<Rows>, Fault> {
        let sql = format!(
            "UPDATE webhook_endpoints AS e
             SET old_secret = e.secret, old_secret_ends = $5::timestamptz, new_first = true, secret = $4::bytea, updated_at = $6::timestamptz
             WHERE e.id = $1 AND e.workspace_id = $2 AND e.mode = $3
             RETURNING {}, to_jsonb($7::text)::text AS secret, to_jsonb(e.old_secret_ends)::text AS previous_secret_expires_at",
            json_columns(COLUMNS)
        );
        let sealed = bytea(sealed);
        let params = [id, holder.workspace_id, holder.mode, &sealed, old_ends, now, secret].map(Some);
        Ok(found(self.query(&sql, &params).await?))
    }
}
