//! How a run is told to the person at the terminal, by the lab and by a swarm alone: while it goes on and at its end.

mod brief;
mod headline;
mod live;
mod notes;
mod style;
mod teller;
mod work;

pub use brief::{brief, headline_and_path, verdict_measured, verdict_value, what_is_higher};
pub use headline::headline;
pub use live::{Bytes, Live, Messages, time_left};
pub use notes::notes;
pub use style::{Style, Tone, columns, text_width};
pub use teller::Teller;
pub use work::worked;
