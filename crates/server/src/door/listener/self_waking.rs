//! Work that wakes itself is polled again at once.
//!
//! hyper passes the body of a request to its reader within one task, and each of the two wakes the other, which is the same
//! task. Tokio takes a task that wakes itself for one that yields: it puts it at the end of the queue, and wakes another worker
//! to take it. That happened twice for each small body.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// How often work is polled before others have their turn.
const TURNS: usize = 4;

const IDLE: u8 = 0;
const POLLED: u8 = 1;
const WOKEN: u8 = 2;

/// Wakes the task unless its work is being polled.
#[derive(Default)]
struct SelfWaker {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for SelfWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.compare_exchange(POLLED, WOKEN, Ordering::AcqRel, Ordering::Acquire) == Err(IDLE) {
            self.task.wake();
        }
    }
}

/// Does work in the current task. What wakes it while it is polled makes it go on without the scheduler.
pub async fn poll_again<W: Future>(work: W) -> W::Output {
    let mut work = pin!(work);
    let own = Arc::new(SelfWaker::default());
    let waker = Waker::from(own.clone());
    poll_fn(|task| {
        own.task.register(task.waker());
        for _ in 0..TURNS {
            own.state.store(POLLED, Ordering::Release);
            if let Poll::Ready(output) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(output);
            }
            if own.state.swap(IDLE, Ordering::AcqRel) == POLLED {
                return Poll::Pending;
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Polls work that wakes itself so often before it is done, at most `polls` times, and returns how often it was polled,
    /// how often that woke the task, and whether it is done.
    fn run(wakes: usize, polls: usize) -> (usize, usize, bool) {
        let (count, mut polled) = (Arc::new(Count::default()), 0);
        let waker = Waker::from(count.clone());
        let mut work = Box::pin(poll_again(poll_fn(|task| {
            polled += 1;
            if polled > wakes {
                return Poll::Ready(());
            }
            task.waker().wake_by_ref();
            Poll::Pending
        })));
        let is_done = (0..polls).any(|_| work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
        drop(work);
        (polled, count.0.load(Ordering::Relaxed), is_done)
    }

    #[test]
    fn work_that_wakes_itself_goes_on_at_once() {
        assert_eq!(run(0, 1), (1, 0, true));
        assert_eq!(run(2, 1), (3, 0, true));
    }

    #[test]
    fn others_have_their_turn() {
        assert_eq!(run(10, 1), (TURNS, 1, false));
        assert_eq!(run(10, 3), (11, 2, true));
    }

    #[test]
    fn what_wakes_it_later_wakes_the_task() {
        let (count, kept) = (Arc::new(Count::default()), Mutex::new(None::<Waker>));
        let waker = Waker::from(count.clone());
        let mut work = Box::pin(poll_again(poll_fn(|task| {
            *kept.lock().expect("no panic") = Some(task.waker().clone());
            Poll::<()>::Pending
        })));
        for wakes in 1..=2 {
            assert!(work.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            let kept = kept.lock().expect("no panic").take().expect("a waker");
            kept.wake_by_ref();
            kept.wake();
            assert_eq!(count.0.load(Ordering::Relaxed), wakes);
        }
    }
}
