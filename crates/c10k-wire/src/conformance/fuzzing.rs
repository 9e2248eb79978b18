//! What fuzzing asks of both ends: any bytes, in any reads, within narrow and wide limits, before and after an end has
//! closed or given up, under every kind of policy.

use super::{SAMPLE_ACCEPT, SentFrame, read_frames, responses, sample_request};
use crate::ws::{
    ClientEnd, ClientRequest, CloseCode, Connection, Ended, Limits, Received, Role, ServerEnd, ServerPolicy,
    Url, echo,
};

/// What a connection may keep beside what its limits allow: a box, and what a `Vec` rounds up to.
const OVERHEAD_BYTES: usize = 512;

/// What the two first bytes of an input choose; the others are what the peer sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    /// Bytes of a read less one, up to 127.
    pub read: u8,
    /// No handshake stands in front: the input begins with its own.
    pub own_handshake: bool,
    /// Frames up to 200 bytes, messages up to 300 in up to 4 frames.
    pub narrow_messages: bool,
    /// Heads up to 256 bytes in up to 6 header lines.
    pub narrow_heads: bool,
    /// What the end under test does of its own accord.
    pub act: Act,
    /// It does so behind the first half of the input, and not before it.
    pub acts_late: bool,
    /// Server: only `/chat` is served. Client: no subprotocol is offered.
    pub few_paths: bool,
    /// Server: only pages of `https://lab.example` may ask.
    pub few_origins: bool,
    /// Server: the subprotocols `b` and `a` are spoken.
    pub subprotocols: bool,
}

/// What an end does that nothing from its peer makes it do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    #[default]
    None,
    /// It closes.
    Close,
    /// Server: it gives up the handshake.
    GiveUp,
    /// Server: it gives up the message.
    GiveUpMessage,
}

impl Setting {
    const ACTS: [Act; 4] = [Act::None, Act::Close, Act::GiveUp, Act::GiveUpMessage];

    /// The setting in the first two bytes of `data`, and the rest.
    #[must_use]
    pub fn parse(data: &[u8]) -> Option<(Self, &[u8])> {
        let (&[first, second], rest) = data.split_first_chunk()?;
        let has = |bit: u8| second >> bit & 1 == 1;
        let setting = Self {
            read: first & 0x7f,
            own_handshake: first & 0x80 != 0,
            narrow_messages: has(0),
            narrow_heads: has(1),
            act: Self::ACTS[usize::from(second >> 2 & 3)],
            acts_late: has(4),
            few_paths: has(5),
            few_origins: has(6),
            subprotocols: has(7),
        };
        Some((setting, rest))
    }

    /// The two bytes that choose it.
    #[must_use]
    pub fn bytes(self) -> [u8; 2] {
        let act = Self::ACTS.iter().position(|&act| act == self.act).unwrap_or_default() as u8;
        let bits = [
            (self.narrow_messages, 0),
            (self.narrow_heads, 1),
            (self.acts_late, 4),
            (self.few_paths, 5),
            (self.few_origins, 6),
            (self.subprotocols, 7),
        ];
        let second = bits.iter().fold(act << 2, |byte, &(is_set, bit)| byte | u8::from(is_set) << bit);
        [self.read & 0x7f | u8::from(self.own_handshake) << 7, second]
    }

    fn limits(self) -> Limits {
        let mut limits = Limits::default();
        if self.narrow_messages {
            (limits.max_frame_bytes, limits.max_message_bytes, limits.max_fragments) = (200, 300, 4);
        }
        if self.narrow_heads {
            (limits.max_handshake_bytes, limits.max_headers) = (256, 6);
        }
        limits
    }

    fn policy(self) -> ServerPolicy {
        let list = |is_set: bool, items: &[&str]| {
            items.iter().filter(|_| is_set).map(|&item| item.to_owned()).collect()
        };
        ServerPolicy::new(
            list(self.few_paths, &["/chat"]),
            list(self.subprotocols, &["b", "a"]),
            list(self.few_origins, &["https://lab.example"]),
        )
        .expect("a policy that makes sense")
    }
}

/// Gives `data` to a server. How it ended, if it did.
///
/// # Panics
/// When the server says something else to the same bytes in one read, keeps more than its limits allow, or
/// says what is not well-formed.
pub fn server(data: &[u8]) -> Option<Ended> {
    let (setting, rest) = Setting::parse(data)?;
    let end = ServerEnd::new(setting.limits(), setting.policy());
    let act = |connection: &mut Connection, out: &mut Vec<u8>| match setting.act {
        Act::None => None,
        Act::Close => {
            let was_open = connection.is_open();
            assert_eq!(
                connection.close(CloseCode::AWAY, "of its own accord", &mut end.output(out)),
                was_open
            );
            None
        }
        Act::GiveUp => end.give_up(connection, out),
        Act::GiveUpMessage => end.give_up_message(connection, out),
    };
    let run = |read: usize| {
        drive(
            Script::of(Role::Server, setting, &sample_request(), rest, read),
            end.accept(),
            |connection, input, out| end.receive(connection, input, out, echo),
            act,
        )
    };
    same(&run(usize::from(setting.read) + 1), &run(usize::MAX))
}

/// Gives `data` to a client, as [`server`].
///
/// # Panics
/// As [`server`].
pub fn client(data: &[u8]) -> Option<Ended> {
    let (setting, rest) = Setting::parse(data)?;
    let url = Url::parse("ws://server.example.com/chat").expect("a URL");
    let offered = if setting.few_paths { vec![] } else { vec!["a".to_owned(), "b".to_owned()] };
    let request = ClientRequest::new(&url, &offered, &[]).expect("a request");
    let response = responses(SAMPLE_ACCEPT).swap_remove(0).bytes;
    let run = |read: usize| {
        let mut end = ClientEnd::new(setting.limits(), request.clone());
        let mut closing = end.clone();
        drive(
            Script::of(Role::Client, setting, &response, rest, read),
            end.expecting(SAMPLE_ACCEPT.as_bytes()),
            |connection, input, out| end.receive(connection, input, out, echo),
            |connection, out| {
                let was_open = connection.is_open();
                if setting.act != Act::None {
                    let has_closed = connection.close(CloseCode::NORMAL, "", &mut closing.output(out));
                    assert_eq!(has_closed, was_open);
                }
                None
            },
        )
    };
    same(&run(usize::from(setting.read) + 1), &run(usize::MAX))
}

fn same(verdict: &Verdict, in_one_read: &Verdict) -> Option<Ended> {
    assert_eq!(verdict, in_one_read, "the cut decides");
    verdict.end
}

/// What one end has made of an input.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    opened: bool,
    end: Option<Ended>,
    response: Vec<u8>,
    frames: Vec<SentFrame>,
}

/// What comes in which order.
struct Script {
    role: Role,
    limits: Limits,
    /// What comes before the end acts, and what comes after it.
    parts: [Vec<u8>; 2],
    read: usize,
}

impl Script {
    fn of(role: Role, setting: Setting, opener: &[u8], rest: &[u8], read: usize) -> Self {
        let opener = if setting.own_handshake { &[] } else { opener };
        let (before, after) = rest.split_at(if setting.acts_late { rest.len() / 2 } else { 0 });
        Self { role, limits: setting.limits(), parts: [[opener, before].concat(), after.to_vec()], read }
    }
}

fn drive(
    script: Script,
    mut connection: Connection,
    mut receive: impl FnMut(&mut Connection, &mut [u8], &mut Vec<u8>) -> Received,
    mut act: impl FnMut(&mut Connection, &mut Vec<u8>) -> Option<Ended>,
) -> Verdict {
    let Script { role, limits, parts, read } = script;
    let most = limits.max_message_bytes.max(limits.max_handshake_bytes) as usize;
    let came = 2 * parts.iter().map(Vec::len).sum::<usize>();
    let (mut opened, mut end, mut out) = (false, None, Vec::new());
    let mut pings = 0;
    for (at, part) in parts.iter().enumerate() {
        if at == 1 {
            let ended = act(&mut connection, &mut out);
            assert!(ended.is_none() || end.is_none() && connection.is_ended(), "{ended:?} after {end:?}");
            end = end.or(ended);
        }
        for chunk in part.chunks(read) {
            let before = out.len();
            let received = receive(&mut connection, &mut chunk.to_vec(), &mut out);
            assert!(end.is_none() || received == Received::default(), "something after the end");
            opened |= received.opened;
            end = end.or(received.end);
            pings += received.pings;
            let written = out.len() - before;
            // A client's frames are longer by their masks: at the worst, six bytes for two.
            let growth = if role == Role::Server { 1 } else { 3 };
            let allowed = growth * chunk.len() + most + 2 * OVERHEAD_BYTES;
            assert!(written <= allowed, "{written} bytes written for {}", chunk.len());
            let kept = connection.heap_bytes();
            assert!(kept <= came.min(2 * most) + OVERHEAD_BYTES, "{kept} bytes kept");
            assert!(!connection.is_idle() || kept == 0, "{kept} bytes kept by an idle connection");
        }
    }
    assert_eq!(connection.is_ended(), end.is_some());
    assert!(opened || connection.is_handshaking() || end.is_some());
    let head = if role == Role::Server && (opened || end.is_some()) {
        out.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| at + 4)
    } else {
        0
    };
    let frames = if opened { out.split_off(head) } else { Vec::new() };
    let mut frames = read_frames(&frames).expect("whole frames");
    assert!(frames.iter().all(|frame| frame.is_masked == (role == Role::Client)));
    // Of many Pings in one read not all are answered, which depends on the cut.
    if pings > 16 {
        frames.retain(|frame| frame.first != super::first::PONG);
    }
    Verdict { opened, end, response: out, frames }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_two_bytes_choose_a_setting_and_every_setting_its_bytes() {
        for both in 0..=u16::MAX {
            let bytes = both.to_be_bytes();
            let (setting, rest) = Setting::parse(&bytes).unwrap();
            assert_eq!((setting.bytes(), rest.is_empty()), (bytes, true));
        }
    }
}
