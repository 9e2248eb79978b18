//! A server's counts of one run, where the server outlives it.

use std::collections::BTreeMap;

use c10k_record::ServerReport;

/// What was counted since `first`. What stands at a moment (`open`, `tables`, `back_pressured`) stays, and `peak` is the
/// most that were seen open since then.
pub(super) fn since(report: &ServerReport, first: &ServerReport, peak: u64) -> ServerReport {
    ServerReport {
        elapsed_ms: report.elapsed_ms.saturating_sub(first.elapsed_ms),
        accepted: report.accepted.saturating_sub(first.accepted),
        opened: report.opened.map(|opened| opened.saturating_sub(first.opened.unwrap_or(0))),
        open: report.open,
        peak: peak.max(report.open),
        closed: report.closed.saturating_sub(first.closed),
        drained: report.drained.saturating_sub(first.drained),
        failed: grown(&report.failed, &first.failed),
        accept_errors: grown(&report.accept_errors, &first.accept_errors),
        paused: report.paused.saturating_sub(first.paused),
        bytes_in: report.bytes_in.saturating_sub(first.bytes_in),
        bytes_out: report.bytes_out.saturating_sub(first.bytes_out),
        tables: report.tables,
        back_pressured: report.back_pressured,
    }
}

/// Those that grew.
fn grown(now: &BTreeMap<String, u64>, first: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let growth = |(name, count): (&String, &u64)| {
        let growth = count.saturating_sub(first.get(name).copied().unwrap_or(0));
        (growth > 0).then(|| (name.clone(), growth))
    };
    now.iter().filter_map(growth).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_of_one_server_counts_from_nothing() {
        let counts = |pairs: [(&str, u64); 2]| pairs.map(|(name, count)| (name.to_owned(), count)).into();
        let first = ServerReport {
            accepted: 500,
            opened: Some(400),
            open: 3,
            peak: 490,
            failed: counts([("ECONNRESET", 7), ("EPIPE", 1)]),
            ..ServerReport::default()
        };
        let now = ServerReport {
            accepted: 1_200,
            opened: Some(900),
            open: 203,
            peak: 490,
            failed: counts([("ECONNRESET", 7), ("ETIMEDOUT", 2)]),
            bytes_in: 64,
            ..first.clone()
        };
        let seen = since(&now, &first, 350);
        assert_eq!((seen.accepted, seen.opened, seen.open, seen.peak), (700, Some(500), 203, 350));
        assert_eq!(seen.failed, BTreeMap::from([("ETIMEDOUT".to_owned(), 2)]));
        assert_eq!(seen.bytes_in, 64);
        assert_eq!(since(&first, &first, 0).peak, 3, "those that were there before are open too");
    }
}
