//! What a server says when it ends a connection is known in however many pieces it comes.

use c10k_wire::ws::{
    ClientEnd, ClientRequest, CloseCode, Connection, Ended, Limits, ServerEnd, Url, discard,
};

/// An open client, and the bytes with which its server closes it behind a message.
fn closed(client: &mut ClientEnd) -> (Connection, Vec<u8>) {
    let (server, mut request, mut said) = (ServerEnd::default(), Vec::new(), Vec::new());
    let mut here = client.connect(&mut request);
    let mut there = server.accept();
    assert!(server.receive(&mut there, &mut request, &mut said, discard).opened);
    let mut answer = Vec::new();
    assert!(client.receive(&mut here, &mut said, &mut answer, discard).opened);
    let mut close = Vec::new();
    server.output(&mut close).ping(b"still there?");
    let full = CloseCode::new(1013).expect("a code");
    assert!(there.close(full, "this room is full", &mut server.output(&mut close)));
    (here, close)
}

fn client() -> ClientEnd {
    let url = Url::parse("ws://127.0.0.1:9000/").expect("a URL");
    ClientEnd::new(Limits::default(), ClientRequest::new(&url, &[], &[]).expect("a request"))
}

#[test]
fn the_reason_of_a_close_frame_is_known_wherever_it_is_cut() {
    let mut client = client();
    let length = closed(&mut client).1.len();
    for cut in 0..length {
        let (mut here, mut close) = closed(&mut client);
        let (first, second) = close.split_at_mut(cut);
        let mut out = Vec::new();
        let begun = client.receive(&mut here, first, &mut out, discard);
        assert_eq!((begun.end, here.last_words()), (None, &b""[..]), "cut at {cut}");
        let ended = client.receive(&mut here, second, &mut out, discard);
        assert_eq!(ended.end, Some(Ended::Closed(CloseCode::new(1013))), "cut at {cut}");
        assert_eq!(here.last_words(), b"this room is full", "cut at {cut}");
    }
}

#[test]
fn a_response_that_opens_nothing_is_known_wherever_it_is_cut() {
    const RESPONSE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 12\r\n\r\nroom is full";
    let line_end = RESPONSE.iter().position(|byte| *byte == b'\r').expect("a line") + 2;
    for cut in 0..RESPONSE.len() {
        let (mut client, mut response) = (client(), RESPONSE.to_vec());
        let mut here = client.connect(&mut Vec::new());
        let (first, second) = response.split_at_mut(cut);
        let begun = client.receive(&mut here, first, &mut Vec::new(), discard);
        // Its first line says enough.
        assert_eq!(begun.end.is_some(), cut >= line_end, "cut at {cut}");
        let ended = client.receive(&mut here, second, &mut Vec::new(), discard);
        assert_eq!(ended.end.is_some(), cut < line_end, "cut at {cut}");
        let known = if cut < line_end { RESPONSE } else { &RESPONSE[..cut] };
        assert_eq!(here.last_words(), known, "cut at {cut}");
    }
}

#[test]
fn of_a_page_without_end_only_the_beginning_is_kept() {
    let mut client = client();
    let mut here = client.connect(&mut Vec::new());
    let mut response = [&b"HTTP/1.1 500 Internal Server Error\r\n\r\n"[..], &[b'x'; 100_000]].concat();
    assert!(client.receive(&mut here, &mut response, &mut Vec::new(), discard).end.is_some());
    assert_eq!(here.last_words(), &response[..2048]);
    assert!(here.heap_bytes() < 4096, "{}", here.heap_bytes());
}
