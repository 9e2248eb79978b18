//! Everything a swarm says: JSON lines and documents on stdout, words for people on stderr, the interval log.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use c10k_record::{LatencyHistogram, LiveCounts, PhaseName, Printer, SwarmEvent, Warning, human_count};
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

/// Between two progress lines where stderr is no terminal.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// At the end: how long the reader of the JSON lines may take nothing. The record is the last of them.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// The one printer of a swarm.
pub(crate) struct Output {
    /// Where the JSON lines go, with --events.
    events: Option<Printer>,
    terminal: bool,
    last_plain: Option<Instant>,
    line_open: bool,
    log: Option<IntervalLog>,
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

impl Output {
    /// One for words alone.
    pub(crate) fn new() -> Self {
        let terminal = io::stderr().is_terminal();
        Self { events: None, terminal, last_plain: None, line_open: false, log: None, lost: false }
    }

    /// Says JSON lines on stdout from now on.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn say_events(&mut self) -> io::Result<()> {
        self.events = Some(Printer::new(io::stdout())?);
        Ok(())
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
            "#[values in microseconds; tags: connect, handshake, first_echo, echo, connect_response, lateness]"
        )?;
        file.flush()?;
        let (path, begun) = (path.to_owned(), Instant::now());
        self.log = Some(IntervalLog { path, file, begun, last: Duration::ZERO, failed: None });
        Ok(())
    }

    /// Writes the histograms of an interval that ends now.
    pub(crate) fn interval(&mut self, histograms: &[(&str, &LatencyHistogram)]) {
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

    /// Writes no more into the interval log, and gives what the record has to say when a part of it was lost.
    pub(crate) fn end_interval_log(&mut self) -> Option<Warning> {
        let log = self.log.take()?;
        let error = log.failed?;
        self.lost = true;
        let text = format!("the interval log {} could not be written whole: {error}", log.path.display());
        self.say(&format!("error: {text}"));
        Some(Warning::new("output-lost", text))
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
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "{}", json(document)).and_then(|()| stdout.flush());
        drop(stdout);
        self.note_loss(written);
    }

    /// Whoever read it may be gone: nobody is left to be told then. A disk that is full is told, once.
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

    /// Words for people.
    pub(crate) fn say(&mut self, text: &str) {
        let mut stderr = io::stderr().lock();
        if std::mem::take(&mut self.line_open) {
            let _ = writeln!(stderr);
        }
        let _ = writeln!(stderr, "{text}");
    }

    /// What a program hears by an event.
    pub(crate) fn say_to_people(&mut self, text: &str) {
        if self.events.is_none() {
            self.say(text);
        }
    }

    pub(crate) fn warn(&mut self, text: &str) {
        self.say(&format!("warning: {text}"));
    }

    /// How it stands: one line that is written over on a terminal, else a plain line every few seconds.
    pub(crate) fn progress(
        &mut self,
        phase: PhaseName,
        elapsed_ms: u64,
        counts: &LiveCounts,
        target: u64,
        per_second: f64,
        probe: bool,
    ) {
        if self.events.is_some() {
            return;
        }
        let due = self.last_plain.is_none_or(|last| last.elapsed() >= PLAIN_INTERVAL);
        if !self.terminal && !due {
            return;
        }
        let line = format!(
            "{phase:<6} {:>6.1}s  attempted {}  established {}  verified {} of {}  failed {}  {}/s",
            elapsed_ms as f64 / 1000.0,
            human_count(counts.attempted),
            human_count(counts.established),
            if probe { human_count(counts.verified) } else { "unknown".to_owned() },
            human_count(target),
            human_count(counts.failed),
            human_count(per_second as u64),
        );
        if self.terminal {
            let mut stderr = io::stderr().lock();
            let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
            self.line_open = true;
        } else {
            self.last_plain = Some(Instant::now());
            self.say(&line);
        }
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
