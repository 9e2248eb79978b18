//! Processor time, phase by phase: what broke in one phase is not explained by another.

use serde::{Deserialize, Serialize};

/// Processor time in one phase of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PhaseLoad {
    /// The server's.
    pub server: Option<CpuLoad>,
    /// The swarm's.
    pub swarm: Option<CpuLoad>,
    /// That of the machine that both ends stand on.
    pub machine: Option<MachineLoad>,
}

/// Processor time of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuLoad {
    /// What it used, cores.
    pub used_cores: f64,
    /// The most it could use, cores: its workers, or the processors it may run on, whichever are fewer.
    pub most_cores: f64,
}

impl CpuLoad {
    /// Whether it used all it could.
    #[must_use]
    pub fn is_at_its_most(self) -> bool {
        self.most_cores > 0.0 && self.used_cores >= 0.95 * self.most_cores
    }
}

/// Processor time of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MachineLoad {
    /// The processors that the ends may run on.
    pub processors: u64,
    /// Of these, what nobody used, cores.
    pub idle_cores: f64,
    /// In softirq on the whole host, cores. Where the kernel accounts by ticks the process that was interrupted is charged
    /// with it too.
    pub softirq_cores: f64,
}

impl PhaseLoad {
    /// What both ends and the kernel's work for them used, cores; `None` where one of them is not known.
    pub(crate) fn of_both_ends(&self) -> Option<f64> {
        Some(self.server?.used_cores + self.swarm?.used_cores + self.machine?.softirq_cores)
    }

    /// The machine's, where nothing of it was left and it was both ends together that used it.
    pub(crate) fn shared_out(&self) -> Option<MachineLoad> {
        let processors = self.machine?.processors as f64;
        let is_full = self.machine?.idle_cores <= 0.05 * processors;
        let is_theirs = self.of_both_ends()? >= 0.9 * processors;
        self.machine.filter(|_| processors > 0.0 && is_full && is_theirs)
    }
}
