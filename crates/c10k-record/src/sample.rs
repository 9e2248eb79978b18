//! One row of `samples.csv`.

use serde::{Deserialize, Serialize};

/// What was seen at one tick. Counters are differences since the start of the run; `None` is "could not be
/// read", an empty field in the CSV.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sample {
    /// Milliseconds since the start of the run.
    pub elapsed_ms: u64,
    /// Phase of the swarm: `ramp`, `hold`, `verify`, `close`; empty before it started.
    pub phase: String,
    /// Connections begun.
    pub attempted: Option<u64>,
    /// `connect()` completed at the client.
    pub established: Option<u64>,
    /// The server's own count.
    pub accepted: Option<u64>,
    /// Echoed their probe.
    pub verified: Option<u64>,
    /// Open at the client now.
    pub open: Option<u64>,
    /// Lost so far.
    pub failed: Option<u64>,
    /// Probes echoed since the last row, per second.
    pub messages_per_second: Option<f64>,
    /// Connections established since the last row, per second.
    pub connects_per_second: Option<f64>,
    /// RSS of the server, bytes.
    pub server_rss_bytes: Option<u64>,
    /// RSS of the swarm, bytes.
    pub swarm_rss_bytes: Option<u64>,
    /// `Slab` of /proc/meminfo, bytes.
    pub slab_bytes: Option<u64>,
    /// `MemFree`, bytes.
    pub mem_free_bytes: Option<u64>,
    /// `MemAvailable`, bytes.
    pub mem_available_bytes: Option<u64>,
    /// Page cache (`Cached` + `Buffers`), bytes.
    pub page_cache_bytes: Option<u64>,
    /// sockstat `TCP: inuse` (+ sockstat6), this namespace.
    pub sockets_in_use: Option<u64>,
    /// sockstat `TCP: tw`, this namespace.
    pub time_wait: Option<u64>,
    /// sockstat `TCP: orphan`, whole host.
    pub orphans: Option<u64>,
    /// sockstat `TCP: mem`, pages, whole host.
    pub tcp_mem_pages: Option<u64>,
    /// TcpExt ListenOverflows.
    pub listen_overflows: Option<u64>,
    /// TcpExt ListenDrops.
    pub listen_drops: Option<u64>,
    /// TcpExt TCPReqQFullDoCookies + TCPReqQFullDrop.
    pub syn_queue_full: Option<u64>,
    /// TcpExt TCPSynRetrans.
    pub syn_retransmits: Option<u64>,
    /// Longest accept queue of the server's listeners now.
    pub accept_queue: Option<u64>,
    /// softnet_stat column 2, packets dropped.
    pub softnet_dropped: Option<u64>,
    /// /proc/sys/fs/file-nr column 1, whole host, now.
    pub files_in_use: Option<u64>,
    /// Processor time of the server since the last row, cores.
    pub server_cores: Option<f64>,
    /// Processor time of the swarm since the last row, cores.
    pub swarm_cores: Option<f64>,
    /// Time in softirq on the whole host since the last row, cores.
    pub softirq_cores: Option<f64>,
    /// Time that nobody used since the last row, of the processors that the lab may run on, cores.
    pub idle_cores: Option<f64>,
    /// True when a source vanished in the middle of this tick.
    pub partial: bool,
}

macro_rules! columns {
    ($($field:ident),* $(,)?) => {
        impl Sample {
            /// The names of the columns, in the order of [`Sample::csv_row`].
            pub const COLUMNS: &'static [&'static str] = &[$(stringify!($field)),*];

            /// The row as CSV, without the line end.
            #[must_use]
            pub fn csv_row(&self) -> String {
                [$(cell(&self.$field)),*].join(",")
            }
        }
    };
}

columns!(
    elapsed_ms,
    phase,
    attempted,
    established,
    accepted,
    verified,
    open,
    failed,
    messages_per_second,
    connects_per_second,
    server_rss_bytes,
    swarm_rss_bytes,
    slab_bytes,
    mem_free_bytes,
    mem_available_bytes,
    page_cache_bytes,
    sockets_in_use,
    time_wait,
    orphans,
    tcp_mem_pages,
    listen_overflows,
    listen_drops,
    syn_queue_full,
    syn_retransmits,
    accept_queue,
    softnet_dropped,
    files_in_use,
    server_cores,
    swarm_cores,
    softirq_cores,
    idle_cores,
    partial,
);

/// A CSV cell: numbers as they are, nothing for `None`, text without commas.
fn cell(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::Null) | Err(_) => String::new(),
        Ok(serde_json::Value::String(text)) => text.replace([',', '\n', '"'], " "),
        Ok(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_is_an_empty_cell_and_not_zero() {
        let sample = Sample { elapsed_ms: 7, attempted: Some(0), ..Sample::default() };
        let row = sample.csv_row();
        let cells: Vec<&str> = row.split(',').collect();
        assert_eq!(cells.len(), Sample::COLUMNS.len());
        assert_eq!(&cells[..4], &["7", "", "0", ""]);
    }

    #[test]
    fn every_field_of_a_sample_is_a_column() {
        let value = serde_json::to_value(Sample::default()).expect("plain data");
        let fields: std::collections::BTreeSet<String> =
            value.as_object().expect("a struct").keys().cloned().collect();
        let columns = Sample::COLUMNS.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(fields, columns);
    }
}
