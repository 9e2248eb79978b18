//! Numbers that are compared, one bar each: its name and its number stand above it.

use maud::{Markup, html};

use super::draw::{WIDTH, width_of};
use super::scale::{Scale, shown};
use super::{Axis, slug};
use crate::page::data_link;

/// Between one bar and the next.
const ROW: f64 = 34.0;

/// A figure of bars.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    title: String,
    axis: Axis,
    rows: Vec<Bar>,
    levels: Vec<(String, f64)>,
    notes: Vec<String>,
}

/// A name, its number, and the number of its style.
type Bar = (String, Option<f64>, usize);

impl Bars {
    pub(crate) fn new(title: impl Into<String>, axis: Axis) -> Self {
        Self { title: title.into(), axis, rows: Vec::new(), levels: Vec::new(), notes: Vec::new() }
    }

    /// With one more bar, drawn in the style of this number.
    pub(crate) fn bar(mut self, name: impl Into<String>, value: Option<f64>, style: usize) -> Self {
        self.rows.push((name.into(), value.filter(|value| value.is_finite()), style));
        self
    }

    /// With a line across all bars.
    pub(crate) fn level(mut self, name: impl Into<String>, value: f64) -> Self {
        self.levels.push((name.into(), value));
        self
    }

    pub(crate) fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    pub(crate) fn figure(&self) -> Markup {
        let values = || self.rows.iter().filter_map(|bar| bar.1);
        if values().next().is_none() {
            return html! { figure.plot { figcaption { (self.title) } p.gap { "Nothing of this is known." } } };
        }
        let levels = self.levels.iter().map(|level| level.1);
        let scale = Scale::of(&self.axis, values().chain(levels)).between(6.0, WIDTH - 16.0);
        let bottom = ROW * self.rows.len() as f64 + 4.0;
        let name = slug(&self.title);
        html! {
            figure.plot data-name=(name) {
                figcaption { (self.title) }
                svg viewBox=(format!("0 0 {WIDTH} {:.0}", bottom + 36.0)) role="img" aria-label=(self.told()) {
                    @for (n, bar) in self.rows.iter().enumerate() { (self.row(bar, ROW * n as f64, &scale)) }
                    (marks(&scale, bottom))
                }
                (self.legend())
                @for note in &self.notes { p.note { (note) } }
                p.tools {
                    (data_link(&format!("{name}.csv"), &self.csv()))
                    button type="button" data-does="svg" hidden { "SVG" }
                }
            }
        }
    }

    fn row(&self, bar: &Bar, top: f64, scale: &Scale) -> Markup {
        let (name, value, style) = bar;
        let number = value.map_or_else(|| "not known".to_owned(), |value| shown(self.axis.unit, value));
        let room = WIDTH - width_of(&number) - 14.0;
        let (from, _) = scale.range();
        let begin = scale.at(from.max(0.0)).unwrap_or(6.0);
        let end = value.and_then(|value| scale.at(value.max(from)));
        html! {
            text.strong x="6" y=(top + 13.0) { (shortened(name, room)) }
            text.end x=(WIDTH - 6.0) y=(top + 13.0) { (number) }
            rect.track x=(format!("{begin:.1}")) y=(top + 18.0) width=(format!("{:.1}", WIDTH - 16.0 - begin)) height="11" {}
            @if let Some(end) = end {
                rect class=(format!("f{}", style % 8)) x=(format!("{begin:.1}")) y=(top + 18.0)
                    width=(format!("{:.1}", (end - begin).max(1.0))) height="11" {}
            }
            @for (_, level) in &self.levels {
                @if let Some(x) = scale.at(*level) {
                    path.level d=(format!("M{x:.1} {:.1}v15", top + 16.0)) {}
                }
            }
        }
    }

    fn legend(&self) -> Markup {
        html! {
            @if !self.levels.is_empty() {
                ul.legend {
                    @for (name, value) in &self.levels {
                        li {
                            svg.swatch viewBox="0 0 26 12" aria-hidden="true" { path.level d="M0 6H26" {} }
                            span { (name) }
                            b { (shown(self.axis.unit, *value)) }
                        }
                    }
                }
            }
        }
    }

    fn told(&self) -> String {
        let names: Vec<&str> = self.rows.iter().map(|bar| bar.0.as_str()).collect();
        format!("{}: {}", self.title, names.join(", "))
    }

    fn csv(&self) -> String {
        let mut text = "name,value\n".to_owned();
        let levels = self.levels.iter().map(|(name, value)| (name, Some(*value)));
        for (name, value) in self.rows.iter().map(|bar| (&bar.0, bar.1)).chain(levels) {
            let value = value.map_or_else(String::new, |value| value.to_string());
            text.push_str(&format!("{},{value}\n", name.replace([',', '\n', '"'], " ")));
        }
        text
    }
}

fn marks(scale: &Scale, bottom: f64) -> Markup {
    let mut free_from = f64::NEG_INFINITY;
    let fits = |(value, text): &(f64, String)| {
        let (place, width) = (scale.at(*value)?, width_of(text));
        let begins = (place - width / 2.0).clamp(0.0, WIDTH - width);
        (begins >= free_from).then(|| {
            free_from = begins + width + 4.0;
            (begins, place, text.clone())
        })
    };
    let marks: Vec<(f64, f64, String)> = scale.marks.iter().filter_map(fits).collect();
    html! {
        @for (begins, place, text) in &marks {
            path.grid d=(format!("M{place:.1} {bottom:.1}v4")) {}
            // Letters may be a third wider than most are: what comes near the edge ends there.
            @if begins + 1.3 * width_of(text) >= WIDTH {
                text.end x=(WIDTH - 2.0) y=(bottom + 15.0) { (text) }
            } @else {
                text x=(format!("{begins:.1}")) y=(bottom + 15.0) { (text) }
            }
        }
        text.end x=(WIDTH - 2.0) y=(bottom + 30.0) { (scale.caption) }
    }
}

/// A name that fits into its room.
fn shortened(name: &str, room: f64) -> String {
    if width_of(name) <= room {
        return name.to_owned();
    }
    let letters = (room / super::draw::LETTER).max(2.0) as usize - 1;
    format!("{}…", name.chars().take(letters).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::Unit;

    const COUNT: Axis = Axis::log("", Unit::Of("connections"));

    #[test]
    fn each_bar_has_its_name_and_number_and_what_is_not_known_says_so() {
        let bars = Bars::new("Walls", COUNT)
            .bar("ports", Some(28_232.0), 0)
            .bar("memory", None, 1)
            .level("held", 20_000.0);
        let figure = bars.figure().into_string();
        assert!(
            figure.contains("28,232") && figure.contains("not known") && figure.contains("20,000"),
            "{figure}"
        );
        let nothing = Bars::new("Walls", COUNT).bar("ports", None, 0).figure().into_string();
        assert!(nothing.contains("Nothing of this is known") && !nothing.contains("<svg"), "{nothing}");
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_and_never_lies_on_its_number() {
        let long = "a-very-long-name-of-a-wall-".repeat(5);
        let room = WIDTH - width_of("28,232") - 14.0;
        let short = shortened(&long, room);
        assert!(short.ends_with('…') && width_of(&short) <= room, "{short}");
    }
}
