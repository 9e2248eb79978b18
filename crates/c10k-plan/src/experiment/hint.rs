//! What a sweep's file is, for refusals.

use crate::file::Kind;

/// For a refusal without a better hint.
pub(crate) const HINT: &str =
    "profiles/sweeps/ has sweeps to copy from, and docs/experiments.md says what each key means";

/// The file of a sweep.
pub(crate) static SWEEP: Kind = Kind {
    name: "sweep",
    hint: HINT,
    not_there: "name the file of a sweep, such as profiles/sweeps/port-range.toml",
};
