//! The figures of a collector, served while it watches.

use c10k_kernel::counters::ProcRoot;
use c10k_record::metrics::{Exporter, Figures, SERVER, family};
use c10k_record::{ListenError, Listening};

use crate::args::CollectorArgs;
use crate::host::host_snapshot;
use crate::observation::Observation;
use crate::told::tell_limits;

/// What is served.
pub(crate) struct Exported {
    exporter: Exporter,
    /// What stands as it was read once.
    limits: Figures,
    /// The last count of connections: they are not counted at each look.
    connections: Option<u64>,
}

impl Exported {
    /// Begins to serve where the command line says so.
    ///
    /// # Errors
    /// When nobody may listen there.
    pub(crate) fn start(args: &CollectorArgs) -> Result<Option<Self>, ListenError> {
        let Some(address) = args.metrics else { return Ok(None) };
        let exporter = Exporter::start("c10k-collector", move || Listening::open(address, "metrics"))?;
        Ok(Some(Self { exporter, limits: Figures::default(), connections: None }))
    }

    /// Where.
    pub(crate) fn url(&self) -> String {
        self.exporter.url()
    }

    /// From now on the process `pid` is watched, which may stand in another network namespace.
    pub(crate) fn watches(&mut self, pid: Option<u32>) {
        let is_ours = pid.is_none_or(|pid| ProcRoot::default().shares_network_namespace(pid) != Some(false));
        tell_limits(&host_snapshot(), is_ours, &mut self.limits);
    }

    /// Serves what a look saw.
    pub(crate) fn publish(&mut self, seen: &Observation) {
        self.connections = seen.connections.or(self.connections);
        let mut figures = self.limits.clone();
        seen.tell(&mut figures);
        figures.count(&family::CONNECTIONS, &[SERVER, "established"], self.connections);
        self.exporter.publish(figures);
    }
}
