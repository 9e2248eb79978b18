//! What a peer can do wrong once the handshake is over, and the close code it gets for it.

use std::fmt;

/// A status code of a Close frame (RFC 6455 section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: the endpoint goes away.
    pub const AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL: Self = Self(1002);
    /// 1007: the data is not what its type promises, such as text that is not UTF-8.
    pub const INVALID: Self = Self(1007);
    /// 1008: the peer broke a rule of this endpoint's own.
    pub const POLICY: Self = Self(1008);
    /// 1009: a message is too big.
    pub const TOO_BIG: Self = Self(1009);

    /// The code if it may stand in a Close frame: those of RFC 6455 section 7.4.1 and of IANA's registry since
    /// (1012 to 1014), and those for libraries and applications. 1004, 1005, 1006 and 1015 never may.
    #[must_use]
    pub fn new(code: u16) -> Option<Self> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A broken rule. `Display` gives the words that go into the Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// A reserved bit is set though no extension was negotiated (section 5.2).
    ReservedBits,
    /// An opcode that has no meaning yet (section 5.2).
    ReservedOpcode,
    /// A control frame that is not final (section 5.5).
    FragmentedControl,
    /// A control frame of more than 125 bytes (section 5.5).
    LongControl,
    /// A client's frame without a mask (section 5.1).
    Unmasked,
    /// A server's frame with a mask (section 5.1).
    Masked,
    /// A length in more bytes than it needs (section 5.2).
    NonMinimalLength,
    /// A length of 2^63 or more (section 5.2).
    ImpossibleLength,
    /// A continuation of nothing (section 5.4).
    StrayContinuation,
    /// A new message before the end of the last (section 5.4).
    InterruptedMessage,
    /// A frame over [`Limits::max_frame_bytes`](super::Limits::max_frame_bytes).
    FrameTooBig,
    /// A message over [`Limits::max_message_bytes`](super::Limits::max_message_bytes).
    MessageTooBig,
    /// A message of more frames than [`Limits::max_fragments`](super::Limits::max_fragments), empty ones counted.
    TooManyFragments,
    /// Text that is not UTF-8 (section 8.1).
    InvalidText,
    /// A Close frame of one byte (section 5.5.1).
    HalfCloseCode,
    /// A close code that may not be sent (section 7.4).
    InvalidCloseCode,
    /// A close reason that is not UTF-8 (section 5.5.1).
    InvalidCloseReason,
    /// A frame or a message that was not whole in time (section 10.4); how long that is, is the caller's.
    LateMessage,
}

impl Violation {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::ReservedBits,
        Self::ReservedOpcode,
        Self::FragmentedControl,
        Self::LongControl,
        Self::Unmasked,
        Self::Masked,
        Self::NonMinimalLength,
        Self::ImpossibleLength,
        Self::StrayContinuation,
        Self::InterruptedMessage,
        Self::FrameTooBig,
        Self::MessageTooBig,
        Self::TooManyFragments,
        Self::InvalidText,
        Self::HalfCloseCode,
        Self::InvalidCloseCode,
        Self::InvalidCloseReason,
        Self::LateMessage,
    ];

    /// The code that goes into the Close frame.
    #[must_use]
    pub fn code(self) -> CloseCode {
        match self {
            Self::FrameTooBig | Self::MessageTooBig => CloseCode::TOO_BIG,
            Self::TooManyFragments | Self::LateMessage => CloseCode::POLICY,
            Self::InvalidText | Self::InvalidCloseReason => CloseCode::INVALID,
            _ => CloseCode::PROTOCOL,
        }
    }

    /// The name it is counted under.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.texts().0
    }

    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::ReservedBits => ("ws-reserved-bits", "a reserved bit is set"),
            Self::ReservedOpcode => ("ws-reserved-opcode", "a reserved opcode"),
            Self::FragmentedControl => ("ws-fragmented-control", "a control frame in fragments"),
            Self::LongControl => ("ws-long-control", "a control frame of more than 125 bytes"),
            Self::Unmasked => ("ws-unmasked", "a client's frame without a mask"),
            Self::Masked => ("ws-masked", "a server's frame with a mask"),
            Self::NonMinimalLength => ("ws-non-minimal-length", "a length in more bytes than it needs"),
            Self::ImpossibleLength => ("ws-impossible-length", "a length of 2^63 or more"),
            Self::StrayContinuation => ("ws-stray-continuation", "a continuation of nothing"),
            Self::InterruptedMessage => {
                ("ws-interrupted-message", "a new message before the end of the last")
            }
            Self::FrameTooBig => ("ws-frame-too-big", "a frame over the limit"),
            Self::MessageTooBig => ("ws-message-too-big", "a message over the limit"),
            Self::TooManyFragments => ("ws-too-many-fragments", "a message of too many frames"),
            Self::InvalidText => ("ws-invalid-text", "text that is not UTF-8"),
            Self::HalfCloseCode => ("ws-half-close-code", "a Close frame of one byte"),
            Self::InvalidCloseCode => ("ws-invalid-close-code", "a close code that may not be sent"),
            Self::InvalidCloseReason => ("ws-invalid-close-reason", "a close reason that is not UTF-8"),
            Self::LateMessage => ("message-timeout", "a message that was not whole in time"),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.texts().1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_that_must_not_be_sent_are_not_made() {
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            assert_eq!(CloseCode::new(code), None, "{code}");
        }
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1014, 3000, 3999, 4000, 4999]
        {
            assert_eq!(CloseCode::new(code).map(CloseCode::get), Some(code));
        }
    }

    #[test]
    fn the_list_has_every_violation() {
        for (at, violation) in Violation::ALL.into_iter().enumerate() {
            // One that is new does not compile here, and belongs into the list then.
            let place = match violation {
                Violation::ReservedBits => 0,
                Violation::ReservedOpcode => 1,
                Violation::FragmentedControl => 2,
                Violation::LongControl => 3,
                Violation::Unmasked => 4,
                Violation::Masked => 5,
                Violation::NonMinimalLength => 6,
                Violation::ImpossibleLength => 7,
                Violation::StrayContinuation => 8,
                Violation::InterruptedMessage => 9,
                Violation::FrameTooBig => 10,
                Violation::MessageTooBig => 11,
                Violation::TooManyFragments => 12,
                Violation::InvalidText => 13,
                Violation::HalfCloseCode => 14,
                Violation::InvalidCloseCode => 15,
                Violation::InvalidCloseReason => 16,
                Violation::LateMessage => 17,
            };
            assert_eq!(place, at);
        }
    }

    #[test]
    fn each_violation_has_a_name_of_its_own_and_words_that_fit_a_close_frame() {
        let names: std::collections::BTreeSet<_> = Violation::ALL.iter().map(|v| v.name()).collect();
        assert_eq!(names.len(), Violation::ALL.len());
        for violation in Violation::ALL {
            assert!(violation.to_string().len() <= 123, "{violation}");
        }
    }
}
