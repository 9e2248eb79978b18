//! What can be put into a box with somebody else's server, or on the way to one.

use crate::abroad::{NoWayBack, OnTop, Rule};
use crate::chance::Chance;
use crate::clock::{MS, SECOND};
use crate::plants::{Plant, counting, for_good, other, silent, window};
use crate::scenario::{Fate, Scenario};
use crate::settings::OWN_DESCRIPTORS;

/// All of them.
pub(crate) static ABROAD: &[Plant] = &[
    for_good(counting("server-limit", &["server"], |s, _, at| {
        s.world.abroad.limit = Some((at, OnTop::Waits));
        waits_for_nobody(s);
    })),
    for_good(counting("server-limit", &["server"], |s, chance, at| {
        let outcome = if s.world.abroad.websocket {
            chance.one_of(&["closed-in-handshake", "handshake-status-503", "close-1013"])
        } else {
            chance.one_of(&["closed-by-server", "ECONNRESET"])
        };
        s.world.abroad.limit = Some((at, OnTop::Ends(outcome)));
    })),
    // A proxy with more source ports than connections that it takes.
    for_good(counting("server-limit", &["server"], |s, chance, at| {
        s.world.abroad.proxy_ports = Some(at * 2);
        let on_top = if chance.coin() { OnTop::Waits } else { OnTop::Ends("closed-by-server") };
        s.world.abroad.limit = Some((at, on_top));
        waits_for_nobody(s);
    })),
    for_good(counting("proxy-ports-exhausted", &["server"], |s, _, at| {
        s.world.abroad.proxy_ports = Some(at);
    })),
    for_good(counting("nofile-server", &["server"], |s, chance, at| {
        s.world.abroad.processes = chance.between(2, 8);
        s.world.abroad.each_listens = chance.coin();
        let each = (at / s.world.abroad.processes).max(2);
        (s.settings.server_tables, s.settings.server_nofile) = (false, each + OWN_DESCRIPTORS);
        waits_for_nobody(s);
    })),
    other("server-idle-limit", |s, chance, _| {
        let idle_us = chance.between(12, 120) * SECOND;
        (s.world.abroad.idle_us, s.world.hold_us) =
            (Some(idle_us), idle_us + chance.between(12, 30) * SECOND);
    }),
    other("middlebox-forgets", |s, chance, _| {
        let forgets_us = chance.between(12, 90) * SECOND;
        s.world.abroad.forgets_us = Some(forgets_us);
        s.world.hold_us = forgets_us + chance.between(1, 30) * SECOND;
    }),
    other("path-lost", |s, _, _| s.world.fates.push(Fate::WayGoes)),
    for_good(counting("filter-rejects", &["way"], |s, chance, at| {
        (s.settings.sources, s.settings.port_range) = (chance.between(1, 4), (20_000, 40_000));
        let errno = chance.one_of(&["ECONNREFUSED", "EHOSTUNREACH", "EPERM"]);
        let of_each = (at / s.settings.sources).max(1);
        s.world.abroad.most_of_a_source = Some((of_each, Rule::Rejects(errno)));
    })),
    // A rule on the rate, with somebody who comes faster.
    for_good(other("filter-rejects", |s, chance, _| {
        let rate = chance.between(10, 40);
        (s.settings.rate, s.settings.in_flight) = (Some(rate * chance.between(2, 4)), 48);
        s.world.abroad.most_a_second = Some((rate, Rule::Rejects("ECONNREFUSED")));
        s.world.accept_pause_us = 0;
    })),
    silent(for_good(counting("firewall-drop", &["way"], |s, chance, at| {
        (s.settings.sources, s.settings.port_range) = (chance.between(1, 4), (20_000, 40_000));
        let of_each = (at / s.settings.sources).max(1);
        s.world.abroad.most_of_a_source = Some((of_each, Rule::Drops));
        s.world.reasons_are_read |= s.world.on_one_link;
    }))),
    for_good(other("rp-filter", |s, chance, _| {
        s.settings.sources = chance.between(2, 6);
        s.world.abroad.no_way_back = Some((chance.between(1, s.settings.sources - 1), NoWayBack::Filtered));
    })),
];

/// What loses on the way, or leads nowhere.
pub(crate) static WAYS_ABROAD: &[Plant] = &[
    silent(for_good(other("path-loss", |s, chance, _| {
        (s.world.on_one_link, s.world.path_lost_per_mille) = (true, chance.between(650, 850));
        s.world.abroad.data_lost_per_mille = chance.between(100, 300);
        // With rules that are not known to drop it may be one of them.
        s.world.abroad.rules_are_read &= s.world.reasons_are_read;
    }))),
    silent(for_good(other("no-route", |s, chance, _| {
        (s.settings.sources, s.world.on_one_link) = (chance.between(2, 6), true);
        // At a router it is the kernel's reason that tells it from a way that loses, at the server's end its own count.
        let is_at_server = (s.seed / 40).is_multiple_of(2);
        let place = if is_at_server { NoWayBack::AtServer } else { NoWayBack::AtRouter };
        s.world.abroad.no_way_back = Some((chance.between(1, s.settings.sources - 1), place));
        s.world.reasons_are_read |= !is_at_server;
        s.world.others_without_route = 0;
    }))),
];

/// Who waits for a server that takes nobody more is looked at for long enough to see that it does not.
fn waits_for_nobody(s: &mut Scenario) {
    s.world.connect_timeout_us = s.world.connect_timeout_us.max(5 * SECOND);
    s.world.probe_timeout_us = s.world.probe_timeout_us.max(5 * SECOND);
    s.world.lost_per_mille = 0;
}

/// The server becomes somebody else's, and the way is as it is.
pub(crate) fn make_foreign(s: &mut Scenario, chance: &mut Chance) {
    s.settings.server_tables = false;
    let abroad = &mut s.world.abroad;
    (abroad.is_foreign, abroad.websocket, abroad.rules_are_read) = (true, chance.coin(), chance.coin());
    abroad.is_remote = chance.per_mille(300);
    if chance.coin() {
        (abroad.data_lost_per_mille, s.world.lost_per_mille) = (chance.between(0, 15), chance.between(0, 15));
        abroad.way_jitter_us = chance.between(0, 30 * MS);
    }
    if chance.per_mille(200) {
        // A handler that blocks with each that it accepts.
        (s.world.accept_pause_us, s.settings.rate) = (chance.between(5, 30) * MS, None);
    }
    if chance.per_mille(300) {
        abroad.processes = chance.between(2, 8);
        abroad.each_listens = chance.coin();
    }
    window(s, 20_000);
}
