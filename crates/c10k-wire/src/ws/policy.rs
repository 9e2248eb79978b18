//! Which requests a server lets in, and what it answers.

use std::borrow::Cow;

use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::Request;
use tungstenite::http::Uri;
use tungstenite::http::uri::Authority;

use super::handshake::accept_of;
use super::names::{Name, known};
use super::refusal::{self, Refusal};
use crate::http::fields::{Fields, Only, has_item};
use crate::http::head::is_token;

/// The path of the plain request that asks whether the server is alive, by GET or by HEAD as load balancers do.
const HEALTH_PATH: &str = "/healthz";
/// A longer target is left to the `http` crate, which has a limit of its own (65,534 bytes).
const MOST_PLAIN_TARGET_BYTES: usize = 1024;

/// Which paths, subprotocols and origins a server takes.
#[derive(Clone, Debug, Default)]
pub struct ServerPolicy {
    paths: Vec<String>,
    protocols: Vec<String>,
    origins: Vec<String>,
}

/// A part of a policy that can never match or may not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPolicy {
    /// A path that is none.
    #[error("path {0:?}: it must begin with / and have neither query nor fragment")]
    Path(String),
    /// A subprotocol whose name is not a token (RFC 9110 section 5.6.2).
    #[error("subprotocol {0:?}: a name of letters, digits and - . _ is needed, without spaces")]
    Protocol(String),
    /// An origin that no browser would send.
    #[error("origin {0:?}: it must be like https://example.org or https://example.org:8443, or null")]
    Origin(String),
}

impl ServerPolicy {
    /// Serves `paths` only, or any if there are none. Of the subprotocols that a client offers the first one of
    /// `protocols` is chosen; none of them is no reason to refuse. A request whose `Origin` is not one of
    /// `origins` is refused, unless there are none. One without `Origin` is let in: the list guards against
    /// pages that use their visitors' browsers, and browsers always send it (RFC 6455 section 10.2).
    ///
    /// # Errors
    /// The first entry that makes no sense.
    pub fn new(
        paths: Vec<String>,
        protocols: Vec<String>,
        mut origins: Vec<String>,
    ) -> Result<Self, BadPolicy> {
        let is_path = |path: &String| {
            path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#')
        };
        if let Some(bad) = paths.iter().find(|path| !is_path(path)) {
            return Err(BadPolicy::Path(bad.clone()));
        }
        for origin in &mut origins {
            origin.make_ascii_lowercase();
            let has_host = origin.split_once("://").is_some_and(|(scheme, host)| {
                is_token(scheme.as_bytes()) && !host.contains('/') && host.parse::<Authority>().is_ok()
            });
            if origin != "null" && !has_host {
                return Err(BadPolicy::Origin(origin.clone()));
            }
        }
        if let Some(bad) = protocols.iter().find(|protocol| !is_token(protocol.as_bytes())) {
            return Err(BadPolicy::Protocol(bad.clone()));
        }
        Ok(Self { paths, protocols, origins })
    }

    /// Judges a whole head and appends the response to it, whichever that is.
    pub(crate) fn answer(&self, head: &[u8], out: &mut Vec<u8>) -> Answer {
        let start = out.len();
        let answer = self.judge(head, out).unwrap_or_else(|refusal| {
            refusal.write(out);
            Answer::Refused(refusal)
        });
        if head.starts_with(b"HEAD ") {
            refusal::take_body(out, start);
        }
        answer
    }

    fn judge(&self, head: &[u8], out: &mut Vec<u8>) -> Result<Answer, Refusal> {
        let line = RequestLine::parse(head.split(|&byte| byte == b'\r').next().unwrap_or_default())?;
        let is_head = line.method == b"HEAD";
        if line.method != b"GET" && !(is_head && line.target_path() == HEALTH_PATH.as_bytes()) {
            return Err(Refusal::Method);
        }
        if !line.is_http_1_1 {
            if line.target_path() == HEALTH_PATH.as_bytes() {
                refusal::write_healthy(out);
                return Ok(Answer::Healthy);
            }
            return Err(Refusal::HttpVersion);
        }
        let path = line.path(head)?;
        let asked = Asked::of(Fields::of(head));
        if asked.has_body {
            return Err(Refusal::Body);
        }
        if !asked.host.one().is_some_and(is_host) {
            return Err(Refusal::Host);
        }
        if !asked.upgrades {
            if path == HEALTH_PATH.as_bytes() {
                refusal::write_healthy(out);
                return Ok(Answer::Healthy);
            }
            return Err(Refusal::NoUpgrade);
        }
        if is_head {
            return Err(Refusal::Method);
        }
        if !asked.connects {
            return Err(Refusal::Connection);
        }
        if asked.version.one().ok_or(Refusal::NoVersion)? != b"13" {
            return Err(Refusal::Version);
        }
        let key = asked.key.one().filter(|key| is_key(key)).ok_or(Refusal::Key)?;
        if !self.paths.is_empty() && !self.paths.iter().any(|served| served.as_bytes() == &*path) {
            return Err(Refusal::Path);
        }
        if !self.takes_origin(asked.origin) {
            return Err(Refusal::Origin);
        }
        // What tungstenite's `create_response` and `write_response` say, without the map of headers that they
        // build and print: that would be a third of all instructions of a handshake.
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
        );
        out.extend_from_slice(&accept_of(key));
        if let Some(protocol) = self.choose_protocol(Fields::of(head)) {
            out.extend_from_slice(b"\r\nSec-WebSocket-Protocol: ");
            out.extend_from_slice(protocol.as_bytes());
        }
        out.extend_from_slice(b"\r\n\r\n");
        Ok(Answer::Accepted)
    }

    fn takes_origin(&self, origin: Only<'_>) -> bool {
        if self.origins.is_empty() || origin == Only::None {
            return true;
        }
        let is_listed =
            |origin: &[u8]| self.origins.iter().any(|o| o.as_bytes().eq_ignore_ascii_case(origin));
        origin.one().is_some_and(is_listed)
    }

    fn choose_protocol(&self, fields: Fields<'_>) -> Option<&str> {
        if self.protocols.is_empty() {
            return None;
        }
        let mut offered = fields.list("sec-websocket-protocol");
        offered
            .find_map(|offer| self.protocols.iter().find(|protocol| protocol.as_bytes() == offer))
            .map(String::as_str)
    }
}

/// What the header fields of a request say.
#[derive(Debug, Default)]
struct Asked<'a> {
    host: Only<'a>,
    origin: Only<'a>,
    version: Only<'a>,
    key: Only<'a>,
    upgrades: bool,
    connects: bool,
    has_body: bool,
}

impl<'a> Asked<'a> {
    fn of(fields: Fields<'a>) -> Self {
        let mut asked = Self::default();
        for (name, value) in known(fields) {
            match name {
                Name::Host => asked.host.see(value),
                Name::Origin => asked.origin.see(value),
                Name::Version => asked.version.see(value),
                Name::Key => asked.key.see(value),
                Name::Upgrade => asked.upgrades |= has_item(value, "websocket"),
                Name::Connection => asked.connects |= has_item(value, "upgrade"),
                Name::ContentLength => asked.has_body |= value != b"0",
                Name::TransferEncoding => asked.has_body = true,
                Name::Accept | Name::Protocol | Name::Extensions | Name::Other => {}
            }
        }
        asked
    }
}

/// What has been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Accepted,
    Refused(Refusal),
    Healthy,
}

/// The first line of a request (RFC 9112 section 3).
#[derive(Debug)]
pub(crate) struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    /// Otherwise it is HTTP/1.0.
    is_http_1_1: bool,
}

impl<'a> RequestLine<'a> {
    /// Takes a first line apart. TLS, SSH, the preface of HTTP/2 and plain words end here.
    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, Refusal> {
        let mut parts = line.split(|&byte| byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Refusal::RequestLine);
        };
        if !is_token(method) || target.is_empty() || target.contains(&b'#') {
            return Err(Refusal::RequestLine);
        }
        match version {
            b"HTTP/1.1" => Ok(Self { method, target, is_http_1_1: true }),
            b"HTTP/1.0" => Ok(Self { method, target, is_http_1_1: false }),
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Refusal::HttpVersion),
            _ => Err(Refusal::RequestLine),
        }
    }

    /// The target without a query; of a plain one, its path.
    fn target_path(&self) -> &'a [u8] {
        self.target.split(|&byte| byte == b'?').next().unwrap_or_default()
    }

    /// The path that is asked for, in the line of this head. A plain one is seen by its bytes; tungstenite and the
    /// `http` crate judge all else.
    fn path(&self, head: &[u8]) -> Result<Cow<'a, [u8]>, Refusal> {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~%=&?".contains(byte);
        if self.target[0] == b'/'
            && self.target.len() <= MOST_PLAIN_TARGET_BYTES
            && self.target.iter().all(is_plain)
        {
            return Ok(self.target_path().into());
        }
        let Ok(Some((_, request))) = Request::try_parse(head) else { return Err(Refusal::RequestLine) };
        Ok(path_of(request.uri())?.as_bytes().to_vec().into())
    }
}

/// The path of `/path?query` or of `http://host/path?query`; other forms have none (RFC 6455 section 4.2.1).
fn path_of(uri: &Uri) -> Result<&str, Refusal> {
    let is_form = match uri.scheme_str() {
        None => uri.authority().is_none() && uri.path().starts_with('/'),
        Some(scheme) => scheme == "http" || scheme == "https",
    };
    if is_form { Ok(uri.path()) } else { Err(Refusal::RequestLine) }
}

/// Whether this is `host` or `host:port` (RFC 9110 section 7.2). A plain name or IPv4 address is seen by its
/// bytes; the `http` crate judges all else.
fn is_host(value: &[u8]) -> bool {
    let is_name = |name: &[u8]| {
        !name.is_empty() && name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
    };
    let is_plain = match value.iter().position(|&byte| byte == b':') {
        None => is_name(value),
        Some(at) => {
            is_name(&value[..at])
                && matches!(value.len() - at, 2..=5)
                && value[at + 1..].iter().all(u8::is_ascii_digit)
        }
    };
    is_plain || !value.contains(&b'@') && Authority::try_from(value).is_ok()
}

/// Whether this is 16 bytes in base64 (RFC 4648 section 4), in the one way to write them.
fn is_key(value: &[u8]) -> bool {
    let Some((digits, b"==")) = value.split_last_chunk() else { return false };
    // The last of 22 digits stands for two bits, and has four more that must be zero.
    digits.len() == 22
        && digits.iter().all(|&digit| digit.is_ascii_alphanumeric() || digit == b'+' || digit == b'/')
        && matches!(digits.last(), Some(b'A' | b'Q' | b'g' | b'w'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tungstenite::handshake::client::generate_key;
    use tungstenite::handshake::server::create_response;

    use super::*;

    #[test]
    fn a_response_and_a_key_are_what_tungstenite_makes_of_them() {
        let ask = |key: &str| {
            let head = format!(
                "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
            );
            let (_, request) = Request::try_parse(head.as_bytes()).unwrap().unwrap();
            let mut ours = Vec::new();
            let answer = ServerPolicy::default().answer(head.as_bytes(), &mut ours);
            (create_response(&request).ok(), answer, String::from_utf8(ours).unwrap())
        };
        for _ in 0..100 {
            let (theirs, answer, ours) = ask(&generate_key());
            assert_eq!(answer, Answer::Accepted);
            let theirs = theirs.unwrap();
            assert_eq!(ours.lines().count(), theirs.headers().len() + 2);
            for (name, value) in theirs.headers() {
                let line = format!("{name}: {}", value.to_str().unwrap());
                assert!(ours.lines().any(|ours| ours.eq_ignore_ascii_case(&line)), "{line} in {ours}");
            }
        }
        let sample = b"dGhlIHNhbXBsZSBub25jZQ==";
        for at in 0..sample.len() {
            for byte in 0x21..0x7f {
                let mut key = *sample;
                key[at] = byte;
                let (theirs, answer, _) = ask(std::str::from_utf8(&key).unwrap());
                assert_eq!(theirs.is_some(), answer == Answer::Accepted, "{key:?}");
            }
        }
    }

    #[test]
    fn a_policy_that_makes_no_sense_is_refused() {
        let list = |item: &str| vec![item.to_owned()];
        for path in ["", "chat", "/a b", "/a?b", "/a#b", "/\u{e9}"] {
            let policy = ServerPolicy::new(list(path), Vec::new(), Vec::new());
            assert!(matches!(policy, Err(BadPolicy::Path(_))), "{path}");
        }
        for protocol in ["", "a b", "a,b", "a\r\n"] {
            let policy = ServerPolicy::new(Vec::new(), list(protocol), Vec::new());
            assert!(matches!(policy, Err(BadPolicy::Protocol(_))), "{protocol}");
        }
        for origin in ["", "example.org", "https://", "https://example.org/", "https://a b"] {
            let policy = ServerPolicy::new(Vec::new(), Vec::new(), list(origin));
            assert!(matches!(policy, Err(BadPolicy::Origin(_))), "{origin}");
        }
        assert!(ServerPolicy::new(list("/a"), list("a.v1"), list("null")).is_ok());
    }

    proptest! {
        #[test]
        fn a_path_and_a_host_are_those_that_the_http_crate_sees(
            target in prop_oneof!["/[a-z0-9/._~%=&?+-]{0,20}", "[!-~]{1,20}", "http://[!-~]{1,20}"],
            host in prop_oneof!["[a-z0-9.:-]{0,12}", "[!-~]{0,12}"],
        ) {
            let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            if let Ok(line) = RequestLine::parse(head.lines().next().unwrap().as_bytes()) {
                let theirs = Request::try_parse(head.as_bytes()).ok().flatten();
                let theirs = theirs.and_then(|(_, request)| Some(path_of(request.uri()).ok()?.to_owned()));
                let ours = line.path(head.as_bytes()).ok();
                prop_assert_eq!(ours.as_deref(), theirs.as_ref().map(|path| path.as_bytes()));
            }
            let theirs = !host.contains('@') && Authority::try_from(host.as_str()).is_ok();
            prop_assert_eq!(is_host(host.as_bytes()), theirs);
        }
    }
}
