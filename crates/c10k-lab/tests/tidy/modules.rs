//! Every file is named by a module: one that is not is compiled by nobody.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Expr, ExprLit, Item, ItemMod, Lit, Meta};

use crate::Finding;
use crate::source::{House, Part, Source};

/// The rule's name.
pub(crate) const RULE: &str = "dead-file";

/// Files that no module names.
pub(crate) fn findings(house: &House) -> Vec<Finding> {
    let mut named = BTreeSet::new();
    for file in house.files.values().filter(|file| is_root(file)) {
        named.insert(file.path.clone());
        let mut tree = Tree::default();
        tree.grow(house, &file.path, &[]);
        named.extend(tree.file_of.into_values());
    }
    let dead = house.files.keys().filter(|path| !named.contains(*path));
    dead.map(|path| Finding { rule: RULE, place: path.clone(), what: "no module names it".to_owned() })
        .collect()
}

/// Whether cargo compiles it by itself.
fn is_root(file: &Source) -> bool {
    let inside = file.path.strip_prefix(&format!("crates/{}/", file.krate)).unwrap_or(&file.path);
    let parts: Vec<&str> = inside.split('/').collect();
    matches!(
        (file.part, &parts[..]),
        (Part::Product, ["src", "lib.rs" | "main.rs"] | ["src", "bin", ..])
            | (Part::Test, ["tests", _] | ["tests", _, "main.rs"])
            | (Part::Program, ["examples" | "benches", _] | ["examples", _, "main.rs"] | ["build.rs"])
            | (Part::Program, ["fuzz", "fuzz_targets", _])
    )
}

/// The modules below a root, by their path in the crate.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// The file that a module stands in; an inline module stands in that of its parent.
    pub(crate) file_of: BTreeMap<Vec<String>, String>,
    /// The module that a file begins.
    pub(crate) module_of: BTreeMap<String, Vec<String>>,
}

impl Tree {
    /// The modules of the file that begins `module`.
    pub(crate) fn grow(&mut self, house: &House, file: &str, module: &[String]) {
        let Some(source) = house.files.get(file) else { return };
        self.file_of.insert(module.to_vec(), file.to_owned());
        self.module_of.insert(file.to_owned(), module.to_vec());
        self.items(house, file, module, &folder_of(file), &source.syntax.items);
    }

    fn items(&mut self, house: &House, file: &str, module: &[String], folder: &str, items: &[Item]) {
        for item in items {
            let Item::Mod(inner) = item else { continue };
            let name = inner.ident.to_string();
            let path: Vec<String> = module.iter().cloned().chain([name.clone()]).collect();
            if let Some((_, items)) = &inner.content {
                self.file_of.insert(path.clone(), file.to_owned());
                self.items(house, file, &path, &format!("{folder}/{name}"), items);
                continue;
            }
            let beside = file.rsplit_once('/').map_or("", |(folder, _)| folder);
            let candidates = match path_attribute(inner) {
                Some(named) => vec![normal(&format!("{beside}/{named}"))],
                None => vec![format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")],
            };
            for candidate in candidates {
                if !self.module_of.contains_key(&candidate) {
                    self.grow(house, &candidate, &path);
                }
            }
        }
    }
}

/// The folder in which the modules that a file declares stand.
fn folder_of(file: &str) -> String {
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let is_own_folder = ["lib.rs", "main.rs", "mod.rs"].contains(&name);
    // A test, an example and a fuzz target are roots: their modules stand beside them.
    let is_root = ["tests", "examples", "fuzz_targets", "benches"].iter().any(|part| folder.ends_with(part))
        && !file.contains("/src/");
    if is_own_folder || is_root { folder.to_owned() } else { file.trim_end_matches(".rs").to_owned() }
}

fn path_attribute(module: &ItemMod) -> Option<String> {
    module.attrs.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    })
}

/// Without `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

#[test]
fn a_file_that_no_module_names_is_found() {
    let house = House::of([
        ("crates/a/src/lib.rs", "mod b; mod inline { mod c; } #[path = \"../tests/d.rs\"] mod d;"),
        ("crates/a/src/b.rs", "mod deep;"),
        ("crates/a/src/b/deep.rs", ""),
        ("crates/a/src/inline/c.rs", ""),
        ("crates/a/src/forgotten.rs", ""),
        ("crates/a/tests/one.rs", "mod common;"),
        ("crates/a/tests/common/mod.rs", "mod inner;"),
        ("crates/a/tests/common/inner.rs", ""),
        ("crates/a/tests/common/lost.rs", ""),
        ("crates/a/tests/d.rs", ""),
    ]);
    let found: Vec<String> = findings(&house).into_iter().map(|finding| finding.place).collect();
    assert_eq!(found, ["crates/a/src/forgotten.rs", "crates/a/tests/common/lost.rs"]);
}
