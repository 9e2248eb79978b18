//! The listener's two queues, and a server that does not serve them.

use c10k_plan::stage::{Act, Noise, What, When};

use super::together::Stands;
use super::{Frame, Lift, Planted, flag, small};
use crate::rerun::Setup;

pub(super) static PLANTS: &[Planted] = &[
    Planted {
        wall: "accept-queue",
        least: 600,
        stands: Stands::Way,
        setup: |frame| {
            let mut setup = arriving(frame, 32);
            flag(&mut setup, "--connect-timeout", "600ms");
            // Shorter than the 2 s after which a server counts as one that has stopped accepting.
            act(&mut setup, When::Established(100), What::NapServer(1400));
            setup
        },
        group: None,
        lift: Lift::Remedy,
    },
    Planted {
        wall: "syn-queue",
        least: 100,
        stands: Stands::Before,
        setup: |frame| {
            let mut setup = arriving(frame, 16);
            setup.sysctls.insert("net.ipv4.tcp_syncookies".to_owned(), "0".to_owned());
            setup.stage.noise.push(Noise::HalfOpen(64));
            setup
        },
        group: None,
        lift: Lift::Remedy,
    },
    Planted {
        wall: "server-stopped-accepting",
        least: 600,
        stands: Stands::Gone,
        setup: |frame| {
            let mut setup = arriving(frame, 32);
            flag(&mut setup, "--probe-timeout", "3s");
            act(&mut setup, When::Established(100), What::StopServer);
            setup
        },
        group: None,
        lift: Lift::TakenAway("the server is not stopped"),
    },
    Planted {
        wall: "server-died",
        least: 600,
        stands: Stands::Gone,
        setup: |frame| {
            let mut setup = arriving(frame, 4096);
            // So that another wall has bitten before.
            let when = if frame.is_shared { When::Hold } else { When::Established(100) };
            act(&mut setup, when, What::KillServer);
            setup
        },
        group: None,
        lift: Lift::TakenAway("the server is not killed"),
    },
];

/// Connections that come one after another to a listener with this backlog, so that there is a middle.
fn arriving(frame: &Frame, backlog: u32) -> Setup {
    let mut setup = small(frame);
    setup.backlog = Some(backlog);
    flag(&mut setup, "--rate", "400");
    flag(&mut setup, "--server-workers", "1");
    setup
}

fn act(setup: &mut Setup, when: When, what: What) {
    setup.stage.acts.push(Act { when, what });
}
