//! The one printer of the lab: data on stdout, words for people on stderr.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use c10k_record::Exit;
use c10k_report::Style;

use crate::say::color::Color;

/// Between two progress lines where stderr is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// Writes what the lab says.
pub(crate) struct Printer {
    color: Color,
    terminal: bool,
    line_open: bool,
    last_plain: Option<Instant>,
    /// Data for stdout was lost, and not because its reader had gone.
    lost: bool,
}

impl Printer {
    pub(crate) fn new(color: Color) -> Self {
        Self { color, terminal: io::stderr().is_terminal(), line_open: false, last_plain: None, lost: false }
    }

    /// How a summary looks on this stream.
    pub(crate) fn style(&self, stdout: bool) -> Style {
        let terminal = if stdout { io::stdout().is_terminal() } else { self.terminal };
        let color = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        Style { color, ..Style::default() }
    }

    /// Data on stdout. Whoever read it may be gone; nobody is left to be told then. A disk that is full is told, once.
    pub(crate) fn data(&mut self, text: &str) {
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "{}", text.trim_end_matches('\n')).and_then(|()| stdout.flush());
        if let Err(error) = written
            && error.kind() != io::ErrorKind::BrokenPipe
            && !std::mem::replace(&mut self.lost, true)
        {
            self.error(&format!("the output cannot be written: {error}"), None);
        }
    }

    /// How a command ends that would end with `exit`: broken, when data for stdout was lost.
    pub(crate) fn settle(&self, exit: Exit) -> Exit {
        if self.lost { Exit::Broke } else { exit }
    }

    /// Words for people, on stderr.
    pub(crate) fn say(&mut self, text: &str) {
        let mut stderr = io::stderr().lock();
        if std::mem::take(&mut self.line_open) {
            let _ = writeln!(stderr);
        }
        let _ = writeln!(stderr, "{}", text.trim_end_matches('\n'));
    }

    /// An error and what mends it, each once.
    pub(crate) fn error(&mut self, message: &str, hint: Option<&str>) {
        self.say(&format!("error: {message}"));
        if let Some(hint) = hint.filter(|hint| !hint.is_empty()) {
            self.say(&format!("hint: {hint}"));
        }
    }

    /// How it stands: written over on a terminal, a plain line every few seconds elsewhere. `important` lines
    /// are always written.
    pub(crate) fn progress(&mut self, line: &str, important: bool) {
        if self.terminal {
            let mut stderr = io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
            self.line_open = true;
        } else if important || self.last_plain.is_none_or(|last| last.elapsed() >= PLAIN_INTERVAL) {
            self.last_plain = Some(Instant::now());
            self.say(line);
        }
    }
}
