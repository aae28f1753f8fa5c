//! A request whose caller, tools and version are known. There are no sessions between requests.

use axum::http::request::Parts;

use crm::dialect::controls::Limits;
use crm::dialect::tools::Offer;

use crate::access::Caller;
use crate::app::App;
use crate::budget::Held;
use crate::door::mcp::version::Era;
use crate::door::reply::Envelope;
use crate::hall::Progress;

/// A request whose caller, tools and version are known.
pub struct Session<'a, 'e> {
    /// The state that doors share.
    pub app: &'a App,
    /// The id of the request, `req_…`.
    pub id: &'a str,
    /// The headers of the HTTP request.
    pub head: &'a Parts,
    /// How it is answered.
    pub envelope: &'a mut Envelope<'e>,
    /// The caller.
    pub caller: &'a Caller,
    /// The tools that the caller may use.
    pub offer: Offer,
    /// The kind of version.
    pub era: Era,
    /// The controls in the headers. They hold for each tool that writes.
    pub limits: Limits,
    /// Is told how far the call is, if the client wants to know.
    pub progress: Option<&'a dyn Progress>,
    /// The room of the values in the body, if they are counted.
    pub values: Option<&'a Held>,
}
