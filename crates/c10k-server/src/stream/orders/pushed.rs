//! The same where the server pushes: streams and messages to all come in whole frames between what is echoed.

use c10k_record::{BitRate, Payload, Span};
use c10k_wire::push::{Content, PushKind, PushReader};

use super::*;
use crate::push::{Fanout, PushPlan};

/// What the peer says.
#[derive(Clone, Copy, Debug)]
enum Item {
    Echo(usize),
    Begin,
    Leave,
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        3 => (0_usize..60).prop_map(Item::Echo),
        1 => (100_usize..9000).prop_map(Item::Echo),
        2 => Just(Item::Begin),
        1 => Just(Item::Leave),
    ]
}

/// Messages come back in their order; frames of what is pushed stand between them, whole and in theirs.
struct Pushed {
    kind: PushKind,
    items: Vec<Item>,
}

impl Pushed {
    fn payload(number: usize, size: usize) -> Vec<u8> {
        (0..size).map(|at| (at * 31 + number * 7) as u8).collect()
    }
}

const TEXT: u8 = 0x81;

impl Model for Pushed {
    fn says(&self) -> Vec<u8> {
        let mut says = sample_request();
        let begin = if self.kind == PushKind::Stream { "play" } else { "follow" };
        for (number, item) in self.items.iter().enumerate() {
            match item {
                Item::Echo(size) => {
                    write_frame(first::BINARY, true, &Self::payload(number, *size), &mut says);
                }
                Item::Begin => write_frame(TEXT, true, begin.as_bytes(), &mut says),
                Item::Leave => write_frame(TEXT, true, b"leave", &mut says),
            }
        }
        write_frame(RESERVED_OPCODE, true, b"bad", &mut says);
        says
    }

    fn check(&self, _sent: usize, heard: &[u8], _whole: bool) -> Result<(), String> {
        let Some(at) = heard.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(()) };
        if !heard.starts_with(b"HTTP/1.1 101 ") {
            return Ok(());
        }
        let content = Content::default();
        let mut echoes = self.items.iter().enumerate().filter_map(|(number, item)| match item {
            Item::Echo(size) => Some(Self::payload(number, *size)),
            _ => None,
        });
        let (mut rest, mut reader, mut closed) = (&heard[at + 4..], PushReader::new(self.kind), false);
        while let Some((first_byte, payload, after)) = whole_frame(rest) {
            if closed {
                return Err(format!("a frame {first_byte:#x} after the Close"));
            }
            match first_byte {
                first::BINARY if payload.starts_with(b"c10k") => {
                    if reader.is_over() {
                        reader = PushReader::new(self.kind);
                    }
                    let read = reader.read(&content, payload).map_err(|wrong| wrong.to_string())?;
                    if read.whole.is_none() || read.taken < payload.len() {
                        return Err(format!("a message is no whole frame: {read:?} of {}", payload.len()));
                    }
                }
                first::BINARY => {
                    if echoes.next().as_deref() != Some(payload) {
                        return Err("a message is not the next that was sent".to_owned());
                    }
                }
                0x89 if payload.is_empty() => {}
                0x88 => closed = true,
                other => return Err(format!("a frame that nobody sent: {other:#x}")),
            }
            rest = after;
        }
        Ok(())
    }
}

/// Ends that are decided stay, and what was begun comes whole: in any order of events.
fn goes_well_with(plan: PushPlan, items: Vec<Item>, steps: &[Step]) -> Result<(), TestCaseError> {
    let (content, fanout, kind) = (Content::default(), Arc::new(Fanout::default()), plan.kind());
    let pushes = Pushes::new(plan, &content, &fanout);
    let settings = WsSettings {
        end: ServerEnd::new(Limits::default(), ServerPolicy::default()),
        handshake_timeout: Some(MESSAGE_TIMEOUT),
        message_timeout: Some(MESSAGE_TIMEOUT),
        ping_every: Some(PING_EVERY),
    };
    let speech = WebSocket::new(Arc::new(settings), Answer::Echo, Some(kind));
    let mut pair = Pair::with(speech, Pushed { kind, items }, Some(pushes));
    let failed = |at: &str, error: String| TestCaseError::fail(format!("{at}: {error}"));
    for (number, step) in steps.iter().enumerate() {
        if let PushPlan::Fanout { payload, .. } = plan
            && number % 4 == 3
            && fanout.make(payload, &content, c10k_wire::ws::begin_binary)
        {
            pair.connections.hear_messages();
        }
        pair.step(*step).map_err(|error| failed(&format!("step {number}, {step:?}"), error))?;
        let registry = pair.poll.registry().try_clone().expect("the registry");
        while pair.connections.has_messages() {
            pair.connections.carry(&registry);
        }
    }
    pair.settle().map_err(|error| failed("at the end", error))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn frames_of_a_stream_come_whole_in_any_order_of_events(
        items in prop::collection::vec(item(), 1..40),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let bitrate = BitRate { bits_per_second: 200_000_000 };
        let plan = PushPlan::Stream { bitrate, duration: Span(Duration::from_millis(4)) };
        goes_well_with(plan, items, &steps)?;
    }

    #[test]
    fn messages_to_all_come_whole_in_any_order_of_events(
        items in prop::collection::vec(item(), 1..40),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let payload = Payload { min_bytes: 8, max_bytes: 20_000 };
        goes_well_with(PushPlan::Fanout { every: Span::secs(1), payload }, items, &steps)?;
    }
}
