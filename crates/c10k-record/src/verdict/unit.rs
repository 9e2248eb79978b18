//! What a metric is measured in, and how a number of it is written.

use super::metric::Metric;
use super::parse::Unit;
use crate::{number, with_unit};

impl Metric {
    /// What it is measured in.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::Held | Self::Verified | Self::Failed | Self::Ghosts | Self::Arrivals => Unit::Connections,
            Self::ConnectsPerSecond | Self::MessagesPerSecond | Self::CyclesPerSecond => Unit::PerSecond,
            Self::Latency(..) => Unit::Milliseconds,
            Self::Seen(_) => Unit::Times,
            Self::Bytes(_) => Unit::Bytes,
            Self::ServerCores | Self::SwarmCores => Unit::Cores,
            Self::ServerTime | Self::SwarmTime => Unit::Microseconds,
        }
    }
}

impl Unit {
    /// A number with it, as people read it; what is not known is "unknown".
    #[must_use]
    pub fn written(self, value: Option<f64>) -> String {
        match self.sign() {
            "" => number(value),
            sign => with_unit(value, sign),
        }
    }

    /// How it is written behind a number; empty for what is counted.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::PercentOfTarget | Self::PercentOfAttempts => "%",
            Self::PerSecond => "/s",
            Self::Bytes => "B",
            Self::Cores => "cores",
            Self::Microseconds => "µs",
            Self::Connections | Self::Times => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_with_what_it_is_measured_in() {
        let written =
            |name: &str, value: f64| Metric::named(name).expect("a metric").unit().written(Some(value));
        assert_eq!(written("held", 100_000.0), "100,000");
        assert_eq!(written("connects_per_second", 38_412.4), "38,412 /s");
        assert_eq!(written("server_us_per_connection", 8.6), "8.6 µs");
        assert_eq!(written("echo_p95", 1.9), "1.9 ms");
        assert_eq!(Unit::Bytes.written(None), "unknown");
    }
}
