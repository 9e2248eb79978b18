//! Lines on stdout, written by a thread of their own: a reader that has stopped reading, or has gone, must
//! stop neither the server nor its signals.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

/// Lines that may wait for the reader; more are dropped.
const WAITING_LINES: usize = 64;
/// How long the last line may wait for the reader.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Writes lines in their order.
#[derive(Debug)]
pub(crate) struct Printer {
    lines: SyncSender<String>,
    /// Ends with the first error that lost a line.
    written: Receiver<Option<io::Error>>,
}

impl Printer {
    /// Starts to write on `out`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn new(mut out: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, to_write) = sync_channel::<String>(WAITING_LINES);
        let (done, written) = sync_channel(1);
        std::thread::Builder::new().name("printer".to_owned()).stack_size(64 << 10).spawn(move || {
            let mut lost = None;
            for mut line in to_write {
                line.push('\n');
                // Neither a reader that is gone (EPIPE) nor a full disk is a reason to end: the server has its own
                // work.
                if let Err(error) = out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
                    lost.get_or_insert(error);
                }
            }
            let _ = done.send(lost);
        })?;
        Ok(Self { lines, written })
    }

    /// Writes a line, or drops it when too many wait already.
    pub(crate) fn line(&self, line: String) {
        let _ = self.lines.try_send(line);
    }

    /// Writes the last line, and returns when it is written or the reader has let it wait too long.
    ///
    /// # Errors
    /// The first one by which a line was lost, unless the reader had gone (EPIPE): nobody is left to miss it then.
    pub(crate) fn finish(self, last: Option<String>) -> io::Result<()> {
        let give_up_at = Instant::now() + LAST_WAIT;
        let mut waiting = last;
        while let Some(line) = waiting.take() {
            match self.lines.try_send(line) {
                Err(TrySendError::Full(line)) if Instant::now() < give_up_at => {
                    std::thread::sleep(Duration::from_millis(10));
                    waiting = Some(line);
                }
                _ => {}
            }
        }
        drop(self.lines);
        match self.written.recv_timeout(give_up_at.saturating_duration_since(Instant::now())) {
            Ok(Some(error)) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

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
        printer.finish(Some("last".to_owned())).unwrap();
        assert_eq!(*paper.0.lock().unwrap(), b"first\nlast\n");
    }

    #[test]
    fn a_reader_that_is_gone_ends_nothing() {
        let printer = Printer::new(Fails(io::ErrorKind::BrokenPipe)).unwrap();
        (0..1000).for_each(|_| printer.line("tick".to_owned()));
        printer.finish(Some("last".to_owned())).unwrap();
    }

    #[test]
    fn a_disk_that_is_full_ends_nothing_and_is_told_at_the_end() {
        let printer = Printer::new(Fails(io::ErrorKind::StorageFull)).unwrap();
        (0..10).for_each(|_| printer.line("tick".to_owned()));
        let error = printer.finish(Some("last".to_owned())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
