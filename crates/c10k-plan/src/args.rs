//! The flags of `c10k-lab run`.

use std::net::SocketAddr;
use std::path::PathBuf;

use c10k_record::{HttpAddress, Protocol, Quantity, ServerMode, Span, Topology, control, whole};
use c10k_swarm::{LoadArgs, WorkArgs};
use clap::Args;

use crate::beside::Beside;
use crate::say::color::Color;
use crate::ssh::SshArgs;
use crate::stage::Stage;

/// `c10k-lab run`.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// A plan: a file that says what differs from the defaults, or the plan.toml of an earlier run, or its folder; or a
    /// target, as 100k. Flags change what they name.
    #[arg(value_name = "PLAN|TARGET")]
    pub plan: Option<PathBuf>,
    /// A shipped profile (stock, tuned, diary, c1m) or the path of one [default: tuned; none on a server that runs
    /// already].
    #[arg(long, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// Where the two ends stand [default: loopback].
    #[arg(long, value_name = "TOPOLOGY")]
    pub topology: Option<Topology>,
    /// What is spoken over TCP: raw, or ws (WebSocket) [default: raw].
    #[arg(long, value_name = "raw|ws")]
    pub protocol: Option<Protocol>,
    /// What the server does with bytes: echo, or hold (read and discard, with --no-probe) [default: echo].
    #[arg(long, value_name = "echo|hold")]
    pub mode: Option<ServerMode>,
    /// Workers of the server that accept at a time [default: one a core].
    #[arg(long, value_name = "N", value_parser = whole(1..=1024_u32))]
    pub server_workers: Option<u32>,
    /// The most connections the server takes [default: as many as the host allows].
    #[arg(long, value_name = "N")]
    pub max_connections: Option<Quantity>,
    /// The same for the server with this process id.
    #[arg(long, value_name = "PID", conflicts_with_all = ["topology", "mode", "server_workers", "max_connections"])]
    pub server_pid: Option<u32>,
    /// Watch the server that listens on this port instead of starting one: the run takes place where the lab is started,
    /// and nothing is set.
    #[arg(long, value_name = "PORT", value_parser = whole(1..=u16::MAX),
        conflicts_with_all = ["topology", "mode", "server_workers", "max_connections"])]
    pub server_port: Option<u16>,
    /// The control port of the host on which the server stands: `c10k-lab serve --control` there, or `c10k-collector --serve`
    /// beside a server that runs by itself. The run is one of two hosts, and its record has both (topology remote).
    #[arg(long, value_name = "ADDRESS:PORT",
        conflicts_with_all = ["server_pid", "server_port", "server_workers", "max_connections", "ssh"])]
    pub control: Option<SocketAddr>,
    /// A file with the token of the control port. It is never shown or recorded [default: what C10K_TOKEN says].
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How long the control port may take for each answer before the run has begun, 1s to 5m [default: 5s]. While it goes on
    /// the far end's own --lease says how long.
    #[arg(long, value_name = "TIME", value_parser = control::control_timeout)]
    pub control_timeout: Option<Span>,
    /// Go on where the program at the far end is of another build.
    #[arg(long)]
    pub any_build: bool,
    /// Where the server beside the control port is reached from here; the plan keeps it for a repeated run [default: where
    /// it says that it listens].
    #[arg(long, value_name = "ADDRESS:PORT", value_delimiter = ',', conflicts_with = "ssh")]
    pub server: Vec<SocketAddr>,
    /// A verdict of the run, such as 'echo_p99 <= 20ms' or 'held >= 90%'; may be given several times. It is added to
    /// the defaults (held = target, failed <= 1%, echo_p95 <= 100ms, ghosts = 0) and replaces the one on the same
    /// metric.
    #[arg(long = "verdict", value_name = "EXPR")]
    pub verdicts: Vec<String>,
    /// What the load is.
    #[command(flatten)]
    pub load: LoadArgs,
    /// What the connections do.
    #[command(flatten)]
    pub work: WorkArgs,
    /// WebSocket: path and query to ask for [default: /].
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// WebSocket: a header of the request, 'Name: value'; may be given several times.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// WebSocket: offer this Sec-WebSocket-Protocol; may be given several times.
    #[arg(long = "subprotocol", value_name = "NAME")]
    pub subprotocols: Vec<String>,
    /// Print the plan as it is resolved, each value with where it comes from, and end.
    #[arg(long, conflicts_with = "json")]
    pub print_plan: bool,
    /// Where the folders of runs are made.
    #[arg(long, value_name = "FOLDER", default_value = "results")]
    pub results: PathBuf,
    /// Print the record as one JSON document on stdout at the end.
    #[arg(long)]
    pub json: bool,
    /// All that the record has to say, instead of the few lines at the end.
    #[arg(long)]
    pub full: bool,
    /// Only the headline and the path of the record.
    #[arg(short, long, conflicts_with = "full")]
    pub quiet: bool,
    /// Show the run on a full screen while it goes on, instead of a line: counts over time, sockets, losses, memory,
    /// processors, the next walls. `q` and Ctrl-C stop it in order. For a terminal, without --quiet and --json.
    #[arg(long)]
    pub tui: bool,
    /// Serve the figures of the run to Prometheus, at http://ADDRESS:PORT/metrics of where the lab is started, outside of
    /// the run's namespace; a port alone is of 127.0.0.1, port 0 lets the kernel choose [default: off].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<HttpAddress>,
    /// Serve them on the socket that stdin is, for `climb`.
    #[arg(long, hide = true, conflicts_with = "metrics")]
    pub metrics_on_stdin: bool,
    /// Where the server is started over ssh.
    #[command(flatten)]
    pub ssh: SshArgs,
    /// The run that this one is compared with: not of a flag of this room.
    #[arg(skip)]
    pub beside: Option<Beside>,
    /// What stands in the way of the run, for `walls plant` and `climb`.
    #[arg(long, value_name = "JSON", hide = true, conflicts_with_all = ["server_pid", "server_port", "control", "ssh"])]
    pub stage: Option<Stage>,
    /// Colours on stderr.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
}
