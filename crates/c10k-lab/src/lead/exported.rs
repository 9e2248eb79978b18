//! The figures of a run, served while it goes on: of its rows and of what its processes say.

use c10k_collector::tell_limits;
use c10k_plan::args::RunArgs;
use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_record::metrics::{Exporter, Figures};
use c10k_record::{HttpAddress, ListenError, Listening};

use crate::host::limits::as_one;
use crate::lead::lab::Lab;

/// What the flag is called.
pub(crate) const METRICS: &str = "metrics";

/// Listens where the command line says, or at what a climb has handed on, and says where. It stands in the network
/// namespace in which the lab was started, and no thread serves it yet: the run's own namespace is entered without one.
pub(crate) fn listen(args: &RunArgs, printer: &mut Printer) -> Result<Option<Listening>, Refusal> {
    if args.metrics_on_stdin {
        return Listening::inherited(METRICS).map(Some).map_err(|error| refused(&error));
    }
    args.metrics.map(|address| listen_at(address, printer)).transpose()
}

/// Listens there and says where.
pub(crate) fn listen_at(address: HttpAddress, printer: &mut Printer) -> Result<Listening, Refusal> {
    let listening = Listening::open(address, METRICS).map_err(|error| refused(&error))?;
    printer.say(&format!("metrics: http://{}/metrics", listening.address()));
    Ok(listening)
}

fn refused(error: &ListenError) -> Refusal {
    Refusal { message: error.to_string(), hint: Some(error.hint()), exit: error.exit() }
}

impl Lab<'_> {
    /// Serves the figures of this run from now on.
    pub(crate) fn serve_metrics(&mut self, listening: Listening) -> Result<(), Refusal> {
        self.exporter = Some(Exporter::start("c10k-lab", || Ok(listening)).map_err(|error| refused(&error))?);
        Ok(())
    }

    /// Serves how the run stands; what the kernel says of a process stands above what it says of itself.
    pub(crate) fn publish(&self) {
        let Some(exporter) = &self.exporter else { return };
        let mut figures = Figures::default();
        tell_limits(&as_one(&self.limits), true, &mut figures);
        if let Some(report) = &self.said.server.last {
            figures.tell_server(report);
        }
        let swarm = &self.said.swarm;
        figures.tell_swarm(swarm.phase, &swarm.counts, &swarm.lost, self.plan.target);
        figures.tell_latencies(&swarm.latencies);
        if let Some(seen) = &self.seen.watch.last {
            seen.tell(&mut figures);
        }
        exporter.publish(figures);
    }
}
