//! What a program tells of itself to Prometheus: names, figures, and the thread that serves them.
//!
//! [`family`] is the one list of all there is, with kind, unit and meaning; docs/metrics.md shows the same. Programs fill
//! [`Figures`] at their ticks, of what they have anyway, and publish them; a scrape reads what was published last. So no
//! worker is asked for anything, and nothing is read for the sake of a scrape.

mod buckets;
mod exporter;
pub mod family;
mod figures;
mod told;

pub use buckets::{LatencyBuckets, LatencyFigures};
pub use exporter::{Exporter, page_of};
pub use figures::Figures;
pub use told::{SERVER, SWARM};
