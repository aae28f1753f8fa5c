//! Accounts: signing up, logging in, proving an address, changing a password. Nothing here tells whether an address has
//! an account, except signing up with it, which is counted like a failed log-in of where it comes from.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crm::model::answer::Answer;
use crm::model::call::Call;
use crm::model::fault::Fault;

use crate::access::api_key;
use crate::access::limits;
use crate::clock::iso;
use crate::people::Person;
use crate::people::auth::clerk::Clerk;
use crate::people::auth::oidc::Provider;
use crate::people::auth::passwords::Passwords;
use crate::people::auth::sessions::{Beginning, Sessions};
use crate::people::auth::{address, letters, passwords};
use crate::people::context::PersonContext;
use crate::people::form::Form;
use crate::store::control::accounts::NewAccount;
use crate::store::fault::of_connection;

/// Failed log-ins of an account or an address, within so many seconds, after which there are none for a while (wire
/// contract, section 7).
const MOST_FAILURES: u32 = 10;
const FAILURES_SECONDS: i64 = 15 * 60;
/// Longest name of a person.
const MAX_NAME_CHARACTERS: usize = 200;

/// What accounts need of this process.
#[derive(Clone, Default)]
pub struct Accounts {
    /// Where passwords are computed.
    pub passwords: Passwords,
    /// The sessions that were seen.
    pub sessions: Sessions,
    /// Wakes the sender of letters.
    pub letters: Arc<Notify>,
    /// Clerk, where its sessions are taken.
    pub clerk: Option<Arc<Clerk>>,
    /// OpenID Connect providers at which people may sign in.
    pub providers: Arc<[Arc<Provider>]>,
}

impl Accounts {
    /// Forgets what this process keeps of a person. Call it when the person, or what ends their sessions, has changed.
    pub fn forget(&self, user_id: &str) {
        self.sessions.forget(user_id);
        if let Some(clerk) = &self.clerk {
            clerk.forget(user_id);
        }
    }
}

/// A session that has begun. It holds the token, so it is never printed.
pub struct Opened {
    /// What is answered.
    pub answer: Answer,
    /// The session's token.
    pub token: String,
}

/// Makes an account and begins its first session: `{email, password, name?}`.
pub async fn sign_up(context: &PersonContext<'_>, call: &Call<'_>) -> Result<Opened, Fault> {
    let form = Form::read(call, &["email", "password", "name"])?;
    let email = address::normal(form.required("email")?)?;
    let password = form.required("password")?;
    let name = name(form.text("name")?)?;
    passwords::check_new(password, &email)?;
    let mut turn = context.accounts.passwords.turn().await?;
    let subjects = vec![address_subject(context)];
    keep_to_failures(context, &subjects).await?;
    let password_hash = turn.hash(password).await?;
    let (user_id, letter_id, now) = (context.clock.id("u"), context.clock.id("mail"), context.clock.unix_seconds());
    let new = NewAccount { id: &user_id, email: &email, name, password_hash: &password_hash };
    let beginning = Beginning::new(context.clock, context.visitor);
    let letter = letters::row(&letter_id, &letters::VERIFY_EMAIL, context.public_url, now);
    if !context.store.control.create_account(&new, &beginning.row(), &letter).await.map_err(of_connection)? {
        context.store.control.note_failure(&subjects, now).await.map_err(of_connection)?;
        return Err(Fault::Refused {
            code: "conflict",
            message: "There is an account with this e-mail address already.".into(),
            hint: Some("POST /v1/auth/login, or POST /v1/auth/request-password-reset if the password is lost.".into()),
        });
    }
    context.accounts.letters.notify_one();
    tracing::info!(user_id, "account made");
    let person = Person { id: user_id, email, name: name.map(str::to_owned), email_verified: false, created_at: now };
    Ok(opened(&person, beginning, true))
}

/// Begins a session: `{email, password}`.
pub async fn log_in(context: &PersonContext<'_>, call: &Call<'_>) -> Result<Opened, Fault> {
    let form = Form::read(call, &["email", "password"])?;
    let email = address::normal(form.required("email")?)?;
    let password = form.required("password")?;
    passwords::check_length(password)?;
    let mut turn = context.accounts.passwords.turn().await?;
    let subjects = vec![account_subject(&email), address_subject(context)];
    keep_to_failures(context, &subjects).await?;
    let account = context.store.control.account_of_email(&email).await.map_err(of_connection)?;
    let hash = account.as_ref().and_then(|account| account.password_hash.as_deref());
    let right = turn.verify(password, hash).await?;
    let Some(account) = account.filter(|_| right) else {
        context.store.control.note_failure(&subjects, context.clock.unix_seconds()).await.map_err(of_connection)?;
        tracing::info!(address = ?context.visitor.address, "log-in failed");
        return Err(Fault::NotSignedIn {
            message: "The e-mail address or the password is wrong.".into(),
            hint: "POST /v1/auth/request-password-reset sends a link by which to choose a new password.".into(),
        });
    };
    context.store.control.forget_failures(&subjects[0]).await.map_err(of_connection)?;
    let (person, beginning) = (account.user, Beginning::new(context.clock, context.visitor));
    context.store.control.create_session(&person.id, &beginning.row()).await.map_err(of_connection)?;
    tracing::info!(user_id = person.id, "logged in");
    Ok(opened(&person, beginning, false))
}

/// Who the visitor is.
pub fn me(context: &PersonContext<'_>) -> Result<Answer, Fault> {
    context.visitor.person().map(user_answer)
}

/// The address is the person's, who has read the letter: `{token}`.
pub async fn verify_email(context: &PersonContext<'_>, call: &Call<'_>) -> Result<Answer, Fault> {
    let form = Form::read(call, &["token"])?;
    let hash = api_key::hash(form.required("token")?);
    let person =
        context.store.control.verify_email(&hash, context.clock.unix_seconds()).await.map_err(of_connection)?;
    let person =
        person.ok_or_else(|| void_token("Sign in and ask for another by POST /v1/auth/request-verification."))?;
    context.accounts.forget(&person.id);
    tracing::info!(user_id = person.id, "e-mail address verified");
    Ok(user_answer(&person))
}

/// Sends the letter that verifies the visitor's address once more.
pub async fn request_verification(context: &PersonContext<'_>, call: &Call<'_>) -> Result<Answer, Fault> {
    Form::read(call, &[])?;
    let person = context.visitor.person()?;
    if address::is_nobodys(&person.email) {
        return Err(Fault::invalid_with_hint(
            "This account has no e-mail address.",
            "Clerk tells it by the claims \"email\" and \"email_verified\" of the session token.",
        ));
    }
    if !person.email_verified {
        let rooms = (context.store, context.accounts, context.clock);
        letters::queue(rooms, &letters::VERIFY_EMAIL, &person.id, context.public_url).await?;
    }
    Ok(user_answer(person))
}

/// Sends a letter by which to choose a new password, if the address has an account: `{email}`. The work is done after the
/// answer, so that neither what it says nor how long it takes tells anything.
pub fn request_password_reset(context: &PersonContext<'_>, call: &Call<'_>) -> Result<Answer, Fault> {
    let form = Form::read(call, &["email"])?;
    let email = address::normal(form.required("email")?)?;
    let (store, accounts, clock) = (context.store.clone(), context.accounts.clone(), context.clock.clone());
    let public_url = context.public_url.to_owned();
    let answer = json!({"email": email}).to_string();
    tokio::spawn(async move {
        let queued = async {
            let Some(account) = store.control.account_of_email(&email).await.map_err(of_connection)? else {
                return Ok(());
            };
            tracing::info!(user_id = account.user.id, "password reset asked for");
            let rooms = (&store, &accounts, &clock);
            letters::queue(rooms, &letters::RESET_PASSWORD, &account.user.id, &public_url).await
        };
        if let Err(fault) = queued.await {
            tracing::error!(?fault, "can't queue a letter");
        }
    });
    Ok(Answer::Object { text: answer, created: false })
}

/// Gives the account of a letter another password, and ends its other sessions: `{token, password}`.
pub async fn reset_password(context: &PersonContext<'_>, call: &Call<'_>) -> Result<Answer, Fault> {
    let form = Form::read(call, &["token", "password"])?;
    let (hash, now) = (api_key::hash(form.required("token")?), context.clock.unix_seconds());
    let password = form.required("password")?;
    passwords::check_length(password)?;
    let void = || void_token("POST /v1/auth/request-password-reset sends another.");
    let control = &context.store.control;
    let account = control.account_of_reset(&hash, now).await.map_err(of_connection)?.ok_or_else(void)?;
    passwords::check_new(password, &account.user.email)?;
    let password_hash = context.accounts.passwords.turn().await?.hash(password).await?;
    let keep = context.visitor.session_id.as_deref();
    let person = control.reset_password(&hash, &password_hash, keep, now).await.map_err(of_connection)?;
    let person = person.ok_or_else(void)?;
    control.forget_failures(&account_subject(&person.email)).await.map_err(of_connection)?;
    context.accounts.forget(&person.id);
    context.keys.forget();
    tracing::info!(user_id = person.id, "password reset by letter");
    Ok(user_answer(&person))
}

/// Gives the visitor's account another password, and ends its other sessions: `{current_password, password}`. Wrong guesses
/// count like failed log-ins.
pub async fn change_password(context: &PersonContext<'_>, call: &Call<'_>) -> Result<Answer, Fault> {
    let person = context.visitor.person()?;
    let form = Form::read(call, &["current_password", "password"])?;
    let (current, password) = (form.required("current_password")?, form.required("password")?);
    passwords::check_length(current)?;
    passwords::check_new(password, &person.email)?;
    let mut turn = context.accounts.passwords.turn().await?;
    let subjects = vec![account_subject(&person.email), address_subject(context)];
    keep_to_failures(context, &subjects).await?;
    let account = context.store.control.account_of_user(&person.id).await.map_err(of_connection)?;
    let old_hash = account.and_then(|account| account.password_hash);
    let now = context.clock.unix_seconds();
    let Some(old_hash) = old_hash else {
        return Err(Fault::Forbidden {
            message: "This account has no password yet. POST /v1/auth/request-password-reset sends a link by which to choose one."
                .into(),
        });
    };
    if !turn.verify(current, Some(&old_hash)).await? {
        context.store.control.note_failure(&subjects, now).await.map_err(of_connection)?;
        return Err(Fault::Forbidden { message: "The current password is another one.".into() });
    }
    let new_hash = turn.hash(password).await?;
    let keep = context.visitor.session_id.as_deref();
    let changed = context.store.control.change_password(&person.id, (&old_hash, &new_hash), keep, now).await;
    if !changed.map_err(of_connection)? {
        return Err(Fault::Forbidden { message: "The password was changed just now by somebody else.".into() });
    }
    context.store.control.forget_failures(&subjects[0]).await.map_err(of_connection)?;
    context.accounts.forget(&person.id);
    tracing::info!(user_id = person.id, "password changed");
    Ok(user_answer(person))
}

/// A person as they see themselves.
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

fn opened(person: &Person, beginning: Beginning, created: bool) -> Opened {
    let text = json!({"user": user(person), "session_token": beginning.token}).to_string();
    Opened { answer: Answer::Object { text, created }, token: beginning.token }
}

fn name(text: Option<&str>) -> Result<Option<&str>, Fault> {
    let text = text.map(str::trim).filter(|text| !text.is_empty());
    match text {
        Some(text) if text.chars().count() > MAX_NAME_CHARACTERS || text.chars().any(char::is_control) => {
            Err(Fault::invalid(format!("\"name\" takes one line of up to {MAX_NAME_CHARACTERS} characters.")))
        }
        text => Ok(text),
    }
}

fn void_token(remedy: &str) -> Fault {
    Fault::invalid_with_hint("This link does not work: it was used, it has ended, or it was never sent.", remedy)
}

fn account_subject(email: &str) -> String {
    format!("account:{email}")
}

fn address_subject(context: &PersonContext<'_>) -> String {
    context.visitor.address.map_or_else(|| "address:unknown".into(), |it| format!("address:{}", limits::network(it)))
}

/// Refuses where an account or an address has failed too often. It is asked while the turn is held.
async fn keep_to_failures(context: &PersonContext<'_>, subjects: &[String]) -> Result<(), Fault> {
    let now = context.clock.unix_seconds();
    let locking = context.store.control.locking_failure(subjects, MOST_FAILURES, now - FAILURES_SECONDS).await;
    match locking.map_err(of_connection)? {
        None => Ok(()),
        Some(at) => Err(Fault::RateLimited {
            retry_after: (at + FAILURES_SECONDS - now).max(1) as u64,
            message: format!(
                "{MOST_FAILURES} log-ins of this account or from this address have failed within 15 minutes."
            ),
        }),
    }
}
