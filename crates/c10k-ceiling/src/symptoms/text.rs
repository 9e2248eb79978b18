//! A text as words, and the patterns that are looked for in it.

/// How many words the gaps of a pattern may hold.
const GAP_WORDS: usize = 6;
const SMALL_GAP_WORDS: usize = 2;

/// One word, in lower case, with what stands before and behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) before: char,
    pub(super) behind: char,
}

/// What a program said, as words: letters and digits, divided at everything else and inside `ConnectTimeout`.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) words: Vec<Word>,
}

impl Text {
    pub(super) fn of(said: &str) -> Self {
        let chars: Vec<char> = said.chars().collect();
        let at = |index: Option<usize>| index.and_then(|index| chars.get(index)).copied().unwrap_or(' ');
        let mut words: Vec<Word> = Vec::new();
        let mut word = String::new();
        let mut before = ' ';
        for (index, now) in chars.iter().copied().enumerate() {
            let (last, next) = (at(index.checked_sub(1)), at(Some(index + 1)));
            if "'’".contains(now) && last.is_alphabetic() && next.is_alphabetic() {
                // can't is one word.
                continue;
            }
            let hump = last.is_lowercase() && now.is_uppercase();
            if !now.is_alphanumeric() || hump {
                if !word.is_empty() {
                    words.push(Word { text: std::mem::take(&mut word), before, behind: now });
                }
                before = if hump { last } else { now };
            }
            if now.is_alphanumeric() {
                word.extend(now.to_lowercase());
            }
        }
        if !word.is_empty() {
            words.push(Word { text: word, before, behind: ' ' });
        }
        Self { words }
    }

    /// Whether a pattern is in it. A pattern is one or more sequences with `&` between them, all of which must be
    /// there. A sequence is words in their order: `a|b` either, `a*` what begins so, `*` any word, `/` one behind a
    /// slash, `.` a gap of up to two words and `..` of up to six, `^` and `$` the ends of the text. The empty pattern is
    /// in every text.
    pub(super) fn has(&self, pattern: &str) -> bool {
        pattern.is_empty() || pattern.split(" & ").all(|sequence| self.find(sequence).is_some())
    }

    /// The first word of a sequence where it is in the text.
    pub(super) fn find(&self, sequence: &str) -> Option<usize> {
        let elements: Vec<&str> = sequence.split(' ').collect();
        (0..=self.words.len()).find(|at| self.matches(&elements, *at))
    }

    fn matches(&self, elements: &[&str], at: usize) -> bool {
        match elements {
            [] => true,
            ["^", rest @ ..] => at == 0 && self.matches(rest, at),
            ["$", rest @ ..] => at == self.words.len() && self.matches(rest, at),
            [".", rest @ ..] => (at..=at + SMALL_GAP_WORDS).any(|next| self.matches(rest, next)),
            ["..", rest @ ..] => (at..=at + GAP_WORDS).any(|next| self.matches(rest, next)),
            ["/", rest @ ..] => {
                self.words.get(at).is_some_and(|word| word.before == '/') && self.matches(rest, at + 1)
            }
            [element, rest @ ..] => {
                self.words.get(at).is_some_and(|word| is_one_of(&word.text, element))
                    && self.matches(rest, at + 1)
            }
        }
    }

    /// The number that a word is.
    pub(super) fn number(&self, at: usize) -> Option<u64> {
        self.words.get(at).and_then(|word| word.text.parse().ok())
    }
}

fn is_one_of(word: &str, element: &str) -> bool {
    element.split('|').any(|choice| match choice.strip_suffix('*') {
        Some(beginning) => word.starts_with(beginning),
        None => word == choice,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_divided_at_signs_and_humps_and_not_in_the_middle() {
        let words = |said: &str| Text::of(said).words.into_iter().map(|word| word.text).collect::<Vec<_>>();
        assert_eq!(words("can't accept4() (24: x)"), ["cant", "accept4", "24", "x"]);
        assert_eq!(
            words("ConnectTimeoutException:nf_conntrack"),
            ["connect", "timeout", "exception", "nf", "conntrack"]
        );
        assert_eq!(words("code: 'EMFILE'"), ["code", "emfile"]);
        let path = Text::of("/log/EMFILE.txt").words;
        assert_eq!((path[1].before, path[1].behind), ('/', '.'));
    }

    #[test]
    fn a_pattern_holds_words_choices_gaps_and_ends() {
        let text = Text::of("VFS: file-max limit 1048576 reached");
        for pattern in [
            "",
            "file max",
            "limit * reached",
            "vfs .. reached",
            "^ vfs",
            "reached $",
            "fi*|x max",
            "vfs . limit",
        ] {
            assert!(text.has(pattern), "{pattern}");
        }
        for pattern in [
            "file limit",
            "ile max",
            "^ file",
            "limit $",
            "vfs & unreached",
            "vfs . reached",
            "/",
            "reached *",
        ] {
            assert!(!text.has(pattern), "{pattern}");
        }
    }
}
