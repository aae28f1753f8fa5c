//! The life of a workspace nobody has claimed: 7 days of use, 7 days of reading, then its keys end and
//! its data is dropped (agentCRM seed, "Workspace lifecycle").

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Seconds after its birth at which an unclaimed workspace turns read-only.
pub const READ_ONLY_AFTER_SECONDS: i64 = 7 * DAY_SECONDS;
/// Seconds after its birth at which an unclaimed workspace's keys end.
pub const REVOKED_AFTER_SECONDS: i64 = 14 * DAY_SECONDS;

/// How far a workspace is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Somebody owns it; it stays.
    Claimed,
    /// Unclaimed and usable until the given Unix second.
    Unclaimed {
        /// When it turns read-only (`ttl_expires_at`), Unix seconds.
        expires_at: i64,
    },
    /// Unclaimed for more than 7 days: reads only.
    ReadOnly {
        /// When it turned read-only, Unix seconds.
        expires_at: i64,
    },
    /// Unclaimed for more than 14 days: no key works any more.
    Revoked,
}

/// The phase at a moment; all times in Unix seconds.
pub fn phase(created_at: i64, claimed: bool, now: i64) -> Phase {
    let expires_at = created_at + READ_ONLY_AFTER_SECONDS;
    if claimed {
        Phase::Claimed
    } else if now < expires_at {
        Phase::Unclaimed { expires_at }
    } else if now < created_at + REVOKED_AFTER_SECONDS {
        Phase::ReadOnly { expires_at }
    } else {
        Phase::Revoked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unclaimed_workspace_lives_seven_days_and_is_read_for_seven_more() {
        let expires_at = 100 + READ_ONLY_AFTER_SECONDS;
        assert_eq!(phase(100, false, 101), Phase::Unclaimed { expires_at });
        assert_eq!(phase(100, false, expires_at - 1), Phase::Unclaimed { expires_at });
        assert_eq!(phase(100, false, expires_at), Phase::ReadOnly { expires_at });
        assert_eq!(phase(100, false, 100 + REVOKED_AFTER_SECONDS), Phase::Revoked);
        assert_eq!(phase(100, true, i64::MAX), Phase::Claimed);
    }
}
