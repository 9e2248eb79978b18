//! A run's folder: written as the run goes, and whole at every moment.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::whole::{sync_folder, write_for_now, write_whole};
use crate::{Plan, Record, SCHEMA_VERSION, Sample};

/// Why a run's folder cannot be written or read.
#[derive(Debug, Error)]
pub enum FolderError {
    /// The folder cannot be made.
    #[error("cannot make the run's folder '{path}': {source}")]
    Create {
        /// Its path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Where folders of runs are to be made is a file.
    #[error("'{path}' is a file, not a folder")]
    NotAFolder {
        /// Its path.
        path: String,
    },
    /// A file in it cannot be written.
    #[error("cannot write '{path}': {source}")]
    Write {
        /// Its path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A record cannot be read.
    #[error("cannot read the record '{path}': {source}")]
    Read {
        /// Its path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A record's text is not a record.
    #[error("'{path}' is not a record: {message}")]
    NotARecord {
        /// Its path.
        path: String,
        /// What is wrong, with line and column.
        message: String,
    },
    /// A record of another version.
    #[error("the record '{path}' has schema_version {found}; this program reads version {SCHEMA_VERSION}")]
    Version {
        /// Its path.
        path: String,
        /// The version in the file.
        found: u64,
    },
}

/// The name of a record that is still being written; a folder with only this one is of a run that was killed.
#[must_use]
pub fn partial_record_name() -> &'static str {
    "record.partial.json"
}

/// The folder of one run, open for writing.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    samples: File,
}

impl RunFolder {
    /// Makes `parent/<UTC time>-<profile>-<protocol>-<workload>/` with `plan.toml` and an empty `samples.csv`
    /// in it; a second run within the same second gets a number behind the time.
    ///
    /// # Errors
    /// [`FolderError::Create`] or [`FolderError::Write`]: nothing is left behind then but the parent.
    pub fn create(parent: &Path, plan: &Plan) -> Result<Self, FolderError> {
        let create_error = |path: &Path| {
            let path = path.display().to_string();
            move |source| FolderError::Create { path, source }
        };
        if parent.is_file() {
            return Err(FolderError::NotAFolder { path: parent.display().to_string() });
        }
        fs::create_dir_all(parent).map_err(create_error(parent))?;
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let profile: String = Path::new(&plan.profile)
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' })
            .collect();
        let mut attempt = 1;
        let path = loop {
            let number = if attempt == 1 { String::new() } else { format!(".{attempt}") };
            let name = format!("{time}{number}-{profile}-{}-{}", plan.protocol, plan.workload);
            let path = parent.join(name);
            match fs::create_dir(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => attempt += 1,
                Err(error) => return Err(create_error(&path)(error)),
            }
        };
        let made = Self::fill(&path, plan);
        if made.is_err() {
            // Only what this call made is removed.
            let _ = fs::remove_dir_all(&path);
        }
        made
    }

    fn fill(path: &Path, plan: &Plan) -> Result<Self, FolderError> {
        let plan_path = path.join("plan.toml");
        let text = plan.to_toml().map_err(|error| FolderError::Write {
            path: plan_path.display().to_string(),
            source: io::Error::other(error),
        })?;
        write_whole(&plan_path, text.as_bytes()).map_err(not_written(&plan_path))?;
        let samples_path = path.join("samples.csv");
        let mut samples = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(&samples_path)
            .map_err(not_written(&samples_path))?;
        writeln!(samples, "{}", Sample::csv_header()).map_err(not_written(&samples_path))?;
        Ok(Self { path: path.to_owned(), samples })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The plan in it.
    #[must_use]
    pub fn plan(&self) -> PathBuf {
        self.path.join("plan.toml")
    }

    /// The last part of its path: the run's id.
    #[must_use]
    pub fn run_id(&self) -> String {
        self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Appends a row to `samples.csv`.
    ///
    /// # Errors
    /// [`FolderError::Write`], for instance with ENOSPC.
    pub fn append_sample(&mut self, sample: &Sample) -> Result<(), FolderError> {
        writeln!(self.samples, "{}", sample.csv_row()).map_err(not_written(&self.path.join("samples.csv")))
    }

    /// Writes the record as it stands under [`partial_record_name`].
    ///
    /// # Errors
    /// [`FolderError::Write`].
    pub fn write_partial(&self, record: &Record) -> Result<(), FolderError> {
        let partial = self.path.join(partial_record_name());
        write_for_now(&partial, &to_json(record)).map_err(not_written(&partial))
    }

    /// Writes any other file of the folder, whole or not at all.
    ///
    /// # Errors
    /// [`FolderError::Write`].
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let path = self.path.join(name);
        write_whole(&path, bytes).map_err(not_written(&path))
    }

    /// Writes `record.json`: synced to disk, then renamed, the last write of a run.
    ///
    /// # Errors
    /// [`FolderError::Write`]: the partial record then stays as it was.
    pub fn finish(&mut self, record: &Record) -> Result<PathBuf, FolderError> {
        let partial = self.path.join(partial_record_name());
        let last = self.path.join("record.json");
        write_whole(&partial, &to_json(record)).map_err(not_written(&partial))?;
        self.samples.sync_all().and_then(|()| fs::rename(&partial, &last)).map_err(not_written(&last))?;
        // The names too: that of the record, and that of the run's folder.
        for folder in [Some(self.path.as_path()), self.path.parent()].into_iter().flatten() {
            sync_folder(folder).map_err(not_written(&last))?;
        }
        Ok(last)
    }
}

fn to_json(record: &Record) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(record).expect("a record is plain data with text keys");
    bytes.push(b'\n');
    bytes
}

fn not_written(path: &Path) -> impl Fn(io::Error) -> FolderError {
    let path = path.display().to_string();
    move |source| FolderError::Write { path: path.clone(), source }
}

/// Reads a record: of a run's folder (`record.json`, else the partial one) or from a file.
///
/// # Errors
/// [`FolderError::Read`], [`FolderError::NotARecord`] or [`FolderError::Version`].
pub fn read_record(path: &Path) -> Result<Record, FolderError> {
    let file = if path.is_dir() {
        let (whole, partial) = (path.join("record.json"), path.join(partial_record_name()));
        if partial.exists() && !whole.exists() { partial } else { whole }
    } else {
        path.to_owned()
    };
    let name = file.display().to_string();
    let text =
        fs::read_to_string(&file).map_err(|source| FolderError::Read { path: name.clone(), source })?;
    let not_a_record =
        |error: serde_json::Error| FolderError::NotARecord { path: name.clone(), message: error.to_string() };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(not_a_record)?;
    match value.get("schema_version").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(SCHEMA_VERSION) => {}
        Some(found) => return Err(FolderError::Version { path: name.clone(), found }),
        None => {
            let message = "it has no schema_version".to_owned();
            return Err(FolderError::NotARecord { path: name.clone(), message });
        }
    }
    serde_json::from_value(value).map_err(not_a_record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample_record;
    use crate::{LoadPlan, Protocol, ServerMode, ServerPlan, Topology, WorkPlan, Workload};

    fn plan(profile: &str) -> Plan {
        Plan {
            schema_version: SCHEMA_VERSION,
            profile: profile.to_owned(),
            topology: Topology::Loopback,
            protocol: Protocol::Raw,
            workload: Workload::Hold,
            target: 10,
            verdicts: Vec::new(),
            server: ServerPlan {
                listen: vec!["127.0.0.1:9000".parse().expect("an address")],
                mode: ServerMode::Echo,
                workers: None,
                max_connections: None,
                foreign: false,
                control: None,
                reached_at: Vec::new(),
                ssh: None,
            },
            load: LoadPlan::default(),
            work: WorkPlan::default(),
            phases: Vec::new(),
        }
    }

    #[test]
    fn of_a_folder_without_a_run_the_record_is_named_that_a_run_has() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = read_record(folder.path()).expect_err("there is none").to_string();
        assert!(error.contains("/record.json'"), "{error}");
    }

    #[test]
    fn a_run_leaves_a_record_and_no_partial_one() {
        let home = tempfile::tempdir().expect("a folder");
        let mut folder = RunFolder::create(home.path(), &plan("profiles/my own.toml")).expect("made");
        assert!(folder.run_id().ends_with("-my_own-raw-hold"), "{}", folder.run_id());
        let mut record = sample_record();
        folder.write_partial(&record).expect("written");
        assert_eq!(read_record(folder.path()).expect("partial").state, crate::RunState::Unfinished);
        record.end(crate::RunState::Complete);
        folder.append_sample(&Sample::default()).expect("appended");
        folder.finish(&record).expect("finished");
        assert_eq!(read_record(folder.path()).expect("whole"), record);
        assert!(!folder.path().join(partial_record_name()).exists());
        assert_eq!(Plan::load(&folder.path().join("plan.toml")).expect("the plan").target, 10);
    }

    #[test]
    fn two_runs_in_one_second_get_two_folders() {
        let home = tempfile::tempdir().expect("a folder");
        let one = RunFolder::create(home.path(), &plan("tuned")).expect("made");
        let two = RunFolder::create(home.path(), &plan("tuned")).expect("made");
        assert_ne!(one.path(), two.path());
    }

    #[test]
    fn a_results_path_that_is_a_file_is_an_error_with_its_name() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = RunFolder::create(file.path(), &plan("tuned")).expect_err("not a folder");
        assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    }

    #[test]
    fn a_record_of_another_version_is_refused_by_its_version() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "{\"schema_version\": 9}").expect("written");
        let error = read_record(file.path()).expect_err("another version");
        assert!(matches!(error, FolderError::Version { found: 9, .. }), "{error}");
    }

    #[test]
    fn an_identity_that_does_not_hold_is_told() {
        let mut record = sample_record();
        assert_eq!(record.broken_identity(), None);
        record.connections.attempted = 3;
        assert!(record.broken_identity().is_some());
    }
}
