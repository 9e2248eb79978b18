//! Everything a swarm says: JSON lines and documents on stdout, words for people on stderr, the interval log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use c10k_record::metrics::LatencyFigures;
use c10k_record::{
    HttpAddress, LatencyHistogram, ListenError, Live, LiveCounts, Outcome, PhaseName, Printer, Sample, Style,
    SwarmEvent, Teller, Warning, text_width,
};
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::exported::{Exported, Measures};

/// At the end: how long the reader of the JSON lines may take nothing. The record is the last of them.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// The one printer of a swarm.
pub(crate) struct Output {
    /// Where the JSON lines go, with --events.
    events: Option<Printer>,
    teller: Teller,
    /// Says nothing but errors, and what is asked for.
    is_quiet: bool,
    log: Option<IntervalLog>,
    rows: Option<Rows>,
    measures: Measures,
    exported: Option<Exported>,
    /// Data was lost, and not because its reader had gone.
    lost: bool,
}

struct IntervalLog {
    path: PathBuf,
    file: BufWriter<File>,
    begun: Instant,
    last: Duration,
    /// By what a part of it was lost first.
    failed: Option<String>,
}

/// Counts over time, as `samples.csv` has them.
struct Rows {
    path: PathBuf,
    file: BufWriter<File>,
    failed: Option<String>,
}

impl Output {
    /// One for words alone.
    pub(crate) fn new() -> Self {
        Self {
            events: None,
            teller: Teller::default(),
            is_quiet: false,
            log: None,
            rows: None,
            measures: Measures::default(),
            exported: None,
            lost: false,
        }
    }

    /// From now on only errors are said, and what is asked for.
    pub(crate) fn be_quiet(&mut self) {
        self.is_quiet = true;
    }

    /// Says JSON lines on stdout from now on.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn say_events(&mut self) -> io::Result<()> {
        self.events = Some(Printer::new(io::stdout())?);
        Ok(())
    }

    /// Serves figures from now on, and says where: with port 0 nobody else knows.
    ///
    /// # Errors
    /// When nobody may listen there.
    pub(crate) fn serve_metrics(
        &mut self,
        address: HttpAddress,
        has_own_table: bool,
    ) -> Result<(), ListenError> {
        let exported = Exported::start(address, has_own_table)?;
        self.say(&format!("metrics: {}", exported.url()));
        self.exported = Some(exported);
        Ok(())
    }

    /// Serves how it stands, where figures are served.
    pub(crate) fn publish(
        &mut self,
        phase: PhaseName,
        counts: &LiveCounts,
        lost: &BTreeMap<Outcome, u64>,
        target: u64,
    ) {
        if let Some(exported) = &mut self.exported {
            exported.publish(phase, counts, lost, target, &self.measures);
        }
    }

    /// What was measured so far; `None` where nothing came since this was last asked, or nobody hears events.
    pub(crate) fn new_latencies(&mut self) -> Option<Box<LatencyFigures>> {
        self.events.as_ref().and_then(|_| self.measures.news())
    }

    /// Writes latencies to an HdrHistogram interval log from now on.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(crate) fn log_intervals_to(&mut self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        // The version line that the Java tools look for, which the crate's writer leaves out.
        writeln!(file, "#[Histogram log format version 1.3]")?;
        let epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        writeln!(file, "#[StartTime: {:.3} (seconds since epoch)]", epoch.as_secs_f64())?;
        writeln!(
            file,
            "#[values in microseconds; tags: connect, handshake, first_echo, echo, connect_response, lateness; of each \
             phase of a workload PHASE.response, PHASE.service, PHASE.lateness, PHASE.beat]"
        )?;
        let columns = ["StartTimestamp", "Interval_Length", "Interval_Max", "Interval_Compressed_Histogram"];
        writeln!(file, "{}", columns.map(|column| format!("\"{column}\"")).join(","))?;
        file.flush()?;
        let (path, begun) = (path.to_owned(), Instant::now());
        self.log = Some(IntervalLog { path, file, begun, last: Duration::ZERO, failed: None });
        Ok(())
    }

    /// Whether there is an interval log.
    pub(crate) fn logs_intervals(&self) -> bool {
        self.log.is_some()
    }

    /// Keeps rows of counts in this file from now on.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub(crate) fn keep_rows_in(&mut self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        writeln!(file, "{}", Sample::csv_header())?;
        file.flush()?;
        self.rows = Some(Rows { path: path.to_owned(), file, failed: None });
        Ok(())
    }

    /// Whether rows are kept.
    pub(crate) fn keeps_rows(&self) -> bool {
        self.rows.is_some()
    }

    /// Keeps a row.
    pub(crate) fn row(&mut self, row: &Sample) {
        let Some(rows) = &mut self.rows else { return };
        if let Err(error) = writeln!(rows.file, "{}", row.csv_row()).and_then(|()| rows.file.flush()) {
            rows.failed.get_or_insert(error.to_string());
        }
    }

    /// Counts the histograms of an interval that ends now, and writes them.
    pub(crate) fn interval(&mut self, histograms: &[(&str, &LatencyHistogram)], is_hold: bool) {
        if self.events.is_some() || self.exported.is_some() {
            self.measures.add(histograms, is_hold);
        }
        let Some(log) = &mut self.log else { return };
        let now = log.begun.elapsed();
        let (start, long) = (log.last, now - log.last);
        log.last = now;
        for (name, histogram) in histograms.iter().filter(|(_, histogram)| histogram.count() > 0) {
            if let Err(error) = write_interval(&mut log.file, name, histogram, start, long) {
                log.failed.get_or_insert(error);
            }
        }
        if let Err(error) = log.file.flush() {
            log.failed.get_or_insert(error.to_string());
        }
    }

    /// Writes no more over time, and gives what the record has to say when a part of that was lost.
    pub(crate) fn end_over_time(&mut self) -> Option<Warning> {
        let log = self.log.take().and_then(|log| Some(("the interval log", log.path, log.failed?)));
        let rows = self.rows.take().and_then(|rows| Some(("the counts over time", rows.path, rows.failed?)));
        let lost: Vec<String> = [log, rows]
            .into_iter()
            .flatten()
            .map(|(what, path, error)| {
                format!("{what} {} could not be written whole: {error}", path.display())
            })
            .collect();
        if lost.is_empty() {
            return None;
        }
        self.lost = true;
        lost.iter().for_each(|text| self.say(&format!("error: {text}")));
        Some(Warning::new("output-lost", lost.join("; ")))
    }

    /// One JSON line on stdout, with --events.
    pub(crate) fn event(&self, event: &SwarmEvent) {
        let Some(printer) = &self.events else { return };
        match event {
            SwarmEvent::Tick { .. } => printer.tick(json(event)),
            _ => printer.line(json(event)),
        }
    }

    /// The last JSON line, with --events.
    pub(crate) fn last_event(&mut self, event: &SwarmEvent) {
        if let Some(printer) = self.events.take() {
            self.note_loss(printer.finish(Some(json(event)), LAST_WAIT));
        }
    }

    /// One JSON document on stdout.
    pub(crate) fn document(&mut self, document: &impl serde::Serialize) {
        self.text(&json(document));
    }

    /// Text on stdout.
    pub(crate) fn text(&mut self, text: &str) {
        self.teller.end_line();
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
        drop(stdout);
        self.note_loss(written);
    }

    /// How text looks on stdout, or on stderr.
    pub(crate) fn style(&self, stdout: bool) -> Style {
        let (is_terminal, width) = if stdout {
            (io::stdout().is_terminal(), text_width(&io::stdout()))
        } else {
            (self.teller.is_terminal(), text_width(&io::stderr()))
        };
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Style { color: is_terminal && !is_unwanted, width }
    }

    /// Its reader may be gone: nobody is left to be told then. A disk that is full is told, once.
    fn note_loss(&mut self, written: io::Result<()>) {
        if let Err(error) = written
            && error.kind() != io::ErrorKind::BrokenPipe
            && !std::mem::replace(&mut self.lost, true)
        {
            self.say(&format!("error: the output cannot be written: {error}"));
        }
    }

    /// Whether data was lost, of stdout or of the interval log, and not because its reader had gone.
    pub(crate) fn has_lost_data(&self) -> bool {
        self.lost
    }

    /// Words for people, on stderr.
    pub(crate) fn say(&mut self, text: &str) {
        self.teller.say(text);
    }

    /// What a program hears by an event.
    pub(crate) fn say_to_people(&mut self, text: &str) {
        if self.events.is_none() {
            self.note(text);
        }
    }

    /// What nobody needs who wants it quiet.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.is_quiet {
            self.say(text);
        }
    }

    pub(crate) fn warn(&mut self, text: &str) {
        self.note(&format!("warning: {text}"));
    }

    /// The last line of how it stood, in the place of the one that is written over.
    pub(crate) fn closing(&mut self, text: &str) {
        self.teller.clear_line();
        self.say_to_people(text);
    }

    /// How it stands, for people.
    pub(crate) fn progress(&mut self, live: &Live<'_>) {
        if self.events.is_some() || self.is_quiet {
            return;
        }
        self.teller.progress(live);
    }
}

fn json(value: &impl serde::Serialize) -> String {
    // Plain data with string keys: there is nothing in it that JSON could not hold.
    serde_json::to_string(value).unwrap_or_default()
}

fn write_interval(
    file: &mut BufWriter<File>,
    name: &str,
    histogram: &LatencyHistogram,
    start: Duration,
    long: Duration,
) -> Result<(), String> {
    let mut serializer = V2DeflateSerializer::new();
    let mut writer = IntervalLogWriterBuilder::new()
        .begin_log_with(file, &mut serializer)
        .map_err(|error| error.to_string())?;
    let tag = Tag::new(name);
    writer.write_histogram(histogram.as_hdr(), start, long, tag).map_err(|error| format!("{error:?}"))
}
