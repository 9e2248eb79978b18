//! Documents of YAML, for the tests of what is written in it.

use std::collections::BTreeMap;

use saphyr::{LoadableYamlNode as _, Scalar, Yaml};

use super::text;

/// A document as it would be without YAML's ways to write it: a mapping, a list, or the text of a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Map(BTreeMap<String, Node>),
    List(Vec<Node>),
    Text(String),
}

impl Node {
    #[track_caller]
    pub(crate) fn get(&self, key: &str) -> &Self {
        self.find(key).unwrap_or_else(|| panic!("no {key} in {self:?}"))
    }

    pub(crate) fn find(&self, key: &str) -> Option<&Self> {
        let Self::Map(all) = self else { return None };
        all.get(key)
    }

    #[track_caller]
    pub(crate) fn keys(&self) -> Vec<&str> {
        let Self::Map(all) = self else { panic!("no mapping: {self:?}") };
        all.keys().map(String::as_str).collect()
    }

    #[track_caller]
    pub(crate) fn list(&self) -> &[Self] {
        let Self::List(all) = self else { panic!("no list: {self:?}") };
        all
    }

    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        let Self::Text(text) = self else { panic!("no text: {self:?}") };
        text
    }

    #[track_caller]
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.list().iter().map(Self::text).collect()
    }
}

fn node(yaml: &Yaml<'_>) -> Node {
    match yaml {
        Yaml::Mapping(all) => {
            Node::Map(all.iter().map(|(key, value)| (node(key).text().to_owned(), node(value))).collect())
        }
        Yaml::Sequence(all) => Node::List(all.iter().map(node).collect()),
        Yaml::Value(Scalar::String(text)) => Node::Text(text.to_string()),
        Yaml::Value(Scalar::Integer(number)) => Node::Text(number.to_string()),
        Yaml::Value(Scalar::Boolean(is)) => Node::Text(is.to_string()),
        other => panic!("a value that no file here has: {other:?}"),
    }
}

/// The documents of a file.
#[track_caller]
pub(crate) fn documents(name: &str) -> Vec<Node> {
    let text = text(name);
    let documents = Yaml::load_from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    documents.iter().map(node).collect()
}

/// The one document of a file.
#[track_caller]
pub(crate) fn document(name: &str) -> Node {
    let mut documents = documents(name);
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}
