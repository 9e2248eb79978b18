//! No file over 500 lines, no function over 80, no crate with a fifth of the house.

use std::collections::BTreeMap;

use proc_macro2::LineColumn;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

use crate::Finding;
use crate::source::House;

/// The rule on files.
pub(crate) const FILE: &str = "file-length";
/// The rule on functions.
pub(crate) const FUNCTION: &str = "function-length";
/// The rule on crates.
pub(crate) const ROOM: &str = "room-share";

const LONGEST_FILE: usize = 500;
const LONGEST_FUNCTION: usize = 80;
/// Of the lines below `src/` in all crates a crate has less than this part, percent.
const LARGEST_ROOM: usize = 20;

/// What is too long.
pub(crate) fn findings(house: &House) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in house.files.values() {
        let lines = file.text.lines().count();
        if lines > LONGEST_FILE {
            let what = format!("{lines} lines of {LONGEST_FILE}: which two things is it?");
            found.push(Finding { rule: FILE, place: file.path.clone(), what });
        }
        let mut functions = Functions { path: &file.path, found: &mut found };
        functions.visit_file(&file.syntax);
    }
    found
}

/// Crates that have grown beyond their part of the house.
pub(crate) fn rooms(house: &House) -> Vec<Finding> {
    let mut lines_of: BTreeMap<&str, usize> = BTreeMap::new();
    for file in house.product() {
        *lines_of.entry(&file.krate).or_default() += file.text.lines().count();
    }
    let all: usize = lines_of.values().sum();
    let large = lines_of.iter().filter(|(_, lines)| **lines * 100 >= all * LARGEST_ROOM);
    large
        .map(|(krate, lines)| {
            let what = format!("{lines} lines of {all} are {LARGEST_ROOM} % or more: which two rooms is it?");
            Finding { rule: ROOM, place: format!("crates/{krate}"), what }
        })
        .collect()
}

struct Functions<'a> {
    path: &'a str,
    found: &'a mut Vec<Finding>,
}

impl Functions<'_> {
    fn note(&mut self, signature: &Signature, block: &Block) {
        let LineColumn { line: first, .. } = signature.span().start();
        let LineColumn { line: last, .. } = block.span().end();
        let lines = last + 1 - first;
        if lines > LONGEST_FUNCTION {
            let place = format!("{}: {}", self.path, signature.ident);
            let what = format!("{lines} lines of {LONGEST_FUNCTION}");
            self.found.push(Finding { rule: FUNCTION, place, what });
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.note(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.note(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[test]
fn a_long_file_and_a_long_function_are_found() {
    let long = format!("fn long() {{\n{}}}\n", "    let _ = 1;\n".repeat(79));
    let short = format!("fn short() {{\n{}}}\n", "    let _ = 1;\n".repeat(78));
    let file = "// a line\n".repeat(501);
    let text = format!("{long}{short}");
    let house = House::of([("crates/a/src/lib.rs", text.as_str()), ("crates/a/src/b.rs", &file)]);
    let found: Vec<String> = findings(&house).into_iter().map(|finding| finding.place).collect();
    assert_eq!(found, ["crates/a/src/b.rs", "crates/a/src/lib.rs: long"]);
}

#[test]
fn a_crate_with_a_fifth_of_the_house_is_found_and_its_tests_do_not_count() {
    let lines = |count: usize| "// a line\n".repeat(count);
    let (fifth, less, rest) = (lines(20), lines(19), lines(61));
    let house = House::of([
        ("crates/a/src/lib.rs", fifth.as_str()),
        ("crates/b/src/lib.rs", &less),
        ("crates/b/tests/t.rs", &rest),
        ("crates/c/src/lib.rs", &rest),
    ]);
    let found: Vec<String> = rooms(&house).into_iter().map(|finding| finding.place).collect();
    assert_eq!(found, ["crates/a", "crates/c"]);
}
