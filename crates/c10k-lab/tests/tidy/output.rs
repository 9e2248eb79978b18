//! Only the printers write to the standard streams.

use syn::visit::{self, Visit};
use syn::{Item, Macro};

use crate::Finding;
use crate::source::{House, attributes_of, is_for_tests};

/// The rule's name.
pub(crate) const RULE: &str = "printing";

/// The printers: the one file of each program that may write.
const PRINTERS: [&str; 4] = [
    "crates/c10k-collector/src/main.rs",
    "crates/c10k-plan/src/say/printer.rs",
    "crates/c10k-record/src/tell/teller.rs",
    "crates/c10k-swarm/src/output.rs",
];

/// Printing outside of the printers.
pub(crate) fn findings(house: &House) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in house.product() {
        if PRINTERS.contains(&file.path.as_str()) {
            continue;
        }
        let mut prints = Prints { found: Vec::new() };
        prints.visit_file(&file.syntax);
        if !prints.found.is_empty() {
            let what = format!("writes by {}", prints.found.join(", "));
            found.push(Finding { rule: RULE, place: file.path.clone(), what });
        }
    }
    found
}

struct Prints {
    found: Vec<String>,
}

impl<'ast> Visit<'ast> for Prints {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes_of(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_macro(&mut self, used: &'ast Macro) {
        let name = used.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        if ["print", "println", "eprint", "eprintln", "dbg"].contains(&name.as_str()) {
            self.found.push(format!("{name}!"));
        }
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(function) = &*call.func
            && let Some(last) = function.path.segments.last()
            && (last.ident == "stdout" || last.ident == "stderr")
        {
            self.found.push(format!("{}()", last.ident));
        }
        visit::visit_expr_call(self, call);
    }
}

#[test]
fn printing_is_found_outside_of_a_printer_and_of_tests() {
    let house = House::of([
        (
            "crates/a/src/lib.rs",
            "fn f() { println!(\"a\"); std::io::stderr(); } #[test] fn t() { eprintln!(\"b\"); }",
        ),
        ("crates/c10k-swarm/src/output.rs", "fn f() { println!(\"a\"); }"),
        ("crates/a/tests/t.rs", "fn f() { println!(\"a\"); }"),
    ]);
    let found = findings(&house);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].what, "writes by println!, stderr()");
}
