//! The full screen of a run.

mod frame;
mod panels;
mod screen;
mod view;

pub use screen::{Screen, restore};
pub use view::{View, thinned};
