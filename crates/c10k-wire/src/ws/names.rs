//! The header fields that matter in an opening handshake.

use crate::http::fields::Fields;

/// Their names.
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

/// The fields that matter, with their values.
pub(crate) fn known(fields: Fields<'_>) -> impl Iterator<Item = (Name, &[u8])> {
    fields.map(|(name, value)| (Name::of(name), value)).filter(|&(name, _)| name != Name::Other)
}

#[cfg(test)]
mod tests {
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
}
