//! Why the results in a folder are not one run.

use std::path::{Path, PathBuf};

use c10k_record::shard::{HistogramError, Shard};
use c10k_record::{Exit, ShardFileError};
use thiserror::Error;

/// What is wrong with a set of results.
#[derive(Debug, Error)]
pub enum Fault {
    /// The folder cannot be read.
    #[error("{0}")]
    Folder(ShardFileError),
    /// There is no result in it.
    #[error("'{}' holds no result of a shard: expected files such as shard-1-of-3.json{}", .path.display(), names_of(.there))]
    NoResult {
        /// The folder.
        path: PathBuf,
        /// What it holds, as far as that is told.
        there: Vec<String>,
    },
    /// Files that are named as results and are none.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Files(Vec<ShardFileError>),
    /// There are results of several runs.
    #[error("'{}' holds results of {} runs: {}", .path.display(), .runs.len(), .runs.join("; "))]
    SeveralRuns {
        /// The folder.
        path: PathBuf,
        /// Each run with its files.
        runs: Vec<String>,
    },
    /// There is none of the run that is asked for.
    #[error("'{}' holds no result of the run '{asked}': it has {}", .path.display(), .there.join(", "))]
    NoSuchRun {
        /// The folder.
        path: PathBuf,
        /// The run.
        asked: String,
        /// Those that are there.
        there: Vec<String>,
    },
    /// They do not agree on how many shards there are.
    #[error("{} is one of {}, and {} is one of {}: the shards of a run agree on their number",
        name(.one), .of_one, name(.other), .of_other)]
    OtherNumber {
        /// A file.
        one: PathBuf,
        /// Its number of shards.
        of_one: u32,
        /// Another.
        other: PathBuf,
        /// Its number of shards.
        of_other: u32,
    },
    /// A shard is there twice.
    #[error("shard {shard} left two results of attempt {attempt}: {} ({of_one}) and {} ({of_other})", name(.one), name(.other))]
    Doubled {
        /// Which.
        shard: Shard,
        /// In which attempt.
        attempt: u32,
        /// A file.
        one: PathBuf,
        /// The process that left it.
        of_one: String,
        /// Another.
        other: PathBuf,
        /// The process that left that.
        of_other: String,
    },
    /// They belong to two runs of one name.
    #[error("{} and {} are of two runs of one name: their shards met at two meetings, {meetings}", name(.one), name(.other))]
    OtherMeeting {
        /// A file.
        one: PathBuf,
        /// Another.
        other: PathBuf,
        /// The meetings.
        meetings: String,
    },
    /// They were made by different builds.
    #[error("{} was made by {of_one}, and {} by {of_other}: the shards of a run are of one build", name(.one), name(.other))]
    OtherBuild {
        /// A file.
        one: PathBuf,
        /// Its build.
        of_one: String,
        /// Another.
        other: PathBuf,
        /// Its build.
        of_other: String,
    },
    /// They carried out different plans.
    #[error("{} and {} are of two plans: {difference}", name(.one), name(.other))]
    OtherPlan {
        /// A file.
        one: PathBuf,
        /// Another.
        other: PathBuf,
        /// What differs first.
        difference: String,
    },
    /// A histogram cannot be added.
    #[error("{}: {error}", name(.path))]
    Histogram {
        /// The file.
        path: PathBuf,
        /// Why.
        error: HistogramError,
    },
    /// Histograms that are not those of the result's own record.
    #[error("{}: {why}", name(.path))]
    Latencies {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Nobody came so far as to have a plan.
    #[error("no shard began: {}", .0.join("; "))]
    NobodyBegan(Vec<String>),
    /// Their holds have no moment in common.
    #[error("the shards never held at one time: {0}")]
    NeverTogether(String),
    /// The server's account is not of this run, or cannot be read.
    #[error("{}: {why}", name(.path))]
    Account {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

fn name(path: &Path) -> String {
    format!("'{}'", path.display())
}

fn names_of(names: &[String]) -> String {
    match names {
        [] => "; it is empty".to_owned(),
        names => format!("; it holds {}", names.join(", ")),
    }
}

impl Fault {
    /// What mends it.
    pub fn hint(&self) -> String {
        match self {
            Self::Folder(_) | Self::NoResult { .. } => {
                "name the folder that was given to c10k-swarm --result; results of several boxes are copied into one"
            }
            Self::Files(_) => {
                "copy the file again from the box that wrote it; without it its shard counts as lost"
            }
            Self::SeveralRuns { .. } | Self::NoSuchRun { .. } => "--run-id NAME merges one of them",
            Self::OtherNumber { .. } | Self::OtherMeeting { .. } | Self::OtherPlan { .. } => {
                "remove the files that are not of this run; each run has a name and a folder of its own"
            }
            Self::Doubled { .. } => "remove the one that is not of this run",
            Self::OtherBuild { .. } => "--any-build adds them all the same, and says so",
            Self::Histogram { .. } | Self::Latencies { .. } => "copy the file again from the box that wrote it",
            Self::NobodyBegan(_) => "begin with one of them: `c10k-swarm --shard 1/1 …` says the same on that box",
            Self::NeverTogether(_) => {
                "let them begin at one time by --rendezvous, or hold longer than the last of them is late"
            }
            Self::Account { .. } => "remove the file, or put that of this run in its place",
        }
        .to_owned()
    }

    /// How a merge ends by it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Folder(_) | Self::NoResult { .. } | Self::SeveralRuns { .. } | Self::NoSuchRun { .. } => {
                Exit::BadText
            }
            Self::NobodyBegan(_) => Exit::Short,
            _ => Exit::Broke,
        }
    }
}
