//! Where the CPU time goes: of the host by kind, of a process, of a thread.
//!
//! All times are seconds since boot or since the process began, as the kernel accounts them, in steps of one clock
//! tick (usually 10 ms).

use std::io;

use crate::counters::{ProcFile, ProcRoot, ThreadState, lines, number, words};

/// CPU time by kind, in seconds since boot (proc_stat(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CpuTimes {
    /// In user space, niced processes included.
    pub user_seconds: f64,
    /// In the kernel on behalf of processes.
    pub system_seconds: f64,
    /// In hard interrupts.
    pub irq_seconds: f64,
    /// In software interrupts: the receive path of TCP, loopback included.
    pub softirq_seconds: f64,
    /// Idle.
    pub idle_seconds: f64,
    /// Idle with a disk request under way.
    pub iowait_seconds: f64,
    /// Wanted, but given to another virtual machine.
    pub steal_seconds: f64,
}

/// CPU time of the host and of each CPU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostCpu {
    /// All CPUs together.
    pub total: CpuTimes,
    /// Each CPU that is online, with its number.
    pub per_cpu: Vec<(u32, CpuTimes)>,
}

/// CPU time of one process (all its threads, ended ones too) or of one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessCpu {
    /// In user space.
    pub user_seconds: f64,
    /// In the kernel on its behalf.
    pub system_seconds: f64,
}

impl ProcessCpu {
    /// User and system time together, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.user_seconds + self.system_seconds
    }
}

/// The cores kept busy between two readings of a time that only grows: `(later − earlier) ÷ elapsed`. `None` when no
/// time passed or the time went backwards.
#[must_use]
pub fn cores_used(earlier_seconds: f64, later_seconds: f64, elapsed_seconds: f64) -> Option<f64> {
    let used = later_seconds - earlier_seconds;
    (elapsed_seconds > 0.0 && used >= 0.0).then(|| used / elapsed_seconds)
}

/// CPU time of the calling process so far, all its threads: getrusage(2), to the microsecond where the kernel accounts
/// so exactly.
///
/// # Errors
/// As getrusage(2).
pub fn own() -> io::Result<ProcessCpu> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Ok(ProcessCpu { user_seconds: seconds(usage.user_time()), system_seconds: seconds(usage.system_time()) })
}

/// Reads `/proc/stat`, opened once.
#[derive(Debug)]
pub struct HostCpuReader {
    file: ProcFile,
    buffer: Vec<u8>,
    seconds_per_tick: f64,
}

impl HostCpuReader {
    /// Opens the host's CPU times.
    #[must_use]
    pub fn open(root: &ProcRoot) -> Self {
        Self {
            file: ProcFile::open(root.path("proc/stat")),
            buffer: Vec::new(),
            seconds_per_tick: seconds_per_tick(),
        }
    }

    /// The file that is read.
    #[must_use]
    pub fn file(&self) -> &ProcFile {
        &self.file
    }

    /// Reads the times now.
    ///
    /// # Errors
    /// As [`ProcFile::read`]; EBADMSG when the file has no `cpu` line.
    pub fn read(&mut self) -> io::Result<HostCpu> {
        let text = self.file.read(&mut self.buffer)?;
        parse_stat(text, self.seconds_per_tick).ok_or_else(bad_message)
    }
}

/// Reads the CPU time of one process, `/proc/PID/stat` opened once.
#[derive(Debug)]
pub struct ProcessCpuReader {
    root: ProcRoot,
    pid: u32,
    file: ProcFile,
    buffer: Vec<u8>,
    seconds_per_tick: f64,
}

impl ProcessCpuReader {
    /// Opens the times of a process.
    #[must_use]
    pub fn open(root: &ProcRoot, pid: u32) -> Self {
        Self {
            root: root.clone(),
            pid,
            file: ProcFile::open(root.process_path(Some(pid), "stat")),
            buffer: Vec::new(),
            seconds_per_tick: seconds_per_tick(),
        }
    }

    /// The file that is read.
    #[must_use]
    pub fn file(&self) -> &ProcFile {
        &self.file
    }

    /// Reads the times now.
    ///
    /// # Errors
    /// ESRCH or ENOENT when the process is gone; one of which all threads have ended is gone too: ESRCH, since it does
    /// nothing any more.
    pub fn read(&mut self) -> io::Result<ProcessCpu> {
        Ok(self.read_with_state()?.0)
    }

    /// Reads the times now, and the letter of the state its first thread is in (where that has ended, another one): R
    /// running, S asleep, D waiting for a device, T stopped by a signal, t by a debugger (proc_pid_stat(5)). A signal
    /// stops all threads at once.
    ///
    /// # Errors
    /// As [`ProcessCpuReader::read`].
    pub fn read_with_state(&mut self) -> io::Result<(ProcessCpu, char)> {
        let text = self.file.read(&mut self.buffer)?;
        let stat = parse_process_stat(text, self.seconds_per_tick).ok_or_else(bad_message)?;
        if !stat.state.has_ended() {
            return Ok((stat.cpu, char::from(stat.state.0)));
        }
        // The times are those of all threads, ended ones too (fs/proc/array.c, `do_task_stat`).
        let going_on = self.root.thread_that_goes_on(self.pid).and_then(|thread| {
            let path = self.root.process_path(Some(self.pid), &format!("task/{thread}/stat"));
            ThreadState::parse(&std::fs::read(path).ok()?).filter(|state| !state.has_ended())
        });
        match going_on {
            Some(state) => Ok((stat.cpu, char::from(state.0))),
            None => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }
}

/// `1 ÷ sysconf(_SC_CLK_TCK)`; 100 ticks a second where the system does not say.
pub(crate) fn seconds_per_tick() -> f64 {
    let ticks =
        nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().filter(|ticks| *ticks > 0);
    1.0 / ticks.unwrap_or(100) as f64
}

fn bad_message() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADMSG)
}

fn parse_stat(text: &[u8], seconds_per_tick: f64) -> Option<HostCpu> {
    let mut cpu_lines = lines(text).filter(|line| line.starts_with(b"cpu"));
    let total = parse_cpu_line(cpu_lines.next().filter(|line| line.starts_with(b"cpu "))?, seconds_per_tick)?;
    let per_cpu = cpu_lines
        .filter_map(|line| {
            Some((u32::try_from(number(&line[3..])?).ok()?, parse_cpu_line(line, seconds_per_tick)?))
        })
        .collect();
    Some(HostCpu { total, per_cpu })
}

fn parse_cpu_line(line: &[u8], seconds_per_tick: f64) -> Option<CpuTimes> {
    // user nice system idle iowait irq softirq steal; guest time is already inside user.
    let mut ticks = [0u64; 8];
    let mut columns = words(line).skip(1);
    for (at, tick) in ticks.iter_mut().enumerate() {
        match columns.next() {
            Some(word) => *tick = number(word)?,
            None if at < 4 => return None,
            None => break,
        }
    }
    let seconds = |ticks: u64| ticks as f64 * seconds_per_tick;
    Some(CpuTimes {
        user_seconds: seconds(ticks[0] + ticks[1]),
        system_seconds: seconds(ticks[2]),
        idle_seconds: seconds(ticks[3]),
        iowait_seconds: seconds(ticks[4]),
        irq_seconds: seconds(ticks[5]),
        softirq_seconds: seconds(ticks[6]),
        steal_seconds: seconds(ticks[7]),
    })
}

struct ProcessStat {
    state: ThreadState,
    cpu: ProcessCpu,
}

fn parse_process_stat(text: &[u8], seconds_per_tick: f64) -> Option<ProcessStat> {
    let state = ThreadState::parse(text)?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = words(text.get(close + 1..)?);
    // utime and stime are fields 14 and 15 of proc_pid_stat(5); the state is field 3.
    let user = number(fields.nth(11)?)?;
    let system = number(fields.next()?)?;
    Some(ProcessStat {
        state,
        cpu: ProcessCpu {
            user_seconds: user as f64 * seconds_per_tick,
            system_seconds: system as f64 * seconds_per_tick,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  3618 2 3287 99996 159 0 782 17 0 0\ncpu0 1790 0 1464 50297 18 0 369 8 0 0\n\
                        cpu1 1828 2 1823 49699 141 0 412 9 0 0\nintr 211359 0 0\nctxt 5\n";

    #[test]
    fn the_times_of_the_host_come_by_kind_and_by_cpu() {
        let host = parse_stat(STAT.as_bytes(), 0.01).unwrap();
        assert!((host.total.user_seconds - 36.20).abs() < 1e-9, "user and nice");
        assert!((host.total.softirq_seconds - 7.82).abs() < 1e-9);
        assert!((host.total.steal_seconds - 0.17).abs() < 1e-9);
        assert_eq!(host.per_cpu.len(), 2);
        assert_eq!(host.per_cpu[1].0, 1);
        assert!((host.per_cpu[1].1.system_seconds - 18.23).abs() < 1e-9);
        assert!(parse_stat(b"intr 5\n", 0.01).is_none());
    }

    #[test]
    fn a_process_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let text = b"42 (a) b (c) R 1 42 42 0 -1 4194560 120 0 0 0 250 150 0 0 20 0 3 0 100 1000 10\n";
        let stat = parse_process_stat(text, 0.01).unwrap();
        assert_eq!(stat.state, ThreadState(b'R'));
        assert!((stat.cpu.user_seconds - 2.5).abs() < 1e-9);
        assert!((stat.cpu.seconds() - 4.0).abs() < 1e-9);
        assert!(parse_process_stat(b"42 (short) S 1", 0.01).is_none());
    }

    #[test]
    fn cores_are_never_negative_and_unknown_without_time() {
        assert_eq!(cores_used(1.0, 4.0, 2.0), Some(1.5));
        assert_eq!(cores_used(4.0, 1.0, 2.0), None);
        assert_eq!(cores_used(1.0, 4.0, 0.0), None);
    }

    #[test]
    fn this_process_and_this_host_have_times() {
        let pid = std::process::id();
        let mut reader = ProcessCpuReader::open(&ProcRoot::default(), pid);
        let before = reader.read().unwrap().seconds();
        let mut waste = 0u64;
        while reader.read().unwrap().seconds() <= before {
            waste = (0..100_000).fold(waste, |sum, next| std::hint::black_box(sum ^ next));
        }
        assert!(HostCpuReader::open(&ProcRoot::default()).read().unwrap().total.idle_seconds > 0.0);
    }

    #[test]
    fn a_process_that_ended_is_gone_even_as_a_zombie() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut reader = ProcessCpuReader::open(&ProcRoot::default(), child.id());
        assert!(reader.read().is_ok());
        child.kill().unwrap();
        loop {
            // Killed, but not waited for: first running, then a zombie.
            match reader.read() {
                Ok(_) => std::thread::yield_now(),
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
                    break;
                }
            }
        }
        child.wait().unwrap();
        assert_eq!(reader.read().unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
