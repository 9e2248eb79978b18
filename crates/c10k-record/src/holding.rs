//! The processes that hold a server's ends of connections: one server may be several processes.

use serde::{Deserialize, Serialize};

/// A process that listens for the server or holds connections of the run. What could not be read is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessInRun {
    /// Its pid.
    pub pid: u32,
    /// Its name, as the kernel keeps it.
    pub name: Option<String>,
    /// Connections of the run that it held at the end of the hold. One that several processes hold, as a parent and its
    /// child may, counts for each.
    pub connections: Option<u64>,
    /// Whether it holds a listener of the server.
    pub listens: bool,
    /// Growth of its resident memory from before the first connect into the hold, bytes.
    pub rss_growth_bytes: Option<u64>,
    /// Processor time in the same while, seconds.
    pub cpu_seconds: Option<f64>,
    /// Threads in the hold.
    pub threads: Option<u64>,
    /// Descriptors open in all its tables, at the end of the hold.
    pub descriptors: Option<u64>,
    /// Its soft RLIMIT_NOFILE.
    pub nofile: Option<u64>,
}
