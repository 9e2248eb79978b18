//! The server that `serve` starts: what it says, how it ends.

use std::os::unix::process::ExitStatusExt as _;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use c10k_collector::far::{ServerEnded, ServersWord};
use c10k_plan::stage::Who;
use c10k_record::{ServerEvent, ServerReport};

use crate::processes::child::{Heard, Process, end_in_words};

/// How long an answer to `now` is waited for. One that is stopped keeps a look back once and no longer.
const PATIENCE: Duration = Duration::from_millis(150);
/// How long its end may take beyond the time that its pending output has.
const END: Duration = Duration::from_secs(10);

/// The server, which the far end asks and `serve` ends.
#[derive(Clone)]
pub(super) struct OurServer(Arc<Mutex<Inner>>);

struct Inner {
    process: Process,
    heard: Receiver<Heard>,
    last: Option<ServerReport>,
    /// It was asked and has not answered yet: it is not asked again before it does.
    owes: bool,
}

impl OurServer {
    /// One that is ready.
    pub(super) fn new(process: Process, heard: Receiver<Heard>) -> Self {
        Self(Arc::new(Mutex::new(Inner { process, heard, last: None, owes: false })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it in good order, `drain` being what its pending output has, and gives its last report.
    pub(super) fn stop(&self, drain: Duration) -> Option<ServerReport> {
        let mut inner = self.inner();
        inner.process.tell("stop");
        inner.process.wait_or_kill(drain + END);
        inner.drain();
        inner.last.clone()
    }
}

impl Inner {
    fn take(&mut self, heard: Heard) {
        if let Heard::Server(event) = heard {
            match event {
                ServerEvent::Now(report) => (self.last, self.owes) = (Some(report), false),
                ServerEvent::Tick(report) | ServerEvent::Done(report) => self.last = Some(report),
                ServerEvent::Ready { .. } => {}
            }
        }
    }

    /// Takes in what has been said meanwhile.
    fn drain(&mut self) {
        loop {
            match self.heard.try_recv() {
                Ok(heard) => self.take(heard),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }
}

impl ServersWord for OurServer {
    fn report(&mut self) -> Option<(ServerReport, bool)> {
        let mut inner = self.inner();
        inner.drain();
        let was_owed = inner.owes;
        inner.owes = was_owed || inner.process.tell("now");
        let was_asked = inner.owes;
        // One that owed an answer to an earlier look was waited for then.
        let until = Instant::now() + if was_owed { Duration::ZERO } else { PATIENCE };
        while inner.owes {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(heard) = inner.heard.recv_timeout(left) else { break };
            inner.take(heard);
        }
        let is_fresh = was_asked && !inner.owes;
        inner.last.clone().map(|report| (report, is_fresh))
    }

    fn end(&mut self) -> Option<ServerEnded> {
        let mut inner = self.inner();
        inner.drain();
        let status = inner.process.ended()?;
        let words = end_in_words(Who::Server, status);
        Some(ServerEnded { words, signal: status.signal(), code: status.code() })
    }
}
