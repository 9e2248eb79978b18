//! From values to places, and what stands at the marks of an axis.

use c10k_record::{human_bytes, latency, number, with_unit};

use super::{Axis, Unit};

/// An axis with what it reaches from and to, and the places of its ends.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    is_log: bool,
    range: (f64, f64),
    places: (f64, f64),
    /// Values with what stands beside them.
    pub(super) marks: Vec<(f64, String)>,
    /// What the axis counts, as it stands at its end.
    pub(super) caption: String,
}

/// More marks than that are not made, whatever the numbers are.
const MOST_MARKS: u32 = 14;

impl Scale {
    /// An axis on which all these values have a place.
    pub(super) fn of(axis: &Axis, values: impl Iterator<Item = f64>) -> Self {
        let usable = |value: &f64| value.is_finite() && (!axis.is_log || *value > 0.0);
        let ends = values.filter(usable).fold(None, |ends: Option<(f64, f64)>, value| {
            Some(ends.map_or((value, value), |(least, most)| (least.min(value), most.max(value))))
        });
        let (least, most) = ends.unwrap_or(if axis.is_log { (1.0, 10.0) } else { (0.0, 1.0) });
        if axis.is_log {
            Self::log(axis, least, most)
        } else {
            Self::even(axis, least.min(0.0), most.max(0.0))
        }
    }

    fn even(axis: &Axis, least: f64, most: f64) -> Self {
        let (divisor, unit) = divided(axis.unit, most.max(-least));
        let (from, to, step) = ticks(least / divisor, most / divisor);
        let count = (((to - from) / step).round() as u32).min(MOST_MARKS);
        let marks = (0..=count).map(|n| {
            let value = from + f64::from(n) * step;
            let value = if value.abs() < step / 1e6 { 0.0 } else { value };
            (value * divisor, short(value))
        });
        Self {
            is_log: false,
            range: (from * divisor, to * divisor),
            places: (0.0, 1.0),
            marks: marks.collect(),
            caption: captioned(axis.name, unit),
        }
    }

    fn log(axis: &Axis, least: f64, most: f64) -> Self {
        let (low, high) = (least.log10().floor(), most.log10().ceil());
        let high = if high <= low { low + 1.0 } else { high };
        let decades = (high - low).min(40.0) as u32;
        let parts: &[f64] = if decades <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let mut marks = Vec::new();
        for decade in 0..=decades {
            let power = 10_f64.powf(low + f64::from(decade));
            let at =
                parts.iter().map(|part| part * power).filter(|value| *value <= 10_f64.powf(high) * 1.001);
            marks.extend(at.map(|value| (value, alone(axis.unit, value))));
        }
        let unit = if let Unit::Of(name) = axis.unit { name } else { "" };
        Self {
            is_log: true,
            range: (10_f64.powf(low), 10_f64.powf(high)),
            places: (0.0, 1.0),
            marks,
            caption: captioned(axis.name, unit),
        }
    }

    /// With its ends at these places.
    pub(super) fn between(mut self, from: f64, to: f64) -> Self {
        self.places = (from, to);
        self
    }

    /// The place of a value; `None` where it has none.
    pub(super) fn at(&self, value: f64) -> Option<f64> {
        let (from, to) = self.range;
        let share = match self.is_log {
            true if value <= 0.0 => return None,
            true => (value / from).log10() / (to / from).log10(),
            false => (value - from) / (to - from),
        };
        let place = self.places.0 + (self.places.1 - self.places.0) * share;
        (place.is_finite() && share > -0.001 && share < 1.001).then_some(place)
    }

    /// What its ends stand for.
    pub(super) fn range(&self) -> (f64, f64) {
        self.range
    }
}

fn captioned(name: &str, unit: &str) -> String {
    match (name, unit) {
        ("", unit) => unit.to_owned(),
        (name, "") => name.to_owned(),
        (name, unit) => format!("{name}, {unit}"),
    }
}

/// By what values are divided on an axis that reaches so far, and the name of the unit then.
fn divided(unit: Unit, most: f64) -> (f64, &'static str) {
    let fitting = |units: &[(f64, &'static str)], least: (f64, &'static str)| {
        units.iter().copied().find(|(size, _)| most >= *size).unwrap_or(least)
    };
    match unit {
        Unit::Of(name) => (1.0, name),
        Unit::Bytes => {
            let sizes =
                [(30, "GiB"), (20, "MiB"), (10, "KiB")].map(|(shift, name)| ((1_u64 << shift) as f64, name));
            // Below ten KiB a connection is told in bytes.
            fitting(&sizes[..if most >= 10.0 * 1024.0 { 3 } else { 2 }], (1.0, "bytes"))
        }
        Unit::Seconds if most > 3.0 * 3600.0 => (3600.0, "hours"),
        Unit::Seconds if most > 180.0 => (60.0, "minutes"),
        Unit::Seconds => (1.0, "seconds"),
        Unit::Micros => fitting(&[(1e6, "s"), (1e3, "ms")], (1.0, "µs")),
    }
}

/// A value with its unit, as it stands alone.
fn alone(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Of(_) => short(value),
        unit => shown(unit, value),
    }
}

/// A value in words: what stands in a legend.
pub(super) fn shown(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Of(_) => plain(value),
        Unit::Bytes if value < 0.0 => format!("-{}", human_bytes((-value).round() as u64)),
        Unit::Bytes => human_bytes(value.round() as u64),
        Unit::Seconds => with_unit(Some(value), "s"),
        Unit::Micros => latency(Some(value.max(0.0).round() as u64)),
    }
}

/// A number with as many digits as help: two below a hundredth too, where others would call it 0.
fn plain(value: f64) -> String {
    let size = value.abs();
    if !(1e-12..0.005).contains(&size) {
        return number(Some(value));
    }
    let places = (1.0 - size.log10().floor()) as usize;
    let text = format!("{value:.places$}");
    text.trim_end_matches('0').to_owned()
}

/// A number in few characters: `2.5M`, `20k`, `0.5`.
fn short(value: f64) -> String {
    let size = value.abs();
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")];
    let Some((unit, name)) = units.into_iter().find(|(unit, _)| size >= *unit) else {
        return plain(value);
    };
    let unit = if unit == 1e4 { 1e3 } else { unit };
    format!("{}{name}", number(Some(value / unit)))
}

/// The ends of an axis and the step between its marks: 1, 2 or 5 times a power of ten, four to eight of them.
fn ticks(least: f64, most: f64) -> (f64, f64, f64) {
    let is_usable = (most - least).is_finite() && most > least;
    let (least, most) = if is_usable { (least, most) } else { (0.0, 1.0) };
    let rough = (most - least) / 6.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(10.0 * power);
    ((least / step).floor() * step, (most / step).ceil() * step, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: Axis = Axis::even("", Unit::Of("connections"));

    #[test]
    fn axes_end_at_round_numbers() {
        assert_eq!(ticks(0.0, 100_000.0), (0.0, 100_000.0, 20_000.0));
        assert_eq!(ticks(0.0, 0.0), ticks(0.0, 1.0));
        for most in [1e-9, 0.3, 7.0, 99.0, 28_232.0, 1e18, f64::NAN, f64::INFINITY] {
            let (_, end, step) = ticks(0.0, most);
            assert!(!most.is_finite() || end >= most, "{most}");
            assert!((2.0..=8.0).contains(&(end / step).round()), "{most}: {end} by {step}");
        }
        let below = Scale::of(&COUNT, [-30.0, 100.0].into_iter());
        assert!(below.at(-30.0).is_some() && below.at(100.0).is_some() && below.at(0.0).is_some());
    }

    #[test]
    fn what_is_small_is_not_called_0() {
        let shown = |value| (shown(Unit::Of(""), value), alone(Unit::Of(""), value));
        for (value, text) in
            [(0.001, "0.001"), (0.0005, "0.0005"), (-0.00012, "-0.00012"), (0.01, "0.01"), (0.0, "0")]
        {
            assert_eq!(shown(value), (text.to_owned(), text.to_owned()));
        }
    }

    #[test]
    fn an_axis_of_powers_has_a_place_for_what_is_above_zero_alone() {
        let scale =
            Scale::of(&Axis::log("", Unit::Micros), [7.0, 0.0, 2_500_000.0].into_iter()).between(0.0, 700.0);
        assert_eq!(scale.range(), (1.0, 1e7));
        assert_eq!(scale.at(1_000.0).map(f64::round), Some(300.0));
        assert_eq!((scale.at(0.0), scale.at(-1.0)), (None, None));
        assert!(scale.marks.iter().any(|(_, text)| text == "1 ms"), "{:?}", scale.marks);
    }

    #[test]
    fn marks_are_short_and_in_the_unit_that_fits() {
        let marks = |axis: &Axis, most: f64| -> (Vec<String>, String) {
            let scale = Scale::of(axis, [0.0, most].into_iter());
            (scale.marks.into_iter().map(|(_, text)| text).collect(), scale.caption)
        };
        let (texts, caption) = marks(&COUNT, 1_000_000.0);
        assert_eq!((texts.last().map(String::as_str), caption.as_str()), (Some("1M"), "connections"));
        let (texts, caption) = marks(&Axis::even("", Unit::Seconds), 3_600.0);
        assert_eq!((texts.last().map(String::as_str), caption.as_str()), (Some("60"), "minutes"));
        let (texts, caption) = marks(&Axis::even("Slab", Unit::Bytes), 3.0 * (1_u64 << 30) as f64);
        assert_eq!((texts.last().map(String::as_str), caption.as_str()), (Some("3"), "Slab, GiB"));
        assert_eq!(marks(&Axis::even("", Unit::Bytes), 4_200.0).1, "bytes");
    }
}
