//! A probe as a message, and its check on the way back.

use super::{Kind, Message};
use crate::raw::{Echo, ProbeId, Probes};

/// Whether a message is the echo of this probe: the same bytes, in a binary message, however it was fragmented.
/// `scratch` holds the expected bytes and must be as long as a probe.
///
/// # Panics
/// When `scratch` is shorter than a probe.
#[must_use]
pub fn check_probe(probes: &Probes, id: ProbeId, message: &Message<'_>, scratch: &mut [u8]) -> bool {
    message.kind == Kind::Binary && probes.check(id, 0, message.payload, scratch) == Echo::Whole
}
