//! The sources as the rules see them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, Meta};

/// What a file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// `src/`: the product.
    Product,
    /// `examples/` and the fuzz targets: programs beside the product.
    Program,
    /// `tests/`.
    Test,
}

/// One Rust file.
pub(crate) struct Source {
    /// Path below the workspace's folder, with `/`.
    pub(crate) path: String,
    /// The folder's name below `crates/`, or `fuzz`.
    pub(crate) krate: String,
    /// What it belongs to.
    pub(crate) part: Part,
    /// Its text.
    pub(crate) text: String,
    /// Its syntax.
    pub(crate) syntax: syn::File,
}

/// All Rust files of the workspace, and its documents.
pub(crate) struct House {
    /// By path.
    pub(crate) files: BTreeMap<String, Source>,
    /// Markdown files at the top and in `docs/`, by path.
    pub(crate) documents: BTreeMap<String, String>,
}

impl House {
    /// The workspace that this test belongs to.
    pub(crate) fn here() -> Self {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace");
        let mut paths = Vec::new();
        for folder in ["crates", "fuzz"] {
            walk(&top.join(folder), "rs", &mut paths);
        }
        let name = |path: &Path| {
            path.strip_prefix(&top).expect("below the workspace").to_string_lossy().replace('\\', "/")
        };
        let read = |path: &PathBuf| (name(path), std::fs::read_to_string(path).expect("a text"));
        let texts: Vec<(String, String)> = paths.iter().map(read).collect();
        let mut house = Self::of(texts.iter().map(|(path, text)| (path.as_str(), text.as_str())));
        let mut documents = Vec::new();
        walk(&top.join("docs"), "md", &mut documents);
        for entry in std::fs::read_dir(&top).expect("the workspace") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                documents.push(path);
            }
        }
        house.documents = documents.iter().map(read).collect();
        house
    }

    /// A house of these files.
    pub(crate) fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let file = |(path, text): (&str, &str)| {
            let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
            let source = Source {
                path: path.to_owned(),
                krate: path.trim_start_matches("crates/").split('/').next().unwrap_or_default().to_owned(),
                part: part_of(path),
                text: text.to_owned(),
                syntax,
            };
            (path.to_owned(), source)
        };
        Self { files: files.into_iter().map(file).collect(), documents: BTreeMap::new() }
    }

    /// Files of the product that are not tests by their place: what is compiled for tests alone is left out by
    /// [`is_for_tests`].
    pub(crate) fn product(&self) -> impl Iterator<Item = &Source> {
        self.files.values().filter(|file| file.part == Part::Product && !file.is_test_module())
    }
}

impl Source {
    /// Whether it is a module of tests in `src/`: `tests.rs`, a file in a folder `tests/`, fixtures.
    pub(crate) fn is_test_module(&self) -> bool {
        let below = self.path.split("/src/").nth(1).unwrap_or_default();
        below.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "fixtures.rs")
    }
}

fn part_of(path: &str) -> Part {
    if path.contains("/tests/") && !path.contains("/src/") {
        Part::Test
    } else if path.contains("/src/") {
        Part::Product
    } else {
        Part::Program
    }
}

fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if !path.ends_with("target") {
                walk(&path, extension, found);
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

/// Whether an item is compiled for tests alone: `#[cfg(test)]`, `#[test]`.
pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => {
            let words = list.tokens.to_string();
            words == "test" || words.starts_with("all (test")
        }
        _ => false,
    })
}

/// The attributes of an item.
pub(crate) fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
