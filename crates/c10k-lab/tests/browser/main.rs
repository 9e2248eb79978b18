//! Pages in a real browser: those of the report, opened from disk, are measured as people see them, and a page that
//! opens a WebSocket is one more foreign peer of the server.
//!
//! The browser is Chromium without a window, one for all tests of this file. Where it is missing they say `SKIPPED`,
//! and fail with `C10K_BROWSER_REQUIRED=1`.

#![allow(clippy::print_stderr, reason = "a skipped test says so")]

mod chromium;
#[path = "../common/mod.rs"]
mod common;
mod page;
mod peer;
mod planted;
mod records;
mod used;
