//! The errors of connections by their names, numbers and words.

use super::text::Text;

/// One error as the kernel and as programs call it.
#[derive(Clone, Copy, Debug)]
pub struct Symptom {
    /// Its name in errno(3), or a name of ours.
    pub outcome: &'static str,
    /// Its number on Linux, where it has one.
    pub number: Option<u64>,
    /// The words of strerror(3), and those that programs put in their place.
    pub words: &'static [&'static str],
}

const fn of(outcome: &'static str, number: u64, words: &'static [&'static str]) -> Symptom {
    Symptom { outcome, number: Some(number), words }
}

/// Errors that people search for: the words of glibc, of musl and of the run times of languages.
pub static SYMPTOMS: &[Symptom] = &[
    of(
        "EMFILE",
        24,
        &[
            "too many open files",
            "no file descriptors available",
            "out of file descriptors",
            "descriptor table full",
            "too many open sockets",
            "too many open file",
            "too many files open",
            "accept out of system resource",
        ],
    ),
    of("ENFILE", 23, &["too many open files in system", "file table overflow"]),
    of(
        "EADDRNOTAVAIL",
        99,
        &[
            "cannot assign requested address",
            "can't assign requested address",
            "address not available",
            "addr not available",
            "failed to assign requested address",
        ],
    ),
    of("EADDRINUSE", 98, &["address already in use", "address in use", "addr in use"]),
    of("ECONNRESET", 104, &["connection reset by peer", "connection reset", "error net reset"]),
    of("ECONNABORTED", 103, &["software caused connection abort", "connection aborted"]),
    of("ETIMEDOUT", 110, &["connection timed out", "i/o timeout", "operation timed out"]),
    of("ECONNREFUSED", 111, &["connection refused"]),
    of("ENETDOWN", 100, &["network is down"]),
    of("ENETUNREACH", 101, &["network is unreachable", "network unreachable"]),
    of(
        "EHOSTUNREACH",
        113,
        &["no route to host", "host is unreachable", "host unreachable", "address unreachable"],
    ),
    of("EBUSY", 16, &["device or resource busy", "resource busy"]),
    of("EAGAIN", 11, &["resource temporarily unavailable", "operation would block"]),
    of("ENOBUFS", 105, &["no buffer space available"]),
    of(
        "ENOMEM",
        12,
        &["cannot allocate memory", "out of memory", "not enough memory", "no memory available"],
    ),
    of("ENOSPC", 28, &["no space left on device"]),
    of("EPERM", 1, &["operation not permitted"]),
    of("EACCES", 13, &["permission denied"]),
    of("EINVAL", 22, &["invalid argument"]),
    of("EPIPE", 32, &["broken pipe"]),
];

/// What is said where no errno is: less exact, and asked last.
static LOOSE: &[Symptom] = &[
    Symptom {
        outcome: "ETIMEDOUT",
        number: None,
        words: &[
            "timed out",
            "timeout exception|error|exceeded|expired|reached|occurred|elapsed|while|awaiting|waiting",
            "timeout .. elapsing",
            "connect|connection|read|write|handshake|response|request|reset timeout",
            "timeout $",
            "time out error|exceeded|expired",
            "timeout specified . expired",
            "deadline exceeded",
            "deadline has elapsed",
            "esockettimedout",
        ],
    },
    Symptom {
        outcome: "ENOMEM",
        number: None,
        words: &["cannot|unable|failed . allocate .. memory", "memory allocation . failed", "bad alloc"],
    },
    Symptom {
        outcome: "closed",
        number: None,
        words: &[
            "socket hang up",
            "empty reply",
            "unexpected eof",
            "end of file",
            "prematurely closed",
            "premature close",
            "closed connection without response",
            "connection closed",
            "connection was closed",
            "closed the connection",
            "closed by server|remote|peer|the",
            "failed to respond",
            "connection termination",
            "server disconnected",
            "eof $",
            "eofexception",
            "connection .. to .. closed",
            "transport is closing",
            "transport endpoint is not connected",
            "connection unexpectedly closed",
            "side closed",
            "server has gone away",
            "lost connection to",
            "going away",
            "transport close|error",
            "closed|close|disconnected|code 1006",
            "empty response",
        ],
    },
    Symptom {
        outcome: "connect-failed",
        number: None,
        words: &[
            "failed to connect",
            "unable to connect",
            "could not connect",
            "cant|cannot|couldnt connect",
            "connect failed",
            "connect call failed",
            "connection failure",
            "socket failure",
        ],
    },
];

/// What a number follows that is an errno.
const LEADS: &str = "errno|oserror|error|err|exception";
/// What a negative number follows that is an errno, as io_uring and the kernel write it.
const NEGATIVE_LEADS: &str = "ret|res|rc|returned|failed|result|errno";

/// The error that a text names: by its name, else by its words, else by its number.
pub(super) fn error_in(text: &Text) -> Option<&'static str> {
    named(text).or_else(|| worded(text)).or_else(|| numbered(text))
}

/// The error that a text seems to speak of.
pub(super) fn loose_error_in(text: &Text) -> Option<&'static str> {
    let said = |outcome: &str, words: &str| {
        // `connect_timeout 60s` is a setting; `failed to connect to` and `expired (70007)` are none.
        let may_be_set = outcome == "ETIMEDOUT" && words.ends_with("timeout");
        let is_set = |at: usize| may_be_set && is_setting(text, at + words.split(' ').count());
        text.find(&as_pattern(words)).is_some_and(|at| !is_denied(text, at) && !is_set(at))
    };
    // Not the longest: what ended first says more than what came of it.
    LOOSE
        .iter()
        .find(|error| error.words.iter().any(|words| said(error.outcome, words)))
        .map(|error| error.outcome)
}

/// Whether a text has a number of Windows or a name of its sockets.
pub(super) fn is_of_windows(text: &Text) -> bool {
    text.has("wsa*")
        || numbers(text).any(|(_, number)| (10_004..=11_031).contains(&number))
        || text.has("only one usage of each socket address")
        || text.has("target machine actively refused")
        || text.has("forcibly closed by the remote host")
        || text.has("lacked sufficient buffer space")
}

fn named(text: &Text) -> Option<&'static str> {
    let said = text.words.iter().enumerate().filter(|(at, word)| word.before != '/' && !is_denied(text, *at));
    said.flat_map(|(_, word)| SYMPTOMS.iter().find(|error| error.outcome.eq_ignore_ascii_case(&word.text)))
        .map(|error| error.outcome)
        .next()
}

/// The most exact words win: "too many open files in system" is not "too many open files".
fn worded(text: &Text) -> Option<&'static str> {
    let pairs =
        SYMPTOMS.iter().flat_map(|error| error.words.iter().map(move |words| (error.outcome, *words)));
    let found =
        pairs.filter(|(_, words)| text.find(&as_pattern(words)).is_some_and(|at| !is_denied(text, at)));
    // The first of those that are as long.
    found
        .reduce(|best, next| if next.1.len() > best.1.len() { next } else { best })
        .map(|(outcome, _)| outcome)
}

/// The words of an error as a text has them.
fn as_pattern(words: &str) -> String {
    words.replace('\'', "").replace('/', " ")
}

fn numbered(text: &Text) -> Option<&'static str> {
    numbers(text)
        .find_map(|(_, number)| SYMPTOMS.iter().find(|error| error.number == Some(number)))
        .map(|error| error.outcome)
}

/// The numbers of a text that are an errno by what stands beside them.
fn numbers(text: &Text) -> impl Iterator<Item = (usize, u64)> {
    (0..text.words.len()).filter_map(|at| {
        let number = text.number(at)?;
        // The number in a path or behind a point is another's.
        let word = text.words.get(at).filter(|word| !['/', '.'].contains(&word.before))?;
        let lead = at.checked_sub(1).and_then(|last| text.words.get(last));
        let second = at.checked_sub(2).and_then(|last| text.words.get(last));
        let follows = |leads: &str| lead.is_some_and(|lead| leads.split('|').any(|one| one == lead.text));
        // Rust's `Os { code: 24 }`.
        let of_rust = follows("code") && second.is_some_and(|second| second.text == "os");
        // nginx's `(24: Too many open files)`.
        let of_nginx = word.before == '(' && word.behind == ':';
        // MySQL's `(99)`; smaller numbers stand in brackets for much else.
        let in_brackets = word.before == '('
            && word.behind == ')'
            && number > 90
            && text.has("connect|socket")
            && !text.has("curl");
        let negative = word.before == '-' && follows(NEGATIVE_LEADS);
        (follows(LEADS) || of_rust || of_nginx || in_brackets || negative).then_some((at, number))
    })
}

/// Whether a text says that what begins at this word is not there.
fn is_denied(text: &Text, at: usize) -> bool {
    at.checked_sub(1)
        .is_some_and(|last| ["no", "without", "never", "0"].contains(&text.words[last].text.as_str()))
}

/// Whether a value follows, as in `connect_timeout 60s`: nothing has happened then.
fn is_setting(text: &Text, behind: usize) -> bool {
    text.words.get(behind).is_some_and(|next| {
        next.text.starts_with(|first: char| first.is_ascii_digit())
            || ["is", "to", "set"].contains(&&*next.text)
    })
}
