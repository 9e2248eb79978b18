//! The families of figures: each name once, with its kind, its labels and what it means.

/// How a figure goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from the start of the program that tells it.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts below bounds, their sum, and how many there were.
    Histogram,
}

impl Kind {
    /// As the text format says it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A family of figures.
#[derive(Debug)]
pub struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The names of its labels.
    pub(super) labels: &'static [&'static str],
    /// What it means.
    pub(super) help: &'static str,
}

macro_rules! families {
    ($($id:ident: $kind:ident $name:literal $labels:expr, $help:literal;)*) => {
        $(#[doc = $help]
        pub const $id: Family = Family { name: $name, kind: Kind::$kind, labels: &$labels, help: $help };)*

        /// All of them, in the order in which they are told.
        pub(super) static ALL: &[Family] = &[$($id),*];
    };
}

families! {
    BUILD_INFO: Gauge "c10k_build_info" ["program", "version"], "1 always; the labels say which program of which version tells this.";
    START_TIME: Gauge "c10k_start_time_seconds" [], "When that program began to tell this, Unix time.";
    PHASE: Gauge "c10k_phase" ["phase"], "1 for the phase that the swarm is in, 0 for the others.";
    TARGET: Gauge "c10k_target_connections" [], "Connections that are to be held.";
    CONNECTIONS: Gauge "c10k_connections" ["end", "state"], "Connections now. open: by that end's own count; connecting: begun by the swarm and not yet open; established: by the kernel, at the server's ports.";
    PEAK: Gauge "c10k_peak_connections" ["end"], "The most that were open at one time.";
    BACK_PRESSURED: Gauge "c10k_back_pressured_connections" ["end"], "Connections whose peer reads slower than it sends, of those that are open.";
    ATTEMPTED: Counter "c10k_connections_attempted_total" ["end"], "Connections begun.";
    ESTABLISHED: Counter "c10k_connections_established_total" ["end"], "Connections whose connect() completed.";
    VERIFIED: Counter "c10k_connections_verified_total" ["end"], "Connections that echoed their first probe.";
    ACCEPTED: Counter "c10k_connections_accepted_total" ["end"], "Connections that the server took from its queue.";
    HANDSHAKES: Counter "c10k_handshakes_total" ["end"], "WebSocket handshakes that the server completed.";
    FAILED: Counter "c10k_connections_failed_total" ["end"], "Connections lost, for whatever reason.";
    FAILED_BY: Counter "c10k_connections_failed_by_outcome_total" ["end", "outcome"], "The same by errno or name; an outcome is there once one connection had it.";
    CLOSED: Counter "c10k_connections_closed_total" ["end", "how"], "Connections that ended in good order. by_peer and drained at the server; released (by a command) and at_end at the swarm.";
    ACCEPT_ERRORS: Counter "c10k_accept_errors_total" ["end", "errno"], "Tries to accept that failed, by errno; the connection stayed in the queue.";
    ACCEPT_PAUSES: Counter "c10k_accept_pauses_total" ["end"], "Times that a listener paused because no descriptor, watch or slot was free.";
    RECEIVED: Counter "c10k_received_bytes_total" ["end"], "Bytes read from connections.";
    SENT: Counter "c10k_sent_bytes_total" ["end"], "Bytes written to connections.";
    MESSAGES: Counter "c10k_messages_total" ["end"], "Echoes and answers that came back right.";
    CONNECT_LATENCY: Histogram "c10k_connect_latency_seconds" [], "From just before the socket is made until its connect has completed.";
    ECHO_LATENCY: Histogram "c10k_echo_latency_seconds" ["kind"], "From a probe or message to its whole answer. first_echo: right after connecting; echo: the proof; response: of a workload, from the intended start, and of a message that was given up unsent its age then; beat: of a beat.";
    RSS: Gauge "c10k_process_resident_memory_bytes" ["end"], "Resident memory of that end's process; the sum where several hold its connections.";
    CPU: Counter "c10k_process_cpu_seconds_total" ["end"], "Processor time of that end's process since it was first looked at.";
    THREADS: Gauge "c10k_process_threads" ["end"], "Threads of that end's process.";
    TABLES: Gauge "c10k_descriptor_tables" ["end"], "Descriptor tables of that end: RLIMIT_NOFILE bounds each by itself.";
    DESCRIPTORS: Gauge "c10k_descriptors_open" ["end"], "Descriptors open in all tables of that end's process.";
    FULLEST: Gauge "c10k_descriptors_fullest_table" ["end"], "Descriptors open in its fullest table.";
    DESCRIPTOR_LIMIT: Gauge "c10k_descriptors_limit" ["end"], "Its soft RLIMIT_NOFILE: the most in one table.";
    ACCEPT_QUEUE: Gauge "c10k_accept_queue_connections" [], "Connections in the longest accept queue of the server's listeners.";
    ACCEPT_QUEUE_LIMIT: Gauge "c10k_accept_queue_limit" [], "The most that this queue takes: the backlog, cut to net.core.somaxconn.";
    LISTEN_OVERFLOWS: Counter "c10k_listen_overflows_total" [], "TcpExt ListenOverflows: connections that met a full accept queue, whole namespace.";
    LISTEN_DROPS: Counter "c10k_listen_drops_total" [], "TcpExt ListenDrops: SYNs and ACKs that a listener dropped for any reason, whole namespace.";
    SYN_QUEUE_FULL: Counter "c10k_syn_queue_full_total" [], "TcpExt TCPReqQFullDoCookies and TCPReqQFullDrop: SYNs that met a full SYN queue, whole namespace.";
    SYN_RETRANSMITS: Counter "c10k_syn_retransmits_total" [], "TcpExt TCPSynRetrans: SYNs that were sent again, whole namespace.";
    SOFTNET_DROPS: Counter "c10k_softnet_drops_total" [], "Packets that a processor's input queue dropped, whole host.";
    SOCKETS: Gauge "c10k_sockets_in_use" [], "TCP sockets in use, whole namespace.";
    TIME_WAIT: Gauge "c10k_sockets_time_wait" [], "Sockets in TIME_WAIT, whole namespace.";
    ORPHANS: Gauge "c10k_sockets_orphaned" [], "TCP sockets that no process holds, whole host.";
    LOCAL_PORTS: Gauge "c10k_local_ports" [], "Ports of net.ipv4.ip_local_port_range that are not reserved: connections of one source address to one destination.";
    TCP_MEMORY: Gauge "c10k_tcp_memory_bytes" [], "Socket buffers of TCP, whole host.";
    TCP_MEMORY_LIMIT: Gauge "c10k_tcp_memory_limit_bytes" [], "The third number of net.ipv4.tcp_mem: beyond it TCP refuses memory.";
    FILES: Gauge "c10k_files_open" [], "Open files of the whole host.";
    FILES_LIMIT: Gauge "c10k_files_limit" [], "fs.file-max.";
    CONNTRACK: Gauge "c10k_conntrack_entries" [], "Connections that the firewall tracks, whole namespace; absent where it tracks none.";
    CONNTRACK_LIMIT: Gauge "c10k_conntrack_limit" [], "net.netfilter.nf_conntrack_max; absent where none are tracked.";
    MEMORY_FREE: Gauge "c10k_memory_free_bytes" [], "MemFree.";
    MEMORY_AVAILABLE: Gauge "c10k_memory_available_bytes" [], "MemAvailable.";
    PAGE_CACHE: Gauge "c10k_page_cache_bytes" [], "Cached and Buffers.";
    SLAB: Gauge "c10k_slab_bytes" [], "Slab: where the kernel keeps its part of a connection, and much else.";
    OOM_KILLS: Counter "c10k_oom_kills_total" [], "Processes that the OOM killer ended, whole host.";
    SOFTIRQ: Counter "c10k_softirq_seconds_total" [], "Processor time in software interrupts, whole host.";
    LOOK: Gauge "c10k_look_seconds" [], "How long the last look at the kernel's figures took.";
    PARTIAL: Gauge "c10k_look_partial" [], "1 where a source could not be read at the last look although it could before.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;

    const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");

    #[test]
    fn names_keep_to_the_conventions() {
        let names: BTreeSet<&str> = ALL.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), ALL.len(), "a name stands twice");
        for Family { name, kind, help, .. } in ALL {
            assert!(name.starts_with("c10k_") && help.ends_with('.'), "{name}: {help}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(!["_ms", "_us", "_kb", "_percent"].iter().any(|unit| name.ends_with(unit)), "{name}");
        }
    }

    /// `C10K_WRITE_DOCS=1 cargo test -p c10k-record --lib family` writes the table.
    #[test]
    fn the_document_has_each_of_them_with_its_kind_labels_and_meaning() {
        let mut table = "| name | kind | labels | meaning |\n|---|---|---|---|\n".to_owned();
        for Family { name, kind, labels, help } in ALL {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            let _ = writeln!(table, "| `{name}` | {} | {} | {help} |", kind.name(), labels.join(", "));
        }
        let there = std::fs::read_to_string(DOCUMENT).expect("docs/metrics.md");
        let (begin, end) = ("<!-- table -->\n", "<!-- end of the table -->\n");
        let (before, rest) = there.split_once(begin).expect("where the table begins");
        let (_, after) = rest.split_once(end).expect("where it ends");
        let wanted = format!("{before}{begin}\n{table}\n{end}{after}");
        if std::env::var_os("C10K_WRITE_DOCS").is_some() {
            return std::fs::write(DOCUMENT, wanted).expect("written");
        }
        assert!(
            there == wanted,
            "docs/metrics.md is stale: C10K_WRITE_DOCS=1 cargo test -p c10k-record --lib family"
        );
    }
}
