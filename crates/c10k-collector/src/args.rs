//! The command line of the collector.

use std::path::PathBuf;
use std::time::Duration;

use c10k_record::control::lease;
use c10k_record::{HttpAddress, Span, whole};
use clap::{ArgGroup, Args};

const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);

/// Watches a process that holds connections, and the kernel below it, from outside.
#[derive(Args, Clone, Debug)]
#[command(group(ArgGroup::new("watched").required(true).multiple(true).args(["pid", "ports"])))]
pub struct CollectorArgs {
    /// The process that holds the connections [default: the one that listens on --port]
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
    /// The process that made them, if it runs on this machine
    #[arg(long, value_name = "PID")]
    pub swarm_pid: Option<u32>,
    /// Ports the process listens on: connections at their end are counted. Without any, all TCP sockets of the network
    /// namespace are
    #[arg(long = "port", value_name = "PORT", value_delimiter = ',', value_parser = whole(1..=u16::MAX))]
    pub ports: Vec<u16>,
    /// Time between two looks, at least 10ms
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
    pub interval: Span,
    /// End after this time; without it, at Ctrl-C or when the process ends
    #[arg(long, value_name = "TIME")]
    pub duration: Option<Span>,
    /// Write JSON lines on stdout (ready, tick, done) and take the command `stop` on stdin
    #[arg(long, conflicts_with = "json")]
    pub events: bool,
    /// Write one JSON document on stdout at the end
    #[arg(long)]
    pub json: bool,
    /// Serve the figures of the last look to Prometheus, at http://ADDRESS:PORT/metrics; a port alone is of 127.0.0.1,
    /// port 0 lets the kernel choose [default: off]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<HttpAddress>,
    /// Be the far end of runs of another machine beside this server, whatever it is made of: serve a control port at
    /// ADDRESS:PORT, as `c10k-lab serve --control` does; a port alone is of 127.0.0.1. It has no TLS, and leaves that to a
    /// tunnel
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        conflicts_with_all = ["json", "metrics", "self_cost", "swarm_pid", "interval"]
    )]
    pub serve: Option<HttpAddress>,
    /// A file whose first line is the token that every client of --serve has to know [default: the environment's
    /// C10K_TOKEN]. A port that other machines can reach needs one
    #[arg(long, value_name = "FILE", requires = "serve")]
    pub token_file: Option<PathBuf>,
    /// End a run of --serve when nothing was heard of its client for so long, 1s to 1h [default: 15s]
    #[arg(long, value_name = "TIME", requires = "serve", value_parser = lease)]
    pub lease: Option<Span>,
    /// The folder in which a folder is made for each run of shards that meet at --serve, with their results and this side's
    /// account, for `c10k-lab merge` [default: results]
    #[arg(long, value_name = "DIR", requires = "serve")]
    pub results: Option<PathBuf>,
    /// Say at the end what watching cost, as a share of one core; the document has it always
    #[arg(long)]
    pub self_cost: bool,
}

/// The parser of `--interval`.
fn interval(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: c10k_record::QuantityError| error.to_string())?;
    if span.0 < SHORTEST_INTERVAL {
        return Err(format!("'{text}' is too short: a look needs at least 10ms"));
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_of_nothing_is_refused() {
        assert!(interval("0").is_err());
        assert!(interval("1us").is_err());
        assert!(interval("abc").is_err());
        assert_eq!(interval("1s").unwrap(), Span::secs(1));
    }
}
