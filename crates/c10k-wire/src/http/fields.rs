//! The header fields of a head, read where they lie.
//!
//! [`Scan`](super::head::Scan) has passed the head before: its lines end with CR LF, each has a colon, names are
//! tokens and values have no control characters. A map of them, as the `http` crate builds it, would be half of all
//! instructions of a handshake, and who reads a head looks at a dozen names, once.

use memchr::memchr;

/// The header fields of a whole head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    /// What follows the first line.
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Those of a whole head, its first line and its empty line included.
    pub(crate) fn of(head: &'a [u8]) -> Self {
        let first_line = memchr(b'\n', head).map_or(head.len(), |at| at + 1);
        Self { rest: &head[first_line..] }
    }

    /// The items of all lines of this name, which is that of a list (RFC 9110 section 5.6.1).
    pub(crate) fn list(self, wanted: &str) -> impl Iterator<Item = &'a [u8]> {
        self.filter(move |&(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()))
            .flat_map(|(_, value)| items(value))
    }
}

/// Name and value of each line, without the white space around the value.
impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr(b'\r', self.rest)?;
        let (line, rest) = self.rest.split_at(end);
        let colon = memchr(b':', line)?;
        self.rest = rest.get(2..).unwrap_or_default();
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    }
}

/// Whether a value that is a list has this item, in small letters or not.
pub(crate) fn has_item(value: &[u8], wanted: &str) -> bool {
    // Most lists have one item.
    value.eq_ignore_ascii_case(wanted.as_bytes())
        || items(value).any(|item| item.eq_ignore_ascii_case(wanted.as_bytes()))
}

pub(crate) fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// The value of a field that may be there once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Only<'a> {
    #[default]
    None,
    One(&'a [u8]),
    /// More than once, whether the same or not.
    Many,
}

impl<'a> Only<'a> {
    /// It was there with this value.
    pub(crate) fn see(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::None => Self::One(value),
            Self::One(_) | Self::Many => Self::Many,
        };
    }

    /// The value, if it was there exactly once.
    pub(crate) fn one(self) -> Option<&'a [u8]> {
        match self {
            Self::One(value) => Some(value),
            Self::None | Self::Many => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tungstenite::handshake::client::Response;
    use tungstenite::handshake::machine::TryParse;
    use tungstenite::handshake::server::Request;
    use tungstenite::http::HeaderMap;

    use super::super::head::{FirstLine, Found, HeadLimits, Scan};
    use super::*;

    #[test]
    fn a_field_that_is_there_twice_is_not_there_once() {
        let mut only = Only::default();
        assert_eq!(only.one(), None);
        only.see(b"a");
        assert_eq!(only.one(), Some(&b"a"[..]));
        only.see(b"a");
        assert_eq!((only, only.one()), (Only::Many, None));
    }

    /// The end of a head that passes the scan.
    fn scanned(first_line: FirstLine, head: &[u8]) -> Option<usize> {
        let limits = HeadLimits { max_bytes: 8 << 10, max_headers: 64 };
        let mut scan = Scan::default();
        loop {
            match scan.run(first_line, limits, head).ok()? {
                Found::FirstLine(_) => {}
                Found::End(length) => return Some(length),
                Found::More => return None,
            }
        }
    }

    fn is_the_same(ours: Fields<'_>, theirs: &HeaderMap) {
        let lower = |name: &[u8]| name.to_ascii_lowercase();
        let mut ours: Vec<_> = ours.map(|(name, value)| (lower(name), value.to_vec())).collect();
        let mut theirs: Vec<_> = theirs
            .iter()
            .map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()))
            .collect();
        // A map keeps the order of one name's values only, and so does a stable sort by name.
        ours.sort_by(|a, b| a.0.cmp(&b.0));
        theirs.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(ours, theirs);
    }

    fn lines() -> impl Strategy<Value = Vec<u8>> {
        let name = "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}|[Uu]pgrade|[Cc]onnection|[Hh][Oo][Ss][Tt]";
        let value = "[ \\t]{0,3}([!-~\u{80}-\u{ff}]([ -~\u{80}-\u{ff}\\t]{0,20}[!-~])?)?[ \\t]{0,3}";
        let line = (name, value).prop_map(|(name, value)| format!("{name}:{value}\r\n").into_bytes());
        proptest::collection::vec(line, 0..8).prop_map(|lines| lines.concat())
    }

    proptest! {
        #[test]
        fn what_the_scan_passes_reads_as_tungstenite_reads_it(lines in lines()) {
            let request = [&b"GET / HTTP/1.1\r\n"[..], &lines, b"\r\n"].concat();
            prop_assert_eq!(scanned(FirstLine::Request, &request), Some(request.len()));
            let (_, theirs) = Request::try_parse(&request).unwrap().unwrap();
            is_the_same(Fields::of(&request), theirs.headers());
            let response = [&b"HTTP/1.1 101 S\r\n"[..], &lines, b"\r\n"].concat();
            prop_assert_eq!(scanned(FirstLine::Status, &response), Some(response.len()));
            let (_, theirs) = Response::try_parse(&response).unwrap().unwrap();
            is_the_same(Fields::of(&response), theirs.headers());
        }

        #[test]
        fn any_bytes_that_the_scan_passes_are_a_head_to_tungstenite_too(
            reason in "[ -~\u{80}-\u{ff}\\t]{0,12}",
            bytes in proptest::collection::vec(
                prop_oneof![Just(b':'), Just(b'\r'), Just(b'\n'), Just(b' '), Just(b'\t'), any::<u8>()], 0..24),
        ) {
            let head = [b"HTTP/1.1 101 ", reason.as_bytes(), b"\r\n", &bytes, b"\r\n\r\n"].concat();
            if let Some(length) = scanned(FirstLine::Status, &head) {
                let (_, theirs) = Response::try_parse(&head[..length]).unwrap().unwrap();
                is_the_same(Fields::of(&head[..length]), theirs.headers());
            }
        }
    }
}
