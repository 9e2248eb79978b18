//! Why a shard may not come, or not now.

use std::time::Duration;

use super::Join;
use crate::control::Refusal;

/// A measurement is under way, or has yet to end.
pub(super) fn running(who: &str, is_ending: bool) -> Refusal {
    let why = if is_ending {
        "its last shards have yet to end"
    } else {
        "a restarted shard is a new attempt and never joins a running measurement"
    };
    Refusal::new(
        409,
        format!("{who}: {why}"),
        "start all shards again when it is over; another run at once needs a server of its own",
    )
}

/// The port is being stopped.
pub(super) fn stopped(why: &str) -> Refusal {
    Refusal::new(503, why, "start all shards again once its control port serves again")
}

/// Another run is here.
pub(super) fn another_name(who: &str, run: &str) -> Refusal {
    Refusal::new(
        409,
        format!("run '{run}' cannot gather: {who}"),
        "one control port carries out one run at a time: wait for its end, or use a server of its own",
    )
}

/// Refuses one that cannot be of the run that the first one is of.
pub(super) fn another_run(run: &str, first: &Join, join: &Join) -> Result<(), Refusal> {
    let here =
        format!("shard {} of {} does not belong to run '{run}' as it gathers here", join.shard, join.of);
    let refused = |status, why: String, hint: &str| Err(Refusal::new(status, format!("{here}: {why}"), hint));
    if join.of != first.of {
        let why =
            format!("it says that there are {} shards, the first one that came said {}", join.of, first.of);
        return refused(422, why, "give all shards the same N in --shard I/N");
    }
    if !join.build.is_like(&first.build) {
        let why = format!("it is build {}, the first one that came is {}", join.build, first.build);
        return refused(412, why, "put the same c10k-swarm on all client boxes");
    }
    if join.plan != first.plan || join.gates != first.gates {
        let why = format!("its plan is {}, that of the first one that came is {}", join.plan, first.plan);
        let hint =
            "give all shards the same flags and the same plan: only --shard, --ips and --ports may differ";
        return refused(422, why, hint);
    }
    if join.on_lost != first.on_lost {
        let (own, others) = (join.on_lost, first.on_lost);
        let why = format!("it says --on-lost-shard {own}, the first one that came said {others}");
        return refused(422, why, "give all shards the same --on-lost-shard");
    }
    if let (Some(own), Some(others)) = (&join.client.job, &first.client.job)
        && own != others
    {
        let why = format!("it is of job {own}, the first one that came is of job {others}");
        return refused(409, why, "two runs of one name at once: give one of them another --run-id");
    }
    Ok(())
}

/// One with the same number is there, and was heard so long ago.
pub(super) fn doubled(run: &str, there: &Join, heard: Duration) -> Refusal {
    let Join { shard, of, client, .. } = there;
    Refusal::new(
        409,
        format!(
            "shard {shard} of {of} of run '{run}' is there already: host {}, pid {}, heard {} ms ago",
            client.host,
            client.pid,
            heard.as_millis()
        ),
        "each shard has a number of its own (--shard I/N), and two runs at once have two names (--run-id)",
    )
}
