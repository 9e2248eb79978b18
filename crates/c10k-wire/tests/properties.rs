//! Any split of any valid stream gives the same messages; any broken rule its close code; nothing panics.

mod support;

use c10k_wire::conformance::{self, Seen, first, fuzzing};
use c10k_wire::raw::{ProbeId, Probes};
use c10k_wire::ws::{self, CloseCode, Ended, Kind, Limits, Role, Violation};
use proptest::prelude::*;
use support::{Peer, client_end};

/// A message in frames, with control frames in front of each.
#[derive(Clone, Debug)]
struct Sending {
    kind: Kind,
    frames: Vec<Vec<u8>>,
    controls: Vec<Option<(bool, Vec<u8>)>>,
}

fn payload(kind: Kind) -> BoxedStrategy<Vec<u8>> {
    let size = prop_oneof![8 => 0_usize..40, 2 => 100_usize..300, 1 => 65_500_usize..65_600];
    match kind {
        Kind::Binary => (size, any::<u8>())
            .prop_map(|(size, seed)| (0..size).map(|at| seed.wrapping_add((at * 7) as u8)).collect())
            .boxed(),
        Kind::Text => prop::collection::vec(any::<char>(), 0..60)
            .prop_map(|chars| chars.into_iter().collect::<String>().into_bytes())
            .boxed(),
    }
}

fn sending() -> impl Strategy<Value = Sending> {
    let kind = prop_oneof![Just(Kind::Text), Just(Kind::Binary)];
    let control = prop::option::of((any::<bool>(), prop::collection::vec(any::<u8>(), 0..126)));
    (
        kind.prop_flat_map(|kind| (Just(kind), payload(kind))),
        prop::collection::vec((any::<prop::sample::Index>(), control), 1..5),
    )
        .prop_map(|((kind, payload), cuts)| {
            let mut ends: Vec<_> = cuts.iter().map(|(at, _)| at.index(payload.len() + 1)).collect();
            ends.sort_unstable();
            *ends.last_mut().expect("one cut at least") = payload.len();
            let mut start = 0;
            let frames = ends.iter().map(|&end| payload[std::mem::replace(&mut start, end)..end].to_vec());
            Sending { kind, frames: frames.collect(), controls: cuts.into_iter().map(|(_, c)| c).collect() }
        })
}

fn write(sendings: &[Sending], role: Role) -> (Vec<u8>, Vec<Seen>) {
    let (mut bytes, mut seen) = (Vec::new(), Vec::new());
    let is_masked = role == Role::Server;
    for sending in sendings {
        let last = sending.frames.len() - 1;
        for (at, (frame, control)) in sending.frames.iter().zip(&sending.controls).enumerate() {
            if let Some((is_ping, payload)) = control {
                conformance::write_frame(
                    if *is_ping { first::PING } else { first::PONG },
                    is_masked,
                    payload,
                    &mut bytes,
                );
                if *is_ping {
                    seen.push(Seen::Pong(payload.clone()));
                }
            }
            let opcode = match (at, sending.kind) {
                (0, Kind::Text) => first::TEXT_BEGIN,
                (0, Kind::Binary) => first::BINARY_BEGIN,
                _ => first::MORE,
            };
            conformance::write_frame(opcode | u8::from(at == last) << 7, is_masked, frame, &mut bytes);
        }
        seen.push(Seen::Message(sending.kind, sending.frames.concat()));
    }
    (bytes, seen)
}

fn feed(peer: &mut Peer, mut bytes: &[u8], reads: &[usize]) {
    for &read in reads.iter().cycle() {
        if bytes.is_empty() {
            return;
        }
        let (chunk, rest) = bytes.split_at(read.min(bytes.len()));
        peer.receive(chunk);
        bytes = rest;
    }
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

fn reads() -> impl Strategy<Value = Vec<usize>> {
    let read = prop_oneof![4 => 1_usize..20, 2 => 1_usize..2_000, 1 => 60_000_usize..70_000];
    prop::collection::vec(read, 1..30)
}

proptest! {
    #[test]
    fn any_split_of_any_valid_stream_gives_the_same_messages(
        sendings in prop::collection::vec(sending(), 1..4), role in role(), reads in reads(),
    ) {
        let (bytes, expected) = write(&sendings, role);
        let mut peer = Peer::open(role, Limits::default());
        feed(&mut peer, &bytes, &reads);
        prop_assert_eq!(peer.seen(), (expected, None));
        prop_assert!(peer.connection.is_idle());
        prop_assert_eq!(peer.connection.heap_bytes(), 0);
    }

    #[test]
    fn any_invalid_ending_of_a_valid_stream_gets_its_close_code_and_no_message_is_lost(
        sendings in prop::collection::vec(sending(), 0..3), role in role(), reads in reads(), pick: prop::sample::Index,
        late in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let cases: Vec<_> = conformance::cases().into_iter()
            .filter(|case| case.is_for(role) && case.seen.is_empty() && case.bytes_to(role).len() < 10_000)
            .filter_map(|case| match case.end {
                conformance::Ending::Failed(violation) => Some((case, violation)),
                _ => None,
            })
            .collect();
        let (case, violation) = pick.get(&cases);
        let (mut bytes, expected) = write(&sendings, role);
        bytes.extend(case.bytes_to(role));
        bytes.extend(late);
        let mut peer = Peer::open(role, Limits::default());
        // Where a case's own bytes end in the middle of a frame, what is late is still part of it.
        feed(&mut peer, &bytes, &reads);
        prop_assert_eq!(peer.end, Some(Ended::Violated(*violation)), "{}", case.name);
        prop_assert_eq!(peer.seen(), (expected, Some(Some(violation.code().get()))), "{}", case.name);
    }

    #[test]
    fn arbitrary_bytes_neither_panic_nor_are_kept_beyond_the_limits(
        data in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        fuzzing::server(&data);
        fuzzing::client(&data);
    }

    #[test]
    fn streams_with_flipped_bits_neither_panic_nor_depend_on_the_cut(
        sendings in prop::collection::vec(sending(), 1..3), role in role(), how in 0_u8..0x80, narrow: u8,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..4),
    ) {
        let (mut bytes, _) = write(&sendings, role);
        for (at, bit) in flips {
            *at.get_mut(&mut bytes) ^= 1 << bit;
        }
        let data = [&[how, narrow][..], &bytes].concat();
        match role {
            Role::Server => fuzzing::server(&data),
            Role::Client => fuzzing::client(&data),
        };
    }

    #[test]
    fn a_probe_comes_back_whole_from_our_server_and_another_one_does_not(
        size in 8_u16..3000, connection: u32, round in 0_u32..9, reads in reads(), flip in 0_usize..3000,
    ) {
        let probes = Probes::new(7, size).unwrap();
        let id = ProbeId { connection: u64::from(connection), round };
        let mut client = client_end(Limits::default());
        let mut frame = Vec::new();
        client.output(&mut frame).probe(&probes, id);
        let mut server = Peer::open(Role::Server, Limits::default());
        feed(&mut server, &frame, &reads);
        prop_assert_eq!(server.messages.len(), 1);
        let mut sent = conformance::read_frames(&server.out).unwrap();
        prop_assert_eq!((sent.len(), sent[0].first), (1, first::BINARY));
        let mut scratch = vec![0; usize::from(size)];
        let mut check = |kind, id, payload: &mut [u8]| {
            ws::check_probe(&probes, id, &ws::Message { kind, payload }, &mut scratch)
        };
        let payload = &mut sent[0].payload;
        prop_assert!(check(Kind::Binary, id, payload));
        prop_assert!(!check(Kind::Text, id, payload));
        let other = ProbeId { round: round + 1, ..id };
        prop_assert!(!check(Kind::Binary, other, payload));
        prop_assert!(!check(Kind::Binary, id, &mut payload.clone()[1..]));
        let at = flip % payload.len();
        payload[at] ^= 0x10;
        prop_assert!(!check(Kind::Binary, id, payload));
    }
}

#[test]
fn every_violation_by_bytes_is_in_the_table_for_some_end() {
    let cases = conformance::cases();
    for violation in Violation::ALL.into_iter().filter(|&violation| violation != Violation::LateMessage) {
        let is_there = |case: &conformance::Case| case.end == conformance::Ending::Failed(violation);
        assert!(cases.iter().any(is_there), "{violation:?}");
    }
}

#[test]
fn a_flood_of_pings_brings_few_pongs_and_the_last_one_is_answered() {
    for role in [Role::Server, Role::Client] {
        let mut peer = Peer::open(role, Limits::default());
        let mut flood = Vec::new();
        for n in 0..10_000_u32 {
            conformance::write_frame(first::PING, role == Role::Server, &n.to_be_bytes(), &mut flood);
        }
        peer.receive(&flood);
        let (pongs, close) = peer.seen();
        assert_eq!((pongs.len(), close, peer.pings), (17, None, 10_000));
        assert_eq!(pongs.last(), Some(&Seen::Pong(9_999_u32.to_be_bytes().to_vec())));
        assert_eq!(peer.connection.heap_bytes(), 0);
    }
}

#[test]
fn a_huge_length_is_refused_before_anything_is_allocated_for_it() {
    for length in [1_u64 << 62, (1 << 63) - 1, (1 << 20) + 1] {
        let mut peer = Peer::open(Role::Server, Limits::default());
        let mut frame = vec![0x82, 0xff];
        frame.extend(length.to_be_bytes());
        frame.extend([1, 2, 3, 4]);
        let end = peer.receive(&frame);
        assert_eq!(end.map(|end| end.name().into_owned()).as_deref(), Some("ws-frame-too-big"));
        assert_eq!(peer.seen().1, Some(Some(1009)));
        assert!(peer.connection.heap_bytes() < 256);
    }
}

#[test]
fn a_length_is_judged_before_the_mask_behind_it_has_come() {
    for (header, name) in [
        (&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0][..], "ws-impossible-length"),
        (&[0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 1], "ws-frame-too-big"),
        (&[0x82, 0xfe, 0, 125], "ws-non-minimal-length"),
    ] {
        let mut peer = Peer::open(Role::Server, Limits::default());
        let (last, before) = header.split_last().unwrap();
        assert_eq!(peer.receive(before), None, "{name}");
        assert_eq!(peer.receive(&[*last]).map(|end| end.name().into_owned()).as_deref(), Some(name));
    }
}

#[test]
fn a_message_that_took_too_long_is_closed_with_1008_and_nothing_else_is() {
    let server = c10k_wire::ws::ServerEnd::default();
    let half_text = [first::TEXT_BEGIN, 0x81, 0, 0, 0, 0, b'x'];
    for (bytes, is_within) in [(&[][..], false), (&[first::BINARY], true), (&half_text, true)] {
        let mut peer = Peer::open(Role::Server, Limits::default());
        peer.receive(bytes);
        assert_eq!(peer.connection.is_within(), is_within, "{bytes:?}");
        let end = server.give_up_message(&mut peer.connection, &mut peer.out);
        assert_eq!(end, is_within.then_some(Ended::Violated(Violation::LateMessage)));
        assert_eq!(peer.seen(), (Vec::new(), is_within.then_some(Some(1008))));
        assert_eq!((peer.connection.is_ended(), peer.connection.is_within()), (is_within, false));
    }
    let mut closing = Peer::open(Role::Server, Limits::default());
    closing.close(CloseCode::AWAY, "");
    assert_eq!(server.give_up_message(&mut closing.connection, &mut closing.out), None);
}

#[test]
fn what_is_finished_is_what_an_earlier_input_has_begun() {
    let frame = |first: u8, payload: &[u8]| {
        let mut bytes = Vec::new();
        conformance::write_frame(first, true, payload, &mut bytes);
        bytes
    };
    let (text, ping) = (frame(first::TEXT, b"text"), frame(first::PING, b"ping"));
    let (begin, last) = (frame(first::TEXT_BEGIN, b"a"), frame(first::LAST, b"b"));
    let inputs: [(&[&[u8]], bool); 8] = [
        (&[&text], false),
        (&[&text[..3], &text[3..]], true),
        (&[&text[..3], &[&text[3..], &text[..3]].concat()], true),
        (&[&ping[..3], &ping[3..]], true),
        (&[&begin, &ping], false),
        (&[&begin, &ping[..3], &ping[3..]], false),
        (&[&begin, &[&last[..], &begin].concat()], true),
        (&[&begin, &last[..2], &last[2..6]], false),
    ];
    for (inputs, finished) in inputs {
        let server = c10k_wire::ws::ServerEnd::default();
        let mut peer = Peer::open(Role::Server, Limits::default());
        let mut last = None;
        for input in inputs {
            let mut out = Vec::new();
            last = Some(server.receive(&mut peer.connection, &mut input.to_vec(), &mut out, ws::discard));
        }
        assert_eq!(last.map(|received| received.finished), Some(finished), "{inputs:?}");
    }
}

#[test]
fn memory_follows_what_has_come_and_not_what_was_announced() {
    let mut peer = Peer::open(Role::Server, Limits::default());
    let mut frame = Vec::new();
    conformance::write_frame(first::BINARY, true, &vec![7; 1 << 20], &mut frame);
    let mut came = 0;
    for chunk in frame[..frame.len() - 1].chunks(1000) {
        peer.receive(chunk);
        came += chunk.len();
        assert!(peer.connection.heap_bytes() <= 2 * came + 256, "{came}");
        assert!(peer.connection.heap_bytes() <= (1 << 20) + 256, "{came}");
    }
    assert!(peer.messages.is_empty() && !peer.connection.is_idle());
    peer.receive(&frame[frame.len() - 1..]);
    assert_eq!(peer.messages.len(), 1);
    assert_eq!(peer.connection.heap_bytes(), 0, "a big message leaves nothing behind");
}

#[test]
fn an_end_that_closes_drops_messages_answers_pings_and_waits_for_the_other() {
    for role in [Role::Server, Role::Client] {
        let is_masked = role == Role::Server;
        let mut peer = Peer::open(role, Limits::default());
        assert!(peer.close(CloseCode::AWAY, "going"));
        assert!(!peer.close(CloseCode::NORMAL, "twice"), "a second Close");
        assert!(peer.connection.is_closing() && !peer.connection.is_open() && !peer.connection.is_idle());
        let sent = conformance::read_frames(&peer.out).unwrap();
        assert_eq!((sent.len(), sent[0].first), (1, first::CLOSE));
        assert_eq!(sent[0].payload, b"\x03\xe9going");
        peer.out.clear();
        let mut bytes = Vec::new();
        conformance::write_frame(first::TEXT, is_masked, b"crossed it on the way", &mut bytes);
        conformance::write_frame(first::PING, is_masked, b"still", &mut bytes);
        for byte in bytes.drain(..) {
            peer.receive(&[byte]);
        }
        assert_eq!(peer.seen(), (vec![Seen::Pong(b"still".to_vec())], None));
        conformance::write_frame(first::CLOSE, is_masked, &[3, 0xe9], &mut bytes);
        peer.receive(&bytes);
        assert_eq!(peer.end, Some(Ended::Closed(Some(CloseCode::AWAY))));
        assert_eq!(peer.seen().1, None, "no answer to an answer");
    }
}

#[test]
fn a_rule_broken_while_closing_is_named_and_not_answered_again() {
    let mut peer = Peer::open(Role::Server, Limits::default());
    peer.close(CloseCode::NORMAL, "");
    peer.out.clear();
    peer.receive(&[0xff, 0x80]);
    assert_eq!(peer.end, Some(Ended::Violated(Violation::ReservedBits)));
    assert!(peer.out.is_empty() && peer.connection.is_ended());
}

#[test]
fn a_handshake_given_up_is_answered_only_if_it_had_begun() {
    let server = ws::ServerEnd::default();
    let mut out = Vec::new();
    let mut silent = server.accept();
    assert_eq!(server.give_up(&mut silent, &mut out).map(Ended::name).as_deref(), Some("handshake-timeout"));
    assert!(out.is_empty() && silent.is_ended());
    let mut slow = server.accept();
    let received = server.receive(&mut slow, &mut b"GET / HTTP/1.1\r\nHo".to_vec(), &mut out, ws::discard);
    assert_eq!(received, ws::Received::default());
    assert!(server.give_up(&mut slow, &mut out).is_some());
    assert!(out.starts_with(b"HTTP/1.1 408 "));
    assert_eq!(server.give_up(&mut slow, &mut out), None, "twice");
    let mut open = Peer::open(Role::Server, Limits::default());
    assert_eq!(server.give_up(&mut open.connection, &mut out), None, "an open one");
    assert!(open.connection.is_open());
}

#[test]
fn a_close_during_the_handshake_writes_nothing() {
    let (mut peer, _) = Peer::handshaking(Role::Server, Limits::default());
    assert!(!peer.close(CloseCode::AWAY, "") && peer.out.is_empty());
}

#[test]
fn fragments_within_narrow_limits_are_refused_by_the_first_that_is_over() {
    let limits =
        Limits { max_frame_bytes: 100, max_message_bytes: 150, max_fragments: 3, ..Limits::default() };
    for (sizes, violation) in [
        (&[101_usize][..], Violation::FrameTooBig),
        (&[100, 51], Violation::MessageTooBig),
        (&[0, 0, 0, 0], Violation::TooManyFragments),
    ] {
        let mut peer = Peer::open(Role::Client, limits);
        for (at, &size) in sizes.iter().enumerate() {
            let mut frame = Vec::new();
            let opcode = if at == 0 { first::BINARY_BEGIN } else { first::MORE };
            conformance::write_frame(opcode, false, &vec![1; size], &mut frame);
            assert_eq!(peer.end, None);
            peer.receive(&frame);
        }
        assert_eq!(peer.end, Some(Ended::Violated(violation)));
    }
}
