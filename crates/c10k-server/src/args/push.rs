//! What the server says by itself.

use c10k_record::{BitRate, Payload, PhaseKind, Plan, Pushed, ServerMode, Span, WorkPlan};
use clap::{Args, ValueEnum};

use crate::push::PushPlan;

/// What the server pushes to clients that ask for it.
#[derive(Args, Clone, Debug, Default)]
pub struct PushArgs {
    /// What the server pushes to those who ask for it
    #[arg(
        long_help = "Push to clients that ask: stream plays to each that says `play`, fanout sends one message to all that \
            have said `follow`; `leave` ends it. Over raw TCP each is a line of its own, over WebSocket a text \
            message; all else is echoed",
        help_heading = "Workload",
        long,
        value_enum,
        value_name = "stream|fanout",
        hide_possible_values = true
    )]
    pub workload: Option<PushWorkload>,

    /// stream: bits a second to each viewer [500kbit/s]
    #[arg(
        help_heading = "Workload",
        long,
        value_name = "RATE",
        long_help = "stream: bits of payload a second to each viewer [default: 500kbit/s]"
    )]
    pub bitrate: Option<BitRate>,

    /// stream: how long each plays [default: 10s]
    #[arg(hide_short_help = true, help_heading = "Workload", long, value_name = "DURATION")]
    pub stream_duration: Option<Span>,

    /// fanout: from one message to the next [1s]
    #[arg(
        help_heading = "Workload",
        long,
        value_name = "DURATION",
        long_help = "fanout: from one message to the next, while anybody follows [default: 1s]"
    )]
    pub fanout_every: Option<Span>,

    /// fanout: bytes of a message behind its header of 32, or a range such as 32..1024 [default: 64]
    #[arg(hide_short_help = true, help_heading = "Workload", long, value_name = "BYTES")]
    pub payload: Option<Payload>,
}

/// What a server can push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PushWorkload {
    /// A stream to each who asks.
    Stream,
    /// One message to all, again and again.
    Fanout,
}

const STREAM_DURATION: Span = Span::secs(10);
/// More often than this is no message to all, but a stream.
const SHORTEST_EVERY: Span = Span(std::time::Duration::from_millis(10));
/// A stream that is longer has no end that anybody waits for.
const LONGEST_STREAM: Span = Span::secs(7 * 24 * 3600);

impl PushArgs {
    /// These flags above what a plan says.
    ///
    /// # Errors
    /// The text of a usage error: phases that want different things of one server.
    pub(super) fn over_plan(self, plan: &Plan) -> Result<Self, String> {
        let Some(Pushed { kind, work, duration }) = plan.pushed()? else { return Ok(self) };
        let workload = match kind {
            PhaseKind::Stream => PushWorkload::Stream,
            _ => PushWorkload::Fanout,
        };
        let workload = self.workload.unwrap_or(workload);
        let WorkPlan { bitrate, fanout_every, payload, .. } = work;
        let is_stream = workload == PushWorkload::Stream;
        Ok(Self {
            workload: Some(workload),
            bitrate: self.bitrate.or(bitrate.filter(|_| is_stream)),
            stream_duration: self.stream_duration.or(duration.filter(|_| is_stream)),
            fanout_every: self.fanout_every.or(fanout_every.filter(|_| !is_stream)),
            payload: self.payload.or(payload.filter(|_| !is_stream)),
        })
    }

    /// What is pushed; `None` = nothing.
    ///
    /// # Errors
    /// The text of a usage error: a flag of another workload, a number out of its range, a server that hears nobody.
    pub(crate) fn plan(&self, mode: ServerMode) -> Result<Option<PushPlan>, String> {
        let of_stream =
            [("--bitrate", self.bitrate.is_some()), ("--stream-duration", self.stream_duration.is_some())];
        let of_fanout =
            [("--fanout-every", self.fanout_every.is_some()), ("--payload", self.payload.is_some())];
        let (needs, others): (&str, &[(&str, bool)]) = match self.workload {
            None => ("stream or fanout", &[of_stream, of_fanout].concat()),
            Some(PushWorkload::Stream) => ("fanout", &of_fanout),
            Some(PushWorkload::Fanout) => ("stream", &of_stream),
        };
        if let Some((flag, _)) = others.iter().find(|(_, given)| *given) {
            return Err(format!("{flag} belongs to another workload: expected --workload {needs} with it"));
        }
        let Some(workload) = self.workload else { return Ok(None) };
        if mode == ServerMode::Hold {
            return Err("--mode hold discards what clients say, so none could ask for --workload: expected --mode echo \
                        with it"
                .to_owned());
        }
        match workload {
            PushWorkload::Stream => {
                let duration = self.stream_duration.unwrap_or(STREAM_DURATION);
                if duration.0.is_zero() || duration > LONGEST_STREAM {
                    return Err(format!(
                        "--stream-duration {duration}: expected more than 0 and at most {LONGEST_STREAM}"
                    ));
                }
                Ok(Some(PushPlan::Stream { bitrate: self.bitrate.unwrap_or(WorkPlan::BITRATE), duration }))
            }
            PushWorkload::Fanout => {
                let every = self.fanout_every.unwrap_or(WorkPlan::FANOUT_EVERY);
                if every < SHORTEST_EVERY {
                    return Err(format!("--fanout-every {every}: expected at least {SHORTEST_EVERY}"));
                }
                Ok(Some(PushPlan::Fanout { every, payload: self.payload.unwrap_or(WorkPlan::PAYLOAD) }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> PushArgs {
        PushArgs { workload: Some(PushWorkload::Stream), ..PushArgs::default() }
    }

    fn fanout() -> PushArgs {
        PushArgs { workload: Some(PushWorkload::Fanout), ..PushArgs::default() }
    }

    #[test]
    fn without_a_word_of_it_nothing_is_pushed_and_each_workload_has_its_defaults() {
        let plan = |args: PushArgs| args.plan(ServerMode::Echo);
        assert_eq!(plan(PushArgs::default()), Ok(None));
        assert_eq!(plan(stream()).unwrap().unwrap().to_string(), "stream of 500kbit/s for 10s");
        assert_eq!(plan(fanout()).unwrap().unwrap().to_string(), "fanout of 64 B every 1s");
    }

    #[test]
    fn contradictions_name_the_flag_and_what_was_expected() {
        let (rate, time) = (Some(WorkPlan::BITRATE), Some(Span::secs(0)));
        let cases = [
            (PushArgs { bitrate: rate, ..PushArgs::default() }, ServerMode::Echo, "--bitrate"),
            (
                PushArgs { payload: Some(WorkPlan::PAYLOAD), ..PushArgs::default() },
                ServerMode::Echo,
                "--payload",
            ),
            (PushArgs { bitrate: rate, ..fanout() }, ServerMode::Echo, "--bitrate"),
            (PushArgs { stream_duration: time, ..fanout() }, ServerMode::Echo, "--stream-duration"),
            (PushArgs { payload: Some(WorkPlan::PAYLOAD), ..stream() }, ServerMode::Echo, "--payload"),
            (PushArgs { fanout_every: time, ..stream() }, ServerMode::Echo, "--fanout-every"),
            (PushArgs { stream_duration: time, ..stream() }, ServerMode::Echo, "--stream-duration 0"),
            (PushArgs { fanout_every: time, ..fanout() }, ServerMode::Echo, "--fanout-every 0"),
            (stream(), ServerMode::Hold, "--mode hold"),
            (fanout(), ServerMode::Hold, "--mode hold"),
        ];
        for (args, mode, named) in cases {
            let error = args.plan(mode).expect_err(named);
            assert!(error.contains(named) && error.contains("expected"), "{error}");
        }
        assert_eq!(PushArgs::default().plan(ServerMode::Hold), Ok(None));
    }
}
