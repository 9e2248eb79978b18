//! Which shape of the files this program writes and reads.

/// Version of the shape of `record.json` and of `plan.toml`.
pub const SCHEMA_VERSION: u32 = 1;
