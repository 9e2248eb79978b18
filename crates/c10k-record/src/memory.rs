//! What one connection costs, by part and by end.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

/// The part that is of the processes' own memory, and so of user memory: its anonymous pages.
pub const HEAP: &str = "heap";

/// The memory account: bytes per connection of those that were open when memory was looked at. What could not be read
/// is `None`.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryPerConnection {
    /// Connections open when memory was looked at, in the hold: what all growth here is divided by. Records from before
    /// it was told apart from what was held in the end do not have it.
    #[serde(default)]
    pub connections: Option<u64>,
    /// Growth of the server's RSS since it was ready ÷ connections, bytes.
    pub server_user_bytes: Option<f64>,
    /// Kernel memory at the server's end ÷ connections, bytes; null where others gave back as much meanwhile.
    #[serde(default, deserialize_with = "above_zero")]
    pub server_kernel_bytes: Option<f64>,
    /// Growth of the swarm's RSS since it was ready ÷ connections, bytes.
    pub client_user_bytes: Option<f64>,
    /// Kernel memory at the client's end ÷ connections, bytes; null where others gave back as much meanwhile.
    #[serde(default, deserialize_with = "above_zero")]
    pub client_kernel_bytes: Option<f64>,
    /// Parts by name (`socket`, `inode`, `file`, `dentry`, `epoll`, …): of the kernel's memory all but [`HEAP`], which is of
    /// the processes' own.
    pub parts: BTreeMap<String, MemoryPart>,
    /// Fall of free memory, page cache taken out, ÷ connections, bytes.
    pub free_memory_bytes: Option<f64>,
    /// Share of that fall which nothing explains that the kernel counts (slabs, mapped memory of its own, buffers of
    /// sockets, anonymous and shared memory, page tables, memory of each CPU), 0 to 1. What others took meanwhile is explained
    /// and in no part; so is what a reading of all of /proc/PID/fd leaves, an inode and a dentry for each descriptor.
    pub unexplained_ratio: Option<f64>,
    /// True when the kernel's slabs could not be read and the parts stand on known object sizes.
    pub estimated: bool,
}

/// Records of earlier versions had 0 where others gave back as much meanwhile: no connection is without its sockets.
fn above_zero<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    Option::<f64>::deserialize(from).map(|bytes| bytes.filter(|bytes| *bytes > 0.0))
}

/// One part of the account, bytes per connection at each end.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryPart {
    /// At the server.
    pub server_bytes: Option<f64>,
    /// At the client.
    pub client_bytes: Option<f64>,
    /// True when it was computed from a known object size and not read.
    pub estimated: bool,
}
