//! Failed log-ins, counted by account and by IP address.

use crm::model::fault::Fault;
use crm::model::value::array_of_texts;

use crate::store::control::Control;

/// An account or IP address whose failed log-ins are counted.
#[derive(Clone, Debug)]
pub struct FailureSubject {
    /// `account:<e-mail>` or `address:<IP>`
    pub name: String,
    /// The number of failures that locks it.
    pub most: u32,
}

impl Control {
    /// The time in Unix seconds of the failure that locks one of these subjects; `None` if no subject is locked. A subject is
    /// locked if it has at least `most` failures after `since`. That failure is the oldest of its `most` newest ones, and the
    /// lock lasts until it is too old to count.
    pub async fn locking_failure(&self, subjects: &[FailureSubject], since: i64) -> Result<Option<i64>, Fault> {
        let sql = "SELECT max(at) AS at FROM (
                       SELECT extract(epoch FROM f.failed_at)::bigint AS at, s.most,
                              row_number() OVER (PARTITION BY f.subject ORDER BY f.failed_at DESC) AS place
                       FROM login_failures AS f
                       JOIN unnest($1::text[], $2::bigint[]) AS s (subject, most) ON s.subject = f.subject
                       WHERE f.failed_at > to_timestamp($3::bigint)) AS failures
                   WHERE place = most";
        let most: Vec<String> = subjects.iter().map(|subject| subject.most.to_string()).collect();
        let params = [Some(&*names(subjects)), Some(&*array_of_texts(&most)), Some(&*since.to_string())];
        self.query(sql, &params).await?.only()?.optional("at")
    }

    /// Stores a failed log-in of each of these subjects.
    pub async fn note_failure(&self, subjects: &[FailureSubject], now: i64) -> Result<(), Fault> {
        let sql = "INSERT INTO login_failures (subject, failed_at)
                   SELECT subject, to_timestamp($2::bigint) FROM unnest($1::text[]) AS subject";
        self.query(sql, &[Some(&names(subjects)), Some(&now.to_string())]).await.map(drop)
    }

    /// Deletes a subject's failed log-ins.
    pub async fn forget_failures(&self, subject: &FailureSubject) -> Result<(), Fault> {
        self.query("DELETE FROM login_failures WHERE subject = $1", &[Some(&subject.name)]).await.map(drop)
    }
}

fn names(subjects: &[FailureSubject]) -> String {
    array_of_texts(&subjects.iter().map(|subject| subject.name.clone()).collect::<Vec<_>>())
}
