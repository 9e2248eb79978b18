//! Which of two values of a key gives more: what stands is not taken away for the sake of a value that gives less.

use crate::text::{PortList, SysctlValue, integers};

/// What more of a key's value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// One limit or several: each number that is higher gives all that a lower one does.
    Limit,
    /// The first and the last of a range: a range gives all that a narrower one within it does.
    Range,
    /// A set of ports.
    Ports,
    /// Anything else: a time, a switch, sizes that cost memory. Who wants less of it wants just that.
    Choice,
}

/// Limits without the word `max` in their names.
const LIMITS: &[&str] = &[
    "fs.nr_open",
    "net.core.netdev_budget",
    "net.core.somaxconn",
    "net.ipv4.neigh.default.gc_thresh1",
    "net.ipv4.neigh.default.gc_thresh2",
    "net.ipv4.neigh.default.gc_thresh3",
    "net.ipv4.tcp_mem",
    "net.ipv4.udp_mem",
    "net.ipv6.neigh.default.gc_thresh1",
    "net.ipv6.neigh.default.gc_thresh2",
    "net.ipv6.neigh.default.gc_thresh3",
    "net.netfilter.nf_conntrack_buckets",
];
const PORT_RANGE: &str = "net.ipv4.ip_local_port_range";

impl ValueKind {
    /// What more of this value of `key` means. A key with the word `max` in its name is a limit, unless it is one of time.
    pub(crate) fn of(key: &str, value: &SysctlValue) -> Self {
        let name = key.rsplit('.').next().unwrap_or(key);
        let words = || name.split(['_', '-']);
        let is_of_time = words().next_back().is_some_and(|last| ["ms", "us", "secs"].contains(&last));
        match value {
            SysctlValue::Ports(_) => Self::Ports,
            SysctlValue::Text(_) => Self::Choice,
            SysctlValue::Integers(fields) if key == PORT_RANGE && fields.len() == 2 => Self::Range,
            SysctlValue::Integers(_) if LIMITS.contains(&key) => Self::Limit,
            SysctlValue::Integers(_) if words().any(|word| word == "max") && !is_of_time => Self::Limit,
            SysctlValue::Integers(_) => Self::Choice,
        }
    }

    /// Whether what stands gives all that is wanted.
    pub(crate) fn covers(self, present: &str, wanted: &SysctlValue) -> bool {
        match (self, wanted) {
            (Self::Limit, SysctlValue::Integers(wanted)) => integers(present)
                .is_some_and(|has| has.iter().zip(wanted).all(|(has, wanted)| *has >= i128::from(*wanted))),
            (Self::Range, SysctlValue::Integers(wanted)) => {
                ends(present, wanted).is_some_and(|(has, wanted)| has.0 <= wanted.0 && has.1 >= wanted.1)
            }
            (Self::Ports, SysctlValue::Ports(wanted)) => {
                PortList::parse(present).is_ok_and(|has| has.has_all_of(wanted))
            }
            _ => false,
        }
    }

    /// Whether something of what stands would be gone with what is wanted.
    pub(crate) fn takes_away(self, present: &str, wanted: &SysctlValue) -> bool {
        match (self, wanted) {
            (Self::Range, SysctlValue::Integers(wanted)) => {
                ends(present, wanted).is_some_and(|(has, wanted)| wanted.0 > has.0 || wanted.1 < has.1)
            }
            (Self::Ports, SysctlValue::Ports(wanted)) => {
                PortList::parse(present).is_ok_and(|has| !wanted.has_all_of(&has))
            }
            _ => wanted.lowers(present),
        }
    }

    /// The value that gives what is wanted and takes nothing away of what stands; of a choice, what is wanted.
    pub(crate) fn both(self, present: &str, wanted: &SysctlValue) -> SysctlValue {
        let joined = match (self, wanted) {
            (Self::Limit, SysctlValue::Integers(wanted)) => integers(present).and_then(|has| {
                let highest = has.into_iter().zip(wanted).map(|(has, wanted)| has.max(i128::from(*wanted)));
                highest
                    .map(|field| i64::try_from(field).ok())
                    .collect::<Option<_>>()
                    .map(SysctlValue::Integers)
            }),
            (Self::Range, SysctlValue::Integers(wanted)) => {
                ends(present, wanted).and_then(|(has, wanted)| {
                    let ends = [has.0.min(wanted.0), has.1.max(wanted.1)].map(|end| i64::try_from(end).ok());
                    Some(SysctlValue::Integers(vec![ends[0]?, ends[1]?]))
                })
            }
            (Self::Ports, SysctlValue::Ports(wanted)) => {
                PortList::parse(present).ok().map(|has| SysctlValue::Ports(wanted.with(&has)))
            }
            _ => None,
        };
        joined.unwrap_or_else(|| wanted.clone())
    }
}

/// First and last of two ranges.
fn ends(present: &str, wanted: &[i64]) -> Option<((i128, i128), (i128, i128))> {
    match (&integers(present)?[..], wanted) {
        (&[first, last], &[wanted_first, wanted_last]) => {
            Some(((first, last), (wanted_first.into(), wanted_last.into())))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(key: &str, present: &str, wanted: &[i64]) -> (bool, bool, String) {
        let wanted = SysctlValue::Integers(wanted.to_vec());
        let kind = ValueKind::of(key, &wanted);
        let both = kind.both(present, &wanted).to_string();
        (kind.covers(present, &wanted), kind.takes_away(present, &wanted), both)
    }

    #[test]
    fn a_range_is_more_where_it_is_wider_and_not_where_its_numbers_are_higher() {
        let of = |present, wanted: [i64; 2]| judged(PORT_RANGE, present, &wanted);
        assert_eq!(of("32768\t60999", [1024, 65535]), (false, false, "1024 65535".to_owned()), "wider");
        assert_eq!(of("1024\t65535", [32768, 60999]), (true, true, "1024 65535".to_owned()), "narrower");
        assert_eq!(of("32768\t60999", [40000, 65535]), (false, true, "32768 65535".to_owned()), "beside");
        assert_eq!(of("32768\t60999", [1024, 2047]), (false, true, "1024 60999".to_owned()), "apart");
    }

    #[test]
    fn several_limits_are_more_only_where_each_of_them_is() {
        let of = |present, wanted: [i64; 3]| judged("net.ipv4.tcp_mem", present, &wanted);
        assert_eq!(of("2\t3\t4", [1, 3, 4]), (true, true, "2 3 4".to_owned()));
        assert_eq!(of("2\t3\t4", [1, 2, 9]), (false, true, "2 3 9".to_owned()));
        assert_eq!(of("2\t3\t4", [5, 6, 7]), (false, false, "5 6 7".to_owned()));
    }

    #[test]
    fn what_is_no_limit_is_not_given_by_a_higher_value() {
        for key in ["net.ipv4.tcp_fin_timeout", "vm.swappiness", "net.ipv4.tcp_rto_max_ms"] {
            assert_eq!(judged(key, "60", &[15]), (false, true, "15".to_owned()), "{key}");
        }
        let buffers = judged("net.ipv4.tcp_rmem", "4096\t131072\t33554432", &[4096, 16384, 262_144]);
        assert_eq!(buffers, (false, true, "4096 16384 262144".to_owned()), "less memory is what is wanted");
        // Nobody may ping by this range; a wider one is another choice and not more of the same.
        assert_eq!(
            judged("net.ipv4.ping_group_range", "0\t2147483647", &[1, 0]),
            (false, true, "1 0".to_owned())
        );
        for key in ["fs.file-max", "fs.epoll.max_user_watches", "net.core.rmem_max", "kernel.pid_max"] {
            assert!(judged(key, "60", &[15]).0, "{key}");
        }
    }

    #[test]
    fn a_list_of_ports_is_more_where_it_has_all_of_the_other_ones() {
        let of = |present: &str, wanted: &str| {
            let wanted = SysctlValue::Ports(PortList::parse(wanted).unwrap());
            let kind = ValueKind::of("net.ipv4.ip_local_reserved_ports", &wanted);
            let both = kind.both(present, &wanted).to_string();
            (kind.covers(present, &wanted), kind.takes_away(present, &wanted), both)
        };
        assert_eq!(of("8080,9000-9010", "9000"), (true, true, "8080,9000-9010".to_owned()));
        assert_eq!(of("8080", "9000-9010"), (false, true, "8080,9000-9010".to_owned()));
        assert_eq!(of("", "9000"), (false, false, "9000".to_owned()));
        assert_eq!(of("8080-8090", "8079-8091"), (false, false, "8079-8091".to_owned()));
    }
}
