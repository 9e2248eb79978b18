//! A plot as SVG: lines over time, drawn by hand, with gaps where nothing could be read.

use std::fmt::Write as _;

use c10k_record::Sample;

use crate::text::{escape, number};

/// What an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A plain number of something.
    Of(&'static str),
    /// Bytes, shown in the unit that fits.
    Bytes,
}

/// One line of a plot.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) value: fn(&Sample) -> Option<f64>,
}

/// A figure with its title, its lines, its legend.
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) series: &'static [Series],
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 744.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 208.0;
/// More points than this are drawn as the least and the greatest of each of half as many stretches.
const MOST_POINTS: usize = 1_400;

impl Plot {
    /// The figure over these samples.
    pub(crate) fn figure(&self, samples: &[Sample]) -> String {
        let mut out = String::new();
        let title = escape(self.title);
        let _ = writeln!(out, "<figure><figcaption>{title}</figcaption>");
        let lines: Vec<Vec<Option<f64>>> = self.series.iter().map(|series| read(samples, series)).collect();
        let largest = lines.iter().flatten().flatten().copied().fold(0.0, f64::max);
        if lines.iter().flatten().all(Option::is_none) {
            let _ = writeln!(out, "<p class=\"gap\">Nothing of this could be read.</p></figure>");
            return out;
        }
        let (scale, unit) = self.scale(largest);
        let (top, step) = ticks(largest / scale);
        let last_s = samples.iter().map(|sample| sample.elapsed_ms).max().unwrap_or(0) as f64 / 1000.0;
        let (end, x_step) = ticks(last_s);
        let axes = Axes { end: end.max(f64::MIN_POSITIVE), top: top * scale };
        let _ = writeln!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}, {unit} over seconds\">"
        );
        for n in 0..=steps(top, step) {
            let (value, y) = (n as f64 * step, axes.y(n as f64 * step * scale));
            let _ = writeln!(out, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>");
            let (x, y, text) = (LEFT - 8.0, y + 4.0, number(Some(value)));
            let _ = writeln!(out, "<text class=\"end\" x=\"{x}\" y=\"{y:.1}\">{text}</text>");
        }
        for n in 0..=steps(end, x_step) {
            let (value, x) = (n as f64 * x_step, axes.x(n as f64 * x_step));
            let (y, text) = (BOTTOM + 18.0, number(Some(value)));
            let _ = writeln!(out, "<text class=\"mid\" x=\"{x:.1}\" y=\"{y}\">{text}</text>");
        }
        let _ = writeln!(out, "<text class=\"end\" x=\"{RIGHT}\" y=\"{}\">seconds</text>", HEIGHT - 6.0);
        let _ = writeln!(out, "<text class=\"end\" x=\"{}\" y=\"12\">{unit}</text>", LEFT - 8.0);
        phases(&mut out, samples, &axes);
        for (n, line) in lines.iter().enumerate() {
            draw(&mut out, n, samples, line, &axes);
        }
        let _ = writeln!(out, "</svg>\n<ul class=\"legend\">");
        for (n, (series, line)) in self.series.iter().zip(&lines).enumerate() {
            let note = if line.iter().all(Option::is_none) { " (could not be read)" } else { "" };
            let _ = writeln!(out, "<li class=\"k{n}\">{}{note}</li>", escape(series.name));
        }
        let _ = writeln!(out, "</ul></figure>");
        out
    }

    /// What a value is divided by, and the name of the unit then.
    fn scale(&self, largest: f64) -> (f64, &'static str) {
        const BYTES: [(u32, &str); 3] = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        match self.unit {
            Unit::Of(name) => (1.0, name),
            Unit::Bytes => BYTES
                .into_iter()
                .map(|(shift, name)| ((1_u64 << shift) as f64, name))
                .find(|(size, _)| largest >= *size)
                .unwrap_or((1.0, "B")),
        }
    }
}

struct Axes {
    /// Seconds at the right edge, above 0.
    end: f64,
    /// Value at the upper edge, above 0.
    top: f64,
}

impl Axes {
    fn x(&self, secs: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * secs / self.end
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * value / self.top
    }
}

fn read(samples: &[Sample], series: &Series) -> Vec<Option<f64>> {
    let usable = |value: &f64| value.is_finite() && *value >= 0.0;
    samples.iter().map(|sample| (series.value)(sample).filter(usable)).collect()
}

/// The end of an axis and the step between its marks: 1, 2 or 5 times a power of ten, four to eight of them.
fn ticks(largest: f64) -> (f64, f64) {
    let largest = if largest.is_finite() && largest > 0.0 { largest } else { 1.0 };
    let rough = largest / 6.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    ((largest / step).ceil() * step, step)
}

fn steps(end: f64, step: f64) -> u32 {
    // A handful by construction of `ticks`; the bound is for numbers at the edge of f64.
    ((end / step).round() as u32).min(12)
}

/// A mark where each phase begins.
fn phases(out: &mut String, samples: &[Sample], axes: &Axes) {
    let mut before = "";
    for sample in samples {
        let phase = sample.phase.as_str();
        if phase != before && !phase.is_empty() {
            let x = axes.x(sample.elapsed_ms as f64 / 1000.0);
            let _ = writeln!(out, "<path class=\"phase\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/>");
            let (x, y, name) = (x + 3.0, TOP - 3.0, escape(phase));
            let _ = writeln!(out, "<text class=\"phase\" x=\"{x:.1}\" y=\"{y}\">{name}</text>");
        }
        before = phase;
    }
}

/// One line, interrupted where a value is missing; a value that stands alone is a dot.
fn draw(out: &mut String, n: usize, samples: &[Sample], line: &[Option<f64>], axes: &Axes) {
    let mut path = String::new();
    let mut dots = String::new();
    let kept = thinned(line);
    let known = |position: Option<usize>| {
        position.and_then(|position| kept.get(position)).is_some_and(|(_, value)| value.is_some())
    };
    for (position, (index, value)) in kept.iter().enumerate() {
        let Some(value) = value else { continue };
        let (x, y) = (axes.x(samples[*index].elapsed_ms as f64 / 1000.0), axes.y(*value));
        let (joined, goes_on) = (known(position.checked_sub(1)), known(Some(position + 1)));
        if !joined && !goes_on {
            let _ = writeln!(dots, "<circle class=\"d{n}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\"/>");
        } else {
            let _ = write!(path, "{}{x:.1} {y:.1}", if joined { 'L' } else { 'M' });
        }
    }
    if !path.is_empty() {
        let _ = writeln!(out, "<path class=\"s{n}\" d=\"{path}\"/>");
    }
    out.push_str(&dots);
}

/// The points to draw: all, or of each stretch the least and the greatest, so that no peak is lost.
fn thinned(line: &[Option<f64>]) -> Vec<(usize, Option<f64>)> {
    if line.len() <= MOST_POINTS {
        return line.iter().copied().enumerate().collect();
    }
    let stretch = line.len().div_ceil(MOST_POINTS / 2);
    let mut kept = Vec::with_capacity(MOST_POINTS);
    for (n, values) in line.chunks(stretch).enumerate() {
        let known = || values.iter().enumerate().filter_map(|(i, value)| Some((n * stretch + i, (*value)?)));
        let least = known().min_by(|a, b| a.1.total_cmp(&b.1));
        let greatest = known().max_by(|a, b| a.1.total_cmp(&b.1));
        match (least, greatest) {
            (Some(a), Some(b)) if a.0 == b.0 => kept.push((a.0, Some(a.1))),
            (Some(a), Some(b)) => {
                let (first, second) = if a.0 < b.0 { (a, b) } else { (b, a) };
                kept.extend([(first.0, Some(first.1)), (second.0, Some(second.1))]);
            }
            _ => kept.push((n * stretch, None)),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLOT: Plot = Plot {
        title: "Open",
        unit: Unit::Of("connections"),
        series: &[
            Series { name: "open", value: |sample| sample.open.map(|n| n as f64) },
            Series { name: "accepted", value: |sample| sample.accepted.map(|n| n as f64) },
        ],
    };

    fn samples(open: &[Option<u64>]) -> Vec<Sample> {
        let sample = |(n, open): (usize, &Option<u64>)| Sample {
            elapsed_ms: n as u64 * 1000,
            open: *open,
            ..Sample::default()
        };
        open.iter().enumerate().map(sample).collect()
    }

    #[test]
    fn a_value_that_could_not_be_read_is_a_gap_in_the_line() {
        let figure = PLOT.figure(&samples(&[Some(1), Some(2), None, Some(3), Some(4), None, Some(5)]));
        let path = figure.lines().find(|line| line.contains("class=\"s0\"")).expect("a line");
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 2), "{path}");
        assert_eq!(figure.matches("<circle").count(), 1, "the last stands alone");
        assert!(figure.contains("accepted (could not be read)"), "{figure}");
    }

    #[test]
    fn a_plot_of_nothing_says_so() {
        for nothing in [samples(&[]), samples(&[None, None])] {
            let figure = PLOT.figure(&nothing);
            assert!(figure.contains("Nothing of this could be read"), "{figure}");
            assert!(!figure.contains("<svg"), "{figure}");
        }
    }

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(ticks(100_000.0), (100_000.0, 20_000.0));
        assert_eq!(ticks(0.0), ticks(1.0));
        for largest in [1e-9, 0.3, 7.0, 99.0, 28_232.0, 1e18, f64::NAN, f64::INFINITY] {
            let (end, step) = ticks(largest);
            assert!(!largest.is_finite() || end >= largest, "{largest}");
            assert!((2..=8).contains(&steps(end, step)), "{largest}: {end} by {step}");
        }
    }

    #[test]
    fn a_long_run_is_thinned_without_losing_its_peak() {
        let mut open = vec![Some(5); 20_000];
        open[7_777] = Some(9_999);
        open[100..200].fill(None);
        let line: Vec<Option<f64>> = open.iter().map(|value| value.map(|n: u64| n as f64)).collect();
        let kept = thinned(&line);
        assert!(kept.len() <= MOST_POINTS, "{}", kept.len());
        assert!(kept.contains(&(7_777, Some(9_999.0))));
        assert!(kept.iter().any(|(_, value)| value.is_none()), "the gap is kept");
        assert!(kept.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
