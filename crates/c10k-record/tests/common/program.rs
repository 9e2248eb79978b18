//! A program under test that says JSON lines. The tests of server and swarm include this file.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use serde::de::DeserializeOwned;

/// Each line of its stdout, and all of its stderr once it has ended.
pub(crate) fn listen_to<Event>(child: &mut Child) -> (Receiver<Event>, JoinHandle<String>)
where
    Event: DeserializeOwned + Send + 'static,
{
    let mut stderr = child.stderr.take().unwrap();
    let stderr = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    let (sender, events) = channel();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let event = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    (events, stderr)
}

/// A program with a descriptor limit, soft and hard.
pub(crate) fn limited(program: &str, nofile: u32) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {nofile} && exec \"$0\" \"$@\""), program]);
    command
}
