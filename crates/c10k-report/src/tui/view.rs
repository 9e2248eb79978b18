//! What the full screen shows of a run: data alone.

use c10k_record::{Live, Sample};

/// How a run stands, as the full screen shows it.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Which run it is.
    pub title: String,
    /// Phase, count, rate, times.
    pub live: Live<'static>,
    /// Connections that are wanted.
    pub target: u64,
    /// The rows so far, thinned out where they are many, the last one included.
    pub rows: Vec<Sample>,
    /// Sockets by the kernel's names; `None` where it does not say.
    pub sockets: Vec<(&'static str, Option<u64>)>,
    /// The longest accept queue and the bound of it.
    pub accept_queue: (Option<u64>, Option<u64>),
    /// Lost connections by errno or name, the most first.
    pub lost: Vec<(String, u64)>,
    /// Bytes of a connection by part, both ends together.
    pub memory: Vec<(String, f64)>,
    /// Processor time by who takes it, cores.
    pub cores: Vec<(&'static str, Option<f64>)>,
    /// Processors of the host.
    pub cpus: u64,
    /// The next walls: their names and how many connections each allows.
    pub walls: Vec<(String, u64)>,
    /// Connections open now.
    pub open: u64,
    /// The last that anybody said.
    pub word: Option<String>,
    /// Somebody has asked for the end.
    pub is_stopping: bool,
}

impl View {
    /// The newest row.
    pub fn last(&self) -> Sample {
        self.rows.last().cloned().unwrap_or_default()
    }
}

/// At most `most` of the rows, evenly taken, and the last one always.
pub fn thinned(rows: &[Sample], most: usize) -> Vec<Sample> {
    let step = rows.len().div_ceil(most.max(1)).max(1);
    let mut taken: Vec<Sample> = rows.iter().rev().step_by(step).cloned().collect();
    taken.reverse();
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_thinned_evenly_and_the_last_one_stays() {
        let rows: Vec<Sample> = (0..1000).map(|n| Sample { elapsed_ms: n, ..Sample::default() }).collect();
        for most in [1, 7, 100, 1000, 5000] {
            let taken = thinned(&rows, most);
            assert!(taken.len() <= most && taken.len() * 2 >= most.min(1000), "{most}: {}", taken.len());
            assert_eq!(taken.last().map(|row| row.elapsed_ms), Some(999));
        }
        assert_eq!(thinned(&[], 9), []);
    }
}
