//! Numbers, names and command lines as text.

mod fold;
mod measure;
mod nearest;
mod quantity;
pub mod shell;

pub use fold::{Hanging, fold, fold_command};
pub use measure::{UNKNOWN, bytes, clean, count, latency, number, percent, printable, with_unit};
pub use nearest::nearest;
pub use quantity::{Quantity, QuantityError, Span, counted, human_bytes, human_count, short_count, whole};
