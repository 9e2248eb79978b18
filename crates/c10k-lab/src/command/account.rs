//! What is written of a run for others to read: a summary in Markdown or JSON, verdicts as JUnit XML.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use c10k_plan::say::printer::Printer;
use c10k_plan::say::refusal::Refusal;
use c10k_record::{Record, nearest, write_whole};
use clap::Args;

/// What is written, and where to.
#[derive(Clone, Debug, Args)]
pub(crate) struct AccountArgs {
    /// Write a summary of the run to FILE, `-` for stdout. `markdown` is added to the end of the file, as CI systems want it
    /// of a job's summary ($GITHUB_STEP_SUMMARY); `json` is one document in the place of what was there. May be given
    /// several times.
    #[arg(long, value_names = ["markdown|json", "FILE"], num_args = 2)]
    summary: Vec<String>,
    /// Write the verdicts as JUnit XML to FILE, `-` for stdout, in the place of what was there: a test case a verdict, a
    /// run that broke as errors [default: none].
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Markdown,
    Json,
    Junit,
}

/// A form, and the file; `-` is stdout.
#[derive(Debug)]
struct Account {
    form: Form,
    place: PathBuf,
}

/// All that is asked for.
#[derive(Debug)]
pub(crate) struct Accounts(Vec<Account>);

impl AccountArgs {
    pub(crate) fn asks_for_any(&self) -> bool {
        !self.summary.is_empty() || self.junit.is_some()
    }

    /// What is asked for, where it can be written. `json`: stdout has a document already.
    pub(crate) fn accounts(&self, json: bool) -> Result<Accounts, Refusal> {
        let mut all = Vec::new();
        for pair in self.summary.chunks_exact(2) {
            let form = match pair[0].as_str() {
                "markdown" => Form::Markdown,
                "json" => Form::Json,
                other => {
                    let near = nearest(other, ["markdown", "json"]);
                    let hint = near.map_or_else(
                        || {
                            "expected markdown or json, and a file, such as --summary markdown summary.md"
                                .to_owned()
                        },
                        |near| format!("did you mean {near}?"),
                    );
                    return Err(Refusal::text(format!("--summary '{other}' is no form of a summary"), hint));
                }
            };
            all.push(Account { form, place: PathBuf::from(&pair[1]) });
        }
        all.extend(self.junit.iter().map(|place| Account { form: Form::Junit, place: place.clone() }));
        let accounts = Accounts(all);
        let of_stdout = accounts.0.iter().filter(|account| account.is_stdout()).count() + usize::from(json);
        if of_stdout > 1 {
            return Err(Refusal::text(
                "two documents for stdout: --json, --summary FORM - and --junit - each take it",
                "name a file for all but one",
            ));
        }
        for account in &accounts.0 {
            account.check()?;
        }
        Ok(accounts)
    }
}

impl Accounts {
    /// Whether one of them is for stdout.
    pub(crate) fn take_stdout(&self) -> bool {
        self.0.iter().any(Account::is_stdout)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes them all; false where one could not be written, which is said.
    pub(crate) fn write(&self, record: &Record, path: &Path, printer: &mut Printer) -> bool {
        let mut all_written = true;
        for account in &self.0 {
            let text = match account.form {
                Form::Markdown => c10k_report::markdown(record, Some(path)),
                Form::Json => format!("{:#}\n", c10k_report::digest(record, Some(path))),
                Form::Junit => c10k_report::junit(record, Some(path)),
            };
            if account.is_stdout() {
                printer.data(&text);
                continue;
            }
            let written = match account.form {
                Form::Markdown => append(&account.place, &text),
                Form::Json | Form::Junit => write_whole(&account.place, text.as_bytes()),
            };
            if let Err(error) = written {
                printer.error(&format!("cannot write '{}': {error}", account.place.display()), None);
                all_written = false;
            }
        }
        all_written
    }
}

impl Account {
    fn is_stdout(&self) -> bool {
        self.place == Path::new("-")
    }

    /// Whether it can be written when the run is over, as far as that shows before it.
    fn check(&self) -> Result<(), Refusal> {
        let refused = |why: &str, hint: &str| {
            Err(Refusal::host(format!("'{}' cannot be written: {why}", self.place.display()), hint))
        };
        if self.is_stdout() {
            return Ok(());
        }
        let folder = self.place.parent().filter(|folder| !folder.as_os_str().is_empty());
        if self.place.is_dir() {
            return refused("it is a folder", "name a file in it");
        }
        match folder.filter(|folder| !folder.is_dir()) {
            Some(folder) => refused("its folder is not there", &format!("mkdir -p {}", folder.display())),
            None => Ok(()),
        }
    }
}

/// Puts a text behind what is in a file.
fn append(place: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(place)?;
    file.write_all(text.as_bytes())
}
