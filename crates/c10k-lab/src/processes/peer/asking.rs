//! The thread that asks the far end: one request at a time, each with a deadline, so that nobody else ever waits for it
//! longer than they want.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use c10k_collector::far::{Ended, Look, Mark, Marked};
use c10k_plan::stage::Who;
use c10k_record::control::{Client, ControlError, EndRun, Offset, path, unix_ns};
use c10k_record::{ClockAt, ServerEvent};

use super::known::{ClockSeen, Lost, Sight, Silence};
use super::laying::Laying;
use super::patience::Patience;
use crate::processes::child::Heard;

/// Asked for nothing, it looks so often: a far end ends a run of which it hears nothing.
const AT_LEAST: Duration = Duration::from_secs(2);
/// Requests by which the clocks are compared.
pub(crate) const TRIES: u32 = 8;

/// What it is asked for.
#[derive(Debug)]
pub(crate) enum Ask {
    Look,
    Mark(Mark),
    Clock(ClockAt),
    /// The end of the run, and why.
    End(String),
}

/// What asks.
pub(crate) struct Asker {
    pub(crate) client: Client,
    pub(crate) run_id: String,
    /// The far end's boot when the run began.
    pub(crate) boot_id: Option<String>,
    pub(crate) sight: Sight,
    /// Takes what the server says, as if it were a process of the lab's.
    pub(crate) to: Sender<Heard>,
    pub(crate) laying: Laying,
    pub(crate) patience: Patience,
    /// When it was first asked in vain, and the last reason.
    pub(crate) failing: Option<(Instant, String)>,
}

impl Asker {
    /// Asks until the run is ended, or the far end is lost.
    pub(crate) fn go_on(mut self, asks: &Receiver<Ask>) {
        loop {
            let ask = match asks.recv_timeout(AT_LEAST) {
                Ok(ask) => ask,
                Err(RecvTimeoutError::Timeout) => Ask::Look,
                Err(RecvTimeoutError::Disconnected) => Ask::End("the lab gave it up".to_owned()),
            };
            match ask {
                Ask::Look => self.look(),
                Ask::Mark(mark) => self.mark(mark),
                Ask::Clock(part) => self.compare_clocks(part),
                Ask::End(reason) => {
                    self.end(reason);
                    break;
                }
            }
            if self.sight.known().lost.is_some() {
                break;
            }
        }
        self.sight.note(|known| known.is_over = true);
        let _ = self.to.send(Heard::Ended(Who::Server));
    }

    fn look(&mut self) {
        self.client.set_patience(self.patience.look);
        let (asked, asked_unix_ns) = (Instant::now(), unix_ns());
        match self.client.get::<Look>(&path::look(&self.run_id)) {
            Ok(look) => self.take(asked, asked_unix_ns, look),
            Err(error) => self.missed(asked, &error),
        }
    }

    fn mark(&mut self, mark: Mark) {
        self.client.set_patience(self.patience.mark);
        let (asked, asked_unix_ns) = (Instant::now(), unix_ns());
        match self.client.post::<Marked>(&path::mark(&self.run_id), &mark) {
            Ok(marked) => {
                self.take(asked, asked_unix_ns, marked.look.clone());
                self.sight.note(|known| drop(known.marks.insert(mark.moment, marked)));
            }
            Err(error) => {
                self.sight.note(|known| known.unmarked.push(mark.moment));
                self.missed(asked, &error);
            }
        }
    }

    /// Takes in a look that was asked for then.
    fn take(&mut self, asked: Instant, asked_unix_ns: u64, look: Look) {
        let took_ns = u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let laid = self.laying.lay(asked_unix_ns, took_ns, look.at_unix_ns);
        let at = asked + Duration::from_nanos(laid.after_asked_ns);
        let silence = self.failing.take().map(|(from, why)| Silence { from, to: asked, why });
        let said = look.report.clone().map(|report| match look.report_is_fresh {
            true => ServerEvent::Now(report),
            false => ServerEvent::Tick(report),
        });
        self.sight.note(|known| {
            known.looks += 1;
            known.silences.extend(silence);
            known.jumps.extend(laid.jumped_ns.map(|by| (at, by)));
            known.look = Some((at, look));
        });
        if let Some(said) = said {
            let _ = self.to.send(Heard::Server(said));
        }
        if laid.jumped_ns.is_some() {
            self.compare_clocks(ClockAt::Jump);
        }
    }

    fn compare_clocks(&mut self, part: ClockAt) {
        let offset = self.offset();
        self.note_clock(part, offset);
    }

    fn offset(&mut self) -> Option<Offset> {
        self.client.set_patience(self.patience.look);
        let asked = Instant::now();
        self.client.offset(TRIES).map_err(|error| self.missed(asked, &error)).ok()
    }

    /// Keeps what a comparison of the clocks has shown.
    pub(crate) fn note_clock(&mut self, part: ClockAt, offset: Option<Offset>) {
        if let Some(offset) = offset {
            self.laying = Laying::by(offset.offset_ns);
        }
        let seen = ClockSeen { part, at: Instant::now(), offset, tries: TRIES };
        self.sight.note(|known| known.clock.push(seen));
    }

    /// What was asked for then was in vain: once is nothing, many times in a row are the end.
    fn missed(&mut self, asked: Instant, error: &ControlError) {
        self.sight.note(|known| known.missed += 1);
        let why = error.to_string();
        let (since, _) = self.failing.get_or_insert_with(|| (asked, why.clone()));
        let since = *since;
        self.failing = Some((since, why.clone()));
        // It has no such run any more, or no server.
        let is_unknown = matches!(error, ControlError::Refused { status: 404 | 503, .. });
        if is_unknown {
            let why = format!("{why}{}", self.why_unknown());
            self.lose(Instant::now(), why);
        } else if since.elapsed() >= self.patience.lost_after {
            self.lose(since, why);
        }
    }

    /// Why a far end knows nothing of the run any more.
    fn why_unknown(&mut self) -> String {
        self.client.set_patience(self.patience.look);
        let hello = self.client.hello().ok();
        let boot_id = hello.and_then(|hello| hello.boot_id);
        match (&self.boot_id, boot_id) {
            (Some(then), Some(now)) if *then != now => "; its machine was started anew meanwhile".to_owned(),
            _ => String::new(),
        }
    }

    fn lose(&mut self, at: Instant, why: String) {
        self.sight.note(|known| {
            known.look = None;
            known.lost = Some(Lost { at, why });
        });
    }

    fn end(&mut self, reason: String) {
        let offset = self.offset();
        self.client.set_patience(self.patience.end);
        let asked = Instant::now();
        let end = EndRun { reason };
        let path = path::end(&self.run_id);
        let ended = match self.client.post::<Ended>(&path, &end) {
            // It answers twice alike. One that says nothing has been waited for already.
            Err(error) if error.may_pass() && !matches!(error, ControlError::Silent { .. }) => {
                self.client.post::<Ended>(&path, &end)
            }
            ended => ended,
        };
        // A far end that had too much to do at the close may have time by now; the run has its account in any case.
        self.client.set_patience(self.patience.look);
        let offset = match (offset, &ended) {
            (None, Ok(_)) => self.client.offset(TRIES).ok(),
            (offset, _) => offset,
        };
        self.note_clock(ClockAt::End, offset);
        match ended {
            Ok(ended) => {
                let last = ended.look.report.clone();
                self.sight.note(|known| known.ended = Some(Box::new(ended)));
                if let Some(report) = last {
                    let _ = self.to.send(Heard::Server(ServerEvent::Done(report)));
                }
            }
            Err(error) => {
                self.sight.note(|known| known.missed += 1);
                let since = self.failing.take().map_or(asked, |(since, _)| since);
                self.lose(since, error.to_string());
            }
        }
    }
}
