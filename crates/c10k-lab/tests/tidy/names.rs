//! Numbers say their unit: a fraction in every case, a whole number where its name is that of something measured.

use syn::visit::{self, Visit};
use syn::{Fields, Item, ItemStruct, Type};

use crate::Finding;
use crate::source::{House, attributes_of, is_for_tests};

/// The rule's name.
pub(crate) const RULE: &str = "unit";

const UNITS: [&str; 20] = [
    "_ns",
    "_us",
    "_ms",
    "_secs",
    "_seconds",
    "_bytes",
    "_kb",
    "_bits",
    "_pages",
    "_ratio",
    "_percent",
    "_cores",
    "_per_second",
    "_per_connection",
    "_hz",
    "_ticks",
    "_connections",
    "_packets",
    "_threads",
    "_version",
];

/// A whole number of such a name has been measured in something.
const MEASURED: [&str; 12] = [
    "timeout",
    "delay",
    "elapsed",
    "duration",
    "interval",
    "latency",
    "memory",
    "rss",
    "uptime",
    "lateness",
    "age",
    "bandwidth",
];

/// Fields of numbers whose name does not say the unit.
pub(crate) fn findings(house: &House) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in house.product() {
        let mut fields = NumberFields { path: &file.path, found: &mut found };
        fields.visit_file(&file.syntax);
    }
    found
}

struct NumberFields<'a> {
    path: &'a str,
    found: &'a mut Vec<Finding>,
}

impl<'ast> Visit<'ast> for NumberFields<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes_of(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        let Fields::Named(fields) = &item.fields else { return };
        for field in &fields.named {
            let name = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
            // A struct whose name says the unit says it for its fields: `ConnectsPerSecond { mean, peak }`.
            let says = says_unit(&name) || says_unit(&snake(&item.ident.to_string()));
            let words: Vec<&str> = name.split('_').collect();
            let is_measured = MEASURED.iter().any(|measured| words.last() == Some(measured));
            let is_wrong = match number(&field.ty) {
                Some(Number::Fraction) => !says,
                Some(Number::Whole) => is_measured,
                None => false,
            };
            if is_wrong {
                let place = format!("{}: {}.{name}", self.path, item.ident);
                self.found.push(Finding { rule: RULE, place, what: "a number without its unit".to_owned() });
            }
        }
    }
}

fn says_unit(name: &str) -> bool {
    name.contains("_per_")
        || name.contains("_share_of_")
        || name.starts_with("share_of_")
        || UNITS.iter().any(|unit| name.ends_with(unit) || format!("_{name}") == **unit)
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[derive(Clone, Copy)]
enum Number {
    Whole,
    Fraction,
}

/// Looks into `Option`.
fn number(of: &Type) -> Option<Number> {
    let Type::Path(path) = of else { return None };
    let last = path.path.segments.last()?;
    match last.ident.to_string().as_str() {
        "f32" | "f64" => Some(Number::Fraction),
        "u16" | "u32" | "u64" | "u128" | "i32" | "i64" | "usize" => Some(Number::Whole),
        "Option" => match &last.arguments {
            syn::PathArguments::AngleBracketed(inner) => match inner.args.first()? {
                syn::GenericArgument::Type(inner) => number(inner),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn a_fraction_and_a_measured_number_without_unit_are_found() {
    let house = House::of([(
        "crates/a/src/lib.rs",
        "struct A { share: f64, cores: f64, idle_timeout: Option<u64>, rss_bytes: u64, open: u64, load_ratio: Option<f64> }
         struct RatePerSecond { mean: f64 }",
    )]);
    let found: Vec<String> = findings(&house).into_iter().map(|finding| finding.place).collect();
    assert_eq!(found, ["crates/a/src/lib.rs: A.share", "crates/a/src/lib.rs: A.idle_timeout"]);
}
