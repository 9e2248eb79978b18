//! The far end's time on one's own: by the offset that was measured, and by what each look shows of it.
//!
//! A look was taken between the moment at which it was asked for and the one at which its answer came. Where the offset
//! puts it outside of these two, the offset is no longer right: by a little where the clocks run unevenly, and then it is
//! moved with them; by much where one of them was set.

/// So much from one look to the next is no uneven running: 500 ppm, the most to which Linux slews a clock (adjtimex(2)),
/// are 0.5 ms a second.
const JUMP_NS: i64 = 100_000_000;

/// Lays times of the far clock on the own one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Laying {
    /// The far clock less the own one, nanoseconds.
    offset_ns: i64,
}

/// One time of the far clock, laid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Laid {
    /// Since it was asked for, nanoseconds of the own clock.
    pub(crate) after_asked_ns: u64,
    /// By how much one of the clocks was set since the last look, nanoseconds: above 0 where the far one went ahead or the own
    /// one back; `None` where neither was.
    pub(crate) jumped_ns: Option<i64>,
}

impl Laying {
    /// By an offset that was measured.
    pub(crate) fn by(offset_ns: i64) -> Self {
        Self { offset_ns }
    }

    /// Lays the time of a look that was asked for and answered at these times of the own clock, nanoseconds since 1970.
    /// `took_ns` is how long that was by a clock that nobody sets.
    pub(crate) fn lay(&mut self, asked_unix_ns: u64, took_ns: u64, far_unix_ns: u64) -> Laid {
        let took = i64::try_from(took_ns).unwrap_or(i64::MAX);
        let ahead = i128::from(far_unix_ns) - i128::from(asked_unix_ns);
        let ahead = i64::try_from(ahead).unwrap_or(if ahead > 0 { i64::MAX } else { i64::MIN });
        let after = ahead.saturating_sub(self.offset_ns);
        let within = after.clamp(0, took);
        let off = after.saturating_sub(within);
        self.offset_ns = self.offset_ns.saturating_add(off);
        Laid {
            after_asked_ns: within.unsigned_abs(),
            jumped_ns: Some(off).filter(|off| off.unsigned_abs() > JUMP_NS.unsigned_abs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const NOW: u64 = 1_800_000_000_000_000_000;

    fn far(own: u64, ahead_ns: i64) -> u64 {
        own.saturating_add_signed(ahead_ns)
    }

    #[test]
    fn a_clock_that_is_10_s_off_is_laid_to_the_nanosecond() {
        for ahead in [10 * SECOND, -10 * SECOND, 0] {
            let mut laying = Laying::by(ahead);
            let laid = laying.lay(NOW, 900_000, far(NOW + 400_000, ahead));
            assert_eq!(laid, Laid { after_asked_ns: 400_000, jumped_ns: None }, "{ahead}");
        }
    }

    #[test]
    fn an_offset_that_is_a_little_wrong_is_moved_with_the_clocks_and_is_no_jump() {
        let mut laying = Laying::by(0);
        // 50 ppm for ten minutes, a look every quarter of a second: 12.5 µs each.
        for look in 1..=2_400_u64 {
            let own = NOW + look * 250_000_000;
            let ahead = look as i64 * 12_500;
            let laid = laying.lay(own, 300_000, far(own + 150_000, ahead));
            assert_eq!(laid.jumped_ns, None, "look {look}");
            assert!(laid.after_asked_ns <= 300_000);
        }
        let off = laying.offset_ns - 2_400 * 12_500;
        assert!(off.abs() <= 300_000, "it followed: {off} ns off after 30 ms of drift");
    }

    #[test]
    fn a_clock_that_is_set_is_seen_at_the_next_look_once_and_the_look_stays_where_it_was() {
        for step in [3_600 * SECOND, -SECOND, SECOND / 5] {
            let mut laying = Laying::by(10 * SECOND);
            laying.lay(NOW, 300_000, far(NOW + 100_000, 10 * SECOND));
            let laid = laying.lay(NOW + 1_000, 300_000, far(NOW + 1_100, 10 * SECOND + step));
            assert!(laid.after_asked_ns <= 300_000, "{laid:?}");
            let jumped = laid.jumped_ns.expect("it jumped");
            assert!((jumped - step).abs() <= 300_000, "{jumped} for {step}");
            let next = laying.lay(NOW + 2_000, 300_000, far(NOW + 2_100, 10 * SECOND + step));
            assert_eq!(next.jumped_ns, None, "it is told once");
        }
    }

    #[test]
    fn a_long_round_trip_hides_no_more_than_it_lasts() {
        let mut laying = Laying::by(0);
        // The answer took 2 s: a step of 1 s lies within.
        assert_eq!(laying.lay(NOW, 2 * SECOND as u64, far(NOW, SECOND)).jumped_ns, None);
        let jumped = laying.lay(NOW, 2 * SECOND as u64, far(NOW, 4 * SECOND)).jumped_ns;
        assert_eq!(jumped, Some(2 * SECOND), "at least so much");
    }

    #[test]
    fn no_time_that_a_far_end_makes_up_overflows() {
        for (own, theirs, offset) in [(0, u64::MAX, i64::MIN), (u64::MAX, 0, i64::MAX), (NOW, 0, 0)] {
            let laid = Laying::by(offset).lay(own, u64::MAX, theirs);
            assert!(laid.jumped_ns.is_none_or(|jumped| jumped != 0));
        }
    }
}
