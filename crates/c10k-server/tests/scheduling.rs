//! How the kernel schedules a server's workers.

mod common;

use common::Server;

/// The scheduling policies of a process's threads whose names begin so (field 41 of /proc/PID/stat, proc(5)).
fn policies(pid: u32, prefix: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let task = task.unwrap().path();
        let Ok(name) = std::fs::read_to_string(task.join("comm")) else { continue };
        if name.starts_with(prefix) {
            let stat = std::fs::read_to_string(task.join("stat")).unwrap();
            // Behind the name, which may have spaces, the third field is the first.
            let (_, fields) = stat.rsplit_once(") ").unwrap();
            found.push(fields.split_whitespace().nth(41 - 3).unwrap().parse().unwrap());
        }
    }
    found
}

/// That of this test, which a server inherits.
fn inherited() -> u32 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    stat.rsplit_once(") ").unwrap().1.split_whitespace().nth(41 - 3).unwrap().parse().unwrap()
}

const OTHER: u32 = 0;
const BATCH: u32 = 3;

#[test]
fn workers_wait_for_their_turn_and_everything_else_is_as_it_was() {
    let server = Server::start(&["--workers", "2"]);
    let expected = if inherited() == OTHER { BATCH } else { inherited() };
    assert_eq!(policies(server.pid(), "lane-"), [expected; 2]);
    // A thread that has just begun has this name too, until it gives itself its own.
    let others = policies(server.pid(), "c10k-server");
    assert!(!others.is_empty() && others.iter().all(|policy| *policy == inherited()), "{others:?}");
    server.stop();
}

#[test]
fn workers_are_scheduled_like_everybody_on_demand() {
    let server = Server::start(&["--workers", "2", "--scheduling", "other"]);
    assert_eq!(policies(server.pid(), "lane-"), [inherited(); 2]);
    server.stop();
}
