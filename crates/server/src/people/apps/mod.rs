//! Connected apps: programs that a person lets act in a workspace by OAuth 2.1, such as the connectors of chat applications,
//! which can hold no API key. Their tokens are opaque, stored as hashes, good for one address, and end with the membership.
//!
//! The rules are RFC 6749 with PKCE (7636), registration (7591), client-id metadata documents, resource indicators (8707),
//! issuer identification (9207) and revocation (7009).

pub mod clients;
pub mod grants;
pub mod scopes;

use std::fmt;

use crm::model::fault::Fault;

/// An error of the protocol, in its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OauthError {
    /// `invalid_request`, `invalid_grant` …
    pub code: &'static str,
    /// A sentence for the developer.
    pub description: String,
}

impl OauthError {
    /// Creates an error.
    pub fn new(code: &'static str, description: impl Into<String>) -> OauthError {
        OauthError { code, description: description.into() }
    }

    /// A fault of Kith's in the words of the protocol.
    pub fn of(fault: &Fault) -> OauthError {
        let code = if fault.retry_after().is_some() { "temporarily_unavailable" } else { "server_error" };
        OauthError::new(code, fault.message())
    }

    /// A request that lacks something, or has it wrong.
    pub fn invalid_request(description: impl Into<String>) -> OauthError {
        OauthError::new("invalid_request", description)
    }
}

impl fmt::Display for OauthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.description)
    }
}

/// Why a request of the protocol fails.
#[derive(Debug)]
pub enum Failure {
    /// It is answered in the protocol's words.
    Oauth(OauthError),
    /// Kith itself fails, or the caller asks too often.
    Fault(Fault),
}

impl From<OauthError> for Failure {
    fn from(error: OauthError) -> Failure {
        Failure::Oauth(error)
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        Failure::Fault(fault)
    }
}
