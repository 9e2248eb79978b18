//! A request and its answer.

use std::net::IpAddr;

use httparse::Header;
use serde::Serialize;

use crate::control::Refused;

/// What a request wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A look.
    Get,
    /// A look of which the body is not sent.
    Head,
    /// Something is to be done.
    Post,
    /// Any other.
    Other,
}

impl Method {
    pub(super) fn of(text: &str) -> Self {
        match text {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            _ => Self::Other,
        }
    }

    /// Whether a header Allow names it.
    #[must_use]
    pub fn is_in(self, allow: &str) -> bool {
        allow.split(", ").any(|name| Self::of(name) == self)
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_look(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// A request that is whole; when it is asked whether it is let in, its body has not come yet and is empty.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What is to be done.
    pub method: Method,
    /// The path, without its query.
    pub path: &'a str,
    /// What stands behind the path's question mark; empty without one.
    pub query: &'a str,
    /// Where it comes from.
    pub peer: IpAddr,
    /// Its body.
    pub body: &'a [u8],
    pub(super) headers: &'a [Header<'a>],
}

impl<'a> Request<'a> {
    /// The value of the first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        values(self.headers, name).next()
    }
}

/// The values of the headers of this name, whose case does not matter.
pub(super) fn values<'h>(headers: &'h [Header<'h>], name: &str) -> impl Iterator<Item = &'h [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub(super) status: &'static str,
    pub(super) media_type: &'static str,
    pub(super) body: String,
    /// What the path takes, where the method was the wrong one.
    pub(super) allow: Option<&'static str>,
    /// The connection that it goes to keeps its place.
    pub(super) keeps_place: bool,
}

/// Plain words.
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

impl Answer {
    /// A document of this media type.
    #[must_use]
    pub fn document(media_type: &'static str, body: String) -> Self {
        Self { status: "200 OK", media_type, body, allow: None, keeps_place: false }
    }

    /// Words for people.
    #[must_use]
    pub fn words(body: String) -> Self {
        Self::document(TEXT, body)
    }

    /// There is nothing under that path; these words say what there is.
    #[must_use]
    pub fn not_found(body: String) -> Self {
        Self::refusal(404, body)
    }

    /// A document in JSON.
    #[must_use]
    pub fn json(document: &impl Serialize) -> Self {
        match serde_json::to_string(document) {
            Ok(body) => Self::document(JSON, body),
            Err(error) => Self::refusal(500, format!("{error}\n")),
        }
    }

    /// The same where something was made by it.
    #[must_use]
    pub fn created(document: &impl Serialize) -> Self {
        Self { status: "201 Created", ..Self::json(document) }
    }

    /// A refusal in JSON with this status.
    #[must_use]
    pub fn refused(status: u16, why: &Refused) -> Self {
        Self { status: status_line(status), ..Self::json(why) }
    }

    /// A text that is JSON already.
    #[must_use]
    pub fn json_text(json: String) -> Self {
        Self::document(JSON, json)
    }

    /// The same on a connection that belongs to something that goes on: it gives its place to nobody from now on.
    #[must_use]
    pub fn keeping_its_place(self) -> Self {
        Self { keeps_place: true, ..self }
    }

    /// The path takes another method.
    #[must_use]
    pub(super) fn not_allowed(allow: &'static str) -> Self {
        let body = format!("{} are answered\n", allow.replace(", ", " and "));
        Self::refusal(405, body).allowing(allow)
    }

    /// The same with what the path takes, where the method was the wrong one.
    #[must_use]
    pub fn allowing(self, allow: &'static str) -> Self {
        Self { allow: Some(allow), ..self }
    }

    /// Words that refuse.
    pub(super) fn refusal(status: u16, body: String) -> Self {
        Self { status: status_line(status), ..Self::words(body) }
    }
}

/// A status with its words (RFC 9110, section 15); one that nothing here answers with is the server's fault.
fn status_line(status: u16) -> &'static str {
    match status {
        200 => "200 OK",
        201 => "201 Created",
        400 => "400 Bad Request",
        401 => "401 Unauthorized",
        404 => "404 Not Found",
        405 => "405 Method Not Allowed",
        409 => "409 Conflict",
        410 => "410 Gone",
        411 => "411 Length Required",
        412 => "412 Precondition Failed",
        413 => "413 Content Too Large",
        422 => "422 Unprocessable Content",
        429 => "429 Too Many Requests",
        431 => "431 Request Header Fields Too Large",
        503 => "503 Service Unavailable",
        _ => "500 Internal Server Error",
    }
}

/// What a server answers.
pub trait Routes {
    /// Clients at one time. Where more come, the one that has asked nothing for the longest time gives its place; where
    /// all of them keep theirs ([`Answer::keeping_its_place`]), no other is taken.
    const MOST_CLIENTS: usize = 8;
    /// The stack of the thread in which it is answered. An answer is on the heap.
    const STACK_BYTES: usize = 128 << 10;

    /// Whether a request is let in, by its head alone, and how many bytes its body may have. What is not let in ends its
    /// connection.
    ///
    /// # Errors
    /// The answer that refuses it.
    fn lets_in(&self, head: &Request<'_>) -> Result<usize, Answer> {
        if head.method.is_look() { Ok(0) } else { Err(Answer::not_allowed("GET, HEAD")) }
    }

    /// The answer that refuses what is no request, or has no body that can be taken: its status and why.
    fn refusal(&self, status: u16, why: &str) -> Answer {
        Answer::refusal(status, format!("{why}\n"))
    }

    /// The answer to a request that was let in.
    fn answer(&self, request: &Request<'_>) -> Answer;

    /// Told whether an answer is being made, or was not taken whole yet: the one who ends the process waits until none is.
    fn is_saying(&self, _something: bool) {}
}

impl<F: Fn(&Request<'_>) -> Answer> Routes for F {
    fn answer(&self, request: &Request<'_>) -> Answer {
        self(request)
    }
}
