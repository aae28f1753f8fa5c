//! The memory of large messages that leave. A message is copied several times on its way: it is sealed for the queue, encoded for its provider. Those
//! who send large ones wait for room, and a slow provider takes only the room of those that are handed over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Messages up to this size are not counted.
pub const LARGE: usize = 256 * 1024;
/// The unit of the room.
const UNIT: usize = 64 * 1024;
/// The room for messages that are put into the queue, and how many copies of one exist meanwhile.
const QUEUEING: usize = 64 * 1024 * 1024;
const COPIES_QUEUED: usize = 3;
/// The room for messages that are handed over, and how many copies of one exist meanwhile, with the values of its request.
const HANDING: usize = 160 * 1024 * 1024;
const COPIES_HANDED: usize = 5;

/// The room for large messages that leave.
pub struct LargeMail {
    queueing: Arc<Semaphore>,
    handing: Arc<Semaphore>,
}

/// The room that a message holds. Dropping it frees it.
#[derive(Debug)]
pub struct MailRoom {
    permit: Option<OwnedSemaphorePermit>,
}

impl MailRoom {
    /// Whether the message is large, so that all its copies are counted here.
    pub fn is_counted(&self) -> bool {
        self.permit.is_some()
    }
}

impl Default for LargeMail {
    fn default() -> LargeMail {
        let of = |bytes: usize| Arc::new(Semaphore::new(bytes / UNIT));
        LargeMail { queueing: of(QUEUEING), handing: of(HANDING) }
    }
}

impl LargeMail {
    /// Waits for room to put a message of this size into the queue; `None` if there is none in time.
    pub async fn to_queue(&self, bytes: usize, patience: Duration) -> Option<MailRoom> {
        hold(&self.queueing, QUEUEING, bytes, COPIES_QUEUED, patience).await
    }

    /// Waits for room to hand a message of this size over; `None` if there is none in time.
    pub async fn to_hand(&self, bytes: usize, patience: Duration) -> Option<MailRoom> {
        hold(&self.handing, HANDING, bytes, COPIES_HANDED, patience).await
    }
}

async fn hold(
    room: &Arc<Semaphore>,
    whole: usize,
    bytes: usize,
    copies: usize,
    patience: Duration,
) -> Option<MailRoom> {
    if bytes <= LARGE {
        return Some(MailRoom { permit: None });
    }
    let units = (bytes * copies).min(whole).div_ceil(UNIT) as u32;
    let held = tokio::time::timeout(patience, room.clone().acquire_many_owned(units)).await;
    held.ok()?.ok().map(|permit| MailRoom { permit: Some(permit) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[tokio::test]
    async fn large_messages_wait_for_room_and_small_ones_do_not() {
        let room = LargeMail::default();
        let wait = Duration::ZERO;
        let first = room.to_hand(14 * MIB, wait).await;
        let second = room.to_hand(14 * MIB, wait).await;
        assert!(first.is_some() && second.is_some());
        assert!(room.to_hand(14 * MIB, wait).await.is_none(), "the third waits in vain");
        assert!(room.to_hand(LARGE, wait).await.is_some());
        drop(first);
        assert!(room.to_hand(14 * MIB, wait).await.is_some());
        // One that is larger than the whole gets all of it.
        drop(second);
        assert!(room.to_hand(100 * MIB, wait).await.is_some());
        assert!(room.to_queue(14 * MIB, wait).await.is_some());
    }
}
