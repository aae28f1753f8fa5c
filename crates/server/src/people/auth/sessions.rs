//! Sessions. A session's token is `kst_` and 40 random characters; its SHA-256 is stored. A session ends 30 days after its last
//! use, or when it is ended. That takes effect at once in the process that ends it, and within a second in other processes.

use std::sync::Arc;

use serde_json::json;

use crm::model::answer::Answer;
use crm::model::fault::Fault;
use crm::model::id;
use crm::model::page::PageAsk;

use crate::access::api_key;
use crate::access::limits::Window;
use crate::cache::Cache;
use crate::clock::{Clock, iso, random};
use crate::people::Visitor;
use crate::people::context::PersonContext;
use crate::people::paging;
use crate::store::Store;
use crate::store::control::sessions::{NewSession, SESSIONS, Session};

/// The prefix of a session's token.
pub const TOKEN_PREFIX: &str = "kst_";
/// Random characters of a token: 200 bits.
const TOKEN_CHARACTERS: usize = 40;
/// How long a session lives after its last use, in seconds.
pub const SESSION_SECONDS: i64 = 30 * 24 * 60 * 60;
/// The shortest time between two updates of the stored last use, in seconds.
const NOTED_EVERY_SECONDS: i64 = 60;
/// How long a session is cached after its look-up, in milliseconds. It is short because other processes end sessions too.
const FRESH_MS: u64 = 1000;
/// The most sessions that are cached.
const CAPACITY: usize = 100_000;
/// The longest user agent that is stored, in characters.
const MAX_AGENT_CHARACTERS: usize = 300;

/// The cached sessions, by the hash of their token.
#[derive(Clone)]
pub struct Sessions {
    found: Arc<Cache<[u8; 32], Arc<Session>>>,
    /// The request counts of each session. They are kept when a session is forgotten.
    windows: Arc<Cache<[u8; 32], Arc<Window>>>,
}

impl Default for Sessions {
    fn default() -> Sessions {
        let found = Arc::new(Cache::fresh_for(FRESH_MS, CAPACITY));
        Sessions { found, windows: Arc::new(Cache::until_forgotten(CAPACITY)) }
    }
}

/// The session of a request.
pub struct ShownSession {
    /// The session as it is stored.
    pub session: Arc<Session>,
    /// The session's requests in this minute.
    pub window: Arc<Window>,
    /// Whether this request extended the session.
    pub prolonged: bool,
}

impl Sessions {
    /// Whether this process has seen the session of this token before. The session may have ended since.
    pub fn has_seen(&self, clock: &Clock, token: &str) -> bool {
        self.windows.get(&api_key::hash(token), clock.unix_ms()).is_some()
    }

    /// The session of a token; `None` if the token is not a session's, or the session has ended.
    pub async fn shown(&self, store: &Store, clock: &Clock, token: &str) -> Result<Option<ShownSession>, Fault> {
        if !is_well_formed(token) {
            return Ok(None);
        }
        let (hash, now_ms) = (api_key::hash(token), clock.unix_ms());
        let now = now_ms.div_euclid(1000);
        let mut prolonged = false;
        let look_up = async || {
            let found = store.control.session(&hash, now).await?;
            let Some(mut session) = found else { return Ok(None) };
            prolonged = session.last_used_at + NOTED_EVERY_SECONDS <= now;
            if prolonged {
                (session.last_used_at, session.expires_at) = (now, now + SESSION_SECONDS);
                store.control.prolong_session(&session.id, now, session.expires_at).await?;
            }
            Ok(Some(Arc::new(session)))
        };
        let found = self.found.get_or_look_up(hash, now_ms, look_up).await?;
        let Some(session) = found.filter(|session| session.expires_at > now) else { return Ok(None) };
        let window = self.windows.get_or_insert_with(hash, Arc::default);
        Ok(Some(ShownSession { session, window, prolonged }))
    }

    /// Drops the cached sessions of a person, for example after one was ended. Each is looked up again on its next use.
    pub fn forget(&self, user_id: &str) {
        self.found.forget(|session| session.user.id == user_id);
    }
}

/// Whether a text has the form of a session's token.
pub fn is_well_formed(token: &str) -> bool {
    token.strip_prefix(TOKEN_PREFIX).is_some_and(|rest| {
        rest.len() == TOKEN_CHARACTERS && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

/// A new session. It holds the token, so it is never printed.
pub struct IssuedSession {
    id: String,
    /// The token. It is shown only once.
    pub token: String,
    user_agent: Option<String>,
    address: Option<String>,
    now: i64,
}

impl IssuedSession {
    /// Creates a session for the visitor.
    pub fn new(clock: &Clock, visitor: &Visitor) -> IssuedSession {
        let shorten = |agent: &String| agent.chars().take(MAX_AGENT_CHARACTERS).collect();
        IssuedSession {
            id: clock.id("ses"),
            token: format!("{TOKEN_PREFIX}{}", id::token(&random::<TOKEN_CHARACTERS>())),
            user_agent: visitor.user_agent.as_ref().map(shorten),
            address: visitor.address.map(|address| address.to_canonical().to_string()),
            now: clock.unix_seconds(),
        }
    }

    /// The part of it that is stored.
    pub fn row(&self) -> NewSession<'_> {
        NewSession {
            id: &self.id,
            token_hash: api_key::hash(&self.token),
            user_agent: self.user_agent.as_deref(),
            address: self.address.as_deref(),
            now: self.now,
            expires_at: self.now + SESSION_SECONDS,
        }
    }
}

/// Lists the visitor's sessions, the newest first.
pub async fn list(context: &PersonContext<'_>, ask: PageAsk) -> Result<Answer, Fault> {
    let person = context.visitor.person()?;
    let (now, shown) =
        (context.app.clock.unix_seconds().to_string(), context.visitor.session_id.as_deref().unwrap_or_default());
    paging::page(context, &SESSIONS, &person.id, &[&now, shown], ask).await
}

/// Ends one of the visitor's sessions.
pub async fn end(context: &PersonContext<'_>, session_id: &str) -> Result<Answer, Fault> {
    let person = context.visitor.person()?;
    let now = context.app.clock.unix_seconds();
    if !context.app.store.control.end_session(&person.id, session_id, now).await? {
        return Err(Fault::NotFound { table: "your sessions".into(), id: session_id.to_owned() });
    }
    context.app.accounts.forget(&person.id);
    tracing::info!(user_id = person.id, session_id, "session ended");
    Ok(Answer::Object { text: json!({"id": session_id, "deleted_at": iso(now)}).to_string(), created: false })
}

/// Ends the session of the request. A session of Clerk's is ended at Clerk.
pub async fn log_out(context: &PersonContext<'_>) -> Result<Answer, Fault> {
    context.visitor.person()?;
    match context.visitor.session_id.as_deref() {
        Some(session_id) => end(context, session_id).await,
        None => {
            let hint = "This session was begun by Clerk and ends there.";
            let text = json!({"id": null, "deleted_at": null, "hint": hint}).to_string();
            Ok(Answer::Object { text, created: false })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_its_form() {
        let token = IssuedSession::new(&Clock::System, &Visitor::default()).token;
        assert!(is_well_formed(&token), "{token}");
        for other in ["", "kst_", &token[1..], &token[..43], &format!("{token}0"), &token.to_uppercase()] {
            assert!(!is_well_formed(other), "{other}");
        }
    }
}
