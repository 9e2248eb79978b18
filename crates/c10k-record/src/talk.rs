//! What programs say while they work, and what they can be told.

mod events;
mod lines;

pub use events::{Command, LiveCounts, ServerEvent, SwarmEvent, WorkTick};
pub use lines::{Printer, each_line};
