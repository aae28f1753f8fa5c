//! People who come from elsewhere: an issuer that is trusted says who somebody is, and Kith knows them as a person.

use crm::model::fault::Fault;

use crate::clock::Clock;
use crate::people::Person;
use crate::people::auth::accounts::Accounts;
use crate::people::auth::address;
use crate::store::Store;
use crate::store::control::identities::Identity;
use crate::store::fault::of_connection;

/// Longest name of an issuer, of somebody there, and of a person.
const MAX_ISSUER_BYTES: usize = 1000;
const MAX_SUBJECT_BYTES: usize = 255;
const MAX_NAME_CHARACTERS: usize = 200;

/// What an issuer says of a person.
#[derive(Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who says it.
    pub issuer: String,
    /// Who the person is there.
    pub subject: String,
    /// The address, where the issuer has verified it.
    pub email: Option<String>,
    /// An address that the issuer names without saying that it has verified it. It is what the person is called by, unless
    /// somebody has it; it opens nothing.
    pub unproven: Option<String>,
    /// What they are called.
    pub name: Option<String>,
}

impl Claims {
    /// What was said, looked at as anybody's words are. Nothing where it does not say who it is.
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
    /// The same, with an address that nobody says is verified.
    pub fn naming(self, email: Option<&str>) -> Claims {
        Claims { unproven: email.and_then(|email| address::normal(email).ok()), ..self }
    }
}

/// The person of these claims, who gets an account at first sight. An account that has the address is theirs, since the
/// issuer has verified it; if nobody had proved that to Kith, all ways into it but this one end, which may be somebody
/// else's. Who has no verified address is known by one that is named, if it is free, by `otherwise`, an address that is nobody's, or not
/// at all.
pub async fn recognise(
    (store, accounts, clock): (&Store, &Accounts, &Clock),
    claims: &Claims,
    otherwise: Option<&str>,
) -> Result<Option<Person>, Fault> {
    let (now, user_id) = (clock.unix_seconds(), clock.id("u"));
    let control = &store.control;
    let mut unproven = claims.unproven.as_deref().filter(|_| otherwise.is_some());
    // Two who come at once for the first time may be in each other's way once.
    for _ in 0..4 {
        let known = control.person_of_identity(&claims.issuer, &claims.subject).await.map_err(of_connection)?;
        if let Some(person) = known {
            let Some(email) = claims.email.as_deref().filter(|_| address::is_nobodys(&person.email)) else {
                return Ok(Some(person));
            };
            let given = control.give_address(&person.id, email, now).await.map_err(of_connection)?;
            return Ok(Some(given.unwrap_or(person)));
        }
        let Some(email) = claims.email.as_deref().or(unproven.take()).or(otherwise) else { return Ok(None) };
        let identity = Identity {
            issuer: &claims.issuer,
            subject: &claims.subject,
            email,
            email_verified: claims.email.is_some(),
            name: claims.name.as_deref(),
        };
        if let Some(added) = control.add_identity(&identity, &user_id, now).await.map_err(of_connection)? {
            accounts.forget(&added.user_id);
            let (user_id, issuer, taken_over) = (&added.user_id, &claims.issuer, added.taken_over);
            tracing::info!(user_id, issuer, taken_over, "somebody came from elsewhere for the first time");
            if taken_over && let Err(error) = store.sweep_direct(None).await {
                tracing::error!(%error, user_id, "can't end direct connections at once");
            }
        }
    }
    Err(Fault::internal("an identity that is neither there nor can be added"))
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
