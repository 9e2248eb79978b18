//! One ssh connection, and what goes through it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use c10k_kernel::process::{Signal, bind_to_this_process};
use c10k_plan::say::refusal::Refusal;
use c10k_plan::ssh::{Destination, SshArgs};

use crate::signals::Signals;
use crate::ssh::trouble;
use crate::ssh::words::Words;

/// The longest that a connection may take to come up; ssh's own limit on connecting is 10 s of these.
const CONNECT: Duration = Duration::from_secs(30);
/// The longest that a short question may take.
const ASK: Duration = Duration::from_secs(20);
/// The longest that a copy of the program may take: 12 MB at 1 Mbit/s and some more.
const COPY: Duration = Duration::from_secs(180);
/// Between two looks at what is awaited.
const NAP: Duration = Duration::from_millis(10);
/// How many ports are tried for the forward: another process may take one that was free a moment ago.
const PORTS: u32 = 8;

/// A folder of its own that is gone with it.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    /// ssh binds its socket under a longer name first: together no more than the 107 bytes of unix(7).
    fn new() -> io::Result<Self> {
        let short = |path: &Path| path.as_os_str().len() <= 60 && !path.to_string_lossy().contains('%');
        let above = Some(std::env::temp_dir()).filter(|path| short(path));
        let above = above.unwrap_or_else(|| PathBuf::from("/tmp"));
        Ok(Self(nix::unistd::mkdtemp(&above.join("c10k-ssh-XXXXXX"))?))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn text(&self, name: &str) -> String {
        let bytes = std::fs::read(self.file(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that is ended and waited for with its owner.
#[derive(Debug)]
pub(crate) struct Kept(Child);

impl Kept {
    fn start(
        words: &[impl AsRef<OsStr>],
        stdin: Stdio,
        stdout: Stdio,
        stderr: File,
    ) -> Result<Self, Refusal> {
        let mut command = Command::new("ssh");
        command.args(words).stdin(stdin).stdout(stdout).stderr(stderr);
        // A Ctrl-C on the terminal is the lab's to handle.
        command.process_group(0);
        bind_to_this_process(&mut command, Signal::Terminate);
        command.spawn().map(Self).map_err(|error| trouble::not_started(&error))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// Waits for its end, at most so long.
    pub(crate) fn wait(&mut self, longest: Duration) -> Option<ExitStatus> {
        let until = Instant::now() + longest;
        loop {
            match self.ended() {
                None if Instant::now() < until => std::thread::sleep(NAP),
                ended => return ended,
            }
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        if self.wait(Duration::from_secs(2)).is_none() {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// What the far end has answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A connection that stands. It ends when this is dropped, and with it all that was started through it.
#[derive(Debug)]
pub(crate) struct Connection {
    // Before the folder: the socket in it is the master's.
    master: Kept,
    folder: Folder,
    args: SshArgs,
    destination: Destination,
}

impl Connection {
    /// Connects. Nothing is asked on the terminal.
    pub(crate) fn open(
        args: &SshArgs,
        destination: &Destination,
        signals: &Signals,
    ) -> Result<Self, Refusal> {
        let folder = Folder::new().map_err(|error| no_folder(&error))?;
        let socket = folder.file("socket");
        let stderr = File::create(folder.file("stderr")).map_err(|error| no_folder(&error))?;
        let words = Words::new(args, destination, &socket);
        let mut master = Kept::start(&words.master(), Stdio::null(), Stdio::null(), stderr)?;
        let until = Instant::now() + CONNECT;
        while !socket.exists() {
            let ended = master.ended();
            stop_if_asked(signals)?;
            if ended.is_some() || Instant::now() >= until {
                let said = match ended {
                    Some(_) => folder.text("stderr"),
                    None => format!("no connection within {} s\n", CONNECT.as_secs()),
                };
                return Err(trouble::not_connected(&words, destination.as_str(), &said));
            }
            std::thread::sleep(NAP);
        }
        Ok(Self { master, folder, args: args.clone(), destination: destination.clone() })
    }

    /// Runs a shell's lines there to their end.
    pub(crate) fn ask(&mut self, script: &str, signals: &Signals) -> Result<Answer, Refusal> {
        let words = self.with_words(|words| words.session(script));
        self.run(&words, Stdio::null(), ASK, signals)
    }

    /// The same with a file as its stdin.
    pub(crate) fn give(&mut self, script: &str, file: File, signals: &Signals) -> Result<Answer, Refusal> {
        let words = self.with_words(|words| words.session(script));
        self.run(&words, file.into(), COPY, signals)
    }

    /// Starts a shell's lines there, with pipes for stdin and stdout.
    pub(crate) fn start(&self, script: &str) -> Result<Kept, Refusal> {
        let words = self.with_words(|words| words.session(script));
        let stderr = File::create(self.folder.file("started")).map_err(|error| no_folder(&error))?;
        Kept::start(&words, Stdio::piped(), Stdio::piped(), stderr)
    }

    /// What that has said on stderr so far.
    pub(crate) fn said(&self) -> String {
        self.folder.text("started")
    }

    /// A port of 127.0.0.1 here that leads to `far`. The kernel chooses it; ssh is given it a moment later, and where
    /// another process was faster ssh says so, and the next one is tried.
    pub(crate) fn forward(&mut self, far: SocketAddr, signals: &Signals) -> Result<SocketAddr, Refusal> {
        let mut said = String::new();
        for _ in 0..PORTS {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
            let here =
                free.map_err(|error| Refusal::host(format!("no port of 127.0.0.1 is free: {error}"), ""))?;
            let words = self.with_words(|words| words.forward(here, far));
            let answer = self.run(&words, Stdio::null(), ASK, signals)?;
            if answer.status.success() {
                return Ok(here);
            }
            said = answer.stderr;
        }
        Err(trouble::not_forwarded(self.destination.as_str(), &said))
    }

    /// Why nobody answers behind a forwarded port, where the far sshd is to blame.
    pub(crate) fn refused_to_forward(&self) -> Option<Refusal> {
        let said = self.folder.text("stderr");
        let refused = said.contains("administratively prohibited");
        refused.then(|| trouble::not_forwarded(self.destination.as_str(), &said))
    }

    /// Whether it still stands.
    pub(crate) fn stands(&mut self) -> bool {
        self.master.ended().is_none()
    }

    /// How it ended, as an error.
    pub(crate) fn gone(&self) -> Refusal {
        trouble::connection_gone(self.destination.as_str(), &self.folder.text("stderr"))
    }

    fn with_words(&self, make: impl FnOnce(&Words<'_>) -> Vec<OsString>) -> Vec<OsString> {
        make(&Words::new(&self.args, &self.destination, &self.folder.file("socket")))
    }

    fn run(
        &mut self,
        words: &[OsString],
        stdin: Stdio,
        longest: Duration,
        signals: &Signals,
    ) -> Result<Answer, Refusal> {
        let file = |name: &str| File::create(self.folder.file(name)).map_err(|error| no_folder(&error));
        let mut asked = Kept::start(words, stdin, file("answer")?.into(), file("trouble")?)?;
        let until = Instant::now() + longest;
        let status = loop {
            if let Some(status) = asked.ended() {
                break status;
            }
            stop_if_asked(signals)?;
            if Instant::now() >= until {
                return Err(Refusal::host(
                    format!("{} has not answered within {} s", self.destination, longest.as_secs()),
                    "see whether it is busy, or its disk does not answer",
                ));
            }
            std::thread::sleep(NAP);
        };
        if !self.stands() {
            return Err(self.gone());
        }
        let (stdout, stderr) = (self.folder.text("answer"), self.folder.text("trouble"));
        Ok(Answer { status, stdout, stderr })
    }
}

/// A signal ends what is awaited at once.
pub(crate) fn stop_if_asked(signals: &Signals) -> Result<(), Refusal> {
    if !signals.came() {
        return Ok(());
    }
    let message = format!("stopped by {} before the far server was ready", signals.name());
    Err(Refusal { message, hint: None, exit: signals.exit() })
}

fn no_folder(error: &io::Error) -> Refusal {
    Refusal::host(
        format!("no file can be made for the ssh connection: {error}"),
        "TMPDIR names the folder for such files",
    )
}
