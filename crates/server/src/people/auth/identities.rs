//! Identities: a trusted issuer (an OpenID Connect provider, or Clerk) identifies a person, and Kith finds or creates their
//! account.

use crm::model::fault::Fault;

use crate::clock::Clock;
use crate::people::Person;
use crate::people::auth::accounts::Accounts;
use crate::people::auth::address;
use crate::store::Store;
use crate::store::control::identities::NewIdentity;

/// The longest issuer, the longest subject, and the longest name of a person.
const MAX_ISSUER_BYTES: usize = 1000;
const MAX_SUBJECT_BYTES: usize = 255;
const MAX_NAME_CHARACTERS: usize = 200;

/// An issuer's claims about a person.
#[derive(Debug, PartialEq, Eq)]
pub struct Claims {
    /// The address of the issuer.
    pub issuer: String,
    /// The person's id at the issuer.
    pub subject: String,
    /// The address, if the issuer has verified it.
    pub email: Option<String>,
    /// An address that the issuer does not claim to have verified. A new account gets it unless another account has it. It
    /// gives no access to an existing account.
    pub unproven: Option<String>,
    /// The person's display name.
    pub name: Option<String>,
}

impl Claims {
    /// Checks an issuer's claims. Returns `None` if they do not identify the person. An invalid address or name is left out.
    pub fn new(issuer: &str, subject: &str, verified_email: Option<&str>, name: Option<&str>) -> Option<Claims> {
        let is_name = |text: &str, most: usize| !text.is_empty() && text.len() <= most && !text.contains('\0');
        if !is_name(issuer, MAX_ISSUER_BYTES) || !is_name(subject, MAX_SUBJECT_BYTES) {
            return None;
        }
        let is_line = |name: &&str| {
            !name.is_empty() && name.chars().count() <= MAX_NAME_CHARACTERS && !name.chars().any(char::is_control)
        };
        Some(Claims {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
            email: verified_email.and_then(|email| address::normal(email).ok()),
            unproven: None,
            name: name.map(str::trim).filter(is_line).map(str::to_owned),
        })
    }
}

impl Claims {
    /// The same, with an address that may be unverified.
    pub fn with_unproven(self, email: Option<&str>) -> Claims {
        Claims { unproven: email.and_then(|email| address::normal(email).ok()), ..self }
    }
}

/// Returns the person of these claims. A new person gets an account.
///
/// If an account has the person's verified address, it becomes theirs. If that account's address was not verified yet, all
/// other access to the account ends, since somebody else may have created it. A person without a verified address gets a new
/// account under `unproven`, if that address is free, or under `placeholder`, an address that cannot exist. Without a
/// placeholder they get no account.
pub async fn recognise(
    (store, accounts, clock): (&Store, &Accounts, &Clock),
    claims: &Claims,
    placeholder: Option<&str>,
) -> Result<Option<Person>, Fault> {
    let (now, user_id) = (clock.unix_seconds(), clock.id("u"));
    let control = &store.control;
    let mut unproven = claims.unproven.as_deref().filter(|_| placeholder.is_some());
    // If two first requests arrive at the same time, one of them has to try again.
    for _ in 0..4 {
        if let Some(person) = control.person_of_identity(&claims.issuer, &claims.subject).await? {
            let Some(email) = claims.email.as_deref().filter(|_| address::is_nobodys(&person.email)) else {
                return Ok(Some(person));
            };
            let given = control.give_address(&person.id, email, now).await?;
            return Ok(Some(given.unwrap_or(person)));
        }
        let Some(email) = claims.email.as_deref().or(unproven.take()).or(placeholder) else { return Ok(None) };
        let identity = NewIdentity {
            issuer: &claims.issuer,
            subject: &claims.subject,
            email,
            email_verified: claims.email.is_some(),
            name: claims.name.as_deref(),
        };
        if let Some(added) = control.add_identity(&identity, &user_id, now).await? {
            accounts.forget(&added.user_id);
            let (user_id, issuer, taken_over) = (&added.user_id, &claims.issuer, added.taken_over);
            tracing::info!(user_id, issuer, taken_over, "added an identity");
            if taken_over && let Err(fault) = store.sweep_direct(None).await {
                tracing::error!(fault = fault.in_log(), user_id, "can't end direct connections at once");
            }
        }
    }
    Err(Fault::internal("an identity is not there and can't be added"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_issuer_says_is_looked_at_first() {
        let claims = Claims::new("https://i.example", "1", Some("Ada@Example.com"), Some(" Ada ")).unwrap();
        assert_eq!((claims.email.as_deref(), claims.name.as_deref()), (Some("ada@example.com"), Some("Ada")));
        let odd = Claims::new("https://i.example", "1", Some("ada@clerk.invalid"), Some("a\nb")).unwrap();
        assert_eq!((odd.email, odd.name), (None, None));
        for (issuer, subject) in [("", "1"), ("i", ""), ("i", "a\0b"), ("i", &"x".repeat(256))] {
            assert!(Claims::new(issuer, subject, None, None).is_none(), "{issuer} {subject}");
        }
    }
}
