//! The vocabulary of a run.
//!
//! This room knows what a run is called and made of: the plan as data, the four counts, outcomes by errno,
//! samples, the memory account, verdicts, what a ceiling and a remedy look like, and how all of it is read
//! from and written to a run's folder, said line by line, or told to another machine. It refuses to know how anything is
//! measured, what a number means for the user, and what a page or a plot of it looks like; of showing it knows the few
//! lines that a swarm alone says too.
//!
//! What stands flat here is the vocabulary, and needs neither of the two that read and write: `io/` (a run's folder and
//! its files) and `talk/` (the lines by which programs say how they stand and are told what to do). `metrics/` is what
//! they tell to Prometheus, and `serve/` the small HTTP server by which. `control/` is what the two machines of one run say
//! to each other. `text/` is how numbers, names and command lines are written for people, and `tell/` the few lines that
//! a run is told in: the lab and a swarm alone say the same.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod baseline;
mod beside;
mod ceiling;
pub mod control;
pub mod counter;
mod counts;
mod drops;
mod evidence;
mod exit;
mod gap;
mod growth;
mod host;
mod in_force;
mod in_shards;
mod io;
mod latency;
mod memory;
mod met;
pub mod metrics;
mod outcome;
mod phase;
mod plan;
mod process;
mod record;
mod result;
mod sample;
#[cfg(test)]
mod schema;
pub mod serve;
mod server_report;
pub mod shard;
mod talk;
mod tell;
mod text;
mod two_hosts;
mod verdict;
mod version;
mod warning;
mod work;

pub use baseline::{Baseline, Compared};
pub use beside::not_comparable;
pub use ceiling::{Ceiling, Degree, Evidence, Predicted, Remedy, Scope, Setting, Side, WallFound, as_root};
pub use counter::CounterChange;
pub use counts::{AtServerEnd, Connections, Failure};
pub use drops::{DropCount, DropReasons, DroppedFor};
pub use evidence::{
    AgeBin, AgeHistogram, AgeSpread, BegunOrder, FirewallRules, Listeners, LossAges, LossOrder, Outgoing,
    RunEvidence, ServerWords, SilentSample,
};
pub use exit::Exit;
pub use gap::{Gap, GapOf};
pub use growth::{GrowthEvidence, GrowthStop, PortsInPlan};
pub use host::{Host, HostSnapshot};
pub use in_force::{AppliedSetting, NotApplied, ProfileInRun};
pub use in_shards::{InShards, LostPart, ShardPart};
pub use io::{
    FolderError, NO_ROOM, PlanError, RunFolder, SERVER_ACCOUNT, ShardFileError, partial_record_name,
    prepare_for_shard_result, read_record, read_shard_result, shard_file_name, shard_files, what_makes_room,
    write_meeting, write_shard_result, write_whole,
};
pub use latency::{Delayed, HistogramBounds, LATE_US, Latencies, LatencyHistogram, LatencySummary};
pub use memory::{HEAP, MemoryPart, MemoryPerConnection};
pub use met::MetOnTheWay;
pub use outcome::Outcome;
pub use phase::PhaseName;
pub use plan::{
    BitRate, ChurnClose, CloseHow, DEFAULT_PORT, LoadPlan, Payload, PhaseKind, PhasePlan, Plan, Protocol,
    Pushed, ServerMode, ServerPlan, Spread, Steps, Topology, WorkPlan, Workload,
};
pub use process::ProcessInRun;
pub use record::{ConnectRate, Cpu, PhaseTimes, Rate, Record, RunState, TimeWait, Tool, utc_now};
pub use result::RunResult;
pub use sample::{RampRow, Sample};
pub use serve::{HttpAddress, ListenError, Listening};
pub use server_report::ServerReport;
pub use talk::{Command, LiveCounts, Printer, ServerEvent, SwarmEvent, WorkTick, each_line};
pub use tell::{
    Bytes, Live, Messages, Style, Teller, Tone, brief, columns, headline, headline_and_path, notes,
    text_width, time_left, verdict_measured, verdict_value, what_is_higher, worked,
};
pub use text::{
    Hanging, Quantity, QuantityError, Span, UNKNOWN, bytes, clean, count, counted, fold, fold_command,
    human_bytes, human_count, latency, nearest, number, percent, printable, shell, short_count, whole,
    with_unit,
};
pub use two_hosts::{ClockAt, ClockLook, EndHost, TwoHosts};
pub use verdict::{
    Better, Condition, LatencyKind, Limit, MemoryOf, Metric, Operator, Percentile, Regression,
    RegressionError, Seen, Severity, Unit, Verdict, VerdictError, add_conditions, default_conditions,
    drop_default_on_echoes, judge,
};
pub use version::SCHEMA_VERSION;
pub use warning::Warning;
pub use work::{Churned, FannedOut, NamedPhase, Streamed, Worked, WorkedSlice};
