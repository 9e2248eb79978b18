//! Descriptors, source ports, TIME_WAIT and the server's own limit.

use super::{Lift, Planted, flag, small};
use crate::setup::Setup;
use crate::stage::{Act, Noise, What, When};

pub(super) static PLANTS: &[Planted] = &[
    Planted {
        wall: "nofile-server",
        setup: || {
            let mut setup = small(600);
            setup.stage.server.one_table = true;
            setup.stage.server.nofile = Some(300);
            setup
        },
        group: None,
        lift: Lift::Remedy,
    },
    Planted {
        wall: "nofile-swarm",
        setup: || {
            let mut setup = small(600);
            setup.stage.swarm.one_table = true;
            setup.stage.swarm.nofile = Some(300);
            setup
        },
        group: None,
        lift: Lift::Remedy,
    },
    Planted {
        wall: "ports-exhausted",
        setup: || one_source(500, "20000 20299"),
        group: None,
        lift: Lift::Remedy,
    },
    Planted {
        wall: "ports-reserved",
        setup: || {
            let mut setup = one_source(300, "20000 20399");
            set(&mut setup, "net.ipv4.ip_local_reserved_ports", "20000-20199");
            setup
        },
        group: None,
        lift: Lift::Remedy,
    },
    Planted {
        wall: "time-wait-ports",
        setup: || {
            let mut setup = one_source(300, "20000 20399");
            set(&mut setup, "net.ipv4.tcp_tw_reuse", "0");
            setup.stage.noise.push(Noise::Closed { source: [127, 0, 0, 1].into(), count: 250 });
            setup
        },
        group: None,
        lift: Lift::Remedy,
    },
    Planted {
        wall: "time-wait-buckets",
        setup: || {
            let mut setup = small(1000);
            set(&mut setup, "net.ipv4.tcp_max_tw_buckets", "100");
            flag(&mut setup, "--close", "fin");
            setup.stage.acts.push(Act { when: When::Hold, what: What::Renew(800) });
            setup
        },
        group: None,
        lift: Lift::Remedy,
    },
    Planted {
        wall: "server-max-connections",
        setup: || {
            let mut setup = small(500);
            flag(&mut setup, "--max-connections", "200");
            setup
        },
        group: None,
        lift: Lift::Remedy,
    },
];

/// A swarm with one source address and few ports, which does not count them beforehand.
fn one_source(target: u64, ports: &str) -> Setup {
    let mut setup = small(target);
    flag(&mut setup, "--ips", "127.0.0.1");
    set(&mut setup, "net.ipv4.ip_local_port_range", ports);
    setup.stage.swarm.flags.insert("--target".to_owned(), "1".to_owned());
    setup
}

fn set(setup: &mut Setup, key: &str, value: &str) {
    setup.sysctls.insert(key.to_owned(), value.to_owned());
}
