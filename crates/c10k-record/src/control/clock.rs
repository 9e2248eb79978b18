//! Two clocks: the far end's against one's own.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The answer to `/v1/clock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// When the request was read, by the far end's CLOCK_REALTIME, nanoseconds since 1970.
    pub received_unix_ns: u64,
    /// When the answer was made.
    pub sent_unix_ns: u64,
}

/// CLOCK_REALTIME, nanoseconds since 1970.
#[must_use]
pub fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// One request and its answer, with the times of both clocks, nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When it was asked, by the own clock.
    pub asked_unix_ns: u64,
    /// What the far end said.
    pub far: Clock,
    /// When it was answered, by the own clock.
    pub answered_unix_ns: u64,
}

/// How far the far end's clock is ahead of one's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offset {
    /// Far clock less own clock, nanoseconds; below 0 where the far clock is behind.
    pub offset_ns: i64,
    /// The round trip by which it was measured, nanoseconds, the far end's own time taken out. The offset is right to half
    /// of it.
    pub round_trip_ns: u64,
    /// When that was, by the own clock, nanoseconds since 1970.
    pub at_unix_ns: u64,
    /// How many were tried; this one had the shortest round trip.
    pub tries: u32,
}

impl Offset {
    /// Of several tries the one with the shortest round trip (RFC 5905, section 8: the offset is the mean of the two
    /// ways' differences). `None` without one; a try in which the own clock went back is none.
    #[must_use]
    pub fn best(readings: &[Reading]) -> Option<Self> {
        let of = |reading: &Reading| {
            let Reading { asked_unix_ns, far, answered_unix_ns } = *reading;
            let way = answered_unix_ns.checked_sub(asked_unix_ns)?;
            let there = far.sent_unix_ns.checked_sub(far.received_unix_ns)?;
            let ahead = |far: u64, own: u64| i128::from(far) - i128::from(own);
            let sum = ahead(far.received_unix_ns, asked_unix_ns) + ahead(far.sent_unix_ns, answered_unix_ns);
            Some(Self {
                offset_ns: i64::try_from(sum / 2).ok()?,
                round_trip_ns: way.saturating_sub(there),
                at_unix_ns: answered_unix_ns,
                tries: u32::try_from(readings.len()).unwrap_or(u32::MAX),
            })
        };
        readings.iter().filter_map(of).min_by_key(|offset| offset.round_trip_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(asked: u64, far: u64, answered: u64) -> Reading {
        let far = Clock { received_unix_ns: far, sent_unix_ns: far + 10 };
        Reading { asked_unix_ns: asked, far, answered_unix_ns: answered }
    }

    #[test]
    fn the_shortest_round_trip_tells_the_offset_to_half_of_it() {
        const AHEAD: u64 = 10_000_000_000;
        let all = [
            reading(1_000, 1_700 + AHEAD, 1_910),
            reading(2_000, 2_050 + AHEAD, 2_110),
            reading(3_000, 3_100 + AHEAD, 3_510),
        ];
        let best = Offset::best(&all).expect("there are some");
        assert_eq!((best.offset_ns, best.round_trip_ns, best.tries), (10_000_000_000, 100, 3));
    }

    #[test]
    fn a_clock_that_is_behind_has_an_offset_below_nothing_and_one_that_went_back_says_nothing() {
        let best = Offset::best(&[reading(10_000, 5_000, 10_110)]).expect("one");
        assert_eq!((best.offset_ns, best.round_trip_ns), (-5_050, 100));
        assert_eq!(Offset::best(&[reading(10_000, 5_000, 9_000)]), None);
        assert_eq!(Offset::best(&[]), None);
    }
}
