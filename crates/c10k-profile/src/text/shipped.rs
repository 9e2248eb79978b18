//! The profiles that are built into the binaries.

/// Name and text of each, in the order in which they are shown.
pub(crate) const SHIPPED: &[(&str, &str)] = &[
    ("stock", include_str!("../../../../profiles/stock.toml")),
    ("tuned", include_str!("../../../../profiles/tuned.toml")),
    ("diary", include_str!("../../../../profiles/diary.toml")),
    ("c1m", include_str!("../../../../profiles/c1m.toml")),
];
