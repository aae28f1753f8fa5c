//! Secrets that the control database holds, for example those of webhooks, are sealed: encrypted with a key that follows from
//! the installation's secret key, and bound to what they belong to. Each names the key that sealed it, so that the key can be replaced
//! (`store/cell/rotate.rs`).

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest;

use crm::model::fault::Fault;

use crate::clock::random;
use crate::store::secrets::SecretKey;

/// The format: this byte, the key's id, the nonce, then the ciphertext with its tag.
const FORMAT: u8 = 1;
/// The length of a key's id.
const ID_LEN: usize = 4;
const HEAD_LEN: usize = 1 + ID_LEN + NONCE_LEN;

/// The id of a key. A sealed secret has it in the clear.
pub type KeyId = [u8; ID_LEN];

/// Where the id of the key is in a sealed secret, as PostgreSQL counts: its first byte and its length.
pub const KEY_ID_AT: (usize, usize) = (2, ID_LEN);

/// Seals secrets with the installation's key. Opens those too that were sealed with the key that it replaces, if that is given.
pub struct Sealer {
    current: SealKey,
    old: Option<SealKey>,
}

/// A key that seals.
struct SealKey {
    id: KeyId,
    key: LessSafeKey,
}

impl SealKey {
    fn new(secret: &SecretKey) -> SealKey {
        let key = digest::digest(&digest::SHA256, secret.derive("seal", "1").expose().as_bytes());
        let named = digest::digest(&digest::SHA256, secret.derive("seal key id", "1").expose().as_bytes());
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&named.as_ref()[..ID_LEN]);
        // The key has the algorithm's length, so this can't fail.
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).expect("a key of 32 bytes");
        SealKey { id, key: LessSafeKey::new(key) }
    }
}

impl Sealer {
    /// The sealer of an installation with this key, and the key that it replaces.
    pub fn new(secret: &SecretKey, old: Option<&SecretKey>) -> Sealer {
        Sealer { current: SealKey::new(secret), old: old.map(SealKey::new) }
    }

    /// The id of the key that seals.
    pub fn key_id(&self) -> KeyId {
        self.current.id
    }

    /// The id of the key that was replaced.
    pub fn old_key_id(&self) -> Option<KeyId> {
        self.old.as_ref().map(|it| it.id)
    }

    /// Seals a secret. It can be opened only with the same `about`, so that a row can't be given the secret of another one.
    pub fn seal(&self, about: &str, secret: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random();
        // A message of megabytes is copied once.
        let mut sealed = Vec::with_capacity(HEAD_LEN + secret.len() + AES_256_GCM.tag_len());
        sealed.push(FORMAT);
        sealed.extend_from_slice(&self.current.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(secret);
        let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(about.as_bytes()));
        // The algorithm takes 64 GiB, and no secret is that long.
        let tag = self.current.key.seal_in_place_separate_tag(nonce, aad, &mut sealed[HEAD_LEN..]);
        sealed.extend_from_slice(tag.expect("a short text").as_ref());
        sealed
    }

    /// Opens a secret.
    pub fn open(&self, about: &str, sealed: &[u8]) -> Result<Vec<u8>, Fault> {
        let (head, text) =
            sealed.split_at_checked(HEAD_LEN).ok_or_else(|| Fault::internal("a sealed secret is cut"))?;
        let id = &head[1..=ID_LEN];
        let known = std::iter::once(&self.current).chain(&self.old).find(|it| it.id == id);
        let SealKey { key, .. } = known
            .filter(|_| head[0] == FORMAT)
            .ok_or_else(|| Fault::internal("a secret was sealed with another secret key"))?;
        let nonce = Nonce::try_assume_unique_for_key(&head[1 + ID_LEN..]).map_err(|_| Fault::internal("a nonce"))?;
        let mut text = text.to_vec();
        let opened = key.open_in_place(nonce, Aad::from(about.as_bytes()), &mut text).map(|secret| secret.len());
        let len = opened.map_err(|_| Fault::internal("a sealed secret was changed"))?;
        text.truncate(len);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_opened_only_by_its_key_and_for_its_owner() {
        let secret = |text: &str| SecretKey::from_text(&text.repeat(32)).unwrap();
        let key = |text: &str| Sealer::new(&secret(text), None);
        let sealer = key("k");
        let sealed = sealer.seal("whep_1", b"whsec_x");
        assert_eq!(sealer.open("whep_1", &sealed).unwrap(), b"whsec_x");
        assert_ne!(sealed, sealer.seal("whep_1", b"whsec_x"), "a nonce is never used again");
        assert!(!sealed.windows(7).any(|part| part == b"whsec_x"));
        assert!(sealer.open("whep_2", &sealed).is_err());
        assert!(key("l").open("whep_1", &sealed).is_err());
        let rotated = Sealer::new(&secret("l"), Some(&secret("k")));
        assert_eq!(rotated.open("whep_1", &sealed).unwrap(), b"whsec_x");
        assert!(sealer.open("whep_1", &rotated.seal("whep_1", b"whsec_x")).is_err(), "the new key seals");
        assert_eq!(sealed[KEY_ID_AT.0 - 1..][..KEY_ID_AT.1], sealer.key_id());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open("whep_1", &changed).is_err(), "{at}");
            assert!(sealer.open("whep_1", &sealed[..at]).is_err(), "{at}");
        }
    }
}
