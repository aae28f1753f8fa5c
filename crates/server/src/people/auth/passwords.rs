//! Passwords: which are accepted, and how they are hashed and verified. Argon2id uses much memory and time by design, so at most
//! two hashes are computed at once, on threads of their own.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use crm::model::fault::Fault;
use crm::model::id;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clock::random;

/// The shortest and the longest password, in characters.
const MIN_CHARACTERS: usize = 10;
const MAX_CHARACTERS: usize = 256;
/// Different characters that a password needs.
const MIN_DIFFERENT: usize = 4;
/// Hashes that are computed at once.
const AT_ONCE: usize = 2;
/// How long a request waits for its turn.
const WAIT: Duration = Duration::from_secs(10);

/// The long enough passwords that attackers guess first.
const GUESSED_FIRST: &[&str] = &[
    "0123456789",
    "1234567890",
    "12345678910",
    "0987654321",
    "1q2w3e4r5t",
    "1q2w3e4r5t6y",
    "1qaz2wsx3edc",
    "abcdefghij",
    "abcdefghijkl",
    "administrator",
    "asdfghjkl;",
    "changeme123",
    "changeme1234",
    "iloveyou123",
    "letmein123",
    "letmein1234",
    "passw0rd123",
    "password01",
    "password12",
    "password123",
    "password1234",
    "password12345",
    "password123456",
    "passwordpassword",
    "qwerty1234",
    "qwerty12345",
    "qwerty123456",
    "qwertyuiop",
    "qwertyuiop123",
    "welcome123",
    "welcome1234",
    "zaq12wsxcde3",
];

/// The turns for hashing.
#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// A turn for hashing. A log-in holds it until its failure is stored, so that guesses sent at once are counted like guesses sent
/// one after the other.
pub struct HashingTurn {
    permit: Option<OwnedSemaphorePermit>,
}

impl Passwords {
    /// Waits for a turn.
    pub async fn turn(&self) -> Result<HashingTurn, Fault> {
        match tokio::time::timeout(WAIT, self.turns.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(HashingTurn { permit: Some(permit) }),
            Ok(Err(closed)) => Err(Fault::internal(closed)),
            Err(_) => Err(Fault::Unavailable {
                retry_after: 10,
                message: "Too many people are signing in at the moment.".into(),
            }),
        }
    }
}

impl HashingTurn {
    /// The Argon2id hash of a password, in PHC form, with a random salt.
    pub async fn hash(&mut self, password: &str) -> Result<String, Fault> {
        let password = password.to_owned();
        self.aside(move || hash(&password)).await?.map_err(Fault::internal)
    }

    /// Whether this is the password of an account. If there is no account, the same work is done, so that the time does not
    /// reveal this.
    pub async fn verify(&mut self, password: &str, hash: Option<&str>) -> Result<bool, Fault> {
        let (password, hash) = (password.to_owned(), hash.map(str::to_owned));
        metrics::counter!("kith_password_checks_total").increment(1);
        self.aside(move || match hash {
            Some(hash) => PasswordHash::new(&hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()),
            None => {
                let verified = nobodys().map(|hash| Argon2::default().verify_password(password.as_bytes(), hash));
                std::hint::black_box(verified.is_some());
                false
            }
        })
        .await
    }

    /// Runs work on a thread for blocking work. The permit moves there, so that a cancelled caller does not free the turn early.
    async fn aside<T: Send + 'static>(&mut self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        let permit = self.permit.take();
        let done = tokio::task::spawn_blocking(move || (work(), permit)).await;
        let (result, permit) = done.map_err(Fault::internal)?;
        self.permit = permit;
        Ok(result)
    }
}

fn hash(password: &str) -> Result<String, argon2::password_hash::Error> {
    let salt: [u8; 16] = random();
    Argon2::default().hash_password_with_salt(password.as_bytes(), &salt).map(|hash: PasswordHash| hash.to_string())
}

/// The hash of a random password.
fn nobodys() -> Option<&'static PasswordHash> {
    static HASH: OnceLock<Option<PasswordHash>> = OnceLock::new();
    let made = || hash(&id::token(&random::<32>())).ok().and_then(|hash| PasswordHash::new(&hash).ok());
    HASH.get_or_init(made).as_ref()
}

/// Refuses a text whose length no password has, before it is hashed.
pub fn check_length(password: &str) -> Result<(), Fault> {
    match password.chars().take(MAX_CHARACTERS + 1).count() {
        0 => Err(Fault::invalid("The password is empty.")),
        1..=MAX_CHARACTERS => Ok(()),
        _ => Err(Fault::invalid(format!("A password has {MIN_CHARACTERS} to {MAX_CHARACTERS} characters."))),
    }
}

/// Refuses a new password that is too short, too long, or easy to guess.
pub fn check_new(password: &str, email: &str) -> Result<(), Fault> {
    check_length(password)?;
    let refuse = |message: String| {
        let hint = "A few words that nobody would put together make a good one.";
        Err(Fault::invalid_with_hint(message, hint))
    };
    if password.chars().count() < MIN_CHARACTERS {
        return refuse(format!("A password has {MIN_CHARACTERS} to {MAX_CHARACTERS} characters."));
    }
    let mut different: Vec<char> = password.chars().collect();
    different.sort_unstable();
    different.dedup();
    if different.len() < MIN_DIFFERENT {
        return refuse(format!("A password has at least {MIN_DIFFERENT} different characters."));
    }
    let lower = password.to_lowercase();
    if GUESSED_FIRST.contains(&lower.as_str()) {
        return refuse("This password is among those that are guessed first.".into());
    }
    let local = email.split('@').next().unwrap_or(email);
    if lower.trim() == email || lower.trim() == local {
        return refuse("The e-mail address can't be the password.".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_argon2id_and_salted() {
        let (one, other) = (hash("correct horse battery").unwrap(), hash("correct horse battery").unwrap());
        assert!(one.starts_with("$argon2id$v=19$m="), "{one}");
        assert_ne!(one, other);
    }

    #[test]
    fn an_unknown_account_costs_what_a_known_one_costs() {
        let known = hash("correct horse battery").unwrap();
        let cost = |hash: &str| hash.rsplitn(3, '$').nth(2).map(str::to_owned);
        assert_eq!(cost(&nobodys().unwrap().to_string()), cost(&known));
        assert!(cost(&known).unwrap().starts_with("$argon2id$v=19$m="));
    }

    #[test]
    fn weak_passwords_are_refused() {
        let check = |password: &str| check_new(password, "adalovelace@example.com").is_ok();
        for weak in [
            "",
            "short",
            "123456789",
            "aaaaaaaaaaaa",
            "abababababab",
            "Password123",
            "adalovelace",
            "AdaLovelace@Example.com",
        ] {
            assert!(!check(weak), "{weak}");
        }
        for good in ["correct horse battery", "пароль из слов", "🦊🐻🐼🐨🐯🦁🐮🐷🐸🐵", &"ab1!".repeat(64)]
        {
            assert!(check(good), "{good}");
        }
        assert!(!check(&"ab1!5".repeat(52)), "260 characters");
    }
}
