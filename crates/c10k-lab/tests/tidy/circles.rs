//! Inside a crate no files use each other in a circle.
//!
//! A use is a path that begins with `crate::`, in a `use` or in the text, or with `super::` and ends beside the file
//! that it stands in; or with a module that the file declares. What a file says of the module around it (`super::Thing`)
//! is no use, and neither is what a crate's root says. Names that a file passes on by `use` are followed to the file that
//! has them. What is compiled for tests alone is left out.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Item, ItemUse, UseTree, Visibility};

use crate::Finding;
use crate::modules::Tree;
use crate::source::{House, attributes_of, is_for_tests};

/// The rule's name.
pub(crate) const RULE: &str = "circle";

/// The name of the rule on the order of modules.
pub(crate) const ORDER: &str = "order";

/// Crates whose `lib.rs` declares its modules in an order: each uses those before it alone.
const ORDERED: [&str; 2] = ["c10k-lab", "c10k-plan"];

/// Uses of a module that `lib.rs` declares later.
pub(crate) fn out_of_order(house: &House) -> Vec<Finding> {
    let ordered =
        ORDERED.iter().filter(|krate| house.files.contains_key(&format!("crates/{krate}/src/lib.rs")));
    ordered.flat_map(|krate| out_of_order_in(house, krate)).collect()
}

fn out_of_order_in(house: &House, krate: &str) -> Vec<Finding> {
    let root = &house.files[&format!("crates/{krate}/src/lib.rs")];
    let names = root.syntax.items.iter().filter_map(|item| match item {
        Item::Mod(module) => Some(module.ident.to_string()),
        _ => None,
    });
    let place_of: BTreeMap<String, usize> = names.enumerate().map(|(place, name)| (name, place)).collect();
    let module_of = |file: &str| {
        let name = short(file).split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
        place_of.get(&name).map(|place| (*place, name))
    };
    let mut found = Vec::new();
    for (file, used) in uses(house, krate) {
        let Some((own, _)) = module_of(&file) else { continue };
        for later in used.iter().filter_map(|other| module_of(other)).filter(|(place, _)| *place > own) {
            let what = format!("it uses {}, which comes after it", later.1);
            found.push(Finding { rule: ORDER, place: file.clone(), what });
        }
    }
    found
}

/// Circles of files, each once, named by its first file.
pub(crate) fn findings(house: &House) -> Vec<Finding> {
    let crates: BTreeSet<&str> = house.product().map(|file| file.krate.as_str()).collect();
    let mut found = Vec::new();
    for krate in crates {
        for circle in circles(&uses(house, krate)) {
            let names: Vec<&str> = circle.iter().map(|file| short(file)).collect();
            let what = format!("{} files use each other: {}", circle.len(), names.join(", "));
            found.push(Finding { rule: RULE, place: circle[0].clone(), what });
        }
    }
    found
}

fn short(file: &str) -> &str {
    file.split("/src/").nth(1).unwrap_or(file)
}

/// Which file uses which.
type Uses = BTreeMap<String, BTreeSet<String>>;

fn uses(house: &House, krate: &str) -> Uses {
    let mut tree = Tree::default();
    for root in ["lib.rs", "main.rs"] {
        let path = format!("crates/{krate}/src/{root}");
        if tree.file_of.is_empty() {
            tree.grow(house, &path, &[]);
        }
    }
    let passed_on = passed_on(house, &tree);
    let mut uses = Uses::new();
    for (file, module) in &tree.module_of {
        let source = &house.files[file];
        if source.is_test_module() {
            continue;
        }
        let mut paths = Paths { tree: &tree, module: module.clone(), found: Vec::new() };
        paths.visit_file(&source.syntax);
        let of = uses.entry(file.clone()).or_default();
        for path in paths.found {
            let target = resolve(&tree, &passed_on, &path, 0);
            let is_around = |target: &str| module.starts_with(&tree.module_of[target]) && path.from_super;
            if target != *file && !is_around(&target) {
                of.insert(target);
            }
        }
    }
    uses
}

/// Names that a module passes on: by module and name, the path that they stand for.
type PassedOn = BTreeMap<(Vec<String>, String), UsedPath>;

fn passed_on(house: &House, tree: &Tree) -> PassedOn {
    let mut all = PassedOn::new();
    for (file, module) in &tree.module_of {
        for item in &house.files[file].syntax.items {
            let Item::Use(item) = item else { continue };
            for (names, name) in leaves(&item.tree) {
                if let Some(path) = absolute(tree, module, &names) {
                    all.insert((module.clone(), name), path);
                }
            }
        }
    }
    all
}

/// A path from the crate's root.
#[derive(Clone, Debug)]
struct UsedPath {
    names: Vec<String>,
    from_super: bool,
}

/// The file that has what the path names.
fn resolve(tree: &Tree, passed_on: &PassedOn, path: &UsedPath, depth: usize) -> String {
    let mut module: Vec<String> = Vec::new();
    let mut rest = path.names.iter();
    let mut item = None;
    for name in rest.by_ref() {
        let deeper: Vec<String> = module.iter().cloned().chain([name.clone()]).collect();
        if tree.file_of.contains_key(&deeper) {
            module = deeper;
        } else {
            item = Some(name.clone());
            break;
        }
    }
    if let Some(item) = item
        && depth < 8
        && let Some(further) = passed_on.get(&(module.clone(), item))
    {
        return resolve(tree, passed_on, further, depth + 1);
    }
    tree.file_of[&module].clone()
}

/// The names of a `use` and what each is called then.
fn leaves(tree: &UseTree) -> Vec<(Vec<String>, String)> {
    fn go(tree: &UseTree, before: &[String], found: &mut Vec<(Vec<String>, String)>) {
        let with = |name: String| before.iter().cloned().chain([name]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(path) => go(&path.tree, &with(path.ident.to_string()), found),
            UseTree::Name(name) if name.ident == "self" => {
                found.push((before.to_vec(), before.last().cloned().unwrap_or_default()));
            }
            UseTree::Name(name) => found.push((with(name.ident.to_string()), name.ident.to_string())),
            UseTree::Rename(rename) => {
                found.push((with(rename.ident.to_string()), rename.rename.to_string()));
            }
            UseTree::Glob(_) => found.push((before.to_vec(), "*".to_owned())),
            UseTree::Group(group) => group.items.iter().for_each(|item| go(item, before, found)),
        }
    }
    let mut found = Vec::new();
    go(tree, &[], &mut found);
    found
}

/// From the root, where it stays inside of the crate.
fn absolute(tree: &Tree, module: &[String], names: &[String]) -> Option<UsedPath> {
    let (first, rest) = names.split_first()?;
    if first == "crate" {
        return Some(UsedPath { names: rest.to_vec(), from_super: false });
    }
    if first == "self" || first == "super" {
        let ups = names.iter().take_while(|name| *name == "super").count();
        let base = module.get(..module.len().checked_sub(ups)?)?;
        let rest = names.iter().skip_while(|name| *name == "super" || *name == "self");
        return Some(UsedPath { names: base.iter().chain(rest).cloned().collect(), from_super: true });
    }
    let child: Vec<String> = module.iter().cloned().chain([first.clone()]).collect();
    tree.file_of
        .contains_key(&child)
        .then(|| UsedPath { names: module.iter().chain(names).cloned().collect(), from_super: true })
}

/// Collects the paths that are uses.
struct Paths<'a> {
    tree: &'a Tree,
    module: Vec<String>,
    found: Vec<UsedPath>,
}

impl Paths<'_> {
    fn note(&mut self, names: &[String]) {
        let Some(first) = names.first() else { return };
        if first == "crate" || first == "super" {
            let ups = names.iter().take_while(|name| *name == "super").count();
            let Some(base) = self.module.len().checked_sub(ups).and_then(|kept| self.module.get(..kept))
            else {
                return;
            };
            let base = if first == "crate" { &[][..] } else { base };
            let rest = names.iter().skip_while(|name| *name == "super" || *name == "crate");
            let names = base.iter().chain(rest).cloned().collect();
            self.found.push(UsedPath { names, from_super: first == "super" });
        }
    }

    /// Notes a path that begins with a module which the file declares.
    fn note_declared(&mut self, names: &[String]) {
        let names: Vec<String> = self.module.iter().chain(names).cloned().collect();
        if !self.module.is_empty() && self.tree.file_of.contains_key(&names[..=self.module.len()]) {
            self.found.push(UsedPath { names, from_super: false });
        }
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if is_for_tests(attributes_of(item)) {
            return;
        }
        if let Item::Mod(inner) = item {
            self.module.push(inner.ident.to_string());
            visit::visit_item(self, item);
            self.module.pop();
        } else {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        for (names, _) in leaves(&item.tree) {
            self.note(&names);
            // What is passed on is followed by each that uses it.
            if matches!(item.vis, Visibility::Inherited) {
                self.note_declared(&names);
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if names.len() > 1 {
            self.note(&names);
            self.note_declared(&names);
        }
        visit::visit_path(self, path);
    }
}

/// Groups of more than one file of which each reaches each (strongly connected components, Tarjan 1972).
fn circles(uses: &Uses) -> Vec<Vec<String>> {
    let mut search = Search::new(uses);
    for file in uses.keys() {
        if !search.index_of.contains_key(file.as_str()) {
            search.visit(file);
        }
    }
    search.found.sort();
    search.found
}

struct Search<'a> {
    uses: &'a Uses,
    index_of: BTreeMap<&'a str, usize>,
    lowest: BTreeMap<&'a str, usize>,
    stack: Vec<&'a str>,
    found: Vec<Vec<String>>,
}

impl<'a> Search<'a> {
    fn new(uses: &'a Uses) -> Self {
        Self {
            uses,
            index_of: BTreeMap::new(),
            lowest: BTreeMap::new(),
            stack: Vec::new(),
            found: Vec::new(),
        }
    }

    fn visit(&mut self, file: &'a str) {
        let index = self.index_of.len();
        self.index_of.insert(file, index);
        self.lowest.insert(file, index);
        self.stack.push(file);
        for next in self.uses.get(file).into_iter().flatten() {
            let low = if !self.index_of.contains_key(next.as_str()) {
                self.visit(next);
                self.lowest[next.as_str()]
            } else if self.stack.contains(&next.as_str()) {
                self.index_of[next.as_str()]
            } else {
                continue;
            };
            let lowest = self.lowest[file].min(low);
            self.lowest.insert(file, lowest);
        }
        if self.lowest[file] == index {
            let from = self.stack.iter().position(|other| *other == file).expect("it is on the stack");
            let mut circle: Vec<String> = self.stack.split_off(from).into_iter().map(str::to_owned).collect();
            circle.sort();
            if circle.len() > 1 {
                self.found.push(circle);
            }
        }
    }
}

#[test]
fn a_circle_is_found_over_names_that_are_passed_on() {
    let house = House::of([
        ("crates/a/src/lib.rs", "mod b; mod c; mod d; pub use b::Thing; pub(crate) use d::Last;"),
        ("crates/a/src/b.rs", "use crate::c::Other; pub struct Thing;"),
        ("crates/a/src/c.rs", "pub struct Other; fn f() { let _ = crate::Last; }"),
        ("crates/a/src/d.rs", "use crate::{c, Thing}; pub struct Last;"),
    ]);
    let found = findings(&house);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].what, "3 files use each other: b.rs, c.rs, d.rs");
}

#[test]
fn a_module_and_what_it_declares_are_no_circle() {
    let house = House::of([
        ("crates/a/src/lib.rs", "mod b;"),
        ("crates/a/src/b.rs", "mod c; mod d; use c::f; pub struct Thing;"),
        ("crates/a/src/b/c.rs", "use super::Thing; pub(super) fn f() {}"),
        ("crates/a/src/b/d.rs", "use super::Thing; use super::c::f;"),
    ]);
    assert_eq!(findings(&house), []);
}

#[test]
fn a_circle_over_a_part_of_a_module_is_found() {
    let house = House::of([
        ("crates/a/src/lib.rs", "mod b; mod e;"),
        ("crates/a/src/b.rs", "mod c; use c::f; pub(crate) struct Thing;"),
        ("crates/a/src/b/c.rs", "use crate::e::g; pub(super) fn f() {}"),
        ("crates/a/src/e.rs", "use crate::b::Thing; pub(crate) fn g() {}"),
    ]);
    let found = findings(&house);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].what, "3 files use each other: b.rs, b/c.rs, e.rs");
}

#[test]
fn neighbours_that_use_each_other_by_super_are_a_circle_and_tests_are_not() {
    let house = House::of([
        ("crates/a/src/lib.rs", "mod b;"),
        ("crates/a/src/b.rs", "mod c; mod d; mod e;"),
        ("crates/a/src/b/c.rs", "use super::d::g; pub(super) fn f() {}"),
        ("crates/a/src/b/d.rs", "use super::c::f; pub(super) fn g() {}"),
        ("crates/a/src/b/e.rs", "use super::c::f; #[cfg(test)] mod tests { use crate::b::d; }"),
    ]);
    let found = findings(&house);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].what, "2 files use each other: b/c.rs, b/d.rs");
}

#[test]
fn a_module_that_uses_a_later_one_is_found() {
    let house = House::of([
        ("crates/c10k-lab/src/lib.rs", "mod first { mod a; } mod second; mod third;"),
        ("crates/c10k-lab/src/first/a.rs", "use crate::second::f;"),
        (
            "crates/c10k-lab/src/second.rs",
            "pub(crate) fn f() {} #[cfg(test)] mod tests { use crate::third::g; }",
        ),
        ("crates/c10k-lab/src/third.rs", "use crate::second::f; pub(crate) fn g() {}"),
    ]);
    let found = out_of_order(&house);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].place.as_str(), found[0].what.contains("second")),
        ("crates/c10k-lab/src/first/a.rs", true)
    );
}
