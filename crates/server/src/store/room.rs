//! Room for what calls get out of the store: their results while they come in, and the answers that are made of them until
//! they are read.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use pg::allowance::{self, Allowance};

use crate::budget::{Budget, Held, Owner};

/// The room that one call's results take, and its answer after them. Small ones take none.
#[derive(Debug)]
pub struct Room {
    budget: Arc<Budget>,
    owner: Owner,
    workspace_id: Arc<str>,
    held: OnceLock<Held>,
}

impl Room {
    /// No room yet, of this budget, for a call to this workspace of this owner's.
    pub fn new(budget: Arc<Budget>, owner: Owner, workspace_id: Arc<str>) -> Arc<Room> {
        Arc::new(Room { budget, owner, workspace_id, held: OnceLock::new() })
    }

    /// Does something whose results take this room.
    pub async fn around<F: Future>(self: &Arc<Room>, work: F) -> F::Output {
        allowance::within(self.clone(), work).await
    }

    /// Keeps the room for an answer of so many bytes, and no more. It is there already, so it does not wait.
    pub fn keep(&self, bytes: usize) {
        self.held().resize(bytes);
    }

    /// Gives back what the results took, where the answer is small.
    pub fn clear(&self) {
        if let Some(held) = self.held.get() {
            held.resize(0);
        }
    }

    /// Who answers for it.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    fn held(&self) -> &Held {
        self.held.get_or_init(|| self.budget.holder(self.owner.clone(), self.workspace_id.clone()))
    }
}

impl Allowance for Room {
    fn grow(&self, bytes: usize) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async move { self.held().grow(bytes).await.is_ok() })
    }
}
