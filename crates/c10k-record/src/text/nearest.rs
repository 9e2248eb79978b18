//! The name that somebody may have meant.

/// The candidate that differs from `text` by the fewest letters; `None` where all differ by more than a third of what
/// was typed, which is no slip of the finger.
#[must_use]
pub fn nearest<S: AsRef<str>>(text: &str, candidates: impl IntoIterator<Item = S>) -> Option<S> {
    // Only so much of a text is looked at: nobody mistypes a name of many lines.
    let text: Vec<char> = text.chars().take(100).collect();
    let most = (text.len() / 3).max(1);
    let near = candidates.into_iter().map(|candidate| (edits(&text, candidate.as_ref()), candidate));
    let near = near.filter(|(edits, _)| *edits <= most).min_by_key(|(edits, _)| *edits);
    near.map(|(_, candidate)| candidate)
}

/// Letters to insert, remove or replace, or neighbours to swap, to make one of the other (optimal string alignment).
fn edits(from: &[char], to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut least = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[to.len()]
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
