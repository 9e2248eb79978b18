//! Numbers, names and command lines as text.

mod nearest;
mod quantity;
pub mod shell;

pub use nearest::nearest;
pub use quantity::{Quantity, QuantityError, Span, human_bytes, human_count, short_count};
