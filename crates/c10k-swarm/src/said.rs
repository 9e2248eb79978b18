//! What a server says in words before it ends a connection.

use std::ops::Range;

/// So much of it is kept, bytes.
const KEPT_BYTES: usize = 200;
/// An echo that came back wrong is no words: of 64 bytes by chance a third can be printed.
const PRINTABLE_IN_TEN: usize = 9;

/// The words that these bytes are, on one line; `None` where they are none. Of an HTTP response they are its status and the
/// text of its body.
pub(crate) fn words(bytes: &[u8]) -> Option<String> {
    // A head has more than is kept: what is to be told of it is its first line and what stands behind it.
    let text = match bytes.starts_with(b"HTTP/1.") {
        true => of_response(bytes),
        false => {
            let cut = &bytes[..bytes.len().min(KEPT_BYTES)];
            let printable = cut.iter().filter(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
            // A text in another script is whole UTF-8; one that is cut may end within a letter.
            let is_utf8 = |error: std::str::Utf8Error| error.error_len().is_none();
            let is_text = std::str::from_utf8(cut).map_or_else(is_utf8, |_| true)
                || printable.count() * 10 >= cut.len() * PRINTABLE_IN_TEN;
            is_text.then(|| String::from_utf8_lossy(cut).into_owned())?
        }
    };
    let printed: String =
        text.chars().map(|c| if c.is_control() || is_steering(c) { ' ' } else { c }).collect();
    let mut line = printed.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = (0..=KEPT_BYTES.min(line.len())).rev().find(|end| line.is_char_boundary(*end))?;
    line.truncate(end);
    (line.chars().filter(|c| c.is_alphanumeric()).count() >= 2).then_some(line)
}

/// What turns the direction of the text around it, or cannot be shown.
fn is_steering(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{fffd}')
}

fn of_response(bytes: &[u8]) -> String {
    let line_end = bytes.windows(2).position(|two| two == b"\r\n").unwrap_or(bytes.len());
    let status = String::from_utf8_lossy(&bytes[..line_end]).into_owned();
    let body = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(&[][..], |at| &bytes[at + 4..]);
    let body = without_tags(&String::from_utf8_lossy(&body[..body.len().min(8 * KEPT_BYTES)]));
    if body.trim().is_empty() { status } else { format!("{status}: {body}") }
}

/// The text between the tags of a page.
fn without_tags(page: &str) -> String {
    let mut is_within = false;
    let text = page.chars().map(|c| {
        is_within = if c == '<' { true } else { is_within };
        let shown = if is_within { ' ' } else { c };
        is_within = if c == '>' { false } else { is_within };
        shown
    });
    text.collect()
}

/// What stands in the first frame of `input`, if that is a whole text message without a mask.
pub(crate) fn message_words(input: &[u8]) -> Option<String> {
    let text: Range<usize> = match input {
        [0x81, length @ 0..=125, ..] => 2..2 + usize::from(*length),
        [0x81, 126, high, low, ..] => 4..4 + usize::from(u16::from_be_bytes([*high, *low])),
        _ => return None,
    };
    words(&input[text.start..text.end.min(input.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_text_is_told_on_one_line_and_an_echo_that_is_wrong_is_not() {
        let said = |bytes: &[u8]| words(bytes).unwrap_or_default();
        assert_eq!(said(b"-ERR max number of clients reached\r\n"), "-ERR max number of clients reached");
        assert_eq!(said(b"\x1b[2Jtoo\tmany\r\n users\0"), "[2Jtoo many users");
        assert_eq!(said("zu viele Gäste\n".as_bytes()), "zu viele Gäste");
        assert_eq!(said(&[b'x'; 500]).len(), 200);
        assert_eq!(said("ä".repeat(300).as_bytes()).len(), 200);
        assert_eq!(said("a\u{202e}b c".as_bytes()), "a b c");
        let probe: Vec<u8> = (0..64_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for none in [&probe[..], b"", b"\r\n", b"?", &[0; 64]] {
            assert_eq!(words(none), None, "{none:?}");
        }
    }

    #[test]
    fn of_a_response_the_status_and_the_text_of_the_body_are_told() {
        let page = b"HTTP/1.1 502 Bad Gateway\r\nServer: nginx\r\nContent-Length: 99\r\n\r\n<html><body>\r\n<h1>502 Bad \
                     Gateway</h1></body></html>";
        assert_eq!(words(page).as_deref(), Some("HTTP/1.1 502 Bad Gateway: 502 Bad Gateway"));
        let bare = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\n\r\n";
        assert_eq!(words(bare).as_deref(), Some("HTTP/1.1 503 Service Unavailable"));
        assert_eq!(words(b"HTTP/1.1 429 Too").as_deref(), Some("HTTP/1.1 429 Too"));
    }

    #[test]
    fn a_message_in_the_place_of_an_echo_is_told_without_its_head() {
        assert_eq!(message_words(b"\x81\x08go away!").as_deref(), Some("go away!"));
        let long = [&b"\x81\x7e\x00\x80"[..], &[b'x'; 128]].concat();
        assert_eq!(message_words(&long).map(|text| text.len()), Some(128));
        assert_eq!(message_words(b"\x82\x08go away!"), None, "binary");
        assert_eq!(message_words(b"\x81\x7eab").as_deref(), None);
        assert_eq!(message_words(b"\x81"), None);
    }
}
