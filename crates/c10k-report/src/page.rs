//! The frame of a page: one file that loads nothing, with one style and one script that its policy knows by their hash.

use data_encoding::BASE64;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use c10k_record::Tone;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// What a page begins with.
pub(crate) struct Head<'a> {
    /// What it is of: a run's id.
    pub(crate) name: &'a str,
    pub(crate) tone: Tone,
    /// The sentence that a reader takes with him who reads no more.
    pub(crate) sentence: &'a str,
    /// When, where, by what: a line.
    pub(crate) about: &'a str,
}

/// The page.
pub(crate) fn framed(head: &Head<'_>, main: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="color-scheme" content="light dark";
                title { (head.sentence) " · " (head.name) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 class=[class(head.tone)] { (head.sentence) }
                    p.about { (head.about) }
                }
                main { (main) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    printable(&page.into_string())
}

/// Nothing may be loaded, nothing sent, and no other script or style is run.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", BASE64.encode(&Sha256::digest(text.as_bytes())));
    format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

/// Without what steers a terminal or is no character of HTML.
fn printable(page: &str) -> String {
    page.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// How text of that tone is marked.
pub(crate) fn class(tone: Tone) -> Option<&'static str> {
    match tone {
        Tone::Plain => None,
        Tone::Good => Some("good"),
        Tone::Bad => Some("bad"),
    }
}

/// A line to paste, with a button that copies it.
pub(crate) fn command(line: &str) -> Markup {
    html! {
        div.command {
            pre { code { (line) } }
            button type="button" data-does="copy" hidden { "copy" }
        }
    }
}

/// A link that saves a text under a name, without any script.
pub(crate) fn data_link(name: &str, text: &str) -> Markup {
    html! { a download=(name) href=(format!("data:text/csv;charset=utf-8,{}", percent_encoded(text))) { "CSV" } }
}

/// RFC 3986, section 2.1; what a data URL may have as it is stays.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 5 / 4);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~,:/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_knows_the_one_style_and_the_one_script_and_lets_nothing_else_in() {
        let head = Head { name: "run", tone: Tone::Good, sentence: "HELD", about: "" };
        let page = framed(&head, &html! { p { "<b>\u{1b}[31m</b>" } });
        assert!(page.contains("default-src 'none'") && !page.contains("unsafe"), "{page}");
        assert_eq!((page.matches("<script>").count(), page.matches("<style>").count()), (1, 1));
        assert!(!page.contains('\u{1b}') && page.contains("&lt;b&gt;"));
        for (text, tag) in [(STYLE, "</style"), (SCRIPT, "</script")] {
            assert!(!text.contains(tag), "it would end its own element");
        }
        // What echo -n abc | openssl dgst -sha256 -binary | base64 says.
        let known = BASE64.encode(&Sha256::digest(b"abc"));
        assert_eq!(known, "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }

    #[test]
    fn a_saved_text_keeps_each_of_its_bytes() {
        assert_eq!(percent_encoded("a,\"b\"\n100%"), "a,%22b%22%0A100%25");
        assert_eq!(percent_encoded("µ"), "%C2%B5");
    }
}
