//! A record as something to read.
//!
//! This room knows how a run is shown: as a summary on a terminal, as a page with plots, as rows read back
//! from `samples.csv`, as several records side by side, as a CI system wants it (Markdown, JSON, JUnit XML), and what
//! repeated runs prove of a difference. A page for something else is made of the same parts ([`Part`], [`Chart`]). It
//! puts together what the shards of one run left ([`merge`]), and draws the full screen of a run under way ([`tui`]). It
//! refuses to know how a run is carried out and how anything in it was measured: it takes a
//! [`Record`](c10k_record::Record) as it is, and what the record does not know is shown as `unknown`, never as 0.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod against;
mod chart;
mod compare;
mod csv;
mod differences;
mod digest;
mod facts;
mod hlog;
mod html;
mod junit;
mod lenient;
mod markdown;
pub mod merge;
mod page;
pub mod stats;
mod terminal;
pub mod tui;
mod unfinished;

pub use against::{Against, Group, How, Wanted, WantedError};
pub use chart::{Axis, Chart, Look, Unit};
pub use compare::compare;
pub use csv::{CsvError, read_ramp, read_samples, read_what_can_be_read};
pub use digest::digest;
pub use hlog::{LatencyLog, latencies_over_time, read_latency_log};
pub use html::{
    Part, Shown, Top, climb_headline, headline_of_climb, page_of_climb, page_of_parts, page_of_run,
    page_of_several,
};
pub use junit::junit;
pub use lenient::read_what_is_there;
pub use markdown::markdown;
pub use terminal::summary;
pub use unfinished::fill_from_samples;

/// The JSON Schema (draft 2020-12) that describes `record.json`, version 1.
pub const RECORD_SCHEMA: &str = include_str!("../../c10k-record/schema/record-v1.schema.json");

#[cfg(test)]
mod briefs;
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
