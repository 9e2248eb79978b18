//! A run that several swarms carry out, each a part of it on a box of its own: which part is whose, and the result that
//! each leaves.
//!
//! A shard knows its number and how many there are, and computes its part from that alone: of every count the parts of
//! all shards add up to the whole, and no two shards have an address in common. What its result says can be added to
//! those of the others: counts as they are, and latencies by their histograms.

mod cut;
mod histogram;
mod result;
mod slice;
mod sources;

pub use cut::CutError;
pub use histogram::{HistogramError, StoredHistogram};
pub use result::{HowEnded, SHARD_FORMAT, ShardEnd, ShardHost, ShardResult, common};
pub use slice::{Shard, ShardError, ShardIps};
pub use sources::SourceRange;
