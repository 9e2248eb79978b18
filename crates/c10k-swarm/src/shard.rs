//! What a swarm that is one of several knows of itself, and the result that it leaves.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use c10k_kernel::counters::ProcRoot;
use c10k_kernel::memory::MemInfoReader;
use c10k_kernel::{namespace, process};
use c10k_record::control::meet::Met;
use c10k_record::control::{Build, Offset, unix_ns};
use c10k_record::shard::{
    CutError, SHARD_FORMAT, Shard, ShardEnd, ShardHost, ShardIps, ShardResult, SourceRange, StoredHistogram,
};
use c10k_record::{
    Exit, HostSnapshot, LatencyHistogram, Plan, Record, RunState, ShardFileError, prepare_for_shard_result,
    shard_file_name, what_makes_room, write_shard_result,
};

use crate::args::{ShardArgsError, SwarmArgs};
use crate::finding::Finding;
use crate::ips::IpList;
use crate::measured::Measured;
use crate::meet::Together;
use crate::output::Output;
use crate::refusal::Refusal;
use crate::setup::{Setup, SetupError};

mod meet;

/// A swarm that is one of several.
pub(crate) struct Own {
    pub(crate) shard: Shard,
    run_id: String,
    /// Where the result goes; `None` where none is wanted.
    folder: Option<PathBuf>,
    ips: ShardIps,
    /// Which attempt at the run it is, from 1 on.
    pub(crate) attempt: u32,
    /// What the place where the shards met has called this attempt.
    pub(crate) meeting: Option<String>,
    /// The server's clock against this one.
    pub(crate) clock: Vec<Offset>,
    /// The plan of all shards together.
    pub(crate) whole: Option<Plan>,
    limits: Option<HostSnapshot>,
    sources: Vec<SourceRange>,
    started_unix_ns: u64,
    first_connect_unix_ns: Option<u64>,
    histograms: Vec<StoredHistogram>,
    /// Where it meets the others; `None` where it meets nobody.
    place: Option<meet::Place>,
    /// Its place among them, once it has met them.
    pub(crate) together: Option<Together>,
    met: Option<Met>,
}

impl Own {
    /// What the flags say; `None` for a swarm that is alone.
    ///
    /// # Errors
    /// A text that names no shard, or a folder in which its result could not be written.
    pub(crate) fn of(args: &SwarmArgs) -> Result<Option<Self>, Refusal> {
        let shard = args.shard.shard(|name| std::env::var(name).ok())?;
        let place = meet::place(args, shard)?;
        let Some(shard) = shard else { return Ok(None) };
        let own = Self {
            shard,
            run_id: args.shard.run_id.clone().unwrap_or_default(),
            folder: args.shard.result.clone(),
            ips: args.shard.ips(),
            attempt: 1,
            meeting: None,
            clock: Vec::new(),
            whole: None,
            limits: None,
            sources: Vec::new(),
            started_unix_ns: unix_ns(),
            first_connect_unix_ns: None,
            histograms: Vec::new(),
            place,
            together: None,
            met: None,
        };
        Ok(Some(own))
    }

    /// Looks whether the result can be written when the shard ends. The attempt is known by now.
    ///
    /// # Errors
    /// Where it cannot, or where there is one of that name.
    pub(crate) fn prepare(&self) -> Result<(), Refusal> {
        match &self.folder {
            Some(folder) => Ok(prepare_for_shard_result(folder, self.shard, self.attempt)?),
            None => Ok(()),
        }
    }

    /// This shard's part of a plan.
    ///
    /// # Errors
    /// Where there is too little of something for each shard to have a part, or the list of sources cannot be read.
    pub(crate) fn part(&mut self, whole: &Plan) -> Result<Plan, Refusal> {
        self.whole = Some(whole.clone());
        let mut part = self.shard.cut(whole)?;
        if let Some(list) = whole.load.ips.as_deref().filter(|_| self.ips == ShardIps::Divide) {
            part.load.ips = Some(self.addresses(list)?);
        }
        Ok(part)
    }

    /// Its block of a list of addresses, as a list again.
    fn addresses(&self, list: &str) -> Result<String, Refusal> {
        let all: IpList = list.parse().map_err(SetupError::from)?;
        let count = all.addresses().len();
        let block = self.shard.range(count as u64);
        let block = &all.addresses()[block.start as usize..block.end as usize];
        if block.is_empty() {
            let of = self.shard.count();
            return Err(Refusal {
                message: format!(
                    "--ips {list} names {count} source addresses for {of} shards, and shard {} has none: expected at \
                     least {of}",
                    self.shard
                ),
                hint: Some(
                    "--shard-ips own, where each shard stands on a box of its own and has a list of its own"
                        .to_owned(),
                ),
                exit: Exit::BadText,
            });
        }
        Ok(SourceRange::of(block).iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
    }

    /// The targets of the shards before this one, which take source addresses before it; none where each box has its own.
    pub(crate) fn targets_before(&self) -> Vec<u64> {
        let Some(whole) = self.whole.as_ref().filter(|_| self.ips == ShardIps::Divide) else {
            return Vec::new();
        };
        self.shard.before().map(|shard| shard.target(whole.target, whole.load.steps)).collect()
    }

    /// Where the servers are.
    pub(crate) fn connects_to(&mut self, servers: &[SocketAddr]) {
        if let Some(whole) = &mut self.whole {
            whole.server.listen = servers.to_vec();
        }
    }

    /// What it stands on.
    pub(crate) fn stands_on(&mut self, setup: &Setup, limits: &HostSnapshot) {
        self.sources = SourceRange::of(setup.plan.sources());
        self.limits = Some(limits.clone());
    }

    /// Takes over what a record has no place for.
    pub(crate) fn keep(&mut self, finding: &Finding) {
        self.first_connect_unix_ns = finding.first_connect_unix_ns;
        let of_run = kinds(&finding.measured);
        let of_work = finding.work_measured.iter().map(|(name, measured)| (name.as_str(), measured));
        let all = of_run.into_iter().chain(of_work).filter(|(_, measured)| measured.count() > 0);
        self.histograms = all.map(|(name, measured)| StoredHistogram::of(name, measured)).collect();
    }

    /// Where the counts over time go, and the latencies; nowhere where no result is wanted.
    pub(crate) fn files_over_time(&self) -> Option<(PathBuf, PathBuf)> {
        let result = self.folder.as_ref()?.join(shard_file_name(self.shard, self.attempt));
        Some((result.with_extension("csv"), result.with_extension("hlog")))
    }

    /// What it leaves.
    fn result(&self, record: Option<&Record>, end: ShardEnd) -> ShardResult {
        ShardResult {
            format: SHARD_FORMAT.to_owned(),
            run_id: self.run_id.clone(),
            shard: self.shard,
            attempt: self.attempt,
            meeting: self.meeting.clone(),
            build: Build::of_this(),
            host: host(),
            limits: self.limits.clone(),
            clock: self.clock.clone(),
            plan: self.whole.clone(),
            ips: self.ips,
            sources: self.sources.clone(),
            started_unix_ns: self.started_unix_ns,
            first_connect_unix_ns: self.first_connect_unix_ns,
            ended_unix_ns: unix_ns(),
            record: record.cloned().map(Box::new),
            histograms: self.histograms.clone(),
            rendezvous: self.met.clone(),
            end,
        }
    }

    /// What a shard leaves that came to this record.
    pub(crate) fn result_of(&self, record: &Record, exit: Exit) -> ShardResult {
        let end = ShardEnd::of(record, exit);
        self.result(Some(record), ShardEnd { how: self.was_ended().unwrap_or(end.how), ..end })
    }

    /// What a shard leaves that did not begin.
    pub(crate) fn result_of_refusal(&self, refusal: &Refusal) -> ShardResult {
        self.result(None, ShardEnd::refused(refusal.message.clone(), refusal.exit))
    }

    /// Writes the result, where one is wanted. Where that fails the run is broken, which the record says then.
    pub(crate) fn leave(
        &self,
        result: &ShardResult,
        record: Option<&mut Record>,
        output: &mut Output,
    ) -> bool {
        let Some(folder) = &self.folder else { return true };
        let Err(error) = write_shard_result(folder, result) else { return true };
        let refusal = Refusal::from(error);
        if let Some(record) = record {
            record.state = RunState::Broken;
            record.ended_because = Some(refusal.message.clone());
        }
        output.say(&format!("error: {}", refusal.message));
        refusal.hint.iter().for_each(|hint| output.say(&format!("hint: {hint}")));
        false
    }
}

/// The latencies of a run by their names.
fn kinds(measured: &Measured) -> Vec<(&'static str, &LatencyHistogram)> {
    let mut kinds = vec![
        ("connect", &measured.connect),
        ("handshake", &measured.handshake),
        ("first_echo", &measured.first_echo),
        ("echo", &measured.echo),
    ];
    if let Some(from_intended) = &measured.from_intended {
        kinds.push(("connect_response", &from_intended.connect_response));
        kinds.push(("lateness", &from_intended.lateness));
    }
    kinds
}

fn host() -> ShardHost {
    ShardHost {
        name: namespace::hostname().unwrap_or_default(),
        boot_id: namespace::boot_id().unwrap_or_default(),
        pid: std::process::id(),
        cpus: Some(process::cpus_allowed() as u64),
        memory_bytes: MemInfoReader::open(&ProcRoot::default())
            .read()
            .ok()
            .and_then(|memory| memory.total_bytes),
    }
}

impl From<ShardArgsError> for Refusal {
    fn from(error: ShardArgsError) -> Self {
        let (message, hint) = match error {
            ShardArgsError::Shard(error) => (error.to_string(), error.hint()),
            ShardArgsError::NoShard(flag) => (
                format!(
                    "{flag} is of a swarm that is one of several: expected --shard I/N or --shard-from VAR/VAR with it"
                ),
                "--shard 1/1 is all of it".to_owned(),
            ),
        };
        Self { message, hint: Some(hint), exit: Exit::BadText }
    }
}

impl From<CutError> for Refusal {
    fn from(error: CutError) -> Self {
        Self { message: error.to_string(), hint: Some(error.hint()), exit: Exit::BadText }
    }
}

impl From<ShardFileError> for Refusal {
    fn from(error: ShardFileError) -> Self {
        if let ShardFileError::Write { path, source } = &error
            && let Some(makes_room) = what_makes_room(source)
        {
            let folder = Path::new(path).parent().unwrap_or(Path::new(".")).display();
            let hint = format!("{makes_room}, for {folder}; --json prints the record");
            return Self { hint: Some(hint), message: error.to_string(), exit: Exit::Broke };
        }
        let (hint, exit) = match &error {
            ShardFileError::Present { .. } => (
                "name another folder by --result for each run, or remove that file: no result is written over another",
                Exit::HostCannot,
            ),
            ShardFileError::Doubled { .. } => {
                ("name each run otherwise by --run-id, and give it a folder of its own", Exit::Broke)
            }
            _ => ("name a folder by --result that this user may write", Exit::HostCannot),
        };
        Self { message: error.to_string(), hint: Some(hint.to_owned()), exit }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::IpAddr;

    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: SwarmArgs,
    }

    fn own(words: &str) -> Own {
        let args = Cli::parse_from(["c10k-swarm"].into_iter().chain(words.split_whitespace())).args;
        Own::of(&args).ok().flatten().expect("a shard")
    }

    fn whole(words: &str) -> Plan {
        let args = Cli::parse_from(["c10k-swarm"].into_iter().chain(words.split_whitespace())).args;
        crate::base::whole(&args, None).expect("a plan")
    }

    #[test]
    fn the_blocks_of_all_shards_are_the_list_in_its_order() {
        let words = "--ips 10.0.0.1-10.0.0.7,fd00::1,10.0.9.9 --target 1000";
        let all: IpList = "10.0.0.1-10.0.0.7,fd00::1,10.0.9.9".parse().expect("a list");
        for count in 1..=9 {
            let mut seen: Vec<IpAddr> = Vec::new();
            for index in 1..=count {
                let mut own = own(&format!("--shard {index}/{count} {words}"));
                let part = own.part(&whole(words)).ok().expect("a part");
                let block: IpList = part.load.ips.expect("a list").parse().expect("a list");
                seen.extend(block.addresses());
            }
            assert_eq!(seen, all.addresses(), "of {count}");
        }
        let refusal = own(&format!("--shard 1/10 {words}")).part(&whole(words)).expect_err("too few");
        assert!(refusal.message.contains("names 9 source addresses for 10 shards"), "{}", refusal.message);
        assert_eq!(refusal.exit, Exit::BadText);
        let mut alone = own(&format!("--shard 1/10 --shard-ips own {words}"));
        let part = alone.part(&whole(words)).ok().expect("a part");
        assert_eq!(part.load.ips.as_deref(), Some("10.0.0.1-10.0.0.7,fd00::1,10.0.9.9"));
        assert!(alone.targets_before().is_empty());
    }

    #[test]
    fn no_two_shards_take_an_address_of_the_loopback_network() {
        let words = "--target 100000";
        let mut seen: HashSet<IpAddr> = HashSet::new();
        for index in 1..=7 {
            let mut own = own(&format!("--shard {index}/7 {words}"));
            let part = own.part(&whole(words)).ok().expect("a part");
            for ip in crate::sources::loopback_sources_after(&own.targets_before(), part.target, 5000) {
                assert!(seen.insert(ip), "{ip} of shard {index}");
            }
        }
        assert!(seen.len() >= 20);
    }
}
