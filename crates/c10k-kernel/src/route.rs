//! The first window of the connections over a device: an attribute of its routes, over rtnetlink (ip-route(8),
//! `initcwnd`).
//!
//! TCP begins with ten segments under way (net/ipv4/tcp_input.c, `tcp_init_cwnd`) unless the route to the peer says
//! otherwise. There is no sysctl for it. What is connected already keeps its window.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REPLACE};
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::rtnetlink::{ask, index_of};

/// Where connections of one machine to itself go over.
const LOOPBACK: &str = "lo";

/// The first window of the routes over a device of the calling thread's network namespace, segments, in the kernel's
/// order; `None` for a route that has none of its own. Of `lo` these are the routes to the machine's own addresses.
///
/// # Errors
/// ENODEV without such a device; as socket(2) for netlink.
pub fn initial_windows(device: &str, is_ipv6: bool) -> io::Result<Vec<Option<u32>>> {
    Ok(routes_over(device, is_ipv6)?.iter().map(initial_window_of).collect())
}

/// Has connections that are made from now on over a device begin with so many segments, and says on how many routes that
/// stands now.
///
/// # Errors
/// ENODEV without such a device, EPERM without CAP_NET_ADMIN over its namespace, ENOENT for a route that the kernel does
/// not let be changed: of IPv6 those to the machine's own addresses (net/ipv6/route.c, `ip6_route_info_create`).
pub fn set_initial_window(device: &str, is_ipv6: bool, segments: u32) -> io::Result<usize> {
    let routes = routes_over(device, is_ipv6)?;
    for route in &routes {
        let changed = with_initial_window(route, segments);
        ask(RouteNetlinkMessage::NewRoute(changed), NLM_F_ACK | NLM_F_REPLACE)?;
    }
    Ok(routes.len())
}

fn routes_over(device: &str, is_ipv6: bool) -> io::Result<Vec<RouteMessage>> {
    let index = index_of(device)?;
    let family = if is_ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let mut question = RouteMessage::default();
    question.header.address_family = family;
    let answers = ask(RouteNetlinkMessage::GetRoute(question), NLM_F_DUMP)?;
    let routes = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewRoute(route) => Some(route),
        _ => None,
    });
    Ok(routes
        .filter(|route| route.header.address_family == family && leads_over(route, device, index))
        .collect())
}

/// Whether packets to a peer take it. What a device other than `lo` has for its own addresses leads over `lo` as well.
fn leads_over(route: &RouteMessage, device: &str, index: u32) -> bool {
    let kind = if device == LOOPBACK { RouteType::Local } else { RouteType::Unicast };
    route.header.kind == kind
        && route
            .attributes
            .iter()
            .any(|attribute| matches!(attribute, RouteAttribute::Oif(oif) if *oif == index))
}

fn initial_window_of(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Metrics(metrics) => metrics.iter().find_map(|metric| match metric {
            RouteMetric::InitCwnd(segments) => Some(*segments),
            _ => None,
        }),
        _ => None,
    })
}

/// The same route with that window, as the kernel takes it: without what only its answers have.
fn with_initial_window(route: &RouteMessage, segments: u32) -> RouteMessage {
    let mut changed = route.clone();
    // Of an answer they say how the device is, and a request with them is refused (net/ipv4/fib_frontend.c,
    // `rtm_to_fib_config`).
    changed.header.flags = RouteFlags::empty();
    let mut metrics = Vec::new();
    changed.attributes.retain(|attribute| match attribute {
        RouteAttribute::Metrics(present) => {
            metrics.clone_from(present);
            false
        }
        RouteAttribute::CacheInfo(_) => false,
        _ => true,
    });
    metrics.retain(|metric| !matches!(metric, RouteMetric::InitCwnd(_)));
    metrics.push(RouteMetric::InitCwnd(segments));
    changed.attributes.push(RouteAttribute::Metrics(metrics));
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut route = RouteMessage::default();
        route.header.kind = RouteType::Unicast;
        route.attributes = attributes;
        route
    }

    #[test]
    fn a_window_takes_the_place_of_another_and_leaves_other_metrics() {
        let metrics = RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400), RouteMetric::InitCwnd(3)]);
        let before = route(vec![RouteAttribute::Oif(7), metrics]);
        let after = with_initial_window(&before, 30);
        assert_eq!((initial_window_of(&before), initial_window_of(&after)), (Some(3), Some(30)));
        let wanted = RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400), RouteMetric::InitCwnd(30)]);
        assert_eq!(after.attributes, [RouteAttribute::Oif(7), wanted]);
        let bare = with_initial_window(&route(vec![RouteAttribute::Oif(7)]), 2);
        assert_eq!((initial_window_of(&bare), bare.attributes.len()), (Some(2), 2));
    }

    #[test]
    fn a_route_to_a_peer_leads_over_its_device_and_one_to_oneself_over_loopback() {
        let towards = route(vec![RouteAttribute::Oif(7)]);
        let mut to_oneself = towards.clone();
        to_oneself.header.kind = RouteType::Local;
        assert!(leads_over(&towards, "c10k-server", 7) && !leads_over(&towards, "c10k-server", 8));
        assert!(!leads_over(&to_oneself, "c10k-server", 7) && leads_over(&to_oneself, LOOPBACK, 7));
        assert!(!leads_over(&towards, LOOPBACK, 7));
    }

    #[test]
    fn the_routes_of_loopback_can_be_read_by_anybody() {
        let windows = initial_windows(LOOPBACK, false).expect("a loopback device");
        assert!(!windows.is_empty(), "127.0.0.0/8");
        let none = initial_windows("no-such-device", false).expect_err("there is none");
        assert_eq!(none.raw_os_error(), Some(libc::ENODEV));
    }
}
