//! Secrets that the control database holds, for example those of webhooks, are sealed: encrypted with a key that follows from
//! the installation's secret key, and bound to what they belong to.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest;

use crm::model::fault::Fault;

use crate::clock::random;
use crate::store::cell::secrets::SecretKey;

/// The format: this byte, the key's id, the nonce, then the ciphertext with its tag.
const FORMAT: u8 = 1;
/// The length of a key's id.
const ID_LEN: usize = 4;
const HEAD_LEN: usize = 1 + ID_LEN + NONCE_LEN;

/// Seals and opens secrets.
pub struct Sealer {
    /// Tells which key sealed a secret, so that a later version can open secrets of several keys.
    id: [u8; ID_LEN],
    key: LessSafeKey,
}

impl Sealer {
    /// The sealer of an installation.
    pub fn new(secret: &SecretKey) -> Sealer {
        let key = digest::digest(&digest::SHA256, secret.derive("seal", "1").expose().as_bytes());
        let named = digest::digest(&digest::SHA256, secret.derive("seal key id", "1").expose().as_bytes());
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&named.as_ref()[..ID_LEN]);
        // The key has the algorithm's length, so this can't fail.
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).expect("a key of 32 bytes");
        Sealer { id, key: LessSafeKey::new(key) }
    }

    /// Seals a secret. It can be opened only with the same `about`, so that a row can't be given the secret of another one.
    pub fn seal(&self, about: &str, secret: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random();
        let mut sealed = vec![FORMAT];
        sealed.extend_from_slice(&self.id);
        sealed.extend_from_slice(&nonce);
        let mut text = secret.to_vec();
        let aad = Aad::from(about.as_bytes());
        // The algorithm takes 64 GiB, and no secret is that long.
        let tag = self.key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text);
        sealed.extend_from_slice(&text);
        sealed.extend_from_slice(tag.expect("a short text").as_ref());
        sealed
    }

    /// Opens a secret.
    pub fn open(&self, about: &str, sealed: &[u8]) -> Result<Vec<u8>, Fault> {
        let (head, text) =
            sealed.split_at_checked(HEAD_LEN).ok_or_else(|| Fault::internal("a sealed secret is cut"))?;
        if head[0] != FORMAT || head[1..=ID_LEN] != self.id {
            return Err(Fault::internal("a secret was sealed with another secret key"));
        }
        let nonce = Nonce::try_assume_unique_for_key(&head[1 + ID_LEN..]).map_err(|_| Fault::internal("a nonce"))?;
        let mut text = text.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::from(about.as_bytes()), &mut text);
        opened.map(|secret| secret.to_vec()).map_err(|_| Fault::internal("a sealed secret was changed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_opened_only_by_its_key_and_for_its_owner() {
        let key = |text: &str| Sealer::new(&SecretKey::from_text(&text.repeat(32)).unwrap());
        let sealer = key("k");
        let sealed = sealer.seal("whep_1", b"whsec_x");
        assert_eq!(sealer.open("whep_1", &sealed).unwrap(), b"whsec_x");
        assert_ne!(sealed, sealer.seal("whep_1", b"whsec_x"), "a nonce is never used again");
        assert!(!sealed.windows(7).any(|part| part == b"whsec_x"));
        assert!(sealer.open("whep_2", &sealed).is_err());
        assert!(key("l").open("whep_1", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open("whep_1", &changed).is_err(), "{at}");
            assert!(sealer.open("whep_1", &sealed[..at]).is_err(), "{at}");
        }
    }
}
