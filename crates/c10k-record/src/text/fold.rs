//! Lines that fit a width.

/// Least room for text, however narrow the terminal, columns.
const LEAST: usize = 24;

/// Text that hangs beside what stands before its first line.
#[derive(Clone, Copy, Debug)]
pub struct Hanging {
    /// Columns before every line.
    pub column: usize,
    /// Columns of a line in all.
    pub width: usize,
}

impl Hanging {
    /// Columns that are left for text.
    #[must_use]
    pub fn room(self) -> usize {
        self.width.saturating_sub(self.column).max(LEAST)
    }

    /// The text folded, with `before` in front of its first line and as many spaces in front of the others.
    #[must_use]
    pub fn lines(self, before: &str, text: &str) -> Vec<String> {
        let column = self.column;
        let folded = fold(text, self.room()).into_iter().enumerate();
        folded
            .map(|(n, part)| {
                let before = if n == 0 { before } else { "" };
                format!("{before:<column$}{part}").trim_end().to_owned()
            })
            .collect()
    }
}

/// Folds text at spaces; a word longer than the width stands alone and whole.
#[must_use]
pub fn fold(text: &str, width: usize) -> Vec<String> {
    let at_spaces = textwrap::Options::new(width)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .wrap_algorithm(textwrap::WrapAlgorithm::FirstFit);
    let words: Vec<&str> = text.split_whitespace().collect();
    textwrap::wrap(&words.join(" "), at_spaces).into_iter().map(std::borrow::Cow::into_owned).collect()
}

/// Folds a command at spaces so that it can still be pasted: a line that goes on ends in a backslash, and nothing between
/// apostrophes or quotation marks is divided.
#[must_use]
pub fn fold_command(command: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words_of(command) {
        match lines.last_mut() {
            // Room for the space and the backslash of a line that goes on.
            Some(line) if line.chars().count() + word.chars().count() + 3 <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    let last = lines.len().saturating_sub(1);
    lines.iter_mut().take(last).for_each(|line| line.push_str(" \\"));
    lines
}

/// The words of a command, with their apostrophes and quotation marks.
fn words_of(command: &str) -> Vec<&str> {
    let (mut words, mut from, mut within) = (Vec::new(), 0, None);
    for (at, c) in command.char_indices() {
        match (c, within) {
            ('\'' | '"', None) => within = Some(c),
            (c, Some(mark)) if c == mark => within = None,
            (' ', None) => {
                words.push(&command[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    words.push(&command[from..]);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_hangs_beside_what_stands_before_it() {
        let hanging = Hanging { column: 6, width: 32 };
        assert_eq!(
            hanging.lines("  a", "one two three four five six seven"),
            ["  a   one two three four five", "      six seven"]
        );
        assert_eq!(Hanging { column: 60, width: 40 }.room(), LEAST);
    }

    #[test]
    fn a_command_that_is_folded_is_the_same_command() {
        let command = "c10k-lab run --verdict 'echo_p95 <= 100ms' --target 100k --ips 127.0.0.1-127.0.0.4";
        let lines = fold_command(command, 40);
        assert_eq!(
            lines,
            [
                "c10k-lab run --verdict \\",
                "'echo_p95 <= 100ms' --target 100k \\",
                "--ips 127.0.0.1-127.0.0.4"
            ]
        );
        assert!(lines.iter().all(|line| line.chars().count() <= 40));
        let again: Vec<&str> = lines.iter().map(|line| line.trim_end_matches(" \\")).collect();
        assert_eq!(again.join(" "), command);
        assert_eq!(fold_command(command, 200), [command]);
    }
}
