//! A terminal of a test's own, by tmux.

#![allow(dead_code, reason = "every test file uses its own part of this vocabulary")]
#![allow(clippy::print_stderr, reason = "a skipped test says so")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A terminal of its own, gone when the test is done with it.
pub(crate) struct Terminal {
    socket: String,
}

impl Terminal {
    pub(crate) fn start(columns: u32, rows: u32, folder: &Path, command: &str) -> Option<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let socket = format!("c10k-{}-{}", std::process::id(), STARTED.fetch_add(1, Relaxed));
        let terminal = Self { socket };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let started = terminal
            .tmux(&["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &rows, "-c"])
            .arg(folder)
            .arg(command)
            .status();
        started.is_ok_and(|status| status.success()).then_some(terminal)
    }

    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.args(["-L", &self.socket]).args(arguments).stdin(Stdio::null()).env_remove("TMUX");
        // Without SHELL tmux takes the user's from passwd(5), and nobody's is one that runs no command.
        command.env("SHELL", "/bin/sh");
        command
    }

    /// The screen and what was scrolled off it.
    pub(crate) fn shown(&self) -> String {
        let output = self.tmux(&["capture-pane", "-p", "-S", "-500"]).output().expect("tmux");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Types these keys, by tmux's names.
    pub(crate) fn press(&self, keys: &str) {
        assert!(self.tmux(&["send-keys", keys]).status().expect("tmux").success());
    }

    /// Makes it so many columns and rows.
    pub(crate) fn resize(&self, columns: u32, rows: u32) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let resized = self.tmux(&["resize-window", "-x", &columns, "-y", &rows]).status().expect("tmux");
        assert!(resized.success());
    }

    /// The last screen once it shows `words`.
    #[track_caller]
    pub(crate) fn wait_for(&self, words: &str) -> String {
        let give_up = Instant::now() + Duration::from_secs(60);
        loop {
            let shown = self.shown();
            if shown.contains(words) {
                return shown;
            }
            assert!(Instant::now() < give_up, "never showed '{words}': {shown}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]).stderr(Stdio::null()).status();
    }
}

/// Whether tmux is there; `test` is skipped where not.
pub(crate) fn has_tmux(test: &str) -> bool {
    let version = Command::new("tmux").arg("-V").stdout(Stdio::null()).status();
    let is_there = version.is_ok_and(|status| status.success());
    if !is_there {
        eprintln!("SKIPPED {test}: tmux is missing");
    }
    is_there
}
