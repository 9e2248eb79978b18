//! What is said with one client, as a state machine over bytes: heads of requests in, answers out.

use std::io::Write as _;
use std::net::IpAddr;

use httparse::{EMPTY_HEADER, Error, Header, Status};

use super::request::{Answer, Method, Request, Routes, values};

/// The longest head of a request, bytes.
pub(super) const HEAD_BYTES: usize = 4096;
/// The most header lines.
const MOST_HEADERS: usize = 48;

/// One client's.
#[derive(Debug)]
pub(super) struct Conversation {
    peer: IpAddr,
    heard: Vec<u8>,
    /// How many bytes of `heard` are the next request, where its head was let in and its body is not whole yet.
    whole_bytes: Option<usize>,
    to_say: Vec<u8>,
    /// Bytes of `to_say` that have been said.
    said_bytes: usize,
    /// Nothing is said or heard after what is to be said now.
    is_last: bool,
    keeps_place: bool,
}

impl Conversation {
    /// With a client that comes from this address.
    pub(super) fn new(peer: IpAddr) -> Self {
        Self {
            peer,
            heard: Vec::new(),
            whole_bytes: None,
            to_say: Vec::new(),
            said_bytes: 0,
            is_last: false,
            keeps_place: false,
        }
    }

    /// Takes in bytes. The caller brings no more while there is something to say.
    pub(super) fn hear(&mut self, bytes: &[u8], routes: &impl Routes) {
        self.heard.extend_from_slice(bytes);
        self.go_on(routes);
    }

    /// What is to be said next; empty where nothing is.
    pub(super) fn to_say(&self) -> &[u8] {
        &self.to_say[self.said_bytes..]
    }

    /// So many bytes of it have been said.
    pub(super) fn said(&mut self, bytes: usize, routes: &impl Routes) {
        self.said_bytes += bytes;
        if self.said_bytes >= self.to_say.len() {
            self.to_say.clear();
            self.said_bytes = 0;
            self.go_on(routes);
        }
    }

    /// All is said, and nothing more will be.
    pub(super) fn is_over(&self) -> bool {
        self.is_last && self.to_say.is_empty()
    }

    /// Nothing is under way: the next request has not begun.
    pub(super) fn is_idle(&self) -> bool {
        self.heard.is_empty() && self.to_say.is_empty()
    }

    /// An answer has said that it keeps its place.
    pub(super) fn keeps_place(&self) -> bool {
        self.keeps_place
    }

    /// Answers the next request that is whole.
    fn go_on(&mut self, routes: &impl Routes) {
        if self.is_last || !self.to_say.is_empty() || self.heard.len() < self.whole_bytes.unwrap_or(1) {
            return;
        }
        let mut headers = [EMPTY_HEADER; MOST_HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        match head.parse(&self.heard[..self.heard.len().min(HEAD_BYTES)]) {
            Ok(Status::Complete(head_bytes)) => {
                // Its head was let in before its body came.
                let known = self.whole_bytes.take().map(|whole| Ok(whole - head_bytes));
                let request = request_of(&head, self.peer);
                match known.unwrap_or_else(|| let_in(&request, routes)) {
                    Err(refusal) => {
                        self.say(&Answered { has_body: request.method != Method::Head, ..refusal });
                    }
                    Ok(body_bytes) => {
                        let whole = head_bytes + body_bytes;
                        match self.heard.get(head_bytes..whole) {
                            None => self.whole_bytes = Some(whole),
                            Some(body) => {
                                let answered = answer_to(&head, &Request { body, ..request }, routes);
                                self.heard.drain(..whole);
                                self.say(&answered);
                            }
                        }
                    }
                }
            }
            Ok(Status::Partial) if self.heard.len() < HEAD_BYTES => {}
            Ok(Status::Partial) | Err(Error::TooManyHeaders) => {
                let most = format!("a head has at most {HEAD_BYTES} bytes and {MOST_HEADERS} lines here");
                self.say(&Answered::last(routes.refusal(431, &most)));
            }
            Err(error) => {
                self.say(&Answered::last(routes.refusal(400, &format!("no HTTP request: {error}"))));
            }
        }
    }

    fn say(&mut self, Answered { answer, is_last, has_body }: &Answered) {
        let Answer { status, media_type, body, allow, keeps_place } = answer;
        self.keeps_place |= keeps_place;
        let (length, close) = (body.len(), if *is_last { "Connection: close\r\n" } else { "" });
        let allow = allow.map_or_else(String::new, |allow| format!("Allow: {allow}\r\n"));
        // A vector takes all that is written.
        let _ = write!(
            self.to_say,
            "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{allow}{close}\r\n"
        );
        if *has_body {
            self.to_say.extend_from_slice(body.as_bytes());
        }
        if *is_last {
            self.is_last = true;
            self.heard = Vec::new();
        }
    }
}

/// An answer and what goes with it.
struct Answered {
    answer: Answer,
    is_last: bool,
    /// Whether its body is sent, and not its length alone.
    has_body: bool,
}

impl Answered {
    fn last(answer: Answer) -> Self {
        Self { answer, is_last: true, has_body: true }
    }
}

/// The request with this head; its body is yet to come.
fn request_of<'a>(head: &'a httparse::Request<'_, '_>, peer: IpAddr) -> Request<'a> {
    let target = head.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let method = Method::of(head.method.unwrap_or_default());
    Request { method, path, query, peer, body: &[], headers: head.headers }
}

/// How many bytes behind the head of a request are its body; refused where it is not let in.
fn let_in(request: &Request<'_>, routes: &impl Routes) -> Result<usize, Answered> {
    let most_bytes = routes.lets_in(request).map_err(Answered::last)?;
    let refused = |(status, why): (u16, String)| Answered::last(routes.refusal(status, &why));
    body_bytes(request.headers, most_bytes).map_err(refused)
}

/// The answer to a request that is whole and was let in.
fn answer_to(head: &httparse::Request<'_, '_>, request: &Request<'_>, routes: &impl Routes) -> Answered {
    let wants_the_end = values(head.headers, "connection").any(|value| value.eq_ignore_ascii_case(b"close"));
    Answered {
        answer: routes.answer(request),
        is_last: head.version != Some(1) || wants_the_end,
        has_body: request.method != Method::Head,
    }
}

/// How many bytes a body has; refused with a status and why where that is not said plainly, or is more than `most_bytes`.
fn body_bytes(headers: &[Header<'_>], most_bytes: usize) -> Result<usize, (u16, String)> {
    let too_long = || {
        let most = match most_bytes {
            0 => "no body is taken".to_owned(),
            most => format!("a body has at most {most} bytes here"),
        };
        (413, most)
    };
    if values(headers, "transfer-encoding").next().is_some() {
        let plain = || (411, "a body is taken with a Content-Length alone".to_owned());
        return Err(if most_bytes == 0 { too_long() } else { plain() });
    }
    let mut lengths = values(headers, "content-length");
    let Some(length) = lengths.next() else { return Ok(0) };
    // Two that differ are how one request is smuggled into another (RFC 9112, section 6.3).
    let is_plain = lengths.all(|other| other == length) && length.iter().all(u8::is_ascii_digit);
    let bytes = std::str::from_utf8(length).ok().and_then(|text| text.parse::<usize>().ok());
    match bytes.filter(|_| is_plain) {
        Some(bytes) if bytes <= most_bytes => Ok(bytes),
        None if most_bytes > 0 && !is_plain => Err((400, "Content-Length is one number".to_owned())),
        _ => Err(too_long()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::net::Ipv4Addr;

    use super::*;

    fn routes(request: &Request<'_>) -> Answer {
        match request.path {
            "/here" => Answer::words("it is here".to_owned()),
            other => Answer::not_found(other.to_owned()),
        }
    }

    /// All that is said to these bytes, read in pieces of `step`, and whether it is over then.
    fn said(bytes: &[u8], step: usize) -> (String, bool) {
        said_by(&routes, bytes, step)
    }

    fn said_by(routes: &impl Routes, bytes: &[u8], step: usize) -> (String, bool) {
        let (mut conversation, mut said) = (Conversation::new(Ipv4Addr::LOCALHOST.into()), Vec::new());
        for piece in bytes.chunks(step) {
            conversation.hear(piece, routes);
            while !conversation.to_say().is_empty() {
                said.push(conversation.to_say()[0]);
                conversation.said(1, routes);
            }
            if conversation.is_over() {
                break;
            }
        }
        (String::from_utf8(said).expect("a text"), conversation.is_over())
    }

    /// The status of the one answer, however the bytes are cut.
    #[track_caller]
    fn status(bytes: &[u8]) -> (String, bool) {
        let whole = said(bytes, bytes.len().max(1));
        assert_eq!(said(bytes, 1), whole, "the cut decides");
        let line = whole.0.lines().next().unwrap_or_default().to_owned();
        (line.trim_start_matches("HTTP/1.1 ").to_owned(), whole.1)
    }

    #[test]
    fn a_look_is_answered_and_the_connection_stays_for_the_next() {
        assert_eq!(status(b"GET /here?x=y HTTP/1.1\r\nHost: a\r\n\r\n"), ("200 OK".to_owned(), false));
        assert_eq!(status(b"GET /there HTTP/1.1\r\n\r\n"), ("404 Not Found".to_owned(), false));
        assert_eq!(status(b"GET /here HTTP/1.0\r\n\r\n"), ("200 OK".to_owned(), true));
        assert_eq!(status(b"GET /here HTTP/1.1\r\nConnection: Close\r\n\r\n"), ("200 OK".to_owned(), true));
        let two = said(b"GET /here HTTP/1.1\r\n\r\nHEAD /here HTTP/1.1\r\n\r\n", 7).0;
        assert_eq!((two.matches("200 OK").count(), two.matches("it is here").count()), (2, 1), "{two}");
        assert_eq!(two.matches("Content-Length: 10\r\n").count(), 2, "{two}");
    }

    #[test]
    fn what_is_no_look_is_refused_and_ends_the_connection() {
        for (bytes, refusal) in [
            (&b"POST /here HTTP/1.1\r\n\r\n"[..], "405"),
            (b"GET /here HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "413"),
            (b"GET /here HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "413"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"),
            (b"GET /here HTTP/1.1\r\nno colon\r\n\r\n", "400"),
            (b"GET /h\0re HTTP/1.1\r\n\r\n", "400"),
            (b"hello\n", "400"),
        ] {
            let (status, is_over) = status(bytes);
            assert!(status.starts_with(refusal) && is_over, "{status}: {}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn a_head_without_an_end_is_refused_at_its_largest_size() {
        let mut long = b"GET /here HTTP/1.1\r\nA: ".to_vec();
        long.resize(HEAD_BYTES, b'x');
        assert_eq!(said(&long[..HEAD_BYTES - 1], 100), (String::new(), false));
        for bytes in [long, b"\r\n".repeat(HEAD_BYTES), b"GET / HTTP/1.1\r\n".to_vec()] {
            let ended = [&bytes[..], &b"B: c\r\n".repeat(MOST_HEADERS + 1)[..], b"\r\n"].concat();
            let (status, is_over) = status(&ended);
            assert!(status.starts_with("431") && is_over, "{status}");
        }
    }

    /// Takes bodies of up to ten bytes from those who say who they are, and says them again.
    struct Taking;

    impl Routes for Taking {
        fn lets_in(&self, head: &Request<'_>) -> Result<usize, Answer> {
            match (head.header("name"), head.method) {
                (None, _) => Err(Answer::refusal(401, "who are you\n".to_owned())),
                (Some(_), Method::Post) => Ok(10),
                (Some(_), Method::Get) => Ok(0),
                _ => Err(Answer::not_allowed("GET, POST")),
            }
        }

        fn answer(&self, request: &Request<'_>) -> Answer {
            let name = String::from_utf8_lossy(request.header("NAME").unwrap_or_default()).into_owned();
            Answer::words(format!(
                "{name} of {} said {}",
                request.peer,
                String::from_utf8_lossy(request.body)
            ))
        }
    }

    #[track_caller]
    fn taken(bytes: &[u8]) -> (String, bool) {
        let whole = said_by(&Taking, bytes, bytes.len());
        assert_eq!(said_by(&Taking, bytes, 1), whole, "the cut decides");
        whole
    }

    #[test]
    fn a_body_is_waited_for_and_the_next_request_stands_behind_it() {
        let one = "POST /x HTTP/1.1\r\nName: me\r\nContent-Length: 5\r\n\r\nhello";
        let (said, is_over) = taken([one, one, "GET /y HTTP/1.1\r\nname: you\r\n\r\n"].concat().as_bytes());
        assert_eq!(said.matches("me of 127.0.0.1 said hello").count(), 2, "{said}");
        assert!(said.ends_with("you of 127.0.0.1 said ") && !is_over, "{said}");
        let half = said_by(&Taking, &one.as_bytes()[..one.len() - 1], 3);
        assert_eq!(half, (String::new(), false), "not before all of it is there");
    }

    #[test]
    fn one_that_is_not_let_in_is_refused_by_its_head_whatever_its_body_would_be() {
        for (head, refusal) in [
            ("POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n", "401"),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", "401"),
            ("PUT / HTTP/1.1\r\nName: a\r\n", "405"),
            ("POST / HTTP/1.1\r\nName: a\r\nContent-Length: 11\r\n", "413"),
            ("POST / HTTP/1.1\r\nName: a\r\nContent-Length: 99999999999999999999999\r\n", "413"),
            ("POST / HTTP/1.1\r\nName: a\r\nContent-Length: +5\r\n", "400"),
            ("POST / HTTP/1.1\r\nName: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n", "400"),
            ("POST / HTTP/1.1\r\nName: a\r\nTransfer-Encoding: chunked\r\n", "411"),
            ("GET / HTTP/1.1\r\nName: a\r\nContent-Length: 5\r\n", "413"),
        ] {
            let (said, is_over) = taken(format!("{head}\r\n").as_bytes());
            assert!(said.starts_with(&format!("HTTP/1.1 {refusal} ")) && is_over, "{head}: {said}");
        }
        let (said, _) = taken(b"PUT / HTTP/1.1\r\nName: a\r\n\r\n");
        assert!(said.contains("\r\nAllow: GET, POST\r\n"), "{said}");
    }

    /// Takes long bodies, and counts how often it was asked to let one in.
    #[derive(Default)]
    struct Counting(Cell<usize>);

    impl Routes for Counting {
        fn lets_in(&self, _: &Request<'_>) -> Result<usize, Answer> {
            self.0.set(self.0.get() + 1);
            Ok(1 << 20)
        }

        fn answer(&self, request: &Request<'_>) -> Answer {
            Answer::words(format!("{} bytes", request.body.len())).keeping_its_place()
        }
    }

    #[test]
    fn a_head_is_let_in_once_and_behind_it_bytes_are_counted_alone() {
        let routes = Counting::default();
        let mut one = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", 1 << 20).into_bytes();
        one.resize(one.len() + (1 << 20), b'x');
        let (said, is_over) = said_by(&routes, &[&one[..], &one].concat(), HEAD_BYTES);
        assert_eq!((said.matches("1048576 bytes").count(), is_over), (2, false), "{said}");
        assert_eq!(routes.0.get(), 2, "once for each of two requests");
    }

    #[test]
    fn an_answer_may_say_that_its_connection_keeps_its_place() {
        let routes = Counting::default();
        let mut conversation = Conversation::new(Ipv4Addr::LOCALHOST.into());
        assert!(!conversation.keeps_place());
        conversation.hear(b"GET / HTTP/1.1\r\n\r\n", &routes);
        assert!(conversation.keeps_place());
    }
}
