//! A record as something to read.
//!
//! This room knows how a run is shown: as a summary on a terminal, as a page with plots, as rows read back
//! from `samples.csv`, as two records side by side. It refuses to know how a run is carried out and how
//! anything in it was measured: it takes a [`Record`](c10k_record::Record) as it is, and what the record does
//! not know is shown as `unknown`, never as 0.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod compare;
mod csv;
mod facts;
mod html;
mod plot;
mod terminal;
mod text;
mod unfinished;

pub use compare::compare;
pub use csv::{CsvError, read_samples};
pub use html::html;
pub use terminal::{Style, summary};
pub use unfinished::fill_from_samples;

/// The JSON Schema (draft 2020-12) that describes `record.json`, version 1.
pub const RECORD_SCHEMA: &str = include_str!("../../c10k-record/schema/record-v1.schema.json");

#[cfg(test)]
mod fixtures;

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_that_is_shown_is_the_one_of_this_version() {
        let schema: serde_json::Value = serde_json::from_str(super::RECORD_SCHEMA).expect("it is JSON");
        let versions = &schema["properties"]["schema_version"]["enum"];
        assert_eq!(versions, &serde_json::json!([c10k_record::SCHEMA_VERSION]));
    }
}
