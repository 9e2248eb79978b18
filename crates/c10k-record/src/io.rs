//! Reading and writing the files of a run.

mod folder;
mod meeting;
mod plan_file;
mod shard_file;
mod whole;

pub use folder::{FolderError, RunFolder, partial_record_name, read_record};
pub use meeting::{SERVER_ACCOUNT, write_meeting};
pub use plan_file::PlanError;
pub use shard_file::{
    ShardFileError, prepare_for_shard_result, read_shard_result, shard_file_name, shard_files,
    write_shard_result,
};
pub use whole::{NO_ROOM, what_makes_room, write_whole};
