//! The flags of `c10k-lab run`.

use std::path::PathBuf;

use c10k_record::{Protocol, Quantity, ServerMode, Topology};
use c10k_swarm::LoadArgs;
use clap::Args;

use crate::say::color::Color;
use crate::stage::Stage;

/// `c10k-lab run`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RunArgs {
    /// A plan to repeat: the plan.toml of an earlier run. Flags change what they name.
    pub(crate) plan: Option<PathBuf>,
    /// A shipped profile (stock, tuned, diary, c1m) or the path of one [default: tuned; none on a server that runs
    /// already].
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
    /// Where the two ends stand [default: loopback].
    #[arg(long, value_name = "TOPOLOGY")]
    pub(crate) topology: Option<Topology>,
    /// What is spoken over TCP: raw, or ws (WebSocket) [default: raw].
    #[arg(long, value_name = "raw|ws")]
    pub(crate) protocol: Option<Protocol>,
    /// What the server does with bytes: echo, or hold (read and discard, with --no-probe) [default: echo].
    #[arg(long, value_name = "echo|hold")]
    pub(crate) mode: Option<ServerMode>,
    /// Workers of the server that accept at a time [default: one a core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) server_workers: Option<u32>,
    /// The most connections the server takes [default: as many as the host allows].
    #[arg(long, value_name = "N")]
    pub(crate) max_connections: Option<Quantity>,
    /// Watch the server with this process id instead of starting one: the run takes place where the lab is started,
    /// and nothing is set.
    #[arg(long, value_name = "PID", conflicts_with_all = ["topology", "mode", "server_workers", "max_connections"])]
    pub(crate) server_pid: Option<u32>,
    /// The same for the server that listens on this port.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..),
        conflicts_with_all = ["topology", "mode", "server_workers", "max_connections"])]
    pub(crate) server_port: Option<u16>,
    /// A verdict of the run, such as 'echo_p99 <= 20ms' or 'held >= 90%'; may be given several times. It is added to
    /// the defaults (held = target, failed <= 1%, echo_p95 <= 100ms, ghosts = 0) and replaces the one on the same
    /// metric.
    #[arg(long = "verdict", value_name = "EXPR")]
    pub(crate) verdicts: Vec<String>,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
    /// WebSocket: path and query to ask for [default: /].
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    /// WebSocket: a header of the request, 'Name: value'; may be given several times.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// WebSocket: offer this Sec-WebSocket-Protocol; may be given several times.
    #[arg(long = "subprotocol", value_name = "NAME")]
    pub(crate) subprotocols: Vec<String>,
    /// Where the folders of runs are made.
    #[arg(long, value_name = "FOLDER", default_value = "results")]
    pub(crate) results: PathBuf,
    /// Print the record as one JSON document on stdout at the end.
    #[arg(long)]
    pub(crate) json: bool,
    /// What stands in the way of the run, for `walls plant` and `climb`.
    #[arg(long, value_name = "JSON", hide = true, conflicts_with_all = ["server_pid", "server_port", "topology"])]
    pub(crate) stage: Option<Stage>,
    /// Colours on stderr.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}
