//! Structures of kernel counters, each field bound to the kernel's own name.

/// What changed between two readings of the same counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change<T> {
    /// The growth of each counter; `None` where it is unknown at either end, or went backwards. Gauges hold
    /// their later value.
    pub values: T,
    /// The kernel names of counters that went backwards: wrapped, or reset with their namespace.
    pub went_backwards: Vec<&'static str>,
}

/// Defines a structure of `Option<u64>` fields with the kernel's names beside them.
macro_rules! kernel_counters {
    (
        $(#[$about:meta])*
        pub struct $name:ident {
            counters { $($(#[$doc:meta])* $field:ident = $kernel:literal),* $(,)? }
            gauges { $($(#[$gauge_doc:meta])* $gauge:ident = $gauge_kernel:literal),* $(,)? }
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $(#[doc = concat!("`", $kernel, "`: ")] $(#[$doc])* pub $field: Option<u64>,)*
            $(#[doc = concat!("`", $gauge_kernel, "` (a gauge): ")] $(#[$gauge_doc])* pub $gauge: Option<u64>,)*
        }

        impl $name {
            /// The kernel's names of all fields, counters first.
            pub const NAMES: &[&str] = &[$($kernel,)* $($gauge_kernel,)*];

            /// The value under the kernel's own name; `None` when this kernel has it not, or it is no field here.
            #[must_use]
            pub fn by_name(&self, kernel_name: &str) -> Option<u64> {
                match kernel_name {
                    $($kernel => self.$field,)*
                    $($gauge_kernel => self.$gauge,)*
                    _ => None,
                }
            }

            /// All known values with their kernel names.
            pub fn known(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                Self::NAMES.iter().filter_map(|name| Some((*name, self.by_name(name)?)))
            }

            /// What changed since an earlier reading. Nothing in it is negative.
            #[must_use]
            pub fn since(&self, earlier: &Self) -> $crate::counters::Change<Self> {
                let mut went_backwards = Vec::new();
                let mut values = self.clone();
                $(values.$field = match (self.$field, earlier.$field) {
                    (Some(later), Some(before)) => {
                        let grown = later.checked_sub(before);
                        if grown.is_none() {
                            went_backwards.push($kernel);
                        }
                        grown
                    }
                    _ => None,
                };)*
                $crate::counters::Change { values, went_backwards }
            }

            pub(crate) fn set(&mut self, kernel_name: &[u8], value: Option<u64>) {
                $(if kernel_name == $kernel.as_bytes() { self.$field = value; return; })*
                $(if kernel_name == $gauge_kernel.as_bytes() { self.$gauge = value; return; })*
                let _ = (kernel_name, value);
            }
        }
    };
}

kernel_counters! {
    /// The `Tcp:` lines of `/proc/net/snmp`, of one network namespace (RFC 4022, net/ipv4/proc.c).
    pub struct TcpCounters {
        counters {
            /// connections this end started to open.
            active_opens = "ActiveOpens",
            /// connections that came in.
            passive_opens = "PassiveOpens",
            /// attempts that ended before they were established.
            attempt_fails = "AttemptFails",
            /// established connections that were reset.
            estab_resets = "EstabResets",
            /// segments received.
            in_segs = "InSegs",
            /// segments sent, retransmissions left out.
            out_segs = "OutSegs",
            /// segments sent again.
            retrans_segs = "RetransSegs",
            /// segments received in error.
            in_errs = "InErrs",
            /// segments sent with RST.
            out_rsts = "OutRsts",
            /// segments with a wrong checksum.
            in_csum_errors = "InCsumErrors",
        }
        gauges {
            /// sockets now in ESTABLISHED or CLOSE-WAIT.
            curr_estab = "CurrEstab",
        }
    }
}

kernel_counters! {
    /// The `Ip:` lines of `/proc/net/snmp`, of one network namespace (RFC 4293, net/ipv4/proc.c).
    pub struct IpCounters {
        counters {
            /// packets of this machine's own for which no route was found, the answer to a SYN among them.
            out_no_routes = "OutNoRoutes",
        }
        gauges {}
    }
}

kernel_counters! {
    /// The `TcpExt:` lines of `/proc/net/netstat`, of one network namespace (net/ipv4/proc.c); names as nstat(8)
    /// shows them.
    pub struct TcpExt {
        counters {
            /// a handshake's last ACK, or a SYN, that met a full accept queue.
            listen_overflows = "ListenOverflows",
            /// everything a listener dropped, overflows included.
            listen_drops = "ListenDrops",
            /// SYN queue full, a cookie sent.
            req_queue_full_do_cookies = "TCPReqQFullDoCookies",
            /// SYN queue full, the SYN dropped.
            req_queue_full_drop = "TCPReqQFullDrop",
            /// SYN cookies sent.
            syncookies_sent = "SyncookiesSent",
            /// SYN cookies that came back.
            syncookies_recv = "SyncookiesRecv",
            /// SYN cookies that came back and were not valid.
            syncookies_failed = "SyncookiesFailed",
            /// resets of connections still in their handshake.
            embryonic_rsts = "EmbryonicRsts",
            /// SYN and SYN-ACK segments sent again.
            syn_retrans = "TCPSynRetrans",
            /// retransmission timeouts.
            timeouts = "TCPTimeouts",
            /// connections aborted for want of memory or for too many orphans.
            abort_on_memory = "TCPAbortOnMemory",
            /// connections aborted with data unread at close.
            abort_on_close = "TCPAbortOnClose",
            /// connections aborted because data came after close.
            abort_on_data = "TCPAbortOnData",
            /// connections aborted after their last retransmission.
            abort_on_timeout = "TCPAbortOnTimeout",
            /// connections aborted that lingered.
            abort_on_linger = "TCPAbortOnLinger",
            /// RST that could not be sent for want of memory.
            abort_failed = "TCPAbortFailed",
            /// times TCP entered memory pressure.
            memory_pressures = "TCPMemoryPressures",
            /// milliseconds under memory pressure.
            memory_pressures_ms = "TCPMemoryPressuresChrono",
            /// sockets not kept in TIME_WAIT because `tcp_max_tw_buckets` was reached.
            time_wait_overflow = "TCPTimeWaitOverflow",
            /// sockets that ended their TIME_WAIT by the normal timer.
            time_waited = "TW",
            /// TIME_WAIT sockets reused by a new connection.
            time_wait_recycled = "TWRecycled",
            /// segments dropped because the socket's backlog was full.
            backlog_drop = "TCPBacklogDrop",
            /// segments dropped because the receive queue was full.
            receive_queue_drop = "TCPRcvQDrop",
            /// listeners' requests moved to another listener of the group.
            migrate_req_success = "TCPMigrateReqSuccess",
            /// listeners' requests that could not be moved.
            migrate_req_failure = "TCPMigrateReqFailure",
            /// ACK challenges skipped in SYN_RECV.
            ack_skipped_syn_recv = "TCPACKSkippedSynRecv",
            /// packets dropped because there is no route back to where they say they came from (`rp_filter`).
            reverse_path_filter = "IPReversePathFilter",
        }
        gauges {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_went_backwards_is_unknown_and_named_never_negative() {
        let earlier = TcpExt { listen_drops: Some(10), listen_overflows: Some(4), ..TcpExt::default() };
        let later = TcpExt {
            listen_drops: Some(3),
            listen_overflows: Some(9),
            syn_retrans: Some(1),
            ..TcpExt::default()
        };
        let change = later.since(&earlier);
        assert_eq!(change.values.listen_drops, None);
        assert_eq!(change.values.listen_overflows, Some(5));
        assert_eq!(change.values.syn_retrans, None, "not known before");
        assert_eq!(change.went_backwards, ["ListenDrops"]);
    }

    #[test]
    fn a_gauge_keeps_its_later_value() {
        let earlier = TcpCounters { curr_estab: Some(10), active_opens: Some(1), ..TcpCounters::default() };
        let later = TcpCounters { curr_estab: Some(3), active_opens: Some(6), ..TcpCounters::default() };
        let change = later.since(&earlier);
        assert_eq!((change.values.curr_estab, change.values.active_opens), (Some(3), Some(5)));
        assert!(change.went_backwards.is_empty());
        assert_eq!(later.by_name("CurrEstab"), Some(3));
        assert_eq!(later.known().count(), 2);
    }
}
