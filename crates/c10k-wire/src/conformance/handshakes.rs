//! Requests and responses, and what comes of them. Each name begins with the section of the standard that it is about:
//! RFC 6455's, or another one that is named.

/// The `Sec-WebSocket-Accept` that answers [`sample_request`] (RFC 6455 section 1.3).
pub const SAMPLE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const VERSION: (&str, &str) = ("Sec-WebSocket-Version", "13");

/// A request and a server's answer to it, under a policy that lets in all.
#[derive(Clone, Debug)]
pub struct Request {
    /// What it is about.
    pub name: &'static str,
    /// What the client sends.
    pub bytes: Vec<u8>,
    /// The status of the response.
    pub status: u16,
    /// What it is counted under; empty when it is accepted.
    pub outcome: &'static str,
}

/// A response and what a client makes of it that offered the subprotocols `a` and `b`.
#[derive(Clone, Debug)]
pub struct Response {
    /// What it is about.
    pub name: &'static str,
    /// What the server sends.
    pub bytes: Vec<u8>,
    /// What it is counted under; empty when it opens the connection.
    pub outcome: &'static str,
}

/// The request of RFC 6455 section 1.3, without what is optional.
#[must_use]
pub fn sample_request() -> Vec<u8> {
    build("GET /chat HTTP/1.1", &sample())
}

/// All cases of requests.
#[must_use]
pub fn requests() -> Vec<Request> {
    let mut cases = Vec::new();
    let mut case = |name, status, outcome, bytes| cases.push(Request { name, bytes, status, outcome });
    let line = |line: &str| build(line, &sample());
    // 4.2.1, what is taken.
    case("4.2.1 the sample of the standard", 101, "", sample_request());
    case("4.2.1 a query", 101, "", line("GET /chat?room=1 HTTP/1.1"));
    case("4.2.1 an absolute URI", 101, "", line("GET http://server.example.com/chat HTTP/1.1"));
    case("4.2.1 names and tokens in any case", 101, "", {
        String::from_utf8_lossy(&sample_request())
            .replace("Upgrade", "uPGRADE")
            .replace("websocket", "WebSocket")
            .into()
    });
    case("4.2.1 tokens in lists", 101, "", {
        let lists = with("Upgrade", &["h2c, websocket"], sample());
        build("GET / HTTP/1.1", &with("Connection", &["keep-alive ,\tUpgrade"], lists))
    });
    case("4.2.1 tokens on several lines", 101, "", {
        build("GET / HTTP/1.1", &with("Connection", &["keep-alive", "upgrade"], sample()))
    });
    case("9.1 an extension is offered and not taken", 101, "", {
        let offer = ["permessage-deflate; client_max_window_bits"];
        build("GET / HTTP/1.1", &with("Sec-WebSocket-Extensions", &offer, sample()))
    });
    case("RFC 9110 5.5 a value beyond ASCII in a header of no interest", 101, "", {
        build("GET / HTTP/1.1", &with("X-Name", &["J\u{f6}rg"], sample()))
    });
    case("4.2.2 a subprotocol that is not served", 101, "", {
        build("GET / HTTP/1.1", &with("Sec-WebSocket-Protocol", &["chat, superchat"], sample()))
    });
    // Plain HTTP.
    let host = || vec![("Host", "h".to_owned())];
    case(
        "4.2.1 a browser that was just curious",
        426,
        "handshake-no-upgrade",
        build("GET / HTTP/1.1", &host()),
    );
    case("4.2.1 another upgrade", 426, "handshake-no-upgrade", {
        build("GET / HTTP/1.1", &with("Upgrade", &["h2c"], sample()))
    });
    case("RFC 9110 9.3.1 is it alive", 200, "healthz", build("GET /healthz HTTP/1.1", &host()));
    case(
        "RFC 9110 9.3.1 is it alive, asked the old way",
        200,
        "healthz",
        build("GET /healthz HTTP/1.0", &[]),
    );
    case(
        "RFC 9110 9.3.1 is it alive, with a query",
        200,
        "healthz",
        build("GET /healthz?x=1 HTTP/1.1", &host()),
    );
    case(
        "RFC 9110 9.3.1 is it alive, the old way, with a query",
        200,
        "healthz",
        build("GET /healthz?x HTTP/1.0", &[]),
    );
    case("RFC 9110 9.3.2 is it alive, by HEAD", 200, "healthz", build("HEAD /healthz HTTP/1.1", &host()));
    case(
        "RFC 9110 9.3.2 is it alive, by HEAD, the old way",
        200,
        "healthz",
        build("HEAD /healthz HTTP/1.0", &[]),
    );
    case(
        "RFC 9110 9.3.2 a HEAD that would be a WebSocket",
        405,
        "handshake-method",
        line("HEAD /healthz HTTP/1.1"),
    );
    case("4.2.1 a WebSocket on the path of the health check", 101, "", line("GET /healthz HTTP/1.1"));
    case("4.2.1 another method", 405, "handshake-method", line("POST /chat HTTP/1.1"));
    case("4.2.1 HEAD", 405, "handshake-method", line("HEAD /chat HTTP/1.1"));
    case("4.2.1 CONNECT", 405, "handshake-method", line("CONNECT server.example.com:80 HTTP/1.1"));
    case("4.2.1 OPTIONS", 405, "handshake-method", line("OPTIONS * HTTP/1.1"));
    case("4.2.1 HTTP/1.0", 505, "handshake-http-version", line("GET /chat HTTP/1.0"));
    case("4.2.1 HTTP/2", 505, "handshake-http-version", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec());
    // 4.2.1, what is missing, doubled or wrong.
    case("4.2.1 no Host", 400, "handshake-host", request_with("Host", &[]));
    case("RFC 9112 3.2 two Hosts", 400, "handshake-host", request_with("Host", &["a", "a"]));
    case("RFC 9112 3.2 a Host that is none", 400, "handshake-host", request_with("Host", &["a b"]));
    case("4.2.1 an empty Host", 400, "handshake-host", request_with("Host", &[""]));
    case("RFC 9110 4.2.4 a Host with a user", 400, "handshake-host", request_with("Host", &["u@h"]));
    case("4.2.1 no Connection", 400, "handshake-connection", request_with("Connection", &[]));
    case(
        "4.2.1 another Connection",
        400,
        "handshake-connection",
        request_with("Connection", &["keep-alive"]),
    );
    case("4.2.1 an Upgrade that only begins right", 426, "handshake-no-upgrade", {
        request_with("Upgrade", &["websockets"])
    });
    let key = "Sec-WebSocket-Key";
    case("4.2.1 no key", 400, "handshake-key", request_with(key, &[]));
    case("4.2.1 an empty key", 400, "handshake-key", request_with(key, &[""]));
    let sample_key = "dGhlIHNhbXBsZSBub25jZQ==";
    case("11.3.1 two keys", 400, "handshake-key", request_with(key, &[sample_key, sample_key]));
    case("4.2.1 a key of 15 bytes", 400, "handshake-key", request_with(key, &["dGhlIHNhbXBsZSBub25j"]));
    case("4.2.1 a key of 18 bytes", 400, "handshake-key", request_with(key, &["dGhlIHNhbXBsZSBub25jZXh4"]));
    case(
        "4.2.1 a key that is not base64",
        400,
        "handshake-key",
        request_with(key, &["dGhlIHNhbXBsZSBub25j!!=="]),
    );
    case("4.2.1 a key without padding", 400, "handshake-key", request_with(key, &["dGhlIHNhbXBsZSBub25jZQ"]));
    case(
        "4.2.1 a key with bits left over",
        400,
        "handshake-key",
        request_with(key, &["dGhlIHNhbXBsZSBub25jZR=="]),
    );
    let version = VERSION.0;
    case("4.2.1 no version", 400, "handshake-no-version", request_with(version, &[]));
    case("11.3.5 two versions", 400, "handshake-no-version", request_with(version, &["13", "13"]));
    case("4.4 an old version", 426, "handshake-version", request_with(version, &["8"]));
    case("4.4 a version to come", 426, "handshake-version", request_with(version, &["14"]));
    case("4.4 several versions in one", 426, "handshake-version", request_with(version, &["8, 13"]));
    case("RFC 9112 6 a body", 400, "handshake-body", request_with("Content-Length", &["5"]));
    case("RFC 9112 6.3 two lengths", 400, "handshake-body", request_with("Content-Length", &["0", "5"]));
    case("RFC 9112 6 no body, said so", 101, "", request_with("Content-Length", &["0"]));
    case(
        "RFC 9112 6.1 a body in chunks",
        400,
        "handshake-body",
        request_with("Transfer-Encoding", &["chunked"]),
    );
    // What is not HTTP, or only almost.
    let not_http = "handshake-not-http";
    case("RFC 9112 3 plain words", 400, not_http, b"hello, is anybody there?\r\n".to_vec());
    case("RFC 9112 3 SSH", 400, not_http, b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec());
    case("RFC 9112 3 no target", 400, not_http, line("GET HTTP/1.1"));
    case("RFC 9112 3 a space too many", 400, not_http, line("GET  /chat HTTP/1.1"));
    case("RFC 9112 3 a space at the end", 400, not_http, line("GET /chat HTTP/1.1 "));
    case("RFC 9112 3.2 no slash", 400, not_http, line("GET chat HTTP/1.1"));
    case("RFC 9112 3.2 a fragment", 400, not_http, line("GET /chat#part HTTP/1.1"));
    case("4.2.1 a URI of another kind", 400, not_http, line("GET ftp://server.example.com/chat HTTP/1.1"));
    case("RFC 9112 3 no version of HTTP", 400, not_http, line("GET /chat"));
    case("RFC 9112 2.3 half a version of HTTP", 400, not_http, line("GET /chat HTTP/1"));
    case("RFC 9112 2.3 HTTP in small letters", 400, not_http, line("GET /chat http/1.1"));
    case("RFC 9110 9.1 a method that is no token", 400, not_http, line("G(T /chat HTTP/1.1"));
    let malformed = "handshake-malformed";
    case("RFC 9112 3 TLS", 400, malformed, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec());
    case("4.2.1 a frame without a handshake", 400, malformed, b"\x82\x80\0\0\0\0".to_vec());
    case("RFC 9112 2.2 an empty line in front", 400, malformed, [b"\r\n", &sample_request()[..]].concat());
    case("RFC 9112 2.2 lines that end with LF", 400, malformed, {
        String::from_utf8_lossy(&sample_request()).replace("\r\n", "\n").into()
    });
    case("RFC 9112 2.2 one line that ends with LF", 400, malformed, {
        String::from_utf8_lossy(&sample_request()).replacen("Upgrade\r\n", "Upgrade\n", 1).into()
    });
    case("RFC 9112 5.2 a folded line", 400, malformed, request_with("X-Long", &["one\r\n two"]));
    case("RFC 9110 5.5 NUL in a value", 400, malformed, request_with("X-Nul", &["a\0b"]));
    case("RFC 9110 5.5 CR in a value", 400, malformed, request_with("X-Cr", &["a\rb"]));
    case("RFC 9112 5.1 a space before the colon", 400, malformed, request_with("X-Space ", &["a"]));
    case("RFC 9112 5 a line without a colon", 400, malformed, request_with("X\r\nY", &["a"]));
    case("RFC 9112 3.2 a path beyond ASCII", 400, malformed, line("GET /caf\u{e9} HTTP/1.1"));
    case(
        "RFC 6585 5 a head of 100 KiB",
        431,
        "handshake-too-long",
        request_with("X-Long", &[&"x".repeat(100 << 10)]),
    );
    case("RFC 6585 5 a header line without an end", 431, "handshake-too-long", {
        [b"GET / HTTP/1.1\r\nX-Long: ", &[b'x'; 64 << 10][..]].concat()
    });
    case("RFC 6585 5 200 header lines", 431, "handshake-too-many-headers", request_with("X", &["y"; 200]));
    cases
}

/// All cases of responses, to a client whose key is answered by `accept`.
#[must_use]
pub fn responses(accept: &str) -> Vec<Response> {
    const OK: &str = "HTTP/1.1 101 Switching Protocols";
    let good = || {
        vec![
            ("Upgrade", "websocket".to_owned()),
            ("Connection", "Upgrade".to_owned()),
            ("Sec-WebSocket-Accept", accept.to_owned()),
        ]
    };
    let change = |name: &'static str, values: &[&str]| build(OK, &with(name, values, good()));
    let mut cases = Vec::new();
    let mut case = |name, outcome, bytes| cases.push(Response { name, bytes, outcome });
    case("4.1 what the standard asks for", "", build(OK, &good()));
    case("RFC 9112 4 no words behind the status", "", build("HTTP/1.1 101", &good()));
    case("RFC 9112 4 other words behind the status", "", build("HTTP/1.1 101 Passt schon \u{e4}", &good()));
    case("4.1 tokens in any case and lists", "", {
        build(OK, &with("Connection", &["keep-alive, uPGRADE"], with("Upgrade", &["WebSocket"], good())))
    });
    case("4.1 a subprotocol that was offered", "", change("Sec-WebSocket-Protocol", &["b"]));
    case("4.1 more headers", "", change("Server", &["x"]));
    case("4.1 too many at once", "handshake-status-429", build("HTTP/1.1 429 Too Many Requests", &[]));
    case("4.1 not found", "handshake-status-404", build("HTTP/1.1 404 Not Found", &good()));
    case("4.1 fine, but no upgrade", "handshake-status-200", build("HTTP/1.1 200 OK", &good()));
    case("4.1 elsewhere", "handshake-status-302", build("HTTP/1.1 302 Found", &[("Location", "/".into())]));
    case("4.1 busy, the old way", "handshake-status-503", build("HTTP/1.0 503 Service Unavailable", &[]));
    let interim = |line: &str, last: Vec<u8>| [build(line, &[("Link", "</a>".into())]), last].concat();
    case("RFC 9110 15.2 an interim response first", "", interim("HTTP/1.1 100 Continue", build(OK, &good())));
    case("RFC 9110 15.2 two interim responses first", "", {
        interim("HTTP/1.1 103 Early Hints", interim("HTTP/1.1 102 Processing", build(OK, &good())))
    });
    case("RFC 9110 15.2 an interim response, then a refusal", "handshake-status-429", {
        interim("HTTP/1.1 103 Early Hints", build("HTTP/1.1 429 Too Many Requests", &[]))
    });
    case("RFC 9110 15.2 interim responses without an end", "handshake-too-many-headers", {
        build("HTTP/1.1 103 Early Hints", &[("Link", "</a>".into())]).repeat(100)
    });
    case("RFC 9110 15.2 empty interim responses without an end", "handshake-too-long", {
        build("HTTP/1.1 100 Continue", &[]).repeat(400)
    });
    case("4.1 101 of HTTP/1.0", "handshake-http-version", build("HTTP/1.0 101 Switching Protocols", &good()));
    case("4.1 no Upgrade", "handshake-bad-upgrade", change("Upgrade", &[]));
    case("4.1 another Upgrade", "handshake-bad-upgrade", change("Upgrade", &["h2c"]));
    case("4.1 two Upgrades", "handshake-bad-upgrade", change("Upgrade", &["websocket", "websocket"]));
    case("4.1 no Connection", "handshake-bad-connection", change("Connection", &[]));
    case("4.1 another Connection", "handshake-bad-connection", change("Connection", &["close"]));
    let name = "Sec-WebSocket-Accept";
    case("4.1 no accept", "handshake-bad-accept", change(name, &[]));
    case("4.1 an empty accept", "handshake-bad-accept", change(name, &[""]));
    case(
        "4.1 an accept for another key",
        "handshake-bad-accept",
        change(name, &["AAAAAAAAAAAAAAAAAAAAAAAAAAA="]),
    );
    case("11.3.3 an accept twice", "handshake-bad-accept", change(name, &[accept, accept]));
    case("4.1 an accept in another case", "handshake-bad-accept", change(name, &[&swap_case(accept)]));
    case("RFC 9110 5.6.1 a list of no extension", "", change("Sec-WebSocket-Extensions", &[""]));
    case("RFC 9110 5.6.1 two lists of no extension", "", change("Sec-WebSocket-Extensions", &[", ,", ""]));
    case("9.1 an extension", "handshake-bad-extension", {
        change("Sec-WebSocket-Extensions", &["permessage-deflate"])
    });
    case("4.1 another subprotocol", "handshake-bad-protocol", change("Sec-WebSocket-Protocol", &["c"]));
    case("11.3.4 two subprotocols", "handshake-bad-protocol", change("Sec-WebSocket-Protocol", &["a", "b"]));
    case(
        "11.3.4 a list of subprotocols",
        "handshake-bad-protocol",
        change("Sec-WebSocket-Protocol", &["a, b"]),
    );
    case("RFC 9112 4 an echo of the request", "handshake-not-http", sample_request());
    case("RFC 9112 4 SSH", "handshake-not-http", b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec());
    case("RFC 9112 4 a status of two digits", "handshake-not-http", build("HTTP/1.1 42 What", &[]));
    case("RFC 9112 4 TLS", "handshake-malformed", b"\x15\x03\x03\x00\x02\x02\x28".to_vec());
    case("RFC 9112 2.2 lines that end with LF", "handshake-malformed", {
        String::from_utf8_lossy(&build(OK, &good())).replace("\r\n", "\n").into()
    });
    case("RFC 9112 5.2 a folded line", "handshake-malformed", change("Server", &["a\r\n b"]));
    case("RFC 6585 5 a head without an end", "handshake-too-long", change("Server", &[&"x".repeat(9 << 10)]));
    case("RFC 6585 5 200 header lines", "handshake-too-many-headers", change("X", &["y"; 200]));
    cases
}

fn sample() -> Vec<(&'static str, String)> {
    let pairs = [
        ("Host", "server.example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        VERSION,
    ];
    pairs.map(|(name, value)| (name, value.to_owned())).to_vec()
}

fn request_with(name: &'static str, values: &[&str]) -> Vec<u8> {
    build("GET /chat HTTP/1.1", &with(name, values, sample()))
}

/// The headers with these values in the place of those that `name` had.
fn with(
    name: &'static str,
    values: &[&str],
    mut headers: Vec<(&'static str, String)>,
) -> Vec<(&'static str, String)> {
    headers.retain(|(other, _)| *other != name);
    headers.extend(values.iter().map(|&value| (name, value.to_owned())));
    headers
}

fn build(line: &str, headers: &[(&str, String)]) -> Vec<u8> {
    let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    format!("{line}\r\n{}\r\n", lines.collect::<String>()).into_bytes()
}

fn swap_case(text: &str) -> String {
    let swap = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    text.chars().map(swap).collect()
}
