//! The one printer of the lab: data on stdout, words for people on stderr.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use c10k_record::{Exit, Live, Style, Warning, columns, fold, notes, printable, text_width};

use crate::say::color::Color;
use c10k_report::tui::{Screen, View};

/// Between two lines of how it stands where no line can be written over.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// Columns of such a line.
const PLAIN_WIDTH: usize = 81;

/// Stdout and stderr, for a program of another room that the lab is asked to be.
pub fn streams() -> (io::Stdout, io::Stderr) {
    (io::stdout(), io::stderr())
}

/// Writes what the lab says.
pub struct Printer {
    color: Color,
    terminal: bool,
    /// Whether a line can be written over another.
    can_write_over: bool,
    /// Says nothing but errors, and what is asked for.
    is_quiet: bool,
    line_open: bool,
    last_plain: Option<Instant>,
    /// The full screen, where one is wanted.
    screen: Option<Screen>,
    /// Data for stdout was lost, and not because its reader had gone.
    lost: bool,
}

impl Printer {
    /// One that writes with these colours.
    pub fn new(color: Color) -> Self {
        let terminal = io::stderr().is_terminal();
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let can_write_over = terminal && !is_dumb;
        Self {
            color,
            terminal,
            can_write_over,
            is_quiet: false,
            line_open: false,
            last_plain: None,
            screen: None,
            lost: false,
        }
    }

    /// From now on only errors are said, and what is asked for.
    pub fn be_quiet(&mut self) {
        self.is_quiet = true;
    }

    /// Why no full screen can be shown here; nothing where it can.
    pub fn why_no_screen(&self) -> Option<&'static str> {
        match (io::stdout().is_terminal() && self.terminal, self.can_write_over) {
            (false, _) => Some("stdout and stderr are to be a terminal for it"),
            (true, false) => Some("this terminal has TERM=dumb, and no line of it can be written over"),
            (true, true) => None,
        }
    }

    /// Shows a full screen from now on, instead of lines; under a `steward` as [`Screen::open`] says.
    pub fn open_screen(&mut self, steward: bool) -> io::Result<()> {
        let color = self.style(true).color;
        self.screen = Some(Screen::open(&io::stdout(), &io::stderr(), steward, color)?);
        Ok(())
    }

    /// Whether the full screen is shown.
    pub fn has_screen(&self) -> bool {
        self.screen.is_some()
    }

    /// How it stands, on the full screen.
    pub fn show(&mut self, view: &mut View) {
        self.screen.iter_mut().for_each(|screen| screen.show(view));
    }

    /// Gives the terminal back; what was said meanwhile is shown then.
    pub fn close_screen(&mut self) {
        self.screen = None;
    }

    /// How a summary looks on this stream.
    pub fn style(&self, stdout: bool) -> Style {
        let terminal = if stdout { io::stdout().is_terminal() } else { self.terminal };
        let color = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let width = if stdout { text_width(&io::stdout()) } else { text_width(&io::stderr()) };
        Style { color, width }
    }

    /// Data on stdout. Whoever read it may be gone; nobody is left to be told then. A disk that is full is told, once.
    pub fn data(&mut self, text: &str) {
        self.end_line();
        let mut stdout = io::stdout().lock();
        let text = printable(text.trim_end_matches('\n'));
        let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
        if let Err(error) = written
            && error.kind() != io::ErrorKind::BrokenPipe
            && !std::mem::replace(&mut self.lost, true)
        {
            self.error(&format!("the output cannot be written: {error}"), None);
        }
    }

    /// How a command ends that would end with `exit`: broken, when data for stdout was lost.
    pub fn settle(&self, exit: Exit) -> Exit {
        if self.lost { Exit::Broke } else { exit }
    }

    /// Words for people, on stderr; folded on a terminal, where nobody searches them by lines.
    pub fn say(&mut self, text: &str) {
        self.end_line();
        let text = printable(text.trim_end_matches('\n'));
        let mut stderr = io::stderr().lock();
        for line in text.lines() {
            let indent: String = line.chars().take_while(|c| *c == ' ').collect();
            let width = columns(&stderr).filter(|width| self.terminal && line.chars().count() > *width);
            let parts = width.map_or_else(
                || vec![line.trim_start().to_owned()],
                |width| fold(line, width - indent.len().min(width / 2)),
            );
            for part in parts {
                let _ = writeln!(stderr, "{indent}{part}");
            }
        }
    }

    /// What nobody needs who wants it quiet.
    pub fn note(&mut self, text: &str) {
        if !self.is_quiet {
            self.say(text);
        }
    }

    /// Warnings, each once and those together that belong together; how many of them need not be said again.
    pub fn notes(&mut self, warnings: &[Warning], profile: &str) -> usize {
        notes(warnings, profile).iter().for_each(|line| self.note(line));
        if self.is_quiet { 0 } else { warnings.len() }
    }

    /// An error and what mends it, each once.
    pub fn error(&mut self, message: &str, hint: Option<&str>) {
        self.say(&format!("error: {message}"));
        if let Some(hint) = hint.filter(|hint| !hint.is_empty()) {
            self.say(&format!("hint: {hint}"));
        }
    }

    /// How it stands: one line that is written over and fits the terminal as wide as it is now, a plain line every few
    /// seconds where no line can be written over.
    pub fn progress(&mut self, live: &Live<'_>) {
        if self.is_quiet {
            return;
        }
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

    /// The last line of how it stood, in the place of the one that is written over.
    pub fn closing(&mut self, text: &str) {
        if std::mem::take(&mut self.line_open) {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        self.note(text);
    }

    /// Ends the line that is written over.
    fn end_line(&mut self) {
        if std::mem::take(&mut self.line_open) {
            let _ = writeln!(io::stderr());
        }
    }
}
