//! The requests that people make: accounts and sessions (`auth`), and workspaces with their keys, members and connections
//! (`workspace`). A function here takes the visitor's context and typed arguments, and returns an answer. It knows neither HTTP
//! nor a wire format.

pub mod apps;
pub mod auth;
pub mod context;
pub mod paging;
pub mod workspace;

use std::net::IpAddr;

use crm::model::fault::Fault;

pub use crate::store::control::person::Person;

/// The sender of a person's request.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    /// The person, if the request has a session.
    pub person: Option<Person>,
    /// That session, `ses_…`, if it is Kith's own.
    pub session_id: Option<String>,
    /// The IP address of the client.
    pub address: Option<IpAddr>,
    /// The client's user agent.
    pub user_agent: Option<String>,
}

impl Visitor {
    /// Returns the person, or a fault if the request has no session.
    pub fn person(&self) -> Result<&Person, Fault> {
        self.person.as_ref().ok_or_else(|| Fault::NotSignedIn {
            message: "This path needs a person's session.".into(),
            hint: "POST /v1/auth/login gives a session_token; send it as Authorization: Bearer <session token>.".into(),
        })
    }
}
