//! Statements about the records of e-mails that are sent.

use crate::sql::{Label, Sql};

/// A column and its new value.
pub type EmailCell = (&'static str, Option<String>);

/// Records an e-mail and returns its record.
pub fn record(cells: &[EmailCell]) -> Sql {
    let mut sql = insert(cells);
    sql.push(" RETURNING t.*");
    sql
}

/// `INSERT INTO public.emails AS t (…) VALUES (…)`
pub(super) fn insert(cells: &[EmailCell]) -> Sql {
    let mut sql = Sql::new("INSERT INTO public.emails AS t (");
    for (at, (column, _)) in cells.iter().enumerate() {
        sql.push(if at > 0 { ", " } else { "" }).name(column);
    }
    sql.push(") VALUES (");
    for (at, (column, value)) in cells.iter().enumerate() {
        sql.push(if at > 0 { ", " } else { "" }).bind(value.clone(), Label::Column((*column).to_owned()));
    }
    sql.push(")");
    sql
}

/// Records what became of an e-mail, and returns its record. A deleted record learns it too.
pub fn outcome(id: &str, cells: &[EmailCell]) -> Sql {
    let mut sql = Sql::new("UPDATE public.emails AS t SET ");
    for (at, (column, value)) in cells.iter().enumerate() {
        sql.push(if at > 0 { ", " } else { "" }).name(column).push(" = ");
        sql.bind(value.clone(), Label::Column((*column).to_owned()));
    }
    sql.push(" WHERE t.id = ").bind(Some(id.to_owned()), Label::Id).push(" RETURNING t.*");
    sql
}

/// Records why an e-mail waits, and returns its record. No row if it does not wait any more.
pub fn delayed(id: &str, reason: &str) -> Sql {
    let mut sql = Sql::new("UPDATE public.emails AS t SET status = 'queued', status_reason = ");
    sql.bind(Some(reason.to_owned()), Label::Column("status_reason".to_owned()));
    sql.push(" WHERE t.id = ").bind(Some(id.to_owned()), Label::Id);
    sql.push(" AND t.status IN ('queued', 'held') RETURNING t.*");
    sql
}

/// Finds whether the record of an e-mail is there: a row with `is_deleted`.
pub fn state(id: &str) -> Sql {
    let mut sql = Sql::new("SELECT t.deleted_at IS NOT NULL AS is_deleted FROM public.emails AS t WHERE t.id = ");
    sql.bind(Some(id.to_owned()), Label::Id);
    sql
}

/// Finds the e-mail that another one answers, by its id.
pub fn answered(id: &str) -> Sql {
    found("t.id", id)
}

/// Finds the e-mail that another one answers, by its Message-ID.
pub fn answered_by_message_id(message_id: &str) -> Sql {
    found("t.provider_msg_id", message_id)
}

fn found(column: &'static str, value: &str) -> Sql {
    let mut sql = Sql::new("SELECT t.id, t.thread_id, t.provider_msg_id FROM public.emails AS t WHERE ");
    sql.push(column).push(" = ").bind(Some(value.to_owned()), Label::Own);
    sql.push(" AND t.deleted_at IS NULL ORDER BY t.created_at, t.id LIMIT 1");
    sql
}

/// Finds the Message-IDs of the last messages of a conversation up to one of them, the newest first.
pub fn chain(thread_id: &str, id: &str) -> Sql {
    const WHEN: &str = "coalesce(t.received_at, t.sent_at, t.created_at)";
    let mut sql = Sql::new("SELECT t.provider_msg_id FROM public.emails AS t WHERE t.thread_id = ");
    sql.bind(Some(thread_id.to_owned()), Label::Own);
    sql.push(" AND t.deleted_at IS NULL AND t.provider_msg_id LIKE '<%>' AND (").push(WHEN).push(", t.id) <= (SELECT ");
    sql.push(WHEN).push(", t.id FROM public.emails AS t WHERE t.id = ").bind(Some(id.to_owned()), Label::Own);
    sql.push(") ORDER BY ").push(WHEN).push(" DESC, t.id DESC LIMIT 20");
    sql
}

/// Returns the ids of the e-mails whose records an undo has changed.
pub fn undone(secret: &str, undo: &str) -> Sql {
    let mut sql = Sql::new("SELECT id FROM kith.undone_emails(");
    sql.bind(Some(secret.to_owned()), Label::Own).push(", ").bind(Some(undo.to_owned()), Label::Own).push(") AS id");
    sql
}
