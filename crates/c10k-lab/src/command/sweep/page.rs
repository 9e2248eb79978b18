//! A sweep's page: every single run as a point, beside the interval of what its side does. It stands alone.

use c10k_plan::experiment::file::Sweep;
use c10k_plan::experiment::measure::Measure;
use c10k_record::{Tone, bytes};
use c10k_report::stats::Test;
use c10k_report::{Axis, Chart, Look, Part, Top, Unit, page_of_parts};

use super::answer::{Answered, Answers, values};
use super::read_back;
use super::state::{HostSeen, State};

/// The page as HTML.
pub(super) fn page(sweep: &Sweep, state: &State, answers: &Answers) -> String {
    let mut parts = Vec::new();
    for (what, text) in [("Question", &sweep.question), ("Believed", &sweep.believed)] {
        if !text.is_empty() {
            parts.push(Part::Text(Tone::Plain, format!("{what}: {text}")));
        }
    }
    parts.extend(expected(sweep, answers));
    for measure in &sweep.metrics {
        parts.push(Part::Heading(measure.to_string()));
        if let Some((_, answer)) = answers.same.iter().find(|(other, _)| other == measure) {
            parts.push(Part::Text(Tone::Plain, format!("Base against itself: {}.", answer.spread_words())));
        }
        parts.push(Part::Plots(vec![plot(sweep, state, answers, *measure)]));
        parts.push(table(sweep, answers, *measure));
    }
    parts.extend([Part::Heading("How it was made".to_owned()), Part::Text(Tone::Plain, made(sweep, state))]);
    let host = &state.host;
    let about = format!(
        "{} · {}, Linux {}, {} processors, {} · begun {}, ended {}",
        sweep.name,
        host.name,
        host.kernel,
        host.cpus,
        memory(host),
        state.started_at,
        state.ended_at.as_deref().unwrap_or("not yet")
    );
    let top = Top { name: &sweep.name, tone: Tone::Plain, sentence: &sweep.title, about: &about };
    page_of_parts(&top, &parts)
}

/// MemTotal of proc_meminfo(5), which is in KiB.
fn memory(host: &HostSeen) -> String {
    let kib = host.memory_total.trim_end_matches(" kB").parse::<u64>();
    kib.map_or_else(|_| host.memory_total.clone(), |kib| bytes(Some(kib << 10)))
}

fn made(sweep: &Sweep, state: &State) -> String {
    format!(
        "{} runs: {} rounds of {} sides, each second round the other way round; before them a warm-up that is thrown \
         away, and the base against itself in {} pairs. Settings {}. Seed {}. Version {}.",
        state.runs.len(),
        sweep.pairs,
        sweep.arms.len(),
        sweep.same_pairs,
        read_back::words(sweep),
        state.seed,
        state.build.version
    )
}

/// From how many times the least value on the greatest is shown on a log axis.
const WIDE: f64 = 10.0;

/// The runs of each side by their rounds. A ceiling is shown as it is, what is measured by how far it lies from the base's
/// median, in percent or, where that is far, how many times it, with the interval of each side behind the rounds.
fn plot(sweep: &Sweep, state: &State, answers: &Answers, measure: Measure) -> Chart {
    let all = || of(answers, measure);
    let is_exact = all().any(|answered| answered.answer.test == Test::Exact);
    let medians = all().find_map(|answered| answered.answer.medians);
    let base = medians.map(|[base, _]| base).filter(|base| *base > 0.0 && !is_exact);
    let all_values = || (0..sweep.arms.len()).flat_map(|arm| values(state, arm, measure)).flatten();
    let (least, most) = (all_values().fold(f64::INFINITY, f64::min), all_values().fold(0.0, f64::max));
    let is_wide = base.is_some() && least > 0.0 && most >= WIDE * least;
    let of_base = |ratio: f64| if is_wide { ratio } else { percent(ratio) };
    let shown = |value: f64| base.map_or(value, |base| of_base(value / base));
    let axis = match base {
        None => Axis::even("", measure.axis_unit()),
        Some(_) if is_wide => Axis::log("", Unit::Of("× the base's median")),
        Some(_) => Axis::even("", Unit::Of("% from the base's median")),
    };
    let mut chart = Chart::new(format!("{measure} of each run"), Axis::even("round", Unit::Of("")), axis);
    for (at, arm) in sweep.arms.iter().enumerate() {
        let rounds = values(state, at, measure).zip(1_u32..);
        let points = rounds.map(|(value, round)| (f64::from(round), value.map(shown))).collect();
        chart = chart.with(arm.label(), Look::Dots, points);
    }
    let with_ratio = all().filter_map(|answered| Some((answered.arm, answered.answer.ratio?)));
    for ((arm, ratio), place) in with_ratio.filter(|_| base.is_some()).zip(1_u32..) {
        let at = f64::from(sweep.pairs) + 0.5 * f64::from(1 + place);
        let interval = (of_base(ratio.median), of_base(ratio.low), of_base(ratio.high));
        let name = format!("{}: median and interval of its rounds", sweep.arms[arm].label());
        chart = chart.with_intervals(name, &[(at, interval)]);
    }
    chart.note("Beside each name stands its greatest value.")
}

/// A ratio as a difference, percent.
fn percent(ratio: f64) -> f64 {
    (ratio - 1.0) * 100.0
}

fn of(answers: &Answers, measure: Measure) -> impl Iterator<Item = &Answered> {
    answers.all.iter().filter(move |answered| answered.measure == measure)
}

fn table(sweep: &Sweep, answers: &Answers, measure: Measure) -> Part {
    let row = |answered: &Answered| {
        let [base, side] = answered.answer.medians.map_or([None; 2], |medians| medians.map(Some));
        vec![
            sweep.arms[answered.arm].label(),
            measure.written(base),
            measure.written(side),
            answered.answer.words(),
        ]
    };
    let header = ["side", "base, median", "side, median", "answer"].map(str::to_owned);
    Part::Table(header.into(), of(answers, measure).map(row).collect())
}

/// Whether the author was right; nothing where he expects nothing.
fn expected(sweep: &Sweep, answers: &Answers) -> Vec<Part> {
    let all = &answers.predictions;
    let unmet = all.iter().filter(|predicted| !predicted.is_met).count();
    let (tone, told) = match (all.len(), unmet) {
        (0, _) => return Vec::new(),
        (_, 0) => (Tone::Good, "As expected.".to_owned()),
        (count, unmet) => (Tone::Bad, format!("Not as expected: {unmet} of {count} are not met.")),
    };
    let rows = all.iter().map(|predicted| {
        let met = if predicted.is_met { "met" } else { "not met" };
        vec![sweep.arms[predicted.arm].label(), predicted.text.clone(), met.to_owned()]
    });
    let header = ["side", "expected", "outcome"].map(str::to_owned);
    vec![
        Part::Heading("Expected".to_owned()),
        Part::Text(tone, told),
        Part::Table(header.into(), rows.collect()),
    ]
}
