//! The counters of errors that load generators end with.

use super::text::Text;

/// A counter, and what each of those that it counts would have said.
static COUNTERS: &[(&str, &str)] = &[
    ("connect", "connects-failed"),
    ("read", "read ECONNRESET"),
    ("write", "write EPIPE"),
    ("timeout", "read timed out"),
    ("fd unavail", "client EMFILE"),
    ("addrunavail", "client EADDRNOTAVAIL"),
    ("ftab full", "client ENFILE"),
    ("connrefused", "client ECONNREFUSED"),
    ("connreset", "read ECONNRESET"),
    ("client|socket timo", "read timed out"),
];

/// What is counted, where a text is such a line: the counters that are not zero, in their order.
pub(super) fn counted(text: &Text) -> Option<Vec<&'static str>> {
    if !text.has("errors") {
        return None;
    }
    let read = COUNTERS.iter().filter_map(|(label, said)| {
        let at = text.find(&format!("{label} *"))?;
        let number = text.number(at + label.split(' ').count())?;
        Some((number, *said))
    });
    let read: Vec<(u64, &str)> = read.collect();
    // One number beside one word may be anything.
    (read.len() > 1)
        .then(|| read.into_iter().filter(|(number, _)| *number > 0).map(|(_, said)| said).collect())
}
