//! People and what is theirs: accounts, sessions, workspaces, keys, members. The control plane's hall: each act takes
//! who is asking and gives an answer, whichever door it came through. Knows nothing of axum.

pub mod auth;
pub mod context;
pub mod form;
pub mod pages;
pub mod workspace;

use std::net::IpAddr;

use crm::model::fault::Fault;

pub use crate::store::control::accounts::Person;

/// Who stands at the door.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    /// Who they are, if they have shown a session.
    pub person: Option<Person>,
    /// The session they have shown: `ses_…`.
    pub session_id: Option<String>,
    /// Where they come from.
    pub address: Option<IpAddr>,
    /// The program they use.
    pub user_agent: Option<String>,
}

impl Visitor {
    /// The person, where one is needed.
    pub fn person(&self) -> Result<&Person, Fault> {
        self.person.as_ref().ok_or_else(|| Fault::NotSignedIn {
            message: "This path needs a person's session.".into(),
            hint: "POST /v1/auth/login gives a session_token; send it as Authorization: Bearer <session token>.".into(),
        })
    }
}
