//! Descriptors, source ports, TIME_WAIT and the server's own limit.

use c10k_plan::stage::{Act, Noise, What, When};

use super::together::Stands;
use super::{Frame, Lift, Planted, flag, small};
use crate::rerun::Setup;

pub(super) static PLANTS: &[Planted] = &[
    Planted {
        wall: "nofile-server",
        least: 600,
        stands: Stands::Full,
        setup: |frame| {
            let mut setup = small(frame);
            setup.stage.server.one_table = true;
            // Fewer connections than any plant lets the swarm make.
            setup.stage.server.nofile = Some(260);
            setup
        },
        group: None,
        lift: Lift::Remedy,
    },
    Planted {
        wall: "nofile-swarm",
        least: 600,
        stands: Stands::Swarm,
        setup: |frame| {
            let mut setup = small(frame);
            setup.stage.swarm.one_table = true;
            setup.stage.swarm.nofile = Some(300);
            setup
        },
        group: None,
        lift: Lift::Remedy,
    },
    Planted {
        wall: "ports-exhausted",
        least: 500,
        stands: Stands::Swarm,
        setup: |frame| one_source(frame, "20000 20299"),
        group: None,
        lift: Lift::Remedy,
    },
    Planted {
        wall: "ports-reserved",
        least: 300,
        stands: Stands::Swarm,
        setup: |frame| {
            let (window, half) = window(frame);
            let mut setup = one_source(frame, &window);
            set(&mut setup, "net.ipv4.ip_local_reserved_ports", &format!("20000-{}", 19_999 + half));
            setup
        },
        group: None,
        lift: Lift::Remedy,
    },
    Planted {
        wall: "source-address-gone",
        least: 400,
        stands: Stands::Swarm,
        setup: |frame| {
            let mut setup = small(frame);
            // The second is used when the first is full.
            let first = frame.target * 3 / 5;
            flag(&mut setup, "--ips", "192.168.1.200-201");
            flag(&mut setup, "--ports", &format!("33000-{}", 32_999 + first));
            flag(&mut setup, "--rate", "150");
            let what = What::RemoveSource([192, 168, 1, 201].into());
            setup.stage.acts.push(Act { when: When::Established(first + 10), what });
            setup
        },
        group: None,
        lift: Lift::TakenAway("no source address is taken away"),
    },
    Planted {
        wall: "time-wait-ports",
        least: 300,
        stands: Stands::Swarm,
        setup: |frame| {
            let (window, half) = window(frame);
            let mut setup = one_source(frame, &window);
            set(&mut setup, "net.ipv4.tcp_tw_reuse", "0");
            let count = half as u32;
            setup.stage.noise.push(Noise::Closed { source: [127, 0, 0, 1].into(), count });
            setup
        },
        group: None,
        lift: Lift::Remedy,
    },
    Planted {
        wall: "time-wait-buckets",
        least: 1000,
        stands: Stands::Aside,
        setup: |frame| {
            let mut setup = small(frame);
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
        least: 500,
        stands: Stands::Full,
        setup: |frame| {
            let mut setup = small(frame);
            flag(&mut setup, "--max-connections", "200");
            setup
        },
        group: None,
        lift: Lift::Remedy,
    },
];

/// A window of ports in which the target would find room, and half of its size.
fn window(frame: &Frame) -> (String, u64) {
    let ports = frame.target + 100;
    (format!("20000 {}", 19_999 + ports), ports / 2)
}

/// A swarm with one source address and few ports, which does not count them beforehand.
fn one_source(frame: &Frame, ports: &str) -> Setup {
    let mut setup = small(frame);
    flag(&mut setup, "--ips", "127.0.0.1");
    set(&mut setup, "net.ipv4.ip_local_port_range", ports);
    setup.stage.swarm.flags.insert("--target".to_owned(), "1".to_owned());
    setup
}

fn set(setup: &mut Setup, key: &str, value: &str) {
    setup.sysctls.insert(key.to_owned(), value.to_owned());
}
