//! The processes of a server.

use serde::{Deserialize, Serialize};

/// A process that listens for the server or holds connections of it, in the hold. `None` is what could not be read.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessInRun {
    /// Its pid.
    pub pid: u32,
    /// Its name, as the kernel keeps it (comm, at most 15 bytes).
    pub name: Option<String>,
    /// Whether it holds a listener of the server.
    pub listens: bool,
    /// Whether the server's memory, descriptors and threads are those of it and of the others like it: one that only
    /// listens, and hands on what it accepts, is not counted.
    pub counted: bool,
    /// Connections that it held; one that several processes hold counts for each. Of a server of ours, the most that it
    /// had open at one time, as it reports.
    pub connections: Option<u64>,
    /// `connections` was estimated from a part of its descriptors.
    pub estimated: bool,
    /// Resident memory, bytes.
    pub rss_bytes: Option<u64>,
    /// The same with shared pages divided among those who share them, bytes.
    pub pss_bytes: Option<u64>,
    /// Its anonymous part, bytes.
    pub private_bytes: Option<u64>,
    /// Descriptors open in all its tables.
    pub descriptors: Option<u64>,
    /// Its soft RLIMIT_NOFILE, which bounds each table.
    pub nofile: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Processor time since before the first connect, seconds.
    pub cpu_seconds: Option<f64>,
}
