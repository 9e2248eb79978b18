//! The command line of the swarm.

use std::net::SocketAddr;
use std::path::PathBuf;

use c10k_record::{CloseHow, HttpAddress, LoadPlan, Plan, Protocol, Quantity, Span, Spread, Steps, whole};
use c10k_wire::ws::{ClientRequest, Url};
use clap::Args;

use crate::setup::SetupError;

mod meet;
mod shard;
mod work;

pub use meet::MeetArgs;
pub use shard::ShardArgs;
pub(crate) use shard::ShardArgsError;
pub(crate) use work::Freeze;
pub use work::WorkArgs;

/// What the load looks like; `c10k-lab run` has the same flags.
#[derive(Clone, Debug, Default, Args)]
pub struct LoadArgs {
    /// Connections to hold: 5000, 100k, 1M [10k]
    #[arg(
        long, value_name = "N", short_alias = 'n', aliases = ["connections", "max"], allow_hyphen_values = true,
        long_help = "Connections to hold: 5000, 10,000, 100k, 1M, 1e6 [default: 100k of c10k-lab run, 10k of c10k-swarm]"
    )]
    pub target: Option<Quantity>,
    /// Source addresses [of 127.0.0.0/8, as needed]
    #[arg(
        long,
        value_name = "LIST",
        long_help = "Source addresses: 192.168.1.200-230, 127.0.0.1-127.0.0.8, 10.0.0.0/24, ::1, joined by commas [default: \
            as many of 127.0.0.0/8 as the target needs]"
    )]
    pub ips: Option<String>,
    /// Source ports, such as 1024-65535 [default: net.ipv4.ip_local_port_range].
    #[arg(hide_short_help = true, long, value_name = "FIRST-LAST")]
    pub ports: Option<String>,
    /// Connects a second [as fast as they succeed]
    #[arg(
        long, value_name = "N/s", value_parser = rate,
        long_help = "Begin N connections a second, timed from the intended start [default: as fast as --in-flight allows]"
    )]
    pub rate: Option<f64>,
    /// How connects are spread over time: even (equal gaps with --rate), burst (all at once) or poisson (random gaps,
    /// --rate is their mean) [default: even].
    #[arg(hide_short_help = true, long, value_name = "HOW")]
    pub arrivals: Option<Spread>,
    /// What random gaps and the sizes of a range of payload are made of: the same seed gives the same [default: of gaps 1].
    #[arg(hide_short_help = true, long, value_name = "N")]
    pub seed: Option<u64>,
    /// Grow in steps, such as 5000x4
    #[arg(long, value_name = "SIZExCOUNT", long_help = "Grow in steps, such as 5000x4: four steps of 5,000")]
    pub steps: Option<Steps>,
    /// Pause after each step but the last [default: 1s].
    #[arg(hide_short_help = true, long, value_name = "DURATION", alias = "pause")]
    pub step_pause: Option<Span>,
    /// How long to hold them [10s]
    #[arg(
        long,
        value_name = "DURATION",
        visible_alias = "duration",
        allow_hyphen_values = true,
        long_help = "How long to hold the connections, and how long a workload lasts [default: 10s]"
    )]
    pub hold: Option<Span>,
    /// Connections under way at one time [default: 512].
    #[arg(hide_short_help = true, long, value_name = "N", value_parser = whole(LoadPlan::IN_FLIGHT))]
    pub in_flight: Option<u32>,
    /// How long a connect may take [default: 15s].
    #[arg(hide_short_help = true, long, value_name = "DURATION")]
    pub connect_timeout: Option<Span>,
    /// WebSocket: how long the handshake may take once connected [default: 10s].
    #[arg(hide_short_help = true, long, value_name = "DURATION")]
    pub handshake_timeout: Option<Span>,
    /// How long an echo may take [default: 15s].
    #[arg(hide_short_help = true, long, value_name = "DURATION")]
    pub probe_timeout: Option<Span>,
    /// WebSocket: ping every connection so often in the hold, and lose those from which nothing has come until the next
    /// ping; at least 100ms, 0 = never [default: 0].
    #[arg(hide_short_help = true, long, value_name = "DURATION")]
    pub ping_every: Option<Span>,
    /// Size of a probe in bytes [default: 64].
    #[arg(hide_short_help = true, long, value_name = "BYTES", value_parser = whole(LoadPlan::PROBE_BYTES))]
    pub probe_bytes: Option<u16>,
    /// For servers that do not echo
    #[arg(
        long,
        long_help = "Send no probes: for servers that do not echo. Nothing is verified then, and held means still open"
    )]
    pub no_probe: bool,
    /// Go on where the target is beyond a wall that this machine is known to have (memory, fs.file-max, epoll's
    /// watches); without it that is refused.
    #[arg(hide_short_help = true, long)]
    pub force: bool,
    /// Workers that connect at a time [default: one a core].
    #[arg(hide_short_help = true, long, value_name = "N", value_parser = whole(1..=1024_u32))]
    pub workers: Option<u32>,
    /// fin (leaves TIME_WAIT) or rst [fin]
    #[arg(
        long,
        value_name = "HOW",
        long_help = "How connections are ended: fin (in good order, leaves TIME_WAIT) or rst [default: fin]"
    )]
    pub close: Option<CloseHow>,
}

/// `1000/s` or `1000`: connections a second, above 0.
fn rate(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let parsed = number.parse::<Quantity>().ok().map(|Quantity(count)| count as f64);
    parsed
        .filter(|rate| *rate > 0.0)
        .ok_or_else(|| format!("'{text}' is not a rate: expected connections a second, such as 5000/s"))
}

impl LoadArgs {
    /// These flags over `base`, and the target they ask for (`default_target` when they ask for none).
    ///
    /// # Errors
    /// One line when the target is 0 or contradicts the steps, or a number is none that a swarm takes.
    pub fn resolve(&self, base: &LoadPlan, default_target: u64) -> Result<(u64, LoadPlan), String> {
        let steps = self.steps.or(base.steps);
        let target = match (self.target, self.steps) {
            (Some(Quantity(target)), Some(steps)) if steps.total() != target => {
                return Err(format!(
                    "--target {target} and --steps {steps} contradict each other: the steps make {}",
                    steps.total()
                ));
            }
            (_, Some(steps)) => steps.total(),
            (Some(Quantity(target)), None) => target,
            (None, None) => match base.steps {
                Some(steps) if steps.total() != default_target => {
                    return Err(format!(
                        "the plan's target {default_target} and its steps {steps} contradict each other: the steps \
                         make {}",
                        steps.total()
                    ));
                }
                _ => default_target,
            },
        };
        if target == 0 {
            return Err("--target 0 holds nothing: expected at least 1".to_owned());
        }
        if target > u64::from(u32::MAX) {
            return Err(format!(
                "--target {target} is more than one box can number: expected at most 4294967295"
            ));
        }
        let base = base.clone();
        let load = LoadPlan {
            ips: self.ips.clone().or(base.ips),
            ports: self.ports.clone().or(base.ports),
            rate_per_second: self.rate.or(base.rate_per_second),
            arrivals: self.arrivals.unwrap_or(base.arrivals),
            seed: self.seed.or(base.seed),
            // A target on the command line replaces the steps of a plan.
            steps: steps.filter(|steps| steps.total() == target),
            step_pause: self.step_pause.unwrap_or(base.step_pause),
            hold: self.hold.unwrap_or(base.hold),
            in_flight: self.in_flight.unwrap_or(base.in_flight),
            connect_timeout: self.connect_timeout.unwrap_or(base.connect_timeout),
            handshake_timeout: self.handshake_timeout.unwrap_or(base.handshake_timeout),
            probe_timeout: self.probe_timeout.unwrap_or(base.probe_timeout),
            ping_every: self.ping_every.or(base.ping_every).filter(|every| !every.0.is_zero()),
            probe_bytes: self.probe_bytes.unwrap_or(base.probe_bytes),
            probe: base.probe && !self.no_probe,
            workers: self.workers.or(base.workers),
            close: self.close.unwrap_or(base.close),
            path: base.path,
            headers: base.headers,
            subprotocols: base.subprotocols,
        };
        load.check()?;
        Ok((target, load))
    }
}

/// What a WebSocket swarm asks its server for.
#[derive(Clone, Debug, Default, Args)]
pub struct WsArgs {
    /// Where to connect: ws://HOST[:PORT][/PATH]
    #[arg(
        help_heading = "WebSocket",
        long,
        value_name = "URL",
        long_help = "Where to connect: ws://HOST[:PORT][/PATH]"
    )]
    pub url: Option<String>,
    /// A header, 'Name: value'; repeatable
    #[arg(
        help_heading = "WebSocket",
        long = "header",
        value_name = "NAME: VALUE",
        long_help = "A header of the request, 'Name: value'; may be given several times"
    )]
    pub headers: Vec<String>,
    /// Offer this Sec-WebSocket-Protocol; may be given several times.
    #[arg(hide_short_help = true, help_heading = "WebSocket", long = "subprotocol", value_name = "NAME")]
    pub subprotocols: Vec<String>,
}

impl WsArgs {
    /// The request that opens every connection; `None` for raw bytes.
    pub(crate) fn request(
        &self,
        protocol: Protocol,
        servers: &[SocketAddr],
        load: &LoadPlan,
    ) -> Result<Option<ClientRequest>, SetupError> {
        let headers = if self.headers.is_empty() { &load.headers } else { &self.headers };
        let subprotocols = if self.subprotocols.is_empty() { &load.subprotocols } else { &self.subprotocols };
        if protocol == Protocol::Raw {
            let none_is_used = headers.is_empty()
                && subprotocols.is_empty()
                && load.path.is_none()
                && load.ping_every.is_none();
            return if none_is_used { Ok(None) } else { Err(SetupError::Usage(ONLY_WS.to_owned())) };
        }
        let text = match &self.url {
            Some(url) => url.clone(),
            None => format!("ws://{}{}", servers[0], load.path.as_deref().unwrap_or("/")),
        };
        let headers: Vec<(String, String)> = headers
            .iter()
            .map(|header| {
                let split = header.split_once(':').ok_or_else(|| {
                    SetupError::Usage(format!("'{header}' is not a header: expected 'Name: value'"))
                })?;
                Ok((split.0.trim().to_owned(), split.1.trim().to_owned()))
            })
            .collect::<Result<_, SetupError>>()?;
        let made = Url::parse(&text).and_then(|url| ClientRequest::new(&url, subprotocols, &headers));
        made.map(Some).map_err(|error| SetupError::Usage(error.to_string()))
    }
}

const ONLY_WS: &str =
    "--header, --subprotocol and --ping-every are WebSocket's: expected --protocol ws or --url with them";

/// `c10k-swarm`: connect from many sources, prove every connection, hold, prove again, count honestly.
#[derive(Clone, Debug, Args)]
pub struct SwarmArgs {
    /// What stands by itself is refused with the flag that it belongs behind.
    #[arg(value_name = "SERVER", hide = true, value_parser = by_itself)]
    pub by_itself: Option<String>,
    /// A plan, such as the plan.toml of a run
    #[arg(
        long,
        value_name = "FILE",
        long_help = "A plan to carry out, such as the plan.toml of a run; flags stand above what it says"
    )]
    pub plan: Option<PathBuf>,
    /// The load.
    #[command(flatten)]
    pub load: LoadArgs,
    /// What they do while they are held.
    #[command(flatten)]
    pub work: WorkArgs,
    /// Which part of a run is this swarm's.
    #[command(flatten)]
    pub shard: ShardArgs,
    /// Where the shards meet.
    #[command(flatten)]
    pub meet: MeetArgs,
    /// Add --ips to this device for the run
    #[arg(
        long,
        value_name = "DEV",
        requires = "ips",
        long_help = "Add those of --ips that are missing to this device for the time of the run (takes CAP_NET_ADMIN), and \
            remove exactly those however it ends"
    )]
    pub add_ips: Option<String>,
    /// Remove the addresses that a killed swarm with --add-ips has left in this network namespace, and end.
    #[arg(hide_short_help = true, long, conflicts_with_all = ["add_ips", "events", "json", "hlog"])]
    pub remove_ips: bool,
    /// HOST:PORT or HOST:FIRST-LAST [127.0.0.1:9000]
    #[arg(
        long,
        value_name = "HOST:PORTS",
        long_help = "The servers: HOST:PORT or HOST:FIRST-LAST, joined by commas [default: 127.0.0.1:9000, or the URL's]"
    )]
    pub server: Option<String>,
    /// raw, or ws (WebSocket) [raw]
    #[arg(
        long,
        value_name = "raw|ws",
        long_help = "What is spoken over TCP: raw, or ws (WebSocket) [default: raw, or ws with --url]"
    )]
    pub protocol: Option<Protocol>,
    /// WebSocket.
    #[command(flatten)]
    pub ws: WsArgs,
    /// stock, tuned, diary, c1m or a file [stock]
    #[arg(
        long,
        value_name = "PROFILE",
        long_help = "A shipped profile (stock, tuned, diary, c1m) or the path of one [default: stock]"
    )]
    pub profile: Option<String>,
    /// Apply nothing of the profile, only say what differs.
    #[arg(hide_short_help = true, long)]
    pub no_apply: bool,
    /// Keep all connections in the process's one descriptor table, as most programs do, so that RLIMIT_NOFILE is
    /// their limit.
    #[arg(hide_short_help = true, long)]
    pub one_table: bool,
    /// JSON lines on stdout, commands on stdin
    #[arg(
        long,
        long_help = "Write JSON lines on stdout (ready, phase, tick, verified, done) and take commands as lines on stdin \
            (grow N, shrink N, verify, work NAME, work NAME N/s, now, stop)"
    )]
    pub events: bool,
    /// With --events: begin with no connection and do only what stdin says, until `stop`; --target is what
    /// the swarm must be ready for.
    #[arg(hide_short_help = true, long, requires = "events")]
    pub commanded: bool,
    /// One JSON document on stdout at the end
    #[arg(
        long,
        conflicts_with = "events",
        long_help = "Print exactly one JSON document on stdout at the end"
    )]
    pub json: bool,
    /// Only the headline at the end; errors are said.
    #[arg(short, long, conflicts_with = "events")]
    pub quiet: bool,
    /// Figures for Prometheus [off]
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        long_help = "Serve figures to Prometheus, at http://ADDRESS:PORT/metrics; a port alone is of 127.0.0.1, port 0 lets \
            the kernel choose [default: off]"
    )]
    pub metrics: Option<HttpAddress>,
    /// Write an HdrHistogram interval log of the latencies to this file.
    #[arg(hide_short_help = true, long, value_name = "FILE")]
    pub hlog: Option<PathBuf>,
    /// For tests: AFTER,LONG: the first worker stands still for LONG so long after its work has begun.
    #[arg(long, value_name = "AFTER,LONG", hide = true)]
    pub freeze_worker: Option<Freeze>,
    /// End when the process with this id, which must be the parent, ends.
    #[arg(long, value_name = "PID", hide = true)]
    pub parent: Option<u32>,
    /// Charge per-user kernel limits (such as epoll watches) to this uid; capabilities are kept. It takes CAP_SETUID.
    #[arg(long, value_name = "UID", hide = true)]
    pub counted_as: Option<u32>,
}

impl SwarmArgs {
    /// These flags above what a plan says; its load stands below [`LoadArgs::resolve`].
    pub(crate) fn over(&self, plan: &Plan) -> Self {
        let mut args = self.clone();
        if args.ws.url.is_none() {
            args.protocol = args.protocol.or(Some(plan.protocol));
            let servers: Vec<String> = plan.server.listen.iter().map(ToString::to_string).collect();
            args.server = args.server.or_else(|| Some(servers.join(",")));
        }
        args.profile = args.profile.or_else(|| Some(plan.profile.clone()));
        args
    }

    /// Its profile.
    pub(crate) fn profile(&self) -> &str {
        self.profile.as_deref().unwrap_or("stock")
    }

    /// What is spoken.
    pub(crate) fn protocol(&self) -> Protocol {
        let implied = if self.ws.url.is_some() { Protocol::Ws } else { Protocol::Raw };
        self.protocol.unwrap_or(implied)
    }

    /// The servers as a text: `--server`, else the URL's host and port.
    pub(crate) fn server_text(&self) -> Result<String, SetupError> {
        if let Some(server) = &self.server {
            return Ok(server.clone());
        }
        let Some(url) = &self.ws.url else { return Ok(DEFAULT_SERVER.to_owned()) };
        let url = Url::parse(url).map_err(|error| SetupError::Usage(error.to_string()))?;
        let host = url.host();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Ok(format!("{host}:{}", url.port()))
    }
}

/// A word without a flag before it.
fn by_itself(word: &str) -> Result<String, String> {
    Err(match word {
        url if url.contains("://") => format!("a URL stands behind its flag: expected --url {url}"),
        server if server.contains(':') => {
            format!("a server stands behind its flag: expected --server {server}")
        }
        _ => "it stands by itself: expected flags alone, such as --server HOST:PORT or --target N".to_owned(),
    })
}

/// Where a swarm connects that is not told where.
const DEFAULT_SERVER: &str = "127.0.0.1:9000";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_make_the_target_and_must_not_contradict_it() {
        let steps = Some(Steps { size: 5000, count: 4 });
        let args = LoadArgs { steps, ..LoadArgs::default() };
        assert_eq!(args.resolve(&LoadPlan::default(), 7).expect("steps alone").0, 20_000);
        let args = LoadArgs { steps, target: Some(Quantity(9)), ..LoadArgs::default() };
        assert!(args.resolve(&LoadPlan::default(), 7).expect_err("contradiction").contains("20000"));
    }

    #[test]
    fn a_target_on_the_command_line_replaces_the_steps_of_a_plan() {
        let base = LoadPlan { steps: Some(Steps { size: 5, count: 2 }), ..LoadPlan::default() };
        let args = LoadArgs { target: Some(Quantity(9)), ..LoadArgs::default() };
        let (target, plan) = args.resolve(&base, 10).expect("a target");
        assert_eq!((target, plan.steps), (9, None));
        let (target, plan) = LoadArgs::default().resolve(&base, 10).expect("the plan's own");
        assert_eq!((target, plan.steps), (10, base.steps));
    }

    #[test]
    fn a_target_of_nothing_is_refused() {
        let args = LoadArgs { target: Some(Quantity(0)), ..LoadArgs::default() };
        assert!(args.resolve(&LoadPlan::default(), 7).is_err());
    }

    #[test]
    fn each_timeout_is_its_own_and_none_is_longer_than_a_step_is_timed() {
        const SHORT: Span = Span::secs(3);
        let plan = |args: LoadArgs| args.resolve(&LoadPlan::default(), 7).map(|(_, plan)| plan);
        let of_handshake =
            plan(LoadArgs { handshake_timeout: Some(SHORT), ..LoadArgs::default() }).expect("a plan");
        let default = LoadPlan { handshake_timeout: SHORT, ..LoadPlan::default() };
        assert_eq!(of_handshake, default);
        let of_connect =
            plan(LoadArgs { connect_timeout: Some(SHORT), ..LoadArgs::default() }).expect("a plan");
        assert_eq!(of_connect.handshake_timeout, Span::secs(10));
        let long = Some(Span(LoadPlan::LONGEST_TIMEOUT.0 + std::time::Duration::from_millis(1)));
        let error = plan(LoadArgs { handshake_timeout: long, ..LoadArgs::default() }).expect_err("too long");
        assert!(error.starts_with("handshake_timeout = 1800001ms is longer"), "{error}");
    }

    #[test]
    fn a_rate_reads_with_and_without_its_unit() {
        assert_eq!(rate("5000/s"), Ok(5000.0));
        assert_eq!(rate("5k"), Ok(5000.0));
        assert!(rate("0").is_err() && rate("fast").is_err() && rate("-3/s").is_err());
    }
}
