//! A handshake under way, and what a client makes of the server's response.

use std::borrow::Cow;

use data_encoding::BASE64;
use sha1::{Digest, Sha1};

use super::names::{Name, known};
use super::{Limits, Role};
use crate::http::fields::{Fields, Only, has_item, items};
use crate::http::head::{FirstLine, Found, HeadFault, Scan};

/// Length of a `Sec-WebSocket-Accept` value: 20 bytes in base64.
pub(crate) const ACCEPT_BYTES: usize = 28;

/// The `Sec-WebSocket-Accept` that answers a key (RFC 6455 section 4.2.2, item 5.4), without an allocation.
pub(crate) fn accept_of(key: &[u8]) -> [u8; ACCEPT_BYTES] {
    let hash = Sha1::new().chain_update(key).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let mut accept = [0; ACCEPT_BYTES];
    BASE64.encode_mut(&hash, &mut accept);
    accept
}

/// What is kept until the peer's head is whole.
#[derive(Debug, Default)]
pub(crate) struct Handshake {
    bytes: Vec<u8>,
    scan: Scan,
    /// The present head is not the one that is awaited: another one follows it.
    is_interim: bool,
    /// Client: the `Sec-WebSocket-Accept` that answers its key.
    accept: Option<[u8; ACCEPT_BYTES]>,
}

impl Handshake {
    /// That of a client, which expects this `Sec-WebSocket-Accept`.
    pub(crate) fn expecting(accept: [u8; ACCEPT_BYTES]) -> Self {
        Self { accept: Some(accept), ..Self::default() }
    }

    /// What a client expects.
    pub(crate) fn accept(&self) -> [u8; ACCEPT_BYTES] {
        self.accept.unwrap_or_default()
    }

    /// Bytes on the heap, this value itself not counted.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether anything of the head has come.
    pub(crate) fn has_begun(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// What is kept of the head, with all that came after it.
    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Takes in `input`. Once the head is whole, gives it and says how much of `input` belongs to it; a head that
    /// came in one piece is not copied. `check_first` judges the first line as soon as that is there, and says whether
    /// the head is only an interim one, to be read past.
    pub(crate) fn gather<'a, E: From<HeadFault>>(
        &'a mut self,
        role: Role,
        limits: &Limits,
        input: &'a [u8],
        check_first: impl Fn(&[u8]) -> Result<bool, E>,
    ) -> Result<Option<(&'a [u8], usize)>, E> {
        let before = self.bytes.len();
        if before > 0 {
            let room = (limits.max_handshake_bytes as usize + 1).saturating_sub(before);
            self.bytes.extend_from_slice(&input[..room.min(input.len())]);
        }
        let bytes = if before > 0 { &self.bytes } else { input };
        let first_line = match role {
            Role::Server => FirstLine::Request,
            Role::Client => FirstLine::Status,
        };
        let end = loop {
            match self.scan.run(first_line, limits.head(), bytes)? {
                Found::FirstLine(end) => self.is_interim = check_first(&bytes[self.scan.begin()..end])?,
                Found::End(_) if self.is_interim => self.scan.look_for_next(),
                Found::End(end) => break Some(end),
                Found::More => break None,
            }
        };
        match end {
            None if before == 0 => self.bytes = input.to_vec(),
            None => {}
            Some(end) => {
                let bytes = if before > 0 { &self.bytes } else { input };
                return Ok(Some((&bytes[self.scan.begin()..end], end - before)));
            }
        }
        Ok(None)
    }
}

/// Why a server's response does not open a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HandshakeFault {
    /// It is HTTP neither in its first line nor elsewhere.
    NotHttp,
    /// Its head breaks the rules of HTTP, or the limits.
    Malformed(HeadFault),
    /// 101 in another version than HTTP/1.1.
    HttpVersion,
    /// Another final status than 101.
    Status(u16),
    /// No `Upgrade: websocket`.
    Upgrade,
    /// No `Connection: Upgrade`.
    Connection,
    /// `Sec-WebSocket-Accept` is missing, doubled, or does not answer the key.
    Accept,
    /// An extension, though none was asked for.
    Extension,
    /// A subprotocol that was not asked for, or more than one.
    Protocol,
}

impl HandshakeFault {
    /// All of them, a fault of the head once for each name, and one status.
    pub const ALL: [Self; 11] = [
        Self::NotHttp,
        Self::Malformed(HeadFault::Byte),
        Self::Malformed(HeadFault::TooLong),
        Self::Malformed(HeadFault::TooManyHeaders),
        Self::HttpVersion,
        Self::Status(429),
        Self::Upgrade,
        Self::Connection,
        Self::Accept,
        Self::Extension,
        Self::Protocol,
    ];

    /// The name it is counted under.
    #[must_use]
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Self::NotHttp => "handshake-not-http".into(),
            Self::Malformed(HeadFault::TooLong) => "handshake-too-long".into(),
            Self::Malformed(HeadFault::TooManyHeaders) => "handshake-too-many-headers".into(),
            Self::Malformed(_) => "handshake-malformed".into(),
            Self::HttpVersion => "handshake-http-version".into(),
            Self::Status(status) => format!("handshake-status-{status}").into(),
            Self::Upgrade => "handshake-bad-upgrade".into(),
            Self::Connection => "handshake-bad-connection".into(),
            Self::Accept => "handshake-bad-accept".into(),
            Self::Extension => "handshake-bad-extension".into(),
            Self::Protocol => "handshake-bad-protocol".into(),
        }
    }
}

impl From<HeadFault> for HandshakeFault {
    fn from(fault: HeadFault) -> Self {
        Self::Malformed(fault)
    }
}

/// Judges a status line (RFC 9112 section 4): a refusal is known with it, whatever body follows. True for an interim
/// response, of which any number may come before the one that counts (RFC 9110 section 15.2).
pub(crate) fn check_status_line(line: &[u8]) -> Result<bool, HandshakeFault> {
    let digits = line.strip_prefix(b"HTTP/1.").and_then(|rest| match rest {
        [b'0'..=b'9', b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => Some([a, b, c]),
        [b'0'..=b'9', b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..] => Some([a, b, c]),
        _ => None,
    });
    let digits = digits.ok_or(HandshakeFault::NotHttp)?;
    let status = digits.iter().fold(0, |sum, &&digit| 10 * sum + u16::from(digit - b'0'));
    match status {
        101 if line.starts_with(b"HTTP/1.1 ") => Ok(false),
        101 => Err(HandshakeFault::HttpVersion),
        100..200 => Ok(true),
        _ => Err(HandshakeFault::Status(status)),
    }
}

/// Judges a whole head with status 101 (RFC 6455 section 4.1, the client's list of six).
pub(crate) fn check_response(head: &[u8], accept: &[u8], protocols: &[String]) -> Result<(), HandshakeFault> {
    let (mut upgrade, mut given, mut protocol) = (Only::None, Only::None, Only::None);
    let (mut connects, mut extends) = (false, false);
    for (name, value) in known(Fields::of(head)) {
        match name {
            Name::Upgrade => upgrade.see(value),
            Name::Connection => connects |= has_item(value, "upgrade"),
            Name::Accept => given.see(value),
            // A list of none names none (RFC 9110 section 5.6.1).
            Name::Extensions => extends |= items(value).any(|item| !item.is_empty()),
            Name::Protocol => protocol.see(value),
            _ => {}
        }
    }
    if !upgrade.one().is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) {
        return Err(HandshakeFault::Upgrade);
    }
    if !connects {
        return Err(HandshakeFault::Connection);
    }
    if given.one() != Some(accept) {
        return Err(HandshakeFault::Accept);
    }
    if extends {
        return Err(HandshakeFault::Extension);
    }
    let is_asked = |value: &[u8]| protocols.iter().any(|protocol| protocol.as_bytes() == value);
    if protocol != Only::None && !protocol.one().is_some_and(is_asked) {
        return Err(HandshakeFault::Protocol);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_every_fault_and_each_a_name_of_its_own() {
        for (at, fault) in HandshakeFault::ALL.into_iter().enumerate() {
            // One that is new does not compile here, and belongs into the list then.
            let place = match fault {
                HandshakeFault::NotHttp => 0,
                HandshakeFault::Malformed(HeadFault::TooLong) => 2,
                HandshakeFault::Malformed(HeadFault::TooManyHeaders) => 3,
                HandshakeFault::Malformed(_) => 1,
                HandshakeFault::HttpVersion => 4,
                HandshakeFault::Status(_) => 5,
                HandshakeFault::Upgrade => 6,
                HandshakeFault::Connection => 7,
                HandshakeFault::Accept => 8,
                HandshakeFault::Extension => 9,
                HandshakeFault::Protocol => 10,
            };
            assert_eq!(place, at);
        }
        let names: std::collections::BTreeSet<_> =
            HandshakeFault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), HandshakeFault::ALL.len());
    }

    #[test]
    fn an_interim_response_is_read_past_wherever_it_is_cut() {
        let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        let head = b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n";
        let all = [&interim[..], interim, head, b"behind"].concat();
        for cut in 0..all.len() - b"behind".len() {
            let mut handshake = Handshake::default();
            let mut gather = |input: &[u8]| {
                let gathered = handshake.gather(Role::Client, &Limits::default(), input, check_status_line);
                gathered.map(|found| found.map(|(head, consumed)| (head.to_vec(), consumed)))
            };
            assert_eq!(gather(&all[..cut]), Ok(None), "cut at {cut}");
            let consumed = all.len() - b"behind".len() - cut;
            assert_eq!(gather(&all[cut..]), Ok(Some((head.to_vec(), consumed))), "cut at {cut}");
        }
    }
}
