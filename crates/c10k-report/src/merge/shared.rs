//! Source addresses that two shards had in common.

use c10k_record::Warning;

use super::part::Part;

/// A warning where two shards used one address with the same ports; behind two gateways an address may well be two.
pub(crate) fn warning(parts: &[Part<'_>]) -> Option<Warning> {
    for (n, one) in parts.iter().enumerate() {
        for other in &parts[n + 1..] {
            if !have_common_ports(one, other) {
                continue;
            }
            let of_one = &one.entry.result.sources;
            let common = of_one
                .iter()
                .find_map(|range| other.entry.result.sources.iter().find_map(|its| range.common_with(its)));
            if let Some(address) = common {
                let text = format!(
                    "shards {} and {} both connected from {address}: if that is one address, each took ports from the \
                     other",
                    one.entry.index(),
                    other.entry.index()
                );
                return Some(Warning::new("sources-shared", text));
            }
        }
    }
    None
}

fn have_common_ports(one: &Part<'_>, other: &Part<'_>) -> bool {
    let ports = |part: &Part<'_>| part.entry.result.limits.as_ref()?.port_range;
    match (ports(one), ports(other)) {
        (Some((first, last)), Some((low, high))) => first.max(low) <= last.min(high),
        _ => true,
    }
}
