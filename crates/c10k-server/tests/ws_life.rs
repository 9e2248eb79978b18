//! Pings that find the dead, the server's own end, and what a connection keeps.

mod common;
mod ws_support;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use c10k_record::ServerEvent;
use c10k_wire::conformance::{self, first};
use common::{connect, pattern, send_until_blocked};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ws_support::{Client, frame, read_frame, read_to_end, start};

/// Where [`a_peer_in_a_process_of_its_own`] connects to.
const PEER_OF: &str = "C10K_TEST_PEER_OF";

/// Not a test: a client that answers Pings until its end, for the test that stops it.
#[test]
#[ignore = "a process for another test"]
fn a_peer_in_a_process_of_its_own() {
    let Some(address) = std::env::var(PEER_OF).ok().and_then(|text| text.parse::<SocketAddr>().ok()) else {
        return;
    };
    answer_pings(&Client::open(address).stream, 0);
}

/// Answers Pings until the stream ends; at least so many.
fn answer_pings(mut stream: &TcpStream, at_least: u32) {
    let mut answered = 0;
    while let Some(ping) = read_frame(stream) {
        if ping.first != first::PING || stream.write_all(&frame(first::PONG, &ping.payload)).is_err() {
            break;
        }
        answered += 1;
        if at_least > 0 && answered == at_least {
            return;
        }
    }
    assert!(answered >= at_least, "only {answered} Pings");
}

struct Peer(Child);

impl Peer {
    fn of(address: SocketAddr) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_peer_in_a_process_of_its_own", "--ignored"]);
        command.env(PEER_OF, address.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn pings_find_those_that_never_answer_and_no_others() {
    let mut server = start(&["--ping-every", "500ms"]);
    let silent: Vec<_> = (0..30).map(|_| Client::open(server.address)).collect();
    let answering: Vec<_> = (0..10).map(|_| Client::open(server.address)).collect();
    let talking = Client::open(server.address);
    std::thread::scope(|scope| {
        for client in &answering {
            scope.spawn(|| answer_pings(&client.stream, 6));
        }
        // A peer that talks lives, even if it leaves the Pings unanswered.
        scope.spawn(|| {
            for _ in 0..30 {
                talking.send(first::TEXT, b"still here");
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        server.wait_for("the dead are found", |report| report.failed.get("ping-timeout") == Some(&30));
    });
    for client in &silent {
        let all = read_to_end(&client.stream);
        assert_eq!(&all[..2], [first::PING, 0]);
    }
    // The others were there until they stopped answering, too.
    let report = server.wait_for("all are dead now", |report| report.open == 0);
    assert_eq!(report.failed.get("ping-timeout"), Some(&41), "{report:?}");
}

#[test]
fn a_reader_that_takes_longer_than_the_time_between_two_pings_is_alive_as_long_as_it_reads() {
    let mut server = start(&["--ping-every", "1s"]);
    let stream = connect(server.address);
    // Little of it waits on the reader's side, where the server could not see that it is being read.
    socket2::SockRef::from(&stream).set_recv_buffer_size(64 << 10).unwrap();
    let slow = Client::on(stream);
    let message = frame(first::BINARY, &pattern(60_000));
    let sent = send_until_blocked(&slow.stream, &message.repeat(2000));
    let messages = sent / message.len();
    assert!((1..2000).contains(&messages), "{messages} messages of {sent} bytes");
    // It says nothing more, and needs several times as long for all that is under way to it.
    let pace = Duration::from_secs(5) / messages as u32;
    let mut echoes = 0;
    while echoes < messages {
        let next = read_frame(&slow.stream).unwrap_or_else(|| panic!("cut after {echoes} of {messages}"));
        echoes += usize::from(next.first == first::BINARY);
        std::thread::sleep(pace);
    }
    // Once it has everything and still says nothing it is as dead as any other.
    let report = server.wait_for("it is found dead", |report| report.open == 0);
    assert_eq!(report.failed.get("ping-timeout"), Some(&1), "{report:?}");
}

#[test]
fn a_peer_that_was_stopped_by_a_signal_is_found_dead_and_one_that_goes_on_is_not() {
    let mut server = start(&["--ping-every", "700ms"]);
    let (stopped, going_on) = (Peer::of(server.address), Peer::of(server.address));
    server.wait_for("both are open", |report| report.opened == Some(2));
    std::thread::sleep(Duration::from_millis(1500));
    let report = server.fresh_report();
    assert_eq!(report.open, 2, "{report:?}");
    stopped.signal(Signal::SIGSTOP);
    let report = server.wait_for("the stopped one is found", |report| report.open == 1);
    assert_eq!(report.failed.get("ping-timeout"), Some(&1), "{report:?}");
    std::thread::sleep(Duration::from_millis(1500));
    let report = server.fresh_report();
    assert_eq!((report.open, report.failed.len()), (1, 1), "{report:?}");
    drop(going_on);
}

#[test]
fn nobody_is_pinged_before_the_handshake_or_when_pings_are_off() {
    let server = start(&["--ping-every", "300ms", "--handshake-timeout", "2s"]);
    let half = connect(server.address);
    (&half).write_all(&conformance::sample_request()[..40]).unwrap();
    let answer = String::from_utf8(read_to_end(&half)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let report = server.stop().report;
    assert_eq!(report.failed.get("handshake-timeout"), Some(&1), "{report:?}");

    let server = start(&[]);
    let client = Client::open(server.address);
    std::thread::sleep(Duration::from_millis(1200));
    client.expect_echo(b"and nothing before it");
}

#[test]
fn at_its_end_the_server_says_1001_to_everybody_and_is_gone_when_they_have_answered() {
    let server = start(&["--drain", "20s"]);
    let clients: Vec<_> = (0..500).map(|_| Client::open(server.address)).collect();
    let (within, writing) = (Client::open(server.address), Client::open(server.address));
    within.send(first::TEXT_BEGIN, b"half a message");
    (&writing.stream).write_all(&frame(first::BINARY, &[1; 100])[..50]).unwrap();
    clients[0].expect_echo(b"all are there");
    let handshaking = connect(server.address);
    std::thread::sleep(Duration::from_millis(200));
    let begun = Instant::now();
    server.signal(Signal::SIGTERM);
    for client in clients.iter().chain([&within, &writing]) {
        let close = client.next();
        assert_eq!((close.first, &close.payload[..2]), (first::CLOSE, &1001_u16.to_be_bytes()[..]));
    }
    // A message is finished first, then the answer to the Close: the frame in the middle is the peer's to end.
    (&writing.stream).write_all(&frame(first::BINARY, &[1; 100])[50..]).unwrap();
    for client in clients.iter().chain([&within, &writing]) {
        client.send(first::CLOSE, &1001_u16.to_be_bytes());
    }
    for client in clients.iter().chain([&within]) {
        client.expect_end();
    }
    assert!(read_to_end(&handshaking).is_empty());
    let ended = server.wait_for_end();
    assert!(begun.elapsed() < Duration::from_secs(15), "it waited for nobody: {:?}", begun.elapsed());
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!((ended.report.drained, ended.report.failed.len()), (503, 0), "{:?}", ended.report);
}

#[test]
fn what_a_peer_finds_wrong_at_the_end_of_the_server_is_counted_by_its_code() {
    let server = start(&["--drain", "20s"]);
    let clients: Vec<_> = [1001_u16, 1002, 1011].map(|code| (code, Client::open(server.address))).into();
    clients[0].1.expect_echo(b"all are there");
    server.signal(Signal::SIGTERM);
    for (code, client) in &clients {
        let close = client.next();
        assert_eq!((close.first, &close.payload[..2]), (first::CLOSE, &1001_u16.to_be_bytes()[..]));
        client.send(first::CLOSE, &code.to_be_bytes());
        client.expect_end();
    }
    let report = server.wait_for_end().report;
    assert_eq!((report.closed, report.drained), (0, 1), "{report:?}");
    let failed: Vec<(&str, u64)> =
        report.failed.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(failed, [("close-1002", 1), ("close-1011", 1)]);
}

#[test]
fn a_close_in_front_of_urgent_data_is_answered_and_not_cut_off_by_a_reset() {
    let mut server = start(&[]);
    for urgent in [&b"!"[..], b"much behind it!"] {
        let client = Client::open(server.address);
        let close = [&frame(first::CLOSE, &1000_u16.to_be_bytes())[..], urgent].concat();
        // The last byte of it is urgent: the server's read stops in front of that.
        let sent = socket2::SockRef::from(&client.stream).send_out_of_band(&close).unwrap();
        assert_eq!(sent, close.len());
        let answer = client.next();
        assert_eq!((answer.first, &answer.payload[..2]), (first::CLOSE, &1000_u16.to_be_bytes()[..]));
        // The end, and no reset.
        assert_eq!(std::io::Read::read(&mut &client.stream, &mut [0; 16]).unwrap(), 0);
    }
    let report = server.wait_for("both are closed", |report| report.open == 0);
    assert_eq!((report.closed, report.failed.len()), (2, 0), "{report:?}");
}

#[test]
fn peers_that_never_answer_the_close_do_not_keep_the_server_beyond_its_drain() {
    let server = start(&["--drain", "1s"]);
    let clients: Vec<_> = (0..100).map(|_| Client::open(server.address)).collect();
    let begun = Instant::now();
    server.signal(Signal::SIGTERM);
    let ended = server.wait_for_end();
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(15), "{took:?}");
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert_eq!((ended.report.drained, ended.report.failed.len()), (100, 0), "{:?}", ended.report);
    let all = read_to_end(&clients[0].stream);
    assert_eq!(all.get(2..4), Some(&1001_u16.to_be_bytes()[..]));
}

#[test]
fn what_is_owed_at_the_end_is_delivered_before_the_close() {
    let server = start(&["--drain", "20s"]);
    let client = Client::open(server.address);
    let messages = frame(first::BINARY, &pattern(60_000)).repeat(400);
    let sent = send_until_blocked(&client.stream, &messages);
    assert!(sent < messages.len(), "nothing is owed");
    let on_its_way = c10k_kernel::socket::outgoing(client.stream.as_fd()).unwrap().bytes;
    let arrived = sent - usize::try_from(on_its_way).unwrap();
    server.signal(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(200));
    let one = frame(first::BINARY, &pattern(60_000)).len();
    assert!(arrived > one, "not one message has arrived");
    // What stands in the server's kernel is served too. What is still in the client's is on its way: whether it comes
    // before the server has read all the rest is a matter of chance, and a frame cut off by the end is the peer's affair.
    let mut echoes = 0;
    let close = loop {
        let back = client.next();
        if back.first != first::BINARY {
            break back;
        }
        assert!(back.payload == pattern(60_000), "echo {echoes}");
        echoes += 1;
    };
    assert!((arrived / one..=sent / one).contains(&echoes), "{echoes} of {arrived} and {sent} bytes");
    assert_eq!((close.first, &close.payload[..2]), (first::CLOSE, &1001_u16.to_be_bytes()[..]));
    (&client.stream).write_all(&messages[sent..sent.next_multiple_of(one)]).unwrap();
    client.send(first::CLOSE, &1001_u16.to_be_bytes());
    client.expect_end();
    let ended = server.wait_for_end();
    assert_eq!((ended.report.drained, ended.report.failed.len()), (1, 0), "{:?}", ended.report);
}

#[test]
fn a_message_that_is_never_whole_has_a_deadline_and_no_other_does() {
    let mut server = start(&["--message-timeout", "3s"]);
    let open = || Client::open(server.address);
    let (silent, dripping, pinging, frames) = (open(), open(), open(), open());
    let (idle, always_within) = (open(), open());
    let message = frame(first::BINARY, &pattern(1000));
    silent.stream.try_clone().unwrap().write_all(&message[..900]).unwrap();
    std::thread::scope(|scope| {
        // Nothing of what these do makes their message whole.
        scope.spawn(|| {
            let _ = (message[..900].iter()).try_for_each(|&byte| {
                std::thread::sleep(Duration::from_millis(50));
                (&dripping.stream).write_all(&[byte])
            });
        });
        scope.spawn(|| {
            pinging.send(first::BINARY_BEGIN, b"half a message");
            while (&pinging.stream).write_all(&frame(first::PING, b"")).is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        scope.spawn(|| {
            frames.send(first::BINARY_BEGIN, b"a frame at a time");
            while (&frames.stream).write_all(&frame(first::MORE, b"and never the last")).is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        // This one is within a message whenever anybody looks, and each is whole in good time.
        scope.spawn(|| {
            let mut stream = &always_within.stream;
            stream.write_all(&message[..500]).unwrap();
            for _ in 0..80 {
                std::thread::sleep(Duration::from_millis(100));
                stream.write_all(&[&message[500..], &message[..500]].concat()).unwrap();
                assert!(always_within.next().payload == pattern(1000));
            }
            stream.write_all(&message[500..]).unwrap();
            assert!(always_within.next().payload == pattern(1000));
        });
        let report =
            server.wait_for("the four are given up", |report| report.failed.len() == 1 && report.open == 2);
        assert_eq!(report.failed.get("message-timeout"), Some(&4), "{report:?}");
    });
    silent.expect_close(1008);
    idle.expect_echo(b"nothing has begun here");
    always_within.expect_echo(b"nor here");
    let report = server.stop().report;
    assert_eq!((report.drained, report.failed.get("message-timeout")), (2, Some(&4)), "{report:?}");
}

#[test]
fn a_peer_that_was_pinged_and_does_not_close_is_counted_by_what_ended_it() {
    // Half a message, a Ping, the end of its time; a round in which the Close has only just been taken, and one more
    // before the peer has to have closed.
    let mut server = start(&["--message-timeout", "1s", "--ping-every", "1s"]);
    let client = Client::open(server.address);
    std::thread::sleep(Duration::from_millis(400));
    let message = frame(first::BINARY, &pattern(1000));
    (&client.stream).write_all(&message[..900]).unwrap();
    let report = server.wait_for("it is given up", |report| report.open == 0);
    let failed: Vec<_> = report.failed.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(failed, [("message-timeout", 1)]);
}

#[test]
fn a_message_behind_output_that_its_peer_does_not_take_is_not_cut_by_its_own_deadline() {
    let mut server = start(&["--message-timeout", "500ms"]);
    let client = Client::open(server.address);
    let messages = frame(first::BINARY, &pattern(60_000)).repeat(400);
    let sent = send_until_blocked(&client.stream, &messages);
    assert!(sent < messages.len(), "the server reads without end");
    std::thread::sleep(Duration::from_millis(2500));
    let report = server.fresh_report();
    assert_eq!((report.open, report.failed.len()), (1, 0), "{report:?}");
    let one = frame(first::BINARY, &pattern(60_000)).len();
    std::thread::scope(|scope| {
        scope.spawn(|| (&client.stream).write_all(&messages[sent..sent.next_multiple_of(one)]).unwrap());
        for n in 0..sent.div_ceil(one) {
            assert!(client.next().payload == pattern(60_000), "echo {n}");
        }
    });
    client.close();
}

#[test]
fn a_server_that_holds_reads_messages_and_says_nothing() {
    let server = start(&["--mode", "hold"]);
    let client = Client::open(server.address);
    client.send(first::BINARY, &[1; 100_000]);
    client.send(first::PING, b"but this");
    assert_eq!(client.next().first, first::PONG);
    client.close();
    let report = server.stop().report;
    assert_eq!((report.closed, report.failed.len()), (1, 0), "{report:?}");
}

#[test]
fn handshakes_are_counted_apart_from_accepts() {
    let mut server = start(&[]);
    assert!(matches!(server.ready, ServerEvent::Ready { .. }));
    let opened: Vec<_> = (0..7).map(|_| Client::open(server.address)).collect();
    let waiting: Vec<_> = (0..3).map(|_| connect(server.address)).collect();
    let report = server.wait_for("all accepted", |report| report.accepted == 10);
    assert_eq!((report.opened, report.open), (Some(7), 10));
    drop((opened, waiting));
}
