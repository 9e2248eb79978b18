//! The server's ends of the connections, where no echo tells of them, or nobody else knows who was accepted.

use std::time::{Duration, Instant};

use c10k_collector::{EndsSeen, Patience};

use super::Conductor;

/// Between two looks at a server that is still taking connections.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that prove themselves are looked up as well up to this many: each costs the kernel a microsecond, and all
/// that is learned is which process holds it.
const MOST_PROVEN: u64 = 100_000;

impl Conductor<'_> {
    /// Whether the server's end can be seen from here is told by any connection that is on its way there: at the end of a
    /// long hold the kernel there may have given up those that nobody took.
    pub(super) fn learn_where_they_lead(&mut self) {
        let open = self.shared.counts().open;
        if let Some(at_server) = self.at_server.as_mut().filter(|_| !self.course.probe) {
            at_server.look(open);
        }
    }

    /// The server's ends of what is open, and when they were looked up. A server that is still taking connections is
    /// waited for. Of a run that somebody has stopped nothing is asked.
    pub(super) fn server_ends(&mut self) -> Option<(EndsSeen, u64)> {
        let mut patience = Patience::begin(Instant::now());
        loop {
            let open = self.shared.counts().open;
            let is_worth_it = !self.course.probe || open <= MOST_PROVEN;
            if !is_worth_it || self.is_aborted() {
                return None;
            }
            let seen = self.at_server.as_mut()?.look(open)?;
            if self.course.probe || !patience.goes_on(&seen, Instant::now()) {
                return Some((seen, self.elapsed_ms()));
            }
            self.wait(Some(Instant::now() + PAUSE), true, |_| false);
        }
    }
}
