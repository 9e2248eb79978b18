//! Nothing is `pub` that nobody uses outside of tests.
//!
//! An item counts as used when its name stands anywhere in the product or in its programs, but for its own definition
//! and for where it is only passed on. Two items of one name vouch for each other: what is found is unused, what is not
//! found may be.

use std::collections::BTreeMap;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, ImplItem, Item, Visibility};

use crate::Finding;
use crate::source::{House, Part, attributes_of, is_for_tests};

/// The rule's name.
pub(crate) const RULE: &str = "unused-pub";

/// Public items that nobody uses.
pub(crate) fn findings(house: &House) -> Vec<Finding> {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for file in house.files.values() {
        if file.part != Part::Test && !file.is_test_module() {
            for item in &file.syntax.items {
                count(item, &mut times);
            }
        }
    }
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in house.product() {
        let mut names = Vec::new();
        public(&file.syntax.items, &mut names);
        for name in names {
            defined.entry(name).or_default().push(file.path.clone());
        }
    }
    let mut found = Vec::new();
    for (name, files) in defined {
        // Each definition says the name once.
        if times.get(&name).copied().unwrap_or(0) <= files.len() {
            for file in files {
                let what = "public, and used by tests alone or by nobody".to_owned();
                found.push(Finding { rule: RULE, place: format!("{file}: {name}"), what });
            }
        }
    }
    found
}

/// Counts the names in an item, without what is for tests and what is passed on.
fn count(item: &Item, times: &mut BTreeMap<String, usize>) {
    if is_for_tests(attributes_of(item)) {
        return;
    }
    match item {
        Item::Use(_) => {}
        Item::Mod(module) => {
            for item in module.content.iter().flat_map(|(_, items)| items) {
                count(item, times);
            }
        }
        Item::Impl(block) => {
            tokens(&block.self_ty.to_token_stream(), times);
            if let Some((_, path, _)) = &block.trait_ {
                tokens(&path.to_token_stream(), times);
            }
            for item in &block.items {
                if !is_for_tests(impl_attributes(item)) {
                    tokens(&without_docs(item), times);
                }
            }
        }
        item => tokens(&item.to_token_stream(), times),
    }
}

fn without_docs(item: &ImplItem) -> TokenStream {
    let mut item = item.clone();
    if let ImplItem::Fn(function) = &mut item {
        function.attrs.clear();
    }
    item.to_token_stream()
}

fn tokens(stream: &TokenStream, times: &mut BTreeMap<String, usize>) {
    for token in stream.clone() {
        match token {
            TokenTree::Ident(name) => *times.entry(name.to_string()).or_default() += 1,
            TokenTree::Group(group) => tokens(&group.stream(), times),
            TokenTree::Literal(literal) => in_format(&literal.to_string(), times),
            TokenTree::Punct(_) => {}
        }
    }
}

/// Names in the braces of a format string.
fn in_format(literal: &str, times: &mut BTreeMap<String, usize>) {
    for piece in literal.split('{').skip(1) {
        let name: String = piece.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if !name.is_empty() {
            *times.entry(name).or_default() += 1;
        }
    }
}

/// The names of the public items, and of the public functions of types.
fn public(items: &[Item], names: &mut Vec<String>) {
    for item in items {
        if is_for_tests(attributes_of(item)) {
            continue;
        }
        let (visible, name) = match item {
            Item::Const(item) => (&item.vis, &item.ident),
            Item::Enum(item) => (&item.vis, &item.ident),
            Item::Fn(item) => (&item.vis, &item.sig.ident),
            Item::Static(item) => (&item.vis, &item.ident),
            Item::Struct(item) => (&item.vis, &item.ident),
            Item::Trait(item) => (&item.vis, &item.ident),
            Item::Type(item) => (&item.vis, &item.ident),
            Item::Mod(module) => {
                public(module.content.as_ref().map_or(&[], |(_, items)| items), names);
                continue;
            }
            Item::Impl(block) if block.trait_.is_none() => {
                for item in &block.items {
                    if let ImplItem::Fn(function) = item
                        && matches!(function.vis, Visibility::Public(_))
                        && !is_for_tests(&function.attrs)
                    {
                        names.push(function.sig.ident.to_string());
                    }
                }
                continue;
            }
            _ => continue,
        };
        if matches!(visible, Visibility::Public(_)) {
            names.push(name.to_string());
        }
    }
}

fn impl_attributes(item: &ImplItem) -> &[Attribute] {
    match item {
        ImplItem::Fn(function) => &function.attrs,
        ImplItem::Const(constant) => &constant.attrs,
        _ => &[],
    }
}

#[test]
fn what_only_tests_use_is_found() {
    let house = House::of([
        ("crates/a/src/lib.rs", "mod b; pub use b::{used, lonely}; fn f() { used(); }"),
        (
            "crates/a/src/b.rs",
            "pub fn used() {} pub fn lonely() {} pub struct S; impl S { pub fn dead(&self) {} fn own(&self) {} }
             #[cfg(test)] mod tests { fn t() { super::lonely(); } }",
        ),
        ("crates/a/tests/t.rs", "fn t() { a::lonely(); a::S.dead(); }"),
    ]);
    let found: Vec<String> = findings(&house).into_iter().map(|finding| finding.place).collect();
    assert_eq!(found, ["crates/a/src/b.rs: dead", "crates/a/src/b.rs: lonely"]);
}
