//! The token that both ends know.

use std::fmt;
use std::fs::File;
use std::hint::black_box;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::Exit;

/// The environment variable with a token.
pub const TOKEN_VARIABLE: &str = "C10K_TOKEN";

const LEAST: usize = 16;
const MOST: usize = 256;
/// A file with more is none with a token.
const MOST_FILE_BYTES: u64 = 4096;

/// A token: 16 to 256 printable bytes of ASCII without blanks. It is never shown.
#[derive(Clone)]
pub struct Token {
    bytes: [u8; MOST],
    length: usize,
}

/// Why there is no token. None of them says what was read.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token file {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is none, and others than this machine's can ask.
    #[error("a control port on {address} can be reached from other machines, and no token is given")]
    Needed {
        /// Where it listens.
        address: SocketAddr,
    },
    /// What was read is no token.
    #[error(
        "{place} holds no token: it has {found}, expected {LEAST} to {MOST} printable bytes without blanks"
    )]
    Text {
        /// Where it was read.
        place: String,
        /// What is wrong with it.
        found: String,
    },
}

impl TokenError {
    /// What mends it.
    #[must_use]
    pub fn hint(&self) -> String {
        if matches!(self, Self::Needed { .. }) {
            return format!(
                "give one with --token-file FILE or {TOKEN_VARIABLE}; or listen on 127.0.0.1, behind a tunnel"
            );
        }
        "head -c 32 /dev/urandom | base64 | tr -d '/+=' > token && chmod 600 token makes one; both ends need the same"
            .to_owned()
    }

    /// The exit code that says whose fault it is.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::File { .. } => Exit::HostCannot,
            Self::Text { .. } | Self::Needed { .. } => Exit::BadText,
        }
    }
}

impl Token {
    /// The one in the first line of this file or, without a file, in the environment; `None` where neither names one.
    ///
    /// # Errors
    /// [`TokenError`]: a file that cannot be read, or a text that is no token.
    pub fn find(file: Option<&Path>) -> Result<Option<Self>, TokenError> {
        if let Some(path) = file {
            let text = read(path).map_err(|source| TokenError::File { path: path.to_owned(), source })?;
            return Self::parse(&text, &path.display().to_string()).map(Some);
        }
        let set = std::env::var_os(TOKEN_VARIABLE);
        set.map(|text| Self::parse(text.as_encoded_bytes(), TOKEN_VARIABLE)).transpose()
    }

    /// The same for a control port on `address`: one is needed where other machines can reach it.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn for_port(address: SocketAddr, file: Option<&Path>) -> Result<Option<Self>, TokenError> {
        match Self::find(file)? {
            None if !address.ip().to_canonical().is_loopback() => Err(TokenError::Needed { address }),
            token => Ok(token),
        }
    }

    /// A text as a token; the blanks and the end of line behind it are none of it. `place` is where it stands, in words.
    ///
    /// # Errors
    /// [`TokenError::Text`].
    pub fn parse(text: &[u8], place: &str) -> Result<Self, TokenError> {
        let text = text.trim_ascii();
        let refused = |found: String| TokenError::Text { place: place.to_owned(), found };
        if let Some(at) = text.iter().position(|byte| !byte.is_ascii_graphic()) {
            return Err(refused(format!("at byte {} one that is not printable, or a blank", at + 1)));
        }
        if !(LEAST..=MOST).contains(&text.len()) {
            return Err(refused(format!("{} bytes", text.len())));
        }
        let mut bytes = [0; MOST];
        bytes[..text.len()].copy_from_slice(text);
        Ok(Self { bytes, length: text.len() })
    }

    /// Whether this is it. Takes as long for any bytes: each comparison goes over the longest length there may be.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        let mut padded = [0; MOST];
        let most = given.len().min(MOST);
        padded[..most].copy_from_slice(&given[..most]);
        let mut difference = black_box(self.length ^ given.len());
        for (own, other) in self.bytes.iter().zip(&padded) {
            difference |= black_box(usize::from(own ^ other));
        }
        black_box(difference) == 0
    }

    /// The value of the header `Authorization`.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", String::from_utf8_lossy(&self.bytes[..self.length]))
    }
}

/// Without the token: it must not get into a log.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// The first line: of a pipe such as /dev/stdin, which may stay open.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    BufReader::new(File::open(path)?.take(MOST_FILE_BYTES)).read_until(b'\n', &mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Result<Token, String> {
        Token::parse(text.as_bytes(), "here").map_err(|error| error.to_string())
    }

    #[test]
    fn a_token_is_itself_and_nothing_else() {
        let own = token("0123456789abcdef\n").expect("a token");
        assert!(own.is(b"0123456789abcdef"));
        let long = "x".repeat(300);
        let padded = b"0123456789abcdef\0";
        for other in [&b""[..], b"0123456789abcdeF", b"0123456789abcde", padded, long.as_bytes()] {
            assert!(!own.is(other), "{}", String::from_utf8_lossy(other));
        }
        let longest = token(&"y".repeat(256)).expect("a token");
        assert!(longest.is("y".repeat(256).as_bytes()) && !longest.is("y".repeat(257).as_bytes()));
    }

    #[test]
    fn what_is_too_short_too_long_or_not_printable_is_no_token_and_is_not_repeated() {
        for (text, found) in [
            ("", "0 bytes"),
            ("secret", "6 bytes"),
            (&"s".repeat(257), "257 bytes"),
            ("secret secret secret", "at byte 7"),
            ("secret\u{e9}secretsecret", "at byte 7"),
        ] {
            let error = token(text).expect_err(text);
            assert!(error.contains(found) && !error.contains("secret"), "{error}");
        }
        let shown = format!("{:?}", token("0123456789abcdef").expect("a token"));
        assert!(!shown.contains("0123"), "{shown}");
    }

    #[test]
    fn a_port_that_others_can_reach_needs_a_token_and_one_of_this_machine_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        std::fs::write(&path, "abcdefghijklmnop").expect("written");
        for (address, is_ours) in [
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.9]:1", true),
            ("0.0.0.0:1", false),
            ("[::]:1", false),
            ("192.0.2.1:1", false),
        ] {
            let address = address.parse().expect("an address");
            assert!(Token::for_port(address, Some(&path)).expect("a token").is_some());
            // The environment of the tests has none.
            match Token::for_port(address, None) {
                Ok(token) => assert!(token.is_none() && is_ours, "{address}"),
                Err(error) => {
                    assert!(!is_ours && error.exit() == Exit::BadText, "{address}");
                    assert!(error.to_string().contains(&address.to_string()), "{error}");
                    assert!(error.hint().contains("--token-file"), "{}", error.hint());
                }
            }
        }
    }

    #[test]
    fn a_file_stands_above_the_environment_and_one_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        std::fs::write(&path, "abcdefghijklmnop\n").expect("written");
        let found = Token::find(Some(&path)).expect("read").expect("there");
        assert!(found.is(b"abcdefghijklmnop"));
        let error = Token::find(Some(&folder.path().join("none"))).expect_err("not there");
        assert!(error.to_string().contains("none") && error.exit() == Exit::HostCannot, "{error}");
    }
}
