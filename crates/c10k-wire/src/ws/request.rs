//! The request that a client sends.

use tungstenite::handshake::client::{Request, generate_key, generate_request};
use tungstenite::http::Uri;
use tungstenite::http::header::{HeaderName, HeaderValue};

use super::handshake::{ACCEPT_BYTES, accept_of};
use crate::http::head::is_token;

/// Stands for the key in the template.
const NO_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA==";

/// Where a client connects: `ws://host[:port][/path][?query]` (RFC 6455 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(Uri);

/// What cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// Not a URL of this kind.
    #[error("URL {0:?}: it must be like ws://host:9000/path")]
    Url(String),
    /// `wss`: what goes through TLS is not measured here.
    #[error("URL {0:?}: wss (TLS) is not spoken, only ws")]
    Tls(String),
    /// A header that is malformed or is the handshake's own business.
    #[error("header {0:?}: malformed, or set by the handshake itself")]
    Header(String),
    /// A subprotocol whose name is not a token, or that is there twice.
    #[error("subprotocol {0:?}: a name of letters, digits and - . _ is needed, once")]
    Protocol(String),
}

impl Url {
    /// Parses a URL.
    ///
    /// # Errors
    /// [`BadRequest::Url`], [`BadRequest::Tls`].
    pub fn parse(text: &str) -> Result<Self, BadRequest> {
        let bad = || BadRequest::Url(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| bad())?;
        match uri.scheme_str() {
            Some("ws") => {}
            Some("wss") => return Err(BadRequest::Tls(text.to_owned())),
            _ => return Err(bad()),
        }
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        // RFC 6455 section 3: no fragment; and what stands before an @ would have to be sent as a header.
        if !has_host || authority.contains('@') || authority.ends_with(':') || text.contains('#') {
            return Err(bad());
        }
        // A port over 65535 is no port to `Uri`, which then has none.
        if uri.port().is_none() && !authority.ends_with(uri.host().unwrap_or_default()) {
            return Err(bad());
        }
        Ok(Self(uri))
    }

    /// The host to look up; an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.0.host().unwrap_or_default();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port; 80 when none is given.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(80)
    }
}

/// The request of all connections of a client, but for the key, which is each one's own.
#[derive(Clone, Debug)]
pub struct ClientRequest {
    template: Vec<u8>,
    key_at: usize,
    protocols: Vec<String>,
}

impl ClientRequest {
    /// A request for `url` that offers `protocols` and has these headers besides. `Host` may be among them and
    /// replaces the URL's.
    ///
    /// # Errors
    /// [`BadRequest::Header`], [`BadRequest::Protocol`].
    pub fn new(url: &Url, protocols: &[String], headers: &[(String, String)]) -> Result<Self, BadRequest> {
        let text = url.0.authority().map_or("", |authority| authority.as_str());
        let path = url.0.path_and_query().map_or("/", |path| path.as_str());
        let bad_url = || BadRequest::Url(url.0.to_string());
        let mut request = Request::new(());
        // Without scheme and host: only the path is asked for. A URL may have a query and no path.
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        *request.uri_mut() = path.parse().map_err(|_| bad_url())?;
        let to = request.headers_mut();
        to.insert("Host", HeaderValue::from_str(text).map_err(|_| bad_url())?);
        to.insert("Connection", HeaderValue::from_static("Upgrade"));
        to.insert("Upgrade", HeaderValue::from_static("websocket"));
        to.insert("Sec-WebSocket-Version", HeaderValue::from_static("13"));
        to.insert("Sec-WebSocket-Key", HeaderValue::from_static(NO_KEY));
        if let Some(bad) = bad_protocol(protocols) {
            return Err(BadRequest::Protocol(bad.clone()));
        }
        if !protocols.is_empty() {
            let value = HeaderValue::from_str(&protocols.join(", "));
            to.insert(
                "Sec-WebSocket-Protocol",
                value.map_err(|_| BadRequest::Protocol(protocols.join(", ")))?,
            );
        }
        let mut has_host = false;
        for (name, value) in headers {
            let bad = || BadRequest::Header(format!("{name}: {value}"));
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
            let value = HeaderValue::from_str(value).map_err(|_| bad())?;
            if parsed == "host" && !has_host {
                has_host = true;
                to.insert(parsed, value);
            } else if is_own_business(parsed.as_str()) {
                return Err(bad());
            } else {
                to.append(parsed, value);
            }
        }
        let (template, _) = generate_request(request).map_err(|_| bad_url())?;
        let before_key = b"\r\nSec-WebSocket-Key: ";
        let found = template.windows(before_key.len()).position(|window| window == before_key);
        let key_at = found.ok_or_else(bad_url)? + before_key.len();
        Ok(Self { template, key_at, protocols: protocols.to_vec() })
    }

    /// Appends the request with a key of its own, and gives the `Sec-WebSocket-Accept` that answers it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> [u8; ACCEPT_BYTES] {
        let key = generate_key();
        let start = out.len();
        out.extend_from_slice(&self.template);
        let at = start + self.key_at;
        out[at..at + key.len()].copy_from_slice(key.as_bytes());
        accept_of(key.as_bytes())
    }

    pub(crate) fn protocols(&self) -> &[String] {
        &self.protocols
    }
}

fn bad_protocol(protocols: &[String]) -> Option<&String> {
    let is_double = |at: usize| protocols[..at].contains(&protocols[at]);
    protocols
        .iter()
        .enumerate()
        .find(|(at, name)| !is_token(name.as_bytes()) || is_double(*at))
        .map(|(_, name)| name)
}

/// Headers that would make the request another one than is sent and checked here.
fn is_own_business(name: &str) -> bool {
    let names = ["host", "connection", "upgrade", "content-length", "transfer-encoding"];
    names.contains(&name) || name.starts_with("sec-websocket-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str, headers: &[(&str, &str)]) -> Result<String, BadRequest> {
        let headers: Vec<_> = headers.iter().map(|&(name, value)| (name.into(), value.into())).collect();
        let request = ClientRequest::new(&Url::parse(url)?, &["a".into(), "b".into()], &headers)?;
        let mut out = Vec::new();
        request.write(&mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_request_has_what_the_standard_asks_for_and_what_was_added() {
        let text = request("ws://[::1]:9000/a?b=c", &[("X-Load", "1")]).unwrap();
        assert!(text.starts_with("GET /a?b=c HTTP/1.1\r\nHost: [::1]:9000\r\n"), "{text}");
        for line in ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "x-load: 1"] {
            assert!(text.contains(&format!("\r\n{line}\r\n")), "{line} in {text}");
        }
        assert!(text.contains("\r\nSec-WebSocket-Protocol: a, b\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n") && !text.contains(NO_KEY));
    }

    #[test]
    fn keys_and_what_answers_them_are_each_connections_own() {
        let request = ClientRequest::new(&Url::parse("ws://h").unwrap(), &[], &[]).unwrap();
        let (mut first, mut second) = (Vec::new(), Vec::new());
        assert_ne!(request.write(&mut first), request.write(&mut second));
        assert_ne!(first, second);
        assert_eq!(first.len(), second.len());
    }

    #[test]
    fn host_and_port_are_found_and_a_host_may_be_replaced() {
        let url = Url::parse("ws://[::1]/x").unwrap();
        assert_eq!((url.host(), url.port()), ("::1", 80));
        let url = Url::parse("ws://lab.example:9000").unwrap();
        assert_eq!((url.host(), url.port()), ("lab.example", 9000));
        let text = request("ws://127.0.0.1:1?q", &[("Host", "other")]).unwrap();
        assert!(text.starts_with("GET /?q HTTP/1.1\r\nHost: other\r\n"), "{text}");
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused() {
        for url in
            ["", "x", "http://h/", "ws://", "ws:///p", "ws://h:99999/", "ws://h:/", "ws://u@h/", "ws://h/#f"]
        {
            assert!(matches!(Url::parse(url), Err(BadRequest::Url(_))), "{url}");
        }
        assert!(matches!(Url::parse("wss://h/"), Err(BadRequest::Tls(_))));
        for (name, value) in [
            ("Sec-WebSocket-Key", "x"),
            ("Connection", "close"),
            ("Content-Length", "1"),
            ("a b", "c"),
            ("a", "b\r\nc: d"),
        ] {
            assert!(matches!(request("ws://h", &[(name, value)]), Err(BadRequest::Header(_))), "{name}");
        }
        let url = Url::parse("ws://h").unwrap();
        for protocols in [vec![String::new()], vec!["a b".into()], vec!["a".into(), "a".into()]] {
            assert!(matches!(ClientRequest::new(&url, &protocols, &[]), Err(BadRequest::Protocol(_))));
        }
    }
}
