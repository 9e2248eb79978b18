//! What a page lets people do: values under the pointer, lines to copy, plots to save.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::page::Page;

/// Longer than a file takes to be saved on a busy machine; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The middles of all elements that `selector` finds and that are shown, as pairs of x and y.
fn middles(page: &mut Page<'_>, selector: &str) -> Vec<(f64, f64)> {
    let found = page.evaluate(&format!(
        "[...document.querySelectorAll({})].filter((it) => it.checkVisibility()).map((it) => {{
            const {{ x, y, width, height }} = it.getBoundingClientRect();
            return [x + width / 2, y + height / 2];
        }})",
        json!(selector)
    ));
    let number = |value: &Value| value.as_f64().expect("a number");
    found.as_array().expect("a list").iter().map(|it| (number(&it[0]), number(&it[1]))).collect()
}

/// Moves the pointer over each plot; how many there are, and at how many the page showed something else then.
#[track_caller]
pub(crate) fn point_at_plots(page: &mut Page<'_>) -> (usize, usize) {
    let plots = middles(page, "figure[data-plot] > svg");
    let mut told = 0;
    for (x, y) in &plots {
        page.evaluate("window.before = document.body.innerHTML, 0");
        page.pointer("mouseMoved", *x, *y);
        told += usize::from(page.evaluate("document.body.innerHTML !== window.before") == json!(true));
    }
    page.pointer("mouseMoved", 0.0, 0.0);
    (plots.len(), told)
}

/// Clicks on the element of this number that `selector` finds.
#[track_caller]
fn click(page: &mut Page<'_>, selector: &str, number: usize) {
    // What was clicked before may have moved the others.
    let (x, y) = middles(page, selector)[number];
    for what in ["mouseMoved", "mousePressed", "mouseReleased"] {
        page.pointer(what, x, y);
    }
}

/// Clicks on everything that `selector` finds; how many there are.
#[track_caller]
pub(crate) fn click_all(page: &mut Page<'_>, selector: &str) -> usize {
    let count = middles(page, selector).len();
    (0..count).for_each(|number| click(page, selector, number));
    count
}

/// The browser takes a page for a nuisance from which more files than these are saved, and saves no further one.
const FILES_A_PAGE: usize = 8;

/// Saves all that the page offers behind `selector`, one file a click; the texts of the files, by name. Another one is
/// opened now and then.
#[track_caller]
pub(crate) fn save_all<'a>(open: impl Fn() -> Page<'a>, selector: &str) -> BTreeMap<String, String> {
    let folder = tempfile::TempDir::new().expect("a folder");
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(folder.path()).expect("listed").flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        // What is not whole yet has another name.
        names.filter(|name| name.ends_with(".svg") || name.ends_with(".csv")).collect()
    };
    let mut page = open();
    let way = json!({ "behavior": "allow", "downloadPath": folder.path() });
    page.ask_browser("Browser.setDownloadBehavior", &way);
    for number in 0..middles(&mut page, selector).len() {
        if number % FILES_A_PAGE == FILES_A_PAGE - 1 {
            assert_eq!(page.said(), [] as [&str; 0]);
            page = open();
        }
        click(&mut page, selector, number);
        let until = Instant::now() + PATIENCE;
        while names().len() <= number {
            assert!(Instant::now() < until, "click {number} saved nothing beside {:?}", names());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    assert_eq!(page.said(), [] as [&str; 0]);
    let text = |name: &String| std::fs::read_to_string(folder.path().join(name)).expect("a text");
    names().iter().map(|name| (name.clone(), text(name))).collect()
}
