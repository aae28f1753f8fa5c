//! Whether the checkpoint of a server that shuts down goes on. No session can ask then, so the kernel's counters of the checkpointer tell it.

use std::fs;
use std::path::Path;

use rustix::process::Pid;

/// What the checkpointer has done so far.
#[derive(Debug, PartialEq)]
pub(super) struct CheckpointWork {
    /// The processor time and the bytes that the kernel counts.
    counters: Vec<String>,
    /// Whether it waits for the disk, during which it counts nothing.
    is_waiting: bool,
}

impl CheckpointWork {
    /// The work of a postmaster's checkpointer. `None` if it has ended, or on a system that does not tell.
    pub(super) fn of(postmaster: Pid) -> Option<CheckpointWork> {
        let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
        processes.filter_map(|process| CheckpointWork::read(&process.path(), postmaster)).next()
    }

    fn read(process: &Path, postmaster: Pid) -> Option<CheckpointWork> {
        let read = |name: &str| fs::read_to_string(process.join(name));
        let mut work = CheckpointWork::of_child(&read("stat").ok()?, postmaster)?;
        if !read("cmdline").is_ok_and(|title| title.contains("checkpointer")) {
            return None;
        }
        // Not every user may read it.
        work.counters.extend(read("io"));
        Some(work)
    }

    /// The work of a child of the postmaster, by its line of proc_pid_stat(5).
    fn of_child(stat: &str, postmaster: Pid) -> Option<CheckpointWork> {
        // The name before the last parenthesis can contain anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let [state, parent, ..] = fields[..] else { return None };
        if parent.parse() != Ok(postmaster.as_raw_pid()) {
            return None;
        }
        // utime, stime and delayacct_blkio_ticks.
        let times = [11, 12, 39].into_iter().filter_map(|at| fields.get(at).map(|it| (*it).to_owned()));
        Some(CheckpointWork { counters: times.collect(), is_waiting: state == "D" })
    }

    /// Whether it has worked since an earlier look.
    pub(super) fn goes_on(&self, earlier: Option<&CheckpointWork>) -> bool {
        self.is_waiting || earlier.is_some_and(|earlier| earlier.counters != self.counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child of the postmaster 7, with this state and user time.
    fn working(state: char, time: u32) -> CheckpointWork {
        let stat = format!("8 (a) (b) {state} 7 8 8 0 -1 0 0 0 0 0 {time} 3 0 0 20 0 1 0 100 4 5");
        CheckpointWork::of_child(&stat, Pid::from_raw(7).expect("a pid")).expect("a child")
    }

    #[test]
    fn a_checkpoint_goes_on_while_it_uses_time_or_waits_for_the_disk() {
        let check = |earlier: CheckpointWork, now: CheckpointWork, expected: bool| {
            assert_eq!(now.goes_on(Some(&earlier)), expected, "{earlier:?} {now:?}");
        };
        check(working('S', 1), working('S', 2), true);
        check(working('S', 1), working('D', 1), true);
        check(working('S', 1), working('S', 1), false);
        check(working('D', 1), working('T', 1), false);
        assert!(!working('S', 1).goes_on(None));
        let other = "8 (postgres) S 6 8 8 0 -1 0 0 0 0 0 1 3 0 0 20 0 1 0 100 4 5";
        assert_eq!(CheckpointWork::of_child(other, Pid::from_raw(7).expect("a pid")), None);
    }
}
