//! Room for what calls read from the store: their results while they arrive, and then their answers until they are sent.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use pg::allowance::{self, Allowance};

use crate::budget::{Budget, Held, Owner};

/// The room that one call's results hold, and then its answer. Small results hold none.
#[derive(Debug)]
pub struct Room {
    budget: Arc<Budget>,
    owner: Owner,
    workspace_id: Arc<str>,
    held: OnceLock<Held>,
}

impl Room {
    /// Creates an empty room in this budget, for a call of this owner to this workspace.
    pub fn new(budget: Arc<Budget>, owner: Owner, workspace_id: Arc<str>) -> Arc<Room> {
        Arc::new(Room { budget, owner, workspace_id, held: OnceLock::new() })
    }

    /// Does work whose results are charged to this room.
    pub fn around<F: Future>(self: &Arc<Room>, work: F) -> impl Future<Output = F::Output> + use<F> {
        allowance::within(self.clone(), work)
    }

    /// Keeps room for an answer of exactly this many bytes. The answer already exists, so this does not wait.
    pub fn keep(&self, bytes: usize) {
        self.held().resize(bytes);
    }

    /// Frees the room of the results if the answer is small.
    pub fn clear(&self) {
        if let Some(held) = self.held.get() {
            held.resize(0);
        }
    }

    /// The owner that is charged.
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
