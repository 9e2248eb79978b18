//! The real lab, run in a folder of its own, and what tests want to know of it.

#![allow(dead_code, unused_imports, reason = "every test file uses its own part of this vocabulary")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod ended;
pub(crate) mod hlog;
mod plants;
pub(crate) mod processes;
#[path = "../../../c10k-record/tests/common/validator.rs"]
mod validator;

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use c10k_record::Sample;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub(crate) use ended::{Ended, expect_schema};
pub(crate) use plants::{has_group, plantable};
pub(crate) use processes::Found;
pub(crate) use validator::faults;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_c10k-lab");

/// Longer than anything here takes on a busy machine; only a failure waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// The user of the tests that must not be root's.
const NOBODY: u32 = 65534;

/// Runs `c10k-lab run` with these arguments and a results folder of its own.
#[track_caller]
pub(crate) fn run_lab(arguments: &[&str]) -> Ended {
    Lab::new().run(arguments)
}

/// Runs any command of the lab.
#[track_caller]
pub(crate) fn lab(arguments: &[&str]) -> Ended {
    Lab::new().command(arguments).wait()
}

/// The lab before it is started.
pub(crate) struct Lab {
    home: TempDir,
    results: PathBuf,
    /// Shell code that is run before the lab takes the shell's place.
    before: String,
    /// What stands before the shell.
    wrapper: Vec<String>,
    ordinary: bool,
    environment: Vec<(&'static str, OsString)>,
    token: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let home = TempDir::new().expect("a folder of the test's own");
        Self {
            results: home.path().join("results"),
            home,
            before: String::new(),
            wrapper: Vec::new(),
            ordinary: false,
            environment: Vec::new(),
            token: format!("{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed)),
        }
    }

    /// Runs it as a user who may do nothing that root may; as the present user when that is no root.
    pub(crate) fn by_ordinary_user(mut self) -> Self {
        self.ordinary = true;
        self
    }

    /// Gives it a descriptor limit, soft and hard.
    pub(crate) fn with_nofile(self, nofile: u32) -> Self {
        self.after(&format!("ulimit -n {nofile}"))
    }

    /// Lets no file of it grow beyond so many blocks of 512 bytes, like a disk that is full.
    pub(crate) fn with_file_blocks(self, blocks: u32) -> Self {
        self.after(&format!("trap '' XFSZ; ulimit -f {blocks}"))
    }

    /// Runs this shell code first.
    pub(crate) fn after(mut self, code: &str) -> Self {
        self.before = format!("{}{code} || exit 99\n", self.before);
        self
    }

    /// Runs the shell, and the lab in it, under this command.
    pub(crate) fn under(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
        self
    }

    pub(crate) fn with_env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Puts the runs elsewhere than in `results` of its folder.
    pub(crate) fn with_results(mut self, path: PathBuf) -> Self {
        self.results = path;
        self
    }

    /// Its folder.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Writes a file into its folder.
    pub(crate) fn with_file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.home.path().join(name), text).expect("written");
        self
    }

    /// Runs `c10k-lab run` to its end.
    #[track_caller]
    pub(crate) fn run(self, arguments: &[&str]) -> Ended {
        self.start(arguments).wait()
    }

    /// Starts `c10k-lab run`.
    #[track_caller]
    pub(crate) fn start(self, arguments: &[&str]) -> Running {
        let results = self.results.display().to_string();
        let mut all = vec!["run", "--results", &results];
        all.extend(arguments);
        // A test is not about how late a busy machine is, unless it says so.
        let says = |flag: &str| arguments.contains(&flag);
        if arguments.first().is_some_and(|first| first.starts_with("--"))
            && !says("--verdict")
            && !says("--no-probe")
        {
            all.extend(["--verdict", "echo_p95 <= 1h"]);
        }
        self.command(&all)
    }

    /// Starts any command of the lab.
    #[track_caller]
    pub(crate) fn command(self, arguments: &[&str]) -> Running {
        let home = self.home.path();
        let as_nobody = self.ordinary && nix::unistd::geteuid().is_root();
        let program = if as_nobody { self.for_everybody() } else { PathBuf::from(PROGRAM) };
        let script = format!("{}exec \"$0\" \"$@\"", self.before);
        // Under nohup(1) the tests, and all that they start, ignore SIGHUP; behind a shell's `&` SIGINT and SIGQUIT.
        let mut words = vec!["env".to_owned(), "--default-signal=HUP,INT,QUIT".to_owned()];
        words.extend(self.wrapper.clone());
        words.extend(["sh".to_owned(), "-c".to_owned(), script]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(program).args(arguments);
        command.current_dir(home).env("C10K_TEST", &self.token).env_remove("NO_COLOR");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if as_nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        c10k_kernel::limits::raise_nofile_soft_to_hard().expect("the soft limit may be raised");
        let mut child = command.spawn().expect("started");
        let stdout = Heard::from(child.stdout.take().expect("piped"));
        let stderr = Heard::from(child.stderr.take().expect("piped"));
        Running { child, stdout, stderr, home: self.home, results: self.results, token: self.token }
    }

    /// The program at a place where everybody may run it, in a folder that belongs to the ordinary user.
    fn for_everybody(&self) -> PathBuf {
        let home = self.home.path();
        std::fs::set_permissions(home, std::fs::Permissions::from_mode(0o755)).expect("permitted");
        for entry in std::fs::read_dir(home).expect("listed").flatten() {
            std::os::unix::fs::chown(entry.path(), Some(NOBODY), Some(NOBODY)).expect("given away");
        }
        std::os::unix::fs::chown(home, Some(NOBODY), Some(NOBODY)).expect("given away");
        let runs =
            Command::new(PROGRAM).arg("--version").uid(NOBODY).gid(NOBODY).stdout(Stdio::null()).status();
        if runs.is_ok_and(|status| status.success()) {
            return PathBuf::from(PROGRAM);
        }
        let copy = home.join(".c10k-lab");
        std::fs::copy(PROGRAM, &copy).expect("copied");
        copy
    }
}

/// A lab that runs. It and its processes are killed when the test is done with it.
pub(crate) struct Running {
    child: Child,
    stdout: Heard,
    stderr: Heard,
    home: TempDir,
    results: PathBuf,
    token: String,
}

impl Running {
    /// Its pid; the shell's pid became the lab's. Under a wrapper it is the wrapper's.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its folder.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Sends the lab a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// The lab's server.
    #[track_caller]
    pub(crate) fn server(&self) -> Found {
        self.process("server")
    }

    /// The lab's swarm.
    #[track_caller]
    pub(crate) fn swarm(&self) -> Found {
        self.process("swarm")
    }

    /// Waits until the lab's server or swarm is there, ready or not.
    #[track_caller]
    pub(crate) fn wait_for_start_of(&self, subcommand: &str) {
        let give_up = Instant::now() + PATIENCE;
        let is_there = || processes::with_token(&self.token).iter().any(|p| p.subcommand == subcommand);
        while !is_there() {
            assert!(Instant::now() < give_up, "no {subcommand}: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The process of it with this as its first word behind the program.
    #[track_caller]
    pub(crate) fn process(&self, subcommand: &str) -> Found {
        let found = processes::with_token(&self.token);
        let all = format!("{found:?}");
        found
            .into_iter()
            .find(|process| process.subcommand == subcommand)
            .unwrap_or_else(|| panic!("no {subcommand} among {all}: {}", self.stderr()))
    }

    /// What it has said so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.so_far()
    }

    /// Waits until it has said `words`.
    #[track_caller]
    pub(crate) fn wait_until_said(&self, words: &str) {
        let give_up = Instant::now() + PATIENCE;
        while !self.stderr().contains(words) {
            assert!(Instant::now() < give_up, "never said '{words}': {}", self.stderr());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The folder of its run, once it is there.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        std::fs::read_dir(&self.results).ok()?.flatten().map(|entry| entry.path()).next()
    }

    /// Waits until a row of samples.csv is of `phase` and fulfils `condition`.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, phase: &str, condition: impl Fn(&Sample) -> bool) -> Sample {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let text = self.folder().map(|folder| std::fs::read_to_string(folder.join("samples.csv")));
            let rows = text.and_then(Result::ok).map(|text| c10k_report::read_samples(&text));
            let rows = rows.and_then(Result::ok).unwrap_or_default();
            if let Some(row) = rows.iter().find(|row| row.phase == phase && condition(row)) {
                return row.clone();
            }
            let ended = self.child.try_wait().expect("a child of ours");
            assert!(ended.is_none(), "it ended before {phase}: {ended:?}\n{}", self.stderr());
            assert!(Instant::now() < give_up, "{phase} never came: {rows:?}\n{}", self.stderr());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the hold with `open` connections.
    #[track_caller]
    pub(crate) fn wait_for_hold(&mut self, open: u64) {
        self.wait_for("hold", |row| row.open == Some(open));
    }

    /// Waits for its end, and for that of all processes that came from it.
    #[track_caller]
    pub(crate) fn wait(self) -> Ended {
        self.wait_at_most(PATIENCE)
    }

    /// The same for what takes longer.
    #[track_caller]
    pub(crate) fn wait_at_most(mut self, longest: Duration) -> Ended {
        let give_up = Instant::now() + longest;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                break status;
            }
            assert!(Instant::now() < give_up, "it never ended: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        };
        let left = processes::wait_until_gone(&self.token);
        assert!(left.is_empty(), "left behind: {left:?}\n{}", self.stderr());
        let home = std::mem::replace(&mut self.home, TempDir::new().expect("a folder"));
        let (stdout, stderr) = (self.stdout.whole(), self.stderr.whole());
        Ended { status, stdout, stderr, results: self.results.clone(), home }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for process in processes::with_token(&self.token) {
            send(process.pid, Signal::SIGKILL);
        }
    }
}

/// What a process writes, read by a thread so that it never has to wait.
struct Heard {
    text: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Heard {
    fn from(mut stream: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&text);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                sink.lock().expect("nobody panics with it").extend_from_slice(&buffer[..length]);
            }
        });
        Self { text, thread: Some(thread) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.text.lock().expect("nobody panics with it")).into_owned()
    }

    fn whole(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it only reads");
        }
        String::from_utf8(self.text.lock().expect("nobody panics with it").clone()).expect("it writes text")
    }
}

/// Sends a signal; a process that is gone needs none.
pub(crate) fn send(pid: u32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
}

/// Whether an ordinary user may make namespaces here; says so loudly when not.
pub(crate) fn namespaces_allowed(test: &str) -> bool {
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "true"])
        .uid(if nix::unistd::geteuid().is_root() { NOBODY } else { nix::unistd::geteuid().as_raw() })
        .stderr(Stdio::null())
        .status();
    let allowed = status.is_ok_and(|status| status.success());
    if !allowed {
        eprintln!("SKIPPED {test}: an ordinary user may make no user and network namespace here");
    }
    allowed
}
