//! The vocabulary of a run.
//!
//! This room knows what a run is called and made of: the plan as data, the four counts, outcomes by errno,
//! samples, the memory account, verdicts, what a ceiling and a remedy look like, and how all of it is read
//! from and written to a run's folder, or said line by line. It refuses to know how anything is measured, what a
//! number means for the user, or how it is shown.
//!
//! What stands flat here is the vocabulary, and needs neither of the two that read and write: `io/` (a run's folder and
//! its files) and `talk/` (the lines by which programs say how they stand and are told what to do). `text/` is how
//! numbers, names and command lines are written for people.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod ceiling;
pub mod counter;
mod counts;
mod evidence;
mod exit;
mod gap;
mod growth;
mod host;
mod io;
mod latency;
mod memory;
mod met;
mod outcome;
mod phase;
mod plan;
mod process;
mod record;
mod result;
mod sample;
mod server_report;
mod talk;
mod text;
mod verdict;
mod version;
mod warning;

pub use ceiling::{Ceiling, Degree, Evidence, Predicted, Remedy, Scope, Setting, Side, WallFound, as_root};
pub use counter::CounterChange;
pub use counts::{AtServerEnd, Connections, Failure};
pub use evidence::{
    AgeBin, AgeHistogram, AgeSpread, FirewallRules, Listeners, LossAges, LossOrder, Outgoing, RunEvidence,
    SilentSample,
};
pub use exit::Exit;
pub use gap::{Gap, GapOf};
pub use growth::{GrowthEvidence, GrowthStop, PortsInPlan};
pub use host::{Host, HostSnapshot};
pub use io::{FolderError, PlanError, RunFolder, partial_record_name, read_record, write_whole};
pub use latency::{Delayed, LATE_US, Latencies, LatencyHistogram, LatencySummary};
pub use memory::{MemoryPart, MemoryPerConnection};
pub use met::MetOnTheWay;
pub use outcome::Outcome;
pub use phase::PhaseName;
pub use plan::{
    CloseHow, DEFAULT_PORT, LoadPlan, Plan, Protocol, ServerMode, ServerPlan, Steps, Topology, Workload,
};
pub use process::ProcessInRun;
pub use record::{
    AppliedSetting, ConnectRate, Cpu, NotApplied, PhaseTimes, ProfileInRun, Rate, Record, RunState, TimeWait,
    Tool,
};
pub use result::RunResult;
pub use sample::Sample;
pub use server_report::ServerReport;
pub use talk::{Command, LiveCounts, Printer, ServerEvent, SwarmEvent, each_line};
pub use text::{Quantity, QuantityError, Span, human_bytes, human_count, nearest, shell, short_count};
pub use verdict::{
    Better, Condition, LatencyKind, Limit, Metric, Operator, Percentile, Unit, Verdict, VerdictError,
    add_conditions, default_conditions, drop_default_on_echoes, judge,
};
pub use version::SCHEMA_VERSION;
pub use warning::Warning;
