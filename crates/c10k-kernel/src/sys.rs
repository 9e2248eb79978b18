//! Every `unsafe` line of the house stands here or in a file below this one.

#[allow(unsafe_code, reason = "raw system calls that no safe wrapper offers at the cost the hot path allows")]
pub(crate) mod raw_socket;
