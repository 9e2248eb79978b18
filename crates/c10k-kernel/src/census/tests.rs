use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::*;

/// A netlink message of the given type with this body.
fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The body of an answer, as the kernel writes it, with one attribute behind it.
fn socket(state: u8, local_port: u16, remote_port: u16) -> Vec<u8> {
    let mut body = vec![libc::AF_INET as u8, state, 0, 0];
    body.extend(local_port.to_be_bytes());
    body.extend(remote_port.to_be_bytes());
    body.resize(56, 0);
    body.extend(3u32.to_ne_bytes());
    body.extend(128u32.to_ne_bytes());
    body.resize(72, 0);
    body.extend([8, 0, 8, 0, 1, 0, 0, 0]);
    body
}

#[track_caller]
fn tally(bytes: &[u8], ports: &[u16]) -> (Census, Progress) {
    let mut census = Census::default();
    let ports = PortSet::of(ports);
    let progress = each_socket(bytes, 7, &mut |line| assert!(census.add(line, &ports).is_none())).unwrap();
    census.interrupted = progress.interrupted;
    (census, progress)
}

#[test]
fn recorded_answers_are_counted_by_state_and_by_end() {
    let mut bytes = message(20, 2, 7, &socket(1, 9000, 40000));
    bytes.extend(message(20, 2, 7, &socket(1, 40000, 9000)));
    bytes.extend(message(20, 2, 7, &socket(6, 40001, 9000)));
    bytes.extend(message(20, 2, 7, &socket(1, 22, 50000)));
    bytes.extend(message(20, 2, 6, &socket(1, 9000, 40002)));
    bytes.extend(message(20, 2, 7, &socket(10, 9000, 0)));
    bytes.extend(message(20, 2, 7, &socket(3, 9000, 40003)));
    bytes.extend(message(3, 2, 7, &0i32.to_ne_bytes()));
    let (census, progress) = tally(&bytes, &[9000]);
    assert!(progress.done);
    assert_eq!(
        (census.server_side, census.client_side),
        (1, 1),
        "the answer to another request is passed over"
    );
    // The states are those of the server's ends, and a listener is no connection.
    assert_eq!(census.by_name().collect::<Vec<_>>(), [("ESTABLISHED", 1), ("SYN_RECV", 1)]);
    let (everything, _) = tally(&bytes, &[]);
    assert_eq!((everything.total(), everything.server_side), (6, 0));
}

#[test]
fn an_interrupted_dump_says_so() {
    let mut bytes = message(20, 0x12, 7, &socket(1, 9000, 40000));
    bytes.extend(message(3, 2, 7, &0i32.to_ne_bytes()));
    assert!(tally(&bytes, &[9000]).0.interrupted);
}

#[test]
fn errors_of_the_kernel_and_broken_bytes_are_errors() {
    let errno = |bytes: &[u8]| each_socket(bytes, 7, &mut |_| ()).unwrap_err().raw_os_error();
    assert_eq!(errno(&message(2, 0, 7, &(-libc::EINVAL).to_ne_bytes())), Some(libc::EINVAL));
    assert_eq!(errno(&message(3, 0, 7, &(-libc::ENOMEM).to_ne_bytes())), Some(libc::ENOMEM));
    assert_eq!(errno(&message(20, 2, 7, &[0; 40])), Some(libc::EBADMSG), "a socket cut short");
    assert_eq!(errno(&[16, 0, 0]), Some(libc::EBADMSG), "half a header");
    assert_eq!(errno(&[4; 16]), Some(libc::EBADMSG), "a length beyond the buffer");
    assert_eq!(errno(&[0; 16]), Some(libc::EBADMSG), "a length of nothing would loop for ever");
}

/// A census for which `is_so` holds, or after ten seconds the last one. connect(2) returns when the client's end is
/// established: on a busy machine the server's end is a request until its ACK is processed, and a dump that other tests
/// change meanwhile says that it is interrupted.
fn census_where(diag: &mut SockDiag, port: u16, is_so: impl Fn(&Census) -> bool) -> Census {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let census = diag.census(States::ALL, &PortSet::of(&[port])).unwrap();
        if is_so(&census) || Instant::now() >= until {
            return census;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn both_ends_of_a_real_connection_are_counted_and_listeners_tell_their_queue() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let streams: Vec<TcpStream> =
        (0..5).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
    let mut diag = SockDiag::open().unwrap();

    let census = census_where(&mut diag, port, |census| (census.server_side, census.not_accepted) == (5, 5));
    assert_eq!((census.server_side, census.not_accepted), (5, 5));
    let waiting = diag.listeners(port).unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].address, listener.local_addr().unwrap());
    assert_eq!(waiting[0].accept_queue, 5);
    assert!(waiting[0].backlog > 0);
    let holders = holders_of(&crate::counters::ProcRoot::default(), &[waiting[0].inode]);
    assert!(holders.pids.contains(&std::process::id()), "{holders:?}");

    let accepted: Vec<_> = (0..5).map(|_| listener.accept().unwrap()).collect();
    let census = census_where(&mut diag, port, |census| {
        (census.server_side, census.client_side, census.not_accepted) == (5, 5, 0)
    });
    assert_eq!((census.server_side, census.client_side, census.not_accepted), (5, 5, 0));
    assert_eq!((census.count(State::Established), census.total()), (5, 5), "no clients' ends, no listener");
    assert_eq!(diag.listeners(port).unwrap()[0].accept_queue, 0);

    // The client closes first and keeps FIN_WAIT2, the server CLOSE_WAIT, as long as the server does not close.
    drop(streams);
    let census = census_where(&mut diag, port, |census| census.count(State::CloseWait) == 5);
    assert_eq!(census.count(State::CloseWait), 5);
    let mut by_ports = 0;
    for ports in [&[port][..], &[1, 2, 3, 4, port]] {
        diag.with_local_ports(States::of(&[State::CloseWait]), &PortSet::of(ports), |_| by_ports += 1)
            .unwrap();
    }
    assert_eq!(by_ports, 10, "one by one or all at once");
    drop(accepted);
    let closed = diag.census(States::of(&[State::Established]), &PortSet::of(&[port])).unwrap();
    assert_eq!(closed.total(), 0);
}

#[test]
fn ipv6_listeners_and_connections_are_seen_too() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        #[allow(clippy::print_stderr, reason = "what was skipped is said aloud")]
        {
            eprintln!("SKIPPED: this machine has no ::1");
        }
        return;
    };
    let address = listener.local_addr().unwrap();
    let _stream = TcpStream::connect(address).unwrap();
    let mut diag = SockDiag::open().unwrap();
    assert_eq!(diag.listeners(address.port()).unwrap()[0].address, address);
    let ends = |census: &Census| (census.server_side, census.client_side);
    let census = census_where(&mut diag, address.port(), |census| ends(census) == (1, 1));
    assert_eq!(ends(&census), (1, 1), "{census:?}");
}
