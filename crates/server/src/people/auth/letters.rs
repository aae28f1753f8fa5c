//! Letters to people: what they say and what their tokens are. A letter is queued when something asks for it and written
//! when it is sent; until then its token does not exist.

use crm::model::fault::Fault;
use crm::model::id;

use crate::access::api_key;
use crate::clock::{Clock, random};
use crate::people::auth::accounts::Accounts;
use crate::store::control::accounts::{DueLetter, NewLetter};
use crate::store::fault::of_connection;
use crate::store::{Error, Store};

/// What a letter's token begins with.
const TOKEN_PREFIX: &str = "kmt_";
/// Random characters of a token: 200 bits.
const TOKEN_CHARACTERS: usize = 40;
/// Seconds in which an account gets so many letters of a kind, and no more.
const LIMITED_SECONDS: i64 = 15 * 60;

/// A kind of letter.
#[derive(Debug)]
pub struct Kind {
    /// Its name in the control database.
    pub name: &'static str,
    subject: &'static str,
    /// The page to which its link leads.
    page: &'static str,
    /// How long its token works, in seconds.
    pub lasts_seconds: i64,
    /// What it says before the link and after it.
    text: (&'static str, &'static str),
}

/// Says whose an address is.
pub const VERIFY_EMAIL: Kind = Kind {
    name: "verify_email",
    subject: "Confirm your e-mail address",
    page: "/verify-email",
    lasts_seconds: 3 * 24 * 60 * 60,
    text: (
        "Somebody, probably you, has signed up for Kith with this e-mail address. Open this page to confirm that it is yours:",
        "The link works for three days. If you have not signed up, ignore this letter: without you nobody can confirm the address.",
    ),
};

/// Lets an account have another password.
pub const RESET_PASSWORD: Kind = Kind {
    name: "reset_password",
    subject: "Choose a new password",
    page: "/reset-password",
    lasts_seconds: 60 * 60,
    text: (
        "Somebody, probably you, has asked for a new password for your account at Kith. Open this page to choose it:",
        "The link works once, for an hour. If you have not asked for it, ignore this letter: your password stays as it is.",
    ),
};

/// Brings somebody into a workspace. Who is invited need not have an account yet.
pub const INVITE: Kind = Kind {
    name: "invite",
    subject: "You are invited to a workspace",
    page: "/invite",
    lasts_seconds: 7 * 24 * 60 * 60,
    text: (
        "Somebody wants to work with you in their workspace at Kith. Open this page to accept, signed in with this e-mail address:",
        "The link works once, for a week. If you do not know who that is, ignore this letter.",
    ),
};

const KINDS: [&Kind; 3] = [&VERIFY_EMAIL, &RESET_PASSWORD, &INVITE];

/// A letter as it goes out. It holds a token, so it is never printed.
pub struct Written {
    /// What it is about.
    pub subject: &'static str,
    /// What it says.
    pub text: String,
    /// The link in it.
    pub link: String,
}

/// A letter's row in the queue.
pub fn row<'a>(id: &'a str, kind: &Kind, public_url: &'a str, now: i64) -> NewLetter<'a> {
    NewLetter { id, letter: kind.name, public_url, now }
}

/// Queues a letter to somebody, unless they got several of the kind just now.
pub async fn queue(
    (store, accounts, clock): (&Store, &Accounts, &Clock),
    kind: &Kind,
    user_id: &str,
    public_url: &str,
) -> Result<(), Fault> {
    let (id, now) = (clock.id("mail"), clock.unix_seconds());
    let letter = row(&id, kind, public_url, now);
    store.control.queue_letter(user_id, &letter, now - LIMITED_SECONDS).await.map_err(of_connection)?;
    accounts.letters.notify_one();
    Ok(())
}

/// Writes a letter that is due, with a token that works from now on. Nothing where nobody knows such letters any more.
pub async fn write(store: &Store, clock: &Clock, due: &DueLetter) -> Result<Option<Written>, Error> {
    let Some(kind) = KINDS.into_iter().find(|kind| kind.name == due.letter) else { return Ok(None) };
    let token = format!("{TOKEN_PREFIX}{}", id::token(&random::<TOKEN_CHARACTERS>()));
    let (now, hash) = (clock.unix_seconds(), api_key::hash(&token));
    let link = if kind.name == INVITE.name {
        store.control.keep_invite_token(&due.about, &hash).await?;
        format!("{}{}/{token}", due.public_url, kind.page)
    } else {
        store.control.keep_mail_token(&hash, &due.about, kind.name, (now, now + kind.lasts_seconds)).await?;
        format!("{}{}?token={token}", due.public_url, kind.page)
    };
    let (before, after) = kind.text;
    // The name that an account gives itself stays out: it would carry anybody's words to anybody's mailbox.
    Ok(Some(Written { subject: kind.subject, text: format!("{before}\n\n{link}\n\n{after}\n"), link }))
}
