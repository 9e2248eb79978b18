//! One row of `samples.csv`.

use serde::{Deserialize, Serialize};

/// What was seen at one tick. Counters are differences since the start of the run; `None` is "could not be
/// read", an empty field in the CSV.
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// The phase's name in a plan that names its phases; else empty.
    pub phase_name: String,
    /// Lost so far by errno or name, in an order of their own: `ECONNRESET=3;EMFILE=512`. Empty where none is lost, in older
    /// files, and before the swarm has said it.
    pub lost: String,
    /// How old the server's figures of this row are, where the server stands on another host, milliseconds: they are those of
    /// the last look at it, by the clients' clock.
    pub far_age_ms: Option<u64>,
    /// `Slab` of the server's host, bytes; empty, as all columns of that host, where both ends stand on one.
    pub far_slab_bytes: Option<u64>,
    /// `MemFree` of the server's host, bytes.
    pub far_mem_free_bytes: Option<u64>,
    /// `MemAvailable` of the server's host, bytes.
    pub far_mem_available_bytes: Option<u64>,
    /// Page cache of the server's host, bytes.
    pub far_page_cache_bytes: Option<u64>,
    /// Time in softirq on the server's host, cores.
    pub far_softirq_cores: Option<f64>,
    /// Time that nobody used there, of the processors that the program there may run on, cores.
    pub far_idle_cores: Option<f64>,
    /// Packets that the kernel dropped so far by its name of the reason, whole host: `IP_RPFILTER=2;NETFILTER_DROP=40`, or
    /// `none`.
    pub drops: Option<String>,
}

/// One row of `ramp.csv`: the swarm's counts while it connects, more often than a [`Sample`] is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RampRow {
    /// Milliseconds since the start of the run, by the clock of `samples.csv`.
    pub elapsed_ms: u64,
    /// Connections begun.
    pub attempted: u64,
    /// `connect()` completed at the client.
    pub established: u64,
    /// Echoed their probe.
    pub verified: u64,
    /// Open at the client now.
    pub open: u64,
    /// Lost so far.
    pub failed: u64,
}

impl RampRow {
    /// All of `ramp.csv`.
    #[must_use]
    pub fn csv(rows: &[Self]) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in rows {
            // Numbers alone, and memory that takes them.
            let _ = writer.serialize(row);
        }
        String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
    }
}

impl Sample {
    /// The names of the columns as CSV, without the line end.
    #[must_use]
    pub fn csv_header() -> String {
        // The writer takes the names from the first value that it is given.
        let text = csv_of(&Self::default(), true);
        text.lines().next().unwrap_or_default().to_owned()
    }

    /// The row as CSV, without the line end.
    #[must_use]
    pub fn csv_row(&self) -> String {
        csv_of(self, false).trim_end_matches('\n').to_owned()
    }
}

fn csv_of(sample: &Sample, with_header: bool) -> String {
    let mut writer = csv::WriterBuilder::new().has_headers(with_header).from_writer(Vec::new());
    // Numbers and a text: nothing that a CSV cannot say, and memory that takes it.
    let _ = writer.serialize(sample);
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_is_an_empty_cell_and_not_zero() {
        let sample = Sample { elapsed_ms: 7, attempted: Some(0), ..Sample::default() };
        let (header, row) = (Sample::csv_header(), sample.csv_row());
        let cells: Vec<&str> = row.split(',').collect();
        assert_eq!(cells.len(), header.split(',').count());
        assert_eq!(&cells[..4], &["7", "", "0", ""]);
        assert!(header.starts_with("elapsed_ms,phase,attempted,"), "{header}");
    }
}
