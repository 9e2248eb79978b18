//! The head of an HTTP message, found and checked byte by byte.
//!
//! Each byte is looked at once, however many reads it takes to arrive, and the verdict does not depend on how
//! they were cut. What HTTP merely tolerates (RFC 9112: a bare LF, a folded line, an empty line in front) is
//! refused: no program of today sends it, and where two parties read a head differently there is a hole. By hand, since
//! httparse takes some of that and begins anew with each read.

use std::fmt;

/// What a head begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstLine {
    /// A method, a target and a version.
    Request,
    /// A version, a status and its words.
    Status,
}

/// How much of a head is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeadLimits {
    /// Its last empty line included; of all heads together where one follows another.
    pub(crate) max_bytes: u32,
    pub(crate) max_headers: u16,
}

/// What is wrong with a head, before its meaning is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadFault {
    /// A byte that may not stand where it stands: a control character, NUL, a space in a header's name, anything
    /// beyond ASCII outside a header's value.
    Byte,
    /// An LF without a CR, or a CR without an LF.
    LineEnd,
    /// An empty line where the first line should be.
    EmptyFirstLine,
    /// A header continued on the next line.
    Folded,
    /// A header line without a colon, or without a name in front of it.
    Nameless,
    /// Longer than it may be.
    TooLong,
    /// More lines than it may have.
    TooManyHeaders,
}

impl fmt::Display for HeadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Byte => "a character that may not stand there",
            Self::LineEnd => "a line that does not end with CR LF",
            Self::EmptyFirstLine => "an empty first line",
            Self::Folded => "a folded header line",
            Self::Nameless => "a header line without a name",
            Self::TooLong => "a head over the limit",
            Self::TooManyHeaders => "too many header lines",
        })
    }
}

/// How far a head has been looked at.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    at: u32,
    /// Where the present head begins.
    begin: u32,
    headers: u16,
    place: Place,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    #[default]
    FirstLine,
    FirstLineEnd,
    LineStart,
    Name,
    Value,
    ValueEnd,
    HeadEnd,
}

/// What a look at the next bytes has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing yet.
    More,
    /// The first line ends here, its CR LF not included. The scan is to be run on.
    FirstLine(usize),
    /// The head ends here, its empty line included.
    End(usize),
}

impl Scan {
    /// The head that was found is not the one that is looked for: another one follows it. The limits are those of all
    /// together.
    pub(crate) fn look_for_next(&mut self) {
        (self.begin, self.place) = (self.at, Place::FirstLine);
    }

    /// Where the present head begins.
    pub(crate) fn begin(&self) -> usize {
        self.begin as usize
    }

    /// Looks at what of `bytes`, which begin with the first head, was not looked at before.
    pub(crate) fn run(
        &mut self,
        first_line: FirstLine,
        limits: HeadLimits,
        bytes: &[u8],
    ) -> Result<Found, HeadFault> {
        let most = limits.max_bytes as usize;
        loop {
            self.skip(first_line, &bytes[..most.min(bytes.len())]);
            let at = self.at as usize;
            let Some(&byte) = bytes.get(at) else { return Ok(Found::More) };
            if at >= most {
                return Err(HeadFault::TooLong);
            }
            self.at += 1;
            self.place = match (self.place, byte) {
                (Place::FirstLine, b'\r') if at == self.begin() => return Err(HeadFault::EmptyFirstLine),
                (Place::FirstLine, b'\r') => Place::FirstLineEnd,
                (Place::FirstLineEnd, b'\n') => {
                    self.place = Place::LineStart;
                    return Ok(Found::FirstLine(at - 1));
                }
                (Place::LineStart, b'\r') => Place::HeadEnd,
                (Place::LineStart, b' ' | b'\t') => return Err(HeadFault::Folded),
                (Place::Name, b':') => Place::Value,
                (Place::LineStart, b':') | (Place::Name, b'\r') => return Err(HeadFault::Nameless),
                (Place::LineStart, byte) if is_token_byte(byte) => {
                    self.headers += 1;
                    if self.headers > limits.max_headers {
                        return Err(HeadFault::TooManyHeaders);
                    }
                    Place::Name
                }
                (Place::Value, b'\r') => Place::ValueEnd,
                (Place::ValueEnd, b'\n') => Place::LineStart,
                (Place::HeadEnd, b'\n') => return Ok(Found::End(at + 1)),
                (Place::FirstLineEnd | Place::ValueEnd | Place::HeadEnd, _) | (_, b'\n') => {
                    return Err(HeadFault::LineEnd);
                }
                _ => return Err(HeadFault::Byte),
            };
        }
    }

    /// Goes past the bytes that change nothing: almost all there are.
    fn skip(&mut self, first_line: FirstLine, bytes: &[u8]) {
        let class = match (self.place, first_line) {
            (Place::FirstLine, FirstLine::Request) => REQUEST_LINE,
            // The words of a status line may be anything that a value may be.
            (Place::FirstLine, FirstLine::Status) | (Place::Value, _) => VALUE,
            (Place::Name, _) => TOKEN,
            _ => return,
        };
        let rest = bytes.get(self.at as usize..).unwrap_or_default();
        let count = rest.iter().position(|&byte| CLASSES[usize::from(byte)] & class == 0);
        self.at += count.unwrap_or(rest.len()) as u32;
    }
}

/// A byte of a token (RFC 9110 section 5.6.2).
const TOKEN: u8 = 1;
/// A byte of a header's value (section 5.5), obsolete text included.
const VALUE: u8 = 2;
/// A byte of a request line: visible, or a space.
const REQUEST_LINE: u8 = 4;

/// To which of them each byte belongs.
const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        if matches!(value, b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
            || matches!(value, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
        {
            classes[byte] |= TOKEN;
        }
        if matches!(value, b'\t' | b' '..=b'~' | 0x80..) {
            classes[byte] |= VALUE;
        }
        if matches!(value, b' '..=b'~') {
            classes[byte] |= REQUEST_LINE;
        }
        byte += 1;
    }
    classes
};

/// Whether this is a token, such as a subprotocol's name.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

fn is_token_byte(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & TOKEN != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(head: &[u8]) -> Result<Found, HeadFault> {
        let limits = HeadLimits { max_headers: 3, max_bytes: 64 };
        let mut verdicts = std::collections::BTreeSet::new();
        let mut last = Ok(Found::More);
        for step in 1..=head.len() {
            let mut scan = Scan::default();
            let mut end = 0;
            last = loop {
                end = (end + step).min(head.len());
                match scan.run(FirstLine::Request, limits, &head[..end]) {
                    Ok(Found::FirstLine(_)) => end -= step.min(end),
                    Ok(Found::More) if end < head.len() => {}
                    verdict => break verdict,
                }
            };
            verdicts.insert(format!("{last:?}"));
        }
        assert_eq!(verdicts.len(), 1, "the cut decides: {verdicts:?}");
        last
    }

    #[test]
    fn the_end_is_found_and_what_follows_is_not_looked_at() {
        assert_eq!(verdict(b"GET / HTTP/1.1\r\nA: b\r\n\r\n\n\0"), Ok(Found::End(24)));
        assert_eq!(verdict(b"GET / HTTP/1.1\r\nA: b\r\n\r"), Ok(Found::More));
    }

    #[test]
    fn each_fault_is_found_however_the_head_was_cut() {
        for (head, fault) in [
            (&b"\r\nGET / HTTP/1.1\r\n\r\n"[..], HeadFault::EmptyFirstLine),
            (b"\nGET / HTTP/1.1\r\n\r\n", HeadFault::LineEnd),
            (b"GET / HTTP/1.1\n\n", HeadFault::LineEnd),
            (b"GET / HTTP/1.1\r\r", HeadFault::LineEnd),
            (b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", HeadFault::LineEnd),
            (b"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", HeadFault::LineEnd),
            (b"GET / HTTP/1.1\r\nA: b\r\n\rx", HeadFault::LineEnd),
            (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", HeadFault::Folded),
            (b"GET / HTTP/1.1\r\n c: d\r\n\r\n", HeadFault::Folded),
            (b"GET / HTTP/1.1\r\nA\r\n\r\n", HeadFault::Nameless),
            (b"GET / HTTP/1.1\r\n: b\r\n\r\n", HeadFault::Nameless),
            (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", HeadFault::Byte),
            (b"GET / HTTP/1.1\r\nA: \0\r\n\r\n", HeadFault::Byte),
            (b"GET / HTTP/1.1\r\nA: \x7f\r\n\r\n", HeadFault::Byte),
            (b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", HeadFault::Byte),
            (b"GET /\t HTTP/1.1\r\n\r\n", HeadFault::Byte),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", HeadFault::Byte),
            (b"GET / HTTP/1.1\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n\r\n", HeadFault::TooManyHeaders),
        ] {
            assert_eq!(verdict(head), Err(fault), "{}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn a_token_is_made_of_what_the_standard_says() {
        let tokens = (0..=255).filter(|&byte| is_token_byte(byte));
        assert_eq!(
            tokens.map(char::from).collect::<String>(),
            "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~"
        );
    }

    #[test]
    fn a_head_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
        let head = |size: usize| {
            let mut head = b"GET / HTTP/1.1\r\nA: ".to_vec();
            head.resize(size - 4, b'x');
            head.extend_from_slice(b"\r\n\r\n");
            head
        };
        assert_eq!(verdict(&head(64)), Ok(Found::End(64)));
        assert_eq!(verdict(&head(65)), Err(HeadFault::TooLong));
    }
}
