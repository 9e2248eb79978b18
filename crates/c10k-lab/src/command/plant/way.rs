//! The way between the ends, and what stands at its end.

use std::net::SocketAddr;

use c10k_plan::stage::{Furniture, Noise};

use super::together::Stands;
use super::{Lift, Planted, flag, small};

/// A port at which the lab's server does not listen.
const ELSEWHERE: ([u8; 4], u16) = ([127, 0, 0, 1], 9999);

pub(super) static PLANTS: &[Planted] = &[
    Planted {
        wall: "no-route",
        least: 200,
        stands: Stands::Before,
        setup: |frame| {
            let mut setup = small(frame);
            // A private network (RFC 1918) to which a namespace with `lo` alone has no way.
            setup.stage.towards = Some(([10, 1, 2, 3], 9999).into());
            setup
        },
        group: None,
        lift: Lift::TakenAway("the swarm connects to an address that is here"),
    },
    Planted {
        wall: "refused",
        least: 200,
        stands: Stands::Before,
        setup: |frame| {
            let mut setup = small(frame);
            setup.stage.towards = Some(ELSEWHERE.into());
            setup
        },
        group: None,
        lift: Lift::TakenAway("the swarm connects where the server listens"),
    },
    Planted {
        wall: "firewall-drop",
        least: 200,
        stands: Stands::Before,
        setup: |frame| {
            let mut setup = small(frame);
            let at = SocketAddr::from(ELSEWHERE);
            setup.stage.towards = Some(at);
            // Without rules in the kernel the listener's own filter drops them.
            setup.stage.place.push(Furniture::Dropped { port: at.port() });
            setup.stage.noise.push(Noise::DeafListener(at));
            flag(&mut setup, "--connect-timeout", "2500ms");
            setup
        },
        group: None,
        lift: Lift::TakenAway("no filter drops the SYNs"),
    },
    Planted {
        wall: "path-loss",
        least: 300,
        stands: Stands::Way,
        setup: |frame| {
            let mut setup = small(frame);
            // A hundred connections of each source, of whom one hears no answer.
            for (name, value) in [
                ("--topology", "veth"),
                ("--ips", "192.168.1.200-202"),
                ("--ports", "20000-20099"),
                ("--connect-timeout", "2500ms"),
            ] {
                flag(&mut setup, name, value);
            }
            setup.stage.place.push(Furniture::Astray { source: [192, 168, 1, 201].into() });
            setup
        },
        group: None,
        lift: Lift::TakenAway("the answers go where they belong"),
    },
    Planted {
        wall: "conntrack",
        least: 700,
        stands: Stands::Way,
        setup: |frame| {
            let mut setup = small(frame);
            // Beside another plant fewer than any lets the swarm make.
            let room = if frame.is_shared { 240 } else { 400 };
            setup.stage.place.push(Furniture::Tracked { room });
            setup
        },
        group: None,
        lift: Lift::Done(
            |setup| setup.stage.place.push(Furniture::NotTracked),
            "a rule at priority raw that does not track (notrack)",
        ),
    },
    Planted {
        wall: "bandwidth",
        least: 300,
        stands: Stands::Way,
        setup: |frame| {
            let mut setup = small(frame);
            setup.stage.place.push(Furniture::Narrow { bits_per_second: 400_000 });
            flag(&mut setup, "--rate", "400");
            // A SYN that is dropped is sent again after a second: that is too late.
            flag(&mut setup, "--connect-timeout", "600ms");
            // The last proof of all takes the link some seconds.
            flag(&mut setup, "--probe-timeout", "8s");
            setup
        },
        group: None,
        lift: Lift::Remedy,
    },
    Planted {
        wall: "not-an-echo-server",
        least: 200,
        stands: Stands::Mute,
        setup: |frame| {
            let mut setup = small(frame);
            setup.stage.server.flags.insert("--mode".to_owned(), "hold".to_owned());
            setup
        },
        group: None,
        lift: Lift::TakenAway("the server echoes"),
    },
];
