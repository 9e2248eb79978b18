//! What only WebSocket has: a handshake in front, and answers that nobody asked for.

use c10k_wire::raw::Probes;
use c10k_wire::ws::{self, ClientEnd, ClientRequest, Limits, ServerEnd, Url};

use super::bench::*;
use crate::shared::testing::TIMEOUT;
use crate::speech::WebSocket;
use crate::tasks::{Task, Turn};
use crate::worker::waits::PARTING;

/// WebSockets, of which so many may be under way at one time.
pub(super) fn websockets(in_flight: u32) -> Bench<WebSocket> {
    let probes = Probes::new(7, PROBE_BYTES);
    let request = ClientRequest::new(&Url::parse("ws://h/").unwrap(), &[], &[]).unwrap();
    let speech = WebSocket::new(ClientEnd::new(Limits::default(), request), probes);
    Bench::speaking(speech, probes, 100, in_flight, None)
}

/// One WebSocket that has asked for its handshake, and the server's response to it.
pub(super) fn asking_websocket() -> (Bench<WebSocket>, ServerEnd, ws::Connection, Vec<u8>) {
    let mut bench = websockets(50);
    bench.ramp(1);
    let (server, mut response) = (ServerEnd::default(), Vec::new());
    let mut asked = std::mem::take(bench.world.borrow_mut().sent.get_mut(&1).unwrap());
    let mut connection = server.accept();
    assert!(server.receive(&mut connection, &mut asked, &mut response, ws::echo).opened);
    (bench, server, connection, response)
}

/// One WebSocket that has proven itself.
fn proven_websocket() -> Bench<WebSocket> {
    let (mut bench, server, mut connection, mut response) = asking_websocket();
    bench.arrive(1, &response);
    let mut probe = std::mem::take(bench.world.borrow_mut().sent.get_mut(&1).unwrap());
    response.clear();
    assert_eq!(server.receive(&mut connection, &mut probe, &mut response, ws::echo).messages, 1);
    bench.arrive(1, &response);
    bench.expect(&[("verified", 1), ("open", 1), ("failed", 0)]);
    bench
}

/// So many WebSockets that are proven for the last time, and the server's ends of them. One is under way at a time.
fn held_websockets(count: u32) -> (Bench<WebSocket>, ServerEnd, Vec<ws::Connection>) {
    let (mut bench, server) = (websockets(1), ServerEnd::default());
    bench.ramp(count.into());
    let mut ends = Vec::new();
    for connection in 1..=count {
        ends.push(server.accept());
        for _ in ["its request", "its probe"] {
            serve(&mut bench, &server, &mut ends, connection);
        }
        bench.go_on();
    }
    bench.stage(Task::Prove);
    (1..=count).for_each(|connection| serve(&mut bench, &server, &mut ends, connection));
    bench.go_on();
    bench.expect(&[("held", count.into()), ("in_flight", 0), ("failed", 0)]);
    (bench, server, ends)
}

/// Has the server answer all that a connection has sent.
fn serve(bench: &mut Bench<WebSocket>, server: &ServerEnd, ends: &mut [ws::Connection], connection: u32) {
    let mut said = std::mem::take(bench.world.borrow_mut().sent.get_mut(&connection).unwrap());
    let mut answer = Vec::new();
    let _ = server.receive(&mut ends[connection as usize - 1], &mut said, &mut answer, ws::echo);
    bench.arrive(connection, &answer);
}

/// A raw connection's first echo is its first input, which the kernel acknowledges at once by itself.
#[test]
fn the_echo_behind_a_handshake_is_acknowledged_at_once() {
    let (mut bench, _, _, response) = asking_websocket();
    assert!(bench.world.borrow().will_not_answer.is_empty());
    bench.arrive(1, &response);
    assert_eq!(bench.world.borrow().will_not_answer, [1]);
    assert_eq!(proven_websocket().world.borrow().will_not_answer, [1]);
    let raw = Bench::verified(1);
    raw.expect(&[("verified", 1)]);
    assert!(raw.world.borrow().will_not_answer.is_empty());
}

const PING: [u8; 2] = [0x89, 0];
/// Of a Pong without payload: two bytes and a mask.
const PONG_BYTES: usize = 6;

#[test]
fn while_an_answer_finds_no_room_nothing_more_is_read() {
    let mut bench = proven_websocket();
    bench.shared.enter(Task::Ping);
    bench.plan(|world| world.sends.push_back(Send::Some(1)));
    bench.arrive(1, &PING);
    bench.plan(|world| world.receives.push_back(Receive::Bytes(PING.to_vec())));
    bench.ready(1, |event| event.readable = true);
    assert_eq!(bench.world.borrow().receives.len(), 1, "it was read");
    let sent = |bench: &Bench<WebSocket>| bench.world.borrow().sent[&1].len();
    assert_eq!(sent(&bench), 1);
    // With room again: the rest, and then what came meanwhile, of which no edge tells.
    bench.ready(1, |event| event.writable = true);
    assert_eq!((sent(&bench), bench.world.borrow().receives.len()), (2 * PONG_BYTES, 0));
    bench.expect(&[("open", 1), ("failed", 0)]);
}

#[test]
fn an_answer_that_nobody_takes_is_given_up_at_its_time_and_not_before() {
    let mut bench = proven_websocket();
    bench.shared.enter(Task::Ping);
    bench.plan(|world| world.sends.push_back(Send::Blocks));
    bench.arrive(1, &PING);
    assert!(bench.worker.timeout().is_some(), "nobody would look again");
    bench.shared.skip(TIMEOUT - MARGIN);
    // What is taken gives it its time anew.
    bench.plan(|world| world.sends.push_back(Send::Some(1)));
    bench.ready(1, |event| event.writable = true);
    bench.shared.skip(MARGIN);
    bench.expire();
    bench.expect(&[("open", 1), ("failed", 0)]);
    bench.shared.skip(TIMEOUT);
    bench.expire();
    bench.expect(&[("open", 0), ("failed", 1)]);
    bench.expect_losses(&[("stalled", 1)]);
}

#[test]
fn an_echo_is_right_although_an_answer_waits_behind_the_probe() {
    let (mut bench, server, mut connection, response) = asking_websocket();
    // The probe goes out, and behind it no Pong does.
    bench.plan(|world| world.sends.extend([Send::Some(usize::MAX), Send::Blocks]));
    bench.arrive(1, &response);
    let mut probe = std::mem::take(bench.world.borrow_mut().sent.get_mut(&1).unwrap());
    let mut echo = PING.to_vec();
    let _ = server.receive(&mut connection, &mut probe, &mut echo, ws::echo);
    bench.arrive(1, &echo);
    bench.expect(&[("verified", 1), ("failed", 0)]);
}

#[test]
fn a_server_that_leaves_the_end_of_tcp_to_its_client_keeps_nobody_from_closing() {
    let (mut bench, server, mut ends) = held_websockets(3);
    bench.stage(Task::Close);
    for connection in 1..=3 {
        bench.expect(&[("in_flight", 1)]);
        serve(&mut bench, &server, &mut ends, connection);
        bench.go_on();
    }
    bench.expect(&[("in_flight", 0), ("held", 3), ("failed", 0)]);
    assert!(ends.iter().all(ws::Connection::is_ended));
    // It has some time for it, and one that uses it is not waited for.
    bench.plan(|world| world.receives.push_back(Receive::End));
    bench.ready(2, |event| (event.readable, event.until_empty) = (true, true));
    bench.go_on();
    assert_eq!(bench.world.borrow().open, 2);
    assert!(!bench.shared.everybody_done() && bench.worker.timeout().is_some());
    bench.shared.skip(PARTING);
    bench.expire();
    bench.go_on();
    assert!(bench.shared.everybody_done() && bench.world.borrow().open == 0);
    bench.expect(&[("held", 3), ("failed", 0)]);
}

#[test]
fn what_was_proven_is_not_stalled_while_it_waits_for_its_close() {
    let (mut bench, server, mut ends) = held_websockets(1);
    bench.plan(|world| world.sends.push_back(Send::Blocks));
    bench.arrive(1, &PING);
    bench.shared.enter(Task::Close);
    bench.go_on();
    bench.shared.skip(TIMEOUT);
    bench.expire();
    bench.expect(&[("held", 1), ("failed", 0)]);
    // Its turn comes, and with it the server's time to take what waits.
    bench.shared.pass_on(Turn::Walk);
    bench.go_on();
    bench.shared.skip(TIMEOUT / 100);
    bench.expire();
    bench.ready(1, |event| event.writable = true);
    assert!(bench.world.borrow().sent[&1].len() > PONG_BYTES, "the Pong, and behind it the Close");
    serve(&mut bench, &server, &mut ends, 1);
    assert!(ends[0].is_ended());
    bench.expect(&[("held", 1), ("failed", 0), ("in_flight", 0)]);
}

#[test]
fn the_time_for_a_pong_counts_from_when_its_ping_has_left() {
    let mut bench = proven_websocket();
    bench.shared.enter(Task::Ping);
    bench.plan(|world| world.sends.push_back(Send::Blocks));
    for _ in 0..3 {
        bench.worker.ping(bench.shared.orders(), 0);
    }
    bench.ready(1, |event| event.writable = true);
    bench.worker.ping(bench.shared.orders(), 0);
    bench.worker.publish();
    bench.expect(&[("open", 1), ("failed", 0)]);
    bench.worker.ping(bench.shared.orders(), 0);
    bench.worker.publish();
    bench.expect_losses(&[("ping-timeout", 1)]);
}
