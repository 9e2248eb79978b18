//! The heads of HTTP messages, at either end: where one ends, what is wrong with it, and its fields where they lie. What
//! they mean is the affair of the protocol that stands on HTTP.

pub(crate) mod fields;
pub(crate) mod head;
