//! Evidence that fits two walls goes to the one that was met, and of two that were met to the first.

mod support;

use c10k_record::PhaseName;
use support::{lose, named, planted};

#[test]
fn who_waited_in_vain_was_cost_when_the_wait_began() {
    let first = |probe_timeout_ms| {
        let mut findings = planted("nofile-server").expect("planted");
        findings.failures.clear();
        findings.connections.failed.clear();
        findings.plan.probe_timeout_ms = probe_timeout_ms;
        // The swarm's own table is full 10 ms after the server's.
        lose(&mut findings, PhaseName::Ramp, "probe-timeout", 40, 5_020);
        lose(&mut findings, PhaseName::Ramp, "EMFILE", 1, 30);
        named(&findings).wall
    };
    assert_eq!(first(Some(5_000)), "nofile-server");
    assert_eq!(first(Some(4_000)), "nofile-swarm", "a second later");
    assert_eq!(first(None), "nofile-swarm", "how long they waited is not known");

    let first = |connect_timeout_ms| {
        let mut findings = planted("conntrack").expect("planted");
        findings.failures.clear();
        findings.plan.connect_timeout_ms = Some(connect_timeout_ms);
        lose(&mut findings, PhaseName::Ramp, "connect-timeout", 40, 5_020);
        lose(&mut findings, PhaseName::Ramp, "EAGAIN", 1, 30);
        named(&findings).wall
    };
    assert_eq!((first(5_000).as_str(), first(4_000).as_str()), ("conntrack", "threads"));
}
