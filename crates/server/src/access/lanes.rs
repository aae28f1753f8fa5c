//! Limits how many calls of an address run at once in unclaimed workspaces. Anybody can create such workspaces, so only the
//! address can be counted. Further calls wait. The workspace with the fewest running calls is served next, so that a busy
//! workspace does not delay the others behind the same address.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::HashMap;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crm::model::fault::Fault;

/// Calls of an address that may run at once.
const RUNNING: usize = 32;
/// Further calls of an address, each of a workspace with no other running call.
const FIRST_CALLS: usize = 32;
/// The most calls of an address that wait.
const WAITING: usize = 1000;
/// How long a call waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// The lanes of all addresses.
#[derive(Debug)]
pub struct Lanes {
    patience: Duration,
    lanes: Mutex<HashMap<IpAddr, AddressLane>>,
}

impl Default for Lanes {
    fn default() -> Lanes {
        Lanes::with_patience(PATIENCE)
    }
}

/// The calls of an address.
#[derive(Debug, Default)]
struct AddressLane {
    running: usize,
    workspaces: HashMap<Arc<str>, usize>,
    waiting: VecDeque<WaitingCall>,
}

#[derive(Debug)]
struct WaitingCall {
    workspace_id: Arc<str>,
    /// The receiver is closed if the call has given up.
    turn: oneshot::Sender<Turn>,
}

/// A running call's place. Dropping it passes it to the next call.
#[derive(Debug)]
pub struct Turn {
    lanes: Arc<Lanes>,
    network: IpAddr,
    workspace_id: Arc<str>,
}

impl Lanes {
    fn with_patience(patience: Duration) -> Lanes {
        Lanes { patience, lanes: Mutex::default() }
    }

    /// Waits for a place for a call of a workspace from a network.
    pub async fn turn(self: &Arc<Lanes>, network: IpAddr, workspace_id: &Arc<str>) -> Result<Turn, Fault> {
        let waiting = {
            let mut lanes = self.lanes();
            let lane = lanes.entry(network).or_default();
            if lane.may_run(workspace_id) {
                lane.begin(workspace_id);
                return Ok(Turn { lanes: self.clone(), network, workspace_id: workspace_id.clone() });
            }
            if lane.waiting.len() >= WAITING {
                lane.waiting.retain(|it| !it.turn.is_closed());
            }
            if lane.waiting.len() >= WAITING {
                return Err(too_many());
            }
            let (turn, waiting) = oneshot::channel();
            lane.waiting.push_back(WaitingCall { workspace_id: workspace_id.clone(), turn });
            waiting
        };
        timeout(self.patience, waiting).await.ok().and_then(Result::ok).ok_or_else(too_many)
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<IpAddr, AddressLane>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_many() -> Fault {
    let message = format!("More than {RUNNING} calls from this address to unclaimed workspaces run at once.");
    Fault::Unavailable { retry_after: 1, message }
}

impl AddressLane {
    fn runs(&self, workspace_id: &str) -> usize {
        self.workspaces.get(workspace_id).copied().unwrap_or_default()
    }

    fn may_run(&self, workspace_id: &str) -> bool {
        let most = if self.runs(workspace_id) == 0 { RUNNING + FIRST_CALLS } else { RUNNING };
        self.running < most
    }

    fn begin(&mut self, workspace_id: &Arc<str>) {
        self.running += 1;
        *self.workspaces.entry(workspace_id.clone()).or_default() += 1;
    }

    fn end(&mut self, workspace_id: &str) {
        self.running -= 1;
        if let Some(runs) = self.workspaces.get_mut(workspace_id) {
            *runs -= 1;
            if *runs == 0 {
                self.workspaces.remove(workspace_id);
            }
        }
    }

    /// Removes the next call from the queue: of the workspace with the fewest running calls, the oldest call.
    fn next(&mut self) -> Option<WaitingCall> {
        self.waiting.retain(|it| !it.turn.is_closed());
        let fewest = self.waiting.iter().enumerate().min_by_key(|(_, it)| self.runs(&it.workspace_id));
        let (at, _) = fewest.filter(|(_, it)| self.may_run(&it.workspace_id))?;
        self.waiting.remove(at)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Turns that can't be handed over are dropped after the lock is released, because dropping one takes the lock.
        let mut refused = Vec::new();
        let mut lanes = self.lanes.lanes();
        let Some(lane) = lanes.get_mut(&self.network) else { return };
        lane.end(&self.workspace_id);
        while let Some(WaitingCall { workspace_id, turn }) = lane.next() {
            lane.begin(&workspace_id);
            let next = Turn { lanes: self.lanes.clone(), network: self.network, workspace_id };
            refused.extend(turn.send(next).err());
        }
        if lane.running == 0 {
            lanes.remove(&self.network);
        }
        drop(lanes);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn workspace(number: usize) -> Arc<str> {
        format!("ws_{number}").into()
    }

    fn poll<F: Future>(call: Pin<&mut F>) -> Poll<F::Output> {
        call.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[track_caller]
    fn now(lanes: &Arc<Lanes>, network: IpAddr, workspace_id: &Arc<str>) -> Turn {
        match poll(pin!(lanes.turn(network, workspace_id))) {
            Poll::Ready(turn) => turn.expect("a turn"),
            Poll::Pending => panic!("it has to wait"),
        }
    }

    #[tokio::test]
    async fn calls_of_an_address_are_bounded_and_wait_in_turn() {
        let lanes = Arc::new(Lanes::default());
        let busy = workspace(0);
        let mut running: Vec<Turn> = (0..RUNNING).map(|_| now(&lanes, HERE, &busy)).collect();
        let (mut first, mut second) = (pin!(lanes.turn(HERE, &busy)), pin!(lanes.turn(HERE, &busy)));
        assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
        now(&lanes, THERE, &busy);
        running.pop();
        let Poll::Ready(Ok(_turn)) = poll(first.as_mut()) else { panic!("the first is not served") };
        assert!(poll(second.as_mut()).is_pending());
    }

    #[tokio::test]
    async fn a_workspace_that_runs_nothing_goes_before_a_busy_one() {
        let lanes = Arc::new(Lanes::default());
        let busy = workspace(0);
        let mut running: Vec<Turn> = (0..RUNNING).map(|_| now(&lanes, HERE, &busy)).collect();
        let mut own = pin!(lanes.turn(HERE, &busy));
        assert!(poll(own.as_mut()).is_pending());
        // Each other workspace may run a first call beyond the bound.
        running.extend((1..=FIRST_CALLS).map(|number| now(&lanes, HERE, &workspace(number))));
        let quiet = workspace(FIRST_CALLS + 1);
        let mut other = pin!(lanes.turn(HERE, &quiet));
        assert!(poll(other.as_mut()).is_pending(), "the address is at its bound");
        running.remove(0);
        assert!(poll(other.as_mut()).is_ready() && poll(own.as_mut()).is_pending());
    }

    #[tokio::test]
    async fn who_waited_too_long_gives_up_and_leaves_nothing() {
        let lanes = Arc::new(Lanes::with_patience(Duration::ZERO));
        let busy = workspace(0);
        let running: Vec<Turn> = (0..RUNNING).map(|_| now(&lanes, HERE, &busy)).collect();
        let fault = lanes.turn(HERE, &busy).await.expect_err("no turn");
        assert_eq!((fault.status(), fault.retry_after()), (503, Some(1)));
        drop(running);
        assert!(lanes.lanes().is_empty());
    }
}
