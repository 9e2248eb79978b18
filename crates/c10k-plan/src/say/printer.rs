//! The one printer of the lab: data on stdout, words for people on stderr.

use std::io::{self, IsTerminal, Write};

use c10k_record::{Exit, Live, Style, Teller, Warning, notes, printable, text_width};

use crate::say::color::Color;
use c10k_report::tui::{Screen, View};

/// Stdout and stderr, for a program of another room that the lab is asked to be.
pub fn streams() -> (io::Stdout, io::Stderr) {
    (io::stdout(), io::stderr())
}

/// Writes what the lab says.
pub struct Printer {
    color: Color,
    teller: Teller,
    /// Says nothing but errors, and what is asked for.
    is_quiet: bool,
    /// The full screen, where one is wanted.
    screen: Option<Screen>,
    /// Data for stdout was lost, and not because its reader had gone.
    lost: bool,
}

impl Printer {
    /// One that writes with these colours.
    pub fn new(color: Color) -> Self {
        Self { color, teller: Teller::default(), is_quiet: false, screen: None, lost: false }
    }

    /// From now on only errors are said, and what is asked for.
    pub fn be_quiet(&mut self) {
        self.is_quiet = true;
    }

    /// Why no full screen can be shown here; nothing where it can.
    pub fn why_no_screen(&self) -> Option<&'static str> {
        match (io::stdout().is_terminal() && self.teller.is_terminal(), self.teller.can_write_over()) {
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
        let terminal = if stdout { io::stdout().is_terminal() } else { self.teller.is_terminal() };
        let color = match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let width = if stdout { text_width(&io::stdout()) } else { text_width(&io::stderr()) };
        Style { color, width }
    }

    /// Data on stdout. Its reader may be gone; nobody is left to be told then. A disk that is full is told, once.
    pub fn data(&mut self, text: &str) {
        self.teller.end_line();
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
    pub fn exit_of(&self, exit: Exit) -> Exit {
        if self.lost { Exit::Broke } else { exit }
    }

    /// Words for people, on stderr.
    pub fn say(&mut self, text: &str) {
        self.teller.say(text);
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

    /// How it stands.
    pub fn progress(&mut self, live: &Live<'_>) {
        if !self.is_quiet {
            self.teller.progress(live);
        }
    }

    /// The last line of how it stood, in the place of the one that is written over.
    pub fn closing(&mut self, text: &str) {
        self.teller.clear_line();
        self.note(text);
    }
}
