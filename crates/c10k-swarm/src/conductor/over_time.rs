//! What a shard keeps over time, and whole, so that it can be added to what others kept.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use c10k_record::{LatencyHistogram, LiveCounts, PhaseKind, PhaseName, Sample};

use super::Conductor;
use crate::measured::Measured;
use crate::own_rss_bytes;
use crate::shard::Own;
use crate::workload::{Job, Talked};

/// So long ago, as ns since 1970.
pub(super) fn unix_ns_before(ago: Duration) -> Option<u64> {
    let at = SystemTime::now().checked_sub(ago)?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(at.as_nanos()).ok()
}

/// The latencies of a job by PHASE.KIND; `until_us` is the end of the phase, µs of CLOCK_MONOTONIC.
pub(super) fn by_kind(
    job: &Job,
    talked: &Talked,
    made: &Measured,
    until_us: u64,
) -> Vec<(String, LatencyHistogram)> {
    let none = LatencyHistogram::default();
    let is_fanout = job.kind == PhaseKind::Fanout;
    let receipts = talked.pushed.as_ref().filter(|_| is_fanout).map(|pushed| pushed.receipts(until_us));
    let mut kinds = vec![
        ("response", &talked.response),
        ("service", &talked.service),
        ("lateness", &talked.lateness),
        ("beat", talked.beats.as_deref().unwrap_or(&none)),
    ];
    if job.is_churn() {
        kinds.extend([
            ("connect", &made.connect),
            ("handshake", &made.handshake),
            ("first_echo", &made.first_echo),
        ]);
    }
    match &talked.pushed {
        Some(pushed) if job.kind == PhaseKind::Stream => {
            kinds.extend([("stall", &pushed.stall), ("start_up", &pushed.start_up)]);
        }
        _ => kinds.extend(receipts.as_ref().map(|receipts| ("receipt", receipts))),
    }
    let some = kinds.into_iter().filter(|(_, measured)| measured.count() > 0);
    some.map(|(kind, measured)| (format!("{}.{kind}", job.name), measured.clone())).collect()
}

impl Conductor<'_> {
    /// Keeps counts and latencies over time from now on, where a result of a shard is wanted.
    ///
    /// # Errors
    /// The path of a file that cannot be made, and why.
    pub(crate) fn keep_over_time(&mut self, own: &Own) -> Result<(), (PathBuf, io::Error)> {
        self.course.is_shard = true;
        let Some((rows, latencies)) = own.files_over_time() else { return Ok(()) };
        self.output.keep_rows_in(&rows).map_err(|error| (rows, error))?;
        if self.output.logs_intervals() {
            return Ok(());
        }
        self.output.log_intervals_to(&latencies).map_err(|error| (latencies, error))
    }

    /// A row of how it stands.
    pub(super) fn keep_row(
        &mut self,
        phase: PhaseName,
        elapsed_ms: u64,
        counts: &LiveCounts,
        connects_per_second: f64,
        messages_per_second: Option<f64>,
    ) {
        if !self.output.keeps_rows() {
            return;
        }
        self.output.row(&Sample {
            elapsed_ms,
            phase: phase.to_string(),
            attempted: Some(counts.attempted),
            established: Some(counts.established),
            verified: self.course.probe.then_some(counts.verified),
            open: Some(counts.open),
            failed: Some(counts.failed),
            connects_per_second: Some(connects_per_second),
            messages_per_second,
            swarm_rss_bytes: own_rss_bytes(),
            ..Sample::default()
        });
    }
}
