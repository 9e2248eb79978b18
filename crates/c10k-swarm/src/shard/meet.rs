//! A shard that meets the others: where, what it says of itself there, and what its result has of it.

use std::hash::{DefaultHasher, Hasher as _};
use std::net::SocketAddr;
use std::time::Duration;

use c10k_record::control::meet::{Join, MOST_SHARDS, ShardProcess};
use c10k_record::control::{Build, Token, TokenError};
use c10k_record::shard::{HowEnded, common};
use c10k_record::{Exit, Plan, Record, RunState, Span, Warning, human_count};

use super::{Own, host};
use crate::args::{ShardArgsError, SwarmArgs};
use crate::meet::{Appointment, address_of, job, lost_in_words};
use crate::output::Output;
use crate::refusal::Refusal;
use crate::signals::Signals;

/// How long the others are waited for.
const TIMEOUT: Span = Span::secs(60);
/// The least and the most of that.
const TIMEOUTS: [Span; 2] = [Span::secs(1), Span::secs(86_400)];

/// Where the shards meet.
pub(super) struct Place {
    address: SocketAddr,
    token: Option<Token>,
    timeout: Duration,
    on_lost: c10k_record::control::meet::OnLost,
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        Self { message: error.to_string(), hint: Some(error.hint()), exit: error.exit() }
    }
}

/// Where the flags say that the shards meet; `None` where they do not meet.
///
/// # Errors
/// A swarm that is none of several, an address that is none, or a token that cannot be read.
pub(super) fn place(args: &SwarmArgs, shard: Option<super::Shard>) -> Result<Option<Place>, Refusal> {
    let Some(text) = &args.meet.rendezvous else { return Ok(None) };
    let bad =
        |message: String, hint: &str| Refusal { message, hint: Some(hint.to_owned()), exit: Exit::BadText };
    let Some(shard) = shard else { return Err(ShardArgsError::NoShard("--rendezvous").into()) };
    if shard.count() > MOST_SHARDS {
        let message = format!("{} shards cannot meet: expected {MOST_SHARDS} at most", shard.count());
        return Err(bad(
            message,
            "more connections a shard take fewer of them, and a box has many source addresses",
        ));
    }
    let timeout = args.meet.rendezvous_timeout.unwrap_or(TIMEOUT);
    let [least, most] = TIMEOUTS;
    if !(least.0..=most.0).contains(&timeout.0) {
        let message = format!("--rendezvous-timeout {timeout}: expected {least} to {most}");
        return Err(bad(message, "an engine may start the last box minutes after the first one"));
    }
    Ok(Some(Place {
        address: address_of(text)?,
        token: Token::find(args.meet.token_file.as_deref())?,
        timeout: timeout.0,
        on_lost: args.meet.on_lost_shard.unwrap_or_default(),
    }))
}

/// A text that is the same for all shards of one run, and for those of another plan a different one.
fn identity(own: &Own, whole: &Plan) -> String {
    let common = common(whole, own.ips);
    let mut hasher = DefaultHasher::new();
    hasher.write(serde_json::to_string(&common).unwrap_or_default().as_bytes());
    let (target, workload) = (human_count(whole.target), whole.workload);
    format!("'{target} connections, {workload}, {:016x}'", hasher.finish())
}

impl Own {
    /// Whether it meets the others.
    pub(crate) fn meets(&self) -> bool {
        self.place.is_some()
    }

    /// Whom it meets, and what it says of itself; `None` where it meets nobody. Its plan has so many gates.
    pub(crate) fn appointment(&self, gates: u32) -> Option<Appointment> {
        let (place, whole) = (self.place.as_ref()?, self.whole.as_ref()?);
        let host = host();
        let (pid, started) = (std::process::id(), self.started_unix_ns);
        let join = Join {
            shard: self.shard.index(),
            of: self.shard.count(),
            attempt_token: format!("{}-{}-{pid}-{started:x}", host.name, host.boot_id),
            build: Build::of_this(),
            plan: identity(self, whole),
            gates,
            on_lost: place.on_lost,
            timeout_ms: place.timeout.as_millis() as u64,
            client: ShardProcess {
                host: host.name,
                pid,
                boot_id: Some(host.boot_id).filter(|id| !id.is_empty()),
                job: job(|name| std::env::var(name).ok()),
            },
            limits: self.limits.clone().unwrap_or_default(),
            offset_ns: None,
            round_trip_ns: None,
        };
        let (address, token) = (place.address, place.token.clone());
        Some(Appointment { address, token, run_id: self.run_id.clone(), join })
    }

    /// Takes over what is known of the meeting by now.
    pub(crate) fn take_account(&mut self) {
        let Some(together) = &self.together else { return };
        let (met, clock) = together.account();
        (self.attempt, self.meeting) = (met.attempt.max(1), Some(met.meeting.clone()));
        (self.met, self.clock) = (Some(met), clock);
    }

    /// Brings the result to where the shards met, and waits for the others; the record has what came of that. Gives the
    /// code with which the program is to end.
    pub(crate) fn bring(
        &mut self,
        record: &mut Record,
        exit: Exit,
        signals: &Signals,
        output: &mut Output,
    ) -> Exit {
        let Some(together) = self.together.clone() else { return exit };
        self.take_account();
        together.bring(self.result_of(record, exit).to_json(), signals);
        together.words().iter().for_each(|words| output.note(words));
        self.take_account();
        let met = self.met.clone().unwrap_or_default();
        let mut note = |id: &str, text: String| record.warnings.push(Warning::new(id, text));
        met.jumped.iter().for_each(|jumped| note("clock-set", jumped.clone()));
        met.gone.iter().for_each(|gone| note("rendezvous-gone", gone.clone()));
        lost_in_words(&met, self.shard.count()).into_iter().for_each(|lost| note("shard-lost", lost));
        match together.end() {
            Some(end) if signals.came().is_none() => {
                if record.state == RunState::Complete {
                    record.state = RunState::Aborted;
                }
                record.ended_because = Some(end.why);
                end.exit
            }
            _ => exit,
        }
    }

    /// How it ended, where the others or the rendezvous had it end.
    pub(super) fn was_ended(&self) -> Option<HowEnded> {
        let end = self.together.as_ref()?.end()?;
        Some(if end.exit == Exit::Broke { HowEnded::Broke } else { HowEnded::Stopped })
    }
}
