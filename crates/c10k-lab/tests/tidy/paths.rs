//! Paths of Rust files in the documents name files that there are.
//!
//! A path stands between backticks, from the repository's folder or from `crates/`. A name without a folder is that of
//! some file.

use crate::Finding;
use crate::source::House;

/// The rule's name.
pub(crate) const RULE: &str = "path";

/// Paths that lead nowhere.
pub(crate) fn findings(house: &House) -> Vec<Finding> {
    let mut found = Vec::new();
    for (document, text) in &house.documents {
        for (number, line) in text.lines().enumerate() {
            for path in line.split('`').skip(1).step_by(2).filter(|word| is_path(word)) {
                if !stands(house, path) {
                    let what = format!("line {}: there is no {path}", number + 1);
                    found.push(Finding { rule: RULE, place: document.clone(), what });
                }
            }
        }
    }
    found
}

fn is_path(word: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    (word.ends_with(".rs") || word.contains("/src/") || word.contains("/tests/"))
        && word.chars().all(is_plain)
}

fn stands(house: &House, path: &str) -> bool {
    let below = path.trim_start_matches("crates/");
    house.files.keys().any(|file| {
        let file = file.trim_start_matches("crates/");
        match (below.contains('/'), below.ends_with('/')) {
            (_, true) => file.starts_with(below),
            (true, false) => file == below || file.starts_with(&format!("{below}/")),
            (false, false) => file.rsplit('/').next() == Some(below),
        }
    })
}

#[test]
fn a_path_that_leads_nowhere_is_found() {
    let mut house = House::of([("crates/a/src/b/c.rs", ""), ("crates/a/tests/d.rs", "")]);
    let text = "See `a/src/b/c.rs`, `crates/a/tests/`, `c.rs` and `tests.x`.\n`a/src/c.rs`, `e.rs`, `a/src/b` and `f/src/`\n";
    house.documents.insert("A.md".to_owned(), text.to_owned());
    let found: Vec<String> = findings(&house).into_iter().map(|finding| finding.what).collect();
    assert_eq!(
        found,
        ["line 2: there is no a/src/c.rs", "line 2: there is no e.rs", "line 2: there is no f/src/"]
    );
}
