//! Chromium without a window, spoken to by the DevTools Protocol.
//!
//! They speak over a pipe: no port is open meanwhile, and a browser whose pipe is closed ends by itself, even where
//! the test was killed.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::common::processes::wait_until_gone;

/// Debian's name of it.
const PROGRAM: &str = "chromium";

/// Set to 1 where it has to be there: a test that misses it fails then.
const REQUIRED: &str = "C10K_BROWSER_REQUIRED";

/// Longer than any answer takes on a busy machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// Nothing of its own accord leaves the machine, and what a page asks for goes to a proxy that only listens.
const FLAGS: [&str; 27] = [
    "--headless",
    // Its sandbox refuses to be started by root; it sees pages of ours alone.
    "--no-sandbox",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pings",
    "--no-service-autorun",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-client-side-phishing-detection",
    "--disable-component-extensions-with-background-pages",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-features=MediaRouter,OptimizationHints,Translate,AutofillServerCommunication,CertificateTransparencyComponentUpdater",
    "--disable-gpu",
    "--disable-search-engine-choice-screen",
    "--disable-sync",
    // Pages lie over each other, and each goes on as if it were in front.
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--hide-scrollbars",
    "--metrics-recording-only",
    "--mute-audio",
    "--password-store=basic",
    "--force-color-profile=srgb",
];

/// The browser reads from descriptor 3 and writes to 4. Its folder goes when it has ended, whichever of its processes is left by then.
const SCRIPT: &str = r#"
"$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>"${C10K_BROWSER_HOME:?}/stderr.txt"
exec <&- >&-
rm -rf -- "$C10K_BROWSER_HOME"
"#;

/// A browser that runs; it ends with this value, or with the process.
pub(crate) struct Browser {
    /// The shell around it, the first of its process group.
    shell: Child,
    to: Mutex<Option<ChildStdin>>,
    inboxes: Inboxes,
    /// What is said to the browser itself and to no page.
    own: Mutex<Inbox>,
    last_number: AtomicU64,
    home: PathBuf,
    token: String,
    asked: Arc<Mutex<Vec<String>>>,
    front: Mutex<()>,
}

/// Where the messages of each page go, by its session.
type Inboxes = Arc<Mutex<HashMap<String, Sender<Value>>>>;

/// Messages that have come.
pub(crate) struct Inbox {
    receiver: Receiver<Value>,
    /// Events that nobody has looked at.
    pub(crate) events: Vec<Value>,
}

impl Inbox {
    fn new() -> (Sender<Value>, Self) {
        let (sender, receiver) = channel();
        (sender, Self { receiver, events: Vec::new() })
    }

    /// The next message; an error where it does not come in time or at all.
    pub(crate) fn next(&mut self, until: Instant) -> Result<Value, String> {
        let left = until.saturating_duration_since(Instant::now());
        self.receiver.recv_timeout(left).map_err(|error| error.to_string())
    }

    /// Takes what has come meanwhile.
    pub(crate) fn gather(&mut self) {
        self.events.extend(self.receiver.try_iter());
    }
}

/// The one browser of all tests; `None`, said aloud, where there is none to start.
pub(crate) fn browser(test: &str) -> Option<&'static Browser> {
    static SHARED: OnceLock<Option<Browser>> = OnceLock::new();
    let browser = SHARED.get_or_init(Browser::start).as_ref();
    if browser.is_none() {
        eprintln!("SKIPPED {test}: {PROGRAM} does not run here");
    }
    browser
}

impl Browser {
    /// Starts it, where it is installed.
    pub(crate) fn start() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let version = Command::new(PROGRAM).arg("--version").stdin(Stdio::null()).output();
        if !version.is_ok_and(|output| output.status.success()) {
            let is_required = std::env::var_os(REQUIRED).is_some_and(|value| value == "1");
            assert!(
                !is_required,
                "{PROGRAM} does not run here: Debian's packages are {PROGRAM} and fonts-dejavu-core"
            );
            return None;
        }
        let folder = tempfile::Builder::new().prefix("c10k-browser-").tempdir().expect("a folder");
        let home = folder.keep();
        let token = format!("browser-{}-{}", std::process::id(), NUMBER.fetch_add(1, Relaxed));
        let (proxy, asked) = listen_as_proxy();
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, PROGRAM]).args(FLAGS);
        command.arg(format!("--proxy-server=127.0.0.1:{proxy}"));
        command.arg(format!("--user-data-dir={}", home.display())).arg("about:blank");
        // Nothing of the user who runs the tests: no settings, no session of a desktop, no language.
        command.env("HOME", &home).env("C10K_BROWSER_HOME", &home).env("C10K_TEST", &token);
        command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        for name in
            ["DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"]
        {
            command.env_remove(name);
        }
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = command.spawn().expect("a shell");
        let (sender, own) = Inbox::new();
        let inboxes = Arc::new(Mutex::new(HashMap::from([(String::new(), sender)])));
        let from = shell.stdout.take().expect("piped");
        let to = Mutex::new(shell.stdin.take());
        hand_out(from, Arc::clone(&inboxes));
        let (own, last_number) = (Mutex::new(own), AtomicU64::new(0));
        let browser =
            Self { shell, to, inboxes, own, last_number, home, token, asked, front: Mutex::new(()) };
        browser.ask("Browser.getVersion", &json!({}));
        Some(browser)
    }

    /// Its profile, and all else that it writes.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// What it wanted of other machines: the first line of each request that came to its proxy.
    pub(crate) fn asked(&self) -> Vec<String> {
        locked(&self.asked).clone()
    }

    /// Leave to bring a page to the front. A page behind another is not painted, and a picture of it never comes.
    pub(crate) fn front(&self) -> MutexGuard<'_, ()> {
        locked(&self.front)
    }

    /// Asks the browser itself.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, parameters: &Value) -> Value {
        self.call("", &mut locked(&self.own), method, parameters)
    }

    /// An inbox for the messages of a session.
    pub(crate) fn inbox_for(&self, session: &str) -> Inbox {
        let (sender, inbox) = Inbox::new();
        locked(&self.inboxes).insert(session.to_owned(), sender);
        inbox
    }

    /// Takes an inbox away.
    pub(crate) fn forget(&self, session: &str) {
        locked(&self.inboxes).remove(session);
    }

    /// Calls a method of the protocol and waits for its result; events that come meanwhile stay in the inbox.
    #[track_caller]
    pub(crate) fn call(&self, session: &str, inbox: &mut Inbox, method: &str, parameters: &Value) -> Value {
        let number = self.last_number.fetch_add(1, Relaxed) + 1;
        let mut message = json!({ "id": number, "method": method, "params": parameters });
        if !session.is_empty() {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let sent = locked(&self.to).as_mut().expect("it runs").write_all(&bytes);
        assert!(sent.is_ok(), "{method}: {sent:?}: {}", self.stderr());
        let until = Instant::now() + PATIENCE;
        loop {
            let message =
                inbox.next(until).unwrap_or_else(|why| panic!("{method}: {why}: {}", self.stderr()));
            if message["id"] != json!(number) {
                inbox.events.push(message);
                continue;
            }
            assert!(message["error"].is_null(), "{method}: {}", message["error"]);
            return message["result"].clone();
        }
    }

    /// The end of what it has said to people.
    fn stderr(&self) -> String {
        let text = std::fs::read(self.home.join("stderr.txt")).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(2_000)..]).into_owned()
    }

    /// Ends it, and waits until its processes and its folder are gone; those that stay are killed by their group.
    pub(crate) fn end(&mut self) {
        drop(locked(&self.to).take());
        let until = Instant::now() + Duration::from_secs(20);
        while self.shell.try_wait().expect("a child of ours").is_none() {
            if Instant::now() > until {
                let group = Pid::from_raw(self.shell.id().cast_signed());
                let _ = killpg(group, Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let left = wait_until_gone(&self.token);
        assert!(left.is_empty() || std::thread::panicking(), "left behind: {left:?}");
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.end();
    }
}

/// Gives each message to the inbox of its session until the browser ends. Messages end with a zero byte.
fn hand_out(from: ChildStdout, inboxes: Inboxes) {
    std::thread::spawn(move || {
        for message in BufReader::new(from).split(0).map_while(Result::ok) {
            let message: Value = serde_json::from_slice(&message).expect("the protocol is JSON");
            let session = message["sessionId"].as_str().unwrap_or_default();
            // A page that was closed meanwhile has none.
            if let Some(inbox) = locked(&inboxes).get(session) {
                let _ = inbox.send(message);
            }
        }
        locked(&inboxes).clear();
    });
}

/// A proxy that passes nothing on: its port, and the first line of each request.
fn listen_as_proxy() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut start = [0; 512];
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let length = stream.read(&mut start).unwrap_or_default();
            let text = String::from_utf8_lossy(&start[..length]);
            if let Some(line) = text.lines().next() {
                locked(&heard).push(line.to_owned());
            }
        }
    });
    (port, asked)
}

/// A test that failed with the lock leaves what it guards as it should be.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_browser_that_is_let_go_leaves_no_process_and_no_folder() {
    let Some(mut browser) = Browser::start() else {
        return eprintln!("SKIPPED the end of a browser: {PROGRAM} does not run here");
    };
    let (home, token) = (browser.home().to_owned(), browser.token.clone());
    assert!(home.join("stderr.txt").exists() && !crate::common::processes::with_token(&token).is_empty());
    browser.end();
    assert!(!home.exists(), "{}", home.display());
}
