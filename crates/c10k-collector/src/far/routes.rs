//! What is answered at the control port.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use c10k_record::control::meet::MOST_SHARDS;
use c10k_record::control::{
    Begin, Clock, EndRun, Guard, MOST_BODY_BYTES, NotLetIn, Refusal, Token, path, unix_ns,
};
use c10k_record::metrics::page_of;
use c10k_record::serve::{Answer, Method, Request, Routes, start};
use c10k_record::{HttpAddress, ListenError, Listening};
use serde::de::DeserializeOwned;

use super::end::{BY_SHARDS, FarEnd};
use super::said::{Mark, ServerEnded};

/// A moment by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Since the far end began, by the monotonic clock.
    pub since: Duration,
    /// By the clock of the answer to `/v1/clock`, nanoseconds since 1970.
    pub unix_ns: u64,
}

impl At {
    /// Now, by the clocks of a far end.
    pub(super) fn now(far: &FarEnd) -> Self {
        Self { since: far.now(), unix_ns: unix_ns() }
    }
}

/// What stands below [`path::MEET`].
pub trait Below: Send {
    /// Answers a request whose path begins with it; it has been let in, and its body is whole.
    fn answer(&mut self, request: &Request<'_>, far: &mut FarEnd, at: At) -> Answer;
    /// Does what time asks for, and says what it did, in lines for people.
    fn tick(&mut self, far: &mut FarEnd, at: At) -> Vec<String>;
    /// Whether something that was to be kept could not be.
    fn has_failed(&self) -> bool;
    /// Ends what is under way, since the port is being stopped by `by`. True once all who take part know it: it is called
    /// until then. With `is_last` nobody is waited for any more.
    fn give_up(&mut self, by: &str, is_last: bool, at: At) -> bool;
}

/// A control port that is served.
pub struct ControlPort {
    shared: Arc<Mutex<Shared>>,
    is_saying: Arc<AtomicBool>,
    address: SocketAddr,
}

struct Shared {
    far: FarEnd,
    below: Option<Box<dyn Below>>,
}

struct Control {
    shared: Arc<Mutex<Shared>>,
    /// An answer is being made or said.
    is_saying: Arc<AtomicBool>,
    guard: Mutex<Guard>,
    begun: Instant,
}

/// What the flag is called that says where.
const CONTROL: &str = "control";
/// Between two looks at what is to be done.
const NAP: Duration = Duration::from_millis(100);
/// How long a port that is stopped waits until all who take part in something know it. A shard asks once a second.
const LAST_WORDS: Duration = Duration::from_secs(3);

impl ControlPort {
    /// Listens. Nobody is answered before [`ControlPort::serve`], but waits in the queue.
    ///
    /// # Errors
    /// As bind(2) and listen(2).
    pub fn listen(address: HttpAddress) -> Result<Listening, ListenError> {
        Listening::open(address, CONTROL)
    }

    /// Serves on a thread of its own until the process ends. `token` is what everybody has to know.
    ///
    /// # Errors
    /// EAGAIN where no thread may be started.
    pub fn serve(
        listening: Listening,
        token: Option<Token>,
        far: FarEnd,
        below: Option<Box<dyn Below>>,
    ) -> Result<Self, ListenError> {
        let shared = Arc::new(Mutex::new(Shared { far, below }));
        let is_saying = Arc::default();
        let control = Control {
            shared: Arc::clone(&shared),
            is_saying: Arc::clone(&is_saying),
            guard: Mutex::new(Guard::new(token)),
            begun: Instant::now(),
        };
        let address = start(CONTROL, || Ok(listening), control)?;
        Ok(Self { shared, is_saying, address })
    }

    /// Where, with the port that the kernel chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the server ends while no run is under way, which is given then, or until `is_stopped` says who stops
    /// it: that waits so long at the most. What people should know meanwhile is `say`'s.
    pub fn serve_until(
        &self,
        mut is_stopped: impl FnMut(Duration) -> Option<String>,
        mut say: impl FnMut(&str),
    ) -> Option<ServerEnded> {
        loop {
            self.tick().iter().for_each(|line| say(line));
            let ended = self.with(|far| far.server_end().filter(|_| far.running().is_none()));
            let by = match &ended {
                Some(ended) => Some(ended.words.clone()),
                None => is_stopped(NAP),
            };
            if let Some(by) = by {
                self.give_up(&by, &mut say);
                return ended;
            }
        }
    }

    /// Whether something that was to be kept of what was served could not be; it was said.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        locked(&self.shared).below.as_ref().is_some_and(|below| below.has_failed())
    }

    /// Ends what is under way, and has all who take part in it hear why.
    fn give_up(&self, by: &str, say: &mut impl FnMut(&str)) {
        let until = Instant::now() + LAST_WORDS;
        loop {
            let is_last = Instant::now() >= until;
            let is_over = {
                let mut shared = locked(&self.shared);
                let Shared { far, below } = &mut *shared;
                let at = At::now(far);
                below.as_mut().is_none_or(|below| below.give_up(by, is_last, at))
            };
            self.tick().iter().for_each(|line| say(line));
            // The answer to the last one has to be on its way: it was made before it was known that this is over.
            if is_over && (is_last || !self.is_saying.load(Ordering::SeqCst)) {
                break;
            }
            std::thread::sleep(NAP / 4);
        }
        self.with(|far| far.give_up(by));
        self.tick().iter().for_each(|line| say(line));
    }

    /// Does what time asks for; a few times a second. Says what it did, in lines for people.
    fn tick(&self) -> Vec<String> {
        let mut shared = locked(&self.shared);
        let Shared { far, below } = &mut *shared;
        // First what holds the far end, which keeps its lease; then whether that is over.
        let at = At::now(far);
        let mut said = below.as_mut().map_or_else(Vec::new, |below| below.tick(far, at));
        said.extend(far.tick());
        said
    }

    /// Does something with the far end while nobody is answered.
    fn with<T>(&self, done: impl FnOnce(&mut FarEnd) -> T) -> T {
        done(&mut locked(&self.shared).far)
    }
}

/// A thread that panicked has left what it found.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Routes for Control {
    /// Each shard beats on a connection of its own, and brings its result on another. Beside them stand those who look.
    const MOST_CLIENTS: usize = 2 * MOST_SHARDS as usize + 64;
    const STACK_BYTES: usize = 1 << 20;

    fn is_saying(&self, something: bool) {
        self.is_saying.store(something, Ordering::SeqCst);
    }

    fn lets_in(&self, head: &Request<'_>) -> Result<usize, Answer> {
        if !is_open_to_all(head.path) {
            self.knows_the_token(head.header("authorization"), head.peer)?;
        }
        let Some(allow) = path::methods(head.path) else {
            return Err(answer_of(&nothing_here(head.path)));
        };
        if !head.method.is_in(allow) {
            return Err(answer_of(&not_so(head.path, allow)).allowing(allow));
        }
        Ok(if head.method == Method::Post { MOST_BODY_BYTES } else { 0 })
    }

    fn refusal(&self, status: u16, why: &str) -> Answer {
        answer_of(&Refusal::new(status, why, "docs/control.md says how to ask"))
    }

    fn answer(&self, request: &Request<'_>) -> Answer {
        let received_unix_ns = unix_ns();
        match request.path {
            "/" => Answer::words("a control port of c10k-lab; docs/control.md has its routes\n".to_owned()),
            "/healthz" => Answer::words("ok\n".to_owned()),
            // First of all that takes time: its answer is a measurement.
            path::CLOCK if request.query.is_empty() && request.method.is_look() => {
                Answer::json(&Clock { received_unix_ns, sent_unix_ns: unix_ns() })
            }
            _ => {
                let mut shared = locked(&self.shared);
                let Shared { far, below } = &mut *shared;
                if let Some(below) = below.as_mut().filter(|_| request.path.starts_with(path::MEET)) {
                    let at = At::now(far);
                    return below.answer(request, far, at);
                }
                of_far(far, request, received_unix_ns).unwrap_or_else(|no| answer_of(&no))
            }
        }
    }
}

impl Control {
    /// Says the same to a token that is missing and to one that is wrong, whatever was asked for.
    fn knows_the_token(&self, authorization: Option<&[u8]>, peer: IpAddr) -> Result<(), Answer> {
        let let_in = locked(&self.guard).lets_in(authorization, peer, self.begun.elapsed());
        let (status, error) = match let_in {
            Ok(()) => return Ok(()),
            Err(NotLetIn::Wrong) => (401, "the token is missing or wrong"),
            Err(NotLetIn::TooOften) => (429, "too many wrong tokens: wait 10 s"),
        };
        let hint = "Authorization: Bearer TOKEN, with the token that this control port was started with";
        Err(answer_of(&Refusal::new(status, error, hint)))
    }
}

/// What says nothing of this host.
fn is_open_to_all(path: &str) -> bool {
    matches!(path, "/" | "/healthz")
}

/// The routes of the far end; that the method is the path's own is known.
fn of_far(far: &mut FarEnd, request: &Request<'_>, received_unix_ns: u64) -> Result<Answer, Refusal> {
    let Request { path, body, .. } = *request;
    match path {
        path::HELLO => Ok(Answer::json(&far.hello())),
        path::SNAPSHOT => Ok(Answer::json(&far.snapshot())),
        "/metrics" => {
            let (program, since) = far.program();
            Ok(page_of(program, since, far.figures()))
        }
        path::CLOCK => {
            let run_id = request.query.strip_prefix("run=").unwrap_or_default();
            far.renew(run_id)?;
            Ok(Answer::json(&Clock { received_unix_ns, sent_unix_ns: unix_ns() }))
        }
        path::RUNS => {
            let begin: Begin = read(body)?;
            Ok(Answer::created(&far.begin(&begin)?))
        }
        _ => of_a_run(far, path, body),
    }
}

/// Those below `/v1/runs/ID/`.
fn of_a_run(far: &mut FarEnd, path: &str, body: &[u8]) -> Result<Answer, Refusal> {
    let rest = path.strip_prefix(path::RUNS).and_then(|rest| rest.strip_prefix('/'));
    let Some((run_id, what)) = rest.and_then(|rest| rest.split_once('/')) else {
        return Err(nothing_here(path));
    };
    let is_of_shards = || far.running().is_some_and(|run| run.run_id == run_id && run.by == BY_SHARDS);
    match what {
        "mark" | "end" if is_of_shards() => Err(Refusal::new(
            409,
            format!("the run {run_id} is of shards that meet here"),
            "it ends when they have ended, or when this program is stopped",
        )),
        "look" => Ok(Answer::json(&far.look(run_id)?)),
        "mark" => {
            let mark: Mark = read(body)?;
            Ok(Answer::json(&far.mark(run_id, &mark)?))
        }
        "end" => {
            let EndRun { reason } = read(body)?;
            Ok(Answer::json(&far.end(run_id, &c10k_record::clean(&reason))?))
        }
        _ => Err(nothing_here(path)),
    }
}

fn answer_of(no: &Refusal) -> Answer {
    Answer::refused(no.status, &no.why)
}

fn not_so(path: &str, allow: &str) -> Refusal {
    let error = format!("{} is asked for by {allow} alone", c10k_record::clean(path));
    Refusal::new(405, error, "docs/control.md has the routes")
}

fn nothing_here(path: &str) -> Refusal {
    let error = format!("nothing is at '{}'", c10k_record::clean(path));
    Refusal::new(404, error, "docs/control.md has the routes")
}

/// The body as what is expected; the error names the field that is missing, or what stands in its place.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| {
        Refusal::new(
            400,
            format!("the body is not what is expected here: {error}"),
            "docs/control.md has the types",
        )
    })
}
