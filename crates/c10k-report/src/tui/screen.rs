//! The terminal as a full screen, and how it is given back.
//!
//! What anybody says on stderr meanwhile, the two processes of the run and a panic included, is kept and said when the
//! terminal is as it was: it would stand in the middle of a frame.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, pthread_sigmask};
use nix::unistd::{Pid, dup2_stderr, getpgrp, tcgetpgrp, tcsetpgrp};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use crate::tui::frame::draw;
use crate::tui::view::View;

/// Between two looks at whether keys are still to be heard.
const KEYS: Duration = Duration::from_millis(200);
/// Of the last words so much is looked at, bytes.
const LAST_WORDS: u64 = 400;

/// What gives the terminal back; nothing where it was given back already.
static TAKEN: Mutex<Option<Taken>> = Mutex::new(None);
/// The hook for panics is set once.
static HOOK: Once = Once::new();

/// How the terminal was before.
struct Taken {
    tty: File,
    stderr: File,
    /// What was said since.
    kept: File,
    /// The process group that had the terminal, where this one took it over.
    group: Option<Pid>,
}

/// The full screen; dropped, it gives the terminal back.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<File>>,
    color: bool,
}

impl Screen {
    /// Takes the terminal of `stdout`. Under a `steward`, which started this process in a group of its own, it takes over
    /// its keys as well.
    ///
    /// # Errors
    /// What the terminal, or a thread that hears its keys, says; it is as it was then.
    pub fn open(stdout: &impl AsFd, stderr: &impl AsFd, steward: bool, color: bool) -> io::Result<Self> {
        let tty = File::from(stdout.as_fd().try_clone_to_owned()?);
        let kept: OwnedFd = memfd_create(c"said meanwhile", MFdFlags::MFD_CLOEXEC)?;
        let taken = Taken {
            tty: tty.try_clone()?,
            stderr: File::from(stderr.as_fd().try_clone_to_owned()?),
            kept: File::from(kept),
            group: if steward { take_over(&tty)? } else { None },
        };
        dup2_stderr(&taken.kept)?;
        *lock() = Some(taken);
        let opened = Self::begin(tty, color);
        if opened.is_err() {
            restore();
        }
        opened
    }

    fn begin(mut tty: File, color: bool) -> io::Result<Self> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                before(panic);
            }));
        });
        enable_raw_mode()?;
        execute!(tty, EnterAlternateScreen, Hide)?;
        std::thread::Builder::new().name("keys".to_owned()).spawn(hear_keys)?;
        Ok(Self { terminal: Terminal::new(CrosstermBackend::new(tty))?, color })
    }

    /// Shows how it stands. A terminal that is gone, or was given back meanwhile, is shown nothing.
    pub fn show(&mut self, view: &mut View) {
        view.word = last_word();
        if lock().is_some() {
            let color = self.color;
            let _ = self.terminal.draw(|frame| draw(view, color, frame));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal back as it was, and says what was kept. Once: who comes later finds nothing to do.
pub fn restore() {
    let Some(Taken { mut tty, mut stderr, kept, group }) = lock().take() else { return };
    let _ = execute!(tty, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
    let _ = dup2_stderr(&stderr);
    let _ = stderr.write_all(&said(&kept, 0));
    if let Some(group) = group {
        let _ = give(&tty, group);
    }
}

fn lock() -> MutexGuard<'static, Option<Taken>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was kept, from this byte on.
fn said(kept: &File, from: u64) -> Vec<u8> {
    let length = kept.metadata().map_or(0, |file| file.len());
    let mut text = vec![0; length.saturating_sub(from) as usize];
    if kept.read_exact_at(&mut text, from).is_err() {
        text.clear();
    }
    text
}

/// The last line that anybody said.
fn last_word() -> Option<String> {
    let taken = lock();
    let kept = &taken.as_ref()?.kept;
    let length = kept.metadata().ok()?.len();
    let text = said(kept, length.saturating_sub(LAST_WORDS));
    let text = String::from_utf8_lossy(&text);
    text.lines().rev().find(|line| !line.trim().is_empty()).map(c10k_record::clean)
}

/// Makes this process's group the one that the terminal's keys are for; which it was before, where it was another.
fn take_over(tty: &File) -> io::Result<Option<Pid>> {
    let before = tcgetpgrp(tty)?;
    if before == getpgrp() {
        return Ok(None);
    }
    give(tty, getpgrp())?;
    Ok(Some(before))
}

/// Gives the terminal to a process group. Who is in the background is stopped for that, unless the signal is held back
/// (tcsetpgrp(3)).
fn give(tty: &File, group: Pid) -> io::Result<()> {
    let (mut held, mut before) = (SigSet::empty(), SigSet::empty());
    held.add(Signal::SIGTTOU);
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut before))?;
    let given = tcsetpgrp(tty, group);
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    Ok(given?)
}

/// Hears keys as long as the screen is there. The terminal makes no signal of a Ctrl-C meanwhile: it comes as a key.
fn hear_keys() {
    while lock().is_some() {
        match event::poll(KEYS) {
            Ok(true) => {
                if matches!(event::read(), Ok(Event::Key(key)) if asks_for_the_end(&key)) {
                    let _ = kill(Pid::this(), Signal::SIGINT);
                }
            }
            Ok(false) => {}
            Err(_) => return,
        }
    }
}

fn asks_for_the_end(key: &KeyEvent) -> bool {
    let with_ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press
        && matches!((key.code, with_ctrl), (KeyCode::Char('q' | 'Q'), false) | (KeyCode::Char('c'), true))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn q_and_ctrl_c_ask_for_the_end_and_no_other_key_does() {
        let key = |code, modifiers| asks_for_the_end(&KeyEvent::new(code, modifiers));
        assert!(key(KeyCode::Char('q'), KeyModifiers::NONE) && key(KeyCode::Char('Q'), KeyModifiers::SHIFT));
        assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(
            !key(KeyCode::Char('c'), KeyModifiers::NONE) && !key(KeyCode::Char('q'), KeyModifiers::CONTROL)
        );
        assert!(!key(KeyCode::Esc, KeyModifiers::NONE));
    }

    #[test]
    fn what_was_kept_is_read_without_a_change_of_where_others_write() {
        let kept = File::from(memfd_create(c"test", MFdFlags::MFD_CLOEXEC).expect("memory"));
        (&kept).write_all(b"one\n").expect("written");
        assert_eq!(said(&kept, 0), b"one\n");
        (&kept).write_all(b"two\n").expect("written");
        assert_eq!((said(&kept, 0), said(&kept, 4)), (b"one\ntwo\n".to_vec(), b"two\n".to_vec()));
        assert_eq!(said(&kept, 99), b"");
    }

    #[test]
    #[allow(clippy::print_stderr, reason = "a skipped test says so")]
    fn a_panic_gives_the_terminal_back_before_it_is_told() {
        const ITSELF: &str = "C10K_TEST_PANICS_ON_SCREEN";
        const NAME: &str = "tui::screen::tests::a_panic_gives_the_terminal_back_before_it_is_told";
        if std::env::var_os(ITSELF).is_some() {
            let screen = Screen::open(&io::stdout(), &io::stderr(), false, false).expect("a terminal");
            // Nothing but the hook is left to give it back.
            std::mem::forget(screen);
            panic!("a fault of the lab");
        }
        let program = std::env::current_exe().expect("this test");
        let line = format!("{ITSELF}=1 '{}' --exact {NAME} --nocapture", program.display());
        let line = format!("{line}; stty -a | grep -ow -e -icanon -e icanon");
        // A terminal of its own: script(1).
        let script = Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
        let Ok(output) = script else {
            eprintln!("SKIPPED {NAME}: script(1) is missing");
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let (taken, given_back) = said.split_once("\x1b[?1049l").unwrap_or_else(|| panic!("{said}"));
        assert!(taken.contains("\x1b[?1049h") && !taken.contains("a fault of the lab"), "{said}");
        assert!(given_back.contains("a fault of the lab"), "{said}");
        assert!(given_back.contains("\nicanon"), "{said}");
    }

    #[test]
    fn what_was_not_taken_is_not_given_back() {
        restore();
        assert!(last_word().is_none());
    }
}
