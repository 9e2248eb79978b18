use std::net::TcpListener;
use std::thread;

use super::*;
use crate::Exit;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A far end that answers the requests of one connection after the other with these bytes, each as soon as its head and
/// its body are there; no bytes: it closes.
fn answering(answers: Vec<Vec<&'static str>>) -> (SocketAddr, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let served = thread::spawn(move || {
        let mut asked = Vec::new();
        for of_connection in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            for answer in of_connection {
                let mut heard = String::new();
                while !is_whole(&heard) {
                    let mut bytes = [0; 1024];
                    let count = stream.read(&mut bytes).expect("read");
                    if count == 0 {
                        break;
                    }
                    heard.push_str(&String::from_utf8_lossy(&bytes[..count]));
                }
                asked.push(heard);
                stream.write_all(answer.as_bytes()).expect("said");
            }
        }
        asked
    });
    (address, served)
}

fn is_whole(heard: &str) -> bool {
    heard.split_once("\r\n\r\n").is_some_and(|(head, body)| {
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        length.is_none_or(|length| length.parse::<usize>().is_ok_and(|length| body.len() >= length))
    })
}

fn client(address: SocketAddr) -> Client {
    Client::new(address, None).with_patience(PATIENCE)
}

const CLOCK: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\n{\"received_unix_ns\":5,\"sent_unix_ns\":600}";

#[test]
fn one_connection_carries_many_requests_with_the_token_and_one_that_was_closed_is_made_again() {
    let (address, served) = answering(vec![vec![CLOCK, CLOCK], vec![CLOCK]]);
    let token = Token::parse(b"0123456789abcdef", "here").expect("a token");
    let mut client = Client::new(address, Some(token)).with_patience(PATIENCE);
    for _ in 0..2 {
        assert_eq!(client.get::<Clock>(path::CLOCK).expect("answered").sent_unix_ns, 600);
    }
    let clock: Clock = client.post("/v1/x", &7).expect("on a new connection");
    assert_eq!(clock.received_unix_ns, 5);
    let asked = served.join().expect("served");
    assert!(asked.iter().all(|head| head.contains("\r\nAuthorization: Bearer 0123456789abcdef\r\n")));
    assert!(asked[0].starts_with("GET /v1/clock HTTP/1.1\r\nHost: 127.0.0.1:"), "{}", asked[0]);
    assert!(
        asked[2].starts_with("POST /v1/x HTTP/1.1\r\n") && asked[2].ends_with("\r\n\r\n7"),
        "{}",
        asked[2]
    );
}

#[track_caller]
fn error_of(answer: &'static str) -> ControlError {
    let (address, served) = answering(vec![vec![answer]]);
    let error = client(address).hello().expect_err("no hello");
    served.join().expect("served");
    assert!(error.to_string().contains(&address.to_string()) && !error.hint().is_empty(), "{error}");
    error
}

#[test]
fn an_answer_that_refuses_is_told_by_what_it_means() {
    let running = "HTTP/1.1 409 Conflict\r\nContent-Length: 78\r\n\r\n\
                   {\"error\":\"a run goes on\",\"running\":{\"run_id\":\"r1\",\"by\":\"one\",\"since_ms\":1200}}";
    match error_of(running) {
        ControlError::InUse { error, running: Some(running), .. } => {
            assert_eq!(
                (error.as_str(), running.run_id.as_str(), running.since_ms),
                ("a run goes on", "r1", 1200)
            );
        }
        other => panic!("{other}"),
    }
    let empty = |status: &'static str| -> &'static str {
        Box::leak(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_boxed_str())
    };
    assert!(matches!(error_of(empty("401 Unauthorized")), ControlError::Token { had_one: false, .. }));
    assert!(matches!(error_of(empty("412 Precondition Failed")), ControlError::OtherBuild { .. }));
    assert!(matches!(error_of(empty("413 Content Too Large")), ControlError::TooLong { .. }));
    assert!(matches!(error_of(empty("429 Too Many Requests")), ControlError::TooOften { .. }));
    let words = error_of("HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\nnothing is her");
    assert!(words.to_string().ends_with("refuses (404): nothing is her"), "{words}");
    assert_eq!(words.exit(), Exit::HostCannot);
}

#[test]
fn what_is_no_answer_of_this_protocol_is_named_as_such() {
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "xxxxxxxxxx",
        "HTTP/1.1 200 OK\r\n\r\nno length",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        let error = error_of(answer);
        assert!(matches!(error, ControlError::Garbage { .. }), "{answer}: {error}");
    }
    let missing = error_of("HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"protocol\":1}");
    assert!(missing.to_string().contains("missing field"), "{missing}");
    let other =
        error_of("HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\n{\"protocol\":9,\"program_version\":\"9.9\"}");
    assert!(matches!(&other, ControlError::Protocol { theirs: 9, .. }), "{other}");
    assert!(other.hint().contains("there it is 9.9"), "{}", other.hint());
    let long = error_of("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
    assert!(matches!(long, ControlError::TooLong { what: "the answer", .. }), "{long}");
}

#[test]
fn one_that_is_not_there_one_that_says_nothing_and_one_that_breaks_off_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let silent = Client::new(address, None).with_patience(Duration::from_millis(50)).hello();
    assert!(matches!(silent, Err(ControlError::Silent { .. })), "{silent:?}");
    drop(listener);
    let nobody = client(address).hello().expect_err("nobody");
    assert!(matches!(nobody, ControlError::Unreachable { .. }) && nobody.may_pass(), "{nobody}");
    let broken = error_of("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{");
    assert!(matches!(broken, ControlError::Gone { .. }), "{broken}");
}
