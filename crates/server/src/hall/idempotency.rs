//! `Idempotency-Key`: the reply is stored in the transaction that does the work, so that the work is never done twice, even
//! after a crash and a retry. Keys belong to a workspace and mode, and are kept for 24 hours.

use crm::dialect::Reply;
use crm::model::answer::Answer;
use crm::model::fault::Fault;

use crate::hall::fingerprint::fingerprint;

/// The longest key that is accepted, in characters.
const MAX_KEY_CHARACTERS: usize = 255;

/// A call's key, the hash of its content, and the function that renders its reply.
pub struct Idempotency<'a> {
    pub(super) key: &'a str,
    pub(super) fingerprint: String,
    pub(super) render: &'a (dyn Fn(&Result<Answer, Fault>) -> Reply + Sync),
}

impl<'a> Idempotency<'a> {
    /// Checks the key. `said` is the call's content besides its body (the dialect, the path …). It distinguishes a retry from
    /// another call with the same key.
    pub fn new<'p>(
        key: &'a str,
        said: impl IntoIterator<Item = &'p str>,
        body: &[u8],
        render: &'a (dyn Fn(&Result<Answer, Fault>) -> Reply + Sync),
    ) -> Result<Idempotency<'a>, Fault> {
        if key.is_empty() || key.chars().count() > MAX_KEY_CHARACTERS {
            return Err(Fault::invalid(format!("An Idempotency-Key has 1 to {MAX_KEY_CHARACTERS} characters.")));
        }
        Ok(Idempotency { key, fingerprint: fingerprint(said, body), render })
    }
}

/// Whether a refusal is stored under its key. A refusal that a retry may overcome is not stored.
pub(super) fn is_stored(fault: &Fault) -> bool {
    !matches!(fault.status(), 401 | 412 | 429 | 500..)
        && !matches!(
            fault,
            Fault::GaveWay { .. } | Fault::UndoConflict { .. } | Fault::Refused { code: "unknown_control", .. }
        )
}
