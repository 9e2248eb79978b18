//! What breaks first as a verdict.

use c10k_plan::stage::{Act, What, When};

use super::together::Stands;
use super::{Frame, Lift, Planted, flag, small};
use crate::rerun::Setup;

pub(super) static PLANTS: &[Planted] = &[
    Planted {
        wall: "error-verdict",
        least: 400,
        stands: Stands::Verdict,
        setup: losing_one_source,
        group: None,
        lift: Lift::TakenAway("no source address is taken away"),
    },
    Planted {
        wall: "latency-verdict",
        least: 400,
        stands: Stands::Verdict,
        setup: |frame| {
            let mut setup = small(frame);
            setup.verdicts.push("echo_p95 <= 1us".to_owned());
            setup
        },
        group: None,
        lift: Lift::TakenAway("echoes may take as long as they do"),
    },
    Planted {
        wall: "swarm-late",
        least: 400,
        stands: Stands::Verdict,
        setup: |frame| {
            let mut setup = small(frame);
            flag(&mut setup, "--rate", "10M/s");
            flag(&mut setup, "--workers", "1");
            setup.verdicts.push("connect_response_p50 <= 1ms".to_owned());
            setup
        },
        group: None,
        lift: Lift::Done(|setup| flag(setup, "--rate", "500/s"), "400 connects are begun at 500 a second"),
    },
];

/// One of twenty source addresses is gone in the hold: a twentieth of the connections is lost without a word.
fn losing_one_source(frame: &Frame) -> Setup {
    let mut setup = small(frame);
    flag(&mut setup, "--ips", "192.168.1.200-219");
    flag(&mut setup, "--ports", "33000-33019");
    let what = What::RemoveSource([192, 168, 1, 203].into());
    setup.stage.acts.push(Act { when: When::Hold, what });
    setup
}
