//! The phases of a workspace that nobody has claimed: it can be used for 7 days and read for 7 more; then its keys end
//! and its data is deleted (docs/wire.md, "Workspace lifecycle").

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Seconds from the creation of an unclaimed workspace until it becomes read-only.
pub const READ_ONLY_AFTER_SECONDS: i64 = 7 * DAY_SECONDS;
/// Seconds from the creation of an unclaimed workspace until its keys end.
pub const REVOKED_AFTER_SECONDS: i64 = 14 * DAY_SECONDS;

/// The data of a deleted workspace is dropped after this time.
pub const DROPPED_AFTER_SECONDS: i64 = 7 * 24 * 60 * 60;

/// The phase of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The workspace has an owner and does not expire.
    Claimed,
    /// The workspace is unclaimed and can be used until the given time.
    Unclaimed {
        /// The time at which it becomes read-only (`ttl_expires_at`), in Unix seconds.
        expires_at: i64,
    },
    /// The workspace has been unclaimed for more than 7 days and is read-only.
    ReadOnly {
        /// The time at which it became read-only, in Unix seconds.
        expires_at: i64,
    },
    /// The workspace has been unclaimed for more than 14 days. Its keys have ended.
    Revoked,
}

/// The phase at the time `now`. All times are in Unix seconds.
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
