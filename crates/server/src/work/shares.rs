//! Work of several workspaces at once, of which none takes more than its share, so that a slow one delays no other.

use std::collections::HashMap;
use std::future::Future;

use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Running work, and how much of it is each workspace's.
pub struct Shares {
    running: JoinSet<String>,
    counts: HashMap<String, usize>,
    most: usize,
    most_of_one: usize,
}

impl Shares {
    /// No work yet. At most `most` works run at once, and `most_of_one` of a workspace.
    pub fn new(most: usize, most_of_one: usize) -> Shares {
        Shares { running: JoinSet::new(), counts: HashMap::new(), most, most_of_one }
    }

    /// Whether more work may begin.
    pub fn has_room(&self) -> bool {
        self.running.len() < self.most
    }

    /// The workspaces that have all of their share.
    pub fn full(&self) -> Vec<String> {
        self.counts.iter().filter(|(_, count)| **count >= self.most_of_one).map(|(id, _)| id.clone()).collect()
    }

    /// Begins work of a workspace.
    pub fn begin(&mut self, workspace_id: String, work: impl Future<Output = ()> + Send + 'static) {
        *self.counts.entry(workspace_id.clone()).or_default() += 1;
        self.running.spawn(async move {
            work.await;
            workspace_id
        });
    }

    /// Waits until work ends, or until there may be more to begin. Returns false if nothing runs.
    pub async fn next(&mut self, more: &Notify) -> bool {
        let ended = tokio::select! {
            ended = self.running.join_next() => ended,
            () = more.notified(), if !self.running.is_empty() => return true,
        };
        match ended {
            None => return false,
            Some(Ok(workspace_id)) => {
                if let Some(count) = self.counts.get_mut(&workspace_id) {
                    *count -= 1;
                }
                self.counts.retain(|_, count| *count > 0);
            }
            // Its place stays taken until nothing runs.
            Some(Err(error)) => tracing::error!(%error, "work in the background panicked"),
        }
        true
    }
}
