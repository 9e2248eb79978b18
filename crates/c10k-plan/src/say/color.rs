//! When colours are used.

use clap::ValueEnum;

/// When to use colours. NO_COLOR (no-color.org) counts as `never` where `auto` is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
