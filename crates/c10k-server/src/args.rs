//! The command line: raw arguments that only parse.

mod push;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use c10k_record::{DEFAULT_PORT, HttpAddress, Plan, Protocol, Quantity, ServerMode, Span, whole};
use c10k_wire::raw::Answer;
use c10k_wire::ws::{Limits, ServerEnd, ServerPolicy};
use clap::{Args, ValueEnum};

use crate::listen::ListenSpec;
use crate::shared::Language;
use crate::speech::WsSettings;
use crate::start::StartError;

pub use push::{PushArgs, PushWorkload};

/// What a server can be told on its command line.
///
/// SIGINT, SIGTERM, SIGHUP and SIGQUIT end it in good order with exit code 0; a second one ends it at once, with
/// the report as it then stands and exit code 0 too. Where a setting of the host could not be put back it is 4.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// A plan to serve, such as the plan.toml of a run
    #[arg(
        long,
        value_name = "FILE",
        long_help = "A plan to serve, such as the plan.toml of a run; flags stand above what it says"
    )]
    pub plan: Option<PathBuf>,

    /// ADDRESS:PORT, or a port alone [127.0.0.1:9000]
    #[arg(
        long,
        alias = "port",
        value_name = "ADDRESSES",
        long_help = "Where to listen: ADDRESS:PORT, ADDRESS:FIRST-LAST, :PORTS for any IPv4 address, or a port alone for \
            127.0.0.1; several with commas. Port 0 lets the kernel choose [default: 127.0.0.1:9000]"
    )]
    pub listen: Option<ListenSpec>,

    /// stock, tuned, diary, c1m or a file [stock]
    #[arg(
        long,
        value_name = "PROFILE",
        long_help = "A shipped profile's name, or the path of a profile file [default: stock]"
    )]
    pub profile: Option<String>,

    /// Change nothing on this host: only say in what it differs from the profile
    #[arg(hide_short_help = true, long)]
    pub no_apply: bool,

    /// Workers that accept [one a core]
    #[arg(
        long, value_name = "N", value_parser = whole(1..=1024_u32),
        long_help = "Lanes: workers that accept at the same time, each with listeners of its own [default: one a core]"
    )]
    pub workers: Option<u32>,

    /// How workers are scheduled: batch lets one that is woken wait for its turn and take more at a time, other is
    /// the kernel's default; a policy chosen with chrt(1) stays
    #[arg(hide_short_help = true, long, value_enum, value_name = "batch|other", default_value_t = Scheduling::Batch, hide_possible_values = true)]
    pub scheduling: Scheduling,

    /// Burn so many nanoseconds of processor time for each connection that is accepted: a slowdown of known size, with
    /// which it is shown that a comparison finds one
    #[arg(long, value_name = "NS", hide = true, value_parser = whole(1..=1_000_000_000_u64))]
    pub burn_ns: Option<u64>,

    /// Keep all connections in the process's one descriptor table, as most servers do, so that RLIMIT_NOFILE
    /// is their limit
    #[arg(hide_short_help = true, long)]
    pub one_table: bool,

    /// raw, or ws (WebSocket) [raw]
    #[arg(
        long,
        value_name = "raw|ws",
        long_help = "What is spoken over TCP: raw, or ws (WebSocket, RFC 6455) [default: raw]"
    )]
    pub protocol: Option<Protocol>,

    /// What WebSocket clients may do
    #[command(flatten)]
    pub ws: WsArgs,

    /// echo, or hold (read and discard) [echo]
    #[arg(
        long,
        value_name = "echo|hold",
        long_help = "What to do with bytes: echo sends them back, hold reads and discards them [default: echo]"
    )]
    pub mode: Option<ServerMode>,

    /// What the server pushes by itself
    #[command(flatten)]
    pub push: PushArgs,

    /// Take no more than N at a time
    #[arg(
        long, value_name = "N", value_parser = at_least_one,
        long_help = "Take no more than N connections at a time; the others wait in the listeners' queues"
    )]
    pub max_connections: Option<Quantity>,

    /// How it stands, once a second
    #[arg(
        long,
        value_enum,
        value_name = "FORM",
        long_help = "Say once a second how it stands: json on stdout, text on stderr"
    )]
    pub stats: Option<StatsForm>,

    /// JSON lines on stdout, commands on stdin
    #[arg(
        long,
        conflicts_with = "json",
        long_help = "Write JSON lines on stdout (ready, tick, done) and take the commands `now` and `stop` on stdin"
    )]
    pub events: bool,

    /// Write one JSON document on stdout at the end
    #[arg(long)]
    pub json: bool,

    /// Figures for Prometheus [off]
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        long_help = "Serve figures to Prometheus, at http://ADDRESS:PORT/metrics; a port alone is of 127.0.0.1, port 0 lets \
            the kernel choose [default: off]"
    )]
    pub metrics: Option<HttpAddress>,

    /// How long the end may take
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "5s",
        long_help = "How long pending output may take to leave at the end"
    )]
    pub drain: Span,

    /// Close a connection whose peer has taken none of its pending output for so long; 0 = never
    #[arg(hide_short_help = true, long, value_name = "DURATION", default_value = "60s")]
    pub stall_timeout: Span,

    /// End when the process with this id, which started this one, ends
    #[arg(long, value_name = "PID", hide = true)]
    pub parent: Option<u32>,
}

/// What WebSocket clients may do; with --protocol raw it is refused.
#[derive(Args, Clone, Debug)]
pub struct WsArgs {
    /// Serve this path only; repeatable [any]
    #[arg(
        help_heading = "WebSocket",
        long = "path",
        value_name = "PATH",
        long_help = "Serve this path only; may be given several times [default: any]"
    )]
    pub paths: Vec<String>,

    /// Take this Sec-WebSocket-Protocol when a client offers it; may be given several times
    #[arg(hide_short_help = true, help_heading = "WebSocket", long = "subprotocol", value_name = "NAME")]
    pub subprotocols: Vec<String>,

    /// Refuse other Origins; repeatable [any]
    #[arg(
        help_heading = "WebSocket",
        long = "origin",
        value_name = "ORIGIN",
        long_help = "Refuse requests whose Origin is not this one; may be given several times [default: any]"
    )]
    pub origins: Vec<String>,

    /// The largest frame, bytes; over it Close 1009 [default: 1048576]
    #[arg(hide_short_help = true, help_heading = "WebSocket", long, value_name = "BYTES", value_parser = whole(125..=u32::MAX))]
    pub max_frame: Option<u32>,

    /// The largest message; over it Close 1009 [1048576]
    #[arg(
        help_heading = "WebSocket", long, value_name = "BYTES", value_parser = whole(125..=u32::MAX),
        long_help = "The largest message, bytes; over it Close 1009 [default: 1048576]"
    )]
    pub max_message: Option<u32>,

    /// The largest head of a request, bytes; over it 431 [default: 8192]
    #[arg(hide_short_help = true, help_heading = "WebSocket", long, value_name = "BYTES", value_parser = whole(256..=65_536_u32))]
    pub max_handshake: Option<u32>,

    /// How long a handshake may take; 0 = for ever [default: 10s]
    #[arg(hide_short_help = true, help_heading = "WebSocket", long, value_name = "DURATION")]
    pub handshake_timeout: Option<Span>,

    /// Time allowed per message, first byte to last. Unfinished messages hold memory; on expiry Close 1008. 60s is the
    /// largest message at 17 KiB/s. 0 = no limit [default: 60s]
    #[arg(hide_short_help = true, help_heading = "WebSocket", long, value_name = "DURATION")]
    pub message_timeout: Option<Span>,

    /// Ping clients, and close the dead [0, never]
    #[arg(
        help_heading = "WebSocket",
        long,
        value_name = "DURATION",
        long_help = "Ping every client so often, and close those that have said nothing until the next ping [default: 0, \
            never]"
    )]
    pub ping_every: Option<Span>,
}

impl WsArgs {
    /// Whether a flag was given.
    fn asks_for_anything(&self) -> bool {
        let lists = [&self.paths, &self.subprotocols, &self.origins];
        let sizes = [self.max_frame, self.max_message, self.max_handshake];
        let times = [self.handshake_timeout, self.message_timeout, self.ping_every];
        lists.iter().any(|list| !list.is_empty())
            || sizes.iter().any(Option::is_some)
            || times.iter().any(Option::is_some)
    }
}

/// The largest frame and the largest message of one that is not told, bytes.
const MAX_BYTES: u32 = 1 << 20;
/// The largest head of a request of one that is not told, bytes.
const MAX_HANDSHAKE_BYTES: u32 = 8 << 10;
/// How long a handshake may take where nothing else is said.
const HANDSHAKE_TIMEOUT: Span = Span::secs(10);
/// How long a message may take where nothing else is said.
const MESSAGE_TIMEOUT: Span = Span::secs(60);

/// How the kernel schedules a server's workers (sched(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scheduling {
    /// `SCHED_BATCH`: a worker that is woken does not take the processor from who runs there. With the clients on
    /// the same machine it finds more connections ready when its turn comes, and is woken less often.
    Batch,
    /// What the server inherits, `SCHED_OTHER` for most.
    Other,
}

/// The form of the periodic lines of `--stats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatsForm {
    /// JSON lines on stdout.
    Json,
    /// One line a second for people, on stderr.
    Text,
}

impl ServerArgs {
    /// These flags above what their plan says.
    ///
    /// # Errors
    /// A plan that cannot be read, or is none.
    pub(crate) fn over_plan(self) -> Result<Self, StartError> {
        let Some(path) = &self.plan else { return Ok(self) };
        let plan = Plan::load(path).map_err(|error| StartError::Usage(error.to_string()))?;
        Ok(Self {
            push: self.push.over_plan(&plan).map_err(StartError::Usage)?,
            listen: Some(match self.listen {
                Some(listen) => listen,
                None => {
                    let places: Vec<String> = plan.server.listen.iter().map(ToString::to_string).collect();
                    let read: Result<ListenSpec, _> = places.join(",").parse();
                    read.map_err(|error| StartError::Usage(format!("server.listen: {error}")))?
                }
            }),
            profile: self.profile.or(Some(plan.profile)),
            protocol: self.protocol.or(Some(plan.protocol)),
            mode: self.mode.or(Some(plan.server.mode)),
            workers: self.workers.or(plan.server.workers),
            max_connections: self.max_connections.or(plan.server.max_connections.map(Quantity)),
            ..self
        })
    }

    /// These flags above what their plan says, for one that starts a server with them.
    ///
    /// # Errors
    /// The text of a usage error: a plan that cannot be read, or flags that contradict each other.
    pub fn resolved(&self) -> Result<Self, String> {
        let resolved = self.clone().over_plan().map_err(|error| error.to_string())?;
        resolved.check()?;
        Ok(resolved)
    }

    /// Where it listens.
    pub(crate) fn listen(&self) -> ListenSpec {
        self.listen.clone().unwrap_or_else(|| ListenSpec::here(DEFAULT_PORT))
    }

    /// Its profile.
    pub(crate) fn profile(&self) -> &str {
        self.profile.as_deref().unwrap_or("stock")
    }

    /// What is spoken.
    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol.unwrap_or(Protocol::Raw)
    }

    /// What is done with bytes.
    pub(crate) fn mode(&self) -> ServerMode {
        self.mode.unwrap_or(ServerMode::Echo)
    }

    /// What no single flag shows: two streams on one stdout.
    ///
    /// # Errors
    /// The text of a usage error.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.stats == Some(StatsForm::Json) && (self.events || self.json) {
            let other = if self.events { "--events" } else { "--json" };
            return Err(format!("--stats json and {other} both write on stdout: choose one of them"));
        }
        if self.protocol() == Protocol::Raw && self.ws.asks_for_anything() {
            return Err("--path, --subprotocol, --origin, --max-frame, --max-message, --max-handshake, \
                        --handshake-timeout, --message-timeout and --ping-every are WebSocket's: expected --protocol ws with them"
                .to_owned());
        }
        self.push.plan(self.mode())?;
        Ok(())
    }

    /// What is spoken, as the workers want it.
    ///
    /// # Errors
    /// A path, subprotocol or origin that makes no sense.
    pub(crate) fn language(&self) -> Result<Language, StartError> {
        let answer = match self.mode() {
            ServerMode::Echo => Answer::Echo,
            ServerMode::Hold => Answer::Discard,
        };
        if self.protocol() == Protocol::Raw {
            return Ok(Language::Raw(answer));
        }
        let ws = &self.ws;
        let policy = ServerPolicy::new(ws.paths.clone(), ws.subprotocols.clone(), ws.origins.clone())
            .map_err(|error| StartError::Usage(error.to_string()))?;
        let limits = Limits {
            max_frame_bytes: ws.max_frame.unwrap_or(MAX_BYTES),
            max_message_bytes: ws.max_message.unwrap_or(MAX_BYTES),
            max_handshake_bytes: ws.max_handshake.unwrap_or(MAX_HANDSHAKE_BYTES),
            ..Limits::default()
        };
        let settings = WsSettings {
            end: ServerEnd::new(limits, policy),
            handshake_timeout: unless_zero(ws.handshake_timeout.unwrap_or(HANDSHAKE_TIMEOUT)),
            message_timeout: unless_zero(ws.message_timeout.unwrap_or(MESSAGE_TIMEOUT)),
            ping_every: ws.ping_every.and_then(unless_zero),
        };
        Ok(Language::Ws(Arc::new(settings), answer))
    }
}

fn unless_zero(time: Span) -> Option<Duration> {
    Some(time.0).filter(|time| !time.is_zero())
}

fn at_least_one(text: &str) -> Result<Quantity, String> {
    match text.parse::<Quantity>() {
        Ok(Quantity(0)) => Err("at least 1 is needed".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ServerArgs,
    }

    fn parse(words: &[&str]) -> Result<ServerArgs, clap::Error> {
        Line::try_parse_from([&["server"], words].concat()).map(|line| line.args)
    }

    #[test]
    fn without_a_word_it_listens_on_port_9000_of_this_machine_alone() {
        let args = parse(&[]).unwrap();
        assert_eq!(args.listen().addresses(), ["127.0.0.1:9000".parse().unwrap()]);
        assert_eq!((args.profile(), args.mode()), ("stock", ServerMode::Echo));
        assert_eq!((args.max_connections, args.workers), (None, None));
        assert_eq!((args.drain, args.stall_timeout), (Span::secs(5), Span::secs(60)));
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for words in [
            &["--protocol", "http"][..],
            &["--mode", "push"],
            &["--workers", "0"],
            &["--max-connections", "0"],
            &["--max-connections", "many"],
            &["--drain", "5"],
            &["--events", "--json"],
            &["--stats", "xml"],
            &["--listen", "127.0.0.1:9009-9000"],
            &["--listen", ":0-0"],
            &["--colour", "red"],
        ] {
            let error = parse(words).err().unwrap_or_else(|| panic!("{words:?} was taken"));
            assert_eq!(error.exit_code(), 2, "{words:?}");
        }
    }

    #[test]
    fn what_only_websocket_has_is_refused_without_it() {
        for flag in [
            ["--path", "/x"],
            ["--subprotocol", "x"],
            ["--origin", "http://x"],
            ["--max-frame", "1048576"],
            ["--max-message", "1048576"],
            ["--max-handshake", "8192"],
            ["--handshake-timeout", "10s"],
            ["--message-timeout", "60s"],
            ["--ping-every", "0"],
        ] {
            let error = parse(&flag).unwrap().check().unwrap_err();
            assert!(error.contains(flag[0]) && error.contains("--protocol ws"), "{error}");
            let with_it = parse(&[&flag[..], &["--protocol", "ws"]].concat()).unwrap();
            assert_eq!(with_it.check(), Ok(()), "{flag:?}");
            assert!(with_it.language().is_ok(), "{flag:?}");
        }
        assert_eq!(parse(&[]).unwrap().check(), Ok(()));
    }

    #[test]
    fn two_streams_on_one_stdout_are_refused() {
        assert!(parse(&["--stats", "json", "--events"]).unwrap().check().is_err());
        assert!(parse(&["--stats", "json", "--json"]).unwrap().check().is_err());
        assert!(parse(&["--stats", "text", "--events"]).unwrap().check().is_ok());
    }
}
