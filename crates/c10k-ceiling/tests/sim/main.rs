//! A simulated box: the walls held against runs of which everything is known.
//!
//! A seed is a box with its limits, queues, speeds, losses and a clock of its own (`scenario.rs`), with walls put into it
//! (`plants.rs`). A swarm of simulated connections runs over it event by event (`sim.rs`, `swarm.rs`, `way.rs`,
//! `server.rs`); each limit refuses by its setting alone, and notes that it did. What the lab would have seen of it is
//! handed to the diagnosis (`shown.rs`), and the settings of a remedy to the box (`climb.rs`, `settings.rs`). The model is
//! of the box and of both programs, as the kernel's sources and measurements have them, and uses no threshold of the
//! diagnosis.
//!
//! # What must be so (`checks.rs`, `truth.rs`)
//! - A planted wall is named, every wall that there is.
//! - Of two walls the lower one is named first.
//! - Of several at once, none is named that was not met; nor where much could not be read.
//! - A healthy box has no wall, however slow or noisy it is; what a server does by itself is not blamed on the box.
//! - A server, a proxy or a way that is other people's (`abroad.rs`) has its wall named, or unknown where it stands on another
//!   machine; a way that only loses, delays and overtakes has none.
//! - A climb by the remedies' own settings ends at its target, or at what no setting lifts, and what it has set repeats
//!   it.
//!
//! # Repeating a failure
//! A failure prints its seed and the box in a line. `cargo test -p c10k-ceiling --test sim -- --seed N` runs that seed
//! alone; `--seeds N` runs the first N.
//!
//! # What it found when it was written
//! In the diagnosis, all mended:
//! - A handful of ports in TIME_WAIT was named where the plan had too few ports with them as well.
//! - A server that could start no thread for one more table, or found no watch (ENOSPC), was named as one that had stopped
//!   accepting: its queue is full and its count stands still too.
//! - A server that paused because no thread, no file or no watch was to be had, with its table full or nearly so, was
//!   told to raise its limit on descriptors.
//! - A wall that shows itself by connections that wait in vain was put behind one that stopped the swarm at once, though
//!   it had bitten first: such losses are dated by when the wait began.
//! - A SYN queue that is short by `tcp_max_syn_backlog` was unknown: without cookies the kernel drops from three quarters
//!   of it on, and counts that in `ListenDrops` alone. Where `ListenOverflows` was not read it was taken for the accept
//!   queue.
//! - A swarm with one table whose connections were lost again and again was said to have filled it.
//! - TCP memory pressure that made nobody late was named beside the wall that had cost the connections.
//!
//! - A server that makes a table more when one is full was said to have filled its one table, where the host had no file left.
//! - Open connections that timed out while others were made were taken for connects without an answer.
//! - Losses at one moment, a server's own or the kernel's, were called an idle limit although others of the same age lived.
//! - A cap was no cap where echoes of the last that it took came in after the first refusals.
//! - A rule that rejects was called a missing server or a missing route once nobody was held any more, and a server that was
//!   refused before anything was taken down was said to have died.
//! - A full table of a server's processes was named where nobody waited at its listener.
//! - A proxy whose ports were all taken in the ramp was said to stand at a limit of its own, where some of its connections died
//!   in the hold and gave their ports back.
//! - A server with one dead process of eight was said to stand at a number, though it went on taking others; so was one that
//!   answers 429 beyond a rate.
//! - What ended at one moment, a restart behind a proxy, was called an idle limit where all had begun together.
//! - A burst that the queue before a link dropped was called a way that loses, where the link was not full for a second.
//! - A rule that drops, beside another program whose packets are dropped, was called a way that loses: the kernel's reasons,
//!   which are the whole host's, were taken for a word on this run.
//! - A way that loses was called a missing way back where another program sent to where there is no route.
//! - A rule that lets so many through and then none was called a way that loses, where nobody may ask the kernel why.
//! - A server at a limit of its own was proven to have stopped accepting, where what it held was lost to the way; and a server
//!   that had stopped, and then ended, to be slow. A proxy with ports left was proven to have none.
//! - A table that was full to the last was blamed where a rule refused who came on top.
//! - Connections that had been served, and a proxy's ports that were given back since, were taken for a server's limit; a rule
//!   that rejects for a missing route, once the server that had served others was gone.
//!
//! In the climb, since its rules are the lab's own ([`c10k_ceiling::Lifts`]):
//! - A setting whose first value was too small was taken for one that does not help, and the climb ended below its target: a
//!   remedy that says more is tried again, up to three values.
//!
//! What is proven is so. What nobody can tell apart from outside may be named as likely (`truth.rs`): a rule that drops some
//! and a way that loses or leads nowhere, where nobody may ask the kernel why; a full table of tracked connections and a rule,
//! where the table was not read. Allowed too: the OOM killer of a group that is gone, on a machine that is full as well, is
//! told as a server that died; what a filter drops is hidden by a table of tracked connections that its retries fill; a server
//! that was full, and was ended before anybody's wait was over, comes behind its end.
//!
//! # What it does not plant
//! Every wall of the table is planted: [`marks`] holds that. Not simulated are IPv6, the bytes of a WebSocket handshake, and
//! runs without probes.

#![allow(clippy::print_stdout, reason = "this is the harness of its own tests and prints as one")]

mod abroad;
mod abroad_plants;
mod chance;
mod checks;
mod climb;
mod clock;
mod plants;
mod reasons;
mod scenario;
mod server;
mod settings;
mod shown;
mod sim;
mod situations;
mod swarm;
mod table;
mod takes;
mod truth;
mod way;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use checks::Kind;

/// Seeds that are run when nobody says how many.
const SEEDS: u64 = 10_000;
/// Failures that are told in full.
const MOST_TOLD: usize = 10;

/// The tests, each over the seeds of its kind.
const TESTS: [(&str, Kind); 10] = [
    ("sim_a_planted_wall_is_named", Kind::Planted),
    ("sim_the_lower_of_two_walls_is_named_first", Kind::Pair),
    ("sim_of_several_walls_none_is_named_that_was_not_met", Kind::Crowd),
    ("sim_what_was_not_read_makes_no_wall", Kind::Unread),
    ("sim_a_healthy_box_has_no_wall", Kind::Healthy),
    ("sim_what_a_server_does_by_itself_is_not_the_boxs", Kind::ServersOwn),
    ("sim_a_climb_lifts_wall_after_wall_and_ends", Kind::Climb),
    ("sim_a_wall_of_other_peoples_is_named_or_unknown", Kind::Abroad),
    ("sim_of_several_walls_abroad_none_is_named_that_was_not_met", Kind::AbroadCrowd),
    ("sim_a_healthy_server_abroad_has_no_wall", Kind::AbroadHealthy),
];

/// The test of the table of names.
const TABLE: &str = "sim_the_table_of_names_is_the_one_that_is_kept";

fn main() -> ExitCode {
    let asked = match Asked::from(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(wrong) => {
            println!("error: {wrong}\nhint: cargo test -p c10k-ceiling --test sim -- --seed 17");
            return ExitCode::from(2);
        }
    };
    if asked.lists {
        let names = TESTS.iter().map(|(name, _)| *name).chain([TABLE]);
        names.filter(|name| asked.wants(name)).for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    match asked.seed {
        Some(seed) => one(seed),
        None => all(&asked),
    }
}

/// One seed, with what it saw.
fn one(seed: u64) -> ExitCode {
    let kind = Kind::of(seed);
    match kind.check(seed) {
        Ok(names) => {
            println!("seed {seed} ({kind:?}): ok; named: {names:?}");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            println!("seed {seed} ({kind:?}): {wrong}");
            ExitCode::FAILURE
        }
    }
}

/// All tests that are asked for.
fn all(asked: &Asked) -> ExitCode {
    let wanted: Vec<_> = TESTS.iter().filter(|(name, _)| asked.wants(name)).collect();
    println!("\nrunning {} tests over the first {} seeds", wanted.len(), asked.seeds);
    let begun = Instant::now();
    let mut is_well = true;
    let mut named = BTreeSet::new();
    for (name, kind) in &wanted {
        let (failures, names, count) = run(*kind, asked.seeds);
        named.extend(names);
        println!("test {name} ({count} seeds) ... {}", if failures.is_empty() { "ok" } else { "FAILED" });
        for (seed, wrong) in failures.iter().take(MOST_TOLD) {
            println!(
                "    seed {seed}: {wrong}\n    again: cargo test -p c10k-ceiling --test sim -- --seed {seed}"
            );
        }
        is_well &= failures.is_empty();
    }
    if asked.wants(TABLE) {
        let wrong = table::check();
        println!("test {TABLE} ... {}", if wrong.is_empty() { "ok" } else { "FAILED" });
        wrong.iter().for_each(|wrong| println!("    {wrong}"));
        is_well &= wrong.is_empty();
    }
    // The marks are reached where nothing is left out.
    if wanted.len() == TESTS.len() && asked.seeds >= SEEDS {
        let missing = marks(&named);
        println!(
            "test every wall of the table was named ... {}",
            if missing.is_empty() { "ok" } else { "FAILED" }
        );
        missing.iter().for_each(|wall| {
            println!("    '{wall}' was named by no seed");
        });
        is_well &= missing.is_empty();
    }
    let result = if is_well { "ok" } else { "FAILED" };
    println!("\ntest result: {result}; finished in {:.2}s\n", begun.elapsed().as_secs_f64());
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Walls of the table that no seed named.
fn marks(named: &BTreeSet<String>) -> Vec<&'static str> {
    c10k_ceiling::walls().map(|wall| wall.name).filter(|name| !named.contains(*name)).collect()
}

/// The seeds of one kind, on all processors: what failed, in the order of the seeds, the names that were given, and how
/// many seeds there were.
fn run(kind: Kind, seeds: u64) -> (Vec<(u64, String)>, BTreeSet<String>, u64) {
    let next = AtomicU64::new(0);
    let count = AtomicU64::new(0);
    let seen = Mutex::new((Vec::new(), BTreeSet::new()));
    let work = || {
        let (mut failures, mut names) = (Vec::new(), BTreeSet::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                break;
            }
            if Kind::of(seed) != kind {
                continue;
            }
            count.fetch_add(1, Ordering::Relaxed);
            match kind.check(seed) {
                Ok(named) => names.extend(named),
                Err(wrong) => failures.push((seed, wrong)),
            }
        }
        let mut seen = seen.lock().expect("no check panics while it holds this");
        seen.0.extend(failures);
        seen.1.extend(names);
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let (mut failures, names) = seen.into_inner().expect("all threads are over");
    failures.sort();
    (failures, names, count.into_inner())
}

/// What the command line asks for, in the words of libtest where it has them.
#[derive(Debug, Default)]
struct Asked {
    seed: Option<u64>,
    seeds: u64,
    lists: bool,
    is_exact: bool,
    ignored_only: bool,
    filters: Vec<String>,
    skipped: Vec<String>,
}

impl Asked {
    fn from(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut asked = Self { seeds: SEEDS, ..Self::default() };
        let mut words = words;
        while let Some(word) = words.next() {
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) if word.starts_with("--") => (flag.to_owned(), Some(value.to_owned())),
                _ => (word, None),
            };
            let mut value = || value.clone().or_else(|| words.next()).unwrap_or_default();
            match flag.as_str() {
                "--seed" => asked.seed = Some(number("--seed", &value())?),
                "--seeds" => asked.seeds = number("--seeds", &value())?,
                "--list" => asked.lists = true,
                "--exact" => asked.is_exact = true,
                "--ignored" => asked.ignored_only = true,
                "--skip" => asked.skipped.push(value()),
                // Those of libtest that have a value and mean nothing here.
                "--test-threads" | "--format" | "--color" | "--logfile" | "--shuffle-seed" | "-Z" => {
                    value();
                }
                // Those that have none.
                other if other.starts_with('-') => {}
                _ => asked.filters.push(flag),
            }
        }
        Ok(asked)
    }

    fn wants(&self, name: &str) -> bool {
        let is_meant =
            |text: &String| if self.is_exact { name == text } else { name.contains(text.as_str()) };
        !self.ignored_only
            && (self.filters.is_empty() || self.filters.iter().any(is_meant))
            && !self.skipped.iter().any(is_meant)
    }
}

fn number(flag: &str, text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{flag} '{text}': expected the number of a seed, 0 or more"))
}
