//! All processes of this host at one moment, as cheaply as that can be read: one small file of each, which every user may
//! read.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use crate::counters::{ProcRoot, number, words};
use crate::cpu::seconds_per_tick;
use crate::memory::page_bytes;

/// What `/proc/PID/stat` says of one process (proc_pid_stat(5)).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessLine {
    /// The process that started it.
    pub parent: u32,
    /// Its process group: a shell makes one of all that one line starts, and most servers stay in it.
    pub group: u32,
    /// Its name, as the kernel keeps it (at most 15 bytes).
    pub name: String,
    /// When it started, in clock ticks since boot: with its pid this names one process for ever.
    pub started_ticks: u64,
    /// Processor time of all its threads, seconds.
    pub cpu_seconds: f64,
    /// Threads.
    pub threads: u64,
    /// Resident memory, bytes, up to some hundred KiB off.
    pub rss_bytes: u64,
}

/// All processes by their pids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Processes {
    /// Those that could be read.
    pub by_pid: BTreeMap<u32, ProcessLine>,
}

impl Processes {
    /// Looks now. Costs some 20 µs a process.
    #[must_use]
    pub fn look(root: &ProcRoot) -> Self {
        let Ok(entries) = fs::read_dir(root.path("proc")) else { return Self::default() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        // One that ended meanwhile is none.
        let by_pid = pids.filter_map(|pid| Some((pid, line_of(root, pid)?))).collect();
        Self { by_pid }
    }

    /// The same process at another moment; `None` where there was none, or another one of that pid.
    #[must_use]
    pub fn same(&self, pid: u32, line: &ProcessLine) -> Option<&ProcessLine> {
        self.by_pid.get(&pid).filter(|other| other.started_ticks == line.started_ticks)
    }

    /// Those that these processes have started, and those that they have started, and so on, but for `without` and what
    /// comes of them. In the order of their pids.
    #[must_use]
    pub fn descendants(&self, of: &[u32], without: &[u32]) -> Vec<u32> {
        let mut found: Vec<u32> = Vec::new();
        let mut grown = of.to_vec();
        while let Some(parent) = grown.pop() {
            for (pid, line) in &self.by_pid {
                let is_new = line.parent == parent && !without.contains(pid) && !of.contains(pid);
                if is_new && !found.contains(pid) {
                    found.push(*pid);
                    grown.push(*pid);
                }
            }
        }
        found.sort_unstable();
        found
    }
}

/// The line of one process now.
#[must_use]
pub fn line_of(root: &ProcRoot, pid: u32) -> Option<ProcessLine> {
    parse(&fs::read(root.process_path(Some(pid), "stat")).ok()?)
}

/// This moment in the clock of [`ProcessLine::started_ticks`] (`/proc/uptime`); `None` where that cannot be read.
#[must_use]
pub fn now_ticks(root: &ProcRoot) -> Option<u64> {
    let text = fs::read_to_string(root.path("proc/uptime")).ok()?;
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some((seconds / seconds_per_tick()) as u64)
}

/// How each thread of a process is scheduled, by the kernel's numbers (sched(7); proc_pid_stat(5), field 41): 0 is
/// `SCHED_OTHER`, 3 `SCHED_BATCH`. A thread that ends meanwhile is left out.
///
/// # Errors
/// `NotFound` when there is no such process.
pub fn scheduling_policies(root: &ProcRoot, pid: u32) -> io::Result<Vec<u64>> {
    let threads = fs::read_dir(root.process_path(Some(pid), "task"))?.flatten();
    Ok(threads.filter_map(|thread| policy_in(&fs::read(thread.path().join("stat")).ok()?)).collect())
}

fn policy_in(stat: &[u8]) -> Option<u64> {
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    // Field 3 is the first behind the name.
    words(&stat[close + 1..]).nth(41 - 3).and_then(number)
}

/// The command name may hold spaces and parentheses, so counting starts behind the last one.
fn parse(stat: &[u8]) -> Option<ProcessLine> {
    let (open, close) =
        (stat.iter().position(|byte| *byte == b'(')?, stat.iter().rposition(|byte| *byte == b')')?);
    let name = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
    let fields: Vec<&[u8]> = words(&stat[close + 1..]).collect();
    // The first behind the name is number 3.
    let field =
        |number_in_the_manual: usize| fields.get(number_in_the_manual - 3).and_then(|text| number(text));
    Some(ProcessLine {
        parent: u32::try_from(field(4)?).ok()?,
        group: u32::try_from(field(5)?).ok()?,
        name,
        started_ticks: field(22)?,
        cpu_seconds: (field(14)? + field(15)?) as f64 * seconds_per_tick(),
        threads: field(20)?,
        rss_bytes: field(24)? * page_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(pid: u32, name: &str, parent: u32, started: u64) -> String {
        format!(
            "{pid} ({name}) S {parent} 1 1 0 -1 4194560 100 0 0 0 250 150 0 0 20 0 3 0 {started} 1000000 512 184467\n"
        )
    }

    #[test]
    fn a_line_is_read_whatever_the_process_is_called() {
        let line = parse(stat(7, "a) b (c", 3, 99).as_bytes()).unwrap();
        assert_eq!((line.name.as_str(), line.parent, line.started_ticks), ("a) b (c", 3, 99));
        assert_eq!(line.group, 1);
        assert_eq!((line.threads, line.rss_bytes), (3, 512 * page_bytes()));
        assert!((line.cpu_seconds - 400.0 * seconds_per_tick()).abs() < 1e-9);
        assert_eq!(parse(b"7 (x) S 1"), None);
    }

    #[test]
    fn the_policy_of_each_thread_is_read_and_what_is_too_short_has_none() {
        let to_field_40 = format!("{} 0", vec!["1"; 36].join(" "));
        let stat = format!("7 (a) b) S {to_field_40} 3 0\n");
        assert_eq!((policy_in(stat.as_bytes()), policy_in(b"7 (a) S 1 2")), (Some(3), None));
        let own = scheduling_policies(&ProcRoot::default(), std::process::id()).unwrap();
        assert!(!own.is_empty() && own.iter().all(|policy| *policy <= 7), "{own:?}");
        let none = scheduling_policies(&ProcRoot::default(), u32::MAX).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn descendants_are_found_over_generations_and_a_pid_that_was_used_again_is_another_process() {
        let host = tempfile::tempdir().unwrap();
        for (pid, parent) in [(10, 1), (11, 10), (12, 11), (13, 10), (14, 13), (20, 1)] {
            fs::create_dir_all(host.path().join(format!("proc/{pid}"))).unwrap();
            let text = stat(pid, "x", parent, u64::from(pid));
            fs::write(host.path().join(format!("proc/{pid}/stat")), text).unwrap();
        }
        let seen = Processes::look(&ProcRoot::recorded(host.path()));
        assert_eq!(seen.descendants(&[10], &[13]), [11, 12]);
        assert_eq!(seen.descendants(&[10, 11], &[]), [12, 13, 14]);
        let line = &seen.by_pid[&12];
        assert!(seen.same(12, line).is_some());
        assert!(seen.same(12, &ProcessLine { started_ticks: 5, ..line.clone() }).is_none());
    }

    #[test]
    fn this_process_is_among_those_of_this_host() {
        let seen = Processes::look(&ProcRoot::default());
        let own = &seen.by_pid[&std::process::id()];
        assert!(own.threads >= 1 && own.rss_bytes > 0 && own.started_ticks > 0, "{own:?}");
    }
}
