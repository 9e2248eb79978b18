//! The lines by which a program tells others how it stands, and is told what to do.
//!
//! They are written by a thread of their own: a reader that has stopped reading, or has gone, must stop neither the
//! program nor its signals.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Ticks are dropped while so many lines wait for the reader.
const WAITING_LINES: usize = 64;
/// Bytes written at a time: a reader that takes one such piece after the other is slow, and has not stopped.
const PIECE_BYTES: usize = 4096;

/// Gives each line to `hear` until the end, or until `hear` says that nobody listens any more. A line that is no UTF-8
/// is a bad line like any other, and not the end of all of them: what it has instead of text is marked by U+FFFD.
pub fn each_line(mut lines: impl BufRead, mut hear: impl FnMut(&str) -> bool) {
    let mut line = Vec::new();
    while matches!(lines.read_until(b'\n', &mut line), Ok(length) if length > 0) {
        if !hear(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r'])) {
            return;
        }
        line.clear();
    }
}

/// Writes lines in their order.
#[derive(Debug)]
pub struct Printer {
    lines: Sender<String>,
    waiting: Arc<AtomicUsize>,
    /// Pieces that have been written.
    taken: Arc<AtomicU64>,
    /// Ends with the first error that lost a line.
    written: Receiver<Option<io::Error>>,
}

impl Printer {
    /// Starts to write on `out`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn new(mut out: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, to_write) = channel::<String>();
        let (done, written) = channel();
        let (waiting, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
        let (still_waiting, count) = (Arc::clone(&waiting), Arc::clone(&taken));
        std::thread::Builder::new().name("printer".to_owned()).stack_size(64 << 10).spawn(move || {
            let mut lost = None;
            for mut line in to_write {
                line.push('\n');
                // Neither a reader that is gone (EPIPE) nor a full disk is a reason to end: the program has its own
                // work.
                if let Err(error) = write_in_pieces(&mut out, line.as_bytes(), &count) {
                    lost.get_or_insert(error);
                }
                still_waiting.fetch_sub(1, Relaxed);
            }
            let _ = done.send(lost);
        })?;
        Ok(Self { lines, waiting, taken, written })
    }

    /// Writes a line that comes rarely and must not be missed.
    pub fn line(&self, line: String) {
        self.waiting.fetch_add(1, Relaxed);
        // The thread ends with this value.
        let _ = self.lines.send(line);
    }

    /// Writes one of many lines that each replace the one before, or drops it when too many wait already.
    pub fn tick(&self, line: String) {
        if self.waiting.load(Relaxed) < WAITING_LINES {
            self.line(line);
        }
    }

    /// Writes the last line, and returns when it is written or the reader has taken nothing for as long as `patience`
    /// lasts. One that is slow is waited for, however long all that waits for it takes.
    ///
    /// # Errors
    /// The first one by which a line was lost, unless the reader had gone (EPIPE): nobody is left to miss it then.
    /// `TimedOut` when the reader is there and reads no more.
    pub fn finish(self, last: Option<String>, patience: Duration) -> io::Result<()> {
        last.into_iter().for_each(|last| self.line(last));
        drop(self.lines);
        let mut before = self.taken.load(Relaxed);
        loop {
            match self.written.recv_timeout(patience) {
                Ok(Some(error)) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
                Ok(_) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = self.taken.load(Relaxed);
            if now == before {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "its reader reads no more"));
            }
            before = now;
        }
    }
}

fn write_in_pieces(out: &mut impl Write, bytes: &[u8], taken: &AtomicU64) -> io::Result<()> {
    for piece in bytes.chunks(PIECE_BYTES) {
        out.write_all(piece)?;
        out.flush()?;
        taken.fetch_add(1, Relaxed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Longer than a busy machine keeps a thread from its turn.
    const PATIENCE: Duration = Duration::from_secs(1);

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Fails(io::ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_last_line_is_written_when_finish_returns() {
        let paper = Paper::default();
        let printer = Printer::new(paper.clone()).unwrap();
        printer.line("first".to_owned());
        printer.finish(Some("last".to_owned()), PATIENCE).unwrap();
        assert_eq!(*paper.0.lock().unwrap(), b"first\nlast\n");
    }

    #[test]
    fn a_reader_that_is_gone_ends_nothing() {
        let printer = Printer::new(Fails(io::ErrorKind::BrokenPipe)).unwrap();
        (0..1000).for_each(|_| printer.tick("tick".to_owned()));
        printer.finish(Some("last".to_owned()), PATIENCE).unwrap();
    }

    #[test]
    fn a_disk_that_is_full_ends_nothing_and_is_told_at_the_end() {
        let printer = Printer::new(Fails(io::ErrorKind::StorageFull)).unwrap();
        (0..10).for_each(|_| printer.tick("tick".to_owned()));
        let error = printer.finish(Some("last".to_owned()), PATIENCE).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    /// Writes nothing before it is told to go on.
    struct Stuck(Receiver<()>, Paper);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // The end of the channel is the word to go on, for good.
            let _ = self.0.recv();
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn while_nobody_reads_ticks_are_dropped_and_nothing_else() {
        let (go_on, wait) = channel();
        let paper = Paper::default();
        let printer = Printer::new(Stuck(wait, paper.clone())).unwrap();
        (0..1000).for_each(|_| printer.tick("tick".to_owned()));
        (0..1000).for_each(|_| printer.line("word".to_owned()));
        drop(go_on);
        printer.finish(Some("last".to_owned()), PATIENCE).unwrap();
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        let count = |word: &str| text.lines().filter(|line| *line == word).count();
        assert_eq!((count("tick"), count("word"), count("last")), (WAITING_LINES, 1000, 1));
        assert!(text.ends_with("word\nlast\n"));
    }

    #[test]
    fn a_last_word_that_is_not_read_is_told() {
        let (_go_on, wait) = channel();
        let printer = Printer::new(Stuck(wait, Paper::default())).unwrap();
        let error = printer.finish(Some("last".to_owned()), PATIENCE).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// Takes a piece every so often.
    struct Slow(Paper);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            std::thread::sleep(PATIENCE / 10);
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_last_word_to_a_slow_reader_is_whole_however_long_it_takes() {
        let paper = Paper::default();
        let printer = Printer::new(Slow(paper.clone())).unwrap();
        let last = "x".repeat(25 * PIECE_BYTES);
        printer.finish(Some(last.clone()), PATIENCE).unwrap();
        assert_eq!(*paper.0.lock().unwrap(), format!("{last}\n").as_bytes());
    }

    #[test]
    fn a_line_that_is_no_text_is_one_bad_line() {
        let mut heard = Vec::new();
        each_line(&b"stop\r\n\xff\xfe\n\nlast"[..], |line| {
            heard.push(line.to_owned());
            true
        });
        assert_eq!(heard, ["stop", "\u{fffd}\u{fffd}", "", "last"]);
        let mut count = 0;
        each_line(&b"a\nb\n"[..], |_| {
            count += 1;
            false
        });
        assert_eq!(count, 1);
    }
}
