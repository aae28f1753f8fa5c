//! The deadlines of one cell, and the task that enforces them. That task waits for no connection, so it acts in time
//! whatever the server does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::{Alarm, Backend, Reason};

/// How long a backend that was told to end may take to answer. After that, nothing waits for it any longer.
const GRACE: Duration = Duration::from_millis(1500);
/// A backend that has not ended this long after it was told to is stuck. Normally it takes milliseconds, and on a busy
/// machine more.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the clock sleeps if there are no deadlines.
const IDLE: Duration = Duration::from_secs(3600);

/// A moment, and a number that distinguishes equal moments.
pub(super) type Due = (Instant, u64);

/// The backends of one cell: those under watch, and those that are being ended.
#[derive(Default)]
pub(super) struct Cell {
    book: Mutex<Book>,
    /// Wakes the clock.
    clock: Notify,
    /// Wakes the signaller.
    signaller: Notify,
}

#[derive(Default)]
struct Book {
    /// Ordered by deadline.
    watched: BTreeMap<Due, Watched>,
    /// Backends whose alarm went off, ordered by the time when the waits for them end.
    going: BTreeMap<Due, Arc<Alarm>>,
    /// Backends to be signalled or checked, ordered by time.
    ending: BTreeMap<Due, Ending>,
    next: u64,
    /// When each task will wake by itself. `None` while it is awake and will check before it sleeps.
    clock_sleeps_until: Option<Instant>,
    signaller_sleeps_until: Option<Instant>,
    /// Whether the clock and the signaller are running.
    attended: [bool; 2],
    closed: bool,
}

struct Watched {
    backend: Backend,
    alarm: Arc<Alarm>,
}

/// A backend that is being ended.
pub(super) struct Ending {
    pub(super) backend: Backend,
    /// When the backend was started, according to the server. Not known before the first check.
    pub(super) started: Option<String>,
    /// The number of signals and checks so far.
    pub(super) attempts: u32,
    /// The time since which it is being ended, and the time of the last signal.
    pub(super) since: Instant,
    pub(super) signalled: Instant,
    /// After how long it counts as stuck, and whether it does.
    pub(super) patience: Duration,
    pub(super) is_stuck: bool,
    /// Dropped when the backend has ended.
    pub(super) held: Option<Box<dyn Send>>,
}

impl Ending {
    fn new(backend: Backend, held: Option<Box<dyn Send>>) -> Ending {
        let since = Instant::now();
        let patience = PATIENCE;
        Ending { backend, started: None, attempts: 0, since, signalled: since, patience, is_stuck: false, held }
    }
}

/// The tasks of a cell.
#[derive(Clone, Copy)]
pub(super) enum Task {
    Clock,
    Signaller,
}

impl Book {
    fn due(&mut self, at: Instant) -> Due {
        self.next += 1;
        (at, self.next)
    }

    /// From now on the backend is being ended, and dropping its guard has no effect.
    fn end(&mut self, watched: Watched, reason: Reason) {
        let Watched { backend, alarm } = watched;
        alarm.go_off(reason);
        let now = Instant::now();
        let (due, over) = (self.due(now), self.due(now + GRACE));
        self.going.insert(over, alarm);
        self.ending.insert(due, Ending::new(backend, None));
    }
}

impl Cell {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which tasks must be started. From now on they count as running.
    pub(super) fn unattended(&self) -> [bool; 2] {
        let attended = std::mem::replace(&mut self.book().attended, [true; 2]);
        attended.map(|it| !it)
    }

    /// After a panic, the next call starts the task again.
    pub(super) fn leave(&self, task: Task) {
        self.book().attended[task as usize] = false;
    }

    pub(super) fn close(&self) {
        self.book().closed = true;
        self.clock.notify_one();
        self.signaller.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.book().closed
    }

    /// Wakes the clock only if it would sleep too long. Limits are similar, so this is rare.
    pub(super) fn watch(&self, at: Instant, backend: Backend, alarm: Arc<Alarm>) -> Due {
        let mut book = self.book();
        let due = book.due(at);
        book.watched.insert(due, Watched { backend, alarm });
        self.wake(book);
        due
    }

    pub(super) fn forget(&self, due: Due) {
        self.book().watched.remove(&due);
    }

    pub(super) fn hasten(&self, due: Due) {
        let mut book = self.book();
        if let Some(watched) = book.watched.remove(&due) {
            book.end(watched, Reason::Crowd);
            self.wake(book);
        }
    }

    pub(super) fn terminate(&self, backend: Backend, held: Box<dyn Send>) {
        self.enter(Instant::now(), Ending::new(backend, Some(held)));
    }

    pub(super) fn adopt(&self, backend: Backend) {
        let ending = Ending { patience: Duration::ZERO, ..Ending::new(backend, None) };
        self.enter(Instant::now(), ending);
    }

    pub(super) fn enter(&self, at: Instant, ending: Ending) {
        let mut book = self.book();
        let due = book.due(at);
        book.ending.insert(due, ending);
        self.wake(book);
    }

    /// Wakes the tasks that would sleep past their next moment.
    fn wake(&self, mut book: MutexGuard<'_, Book>) {
        let next_for_clock = [book.watched.first_key_value().map(|(due, _)| due.0), first(&book.going)];
        let next_for_clock = next_for_clock.into_iter().flatten().min();
        let next_for_signaller = first(&book.ending);
        let wakes_clock = is_before(next_for_clock, &mut book.clock_sleeps_until);
        let wakes_signaller = is_before(next_for_signaller, &mut book.signaller_sleeps_until);
        drop(book);
        if wakes_clock {
            self.clock.notify_one();
        }
        if wakes_signaller {
            self.signaller.notify_one();
        }
    }

    /// The first backend that must be signalled or checked now.
    pub(super) fn take_ending(&self) -> Option<Ending> {
        let mut book = self.book();
        let first = book.ending.first_entry()?;
        (first.key().0 <= Instant::now()).then(|| first.remove())
    }

    /// Sleeps until the signaller's next moment, but not past `latest`. False if the watchdog was dropped and there is
    /// nothing left that it can end.
    pub(super) async fn sleep(&self, latest: Instant) -> bool {
        let until = {
            let mut book = self.book();
            if book.closed && book.ending.values().all(|ending| ending.is_stuck) {
                return false;
            }
            let until = first(&book.ending).map_or(latest, |at| latest.min(at));
            book.signaller_sleeps_until = Some(until);
            until
        };
        // A timeout has the same effect as being woken.
        let _ = timeout_at(until, self.signaller.notified()).await;
        self.book().signaller_sleeps_until = None;
        true
    }

    /// Does what is due. Returns when to check again.
    fn tick(&self) -> Instant {
        let mut over = Vec::new();
        let mut book = self.book();
        let now = Instant::now();
        while let Some(entry) = book.watched.first_entry()
            && entry.key().0 <= now
        {
            // This happens under the lock: a guard that is dropped later finds nothing to remove and sees that it has fired.
            let watched = entry.remove();
            book.end(watched, Reason::Deadline);
        }
        while let Some(entry) = book.going.first_entry()
            && entry.key().0 <= now
        {
            over.push(entry.remove());
        }
        let next = book.watched.first_key_value().map(|(due, _)| due.0).into_iter().chain(first(&book.going)).min();
        let until = next.unwrap_or(now + IDLE);
        book.clock_sleeps_until = Some(until);
        self.wake(book);
        over.iter().for_each(|alarm| alarm.give_up());
        until
    }
}

fn first<T>(of: &BTreeMap<Due, T>) -> Option<Instant> {
    of.first_key_value().map(|(due, _)| due.0)
}

/// Whether a task sleeps past this moment. If so, it counts as awake from now on.
fn is_before(next: Option<Instant>, sleeps_until: &mut Option<Instant>) -> bool {
    let is_before = matches!((next, &sleeps_until), (Some(next), Some(until)) if next < *until);
    if is_before {
        *sleeps_until = None;
    }
    is_before
}

/// Enforces the deadlines of one cell until the watchdog is dropped.
pub(super) async fn run_clock(cell: Arc<Cell>) {
    let _attended = Attended { cell: &cell, task: Task::Clock };
    while !cell.is_closed() {
        let until = cell.tick();
        // A timeout has the same effect as being woken.
        let _ = timeout_at(until, cell.clock.notified()).await;
        cell.book().clock_sleeps_until = None;
    }
}

/// Records that a task has ended, even by a panic.
pub(super) struct Attended<'a> {
    pub(super) cell: &'a Cell,
    pub(super) task: Task,
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        self.cell.leave(self.task);
    }
}
