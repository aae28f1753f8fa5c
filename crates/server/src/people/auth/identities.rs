//! Identities: a trusted issuer (an OpenID Connect provider, or Clerk) says who somebody is, and Kith finds or makes their account.

use crm::model::fault::Fault;

use crate::clock::Clock;
use crate::people::Person;
use crate::people::auth::accounts::Accounts;
use crate::people::auth::address;
use crate::store::Store;
use crate::store::control::identities::NewIdentity;

/// Longest issuer, longest subject, and longest name of a person.
const MAX_ISSUER_BYTES: usize = 1000;
const MAX_SUBJECT_BYTES: usize = 255;
const MAX_NAME_CHARACTERS: usize = 200;

/// What an issuer says of a person.
#[derive(Debug, PartialEq, Eq)]
pub struct Claims {
    /// The issuer.
    pub issuer: String,
    /// The person's id there.
    pub subject: String,
    /// The address, if the issuer has verified it.
    pub email: Option<String>,
    /// An address of which the issuer does not say whether it has verified it. A new account gets it unless another account has
    /// it; it opens no existing account.
    pub unproven: Option<String>,
    /// What they are called.
    pub name: Option<String>,
}

impl Claims {
    /// Checks what an issuer says. `None` if it does not say who the person is; an address or a name that makes no sense is left
    /// out.
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

/// The person of these claims. They get an account when they come for the first time.
///
/// An account that has their verified address is theirs. If nobody had proven that to Kith, all other access to the account
/// ends, since somebody else may have made it. A person without a verified address gets a new account under `unproven`, if that
/// address is free, or under `placeholder`, an address that cannot exist. Without a placeholder they get none.
pub async fn recognise(
    (store, accounts, clock): (&Store, &Accounts, &Clock),
    claims: &Claims,
    placeholder: Option<&str>,
) -> Result<Option<Person>, Fault> {
    let (now, user_id) = (clock.unix_seconds(), clock.id("u"));
    let control = &store.control;
    let mut unproven = claims.unproven.as_deref().filter(|_| placeholder.is_some());
    // Of two requests that come for the first time at once, one has to try again.
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
                tracing::error!(?fault, user_id, "can't end direct connections at once");
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
