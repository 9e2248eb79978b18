//! Control groups with little in them: processor time, memory, threads (for root: anybody else has a limit of their
//! own).

use c10k_kernel::limits;
use c10k_plan::stage::{Limit, NOBODY, Who};

use super::together::Stands;
use super::{Frame, Group, Lift, Planted, flag, small};
use crate::rerun::Setup;

pub(super) static PLANTS: &[Planted] = &[
    Planted {
        wall: "cpu-server",
        least: SLOW,
        stands: Stands::Slow,
        setup: slow,
        group: Some(Group { who: Who::Server, limit: A_HUNDREDTH, instead: None }),
        lift: Lift::TakenAway("the server is in no group"),
    },
    Planted {
        wall: "cpu-swarm",
        least: SLOW,
        stands: Stands::Slow,
        setup: slow,
        group: Some(Group { who: Who::Swarm, limit: A_HUNDREDTH, instead: None }),
        lift: Lift::TakenAway("the swarm is in no group"),
    },
    Planted {
        wall: "cgroup-memory",
        least: 4000,
        stands: Stands::Gone,
        setup: small,
        group: Some(Group { who: Who::Server, limit: Limit::Memory(4 << 20), instead: None }),
        lift: Lift::TakenAway("the server is in no group"),
    },
    Planted {
        wall: "threads",
        least: 600,
        stands: Stands::Swarm,
        setup: |frame| {
            // So few descriptors in a table that each worker holds a hundred and a half of connections.
            let mut setup = small(frame);
            setup.stage.swarm.nofile = Some(180);
            // RLIMIT_NPROC binds everybody but root.
            if limits::euid() != 0 {
                few_threads(&mut setup);
            }
            setup
        },
        group: Some(Group { who: Who::Swarm, limit: Limit::Threads(6), instead: Some(as_nobody) }),
        lift: Lift::TakenAway("the swarm may have as many threads as anybody"),
    },
];

const SLOW: u64 = 1500;
/// The least that the kernel takes.
const A_HUNDREDTH: Limit = Limit::Processor(1000);

/// The lab's own next threads count too.
fn few_threads(setup: &mut Setup) {
    setup.stage.swarm.more_threads = Some(8);
}

/// Root's swarm is bound by RLIMIT_NPROC once it is not root's.
fn as_nobody(setup: &mut Setup) {
    setup.stage.swarm.uid = Some(NOBODY);
    setup.stage.swarm.more_threads = Some(6);
    // The plant's folder is root's; of its profile all is for the server.
    for (flag, value) in [("--hlog", "/dev/null"), ("--profile", "stock")] {
        setup.stage.swarm.flags.insert(flag.to_owned(), value.to_owned());
    }
}

/// A run in which an end that is slow is seen to be late; a swarm that waits long enough loses nothing by it.
fn slow(frame: &Frame) -> Setup {
    let mut setup = small(frame);
    for name in ["--probe-timeout", "--connect-timeout"] {
        flag(&mut setup, name, "30s");
    }
    // Beside another plant there may be few connections to be late.
    let late = if frame.is_shared { "1ms" } else { "20ms" };
    setup.verdicts.push(format!("echo_p95 <= {late}"));
    setup
}
