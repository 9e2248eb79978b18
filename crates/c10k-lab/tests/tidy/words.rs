//! Texts that people read use the words of the list in CONTRIBUTING.md, "Words".

use crate::Finding;
use crate::source::House;

/// The rule's name.
pub(crate) const RULE: &str = "words";

/// The document with the list.
const LIST: &str = "CONTRIBUTING.md";

/// Words that are to be avoided, where they stand.
pub(crate) fn findings(house: &House) -> Vec<Finding> {
    let list = house.documents.get(LIST).map(|text| avoided(text)).unwrap_or_default();
    let sources = house.files.values().map(|file| (&file.path, &file.text));
    let mut found = Vec::new();
    for (path, text) in sources.chain(&house.documents) {
        for (number, line) in text.lines().enumerate() {
            // The list itself says them.
            if path == LIST && line.starts_with('|') || path.ends_with("tests/tidy/words.rs") {
                continue;
            }
            for Avoided { word, instead, in_documents_alone } in &list {
                if (!in_documents_alone || is_for_readers(path)) && has_word(line, word) {
                    let what = format!("line {}: '{word}': {instead}", number + 1);
                    found.push(Finding { rule: RULE, place: path.clone(), what });
                }
            }
        }
    }
    found
}

/// A row of the list.
struct Avoided {
    word: String,
    instead: String,
    in_documents_alone: bool,
}

/// Whether a document is for those who use the programs.
fn is_for_readers(path: &str) -> bool {
    path == "README.md" || path.starts_with("docs/")
}

/// The rows of the table below the heading "Words": what to avoid, and what to write.
fn avoided(document: &str) -> Vec<Avoided> {
    let section = document.split("\n## Words").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.filter_map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
        let (word, instead) = (cells.next()?, cells.next()?);
        Some(Avoided { word, instead, in_documents_alone: cells.next().as_deref() == Some("documents") })
    })
    .collect()
}

/// Whether the word, or the words, stand in the line, whatever their first letter.
fn has_word(line: &str, word: &str) -> bool {
    let line = line.to_lowercase();
    let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(&word.to_lowercase()).any(|(at, found)| {
        !is_letter(line[..at].chars().next_back()) && !is_letter(line[at + found.len()..].chars().next())
    })
}

#[test]
fn a_word_of_the_list_is_found_as_a_word() {
    let list = "# A\n\n## Words\n\nText.\n\n| avoid | write |\n|---|---|\n| whoever | who |\n| what became of | the end of |\n| bite | stop | documents |\n\n## More\n| x | y |\n";
    let mut house = House::of([
        ("crates/a/src/lib.rs", "//! Whoever reads.\n//! A whoeverish word.\n"),
        ("crates/a/src/b.rs", "//! See what became of it.\n//! They bite.\n"),
    ]);
    house.documents.insert(LIST.to_owned(), list.to_owned());
    house.documents.insert("docs/a.md".to_owned(), "They bite.\n".to_owned());
    house.documents.insert("A.md".to_owned(), "They bite.\n".to_owned());
    let found: Vec<String> = findings(&house).into_iter().map(|finding| finding.what).collect();
    assert_eq!(
        found,
        ["line 1: 'what became of': the end of", "line 1: 'whoever': who", "line 1: 'bite': stop"]
    );
}
