//! Which settings stand and who asked for them: the journals as they are, changing nothing.

use std::path::PathBuf;

use super::here::Here;
use crate::journal::{Entry, Holder, Journal, JournalError, Reading, Written, journals_in};
use crate::text::one_line;

/// One journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The journal.
    pub path: PathBuf,
    /// The inode of the network namespace it is of; 0 when that cannot be read.
    pub net_namespace: u64,
    /// Whether that is this process's.
    pub here: bool,
    /// Who wants its settings, those included that are gone.
    pub holders: Vec<Holder>,
    /// Its settings, in the order of the writes.
    pub settings: Vec<StandingSetting>,
    /// Why it cannot be acted upon.
    pub useless: Option<String>,
}

/// One setting of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingSetting {
    /// Its key.
    pub key: String,
    /// What stood before.
    pub before: String,
    /// What was set.
    pub wanted: String,
    /// What stands now; None where it cannot be read from here.
    pub present: Option<String>,
    /// Whether anybody wants it.
    pub state: State,
}

/// Whether anybody wants a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Somebody who lives, or `profile apply`.
    InForce,
    /// Nobody: who set it is gone.
    LeftOver,
    /// Nobody, and it was left alone because somebody else had changed it.
    Drifted,
}

impl Here {
    /// Every journal that this user has, of this and of other network namespaces.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn standing(&self) -> Result<Vec<Standing>, JournalError> {
        let mut all = Vec::new();
        let mut paths = Vec::new();
        for folder in self.folders.existing()? {
            paths.extend(journals_in(&folder)?);
        }
        for path in paths {
            let (journal, here) = match Journal::read(&path, &self.spot)? {
                Reading::Nothing => continue,
                Reading::Ours(journal) => (journal, true),
                Reading::Foreign(journal) => (journal, false),
                Reading::Useless(useless) => {
                    all.push(Standing {
                        path,
                        net_namespace: 0,
                        here: false,
                        holders: Vec::new(),
                        settings: Vec::new(),
                        useless: Some(useless.why),
                    });
                    continue;
                }
            };
            let settings = journal.entries.iter().filter(|entry| entry.written != Written::No);
            all.push(Standing {
                path,
                net_namespace: journal.net_namespace,
                here,
                settings: settings.map(|entry| self.setting(&journal, entry, here)).collect(),
                holders: journal.holders,
                useless: None,
            });
        }
        Ok(all)
    }

    fn setting(&self, journal: &Journal, entry: &Entry, here: bool) -> StandingSetting {
        let state = match (journal.standing_holder(entry), entry.written) {
            (Some(_), _) => State::InForce,
            (None, Written::Drifted) => State::Drifted,
            (None, _) => State::LeftOver,
        };
        let present = here.then(|| self.root.read(&entry.key).ok()).flatten();
        StandingSetting {
            key: entry.key.clone(),
            before: one_line(&entry.before),
            wanted: entry.wanted.clone(),
            present: present.as_deref().map(one_line),
            state,
        }
    }
}
