//! An installation's secret key, and the database passwords and workspace secrets that are derived from it.
//!
//! Derived values are not stored. The key itself is in `KITH_SECRET_KEY`, or in a file of mode 0600.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use pg::Secret;
use ring::{digest, hmac};

use crate::clock::random;
use crate::config::Config;

/// The installation's key.
#[derive(Clone)]
pub struct SecretKey(hmac::Key);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey([secret])")
    }
}

/// The installation's key, and the key that it replaces, if that is given.
#[derive(Clone, Debug)]
pub struct SecretKeys {
    /// The key.
    pub current: SecretKey,
    /// The key before it.
    pub old: Option<SecretKey>,
}

impl SecretKeys {
    /// The keys of these settings.
    pub fn of(current: SecretKey, config: &Config) -> Result<SecretKeys, String> {
        let old = config.old_secret_key_text().map(|text| {
            SecretKey::from_text(&text).map_err(|_| "KITH_SECRET_KEY_OLD must be a key of at least 32 characters")
        });
        Ok(SecretKeys { current, old: old.transpose()? })
    }
}

impl SecretKey {
    /// A value by which an installation recognises its key.
    pub fn check(&self) -> String {
        self.derive("key check", "kith").expose().to_owned()
    }

    /// Returns the key for a text of at least 32 characters.
    pub fn from_text(text: &str) -> Result<SecretKey, String> {
        let text = text.trim();
        if text.len() < 32 {
            return Err("KITH_SECRET_KEY must have at least 32 characters; `openssl rand -hex 32` makes one".into());
        }
        let seed = digest::digest(&digest::SHA256, text.as_bytes());
        Ok(SecretKey(hmac::Key::new(hmac::HMAC_SHA256, seed.as_ref())))
    }

    /// Returns the key in `DIR/secret_key`, which is created at the first start.
    pub fn from_data_dir(dir: &Path) -> Result<SecretKey, String> {
        let path = dir.join("secret_key");
        if !path.exists() {
            write_new(dir, &path).map_err(|error| format!("can't write {}: {error}", path.display()))?;
        }
        let text = fs::read_to_string(&path).map_err(|error| format!("can't read {}: {error}", path.display()))?;
        SecretKey::from_text(&text).map_err(|_| format!("{} does not hold a key", path.display()))
    }

    /// A password for one purpose and name.
    pub fn derive(&self, purpose: &str, name: &str) -> Secret {
        Secret::new(hex::encode(hmac::sign(&self.0, format!("{purpose}\0{name}").as_bytes())))
    }
}

/// Writes the key under another name first, so that a crash never leaves a partial key.
fn write_new(dir: &Path, path: &Path) -> std::io::Result<()> {
    let part = dir.join("secret_key.part");
    let _ = fs::remove_file(&part);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    writeln!(file, "{}", hex::encode(random::<32>()))?;
    file.sync_all()?;
    fs::rename(&part, path)?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_depends_on_key_purpose_and_name() {
        let key = SecretKey::from_text(&"k".repeat(32)).unwrap();
        let other = SecretKey::from_text(&"l".repeat(32)).unwrap();
        let password = key.derive("role", "w_1").expose().to_owned();
        assert_eq!(password, key.derive("role", "w_1").expose());
        assert_ne!(password, key.derive("role", "w_2").expose());
        assert_ne!(password, key.derive("begin", "w_1").expose());
        assert_ne!(password, other.derive("role", "w_1").expose());
        assert!(SecretKey::from_text("short").is_err());
    }
}
