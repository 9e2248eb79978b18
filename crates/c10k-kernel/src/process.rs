//! This process, its children and others: names, processors, and how long a child may outlive its parent.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::{Pid, Uid, geteuid, setresuid};

use crate::files;
use crate::sys::{raw_command, raw_heap, raw_sched};

/// A signal that ends a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

impl From<Signal> for nix::sys::signal::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Interrupt => Self::SIGINT,
            Signal::Terminate => Self::SIGTERM,
            Signal::Kill => Self::SIGKILL,
        }
    }
}

/// Asks the kernel to send `signal` to this process when its parent ends, and checks that `parent` still is
/// its parent, since a parent that ended before the call would never be noticed.
///
/// The kernel watches the *thread* that forked this process (PR_SET_PDEATHSIG(2const)).
///
/// # Errors
/// ESRCH when the parent is gone already; the caller should then end.
pub fn die_with_parent(signal: Signal, parent: u32) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::from(signal))?;
    if u32::try_from(nix::unistd::getppid().as_raw()) == Ok(parent) {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(libc::ESRCH))
    }
}

/// Makes a child that is yet to be started die with this process: [`die_with_parent`] between fork and exec.
/// Spawn it from a thread that lives as long as the process does.
pub fn bind_to_this_process(command: &mut Command, signal: Signal) {
    let parent = std::process::id();
    raw_command::before_exec(command, move || die_with_parent(signal, parent));
}

/// Asks the kernel to end waits of the calling thread at most `slack` late, where it has the choice: 50 µs by default,
/// so that it can end several at once (PR_SET_TIMERSLACK(2const)). 1 ns is the least.
///
/// # Errors
/// As prctl(2).
pub fn set_timer_slack(slack: Duration) -> io::Result<()> {
    // 0 would mean the default.
    let nanoseconds = libc::c_ulong::try_from(slack.as_nanos()).unwrap_or(libc::c_ulong::MAX).max(1);
    Ok(nix::sys::prctl::set_timerslack(nanoseconds)?)
}

/// The path that starts this very executable again, even when the file has been replaced or removed since.
#[must_use]
pub fn own_executable() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// Whether this process was started to ignore a signal, as nohup(1) does with SIGHUP (proc_pid_status(5),
/// SigIgn).
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    signal > 0 && mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Offers this process, and every one that it starts from now on, to the OOM killer before all others: what it holds
/// in the kernel is charged to no process, so without that the killer would take the process with the most memory of its
/// own (proc_pid_oom_score_adj(5); raising the score needs no privilege).
///
/// # Errors
/// When `/proc` cannot be written.
pub fn offer_to_the_oom_killer() -> io::Result<()> {
    std::fs::write("/proc/self/oom_score_adj", "1000")
}

/// Sets only the real user id, so that the kernel charges its limits for each user to `user` (`set_user`, kernel/sys.c):
/// the watches of epoll instances that are made from now on (`ep_alloc`, fs/eventpoll.c), and processes. The effective and
/// the saved id stay, and capabilities with them (capabilities(7)). So does the signal of [`die_with_parent`], which a
/// change of the effective id would cancel (`commit_creds`, kernel/cred.c).
///
/// # Errors
/// EPERM without CAP_SETUID, EINVAL for a user who is not mapped in this user namespace (setresuid(2)).
pub fn be_counted_as(user: u32) -> io::Result<()> {
    let effective = geteuid();
    Ok(setresuid(Uid::from_raw(user), effective, effective)?)
}

/// The real user id of a process, by which the kernel counts what a user has.
///
/// # Errors
/// `NotFound` when there is no such process.
pub fn real_user(pid: u32) -> io::Result<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse_real_user(&status)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/status has no Uid")))
}

/// Has the calling thread, and those that it starts later, wait for its turn when it is woken instead of taking the
/// processor from who runs there: `SCHED_BATCH` (sched(7); `wakeup_preempt_fair`, kernel/sched/fair.c). A policy that
/// somebody has chosen (chrt(1)) stays. It needs no privilege.
///
/// # Errors
/// As sched_setscheduler(2): EPERM under a filter that forbids it.
pub fn wait_for_turn_when_woken() -> io::Result<()> {
    if raw_sched::policy()? == libc::SCHED_OTHER { raw_sched::set_policy(libc::SCHED_BATCH) } else { Ok(()) }
}

/// How many processors the calling thread may run on; at least 1.
#[must_use]
pub fn cpus_allowed() -> usize {
    allowed_cpus().map_or(1, |cpus| cpus.len().max(1))
}

/// The numbers of the processors that the calling thread may run on.
///
/// # Errors
/// As sched_getaffinity(2).
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).collect())
}

/// Lets little memory lie free in this process from now on (`M_TRIM_THRESHOLD`, mallopt(3)); true where that is possible,
/// which is with glibc. For the start of a process whose memory belongs to its connections: what the C library does by
/// itself is to keep more the more was ever freed.
pub fn keep_little_free_memory() -> bool {
    raw_heap::limit_free()
}

/// Gives memory that was freed back to the kernel; true when there was any (malloc_trim(3)). What lies free at the end
/// of a heap goes back of the calling thread's only, and more of it after [`keep_little_free_memory`].
///
/// The cost grows with the number of free pieces, and the first use of each page afterwards is a page fault: it
/// is for the time after a crowd, not for every day. Without glibc nothing is done.
pub fn give_back_free_memory() -> bool {
    raw_heap::trim()
}

/// How many threads this process has.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn threads() -> io::Result<u32> {
    let status = status_of_this_thread()?;
    status_field(&status, "Threads")
        .and_then(|count| count.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no Threads in /proc/thread-self/status"))
}

/// How many threads there are in the user namespace of this process, of those processes whose namespace may be seen: an
/// ordinary user's are all that RLIMIT_NPROC counts (user_namespaces(7)).
///
/// # Errors
/// When `/proc` cannot be read.
pub fn threads_in_user_namespace() -> io::Result<u64> {
    let own = std::fs::read_link("/proc/self/ns/user")?;
    // Of other users' processes the namespace is not shown.
    threads_where(|path, _| std::fs::read_link(path.join("ns/user")).is_ok_and(|namespace| namespace == own))
}

/// How many threads a user has, by their real user id, which RLIMIT_NPROC counts; of those processes that may be seen.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn threads_of_user(uid: u32) -> io::Result<u64> {
    threads_where(|_, status| parse_real_user(status) == Some(uid))
}

/// The threads of all processes of which a path in `/proc` and the status are as wanted.
fn threads_where(is_wanted: impl Fn(&Path, &str) -> bool) -> io::Result<u64> {
    let mut threads = 0;
    for process in std::fs::read_dir("/proc")?.flatten() {
        // `/proc/self` and `/proc/thread-self` are this process once more.
        if !process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // It may end meanwhile.
        let status = std::fs::read_to_string(process.path().join("status")).unwrap_or_default();
        if is_wanted(&process.path(), &status) {
            threads +=
                status_field(&status, "Threads").and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(threads)
}

/// When a process started, in clock ticks since boot: with its pid this names one process for ever, since
/// pids are used again (proc_pid_stat(5), field 22).
///
/// # Errors
/// `NotFound` when there is no such process.
pub fn start_time(pid: u32) -> io::Result<u64> {
    let stat = files::read_to_string(Path::new(&format!("/proc/{pid}/stat")))?;
    parse_start_time(&stat)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is unreadable")))
}

/// Whether the process that started then is still there and has not ended: one that has ended and that nobody has
/// waited for yet keeps its pid (proc_pid_stat(5), fields 3 and 20). False for one of another pid or time namespace, and where
/// `/proc` cannot be read: see [`is_gone`].
#[must_use]
pub fn runs_since(pid: u32, start_time: u64) -> bool {
    let stat = files::read_to_string(Path::new(&format!("/proc/{pid}/stat"))).unwrap_or_default();
    parse_start_time(&stat) == Some(start_time) && !has_ended(&stat)
}

/// Whether the process that started then has certainly ended: one that cannot be looked at may live. Its pid and its
/// start must be of the caller's [`Clock`].
#[must_use]
pub fn is_gone(pid: u32, start_time: u64) -> bool {
    match files::read_to_string(Path::new(&format!("/proc/{pid}/stat"))) {
        Ok(stat) => parse_start_time(&stat).is_some_and(|started| started != start_time || has_ended(&stat)),
        // With hidepid= a process may be there all the same (proc(5)).
        Err(error) => {
            error.kind() == io::ErrorKind::NotFound
                && i32::try_from(pid).is_ok_and(|pid| {
                    nix::sys::signal::kill(Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH)
                })
        }
    }
}

/// The namespaces within which a pid and a time since boot mean what they do (pid_namespaces(7),
/// time_namespaces(7)), by their inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Of the pid.
    pub pid_namespace: u64,
    /// Of the time since boot; `None` on a kernel without time namespaces.
    pub time_namespace: Option<u64>,
}

impl Clock {
    /// Those of this process.
    ///
    /// # Errors
    /// When `/proc` cannot be read, or is that of another pid namespace, where other pids mean these processes.
    pub fn of_this_process() -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        if std::fs::read_link("/proc/self")? != Path::new(&std::process::id().to_string()) {
            return Err(io::Error::other("/proc is that of another pid namespace"));
        }
        let inode = |name: &str| Ok(files::metadata(&Path::new("/proc/self/ns").join(name))?.ino());
        let time_namespace = match inode("time") {
            Ok(inode) => Some(inode),
            Err(error) => {
                let error: io::Error = error;
                if error.kind() != io::ErrorKind::NotFound {
                    return Err(error);
                }
                None
            }
        };
        Ok(Self { pid_namespace: inode("pid")?, time_namespace })
    }
}

/// The name of a process, as the kernel keeps it (at most 15 bytes).
///
/// # Errors
/// `NotFound` when there is no such process.
pub fn name_of(pid: u32) -> io::Result<String> {
    Ok(std::fs::read_to_string(format!("/proc/{pid}/comm"))?.trim_end().to_owned())
}

/// Names the calling thread, with 15 bytes at the most; of the first thread that is the name of the process
/// (PR_SET_NAME(2const)).
///
/// # Errors
/// EINVAL for a name with a NUL byte.
pub fn set_name(name: &str) -> io::Result<()> {
    let name = std::ffi::CString::new(name).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    Ok(nix::sys::prctl::set_name(&name)?)
}

pub(crate) fn status_of_this_thread() -> io::Result<String> {
    std::fs::read_to_string("/proc/thread-self/status")
}

pub(crate) fn status_field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Real, effective, saved and file system's (proc_pid_status(5)).
fn parse_real_user(status: &str) -> Option<u32> {
    status_field(status, "Uid")?.split_whitespace().next()?.parse().ok()
}

/// The command name may hold spaces and parentheses, so counting starts behind the last one.
fn parse_start_time(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    behind_name.split_whitespace().nth(22 - 3)?.parse().ok()
}

/// Whether all threads have: the state is the first thread's, and the others may go on without it.
fn has_ended(stat: &str) -> bool {
    let Some((_, behind_name)) = stat.rsplit_once(") ") else { return false };
    let threads = behind_name.split_whitespace().nth(20 - 3).and_then(|count| count.parse().ok());
    behind_name.starts_with(['Z', 'X']) && threads.is_none_or(|threads: u64| threads <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threads_of_a_user_are_those_of_this_process_and_more() {
        let own = threads_of_user(nix::unistd::getuid().as_raw()).unwrap();
        assert!(own >= u64::from(threads().unwrap().min(1)), "{own}");
        // Nobody has the last user id there can be (setreuid(2)).
        assert_eq!(threads_of_user(u32::MAX).unwrap(), 0);
    }

    #[test]
    fn the_start_time_is_found_behind_a_name_with_spaces_and_parentheses() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 9 9";
        assert_eq!(parse_start_time(stat), Some(4711));
    }

    #[test]
    fn this_process_started_and_keeps_its_start_time() {
        let pid = std::process::id();
        assert_eq!(start_time(pid).unwrap(), start_time(pid).unwrap());
        assert_eq!(start_time(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
        let since = start_time(pid).unwrap();
        assert!(runs_since(pid, since) && !runs_since(pid, since + 1) && !runs_since(u32::MAX, 0));
        assert!(!is_gone(pid, since) && is_gone(pid, since + 1));
    }

    #[test]
    fn a_child_that_has_ended_runs_no_more_even_before_anybody_has_waited_for_it() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let since = start_time(child.id()).unwrap();
        assert!(runs_since(child.id(), since));
        child.kill().unwrap();
        while runs_since(child.id(), since) {
            std::thread::yield_now();
        }
        assert_eq!(start_time(child.id()).unwrap(), since, "its pid is still there");
        child.wait().unwrap();
    }

    #[test]
    fn the_real_user_is_the_first_of_the_four() {
        assert_eq!(parse_real_user("Name:\tx\nUid:\t65534\t0\t0\t0\n"), Some(65_534));
        assert_eq!(parse_real_user("Name:\tx\n"), None);
        assert_eq!(real_user(std::process::id()).unwrap(), nix::unistd::getuid().as_raw());
    }

    #[test]
    fn who_is_counted_as_another_keeps_all_rights_and_still_ends_with_its_parent() {
        if !geteuid().is_root() {
            let error = be_counted_as(0).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EPERM));
            return;
        }
        let parent = std::process::id();
        let mut report = [0; 4];
        // In a child: the C library changes all threads of a process.
        crate::sys::raw_fork::fork_and_report(&mut report, |report| {
            let capable = || crate::limits::has_capability(crate::limits::Cap::SysAdmin).unwrap_or(false);
            let before = capable();
            die_with_parent(Signal::Kill, parent).unwrap();
            be_counted_as(65_534).unwrap();
            let ids = nix::unistd::getresuid().unwrap();
            report[0] = u8::from(ids.real.as_raw() == 65_534);
            report[1] = u8::from(ids.effective.is_root() && ids.saved.is_root());
            report[2] = u8::from(capable() == before);
            let signal = nix::sys::prctl::get_pdeathsig().unwrap();
            report[3] = u8::from(signal == Some(nix::sys::signal::Signal::SIGKILL));
        })
        .unwrap();
        assert_eq!(report, [1; 4], "real, effective, capabilities, the parent's signal");
    }

    #[test]
    fn a_thread_waits_for_its_turn_unless_another_policy_was_chosen_for_it() {
        let policy_after = |first: Option<i32>| {
            let thread = std::thread::spawn(move || {
                first.map_or(Ok(()), raw_sched::set_policy).unwrap();
                wait_for_turn_when_woken().unwrap();
                raw_sched::policy().unwrap()
            });
            thread.join().unwrap()
        };
        assert_eq!(policy_after(Some(libc::SCHED_IDLE)), libc::SCHED_IDLE);
        let inherited = raw_sched::policy().unwrap();
        let expected = if inherited == libc::SCHED_OTHER { libc::SCHED_BATCH } else { inherited };
        assert_eq!(policy_after(None), expected);
    }

    #[test]
    fn a_child_whose_parent_is_another_is_told_so() {
        std::thread::spawn(|| {
            let error = die_with_parent(Signal::Kill, u32::MAX).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
            nix::sys::prctl::set_pdeathsig(None).unwrap();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_child_bound_to_a_process_ends_when_that_process_does() {
        let mut child = [0; 4];
        crate::sys::raw_fork::fork_and_report(&mut child, |child| {
            let mut command = Command::new("sleep");
            command.arg("1000");
            bind_to_this_process(&mut command, Signal::Kill);
            child.copy_from_slice(&command.spawn().unwrap().id().to_ne_bytes());
        })
        .unwrap();
        let child = u32::from_ne_bytes(child);
        let has_ended = || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ") || stat.contains(") X ")
        };
        let ended = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            has_ended()
        });
        if !ended {
            let orphan = Pid::from_raw(child.cast_signed());
            nix::sys::signal::kill(orphan, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        assert!(ended, "process {child} outlived the one it was bound to");
    }
}
