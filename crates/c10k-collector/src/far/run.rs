//! One run as the far end sees it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use c10k_kernel::namespace::Beside;
use c10k_record::control::unix_ns;
use c10k_record::{Host, RunEvidence, Sample, ServerReport};

use super::counted::since;
use super::rows::Rows;
use super::said::{Look, MOST_SETTLE_MS, Mark, Marked, Moment, ServerEnded, ThreadsLeft};
use crate::abroad::Abroad;
use crate::account::{EndsHere, account_of_ends};
use crate::collector::{Collector, CollectorConfig, CollectorError, ProcessSide};
use crate::levels::Levels;
use crate::link::LinkWatch;
use crate::observation::Observation;
use crate::per_end::PerEnd;
use crate::signs::Standstill;
use crate::snapshot::MemorySnapshot;

/// What the server said, whether just now, and how it ended, if it did.
#[derive(Clone, Debug, Default)]
pub(super) struct Word {
    pub(super) report: Option<ServerReport>,
    pub(super) is_fresh: bool,
    pub(super) end: Option<ServerEnded>,
}

/// Whom to watch.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) pid: Option<u32>,
    /// Others than that process may hold its connections, and nobody counts what it accepted.
    pub(super) is_foreign: bool,
    pub(super) listen: Vec<SocketAddr>,
    /// The process in whose network namespace it stands, where that is not this one.
    pub(super) elsewhere: Option<u32>,
}

impl Watched {
    /// A collector whose counts begin now.
    pub(super) fn collector(&self) -> Result<Collector, CollectorError> {
        let mut ports: Vec<u16> = self.listen.iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        Collector::new(CollectorConfig {
            server_pid: self.pid,
            finds_holders: self.is_foreign,
            ports,
            namespace_of: self.elsewhere,
            ..CollectorConfig::default()
        })
    }

    fn abroad(&self) -> Abroad {
        let elsewhere = self.elsewhere.and_then(|pid| Beside::of_process(pid).ok());
        Abroad::begin(&self.listen, PerEnd { server: elsewhere.as_ref(), client: Some(None) })
    }
}

/// What is watched of one run, from its beginning to its end.
pub(super) struct Run {
    collector: Collector,
    watched: Watched,
    /// The machine, with its limits at the beginning.
    pub(super) host: Host,
    begun: Instant,
    pub(super) begun_unix_ns: u64,
    /// Memory before the first connect.
    ready: MemorySnapshot,
    /// What the server had counted before.
    first: Option<ServerReport>,
    /// What it said last.
    last: Option<ServerReport>,
    peak_open: u64,
    pub(super) levels: Levels,
    link: LinkWatch,
    pub(super) rows: Rows,
    phase: &'static str,
    pub(super) marks: BTreeMap<Moment, Marked>,
    stall: Standstill<u64>,
    pub(super) accepted_stalled: bool,
    pub(super) open_before: Option<u64>,
    /// The kernel was still taking back memory.
    pub(super) is_unsettled: bool,
}

impl Run {
    /// Begins to watch.
    pub(super) fn begin(
        watched: Watched,
        host: Host,
        word: &Word,
        settle: Duration,
    ) -> Result<Self, CollectorError> {
        let mut collector = watched.collector()?;
        let is_unsettled = !collector.await_quiet(settle);
        let ready = collector.snapshot();
        let open_before = collector.established().0.server;
        let mut run = Self {
            host,
            begun: Instant::now(),
            begun_unix_ns: unix_ns(),
            ready,
            first: word.report.clone(),
            last: word.report.clone(),
            peak_open: word.report.as_ref().map_or(0, |report| report.open),
            levels: Levels::default(),
            link: LinkWatch::begin(devices(watched.elsewhere)),
            rows: Rows::default(),
            phase: "",
            marks: BTreeMap::new(),
            stall: Standstill::default(),
            accepted_stalled: false,
            open_before,
            is_unsettled,
            collector,
            watched,
        };
        run.look(word);
        Ok(run)
    }

    /// Whether a row is due.
    pub(super) fn is_due(&self) -> bool {
        self.rows.is_due(self.begun.elapsed())
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Looks now, and keeps a row where one is due.
    pub(super) fn look(&mut self, word: &Word) -> Look {
        let at = self.begun.elapsed();
        let seen = self.collector.tick();
        self.levels.look(&seen);
        self.link.look();
        let look = self.look_of(seen, word, at);
        self.look_for_a_stall(&look, at);
        if self.rows.is_due(at) {
            let mut row = Sample {
                elapsed_ms: look.elapsed_ms,
                phase: self.phase.to_owned(),
                accepted: look.report.as_ref().map(|report| report.accepted),
                ..Sample::default()
            };
            look.seen.fill(&mut row);
            self.rows.add(row);
        }
        look
    }

    fn look_of(&mut self, seen: Observation, word: &Word, at: Duration) -> Look {
        if let Some(report) = &word.report {
            self.peak_open = self.peak_open.max(report.open);
            self.last = Some(report.clone());
        }
        let none = ServerReport::default();
        let first = self.first.as_ref().unwrap_or(&none);
        Look {
            at_unix_ns: unix_ns(),
            elapsed_ms: at.as_millis() as u64,
            seen,
            report: self.last.as_ref().map(|report| since(report, first, self.peak_open)),
            report_is_fresh: word.is_fresh,
            link: self.link.narrowest(),
            server_end: word.end.clone(),
            ended_processes: self.collector.ended_processes().to_vec(),
        }
    }

    /// As the lab does of a server of its own: a full queue from which nobody is taken.
    fn look_for_a_stall(&mut self, look: &Look, at: Duration) {
        let Some(report) = &look.report else { return };
        let is_full = look.seen.listener.is_some_and(|listener| listener.is_full());
        self.accepted_stalled |= self.stall.look(is_full.then_some(report.accepted), at);
    }

    /// Looks closer; a moment that is marked again counts anew.
    pub(super) fn mark(&mut self, mark: &Mark, word: &Word) -> Marked {
        if mark.settle_ms > 0 {
            self.collector.await_quiet(Duration::from_millis(mark.settle_ms.min(MOST_SETTLE_MS)));
        }
        let now = self.collector.snapshot();
        let (_, census) = self.collector.established();
        let ends = EndsHere { server: mark.connections, client: mark.clients_here };
        let memory = (mark.moment == Moment::Hold).then(|| account_of_ends(&self.ready, &now, ends));
        let mut evidence = RunEvidence::default();
        if mark.moment == Moment::Proof {
            self.watched.abroad().servers_end(self.watched.is_foreign, &mut evidence);
        }
        let look = self.look(word);
        let processes = &look.seen.processes;
        let processes = processes.iter().map(|one| one.in_run(now.server.as_ref())).collect();
        self.phase = match mark.moment {
            Moment::Ready => "ramp",
            Moment::Hold => "hold",
            Moment::Proof => "close",
        };
        match mark.moment {
            Moment::Ready => self.ready = now,
            Moment::Hold => {}
            Moment::Proof => self.levels.close_begins(),
        }
        let marked = Marked {
            moment: mark.moment,
            established: census.as_ref().map(|census| census.server_side),
            not_accepted: census.as_ref().map(|census| census.not_accepted),
            memory,
            processes,
            evidence,
            look,
        };
        self.marks.insert(mark.moment, marked.clone());
        marked
    }

    /// Whether all processes of the server were found to have ended.
    pub(super) fn is_gone(&self) -> bool {
        self.collector.is_gone(ProcessSide::Server)
    }

    /// The pids cgroup that had the fewest threads left.
    pub(super) fn fewest_threads(&self) -> Option<ThreadsLeft> {
        let seen = self.collector.fewest_threads()?;
        let folder = seen.folder.as_ref().map(|folder| folder.display().to_string());
        Some(ThreadsLeft { max: seen.max, current: seen.current, folder })
    }

    /// The file with the quota that held the server back.
    pub(super) fn server_cpu_quota(&self) -> Option<String> {
        self.collector.server_cpu_quota()
    }

    /// What cannot be read here, in words.
    pub(super) fn unreadable(&self) -> Vec<String> {
        self.collector.unreadable().iter().map(ToString::to_string).collect()
    }
}

/// The devices of this network namespace but for loopback; none of another one.
fn devices(elsewhere: Option<u32>) -> Vec<(String, Option<Beside>)> {
    let names = match elsewhere {
        Some(_) => None,
        None => fs::read_dir("/sys/class/net").ok(),
    };
    let names = names.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name != "lo").map(|name| (name, None)).collect()
}
