//! Statements about e-mails that are received: those that are there already, the conversation that one belongs to, and its record.

use crate::sql::email::{EmailCell, insert};
use crate::sql::{Label, Sql};

/// What the conversation and the people of a message are found by.
#[derive(Debug)]
pub struct InboundPlace {
    /// The messages that it answers, as an array. The last one counts most.
    pub references: String,
    /// The subject.
    pub subject: Option<String>,
    /// When it was received or sent, ISO 8601.
    pub at: String,
    /// The participants, without the workspace's own addresses, as an array.
    pub participants: String,
    /// The address of the sender; `None` if the workspace sent it.
    pub sender: Option<String>,
}

/// An entry in the timeline for a received e-mail.
#[derive(Debug)]
pub struct InboundActivity {
    /// The subject.
    pub subject: Option<String>,
    /// The beginning of the text.
    pub body: Option<String>,
    /// The contact who sent it.
    pub contact_id: Option<String>,
    /// Their company.
    pub company_id: Option<String>,
    /// The deal that it concerns.
    pub deal_id: Option<String>,
    /// When it was received, ISO 8601.
    pub occurred_at: String,
    /// Free-form fields, as JSON.
    pub custom: String,
}

/// Finds an e-mail by its Message-ID: the live one, or else a deleted one if that counts.
pub fn known(message_id: &str, counts_deleted: bool) -> Sql {
    let mut sql = Sql::new("SELECT t.* FROM public.emails AS t WHERE t.provider_msg_id = ");
    sql.bind(Some(message_id.to_owned()), Label::Own);
    if !counts_deleted {
        sql.push(" AND t.deleted_at IS NULL");
    }
    sql.push(" ORDER BY t.deleted_at IS NULL DESC, t.created_at, t.id LIMIT 1");
    sql
}

/// Finds the e-mail that the workspace has sent and that a message is a copy of: one of this id with the same sender and subject.
pub fn original(id: &str, from: &str, subject: Option<&str>, counts_deleted: bool) -> Sql {
    let mut sql = Sql::new("SELECT t.* FROM public.emails AS t WHERE t.id = ");
    sql.bind(Some(id.to_owned()), Label::Own)
        .push(" AND t.direction = 'outbound' AND t.status IN ('queued', 'sent', 'failed')");
    sql.push(" AND t.from_addr = ANY (kith.address_forms(")
        .bind(Some(from.to_owned()), Label::Own)
        .push(")::public.citext[])");
    sql.push(" AND kith.thread_subject(t.subject) IS NOT DISTINCT FROM kith.thread_subject(");
    sql.bind(subject.map(str::to_owned), Label::Own).push(")");
    if !counts_deleted {
        sql.push(" AND t.deleted_at IS NULL");
    }
    sql
}

/// Records the Message-ID of a sent e-mail once it is known. What has come under it before gets into the conversation of the e-mail: answers, and
/// copies, which are deleted.
pub fn learned(id: &str, message_id: &str) -> [Sql; 3] {
    let (id, message_id) = (|| Some(id.to_owned()), || Some(message_id.to_owned()));
    let mut told = Sql::new("UPDATE public.emails AS t SET provider_msg_id = ");
    told.bind(message_id(), Label::Own).push(" WHERE t.id = ").bind(id(), Label::Id);
    told.push(" AND t.provider_msg_id IS DISTINCT FROM ").bind(message_id(), Label::Own).push(" RETURNING t.*");
    let mut joined =
        Sql::new("UPDATE public.emails AS t SET thread_id = o.thread_id FROM public.emails AS o WHERE o.id = ");
    joined.bind(id(), Label::Id).push(" AND t.thread_id = ").bind(message_id(), Label::Own);
    joined.push(" AND t.id <> o.id AND o.thread_id <> t.thread_id AND t.deleted_at IS NULL");
    let mut copies = Sql::new(
        "UPDATE public.emails AS t SET deleted_at = now() WHERE t.provider = 'rfc822' AND t.direction = 'outbound' AND t.provider_msg_id = ",
    );
    copies.bind(message_id(), Label::Own).push(" AND t.id <> ").bind(id(), Label::Id).push(" AND t.deleted_at IS NULL");
    [told, joined, copies]
}

/// Finds the conversation of a message, and whom and which deal it is about: one row with `id`, `thread_id` and `provider_msg_id` of another message
/// of the conversation, `contact_id`, `company_id`, `deal_id`, and `deal_ids` as an array's text.
pub fn place(place: &InboundPlace) -> Sql {
    const OPEN: &str = "d.deleted_at IS NULL AND NOT EXISTS (SELECT FROM public.pipeline_stages s
        WHERE s.pipeline = d.pipeline AND s.key = d.stage AND s.deleted_at IS NULL AND (s.is_won OR s.is_lost))";
    const WHEN: &str = "coalesce(t.received_at, t.sent_at, t.created_at)";
    let mut sql = Sql::new("WITH said (refs, subject, at, participants, sender) AS MATERIALIZED (SELECT ");
    sql.bind(Some(place.references.clone()), Label::Own).push("::text[], kith.thread_subject(");
    sql.bind(place.subject.clone(), Label::Own).push("), ");
    sql.bind(Some(place.at.clone()), Label::Own).push("::timestamptz, ");
    sql.bind(Some(place.participants.clone()), Label::Own).push("::public.citext[], kith.address_forms(");
    sql.bind(place.sender.clone(), Label::Own).push(")), ");
    // The message that it answers, the nearest one first.
    sql.push(
        "answered AS (SELECT t.id, t.thread_id, t.provider_msg_id, t.deal_ids FROM public.emails t
        WHERE t.provider_msg_id = ANY ((SELECT refs FROM said)::text[]) AND t.deleted_at IS NULL
        ORDER BY array_position((SELECT refs FROM said), t.provider_msg_id) DESC, t.created_at, t.id LIMIT 1), ",
    );
    sql.push(
        "alike AS (SELECT t.id, t.thread_id, t.provider_msg_id, t.deal_ids FROM public.emails t
        WHERE NOT EXISTS (SELECT FROM answered) AND t.deleted_at IS NULL
          AND kith.thread_subject(t.subject) = (SELECT subject FROM said) AND ",
    );
    sql.push(WHEN).push(
        " BETWEEN (SELECT at FROM said) - interval '30 days' AND (SELECT at FROM said) + interval '30 days'
          AND (t.from_addr = ANY ((SELECT participants FROM said)::public.citext[])
            OR t.to_addrs && (SELECT participants FROM said) OR t.cc_addrs && (SELECT participants FROM said))
        ORDER BY ",
    );
    sql.push(WHEN).push(" DESC, t.id DESC LIMIT 1), ");
    sql.push("origin AS (SELECT * FROM answered UNION ALL SELECT * FROM alike), ");
    sql.push("person AS (SELECT c.id, c.company_id FROM public.contacts c
        WHERE c.email = ANY ((SELECT sender FROM said)::public.citext[]) AND c.deleted_at IS NULL ORDER BY c.created_at, c.id LIMIT 1), ");
    sql.push("firm AS (SELECT coalesce(
        (SELECT f.id FROM public.companies f WHERE f.id = (SELECT company_id FROM person) AND f.deleted_at IS NULL),
        (SELECT f.id FROM public.companies f WHERE f.deleted_at IS NULL AND lower(f.domain) = ANY (ARRAY(
            SELECT kith.normal_domain(split_part(a::text, '@', -1)) FROM unnest((SELECT sender FROM said)) a)) ORDER BY f.created_at, f.id LIMIT 1)) AS id), ");
    // An open deal of the conversation, else the contact's newest open one, else the company's only open one.
    sql.push("deal AS (SELECT coalesce(
        (SELECT d.id FROM origin o, unnest(o.deal_ids) WITH ORDINALITY x(id, nr), public.deals d WHERE d.id = x.id AND ");
    sql.push(OPEN).push(
        " ORDER BY x.nr DESC LIMIT 1),
        (SELECT d.id FROM public.deals d WHERE d.contact_id = (SELECT id FROM person) AND ",
    );
    sql.push(OPEN).push(
        " ORDER BY d.created_at DESC, d.id DESC LIMIT 1),
        (SELECT min(d.id) FROM public.deals d WHERE d.company_id = (SELECT id FROM firm) AND ",
    );
    sql.push(OPEN).push(" HAVING count(*) = 1)) AS id) ");
    sql.push("SELECT o.id, o.thread_id, o.provider_msg_id, (SELECT id FROM person) AS contact_id, (SELECT id FROM firm) AS company_id,
        (SELECT id FROM deal) AS deal_id,
        ARRAY(SELECT d.id FROM public.deals d WHERE d.deleted_at IS NULL AND (d.id = ANY (o.deal_ids) OR d.id = (SELECT id FROM deal)) ORDER BY d.id)::text AS deal_ids
      FROM (SELECT) one LEFT JOIN origin o ON true");
    sql
}

/// Records an e-mail and returns its record; no row if another transaction has just recorded it.
pub fn record(cells: &[EmailCell]) -> Sql {
    let mut sql = insert(cells);
    sql.push(" ON CONFLICT (provider, provider_msg_id) WHERE provider IS NOT NULL AND provider_msg_id IS NOT NULL AND deleted_at IS NULL");
    sql.push(" DO NOTHING RETURNING t.*");
    sql
}

/// Logs a received e-mail. If the workspace requires custom fields of activities, nobody can fill them in, and nothing is logged.
pub fn activity(activity: &InboundActivity) -> Sql {
    let mut sql = Sql::new(
        "INSERT INTO public.activities (type, subject, body, contact_id, company_id, deal_id, occurred_at, custom) SELECT 'email'",
    );
    let cells = [
        (&activity.subject, "::text"),
        (&activity.body, "::text"),
        (&activity.contact_id, "::text"),
        (&activity.company_id, "::text"),
        (&activity.deal_id, "::text"),
        (&Some(activity.occurred_at.clone()), "::timestamptz"),
        (&Some(activity.custom.clone()), "::jsonb"),
    ];
    for (value, cast) in cells {
        sql.push(", ").bind(value.clone(), Label::Own).push(cast);
    }
    sql.push(" WHERE NOT EXISTS (SELECT FROM public.custom_fields f WHERE f.object_type = 'activity' AND f.required AND f.deleted_at IS NULL)");
    sql
}
