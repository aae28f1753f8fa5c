//! Accounts: signing up, logging in, verifying an address, changing a password.
//!
//! No answer shows whether an address has an account, except the answer to a sign-up with it. A sign-up is counted like a
//! failed log-in from the same IP address.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crm::model::answer::Answer;
use crm::model::fault::Fault;

use crate::access::api_key;
use crate::access::limits;
use crate::clock::iso;
use crate::people::Person;
use crate::people::auth::clerk::Clerk;
use crate::people::auth::oidc::Provider;
use crate::people::auth::passwords::Passwords;
use crate::people::auth::sessions::{IssuedSession, Sessions};
use crate::people::auth::{address, emails, passwords};
use crate::people::context::PersonContext;
use crate::store::control::accounts::NewAccount;
use crate::store::control::login_failures::FailureSubject;

/// The number of failed log-ins within [`FAILURES_SECONDS`] after which an account is locked, and the number after which an IP
/// address is locked. An office shares an IP address: one colleague's failures lock that colleague's account, not everybody.
const MOST_FAILURES_OF_ACCOUNT: u32 = 10;
const MOST_FAILURES_OF_ADDRESS: u32 = 50;
const FAILURES_SECONDS: i64 = 15 * 60;
/// The longest name of a person, in characters.
const MAX_NAME_CHARACTERS: usize = 200;

/// The state of this process for accounts.
#[derive(Clone, Default)]
pub struct Accounts {
    /// Hashes and verifies passwords.
    pub passwords: Passwords,
    /// The cached sessions.
    pub sessions: Sessions,
    /// Wakes the sender of e-mail.
    pub mail_queued: Arc<Notify>,
    /// Clerk, if its sessions are accepted.
    pub clerk: Option<Arc<Clerk>>,
    /// OpenID Connect providers at which people may sign in.
    pub providers: Arc<[Arc<Provider>]>,
}

impl Accounts {
    /// Drops what this process has cached of a person. Call it after the person has changed or their sessions have ended.
    pub fn forget(&self, user_id: &str) {
        self.sessions.forget(user_id);
        if let Some(clerk) = &self.clerk {
            clerk.forget(user_id);
        }
    }
}

/// The credentials for signing up and logging in. Types with passwords in them are never printed.
pub struct Credentials {
    /// The address as it was typed.
    pub email: String,
    /// The password as it was typed.
    pub password: String,
}

/// A new password, set with an e-mail's token.
pub struct PasswordReset {
    /// The token.
    pub token: String,
    /// The new password.
    pub password: String,
}

/// A new password, set with the current one.
pub struct PasswordChange {
    /// The current password.
    pub current: String,
    /// The new password.
    pub new: String,
}

/// A person who has signed in. It holds the session's token, so it is never printed.
pub struct SignedIn {
    /// The answer, which also contains the token.
    pub answer: Answer,
    /// The session's token.
    pub token: String,
}

/// Creates an account and starts its first session.
pub async fn sign_up(
    context: &PersonContext<'_>,
    credentials: &Credentials,
    name: Option<&str>,
) -> Result<SignedIn, Fault> {
    let email = address::normal(&credentials.email)?;
    let name = check_name(name)?;
    passwords::check_new(&credentials.password, &email)?;
    let mut turn = context.app.accounts.passwords.turn().await?;
    let subjects = [address_subject(context)];
    check_failures(context, &subjects).await?;
    let password_hash = turn.hash(&credentials.password).await?;
    let (user_id, mail_id, now) =
        (context.app.clock.id("u"), context.app.clock.id("mail"), context.app.clock.unix_seconds());
    let new = NewAccount { id: &user_id, email: &email, name, password_hash: &password_hash };
    let session = IssuedSession::new(&context.app.clock, context.visitor);
    let mail = emails::new_mail(&mail_id, &emails::VERIFY_EMAIL, &context.app.public_url, now);
    if !context.app.store.control.create_account(&new, &session.row(), &mail).await? {
        context.app.store.control.note_failure(&subjects, now).await?;
        return Err(Fault::Refused {
            code: "conflict",
            message: "There is an account with this e-mail address already.".into(),
            hint: Some("POST /v1/auth/login, or POST /v1/auth/request-password-reset if the password is lost.".into()),
        });
    }
    context.app.accounts.mail_queued.notify_one();
    tracing::info!(user_id, "account created");
    let person = Person { id: user_id, email, name: name.map(str::to_owned), email_verified: false, created_at: now };
    Ok(signed_in(&person, session, true))
}

/// Starts a session.
pub async fn log_in(context: &PersonContext<'_>, credentials: &Credentials) -> Result<SignedIn, Fault> {
    let email = address::normal(&credentials.email)?;
    passwords::check_length(&credentials.password)?;
    let mut turn = context.app.accounts.passwords.turn().await?;
    let subjects = [account_subject(&email), address_subject(context)];
    check_failures(context, &subjects).await?;
    let control = &context.app.store.control;
    let account = control.account_of_email(&email).await?;
    let hash = account.as_ref().and_then(|account| account.password_hash.as_deref());
    let is_right = turn.verify(&credentials.password, hash).await?;
    let Some(account) = account.filter(|_| is_right) else {
        control.note_failure(&subjects, context.app.clock.unix_seconds()).await?;
        tracing::info!(address = ?context.visitor.address, "log-in failed");
        return Err(Fault::NotSignedIn {
            message: "The e-mail address or the password is wrong.".into(),
            hint: "POST /v1/auth/request-password-reset sends a link by which to choose a new password.".into(),
        });
    };
    control.forget_failures(&subjects[0]).await?;
    let (person, session) = (account.user, IssuedSession::new(&context.app.clock, context.visitor));
    control.create_session(&person.id, &session.row()).await?;
    tracing::info!(user_id = person.id, "logged in");
    Ok(signed_in(&person, session, false))
}

/// The visitor's account.
pub fn me(context: &PersonContext<'_>) -> Result<Answer, Fault> {
    context.visitor.person().map(user_answer)
}

/// Verifies the address of an account with an e-mail's token.
pub async fn verify_email(context: &PersonContext<'_>, token: &str) -> Result<Answer, Fault> {
    let person =
        context.app.store.control.verify_email(&api_key::hash(token), context.app.clock.unix_seconds()).await?;
    let person =
        person.ok_or_else(|| void_token("Sign in and ask for another by POST /v1/auth/request-verification."))?;
    context.app.accounts.forget(&person.id);
    tracing::info!(user_id = person.id, "e-mail address verified");
    Ok(user_answer(&person))
}

/// Sends the e-mail that verifies the visitor's address again.
pub async fn request_verification(context: &PersonContext<'_>) -> Result<Answer, Fault> {
    let person = context.visitor.person()?;
    if address::is_nobodys(&person.email) {
        return Err(Fault::invalid_with_hint(
            "This account has no e-mail address.",
            "Clerk tells it by the claims \"email\" and \"email_verified\" of the session token.",
        ));
    }
    if !person.email_verified {
        let parts = (&context.app.store, &context.app.accounts, &context.app.clock);
        emails::queue(parts, &emails::VERIFY_EMAIL, &person.id, &context.app.public_url).await?;
    }
    Ok(user_answer(person))
}

/// Sends an e-mail with which to choose a new password, if the address has an account. The look-up happens after the answer, so
/// that neither the answer nor its time reveals the result.
pub fn request_password_reset(context: &PersonContext<'_>, email: &str) -> Result<Answer, Fault> {
    let email = address::normal(email)?;
    let (store, accounts, clock) = (context.app.store.clone(), context.app.accounts.clone(), context.app.clock.clone());
    let public_url = context.app.public_url.to_owned();
    let answer = json!({"email": email}).to_string();
    tokio::spawn(async move {
        let queued = async {
            let Some(account) = store.control.account_of_email(&email).await? else {
                return Ok(());
            };
            tracing::info!(user_id = account.user.id, "password reset requested");
            let parts = (&store, &accounts, &clock);
            emails::queue(parts, &emails::RESET_PASSWORD, &account.user.id, &public_url).await
        };
        let queued: Result<(), Fault> = queued.await;
        if let Err(fault) = queued {
            tracing::error!(fault = fault.in_log(), "can't queue an e-mail");
        }
    });
    Ok(Answer::Object { text: answer, created: false })
}

/// Changes an account's password with an e-mail's token, and ends its sessions except the visitor's.
pub async fn reset_password(context: &PersonContext<'_>, reset: &PasswordReset) -> Result<Answer, Fault> {
    let (hash, now) = (api_key::hash(&reset.token), context.app.clock.unix_seconds());
    passwords::check_length(&reset.password)?;
    let void = || void_token("POST /v1/auth/request-password-reset sends another.");
    let control = &context.app.store.control;
    let account = control.account_of_reset(&hash, now).await?.ok_or_else(void)?;
    passwords::check_new(&reset.password, &account.user.email)?;
    let password_hash = context.app.accounts.passwords.turn().await?.hash(&reset.password).await?;
    let keep = context.visitor.session_id.as_deref();
    let person = control.reset_password(&hash, &password_hash, keep, now).await?.ok_or_else(void)?;
    control.forget_failures(&account_subject(&person.email)).await?;
    context.app.accounts.forget(&person.id);
    context.app.keys.forget();
    tracing::info!(user_id = person.id, "password reset by e-mail");
    Ok(user_answer(&person))
}

/// Changes the password of the visitor's account, and ends its other sessions. A wrong current password counts like a failed
/// log-in.
pub async fn change_password(context: &PersonContext<'_>, change: &PasswordChange) -> Result<Answer, Fault> {
    let person = context.visitor.person()?;
    passwords::check_length(&change.current)?;
    passwords::check_new(&change.new, &person.email)?;
    let mut turn = context.app.accounts.passwords.turn().await?;
    let subjects = [account_subject(&person.email), address_subject(context)];
    check_failures(context, &subjects).await?;
    let control = &context.app.store.control;
    let account = control.account_of_user(&person.id).await?;
    let old_hash = account.and_then(|account| account.password_hash);
    let now = context.app.clock.unix_seconds();
    let Some(old_hash) = old_hash else {
        return Err(Fault::Forbidden {
            message: "This account has no password yet. POST /v1/auth/request-password-reset sends a link by which to choose one."
                .into(),
        });
    };
    if !turn.verify(&change.current, Some(&old_hash)).await? {
        control.note_failure(&subjects, now).await?;
        return Err(Fault::Forbidden { message: "The current password is another one.".into() });
    }
    let new_hash = turn.hash(&change.new).await?;
    let keep = context.visitor.session_id.as_deref();
    if !control.change_password(&person.id, (&old_hash, &new_hash), keep, now).await? {
        return Err(Fault::Forbidden { message: "The password was changed just now by somebody else.".into() });
    }
    control.forget_failures(&subjects[0]).await?;
    context.app.accounts.forget(&person.id);
    tracing::info!(user_id = person.id, "password changed");
    Ok(user_answer(person))
}

/// A person's own view of their account.
fn user(person: &Person) -> Value {
    json!({
        "id": person.id,
        "email": person.email,
        "name": person.name,
        "email_verified": person.email_verified,
        "created_at": iso(person.created_at),
    })
}

fn user_answer(person: &Person) -> Answer {
    Answer::Object { text: json!({"user": user(person)}).to_string(), created: false }
}

fn signed_in(person: &Person, session: IssuedSession, created: bool) -> SignedIn {
    let text = json!({"user": user(person), "session_token": session.token}).to_string();
    SignedIn { answer: Answer::Object { text, created }, token: session.token }
}

fn check_name(name: Option<&str>) -> Result<Option<&str>, Fault> {
    let name = name.map(str::trim).filter(|name| !name.is_empty());
    match name {
        Some(name) if name.chars().count() > MAX_NAME_CHARACTERS || name.chars().any(char::is_control) => {
            Err(Fault::invalid(format!("A person's name is one line of up to {MAX_NAME_CHARACTERS} characters.")))
        }
        name => Ok(name),
    }
}

fn void_token(remedy: &str) -> Fault {
    Fault::invalid_with_hint("This link does not work: it was used, it has ended, or it was never sent.", remedy)
}

fn account_subject(email: &str) -> FailureSubject {
    FailureSubject { name: format!("account:{email}"), most: MOST_FAILURES_OF_ACCOUNT }
}

fn address_subject(context: &PersonContext<'_>) -> FailureSubject {
    let network = context.visitor.address.map(|address| limits::network(address).to_string());
    let name = format!("address:{}", network.as_deref().unwrap_or("unknown"));
    FailureSubject { name, most: MOST_FAILURES_OF_ADDRESS }
}

/// Refuses the request if an account or an IP address has failed too often. It is called while the turn is held, so that
/// guesses sent at once are counted like guesses sent one after the other.
async fn check_failures(context: &PersonContext<'_>, subjects: &[FailureSubject]) -> Result<(), Fault> {
    let now = context.app.clock.unix_seconds();
    match context.app.store.control.locking_failure(subjects, now - FAILURES_SECONDS).await? {
        None => Ok(()),
        Some(at) => Err(Fault::RateLimited {
            retry_after: (at + FAILURES_SECONDS - now).max(1) as u64,
            message: format!(
                "{MOST_FAILURES_OF_ACCOUNT} log-ins of this account, or {MOST_FAILURES_OF_ADDRESS} from this address, have \
                 failed within 15 minutes."
            ),
        }),
    }
}
