//! The page: plots over time and the same facts as the summary, in one file that loads nothing.

use std::fmt::Write as _;

use c10k_record::{Record, Sample};

use crate::facts::{Cell, Row, Section, Tone, headline, sections};
use crate::plot::{Plot, Series, Unit};
use crate::text::escape;

/// A record and its samples as one page: no script, nothing loaded from elsewhere, light or dark as the
/// reader's system is. All text of the record is escaped. Without samples the plots say so.
#[must_use]
pub fn html(record: &Record, samples: &[Sample]) -> String {
    let (tone, first) = headline(record);
    let (run, headline) = (escape(&record.run_id), escape(&first));
    let mut out = String::with_capacity(64 * 1024);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
         <title>{run}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header><p>{run}</p>\n<h1{}>{headline}</h1></header>\n<main>\n",
        class(tone)
    );
    let mut sections = sections(record).into_iter();
    // The verdicts stand before the plots, all else after them.
    sections.by_ref().take(1).for_each(|section| write_section(&mut out, &section));
    out.push_str("<section class=\"plots\">\n<h2>Over time</h2>\n");
    if samples.is_empty() {
        out.push_str("<p class=\"gap\">There are no samples of this run.</p>\n");
    } else {
        PLOTS.iter().for_each(|plot| out.push_str(&plot.figure(samples)));
    }
    out.push_str("</section>\n");
    sections.for_each(|section| write_section(&mut out, &section));
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

macro_rules! series {
    ($($name:literal: $field:ident),* $(,)?) => {
        &[$(Series { name: $name, value: |sample| sample.$field.map(|value| value as f64) }),*]
    };
}

const PLOTS: &[Plot] = &[
    Plot {
        title: "Connections",
        unit: Unit::Of("connections"),
        series: series! {
            "attempted": attempted, "established": established, "accepted": accepted,
            "verified": verified, "open": open, "lost": failed,
        },
    },
    Plot {
        title: "Rate",
        unit: Unit::Of("per second"),
        series: series! { "connects": connects_per_second, "echoes": messages_per_second },
    },
    Plot {
        title: "Memory of the two processes and of the kernel",
        unit: Unit::Bytes,
        series: series! {
            "server, RSS": server_rss_bytes, "swarm, RSS": swarm_rss_bytes, "kernel, Slab": slab_bytes,
        },
    },
    Plot {
        title: "Free memory of the host",
        unit: Unit::Bytes,
        series: series! {
            "MemFree": mem_free_bytes, "MemAvailable": mem_available_bytes, "page cache": page_cache_bytes,
        },
    },
    Plot {
        title: "Processors",
        unit: Unit::Of("cores"),
        series: series! {
            "server": server_cores, "swarm": swarm_cores, "softirq, whole host": softirq_cores, "idle": idle_cores,
        },
    },
    Plot { title: "TIME_WAIT", unit: Unit::Of("sockets"), series: series! { "TIME_WAIT": time_wait } },
    Plot {
        title: "Accept queue and what was dropped",
        unit: Unit::Of("connections, SYNs"),
        series: series! {
            "accept queue, longest": accept_queue, "ListenOverflows": listen_overflows,
            "ListenDrops": listen_drops, "SYN queue full": syn_queue_full,
            "TCPSynRetrans": syn_retransmits, "softnet dropped": softnet_dropped,
        },
    },
];

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "",
        Tone::Good => " class=\"good\"",
        Tone::Bad => " class=\"bad\"",
    }
}

fn write_section(out: &mut String, section: &Section) {
    let _ = writeln!(out, "<section>\n<h2>{}</h2>", escape(&section.title));
    let mut table = false;
    for row in &section.rows {
        let Row::Cells(tone, cells) = row else {
            if std::mem::take(&mut table) {
                out.push_str("</tbody></table>\n");
            }
            let _ = match row {
                Row::Text(tone, text) => writeln!(out, "<p{}>{}</p>", class(*tone), escape(text)),
                Row::Command(command) => writeln!(out, "<pre><code>{}</code></pre>", escape(command)),
                Row::Cells(..) => Ok(()),
            };
            continue;
        };
        if !std::mem::replace(&mut table, true) {
            open_table(out, section, cells);
        }
        let _ = write!(out, "<tr{}>", class(*tone));
        for cell in cells {
            let right = if cell.right { " class=\"n\"" } else { "" };
            let _ = write!(out, "<td{right}>{}</td>", escape(&cell.text));
        }
        out.push_str("</tr>\n");
    }
    if table {
        out.push_str("</tbody></table>\n");
    }
    out.push_str("</section>\n");
}

fn open_table(out: &mut String, section: &Section, first: &[Cell]) {
    out.push_str("<table>");
    if !section.header.is_empty() {
        out.push_str("<thead><tr>");
        for (column, name) in section.header.iter().enumerate() {
            let right = first.get(column).is_some_and(|cell| cell.right);
            let _ = write!(out, "<th{}>{}</th>", if right { " class=\"n\"" } else { "" }, escape(name));
        }
        out.push_str("</tr></thead>");
    }
    out.push_str("<tbody>\n");
}

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --faint: #d8dee4; --soft: #57606a;
  --good: #116329; --bad: #b3261e;
  --c0: #0969da; --c1: #bf5700; --c2: #1a7f37; --c3: #8250df; --c4: #b3261e; --c5: #6e7781; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --faint: #30363d;
  --soft: #9198a1; --good: #56d364; --bad: #ff7b72;
  --c0: #58a6ff; --c1: #f0883e; --c2: #3fb950; --c3: #bc8cff; --c4: #ff7b72; --c5: #9198a1; } }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
header p, .gap { color: var(--soft); margin: 0; }
h1 { font-size: 1.4rem; margin: .2rem 0 1rem; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0;
  border-bottom: 1px solid var(--faint); overflow-wrap: anywhere; }
th { font-weight: 600; } .n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
pre { overflow-x: auto; padding: .5rem; border: 1px solid var(--faint); border-radius: 4px; margin: .4rem 0; }
figure { margin: 1rem 0; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; }
svg path { fill: none; stroke-width: 1.6; stroke-linejoin: round; } svg text { font-size: 11px; fill: var(--soft); }
svg .end { text-anchor: end; } svg .mid { text-anchor: middle; }
svg .grid { stroke: var(--faint); stroke-width: 1; }
svg .phase { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 4; } svg text.phase { stroke: none; }
.s0 { stroke: var(--c0); } .s1 { stroke: var(--c1); } .s2 { stroke: var(--c2); } .s3 { stroke: var(--c3); }
.s4 { stroke: var(--c4); } .s5 { stroke: var(--c5); }
.d0 { fill: var(--c0); } .d1 { fill: var(--c1); } .d2 { fill: var(--c2); } .d3 { fill: var(--c3); }
.d4 { fill: var(--c4); } .d5 { fill: var(--c5); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0; margin: .2rem 0; }
.legend li::before { content: ''; display: inline-block; width: 1.2em; height: .25em; margin-right: .4em;
  vertical-align: middle; background: currentColor; }
.k0::before { color: var(--c0); } .k1::before { color: var(--c1); } .k2::before { color: var(--c2); }
.k3::before { color: var(--c3); } .k4::before { color: var(--c4); } .k5::before { color: var(--c5); }
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    /// Whether every tag is closed in its order; the page is written so that even empty elements are.
    fn unbalanced(page: &str) -> Option<String> {
        let mut open: Vec<&str> = Vec::new();
        let mut rest = page;
        while let Some(start) = rest.find('<') {
            let end = start + rest[start..].find('>')?;
            let tag = &rest[start + 1..end];
            rest = &rest[end + 1..];
            if tag.starts_with('!') || tag.ends_with('/') {
                continue;
            }
            let word = tag.trim_start_matches('/').split_whitespace().next().unwrap_or_default();
            if !tag.starts_with('/') {
                open.push(word);
            } else if open.pop() != Some(word) {
                return Some(format!("</{word}> closes something else"));
            }
        }
        open.last().map(|tag| format!("<{tag}> is never closed"))
    }

    fn pages() -> Vec<String> {
        let samples = fixtures::samples();
        [fixtures::held(), fixtures::short(), fixtures::aborted(), fixtures::unfinished()]
            .iter()
            .flat_map(|record| [html(record, &samples), html(record, &[])])
            .collect()
    }

    #[test]
    fn the_page_is_well_formed_and_loads_nothing() {
        for page in pages() {
            assert_eq!(unbalanced(&page), None, "{page}");
            for foreign in ["<script", "http://", "https://", "url(", "@import", "src=", "href="] {
                assert!(!page.contains(foreign), "{foreign}");
            }
        }
    }

    #[test]
    fn hostile_text_stays_text() {
        let mut record = fixtures::short();
        let hostile = "\"><script>alert('&')</script>\u{1b}[31m";
        record.run_id = hostile.to_owned();
        record.command = vec![hostile.to_owned()];
        record.ended_because = Some(hostile.to_owned());
        record.profile.name = hostile.to_owned();
        record.verdicts[0].expr = hostile.to_owned();
        record.warnings.push(c10k_record::Warning::new(hostile, hostile));
        for wall in &mut record.ceiling.as_mut().expect("a short run").walls {
            wall.title = hostile.to_owned();
            wall.evidence[0].text = hostile.to_owned();
            wall.remedy.as_mut().expect("it has one").commands = vec![hostile.to_owned()];
        }
        let mut samples = fixtures::samples();
        samples[1].phase = hostile.to_owned();
        let page = html(&record, &samples);
        assert!(!page.contains("<script") && !page.contains('\u{1b}'), "{page}");
        assert!(page.matches("&lt;script&gt;alert(&#39;&amp;&#39;)").count() >= 9, "{page}");
        assert_eq!(unbalanced(&page), None);
    }

    #[test]
    fn the_page_tells_what_the_summary_tells() {
        let page = html(&fixtures::short(), &fixtures::samples());
        for told in
            ["SHORT: held 59,980 of 100,000", "EADDRNOTAVAIL", "--ips 127.0.0.1-127.0.0.4", "accepted"]
        {
            assert!(page.contains(told), "{told}");
        }
        assert_eq!(page.matches("<svg").count(), PLOTS.len());
    }
}
