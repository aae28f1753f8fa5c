//! Time and randomness as arguments, so that tests can supply their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};

/// The source of the time.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clock.
    #[default]
    System,
    /// The machine's clock plus an offset in milliseconds, which a test sets.
    Moved(Arc<AtomicI64>),
}

impl Clock {
    /// Milliseconds since 1970.
    pub fn unix_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let moved = match self {
            Clock::System => 0,
            Clock::Moved(by) => by.load(Ordering::Relaxed),
        };
        since.as_millis() as i64 + moved
    }

    /// Seconds since 1970.
    pub fn unix_seconds(&self) -> i64 {
        self.unix_ms().div_euclid(1000)
    }

    /// A new id with this prefix.
    pub fn id(&self, prefix: &str) -> String {
        crm::model::id::make(prefix, self.unix_ms() as u64, random())
    }
}

/// Random bytes from the operating system.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Unix seconds as ISO 8601, UTC.
pub fn iso(unix_seconds: i64) -> String {
    jiff::Timestamp::from_second(unix_seconds).map(|time| time.to_string()).unwrap_or_default()
}

/// Unix milliseconds as ISO 8601, UTC.
pub fn iso_ms(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map(|time| time.to_string()).unwrap_or_default()
}
