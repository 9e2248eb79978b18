//! A small client of the control port: blocking, one connection, and a deadline for each step. By hand, since it
//! asks a few things of one host, with a deadline for each step, and needs neither TLS nor a pool.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use httparse::{EMPTY_HEADER, Response, Status};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::clock::unix_ns;
use super::{
    Clock, ControlError, Hello, MOST_ANSWER_BYTES, MOST_BODY_BYTES, Offset, PROTOCOL, Reading, Refused,
    Token, path,
};

/// How long a connect may take, or half of the time for an answer where that is longer.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take, from the request's first byte to the answer's last, unless it is said otherwise.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest head of an answer, bytes.
const MOST_HEAD_BYTES: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// Bytes of one read.
const PIECE: usize = 64 << 10;

/// Asks one control port.
#[derive(Debug)]
pub struct Client {
    address: SocketAddr,
    token: Option<Token>,
    /// How long an answer may take.
    patience: Duration,
    /// The connection, and whether it has carried an answer already.
    connection: Option<TcpStream>,
}

/// An answer as it came.
struct Answered {
    status: u16,
    body: Vec<u8>,
    stays: bool,
}

/// Why there is none.
enum Failure {
    /// Told as it is.
    Told(ControlError),
    /// A connection that had stayed from before was gone: nothing of the request has been read.
    WasClosed(io::Error),
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Self::Told(error)
    }
}

impl Client {
    /// A client of the control port at `address`. Nothing is connected before the first request.
    #[must_use]
    pub fn new(address: SocketAddr, token: Option<Token>) -> Self {
        Self { address, token, patience: ANSWER, connection: None }
    }

    /// The same with so long for an answer.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// So long for an answer from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Where it asks.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who is there. The first thing to ask: a protocol of another number is named.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn hello(&mut self) -> Result<Hello, ControlError> {
        /// What every protocol says.
        #[derive(serde::Deserialize)]
        struct Number {
            protocol: u32,
            #[serde(default)]
            program_version: String,
        }
        let body = self.exchange("GET", path::HELLO, &[])?;
        let number: Number = self.read(&body)?;
        if number.protocol != PROTOCOL {
            let (address, theirs, version) = (self.address, number.protocol, number.program_version);
            return Err(ControlError::Protocol { address, theirs, version });
        }
        self.read(&body)
    }

    /// How far its clock is ahead, the best of so many tries; see [`Offset::best`].
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn offset(&mut self, tries: u32) -> Result<Offset, ControlError> {
        let mut readings = Vec::new();
        for _ in 0..tries.max(1) {
            let asked_unix_ns = unix_ns();
            let far: Clock = self.get(path::CLOCK)?;
            readings.push(Reading { asked_unix_ns, far, answered_unix_ns: unix_ns() });
        }
        let what = || "its clock, or the one here, goes back from one look to the next".to_owned();
        Offset::best(&readings).ok_or_else(|| ControlError::Garbage { address: self.address, what: what() })
    }

    /// Asks for what is at `path`.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ControlError> {
        let body = self.exchange("GET", path, &[])?;
        self.read(&body)
    }

    /// Sends `body` to `path`. A request that found its connection closed is sent again on a new one.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ControlError> {
        let body = serde_json::to_vec(body).map_err(|error| self.garbage(&error))?;
        self.post_text(path, &body)
    }

    /// The same with a body that is JSON already.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn post_text<T: DeserializeOwned>(&mut self, path: &str, body: &[u8]) -> Result<T, ControlError> {
        if body.len() > MOST_BODY_BYTES {
            return Err(self.too_long("the request", MOST_BODY_BYTES));
        }
        let answer = self.exchange("POST", path, body)?;
        self.read(&answer)
    }

    /// The body of an answer that does not refuse.
    fn exchange(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, ControlError> {
        let until = Instant::now() + self.patience;
        let answered = match self.try_once(method, path, body, until) {
            Err(Failure::WasClosed(_)) => self.try_once(method, path, body, until),
            tried => tried,
        };
        match answered {
            Ok(answered) if (200..300).contains(&answered.status) => Ok(answered.body),
            Ok(answered) => Err(self.refusal(&answered)),
            Err(Failure::Told(error)) => Err(error),
            Err(Failure::WasClosed(source)) => Err(ControlError::Gone { address: self.address, source }),
        }
    }

    fn try_once(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
        until: Instant,
    ) -> Result<Answered, Failure> {
        let address = self.address;
        let stayed = self.connection.take();
        let is_new = stayed.is_none();
        let stream = match stayed {
            Some(stream) => stream,
            None => TcpStream::connect_timeout(&address, CONNECT.max(self.patience / 2).min(self.patience))
                .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
                .map_err(|source| ControlError::Unreachable { address, source })?,
        };
        let broke = |error: io::Error, heard: bool| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                Failure::Told(ControlError::Silent { address, after: self.patience })
            }
            _ if !is_new && !heard => Failure::WasClosed(error),
            _ => Failure::Told(ControlError::Gone { address, source: error }),
        };
        let mut request = self.head(method, path, body.len()).into_bytes();
        request.extend_from_slice(body);
        let mut timed = Timed { stream: &stream, until };
        // One that refuses before it has read all may have answered already.
        let sent = timed.send(&request);
        let mut heard = Vec::new();
        let answered = self.receive(&mut timed, &mut heard);
        let answered = match (answered, sent) {
            (Ok(answered), _) => answered?,
            (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(broke(error, !heard.is_empty())),
        };
        self.connection = Some(stream).filter(|_| answered.stays);
        Ok(answered)
    }

    fn head(&self, method: &str, path: &str, length: usize) -> String {
        let authorization = self
            .token
            .as_ref()
            .map_or_else(String::new, |token| format!("Authorization: {}\r\n", token.header()));
        let body = match method {
            "GET" => String::new(),
            _ => format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
        };
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{authorization}{body}\r\n", self.address)
    }

    /// Reads one answer; the outer error is the connection's, the inner one the answer's.
    fn receive(
        &self,
        timed: &mut Timed<'_>,
        heard: &mut Vec<u8>,
    ) -> io::Result<Result<Answered, ControlError>> {
        let mut whole = None;
        loop {
            if whole.is_none() {
                whole = match self.parse(heard) {
                    Ok(whole) => whole,
                    Err(error) => return Ok(Err(error)),
                };
            }
            if let Some(Head { status, from, length, stays }) = whole
                && heard.len() >= from + length
            {
                let body = heard[from..from + length].to_vec();
                // Bytes behind the answer would be taken for the next one.
                return Ok(Ok(Answered { status, body, stays: stays && heard.len() == from + length }));
            }
            if timed.read(heard)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The head of the answer, once it is whole.
    fn parse(&self, heard: &[u8]) -> Result<Option<Head>, ControlError> {
        let mut headers = [EMPTY_HEADER; MOST_HEADERS];
        let mut response = Response::new(&mut headers);
        let from = match response.parse(&heard[..heard.len().min(MOST_HEAD_BYTES)]) {
            Ok(Status::Complete(from)) => from,
            Ok(Status::Partial) if heard.len() < MOST_HEAD_BYTES => return Ok(None),
            Ok(Status::Partial) => return Err(self.garbage(&"a head of an answer without an end")),
            Err(error) => return Err(self.garbage(&format_args!("no answer of HTTP: {error}"))),
        };
        let of_name = |name: &str| {
            let mut found = response.headers.iter().filter(|it| it.name.eq_ignore_ascii_case(name));
            found.next().map(|header| String::from_utf8_lossy(header.value).into_owned())
        };
        let Some(length) = of_name("content-length").and_then(|text| text.trim().parse::<usize>().ok())
        else {
            return Err(self.garbage(&"an answer that does not say how long it is"));
        };
        if length > MOST_ANSWER_BYTES {
            return Err(self.too_long("the answer", MOST_ANSWER_BYTES));
        }
        let closes = of_name("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let stays = !closes && response.version == Some(1);
        Ok(Some(Head { status: response.code.unwrap_or_default(), from, length, stays }))
    }

    fn refusal(&self, answered: &Answered) -> ControlError {
        let address = self.address;
        let Refused { error, hint, running, build } =
            serde_json::from_slice(&answered.body).unwrap_or_else(|_| {
                let text = String::from_utf8_lossy(&answered.body);
                let line = text.lines().next().unwrap_or_default();
                Refused { error: crate::clean(line).chars().take(200).collect(), ..Refused::default() }
            });
        match answered.status {
            401 => ControlError::Token { address, had_one: self.token.is_some() },
            409 => ControlError::InUse { address, error, running: running.map(Box::new), hint },
            412 => ControlError::OtherBuild { address, error, build: build.map(Box::new) },
            413 => self.too_long("the request", MOST_BODY_BYTES),
            429 => ControlError::TooOften { address },
            status => ControlError::Refused { address, status, error, hint },
        }
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, ControlError> {
        serde_json::from_slice(body).map_err(|error| self.garbage(&error))
    }

    fn garbage(&self, what: &impl ToString) -> ControlError {
        ControlError::Garbage { address: self.address, what: what.to_string() }
    }

    fn too_long(&self, what: &'static str, most: usize) -> ControlError {
        ControlError::TooLong { address: self.address, what, most }
    }
}

/// The head of an answer.
#[derive(Clone, Copy)]
struct Head {
    status: u16,
    /// Where its body begins.
    from: usize,
    length: usize,
    stays: bool,
}

/// A connection with an end to all patience.
struct Timed<'a> {
    stream: &'a TcpStream,
    until: Instant,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(self.left()?))?;
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self, heard: &mut Vec<u8>) -> io::Result<usize> {
        let from = heard.len();
        heard.resize(from + PIECE, 0);
        let count = loop {
            let read = self.left().and_then(|left| {
                self.stream.set_read_timeout(Some(left))?;
                self.stream.read(&mut heard[from..])
            });
            match read {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        heard.truncate(from + *count.as_ref().unwrap_or(&0));
        count
    }
}

#[cfg(test)]
mod tests;
