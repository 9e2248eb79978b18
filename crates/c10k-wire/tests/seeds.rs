//! The seeds of the fuzz targets, without a fuzzer; and how they come to be.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use c10k_wire::conformance::fuzzing::{self, Act, Setting};
use c10k_wire::conformance::{self, first, sample_request, write_frame};
use c10k_wire::ws::{Ended, HandshakeFault, Refusal, Role, Violation};

const ROLES: [Role; 2] = [Role::Server, Role::Client];

#[test]
fn the_seeds_pass_at_both_ends_whatever_end_they_were_made_for() {
    for role in ROLES {
        let there = there(role);
        assert!(there.len() >= 60, "only {} seeds for the {role:?}", there.len());
        for data in there {
            fuzzing::server(&data);
            fuzzing::client(&data);
        }
    }
}

#[test]
fn every_end_that_there_is_is_the_end_of_a_seed() {
    for role in ROLES {
        let run = if role == Role::Server { fuzzing::server } else { fuzzing::client };
        let found: BTreeSet<String> =
            there(role).iter().filter_map(|data| Some(run(data)?.name().into_owned())).collect();
        let violations = Violation::ALL.into_iter().filter(|&violation| can_happen_to(role, violation));
        let mut expected: Vec<Ended> = violations.map(Ended::Violated).collect();
        match role {
            Role::Server => {
                expected.push(Ended::Healthy);
                expected.extend(Refusal::ALL.map(Ended::Refused));
            }
            Role::Client => expected.extend(HandshakeFault::ALL.map(Ended::Failed)),
        }
        for end in expected {
            assert!(found.contains(&*end.name()), "no seed for the {role:?} ends as {}", end.name());
        }
    }
}

#[test]
fn the_seeds_in_the_repository_are_those_that_are_written() {
    for role in ROLES {
        let there = there(role);
        let written: BTreeSet<Vec<u8>> = seeds(role).into_iter().map(|(_, seed)| seed).collect();
        assert!(there == written, "for the {role:?} others; run write_the_seeds");
    }
}

/// After a change of the conformance table: `cargo test -p c10k-wire --test seeds -- --ignored`.
#[test]
#[ignore = "writes into the repository"]
fn write_the_seeds() {
    for role in ROLES {
        let _ = fs::remove_dir_all(folder(role));
        fs::create_dir_all(folder(role)).unwrap();
        for (name, seed) in seeds(role) {
            fs::write(folder(role).join(name), seed).unwrap();
        }
    }
}

/// What the repository has.
fn there(role: Role) -> BTreeSet<Vec<u8>> {
    let entries = fs::read_dir(folder(role)).expect("the seeds are part of the repository");
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn can_happen_to(role: Role, violation: Violation) -> bool {
    match role {
        Role::Server => violation != Violation::Masked,
        // It leaves deadlines of messages to its probes.
        Role::Client => violation != Violation::Unmasked && violation != Violation::LateMessage,
    }
}

/// One small case of the conformance table for each way to end, every handshake, and what only another setting brings
/// about.
fn seeds(role: Role) -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut ends = BTreeSet::new();
    for case in conformance::cases().iter().filter(|case| case.is_for(role)) {
        let bytes = case.bytes_to(role);
        let shape = format!("{:?} {}", case.end, case.sent.len().min(4));
        if bytes.len() <= 300 && ends.insert(shape) {
            let read = [0x7f, 0, 2, 6][seeds.len() % 4];
            seeds.push(seed(&case.name, Setting { read, ..Setting::default() }, &bytes));
        }
    }
    let handshakes: Vec<_> = match role {
        Role::Server => conformance::requests().into_iter().map(|case| (case.name, case.bytes)).collect(),
        Role::Client => conformance::responses(conformance::SAMPLE_ACCEPT)
            .into_iter()
            .map(|case| (case.name, case.bytes))
            .collect(),
    };
    for (name, bytes) in handshakes.into_iter().filter(|(_, bytes)| bytes.len() <= 1000) {
        seeds.push(seed(&format!("handshake {name}"), OWN, &bytes));
    }
    seeds.extend(within_narrow_limits(role));
    seeds.extend(after_an_act(role));
    if role == Role::Server {
        seeds.extend(under_a_policy());
    }
    seeds
}

/// Behind its own handshake, in reads of 128 bytes.
const OWN: Setting = Setting {
    read: 0x7f,
    own_handshake: true,
    narrow_messages: false,
    narrow_heads: false,
    act: Act::None,
    acts_late: false,
    few_paths: false,
    few_origins: false,
    subprotocols: false,
};

fn within_narrow_limits(role: Role) -> Vec<(String, Vec<u8>)> {
    let opener = match role {
        Role::Server => sample_request(),
        Role::Client => conformance::responses(conformance::SAMPLE_ACCEPT).swap_remove(0).bytes,
    };
    let opener = String::from_utf8(opener).unwrap();
    let with = |more: &str| opener.replacen("\r\n\r\n", &format!("\r\n{more}\r\n"), 1).into_bytes();
    let messages = Setting { read: 0x7f, narrow_messages: true, ..Setting::default() };
    let heads = Setting { narrow_heads: true, ..OWN };
    let (most, half) = ([b'm'; 200], [b'h'; 100]);
    let frames = |frames: &[(u8, &[u8])]| frames_to(role, frames);
    vec![
        seed("narrow the largest frame", messages, &frames(&[(first::BINARY, &most)])),
        seed("narrow a frame too big", messages, &frames(&[(first::BINARY, &[&most[..], b"x"].concat())])),
        seed("narrow the largest message", messages, &{
            frames(&[(first::TEXT_BEGIN, &most), (first::LAST, &half)])
        }),
        seed("narrow a message too big", messages, &{
            frames(&[(first::TEXT_BEGIN, &most), (first::MORE, &half), (first::LAST, b"x")])
        }),
        seed("narrow as many frames as may be", messages, &{
            frames(&[
                (first::BINARY_BEGIN, b"a"),
                (first::MORE, b""),
                (first::MORE, b""),
                (first::LAST, b"b"),
            ])
        }),
        seed("narrow too many frames", messages, &{
            let more = (first::MORE, &b""[..]);
            frames(&[(first::BINARY_BEGIN, b"a"), more, more, more, more])
        }),
        seed("narrow a head too long", heads, &with(&format!("X: {}\r\n", "x".repeat(200)))),
        seed("narrow too many header lines", heads, &with(&"X: y\r\n".repeat(7))),
        seed(
            "narrow a head that fits",
            heads,
            &[opener.as_bytes(), &frames(&[(first::TEXT, b"x")])].concat(),
        ),
    ]
}

fn after_an_act(role: Role) -> Vec<(String, Vec<u8>)> {
    let acting = |act, acts_late| Setting { read: 2, act, acts_late, ..Setting::default() };
    let close = [&1001_u16.to_be_bytes()[..], b"too"].concat();
    let talk = frames_to(
        role,
        &[
            (first::TEXT, b"crossed it"),
            (first::PING, b"still there"),
            (first::CLOSE, &close),
            (first::TEXT, b"late"),
        ],
    );
    let in_pieces =
        frames_to(role, &[(first::TEXT_BEGIN, b"one"), (first::PING, b""), (first::LAST, b"two")]);
    let broken = frames_to(role, &[(first::TEXT, b"first"), (first::TEXT, b"\xff\xff\xff\xff")]);
    let mut seeds = vec![
        seed("closing then talk", acting(Act::Close, false), &talk),
        seed("closing within a talk", acting(Act::Close, true), &talk),
        seed("closing within a message", acting(Act::Close, true), &in_pieces),
        seed("closing then a broken rule", acting(Act::Close, false), &broken),
        seed(
            "closing before the handshake is over",
            Setting { own_handshake: true, ..acting(Act::Close, false) },
            &{ sample_request() },
        ),
    ];
    if role == Role::Server {
        let request = sample_request();
        let own = |act, acts_late| Setting { own_handshake: true, ..acting(act, acts_late) };
        seeds.extend([
            seed("given up before a byte", own(Act::GiveUp, false), &request),
            seed("given up within the request", own(Act::GiveUp, true), &request),
            seed("given up after the handshake", acting(Act::GiveUp, true), &talk),
            seed("a message given up", acting(Act::GiveUpMessage, true), &in_pieces),
            seed("a frame given up", acting(Act::GiveUpMessage, true), &{
                frames_to(role, &[(first::BINARY, &[7; 40])])
            }),
            seed("no message given up", acting(Act::GiveUpMessage, false), &talk),
        ]);
    }
    seeds
}

fn under_a_policy() -> Vec<(String, Vec<u8>)> {
    let policy = Setting { few_paths: true, few_origins: true, subprotocols: true, ..OWN };
    let ask = |path: &str, more: &str| {
        let request = String::from_utf8(sample_request()).unwrap();
        request.replacen("/chat", path, 1).replacen("\r\n\r\n", &format!("\r\n{more}\r\n"), 1).into_bytes()
    };
    let origin = "Origin: https://lab.example\r\n";
    vec![
        seed("policy another path", policy, &ask("/other", "")),
        seed("policy an absolute path", policy, &ask("http://server.example.com/chat?x", "")),
        seed("policy another origin", policy, &ask("/chat", "Origin: https://evil.example\r\n")),
        seed("policy two origins", policy, &ask("/chat", &origin.repeat(2))),
        seed("policy the right origin", policy, &ask("/chat", origin)),
        seed("policy a subprotocol", policy, &ask("/chat", "Sec-WebSocket-Protocol: x, a, b\r\n")),
        seed("policy no subprotocol that is spoken", policy, &ask("/chat", "Sec-WebSocket-Protocol: x\r\n")),
    ]
}

fn frames_to(role: Role, frames: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (first, payload) in frames {
        write_frame(*first, role == Role::Server, payload, &mut bytes);
    }
    bytes
}

fn seed(name: &str, setting: Setting, bytes: &[u8]) -> (String, Vec<u8>) {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    (words.collect::<Vec<_>>().join("-").to_lowercase(), [&setting.bytes()[..], bytes].concat())
}

fn folder(role: Role) -> PathBuf {
    let name = if role == Role::Server { "ws_server" } else { "ws_client" };
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(name)
}
