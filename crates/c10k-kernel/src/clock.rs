//! The clock that all processes of a machine share, and the one of a thread alone.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// CLOCK_MONOTONIC, µs (clock_gettime(2)): of one moment the same in all processes of a machine, and set by nobody. A time
/// namespace may shift it (time_namespaces(7)).
#[must_use]
pub fn monotonic_us() -> u64 {
    // EINVAL is for clocks that are not there, which this one always is.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec().cast_unsigned() * 1_000_000 + now.tv_nsec().cast_unsigned() / 1000)
}

/// CLOCK_THREAD_CPUTIME_ID (clock_gettime(2)): the processor time that the calling thread has used.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn it_runs_as_the_clock_of_instants_does() {
        for slept in [0, 1, 10, 2000].map(Duration::from_micros) {
            let outer = Instant::now();
            let before = monotonic_us();
            let inner = Instant::now();
            std::thread::sleep(slept);
            let inner = inner.elapsed();
            let after = monotonic_us();
            let outer = outer.elapsed();
            // Each reading leaves out the part of a microsecond that has begun: a difference of two may be up to one
            // microsecond too short or too long.
            let microsecond = Duration::from_micros(1);
            let took = Duration::from_micros(after - before);
            assert!(before > 0 && inner >= slept);
            assert!(inner < took + microsecond, "{inner:?} are more than {took:?} can be");
            assert!(took < outer + microsecond, "{took:?} are more than {outer:?} can be");
        }
    }

    #[test]
    fn the_clock_of_a_thread_stands_while_that_sleeps_and_runs_while_it_works() {
        let (begun, before) = (Instant::now(), thread_cpu_time());
        std::thread::sleep(Duration::from_millis(20));
        let slept = thread_cpu_time() - before;
        assert!(slept + Duration::from_millis(10) < begun.elapsed(), "{slept:?}");
        while thread_cpu_time() - before < slept + Duration::from_millis(1) {
            std::hint::spin_loop();
        }
        assert!(thread_cpu_time() - before <= begun.elapsed());
    }
}
