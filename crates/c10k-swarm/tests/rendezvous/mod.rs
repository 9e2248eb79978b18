//! A rendezvous in a thread of the test: the real meetings, behind a clock and a patience that the test sets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use c10k_record::Listening;
use c10k_record::control::meet::{MeetEvent, MeetingAccount, Meetings, Moment};
use c10k_record::control::{Build, Clock, PROTOCOL, path};
use c10k_record::serve::{Answer, Method, Request, Routes, start};
use serde_json::json;

use crate::common::PATIENCE;

pub(crate) const RUN: &str = "evening-1";

struct Inner {
    meetings: Meetings,
    begun: Instant,
    /// Its clock is ahead by so much.
    ahead: Duration,
    /// Set forward by so much when all are there, behind their measurements.
    jumps_by: Duration,
    events: Vec<MeetEvent>,
}

impl Inner {
    fn at(&self) -> Moment {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        Moment { mono: self.begun.elapsed(), unix_ns: (now + self.ahead).as_nanos() as u64 }
    }
}

/// A rendezvous that serves until the tests end.
pub(crate) struct Rendezvous {
    pub(crate) address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    is_silent: Arc<AtomicBool>,
    ends: Arc<AtomicBool>,
    ticks: Option<JoinHandle<()>>,
}

struct Served {
    inner: Arc<Mutex<Inner>>,
    is_silent: Arc<AtomicBool>,
}

fn locked(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().expect("nobody panics with it")
}

impl Rendezvous {
    pub(crate) fn start() -> Self {
        Self::with_clock(Duration::ZERO, Duration::ZERO)
    }

    /// One whose clock is ahead, and is set forward by as much as this when all are there.
    pub(crate) fn with_clock(ahead: Duration, jumps_by: Duration) -> Self {
        let at = Moment { mono: Duration::ZERO, unix_ns: 0 };
        let inner = Inner {
            meetings: Meetings::new(at, None),
            begun: Instant::now(),
            ahead,
            jumps_by,
            events: Vec::new(),
        };
        let inner = Arc::new(Mutex::new(inner));
        let (is_silent, ends) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let served = Served { inner: Arc::clone(&inner), is_silent: Arc::clone(&is_silent) };
        let open = || Listening::open("127.0.0.1:0".parse().expect("an address"), "control");
        let address = start("control", open, served).expect("it serves");
        let (ticking, end) = (Arc::clone(&inner), Arc::clone(&ends));
        let ticks = std::thread::spawn(move || {
            while !end.load(SeqCst) {
                let mut inner = locked(&ticking);
                let at = inner.at();
                let events = inner.meetings.tick(at);
                inner.events.extend(events);
                drop(inner);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self { address, inner, is_silent, ends, ticks: Some(ticks) }
    }

    /// Answers nobody any more.
    pub(crate) fn fall_silent(&self) {
        self.is_silent.store(true, SeqCst);
    }

    /// Waits for an event, and gives what `pick` makes of it.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, what: &str, pick: impl Fn(&MeetEvent) -> Option<T>) -> T {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = locked(&self.inner).events.iter().find_map(&pick) {
                return found;
            }
            assert!(Instant::now() < give_up, "{what} never came: {:?}", locked(&self.inner).events);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What is left of the first meeting that has begun.
    #[track_caller]
    pub(crate) fn account(&self) -> MeetingAccount {
        self.wait_for("the end of the meeting", |event| match event {
            MeetEvent::Ended(account) => Some(account.as_ref().clone()),
            _ => None,
        })
    }
}

impl Drop for Rendezvous {
    fn drop(&mut self) {
        self.ends.store(true, SeqCst);
        self.is_silent.store(true, SeqCst);
        if let Some(ticks) = self.ticks.take() {
            ticks.join().expect("it only ticks");
        }
    }
}

impl Routes for Served {
    const MOST_CLIENTS: usize = 64;
    const STACK_BYTES: usize = 1 << 20;

    fn lets_in(&self, head: &Request<'_>) -> Result<usize, Answer> {
        Ok(if head.method == Method::Post { 1 << 20 } else { 0 })
    }

    fn answer(&self, request: &Request<'_>) -> Answer {
        if self.is_silent.load(SeqCst) {
            std::thread::sleep(PATIENCE);
        }
        let mut inner = locked(&self.inner);
        let at = inner.at();
        match request.path {
            path::CLOCK => Answer::json(&Clock { received_unix_ns: at.unix_ns, sent_unix_ns: at.unix_ns }),
            path::HELLO => Answer::json(&json!({
                "protocol": PROTOCOL, "program_version": "0", "build": Build::default(), "host": c10k_record::Host::default(),
                "listen": [], "server": { "foreign": true, "command": [] }, "state": { "is": "idle" },
                "lease_secs": 15, "at_unix_ns": at.unix_ns, "warnings": [],
            })),
            other => {
                let below = other.strip_prefix(path::MEET).unwrap_or_default();
                let method = if request.method == Method::Post { "POST" } else { "GET" };
                let answer = inner.meetings.answer(method, below, request.body, at);
                if below.ends_with("/join") && answer.is_ok() && !inner.jumps_by.is_zero() {
                    // All there are have measured: the last has joined.
                    let (_, words) = inner.meetings.under_way(at).expect("it gathers");
                    if words.ends_with("2 of 2 shards are there") {
                        let jumps_by = inner.jumps_by;
                        inner.ahead += jumps_by;
                    }
                }
                match answer {
                    Ok(json) => Answer::json_text(json),
                    Err(no) => Answer::refused(no.status, &no.why),
                }
            }
        }
    }
}
