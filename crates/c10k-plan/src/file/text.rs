//! A plan's text with its places, and what is said of one that is wrong.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use c10k_record::nearest;
use toml_edit::Document;

use crate::say::refusal::Refusal;

/// What a file is to be, and what helps one that is not.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Its name in refusals.
    pub(crate) name: &'static str,
    /// For a refusal without a better hint.
    pub(crate) hint: &'static str,
    /// Where no file of that name is.
    pub(crate) not_there: &'static str,
}

/// A plan.
static PLAN: Kind = Kind { name: "plan", hint: HINT, not_there: HINT_NOT_THERE };

/// One file.
#[derive(Debug)]
pub(crate) struct File {
    /// Its path as it was given.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    kind: &'static Kind,
}

/// A file and what it says.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Whose text it is.
    pub(crate) file: File,
    /// What it says.
    pub(crate) document: Document<String>,
}

impl Layer {
    /// Reads a plan file.
    ///
    /// # Errors
    /// What cannot be read, or is no TOML.
    pub(crate) fn read(path: &Path) -> Result<Self, Refusal> {
        Self::read_as(&PLAN, path)
    }

    /// The same of a file that is something else.
    pub(crate) fn read_as(kind: &'static Kind, path: &Path) -> Result<Self, Refusal> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let hint = if error.kind() == ErrorKind::NotFound { kind.not_there } else { kind.hint };
            Refusal::text(format!("cannot read the {} '{}': {error}", kind.name, path.display()), hint)
        })?;
        let file = File { path: path.to_owned(), text, kind };
        match Document::parse(file.text.clone()) {
            Ok(document) => Ok(Self { file, document }),
            Err(error) => {
                let place = error.span().unwrap_or(0..0);
                let message = error.message().trim().replace('\n', ", ");
                Err(file.wrong(&message, Some(place), kind.hint))
            }
        }
    }
}

/// What every refusal of a plan without a better hint says.
pub(crate) const HINT: &str =
    "a plan says only what differs from the defaults; c10k-lab run --print-plan shows every key";

/// A mistyped target is taken for a file, too.
const HINT_NOT_THERE: &str = "a target is a number, such as 20k; every run's folder holds a plan.toml that can be repeated: \
                              `c10k-lab list` shows the runs";

impl File {
    /// Its name, for people.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// The number of the line in which a place begins, from 1.
    pub(crate) fn line(&self, place: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..place.start).unwrap_or(self.text.as_bytes());
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// A refusal that shows the line of `place`, with a caret under it.
    pub(crate) fn wrong(
        &self,
        message: &str,
        place: Option<Range<usize>>,
        hint: impl Into<String>,
    ) -> Refusal {
        let (name, kind) = (self.name(), self.kind.name);
        let Some(place) = place else {
            return Refusal::text(format!("the {kind} '{name}' is not right: {message}"), hint);
        };
        let number = self.line(&place);
        let start = self.text[..place.start.min(self.text.len())].rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        // Columns are characters; a tab is shown as one blank, so that the caret stands where it belongs.
        let before = self.text[start..place.start.min(self.text.len())].chars().count();
        let marked = self.text.get(place).unwrap_or_default().lines().next().unwrap_or_default();
        let carets = "^".repeat(marked.chars().count().max(1));
        let line = line.replace('\t', " ");
        let margin = " ".repeat(number.to_string().len());
        Refusal::text(
            format!(
                "the {kind} '{name}' is not right, line {number}: {message}\n{margin}--> {name}:{number}\n{margin} \
                 |\n{number} | {line}\n{margin} | {}{carets}",
                " ".repeat(before)
            ),
            hint,
        )
    }

    /// A refusal of a name that nobody knows.
    pub(crate) fn unknown<'a>(
        &self,
        what: &str,
        name: &str,
        place: Option<Range<usize>>,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Refusal {
        let hint = match nearest(name, known) {
            Some(near) => format!("did you mean {near}?"),
            None => self.kind.hint.to_owned(),
        };
        self.wrong(&format!("unknown {what} `{name}`"), place, hint)
    }
}

/// The file that `extends` names, from the file that names it.
pub(crate) fn beside(file: &Path, named: &str) -> PathBuf {
    file.parent().map_or_else(|| PathBuf::from(named), |folder| folder.join(named))
}
