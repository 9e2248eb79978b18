//! How long the far end may take to answer while a run goes on.

use std::time::Duration;

use c10k_record::control::LEASE;

/// How long each answer may take. A far end that waits longer for its client, by its `--lease`, is waited for longer too:
/// its own flags have said that answers are slow there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// The answer to a look.
    pub(crate) look: Duration,
    /// The one to a mark, in which the far end counts its sockets and waits for its kernel.
    pub(crate) mark: Duration,
    /// The end of a run: all of its account is sent.
    pub(crate) end: Duration,
    /// One that has not answered for so long is lost. The far end itself gives a run up a little later.
    pub(crate) lost_after: Duration,
}

impl Patience {
    /// With the far end's lease.
    pub(crate) fn of_lease(lease: Duration) -> Self {
        let times = (lease.as_secs_f64() / LEASE.0.as_secs_f64()).max(1.0);
        let of = |secs: f64| Duration::from_secs_f64(secs * times);
        Self { look: of(3.0), mark: of(8.0), end: of(6.0), lost_after: of(12.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_far_end_is_given_up_before_it_gives_the_run_up_itself() {
        for secs in [15, 16, 60, 3_600] {
            let lease = Duration::from_secs(secs);
            let patience = Patience::of_lease(lease);
            assert!(patience.lost_after < lease, "{patience:?}");
            assert!(
                patience.look < patience.lost_after && patience.mark < patience.lost_after,
                "{patience:?}"
            );
        }
    }

    #[test]
    fn a_short_lease_asks_for_no_haste() {
        let usual = Patience::of_lease(LEASE.0);
        assert_eq!(usual.look, Duration::from_secs(3));
        assert_eq!(Patience::of_lease(Duration::ZERO), usual);
        assert_eq!(Patience::of_lease(Duration::from_secs(5)), usual);
    }
}
