//! One cell's deadlines, and the clock that keeps them. The clock waits for no connection: what it says comes in time
//! whatever the server does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::{Alarm, Backend, Reason};

/// How long a backend that was told to end may take to answer before nobody waits for it any longer.
const GRACE: Duration = Duration::from_millis(1500);
/// A backend that has not ended so long after it was told to is stuck. Sound ones take milliseconds, on a busy machine more.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the clock sleeps where there is nothing to wait for.
const IDLE: Duration = Duration::from_secs(3600);

/// A moment, and a number where moments are the same.
pub(super) type Due = (Instant, u64);

/// One cell's backends: those under watch, and those that are being ended.
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
    /// By their deadlines.
    watched: BTreeMap<Due, Watched>,
    /// Those whose alarm went off, by when whoever waits for them gives up.
    going: BTreeMap<Due, Arc<Alarm>>,
    /// Those to be signalled or looked at, by when.
    ending: BTreeMap<Due, Ending>,
    next: u64,
    /// When each task will look by itself; none while it is awake and will look before it sleeps.
    clock_sleeps_until: Option<Instant>,
    signaller_sleeps_until: Option<Instant>,
    /// Whether there is a clock and a signaller.
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
    /// When it was begun, as the server says; unknown before the first look.
    pub(super) started: Option<String>,
    /// Signals and looks so far.
    pub(super) attempts: u32,
    /// Since when it is being ended, and when the last signal was sent.
    pub(super) since: Instant,
    pub(super) signalled: Instant,
    /// After how long it counts as stuck, and whether it does.
    pub(super) patience: Duration,
    pub(super) is_stuck: bool,
    /// Dropped when the backend has gone.
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

    /// From now on the backend is being ended, and its guard's drop changes nothing.
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

    /// Which tasks there are to be and are not. They count as there from now on.
    pub(super) fn unattended(&self) -> [bool; 2] {
        let attended = std::mem::replace(&mut self.book().attended, [true; 2]);
        attended.map(|it| !it)
    }

    /// After a panic, the next who asks starts another.
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

    /// Wakes the clock only where it would sleep too long: limits are alike, so that hardly ever happens.
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

    /// The first backend to be signalled or looked at now.
    pub(super) fn take_ending(&self) -> Option<Ending> {
        let mut book = self.book();
        let first = book.ending.first_entry()?;
        (first.key().0 <= Instant::now()).then(|| first.remove())
    }

    /// Sleeps until the signaller's next moment, but not past `latest`. False where the watchdog is gone and there is
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
        // Elapsed is as good as woken.
        let _ = timeout_at(until, self.signaller.notified()).await;
        self.book().signaller_sleeps_until = None;
        true
    }

    /// Does what is due by the clock; gives when to look again.
    fn tick(&self) -> Instant {
        let mut over = Vec::new();
        let mut book = self.book();
        let now = Instant::now();
        while let Some(entry) = book.watched.first_entry()
            && entry.key().0 <= now
        {
            // Under the lock: a guard that is dropped later finds nothing to remove and sees that it has fired.
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

/// Whether a task sleeps past this moment. It counts as awake then.
fn is_before(next: Option<Instant>, sleeps_until: &mut Option<Instant>) -> bool {
    let is_before = matches!((next, &sleeps_until), (Some(next), Some(until)) if next < *until);
    if is_before {
        *sleeps_until = None;
    }
    is_before
}

/// Keeps the time of one cell until the watchdog is gone.
pub(super) async fn run_clock(cell: Arc<Cell>) {
    let _attended = Attended { cell: &cell, task: Task::Clock };
    while !cell.is_closed() {
        let until = cell.tick();
        // Elapsed is as good as woken.
        let _ = timeout_at(until, cell.clock.notified()).await;
        cell.book().clock_sleeps_until = None;
    }
}

/// Says that a task has ended, be it by a panic.
pub(super) struct Attended<'a> {
    pub(super) cell: &'a Cell,
    pub(super) task: Task,
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        self.cell.leave(self.task);
    }
}
