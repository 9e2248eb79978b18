//! Where the bytes of one connection go, and how they grow with the number of connections.

use c10k_record::{HEAP, MemoryPerConnection, Record, Sample, UNKNOWN, human_bytes, human_count, with_unit};
use maud::{Markup, html};

use super::over_time::{SECONDS, in_words, phases, points};
use crate::chart::{Axis, Chart, LETTER, Look, Unit, WIDTH, slug};
use crate::page::data_link;

/// The plots.
pub(super) fn plots(record: &Record, samples: &[Sample]) -> Markup {
    html! {
        div.plots {
            (stacked(&record.memory_per_connection))
            (against_n(samples))
            (growth(samples))
        }
    }
}

/// A part of one connection: its name, bytes at the server and at the client.
type Part = (String, [Option<f64>; 2]);

/// User memory, then the parts of the kernel's, then what of the kernel's no part explains.
fn parts(m: &MemoryPerConnection) -> Vec<Part> {
    let mut parts: Vec<Part> = vec![("user memory".to_owned(), [m.server_user_bytes, m.client_user_bytes])];
    // It is in user memory already.
    let of_kernel = m.parts.iter().filter(|(name, _)| *name != HEAP);
    let known = of_kernel.map(|(name, part)| {
        let name = if part.estimated { format!("{name} (estimated)") } else { name.clone() };
        (name, [part.server_bytes, part.client_bytes])
    });
    parts.extend(known);
    let rest = |kernel: Option<f64>, end: usize| {
        let told: f64 = parts[1..].iter().filter_map(|part| part.1[end]).sum();
        // Less than what lies between two readings is nothing.
        Some(kernel? - told).filter(|rest| *rest > 1.0)
    };
    let rest = [rest(m.server_kernel_bytes, 0), rest(m.client_kernel_bytes, 1)];
    if rest.iter().any(Option::is_some) {
        parts.push(("other kernel memory".to_owned(), rest));
    }
    parts.retain(|(_, bytes)| bytes.iter().flatten().any(|bytes| bytes.is_finite() && *bytes > 0.0));
    parts
}

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";

fn stacked(m: &MemoryPerConnection) -> Markup {
    let title = "Where the bytes of one connection go";
    let parts = parts(m);
    let ends = [("server", 0), ("client", 1)];
    let of = |part: &Part, end: usize| {
        part.1[end].filter(|bytes| bytes.is_finite() && *bytes > 0.0).unwrap_or(0.0)
    };
    let total = |end: usize| parts.iter().map(|part| of(part, end)).sum::<f64>();
    let most = total(0).max(total(1));
    if parts.is_empty() || most <= 0.0 {
        return in_words(
            title,
            "What a connection takes was not measured: no moment with connections open was looked at.",
        );
    }
    let left = 6.0 * LETTER + 8.0;
    let scale = (WIDTH - left - 2.0) / most;
    let mut csv = "part,server bytes,client bytes\n".to_owned();
    for (name, bytes) in &parts {
        let cell = |bytes: Option<f64>| bytes.map_or_else(String::new, |bytes| format!("{bytes:.1}"));
        csv.push_str(&format!(
            "{},{},{}\n",
            name.replace([',', '\n', '"'], " "),
            cell(bytes[0]),
            cell(bytes[1])
        ));
    }
    html! {
        figure.plot data-name=(slug(title)) {
            figcaption { (title) }
            svg viewBox=(format!("0 0 {WIDTH} 92")) role="img" aria-label=(title) {
                @for (name, end) in ends {
                    @let y = 4.0 + 46.0 * end as f64;
                    text.strong x="2" y=(y + 20.0) { (name) }
                    @if total(end) <= 0.0 { text x=(left) y=(y + 20.0) { (UNKNOWN) } }
                    @for (n, at) in segments(&parts, end) {
                        @let (from, long) = (left + at.0 * scale, at.1 * scale);
                        rect class=(format!("f{}", n % 8)) x=(format!("{from:.1}")) y=(y)
                            width=(format!("{:.1}", (long - 1.0).max(0.5))) height="32" {}
                        @if long > 13.0 {
                            text.on.mid x=(format!("{:.1}", from + long / 2.0)) y=(y + 20.0) { (letter(n)) }
                        }
                    }
                }
            }
            table.parts {
                thead { tr { th { "part" } th.n { "server" } th.n { "client" } } }
                tbody {
                    @for (n, (name, bytes)) in parts.iter().enumerate() {
                        tr {
                            td {
                                span.legend {
                                    svg.swatch viewBox="0 0 26 12" aria-hidden="true" {
                                        rect class=(format!("f{}", n % 8)) width="26" height="12" {}
                                    }
                                    (letter(n)) " " (name)
                                }
                            }
                            @for (end, bytes) in ["server", "client"].iter().zip(bytes) {
                                td.n data-name=(end) { (with_unit(*bytes, "B")) }
                            }
                        }
                    }
                    tr {
                        td { "together" }
                        @for (name, end) in ends { td.n data-name=(name) { (together(total(end))) } }
                    }
                }
            }
            @if m.estimated { p.note { "The kernel's slabs could not be read: the parts stand on known object sizes." } }
            p.tools {
                (data_link(&format!("{}.csv", slug(title)), &csv))
                button type="button" data-does="svg" hidden { "SVG" }
            }
        }
    }
}

fn together(bytes: f64) -> String {
    with_unit(Some(bytes).filter(|bytes| *bytes > 0.0), "B")
}

fn letter(n: usize) -> &'static str {
    let at = n % LETTERS.len();
    &LETTERS[at..=at]
}

/// Of one end each part with where it begins and how long it is, bytes.
fn segments(parts: &[Part], end: usize) -> Vec<(usize, (f64, f64))> {
    let mut from = 0.0;
    let mut segments = Vec::new();
    for (n, (_, bytes)) in parts.iter().enumerate() {
        let Some(bytes) = bytes[end].filter(|bytes| bytes.is_finite() && *bytes > 0.0) else { continue };
        segments.push((n, (from, bytes)));
        from += bytes;
    }
    segments
}

/// What is known of memory in a row, since the first of all rows, bytes.
type Grown = (&'static str, fn(&Sample) -> Option<f64>);

const GROWN: [Grown; 4] = [
    ("kernel, Slab of the host", |row| row.slab_bytes.map(|bytes| bytes as f64)),
    ("server, RSS", |row| row.server_rss_bytes.map(|bytes| bytes as f64)),
    ("swarm, RSS", |row| row.swarm_rss_bytes.map(|bytes| bytes as f64)),
    ("free memory of the host, its fall", |row| {
        Some(-(row.mem_free_bytes? as f64) - row.page_cache_bytes? as f64)
    }),
];

/// The same of the server's host, where that is another one: what is the host's above is the clients' then.
const GROWN_THERE: [Grown; 2] = [
    ("kernel, Slab of the server's host", |row| row.far_slab_bytes.map(|bytes| bytes as f64)),
    ("free memory of the server's host, its fall", |row| {
        Some(-(row.far_mem_free_bytes? as f64) - row.far_page_cache_bytes? as f64)
    }),
];

/// Of them those that other programs change little.
const OF_CONNECTIONS: usize = 3;

/// The growth of one of them since the first row that has it.
fn grown(samples: &[Sample], read: fn(&Sample) -> Option<f64>) -> impl Fn(&Sample) -> Option<f64> {
    let first = samples.iter().find_map(read);
    move |row| Some(read(row)? - first?)
}

fn growth(samples: &[Sample]) -> Markup {
    let mut chart = Chart::new("Memory since the start", SECONDS, Axis::even("", Unit::Bytes));
    for (name, read) in GROWN {
        chart = chart.with(name, Look::Line, points(samples, grown(samples, read)));
    }
    for (name, read) in GROWN_THERE.iter().filter(|(_, read)| samples.iter().any(|row| read(row).is_some())) {
        chart = chart.with(*name, Look::Line, points(samples, grown(samples, *read)));
    }
    chart.marks(&phases(samples)).figure()
}

/// Fewer points than this have no fit.
const FEWEST: usize = 4;

/// Rows up to the one with most connections open, without those before the first twentieth of them.
fn rising(samples: &[Sample]) -> Vec<(&Sample, f64)> {
    let open = |row: &Sample| row.open.filter(|open| *open > 0);
    let Some((top, most)) =
        samples.iter().enumerate().filter_map(|(n, row)| Some((n, open(row)?))).max_by_key(|at| at.1)
    else {
        return Vec::new();
    };
    let few = (most / 20).max(1);
    let rows =
        samples[..=top].iter().filter_map(|row| Some((row, open(row).filter(|open| *open >= few)? as f64)));
    let mut rows: Vec<(&Sample, f64)> = rows.collect();
    // Of as many connections the first row: what others take and give back meanwhile is not theirs.
    rows.dedup_by(|later, earlier| later.1 == earlier.1);
    rows
}

fn against_n(samples: &[Sample]) -> Markup {
    let title = "Bytes a connection against connections";
    let rows = rising(samples);
    if rows.len() < FEWEST {
        let rows = rows.len();
        return in_words(
            title,
            &format!(
                "Too few samples of the ramp for that ({rows} of {FEWEST}): hold more, or connect more slowly."
            ),
        );
    }
    let axes = (Axis::even("open", Unit::Of("connections")), Axis::even("growth ÷ open", Unit::Bytes));
    let mut chart = Chart::new(title, axes.0, axes.1).without_peaks();
    for (name, read) in &GROWN[..OF_CONNECTIONS] {
        let grown = grown(samples, *read);
        let mut pairs: Vec<(f64, f64)> =
            rows.iter().filter_map(|(row, open)| Some((*open, grown(row)?))).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let each = pairs.iter().map(|(open, bytes)| (*open, Some(bytes / open))).collect();
        chart = chart.with(*name, Look::Dots, each);
    }
    for (name, read) in &GROWN[..OF_CONNECTIONS] {
        let grown = grown(samples, *read);
        let pairs: Vec<(f64, f64)> =
            rows.iter().filter_map(|(row, open)| Some((*open, grown(row)?))).collect();
        let Some(fit) = Fit::of(&pairs) else { continue };
        chart = chart
            .with(format!("{name}, fit"), Look::Fit, fit.curve(&pairs))
            .note(fit.told(name, pairs.len()));
    }
    chart.figure()
}

/// bytes = fixed + each × connections, by least squares.
#[derive(Debug)]
struct Fit {
    fixed_bytes: f64,
    each_bytes: f64,
    /// Share of the variance that it explains.
    explained_ratio: f64,
}

impl Fit {
    fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let count = pairs.len() as f64;
        let mean = |part: fn(&(f64, f64)) -> f64| pairs.iter().map(part).sum::<f64>() / count;
        let (mean_n, mean_bytes) = (mean(|pair| pair.0), mean(|pair| pair.1));
        let sum = |part: &dyn Fn(f64, f64) -> f64| -> f64 {
            pairs.iter().map(|(n, bytes)| part(n - mean_n, bytes - mean_bytes)).sum()
        };
        let (of_n, of_bytes, of_both) = (sum(&|n, _| n * n), sum(&|_, b| b * b), sum(&|n, b| n * b));
        if pairs.len() < FEWEST || of_n <= 0.0 || of_bytes <= 0.0 {
            return None;
        }
        let each_bytes = of_both / of_n;
        let explained_ratio = of_both * of_both / (of_n * of_bytes);
        Some(Self { fixed_bytes: mean_bytes - each_bytes * mean_n, each_bytes, explained_ratio })
    }

    /// What it says for 40 numbers of connections from the least to the most.
    fn curve(&self, pairs: &[(f64, f64)]) -> Vec<(f64, Option<f64>)> {
        let least = pairs.iter().map(|pair| pair.0).fold(f64::INFINITY, f64::min);
        let most = pairs.iter().map(|pair| pair.0).fold(0.0, f64::max);
        let at = |n: u32| least + (most - least) * f64::from(n) / 40.0;
        (0..=40).map(at).map(|n| (n, Some(self.fixed_bytes / n + self.each_bytes))).collect()
    }

    fn told(&self, name: &str, rows: usize) -> String {
        let sign = if self.fixed_bytes < 0.0 { "-" } else { "" };
        format!(
            "{name}: {} a connection and {sign}{} besides, over {} rows (R² {:.3})",
            with_unit(Some(self.each_bytes), "B"),
            human_bytes(self.fixed_bytes.abs() as u64),
            human_count(rows as u64),
            self.explained_ratio
        )
    }
}

#[cfg(test)]
mod tests {
    use c10k_record::MemoryPart;

    use super::*;
    use crate::fixtures;

    #[test]
    fn a_fit_finds_what_a_connection_takes_and_what_is_taken_once() {
        let pairs: Vec<(f64, f64)> =
            (1..=9).map(|n| (f64::from(n) * 1e3, 2e6 + 4_100.0 * f64::from(n) * 1e3)).collect();
        let fit = Fit::of(&pairs).expect("a line");
        assert!((fit.each_bytes - 4_100.0).abs() < 1e-6 && (fit.fixed_bytes - 2e6).abs() < 1.0, "{fit:?}");
        assert!(
            fit.told("Slab", 9).starts_with("Slab: 4,100 B a connection and 1.9 MiB besides, over 9 rows")
        );
        assert!(Fit::of(&pairs[..3]).is_none() && Fit::of(&[(1.0, 2.0); 9]).is_none());
    }

    #[test]
    fn the_parts_of_both_ends_and_what_no_part_explains_sum_up_to_all() {
        let mut m = fixtures::held().memory_per_connection;
        let of_user = MemoryPart { server_bytes: Some(12.0), client_bytes: Some(30.0), estimated: false };
        m.parts.insert(HEAP.to_owned(), of_user);
        let parts = parts(&m);
        let names: Vec<&str> = parts.iter().map(|part| part.0.as_str()).collect();
        assert_eq!(names, ["user memory", "epoll (estimated)", "socket", "other kernel memory"]);
        let server: f64 = parts.iter().filter_map(|part| part.1[0]).sum();
        assert!((server - (16.4 + 4_012.0)).abs() < 1e-6, "{server}");
    }

    #[test]
    fn what_was_not_measured_is_told_in_the_place_of_bars() {
        let nothing = stacked(&MemoryPerConnection::default()).into_string();
        assert!(nothing.contains("was not measured") && !nothing.contains("<svg"), "{nothing}");
        let m = MemoryPerConnection { client_user_bytes: Some(31.0), ..MemoryPerConnection::default() };
        let one = stacked(&m).into_string();
        assert!(one.contains(UNKNOWN) && one.contains("31 B"), "{one}");
    }
}
