//! Times of the rendezvous in times of this box.
//!
//! The start is given by the wall clock of the rendezvous. Here it is turned into a moment of the monotonic clock, by the
//! offset between the two wall clocks as it was measured at a known moment: a wall clock that is wrong is right by that,
//! and one that is set later changes nothing. With the start its distance is told as well, so that a clock of the
//! rendezvous that was set between the two is noticed.

use std::time::{Duration, Instant};

use c10k_record::control::{Offset, unix_ns};

/// A difference up to this much is none of a clock that was set.
const TOLERANCE: Duration = Duration::from_millis(100);
/// By so much of the time that has passed clocks differ without having been set: one part in a thousand, twice what NTP
/// slews by at most.
const DRIFT: i128 = 1000;

/// Both clocks of this box at one moment, and how far that of the rendezvous was ahead of its wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchor {
    pub(super) moment: Instant,
    pub(super) unix_ns: u64,
    pub(super) offset: Offset,
}

impl Anchor {
    /// With an offset that was measured just now.
    pub(super) fn now(offset: Offset) -> Self {
        Self { moment: Instant::now(), unix_ns: unix_ns(), offset }
    }

    /// The wall clock of the rendezvous at the anchor's moment, ns since 1970.
    fn far_unix_ns(&self) -> i128 {
        i128::from(self.unix_ns) + i128::from(self.offset.offset_ns)
    }

    /// When it is that late there.
    pub(super) fn moment_of(&self, far_unix_ns: u64) -> Instant {
        moved(self.moment, i128::from(far_unix_ns) - self.far_unix_ns())
    }

    /// How late it is there, ns since 1970.
    pub(super) fn far_at(&self, moment: Instant) -> u64 {
        u64::try_from(self.far_unix_ns() + apart_ns(moment, self.moment)).unwrap_or(0)
    }

    /// Which of the two wall clocks was set between this anchor and a later one, in words.
    pub(super) fn set_since(&self, later: &Self) -> Vec<String> {
        let passed = apart_ns(later.moment, self.moment);
        let own = i128::from(later.unix_ns) - i128::from(self.unix_ns) - passed;
        let far = later.far_unix_ns() - self.far_unix_ns() - passed;
        let certain =
            i128::from(self.offset.round_trip_ns.max(later.offset.round_trip_ns)) + passed.abs() / DRIFT;
        let is_set = |by: i128| by.abs() > TOLERANCE.as_nanos() as i128 + certain;
        let clocks = [("the clock of this box", own), ("the clock of the rendezvous", far)];
        clocks.iter().filter(|(_, by)| is_set(*by)).map(|(whose, by)| jumped(whose, *by)).collect()
    }
}

/// When to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) moment: Instant,
    /// What was set since the offset was measured, in words.
    pub(super) jumped: Option<String>,
}

/// The start that was given as a time of the rendezvous and as a distance from its answer, which was asked for and came
/// at these moments. Where the two differ by more than the way takes, its clock was set since the offset was measured,
/// and the distance is right.
pub(super) fn start_of(
    anchor: &Anchor,
    at_unix_ns: u64,
    in_ns: u64,
    asked: Instant,
    answered: Instant,
) -> Start {
    let by_clock = anchor.moment_of(at_unix_ns);
    let earliest = moved(asked, i128::from(in_ns));
    let latest = moved(answered, i128::from(in_ns));
    let off =
        if by_clock < earliest { -apart_ns(earliest, by_clock) } else { apart_ns(by_clock, latest).max(0) };
    if off.abs() <= TOLERANCE.as_nanos() as i128 {
        return Start { moment: by_clock, jumped: None };
    }
    let middle = earliest + latest.saturating_duration_since(earliest) / 2;
    Start { moment: middle, jumped: Some(jumped("the clock of the rendezvous", off)) }
}

fn jumped(whose: &str, by_ns: i128) -> String {
    let (way, seconds) = (if by_ns < 0 { "back" } else { "forward" }, by_ns.unsigned_abs() as f64 / 1e9);
    format!(
        "{whose} was set {way} by {seconds:.1} s while the shards met: times of the run are of clocks that are never set"
    )
}

/// How much later `late` is than `early`, ns.
fn apart_ns(late: Instant, early: Instant) -> i128 {
    let ahead = late.saturating_duration_since(early).as_nanos() as i128;
    ahead - early.saturating_duration_since(late).as_nanos() as i128
}

fn moved(moment: Instant, by_ns: i128) -> Instant {
    let by = Duration::from_nanos(u64::try_from(by_ns.unsigned_abs()).unwrap_or(u64::MAX));
    let moved = if by_ns < 0 { moment.checked_sub(by) } else { moment.checked_add(by) };
    moved.unwrap_or(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;
    const OWN_NS: u64 = 1_700_000_000 * SECOND_NS;

    /// A rendezvous whose clock is ahead by so many seconds.
    fn anchor(ahead_secs: i64) -> Anchor {
        let offset_ns = ahead_secs * SECOND_NS as i64;
        let offset = Offset { offset_ns, round_trip_ns: 1_000_000, at_unix_ns: OWN_NS, tries: 8 };
        Anchor { moment: Instant::now() + Duration::from_secs(100), unix_ns: OWN_NS, offset }
    }

    fn far_ns(anchor: &Anchor, after_secs: u64) -> u64 {
        (anchor.far_unix_ns() + i128::from(after_secs * SECOND_NS)) as u64
    }

    #[test]
    fn a_clock_that_is_ten_seconds_off_begins_with_the_others() {
        for ahead_secs in [-10, 0, 10, 86_400] {
            let anchor = anchor(ahead_secs);
            let at = far_ns(&anchor, 5);
            let (asked, answered) =
                (anchor.moment + Duration::from_secs(2), anchor.moment + Duration::from_millis(2001));
            let start = start_of(&anchor, at, 3 * SECOND_NS, asked, answered);
            assert_eq!(start, Start { moment: anchor.moment + Duration::from_secs(5), jumped: None });
            assert_eq!(anchor.far_at(start.moment), at);
        }
    }

    #[test]
    fn a_clock_of_the_rendezvous_that_was_set_is_named_and_the_distance_holds() {
        let anchor = anchor(0);
        let (asked, answered) =
            (anchor.moment + Duration::from_secs(2), anchor.moment + Duration::from_millis(2002));
        for (by, words) in [(10_i64, "set forward by 10.0 s"), (-10, "set back by 10.0 s")] {
            let at = far_ns(&anchor, 5).saturating_add_signed(by * SECOND_NS as i64);
            let start = start_of(&anchor, at, 3 * SECOND_NS, asked, answered);
            assert_eq!(start.moment, anchor.moment + Duration::from_millis(5001));
            let jumped = start.jumped.expect("it was set");
            assert!(
                jumped.starts_with("the clock of the rendezvous was ") && jumped.contains(words),
                "{jumped}"
            );
        }
    }

    #[test]
    fn which_of_the_clocks_was_set_is_told_from_a_later_measurement() {
        let first = anchor(10);
        let later = |own_set_secs: i64, far_set_secs: i64| {
            let passed = Duration::from_secs(60);
            let unix_ns = first.unix_ns + 60 * SECOND_NS;
            let offset_ns = first.offset.offset_ns + (far_set_secs - own_set_secs) * SECOND_NS as i64;
            Anchor {
                moment: first.moment + passed,
                unix_ns: unix_ns.saturating_add_signed(own_set_secs * SECOND_NS as i64),
                offset: Offset { offset_ns, ..first.offset },
            }
        };
        assert_eq!(first.set_since(&later(0, 0)), Vec::<String>::new());
        let own = first.set_since(&later(-10, 0));
        assert!(
            own.len() == 1 && own[0].starts_with("the clock of this box was set back by 10.0 s"),
            "{own:?}"
        );
        let far = first.set_since(&later(0, 3));
        assert!(
            far.len() == 1 && far[0].starts_with("the clock of the rendezvous was set forward by 3.0 s"),
            "{far:?}"
        );
        assert_eq!(first.set_since(&later(7, 7)).len(), 2);
        let slewed = Anchor { unix_ns: later(0, 0).unix_ns + 30_000_000, ..later(0, 0) };
        assert_eq!(
            first.set_since(&slewed),
            Vec::<String>::new(),
            "NTP slews a clock by up to one part in 2,000"
        );
    }
}
