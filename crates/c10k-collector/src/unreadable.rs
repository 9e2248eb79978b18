//! What may not or cannot be read here, each said once.

use std::fmt;
use std::io;

use serde::Serialize;

/// A source that cannot be read here, and what stays unknown without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The file or interface.
    pub source: String,
    /// Why: the errno of open(2) or read(2); `None` when the source could be read but would tell of something else.
    pub errno: Option<i32>,
    /// What is then unknown.
    pub what_is_then_unknown: String,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {}", self.source)?;
        if let Some(errno) = self.errno {
            write!(f, " ({})", io::Error::from_raw_os_error(errno))?;
        }
        write!(f, ": unknown is {}", self.what_is_then_unknown)
    }
}

/// The list of them, each source once.
#[derive(Debug, Default)]
pub(crate) struct UnreadableList(Vec<Unreadable>);

impl UnreadableList {
    /// Notes a source unless it is noted already.
    pub(crate) fn note(&mut self, source: impl Into<String>, errno: Option<i32>, unknown: &str) {
        let source = source.into();
        if self.0.iter().all(|known| known.source != source) {
            self.0.push(Unreadable { source, errno, what_is_then_unknown: unknown.to_owned() });
        }
    }

    pub(crate) fn all(&self) -> &[Unreadable] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_once_with_its_reason_and_its_consequence() {
        let mut list = UnreadableList::default();
        for _ in 0..3 {
            list.note("/proc/slabinfo", Some(13), "the exact size of each part");
        }
        list.note("sock_diag", None, "the accept queue");
        assert_eq!(list.all().len(), 2);
        assert_eq!(
            list.all()[0].to_string(),
            "cannot read /proc/slabinfo (Permission denied (os error 13)): unknown is the exact size of each part"
        );
    }
}
