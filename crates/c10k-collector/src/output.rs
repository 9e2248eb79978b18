//! The one place of the command that writes: JSON on one stream, words for people on the other.

use std::io::{self, Write};
use std::net::SocketAddr;

use c10k_record::control::Build;
use c10k_record::{human_bytes, human_count, printable, with_unit};
use serde::Serialize;

use crate::args::CollectorArgs;
use crate::collector::Collector;
use crate::document::Document;
use crate::observation::{HolderSeen, Observation};

/// One JSON line of `--events`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event<'a> {
    Ready {
        pid: Option<u32>,
        ports: &'a [u16],
        unreadable: &'a [crate::Unreadable],
    },
    Tick(&'a Observation),
    Done(&'a Document),
    #[serde(rename = "ready")]
    Serving {
        pid: Option<u32>,
        control: SocketAddr,
        listen: &'a [SocketAddr],
        build: &'a Build,
    },
}

/// The only writer of the command.
pub(crate) struct Printer<'a> {
    args: &'a CollectorArgs,
    out: &'a mut dyn Write,
    people: &'a mut dyn Write,
    /// How many unreadable sources have been told.
    told: usize,
    /// The last count of connections, and when it was made, in ms.
    counted: Option<(u64, u64)>,
    /// Several processes hold them, which has been told.
    told_of_several: bool,
}

impl<'a> Printer<'a> {
    pub(crate) fn new(args: &'a CollectorArgs, out: &'a mut dyn Write, people: &'a mut dyn Write) -> Self {
        Self { args, out, people, told: 0, counted: None, told_of_several: false }
    }

    /// A line for people. That nobody listens to stderr is no reason to end.
    pub(crate) fn say(&mut self, line: &str) {
        let _ = writeln!(self.people, "{}", printable(line));
    }

    pub(crate) fn ready(&mut self, pid: Option<u32>, collector: &Collector) -> io::Result<()> {
        self.tell_unreadable(collector);
        self.event(&Event::Ready { pid, ports: &self.args.ports, unreadable: collector.unreadable() })
    }

    /// The control port is served.
    pub(crate) fn serving(
        &mut self,
        pid: Option<u32>,
        control: SocketAddr,
        listen: &[SocketAddr],
    ) -> io::Result<()> {
        self.event(&Event::Serving { pid, control, listen, build: &Build::of_this() })
    }

    pub(crate) fn tick(&mut self, seen: &Observation, collector: &Collector) -> io::Result<()> {
        self.tell_unreadable(collector);
        self.counted = seen.connections.map(|count| (count, seen.elapsed_ms)).or(self.counted);
        let are_held = seen.processes.iter().any(|process| process.connections > Some(0));
        if !self.told_of_several && are_held && is_held_by_several(seen) {
            self.told_of_several = true;
            self.say(&format!("note: {}", holders_in_words(&seen.processes)));
        }
        if !self.args.events {
            let connections = (!self.args.ports.is_empty()).then(|| connections(self.counted, seen));
            self.say(&line(seen, connections));
        }
        self.event(&Event::Tick(seen))
    }

    pub(crate) fn done(&mut self, document: &Document, collector: &Collector) -> io::Result<()> {
        self.tell_unreadable(collector);
        self.event(&Event::Done(document))?;
        if self.args.self_cost {
            let cost = &document.self_cost;
            self.say(&format!(
                "watching took {:.2} % of one core; {:.2} % between its first look and its last ({:.0} us a look)",
                cost.share_of_one_core * 100.0,
                cost.steady_share_of_one_core * 100.0,
                cost.cpu_us_per_tick.unwrap_or_default()
            ));
        }
        if let Some(last) = document.last.as_ref().filter(|last| is_held_by_several(last)) {
            for line in table(&last.processes) {
                self.say(&line);
            }
        }
        if self.args.json {
            self.json(document)?;
        } else if let Some(memory) = &document.memory_per_connection
            && !self.args.events
        {
            let bytes = |bytes: Option<f64>| with_unit(bytes, "B");
            self.say(&format!(
                "a connection: kernel {} at the server, {} at the client; user {} at the server",
                bytes(memory.server_kernel_bytes),
                bytes(memory.client_kernel_bytes),
                bytes(memory.server_user_bytes),
            ));
            self.say(&format!(
                "  {}",
                memory.unexplained_ratio.map_or("unexplained: unknown".to_owned(), |ratio| {
                    format!("unexplained: {:.1} % of the fall in free memory", ratio * 100.0)
                }),
            ));
        }
        Ok(())
    }

    fn tell_unreadable(&mut self, collector: &Collector) {
        for unreadable in &collector.unreadable()[self.told..] {
            let _ = writeln!(self.people, "note: {unreadable}");
        }
        self.told = collector.unreadable().len();
    }

    fn event(&mut self, event: &Event<'_>) -> io::Result<()> {
        if self.args.events { self.json(event) } else { Ok(()) }
    }

    fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut text = serde_json::to_vec(value)?;
        text.push(b'\n');
        self.out.write_all(&text)?;
        self.out.flush()
    }
}

/// Whether the server's figures are sums.
fn is_held_by_several(seen: &Observation) -> bool {
    seen.processes.iter().filter(|process| process.is_counted).count() > 1
}

fn holders_in_words(processes: &[HolderSeen]) -> String {
    let counted: Vec<&HolderSeen> = processes.iter().filter(|process| process.is_counted).collect();
    let listed: Vec<String> = counted.iter().take(8).map(|process| name(process)).collect();
    let more = if counted.len() > listed.len() { ", …" } else { "" };
    let all = counted.len();
    format!(
        "{all} processes take the connections, and the figures are their sums: {}{more}",
        listed.join(", ")
    )
}

fn name(process: &HolderSeen) -> String {
    format!("{} ({})", process.pid, process.name.as_deref().unwrap_or("?"))
}

/// A line for each process of the server.
fn table(processes: &[HolderSeen]) -> Vec<String> {
    let count = |value: Option<u64>| value.map_or("?".to_owned(), human_count);
    let heads = ["process", "connections", "rss", "fds", "threads", "cpu"].map(str::to_owned);
    let mut rows = vec![heads];
    rows.extend(processes.iter().map(|process| {
        let seen = &process.seen;
        let about = if process.estimated { "~" } else { "" };
        let descriptors = seen.descriptors.map_or("?".to_owned(), |descriptors| {
            format!("{} of {}", human_count(descriptors.open), count(descriptors.limit))
        });
        let listens = if process.is_counted { "" } else { ", only listens" };
        [
            format!("{}{listens}", name(process)),
            format!("{about}{}", count(process.connections)),
            seen.rss_bytes.map_or("?".to_owned(), human_bytes),
            descriptors,
            count(seen.threads),
            seen.cpu_seconds.map_or("?".to_owned(), |seconds| format!("{seconds:.2} s")),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    rows.iter()
        .map(|row| {
            let figures = (1..6).map(|column| format!("  {:>1$}", row[column], widths[column]));
            format!("  {:<1$}{2}", row[0], widths[0], figures.collect::<String>())
        })
        .collect()
}

/// The connections at the server's end, and how old that count is where this tick made none.
fn connections(counted: Option<(u64, u64)>, seen: &Observation) -> String {
    match counted {
        None => "connections ?".to_owned(),
        Some((count, at_ms)) if at_ms == seen.elapsed_ms => format!("connections {}", human_count(count)),
        Some((count, at_ms)) => {
            format!(
                "connections {} ({:.0} s ago)",
                human_count(count),
                seen.elapsed_ms.saturating_sub(at_ms) as f64 / 1000.0
            )
        }
    }
}

/// Columns of a line for people.
const WIDTH: usize = 80;

/// One tick for people: the connections of the watched ports, or all sockets of the namespace. What is unknown is a
/// question mark; what does not exist here is left out, and what does not fit stands on a line below.
fn line(seen: &Observation, connections: Option<String>) -> String {
    let before = format!("{:>6.1} s  ", seen.elapsed_ms as f64 / 1000.0);
    let column = before.chars().count();
    let (mut lines, mut open) = (Vec::new(), before);
    for (n, part) in parts(seen, connections).iter().enumerate() {
        let gap = if n == 0 { 0 } else { 2 };
        if n > 0 && open.chars().count() + gap + part.chars().count() > WIDTH {
            lines.push(std::mem::replace(&mut open, " ".repeat(column)));
        } else {
            open.extend(std::iter::repeat_n(' ', gap));
        }
        open.push_str(part);
    }
    lines.push(open);
    lines.join("\n")
}

fn parts(seen: &Observation, connections: Option<String>) -> Vec<String> {
    let count = |value: Option<u64>| value.map_or("?".to_owned(), human_count);
    let bytes = |value: Option<u64>| value.map_or("?".to_owned(), human_bytes);
    let cores = |value: Option<f64>| value.map_or("?".to_owned(), |value| format!("{value:.2}"));
    let mut parts = vec![
        connections.unwrap_or_else(|| format!("sockets {}", count(seen.network.sockets.in_use))),
        format!("tw {}", count(seen.network.sockets.time_wait)),
        format!("queue {}", count(seen.listener.map(|listener| listener.accept_queue))),
        format!("overflows {}", count(seen.counter("ListenOverflows"))),
        format!("rss {}", bytes(seen.server.rss_bytes)),
        format!("slab {}", bytes(seen.memory.slab_bytes)),
        format!("free {}", bytes(seen.memory.free_bytes)),
        format!("cores {} (softirq {})", cores(seen.server.cores), cores(seen.cpu.softirq_cores)),
    ];
    if let Some(descriptors) = seen.server.descriptors {
        let at_least = if descriptors.exact { "" } else { ">=" };
        let tables =
            if descriptors.tables == 1 { String::new() } else { format!(" × {}", descriptors.tables) };
        let (open, limit) = (human_count(descriptors.open), count(descriptors.limit));
        parts.push(format!("fds {at_least}{open} of {limit}{tables}"));
    }
    if let Some(entries) = seen.network.conntrack_entries {
        parts.push(format!("conntrack {} of {}", human_count(entries), count(seen.network.conntrack_max)));
    }
    if let Some(group) = seen.cgroup.as_ref().filter(|group| group.limit_bytes.is_some()) {
        parts.push(format!("cgroup {} of {}", bytes(group.usage_bytes), bytes(group.limit_bytes)));
    }
    if seen.server.is_stopped() {
        parts.push("STOPPED".to_owned());
    }
    if seen.partial {
        parts.push("(partial)".to_owned());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::NetworkSeen;
    use crate::observation::{DescriptorsSeen, GroupSeen};

    #[test]
    fn a_line_shows_what_is_unknown_as_unknown() {
        let text = line(&Observation { elapsed_ms: 1500, partial: true, ..Observation::default() }, None);
        assert!(text.starts_with("   1.5 s  sockets ?  tw ?"), "{text}");
        assert!(text.ends_with("(partial)"), "{text}");
        assert!(!text.contains("conntrack") && !text.contains("cgroup"), "{text}");
    }

    #[test]
    fn a_count_of_connections_says_how_old_it_is() {
        let seen = Observation { elapsed_ms: 5000, ..Observation::default() };
        assert_eq!(connections(Some((248, 5000)), &seen), "connections 248");
        assert_eq!(connections(Some((248, 2000)), &seen), "connections 248 (3 s ago)");
        let text = line(&seen, Some(connections(None, &seen)));
        assert!(text.starts_with("   5.0 s  connections ?  tw ?"), "{text}");
    }

    #[test]
    fn a_table_has_a_line_for_each_process_and_marks_what_is_estimated_and_unknown() {
        let one = |pid, connections, is_counted| HolderSeen {
            pid,
            name: Some("nginx".to_owned()),
            connections,
            is_counted,
            ..HolderSeen::default()
        };
        let mut holder = one(12, Some(70_000), true);
        holder.estimated = true;
        (holder.seen.rss_bytes, holder.seen.threads) = (Some(5 << 20), Some(1));
        holder.seen.descriptors = Some(DescriptorsSeen { open: 99, limit: Some(1024), ..Default::default() });
        let processes = [one(11, Some(0), false), holder, one(13, None, true)];
        let lines = table(&processes);
        assert!(lines[1].starts_with("  11 (nginx), only listens  "), "{lines:#?}");
        assert!(lines[2].ends_with("  ~70,000  5.0 MiB  99 of 1,024        1    ?"), "{lines:#?}");
        assert!(lines[3].starts_with("  13 (nginx)  ") && lines[3].ends_with("  ?    ?"), "{lines:#?}");
        let words = holders_in_words(&processes);
        assert!(words.starts_with("2 processes take the connections"), "{words}");
        assert!(words.ends_with("12 (nginx), 13 (nginx)"), "{words}");
    }

    #[test]
    fn a_line_shows_tables_tracking_and_the_group_where_there_are_any() {
        let mut seen = Observation {
            network: NetworkSeen {
                conntrack_entries: Some(5),
                conntrack_max: Some(9),
                ..NetworkSeen::default()
            },
            cgroup: Some(GroupSeen {
                usage_bytes: Some(1 << 20),
                limit_bytes: Some(1 << 30),
                ..GroupSeen::default()
            }),
            ..Observation::default()
        };
        seen.server.state = Some('T');
        let descriptors =
            DescriptorsSeen { open: 600, tables: 2, fullest: 300, limit: Some(300), exact: true };
        seen.server.descriptors = Some(descriptors);
        let text = line(&seen, None);
        for part in ["fds 600 of 300 × 2", "conntrack 5 of 9", "cgroup 1.0 MiB of 1.0 GiB", "STOPPED"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.lines().count() > 1 && text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("          ")), "{text}");
    }
}
