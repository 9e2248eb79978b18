//! The files of a run in shards: one result each in a folder, none of which is ever half.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use thiserror::Error;

use super::whole::{sync_folder, write_whole};
use crate::shard::{SHARD_FORMAT, Shard, ShardResult};

/// Why a result cannot be written or read.
#[derive(Debug, Error)]
pub enum ShardFileError {
    /// It cannot be written.
    #[error("cannot write the shard's result '{path}': {source}")]
    Write {
        /// Its path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// There is one of that name already.
    #[error("'{path}' is there already: the result of shard {shard} of a run or an attempt before")]
    Present {
        /// Its path.
        path: String,
        /// The shard.
        shard: Shard,
    },
    /// There was none at the start of this shard, and there is one at its end.
    #[error(
        "'{path}' was written while this shard ran: two of one name are under way; this one's result is '{beside}'"
    )]
    Doubled {
        /// The path of the other one.
        path: String,
        /// The path of this one.
        beside: String,
    },
    /// It cannot be read.
    #[error("cannot read '{path}': {source}")]
    Read {
        /// Its path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Its text is no result: it was cut, or something else is in it.
    #[error("'{path}' is not the result of a shard: {message}")]
    NotAResult {
        /// Its path.
        path: String,
        /// What is wrong, with line and column.
        message: String,
    },
    /// Its shape is another.
    #[error("'{path}' has the format '{found}'; this program reads {SHARD_FORMAT}")]
    Format {
        /// Its path.
        path: String,
        /// The format in the file.
        found: String,
    },
}

/// The name of the result of a shard: `shard-2-of-3.json`, of a second attempt `shard-2-of-3.attempt-2.json`.
#[must_use]
pub fn shard_file_name(shard: Shard, attempt: u32) -> String {
    let attempt = if attempt > 1 { format!(".attempt-{attempt}") } else { String::new() };
    format!("shard-{}-of-{}{attempt}.json", shard.index(), shard.count())
}

/// Makes the folder, and looks whether the result can be written there when the shard ends.
///
/// # Errors
/// [`ShardFileError::Write`] where it cannot be written, and [`ShardFileError::Present`] where one of that name is there.
pub fn prepare_for_shard_result(folder: &Path, shard: Shard, attempt: u32) -> Result<(), ShardFileError> {
    let path = folder.join(shard_file_name(shard, attempt));
    let not_written = not_written(&path);
    fs::create_dir_all(folder).map_err(&not_written)?;
    if path.symlink_metadata().is_ok() {
        return Err(ShardFileError::Present { path: path.display().to_string(), shard });
    }
    let probe = path.with_extension(format!("probe-{}", std::process::id()));
    write_whole(&probe, b"\n").and_then(|()| fs::remove_file(&probe)).map_err(&not_written)
}

/// Writes the result of a shard: whole or not at all, and never over another one.
///
/// # Errors
/// [`ShardFileError::Write`], and [`ShardFileError::Doubled`] where another process has written one of that name: this one
/// is kept beside it then.
pub fn write_shard_result(folder: &Path, result: &ShardResult) -> Result<PathBuf, ShardFileError> {
    let path = folder.join(shard_file_name(result.shard, result.attempt));
    let not_written = not_written(&path);
    let first = path.with_extension(format!("part-{}", std::process::id()));
    write_whole(&first, &result.to_json()).map_err(&not_written)?;
    // Unlike rename(2), link(2) replaces nothing.
    let linked = match fs::hard_link(&first, &path) {
        Ok(()) => fs::remove_file(&first),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let own = path.with_extension(format!("doubled-{}.json", std::process::id()));
            fs::rename(&first, &own).map_err(&not_written)?;
            return Err(ShardFileError::Doubled {
                path: path.display().to_string(),
                beside: own.display().to_string(),
            });
        }
        // A file system without links.
        Err(_) => fs::rename(&first, &path),
    };
    linked.and_then(|()| sync_folder(folder)).map_err(&not_written)?;
    Ok(path)
}

fn not_written(path: &Path) -> impl Fn(io::Error) -> ShardFileError + use<> {
    let path = path.display().to_string();
    move |source| ShardFileError::Write { path: path.clone(), source }
}

/// The files in a folder that are named as results are, in the order of their names.
///
/// # Errors
/// [`ShardFileError::Read`] where the folder cannot be read.
pub fn shard_files(folder: &Path) -> Result<Vec<PathBuf>, ShardFileError> {
    let not_read = |source| ShardFileError::Read { path: folder.display().to_string(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(not_read)? {
        let name = entry.map_err(not_read)?.file_name();
        let name = name.to_string_lossy();
        // What a killed writer has left has an end of its own.
        if name.starts_with("shard-") && name.ends_with(".json") {
            files.push(folder.join(&*name));
        }
    }
    files.sort();
    Ok(files)
}

/// Reads the result of a shard.
///
/// # Errors
/// [`ShardFileError::Read`], [`ShardFileError::NotAResult`] and [`ShardFileError::Format`].
pub fn read_shard_result(path: &Path) -> Result<ShardResult, ShardFileError> {
    let name = || path.display().to_string();
    let not_read = |source| ShardFileError::Read { path: name(), source };
    // A pipe would be waited for.
    if !fs::metadata(path).map_err(not_read)?.is_file() {
        return Err(not_read(io::Error::other("it is no file")));
    }
    let bytes = fs::read(path).map_err(not_read)?;
    let not_a_result =
        |error: serde_json::Error| ShardFileError::NotAResult { path: name(), message: error.to_string() };
    let value: Value = serde_json::from_slice(&bytes).map_err(not_a_result)?;
    match value.get("format").and_then(Value::as_str) {
        Some(SHARD_FORMAT) => {
            let result: ShardResult = serde_json::from_value(value).map_err(not_a_result)?;
            // Of one that did not come to its end something was open yet.
            let whole = result.record.as_ref().filter(|_| result.end.came_to_its_end());
            match whole.and_then(|record| record.broken_identity()) {
                Some(counts) => {
                    let message = format!("its counts contradict each other: {counts}");
                    Err(ShardFileError::NotAResult { path: name(), message })
                }
                None => Ok(result),
            }
        }
        Some(found) => Err(ShardFileError::Format { path: name(), found: found.to_owned() }),
        None => Err(ShardFileError::NotAResult { path: name(), message: "it has no format".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exit;
    use crate::control::Build;
    use crate::shard::{ShardEnd, ShardHost, ShardIps, SourceRange};

    fn result(index: u32, attempt: u32) -> ShardResult {
        ShardResult {
            format: SHARD_FORMAT.to_owned(),
            run_id: "evening".to_owned(),
            shard: Shard::new(index, 3).expect("a shard"),
            attempt,
            meeting: None,
            build: Build::default(),
            host: ShardHost::default(),
            limits: None,
            clock: Vec::new(),
            plan: None,
            ips: ShardIps::Divide,
            sources: SourceRange::of(&["127.0.0.1".parse().expect("an address")]),
            started_unix_ns: 1,
            first_connect_unix_ns: None,
            ended_unix_ns: 2,
            record: None,
            histograms: Vec::new(),
            rendezvous: None,
            end: ShardEnd::refused("nobody is there".to_owned(), Exit::HostCannot),
        }
    }

    #[test]
    fn a_result_reads_back_as_it_was_written_and_nothing_else_is_left() {
        let home = tempfile::tempdir().expect("a folder");
        let folder = home.path().join("new");
        for (index, attempt) in [(2, 1), (2, 2), (3, 1)] {
            let own = result(index, attempt);
            prepare_for_shard_result(&folder, own.shard, attempt).expect("a place");
            let path = write_shard_result(&folder, &own).expect("written");
            assert_eq!(read_shard_result(&path).expect("read"), own);
        }
        let names: Vec<String> = shard_files(&folder)
            .expect("a folder")
            .iter()
            .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["shard-2-of-3.attempt-2.json", "shard-2-of-3.json", "shard-3-of-3.json"]);
        assert_eq!(fs::read_dir(&folder).expect("read").count(), 3);
    }

    #[test]
    fn no_result_is_written_over_another_and_neither_is_lost() {
        let home = tempfile::tempdir().expect("a folder");
        let (one, mut other) = (result(1, 1), result(1, 1));
        other.started_unix_ns = 7;
        write_shard_result(home.path(), &one).expect("written");
        let refused = prepare_for_shard_result(home.path(), one.shard, 1).expect_err("there is one");
        assert!(matches!(refused, ShardFileError::Present { .. }), "{refused}");
        let doubled = write_shard_result(home.path(), &other).expect_err("there is one");
        assert!(matches!(doubled, ShardFileError::Doubled { .. }), "{doubled}");
        let files = shard_files(home.path()).expect("a folder");
        let mut read: Vec<u64> =
            files.iter().map(|path| read_shard_result(path).expect("a result").started_unix_ns).collect();
        read.sort_unstable();
        assert_eq!(read, [1, 7]);
    }

    #[test]
    fn what_is_cut_or_no_result_or_of_another_format_is_named() {
        let home = tempfile::tempdir().expect("a folder");
        let path = write_shard_result(home.path(), &result(1, 1)).expect("written");
        let whole = fs::read(&path).expect("read");
        for length in [0, 1, whole.len() / 2, whole.len() - 3] {
            fs::write(&path, &whole[..length]).expect("cut");
            let error = read_shard_result(&path).expect_err("cut");
            assert!(matches!(error, ShardFileError::NotAResult { .. }), "{length}: {error}");
            assert!(error.to_string().contains("shard-1-of-3.json"), "{error}");
        }
        let mut own = result(1, 1);
        own.end.how = crate::shard::HowEnded::Held;
        let changes: [fn(&mut crate::Connections); 2] =
            [|c| c.held += 1, |c| c.established = c.attempted + 1];
        for change in changes {
            let mut record = crate::record::sample_record();
            change(&mut record.connections);
            own.record = Some(Box::new(record));
            fs::write(&path, serde_json::to_vec(&own).expect("JSON")).expect("written");
            let error = read_shard_result(&path).expect_err("counts that cannot be").to_string();
            assert!(error.contains("its counts contradict each other: "), "{error}");
        }
        fs::write(&path, "{\"format\": \"c10k-shard/9\"}").expect("written");
        let error = read_shard_result(&path).expect_err("another format");
        assert!(
            error.to_string().ends_with("has the format 'c10k-shard/9'; this program reads c10k-shard/1")
        );
        fs::write(&path, "{}").expect("written");
        assert!(read_shard_result(&path).expect_err("no result").to_string().ends_with("it has no format"));
        let gone = read_shard_result(&home.path().join("gone.json")).expect_err("not there");
        assert!(matches!(gone, ShardFileError::Read { .. }), "{gone}");
        assert!(matches!(shard_files(&path).expect_err("a file"), ShardFileError::Read { .. }));
    }
}
