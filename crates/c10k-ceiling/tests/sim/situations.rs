//! Situations that people run into, for the table of names: several things at once, or one that is no wall of its own.
//!
//! In each the name is right, or it is unknown and the hint points to the right end.

use c10k_ceiling::ServerEnd;

use crate::abroad::{Abroad, NoWayBack, OnTop, Rule};
use crate::clock::{MS, SECOND};
use crate::scenario::Fate;
use crate::settings::OWN_DESCRIPTORS;
use crate::table::{CAP, Change, foreign};
use crate::way::bits_to_connect;

/// What is right to say.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Right {
    /// These names and no other; the first that is named is one of them.
    Named(&'static [&'static str]),
    /// None, and a hint that has these words.
    Unknown(&'static str),
}

/// What happens, what is right to say of it, and how a plain box becomes one where it happens.
pub(crate) type Situation = (&'static str, Right, Change);

impl Right {
    /// What is wrong with these names and this hint.
    pub(crate) fn against(self, names: &[String], hint: &str) -> Option<String> {
        match self {
            Self::Named(right) => {
                let is_right = !names.is_empty() && names.iter().all(|name| right.contains(&name.as_str()));
                (!is_right).then(|| format!("{names:?} is named, and right is {right:?}; the hint: {hint}"))
            }
            Self::Unknown(words) => {
                let is_right = names.is_empty() && hint.contains(words);
                (!is_right).then(|| format!("{names:?} is named, and the hint has not '{words}': {hint}"))
            }
        }
    }
}

/// All of them, by what happens.
pub(crate) fn situations() -> Vec<Situation> {
    [of_proxies(), of_processes(), of_rates(), of_two_limits(), of_restarts(), of_rules(), of_ways()].concat()
}

fn of_proxies() -> Vec<Situation> {
    vec![
        (
            "two proxies: the one behind is at its limit, the one before has ports to spare",
            Right::Named(&["server-limit"]),
            |s, _| {
                s.world.abroad = Abroad {
                    limit: Some((CAP, OnTop::Ends("closed-by-server"))),
                    proxy_ports: Some(20_000),
                    ..foreign()
                };
            },
        ),
        (
            "two proxies: the limit behind is as high as the one before has ports",
            Right::Named(&["proxy-ports-exhausted", "server-limit"]),
            |s, _| {
                s.world.abroad = Abroad {
                    limit: Some((CAP, OnTop::Ends("handshake-status-502"))),
                    proxy_ports: Some(CAP + 2),
                    websocket: true,
                    ..foreign()
                };
            },
        ),
        (
            "a proxy without ports, of whose connections some die in the hold",
            Right::Unknown("source ports of the server's own"),
            |s, _| {
                s.world.abroad = Abroad { proxy_ports: Some(CAP), ..foreign() };
                s.world.fates.push(Fate::Closes { one_in: 8, in_good_order: true });
            },
        ),
    ]
}

fn of_processes() -> Vec<Situation> {
    vec![
        (
            "eight listeners of SO_REUSEPORT, one of a process that is dead",
            Right::Named(&["server-stopped-accepting"]),
            |s, _| {
                s.world.abroad = Abroad { processes: 8, each_listens: true, one_is_dead: true, ..foreign() };
            },
        ),
        (
            "the same, with a backlog of four: the queue of one is full",
            Right::Named(&["server-stopped-accepting"]),
            |s, _| {
                s.settings.backlog = 4;
                s.world.abroad = Abroad { processes: 8, each_listens: true, one_is_dead: true, ..foreign() };
            },
        ),
        (
            "a server that sleeps 300 ms with each that it accepts",
            Right::Unknown("it takes them slowly"),
            |s, _| {
                (s.world.abroad, s.world.accept_pause_us) = (foreign(), 300 * MS);
            },
        ),
        (
            "a server that sleeps 3 s with each that it accepts",
            Right::Unknown("it takes them slowly"),
            |s, _| {
                (s.world.abroad, s.world.accept_pause_us) = (foreign(), 3 * SECOND);
            },
        ),
    ]
}

fn of_rates() -> Vec<Situation> {
    vec![
        (
            "a server that answers 429 beyond 20 a second, and takes later ones",
            Right::Named(&["error-verdict"]),
            |s, _| {
                s.settings.rate = Some(60);
                let takes_a_second = Some((20, "handshake-status-429"));
                s.world.abroad = Abroad { takes_a_second, websocket: true, ..foreign() };
            },
        ),
        (
            "a server that answers 429 beyond 20 a second, to who comes all at once",
            Right::Unknown("429 (too many requests)"),
            |s, _| {
                let takes_a_second = Some((20, "handshake-status-429"));
                s.world.abroad = Abroad { takes_a_second, websocket: true, ..foreign() };
            },
        ),
        (
            "a server that closes beyond 20 a second, and takes later ones",
            Right::Named(&["error-verdict"]),
            |s, _| {
                s.settings.rate = Some(60);
                s.world.abroad = Abroad { takes_a_second: Some((20, "closed-by-server")), ..foreign() };
            },
        ),
    ]
}

fn of_two_limits() -> Vec<Situation> {
    vec![
        ("the client's memory group is full", Right::Unknown("memory group that the swarm is in"), |s, _| {
            s.world.swarm_memory_at = Some(CAP);
        }),
        (
            "the client's memory group is full, somebody else's server",
            Right::Unknown("memory group that the swarm is in"),
            |s, _| {
                (s.world.swarm_memory_at, s.world.abroad) = (Some(CAP), foreign());
            },
        ),
        (
            "one limit on descriptors for client and server",
            Right::Named(&["nofile-swarm", "nofile-server"]),
            |s, _| {
                (s.settings.server_tables, s.settings.swarm_tables) = (false, false);
                (s.settings.server_nofile, s.settings.swarm_nofile) =
                    (CAP + OWN_DESCRIPTORS, CAP + OWN_DESCRIPTORS);
            },
        ),
        (
            "one limit on descriptors for client and somebody else's server",
            Right::Named(&["nofile-swarm", "nofile-server"]),
            |s, _| {
                (s.settings.server_tables, s.settings.swarm_tables) = (false, false);
                (s.settings.server_nofile, s.settings.swarm_nofile) =
                    (CAP + OWN_DESCRIPTORS, CAP + OWN_DESCRIPTORS);
                s.world.abroad = foreign();
            },
        ),
        (
            "conntrack is full, and the server ends who is silent for 30 s",
            Right::Named(&["conntrack", "server-idle-limit"]),
            |s, _| {
                s.settings.conntrack_max = Some(s.world.conntrack_used + CAP);
                (s.world.abroad, s.world.hold_us) =
                    (Abroad { idle_us: Some(30 * SECOND), ..foreign() }, 40 * SECOND);
            },
        ),
        (
            "a rule drops beyond 25 of a source, another rejects beyond 60 a second",
            Right::Named(&["filter-rejects", "firewall-drop"]),
            |s, _| {
                s.settings.rate = Some(120);
                s.world.abroad = Abroad {
                    most_of_a_source: Some((25, Rule::Drops)),
                    most_a_second: Some((60, Rule::Rejects("ECONNREFUSED"))),
                    ..foreign()
                };
            },
        ),
    ]
}

/// A rule that drops, and what the kernel says of it.
fn of_rules() -> Vec<Situation> {
    vec![
        (
            "a rule drops beyond 100 on a link, and the kernel says why",
            Right::Named(&["firewall-drop"]),
            |s, _| {
                (s.world.on_one_link, s.world.reasons_are_read) = (true, true);
                (s.world.filtered_per_mille, s.world.filtered_after) = (1000, CAP);
            },
        ),
        (
            "a rule drops beyond 100 on a link, and nobody may ask why",
            Right::Unknown("firewall rules on the way"),
            |s, _| {
                s.world.on_one_link = true;
                (s.world.filtered_per_mille, s.world.filtered_after) = (1000, CAP);
            },
        ),
        (
            "a rule drops beyond 100 over loopback, and those of another program, and the kernel says why",
            Right::Named(&["firewall-drop"]),
            |s, _| {
                (s.world.filtered_per_mille, s.world.filtered_after) = (1000, CAP);
                (s.world.reasons_are_read, s.world.others_filtered_per_second) = (true, 500);
            },
        ),
        (
            "the same two on a link, and the kernel says why",
            Right::Unknown("no other program of this host"),
            |s, _| {
                (s.world.filtered_per_mille, s.world.filtered_after) = (1000, CAP);
                (s.world.reasons_are_read, s.world.others_filtered_per_second) = (true, 500);
                s.world.on_one_link = true;
            },
        ),
    ]
}

fn of_ways() -> Vec<Situation> {
    vec![
        (
            "a link loses seven SYNs in ten, a rule drops those of others, and the kernel says why",
            Right::Named(&["path-loss"]),
            |s, _| {
                (s.world.on_one_link, s.world.path_lost_per_mille) = (true, 700);
                (s.world.reasons_are_read, s.world.others_filtered_per_second) = (true, 200);
            },
        ),
        (
            "the same on loopback, where the kernel does not say why",
            Right::Named(&["firewall-drop"]),
            |s, _| s.world.path_lost_per_mille = 700,
        ),
        ("sources without a way back, and the kernel says why", Right::Named(&["no-route"]), |s, _| {
            (s.world.on_one_link, s.settings.sources, s.world.reasons_are_read) = (true, 4, true);
            s.world.abroad = Abroad { no_way_back: Some((2, NoWayBack::AtRouter)), ..foreign() };
        }),
        (
            "sources to which the server's machine has no route, by its own count",
            Right::Named(&["no-route"]),
            |s, _| {
                (s.world.on_one_link, s.settings.sources) = (true, 4);
                s.world.abroad = Abroad { no_way_back: Some((2, NoWayBack::AtServer)), ..foreign() };
            },
        ),
        (
            "a link loses seven SYNs in ten, and another program sends to where there is no route",
            Right::Named(&["path-loss"]),
            |s, _| {
                (s.world.on_one_link, s.world.path_lost_per_mille) = (true, 700);
                s.world.others_without_route = 400;
            },
        ),
        (
            "a queue before the link drops a burst, and the link is not full for a second",
            Right::Unknown("the queue before the link"),
            |s, _| {
                // All at once, of a hundred a second: each time a tenth of them finds room in the queue.
                s.world.on_one_link = true;
                s.settings.link_bits_per_second = Some(100 * bits_to_connect(true));
                (s.settings.in_flight, s.world.connect_timeout_us) = (200, 2_500 * MS);
            },
        ),
        (
            "a server elsewhere behind a link that loses SYNs and data",
            Right::Named(&["path-loss"]),
            |s, _| {
                s.world.path_lost_per_mille = 500;
                s.world.abroad = Abroad { is_remote: true, data_lost_per_mille: 500, ..foreign() };
            },
        ),
    ]
}

fn of_restarts() -> Vec<Situation> {
    vec![
        ("somebody else's server is started anew in the hold", Right::Named(&["server-died"]), |s, _| {
            s.world.abroad = Abroad { starts_again: true, ..foreign() };
            s.world.fates.push(Fate::EndsInHold { how: ServerEnd::Killed(15) });
        }),
        ("what is behind a proxy is started anew in the hold", Right::Unknown("or one event"), |s, _| {
            s.world.abroad = Abroad { proxy_ports: Some(20_000), ..foreign() };
            s.world.fates.push(Fate::Closes { one_in: 1, in_good_order: true });
        }),
        ("a server elsewhere is started anew in the hold", Right::Unknown("or one event"), |s, _| {
            s.world.abroad = Abroad { is_remote: true, ..foreign() };
            s.world.fates.push(Fate::Closes { one_in: 1, in_good_order: false });
        }),
    ]
}
