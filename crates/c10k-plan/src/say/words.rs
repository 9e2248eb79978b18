//! Words that several commands say.

use c10k_record::{Exit, Side};

/// How a command ends that would end with `exit`: broken, however well it went, when the host is not as it was before.
pub fn left_as_it_was(exit: Exit, is_back: bool) -> Exit {
    if is_back { exit } else { Exit::Broke }
}

/// A side in data.
pub fn side_name(side: Side) -> &'static str {
    match side {
        Side::Swarm => "swarm",
        Side::Server => "server",
        Side::Host => "host",
    }
}
