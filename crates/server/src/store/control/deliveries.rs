//! The queue of webhook deliveries. Any number of processes take from it.

use crm::model::fault::Fault;
use crm::model::rows::Rows;
use crm::model::value::array_of_texts;

use crate::store::control::Control;
use crate::store::control::lists::{First, PagedList, json_columns};
use crate::store::control::rows::{ControlRow, bytes, optional_bytes};
use crate::store::control::transaction::ControlTransaction;
use crate::store::control::webhooks::{Holder, array, array_of_numbers, found};

const COLUMNS: &[(&str, &str)] = &[
    ("id", "d.id"),
    ("event_id", "d.event_id"),
    ("event_type", "d.event_type"),
    ("status", "d.status"),
    ("attempts", "d.attempts"),
    ("response_status", "d.response_status"),
    ("response_body", "d.response_body"),
    ("duration_ms", "d.duration_ms"),
    ("error", "d.error"),
    ("next_attempt_at", "d.next_attempt_at"),
    ("created_at", "d.created_at"),
];

/// An endpoint's deliveries. `$5` is their status, or empty for all.
pub static DELIVERIES: PagedList = PagedList {
    columns: COLUMNS,
    from: "webhook_deliveries AS d",
    conditions: &["d.endpoint_id = $1", "($5 = '' OR d.status = $5)"],
    order: ["created_at", "id"],
    first: First::Newest,
};

/// A delivery to be queued.
#[derive(Debug, serde::Serialize)]
pub struct NewDelivery<'a> {
    /// `whd_…`
    pub id: String,
    /// `whep_…`
    pub endpoint_id: &'a str,
    /// `evt_…`. An endpoint gets each event once.
    pub event_id: &'a str,
    /// The type of the event.
    pub event_type: &'a str,
    /// The record that it is about. Deliveries of one subject are sent in order.
    pub subject: &'a str,
    /// The JSON that is sent.
    pub body: &'a str,
}

/// A delivery that this process has taken, with its endpoint.
#[derive(Debug)]
pub struct TakenDelivery {
    /// `whd_…`
    pub id: String,
    /// Names this attempt. Only it may record the outcome.
    pub taken_by: String,
    /// `evt_…`
    pub event_id: String,
    /// The JSON to send.
    pub body: String,
    /// How often it was tried, this time included.
    pub attempts: u32,
    /// `whep_…`
    pub endpoint_id: String,
    /// `ws_…`
    pub workspace_id: String,
    /// The address.
    pub url: String,
    /// The endpoint's secret, sealed.
    pub secret: Vec<u8>,
    /// Its previous secret, sealed, while it is valid.
    pub old_secret: Option<Vec<u8>>,
    /// Whether the endpoint was failing before this attempt.
    pub is_failing: bool,
    /// Whether the signature of the endpoint's new secret comes before that of the old one in this attempt.
    pub new_first: bool,
}

/// The deliveries that a process may take.
#[derive(Debug)]
pub struct Capacity {
    /// The most deliveries of all endpoints.
    pub total: usize,
    /// The most of endpoints that are failing, together.
    pub of_failing: usize,
    /// The most of an endpoint that is not in `endpoints`.
    pub per_endpoint: usize,
    /// The most of an endpoint that is failing, those included that are being sent.
    pub per_failing_endpoint: usize,
    /// The most of a workspace, those included that are being sent.
    pub per_workspace: usize,
    /// Endpoints that this process knows.
    pub endpoints: Vec<(String, EndpointRoom)>,
    /// How many deliveries of a workspace this process is sending.
    pub workspaces: Vec<(String, usize)>,
}

/// How many deliveries of an endpoint a process may send at once, and how many it is sending.
#[derive(Clone, Copy, Debug)]
pub struct EndpointRoom {
    /// The most.
    pub limit: usize,
    /// Those that are being sent.
    pub busy: usize,
}

/// What an attempt recorded about the answer.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// The status of the answer.
    pub response_status: Option<u16>,
    /// The beginning of its body.
    pub response_body: Option<String>,
    /// How long it took.
    pub duration_ms: u64,
    /// Why there was no answer, or why it is a failure.
    pub error: Option<String>,
}

/// What follows after a failed attempt.
#[derive(Clone, Copy, Debug)]
pub enum Next<'a> {
    /// It is tried again at this time, ISO 8601.
    RetryAt(&'a str),
    /// It is not tried again.
    GiveUp,
}

impl Control {
    /// Whether a workspace has this endpoint.
    pub async fn has_webhook(&self, holder: Holder<'_>, id: &str) -> Result<bool, Fault> {
        let sql = "SELECT FROM webhook_endpoints WHERE id = $1 AND workspace_id = $2 AND mode = $3";
        Ok(!self.query(sql, &[id, holder.workspace_id, holder.mode].map(Some)).await?.is_empty())
    }

    /// Whether a workspace has an endpoint that anything was sent to.
    pub async fn has_sent(&self, holder: Holder<'_>) -> Result<bool, Fault> {
        let sql = "SELECT FROM webhook_endpoints AS e WHERE e.workspace_id = $1 AND e.mode = $2
                     AND EXISTS (SELECT FROM webhook_deliveries AS d WHERE d.endpoint_id = e.id) LIMIT 1";
        Ok(!self.query(sql, &[holder.workspace_id, holder.mode].map(Some)).await?.is_empty())
    }

    /// The deliveries of these events that were sent, or may have been.
    pub async fn sent_for(&self, holder: Holder<'_>, events: &[String]) -> Result<Vec<String>, Fault> {
        let sql = "SELECT d.id FROM webhook_endpoints AS e JOIN webhook_deliveries AS d ON d.endpoint_id = e.id
                   WHERE e.workspace_id = $1 AND e.mode = $2 AND d.event_id = ANY ($3::text[]) AND d.attempts > 0 ORDER BY d.place";
        let events = array_of_texts(events);
        self.query(sql, &[holder.workspace_id, holder.mode, &events].map(Some)).await?.all(|row| row.get("id"))
    }

    /// The events of these whose deliveries were sent, or may have been, once for each delivery.
    pub async fn sent_events(&self, holder: Holder<'_>, events: &[String]) -> Result<Vec<String>, Fault> {
        let sql = "SELECT d.event_id FROM webhook_endpoints AS e JOIN webhook_deliveries AS d ON d.endpoint_id = e.id
                   WHERE e.workspace_id = $1 AND e.mode = $2 AND d.event_id = ANY ($3::text[]) AND d.attempts > 0";
        let events = array_of_texts(events);
        self.query(sql, &[holder.workspace_id, holder.mode, &events].map(Some)).await?.all(|row| row.get("event_id"))
    }

    /// Takes deliveries that are due. Other processes do not take them within `lease_seconds`. A delivery is not due while an
    /// earlier one of the same subject and endpoint is pending. Workspaces take turns, and of each the oldest come first.
    pub async fn take_deliveries(
        &self,
        capacity: &Capacity,
        taken_by: &str,
        now: &str,
        lease_seconds: u64,
    ) -> Result<Vec<TakenDelivery>, Fault> {
        // Of an endpoint the oldest due deliveries are looked at. If too few of them are the first of their record, because many are about
        // one record, the first delivery of each record is.
        let sql = "WITH RECURSIVE waiting (endpoint_id, due_at) AS (
                       (SELECT endpoint_id, next_attempt_at FROM webhook_deliveries WHERE status = 'pending'
                        ORDER BY endpoint_id, next_attempt_at LIMIT 1)
                       UNION ALL
                       SELECT n.endpoint_id, n.next_attempt_at FROM waiting AS w CROSS JOIN LATERAL (
                           SELECT d.endpoint_id, d.next_attempt_at FROM webhook_deliveries AS d
                           WHERE d.status = 'pending' AND d.endpoint_id > w.endpoint_id
                           ORDER BY d.endpoint_id, d.next_attempt_at LIMIT 1) AS n),
                   known AS (SELECT * FROM unnest($7::text[], $8::bigint[], $9::bigint[]) AS k (id, most, busy)),
                   found AS (
                       SELECT d.id, d.next_attempt_at, d.place, e.failing_since IS NOT NULL AS failing,
                           row_number() OVER (PARTITION BY e.failing_since IS NOT NULL ORDER BY d.next_attempt_at, d.place) AS of_kind,
                           e.workspace_id, COALESCE(b.busy, 0) AS busy,
                           row_number() OVER (PARTITION BY e.workspace_id, e.failing_since IS NOT NULL ORDER BY d.next_attempt_at, d.place) AS of_own_kind
                       FROM waiting AS w
                       JOIN webhook_endpoints AS e ON e.id = w.endpoint_id AND w.due_at <= $1::timestamptz AND e.enabled
                           AND (SELECT s.sending FROM workspaces AS s WHERE s.id = e.workspace_id)
                       LEFT JOIN known AS k ON k.id = e.id
                       LEFT JOIN unnest($10::text[], $11::bigint[]) AS b (id, busy) ON b.id = e.workspace_id
                       CROSS JOIN LATERAL (SELECT GREATEST(
                           LEAST(COALESCE(k.most, $4::bigint), CASE WHEN e.failing_since IS NOT NULL THEN $5::bigint END)
                           - COALESCE(k.busy, 0), 0) AS most) AS room
                       CROSS JOIN LATERAL (
                           WITH RECURSIVE oldest AS MATERIALIZED (
                               SELECT o.id, o.endpoint_id, o.subject, o.next_attempt_at, o.place FROM webhook_deliveries AS o
                               WHERE o.endpoint_id = e.id AND o.status = 'pending' AND o.next_attempt_at <= $1::timestamptz
                               ORDER BY o.next_attempt_at, o.place LIMIT 500),
                           first AS MATERIALIZED (
                               SELECT f.id, f.next_attempt_at, f.place FROM oldest AS f
                               WHERE NOT EXISTS (
                                   SELECT FROM webhook_deliveries AS o
                                   WHERE o.endpoint_id = f.endpoint_id AND o.subject = f.subject AND o.status = 'pending'
                                     AND o.place < f.place)
                               ORDER BY f.next_attempt_at, f.place LIMIT room.most),
                           head (subject, id, next_attempt_at, place) AS (
                               (SELECT o.subject, o.id, o.next_attempt_at, o.place FROM webhook_deliveries AS o
                                WHERE o.endpoint_id = e.id AND o.status = 'pending'
                                  AND (SELECT count(*) FROM oldest) = 500 AND (SELECT count(*) FROM first) < room.most
                                ORDER BY o.subject, o.place LIMIT 1)
                               UNION ALL
                               SELECT n.* FROM head AS h CROSS JOIN LATERAL (
                                   SELECT o.subject, o.id, o.next_attempt_at, o.place FROM webhook_deliveries AS o
                                   WHERE o.endpoint_id = e.id AND o.status = 'pending' AND o.subject > h.subject
                                   ORDER BY o.subject, o.place LIMIT 1) AS n)
                           SELECT f.id, f.next_attempt_at, f.place FROM first AS f
                           UNION
                           SELECT h.id, h.next_attempt_at, h.place FROM (SELECT * FROM head LIMIT 2000) AS h
                           WHERE h.next_attempt_at <= $1::timestamptz
                           ORDER BY 2, 3 LIMIT room.most) AS d),
                   ranked AS (
                       SELECT id, next_attempt_at, place, failing, of_kind,
                           busy + row_number() OVER (PARTITION BY workspace_id ORDER BY of_own_kind, failing) AS turn
                       FROM found),
                   chosen AS (
                       SELECT id FROM ranked
                       WHERE turn <= $6::bigint AND (NOT failing OR of_kind <= $12::bigint)
                       ORDER BY turn, next_attempt_at, place LIMIT $3::bigint),
                   due AS MATERIALIZED (
                       SELECT d.id FROM chosen JOIN webhook_deliveries AS d ON d.id = chosen.id
                       WHERE d.status = 'pending' AND d.next_attempt_at <= $1::timestamptz FOR UPDATE OF d SKIP LOCKED)
                   UPDATE webhook_deliveries AS d
                   SET attempts = attempts + 1, taken_by = $2,
                       next_attempt_at = $1::timestamptz + make_interval(secs => $13::float8)
                   FROM due, webhook_endpoints AS e WHERE d.id = due.id AND e.id = d.endpoint_id
                   RETURNING d.id, d.event_id, d.body, d.attempts, d.endpoint_id, e.workspace_id, e.url, e.secret,
                       CASE WHEN e.old_secret_ends > $1::timestamptz THEN e.old_secret END AS old_secret,
                       e.failing_since IS NOT NULL AS is_failing, e.new_first = (d.attempts % 2 = 1) AS new_first";
        let Capacity { endpoints, workspaces, .. } = capacity;
        let number = |number: usize| number.to_string();
        let params = [
            now.to_owned(),
            taken_by.to_owned(),
            number(capacity.total),
            number(capacity.per_endpoint),
            number(capacity.per_failing_endpoint),
            number(capacity.per_workspace),
            array(endpoints.iter().map(|(id, _)| id.as_str())),
            array_of_numbers(endpoints.iter().map(|(_, room)| room.limit)),
            array_of_numbers(endpoints.iter().map(|(_, room)| room.busy)),
            array(workspaces.iter().map(|(id, _)| id.as_str())),
            array_of_numbers(workspaces.iter().map(|(_, busy)| *busy)),
            number(capacity.of_failing),
            lease_seconds.to_string(),
        ];
        let params: Vec<Option<&str>> = params.iter().map(|it| Some(it.as_str())).collect();
        self.query(sql, &params).await?.all(|row| taken(row, taken_by))
    }

    /// Lets the deliveries that were taken by `taken_by` be sent, or all that are taken. For a process that knows that nobody sends
    /// them.
    pub async fn free_deliveries(&self, taken_by: Option<&str>, now: &str) -> Result<(), Fault> {
        let sql = "UPDATE webhook_deliveries SET taken_by = NULL, next_attempt_at = $2::timestamptz
                   WHERE status = 'pending' AND ($1::text IS NULL AND taken_by IS NOT NULL OR taken_by = $1)";
        self.query(sql, &[taken_by, Some(now)]).await.map(drop)
    }

    /// Records that deliveries arrived.
    pub async fn record_delivered(&self, delivered: &[(TakenDelivery, Recorded)]) -> Result<(), Fault> {
        let sql = "WITH done AS (
                       UPDATE webhook_deliveries AS d
                       SET status = 'delivered', next_attempt_at = NULL, taken_by = NULL, response_status = n.response_status,
                           response_body = n.response_body, duration_ms = n.duration_ms, error = NULL
                       FROM jsonb_to_recordset($1::jsonb)
                           AS n (id text, taken_by text, response_status integer, response_body text, duration_ms integer,
                                 new_first boolean)
                       WHERE d.id = n.id AND d.taken_by = n.taken_by RETURNING d.endpoint_id, n.new_first)
                   UPDATE webhook_endpoints AS e SET failing_since = NULL, new_first = COALESCE(done.new_first, e.new_first)
                   FROM (SELECT endpoint_id, bool_or(new_first) AS new_first FROM done GROUP BY endpoint_id) AS done
                   WHERE e.id = done.endpoint_id AND (e.failing_since IS NOT NULL OR e.new_first <> done.new_first)";
        let one = |(taken, recorded): &(TakenDelivery, Recorded)| {
            serde_json::json!({
                "id": taken.id,
                "taken_by": taken.taken_by,
                "response_status": recorded.response_status,
                "response_body": recorded.response_body,
                "duration_ms": recorded.duration_ms,
                // With one secret there is no order.
                "new_first": taken.old_secret.as_ref().map(|_| taken.new_first),
            })
        };
        let delivered = serde_json::Value::from(delivered.iter().map(one).collect::<Vec<_>>()).to_string();
        self.query(sql, &[Some(&delivered)]).await.map(drop)
    }

    /// Records a failed attempt. Later deliveries of the same subject wait for the next one. Returns since when the endpoint
    /// has been failing, in Unix seconds; nothing if another attempt has taken over.
    pub async fn record_failed(
        &self,
        taken: &TakenDelivery,
        recorded: &Recorded,
        next: Next<'_>,
        now: &str,
    ) -> Result<Option<i64>, Fault> {
        let sql = "WITH done AS (
                       UPDATE webhook_deliveries
                       SET status = CASE WHEN $8::timestamptz IS NULL THEN 'failed' ELSE 'pending' END,
                           next_attempt_at = $8::timestamptz, taken_by = NULL, response_status = $3::integer,
                           response_body = $4, duration_ms = $5::integer, error = $6
                       WHERE id = $1 AND taken_by = $2 RETURNING endpoint_id, subject, place),
                   later AS (
                       UPDATE webhook_deliveries AS l SET next_attempt_at = $8::timestamptz
                       FROM done WHERE l.endpoint_id = done.endpoint_id AND l.subject = done.subject AND l.status = 'pending'
                         AND l.place > done.place AND $8::timestamptz IS NOT NULL)
                   UPDATE webhook_endpoints AS e SET failing_since = COALESCE(e.failing_since, $7::timestamptz)
                   FROM done WHERE e.id = done.endpoint_id RETURNING extract(epoch FROM e.failing_since)::bigint AS failing_since";
        let status = recorded.response_status.map(|status| status.to_string());
        let (duration, retry_at) = (
            recorded.duration_ms.to_string(),
            match next {
                Next::RetryAt(at) => Some(at),
                Next::GiveUp => None,
            },
        );
        let params = [
            Some(&*taken.id),
            Some(&*taken.taken_by),
            status.as_deref(),
            recorded.response_body.as_deref(),
            Some(&*duration),
            recorded.error.as_deref(),
            Some(now),
            retry_at,
        ];
        self.query(sql, &params).await?.first(|row| row.get("failing_since"))
    }

    /// Disables an endpoint, gives its pending deliveries up, and queues an e-mail to each owner of its workspace. Returns
    /// whether it was enabled before.
    pub async fn disable_webhook(&self, id: &str, reason: &str, now: &str, mail_id: &str) -> Result<bool, Fault> {
        let sql = "WITH disabled AS (
                       UPDATE webhook_endpoints
                       SET enabled = false, updated_at = $3::timestamptz, behind_at = NULL, behind_since = NULL,
                           disabled_reason = $2 || CASE WHEN behind_since IS NULL THEN '' ELSE
                               ' Its queue was full: not all events since ' || to_char(behind_since AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') ||
                               ' were queued. GET /v1/events has them.' END
                       WHERE id = $1 AND enabled RETURNING id, workspace_id, public_url),
                   given_up AS (
                       UPDATE webhook_deliveries AS d SET status = 'failed', next_attempt_at = NULL, taken_by = NULL, error = $2
                       FROM disabled WHERE d.endpoint_id = disabled.id AND d.status = 'pending'),
                   told AS (
                       INSERT INTO outgoing_mail (id, letter, user_id, webhook_id, public_url, created_at)
                       SELECT $4 || '_' || row_number() OVER (), 'webhook_disabled', m.user_id, disabled.id, disabled.public_url,
                              $3::timestamptz
                       FROM disabled JOIN members AS m ON m.workspace_id = disabled.workspace_id AND m.role = 'owner')
                   SELECT id FROM disabled";
        Ok(!self.query(sql, &[id, reason, now, mail_id].map(Some)).await?.is_empty())
    }
}

impl ControlTransaction<'_> {
    /// Queues deliveries in their order. An event that an endpoint has got already is left out.
    pub async fn queue_deliveries(&mut self, new: &[NewDelivery<'_>], now: &str) -> Result<(), Fault> {
        let sql = "INSERT INTO webhook_deliveries (id, endpoint_id, event_id, event_type, subject, body, created_at, next_attempt_at)
                   SELECT n.id, n.endpoint_id, n.event_id, n.event_type, n.subject, n.body, $2::timestamptz,
                          COALESCE((SELECT o.next_attempt_at FROM webhook_deliveries AS o
                                    WHERE o.endpoint_id = n.endpoint_id AND o.subject = n.subject AND o.status = 'pending'
                                      AND o.taken_by IS NULL
                                    ORDER BY o.place DESC LIMIT 1),
                                   $2::timestamptz)
                   FROM ROWS FROM (jsonb_to_recordset($1::jsonb) AS (id text, endpoint_id text, event_id text, event_type text,
                            subject text, body text)) WITH ORDINALITY
                            AS n (id, endpoint_id, event_id, event_type, subject, body, number)
                   JOIN webhook_endpoints AS e ON e.id = n.endpoint_id
                   ORDER BY n.number
                   ON CONFLICT ON CONSTRAINT webhook_deliveries_event_key DO NOTHING";
        let new = serde_json::to_string(new).map_err(Fault::internal)?;
        self.query(sql, &[Some(&new), Some(now)]).await.map(drop)
    }

    /// A delivery of an endpoint, as JSON.
    pub async fn delivery(&mut self, endpoint_id: &str, id: &str) -> Result<Option<Rows>, Fault> {
        let sql = format!(
            "SELECT {} FROM webhook_deliveries AS d WHERE d.id = $1 AND d.endpoint_id = $2",
            json_columns(COLUMNS)
        );
        Ok(found(self.query(&sql, &[Some(id), Some(endpoint_id)]).await?))
    }

    /// Makes a delivery pending again, as if it had never been tried.
    pub async fn replay_delivery(&mut self, endpoint_id: &str, id: &str, now: &str) -> Result<Option<Rows>, Fault> {
        let sql = format!(
            "UPDATE webhook_deliveries AS d
             SET status = 'pending', attempts = 0, next_attempt_at = $3::timestamptz, taken_by = NULL
             WHERE d.id = $1 AND d.endpoint_id = $2 RETURNING {}",
            json_columns(COLUMNS)
        );
        Ok(found(self.query(&sql, &[id, endpoint_id, now].map(Some)).await?))
    }

    /// Makes an endpoint's failed deliveries since a time pending again, the oldest first, at most as many as there is room for.
    /// Returns their number, and whether there are more.
    pub async fn replay_failed(
        &mut self,
        endpoint_id: &str,
        since: &str,
        now: &str,
        room: u64,
    ) -> Result<(u64, bool), Fault> {
        let sql = "WITH failed AS (
                       SELECT ctid, row_number() OVER (ORDER BY place) AS number FROM webhook_deliveries
                       WHERE endpoint_id = $1 AND status = 'failed' AND created_at >= $2::timestamptz ORDER BY place LIMIT $4::bigint + 1),
                   again AS (
                       UPDATE webhook_deliveries SET status = 'pending', attempts = 0, next_attempt_at = $3::timestamptz
                       WHERE ctid = ANY (ARRAY(SELECT f.ctid FROM failed AS f WHERE f.number <= $4::bigint)) AND status = 'failed'
                       RETURNING id)
                   SELECT (SELECT count(*) FROM again) AS replayed, (SELECT count(*) FROM failed) > $4::bigint AS has_more";
        let room = room.to_string();
        let rows = self.query(sql, &[endpoint_id, since, now, &room].map(Some)).await?;
        let row = rows.only()?;
        Ok((row.get("replayed")?, row.is("has_more")?))
    }
}

fn taken(row: ControlRow<'_>, taken_by: &str) -> Result<TakenDelivery, Fault> {
    Ok(TakenDelivery {
        id: row.get("id")?,
        taken_by: taken_by.to_owned(),
        event_id: row.get("event_id")?,
        body: row.get("body")?,
        attempts: row.get("attempts")?,
        endpoint_id: row.get("endpoint_id")?,
        workspace_id: row.get("workspace_id")?,
        url: row.get("url")?,
        secret: bytes(row, "secret")?,
        old_secret: optional_bytes(row, "old_secret")?,
        is_failing: row.is("is_failing")?,
        new_first: row.is("new_first")?,
    })
}
