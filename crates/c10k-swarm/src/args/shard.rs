//! The command line of a swarm that is one of several.

use std::path::PathBuf;

use c10k_record::control::run_id;
use c10k_record::shard::{Shard, ShardError, ShardIps};
use clap::Args;

/// Which part of a run is this swarm's, and where its result goes.
#[derive(Clone, Debug, Default, Args)]
pub struct ShardArgs {
    /// Be one of N swarms of one run: 1/3
    #[arg(
        help_heading = "Many clients", long, value_name = "I/N", conflicts_with_all = ["shard_from", "commanded", "remove_ips"],
        long_help = "Be one of N swarms that carry out a run together, from 1/N to N/N: all other flags say what the whole \
            run is, and this swarm takes its part of the target, rates, steps, phases, what is under way, and source \
            addresses"
    )]
    pub shard: Option<Shard>,
    /// The same from two environment variables that an engine sets, an index that counts from 0 and a count, which may be a
    /// number: SLURM_PROCID/SLURM_NTASKS, JOB_COMPLETION_INDEX/3.
    #[arg(hide_short_help = true, help_heading = "Many clients", long, value_name = "VAR/VAR", conflicts_with_all = ["commanded", "remove_ips"])]
    pub shard_from: Option<String>,
    /// What is done with --ips: divide (the list is of all shards, and each takes its part) or own (each shard stands on a box
    /// of its own, and the list is its own) [default: divide].
    #[arg(hide_short_help = true, help_heading = "Many clients", long, value_name = "HOW")]
    pub shard_ips: Option<ShardIps>,
    /// The name of the run, the same at all shards
    #[arg(
        help_heading = "Many clients", long, value_name = "ID", value_parser = run_id,
        long_help = "The name of the run, the same at all shards: up to 128 letters, digits, '.', '_' and '-'"
    )]
    pub run_id: Option<String>,
    /// Where the shard's result goes, for c10k-lab merge
    #[arg(
        help_heading = "Many clients",
        long,
        value_name = "DIR",
        requires = "run_id",
        long_help = "Write the shard's result into this folder, for `c10k-lab merge`: shard-I-of-N.json, and beside it the \
            counts and latencies over time"
    )]
    pub result: Option<PathBuf>,
}

/// Why the flags of a shard do not go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ShardArgsError {
    /// The variables name none.
    Shard(ShardError),
    /// A flag is given that only a shard has a use for.
    NoShard(&'static str),
}

impl ShardArgs {
    /// Which shard it is; `None` for a swarm that is alone.
    pub(crate) fn shard(
        &self,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Shard>, ShardArgsError> {
        let shard = match &self.shard_from {
            Some(variables) => Some(Shard::from_variables(variables, lookup).map_err(ShardArgsError::Shard)?),
            None => self.shard,
        };
        let idle = [("--shard-ips", self.shard_ips.is_some()), ("--result", self.result.is_some())];
        match idle.into_iter().find(|(_, given)| *given && shard.is_none()) {
            Some((flag, _)) => Err(ShardArgsError::NoShard(flag)),
            None => Ok(shard),
        }
    }

    /// What is done with the source addresses.
    pub(crate) fn ips(&self) -> ShardIps {
        self.shard_ips.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_that_only_a_shard_uses_is_refused_without_one() {
        let nothing = |_: &str| None;
        let args =
            ShardArgs { result: Some("x".into()), run_id: Some("a".to_owned()), ..ShardArgs::default() };
        assert_eq!(args.shard(nothing), Err(ShardArgsError::NoShard("--result")));
        let args = ShardArgs { shard_ips: Some(ShardIps::Own), ..ShardArgs::default() };
        assert_eq!(args.shard(nothing), Err(ShardArgsError::NoShard("--shard-ips")));
        let args = ShardArgs { shard: Shard::new(2, 3).ok(), ..args };
        assert_eq!(args.shard(nothing), Ok(Shard::new(2, 3).ok()));
        assert_eq!(ShardArgs::default().shard(nothing), Ok(None));
        let args = ShardArgs { shard_from: Some("A/B".to_owned()), ..ShardArgs::default() };
        assert_eq!(args.shard(nothing), Err(ShardArgsError::Shard(ShardError::Missing("B".to_owned()))));
        let set = |name: &str| Some(if name == "A" { "0" } else { "2" }.to_owned());
        assert_eq!(args.shard(set), Ok(Shard::new(1, 2).ok()));
    }

    #[test]
    fn a_name_of_a_run_is_refused_with_what_was_expected() {
        assert_eq!(run_id("evening-1").as_deref(), Ok("evening-1"));
        assert!(run_id("a/b").is_err_and(|error| error.contains("'a/b'") && error.contains("expected")));
    }
}
