//! A profile as text with the reasons that its authors gave: the comments above each setting.

use std::collections::BTreeMap;

/// The comments of one profile file.
#[derive(Debug, Default)]
struct Comments {
    /// Those before the first key.
    head: Vec<String>,
    /// Those right above a key, by table and key.
    above: BTreeMap<(String, String), Vec<String>>,
    /// Those behind the last key: mostly what was left out, and why.
    tail: Vec<String>,
}

impl Comments {
    fn of(text: &str) -> Self {
        let mut comments = Self::default();
        let mut table = String::new();
        let mut block: Vec<String> = Vec::new();
        let mut has_begun = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with('#') {
                block.push(line.to_owned());
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
                table = name.to_owned();
            } else if let Some((key, _)) = line.split_once('=') {
                let key = key.trim().trim_matches('"').to_owned();
                if !has_begun {
                    comments.head = std::mem::take(&mut block);
                } else if !block.is_empty() {
                    comments.above.insert((table.clone(), key), std::mem::take(&mut block));
                }
                has_begun = true;
            } else if !block.is_empty() {
                // A block that ends with an empty line is about no key.
                block.push(String::new());
                continue;
            }
            block.clear();
        }
        while block.last().is_some_and(String::is_empty) {
            block.pop();
        }
        comments.tail = block;
        comments
    }
}

/// A profile as text that stands alone, from its name and summary, its settings (table, key, value) and the texts of its
/// files: its own first, then those that it extends. Of two reasons for a setting the first one counts, as its value
/// does.
pub(super) fn with_reasons(
    (name, summary): (&str, &str),
    settings: &[(String, String, String)],
    texts: &[String],
) -> String {
    let comments: Vec<Comments> = texts.iter().map(|text| Comments::of(text)).collect();
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let mut lines: Vec<String> = Vec::new();
    let own = comments.first();
    lines.extend(own.iter().flat_map(|own| own.head.clone()));
    lines.push(format!("name = {}", quoted(name)));
    lines.push(format!("summary = {}", quoted(summary)));
    let mut table = "";
    for (name, key, value) in settings {
        if table != name {
            lines.extend([String::new(), format!("[{name}]")]);
            table = name;
        }
        let place = (name.clone(), key.clone());
        lines.extend(comments.iter().find_map(|of| of.above.get(&place)).cloned().unwrap_or_default());
        let key = if key.contains('.') { quoted(key) } else { key.clone() };
        lines.push(format!("{key} = {value}"));
    }
    for tail in comments.iter().map(|of| &of.tail).filter(|tail| !tail.is_empty()) {
        lines.push(String::new());
        lines.extend(tail.clone());
    }
    lines.join("\n") + "\n"
}
