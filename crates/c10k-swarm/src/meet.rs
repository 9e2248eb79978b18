//! A swarm among others: it meets them at a rendezvous, begins with them, waits for them at the gates, and hears who is
//! lost.
//!
//! All that takes the network stands on a thread of its own ([`caller`]): the conductor tells it how it stands and looks
//! at what it has heard, and waits for neither. What the conductor waits for are the other shards, and each such wait
//! ends with the meeting, with the rendezvous, or by a signal.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::atomic::{
    AtomicBool, AtomicU32,
    Ordering::{Acquire, Release},
};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use c10k_record::control::meet::{Join, LostShard, Met, shards_in_words};
use c10k_record::control::{Client, Offset, Token, path};
use c10k_record::{Exit, LiveCounts, PhaseName};

use crate::refusal::Refusal;
use crate::signals::Signals;

mod caller;
mod clocks;

use caller::Caller;

/// Between two looks at what was heard.
const NAP: Duration = Duration::from_millis(20);
/// How long bringing the result may take.
const BRING: Duration = Duration::from_secs(30);
/// How long it may take to say that this shard takes no part any more.
const LAST_WORD: Duration = Duration::from_millis(600);
/// Between two lines about those who are missing.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whom to meet, and where.
#[derive(Clone, Debug)]
pub(crate) struct Appointment {
    pub(crate) address: SocketAddr,
    pub(crate) token: Option<Token>,
    pub(crate) run_id: String,
    /// What this shard says of itself; the offset of its clock is measured before it comes.
    pub(crate) join: Join,
}

/// Why a shard ends before its end, and how its process does.
#[derive(Clone, Debug)]
pub(crate) struct MeetEnd {
    pub(crate) why: String,
    pub(crate) hint: Option<String>,
    pub(crate) exit: Exit,
    /// The rendezvous still takes its result.
    takes_result: bool,
}

impl From<MeetEnd> for Refusal {
    fn from(MeetEnd { why, hint, exit, .. }: MeetEnd) -> Self {
        Self { message: why, hint, exit }
    }
}

/// How far the meeting is, as far as this shard has heard.
#[derive(Clone, Debug, Default)]
enum Heard {
    /// Nothing yet.
    #[default]
    Nothing,
    /// These are missing.
    Missing(Vec<u32>),
    /// The start is at this moment.
    Start(Instant),
    /// It ended before its end, for this shard at least.
    Ended(MeetEnd),
    /// All that were not lost have brought their results.
    Over,
}

/// How the swarm stands, as the conductor tells it.
#[derive(Clone, Debug)]
struct Told {
    phase: Option<PhaseName>,
    gate: u32,
    open: u64,
    failed: u64,
    begun: Option<Instant>,
    /// It takes no part any more, and why.
    broke: Option<String>,
    /// When it was told; `None` where nobody tells any more, since all is done but the result.
    at: Option<Instant>,
}

/// What the conductor and the caller share.
#[derive(Debug)]
struct Shared {
    told: Mutex<Told>,
    heard: Mutex<Heard>,
    met: Mutex<Met>,
    clock: Mutex<Vec<Offset>>,
    /// Lines for people.
    words: Mutex<Vec<String>>,
    /// The last gate that is open.
    gate: AtomicU32,
    /// It ended before its end.
    has_ended: AtomicBool,
    /// Nobody is asked any more: the rendezvous is gone, and this shard goes on alone.
    is_alone: AtomicBool,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn say(&self, words: String) {
        lock(&self.words).push(words);
    }

    fn end(&self, end: MeetEnd) {
        let mut heard = lock(&self.heard);
        if !matches!(*heard, Heard::Ended(_) | Heard::Over) {
            *heard = Heard::Ended(end);
            self.has_ended.store(true, Release);
        }
    }

    /// Takes in who is lost.
    fn lose(&self, lost: &[LostShard], of: u32) {
        let mut met = lock(&self.met);
        for new in &lost[met.lost.len().min(lost.len())..] {
            self.say(format!("warning: {} was lost: {}", shards_in_words(&[new.shard], of), new.why));
        }
        met.lost = lost.to_vec();
    }
}

/// A swarm's place among the others.
#[derive(Clone)]
pub(crate) struct Together {
    shared: Arc<Shared>,
    appointment: Arc<Appointment>,
    /// Has the caller look at once; without any it ends.
    looks: Sender<()>,
    caller: Arc<JoinHandle<()>>,
}

impl Together {
    /// Comes to the rendezvous and waits for the others; gives the moment at which to begin. What people should know
    /// meanwhile is `say`'s.
    ///
    /// # Errors
    /// Where it is refused, where others do not come, where the rendezvous does not answer, and when a signal comes.
    pub(crate) fn gather(
        appointment: Appointment,
        signals: &Signals,
        mut say: impl FnMut(&str),
    ) -> Result<(Self, Instant), Refusal> {
        let met = Met { rendezvous: appointment.address.to_string(), ..Met::default() };
        let told = Told {
            phase: None,
            gate: 0,
            open: 0,
            failed: 0,
            begun: None,
            broke: None,
            at: Some(Instant::now()),
        };
        let shared = Arc::new(Shared {
            told: Mutex::new(told),
            heard: Mutex::default(),
            met: Mutex::new(met),
            clock: Mutex::default(),
            words: Mutex::default(),
            gate: AtomicU32::new(0),
            has_ended: AtomicBool::new(false),
            is_alone: AtomicBool::new(false),
        });
        let (looks, has_to_look) = channel();
        let appointment = Arc::new(appointment);
        let caller = Caller::new(Arc::clone(&appointment), Arc::clone(&shared), has_to_look, signals.clone());
        let caller = std::thread::Builder::new()
            .name("meet".to_owned())
            .spawn(move || caller.call())
            .map_err(Refusal::of_host("start the thread that meets the others"))?;
        let together = Self { shared, appointment, looks, caller: Arc::new(caller) };
        let begin = together.wait_for_the_others(signals, &mut say)?;
        Ok((together, begin))
    }

    fn wait_for_the_others(&self, signals: &Signals, say: &mut impl FnMut(&str)) -> Result<Instant, Refusal> {
        let of = self.appointment.join.of;
        let mut told: Option<(Instant, Vec<u32>)> = None;
        loop {
            self.words().iter().for_each(|words| say(words));
            if let Some(signal) = signals.came() {
                self.let_it_be_said();
                let message = format!("stopped while {} waited for the others", self.own_name());
                return Err(Refusal { message, hint: None, exit: Exit::of_signal(signal) });
            }
            self.still_here();
            // In this order: what it has heard last is heard.
            let is_finished = self.caller.is_finished();
            let heard = lock(&self.shared.heard).clone();
            match heard {
                Heard::Start(begin) => return Ok(begin),
                Heard::Ended(end) => return Err(end.into()),
                _ if is_finished => {
                    let why = std::io::Error::other("the thread that meets the others has ended");
                    return Err(Refusal::of_host("meet the others")(why));
                }
                Heard::Missing(missing)
                    if !missing.is_empty()
                        && told.as_ref().is_none_or(|(at, last)| {
                            *last != missing && at.elapsed() > PATIENCE || at.elapsed() > 4 * PATIENCE
                        }) =>
                {
                    let missing_words = shards_in_words(&missing, of);
                    say(&format!(
                        "{} is at {}; waiting for {missing_words}",
                        self.own_name(),
                        self.appointment.address
                    ));
                    told = Some((Instant::now(), missing));
                }
                _ => {}
            }
            std::thread::sleep(NAP);
        }
    }

    fn own_name(&self) -> String {
        let Join { shard, of, .. } = &self.appointment.join;
        shards_in_words(&[*shard], *of)
    }

    /// Waits for the start, and takes down when it was.
    ///
    /// # Errors
    /// When a signal comes, or the meeting ends before it.
    pub(crate) fn await_start(&self, begin: Instant, signals: &Signals) -> Result<(), Refusal> {
        loop {
            if let Some(signal) = signals.came() {
                self.let_it_be_said();
                let message = format!("stopped before the start of {}", self.own_name());
                return Err(Refusal { message, hint: None, exit: Exit::of_signal(signal) });
            }
            if let Some(end) = self.end() {
                return Err(end.into());
            }
            self.still_here();
            let left = begin.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(NAP));
        }
        let begun = Instant::now();
        lock(&self.shared.told).begun = Some(begun);
        lock(&self.shared.met).begun_late_us =
            Some(begun.saturating_duration_since(begin).as_micros() as u64);
        Ok(())
    }

    fn still_here(&self) {
        lock(&self.shared.told).at = Some(Instant::now());
    }

    /// How it stands.
    pub(crate) fn tell(&self, phase: PhaseName, counts: &LiveCounts) {
        let mut told = lock(&self.shared.told);
        (told.phase, told.open, told.failed) = (Some(phase), counts.open, counts.failed);
        told.at = Some(Instant::now());
    }

    /// It has come to this gate.
    pub(crate) fn come_to(&self, gate: u32) {
        let mut told = lock(&self.shared.told);
        told.gate = told.gate.max(gate);
        drop(told);
        self.look();
    }

    fn look(&self) {
        // The caller has ended where nobody hears this.
        let _ = self.looks.send(());
    }

    /// Whether all have come to this gate, or nobody is left to wait for.
    pub(crate) fn is_open(&self, gate: u32) -> bool {
        self.shared.gate.load(Acquire) >= gate || self.is_alone()
    }

    /// Whether nobody is asked any more.
    fn is_alone(&self) -> bool {
        self.shared.is_alone.load(Acquire) || self.caller.is_finished()
    }

    /// Whether it ended before its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.has_ended.load(Acquire)
    }

    /// Why, where it ended before its end.
    pub(crate) fn end(&self) -> Option<MeetEnd> {
        match &*lock(&self.shared.heard) {
            Heard::Ended(end) => Some(end.clone()),
            _ => None,
        }
    }

    /// What people should know since this was last asked.
    pub(crate) fn words(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.shared.words))
    }

    /// Takes no part any more, which the others hear at once.
    pub(crate) fn break_off(&self, why: String) {
        lock(&self.shared.told).broke.get_or_insert(why);
        self.look();
        self.let_it_be_said();
    }

    /// Waits a moment until the caller has said that this shard takes no part any more: that ends it.
    fn let_it_be_said(&self) {
        let until = Instant::now() + LAST_WORD;
        while !self.caller.is_finished() && Instant::now() < until {
            std::thread::sleep(NAP);
        }
    }

    /// Brings the result, and waits until all have brought theirs, until it has ended otherwise, or for a signal. Of a
    /// swarm that a signal has stopped no result is brought: it is lost.
    pub(crate) fn bring(&self, result: Vec<u8>, signals: &Signals) {
        lock(&self.shared.told).at = None;
        let is_refused = self.end().is_some_and(|end| !end.takes_result);
        if signals.came().is_some() {
            return self.let_it_be_said();
        }
        if is_refused || self.shared.is_alone.load(Acquire) {
            return;
        }
        let (appointment, shared) = (Arc::clone(&self.appointment), Arc::clone(&self.shared));
        let brought = Arc::new(AtomicBool::new(false));
        let is_brought = Arc::clone(&brought);
        let spawned = std::thread::Builder::new().name("result".to_owned()).spawn(move || {
            let Appointment { address, token, run_id, .. } = &*appointment;
            let mut client = Client::new(*address, token.clone()).with_patience(BRING);
            let posted = client.post_text::<serde::de::IgnoredAny>(&path::meet(run_id, "result"), &result);
            if let Err(error) = posted {
                let why = format!("the result could not be brought to the rendezvous: {error}");
                shared.say(format!("warning: {why}"));
                lock(&shared.told).broke.get_or_insert(why);
            }
            is_brought.store(true, Release);
        });
        if spawned.is_err() {
            self.break_off("no thread could be started that brings the result".to_owned());
            return;
        }
        while signals.came().is_none() {
            let has_ended = matches!(*lock(&self.shared.heard), Heard::Over | Heard::Ended(_));
            let is_lost = lock(&self.shared.told).broke.is_some();
            if brought.load(Acquire) && (has_ended || is_lost || self.is_alone()) {
                break;
            }
            std::thread::sleep(NAP);
        }
        // What it came to is told before the process ends, and where it came to nothing, to the others too.
        self.look();
        if signals.came().is_some() || lock(&self.shared.told).broke.is_some() {
            self.let_it_be_said();
        }
    }

    /// This shard's account of the meeting, and the clock of the rendezvous against its own.
    pub(crate) fn account(&self) -> (Met, Vec<Offset>) {
        (lock(&self.shared.met).clone(), lock(&self.shared.clock).clone())
    }
}

/// The address of a rendezvous, by name or number.
///
/// # Errors
/// A text that is none, or a name that has no address.
pub(crate) fn address_of(text: &str) -> Result<SocketAddr, Refusal> {
    let (message, exit) = match text.to_socket_addrs() {
        Ok(mut found) => match found.next() {
            Some(address) => return Ok(address),
            None => (format!("the name in --rendezvous {text} has no address"), Exit::HostCannot),
        },
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => (
            format!(
                "--rendezvous {text} is not an address with a port: expected HOST:PORT, such as 10.0.0.1:9900"
            ),
            Exit::BadText,
        ),
        Err(error) => (format!("--rendezvous {text} cannot be looked up: {error}"), Exit::HostCannot),
    };
    let hint = Some("the address is that of `c10k-lab serve --control ADDRESS:PORT`".to_owned());
    Err(Refusal { message, hint, exit })
}

/// The job of an engine that names it in the environment.
pub(crate) fn job(lookup: impl Fn(&str) -> Option<String>) -> Option<String> {
    let of = |engine: &str, id: &str| lookup(id).map(|id| format!("{engine} {id}"));
    let slurm = of("slurm", "SLURM_JOB_ID").map(|job| match lookup("SLURM_STEP_ID") {
        Some(step) => format!("{job}.{step}"),
        None => job,
    });
    slurm.or_else(|| of("pbs", "PBS_JOBID")).or_else(|| of("lsf", "LSB_JOBID"))
}

/// What is lost when a shard is, in the words of a warning of the record.
pub(crate) fn lost_in_words(met: &Met, of: u32) -> Option<String> {
    let lost: Vec<u32> = met.lost.iter().map(|lost| lost.shard).collect();
    let left = of.saturating_sub(u32::try_from(lost.len()).unwrap_or(of));
    let why = met.lost.first().map(|lost| lost.why.as_str())?;
    Some(format!("{left} of {of} shards came to the end: {} lost ({why})", shards_in_words(&lost, of)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rendezvous_is_an_address_with_a_port() {
        assert_eq!(address_of("127.0.0.1:9900").ok(), Some(SocketAddr::from(([127, 0, 0, 1], 9900))));
        assert!(address_of("[::1]:9900").is_ok());
        for text in ["127.0.0.1", "", ":", "127.0.0.1:99999"] {
            let refusal = address_of(text).expect_err(text);
            assert!(
                refusal.message.contains("expected HOST:PORT") && refusal.exit == Exit::BadText,
                "{text}"
            );
        }
    }

    #[test]
    fn an_engine_names_its_job() {
        let set = |names: &'static [(&str, &str)]| {
            move |name: &str| names.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned())
        };
        assert_eq!(job(set(&[])), None);
        assert_eq!(job(set(&[("SLURM_JOB_ID", "7")])).as_deref(), Some("slurm 7"));
        assert_eq!(job(set(&[("SLURM_JOB_ID", "7"), ("SLURM_STEP_ID", "0")])).as_deref(), Some("slurm 7.0"));
        assert_eq!(job(set(&[("PBS_JOBID", "9.head")])).as_deref(), Some("pbs 9.head"));
    }
}
