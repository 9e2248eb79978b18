//! The listener's two queues, and a server that does not serve them.

use super::{Lift, Planted, flag, small};
use crate::setup::Setup;
use crate::stage::{Act, Noise, What, When};

pub(super) static PLANTS: &[Planted] = &[
    Planted {
        wall: "accept-queue",
        setup: || {
            let mut setup = arriving(600, 32);
            flag(&mut setup, "--connect-timeout", "600ms");
            // Shorter than the 2 s after which a server counts as one that has stopped accepting.
            act(&mut setup, What::NapServer(1400));
            setup
        },
        group: None,
        lift: Lift::Remedy,
    },
    Planted {
        wall: "syn-queue",
        setup: || {
            let mut setup = arriving(100, 16);
            setup.sysctls.insert("net.ipv4.tcp_syncookies".to_owned(), "0".to_owned());
            setup.stage.noise.push(Noise::HalfOpen(64));
            setup
        },
        group: None,
        lift: Lift::Remedy,
    },
    Planted {
        wall: "server-stopped-accepting",
        setup: || {
            let mut setup = arriving(600, 32);
            flag(&mut setup, "--probe-timeout", "3s");
            act(&mut setup, What::StopServer);
            setup
        },
        group: None,
        lift: Lift::TakenAway("the server is not stopped"),
    },
    Planted {
        wall: "server-died",
        setup: || {
            let mut setup = arriving(600, 4096);
            act(&mut setup, What::KillServer);
            setup
        },
        group: None,
        lift: Lift::TakenAway("the server is not killed"),
    },
];

/// Connections that come one after another to a listener with this backlog, so that there is a middle.
fn arriving(target: u64, backlog: u32) -> Setup {
    let mut setup = small(target);
    setup.backlog = Some(backlog);
    flag(&mut setup, "--rate", "400");
    flag(&mut setup, "--server-workers", "1");
    setup
}

fn act(setup: &mut Setup, what: What) {
    setup.stage.acts.push(Act { when: When::Established(100), what });
}
