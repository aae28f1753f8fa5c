//! People and what is theirs: accounts, sessions, workspaces, keys, members. The control plane's hall: each act takes
//! who is asking and gives an answer, whichever door it came through. Knows nothing of axum.

pub mod claims;
pub mod desk;
pub mod keyring;
pub mod members;

use std::net::IpAddr;

use crm::model::fault::Fault;

/// Somebody with an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// `u_…`
    pub id: String,
    /// The e-mail address, in lower case.
    pub email: String,
    /// What they are called.
    pub name: Option<String>,
    /// Whether the address is known to be theirs.
    pub email_verified: bool,
}

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
        self.person.as_ref().ok_or_else(|| Fault::Unauthorized {
            message: "This path needs a person's session: sign in by POST /v1/auth/login.".into(),
        })
    }
}
