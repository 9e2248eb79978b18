//! The conformance table over bytes, at both ends, however the bytes are cut.

mod support;

use c10k_wire::conformance::{self, Ending, Request, Seen, first};
use c10k_wire::ws::{ClientEnd, Ended, Limits, Refusal, Role, ServerEnd, ServerPolicy};
use support::{Peer, client_end};

/// How an input is cut into reads, bytes each.
const CUTS: [usize; 7] = [usize::MAX, 1, 2, 3, 7, 64, 4096];

#[test]
fn both_ends_do_what_the_standard_asks_for_however_the_input_is_cut() {
    let mut run = 0;
    for case in conformance::cases() {
        for role in [Role::Server, Role::Client].into_iter().filter(|&role| case.is_for(role)) {
            let bytes = case.bytes_to(role);
            // Large ones byte by byte say no more than 64 KiB do.
            for cut in CUTS.into_iter().filter(|&cut| bytes.len() / cut < 150_000) {
                let what = format!("{role:?}, {}, in reads of {cut}", case.name);
                let mut peer = Peer::open(role, Limits::default());
                for chunk in bytes.chunks(cut) {
                    peer.receive(chunk);
                }
                assert_eq!(peer.seen(), (case.seen.clone(), ending_of(case.end)), "{what}");
                let messages = case.seen.iter().filter(|seen| matches!(seen, Seen::Message(..))).cloned();
                assert_eq!(peer.messages, messages.collect::<Vec<_>>(), "{what}");
                match (case.end, peer.end) {
                    (Ending::Open, None) => {
                        assert_eq!(peer.connection.heap_bytes(), 0, "{what}");
                        assert!(peer.connection.is_idle() && peer.connection.is_open(), "{what}");
                    }
                    (Ending::Closed(code), Some(Ended::Closed(seen))) => {
                        assert_eq!(seen.map(|code| code.get()), code, "{what}");
                    }
                    (Ending::Failed(violation), Some(end)) => {
                        assert_eq!(end, Ended::Violated(violation), "{what}");
                    }
                    (expected, end) => panic!("{what}: {expected:?} but {end:?}"),
                }
                assert_eq!(peer.connection.is_ended(), peer.end.is_some(), "{what}");
                run += 1;
            }
        }
    }
    assert!(run > 3000, "only {run} cases have run");
}

#[test]
fn each_case_has_a_name_of_its_own_and_the_section_it_is_about() {
    let frames = conformance::cases().into_iter().map(|case| case.name);
    let requests = conformance::requests().into_iter().map(|case| case.name.to_owned());
    let responses = conformance::responses("").into_iter().map(|case| case.name.to_owned());
    for names in [frames.collect::<Vec<_>>(), requests.collect(), responses.collect()] {
        let mut seen = std::collections::BTreeSet::new();
        for name in names {
            // Of another standard than RFC 6455: its number, too.
            let section =
                name.strip_prefix("RFC ").map_or(Some(&name[..]), |rest| Some(rest.split_once(' ')?.1));
            let section = section.and_then(|rest| rest.split_once(' ')).expect("a section and words").0;
            assert!(section.split('.').all(|part| part.parse::<u8>().is_ok()), "{name}");
            assert!(seen.insert(name.clone()), "twice: {name}");
        }
    }
}

#[test]
fn each_request_is_answered_in_the_same_way_wherever_it_is_cut() {
    let server = ServerEnd::default();
    for case in conformance::requests() {
        let expected = answer(&server, &case, &[&case.bytes]);
        assert_eq!(status(&expected), case.status, "{}", case.name);
        let most = case.bytes.len().min(700);
        for at in 1..most {
            let (head, tail) = case.bytes.split_at(at);
            assert_eq!(answer(&server, &case, &[head, tail]), expected, "{} cut at {at}", case.name);
        }
        let bytes: Vec<_> = case.bytes.chunks(1).collect();
        assert_eq!(answer(&server, &case, &bytes), expected, "{} byte by byte", case.name);
    }
}

#[test]
fn each_response_is_judged_in_the_same_way_wherever_it_is_cut() {
    let client = client_end(Limits::default());
    let count = conformance::responses("").len();
    for index in 0..count {
        let mut verdict = |cut: usize| {
            let mut request = Vec::new();
            let mut connection = client.connect(&mut request);
            let case = conformance::responses(&support::accept_of(&request)).swap_remove(index);
            let mut client: ClientEnd = client.clone();
            let mut end = None;
            let mut opened = false;
            for chunk in case.bytes.chunks(cut) {
                let mut out = Vec::new();
                let received = client.receive(&mut connection, &mut chunk.to_vec(), &mut out, |_, _| {});
                assert!(out.is_empty() && connection.heap_bytes() < 32 << 10, "{}", case.name);
                end = end.or(received.end);
                opened |= received.opened;
            }
            let name = end.map_or_else(String::new, |end| end.name().into_owned());
            assert_eq!(name, case.outcome, "{} in reads of {cut}", case.name);
            assert_eq!(opened, case.outcome.is_empty(), "{}", case.name);
        };
        (1..120).chain([usize::MAX]).for_each(&mut verdict);
    }
}

#[test]
fn frames_behind_a_handshake_are_served_wherever_the_read_ends() {
    for role in [Role::Server, Role::Client] {
        let mut frames = Vec::new();
        conformance::write_frame(first::TEXT, role == Role::Server, b"behind", &mut frames);
        conformance::write_frame(first::PING, role == Role::Server, b"me", &mut frames);
        let expected =
            vec![Seen::Message(c10k_wire::ws::Kind::Text, b"behind".to_vec()), Seen::Pong(b"me".to_vec())];
        for cut in 0.. {
            let (mut peer, head) = Peer::handshaking(role, Limits::default());
            let all = [&head[..], &frames].concat();
            let Some((before, after)) = all.split_at_checked(cut) else { break };
            peer.receive(before);
            peer.receive(after);
            assert!(peer.opened, "{role:?} cut at {cut}");
            assert_eq!(peer.seen(), (expected.clone(), None), "{role:?} cut at {cut}");
        }
    }
}

#[test]
fn a_policy_decides_on_path_origin_and_subprotocol() {
    let list = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
    let policy = ServerPolicy::new(list(&["/chat"]), list(&["b", "a"]), list(&["https://Lab.example:8443"]));
    let server = ServerEnd::new(Limits::default(), policy.unwrap());
    let ask = |path: &str, extra: &str| {
        let request = String::from_utf8(conformance::sample_request()).unwrap();
        let request = request.replace("/chat", path).replace("\r\n\r\n", &format!("\r\n{extra}\r\n"));
        let mut out = Vec::new();
        let mut connection = server.accept();
        let received = server.receive(&mut connection, &mut request.into_bytes(), &mut out, |_, _| {});
        (received.end, String::from_utf8(out).unwrap().to_lowercase())
    };
    let refused = |refusal| Some(Ended::Refused(refusal));
    assert_eq!(ask("/chat?x", "").0, None);
    assert_eq!(ask("/chat/", "").0, refused(Refusal::Path));
    assert_eq!(ask("http://other/chat", "").0, None);
    assert_eq!(ask("/chat", "Origin: https://lab.example:8443\r\n").0, None);
    for origin in ["https://lab.example", "null", "", "https://lab.example:8443.evil.example"] {
        assert_eq!(ask("/chat", &format!("Origin: {origin}\r\n")).0, refused(Refusal::Origin), "{origin}");
    }
    let twice = "Origin: https://lab.example:8443\r\nOrigin: https://lab.example:8443\r\n";
    assert_eq!(ask("/chat", twice).0, refused(Refusal::Origin));
    // The client's order counts.
    for (offer, chosen) in [("a, b", Some("a")), ("x,b", Some("b")), ("A", None), ("", None)] {
        let (end, response) = ask("/chat", &format!("Sec-WebSocket-Protocol: {offer}\r\n"));
        assert_eq!(end, None);
        let found = response.split("sec-websocket-protocol: ").nth(1).and_then(|rest| rest.lines().next());
        assert_eq!(found, chosen, "{offer}");
    }
    let several = "Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: b, a\r\n";
    assert!(ask("/chat", several).1.contains("sec-websocket-protocol: b\r\n"));
}

fn ending_of(end: Ending) -> Option<Option<u16>> {
    match end {
        Ending::Open => None,
        Ending::Closed(code) => Some(code),
        Ending::Failed(violation) => Some(Some(violation.code().get())),
    }
}

/// The whole of what a server says to a request that arrives in these pieces.
fn answer(server: &ServerEnd, case: &Request, pieces: &[&[u8]]) -> String {
    let mut connection = server.accept();
    let mut out = Vec::new();
    let (mut end, mut opened) = (None, false);
    for piece in pieces {
        let received = server.receive(&mut connection, &mut piece.to_vec(), &mut out, |_, _| {});
        assert!(connection.heap_bytes() < 32 << 10, "{}", case.name);
        end = end.or(received.end);
        opened |= received.opened;
    }
    let name = end.map_or_else(String::new, |end| end.name().into_owned());
    assert_eq!((name.as_str(), opened), (case.outcome, case.outcome.is_empty()), "{}", case.name);
    assert_eq!(connection.is_ended(), !opened, "{}", case.name);
    let text = String::from_utf8(out).unwrap();
    if case.bytes.starts_with(b"HEAD ") {
        assert!(text.ends_with("\r\n\r\n") && text.contains("\r\nContent-Length: "), "{}: {text}", case.name);
    }
    if opened {
        assert_eq!(connection.heap_bytes(), 0, "{}", case.name);
        let accept = format!("Sec-WebSocket-Accept: {}\r\n", conformance::SAMPLE_ACCEPT);
        assert!(text.contains(&accept), "{text}");
        assert!(!text.to_lowercase().contains("extensions") && text.ends_with("\r\n\r\n"), "{text}");
    }
    text
}

fn status(response: &str) -> u16 {
    let digits = response.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no status: {response}"))
}
