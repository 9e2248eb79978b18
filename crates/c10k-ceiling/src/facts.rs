//! What more than one wall asks of a run.

use c10k_record::{Delayed, Evidence, Side, counted};

use crate::counter;
use crate::findings::{Findings, ServerEnd};
use crate::wall::{Met, seen};

/// Outcomes of connections that the server has and does not answer.
pub(crate) const SILENT: [&str; 2] = ["probe-timeout", "unproven"];

/// Whether the queue filled because nobody accepts, and not because the server could take no more.
pub(crate) fn stopped_accepting(findings: &Findings) -> bool {
    let asleep = || {
        let stopped = findings.server_process.as_ref().is_some_and(|process| process.stopped);
        // A process may be stopped for a moment and go on: what counts is that connections got no answer.
        stopped && (findings.unanswered().is_some() || findings.lost(&SILENT).is_some())
    };
    // One of several listeners is full to the last, and at another nobody waits: its process takes none.
    let one_is_full = || {
        let seen = findings.evidence.listeners;
        seen.is_some_and(|seen| seen.full > 0 && seen.waited_at < seen.count)
            && findings.lost(&SILENT).is_some()
    };
    (findings.accepted_stalled || asleep() || one_is_full())
        && findings.server_end.is_none()
        && !findings.server_full()
}

/// How often accept(2) failed with that errno, as evidence.
pub(crate) fn accept_error(errno: &str, count: u64) -> Evidence {
    let text = format!("accept4() failed {} with {errno}", counted(count, "time"));
    seen(errno, Side::Server, Some(count), text)
}

/// How the server ended, as evidence.
pub(crate) fn end_evidence(end: ServerEnd) -> Evidence {
    let (source, value, text) = match end {
        ServerEnd::Exited(code) => ("exit code", Some(code), format!("the server exited with code {code}")),
        ServerEnd::Killed(signal) => {
            ("signal", Some(signal), format!("the server was killed by signal {signal}"))
        }
        ServerEnd::Gone => ("process", None, "the server's process is gone".to_owned()),
    };
    seen(source, Side::Server, value.and_then(|value| u64::try_from(value).ok()), text)
}

/// Whether the OOM killer, of the group or of the machine, ended a process of the run.
pub(crate) fn ended_by_memory(findings: &Findings) -> bool {
    ended_by_its_group(findings) || ended_by_the_machine(findings)
}

/// The group says so, or was gone before it could: then the host's own count says that somebody was killed, on a machine
/// that had memory left, and so for the limit of some group; and the server, which was killed, was in one that filled.
pub(crate) fn ended_by_its_group(findings: &Findings) -> bool {
    if let Some(moved) = findings.moved(counter::GROUP_OOM_KILLS) {
        return moved;
    }
    let filled = findings
        .host
        .cgroup_memory_bytes
        .zip(findings.counter(counter::GROUP_BYTES))
        .is_some_and(|(limit, charged)| charged.after >= limit / 2);
    was_killed(findings)
        && filled
        && memory_was_scarce(findings) == Some(false)
        && findings.grew(counter::OOM_KILLS).is_some()
}

/// The host's count of kills has those of every memory group in it, so it proves something only where the machine itself
/// had little memory left, and the server's own group is known to have ended nobody.
pub(crate) fn ended_by_the_machine(findings: &Findings) -> bool {
    was_killed(findings)
        && memory_was_scarce(findings) == Some(true)
        && findings.grew(counter::OOM_KILLS).is_some()
        && findings.stood_still(counter::GROUP_OOM_KILLS)
}

/// The OOM killer signs with SIGKILL.
fn was_killed(findings: &Findings) -> bool {
    matches!(findings.server_end, Some(ServerEnd::Killed(9) | ServerEnd::Gone))
        || findings.lost(&["worker-lost"]).is_some()
}

/// Whether the machine had little memory left; `None` where that is not known. MemAvailable counts the inodes and names of
/// sockets in, a quarter of what connections take.
fn memory_was_scarce(findings: &Findings) -> Option<bool> {
    let (total, lowest) = (findings.host.memory_total_bytes?, findings.lowest_memory_available_bytes?);
    Some(lowest < total / 3)
}

impl Findings {
    /// The late connects and the SYNs that were sent again, where there were both: what makes a connect wait for a SYN is
    /// told by the two together. No more of them waited for one than were sent again.
    pub(crate) fn waited_for_syns(&self) -> Option<(Delayed, u64)> {
        let late = self.latency_us.late.filter(|late| late.connects > 0)?;
        Some((late, self.grew(counter::SYN_RETRANSMITS)?))
    }

    /// Whether so few connects that waited for a SYN are what a busy machine or any link has now and then: fewer than ten, or than one in a
    /// thousand, which no percentile that is told shows.
    pub(crate) fn are_few(&self, late: u64) -> bool {
        late < 10 || late.saturating_mul(1000) < self.latency_us.connect.count
    }

    /// That a counter of drops grew and made connects wait: how often, with what was sent again.
    pub(crate) fn dropped_syns(&self, name: &str, side: Side, text: &str) -> Option<Met> {
        let times = self.grew(name)?;
        self.waited_for_syns()?;
        let mut evidence: Vec<_> = self.counter_evidence(name, side, text).into_iter().collect();
        let text = "SYNs that had to be sent again";
        evidence.extend(self.counter_evidence(counter::SYN_RETRANSMITS, Side::Swarm, text));
        Some(Met { times, evidence, delays: true })
    }
}
