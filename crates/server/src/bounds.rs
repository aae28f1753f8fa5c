//! What a door bounds, whoever comes: how many connections, how long they may say or take nothing, and how much memory their
//! bodies and answers hold. Tests shrink these numbers; nothing else sets them.

use std::sync::Arc;
use std::time::Duration;

use crate::budget::{self, Budget};

const MIB: usize = 1024 * 1024;

/// How long a call waits for room for its body, its values or its results.
const PATIENCE: Duration = Duration::from_secs(10);

/// The bounds of a door.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Connections at once, as far as there are files for them.
    pub connections: usize,
    /// Files that are left for everything else: connections to PostgreSQL, above all.
    pub files_in_reserve: usize,
    /// Connections of a network at once, proxies that are believed excepted.
    pub connections_of_network: usize,
    /// From the acceptance of a connection to its first request.
    pub first_request: Duration,
    /// From the first byte of a request's head to its end (HTTP/1).
    pub head: Duration,
    /// How long a connection is kept without any request.
    pub idle: Duration,
    /// Bytes of a body a second at least, over each stretch of this length.
    pub body_rate: usize,
    /// That stretch.
    pub body_stretch: Duration,
    /// How long a client may take nothing of an answer.
    pub unread: Duration,
    /// Bytes of an answer a second at least, over each such time.
    pub answer_rate: usize,
    /// Bytes of a body or an answer a second at least, over a shorter stretch, where others wait for the room that it takes.
    pub rate_where_scarce: usize,
    /// That stretch.
    pub scarce_stretch: Duration,
    /// Bytes of bodies.
    pub bodies: budget::Size,
    /// Bytes of the values in bodies.
    pub trees: budget::Size,
    /// Bytes of results and of answers that are not read yet.
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

/// The memory that a door's calls hold.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Bodies.
    pub bodies: Arc<Budget>,
    /// The values in bodies.
    pub trees: Arc<Budget>,
    /// Results, and answers that are not read yet.
    pub answers: Arc<Budget>,
}

impl Memory {
    /// Memory of which nothing is held.
    pub fn new(bounds: &Bounds) -> Memory {
        Memory {
            bodies: Budget::new(bounds.bodies),
            trees: Budget::new(bounds.trees),
            answers: Budget::new(bounds.answers),
        }
    }
}
