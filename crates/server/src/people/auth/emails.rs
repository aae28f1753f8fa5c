//! E-mails to people: their texts, and the tokens in their links. An e-mail is queued on request and composed when it is sent.
//! Its token is created only then.

use crm::model::fault::Fault;
use crm::model::id;

use crate::access::api_key;
use crate::clock::{Clock, random};
use crate::people::auth::accounts::Accounts;
use crate::store::Store;
use crate::store::control::mail::{DueMail, NewMail};

/// The prefix of an e-mail's token.
const TOKEN_PREFIX: &str = "kmt_";
/// Random characters of a token: 200 bits.
const TOKEN_CHARACTERS: usize = 40;
/// Seconds in which the number of e-mails of a kind to an account is limited.
const LIMITED_SECONDS: i64 = 15 * 60;

/// A kind of e-mail.
#[derive(Debug)]
pub struct Template {
    /// Its name in the control database.
    pub name: &'static str,
    subject: &'static str,
    /// The page that its link opens.
    page: &'static str,
    /// How long its token is valid, in seconds.
    pub lasts_seconds: i64,
    /// The text before the link and after it.
    text: (&'static str, &'static str),
}

/// Verifies the address of an account.
pub const VERIFY_EMAIL: Template = Template {
    name: "verify_email",
    subject: "Confirm your e-mail address",
    page: "/verify-email",
    lasts_seconds: 3 * 24 * 60 * 60,
    text: (
        "Somebody, probably you, has signed up for Kith with this e-mail address. Open this page to confirm that it is yours:",
        "The link works for three days. If you have not signed up, ignore this e-mail: without you nobody can confirm the address.",
    ),
};

/// Lets a person choose a new password for an account.
pub const RESET_PASSWORD: Template = Template {
    name: "reset_password",
    subject: "Choose a new password",
    page: "/reset-password",
    lasts_seconds: 60 * 60,
    text: (
        "Somebody, probably you, has asked for a new password for your account at Kith. Open this page to choose it:",
        "The link works once, for an hour. If you have not asked for it, ignore this e-mail: your password stays as it is.",
    ),
};

/// Invites to a workspace. The recipient may have no account yet.
pub const INVITATION: Template = Template {
    name: "invite",
    subject: "You are invited to a workspace",
    page: "/invite",
    lasts_seconds: 7 * 24 * 60 * 60,
    text: (
        "Somebody wants to work with you in their workspace at Kith. Open this page to accept, signed in with this e-mail address:",
        "The link works once, for a week. If you do not know who that is, ignore this e-mail.",
    ),
};

/// Tells an owner that a webhook endpoint was disabled.
pub const WEBHOOK_DISABLED: Template = Template {
    name: "webhook_disabled",
    subject: "A webhook was disabled",
    page: "/webhooks",
    lasts_seconds: 0,
    text: (
        "A webhook of your workspace at Kith is disabled, because its address did not take events. This page has the reason and the deliveries:",
        "After you have repaired the receiver, enable the webhook and replay its failed deliveries.",
    ),
};

/// Tells an owner that an automation was switched off.
pub const AUTOMATION_DISABLED: Template = Template {
    name: "automation_disabled",
    subject: "An automation was switched off",
    page: "/automations",
    lasts_seconds: 0,
    text: (
        "An automation of your workspace at Kith is switched off, because its runs have failed or it was too far behind. This page has the reason and the runs:",
        "After you have corrected the automation, enable it again.",
    ),
};

const TEMPLATES: [&Template; 5] =
    [&VERIFY_EMAIL, &RESET_PASSWORD, &INVITATION, &WEBHOOK_DISABLED, &AUTOMATION_DISABLED];

/// An e-mail to be sent. It holds a token, so it is never printed.
pub struct Email {
    /// Its subject line.
    pub subject: &'static str,
    /// Its whole text.
    pub text: String,
    /// The link in the text.
    pub link: String,
}

/// Creates an e-mail for the queue.
pub fn new_mail<'a>(id: &'a str, template: &Template, public_url: &'a str, now: i64) -> NewMail<'a> {
    NewMail { id, kind: template.name, public_url, now }
}

/// Queues an e-mail to an account, unless it got several of the kind recently.
pub async fn queue(
    (store, accounts, clock): (&Store, &Accounts, &Clock),
    template: &Template,
    user_id: &str,
    public_url: &str,
) -> Result<(), Fault> {
    let (id, now) = (clock.id("mail"), clock.unix_seconds());
    let mail = new_mail(&id, template, public_url, now);
    store.control.queue_mail(user_id, &mail, now - LIMITED_SECONDS).await?;
    accounts.mail_queued.notify_one();
    Ok(())
}

/// Composes an e-mail that is due, with a token that is valid from now on. Returns `None` if this version has no such template.
pub async fn compose(store: &Store, clock: &Clock, due: &DueMail) -> Result<Option<Email>, Fault> {
    let Some(template) = TEMPLATES.into_iter().find(|template| template.name == due.kind) else { return Ok(None) };
    if let Some(disabled) = &due.disabled {
        return Ok(Some(template.with(format!("{}{}/{disabled}", due.public_url, template.page))));
    }
    let token = format!("{TOKEN_PREFIX}{}", id::token(&random::<TOKEN_CHARACTERS>()));
    let (now, hash) = (clock.unix_seconds(), api_key::hash(&token));
    let link = if template.name == INVITATION.name {
        store.control.keep_invitation_token(&due.about, &hash).await?;
        format!("{}{}/{token}", due.public_url, template.page)
    } else {
        let times = (now, now + template.lasts_seconds);
        store.control.keep_mail_token(&hash, &due.about, template.name, times).await?;
        format!("{}{}?token={token}", due.public_url, template.page)
    };
    Ok(Some(template.with(link)))
}

impl Template {
    fn with(&self, link: String) -> Email {
        let (before, after) = self.text;
        // The account's name is left out. Otherwise anybody could send a text of their choice to any mailbox.
        Email { subject: self.subject, text: format!("{before}\n\n{link}\n\n{after}\n"), link }
    }
}
