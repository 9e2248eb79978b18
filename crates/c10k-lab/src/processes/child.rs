//! A server or a swarm as a process of its own: started again from this executable, told by lines, heard by
//! lines.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use c10k_kernel::limits;
use c10k_kernel::namespace::Beside;
use c10k_kernel::process::{self, Signal, bind_to_this_process, own_executable};
use c10k_plan::stage::{EndLimits, Who};
use c10k_record::{ServerEvent, SwarmEvent};

/// What the lab hears.
#[derive(Debug)]
pub(crate) enum Heard {
    Server(ServerEvent),
    Swarm(Box<SwarmEvent>),
    /// A process has closed its stdout: it has ended, or is about to.
    Ended(Who),
}

/// A process that ends with the lab.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) who: Who,
    child: Child,
    stdin: Option<ChildStdin>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts it, in `namespace` or where the lab stands. Its stderr is the lab's; each JSON line of its stdout
    /// goes to `to`.
    pub(crate) fn start(
        who: Who,
        arguments: &[impl AsRef<OsStr>],
        namespace: Option<&Beside>,
        to: Sender<Heard>,
    ) -> io::Result<Self> {
        Self::start_with(&EndLimits::default(), who, arguments, namespace, to)
    }

    /// The same with limits of its own.
    pub(crate) fn start_with(
        end: &EndLimits,
        who: Who,
        arguments: &[impl AsRef<OsStr>],
        namespace: Option<&Beside>,
        to: Sender<Heard>,
    ) -> io::Result<Self> {
        let (mut command, kept) = executable(end)?;
        command
            .arg(who.command())
            .args(arguments)
            .arg("--events")
            .args(["--parent", &std::process::id().to_string()])
            .env(c10k_profile::LISTED_BY, std::process::id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A Ctrl-C on the terminal is the lab's to handle: it ends the others in their order.
            .process_group(0);
        if let Some(uid) = end.uid {
            command.uid(uid).gid(uid);
        }
        bind_to_this_process(&mut command, Signal::Terminate);
        if let Some(namespace) = namespace {
            namespace.start_in(&mut command)?;
        }
        let child = match end.more_threads {
            Some(more) => with_few_threads(end, more, || command.spawn()),
            None => command.spawn(),
        };
        drop(kept);
        let mut child = child?;
        let stdout = child.stdout.take();
        // From here on it is ended and waited for, whatever comes.
        let process = Self { who, stdin: child.stdin.take(), child, status: None };
        std::thread::Builder::new().name(format!("hear-{}", who.command())).spawn(move || {
            let lines =
                stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines().map_while(Result::ok));
            for line in lines {
                let heard = match who {
                    Who::Server => serde_json::from_str(&line).map(Heard::Server),
                    Who::Swarm => serde_json::from_str(&line).map(|event| Heard::Swarm(Box::new(event))),
                };
                if heard.is_ok_and(|heard| to.send(heard).is_err()) {
                    return;
                }
            }
            let _ = to.send(Heard::Ended(who));
        })?;
        Ok(process)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a command line; false when nobody reads it any more.
    pub(crate) fn tell(&mut self, line: &str) -> bool {
        self.stdin
            .as_mut()
            .is_some_and(|stdin| writeln!(stdin, "{line}").and_then(|()| stdin.flush()).is_ok())
    }

    /// Its exit status, once it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Waits for its end, at most `longest`; kills it after that.
    pub(crate) fn wait_or_kill(&mut self, longest: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + longest;
        while self.ended().is_none() {
            if Instant::now() >= until {
                let _ = self.child.kill();
                self.status = self.child.wait().ok();
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        self.status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Starts a child whose user may have so many threads beside those that there are: of another user's than the lab's
/// those of that user, else those in this user namespace.
fn with_few_threads(
    end: &EndLimits,
    more: u64,
    start: impl FnOnce() -> io::Result<Child>,
) -> io::Result<Child> {
    let before = limits::nproc()?.soft;
    let now = match end.uid {
        Some(uid) => process::threads_of_user(uid)?,
        None => process::threads_in_user_namespace()?,
    };
    limits::set_nproc_soft(now.saturating_add(more).min(before))?;
    let child = start();
    ended_unless(limits::set_nproc_soft(before), child)
}

/// The child, unless what its start had changed here could not be undone: whatever is started next would meet it.
fn ended_unless(undone: io::Result<()>, child: io::Result<Child>) -> io::Result<Child> {
    match (child, undone) {
        (Ok(mut child), Err(error)) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
        (child, _) => child,
    }
}

/// This executable again; where limits are wished for, under a shell that sets them and makes room for it. What comes
/// with it must live until it is started.
fn executable(end: &EndLimits) -> io::Result<(Command, Option<OwnedFd>)> {
    if end.nofile.is_none() && end.groups.is_empty() {
        let mut command = Command::new(own_executable());
        command.arg0("c10k-lab");
        return Ok((command, None));
    }
    let mut script = String::new();
    for group in &end.groups {
        let _ = write!(script, "echo $$ > '{}/cgroup.procs' && ", group.display());
    }
    if let Some(nofile) = end.nofile {
        let _ = write!(script, "ulimit -n {nofile} && ");
    }
    script.push_str("exec \"$0\" \"$@\"");
    // Of the shell /proc/self/exe would be the shell itself. Another user may not look at this process, but has what it
    // inherits.
    let (path, kept) = if end.uid.is_some() {
        let inherited = nix::unistd::dup(File::open(own_executable())?)?;
        (format!("/proc/self/fd/{}", inherited.as_raw_fd()), Some(inherited))
    } else {
        (format!("/proc/{}/exe", std::process::id()), None)
    };
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(script).arg(path);
    Ok((command, kept))
}

/// How a process ended, in words.
pub(crate) fn end_in_words(who: Who, status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("the {} was killed by signal {signal}", who.command()),
        (None, Some(code)) => format!("the {} ended by itself with exit code {code}", who.command()),
        (None, None) => format!("the {} ended", who.command()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_whose_start_cannot_be_undone_here_is_ended_and_waited_for() {
        let child = Command::new("sleep").arg("60").spawn().expect("sleep(1)");
        let pid = child.id();
        assert!(ended_unless(Err(io::ErrorKind::Other.into()), Ok(child)).is_err());
        assert!(process::start_time(pid).is_err(), "it is not even a zombie");
        let mut child = ended_unless(Ok(()), Command::new("true").spawn()).expect("true(1)");
        assert!(child.wait().expect("it ends").success());
    }
}
