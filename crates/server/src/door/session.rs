//! Identifies the person who makes a request: by a session's token as Bearer or by a browser's cookie. They may be anonymous.

use axum::http::header;

use crm::model::fault::Fault;

use crate::access::{self, AdmittedPerson, KnownSession};
use crate::door::cookie;
use crate::door::reply::Envelope;
use crate::door::request::HttpRequest;
use crate::door::rest;
use crate::people::Visitor;
use crate::people::auth::sessions;

/// The purpose of a request, as far as it affects which session counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The request starts a session.
    BeginsSession,
    /// The request creates a workspace, with or without an owner.
    MakesWorkspace,
    /// Anything else.
    Other,
}

/// The identity of a request's sender.
pub struct AtDoor {
    /// The visitor.
    pub visitor: Visitor,
    /// Whether an API key was used instead of a session.
    pub has_key: bool,
    /// The cookie's token, if the cookie must be set again because the session was extended or the cookie has an old name.
    pub renewed: Option<String>,
}

/// Identifies the sender of a request. A Bearer token that is neither a session of Kith or Clerk nor a key is refused. A cookie
/// that is not a session's is ignored.
pub async fn at_door(
    request: &mut HttpRequest<'_>,
    envelope: &mut Envelope<'_>,
    purpose: Purpose,
) -> Result<AtDoor, Fault> {
    let user_agent = request.head.headers.get(header::USER_AGENT);
    let user_agent = user_agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
    let visitor = Visitor { address: request.peer, user_agent, ..Visitor::default() };
    let nobody = AtDoor { visitor, has_key: false, renewed: None };
    match request.bearer()? {
        Some(token) if access::is_session(request.app, token) => {
            let session =
                access::known_session(request.app, token, request.peer).await?.ok_or_else(|| Fault::NotSignedIn {
                    message: "This session is not known. It may have ended.".into(),
                    hint: "POST /v1/auth/login gives a new session_token.".into(),
                })?;
            Ok(nobody.signed_in(&admit(request, envelope, session)?))
        }
        Some(key) => {
            rest::admit(request, envelope, key).await?;
            Ok(AtDoor { has_key: true, ..nobody })
        }
        // A new session replaces an earlier one. A page of another site must not sign its visitors in.
        None if purpose == Purpose::BeginsSession => {
            cookie::keep_to_own_pages(request.head, &request.app.public_url)?;
            Ok(nobody)
        }
        None => by_cookie(request, envelope, purpose, nobody).await,
    }
}

async fn by_cookie(
    request: &mut HttpRequest<'_>,
    envelope: &mut Envelope<'_>,
    purpose: Purpose,
    nobody: AtDoor,
) -> Result<AtDoor, Fault> {
    let Some(cookie) = cookie::session(&request.head.headers, &request.app.public_url) else { return Ok(nobody) };
    let token = cookie.token;
    if !token.starts_with(sessions::TOKEN_PREFIX) {
        return Ok(nobody);
    }
    let Some(session) = access::known_session(request.app, token, request.peer).await? else {
        // A person who believes that they are signed in must not get an anonymous workspace.
        if purpose == Purpose::MakesWorkspace && sessions::is_well_formed(token) {
            return Err(Fault::NotSignedIn {
                message: "The session of the cookie has ended.".into(),
                hint:
                    "POST /v1/auth/login begins another; without the cookie, the workspace is made without an account."
                        .into(),
            });
        }
        return Ok(nobody);
    };
    cookie::keep_to_own_pages(request.head, &request.app.public_url)?;
    let person = admit(request, envelope, session)?;
    let renewed = (person.prolonged || cookie.is_old).then(|| token.to_owned());
    Ok(AtDoor { renewed, ..nobody.signed_in(&person) })
}

fn admit(
    request: &mut HttpRequest<'_>,
    envelope: &mut Envelope<'_>,
    session: KnownSession,
) -> Result<AdmittedPerson, Fault> {
    let person = access::admit_person(request.app, session).map_err(|refused| envelope.refused(*refused))?;
    envelope.admitted(None, Some(person.rate));
    envelope.actor = Some(format!("user:{}", person.person.id).into());
    Ok(person)
}

impl AtDoor {
    fn signed_in(self, person: &AdmittedPerson) -> AtDoor {
        let visitor =
            Visitor { person: Some(person.person.clone()), session_id: person.session_id.clone(), ..self.visitor };
        AtDoor { visitor, ..self }
    }
}
