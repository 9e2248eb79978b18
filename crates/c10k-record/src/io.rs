//! Reading and writing the files of a run.

mod folder;
mod plan_file;
mod whole;

pub use folder::{FolderError, RunFolder, partial_record_name, read_record};
pub use plan_file::PlanError;
pub use whole::write_whole;
