//! What a connection costs is told of those that were there when it was looked at.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Lab, PATIENCE};

const ALL: u64 = 200;
const HALF: u64 = ALL / 2;

/// A server that sends back what it gets, a thread a connection, and the connections it has.
fn echo() -> (u16, Arc<Mutex<Vec<TcpStream>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&taken);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            list.lock()
                .expect("nobody panics with it")
                .push(stream.try_clone().expect("a second descriptor"));
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..length]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, taken)
}

#[test]
fn memory_is_divided_by_what_was_open_when_it_was_looked_at_and_not_by_what_was_held_in_the_end() {
    let (port, taken) = echo();
    let (port, target) = (port.to_string(), ALL.to_string());
    let load = ["--server-port", &port, "--target", &target, "--close", "rst", "--hold", "6s", "--json"];
    let running = Lab::new().start(&load);
    let give_up = Instant::now() + PATIENCE;
    let partial = loop {
        let read = running.folder().and_then(|folder| c10k_record::read_record(&folder).ok());
        // It is written again as soon as memory has been looked at.
        if let Some(record) = read.filter(|record| record.connections.open.is_some()) {
            break record;
        }
        assert!(Instant::now() < give_up, "memory was never looked at: {}", running.stderr());
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(partial.connections.open, Some(ALL));
    for stream in taken.lock().expect("nobody panics with it").iter().take(HALF as usize) {
        stream.shutdown(Shutdown::Both).expect("closed");
    }
    let record = running.wait().record();
    assert_eq!((record.connections.held, record.connections.failed_total()), (HALF, HALF));
    let memory = &record.memory_per_connection;
    assert_eq!(memory.connections, Some(ALL));
    // As it was known before anything was lost.
    assert_eq!(memory.client_user_bytes, partial.memory_per_connection.client_user_bytes);
    assert_eq!(memory.client_kernel_bytes, partial.memory_per_connection.client_kernel_bytes);
}
