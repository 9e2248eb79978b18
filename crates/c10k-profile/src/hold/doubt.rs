//! What may stand of settings whose journal cannot be understood: told by comparing with a fresh network namespace.

use std::collections::BTreeSet;
use std::path::PathBuf;

use c10k_kernel::files;
use c10k_kernel::namespace::fresh_values;

use super::here::Here;
use crate::compare::{is_first_namespace, sysctl_command};
use crate::journal::{Journal, Reading, asides_in};
use crate::text::{Profile, one_line};

/// A fresh namespace has these from the machine's first one, changed or not (`tcp_sk_init`, net/ipv4/tcp_ipv4.c).
const HANDED_DOWN: [&str; 2] = ["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"];

/// Journals of this network namespace that nobody can act upon, and what may stand because of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The journals.
    pub journals: Vec<PathBuf>,
    /// What is not as in a fresh network namespace, and what such a journal names and no fresh one can show.
    pub differs: Vec<Differs>,
    /// False where no fresh namespace could be made to compare with.
    pub is_compared: bool,
}

/// A setting that may be left over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differs {
    /// Its key.
    pub key: String,
    /// What stands.
    pub present: String,
    /// What stands in a fresh network namespace; `None` for what is the whole host's.
    pub fresh: Option<String>,
}

impl Differs {
    /// What sets it as in a fresh namespace; of what none can show, what looks at it.
    #[must_use]
    pub fn command(&self) -> String {
        match &self.fresh {
            Some(fresh) => sysctl_command(&self.key, fresh),
            None => format!("sysctl {}", self.key),
        }
    }
}

impl Here {
    /// What may stand because of journals that are damaged or cannot be read; `None` when there are none.
    #[must_use]
    pub fn doubt(&self) -> Option<Doubt> {
        let mut journals = Vec::new();
        for folder in self.folders.existing().unwrap_or_default() {
            journals.extend(asides_in(&folder, self.spot.net_namespace));
        }
        journals.extend(self.own_journals().unwrap_or_default());
        journals.retain(|path| match Journal::read(path, &self.spot) {
            Ok(Reading::Useless(useless)) => useless.may_stand,
            Ok(_) => false,
            Err(_) => true,
        });
        if journals.is_empty() {
            return None;
        }
        let mut named = BTreeSet::new();
        for text in journals.iter().filter_map(|path| files::read_to_string(path).ok()) {
            named.extend(keys_in(&text).into_iter().filter(|key| self.root.exists(key)));
        }
        let profiles = Profile::shipped().iter().filter_map(|(name, _)| Profile::load(name).ok());
        let known =
            profiles.flat_map(|profile| profile.sysctl.into_keys()).filter(|key| key.starts_with("net."));
        let keys: Vec<String> =
            named.iter().cloned().chain(known).collect::<BTreeSet<_>>().into_iter().collect();
        let fresh = fresh_values(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        let is_compared = fresh.is_some();
        let is_first = is_first_namespace(&self.root);
        let fresh = fresh.unwrap_or_else(|| vec![None; keys.len()]);
        let differs = keys.into_iter().zip(fresh).filter_map(|(key, fresh)| {
            let present = one_line(&self.root.read(&key).ok()?);
            let is_shown = key.starts_with("net.") && !(is_first && HANDED_DOWN.contains(&key.as_str()));
            let fresh = fresh.filter(|_| is_shown).map(|fresh| one_line(&fresh));
            let is_doubtful = match &fresh {
                Some(fresh) => *fresh != present,
                None => named.contains(&key),
            };
            is_doubtful.then_some(Differs { key, present, fresh })
        });
        Some(Doubt { differs: differs.collect(), journals, is_compared })
    }
}

/// The keys that a text names which once was a journal, as far as it goes.
fn keys_in(text: &str) -> Vec<String> {
    let parts = text.split("\"key\":\"").skip(1);
    parts.filter_map(|part| Some(part.split_once('"')?.0.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_journal_that_was_cut_short_are_those_it_still_names() {
        let text =
            r#"{"version":3,"entries":[{"key":"net.core.somaxconn","before":"4096"},{"key":"net.ipv4.tc"#;
        assert_eq!(keys_in(text), ["net.core.somaxconn"]);
        assert_eq!(keys_in("no journal"), [] as [&str; 0]);
    }
}
