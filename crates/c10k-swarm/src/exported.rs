//! The figures of a swarm: told in its ticks, and served while it works.

use std::collections::BTreeMap;

use c10k_kernel::counters::ProcRoot;
use c10k_kernel::cpu::ProcessCpuReader;
use c10k_kernel::descriptors;
use c10k_kernel::memory::ProcessMemoryReader;
use c10k_record::metrics::{Exporter, Figures, LatencyFigures, SWARM};
use c10k_record::{HttpAddress, LatencyHistogram, ListenError, Listening, LiveCounts, Outcome, PhaseName};

/// Latencies since the first connect.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    all: LatencyFigures,
    /// Something came since they were last told.
    is_news: bool,
}

impl Measures {
    /// Counts those of an interval, by the names that they have in the interval log. Where a job `is_hold` the messages that
    /// it is for are beats.
    pub(crate) fn add(&mut self, histograms: &[(&str, &LatencyHistogram)], is_hold: bool) {
        for (name, histogram) in histograms.iter().filter(|(_, histogram)| histogram.count() > 0) {
            let kind = match name.rsplit('.').next() {
                Some("connect") => &mut self.all.connect,
                Some("first_echo") => &mut self.all.first_echo,
                Some("echo") => &mut self.all.echo,
                Some("response") if !is_hold => &mut self.all.response,
                Some("beat" | "response") => &mut self.all.beat,
                // What is the swarm's own, and a part of what is counted.
                _ => continue,
            };
            kind.add(histogram);
            self.is_news = true;
        }
    }

    /// All of them; `None` where nothing came since this was last asked.
    pub(crate) fn news(&mut self) -> Option<Box<LatencyFigures>> {
        std::mem::take(&mut self.is_news).then(|| Box::new(self.all.clone()))
    }
}

/// What is served. Its files are opened before a descriptor table can be full.
pub(crate) struct Exported {
    exporter: Exporter,
    memory: ProcessMemoryReader,
    cpu: ProcessCpuReader,
}

impl Exported {
    /// Begins to serve; with a descriptor table of its own where workers have theirs.
    ///
    /// # Errors
    /// When nobody may listen there.
    pub(crate) fn start(address: HttpAddress, has_own_table: bool) -> Result<Self, ListenError> {
        let exporter = Exporter::start("c10k-swarm", move || {
            if has_own_table {
                // Where it is refused it has spare descriptors in the table of all.
                let _ = descriptors::unshare_table();
            }
            Listening::open(address, "metrics")
        })?;
        let root = ProcRoot::default();
        let cpu = ProcessCpuReader::open(&root, std::process::id());
        Ok(Self { exporter, memory: ProcessMemoryReader::open(&root, None), cpu })
    }

    /// Where.
    pub(crate) fn url(&self) -> String {
        self.exporter.url()
    }

    /// Serves how the swarm stands.
    pub(crate) fn publish(
        &mut self,
        phase: PhaseName,
        counts: &LiveCounts,
        lost: &BTreeMap<Outcome, u64>,
        target: u64,
        measures: &Measures,
    ) {
        let mut figures = Figures::default();
        figures.tell_swarm(Some(phase), counts, lost, target);
        figures.tell_latencies(&measures.all);
        let rss_bytes = self.memory.read().ok().and_then(|memory| memory.rss_bytes);
        figures.tell_process(SWARM, rss_bytes, self.cpu.read().ok().map(|cpu| cpu.seconds()));
        self.exporter.publish(figures);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_counted_by_their_kind_and_told_when_there_are_new_ones() {
        let (mut measures, none) = (Measures::default(), LatencyHistogram::default());
        let mut one = LatencyHistogram::default();
        one.record_us(700);
        measures.add(&[("connect", &none), ("echo", &none)], false);
        assert_eq!(measures.news(), None);
        let of_echo =
            [("connect", &one), ("echo.response", &one), ("echo.lateness", &one), ("handshake", &one)];
        measures.add(&of_echo, false);
        // Whatever its phase is called.
        measures.add(&[("hold.response", &one)], false);
        measures.add(&[("a.b.response", &one)], true);
        let news = measures.news().expect("some came");
        let mut wanted = LatencyFigures::default();
        wanted.connect.add(&one);
        (0..2).for_each(|_| wanted.response.add(&one));
        wanted.beat.add(&one);
        assert_eq!(*news, wanted);
        assert_eq!(measures.news(), None);
        measures.add(&[("echo.lateness", &one)], true);
        assert_eq!(measures.news(), None);
    }
}
