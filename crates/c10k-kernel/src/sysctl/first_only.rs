//! The `net.*` keys that stand in the machine's first network namespace alone. In another one that a key is absent says
//! nothing else than that, so these are known by name: Linux 4.19 to 6.18, `git grep ctl_table net/`.

const OF_CORE: &[&str] = &[
    "bpf_jit_enable",
    "bpf_jit_harden",
    "bpf_jit_kallsyms",
    "bpf_jit_limit",
    "busy_poll",
    "busy_read",
    "default_qdisc",
    "dev_weight",
    "dev_weight_rx_bias",
    "dev_weight_tx_bias",
    "devconf_inherit_init_net",
    "fb_tunnels_only_for_init_net",
    "flow_limit_cpu_bitmap",
    "flow_limit_table_len",
    "gro_normal_batch",
    "high_order_alloc_disable",
    "max_skb_frags",
    "mem_pcpu_rsv",
    "message_burst",
    "message_cost",
    "netdev_budget",
    "netdev_budget_usecs",
    "netdev_max_backlog",
    "netdev_rss_key",
    "netdev_tstamp_prequeue",
    "netdev_unregister_timeout_secs",
    "optmem_max",
    "rmem_default",
    "rmem_max",
    "rps_sock_flow_entries",
    "skb_defer_max",
    "tstamp_allow_data",
    "warnings",
    "wmem_default",
    "wmem_max",
];

const OF_IPV4: &[&str] = &[
    "fib_sync_mem",
    "icmp_msgs_burst",
    "icmp_msgs_per_sec",
    "inet_peer_maxttl",
    "inet_peer_minttl",
    "inet_peer_threshold",
    "ipfrag_secret_interval",
    "tcp_allowed_congestion_control",
    "tcp_available_ulp",
    "tcp_low_latency",
    "tcp_max_orphans",
    "tcp_mem",
    "udp_mem",
];

const OTHERS: &[&str] = &[
    "net.ipv6.ip6frag_secret_interval",
    "net.ipv6.mld_max_msf",
    "net.ipv6.mld_qrv",
    "net.netfilter.nf_log_all_netns",
    "net.nf_conntrack_max",
];

const FOLDERS: &[&str] = &[
    // Not in an ordinary user's namespace (`xfrm_sysctl_init`, net/xfrm/xfrm_sysctl.c).
    "net.core.xfrm_",
    "net.ipv4.cipso_",
    "net.ipv4.neigh.default.",
    "net.ipv4.route.",
    "net.ipv6.calipso_",
    "net.ipv6.neigh.default.",
];

/// Whether a key that is absent in another namespace stands in the machine's first one. Any other one that is absent is
/// none of this kernel's.
#[must_use]
pub fn is_in_the_first_namespace_alone(key: &str) -> bool {
    let is_of =
        |prefix: &str, names: &[&str]| key.strip_prefix(prefix).is_some_and(|name| names.contains(&name));
    is_of("net.core.", OF_CORE)
        || is_of("net.ipv4.", OF_IPV4)
        || OTHERS.contains(&key)
        || FOLDERS.iter().any(|folder| key.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::namespace::{Seen, scratch_listing};

    fn keys_below(folder: &Path, prefix: &str, keys: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let key = format!("{prefix}.{name}");
            if entry.path().is_dir() {
                keys_below(&entry.path(), &key, keys);
            } else {
                keys.push(key);
            }
        }
    }

    #[test]
    fn what_a_fresh_namespace_of_this_machine_has_not_is_known_to_be_the_firsts() {
        let mut keys = Vec::new();
        for table in ["core", "ipv4"] {
            keys_below(&Path::new("/proc/sys/net").join(table), &format!("net.{table}"), &mut keys);
        }
        // A device's own, which come and go with it.
        keys.retain(|key| !key.contains(".conf.") && (!key.contains(".neigh.") || key.contains(".default.")));
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        let listing = scratch_listing(&names);
        let (Some(listing), true) = (listing, Path::new("/proc/sys/net/ipv4/tcp_mem").exists()) else {
            #[allow(clippy::print_stderr, reason = "a skipped test says so")]
            {
                eprintln!("SKIPPED: it needs the machine's first network namespace, and to make another one");
            }
            return;
        };
        let absent = names.iter().zip(listing).filter(|(_, seen)| *seen == Seen::Absent).map(|(key, _)| *key);
        let unknown: Vec<&str> = absent.filter(|key| !is_in_the_first_namespace_alone(key)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert!(!is_in_the_first_namespace_alone("net.core.somaxconn"));
        assert!(!is_in_the_first_namespace_alone("net.ipv4.tcp_tw_recycle"));
    }
}
