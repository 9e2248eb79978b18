//! What the swarm measures: a histogram for each kind of latency, a worker's own or all together.

use c10k_record::LatencyHistogram;

/// The latencies of a run, or of the interval since they were last taken.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) connect: LatencyHistogram,
    pub(crate) handshake: LatencyHistogram,
    pub(crate) first_echo: LatencyHistogram,
    pub(crate) echo: LatencyHistogram,
    /// Nothing in a closed loop, which intends no start.
    pub(crate) from_intended: Option<FromIntended>,
}

/// What counts from the intended start of a connect.
#[derive(Clone, Debug, Default)]
pub(crate) struct FromIntended {
    /// To its actual start.
    pub(crate) lateness: LatencyHistogram,
    /// To its completion.
    pub(crate) connect_response: LatencyHistogram,
}

impl Measured {
    pub(crate) fn add(&mut self, other: &Self) {
        self.connect.add(&other.connect);
        self.handshake.add(&other.handshake);
        self.first_echo.add(&other.first_echo);
        self.echo.add(&other.echo);
        if let Some(other) = &other.from_intended {
            let mine = self.from_intended.get_or_insert_default();
            mine.lateness.add(&other.lateness);
            mine.connect_response.add(&other.connect_response);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.connect.clear();
        self.handshake.clear();
        self.first_echo.clear();
        self.echo.clear();
        self.from_intended = None;
    }
}
