//! A label and its text as a page of the guide has them.

use c10k_record::fold;

/// The width of a page, columns: that of a terminal.
pub(super) const WIDTH: usize = 80;
/// Where the text of a page begins, columns.
pub(super) const INDENT: usize = 18;

/// A name and what it is, as a page begins.
pub(super) fn title(name: &str, said: &str) -> String {
    format!("{}\n", fold(&format!("{name}: {said}"), WIDTH).join("\n"))
}

/// A label and its text, folded at spaces to the width of the page.
pub(super) fn paragraph(label: &str, said: &str) -> String {
    let (first, others) = (format!("  {label:<width$}", width = INDENT - 2), " ".repeat(INDENT));
    let page = textwrap::Options::new(WIDTH)
        .initial_indent(&first)
        .subsequent_indent(&others)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .wrap_algorithm(textwrap::WrapAlgorithm::FirstFit);
    let words: Vec<&str> = said.split_whitespace().collect();
    format!("{}\n", textwrap::fill(&words.join(" "), page))
}
