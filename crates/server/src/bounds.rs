//! The bounds that a door applies to every client: the number of connections, how long they may be silent or read nothing, and
//! how much memory their bodies and answers hold. Only tests change these numbers.

use std::sync::Arc;
use std::time::Duration;

use crate::budget::{self, Budget};

const MIB: usize = 1024 * 1024;

/// How long a call waits for room for its body, its values or its results.
const PATIENCE: Duration = Duration::from_secs(10);

/// The bounds of a door.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Connections at once, if there are enough file descriptors.
    pub connections: usize,
    /// File descriptors that are kept for other uses, above all connections to PostgreSQL.
    pub files_in_reserve: usize,
    /// Connections of a network at once, except those of trusted proxies.
    pub connections_of_network: usize,
    /// The longest time from accepting a connection to its first request.
    pub first_request: Duration,
    /// The longest time from the first byte of a request's head to its end (HTTP/1).
    pub head: Duration,
    /// How long a connection without any request is kept.
    pub idle: Duration,
    /// The minimum rate of a body in bytes per second, measured over `body_stretch`.
    pub body_rate: usize,
    /// The stretch over which `body_rate` is measured.
    pub body_stretch: Duration,
    /// How long a client may read nothing of an answer.
    pub unread: Duration,
    /// The minimum rate of an answer in bytes per second, measured over `unread`.
    pub answer_rate: usize,
    /// The minimum rate of a body or an answer in bytes per second if others wait for its room, measured over `scarce_stretch`.
    pub rate_where_scarce: usize,
    /// The stretch over which `rate_where_scarce` is measured.
    pub scarce_stretch: Duration,
    /// The budget of bytes of bodies.
    pub bodies: budget::Size,
    /// The budget of bytes of the values in bodies.
    pub trees: budget::Size,
    /// The budget of bytes of results and of answers that are not read yet.
    pub answers: budget::Size,
}

impl Default for Bounds {
    fn default() -> Bounds {
        let budget = |whole, share| budget::Size { whole, share, patience: PATIENCE };
        Bounds {
            connections: 10_000,
            files_in_reserve: 200,
            connections_of_network: 256,
            first_request: Duration::from_secs(15),
            head: Duration::from_secs(15),
            idle: Duration::from_secs(75),
            body_rate: 16 * 1024,
            body_stretch: Duration::from_secs(10),
            unread: Duration::from_secs(30),
            answer_rate: 1024,
            rate_where_scarce: 256 * 1024,
            scarce_stretch: Duration::from_secs(1),
            bodies: budget(64 * MIB, 24 * MIB),
            trees: budget(96 * MIB, 48 * MIB),
            answers: budget(64 * MIB, 32 * MIB),
        }
    }
}

/// The memory budgets of a door's calls.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The bytes of bodies.
    pub bodies: Arc<Budget>,
    /// The values in bodies.
    pub trees: Arc<Budget>,
    /// The results, and the answers that are not read yet.
    pub answers: Arc<Budget>,
}

impl Memory {
    /// Creates budgets of which nothing is held.
    pub fn new(bounds: &Bounds) -> Memory {
        Memory {
            bodies: Budget::new(bounds.bodies),
            trees: Budget::new(bounds.trees),
            answers: Budget::new(bounds.answers),
        }
    }
}
