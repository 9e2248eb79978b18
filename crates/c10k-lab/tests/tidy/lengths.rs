//! No file over 500 lines, no function over 80.

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

const LONGEST_FILE: usize = 500;
const LONGEST_FUNCTION: usize = 80;

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
