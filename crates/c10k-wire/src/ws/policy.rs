//! Which requests a server lets in, and what it answers.

use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response, write_response};
use tungstenite::http::header::HeaderValue;
use tungstenite::http::uri::Authority;
use tungstenite::http::{HeaderMap, Uri};

use super::handshake::{has_token, list, only};
use super::head::is_token;
use super::refusal::{self, Refusal};

/// The path of the plain request that asks whether the server is alive.
const HEALTH_PATH: &str = "/healthz";

/// Which paths, subprotocols and origins a server takes.
#[derive(Clone, Debug, Default)]
pub struct ServerPolicy {
    paths: Vec<String>,
    protocols: Vec<HeaderValue>,
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
        protocols: &[String],
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
                is_token(scheme) && !host.contains('/') && host.parse::<Authority>().is_ok()
            });
            if origin != "null" && !has_host {
                return Err(BadPolicy::Origin(origin.clone()));
            }
        }
        let value = |protocol: &String| {
            let value = HeaderValue::from_str(protocol).ok().filter(|_| is_token(protocol));
            value.ok_or_else(|| BadPolicy::Protocol(protocol.clone()))
        };
        let protocols = protocols.iter().map(value).collect::<Result<_, _>>()?;
        Ok(Self { paths, protocols, origins })
    }

    /// Judges a whole head and appends the response to it, whichever that is.
    pub(crate) fn answer(&self, head: &[u8], out: &mut Vec<u8>) -> Answer {
        match self.judge(head, out) {
            Ok(answer) => answer,
            Err(refusal) => {
                refusal.write(out);
                Answer::Refused(refusal)
            }
        }
    }

    fn judge(&self, head: &[u8], out: &mut Vec<u8>) -> Result<Answer, Refusal> {
        let line = RequestLine::parse(head.split(|&byte| byte == b'\r').next().unwrap_or_default())?;
        if line.method != b"GET" {
            return Err(Refusal::Method);
        }
        if !line.is_http_1_1 {
            if line.target == HEALTH_PATH.as_bytes() {
                refusal::write_healthy(out);
                return Ok(Answer::Healthy);
            }
            return Err(Refusal::HttpVersion);
        }
        let Ok(Some((_, mut request))) = Request::try_parse(head) else { return Err(Refusal::RequestLine) };
        let path = path_of(request.uri())?;
        let headers = request.headers();
        if headers.contains_key("Transfer-Encoding")
            || headers.get_all("Content-Length").iter().any(|length| length != "0")
        {
            return Err(Refusal::Body);
        }
        if !only(headers, "Host").is_some_and(is_host) {
            return Err(Refusal::Host);
        }
        if !has_token(headers, "Upgrade", "websocket") {
            if path == HEALTH_PATH {
                refusal::write_healthy(out);
                return Ok(Answer::Healthy);
            }
            return Err(Refusal::NoUpgrade);
        }
        if !has_token(headers, "Connection", "upgrade") {
            return Err(Refusal::Connection);
        }
        if only(headers, "Sec-WebSocket-Version").ok_or(Refusal::NoVersion)? != b"13" {
            return Err(Refusal::Version);
        }
        if only(headers, "Sec-WebSocket-Key").is_none() {
            return Err(Refusal::Key);
        }
        if !self.paths.is_empty() && !self.paths.iter().any(|served| served == path) {
            return Err(Refusal::Path);
        }
        if !self.takes_origin(headers) {
            return Err(Refusal::Origin);
        }
        let protocol = self.choose_protocol(headers);
        // Both are lists of tokens, of which the right one was found above; what makes the response knows the
        // plainest form of them only.
        let headers = request.headers_mut();
        headers.insert("Upgrade", HeaderValue::from_static("websocket"));
        headers.insert("Connection", HeaderValue::from_static("Upgrade"));
        // All else it looks at has been looked at: what is left to be wrong is the key.
        let mut response = create_response(&request).map_err(|_| Refusal::Key)?;
        if let Some(protocol) = protocol {
            response.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        }
        write_response(out, &response).expect("a Vec takes whatever is written to it");
        Ok(Answer::Accepted)
    }

    fn takes_origin(&self, headers: &HeaderMap) -> bool {
        if self.origins.is_empty() || !headers.contains_key("Origin") {
            return true;
        }
        let is_listed =
            |origin: &[u8]| self.origins.iter().any(|o| o.as_bytes().eq_ignore_ascii_case(origin));
        only(headers, "Origin").is_some_and(is_listed)
    }

    fn choose_protocol(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if self.protocols.is_empty() {
            return None;
        }
        let mut offered = list(headers, "Sec-WebSocket-Protocol");
        offered.find_map(|offer| self.protocols.iter().find(|protocol| protocol.as_bytes() == offer)).cloned()
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
        if !std::str::from_utf8(method).is_ok_and(is_token) || target.is_empty() || target.contains(&b'#') {
            return Err(Refusal::RequestLine);
        }
        match version {
            b"HTTP/1.1" => Ok(Self { method, target, is_http_1_1: true }),
            b"HTTP/1.0" => Ok(Self { method, target, is_http_1_1: false }),
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Refusal::HttpVersion),
            _ => Err(Refusal::RequestLine),
        }
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

fn is_host(value: &[u8]) -> bool {
    !value.contains(&b'@') && Authority::try_from(value).is_ok()
}
