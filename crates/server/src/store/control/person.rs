//! A person with an account, as stored in `users`.

use crm::model::fault::Fault;

use crate::store::control::rows::ControlRow;

/// A person with an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// `u_…`
    pub id: String,
    /// The e-mail address, in lower case.
    pub email: String,
    /// The person's display name.
    pub name: Option<String>,
    /// Whether the address is verified.
    pub email_verified: bool,
    /// When the account was created, in Unix seconds.
    pub created_at: i64,
}

/// The columns of a [`Person`], where `users` is called `u`.
pub(super) const PERSON: &str = "u.id AS user_id, u.email, u.name, u.email_verified_at IS NOT NULL AS email_verified,
                    extract(epoch FROM u.created_at)::bigint AS user_created_at";

pub(super) fn person(row: ControlRow<'_>) -> Result<Person, Fault> {
    Ok(Person {
        id: row.get("user_id")?,
        email: row.get("email")?,
        name: row.optional("name")?,
        email_verified: row.is("email_verified")?,
        created_at: row.get("user_created_at")?,
    })
}
