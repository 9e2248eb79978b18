//! The header fields of a head, read where they lie.
//!
//! [`Scan`](super::head::Scan) has passed the head before: its lines end with CR LF, each has a colon, names are
//! tokens and values have no control characters. A map of them, as the `http` crate builds it, would be half of all
//! instructions of a handshake, and an opening handshake looks at a dozen names, once.

use memchr::memchr;

/// The header fields of a whole head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    /// What follows the first line.
    rest: &'a [u8],
}

/// The names that matter in an opening handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Host,
    Origin,
    Upgrade,
    Connection,
    ContentLength,
    TransferEncoding,
    Key,
    Accept,
    Version,
    Protocol,
    Extensions,
    Other,
}

impl Name {
    /// Names are compared without regard to case (RFC 9110 section 5.1).
    fn of(name: &[u8]) -> Self {
        let (candidate, text): (_, &[u8]) = match name.len() {
            4 => (Self::Host, b"host"),
            6 => (Self::Origin, b"origin"),
            7 => (Self::Upgrade, b"upgrade"),
            10 => (Self::Connection, b"connection"),
            14 => (Self::ContentLength, b"content-length"),
            17 if name[0] | 0x20 == b's' => (Self::Key, b"sec-websocket-key"),
            17 => (Self::TransferEncoding, b"transfer-encoding"),
            20 => (Self::Accept, b"sec-websocket-accept"),
            21 => (Self::Version, b"sec-websocket-version"),
            22 => (Self::Protocol, b"sec-websocket-protocol"),
            24 => (Self::Extensions, b"sec-websocket-extensions"),
            _ => return Self::Other,
        };
        if name.eq_ignore_ascii_case(text) { candidate } else { Self::Other }
    }
}

impl<'a> Fields<'a> {
    /// Those of a whole head, its first line and its empty line included.
    pub(crate) fn of(head: &'a [u8]) -> Self {
        let first_line = memchr(b'\n', head).map_or(head.len(), |at| at + 1);
        Self { rest: &head[first_line..] }
    }

    /// The items of all lines of this name, which is that of a list (RFC 9110 section 5.6.1).
    pub(crate) fn list(self, wanted: Name) -> impl Iterator<Item = &'a [u8]> {
        self.filter(move |&(name, _)| Name::of(name) == wanted).flat_map(|(_, value)| items(value))
    }

    /// The names that matter, with their values.
    pub(crate) fn known(self) -> impl Iterator<Item = (Name, &'a [u8])> {
        self.map(|(name, value)| (Name::of(name), value)).filter(|&(name, _)| name != Name::Other)
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

    use super::super::head::{Found, Scan};
    use super::super::{Limits, Role};
    use super::*;

    #[test]
    fn every_name_that_matters_is_known_in_any_case_and_no_other_of_its_length() {
        for (text, name) in [
            ("Host", Name::Host),
            ("ORIGIN", Name::Origin),
            ("upgrade", Name::Upgrade),
            ("Connection", Name::Connection),
            ("content-LENGTH", Name::ContentLength),
            ("Transfer-Encoding", Name::TransferEncoding),
            ("Sec-WebSocket-Key", Name::Key),
            ("sec-websocket-accept", Name::Accept),
            ("Sec-WebSocket-Version", Name::Version),
            ("Sec-WebSocket-Protocol", Name::Protocol),
            ("Sec-WebSocket-Extensions", Name::Extensions),
        ] {
            assert_eq!(Name::of(text.as_bytes()), name, "{text}");
            let other = format!("{}_", &text[..text.len() - 1]);
            assert_eq!(Name::of(other.as_bytes()), Name::Other, "{other}");
        }
    }

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
    fn scanned(role: Role, head: &[u8]) -> Option<usize> {
        let mut scan = Scan::default();
        loop {
            match scan.run(role, &Limits::default(), head).ok()? {
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
            prop_assert_eq!(scanned(Role::Server, &request), Some(request.len()));
            let (_, theirs) = Request::try_parse(&request).unwrap().unwrap();
            is_the_same(Fields::of(&request), theirs.headers());
            let response = [&b"HTTP/1.1 101 S\r\n"[..], &lines, b"\r\n"].concat();
            prop_assert_eq!(scanned(Role::Client, &response), Some(response.len()));
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
            if let Some(length) = scanned(Role::Client, &head) {
                let (_, theirs) = Response::try_parse(&head[..length]).unwrap().unwrap();
                is_the_same(Fields::of(&head[..length]), theirs.headers());
            }
        }
    }
}
