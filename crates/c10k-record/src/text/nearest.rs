//! The name that somebody may have meant.

/// The candidate that differs from `text` by the fewest letters; `None` where all differ by more than a third of what
/// was typed, which is no slip of the finger.
#[must_use]
pub fn nearest<S: AsRef<str>>(text: &str, candidates: impl IntoIterator<Item = S>) -> Option<S> {
    // Only so much of a text is looked at: nobody mistypes a name of many lines.
    let text: String = text.chars().take(100).collect();
    let most = (text.chars().count() / 3).max(1);
    // Letters to insert, remove or replace, or neighbours to swap, to make one of the other.
    let near =
        candidates.into_iter().map(|candidate| (strsim::osa_distance(&text, candidate.as_ref()), candidate));
    let near = near.filter(|(edits, _)| *edits <= most).min_by_key(|(edits, _)| *edits);
    near.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_name_and_another_word_finds_none() {
        let names = ["held", "failed", "ghosts", "echo_p95"];
        for (typed, meant) in [
            ("hedl", Some("held")),
            ("helt", Some("held")),
            ("faild", Some("failed")),
            ("echo_p96", Some("echo_p95")),
            ("speed", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, names), meant, "{typed}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), names), None);
    }
}
