//! Any bytes, in any reads, to a WebSocket client.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    c10k_wire::conformance::fuzzing::client(data);
});
