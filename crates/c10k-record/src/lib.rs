//! The vocabulary of a run.
//!
//! This room knows what a run is called and made of: the plan as data, the four counts, outcomes by errno,
//! samples, the memory account, verdicts, what a ceiling and a remedy look like, and how all of it is read
//! from and written to a run's folder, or said line by line. It refuses to know how anything is measured, what a
//! number means for the user, or how it is shown.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod ceiling;
pub mod counter;
mod counts;
mod events;
mod evidence;
mod exit;
mod folder;
mod growth;
mod host;
mod latency;
mod lines;
mod memory;
mod nearest;
mod outcome;
mod plan;
mod quantity;
mod record;
mod result;
mod sample;
pub mod shell;
mod verdict;
mod warning;
mod whole;

pub use ceiling::{Ceiling, Degree, Evidence, Predicted, Remedy, Scope, Setting, Side, WallFound, as_root};
pub use counter::CounterChange;
pub use counts::{AtServerEnd, Connections, Failure};
pub use events::{Command, LiveCounts, PhaseName, ServerEvent, ServerReport, SwarmEvent};
pub use evidence::{
    AgeBin, AgeHistogram, AgeSpread, FirewallRules, Listeners, LossAges, LossOrder, Outgoing, RunEvidence,
    SilentSample,
};
pub use exit::Exit;
pub use folder::{FolderError, RunFolder, partial_record_name, read_record};
pub use growth::{GrowthEvidence, GrowthStop, PortsInPlan};
pub use host::{Host, HostSnapshot};
pub use latency::{Latencies, LatencyHistogram, LatencySummary};
pub use lines::{Printer, each_line};
pub use memory::{MemoryPart, MemoryPerConnection};
pub use nearest::nearest;
pub use outcome::Outcome;
pub use plan::{
    CloseHow, DEFAULT_PORT, LoadPlan, Plan, PlanError, Protocol, ServerMode, ServerPlan, Steps, Topology,
    Workload,
};
pub use quantity::{Quantity, QuantityError, Span, human_bytes, human_count, short_count};
pub use record::{
    AppliedSetting, ConnectRate, Cpu, NotApplied, PhaseTimes, ProfileInRun, Rate, Record, RunState,
    SCHEMA_VERSION, TimeWait, Tool,
};
pub use result::RunResult;
pub use sample::Sample;
pub use verdict::{
    Better, Condition, LatencyKind, Limit, Metric, Operator, Percentile, Unit, Verdict, VerdictError,
    add_conditions, default_conditions, drop_default_on_echoes, judge,
};
pub use warning::Warning;
pub use whole::write_whole;
