//! Authentication of people: accounts, passwords, sessions, and sign-in at providers.

pub mod accounts;
pub mod address;
pub mod clerk;
pub mod emails;
pub mod identities;
pub mod oidc;
pub mod passwords;
pub mod sessions;
pub mod sign_in;
pub mod signing_keys;
