//! The command line of a swarm that meets the others.

use std::path::PathBuf;

use c10k_record::Span;
use c10k_record::control::meet::OnLost;
use clap::Args;

/// Where the shards of a run meet, and what is done when one is lost.
#[derive(Clone, Debug, Default, Args)]
pub struct MeetArgs {
    /// The control port where the shards meet
    #[arg(
        help_heading = "Many clients", long, value_name = "ADDRESS:PORT", requires = "run_id", conflicts_with_all = ["commanded", "remove_ips"],
        long_help = "Meet the other shards at this control port (`c10k-lab serve --control`): they begin at one time, wait \
            for each other before the hold, before the last proof and before the close, and hear who is lost"
    )]
    pub rendezvous: Option<String>,
    /// The file with the token of that control port [default: C10K_TOKEN of the environment].
    #[arg(
        hide_short_help = true,
        help_heading = "Many clients",
        long,
        value_name = "FILE",
        requires = "rendezvous"
    )]
    pub token_file: Option<PathBuf>,
    /// How long to wait for the others, 1s to 24h; those who do not come are named [default: 60s].
    #[arg(
        hide_short_help = true,
        help_heading = "Many clients",
        long,
        value_name = "DURATION",
        requires = "rendezvous"
    )]
    pub rendezvous_timeout: Option<Span>,
    /// When a shard is lost, since nothing was heard of it for 3 s or it said that it broke: fail (the run ends everywhere)
    /// or degrade (the others go on, and the result says how many they were) [default: fail].
    #[arg(
        hide_short_help = true,
        help_heading = "Many clients",
        long,
        value_name = "fail|degrade",
        requires = "rendezvous"
    )]
    pub on_lost_shard: Option<OnLost>,
}
