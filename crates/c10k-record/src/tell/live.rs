//! The line that tells how a run stands while it goes on.

use std::time::Duration;

use crate::{PhaseKind, human_bytes, human_count, latency};

/// Least and most cells of a bar.
const LEAST_BAR: usize = 5;
const MOST_BAR: usize = 30;

/// How a run stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Live<'a> {
    /// What it does now.
    pub phase: &'a str,
    /// Connections that are where they are to be.
    pub done: u64,
    /// Of so many.
    pub target: u64,
    /// Connections a second; `None` where none are made.
    pub connects_per_second: Option<f64>,
    /// What a workload or a proof says; `None` where nothing is said.
    pub messages: Option<Messages>,
    /// What a connection takes so far.
    pub bytes: Bytes,
    /// Connections that were lost.
    pub failed: u64,
    /// Since the run began.
    pub elapsed: Duration,
    /// Until the phase ends, as far as that is known.
    pub left: Option<Duration>,
}

/// Memory of a connection, bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes {
    /// Of the server's process.
    pub server_bytes: Option<u64>,
    /// Of the swarm's process.
    pub client_bytes: Option<u64>,
    /// Of the kernel, for both ends.
    pub kernel_bytes: Option<u64>,
}

/// Messages of a workload or a proof.
#[derive(Clone, Copy, Debug, Default)]
pub struct Messages {
    /// Of what; `None` = a proof.
    pub kind: Option<PhaseKind>,
    /// So many a second.
    pub per_second: f64,
    /// Half of them took no longer, µs.
    pub p50_us: Option<u64>,
    /// 99 of 100 took no longer, µs.
    pub p99_us: Option<u64>,
}

impl Messages {
    /// How many a second, in the word for what they are.
    fn rate(&self) -> String {
        let what = match self.kind {
            None | Some(PhaseKind::Ramp | PhaseKind::Echo | PhaseKind::Drain) => "echoes",
            Some(PhaseKind::Hold) => "beats",
            Some(PhaseKind::Churn) => "cycles",
            Some(PhaseKind::Stream) => "pieces",
            Some(PhaseKind::Fanout) => "receipts",
        };
        format!("{} {what}/s", human_count(self.per_second as u64))
    }
}

/// A part of the line: the lower its rank, the longer it stays where there is little room.
struct Part {
    rank: u8,
    text: String,
    /// The same in more words, where there is room.
    long: Option<String>,
}

impl Live<'_> {
    /// The line, below `width` columns long: what matters least is left out first.
    #[must_use]
    pub fn line(&self, width: usize) -> String {
        // The last column stays free: some terminals go to the next line as soon as it is filled.
        let room = width.saturating_sub(1);
        let mut parts = self.parts();
        fit(&mut parts, room);
        let bar = room.saturating_sub(length(&parts) + 2).min(MOST_BAR);
        if bar >= LEAST_BAR && self.target > 0 {
            parts.insert(1, Part { rank: u8::MAX, text: self.bar(bar), long: None });
        }
        joined(parts, room)
    }

    /// The same without a bar, for where no line is written over another.
    #[must_use]
    pub fn plain(&self, width: usize) -> String {
        let room = width.saturating_sub(1);
        let mut parts = self.parts();
        fit(&mut parts, room);
        joined(parts, room)
    }

    fn parts(&self) -> Vec<Part> {
        let part = |rank, text| Some(Part { rank, text, long: None });
        let count = format!("{}/{}", human_count(self.done), human_count(self.target));
        let rate = self.connects_per_second.map(|rate| format!("{}/s", human_count(rate as u64)));
        let messages = self.messages.map(|said| said.rate());
        let percentiles = self
            .messages
            .filter(|said| said.p50_us.is_some())
            .map(|said| format!("p50 {} p99 {}", latency(said.p50_us), latency(said.p99_us)));
        let left = self.left.map(|left| format!("{} left", seconds(left)));
        [
            part(0, self.phase.to_owned()),
            part(1, count),
            rate.and_then(|text| part(4, text)),
            messages.and_then(|text| part(5, text)),
            percentiles.and_then(|text| part(6, text)),
            self.bytes.part(),
            part(if self.failed > 0 { 2 } else { 7 }, format!("{} failed", human_count(self.failed))),
            part(8, seconds(self.elapsed)),
            left.and_then(|text| part(3, text)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    fn bar(&self, cells: usize) -> String {
        let part = self.done.min(self.target) as f64 / self.target.max(1) as f64;
        let full = (part * cells as f64) as usize;
        format!("{}{}", "█".repeat(full), "░".repeat(cells - full))
    }
}

impl Bytes {
    fn part(self) -> Option<Part> {
        let (server, client) = (self.server_bytes.map(human_bytes), self.client_bytes.map(human_bytes));
        let kernel =
            self.kernel_bytes.map_or_else(String::new, |bytes| format!(", kernel {}", human_bytes(bytes)));
        let (text, long) = match (server, client) {
            (Some(server), Some(client)) => {
                (format!("{server} + {client}"), format!("server {server}, client {client}{kernel} each"))
            }
            (Some(server), None) => (server.clone(), format!("server {server}{kernel} each")),
            (None, Some(client)) => (client.clone(), format!("client {client}{kernel} each")),
            (None, None) => return None,
        };
        Some(Part { rank: 9, text, long: Some(long) })
    }
}

/// Leaves out what does not fit, and says the rest in more words where there is room for that and a bar.
fn fit(parts: &mut Vec<Part>, room: usize) {
    while parts.len() > 1 && length(parts) > room {
        let most = parts.iter().enumerate().max_by_key(|(_, part)| part.rank);
        let Some((at, _)) = most else { break };
        parts.remove(at);
    }
    for at in 0..parts.len() {
        let Some(long) = parts[at].long.take() else { continue };
        let more = long.chars().count().saturating_sub(parts[at].text.chars().count());
        if length(parts) + more + 2 + LEAST_BAR <= room {
            parts[at].text = long;
        }
    }
}

fn joined(parts: Vec<Part>, room: usize) -> String {
    let line = parts.into_iter().map(|part| part.text).collect::<Vec<_>>().join("  ");
    line.chars().take(room).collect()
}

fn length(parts: &[Part]) -> usize {
    let texts: usize = parts.iter().map(|part| part.text.chars().count()).sum();
    texts + 2 * parts.len().saturating_sub(1)
}

/// How long the rest takes at the pace so far; `None` before there is one.
#[must_use]
pub fn time_left(done: u64, of: u64, took: Duration) -> Option<Duration> {
    let rest = of.saturating_sub(done) as f64;
    (done > 0 && !took.is_zero())
        .then(|| took.as_secs_f64() * rest / done as f64)
        .and_then(|secs| Duration::try_from_secs_f64(secs).ok())
}

/// A time as people read it on a clock: `4.1 s`, `38 s`, `2 min 5 s`.
fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Live<'static> {
        Live {
            phase: "ramp",
            done: 45_120,
            target: 100_000,
            connects_per_second: Some(38_412.7),
            bytes: Bytes { server_bytes: Some(16), client_bytes: Some(24), kernel_bytes: Some(8_222) },
            elapsed: Duration::from_millis(1_230),
            left: Some(Duration::from_millis(1_430)),
            ..Live::default()
        }
    }

    #[test]
    fn the_line_says_the_more_the_wider_the_terminal_is() {
        assert_eq!(ramp().line(40), "ramp  ██░░░  45,120/100,000  1.4 s left");
        assert_eq!(ramp().line(60), "ramp  45,120/100,000  38,412/s  0 failed  1.2 s  1.4 s left");
        assert_eq!(
            ramp().line(80),
            "ramp  ██░░░  45,120/100,000  38,412/s  16 B + 24 B  0 failed  1.2 s  1.4 s left"
        );
        assert_eq!(
            ramp().line(200),
            "ramp  █████████████░░░░░░░░░░░░░░░░░  45,120/100,000  38,412/s  \
             server 16 B, client 24 B, kernel 8,222 B each  0 failed  1.2 s  1.4 s left"
        );
    }

    #[test]
    fn the_hold_counts_down_and_a_workload_says_its_rate_and_its_percentiles() {
        let hold = Live {
            phase: "hold",
            done: 100_000,
            connects_per_second: None,
            messages: Some(Messages {
                kind: None,
                per_second: 101_000.2,
                p50_us: Some(510),
                p99_us: Some(2_500),
            }),
            left: Some(Duration::from_secs(65)),
            ..ramp()
        };
        assert_eq!(
            hold.line(100),
            "hold  100,000/100,000  101,000 echoes/s  p50 510 µs p99 2.5 ms  0 failed  1.2 s  1 min 5 s left"
        );
        assert!(hold.line(40).ends_with("1 min 5 s left"), "{}", hold.line(40));
        let of = |kind| Messages { kind: Some(kind), per_second: 16_213.0, ..Messages::default() }.rate();
        let all = [PhaseKind::Churn, PhaseKind::Hold, PhaseKind::Stream, PhaseKind::Fanout].map(of);
        assert_eq!(all, ["16,213 cycles/s", "16,213 beats/s", "16,213 pieces/s", "16,213 receipts/s"]);
    }

    #[test]
    fn no_width_is_too_small_and_no_line_reaches_its_last_column() {
        let most = Live {
            done: u64::MAX,
            target: u64::MAX,
            failed: u64::MAX,
            messages: Some(Messages {
                kind: None,
                per_second: 1e12,
                p50_us: Some(u64::MAX),
                p99_us: Some(u64::MAX),
            }),
            ..ramp()
        };
        for live in [ramp(), most, Live::default()] {
            for width in 0..=300 {
                assert!(live.line(width).chars().count() < width.max(1), "{width}: {}", live.line(width));
                assert!(live.plain(width).chars().count() < width.max(1), "{width}");
            }
        }
    }

    #[test]
    fn what_was_lost_is_said_before_all_but_the_count() {
        let lossy = Live { failed: 12, ..ramp() };
        assert_eq!(lossy.line(40), "ramp  ██░░░░  45,120/100,000  12 failed");
        assert_eq!(
            lossy.plain(80),
            "ramp  45,120/100,000  38,412/s  16 B + 24 B  12 failed  1.2 s  1.4 s left"
        );
    }

    #[test]
    fn the_rest_takes_as_long_as_the_pace_so_far_says() {
        let left = time_left(25_000, 100_000, Duration::from_secs(1));
        assert_eq!(left, Some(Duration::from_secs(3)));
        assert_eq!((time_left(0, 9, Duration::from_secs(1)), time_left(5, 9, Duration::ZERO)), (None, None));
        assert_eq!(time_left(9, 9, Duration::from_secs(1)), Some(Duration::ZERO));
    }
}
