//! What breaks first as a verdict.

use super::{Lift, Planted, flag, small};
use crate::setup::Setup;
use crate::stage::{Act, What, When};

pub(super) static PLANTS: &[Planted] = &[
    Planted {
        wall: "error-verdict",
        setup: losing_one_source,
        group: None,
        lift: Lift::TakenAway("no source address is taken away"),
    },
    Planted {
        wall: "latency-verdict",
        setup: || {
            let mut setup = small(400);
            setup.verdicts.push("echo_p95 <= 1us".to_owned());
            setup
        },
        group: None,
        lift: Lift::TakenAway("echoes may take as long as they do"),
    },
];

/// One of twenty source addresses is gone in the hold: a twentieth of the connections is lost without a word.
fn losing_one_source() -> Setup {
    let mut setup = small(400);
    flag(&mut setup, "--ips", "192.168.1.200-219");
    flag(&mut setup, "--ports", "33000-33019");
    let what = What::RemoveSource([192, 168, 1, 203].into());
    setup.stage.acts.push(Act { when: When::Hold, what });
    setup
}
