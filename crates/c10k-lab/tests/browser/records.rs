//! The report's pages of many kinds of runs, each looked at on every kind of screen.
//!
//! Pictures of them are kept in `report-pages` below the folder that cargo gives tests, in `target`.

use std::path::{Path, PathBuf};

use c10k_record::{Record, Sample};
use nix::sys::signal::Signal;
use serde_json::json;
use tempfile::TempDir;

use crate::chromium::{Browser, browser};
use crate::common::{Ended, Lab, Running, namespaces_allowed, send};
use crate::page::{Look, Page, View};
use crate::used::{click_all, point_at_plots, save_all};

#[path = "../../../c10k-record/tests/common/samples.rs"]
mod samples;

/// A run of few connections and little time.
const SMALL: [&str; 6] = ["--target", "500", "--in-flight", "64", "--profile", "stock"];

/// Whether a request that came to the browser's proxy is of another test, or of the browser itself, which asks its maker
/// for the time and for news whatever it is told. Neither goes beyond the proxy.
fn is_expected(request: &str) -> bool {
    ["planted.invalid", ".google.com", ".googleapis.com"].iter().any(|host| request.contains(host))
}

fn run(arguments: &[&str]) -> Ended {
    Lab::new().run(&[&SMALL[..], arguments].concat())
}

/// A page that `c10k-lab report` has written, in a folder of its own.
struct Written {
    folder: TempDir,
}

impl Written {
    /// Writes the page of what `arguments` name.
    #[track_caller]
    fn of(arguments: &[&str]) -> Self {
        let written = Self { folder: TempDir::new().expect("a folder") };
        let file = written.file().display().to_string();
        Lab::new().command(&[&["report"], arguments, &["--html", &file]].concat()).wait().expect_exit(0);
        written
    }

    /// Writes the page of a record that no run has made.
    #[track_caller]
    fn of_record(record: &Record) -> Self {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("record.json");
        std::fs::write(&file, serde_json::to_string(record).expect("JSON")).expect("written");
        Self::of(&[&file.display().to_string()])
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("page.html")
    }
}

/// Looks at a page on every kind of screen. It has to show `words`, and nothing may be wrong with it.
#[track_caller]
fn look_at(browser: &Browser, name: &str, file: &Path, words: &[&str]) {
    let mut page = Page::new(browser);
    let mut wrong = Vec::new();
    for view in View::ALL {
        page.open(file, view);
        wrong.extend(page.findings(view).into_iter().map(|finding| format!("{}: {finding}", view.name())));
        keep(&format!("{name}-{}", view.name()), &page.picture());
    }
    let text = page.evaluate("document.body.innerText.replace(/\\s+/g, ' ')");
    for word in words {
        assert!(
            text.as_str().is_some_and(|text| text.contains(word)),
            "no '{word}' in the page of {name}: {text}"
        );
    }
    let asked: Vec<String> = browser.asked().into_iter().filter(|line| !is_expected(line)).collect();
    assert!(asked.is_empty(), "something left the machine, or tried: {asked:#?}");
    assert!(wrong.is_empty(), "{} faults in the page of {name}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Keeps a picture for those who want to look themselves.
fn keep(name: &str, picture: &[u8]) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report-pages");
    let kept = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join(format!("{name}.png")), picture));
    if let Err(error) = kept {
        eprintln!("SKIPPED a picture: {}: {error}", folder.display());
    }
}

/// The page that a run has written by itself.
fn page_of(ended: &Ended) -> PathBuf {
    ended.folder().join("report.html")
}

#[test]
fn the_page_of_a_success_can_be_read_everywhere() {
    let Some(browser) = browser("the page of a success") else { return };
    let ended = run(&["--hold", "500ms"]);
    ended.expect_held(500);
    look_at(browser, "success", &page_of(&ended), &["HELD", "500"]);
}

#[test]
fn the_page_of_a_shortfall_can_be_read_everywhere() {
    let Some(browser) = browser("the page of a shortfall") else { return };
    let ended = run(&["--hold", "200ms", "--max-connections", "300", "--probe-timeout", "1s"]);
    ended.expect_exit(1);
    look_at(browser, "shortfall", &page_of(&ended), &["SHORT", "server-max-connections"]);
}

/// A run that stands in its hold.
fn long_hold() -> Running {
    let mut running = Lab::new().start(&[&SMALL[..], &["--hold", "60s"]].concat());
    running.wait_for_hold(500);
    running
}

#[test]
fn the_page_of_a_run_whose_server_died_can_be_read_everywhere() {
    let Some(browser) = browser("the page of a broken run") else { return };
    let running = long_hold();
    send(running.server().pid, Signal::SIGKILL);
    let ended = running.wait();
    ended.expect_exit(4);
    look_at(browser, "broken", &page_of(&ended), &["server-died"]);
}

#[test]
fn the_page_of_a_run_that_was_stopped_can_be_read_everywhere() {
    let Some(browser) = browser("the page of a stopped run") else { return };
    let running = long_hold();
    running.signal(Signal::SIGINT);
    let ended = running.wait();
    ended.expect_exit(130);
    look_at(browser, "stopped", &page_of(&ended), &["ABORTED"]);
}

#[test]
fn the_page_of_a_run_that_never_came_to_its_end_can_be_read_everywhere() {
    let Some(browser) = browser("the page of a partial record") else { return };
    let running = long_hold();
    running.signal(Signal::SIGKILL);
    let ended = running.wait();
    let written = Written::of(&[&ended.folder().display().to_string()]);
    look_at(browser, "partial", &written.file(), &["500"]);
}

#[test]
fn the_pages_of_echo_and_churn_can_be_read_everywhere() {
    let Some(browser) = browser("the pages of echo and churn") else { return };
    let ended = run(&["--protocol", "ws", "--workload", "echo", "--messages", "2/s", "--hold", "2s"]);
    ended.expect_exit(0);
    look_at(browser, "echo", &page_of(&ended), &["HELD"]);
    let ended = run(&["--workload", "churn", "--churn", "200/s", "--churn-close", "rst", "--hold", "2s"]);
    ended.expect_exit(0);
    look_at(browser, "churn", &page_of(&ended), &["HELD"]);
}

#[test]
fn the_pages_of_stream_and_fanout_can_be_read_everywhere() {
    let Some(browser) = browser("the pages of stream and fanout") else { return };
    let ended = run(&["--workload", "stream", "--bitrate", "80kbit/s", "--hold", "2s"]);
    ended.expect_exit(0);
    look_at(browser, "stream", &page_of(&ended), &["HELD"]);
    let ended = run(&["--workload", "fanout", "--fanout-every", "250ms", "--hold", "2s"]);
    ended.expect_exit(0);
    look_at(browser, "fanout", &page_of(&ended), &["HELD"]);
}

#[test]
fn the_page_of_a_run_in_steps_on_another_host_can_be_read_everywhere() {
    let Some(browser) = browser("the page of a run in steps") else { return };
    let steps = ["--steps", "100x4", "--step-pause", "300ms", "--hold", "300ms", "--profile", "tuned"];
    let ended = Lab::new().run(&steps);
    ended.expect_exit(0);
    look_at(browser, "steps", &page_of(&ended), &["HELD", "400"]);
}

#[test]
fn the_pages_of_a_record_that_knows_nothing_and_of_one_that_knows_all_can_be_read_everywhere() {
    let Some(browser) = browser("the pages of bare and full records") else { return };
    let bare = Written::of_record(&samples::bare());
    look_at(browser, "bare", &bare.file(), &["unknown"]);
    let full = Written::of_record(&samples::full());
    look_at(browser, "full", &full.file(), &[]);
}

#[test]
fn the_page_of_several_runs_can_be_read_everywhere() {
    let Some(browser) = browser("the page of several runs") else { return };
    let one = run(&["--hold", "300ms"]);
    let other = run(&["--hold", "300ms", "--protocol", "ws"]);
    let (one, other) = (one.folder(), other.folder());
    let written = Written::of(&[&one.display().to_string(), &other.display().to_string()]);
    look_at(browser, "compare", &written.file(), &["In what they differ"]);
}

#[test]
fn the_page_of_a_climb_can_be_read_everywhere() {
    let Some(browser) = browser("the page of a climb") else { return };
    if !namespaces_allowed("the page of a climb") {
        return;
    }
    let lab = Lab::new().with_nofile(400);
    let ended = lab.command(&["climb", "--json", "--start", "stock", "--target", "500"]).wait();
    ended.expect_exit(0);
    look_at(browser, "climb", &page_of(&ended), &["CLIMBED", "nofile-swarm"]);
}

#[test]
fn the_page_of_a_search_can_be_read_everywhere() {
    let Some(browser) = browser("the page of a search") else { return };
    let limit =
        ["find", "--max", "64", "--max-connections", "30", "--hold", "200ms", "--probe-timeout", "1s"];
    let echo = ["--workload", "echo", "--messages", "5/s", "--verdict", "echo_p95 <= 100s"];
    let ended = Lab::new().command(&[&limit[..], &echo].concat()).wait();
    ended.expect_exit(0);
    look_at(browser, "search", &page_of(&ended), &["The search"]);
}

#[test]
fn values_show_under_the_pointer_a_line_is_copied_and_each_plot_is_saved() {
    let Some(browser) = browser("what a page lets people do") else { return };
    let ended = run(&["--hold", "500ms"]);
    let view = View::new(1600, Look::Light);
    let open = || {
        let mut page = Page::new(browser);
        page.open(&page_of(&ended), view);
        assert_eq!(page.findings(view), [] as [&str; 0]);
        page
    };
    let mut page = open();
    let (plots, told) = point_at_plots(&mut page);
    assert!(plots > 3 && told == plots, "{told} of {plots} plots tell their values");
    assert!(click_all(&mut page, "button[data-does=copy]") > 0, "no line can be copied");
    assert_eq!(page.said(), [] as [&str; 0]);
    let saved = save_all(open, "figure a[download], figure button");
    let of_kind = |kind: &str| saved.iter().filter(|(name, _)| name.ends_with(kind)).collect::<Vec<_>>();
    let (tables, pictures) = (of_kind(".csv"), of_kind(".svg"));
    assert!(tables.len() >= plots && pictures.len() >= plots, "{:?}", saved.keys());
    for (name, text) in tables {
        let mut lines = text.lines();
        let columns = lines.next().map_or(0, |line| line.split(',').count());
        assert!(columns > 1 && lines.count() > 0, "{name}: {text}");
    }
    for (name, text) in pictures {
        let file = ended.home().join(name);
        std::fs::write(&file, text).expect("written");
        page.open(&file, view);
        let shown = page.evaluate(
            "[document.documentElement.tagName, document.querySelectorAll('path, rect').length > 1]",
        );
        assert_eq!(shown, json!(["svg", true]), "{name}: {text}");
        assert_eq!(page.said(), [] as [&str; 0], "{name}");
    }
}

/// How many times as large as the run the record of a million connections is.
const TIMES: u64 = 2_000;

/// A folder like that of a million connections that were held for an hour: what a run of 500 has written, with its
/// counts multiplied, and one row of its hold four times a second.
fn a_million(ended: &Ended) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for entry in std::fs::read_dir(ended.folder()).expect("its folder").flatten() {
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("copied");
    }
    let mut record = ended.record();
    let c = &mut record.connections;
    for count in [&mut c.target, &mut c.attempted, &mut c.established, &mut c.held] {
        *count *= TIMES;
    }
    for count in [&mut c.accepted, &mut c.verified, &mut c.at_server].into_iter().flatten() {
        *count *= TIMES;
    }
    std::fs::write(folder.path().join("record.json"), serde_json::to_string(&record).expect("JSON"))
        .expect("written");
    let mut text = format!("{}\n", Sample::csv_header());
    let rows = ended.samples();
    let hold = rows.iter().rposition(|row| row.phase == "hold").expect("it held");
    let (mut later_ms, mut write) = (0, |row: &Sample, later_ms: u64| {
        let mut row = Sample { elapsed_ms: row.elapsed_ms + later_ms, ..row.clone() };
        let counts =
            [&mut row.attempted, &mut row.established, &mut row.accepted, &mut row.verified, &mut row.open];
        for count in counts.into_iter().flatten() {
            *count *= TIMES;
        }
        text.push_str(&row.csv_row());
        text.push('\n');
    });
    rows[..hold].iter().for_each(|row| write(row, 0));
    for _ in 0..4 * 3_600 {
        write(&rows[hold], later_ms);
        later_ms += 250;
    }
    rows[hold + 1..].iter().for_each(|row| write(row, later_ms));
    std::fs::write(folder.path().join("samples.csv"), text).expect("written");
    folder
}

#[test]
fn the_page_of_a_million_connections_for_an_hour_is_smaller_than_a_megabyte() {
    let Some(browser) = browser("the page of a million connections") else { return };
    let ended = run(&["--hold", "500ms"]);
    ended.expect_exit(0);
    let folder = a_million(&ended);
    let written = Written::of(&[&folder.path().display().to_string()]);
    let size_bytes = std::fs::metadata(written.file()).expect("the page").len();
    assert!(size_bytes < 1_000_000, "{size_bytes} bytes");
    let mut page = Page::new(browser);
    page.open(&written.file(), View::new(1600, Look::Light));
    let took = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventStart");
    eprintln!("the page of a million connections: {size_bytes} bytes, loaded after {took} ms");
    drop(page);
    look_at(browser, "million", &written.file(), &["1,000,000"]);
    assert_ne!(took, json!(0));
}
