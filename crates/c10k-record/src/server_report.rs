//! What a server knows of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A server's own counts.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerReport {
    /// Milliseconds since it was ready.
    pub elapsed_ms: u64,
    /// Connections accepted, ever.
    pub accepted: u64,
    /// Handshakes completed, ever; `None` where the protocol has none.
    #[serde(default)]
    pub opened: Option<u64>,
    /// Open now.
    pub open: u64,
    /// Most that were open at one time.
    pub peak: u64,
    /// Closed in good order by the peer.
    pub closed: u64,
    /// Closed by the server itself at its end.
    pub drained: u64,
    /// Closed by an error, by errno or name.
    pub failed: BTreeMap<String, u64>,
    /// What kept it from accepting, by errno: these connections stayed in the queue. All are accept(2)'s but ENOSPC,
    /// which is epoll_ctl(2)'s at `fs.epoll.max_user_watches`; each try that failed counts.
    pub accept_errors: BTreeMap<String, u64>,
    /// How often a listener had to pause because no descriptor, watch or slot was free.
    pub paused: u64,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes written.
    pub bytes_out: u64,
    /// Descriptor tables (worker threads) in use.
    pub tables: u64,
    /// Connections whose peer reads slower than it sends, now.
    pub back_pressured: u64,
}
