//! The command line of what the connections do while they are held.

use c10k_record::{BitRate, ChurnClose, Payload, Quantity, Span, WorkPlan, Workload};
use clap::Args;

/// What the connections do while they are held; `c10k-lab run` has the same flags.
#[derive(Clone, Debug, Default, Args)]
pub struct WorkArgs {
    /// While held: echo, churn, stream, fanout [hold]
    #[arg(
        help_heading = "Workload",
        long,
        value_name = "NAME",
        long_help = "What the connections do while they are held, as long as --hold: hold, echo, churn, stream, fanout \
            [default: hold]"
    )]
    pub workload: Option<Workload>,
    /// Every held connection proves itself so often [0]
    #[arg(
        help_heading = "Workload",
        long,
        value_name = "DURATION",
        long_help = "Every held connection proves itself again once in each such interval, evenly spread; at least 100ms, 0 = \
            never [default: 0]"
    )]
    pub beat: Option<Span>,
    /// echo: messages a second and connection [1/s]
    #[arg(
        help_heading = "Workload", long, value_name = "N/s", value_parser = per_second, conflicts_with_all = ["message_rate", "in_flight_messages"],
        long_help = "echo: so many messages a second on each connection, timed from the intended start [default: 1/s]"
    )]
    pub messages: Option<f64>,
    /// echo: so many messages a second on all connections together, timed from the intended start.
    #[arg(hide_short_help = true, help_heading = "Workload", long, value_name = "N/s", value_parser = per_second, conflicts_with = "in_flight_messages")]
    pub message_rate: Option<f64>,
    /// echo: so many messages in flight at one time on all connections together; the next is sent when one is answered.
    #[arg(hide_short_help = true, help_heading = "Workload", long, value_name = "N")]
    pub in_flight_messages: Option<Quantity>,
    /// echo, fanout: bytes of a message, or a range of them, such as 1KiB or 32..1024 [default: 64].
    #[arg(hide_short_help = true, help_heading = "Workload", long, value_name = "BYTES")]
    pub payload: Option<Payload>,
    /// churn: closed and opened again a second [1000/s]
    #[arg(
        help_heading = "Workload", long, value_name = "N/s", value_parser = per_second,
        long_help = "churn: so many connections a second are closed, and others opened in their place [default: 1000/s]"
    )]
    pub churn: Option<f64>,
    /// churn: who closes first: client, server or rst (the client, by RST) [default: client].
    #[arg(hide_short_help = true, help_heading = "Workload", long, value_name = "WHO")]
    pub churn_close: Option<ChurnClose>,
    /// stream: bits a second to each
    #[arg(
        help_heading = "Workload",
        long,
        value_name = "BITS/s",
        long_help = "stream: bits a second that the server pushes to each connection [default of c10k-swarm: 500kbit/s]"
    )]
    pub bitrate: Option<BitRate>,
    /// fanout: from one message to all to the next [default: 1s].
    #[arg(hide_short_help = true, help_heading = "Workload", long, value_name = "DURATION")]
    pub fanout_every: Option<Span>,
}

/// `2000/s`, `0.5/s`, `50k/s` or the number alone: above 0.
fn per_second(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let parsed = number.parse::<f64>().ok().or_else(|| {
        let Quantity(count) = number.parse().ok()?;
        Some(count as f64)
    });
    parsed
        .filter(|rate| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| format!("'{text}' is not a rate: expected a number a second above 0, such as 50k/s"))
}

/// When a worker stands still, and for how long: `2s,500ms`.
#[derive(Clone, Copy, Debug)]
pub struct Freeze {
    /// From the begin of its work.
    pub(crate) after: Span,
    pub(crate) long: Span,
}

impl std::str::FromStr for Freeze {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || format!("'{text}' says no time to stand still: expected AFTER,LONG, such as 2s,500ms");
        let (after, long) = text.split_once(',').ok_or_else(bad)?;
        Ok(Self { after: after.parse().map_err(|_| bad())?, long: long.parse().map_err(|_| bad())? })
    }
}

impl WorkArgs {
    /// The workload: what the flag says, else `base`.
    #[must_use]
    pub fn workload(&self, base: Workload) -> Workload {
        self.workload.unwrap_or(base)
    }

    /// These flags over `base`.
    ///
    /// # Errors
    /// One line when a number is none that a swarm takes.
    pub fn resolve(&self, base: &WorkPlan) -> Result<WorkPlan, String> {
        let in_flight_messages = self
            .in_flight_messages
            .map(|Quantity(count)| {
                u32::try_from(count).map_err(|_| {
                    let most = WorkPlan::IN_FLIGHT_MESSAGES.end();
                    format!("--in-flight-messages {count}: expected 1 to {most}")
                })
            })
            .transpose()?;
        let over = WorkPlan {
            beat: self.beat,
            messages_per_second: self.messages,
            message_rate_per_second: self.message_rate,
            in_flight_messages,
            payload: self.payload,
            churn_per_second: self.churn,
            churn_close: self.churn_close,
            bitrate: self.bitrate,
            fanout_every: self.fanout_every,
        };
        let mut work = base.with(&over);
        work.beat = work.beat.filter(|beat| !beat.0.is_zero());
        work.check()?;
        Ok(work)
    }

    /// Whether these flags are such that one of these workloads has a use for each.
    ///
    /// # Errors
    /// One line that names the flag and the workload it belongs to.
    pub fn check_use(&self, workloads: &[Workload]) -> Result<(), String> {
        let echo: &[Workload] = &[Workload::Echo];
        let churn: &[Workload] = &[Workload::Churn];
        let of = [
            ("--messages", self.messages.is_some(), echo),
            ("--message-rate", self.message_rate.is_some(), echo),
            ("--in-flight-messages", self.in_flight_messages.is_some(), echo),
            ("--payload", self.payload.is_some(), &[Workload::Echo, Workload::Fanout]),
            ("--churn", self.churn.is_some(), churn),
            ("--churn-close", self.churn_close.is_some(), churn),
            ("--bitrate", self.bitrate.is_some(), &[Workload::Stream]),
            ("--fanout-every", self.fanout_every.is_some(), &[Workload::Fanout]),
        ];
        for (flag, given, users) in of {
            if given && !users.iter().any(|user| workloads.contains(user)) {
                let users: Vec<String> = users.iter().map(|user| format!("--workload {user}")).collect();
                return Err(format!(
                    "{flag} is used by none of the run's workloads: expected {} with it",
                    users.join(" or ")
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_with_and_without_their_unit_and_below_one() {
        for (text, rate) in [("1/s", 1.0), ("50k/s", 50_000.0), ("0.5/s", 0.5), ("2000", 2000.0)] {
            assert_eq!(per_second(text), Ok(rate), "{text}");
        }
        for text in ["0", "-1/s", "inf", "NaN", "fast", ""] {
            assert!(per_second(text).is_err_and(|error| error.contains("expected")), "{text}");
        }
    }

    #[test]
    fn a_flag_stands_above_the_plan_and_no_beat_is_one_of_nothing() {
        let base =
            WorkPlan { beat: Some(Span::secs(60)), messages_per_second: Some(1.0), ..WorkPlan::default() };
        let args = WorkArgs {
            beat: Some(Span::secs(0)),
            in_flight_messages: Some(Quantity(64)),
            ..WorkArgs::default()
        };
        let work = args.resolve(&base).expect("a plan");
        assert_eq!((work.beat, work.messages_per_second, work.in_flight_messages), (None, None, Some(64)));
        assert_eq!(WorkArgs::default().resolve(&base).as_ref(), Ok(&base));
        let args = WorkArgs { in_flight_messages: Some(Quantity(1 << 40)), ..WorkArgs::default() };
        assert!(args.resolve(&base).is_err_and(|error| error.contains("expected")));
    }

    #[test]
    fn a_flag_that_no_workload_uses_is_refused_with_those_that_do() {
        let args =
            WorkArgs { payload: Some(Payload { min_bytes: 64, max_bytes: 64 }), ..WorkArgs::default() };
        let error = args.check_use(&[Workload::Hold]).expect_err("of no use");
        assert!(
            error.contains("--payload") && error.contains("--workload echo or --workload fanout"),
            "{error}"
        );
        assert_eq!(args.check_use(&[Workload::Hold, Workload::Echo]), Ok(()));
    }
}
