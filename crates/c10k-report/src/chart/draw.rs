//! A plot as a figure: an SVG whose texts lie beside each other, its legend, its numbers as CSV.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::scale::{Scale, shown};
use super::thin::{csv, drawn};
use super::{Chart, Line, Look, Point, slug};
use crate::page::data_link;

/// So wide that it is read without a glass on a telephone of 360 px.
pub(crate) const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 170.0;
/// A letter of the size that is used, at its widest on average.
pub(crate) const LETTER: f64 = 7.0;
/// A row of names above a plot.
const LANE: f64 = 13.0;
const MOST_LANES: usize = 3;
/// Styles that there are.
const STYLES: usize = 8;

pub(super) fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}

struct Frame {
    x: Scale,
    y: Scale,
    left: (f64, f64),
    top: (f64, f64),
    names: Vec<Name>,
}

/// A name above a mark.
struct Name {
    text: String,
    place: (f64, f64),
    is_left_of_it: bool,
}

impl Chart {
    /// The figure. A plot without a value says so.
    pub(crate) fn figure(&self) -> Markup {
        if !self.has_values() {
            return html! {
                figure.plot {
                    figcaption { (self.title) }
                    p.gap { "Nothing of this could be read, or it did not happen." }
                }
            };
        }
        let frame = self.frame();
        let (from, to) = frame.x.range();
        let name = slug(&self.title);
        let height = frame.top.1 + 38.0;
        let place = format!("{} {} {from} {to} {}", frame.left.0, frame.left.1, u8::from(self.x.is_log));
        html! {
            figure.plot data-plot=(place) data-name=(name) {
                figcaption { (self.title) }
                svg viewBox=(format!("0 0 {WIDTH} {height:.0}")) role="img" aria-label=(self.told(&frame)) {
                    (self.axes(&frame))
                    (self.drawn(&frame))
                    line.here visibility="hidden" x1="0" x2="0" y1=(frame.top.0) y2=(frame.top.1) {}
                }
                (self.legend(&frame))
                @for note in &self.notes { p.note { (note) } }
                p.tools {
                    (data_link(&format!("{name}.csv"), &csv(&frame.x.caption, &self.lines)))
                    button type="button" data-does="svg" hidden { "SVG" }
                }
            }
        }
    }

    fn frame(&self) -> Frame {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let ends = self.lines.iter().flat_map(|line| &line.intervals).flat_map(|(a, b)| [*a, *b]);
        let values: Vec<f64> = points().filter_map(|point| point.1).chain(ends).collect();
        let most = values.iter().copied().fold(0.0, f64::max);
        // A wall far above all that was reached would make a flat line of it.
        let levels = self.levels.iter().map(|level| level.1).filter(|level| *level <= most.max(1.0) * 2.5);
        let y = Scale::of(&self.y, values.iter().copied().chain(levels));
        let places = points().filter(|point| point.1.is_some()).map(|point| point.0);
        let x = Scale::of(&self.x, places);
        let widest = y.marks.iter().map(|(_, text)| width_of(text)).fold(0.0, f64::max);
        let last = x.marks.last().map_or(0.0, |(_, text)| width_of(text) / 2.0);
        let left = ((widest + 10.0).round(), WIDTH - last.max(6.0).round() - 2.0);
        let x = x.between(left.0, left.1);
        let (names, lanes) = self.names(&x);
        let top = 30.0 + LANE * lanes as f64;
        let bottom = top + HEIGHT;
        Frame { x, y: y.between(bottom, top), left, top: (top, bottom), names }
    }

    /// Names of marks in as many rows as keep them apart; one that finds no room is left out.
    fn names(&self, x: &Scale) -> (Vec<Name>, usize) {
        let mut ends = [f64::NEG_INFINITY; MOST_LANES];
        let mut names = Vec::new();
        let mut lanes = 0;
        for (at, text) in &self.marks {
            let Some(place) = x.at(*at) else { continue };
            let width = width_of(text);
            let is_left_of_it = place + 3.0 + width > WIDTH;
            let begin = if is_left_of_it { place - 3.0 - width } else { place + 3.0 };
            let lane = ends.iter().position(|end| end + LETTER <= begin.max(0.0));
            let Some(lane) = lane.filter(|_| begin >= 0.0) else { continue };
            ends[lane] = begin + width;
            lanes = lanes.max(lane + 1);
            names.push(Name { text: text.clone(), place: (place, 26.0 + LANE * lane as f64), is_left_of_it });
        }
        (names, lanes)
    }

    /// The plot in a sentence, for who does not see it.
    fn told(&self, frame: &Frame) -> String {
        let lines: Vec<&str> = self.lines.iter().map(|line| line.name.as_str()).collect();
        format!("{}: {} over {}; lines: {}", self.title, frame.y.caption, frame.x.caption, lines.join(", "))
    }

    fn axes(&self, frame: &Frame) -> Markup {
        let (left, right) = frame.left;
        let (top, bottom) = frame.top;
        let mut free_from = f64::NEG_INFINITY;
        let x_marks = frame.x.marks.iter().filter_map(|(value, text)| {
            let (place, width) = (frame.x.at(*value)?, width_of(text));
            let begins = place - width / 2.0;
            (begins >= free_from).then(|| {
                free_from = begins + width + 4.0;
                (place, text)
            })
        });
        let x_marks: Vec<(f64, &String)> = x_marks.collect();
        html! {
            @for (value, text) in &frame.y.marks {
                @if let Some(y) = frame.y.at(*value) {
                    path.grid d=(format!("M{left:.1} {y:.1}H{right:.1}")) {}
                    text.end x=(left - 6.0) y=(format!("{:.1}", y + 4.0)) { (text) }
                }
            }
            @for (x, text) in &x_marks {
                path.grid d=(format!("M{x:.1} {bottom:.1}v4")) {}
                text.mid x=(format!("{x:.1}")) y=(bottom + 16.0) { (text) }
            }
            text x="2" y="11" { (frame.y.caption) }
            text.end x=(WIDTH - 2.0) y=(bottom + 32.0) { (frame.x.caption) }
            @for (at, _) in &self.marks {
                @if let Some(x) = frame.x.at(*at) {
                    path.mark d=(format!("M{x:.1} {top:.1}V{bottom:.1}")) {}
                }
            }
            @for name in &frame.names {
                @let (x, y) = name.place;
                @if name.is_left_of_it {
                    text.end x=(format!("{:.1}", x - 3.0)) y=(y) { (name.text) }
                } @else {
                    text x=(format!("{:.1}", x + 3.0)) y=(y) { (name.text) }
                }
            }
        }
    }

    fn drawn(&self, frame: &Frame) -> Markup {
        let (left, right) = frame.left;
        html! {
            @for (_, value) in &self.levels {
                @if let Some(y) = frame.y.at(*value) {
                    path.level d=(format!("M{left:.1} {y:.1}H{right:.1}")) {}
                }
            }
            @for (n, line) in self.lines.iter().enumerate() { (self.line(n, line, frame)) }
        }
    }

    fn line(&self, n: usize, line: &Line, frame: &Frame) -> Markup {
        let points = drawn(&line.points);
        let place = |point: &Point| Some((frame.x.at(point.0)?, frame.y.at(point.1?)?));
        if line.look == Look::Dots {
            let shapes: String = points.iter().filter_map(place).map(|at| shape(n, at)).collect();
            let mut spans = String::new();
            for (point, (least, greatest)) in line.points.iter().zip(&line.intervals) {
                let (Some(x), Some(low), Some(high)) =
                    (frame.x.at(point.0), frame.y.at(*least), frame.y.at(*greatest))
                else {
                    continue;
                };
                let _ = write!(
                    spans,
                    "M{x:.1} {low:.1}V{high:.1}M{:.1} {low:.1}h6M{:.1} {high:.1}h6",
                    x - 3.0,
                    x - 3.0
                );
            }
            return html! {
                @if !spans.is_empty() { path class=(format!("span s{}", n % STYLES)) d=(spans) {} }
                path class=(format!("dots f{}", n % STYLES)) d=(shapes) {}
            };
        }
        let (path, alone) = joined(&points, place, line.look == Look::Steps);
        html! {
            @if !path.is_empty() { path class=(self.class(n, line.look)) stroke-width=(self.stroke(n)) d=(path) {} }
            @if !alone.is_empty() { path class=(format!("dots f{}", n % STYLES)) d=(alone) {} }
        }
    }

    fn class(&self, n: usize, look: Look) -> String {
        let kind = match look {
            Look::Fit => "line fit",
            // Wide lines below narrow ones are told apart by their width.
            _ if self.is_nested => "line",
            _ => "line dashed",
        };
        format!("{kind} s{}", n % STYLES)
    }

    fn stroke(&self, n: usize) -> String {
        let above = self.lines.len().saturating_sub(n + 1).min(6);
        if self.is_nested { format!("{:.1}", 1.5 + 1.9 * above as f64) } else { "1.8".to_owned() }
    }

    fn legend(&self, frame: &Frame) -> Markup {
        html! {
            ul.legend {
                @for (n, line) in self.lines.iter().enumerate() {
                    @let known = line.points.iter().filter_map(|point| point.1);
                    @let most = known.reduce(f64::max);
                    li {
                        (self.swatch(n, line))
                        span { (line.name) }
                        @match most {
                            None => span.gap { "not known" },
                            Some(most) => b data-value=(unit_name(self)) data-column=(n) {
                                @if self.has_peaks && line.look != Look::Fit { (shown(self.y.unit, most)) }
                            },
                        }
                    }
                }
                @for (name, value) in &self.levels {
                    @let is_beyond = frame.y.at(*value).is_none();
                    li {
                        svg.swatch viewBox="0 0 26 12" aria-hidden="true" { path.level d="M0 6H26" {} }
                        span { (name) @if is_beyond { " (above this plot)" } }
                        b { (shown(self.y.unit, *value)) }
                    }
                }
            }
        }
    }

    fn swatch(&self, n: usize, line: &Line) -> Markup {
        html! {
            svg.swatch viewBox="0 0 26 12" aria-hidden="true" {
                @if line.look == Look::Dots {
                    path class=(format!("dots f{}", n % STYLES)) d=(shape(n, (13.0, 6.0))) {}
                } @else {
                    path class=(self.class(n, line.look)) stroke-width=(self.stroke(n)) d="M0 6H26" {}
                }
            }
        }
    }
}

/// By what the script shows values of this plot.
fn unit_name(chart: &Chart) -> &'static str {
    match chart.y.unit {
        super::Unit::Of(_) => "",
        super::Unit::Bytes => "bytes",
        super::Unit::Seconds => "seconds",
        super::Unit::Micros => "micros",
    }
}

/// A sign for one value, another for each line: who sees no colours tells them apart.
fn shape(n: usize, (x, y): (f64, f64)) -> String {
    match n % 4 {
        0 => format!("M{:.1} {y:.1}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z", x - 3.0),
        1 => format!("M{:.1} {:.1}h5v5h-5z", x - 2.5, y - 2.5),
        2 => format!("M{x:.1} {:.1}l3.4 6h-6.8z", y - 3.6),
        _ => format!("M{x:.1} {:.1}l3.6 3.6l-3.6 3.6l-3.6 -3.6z", y - 3.6),
    }
}

/// A line that is interrupted where a value is missing, and the values that stand alone.
fn joined(
    points: &[Point],
    place: impl Fn(&Point) -> Option<(f64, f64)>,
    is_stepped: bool,
) -> (String, String) {
    let (mut path, mut alone) = (String::new(), String::new());
    let places: Vec<Option<(f64, f64)>> = points.iter().map(place).collect();
    for (n, at) in places.iter().enumerate() {
        let Some((x, y)) = at else { continue };
        let is_joined = n > 0 && places[n - 1].is_some();
        let goes_on = places.get(n + 1).is_some_and(Option::is_some);
        let _ = match (is_joined, goes_on) {
            (false, false) => write!(alone, "M{:.1} {y:.1}a2 2 0 1 0 4 0a2 2 0 1 0 -4 0z", x - 2.0),
            (true, _) if is_stepped => write!(path, "H{x:.1}V{y:.1}"),
            (true, _) => write!(path, "L{x:.1} {y:.1}"),
            (false, true) => write!(path, "M{x:.1} {y:.1}"),
        };
    }
    (path, alone)
}

#[cfg(test)]
mod tests {
    use crate::chart::{Axis, Chart, Look, Unit};

    const SECONDS: Axis = Axis::even("", Unit::Seconds);
    const COUNT: Axis = Axis::even("", Unit::Of("connections"));

    fn chart(values: &[Option<f64>]) -> Chart {
        let points = values.iter().enumerate().map(|(n, value)| (n as f64, *value)).collect();
        Chart::new("Open", SECONDS, COUNT).with("open", Look::Line, points).with(
            "accepted",
            Look::Line,
            Vec::new(),
        )
    }

    #[test]
    fn a_value_that_could_not_be_read_is_a_gap_in_the_line() {
        let values = [Some(1.0), Some(2.0), None, Some(3.0), Some(4.0), None, Some(5.0)];
        let figure = chart(&values).figure().into_string();
        let path =
            figure.split("line dashed s0\"").nth(1).expect("a line").split('>').next().expect("its end");
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 2), "{path}");
        assert_eq!(figure.matches("class=\"dots f0\"").count(), 1, "the last stands alone");
        assert!(figure.contains("not known"), "{figure}");
    }

    #[test]
    fn a_plot_of_nothing_says_so() {
        for nothing in [&[][..], &[None, None]] {
            let figure = chart(nothing).figure().into_string();
            assert!(figure.contains("Nothing of this could be read"), "{figure}");
            assert!(!figure.contains("<svg"), "{figure}");
        }
    }

    #[test]
    fn names_of_marks_do_not_lie_on_each_other() {
        let marks: Vec<(f64, String)> =
            [0.0, 0.1, 0.2, 5.9, 6.0].into_iter().map(|at| (at, format!("phase at {at}"))).collect();
        let values: Vec<Option<f64>> = (0..=6).map(|n| Some(f64::from(n))).collect();
        let frame = chart(&values).marks(&marks).frame();
        assert!(frame.names.len() >= 4, "{}", frame.names.len());
        let spans: Vec<(f64, f64, f64)> = frame
            .names
            .iter()
            .map(|name| {
                let width = super::width_of(&name.text);
                let begin = if name.is_left_of_it { name.place.0 - width } else { name.place.0 };
                (name.place.1, begin, begin + width)
            })
            .collect();
        for (n, one) in spans.iter().enumerate() {
            assert!(one.1 >= 0.0 && one.2 <= super::WIDTH, "{one:?}");
            for other in &spans[n + 1..] {
                assert!(one.0 != other.0 || one.2 < other.1 || other.2 < one.1, "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn a_level_far_above_all_values_leaves_them_their_room_and_is_told() {
        let values: Vec<Option<f64>> = (0..=6).map(|n| Some(f64::from(n))).collect();
        let near = chart(&values).level("target", 10.0).figure().into_string();
        assert!(near.contains("class=\"level\"") && !near.contains("above this plot"), "{near}");
        let far = chart(&values).level("wall", 1e6).figure().into_string();
        assert!(far.contains("above this plot") && far.contains("1,000,000"), "{far}");
    }
}
