//! What a program says to people on stderr: lines, and one of how it stands that is written over.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::{Live, columns};
use crate::text::{fold, printable};

/// Between two lines of how it stands where no line can be written over.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// Columns of such a line.
const PLAIN_WIDTH: usize = 81;

/// Tells people on stderr how it stands, and what else there is to say.
#[derive(Debug)]
pub struct Teller {
    is_terminal: bool,
    can_write_over: bool,
    line_open: bool,
    last_plain: Option<Instant>,
}

impl Default for Teller {
    /// One for the stderr of this process.
    fn default() -> Self {
        let is_terminal = io::stderr().is_terminal();
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { is_terminal, can_write_over: is_terminal && !is_dumb, line_open: false, last_plain: None }
    }
}

impl Teller {
    /// Whether it is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether a line can be written over another.
    #[must_use]
    pub fn can_write_over(&self) -> bool {
        self.can_write_over
    }

    /// A text; folded on a terminal, where nobody searches it by lines.
    pub fn say(&mut self, text: &str) {
        self.end_line();
        let text = printable(text.trim_end_matches('\n'));
        let mut stderr = io::stderr().lock();
        for line in text.lines() {
            let indent: String = line.chars().take_while(|c| *c == ' ').collect();
            let width = columns(&stderr).filter(|width| line.chars().count() > *width);
            let parts = width.map_or_else(
                || vec![line.trim_start().to_owned()],
                |width| fold(line, width - indent.len().min(width / 2)),
            );
            for part in parts {
                let _ = writeln!(stderr, "{indent}{part}");
            }
        }
    }

    /// How it stands: one line that is written over and fits the terminal as wide as it is now, else a plain line every
    /// few seconds.
    pub fn progress(&mut self, live: &Live<'_>) {
        if self.can_write_over {
            let mut stderr = io::stderr().lock();
            let line = live.line(columns(&stderr).unwrap_or(PLAIN_WIDTH));
            let _ = write!(stderr, "\r\x1b[K{}", printable(&line)).and_then(|()| stderr.flush());
            self.line_open = true;
        } else if self.last_plain.is_none_or(|last| last.elapsed() >= PLAIN_INTERVAL) {
            self.last_plain = Some(Instant::now());
            self.say(&live.plain(PLAIN_WIDTH));
        }
    }

    /// Takes the line away that is written over: what is said next stands in its place.
    pub fn clear_line(&mut self) {
        if std::mem::take(&mut self.line_open) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }

    /// Leaves the line that is written over as it is: what is said next stands below it.
    pub fn end_line(&mut self) {
        if std::mem::take(&mut self.line_open) {
            let _ = writeln!(io::stderr());
        }
    }
}
