//! What a workload came to, in a few rows.

use crate::text::{latency, number, percent, with_unit};
use crate::{Churned, FannedOut, LatencySummary, PhaseKind, Streamed, Worked, human_count};

/// What one phase came to: how much was said or played, and how long that took. Each is a row below the phase's name.
#[must_use]
pub fn worked(work: &Worked) -> Vec<String> {
    let mut rows = Vec::new();
    rows.extend(work.churn.as_ref().map(churned));
    rows.extend(work.stream.as_ref().map(streamed));
    rows.extend(work.fanout.as_ref().map(fanned_out));
    let speaks_first = work.stream.is_some() || work.fanout.is_some();
    if work.churn.is_none() && !speaks_first {
        rows.push(messages(work));
    }
    let times = [("response", Some(&work.response_us)), ("service", Some(&work.service_us))];
    let times = times.into_iter().chain([("the swarm's own lateness", work.lateness_us.as_ref())]);
    let times: Vec<String> = times.filter_map(|(name, summary)| figures(name, summary?)).collect();
    if !times.is_empty() && !speaks_first {
        rows.push(times.join("; "));
    }
    rows.extend(work.churn.as_ref().and_then(reconnects));
    if let (Some(first), Some(server)) = (rows.first_mut(), work.server_cores) {
        *first += &format!("; server {} cores", number(Some(server)));
    }
    rows
}

fn messages(work: &Worked) -> String {
    let what = if work.kind == PhaseKind::Hold { "beats" } else { "messages" };
    let of = work.messages_intended.unwrap_or(work.messages_sent);
    let rate = number(work.messages_per_second);
    let mut text =
        format!("{rate} {what}/s; {} of {} answered", human_count(work.messages_answered), human_count(of));
    if work.messages_wrong > 0 {
        text += &format!(", {} WRONG", human_count(work.messages_wrong));
    }
    if work.messages_not_sent_in_time > 0 {
        text += &format!(", {} not sent in time", human_count(work.messages_not_sent_in_time));
    }
    if work.messages_never_sent > 0 {
        text += &format!(" ({} never)", human_count(work.messages_never_sent));
    }
    text
}

fn churned(churn: &Churned) -> String {
    let mut text = format!(
        "{} cycles/s; {} closed, {} opened in their place",
        number(churn.cycles_per_second),
        human_count(churn.closed),
        human_count(churn.reopened)
    );
    for (count, name) in [
        (churn.failed, "lost"),
        (churn.not_begun, "not begun in time"),
        (churn.waits_for_a_port, "waits for a port"),
    ] {
        if count > 0 {
            text += &format!(", {} {name}", human_count(count));
        }
    }
    text
}

/// How long those that came took, and what those that went left behind.
fn reconnects(churn: &Churned) -> Option<String> {
    let of = &churn.latency_us;
    let times = [("connect", &of.connect), ("echo", &of.first_echo)];
    let mut rows: Vec<String> = times.into_iter().filter_map(|(name, times)| figures(name, times)).collect();
    let left = [("the swarm", churn.time_wait_client_peak), ("the server", churn.time_wait_server_peak)];
    for (whose, peak) in left {
        if let Some(peak) = peak.filter(|peak| *peak > 0) {
            rows.push(format!("up to {} in TIME_WAIT at {whose}", human_count(peak)));
        }
    }
    (!rows.is_empty()).then(|| rows.join("; "))
}

fn streamed(stream: &Streamed) -> String {
    let share = (stream.viewers > 0).then(|| stream.whole as f64 / stream.viewers as f64);
    let mut text = format!(
        "{} of {} streams whole ({}), {} viewers stalled, {}",
        human_count(stream.whole),
        human_count(stream.viewers),
        percent(share),
        human_count(stream.stalled_viewers),
        with_unit(stream.bits_per_second.map(|bits| bits / 1e6), "Mbit/s")
    );
    if stream.wrong > 0 {
        text += &format!(", {} WRONG", human_count(stream.wrong));
    }
    if let Some(start) = figures("start", &stream.start_up_us) {
        text += &format!("; {start}");
    }
    text
}

fn fanned_out(fanout: &FannedOut) -> String {
    let mut text =
        format!("{} rounds to {} receivers", human_count(fanout.rounds), human_count(fanout.receivers));
    if fanout.missing > 0 {
        text += &format!(", {} receipts MISSING", human_count(fanout.missing));
    }
    for (name, summary) in
        [("median receiver", &fanout.median_receiver_us), ("last receiver", &fanout.last_receiver_us)]
    {
        text += &figures(name, summary).map_or_else(String::new, |figures| format!("; {figures}"));
    }
    text
}

/// The median and the 99th percentile; nothing where nothing was measured.
pub(super) fn figures(name: &str, summary: &LatencySummary) -> Option<String> {
    (summary.count > 0).then(|| format!("{name} p50 {}, p99 {}", latency(summary.p50), latency(summary.p99)))
}
