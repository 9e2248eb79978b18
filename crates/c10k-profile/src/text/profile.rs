//! A profile with everything it extends already taken in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::ProfileError;
use super::schema::{Limits, NamespaceOptions, RawProfile, Wanted};
use super::shipped::SHIPPED;
use super::socket_options::SocketOptions;

/// A named set of sysctls, resource limits and socket options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// Its name, fit for a folder's name.
    pub name: String,
    /// What it is for, in one line.
    pub summary: String,
    /// Where its text came from.
    #[serde(skip)]
    pub source: Source,
    /// Names of the profiles it extends, nearest first.
    #[serde(skip)]
    pub extends: Vec<String>,
    /// Resource limits.
    pub limits: Limits,
    /// What a namespace gets at its making.
    pub namespace: NamespaceOptions,
    /// Wanted values by key, `net.core.somaxconn`.
    pub sysctl: BTreeMap<String, Wanted>,
    /// Socket options.
    pub socket: SocketOptions,
}

/// Where a profile's text comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Built into this program.
    Shipped(&'static str),
    /// A file.
    File(PathBuf),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shipped(name) => f.write_str(name),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Profile {
    /// Loads a shipped profile by its name, or any profile by its path, and takes in what it extends.
    ///
    /// What has a `/` in it or ends with `.toml` is a path; other names are the shipped ones.
    ///
    /// # Errors
    /// See [`ProfileError`]; all of them are faults of the text, none of this machine.
    pub fn load(name_or_path: &str) -> Result<Self, ProfileError> {
        let source = find(name_or_path, Path::new("")).ok_or_else(|| ProfileError::Unknown {
            name: name_or_path.to_owned(),
            shipped: SHIPPED.iter().map(|(name, _)| *name).collect(),
        })?;
        resolve(source, Vec::new())
    }

    /// Loads a profile from its text; paths in `extends` are relative to the present folder.
    ///
    /// # Errors
    /// See [`ProfileError`].
    pub fn from_text(text: &str) -> Result<Self, ProfileError> {
        let source = Source::File(PathBuf::from("profile"));
        let raw = parse(&source, text)?;
        complete(source, raw, Vec::new())
    }

    /// Name and text of the profiles that are built in.
    #[must_use]
    pub fn shipped() -> &'static [(&'static str, &'static str)] {
        SHIPPED
    }

    /// The whole profile as text that stands alone: nothing is left to extend.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Plain tables with string keys: there is nothing in a profile that TOML could not hold.
        toml::to_string(self).unwrap_or_default()
    }

    /// The same with the reasons that stand as comments above each setting, in its own text and in those it extends.
    #[must_use]
    pub fn to_toml_with_reasons(&self) -> String {
        let mut texts = Vec::new();
        let mut next = Some(self.source.clone());
        while let Some(source) = next.take() {
            let Ok(text) = text_of(&source, &[]) else { break };
            let raw: toml::Table = text.parse().unwrap_or_default();
            if let Some(name) = raw.get("extends").and_then(toml::Value::as_str) {
                next = find(name, &folder_of(&source));
            }
            texts.push(text);
        }
        super::reasons::with_reasons((&self.name, &self.summary), &self.settings(), &texts)
    }

    /// Its settings one by one: the table that each stands in, its key, and its value in one line of TOML.
    #[must_use]
    pub fn settings(&self) -> Vec<(String, String, String)> {
        let whole: toml::Table = self.to_toml().parse().unwrap_or_default();
        let tables = whole.into_iter().filter_map(|(name, value)| match value {
            toml::Value::Table(table) => Some((name, table)),
            _ => None,
        });
        let settings = tables.flat_map(|(name, table)| {
            table.into_iter().map(move |(key, value)| (name.clone(), key, value.to_string()))
        });
        settings.collect()
    }

    /// The same profile with only those sysctls that `keep` wants, and nothing else.
    #[must_use]
    pub fn sysctls_only(&self, keep: impl Fn(&str, &Wanted) -> bool) -> Self {
        let mut part = self.clone();
        part.sysctl.retain(|key, wanted| keep(key, wanted));
        (part.limits, part.namespace, part.socket) = Default::default();
        part
    }

    /// The keys of its sysctls.
    #[must_use]
    pub fn keys(&self) -> Vec<&str> {
        self.sysctl.keys().map(String::as_str).collect()
    }
}

fn find(name: &str, beside: &Path) -> Option<Source> {
    if name.contains('/') || name.ends_with(".toml") {
        return Some(Source::File(beside.join(name)));
    }
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(shipped, _)| Source::Shipped(shipped))
}

/// Loads `source`; `chain` are the sources that led here, the first one first.
fn resolve(source: Source, chain: Vec<Source>) -> Result<Profile, ProfileError> {
    let text = text_of(&source, &chain)?;
    let raw = parse(&source, &text)?;
    complete(source, raw, chain)
}

fn text_of(source: &Source, chain: &[Source]) -> Result<String, ProfileError> {
    match source {
        Source::Shipped(name) => {
            Ok(SHIPPED.iter().find(|(shipped, _)| shipped == name).map_or("", |(_, text)| *text).to_owned())
        }
        Source::File(path) => read(path, chain),
    }
}

/// Where the paths in a profile begin.
fn folder_of(source: &Source) -> PathBuf {
    match source {
        Source::File(path) => path.parent().unwrap_or(Path::new("")).to_owned(),
        Source::Shipped(_) => PathBuf::new(),
    }
}

fn parse(source: &Source, text: &str) -> Result<RawProfile, ProfileError> {
    toml::from_str(text)
        .map_err(|error| ProfileError::Text { origin: source.to_string(), message: error.to_string() })
}

fn complete(source: Source, raw: RawProfile, mut chain: Vec<Source>) -> Result<Profile, ProfileError> {
    let mut profile = Profile {
        name: raw.name.0,
        summary: raw.summary,
        source: source.clone(),
        extends: Vec::new(),
        limits: raw.limits,
        namespace: raw.namespace,
        sysctl: raw.sysctl.0,
        socket: raw.socket,
    };
    let Some(extends) = raw.extends else { return Ok(profile) };
    let beside = folder_of(&source);
    chain.push(source);
    let base = find(&extends, &beside)
        .ok_or_else(|| ProfileError::ExtendsUnknown { chain: chain_with(&chain, &extends), name: extends })?;
    if chain.iter().any(|known| same(known, &base)) {
        return Err(ProfileError::Circular { chain: chain_with(&chain, &base.to_string()) });
    }
    let base = resolve(base, chain)?;
    profile.extends = [vec![base.name], base.extends].concat();
    profile.limits.nofile = profile.limits.nofile.or(base.limits.nofile);
    profile.namespace.ehash_entries = profile.namespace.ehash_entries.or(base.namespace.ehash_entries);
    profile.namespace.initcwnd = profile.namespace.initcwnd.or(base.namespace.initcwnd);
    for (key, wanted) in base.sysctl {
        profile.sysctl.entry(key).or_insert(wanted);
    }
    profile.socket = profile.socket.over(base.socket);
    Ok(profile)
}

fn read(path: &Path, chain: &[Source]) -> Result<String, ProfileError> {
    std::fs::read_to_string(path).map_err(|error| match chain {
        [] => ProfileError::Unreadable { path: path.to_owned(), error },
        _ => ProfileError::ExtendsUnreadable {
            chain: chain_with(chain, &path.display().to_string()),
            path: path.to_owned(),
            error,
        },
    })
}

fn chain_with(chain: &[Source], last: &str) -> String {
    let names = chain.iter().map(ToString::to_string).chain([last.to_owned()]);
    names.collect::<Vec<_>>().join(" extends ")
}

/// One file can be written as many paths.
fn same(one: &Source, other: &Source) -> bool {
    match (one, other) {
        (Source::File(one), Source::File(other)) => match (one.canonicalize(), other.canonicalize()) {
            (Ok(one), Ok(other)) => one == other,
            _ => one == other,
        },
        _ => one == other,
    }
}
