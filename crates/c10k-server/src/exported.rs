//! The figures of a server, served while it works.

use c10k_kernel::counters::ProcRoot;
use c10k_kernel::cpu::ProcessCpuReader;
use c10k_kernel::descriptors;
use c10k_kernel::memory::ProcessMemoryReader;
use c10k_record::metrics::{Exporter, Figures, SERVER};
use c10k_record::{Listening, ServerReport};

use crate::args::ServerArgs;
use crate::start::StartError;

/// What is served, of the keeper's ticks. Its files are opened before a descriptor table can be full.
pub(crate) struct Exported {
    exporter: Exporter,
    memory: ProcessMemoryReader,
    cpu: ProcessCpuReader,
}

impl Exported {
    /// Begins to serve where the command line says so. Workers with tables of their own leave one to this as well.
    pub(crate) fn start(args: &ServerArgs) -> Result<Option<Self>, StartError> {
        let Some(address) = args.metrics else { return Ok(None) };
        let has_own_table = !args.one_table;
        let exporter = Exporter::start("c10k-server", move || {
            if has_own_table {
                // Where it is refused it has spare descriptors in the table of all.
                let _ = descriptors::unshare_table();
            }
            Listening::open(address, "metrics")
        });
        let root = ProcRoot::default();
        Ok(Some(Self {
            exporter: exporter.map_err(StartError::Metrics)?,
            memory: ProcessMemoryReader::open(&root, None),
            cpu: ProcessCpuReader::open(&root, std::process::id()),
        }))
    }

    /// Where.
    pub(crate) fn url(&self) -> String {
        self.exporter.url()
    }

    /// Serves a report.
    pub(crate) fn publish(&mut self, report: &ServerReport) {
        let mut figures = Figures::default();
        figures.tell_server(report);
        let rss_bytes = self.memory.read().ok().and_then(|memory| memory.rss_bytes);
        figures.tell_process(SERVER, rss_bytes, self.cpu.read().ok().map(|cpu| cpu.seconds()));
        self.exporter.publish(figures);
    }
}
