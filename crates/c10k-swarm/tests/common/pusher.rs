//! A server of the test's own that pushes, right or wrong as it is told: a thread for each connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use c10k_wire::push::{Content, PushHeader, PushKind};

/// What it does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushes {
    /// Streams of so many frames of 1,000 bytes, one each 20 ms.
    Frames(u64),
    /// The same, and nothing for so long before the third frame.
    Pause(Duration),
    /// The second frame and the third change places.
    Reordered,
    /// A bit of the second frame is another one.
    Flipped,
    /// It closes in the middle of the third frame.
    Closes,
    /// It says nothing at all, and echoes no more either.
    Nothing,
    /// Messages to all with these numbers, one each 100 ms, over and over up from there.
    Messages(u64),
    /// The same, and every third number is left out.
    Gaps,
}

/// A running server; its threads end with the program, or when their peers have closed.
pub(crate) struct Pusher {
    pub(crate) address: SocketAddr,
    ends: Arc<AtomicBool>,
}

impl Pusher {
    pub(crate) fn start(pushes: Pushes) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ends);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if seen.load(SeqCst) {
                    return;
                }
                std::thread::spawn(move || serve(stream, pushes));
            }
        });
        Self { address, ends }
    }

    pub(crate) fn at(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Pusher {
    fn drop(&mut self) {
        self.ends.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// Echoes until it is asked to push.
fn serve(mut stream: TcpStream, pushes: Pushes) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let done = match &buffer[..count] {
            b"play\n" | b"follow\n" => push(&mut stream, pushes),
            b"leave\n" => stream.write_all(&frame(PushKind::Fanout, u64::MAX, 0, true)),
            other => stream.write_all(other),
        };
        if done.is_err() || pushes == Pushes::Closes && count < 8 {
            return;
        }
    }
}

fn push(stream: &mut TcpStream, pushes: Pushes) -> std::io::Result<()> {
    let streamed = |count: u64| (0..count).map(move |at| stream_frame(at, at + 1 == count));
    let mut frames: Vec<Vec<u8>> = match pushes {
        Pushes::Frames(count) => streamed(count).collect(),
        Pushes::Messages(first) => return send_messages(stream, |round| Some(first + round)),
        Pushes::Gaps => return send_messages(stream, |round| (round % 3 != 2).then_some(7 + round)),
        Pushes::Nothing => {
            std::thread::sleep(Duration::from_secs(600));
            return Ok(());
        }
        Pushes::Pause(_) | Pushes::Reordered | Pushes::Flipped | Pushes::Closes => streamed(5).collect(),
    };
    match pushes {
        Pushes::Reordered => frames.swap(1, 2),
        Pushes::Flipped => frames[1][500] ^= 1,
        Pushes::Closes => {
            frames.truncate(3);
            frames[2].truncate(500);
        }
        _ => {}
    }
    for (at, bytes) in frames.iter().enumerate() {
        if let Pushes::Pause(pause) = pushes
            && at == 2
        {
            std::thread::sleep(pause);
        }
        stream.write_all(bytes)?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// One message each 100 ms, until the client has something to say.
fn send_messages(stream: &mut TcpStream, number: impl Fn(u64) -> Option<u64>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut round = 0;
    loop {
        if stream.peek(&mut [0]).is_ok() {
            stream.set_read_timeout(None)?;
            return Ok(());
        }
        if let Some(sequence) = number(round) {
            stream.write_all(&frame(PushKind::Fanout, sequence, 64, false))?;
        }
        round += 1;
    }
}

fn stream_frame(sequence: u64, is_last: bool) -> Vec<u8> {
    let mut bytes = frame(PushKind::Stream, sequence, 1000, is_last);
    let content = Content::default();
    bytes.extend(&content.bytes()[content.of_stream(sequence * 1000, 1000)]);
    bytes
}

/// A header, and behind it the payload of a message to all.
fn frame(kind: PushKind, sequence: u64, size: usize, is_last: bool) -> Vec<u8> {
    let server_us = c10k_kernel::clock::monotonic_us();
    let mut bytes =
        PushHeader { kind, is_last, sequence, server_us, payload_bytes: size as u32 }.encode().to_vec();
    if kind == PushKind::Fanout {
        Content::default().write_fanout(sequence, size, &mut bytes);
    }
    bytes
}
