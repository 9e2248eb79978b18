//! The responses that open no WebSocket.

use std::io::Write;

use super::HeadFault;

/// What this server is, for a client that does not know it.
const WHAT_THIS_IS: &str = "This is a WebSocket server of the connection-capacity lab: ask for an upgrade (RFC 6455), or GET /healthz.";

/// Why a request does not open a connection. Each has one status and one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// 400, or 431 when a limit is at fault: the head breaks the rules of HTTP or the limits.
    Malformed(HeadFault),
    /// 400: the first line is no request line.
    RequestLine,
    /// 505: HTTP/1.0, HTTP/2 or what may come.
    HttpVersion,
    /// 405: not GET.
    Method,
    /// 400: a request with a body; what follows it is frames to one reader and body to another.
    Body,
    /// 400: `Host` is missing, doubled or not a host.
    Host,
    /// 426: no `Upgrade: websocket`, plain HTTP.
    NoUpgrade,
    /// 400: no `Connection: Upgrade`.
    Connection,
    /// 400: `Sec-WebSocket-Version` is missing or doubled.
    NoVersion,
    /// 426: `Sec-WebSocket-Version` is not 13; the response says that 13 is spoken.
    Version,
    /// 400: `Sec-WebSocket-Key` is missing, doubled or not 16 bytes in base64.
    Key,
    /// 404: nothing is served under this path.
    Path,
    /// 403: `Origin` is not on the list, or doubled.
    Origin,
    /// 408: the request was not whole in time.
    Late,
}

impl Refusal {
    /// All of them, a fault of the head once for each status.
    pub const ALL: [Self; 16] = [
        Self::Malformed(HeadFault::Byte),
        Self::Malformed(HeadFault::TooLong),
        Self::Malformed(HeadFault::TooManyHeaders),
        Self::RequestLine,
        Self::HttpVersion,
        Self::Method,
        Self::Body,
        Self::Host,
        Self::NoUpgrade,
        Self::Connection,
        Self::NoVersion,
        Self::Version,
        Self::Key,
        Self::Path,
        Self::Origin,
        Self::Late,
    ];

    /// The HTTP status of the response.
    #[must_use]
    pub fn status(self) -> u16 {
        self.facts().1
    }

    /// The name it is counted under.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// Name, status, its words, and a line for the body.
    fn facts(self) -> (&'static str, u16, &'static str, &'static str) {
        const BAD: &str = "Bad Request";
        match self {
            Self::Malformed(fault @ (HeadFault::TooLong | HeadFault::TooManyHeaders)) => {
                let name = if fault == HeadFault::TooLong {
                    "handshake-too-long"
                } else {
                    "handshake-too-many-headers"
                };
                (name, 431, "Request Header Fields Too Large", "The head of the request is over the limit.")
            }
            Self::Malformed(_) => {
                ("handshake-malformed", 400, BAD, "The head of the request breaks the rules of HTTP.")
            }
            Self::RequestLine => {
                ("handshake-not-http", 400, BAD, "The first line is no request line of HTTP.")
            }
            Self::HttpVersion => {
                ("handshake-http-version", 505, "HTTP Version Not Supported", "HTTP/1.1 is spoken here.")
            }
            Self::Method => ("handshake-method", 405, "Method Not Allowed", "Only GET is served."),
            Self::Body => ("handshake-body", 400, BAD, "The request may have no body."),
            Self::Host => ("handshake-host", 400, BAD, "There must be one Host header, with a host."),
            Self::NoUpgrade => ("handshake-no-upgrade", 426, "Upgrade Required", WHAT_THIS_IS),
            Self::Connection => ("handshake-connection", 400, BAD, "Upgrade without Connection: Upgrade."),
            Self::NoVersion => {
                ("handshake-no-version", 400, BAD, "There must be one Sec-WebSocket-Version header.")
            }
            Self::Version => {
                ("handshake-version", 426, "Upgrade Required", "Sec-WebSocket-Version 13 is spoken here.")
            }
            Self::Key => (
                "handshake-key",
                400,
                BAD,
                "There must be one Sec-WebSocket-Key header of 16 bytes in base64.",
            ),
            Self::Path => ("handshake-path", 404, "Not Found", "Nothing is served under this path."),
            Self::Origin => ("handshake-origin", 403, "Forbidden", "This Origin is not on the list."),
            Self::Late => ("handshake-timeout", 408, "Request Timeout", "The request was not whole in time."),
        }
    }

    /// Appends the response.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let (_, status, words, body) = self.facts();
        let extra = match self {
            // RFC 9110 section 15.5.22, RFC 6455 section 4.4.
            Self::NoUpgrade | Self::Version => {
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nConnection: Upgrade, close\r\n"
            }
            Self::Method => "Allow: GET\r\nConnection: close\r\n",
            _ => "Connection: close\r\n",
        };
        write_response(status, words, extra, body, out);
    }
}

impl From<HeadFault> for Refusal {
    fn from(fault: HeadFault) -> Self {
        Self::Malformed(fault)
    }
}

/// Appends the response to a plain request for `/healthz`.
pub(crate) fn write_healthy(out: &mut Vec<u8>) {
    write_response(200, "OK", "Connection: close\r\n", "ok", out);
}

/// Takes the body off the response at `start` of `out`: that to HEAD has none (RFC 9110 section 9.3.2).
pub(crate) fn take_body(out: &mut Vec<u8>, start: usize) {
    if let Some(end) = out[start..].windows(4).position(|window| window == b"\r\n\r\n") {
        out.truncate(start + end + 4);
    }
}

fn write_response(status: u16, words: &str, extra: &str, body: &str, out: &mut Vec<u8>) {
    let length = body.len() + 1;
    write!(
        out,
        "HTTP/1.1 {status} {words}\r\n{extra}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{body}\n",
    )
    .expect("a Vec takes whatever is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_every_refusal() {
        for (at, refusal) in Refusal::ALL.into_iter().enumerate() {
            // One that is new does not compile here, and belongs into the list then.
            let place = match refusal {
                Refusal::Malformed(HeadFault::TooLong) => 1,
                Refusal::Malformed(HeadFault::TooManyHeaders) => 2,
                Refusal::Malformed(_) => 0,
                Refusal::RequestLine => 3,
                Refusal::HttpVersion => 4,
                Refusal::Method => 5,
                Refusal::Body => 6,
                Refusal::Host => 7,
                Refusal::NoUpgrade => 8,
                Refusal::Connection => 9,
                Refusal::NoVersion => 10,
                Refusal::Version => 11,
                Refusal::Key => 12,
                Refusal::Path => 13,
                Refusal::Origin => 14,
                Refusal::Late => 15,
            };
            assert_eq!(place, at);
        }
    }

    #[test]
    fn each_refusal_has_a_name_of_its_own_and_a_whole_response() {
        let names: std::collections::BTreeSet<_> =
            Refusal::ALL.iter().map(|refusal| refusal.name()).collect();
        assert_eq!(names.len(), Refusal::ALL.len());
        for refusal in Refusal::ALL {
            let mut out = Vec::new();
            refusal.write(&mut out);
            let text = String::from_utf8(out).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", refusal.status())), "{head}");
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{text}");
            assert!(head.contains("close"), "{head}");
        }
    }

    #[test]
    fn both_426_say_which_version_is_spoken() {
        for refusal in [Refusal::NoUpgrade, Refusal::Version] {
            let mut out = Vec::new();
            refusal.write(&mut out);
            let text = String::from_utf8(out).unwrap();
            assert!(text.starts_with("HTTP/1.1 426 "), "{text}");
            assert!(text.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{text}");
            assert!(text.contains("\r\nUpgrade: websocket\r\n"), "{text}");
        }
    }
}
